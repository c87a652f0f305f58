// What programs need to make objects of their own types: the kernel's functions for it, and the fields that they manage.
#ifndef BPFSIEVE_CORPUS_OBJECTS_OBJECTS_H_
#define BPFSIEVE_CORPUS_OBJECTS_OBJECTS_H_

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct bpf_list_head {
  __u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
  __u64 opaque[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
  __u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
  __u64 opaque[4];
} __attribute__((aligned(8)));
struct bpf_refcount {
  __u32 opaque[1];
} __attribute__((aligned(4)));

// `list` holds structures `type` by their member `node`.
#define CONTAINS(type, node) __attribute__((btf_decl_tag("contains:" #type ":" #node)))
#define KPTR __attribute__((btf_type_tag("kptr")))
#define KPTR_UNTRUSTED __attribute__((btf_type_tag("kptr_untrusted")))
#define KPTR_PERCPU __attribute__((btf_type_tag("percpu_kptr")))

extern void* bpf_obj_new_impl(__u64 local_type_id, void* meta) __ksym;
extern void bpf_obj_drop_impl(void* object, void* meta) __ksym;
extern void* bpf_percpu_obj_new_impl(__u64 local_type_id, void* meta) __ksym;
extern void bpf_percpu_obj_drop_impl(void* object, void* meta) __ksym;
extern void* bpf_refcount_acquire_impl(void* object, void* meta) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head* head, struct bpf_list_node* node, void* meta, __u64 off) __ksym;
extern int bpf_list_push_back_impl(struct bpf_list_head* head, struct bpf_list_node* node, void* meta, __u64 off) __ksym;
extern struct bpf_list_node* bpf_list_pop_front(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_pop_back(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_front(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_back(struct bpf_list_head* head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root* root, struct bpf_rb_node* node,
                               bool(less)(struct bpf_rb_node* a, const struct bpf_rb_node* b), void* meta,
                               __u64 off) __ksym;
extern struct bpf_rb_node* bpf_rbtree_remove(struct bpf_rb_root* root, struct bpf_rb_node* node) __ksym;
extern struct bpf_rb_node* bpf_rbtree_first(struct bpf_rb_root* root) __ksym;
extern struct bpf_rb_node* bpf_rbtree_root(struct bpf_rb_root* root) __ksym;
extern struct bpf_rb_node* bpf_rbtree_left(struct bpf_rb_root* root, struct bpf_rb_node* node) __ksym;
extern struct bpf_rb_node* bpf_rbtree_right(struct bpf_rb_root* root, struct bpf_rb_node* node) __ksym;

#define NEW(type) ((type*)bpf_obj_new_impl(bpf_core_type_id_local(type), 0))
#define NEW_PERCPU(type) ((type*)bpf_percpu_obj_new_impl(bpf_core_type_id_local(type), 0))
#define DROP(object) bpf_obj_drop_impl(object, 0)
#define HOLDER(node, type, member) ((type*)((char*)(node) - __builtin_offsetof(type, member)))

#endif  // BPFSIEVE_CORPUS_OBJECTS_OBJECTS_H_
