// What the tags on a global function's parameters promise, on both sides of the call; and locks that may not be had.
#include "objects.h"

#include <bpf/bpf_tracing.h>

#define ARG_NONNULL __attribute__((btf_decl_tag("arg:nonnull")))
#define ARG_NULLABLE __attribute__((btf_decl_tag("arg:nullable")))
#define ARG_TRUSTED __attribute__((btf_decl_tag("arg:trusted")))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
  int pid;
  struct task_struct* group_leader;
};
struct cgroup_subsys_state {
  int id;
};
struct cgroup {
  struct cgroup_subsys_state self;
};
#pragma clang attribute pop
struct bpf_res_spin_lock {
  __u32 opaque;
};
struct bpf_iter_css {
  __u64 opaque[3];
} __attribute__((aligned(8)));

struct task_struct* bpf_task_acquire(struct task_struct* p) __ksym;
void bpf_task_release(struct task_struct* p) __ksym;
struct cgroup* bpf_cgroup_from_id(__u64 id) __ksym;
void bpf_cgroup_release(struct cgroup* cgroup) __ksym;
int bpf_iter_css_new(struct bpf_iter_css* it, struct cgroup_subsys_state* start, unsigned flags) __ksym;
struct cgroup_subsys_state* bpf_iter_css_next(struct bpf_iter_css* it) __ksym;
void bpf_iter_css_destroy(struct bpf_iter_css* it) __ksym;
void bpf_rcu_read_lock(void) __ksym;
void bpf_rcu_read_unlock(void) __ksym;
int bpf_res_spin_lock(struct bpf_res_spin_lock* lock) __ksym;
void bpf_res_spin_unlock(struct bpf_res_spin_lock* lock) __ksym;
int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock* lock, unsigned long* flags) __ksym;
void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock* lock, unsigned long* flags) __ksym;
void bpf_local_irq_save(unsigned long* flags) __ksym;
void bpf_local_irq_restore(unsigned long* flags) __ksym;

struct pair {
  __u64 first, second;
};

// Parameters of global functions.

__noinline int sum_of(const struct pair* p ARG_NONNULL) { return p->first + p->second; }

__noinline int sum_if_any(const struct pair* p) { return p ? p->first + p->second : 0; }

__noinline int pid_of(struct task_struct* task ARG_TRUSTED) { return task->pid; }

__noinline int keeps_for_a_while(struct task_struct* task ARG_TRUSTED) {
  struct task_struct* mine = bpf_task_acquire(task);
  if (!mine) return 0;
  int pid = mine->pid;
  bpf_task_release(mine);
  return pid;
}

__noinline int pid_if_any(struct task_struct* task ARG_TRUSTED ARG_NULLABLE) { return task ? task->pid : 0; }

__noinline int pid_without_asking(struct task_struct* task ARG_TRUSTED ARG_NULLABLE) {
  struct task_struct* mine = bpf_task_acquire(task);
  if (mine) bpf_task_release(mine);
  return 0;
}

__noinline int gives_back(struct task_struct* task ARG_TRUSTED) {
  bpf_task_release(task);
  return 0;
}

SEC("tp_btf/task_newtask")
int passes_a_pair(__u64* ctx) {
  struct pair p = {ctx[1], 2};
  return sum_of(&p);
}

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct pair);
} pairs SEC(".maps");

SEC("tp_btf/task_newtask")
int passes_what_may_be_null(__u64* ctx) {
  __u32 key = ctx[1];
  return sum_of(bpf_map_lookup_elem(&pairs, &key));
}

