// Stages of a pipeline, chained by tail calls.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u32);
} stages SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} scratch SEC(".maps");

SEC("xdp")
int first_stage(struct xdp_md* ctx) {
  __u32 key = 0;
  __u32* next = bpf_map_lookup_elem(&scratch, &key);
  if (!next) return XDP_ABORTED;
  *next = 1;
  bpf_tail_call(ctx, &stages, 1);
  return XDP_PASS;
}

SEC("xdp")
int dynamic_stage(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &stages, ctx->rx_queue_index);
  return XDP_DROP;
}

static __noinline int from_a_subprogram(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &stages, 2);
  return XDP_DROP;
}

SEC("xdp")
int leaves_in_a_subprogram(struct xdp_md* ctx) { return from_a_subprogram(ctx); }

// With subprograms that leave by tail calls the caller's frame is limited to 256 bytes.
SEC("xdp")
int leaves_with_a_large_frame(struct xdp_md* ctx) {
  volatile char buffer[300];
  buffer[ctx->rx_queue_index & 255] = 1;
  return from_a_subprogram(ctx) + buffer[ctx->ingress_ifindex & 255];
}

char _license[] SEC("license") = "GPL";
