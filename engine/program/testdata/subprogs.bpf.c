// Subprograms: static and global, calling one another, shared by several programs, taken by address, hidden, weak.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

static __noinline int leaf(int x) { return x * 3 + bpf_get_smp_processor_id(); }
static __noinline int middle(int x) { return leaf(x) + leaf(x + 1); }
__noinline int shared(int x) { return middle(x) - 1; }
__hidden __noinline int hidden(int x) { return leaf(x) ^ 5; }
__weak __noinline int weak(int x) { return x + 2; }

static int callback(__u32 index, void *data) {
  *(int *)data += leaf(index);
  return 0;
}

SEC("tc")
int first(struct __sk_buff *skb) { return shared(skb->len) + hidden(skb->mark) + weak(1); }

SEC("tc")
int second(struct __sk_buff *skb) {
  int sum = 0;
  bpf_loop(4, callback, &sum, 0);
  return sum + middle(skb->len);
}

SEC("?xdp.frags")
int third(struct xdp_md *ctx) { return leaf(1) & 1; }

SEC("kprobe/do_nothing")
int alone(void *ctx) { return 0; }

SEC("no_such_type/extra")
int unknown(void *ctx) { return 0; }

char LICENSE[] SEC("license") = "GPL";
__u32 _version SEC("version") = 0x61200;