SEC("tp_btf/task_newtask")
int passes_null_where_it_may_be(__u64* ctx) {
  __u32 key = ctx[1];
  return sum_if_any(bpf_map_lookup_elem(&pairs, &key));
}

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_a_task, struct task_struct* task, __u64 flags) { return pid_of(task); }

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_a_task_to_keep, struct task_struct* task, __u64 flags) { return keeps_for_a_while(task); }

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_a_task_that_was_walked_to, struct task_struct* task, __u64 flags) {
  return keeps_for_a_while(task->group_leader->group_leader);
}

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_no_task, struct task_struct* task, __u64 flags) { return pid_if_any(0) + pid_if_any(task); }

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_no_task_where_there_must_be_one, struct task_struct* task, __u64 flags) { return pid_of(0); }

SEC("tp_btf/task_newtask")
int BPF_PROG(calls_one_that_does_not_ask, struct task_struct* task, __u64 flags) { return pid_without_asking(task); }

SEC("tp_btf/task_newtask")
int BPF_PROG(calls_one_that_gives_back, struct task_struct* task, __u64 flags) { return gives_back(task); }

SEC("tp_btf/task_newtask")
int BPF_PROG(passes_numbers_as_a_task, struct task_struct* task, __u64 flags) {
  return pid_of((struct task_struct*)flags);
}

// Locks that may not be had.

struct guarded {
  struct bpf_res_spin_lock lock;
  __u32 count;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct guarded);
} guards SEC(".maps");

static __always_inline struct guarded* guard(__u32 key) { return bpf_map_lookup_elem(&guards, &key); }

SEC("tc")
int counts(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock(&g->lock)) return 0;
  g->count += 1;
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int counts_without_asking(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  bpf_res_spin_lock(&g->lock);
  g->count += 1;
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int forgets_to_unlock(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock(&g->lock)) return 0;
  g->count += 1;
  return 0;
}

SEC("tc")
int two_in_order(struct __sk_buff* skb) {
  struct guarded *a = guard(0), *b = guard(1);
  if (!a || !b) return 0;
  if (bpf_res_spin_lock(&a->lock)) return 0;
  if (bpf_res_spin_lock(&b->lock)) {
    bpf_res_spin_unlock(&a->lock);
    return 0;
  }
  b->count += a->count;
  bpf_res_spin_unlock(&b->lock);
  bpf_res_spin_unlock(&a->lock);
  return 0;
}

SEC("tc")
int two_out_of_order(struct __sk_buff* skb) {
  struct guarded *a = guard(0), *b = guard(1);
  if (!a || !b) return 0;
  if (bpf_res_spin_lock(&a->lock)) return 0;
  if (bpf_res_spin_lock(&b->lock)) {
    bpf_res_spin_unlock(&a->lock);
    return 0;
  }
  bpf_res_spin_unlock(&a->lock);
  bpf_res_spin_unlock(&b->lock);
  return 0;
}

SEC("tc")
int the_same_twice(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock(&g->lock)) return 0;
  if (!bpf_res_spin_lock(&g->lock)) bpf_res_spin_unlock(&g->lock);
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int with_interrupts_off(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  unsigned long flags;
  if (!g) return 0;
  if (bpf_res_spin_lock_irqsave(&g->lock, &flags)) return 0;
  g->count += 1;
  bpf_res_spin_unlock_irqrestore(&g->lock, &flags);
  return 0;
}

SEC("tc")
int interrupts_stay_off(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  unsigned long flags;
  if (!g) return 0;
  if (bpf_res_spin_lock_irqsave(&g->lock, &flags)) return 0;
  g->count += 1;
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int interrupts_come_back_another_way(struct __sk_buff* skb) {
  unsigned long flags;
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock_irqsave(&g->lock, &flags)) return 0;
  bpf_local_irq_restore(&flags);
  return 0;
}

SEC("tc")
int flags_of_something_else(struct __sk_buff* skb) {
  unsigned long flags, own;
  struct guarded* g = guard(0);
  if (!g) return 0;
  bpf_local_irq_save(&own);
  if (bpf_res_spin_lock_irqsave(&g->lock, &flags)) {
    bpf_local_irq_restore(&own);
    return 0;
  }
  bpf_res_spin_unlock_irqrestore(&g->lock, &own);
  bpf_local_irq_restore(&flags);
  return 0;
}

