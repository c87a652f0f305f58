// Programs at the hooks of security modules: what they get, what they may do there, and what they return.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode {
  unsigned long i_ino;
};
struct path {};
struct file {
  unsigned int f_flags;
  struct path f_path;
  struct inode* f_inode;
};
struct task_struct {
  int pid;
};
struct sock;
struct socket {
  struct sock* sk;
};
#pragma clang attribute pop

struct task_struct* bpf_task_acquire(struct task_struct* p) __ksym;
void bpf_task_release(struct task_struct* p) __ksym;

char _license[] SEC("license") = "GPL";

SEC("lsm/file_permission")
int allows(__u64* ctx) { return 0; }

SEC("lsm/file_permission")
int denies(__u64* ctx) { return -1; }

SEC("lsm/file_permission")
int largest_error_number(__u64* ctx) { return -4095; }

SEC("lsm/file_permission")
int no_error_number(__u64* ctx) { return -4096; }

SEC("lsm/file_permission")
int returns_one(__u64* ctx) { return 1; }

SEC("lsm/file_permission")
__attribute__((naked)) int only_the_low_half_counts(void) { asm volatile("w0 = -1; exit;"); }

SEC("lsm/file_permission")
int passes_the_earlier_answer_on(__u64* ctx) { return ctx[2]; }

SEC("lsm/file_permission")
int passes_an_argument_on(__u64* ctx) { return ctx[1]; }

SEC("lsm/file_permission")
int behind_the_answer(__u64* ctx) { return ctx[3] == 1; }

SEC("lsm/file_permission")
int reads_an_argument(__u64* ctx) {
  if (((struct file*)ctx[0])->f_flags == 1) return -1;
  return 0;
}

SEC("lsm/file_permission")
int writes_to_an_argument(__u64* ctx) {
  *(volatile unsigned int*)&((struct file*)ctx[0])->f_flags = 0;
  return 0;
}

SEC("lsm/file_permission")
__attribute__((naked)) int before_the_arguments(void) { asm volatile("r0 = *(u64 *)(r1 - 8); r0 = 0; exit;"); }

SEC("lsm/file_permission")
__attribute__((naked)) int half_of_a_pointer(void) { asm volatile("r0 = *(u32 *)(r1 + 0); r0 = 0; exit;"); }

SEC("lsm/file_permission")
__attribute__((naked)) int half_of_a_number(void) { asm volatile("r0 = *(u32 *)(r1 + 8); r0 = 0; exit;"); }

SEC("lsm/file_permission")
__attribute__((naked)) int between_arguments(void) { asm volatile("r0 = *(u32 *)(r1 + 12); r0 = 0; exit;"); }

SEC("lsm/bprm_committed_creds")
__attribute__((naked)) int returns_nothing(void) { asm volatile("exit;"); }

SEC("lsm/bprm_committed_creds")
int there_is_no_answer(__u64* ctx) { return ctx[1]; }

SEC("lsm/inode_xattr_skipcap")
int answers_yes(__u64* ctx) { return 1; }

SEC("lsm/inode_xattr_skipcap")
int answers_with_an_error(__u64* ctx) { return -1; }

SEC("lsm/inode_getsecurity")
int hook_that_takes_no_programs(__u64* ctx) { return 0; }

SEC("lsm/verify_prog")
int no_hook(__u64* ctx) { return 0; }

SEC("lsm.s/file_open")
int sleeps_where_it_may(__u64* ctx) { return 0; }

SEC("lsm.s/file_permission")
int sleeps_where_it_may_not(__u64* ctx) { return 0; }

SEC("lsm/file_open")
int path_at_a_hook_that_may_sleep(__u64* ctx) {
  char name[16] = {};
  bpf_d_path(&((struct file*)ctx[0])->f_path, name, sizeof(name));
  return 0;
}

SEC("lsm/file_permission")
int path_at_one_that_may_not(__u64* ctx) {
  char name[16] = {};
  bpf_d_path(&((struct file*)ctx[0])->f_path, name, sizeof(name));
  return 0;
}

SEC("lsm/bprm_committed_creds")
int hash_in_a_program_that_does_not_sleep(__u64* ctx) {
  char hash[16];
  bpf_ima_file_hash((void*)ctx[0], hash, sizeof(hash));
  return 0;
}

SEC("lsm/task_alloc")
int keeps_a_task(__u64* ctx) {
  struct task_struct* task = bpf_task_acquire((void*)ctx[0]);
  if (task) bpf_task_release(task);
  return 0;
}

SEC("lsm/task_free")
int keeps_a_task_that_is_going(__u64* ctx) {
  struct task_struct* task = bpf_task_acquire((void*)ctx[0]);
  if (task) bpf_task_release(task);
  return 0;
}

SEC("lsm/task_alloc")
int argument_by_number(__u64* ctx) {
  __u64 value;
  bpf_get_func_arg(ctx, 1, &value);
  return 0;
}

SEC("lsm/task_alloc")
int asks_for_its_function(__u64* ctx) {
  bpf_get_func_ip(ctx);
  return 0;
}

SEC("lsm/socket_bind")
int answer_is_set(__u64* ctx) {
  bpf_set_retval(-1);
  return 0;
}

SEC("lsm_cgroup/socket_bind")
int answer_of_a_group_is_set(__u64* ctx) {
  bpf_set_retval(-1);
  return 1;
}

SEC("lsm_cgroup/socket_bind")
int group_allows(__u64* ctx) { return 1; }

SEC("lsm_cgroup/socket_bind")
int group_with_an_error(__u64* ctx) { return -1; }

SEC("lsm_cgroup/inet_csk_clone")
int group_has_no_say(__u64* ctx) { return 1; }

SEC("lsm_cgroup/inet_csk_clone")
int group_wants_a_say(__u64* ctx) { return 0; }

SEC("lsm_cgroup/inet_csk_clone")
int group_sets_no_answer(__u64* ctx) {
  bpf_set_retval(-1);
  return 1;
}

SEC("lsm_cgroup/socket_post_create")
int options_of_a_new_socket(__u64* ctx) {
  int on = 1;
  struct sock* sk = ((struct socket*)ctx[0])->sk;
  bpf_setsockopt(sk, 1, 2, &on, sizeof(on));
  return 1;
}

SEC("lsm_cgroup/socket_bind")
int options_of_a_bound_one(__u64* ctx) {
  int on = 1;
  struct sock* sk = ((struct socket*)ctx[0])->sk;
  bpf_setsockopt(sk, 1, 2, &on, sizeof(on));
  return 1;
}
