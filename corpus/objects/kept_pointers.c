// Pointers that are kept in memory from one run to the next: in values of maps, and in objects.
#include "objects.h"

struct box {
  __u64 weight;
  __u32 label[2];
};

struct crate {
  struct box KPTR* inside;
  __u64 weight;
};

struct knot {
  struct bpf_rb_node link;
  struct box KPTR* load;
  __u64 key;
};

// In a tree, or kept, or both.
struct shared {
  struct bpf_rb_node link;
  struct bpf_refcount uses;
  __u64 key;
};

struct drawer {
  struct bpf_spin_lock lock;
  struct box KPTR* box;
  struct shared KPTR* shared;
  struct bpf_rb_root tree CONTAINS(shared, link);
};

struct counters {
  __u64 packets;
  __u64 bytes;
};

struct chain {
  struct chain* next;
  __u64 value;
  union {
    __u32 small;
    __u64 large;
  };
};

// Structures that the kernel has too, by name.
struct task_struct {
  int pid;
} __attribute__((preserve_access_index));
struct cgroup {
  int level;
} __attribute__((preserve_access_index));

struct shelf {
  __u64 uses;
  struct box KPTR* box;
  struct crate KPTR* crate;
  struct box KPTR_UNTRUSTED* seen;
  struct chain KPTR_UNTRUSTED* chain;
  struct counters KPTR_PERCPU* counters;
  struct knot KPTR* knot;
  struct task_struct KPTR* task;
  struct task_struct KPTR_UNTRUSTED* seen_task;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct shelf);
} shelves SEC(".maps");

struct row {
  struct box KPTR* boxes[4];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct row);
} rows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct drawer);
} drawers SEC(".maps");

struct belonging {
  struct box KPTR* box;
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct belonging);
} belongings SEC(".maps");

#define PRIVATE(name) SEC(".data." #name) __attribute__((aligned(8)))
PRIVATE(a) struct bpf_spin_lock lock;
PRIVATE(a) struct bpf_rb_root tree CONTAINS(knot, link);

static struct shelf* shelf_of(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  return bpf_map_lookup_elem(&shelves, &key);
}

static struct drawer* first_drawer(void) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&drawers, &key);
}

// A structure is described only where it is used as one.
SEC("tc")
int one_of_each(struct __sk_buff* skb) {
  struct knot* k = NEW(struct knot);
  struct chain* c = NEW(struct chain);
  struct shared* s = NEW(struct shared);
  if (k) DROP(k);
  if (c) DROP(c);
  if (s) DROP(s);
  return 0;
}

SEC("tc")
int put_and_taken(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = NEW(struct box);
  if (!b) return 0;
  b->weight = 1;
  b = bpf_kptr_xchg(&s->box, b);
  if (!b) return 0;
  int weight = b->weight & 1;
  DROP(b);
  return weight;
}

SEC("tc")
int taken_and_lost(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  return bpf_kptr_xchg(&s->box, 0) != 0;
}

SEC("tc")
int used_after_it_was_put(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = NEW(struct box);
  if (!b) return 0;
  struct box* old = bpf_kptr_xchg(&s->box, b);
  if (old) DROP(old);
  return b->weight & 1;
}

SEC("tc")
int put_unchecked(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* old = bpf_kptr_xchg(&s->box, NEW(struct box));
  if (old) DROP(old);
  return 0;
}

SEC("tc")
int put_the_wrong_type(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct counters* c = NEW(struct counters);
  if (!c) return 0;
  void* old = bpf_kptr_xchg(&s->box, c);
  if (old) DROP(old);
  return 0;
}

SEC("tc")
int put_a_part(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = NEW(struct box);
  if (!b) return 0;
  void* old = bpf_kptr_xchg(&s->box, (void*)&b->label);
  if (old) DROP(old);
  return 0;
}

SEC("tc")
int put_a_number(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  void* old = bpf_kptr_xchg(&s->box, (void*)(long)skb->len);
  if (old) DROP(old);
  return 0;
}

SEC("tc")
int put_where_none_is(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  void* old = bpf_kptr_xchg(&s->uses, 0);
  if (old) DROP(old);
  return 0;
}

SEC("tc")
int put_where_nothing_is_held(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  void* old = bpf_kptr_xchg(&s->seen, 0);
  if (old) DROP(old);
  return 0;
}

// What is read is there as long as readers may be: this program, as it does not sleep.
SEC("tc")
int looked_at(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->box;
  if (!b) return 0;
  b->weight++;
  return b->label[1] & 1;
}

SEC("tc")
int looked_at_unchecked(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  return s->box->weight & 1;
}

SEC("tc")
int looked_at_and_dropped(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->box;
  if (b) DROP(b);
  return 0;
}

SEC("tc")
int looked_at_and_put(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->box;
  if (!b) return 0;
  b = bpf_kptr_xchg(&s->box, b);
  if (b) DROP(b);
  return 0;
}

SEC("tc")
int stored(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  *(volatile __u64*)&s->box = 0;
  return 0;
}

