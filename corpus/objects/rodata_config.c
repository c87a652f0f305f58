// Configuration in read-only data: the verifier knows its values and drops what they switch off.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 port_limit = 15;
const volatile _Bool with_unsafe_part = 0;

__u64 seen;
__u32 last_port = 7;
__u8 flags[16] = {1};

SEC("xdp")
int constant_bound(struct xdp_md* ctx) {
  __u32 index = ctx->rx_queue_index;
  if (index > port_limit) return XDP_PASS;
  flags[index] = 1;
  __sync_fetch_and_add(&seen, 1);
  last_port = index;
  return XDP_PASS;
}

SEC("xdp")
int switched_off(struct xdp_md* ctx) {
  if (with_unsafe_part) return *(volatile int*)(long)ctx->ingress_ifindex;
  return XDP_PASS;
}

SEC("xdp")
int beyond_the_array(struct xdp_md* ctx) {
  __u32 index = ctx->rx_queue_index;
  if (index > port_limit + 4096) return XDP_PASS;
  flags[index] = 1;
  return XDP_PASS;
}

SEC("xdp")
int writes_read_only_data(struct xdp_md* ctx) {
  *(volatile __u32*)&port_limit = 3;
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