SEC("tc")
int within_interrupts_off(struct __sk_buff* skb) {
  unsigned long flags, own;
  struct guarded* g = guard(0);
  if (!g) return 0;
  bpf_local_irq_save(&own);
  if (!bpf_res_spin_lock_irqsave(&g->lock, &flags)) {
    g->count += 1;
    bpf_res_spin_unlock_irqrestore(&g->lock, &flags);
  }
  bpf_local_irq_restore(&own);
  return 0;
}

SEC("tc")
int unlocks_what_it_has_not_locked(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (g) bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int unlocks_another(struct __sk_buff* skb) {
  struct guarded *a = guard(0), *b = guard(1);
  if (!a || !b) return 0;
  if (bpf_res_spin_lock(&a->lock)) return 0;
  bpf_res_spin_unlock(&b->lock);
  return 0;
}

SEC("tc")
int beside_the_lock(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock((struct bpf_res_spin_lock*)&g->count)) return 0;
  bpf_res_spin_unlock((struct bpf_res_spin_lock*)&g->count);
  return 0;
}

SEC("tc")
int on_the_stack(struct __sk_buff* skb) {
  struct bpf_res_spin_lock lock = {};
  if (bpf_res_spin_lock(&lock)) return 0;
  bpf_res_spin_unlock(&lock);
  return 0;
}

SEC("tc")
int where_there_may_be_none(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (bpf_res_spin_lock(&g->lock)) return 0;
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int in_a_value_without_one(struct __sk_buff* skb) {
  __u32 key = skb->mark;
  struct pair* p = bpf_map_lookup_elem(&pairs, &key);
  if (!p) return 0;
  if (bpf_res_spin_lock((struct bpf_res_spin_lock*)&p->first)) return 0;
  bpf_res_spin_unlock((struct bpf_res_spin_lock*)&p->first);
  return 0;
}

SEC("tc")
int asks_the_time(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock(&g->lock)) return 0;
  g->count = bpf_ktime_get_ns();
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int writes_over_the_lock(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  *(volatile __u32*)&g->lock = 0;
  return 0;
}

SEC("tc")
int error_is_negative(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  int error = bpf_res_spin_lock(&g->lock);
  if (error < 0) return 0;
  bpf_res_spin_unlock(&g->lock);
  return error;
}

SEC("tc")
int error_is_asked_for_the_wrong_way(struct __sk_buff* skb) {
  struct guarded* g = guard(0);
  if (!g) return 0;
  if (bpf_res_spin_lock(&g->lock) == -110) return 0;
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

// The other kind of lock.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct {
    struct bpf_spin_lock lock;
    __u32 count;
  });
} plain SEC(".maps");

SEC("tc")
int the_other_kind_within(struct __sk_buff* skb) {
  __u32 key = 0;
  struct guarded* g = guard(0);
  struct bpf_spin_lock* other = bpf_map_lookup_elem(&plain, &key);
  if (!g || !other) return 0;
  if (bpf_res_spin_lock(&g->lock)) return 0;
  bpf_spin_lock(other);
  bpf_spin_unlock(other);
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

SEC("tc")
int within_the_other_kind(struct __sk_buff* skb) {
  __u32 key = 0;
  struct guarded* g = guard(0);
  struct bpf_spin_lock* other = bpf_map_lookup_elem(&plain, &key);
  if (!g || !other) return 0;
  bpf_spin_lock(other);
  if (!bpf_res_spin_lock(&g->lock)) {
    g->count += 1;
    bpf_res_spin_unlock(&g->lock);
  }
  bpf_spin_unlock(other);
  return 0;
}

SEC("tc")
int the_other_kind_is_unlocked_first(struct __sk_buff* skb) {
  __u32 key = 0;
  struct guarded* g = guard(0);
  struct bpf_spin_lock* other = bpf_map_lookup_elem(&plain, &key);
  if (!g || !other) return 0;
  bpf_spin_lock(other);
  if (bpf_res_spin_lock(&g->lock)) {
    bpf_spin_unlock(other);
    return 0;
  }
  bpf_spin_unlock(other);
  bpf_res_spin_unlock(&g->lock);
  return 0;
}

// Lists and trees beside such a lock.
struct item {
  struct bpf_list_node link;
  __u64 value;
};
struct leaf {
  struct bpf_rb_node branch;
  __u64 value;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct shelf);
} shelves SEC(".maps");

