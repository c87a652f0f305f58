// Programs that get the kernel's own structures: what they may read, and what of it they may rely upon.
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode {
  unsigned long i_ino;
};
struct file {
  unsigned int f_flags;
  struct inode* f_inode;
};
struct mm_struct {
  struct file* exe_file;
};
struct task_struct {
  int pid, tgid;
  struct mm_struct* mm;
  struct task_struct* real_parent;
  struct task_struct* group_leader;
  struct task_struct* last_wakee;
  char comm[16];
  int* set_child_tid;
  int exit_code;
};
struct seq_file {
  unsigned long size;
};
struct bpf_iter_meta {
  struct seq_file* seq;
  __u64 session_id;
};
struct bpf_iter__task {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
};
struct bpf_map {
  __u32 max_entries;
};
struct bpf_iter__bpf_map_elem {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  void* key;
  void* value;
};
#pragma clang attribute pop

struct task_struct* bpf_task_acquire(struct task_struct* p) __ksym;
void bpf_task_release(struct task_struct* p) __ksym;
struct task_struct* bpf_task_from_pid(int pid) __ksym;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} seen SEC(".maps");

char _license[] SEC("license") = "GPL";

SEC("tp_btf/task_newtask")
int reads_members(__u64* ctx) {
  struct task_struct* task = (void*)ctx[0];
  return task->pid + task->tgid + task->comm[3] + task->group_leader->pid;
}

SEC("tp_btf/task_newtask")
int writes_a_member(__u64* ctx) {
  struct task_struct* task = (void*)ctx[0];
  *(volatile int*)&task->exit_code = 1;
  return 0;
}

SEC("tp_btf/task_newtask")
int third_argument(__u64* ctx) { return ctx[2]; }

SEC("tp_btf/task_newtask")
int writes_an_argument(__u64* ctx) {
  ctx[1] = 0;
  return 0;
}

SEC("tp_btf/sched_pi_setprio")
int argument_that_may_be_null(__u64* ctx) {
  // The kernel's own callers pass null here.
  asm volatile("r1 = *(u64 *)(r1 + 8); r0 = *(u32 *)(r1 + 0);" ::: "r0", "r1");
  return 0;
}

SEC("tp_btf/task_newtask")
int through_a_number(__u64* ctx) {
  struct task_struct* task = (void*)ctx[0];
  return *task->set_child_tid;  // read as far as it can be
}

SEC("tp_btf/task_newtask")
int keeps_a_trusted_one(__u64* ctx) {
  struct task_struct* task = bpf_task_acquire((void*)ctx[0]);
  if (!task) return 0;
  bpf_task_release(task);
  return 0;
}

SEC("tp_btf/task_newtask")
int keeps_the_leader(__u64* ctx) {
  // Safe within the section for readers that such programs run in.
  struct task_struct* task = bpf_task_acquire(((struct task_struct*)ctx[0])->group_leader);
  if (!task) return 0;
  bpf_task_release(task);
  return 0;
}

SEC("tp_btf/task_newtask")
int keeps_one_that_nobody_vouches_for(__u64* ctx) {
  struct task_struct* task = bpf_task_acquire(((struct task_struct*)ctx[0])->last_wakee);
  if (!task) return 0;
  bpf_task_release(task);
  return 0;
}

SEC("tp_btf/task_newtask")
int never_gives_it_back(__u64* ctx) {
  struct task_struct* task = bpf_task_acquire((void*)ctx[0]);
  return task != 0;
}

SEC("tp_btf/task_newtask")
int gives_back_what_may_be_null(__u64* ctx) {
  bpf_task_release(bpf_task_from_pid(1));
  return 0;
}

SEC("tp_btf/task_newtask")
int gives_back_what_it_did_not_take(__u64* ctx) {
  bpf_task_release((void*)ctx[0]);
  return 0;
}

SEC("tp_btf/task_newtask")
int reads_after_giving_back(__u64* ctx) {
  struct task_struct* task = bpf_task_from_pid(1);
  if (!task) return 0;
  bpf_task_release(task);
  return task->pid;
}

SEC("tp_btf/task_newtask")
int looks_into_a_map(__u64* ctx) {
  struct bpf_map* map = (void*)&seen;
  return map->max_entries;
}

SEC("iter/task")
int element_may_be_null(struct bpf_iter__task* ctx) { return ctx->task->pid & 1; }

SEC("iter/task")
int every_task(struct bpf_iter__task* ctx) {
  struct task_struct* task = ctx->task;
  if (!task) return 0;
  int pid = task->pid;
  bpf_seq_write(ctx->meta->seq, &pid, sizeof(pid));
  return 0;
}

SEC("iter/task")
int returns_two(struct bpf_iter__task* ctx) { return 2; }

SEC("iter/bpf_map_elem")
int every_element(struct bpf_iter__bpf_map_elem* ctx) {
  __u64* value = ctx->value;
  __u32* key = ctx->key;
  if (!value || !key) return 0;
  *value += *key;
  return 0;
}

SEC("iter/bpf_map_elem")
int key_is_written(struct bpf_iter__bpf_map_elem* ctx) {
  __u32* key = ctx->key;
  if (!key) return 0;
  *key = 1;
  return 0;
}
