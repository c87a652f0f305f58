// Lists and trees of the program's own objects, and the lock that lies beside each.
#include "objects.h"

struct item {
  __u64 key;
  struct bpf_list_node node;
  struct bpf_list_node second;
  __u64 value;
};

struct leaf {
  struct bpf_rb_node node;
  __u64 key;
};

// In a list and in a tree at once: for that it is counted.
struct both {
  __u64 key;
  struct bpf_rb_node in_tree;
  struct bpf_list_node in_list;
  struct bpf_refcount uses;
};

struct queue {
  struct bpf_spin_lock lock;
  struct bpf_list_head items CONTAINS(item, node);
};

struct forest {
  __u64 trees;
  struct bpf_spin_lock lock;
  struct bpf_rb_root leaves CONTAINS(leaf, node);
  struct bpf_rb_root tree CONTAINS(both, in_tree);
  struct bpf_list_head list CONTAINS(both, in_list);
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct queue);
} queues SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct forest);
} forests SEC(".maps");

#define PRIVATE(name) SEC(".data." #name) __attribute__((aligned(8)))
PRIVATE(one) struct bpf_spin_lock global_lock;
PRIVATE(one) struct bpf_list_head global_items CONTAINS(item, node);
PRIVATE(one) struct bpf_list_head by_second CONTAINS(item, second);
PRIVATE(two) struct bpf_spin_lock other_lock;
PRIVATE(two) struct bpf_list_head other_items CONTAINS(item, node);

static bool leaf_less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return HOLDER(a, struct leaf, node)->key < HOLDER(b, struct leaf, node)->key;
}

static bool both_less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return HOLDER(a, struct both, in_tree)->key < HOLDER(b, struct both, in_tree)->key;
}

static struct queue* queue_of(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  return bpf_map_lookup_elem(&queues, &key);
}

static struct forest* forest_of(struct __sk_buff* skb) {
  __u32 key = skb->ifindex;
  return bpf_map_lookup_elem(&forests, &key);
}

SEC("tc")
int pushed_and_popped(struct __sk_buff* skb) {
  struct queue* q = queue_of(skb);
  if (!q) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  i->key = skb->len;
  bpf_spin_lock(&q->lock);
  bpf_list_push_back_impl(&q->items, &i->node, 0, 0);
  i->value = 1;  // not owned any more, but there as long as the lock is held
  struct bpf_list_node* n = bpf_list_pop_front(&q->items);
  bpf_spin_unlock(&q->lock);
  if (!n) return 0;
  i = HOLDER(n, struct item, node);
  int key = i->key & 1;
  DROP(i);
  return key;
}

SEC("tc")
int popped_and_lost(struct __sk_buff* skb) {
  struct queue* q = queue_of(skb);
  if (!q) return 0;
  bpf_spin_lock(&q->lock);
  struct bpf_list_node* n = bpf_list_pop_back(&q->items);
  bpf_spin_unlock(&q->lock);
  return n != 0;
}

SEC("tc")
int used_after_the_unlock(struct __sk_buff* skb) {
  struct queue* q = queue_of(skb);
  if (!q) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  bpf_spin_lock(&q->lock);
  bpf_list_push_back_impl(&q->items, &i->node, 0, 0);
  bpf_spin_unlock(&q->lock);
  return i->key & 1;
}

SEC("tc")
int pushed_twice(struct __sk_buff* skb) {
  struct queue* q = queue_of(skb);
  if (!q) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  bpf_spin_lock(&q->lock);
  bpf_list_push_back_impl(&q->items, &i->node, 0, 0);
  bpf_list_push_back_impl(&q->items, &i->node, 0, 0);
  bpf_spin_unlock(&q->lock);
  return 0;
}

SEC("tc")
int without_the_lock(struct __sk_buff* skb) {
  struct queue* q = queue_of(skb);
  if (!q) return 0;
  struct bpf_list_node* n = bpf_list_pop_front(&q->items);
  if (n) DROP(HOLDER(n, struct item, node));
  return 0;
}

SEC("tc")
int under_the_lock_of_another(struct __sk_buff* skb) {
  bpf_spin_lock(&global_lock);
  struct bpf_list_node* n = bpf_list_pop_front(&other_items);
  bpf_spin_unlock(&global_lock);
  if (n) DROP(HOLDER(n, struct item, node));
  return 0;
}

