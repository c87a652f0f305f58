// Fields that the kernel manages inside a map's value: a lock around an update, a timer that is armed.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct bucket {
  struct bpf_spin_lock lock;
  __u32 tokens;
  __u64 refilled;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, struct bucket);
} buckets SEC(".maps");

struct alarm {
  __u64 rings;
  struct bpf_timer timer;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct alarm);
} alarms SEC(".maps");

SEC("tc")
int take_a_token(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  struct bucket* b = bpf_map_lookup_elem(&buckets, &key);
  if (!b) return 0;
  __u64 now = bpf_ktime_get_ns();
  int allowed = 0;
  bpf_spin_lock(&b->lock);
  if (now - b->refilled > 1000000) {
    b->tokens = 100;
    b->refilled = now;
  }
  if (b->tokens) {
    b->tokens -= 1;
    allowed = 1;
  }
  bpf_spin_unlock(&b->lock);
  return allowed ? 0 : 2;
}

SEC("tc")
int asks_the_time_with_the_lock_held(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  struct bucket* b = bpf_map_lookup_elem(&buckets, &key);
  if (!b) return 0;
  bpf_spin_lock(&b->lock);
  b->refilled = bpf_ktime_get_ns();
  bpf_spin_unlock(&b->lock);
  return 0;
}

static int ring(void* map, __u32* key, struct alarm* a) {
  a->rings += 1;
  bpf_timer_start(&a->timer, 1000000000, 0);
  return 0;
}

SEC("tc")
int arm(struct __sk_buff* skb) {
  __u32 key = 0;
  struct alarm* a = bpf_map_lookup_elem(&alarms, &key);
  if (!a) return 0;
  bpf_timer_init(&a->timer, &alarms, 1);
  bpf_timer_set_callback(&a->timer, ring);
  bpf_timer_start(&a->timer, 1000000000, 0);
  return 0;
}

char _license[] SEC("license") = "GPL";