struct shelf {
  struct bpf_res_spin_lock lock;
  struct bpf_list_head items CONTAINS(item, link);
};

SEC("tc")
int puts_on_a_list(struct __sk_buff* skb) {
  __u32 key = 0;
  struct shelf* s = bpf_map_lookup_elem(&shelves, &key);
  if (!s) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  i->value = skb->len;
  if (bpf_res_spin_lock(&s->lock)) {
    DROP(i);
    return 0;
  }
  bpf_list_push_back_impl(&s->items, &i->link, 0, 0);
  __u64 value = i->value;
  bpf_res_spin_unlock(&s->lock);
  return value & 1;
}

SEC("tc")
int looks_after_the_unlock(struct __sk_buff* skb) {
  __u32 key = 0;
  struct shelf* s = bpf_map_lookup_elem(&shelves, &key);
  if (!s) return 0;
  struct item* i = NEW(struct item);
  if (!i) return 0;
  if (bpf_res_spin_lock(&s->lock)) {
    DROP(i);
    return 0;
  }
  bpf_list_push_back_impl(&s->items, &i->link, 0, 0);
  bpf_res_spin_unlock(&s->lock);
  return i->value & 1;
}

SEC("tc")
int takes_without_the_lock(struct __sk_buff* skb) {
  __u32 key = 0;
  struct shelf* s = bpf_map_lookup_elem(&shelves, &key);
  if (!s) return 0;
  struct bpf_list_node* n = bpf_list_pop_front(&s->items);
  if (n) DROP(HOLDER(n, struct item, link));
  return 0;
}

SEC("tc")
int takes_under_another_lock(struct __sk_buff* skb) {
  __u32 key = 0, other = 1;
  struct shelf *s = bpf_map_lookup_elem(&shelves, &key), *t = bpf_map_lookup_elem(&shelves, &other);
  if (!s || !t) return 0;
  if (bpf_res_spin_lock(&t->lock)) return 0;
  struct bpf_list_node* n = bpf_list_pop_front(&s->items);
  bpf_res_spin_unlock(&t->lock);
  if (n) DROP(HOLDER(n, struct item, link));
  return 0;
}

SEC("tc")
int takes_under_the_outer_lock(struct __sk_buff* skb) {
  __u32 key = 0, other = 1;
  struct shelf *s = bpf_map_lookup_elem(&shelves, &key), *t = bpf_map_lookup_elem(&shelves, &other);
  if (!s || !t) return 0;
  if (bpf_res_spin_lock(&s->lock)) return 0;
  struct bpf_list_node* n = 0;
  if (!bpf_res_spin_lock(&t->lock)) {
    n = bpf_list_pop_front(&s->items);
    bpf_res_spin_unlock(&t->lock);
  }
  bpf_res_spin_unlock(&s->lock);
  if (n) DROP(HOLDER(n, struct item, link));
  return 0;
}

struct tree {
  struct bpf_res_spin_lock lock;
  struct bpf_rb_root root CONTAINS(leaf, branch);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct tree);
} trees SEC(".maps");

static bool by_value(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return HOLDER(a, struct leaf, branch)->value < HOLDER(b, struct leaf, branch)->value;
}