SEC("tc")
int under_the_lock_of_another_value(struct __sk_buff* skb) {
  struct queue *q = queue_of(skb), *p = queue_of(skb);
  if (!q || !p) return 0;
  bpf_spin_lock(&q->lock);
  struct bpf_list_node* n = bpf_list_pop_front(&p->items);
  bpf_spin_unlock(&q->lock);
  if (n) DROP(HOLDER(n, struct item, node));
  return 0;
}

SEC("tc")
int by_the_wrong_node(struct __sk_buff* skb) {
  struct item* i = NEW(struct item);
  if (!i) return 0;
  bpf_spin_lock(&global_lock);
  bpf_list_push_front_impl(&by_second, &i->node, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

SEC("tc")
int of_the_wrong_type(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  bpf_spin_lock(&f->lock);
  bpf_list_push_front_impl(&f->list, &i->node, 0, 0);
  bpf_spin_unlock(&f->lock);
  return 0;
}

SEC("tc")
int looked_at(struct __sk_buff* skb) {
  int key = 0;
  bpf_spin_lock(&global_lock);
  struct bpf_list_node* n = bpf_list_front(&global_items);
  if (n) {
    struct item* i = HOLDER(n, struct item, node);
    key = i->key & 1;
    i->value++;
  }
  n = bpf_list_back(&by_second);
  if (n) key += HOLDER(n, struct item, second)->key & 1;
  bpf_spin_unlock(&global_lock);
  return key;
}

SEC("tc")
int looked_at_and_dropped(struct __sk_buff* skb) {
  bpf_spin_lock(&global_lock);
  struct bpf_list_node* n = bpf_list_front(&global_items);
  bpf_spin_unlock(&global_lock);
  if (n) DROP(HOLDER(n, struct item, node));
  return 0;
}

SEC("tc")
int looked_at_unchecked(struct __sk_buff* skb) {
  bpf_spin_lock(&global_lock);
  struct bpf_list_node* n = bpf_list_front(&global_items);
  int key = HOLDER(n, struct item, node)->key & 1;
  bpf_spin_unlock(&global_lock);
  return key;
}

SEC("tc")
int walked_in_order(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  l->key = skb->len;
  bpf_spin_lock(&f->lock);
  bpf_rbtree_add_impl(&f->leaves, &l->node, leaf_less, 0, 0);
  struct bpf_rb_node* n = bpf_rbtree_root(&f->leaves);
  for (int depth = 0; n && depth < 4; ++depth) {
    struct leaf* at = HOLDER(n, struct leaf, node);
    n = at->key > 10 ? bpf_rbtree_left(&f->leaves, n) : bpf_rbtree_right(&f->leaves, n);
  }
  if (n) n = bpf_rbtree_remove(&f->leaves, n);
  bpf_spin_unlock(&f->lock);
  if (n) DROP(HOLDER(n, struct leaf, node));
  return 0;
}

SEC("tc")
int first_out(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  bpf_spin_lock(&f->lock);
  struct bpf_rb_node* n = bpf_rbtree_first(&f->leaves);
  if (!n) {
    bpf_spin_unlock(&f->lock);
    return 0;
  }
  n = bpf_rbtree_remove(&f->leaves, n);
  bpf_spin_unlock(&f->lock);
  if (!n) return 0;
  struct leaf* l = HOLDER(n, struct leaf, node);
  int key = l->key & 1;
  DROP(l);
  return key;
}

SEC("tc")
int removed_what_is_owned(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&f->lock);
  struct bpf_rb_node* n = bpf_rbtree_remove(&f->leaves, &l->node);
  bpf_spin_unlock(&f->lock);
  if (n) DROP(HOLDER(n, struct leaf, node));
  DROP(l);
  return 0;
}

SEC("tc")
int a_child_after_the_unlock(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  bpf_spin_lock(&f->lock);
  struct bpf_rb_node* n = bpf_rbtree_root(&f->leaves);
  bpf_spin_unlock(&f->lock);
  if (!n) return 0;
  bpf_spin_lock(&f->lock);
  n = bpf_rbtree_left(&f->leaves, n);
  bpf_spin_unlock(&f->lock);
  return 0;
}

static bool order_that_unlocks(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_spin_unlock(&global_lock);
  return 0;
}

PRIVATE(one) struct bpf_rb_root global_leaves CONTAINS(leaf, node);

SEC("tc")
int the_order_unlocks(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, order_that_unlocks, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

static bool order_that_removes(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_rbtree_remove(&global_leaves, a);
  return 0;
}

SEC("tc")
int the_order_removes(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, order_that_removes, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

static bool order_beyond(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return *(volatile __u64*)((char*)a + sizeof(struct leaf)) > 1;
}

SEC("tc")
int the_order_reads_beyond(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, order_beyond, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

static int order_of_three(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return HOLDER(a, struct leaf, node)->key > 1 ? 2 : 0;
}

SEC("tc")
int the_order_returns_too_much(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, (void*)order_of_three, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

static bool order_that_keeps(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_refcount_acquire_impl(HOLDER(a, struct both, in_tree), 0);
  return 0;
}

SEC("tc")
int the_order_keeps_an_element(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct both* b = NEW(struct both);
  if (!b) return 0;
  bpf_spin_lock(&f->lock);
  bpf_rbtree_add_impl(&f->tree, &b->in_tree, order_that_keeps, 0, 0);
  bpf_spin_unlock(&f->lock);
  return 0;
}

static bool order_that_looks_up(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&queues, &key) != 0;
}

SEC("tc")
int the_order_looks_up(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, order_that_looks_up, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

SEC("tc")
int without_an_order(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  bpf_spin_lock(&global_lock);
  bpf_rbtree_add_impl(&global_leaves, &l->node, 0, 0, 0);
  bpf_spin_unlock(&global_lock);
  return 0;
}

SEC("tc")
int many_in_a_loop(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  for (int i = 0; i < 5; ++i) {
    struct both* b = NEW(struct both);
    if (!b) return 0;
    b->key = i;
    struct both* kept = bpf_refcount_acquire_impl(b, 0);
    bpf_spin_lock(&f->lock);
    kept->key += bpf_rbtree_add_impl(&f->tree, &b->in_tree, both_less, 0, 0);
    bpf_spin_unlock(&f->lock);
    DROP(kept);
  }
  return 0;
}

SEC("tc")
int no_list_at_all(struct __sk_buff* skb) {
  bpf_spin_lock(&global_lock);
  bpf_list_pop_front((void*)skb);
  bpf_spin_unlock(&global_lock);
  return 0;
}

SEC("tc")
int in_a_list_and_a_tree(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct both* b = NEW(struct both);
  if (!b) return 0;
  struct both* again = bpf_refcount_acquire_impl(b, 0);
  bpf_spin_lock(&f->lock);
  bpf_rbtree_add_impl(&f->tree, &b->in_tree, both_less, 0, 0);
  bpf_list_push_back_impl(&f->list, &again->in_list, 0, 0);
  b->key = 1;
  again->key = 2;
  bpf_spin_unlock(&f->lock);
  return 0;
}

SEC("tc")
int counted_while_it_is_not_owned(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  struct both* kept = 0;
  bpf_spin_lock(&f->lock);
  struct bpf_list_node* n = bpf_list_front(&f->list);
  if (n) kept = bpf_refcount_acquire_impl(HOLDER(n, struct both, in_list), 0);
  bpf_spin_unlock(&f->lock);
  if (!kept) return 0;
  int key = kept->key & 1;
  DROP(kept);
  return key;
}

SEC("tc")
int counted_and_taken_for_granted(struct __sk_buff* skb) {
  struct forest* f = forest_of(skb);
  if (!f) return 0;
  bpf_spin_lock(&f->lock);
  struct bpf_list_node* n = bpf_list_front(&f->list);
  if (!n) {
    bpf_spin_unlock(&f->lock);
    return 0;
  }
  struct both* kept = bpf_refcount_acquire_impl(HOLDER(n, struct both, in_list), 0);
  int key = kept->key & 1;
  bpf_spin_unlock(&f->lock);
  DROP(kept);
  return key;
}

// The kernel notes the last type's size and fields for both ways, beside the call.
SEC("tc")
int two_types_at_one_call(struct __sk_buff* skb) {
  __u64 type = bpf_core_type_id_local(struct item);
  if (skb->len > 100) type = bpf_core_type_id_local(struct leaf);
  __u64* p = bpf_obj_new_impl(type, 0);
  if (!p) return 0;
  DROP(p);
  return 0;
}

char _license[] SEC("license") = "GPL";
