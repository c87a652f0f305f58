// Events through a ring buffer: reserved memory has to be submitted or discarded on every path.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct event {
  __u64 when;
  __u32 tgid;
  __u32 kind;
  char comm[16];
};

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 16);
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(void* ctx) {
  struct event* e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) return 0;
  e->when = bpf_ktime_get_ns();
  e->tgid = bpf_get_current_pid_tgid() >> 32;
  e->kind = 1;
  bpf_get_current_comm(e->comm, sizeof(e->comm));
  if (e->comm[0] == 'k') {
    bpf_ringbuf_discard(e, 0);
    return 0;
  }
  bpf_ringbuf_submit(e, 0);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int forgets_one_path(void* ctx) {
  struct event* e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) return 0;
  e->tgid = bpf_get_current_pid_tgid() >> 32;
  if (e->tgid == 1) return 0;
  bpf_ringbuf_submit(e, 0);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int writes_after_the_submit(void* ctx) {
  struct event* e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) return 0;
  e->kind = 2;
  bpf_ringbuf_submit(e, 0);
  e->kind = 3;
  return 0;
}

char _license[] SEC("license") = "GPL";
