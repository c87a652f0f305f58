// Static functions are verified in the context of every call: what the caller knows, they know.
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

struct cursor {
  void* at;
  void* end;
};

static __noinline int skip(struct cursor* c, __u32 bytes) {
  if (bytes > 64) return -1;
  if (c->at + bytes > c->end) return -1;
  c->at += bytes;
  return 0;
}

static __noinline int next_byte(struct cursor* c) {
  if (c->at + 1 > c->end) return -1;
  int byte = *(__u8*)c->at;
  c->at += 1;
  return byte;
}

static __noinline int sum_of(struct cursor* c, int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    int byte = next_byte(c);
    if (byte < 0) break;
    sum += byte;
  }
  return sum;
}

SEC("xdp")
int sums_the_header(struct xdp_md* ctx) {
  struct cursor c = {(void*)(long)ctx->data, (void*)(long)ctx->data_end};
  if (skip(&c, sizeof(struct ethhdr))) return XDP_DROP;
  return sum_of(&c, 20) > 1000 ? XDP_DROP : XDP_PASS;
}

static __noinline int deep(int n) {
  volatile char buffer[300];
  buffer[n & 255] = n;
  return buffer[(n + 1) & 255];
}

static __noinline int deeper(int n) {
  volatile char buffer[300];
  buffer[n & 255] = n;
  return deep(n) + buffer[(n + 1) & 255];
}

SEC("xdp")
int too_much_stack(struct xdp_md* ctx) { return deeper(ctx->ingress_ifindex); }

char _license[] SEC("license") = "GPL";
