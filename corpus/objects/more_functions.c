// The functions on strings, which read wherever they are told to and cannot fault; signals to tasks; attributes of control
// groups; masks of processors; caches of objects; packets in pieces; connections under translated addresses.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
  int pid;
  struct task_struct* last_wakee;
};
struct cgroup {
  int level;
};
struct cpumask {
  unsigned long bits[1];
};
struct bpf_cpumask {
  struct cpumask cpumask;
};
enum pid_type { PIDTYPE_PID };
#pragma clang attribute pop

int bpf_strcmp(const char* s1__ign, const char* s2__ign) __ksym;
int bpf_strlen(const char* s__ign) __ksym;
int bpf_strnlen(const char* s__ign, unsigned long count) __ksym;
int bpf_send_signal_task(struct task_struct* task, int sig, enum pid_type type, __u64 value) __ksym;
struct cgroup* bpf_cgroup_from_id(__u64 id) __ksym;
void bpf_cgroup_release(struct cgroup* cgroup) __ksym;
int bpf_cgroup_read_xattr(struct cgroup* cgroup, const char* name__str, struct bpf_dynptr* value_p) __ksym;
struct bpf_cpumask* bpf_cpumask_create(void) __ksym;
void bpf_cpumask_release(struct bpf_cpumask* cpumask) __ksym;
int bpf_cpumask_populate(struct cpumask* cpumask, void* src, unsigned long src__sz) __ksym;

char _license[] SEC("license") = "GPL";

char value[16];

SEC("tc")
int strings(struct __sk_buff* skb) { return bpf_strcmp("one", value) + bpf_strlen("two"); }

SEC("tc")
int string_anywhere(struct __sk_buff* skb) { return bpf_strlen((void*)(long)skb->mark); }

SEC("tc")
int string_of_a_context(struct __sk_buff* skb) { return bpf_strnlen((void*)skb, skb->len); }

SEC("tc")
int as_long_as_a_pointer(struct __sk_buff* skb) { return bpf_strnlen("three", (long)skb); }

SEC("tp_btf/task_newtask")
int signal(__u64* ctx) { return bpf_send_signal_task((void*)ctx[0], 9, 0, 0); }

SEC("tp_btf/task_newtask")
int signal_to_another(__u64* ctx) {
  struct task_struct* task = (void*)ctx[0];
  return bpf_send_signal_task(task->last_wakee, 9, 0, 0);
}

SEC("tp_btf/task_newtask")
int signal_to_nobody(__u64* ctx) { return bpf_send_signal_task(0, 9, 0, 0); }

SEC("socket")
int signal_from_a_filter(struct __sk_buff* skb) { return bpf_send_signal_task((void*)skb, 9, 0, 0); }

static inline int attribute(const char* name) {
  struct bpf_dynptr to;
  struct cgroup* group = bpf_cgroup_from_id(1);
  if (!group) return 0;
  bpf_dynptr_from_mem(value, sizeof(value), 0, &to);
  const int r = bpf_cgroup_read_xattr(group, name, &to);
  bpf_cgroup_release(group);
  return r;
}

SEC("tc")
int attribute_of_a_group(struct __sk_buff* skb) { return attribute("user.name"); }

SEC("tc")
int attribute_by_a_name_that_changes(struct __sk_buff* skb) { return attribute(value); }

SEC("tc")
int attribute_of_what_may_be_missing(struct __sk_buff* skb) {
  struct bpf_dynptr to;
  struct cgroup* group = bpf_cgroup_from_id(1);
  bpf_dynptr_from_mem(value, sizeof(value), 0, &to);
  const int r = bpf_cgroup_read_xattr(group, "user.name", &to);
  if (group) bpf_cgroup_release(group);
  return r;
}

static inline int populate(unsigned long size) {
  struct bpf_cpumask* mask = bpf_cpumask_create();
  if (!mask) return 0;
  const int r = bpf_cpumask_populate(&mask->cpumask, value, size);
  bpf_cpumask_release(mask);
  return r;
}

SEC("tp_btf/task_newtask")
int mask(__u64* ctx) { return populate(sizeof(value)); }

SEC("tp_btf/task_newtask")
int mask_beyond(__u64* ctx) { return populate(sizeof(value) + 1); }

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kmem_cache {
  unsigned int size;
};
#pragma clang attribute pop
struct kmem_cache* bpf_get_kmem_cache(__u64 addr) __ksym;
int bpf_xdp_pull_data(struct xdp_md* x, __u32 len) __ksym;

