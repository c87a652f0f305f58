// Types of a small kernel of our own: what the corpus' programs name, so that they are verified alike on every machine.
// The running kernel is asked with its own types; relocations make up for the difference.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

struct file;
struct seq_file {
  char* buf;
  unsigned long size, from, count;
};
struct inode {
  unsigned short i_mode;
  unsigned long i_ino;
};
struct path {
  void *mnt, *dentry;
};
struct file {
  unsigned int f_flags;
  struct path f_path;
  struct inode* f_inode;
};
struct file__safe_trusted {
  struct inode* f_inode;
};
struct cpumask {
  unsigned long bits[128];
};
typedef struct cpumask cpumask_t;
struct bpf_cpumask {
  cpumask_t cpumask;
  int usage;
};
struct cgroup_subsys_state {
  struct cgroup* cgroup;
  int id;
};
struct cgroup {
  struct cgroup_subsys_state self;
  u64 id;
  int level;
};
struct css_set {
  struct cgroup* dfl_cgrp;
};
struct mm_struct {
  unsigned long arg_start;
  struct file __attribute__((btf_type_tag("rcu"))) * exe_file;
};
struct nested {
  int first, second;
  int numbers[4];
};
struct task_struct {
  unsigned int __state;
  int pid, tgid;
  const cpumask_t* cpus_ptr;
  struct mm_struct* mm;
  struct task_struct __attribute__((btf_type_tag("rcu"))) * real_parent;
  struct task_struct* group_leader;
  struct task_struct* last_wakee;
  struct css_set __attribute__((btf_type_tag("rcu"))) * cgroups;
  char comm[16];
  struct nested nested;
  unsigned sched_reset_on_fork : 1;
  unsigned no_cgroup_migration : 1;
  int* set_child_tid;
  int exit_code;
};
struct task_struct__safe_rcu {
  const cpumask_t* cpus_ptr;
  struct css_set __attribute__((btf_type_tag("rcu"))) * cgroups;
  struct task_struct __attribute__((btf_type_tag("rcu"))) * real_parent;
  struct task_struct* group_leader;
};
struct mm_struct__safe_rcu_or_null {
  struct file __attribute__((btf_type_tag("rcu"))) * exe_file;
};
struct bpf_map {
  int map_type;
  u32 key_size, value_size, max_entries;
  const struct inode* owner;
};
struct bpf_array {
  struct bpf_map map;
  u32 elem_size;
};
struct bpf_htab {
  struct bpf_map map;
  u32 n_buckets;
};
struct bpf_iter_meta {
  struct seq_file* seq;
  u64 session_id, seq_num;
};
struct bpf_iter_meta__safe_trusted {
  struct seq_file* seq;
};
struct bpf_iter__task {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
};
struct bpf_iter__bpf_map_elem {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  void *key, *value;
};
struct bpf_iter_num {
  u64 opaque[1];
};
struct sock_common {
  unsigned short skc_family;
};
struct sock {
  struct sock_common __sk_common;
  unsigned long sk_pacing_rate;
  u32 sk_pacing_status;
};
struct inet_sock {
  struct sock sk;
};
struct inet_connection_sock {
  struct inet_sock icsk_inet;
  struct {
    u8 pending, quick;
  } icsk_ack;
  u64 icsk_ca_priv[13];
};
struct tcp_sock {
  struct inet_connection_sock inet_conn;
  u32 snd_cwnd, snd_cwnd_cnt, snd_cwnd_stamp, packets_out, snd_ssthresh, app_limited;
  u8 ecn_flags;
};
struct tcp_congestion_ops {
  u32 (*ssthresh)(struct sock* sk);
  void (*cong_avoid)(struct sock* sk, u32 ack, u32 acked);
  void (*set_state)(struct sock* sk, u8 new_state);
  u32 (*undo_cwnd)(struct sock* sk);
  unsigned long (*get_info)(struct sock* sk, u32 ext, int* attr, void* info);
  void (*init)(struct sock* sk);
  void (*release)(struct sock* sk);
  char name[16];
};
struct bpf_dummy_ops_state {
  int val;
};
struct bpf_dummy_ops {
  int (*test_1)(struct bpf_dummy_ops_state* cb);
  int (*test_sleepable)(struct bpf_dummy_ops_state* cb);
};
struct bpf_struct_ops_tcp_congestion_ops {
  struct tcp_congestion_ops data;
};
struct bpf_struct_ops_bpf_dummy_ops {
  struct bpf_dummy_ops data;
};
struct socket {
  struct sock* sk;
};
struct socket__safe_trusted_or_null {
  struct sock* sk;
};
struct sockaddr;
struct request_sock;
struct linux_binprm {
  struct file* file;
};
struct bpf_dynptr {
  u64 __opaque[2];
};
struct sk_buff {
  unsigned int len;
  struct sock* sk;
};
struct nf_hook_state {
  u8 hook, pf;
};


