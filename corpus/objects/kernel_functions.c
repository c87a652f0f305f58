// Functions of the kernel, by what their prototypes say: pointers to its structures that come and go.
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
  int pid;
};
struct vm_area_struct {
  unsigned long vm_start;
};
struct bpf_map {
  __u32 max_entries;
};
struct nf_conn {
  unsigned long status;
  __u32 mark;
};
struct cgroup_subsys_state {
  int id;
};
struct cgroup {
  struct cgroup_subsys_state self;
};
#pragma clang attribute pop
struct bpf_iter_css_task {
  __u64 opaque[1];
} __attribute__((aligned(8)));
struct bpf_iter_task {
  __u64 opaque[3];
} __attribute__((aligned(8)));
struct bpf_iter_task_vma {
  __u64 opaque[1];
} __attribute__((aligned(8)));
struct bpf_ct_opts {
  __s32 netns_id, error;
  __u8 l4proto, dir, reserved[2];
};

int bpf_iter_task_new(struct bpf_iter_task* it, struct task_struct* task, unsigned flags) __ksym;
struct task_struct* bpf_iter_task_next(struct bpf_iter_task* it) __ksym;
void bpf_iter_task_destroy(struct bpf_iter_task* it) __ksym;
int bpf_iter_task_vma_new(struct bpf_iter_task_vma* it, struct task_struct* task, __u64 addr) __ksym;
struct vm_area_struct* bpf_iter_task_vma_next(struct bpf_iter_task_vma* it) __ksym;
void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma* it) __ksym;
int bpf_iter_css_task_new(struct bpf_iter_css_task* it, struct cgroup_subsys_state* css, unsigned flags) __ksym;
struct task_struct* bpf_iter_css_task_next(struct bpf_iter_css_task* it) __ksym;
void bpf_iter_css_task_destroy(struct bpf_iter_css_task* it) __ksym;
struct cgroup* bpf_cgroup_from_id(__u64 id) __ksym;
void bpf_cgroup_release(struct cgroup* cgroup) __ksym;
struct task_struct* bpf_task_acquire(struct task_struct* p) __ksym;
void bpf_task_release(struct task_struct* p) __ksym;
void bpf_rcu_read_lock(void) __ksym;
void bpf_rcu_read_unlock(void) __ksym;
__s64 bpf_map_sum_elem_count(const struct bpf_map* map) __ksym;
__u64* bpf_session_cookie(void) __ksym;
bool bpf_session_is_return(void) __ksym;
struct nf_conn* bpf_skb_ct_lookup(struct __sk_buff* skb, struct bpf_sock_tuple* tuple, __u32 tuple_size, struct bpf_ct_opts* opts,
                                  __u32 opts_size) __ksym;
void bpf_ct_release(struct nf_conn* ct) __ksym;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

SEC("syscall")
int every_task(void* ctx) {
  struct bpf_iter_task it;
  struct task_struct* task;
  int found = 0;
  bpf_rcu_read_lock();
  bpf_iter_task_new(&it, 0, 0);
  while ((task = bpf_iter_task_next(&it))) found |= task->pid;
  bpf_iter_task_destroy(&it);
  bpf_rcu_read_unlock();
  return found;
}

SEC("syscall")
int every_task_without_the_lock(void* ctx) {
  struct bpf_iter_task it;
  int found = 0;
  bpf_iter_task_new(&it, 0, 0);
  while (bpf_iter_task_next(&it)) ++found;
  bpf_iter_task_destroy(&it);
  return found;
}

SEC("syscall")
int lock_let_go_meanwhile(void* ctx) {
  struct bpf_iter_task it;
  bpf_rcu_read_lock();
  bpf_iter_task_new(&it, 0, 0);
  bpf_rcu_read_unlock();
  bpf_rcu_read_lock();
  bpf_iter_task_destroy(&it);
  bpf_rcu_read_unlock();
  return 0;
}

// Linux 6.18 takes the second turn, with an iterator that is not to be asked any more, to be as the first. In assembly, as the
// compiler would ask for the first element in one place and for the others in another.
SEC("syscall")
__attribute__((naked)) int lock_let_go_in_every_turn(void) {
  asm volatile(
      "call %[lock]; r2 = 0; r3 = 0; r1 = r10; r1 += -24; call %[new];"
      "1: r1 = r10; r1 += -24; call %[next]; if r0 == 0 goto 2f; call %[unlock]; call %[lock]; goto 1b;"
      "2: r1 = r10; r1 += -24; call %[destroy]; call %[unlock]; r0 = 0; exit;" ::[lock] "i"(bpf_rcu_read_lock),
      [unlock] "i"(bpf_rcu_read_unlock), [new] "i"(bpf_iter_task_new), [next] "i"(bpf_iter_task_next),
      [destroy] "i"(bpf_iter_task_destroy)
      : "r0", "r1", "r2", "r3", "r4", "r5", "memory");
}

