// Programs whose functions those of replacing.c replace and watch.
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

// Calls are neither inlined nor left out.
#define OWN __attribute__((noinline))
#define KEEP(x) asm volatile("" : "+r"(x))

struct point {
  int x, y;
};

const volatile int never = 0;

OWN int length(struct __sk_buff* skb) { return skb->len; }

OWN int sum(int a, long b) {
  KEEP(a);
  return a + b;
}

OWN int distance(struct point* p) { return p ? p->x - p->y : 0; }

OWN int number_at(int* p) { return p ? *p : 0; }

OWN int pulls(struct __sk_buff* skb) { return bpf_skb_pull_data(skb, 0); }

OWN int shared(int a) {
  KEEP(a);
  return a;
}

// No path gets here.
OWN int left_out(int a) {
  KEEP(a);
  return a;
}

OWN static int hidden(int a) {
  KEEP(a);
  return a;
}

OWN static int hidden_with_a_pointer(struct point* p) {
  KEEP(p);
  return p->x;
}

SEC("tc")
int classify(struct __sk_buff* skb) {
  struct point p = {1, 2};
  const int all = length(skb) + sum(skb->mark, skb->hash) + distance(&p) + number_at(&p.x) + pulls(skb) +
                  hidden(skb->mark) + hidden_with_a_pointer(&p) + shared(skb->mark);
  return never ? left_out(all) : all;
}

OWN int left_out_in_front(int a) {
  KEEP(a);
  return a;
}

OWN static int third(struct point* p) {
  KEEP(p);
  return p->y;
}

OWN static int fourth(int a) {
  KEEP(a);
  return a;
}

OWN int fifth(int a) {
  KEEP(a);
  return a;
}

// The kernel goes on to take the third function for the second, but for what it knows of its calls.
SEC("tc")
int moves_up(struct __sk_buff* skb) {
  struct point p = {1, 2};
  if (never) return left_out_in_front(skb->mark);
  return third(&p) + fourth(skb->mark) + fifth(skb->hash) + shared(skb->mark);
}

// Of a function to call back, the kernel looks at the arguments of the helper that calls it.
static long turn(__u32 i) { return i > 3; }

static long turn_with_more(__u32 i, void* data) { return i > 3; }

static long turn_of_numbers(__u32 i, __u64 data) { return i > 3 || data; }

OWN static int of_a_dynptr(struct bpf_dynptr* d) {
  KEEP(d);
  return bpf_dynptr_data(d, 0, 1) != 0;
}

OWN static int of_what_is_none(struct bpf_dynptr* d) {
  KEEP(d);
  return d != 0;
}

char data[8];

SEC("tc")
int calls_back(struct __sk_buff* skb) {
  struct bpf_dynptr d;
  char none[16];
  KEEP(skb);
  bpf_dynptr_from_mem(data, sizeof(data), 0, &d);
  const int sums = of_a_dynptr(&d) + of_what_is_none((void*)none);
  bpf_loop(3, turn, 0, 0);
  bpf_loop(3, turn_with_more, 0, 0);
  bpf_loop(3, turn_of_numbers, 0, 0);
  return sums;
}

SEC("xdp")
int passes(struct xdp_md* ctx) { return XDP_PASS; }

SEC("socket")
int any_context(void* ctx) { return 0; }

SEC("kprobe")
int probe(struct pt_regs* ctx) { return 0; }

OWN int at_a_tracepoint(int a) {
  KEEP(a);
  return a;
}

SEC("raw_tp")
int traces(void* ctx) { return at_a_tracepoint(1); }

OWN int may_bind(struct bpf_sock_addr* ctx) {
  int port = ctx->user_port;
  KEEP(port);
  return port;
}

SEC("cgroup/connect4")
int connects(struct bpf_sock_addr* ctx) { return may_bind(ctx) == 80; }

OWN int in_a_watcher(int a) {
  KEEP(a);
  return a;
}

SEC("fentry/bpf_fentry_test1")
int watches(__u64* ctx) { return in_a_watcher(ctx[0]) & 0; }

extern void bpf_throw(__u64 cookie) __ksym;

OWN int after_all(__u64 cookie) {
  KEEP(cookie);
  return 0;
}

SEC("tc")
__attribute__((btf_decl_tag("exception_callback:after_all"))) int throws(struct __sk_buff* skb) {
  if (skb->len) bpf_throw(0);
  return 0;
}
