// Global functions are verified once, by their prototypes: pointers may be null, numbers may be anything.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct pair {
  __u64 first, second;
};

__noinline int sum(const struct pair* p) {
  if (!p) return 0;
  return p->first + p->second;
}

__noinline int clamp(int value) {
  if (value < 0) return 0;
  if (value > 63) return 63;
  return value;
}

__noinline int length(struct __sk_buff* skb) { return skb->len; }

__noinline int unchecked(const struct pair* p) { return p->first; }

__noinline int fill(struct pair* p, int index) {
  if (!p || index < 0 || index > 1) return -1;
  (&p->first)[index] = 7;
  return 0;
}

SEC("tc")
int calls_them(struct __sk_buff* skb) {
  struct pair p = {skb->len, 2};
  char bytes[64] = {};
  if (fill(&p, skb->mark & 1)) return 0;
  int index = clamp(sum(&p)) & 63;
  bytes[index] = 1;
  return bytes[length(skb) & 63];
}

SEC("tc")
int trusts_the_result(struct __sk_buff* skb) {
  char bytes[64] = {};
  bytes[clamp(skb->len)] = 1;
  return bytes[skb->mark & 63];
}

SEC("tc")
int calls_one_that_forgets_the_check(struct __sk_buff* skb) {
  struct pair p = {1, 2};
  return unchecked(&p);
}

char _license[] SEC("license") = "GPL";
