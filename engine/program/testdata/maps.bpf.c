// Every kind of map definition: BTF-defined, map-in-map (named and anonymous inner, with static contents), program
// array, global data, and values with fields that the kernel manages.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define __kptr __attribute__((btf_type_tag("kptr")))

struct value {
  struct bpf_spin_lock lock;
  int count;
  struct bpf_timer timer;
};

struct task_struct {
  int pid;
};

struct holder {
  long pad;
  struct task_struct __kptr *task;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct value);
} locked SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct holder);
} holders SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 5000);  // rounded up to 8192
} events SEC(".maps");

struct inner {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} inner0 SEC(".maps"), inner1 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 2);
  __type(key, __u32);
  __array(values, struct inner);
} outer SEC(".maps") = {.values = {&inner0, &inner1}};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 2);
  __uint(key_size, 4);
  __array(
      values, struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 7);
        __type(key, __u64);
        __type(value, __u16);
      });
} outer_anonymous SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1);
  __uint(key_size, 4);
  __uint(value_size, 4);
} outer_unknown SEC(".maps");

SEC("xdp")
int target(struct xdp_md *ctx) { return XDP_PASS; }

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 2);
  __uint(key_size, 4);
  __array(values, int(void *));
} jumps SEC(".maps") = {.values = {[1] = (void *)&target}};

const volatile int limit = 42;
int counter = 7;
static int hidden_zero;
int zero;
struct task_struct complete;  // a definition that is only pointed to would stay a declaration in BTF
const char name[] SEC(".rodata.names") = "names";

SEC("xdp")
int use_maps(struct xdp_md *ctx) {
  __u32 key = 0;
  struct value *v = bpf_map_lookup_elem(&locked, &key);
  if (v) v->count += limit;
  void *in = bpf_map_lookup_elem(&outer, &key);
  if (in) {
    __u64 *slot = bpf_map_lookup_elem(in, &key);
    if (slot) *slot += counter;
  }
  hidden_zero += complete.pid + zero + name[key & 3];
  bpf_map_lookup_elem(&outer_anonymous, &key);
  bpf_map_lookup_elem(&outer_unknown, &key);
  struct holder *holder = bpf_map_lookup_elem(&holders, &key);
  if (holder && holder->task) counter += holder->task->pid;
  void *rec = bpf_ringbuf_reserve(&events, 8, 0);
  if (rec) bpf_ringbuf_discard(rec, 0);
  bpf_tail_call(ctx, &jumps, 1);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