#define KEEP(x) asm volatile("" : : "r"(x))

// Nobody knows what is there, and reading it cannot fault.
SEC("tc")
int cache(struct __sk_buff* skb) {
  struct kmem_cache* c = bpf_get_kmem_cache(1);
  KEEP(c->size);
  return 0;
}

SEC("tc")
int cache_is_written(struct __sk_buff* skb) {
  struct kmem_cache* c = bpf_get_kmem_cache(1);
  c->size = 1;
  return 0;
}

SEC("tc")
int cache_of_a_pointer(struct __sk_buff* skb) { return bpf_get_kmem_cache((long)skb) != 0; }

SEC("xdp")
int pull(struct xdp_md* x) { return bpf_xdp_pull_data(x, 100) ? XDP_DROP : XDP_PASS; }

SEC("xdp")
int packet_after_a_pull(struct xdp_md* x) {
  unsigned char* data = (void*)(long)x->data;
  if (data + 1 > (unsigned char*)(long)x->data_end) return XDP_DROP;
  bpf_xdp_pull_data(x, 100);
  KEEP(*data);
  return XDP_PASS;
}

__attribute__((noinline)) int pulls(struct xdp_md* x) { return bpf_xdp_pull_data(x, 100); }

SEC("xdp")
int packet_after_a_function_that_pulls(struct xdp_md* x) {
  unsigned char* data = (void*)(long)x->data;
  if (data + 1 > (unsigned char*)(long)x->data_end) return XDP_DROP;
  pulls(x);
  KEEP(*data);
  return XDP_PASS;
}

SEC("tc")
int pull_another_kind(struct __sk_buff* skb) { return bpf_xdp_pull_data((void*)skb, 100); }

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct nf_conn {
  unsigned long status;
};
struct nf_conn___init {
  struct nf_conn ct;
};
#pragma clang attribute pop
struct bpf_ct_opts {
  __s32 netns_id, error;
  __u8 l4proto, dir, reserved[2];
};
union nf_inet_addr {
  __u32 all[4];
};
enum nf_nat_manip_type { NF_NAT_MANIP_SRC };

struct nf_conn___init* bpf_skb_ct_alloc(struct __sk_buff* skb, struct bpf_sock_tuple* tuple, __u32 tuple_size,
                                        struct bpf_ct_opts* opts, __u32 opts_size) __ksym;
struct nf_conn* bpf_ct_insert_entry(struct nf_conn___init* nfct) __ksym;
void bpf_ct_release(struct nf_conn* nfct) __ksym;
int bpf_ct_set_nat_info(struct nf_conn___init* nfct, union nf_inet_addr* addr, int port, enum nf_nat_manip_type manip) __ksym;

enum { kBefore, kAfter, kOfNumbers, kOfTheContext };
static __attribute__((always_inline)) int translated(struct __sk_buff* skb, int how) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_ct_opts opts = {.netns_id = -1, .l4proto = 6};
  union nf_inet_addr address = {};
  struct nf_conn___init* made = bpf_skb_ct_alloc(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
  if (!made) return 0;
  if (how == kBefore) bpf_ct_set_nat_info(made, &address, 80, NF_NAT_MANIP_SRC);
  if (how == kOfNumbers) bpf_ct_set_nat_info((void*)&address, &address, 80, NF_NAT_MANIP_SRC);
  if (how == kOfTheContext) bpf_ct_set_nat_info(made, (void*)skb, 80, NF_NAT_MANIP_SRC);
  struct nf_conn* inserted = bpf_ct_insert_entry(made);
  if (!inserted) return 0;
  if (how == kAfter) bpf_ct_set_nat_info((void*)inserted, &address, 80, NF_NAT_MANIP_SRC);
  bpf_ct_release(inserted);
  return 0;
}

SEC("tc")
int translated_before(struct __sk_buff* skb) { return translated(skb, kBefore); }

SEC("tc")
int translated_after(struct __sk_buff* skb) { return translated(skb, kAfter); }

SEC("tc")
int numbers_are_translated(struct __sk_buff* skb) { return translated(skb, kOfNumbers); }

SEC("tc")
int translated_to_the_context(struct __sk_buff* skb) { return translated(skb, kOfTheContext); }