// What stands behind the context of each program type.
struct __sk_buff;
struct bpf_ctx_convert {
  struct __sk_buff* BPF_PROG_TYPE_SCHED_CLS_prog;
  struct sk_buff BPF_PROG_TYPE_SCHED_CLS_kern;
};

// Variables of each processor.
struct rq {
  unsigned int nr_running;
  int cpu;
};
#define PER_CPU __attribute__((section(".data..percpu"), used))
struct rq runqueues PER_CPU = {1, 1};
int bpf_prog_active PER_CPU = 1;

// Tracepoints: the handler's type has an argument of the tracing machinery's in front.
typedef void (*btf_trace_task_newtask)(void*, struct task_struct*, unsigned long);
typedef void (*btf_trace_sched_pi_setprio)(void*, struct task_struct*, struct task_struct*);
typedef void (*btf_trace_sched_process_exit)(void*, struct task_struct*, u8);

static void keep(void* use) { asm volatile("" : : "r"(use)); }

int bpf_iter_task(struct bpf_iter_meta* meta, struct task_struct* task) { return meta && task; }
int bpf_iter_bpf_map_elem(struct bpf_iter_meta* meta, struct bpf_map* map, void* key, void* value) {
  return meta && map && key && value;
}
int do_unlinkat(int dfd, struct task_struct* name) { return dfd && name; }

int bpf_fentry_test1(int a) { return a; }
int bpf_fentry_test2(int a, u64 b) { return a + b; }
int bpf_modify_return_test(int a, int* b) { return a + *b; }
int security_file_permission(struct file* file, int mask) { return file && mask; }
void do_exit(long code) { keep(&code); }
void migrate_disable(void) { keep(0); }
long vfs_truncate(const struct path* path, long long length) { return path && length; }
int vfs_open(const struct path* path, struct file* file) { return path && file; }
struct sock* inet_csk_accept(struct sock* sk, void* arg) { return arg ? sk : 0; }
void bpf_sk_storage_free(struct sock* sk) { keep(sk); }

// Hooks of security modules: a function each, and a member of the union.
int bpf_lsm_file_permission(struct file* file, int mask) { return file && mask; }
int bpf_lsm_file_open(struct file* file) { return file != 0; }
void bpf_lsm_bprm_committed_creds(const struct linux_binprm* bprm) { keep((void*)bprm); }
int bpf_lsm_inode_xattr_skipcap(const char* name) { return name != 0; }
int bpf_lsm_inode_getsecurity(struct inode* inode, const char* name) { return inode && name; }
int bpf_lsm_task_alloc(struct task_struct* task, unsigned long clone_flags) { return task && clone_flags; }
void bpf_lsm_task_free(struct task_struct* task) { keep(task); }
int bpf_lsm_socket_bind(struct socket* sock, struct sockaddr* address, int addrlen) { return sock && address && addrlen; }
int bpf_lsm_socket_post_create(struct socket* sock, int family, int type, int protocol, int kern) {
  return sock && family && type && protocol && kern;
}
void bpf_lsm_inet_csk_clone(struct sock* newsk, const struct request_sock* req) { keep(newsk), keep((void*)req); }
int bpf_lsm_verify_prog(void* log, void* prog) { return log && prog; }
union security_list_options {
  int (*file_permission)(void);
  int (*file_open)(void);
  void (*bprm_committed_creds)(void);
  int (*inode_xattr_skipcap)(void);
  int (*inode_getsecurity)(void);
  int (*task_alloc)(void);
  void (*task_free)(void);
  int (*socket_bind)(void);
  int (*socket_post_create)(void);
  void (*inet_csk_clone)(void);
};