SEC("tc")
int puts_into_a_tree(struct __sk_buff* skb) {
  __u32 key = 0;
  struct tree* t = bpf_map_lookup_elem(&trees, &key);
  if (!t) return 0;
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  if (bpf_res_spin_lock(&t->lock)) {
    DROP(l);
    return 0;
  }
  bpf_rbtree_add_impl(&t->root, &l->branch, by_value, 0, 0);
  bpf_res_spin_unlock(&t->lock);
  return 0;
}

#define OWN(name) SEC(".data." #name) __hidden __attribute__((aligned(8)))
OWN(A) struct bpf_res_spin_lock tree_lock;
OWN(A) struct bpf_rb_root tree_root CONTAINS(leaf, branch);
OWN(B) struct bpf_res_spin_lock other_lock;

static bool unlocks(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_res_spin_unlock(&tree_lock);
  return false;
}

static bool locks_another(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  if (!bpf_res_spin_lock(&other_lock)) bpf_res_spin_unlock(&other_lock);
  return false;
}

SEC("tc")
int unlocks_while_it_compares(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  if (bpf_res_spin_lock(&tree_lock)) {
    DROP(l);
    return 0;
  }
  bpf_rbtree_add_impl(&tree_root, &l->branch, unlocks, 0, 0);
  bpf_res_spin_unlock(&tree_lock);
  return 0;
}

SEC("tc")
int locks_while_it_compares(struct __sk_buff* skb) {
  struct leaf* l = NEW(struct leaf);
  if (!l) return 0;
  if (bpf_res_spin_lock(&tree_lock)) {
    DROP(l);
    return 0;
  }
  bpf_rbtree_add_impl(&tree_root, &l->branch, locks_another, 0, 0);
  bpf_res_spin_unlock(&tree_lock);
  return 0;
}

// A lock in an object of the program's own.
struct vault {
  struct bpf_res_spin_lock lock;
  __u32 coins;
};

SEC("tc")
int in_an_object(struct __sk_buff* skb) {
  struct vault* v = NEW(struct vault);
  if (!v) return 0;
  if (!bpf_res_spin_lock(&v->lock)) {
    v->coins = 1;
    bpf_res_spin_unlock(&v->lock);
  }
  DROP(v);
  return 0;
}

SEC("tc")
int dropped_with_the_lock_held(struct __sk_buff* skb) {
  struct vault* v = NEW(struct vault);
  if (!v) return 0;
  if (bpf_res_spin_lock(&v->lock)) {
    DROP(v);
    return 0;
  }
  DROP(v);
  return 0;
}

// An iterator that asks for an RCU section.

SEC("tp_btf/task_newtask")
int BPF_PROG(groups_below, struct task_struct* task, __u64 flags) {
  struct bpf_iter_css it;
  struct cgroup_subsys_state* css;
  struct cgroup* group = bpf_cgroup_from_id(1);
  int found = 0;
  if (!group) return 0;
  bpf_rcu_read_lock();
  bpf_iter_css_new(&it, &group->self, 1);
  while ((css = bpf_iter_css_next(&it))) found += css->id;
  bpf_iter_css_destroy(&it);
  bpf_rcu_read_unlock();
  bpf_cgroup_release(group);
  return found;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(group_after_its_iterator, struct task_struct* task, __u64 flags) {
  struct bpf_iter_css it;
  struct cgroup_subsys_state* css;
  struct cgroup* group = bpf_cgroup_from_id(1);
  int found = 0;
  if (!group) return 0;
  bpf_rcu_read_lock();
  bpf_iter_css_new(&it, &group->self, 1);
  css = bpf_iter_css_next(&it);
  bpf_rcu_read_unlock();
  if (css) found = css->id;
  bpf_rcu_read_lock();
  bpf_iter_css_destroy(&it);
  bpf_rcu_read_unlock();
  bpf_cgroup_release(group);
  return found;
}

char _license[] SEC("license") = "GPL";
