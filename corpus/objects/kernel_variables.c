// Variables of the kernel, and addresses of its functions.
#include "objects.h"

char _license[] SEC("license") = "GPL";

struct rq {
  unsigned int nr_running;
  int cpu;
} __attribute__((preserve_access_index));

extern const struct rq runqueues __ksym;
extern const int bpf_prog_active __ksym;
extern const void bpf_link_fops __ksym;
extern const int there_is_none __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;

#define OPAQUE(x) asm volatile("" : "+r"(x))
// Loads that the compiler would leave out.
#define KEEP(x) asm volatile("" : : "r"(x))

SEC("raw_tp")
int of_this_processor(void* ctx) {
  const struct rq* rq = bpf_this_cpu_ptr(&runqueues);
  KEEP(rq->cpu);
  return 0;
}

SEC("raw_tp")
int of_any_processor(void* ctx) {
  const struct rq* rq = bpf_per_cpu_ptr(&runqueues, 1);
  if (rq) KEEP(rq->cpu);
  return 0;
}

SEC("raw_tp")
int of_a_processor_that_may_be_missing(void* ctx) {
  const struct rq* rq = bpf_per_cpu_ptr(&runqueues, 1);
  KEEP(rq->cpu);
  return 0;
}

SEC("raw_tp")
int of_no_processor(void* ctx) {
  KEEP(runqueues.cpu);
  return 0;
}

SEC("raw_tp")
int is_written(void* ctx) {
  struct rq* rq = bpf_this_cpu_ptr(&runqueues);
  rq->cpu = 1;
  return 0;
}

SEC("raw_tp")
int number(void* ctx) {
  const int* active = bpf_this_cpu_ptr(&bpf_prog_active);
  KEEP(*active);
  return 0;
}

SEC("raw_tp")
int number_of_any_processor(void* ctx) {
  const int* active = bpf_per_cpu_ptr(&bpf_prog_active, 1);
  if (active) KEEP(*active);
  return 0;
}

SEC("raw_tp")
int number_that_may_be_missing(void* ctx) {
  const int* active = bpf_per_cpu_ptr(&bpf_prog_active, 1);
  KEEP(*active);
  return 0;
}

SEC("raw_tp")
int number_is_written(void* ctx) {
  int* active = bpf_this_cpu_ptr(&bpf_prog_active);
  *active = 1;
  return 0;
}

SEC("raw_tp")
int behind_the_number(void* ctx) {
  const int* active = bpf_this_cpu_ptr(&bpf_prog_active);
  KEEP(active[1]);
  return 0;
}

SEC("raw_tp")
int number_of_no_processor(void* ctx) {
  KEEP(bpf_prog_active);
  return 0;
}

SEC("raw_tp")
int given_to_a_helper(void* ctx) {
  char buf[4];
  const int* active = bpf_this_cpu_ptr(&bpf_prog_active);
  return bpf_probe_read_kernel(buf, sizeof(buf), active) + bpf_get_current_comm((void*)active, 4);
}

SEC("raw_tp")
int of_a_number(void* ctx) {
  KEEP(*(int*)bpf_this_cpu_ptr((void*)1));
  return 0;
}

SEC("raw_tp")
int offset_into_it(void* ctx) {
  const int* cpu = bpf_this_cpu_ptr(&runqueues.cpu);
  KEEP(*cpu);
  return 0;
}

SEC("raw_tp")
int by_no_type(void* ctx) {
  const void* p = &bpf_link_fops;
  OPAQUE(p);
  KEEP(*(volatile int*)p);
  return 0;
}

SEC("raw_tp")
int is_there(void* ctx) {
  const void* p = &bpf_prog_active;
  OPAQUE(p);
  if (!p) KEEP(*(volatile int*)8);
  return 0;
}

SEC("raw_tp")
int missing(void* ctx) {
  const void* p = &there_is_none;
  OPAQUE(p);
  if (p) KEEP(*(volatile int*)8);
  return 0;
}

SEC("raw_tp")
int address_of_a_function(void* ctx) {
  const void* p = bpf_rcu_read_lock;
  OPAQUE(p);
  if (!p) KEEP(*(volatile int*)8);
  return 0;
}

SEC("raw_tp")
int function_is_read(void* ctx) {
  KEEP(*(int*)bpf_rcu_read_lock);
  return 0;
}

struct own {
  long number;
};
struct own whole;  // the compiler leaves out what a structure has where nothing is one
struct kept {
  struct own KPTR_PERCPU* own;
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __type(key, int);
  __type(value, struct kept);
  __uint(max_entries, 1);
} keeps SEC(".maps");

SEC("raw_tp")
int own_kind(void* ctx) {
  int key = 0;
  struct kept* kept = bpf_map_lookup_elem(&keeps, &key);
  struct own* own = kept ? kept->own : 0;
  if (!own) return 0;
  own = bpf_this_cpu_ptr(own);
  KEEP(own->number);
  return 0;
}

// Which of the two the call is for is noted once for all paths.
SEC("raw_tp")
int either_kind(void* ctx) {
  int key = 0;
  struct kept* kept = bpf_map_lookup_elem(&keeps, &key);
  if (!kept) return 0;
  const void* percpu = kept->own;
  if (!percpu) percpu = &runqueues;
  OPAQUE(percpu);
  bpf_this_cpu_ptr(percpu);
  return 0;
}
