// Objects of the program's own types: made, looked at, counted, given back.
#include "objects.h"

struct part {
  __u16 code;
  __u16 size;
};

struct record {
  __u32 count;
  __u32 marks[5];
  struct part parts[3];
  void* anything;
  struct part* other;
  struct bpf_spin_lock lock;
};

struct shared {
  __u64 value;
  struct bpf_refcount uses;
};

struct packed_bits {
  __u32 low : 3;
  __u32 high : 13;
  __u64 wide;
  union {
    __u32 halves[2];
    __u64 whole;
  };
  char tail[5];
};

// The kernel knows of fields that a structure has itself, not of those of structures within it.
struct within {
  struct bpf_spin_lock lock;
  __u32 count;
};
struct around {
  __u64 count;
  struct within within;
};

struct counters {
  __u64 packets;
  __u64 bytes;
};

struct too_large {
  __u8 bytes[520];
};

SEC("tc")
int made_and_given_back(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  r->count = skb->len;
  r->marks[4] = 7;
  r->parts[2].size = r->marks[0];
  __sync_fetch_and_add(&r->count, 1);
  DROP(r);
  return 0;
}

SEC("tc")
int not_given_back(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  return r->count & 1;
}

SEC("tc")
int not_compared_with_null(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  r->count = 1;
  DROP(r);
  return 0;
}

SEC("tc")
int given_back_unchecked(struct __sk_buff* skb) {
  DROP(NEW(struct record));
  return 0;
}

SEC("tc")
int used_after_it_was_given_back(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  DROP(r);
  return r->count;
}

SEC("tc")
int given_back_twice(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  DROP(r);
  DROP(r);
  return 0;
}

SEC("tc")
int beyond_its_end(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  *((volatile __u32*)(r + 1)) = 1;
  DROP(r);
  return 0;
}

SEC("tc")
int across_members(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  int sum = *((volatile __u64*)r) & 1;
  DROP(r);
  return sum;
}

SEC("tc")
int two_elements_at_once(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  int sum = *((volatile __u64*)&r->marks[1]) & 1;
  DROP(r);
  return sum;
}

SEC("tc")
int a_lock_as_bytes(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  int held = *((volatile __u32*)&r->lock) & 1;
  DROP(r);
  return held;
}

SEC("tc")
int a_variable_index(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  __u32 i = skb->len & 3;
  *(volatile __u32*)&r->marks[i] = 1;
  DROP(r);
  return 0;
}

// A pointer that lies in an object may be anything: reading through it is safe, writing is not.
SEC("tc")
int reads_through_a_member(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  r->anything = 0;
  __u64* p = *(void* volatile*)&r->anything;
  int got = p[5] & 1;
  DROP(r);
  return got;
}

SEC("tc")
int writes_through_a_member(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  __u64* p = *(void* volatile*)&r->anything;
  p[0] = 1;
  DROP(r);
  return 0;
}

SEC("tc")
int a_structure_through_a_member(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  struct part* p = *(struct part* volatile*)&r->other;
  int code = p->code & 1;
  DROP(r);
  return code;
}

SEC("tc")
int half_a_pointer(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  int half = *((volatile __u32*)&r->anything) & 1;
  DROP(r);
  return half;
}

SEC("tc")
int bit_fields(struct __sk_buff* skb) {
  struct packed_bits* b = NEW(struct packed_bits);
  if (!b) return 1;
  b->low = 5;
  b->high = skb->len;
  b->halves[1] = 1;
  b->whole++;
  int sum = (b->low + b->high) & 1;
  DROP(b);
  return sum;
}

SEC("tc")
int between_members(struct __sk_buff* skb) {
  struct packed_bits* b = NEW(struct packed_bits);
  if (!b) return 1;
  int got = *((volatile __u8*)b + 5) & 1;
  DROP(b);
  return got;
}

SEC("tc")
int beyond_an_array(struct __sk_buff* skb) {
  struct packed_bits* b = NEW(struct packed_bits);
  if (!b) return 1;
  int got = *(volatile __u32*)(b->tail + 2) & 1;
  DROP(b);
  return got;
}

SEC("tc")
int before_its_start(struct __sk_buff* skb) {
  struct packed_bits* b = NEW(struct packed_bits);
  if (!b) return 1;
  int got = *((volatile __u8*)b - 4) & 1;
  DROP(b);
  return got;
}

SEC("tc")
int a_part_given_back(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  DROP(&r->parts);
  return 0;
}

SEC("tc")
int a_lock_within(struct __sk_buff* skb) {
  struct around* a = NEW(struct around);
  if (!a) return 1;
  bpf_spin_lock(&a->within.lock);
  bpf_spin_unlock(&a->within.lock);
  DROP(a);
  return 0;
}

SEC("tc")
int compared_by_a_copy(struct __sk_buff* skb) {
  struct record *r = NEW(struct record), *copy = r;
  asm volatile("" : "+r"(copy));
  if (!copy) return 1;
  DROP(r);
  return 0;
}

SEC("tc")
int no_object_at_all(struct __sk_buff* skb) {
  DROP(skb);
  return 0;
}

SEC("tc")
int a_socket_given_back(struct __sk_buff* skb) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_sock* sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), -1, 0);
  if (!sk) return 1;
  DROP(sk);
  return 0;
}

