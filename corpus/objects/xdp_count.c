// Counts packets by protocol: the usual shape of an XDP parser, and the usual mistake.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct counter {
  __u64 packets;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, struct counter);
} by_protocol SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u16);
  __type(value, struct counter);
} by_port SEC(".maps");

struct vlan {
  __be16 tag;
  __be16 protocol;
};

static __always_inline void count(void* map, const void* key, __u64 bytes) {
  struct counter* c = bpf_map_lookup_elem(map, key);
  if (!c) return;
  c->packets += 1;
  c->bytes += bytes;
}

SEC("xdp")
int count_protocols(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  __u64 bytes = end - data;

  struct ethhdr* eth = data;
  if ((void*)(eth + 1) > end) return XDP_DROP;
  __be16 ethertype = eth->h_proto;
  void* at = eth + 1;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD)) break;
    struct vlan* tag = at;
    if ((void*)(tag + 1) > end) return XDP_DROP;
    ethertype = tag->protocol;
    at = tag + 1;
  }

  __u32 protocol;
  if (ethertype == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = at;
    if ((void*)(ip + 1) > end) return XDP_DROP;
    if (ip->ihl < 5) return XDP_DROP;
    protocol = ip->protocol;
    at += ip->ihl * 4;
  } else if (ethertype == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr* ip = at;
    if ((void*)(ip + 1) > end) return XDP_DROP;
    protocol = ip->nexthdr;
    at = ip + 1;
  } else {
    return XDP_PASS;
  }
  count(&by_protocol, &protocol, bytes);

  __u16 port = 0;
  if (protocol == 17) {
    struct udphdr* udp = at;
    if ((void*)(udp + 1) > end) return XDP_PASS;
    port = bpf_ntohs(udp->dest);
  } else if (protocol == 6) {
    struct tcphdr* tcp = at;
    if ((void*)(tcp + 1) > end) return XDP_PASS;
    port = bpf_ntohs(tcp->dest);
  }
  struct counter* known = bpf_map_lookup_elem(&by_port, &port);
  if (known) {
    known->packets += 1;
    known->bytes += bytes;
  } else {
    struct counter first = {1, bytes};
    bpf_map_update_elem(&by_port, &port, &first, BPF_NOEXIST);
  }
  return XDP_PASS;
}

// The length of the header comes from the packet, but only the fixed part was compared with the packet's end.
SEC("xdp")
int forgets_the_options(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* eth = data;
  struct iphdr* ip = (void*)(eth + 1);
  if ((void*)(ip + 1) > end) return XDP_DROP;
  struct udphdr* udp = (void*)ip + ip->ihl * 4;
  return udp->dest == bpf_htons(53) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