SEC("syscall")
int task_after_the_lock(void* ctx) {
  struct bpf_iter_task it;
  struct task_struct *task, *kept = 0;
  bpf_rcu_read_lock();
  bpf_iter_task_new(&it, 0, 0);
  task = bpf_iter_task_next(&it);
  bpf_iter_task_destroy(&it);
  bpf_rcu_read_unlock();
  if (!task) return 0;
  kept = bpf_task_acquire(task);
  if (kept) bpf_task_release(kept);
  return 0;
}

SEC("syscall")
int tasks_of_a_group(void* ctx) {
  struct bpf_iter_css_task it;
  struct task_struct *task, *kept = 0;
  struct cgroup* group = bpf_cgroup_from_id(1);
  if (!group) return 0;
  bpf_iter_css_task_new(&it, &group->self, 0);
  task = bpf_iter_css_task_next(&it);
  if (task) kept = bpf_task_acquire(task);
  bpf_iter_css_task_destroy(&it);
  if (kept) bpf_task_release(kept);
  bpf_cgroup_release(group);
  return 0;
}

// The iterator has let go of it.
SEC("syscall")
int task_that_was_left(void* ctx) {
  struct bpf_iter_css_task it;
  struct task_struct *task, *kept = 0;
  struct cgroup* group = bpf_cgroup_from_id(1);
  if (!group) return 0;
  bpf_iter_css_task_new(&it, &group->self, 0);
  task = bpf_iter_css_task_next(&it);
  bpf_iter_css_task_destroy(&it);
  if (task) kept = bpf_task_acquire(task);
  if (kept) bpf_task_release(kept);
  bpf_cgroup_release(group);
  return 0;
}

SEC("raw_tp/sys_enter")
int every_mapping(void* ctx) {
  struct bpf_iter_task_vma it;
  struct vm_area_struct* vma;
  __u64 sum = 0;
  bpf_iter_task_vma_new(&it, bpf_get_current_task_btf(), 0);
  while ((vma = bpf_iter_task_vma_next(&it))) sum += vma->vm_start;
  bpf_iter_task_vma_destroy(&it);
  return sum != 0;
}

SEC("raw_tp/sys_enter")
int mappings_left_open(void* ctx) {
  struct bpf_iter_task_vma it;
  bpf_iter_task_vma_new(&it, bpf_get_current_task_btf(), 0);
  return 0;
}

static long note(struct task_struct* task, struct vm_area_struct* vma, __u64* sum) {
  *sum += vma->vm_start + task->pid;
  return 0;
}

static long overwrite(struct task_struct* task, struct vm_area_struct* vma, __u64* sum) {
  vma->vm_start = *sum;
  return 0;
}

SEC("raw_tp/sys_enter")
int one_mapping(void* ctx) {
  __u64 sum = 0;
  bpf_find_vma(bpf_get_current_task_btf(), 0, note, &sum, 0);
  return sum != 0;
}

SEC("raw_tp/sys_enter")
int one_mapping_overwritten(void* ctx) {
  __u64 sum = 0;
  bpf_find_vma(bpf_get_current_task_btf(), 0, overwrite, &sum, 0);
  return sum != 0;
}

SEC("tc")
int entries_of_a_map(struct __sk_buff* skb) { return bpf_map_sum_elem_count((struct bpf_map*)&counts) > 2; }

SEC("tc")
int entries_of_a_value(struct __sk_buff* skb) {
  __u32 key = 0;
  __u64* value = bpf_map_lookup_elem(&counts, &key);
  return value && bpf_map_sum_elem_count((struct bpf_map*)value) > 2;
}

SEC("kprobe.session/ksys_read")
int cookie(void* ctx) {
  __u64* cookie = bpf_session_cookie();
  if (bpf_session_is_return()) return *cookie != 0;
  *cookie = 5;
  return 0;
}

SEC("kprobe.session/ksys_read")
int beside_the_cookie(void* ctx) { return bpf_session_cookie()[1] != 0; }

SEC("kprobe/ksys_read")
int no_session(void* ctx) { return bpf_session_is_return(); }

static __always_inline struct nf_conn* connection(struct __sk_buff* skb) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_ct_opts opts = {.netns_id = -1, .l4proto = 6};
  return bpf_skb_ct_lookup(skb, &tuple, sizeof tuple.ipv4, &opts, sizeof opts);
}

SEC("tc")
int mark_of_a_connection(struct __sk_buff* skb) {
  struct nf_conn* ct = connection(skb);
  if (!ct) return 0;
  ct->mark = 3;
  bpf_ct_release(ct);
  return 0;
}

SEC("tc")
int status_of_a_connection(struct __sk_buff* skb) {
  struct nf_conn* ct = connection(skb);
  if (!ct) return 0;
  ct->status = 3;
  bpf_ct_release(ct);
  return 0;
}

SEC("tc")
int connection_of_nothing(struct __sk_buff* skb) {
  struct bpf_ct_opts opts = {.netns_id = -1, .l4proto = 6};
  struct nf_conn* ct = bpf_skb_ct_lookup(skb, 0, 12, &opts, sizeof opts);
  if (ct) bpf_ct_release(ct);
  return 0;
}

char _license[] SEC("license") = "GPL";