// Kernel functions.
void bpf_throw(u64 cookie) { keep(&cookie); }
struct task_struct* bpf_task_acquire(struct task_struct* p) { return p; }
void bpf_task_release(struct task_struct* p) { keep(p); }
struct task_struct* bpf_task_from_pid(int pid) { return pid ? (struct task_struct*)0 : 0; }
struct cgroup* bpf_cgroup_acquire(struct cgroup* cgrp) { return cgrp; }
void bpf_cgroup_release(struct cgroup* cgrp) { keep(cgrp); }
struct bpf_cpumask* bpf_cpumask_create(void) { return 0; }
void bpf_cpumask_release(struct bpf_cpumask* cpumask) { keep(cpumask); }
void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask* cpumask) { keep(cpumask); }
u32 bpf_cpumask_first(const struct cpumask* cpumask) { return cpumask != 0; }
int bpf_iter_num_new(struct bpf_iter_num* it, int start, int end) { return it && start && end; }
int* bpf_iter_num_next(struct bpf_iter_num* it) { return (int*)it; }
void bpf_iter_num_destroy(struct bpf_iter_num* it) { keep(it); }
u32 tcp_reno_ssthresh(struct sock* sk) { return sk != 0; }
struct bpf_key {
  void* key;
};
struct file* bpf_get_task_exe_file(struct task_struct* task) { return task ? (struct file*)0 : 0; }
int bpf_get_file_xattr(struct file* file, const char* name__str, struct bpf_dynptr* value_p) {
  return file && name__str == (const char*)value_p;
}
void bpf_put_file(struct file* file) { keep(file); }
int bpf_path_d_path(struct path* path, char* buf, unsigned long buf__sz) { return path && buf && buf__sz; }
int bpf_copy_from_user_str(void* dst, unsigned int dst__sz, const void* unsafe_ptr__ign, u64 flags) { return dst == unsafe_ptr__ign; }
struct bpf_key* bpf_lookup_user_key(unsigned int serial, u64 flags) { return serial && flags ? (struct bpf_key*)0 : 0; }
struct bpf_key* bpf_lookup_system_key(u64 id) { return id ? (struct bpf_key*)0 : 0; }
void bpf_key_put(struct bpf_key* bkey) { keep(bkey); }
struct bpf_list_head {
  u64 opaque[2];
};
struct bpf_list_node {
  u64 opaque[3];
};
struct bpf_rb_root {
  u64 opaque[2];
};
struct bpf_rb_node {
  u64 opaque[4];
};
void* bpf_obj_new_impl(u64 local_type_id__k, void* meta__ign) { return local_type_id__k ? meta__ign : 0; }
void bpf_obj_drop_impl(void* p__alloc, void* meta__ign) { keep(p__alloc), keep(meta__ign); }
void* bpf_percpu_obj_new_impl(u64 local_type_id__k, void* meta__ign) { return local_type_id__k ? meta__ign : 0; }
void bpf_percpu_obj_drop_impl(void* p__alloc, void* meta__ign) { keep(p__alloc), keep(meta__ign); }
void* bpf_refcount_acquire_impl(void* p__refcounted_kptr, void* meta__ign) { return meta__ign ? p__refcounted_kptr : 0; }
int bpf_list_push_front_impl(struct bpf_list_head* head, struct bpf_list_node* node, void* meta__ign, u64 off) {
  return head && node && meta__ign && off;
}
int bpf_list_push_back_impl(struct bpf_list_head* head, struct bpf_list_node* node, void* meta__ign, u64 off) {
  return head && node && meta__ign && off;
}
struct bpf_list_node* bpf_list_pop_front(struct bpf_list_head* head) { return (struct bpf_list_node*)head; }
struct bpf_list_node* bpf_list_pop_back(struct bpf_list_head* head) { return (struct bpf_list_node*)head; }
struct bpf_list_node* bpf_list_front(struct bpf_list_head* head) { return (struct bpf_list_node*)head; }
struct bpf_list_node* bpf_list_back(struct bpf_list_head* head) { return (struct bpf_list_node*)head; }
int bpf_rbtree_add_impl(struct bpf_rb_root* root, struct bpf_rb_node* node,
                        _Bool(less)(struct bpf_rb_node* a, const struct bpf_rb_node* b), void* meta__ign, u64 off) {
  return root && node && less && meta__ign && off;
}
struct bpf_rb_node* bpf_rbtree_remove(struct bpf_rb_root* root, struct bpf_rb_node* node) { return root ? node : 0; }
struct bpf_rb_node* bpf_rbtree_first(struct bpf_rb_root* root) { return (struct bpf_rb_node*)root; }
struct bpf_rb_node* bpf_rbtree_root(struct bpf_rb_root* root) { return (struct bpf_rb_node*)root; }
struct bpf_rb_node* bpf_rbtree_left(struct bpf_rb_root* root, struct bpf_rb_node* node) { return root ? node : 0; }
struct bpf_rb_node* bpf_rbtree_right(struct bpf_rb_root* root, struct bpf_rb_node* node) { return root ? node : 0; }