SEC("tc")
int half_of_it(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  return *(volatile __u32*)&s->box & 1;
}

SEC("tc")
int exchanged_as_a_number(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  return __sync_lock_test_and_set((__u64*)&s->box, 0) & 1;
}

SEC("tc")
int filled_by_a_helper(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  bpf_skb_load_bytes(skb, 0, s, 16);
  return 0;
}

SEC("tc")
int seen(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->seen;
  return b ? b->weight & 1 : 2;
}

SEC("tc")
int seen_and_written(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->seen;
  if (b) b->weight = 1;
  return 0;
}

SEC("tc")
int seen_is_put(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = s->seen;
  s->seen = b;
  s->seen = 0;
  return 0;
}

SEC("tc")
int seen_is_any_number(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  *(volatile __u64*)&s->seen = skb->len;
  return 0;
}

SEC("tc")
int seen_is_a_constant(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  *(volatile __u64*)&s->seen = 1;
  return 0;
}

SEC("tc")
int owned_is_seen(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = NEW(struct box);
  if (!b) return 0;
  *(struct box* volatile*)&s->seen = b;
  DROP(b);
  return 0;
}

SEC("tc")
int along_a_chain(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct chain* c = s->chain;
  if (!c) return 0;
  return (c->next->next->value + c->next->small) & 1;
}

SEC("tc")
int beyond_a_chain(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct chain* c = s->chain;
  if (!c) return 0;
  return *(volatile __u32*)(c + 1) & 1;
}

SEC("tc")
int inside_an_object(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct crate* c = NEW(struct crate);
  if (!c) return 0;
  struct box* b = NEW(struct box);
  if (b) {
    b = bpf_kptr_xchg(&c->inside, b);
    if (b) DROP(b);
  }
  c = bpf_kptr_xchg(&s->crate, c);
  if (c) DROP(c);
  return 0;
}

SEC("tc")
int inside_an_object_as_a_number(struct __sk_buff* skb) {
  struct crate* c = NEW(struct crate);
  if (!c) return 0;
  int some = *(volatile __u64*)&c->inside != 0;
  DROP(c);
  return some;
}

SEC("tc")
int inside_what_is_looked_at(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct crate* c = s->crate;
  if (!c) return 0;
  struct box* b = bpf_kptr_xchg(&c->inside, 0);
  if (b) DROP(b);
  return 0;
}

SEC("tc")
int inside_what_lies_in_a_tree(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct knot* n = s->knot;
  if (!n) return 0;
  struct box* b = bpf_kptr_xchg(&n->load, 0);
  if (b) DROP(b);
  return 0;
}

static bool less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return HOLDER(a, struct knot, link)->key < HOLDER(b, struct knot, link)->key;
}

SEC("tc")
int from_a_shelf_into_a_tree(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct knot* n = bpf_kptr_xchg(&s->knot, 0);
  if (!n) return 0;
  bpf_spin_lock(&lock);
  bpf_rbtree_add_impl(&tree, &n->link, less, 0, 0);
  bpf_spin_unlock(&lock);
  return 0;
}

SEC("tc")
int from_a_tree_onto_a_shelf(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  bpf_spin_lock(&lock);
  struct bpf_rb_node* r = bpf_rbtree_first(&tree);
  if (r) r = bpf_rbtree_remove(&tree, r);
  bpf_spin_unlock(&lock);
  if (!r) return 0;
  struct knot* n = bpf_kptr_xchg(&s->knot, HOLDER(r, struct knot, link));
  if (n) DROP(n);
  return 0;
}

SEC("tc")
int counters_of_each_processor(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct counters* c = s->counters;
  if (!c) {
    c = NEW_PERCPU(struct counters);
    if (!c) return 0;
    c = bpf_kptr_xchg(&s->counters, c);
    if (c) bpf_percpu_obj_drop_impl(c, 0);
    return 0;
  }
  struct counters* mine = bpf_this_cpu_ptr(c);
  mine->packets++;
  mine->bytes += skb->len;
  return 0;
}

SEC("tc")
int counters_of_one_processor(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct counters* c = s->counters;
  if (!c) return 0;
  struct counters* other = bpf_per_cpu_ptr(c, 1);
  return other ? other->packets & 1 : 2;
}

SEC("tc")
int counters_still_looked_at(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct counters* c = NEW_PERCPU(struct counters);
  if (!c) return 0;
  struct counters* old = bpf_kptr_xchg(&s->counters, c);
  if (old) bpf_percpu_obj_drop_impl(old, 0);
  struct counters* mine = bpf_this_cpu_ptr(c);
  return mine->packets & 1;
}

SEC("tc")
int one_box_for_every_processor(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct counters* c = NEW(struct counters);
  if (!c) return 0;
  struct counters* old = bpf_kptr_xchg(&s->counters, c);
  if (old) bpf_percpu_obj_drop_impl(old, 0);
  return 0;
}

SEC("tc")
int one_of_a_row(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  struct row* r = bpf_map_lookup_elem(&rows, &key);
  if (!r) return 0;
  struct box* b = bpf_kptr_xchg(&r->boxes[3], 0);
  if (b) DROP(b);
  return 0;
}