SEC("tc")
int an_object_released_as_a_socket(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  bpf_sk_release((void*)r);
  return 0;
}

SEC("tc")
int locked(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  bpf_spin_lock(&r->lock);
  r->count++;
  bpf_spin_unlock(&r->lock);
  DROP(r);
  return 0;
}

SEC("tc")
int unlocks_another(struct __sk_buff* skb) {
  struct record* a = NEW(struct record);
  if (!a) return 1;
  struct record* b = NEW(struct record);
  if (b) {
    bpf_spin_lock(&a->lock);
    bpf_spin_unlock(&b->lock);
    DROP(b);
  }
  DROP(a);
  return 0;
}

SEC("tc")
int given_back_with_the_lock_held(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  bpf_spin_lock(&r->lock);
  DROP(r);
  return 0;
}

SEC("tc")
int of_an_unknown_type(struct __sk_buff* skb) {
  void* p = bpf_obj_new_impl(skb->len, 0);
  if (p) DROP(p);
  return 0;
}

SEC("tc")
int of_no_structure(struct __sk_buff* skb) {
  void* p = bpf_obj_new_impl(bpf_core_type_id_local(__u64), 0);
  if (p) DROP(p);
  return 0;
}

SEC("tc")
int passed_to_a_helper(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  bpf_skb_load_bytes(skb, 0, r->parts, 4);
  DROP(r);
  return 0;
}

SEC("tc")
int returned(struct __sk_buff* skb) {
  return (long)NEW(struct record);
}

static __attribute__((noinline)) int fill(struct record* r, int n) {
  for (int i = 0; i < 5; ++i) {
    if (i < n) r->marks[i] = i;
  }
  return n;
}

SEC("tc")
int filled_by_a_function(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  fill(r, skb->len);
  DROP(r);
  return 0;
}

static __attribute__((noinline)) void give_back(struct record* r) { DROP(r); }

SEC("tc")
int given_back_by_a_function(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  give_back(r);
  return 0;
}

__attribute__((noinline)) int sum_of(struct part* p) { return p ? p->code + p->size : 0; }

SEC("tc")
int given_to_a_global_function(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  int sum = sum_of(&r->parts[1]);
  DROP(r);
  return sum & 1;
}

SEC("tc")
int counted(struct __sk_buff* skb) {
  struct shared* s = NEW(struct shared);
  if (!s) return 1;
  struct shared* again = bpf_refcount_acquire_impl(s, 0);  // who owns one can have another
  again->value = 1;
  DROP(s);
  int value = again->value & 1;
  DROP(again);
  return value;
}

SEC("tc")
int one_of_two_given_back(struct __sk_buff* skb) {
  struct shared* s = NEW(struct shared);
  if (!s) return 1;
  struct shared* again = bpf_refcount_acquire_impl(s, 0);
  DROP(s);
  return again->value & 1;
}

SEC("tc")
int without_a_counter(struct __sk_buff* skb) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  struct record* again = bpf_refcount_acquire_impl(r, 0);
  DROP(r);
  DROP(again);
  return 0;
}

SEC("tc")
int a_copy_for_each_processor(struct __sk_buff* skb) {
  struct counters* c = NEW_PERCPU(struct counters);
  if (!c) return 1;
  bpf_percpu_obj_drop_impl(c, 0);
  return 0;
}

SEC("tc")
int a_copy_is_not_accessed_directly(struct __sk_buff* skb) {
  struct counters* c = NEW_PERCPU(struct counters);
  if (!c) return 1;
  c->packets++;
  bpf_percpu_obj_drop_impl(c, 0);
  return 0;
}

SEC("tc")
int own_copies_before_they_are_kept(struct __sk_buff* skb) {
  struct counters* c = NEW_PERCPU(struct counters);
  if (!c) return 1;
  struct counters* mine = bpf_this_cpu_ptr(c);
  mine->packets++;
  bpf_percpu_obj_drop_impl(c, 0);
  return 0;
}

SEC("tc")
int copies_given_back_as_one(struct __sk_buff* skb) {
  struct counters* c = NEW_PERCPU(struct counters);
  if (!c) return 1;
  DROP(c);
  return 0;
}

SEC("tc")
int one_given_back_as_copies(struct __sk_buff* skb) {
  struct counters* c = NEW(struct counters);
  if (!c) return 1;
  bpf_percpu_obj_drop_impl(c, 0);
  return 0;
}

SEC("tc")
int copies_with_pointers(struct __sk_buff* skb) {
  struct record* r = NEW_PERCPU(struct record);
  if (!r) return 1;
  bpf_percpu_obj_drop_impl(r, 0);
  return 0;
}

SEC("tc")
int copies_too_large(struct __sk_buff* skb) {
  struct too_large* t = NEW_PERCPU(struct too_large);
  if (!t) return 1;
  bpf_percpu_obj_drop_impl(t, 0);
  return 0;
}

SEC("socket")
int not_for_this_type(struct __sk_buff* skb) {
  struct counters* c = NEW(struct counters);
  if (!c) return 1;
  DROP(c);
  return 0;
}

SEC("syscall")
int from_user_space(void* ctx) {
  struct record* r = NEW(struct record);
  if (!r) return 1;
  r->count = 1;
  DROP(r);
  return 0;
}

char _license[] SEC("license") = "GPL";