void bpf_rcu_read_lock(void) {}
void bpf_rcu_read_unlock(void) {}
void bpf_local_irq_save(unsigned long* flags__irq_flag) { keep(flags__irq_flag); }
void bpf_local_irq_restore(unsigned long* flags__irq_flag) { keep(flags__irq_flag); }
struct bpf_res_spin_lock {
  u32 val;
};
int bpf_res_spin_lock(struct bpf_res_spin_lock* lock) { return lock != 0; }
void bpf_res_spin_unlock(struct bpf_res_spin_lock* lock) { keep(lock); }
int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock* lock, unsigned long* flags__irq_flag) {
  return lock && flags__irq_flag;
}
void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock* lock, unsigned long* flags__irq_flag) {
  keep(lock), keep(flags__irq_flag);
}
struct vm_area_struct {
  unsigned long vm_start, vm_end;
};
struct bpf_iter_task {
  u64 opaque[3];
};
struct bpf_iter_task_vma {
  u64 opaque[1];
};
struct bpf_iter_css_task {
  u64 opaque[1];
};
struct bpf_iter_css {
  u64 opaque[3];
};
int bpf_iter_css_new(struct bpf_iter_css* it, struct cgroup_subsys_state* start, unsigned flags) {
  return it && start && flags;
}
struct cgroup_subsys_state* bpf_iter_css_next(struct bpf_iter_css* it) { return (struct cgroup_subsys_state*)it; }
void bpf_iter_css_destroy(struct bpf_iter_css* it) { keep(it); }
int bpf_iter_css_task_new(struct bpf_iter_css_task* it, struct cgroup_subsys_state* css, unsigned flags) {
  return it && css && flags;
}
struct task_struct* bpf_iter_css_task_next(struct bpf_iter_css_task* it) { return (struct task_struct*)it; }
void bpf_iter_css_task_destroy(struct bpf_iter_css_task* it) { keep(it); }
struct cgroup* bpf_cgroup_from_id(u64 cgid) { return (struct cgroup*)cgid; }
int bpf_cgroup_read_xattr(struct cgroup* cgroup, const char* name__str, struct bpf_dynptr* value_p) {
  return cgroup && name__str == (const char*)value_p;
}
int bpf_cpumask_populate(struct cpumask* cpumask, void* src, unsigned long src__sz) { return cpumask && src && src__sz; }
enum pid_type { PIDTYPE_PID };
int bpf_send_signal_task(struct task_struct* task, int sig, enum pid_type type, u64 value) {
  return task && sig && type && value;
}
struct kmem_cache {
  unsigned int size;
};
struct kmem_cache* bpf_get_kmem_cache(u64 addr) { return (struct kmem_cache*)addr; }
int bpf_strcmp(const char* s1__ign, const char* s2__ign) { return s1__ign == s2__ign; }
int bpf_strlen(const char* s__ign) { return s__ign != 0; }
int bpf_strnlen(const char* s__ign, unsigned long count) { return s__ign && count; }
int bpf_iter_task_new(struct bpf_iter_task* it, struct task_struct* task__nullable, unsigned flags) {
  return it && task__nullable && flags;
}
struct task_struct* bpf_iter_task_next(struct bpf_iter_task* it) { return (struct task_struct*)it; }
void bpf_iter_task_destroy(struct bpf_iter_task* it) { keep(it); }
int bpf_iter_task_vma_new(struct bpf_iter_task_vma* it, struct task_struct* task, u64 addr) { return it && task && addr; }
struct vm_area_struct* bpf_iter_task_vma_next(struct bpf_iter_task_vma* it) { return (struct vm_area_struct*)it; }
void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma* it) { keep(it); }
long long bpf_map_sum_elem_count(const struct bpf_map* map) { return (long)map; }

void* bpf_arena_alloc_pages(void* p__map, void* addr__ign, u32 page_cnt, int node_id, u64 flags) {
  return p__map && page_cnt && node_id && flags ? addr__ign : 0;
}
void bpf_arena_free_pages(void* p__map, void* ptr__ign, u32 page_cnt) { keep(p__map), keep(ptr__ign), keep(&page_cnt); }

