// A map per tenant, found through a map of maps.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct limits {
  __u64 allowed;
  __u64 used;
};

struct tenant {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct limits);
} template_tenant SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 16);
  __type(key, __u32);
  __array(values, struct tenant);
} tenants SEC(".maps") = {.values = {&template_tenant}};

SEC("xdp")
int within_limits(struct xdp_md* ctx) {
  __u32 id = ctx->ingress_ifindex;
  void* tenant = bpf_map_lookup_elem(&tenants, &id);
  if (!tenant) return XDP_PASS;
  __u32 queue = ctx->rx_queue_index;
  struct limits* l = bpf_map_lookup_elem(tenant, &queue);
  if (!l) return XDP_PASS;
  __sync_fetch_and_add(&l->used, 1);
  return l->used > l->allowed ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int takes_the_inner_map_for_granted(struct xdp_md* ctx) {
  __u32 id = ctx->ingress_ifindex;
  void* tenant = bpf_map_lookup_elem(&tenants, &id);
  struct limits* l = bpf_map_lookup_elem(tenant, &id);
  return l ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
