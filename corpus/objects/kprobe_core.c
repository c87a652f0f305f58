// A probe that reads kernel structures at offsets which the loader fixes for the kernel at hand (CO-RE).
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// Only what is read, in any order: the relocations find the real offsets.
struct mm_struct {
  unsigned long arg_start;
} __attribute__((preserve_access_index));

struct task_struct {
  int tgid;
  struct task_struct* real_parent;
  struct mm_struct* mm;
  char comm[16];
} __attribute__((preserve_access_index));

struct task_struct___renamed {
  int no_such_field_anywhere;
} __attribute__((preserve_access_index));

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u64);
} starts SEC(".maps");

SEC("kprobe/do_exit")
int parent_of_the_exiting(struct pt_regs* ctx) {
  struct task_struct* task = (void*)bpf_get_current_task();
  __u32 parent = BPF_CORE_READ(task, real_parent, tgid);
  __u64 start = BPF_CORE_READ(task, mm, arg_start);
  if (bpf_core_field_exists(((struct task_struct___renamed*)task)->no_such_field_anywhere)) return 1;
  bpf_map_update_elem(&starts, &parent, &start, BPF_ANY);
  char name[16];
  bpf_core_read_str(name, sizeof(name), &task->comm);
  bpf_printk("%s %d", name, parent);
  return 0;
}

SEC("kretprobe/vfs_read")
int bytes_read(struct pt_regs* ctx) {
  __u32 size = bpf_core_field_size(((struct task_struct*)0)->comm);
  __u64 bytes = PT_REGS_RC(ctx);
  bpf_map_update_elem(&starts, &size, &bytes, BPF_ANY);
  return 0;
}

// A kernel address is a number: it has to be read with a helper.
SEC("kprobe/do_exit")
int dereferences_directly(struct pt_regs* ctx) {
  struct task_struct* task = (void*)bpf_get_current_task();
  return *(volatile int*)task;
}

char _license[] SEC("license") = "GPL";