u64* bpf_session_cookie(void) { return 0; }
_Bool bpf_session_is_return(void) { return 0; }

struct nf_conn {
  u64 lock_and_tuples[16];
  unsigned long status;
  u32 mark;
  struct nf_conn* master;
};
struct __sk_buff {
  u32 len;
};
struct bpf_sock_tuple {
  u32 addresses[9];
};
struct bpf_ct_opts {
  int netns_id, error;
  u8 l4proto, dir, reserved[2];
};
struct xdp_md {
  u32 data, data_end;
};
int bpf_xdp_pull_data(struct xdp_md* x, u32 len) { return x && len; }
struct nf_conn* bpf_skb_ct_lookup(struct __sk_buff* skb_ctx, struct bpf_sock_tuple* bpf_tuple, u32 tuple__sz,
                                  struct bpf_ct_opts* opts, u32 opts__sz) {
  return skb_ctx && bpf_tuple && tuple__sz && opts && opts__sz ? (struct nf_conn*)opts : 0;
}
void bpf_ct_release(struct nf_conn* nfct) { keep(nfct); }
struct nf_conn___init {
  struct nf_conn ct;
};
union nf_inet_addr {
  u32 all[4];
};
enum nf_nat_manip_type { NF_NAT_MANIP_SRC };
struct nf_conn___init* bpf_skb_ct_alloc(struct __sk_buff* skb_ctx, struct bpf_sock_tuple* bpf_tuple, u32 tuple__sz,
                                        struct bpf_ct_opts* opts, u32 opts__sz) {
  return skb_ctx && bpf_tuple && tuple__sz && opts && opts__sz ? (struct nf_conn___init*)opts : 0;
}
struct nf_conn* bpf_ct_insert_entry(struct nf_conn___init* nfct) { return &nfct->ct; }
int bpf_ct_set_nat_info(struct nf_conn___init* nfct, union nf_inet_addr* addr, int port, enum nf_nat_manip_type manip) {
  return nfct && addr && port && manip;
}

// The compiler leaves out what nothing has the size of.
struct {
  struct seq_file seq_file;
  struct inode inode;
  struct file file;
  struct file__safe_trusted file__safe_trusted;
  struct cpumask cpumask;
  struct bpf_cpumask bpf_cpumask;
  struct cgroup cgroup;
  struct css_set css_set;
  struct mm_struct mm_struct;
  struct nested nested;
  struct task_struct task_struct;
  struct task_struct__safe_rcu task_struct__safe_rcu;
  struct mm_struct__safe_rcu_or_null mm_struct__safe_rcu_or_null;
  struct bpf_map bpf_map;
  struct bpf_array bpf_array;
  struct bpf_htab bpf_htab;
  struct bpf_iter_meta bpf_iter_meta;
  struct bpf_iter_meta__safe_trusted bpf_iter_meta__safe_trusted;
  struct bpf_iter_num bpf_iter_num;
  struct bpf_iter__task bpf_iter__task;
  struct bpf_iter__bpf_map_elem bpf_iter__bpf_map_elem;
  struct bpf_list_head bpf_list_head;
  struct bpf_list_node bpf_list_node;
  struct bpf_rb_root bpf_rb_root;
  struct bpf_rb_node bpf_rb_node;
  struct sock_common sock_common;
  struct sock sock;
  struct socket socket;
  struct socket__safe_trusted_or_null socket__safe_trusted_or_null;
  struct tcp_sock tcp_sock;
  struct bpf_dummy_ops_state bpf_dummy_ops_state;
  struct bpf_struct_ops_tcp_congestion_ops bpf_struct_ops_tcp_congestion_ops;
  struct bpf_struct_ops_bpf_dummy_ops bpf_struct_ops_bpf_dummy_ops;
  struct linux_binprm linux_binprm;
  struct bpf_key bpf_key;
  struct path path;
  union security_list_options security_list_options;
  struct sk_buff sk_buff;
  struct bpf_ctx_convert bpf_ctx_convert;
  struct vm_area_struct vm_area_struct;
  struct nf_conn nf_conn;
  struct nf_conn___init nf_conn___init;
  struct nf_hook_state nf_hook_state;
  btf_trace_task_newtask task_newtask;
  btf_trace_sched_pi_setprio sched_pi_setprio;
  btf_trace_sched_process_exit sched_process_exit;
} all;
