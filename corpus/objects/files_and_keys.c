// The functions on files and keys: who may call them, and that what they give is given back.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct path {
  void* mnt;
};
struct file {
  struct path f_path;
};
struct task_struct {
  int pid;
};
struct bpf_key {
  void* key;
};
#pragma clang attribute pop

struct file* bpf_get_task_exe_file(struct task_struct* task) __ksym;
void bpf_put_file(struct file* file) __ksym;
int bpf_path_d_path(struct path* path, char* buf, unsigned long buf__sz) __ksym;
struct bpf_key* bpf_lookup_user_key(unsigned int serial, __u64 flags) __ksym;
struct bpf_key* bpf_lookup_system_key(__u64 id) __ksym;
void bpf_key_put(struct bpf_key* key) __ksym;
int bpf_get_file_xattr(struct file* file, const char* name__str, struct bpf_dynptr* value_p) __ksym;

char _license[] SEC("license") = "GPL";

SEC("lsm/task_alloc")
int file_is_put(__u64* ctx) {
  struct file* file = bpf_get_task_exe_file((void*)ctx[0]);
  if (file) bpf_put_file(file);
  return 0;
}

SEC("lsm/task_alloc")
int file_is_kept(__u64* ctx) {
  bpf_get_task_exe_file((void*)ctx[0]);
  return 0;
}

SEC("lsm/file_open")
int file_of_another(__u64* ctx) {
  bpf_put_file((void*)ctx[0]);
  return 0;
}

SEC("tp_btf/task_newtask")
int file_without_a_hook(__u64* ctx) {
  struct file* file = bpf_get_task_exe_file((void*)ctx[0]);
  if (file) bpf_put_file(file);
  return 0;
}

SEC("lsm/file_open")
int path_of_a_file(__u64* ctx) {
  char name[16];
  bpf_path_d_path(&((struct file*)ctx[0])->f_path, name, sizeof(name));
  return 0;
}

SEC("lsm/file_open")
int path_beyond_the_buffer(__u64* ctx) {
  char name[16];
  bpf_path_d_path(&((struct file*)ctx[0])->f_path, name, sizeof(name) + 1);
  return 0;
}

SEC("lsm.s/file_open")
int key_is_put(__u64* ctx) {
  struct bpf_key* key = bpf_lookup_user_key(1, 0);
  if (key) bpf_key_put(key);
  return 0;
}

SEC("lsm/file_open")
int key_is_looked_up_without_sleeping(__u64* ctx) {
  struct bpf_key* key = bpf_lookup_user_key(1, 0);
  if (key) bpf_key_put(key);
  return 0;
}

SEC("lsm/file_open")
int key_that_may_be_missing(__u64* ctx) {
  bpf_key_put(bpf_lookup_system_key(1));
  return 0;
}

const char unfinished[4] = "user";
char value[16];

static inline int attribute(struct file* file, const char* name) {
  struct bpf_dynptr to;
  bpf_dynptr_from_mem(value, sizeof(value), 0, &to);
  return bpf_get_file_xattr(file, name, &to);
}

SEC("lsm.s/file_open")
int attribute_of_a_file(__u64* ctx) {
  attribute((void*)ctx[0], "user.name");
  return 0;
}

SEC("lsm/file_open")
int attribute_without_sleeping(__u64* ctx) {
  attribute((void*)ctx[0], "user.name");
  return 0;
}

SEC("lsm.s/file_open")
int attribute_by_a_name_that_changes(__u64* ctx) {
  attribute((void*)ctx[0], value);
  return 0;
}

SEC("lsm.s/file_open")
int attribute_by_a_name_on_the_stack(__u64* ctx) {
  char name[] = "user.name";
  asm volatile("" : : "r"(name) : "memory");
  attribute((void*)ctx[0], name);
  return 0;
}

SEC("lsm.s/file_open")
int attribute_by_an_unfinished_name(__u64* ctx) {
  attribute((void*)ctx[0], unfinished);
  return 0;
}

SEC("lsm.s/file_open")
int attribute_by_part_of_a_name(__u64* ctx) {
  const char* name = "the user.name";
  asm volatile("" : "+r"(name));
  attribute((void*)ctx[0], name + 4);
  return 0;
}

SEC("lsm.s/file_open")
int attribute_by_an_unknown_name(__u64* ctx) {
  const char* name = "the user.name";
  asm volatile("" : "+r"(name));
  attribute((void*)ctx[0], name + (bpf_get_prandom_u32() & 3));
  return 0;
}

SEC("lsm.s/file_open")
int attribute_without_a_place(__u64* ctx) {
  bpf_get_file_xattr((void*)ctx[0], "user.name", 0);
  return 0;
}

SEC("tp_btf/task_newtask")
int attribute_without_a_hook(__u64* ctx) {
  attribute((void*)ctx[0], "user.name");
  return 0;
}
