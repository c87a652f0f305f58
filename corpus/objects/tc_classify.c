// A classifier for traffic control: reads headers through helpers and directly, keeps state per flow, rewrites.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct flow {
  __be32 source, destination;
  __be16 source_port, destination_port;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct flow);
  __type(value, __u32);
} marks SEC(".maps");

struct lpm_key {
  __u32 bits;
  __be32 address;
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 128);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct lpm_key);
  __type(value, __u32);
} networks SEC(".maps");

#define OFFSET_OF_IP(field) (ETH_HLEN + offsetof(struct iphdr, field))

SEC("tc")
int mark_flow(struct __sk_buff* skb) {
  if (skb->protocol != bpf_htons(ETH_P_IP)) return TC_ACT_OK;
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0) return TC_ACT_SHOT;
  if (ip.protocol != IPPROTO_UDP) return TC_ACT_OK;

  struct flow flow = {.source = ip.saddr, .destination = ip.daddr};
  if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, &flow.source_port, 4) < 0) return TC_ACT_SHOT;
  __u32* mark = bpf_map_lookup_elem(&marks, &flow);
  if (mark) {
    skb->mark = *mark;
    return TC_ACT_OK;
  }
  struct lpm_key key = {32, ip.daddr};
  __u32* network = bpf_map_lookup_elem(&networks, &key);
  if (!network) return TC_ACT_OK;
  __u32 value = *network;
  bpf_map_update_elem(&marks, &flow, &value, BPF_ANY);
  skb->mark = value;
  return TC_ACT_PIPE;
}

SEC("tc")
int lower_time_to_live(struct __sk_buff* skb) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  struct iphdr* ip = data + ETH_HLEN;
  if ((void*)(ip + 1) > end) return TC_ACT_OK;
  __u8 before = ip->ttl;
  if (before < 2) return TC_ACT_SHOT;
  __u8 after = before - 1;
  bpf_l3_csum_replace(skb, OFFSET_OF_IP(check), bpf_htons(before << 8), bpf_htons(after << 8), 2);
  bpf_skb_store_bytes(skb, OFFSET_OF_IP(ttl), &after, sizeof(after), 0);
  return TC_ACT_OK;
}

// After the helper changed the packet the old pointer is void.
SEC("tc")
int keeps_a_stale_pointer(struct __sk_buff* skb) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  struct iphdr* ip = data + ETH_HLEN;
  if ((void*)(ip + 1) > end) return TC_ACT_OK;
  __u8 zero = 0;
  bpf_skb_store_bytes(skb, OFFSET_OF_IP(tos), &zero, sizeof(zero), 0);
  return ip->ttl > 1 ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
