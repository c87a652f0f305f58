// Loops: counted, with an early way out, through bpf_loop; and one that the verifier sees no end of.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} table SEC(".maps");

SEC("xdp")
int counted(struct xdp_md* ctx) {
  __u64 sum = 0;
  for (__u32 i = 0; i < 64; ++i) {
    __u32 key = i;
    __u64* value = bpf_map_lookup_elem(&table, &key);
    if (!value) break;
    sum += *value;
  }
  return sum & 1 ? XDP_DROP : XDP_PASS;
}

// The helper reads the counter itself, so it lives on the stack, in the upper half of a slot, where the verifier does
// not follow numbers: it never learns that the loop ends.
SEC("xdp")
int counted_in_memory(struct xdp_md* ctx) {
  __u64 sum = 0;
  for (__u32 i = 0; i < 64; ++i) {
    __u64* value = bpf_map_lookup_elem(&table, &i);
    if (!value) break;
    sum += *value;
  }
  return sum & 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int checksum(struct xdp_md* ctx) {
  __u8* at = (void*)(long)ctx->data;
  __u8* end = (void*)(long)ctx->data_end;
  __u32 sum = 0;
  for (int i = 0; i < 128; ++i) {
    if (at + i + 1 > end) break;
    sum += at[i];
  }
  return sum & 0xff ? XDP_PASS : XDP_DROP;
}

struct sum {
  __u64 total;
  __u32 limit;
};

static long add_one(__u64 index, void* data) {
  struct sum* s = data;
  __u32 key = index;
  __u64* value = bpf_map_lookup_elem(&table, &key);
  if (!value || s->total > s->limit) return 1;
  s->total += *value;
  return 0;
}

SEC("xdp")
int through_a_callback(struct xdp_md* ctx) {
  struct sum s = {0, ctx->rx_queue_index};
  bpf_loop(64, add_one, &s, 0);
  return s.total & 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int without_an_end(struct xdp_md* ctx) {
  volatile int waiting = ctx->ingress_ifindex;
  while (waiting) {
    asm volatile("");
  }
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