SEC("tc")
int any_of_a_row(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  struct row* r = bpf_map_lookup_elem(&rows, &key);
  if (!r) return 0;
  struct box* b = bpf_kptr_xchg(&r->boxes[skb->len & 3], 0);
  if (b) DROP(b);
  return 0;
}

SEC("tc")
int kept_with_a_socket(struct __sk_buff* skb) {
  struct bpf_sock* sk = skb->sk;
  if (!sk) return 0;
  sk = bpf_sk_fullsock(sk);
  if (!sk) return 0;
  struct belonging* b = bpf_sk_storage_get(&belongings, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!b) return 0;
  struct box* box = bpf_kptr_xchg(&b->box, 0);
  if (box) DROP(box);
  return 0;
}

SEC("tc")
int shared_is_looked_at(struct __sk_buff* skb) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct shared* s = d->shared;
  if (!s) return 0;
  s->key++;
  s = bpf_refcount_acquire_impl(s, 0);
  if (s) DROP(s);
  return 0;
}

SEC("tc")
int shared_is_found_in_the_tree(struct __sk_buff* skb) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct shared* s = d->shared;
  if (!s) return 0;
  bpf_spin_lock(&d->lock);
  struct bpf_rb_node* n = bpf_rbtree_remove(&d->tree, &s->link);
  bpf_spin_unlock(&d->lock);
  if (n) DROP(HOLDER(n, struct shared, link));
  return 0;
}

// An unlock, of whatever, ends what is not owned.
SEC("tc")
int shared_after_an_unlock(struct __sk_buff* skb) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct shared* s = d->shared;
  if (!s) return 0;
  bpf_spin_lock(&d->lock);
  bpf_spin_unlock(&d->lock);
  s->key++;
  return 0;
}

SEC("tc")
int exchanged_with_the_lock_held(struct __sk_buff* skb) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  bpf_spin_lock(&d->lock);
  struct box* b = bpf_kptr_xchg(&d->box, 0);
  bpf_spin_unlock(&d->lock);
  if (b) DROP(b);
  return 0;
}

// A program that sleeps has to hold a lock to keep what it looks at.
SEC("syscall")
int asleep_it_cannot_be_relied_upon(void* ctx) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct box* b = d->box;
  return b ? b->weight & 1 : 2;
}

SEC("syscall")
int asleep_it_cannot_be_written(void* ctx) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct box* b = d->box;
  if (b) b->weight = 1;
  return 0;
}

SEC("syscall")
int asleep_with_the_lock(void* ctx) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  bpf_spin_lock(&d->lock);
  struct box* b = d->box;
  if (b) b->weight = 1;
  bpf_spin_unlock(&d->lock);
  return 0;
}

SEC("syscall")
int asleep_after_the_lock(void* ctx) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  bpf_spin_lock(&d->lock);
  struct box* b = d->box;
  bpf_spin_unlock(&d->lock);
  if (b) b->weight = 1;
  return 0;
}

SEC("syscall")
int asleep_shared_after_the_lock(void* ctx) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  bpf_spin_lock(&d->lock);
  struct shared* s = d->shared;
  bpf_spin_unlock(&d->lock);
  if (s) s->key = 1;
  return 0;
}

SEC("tc")
int stored_through_several_kinds(struct __sk_buff* skb) {
  struct drawer* d = first_drawer();
  if (!d) return 0;
  struct box* own = NEW(struct box);
  struct box* at = skb->len > 50 ? own : d->box;
  if (at) *(volatile __u64*)&at->weight = 1;
  if (own) DROP(own);
  return 0;
}

SEC("tc")
int loaded_through_several_kinds(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* at = skb->len > 50 ? s->box : s->seen;
  return at ? *(volatile __u64*)&at->weight & 1 : 2;
}

SEC("tc")
int a_task_is_read(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct task_struct* t = s->task;
  return t ? t->pid & 1 : 2;
}

SEC("tc")
int a_task_is_written(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct task_struct* t = s->seen_task;
  if (t) t->pid = 1;
  return 0;
}

SEC("tc")
int a_task_is_seen(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct task_struct* t = s->task;
  if (!t) return 0;
  s->seen_task = t;
  return 0;
}

SEC("tc")
int a_task_is_taken_and_lost(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  return bpf_kptr_xchg(&s->task, 0) != 0;
}

SEC("tc")
int a_task_is_put_back(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct task_struct* t = bpf_kptr_xchg(&s->task, 0);
  if (!t) return 0;
  t = bpf_kptr_xchg(&s->task, t);
  return 0;
}

SEC("tc")
int a_box_instead_of_a_task(struct __sk_buff* skb) {
  struct shelf* s = shelf_of(skb);
  if (!s) return 0;
  struct box* b = NEW(struct box);
  if (!b) return 0;
  void* t = bpf_kptr_xchg(&s->task, (void*)b);
  return t != 0;
}

char _license[] SEC("license") = "GPL";
