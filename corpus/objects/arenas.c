// Memory that a program shares with its process: any address in it may be read and written, and computed with.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

// Newer than the headers of some systems.
#define MAP_TYPE_ARENA 33
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define ULONG(name, val) enum { PASTE(unique_value, __COUNTER__) = val } name

#define ARENA __attribute__((address_space(1)))
#define ARENA_TAG __attribute__((btf_decl_tag("arg:arena")))

struct {
  __uint(type, MAP_TYPE_ARENA);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 10);
  ULONG(map_extra, 0x2ull << 44);
} arena SEC(".maps");
struct {
  __uint(type, MAP_TYPE_ARENA);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  ULONG(map_extra, 0x3ull << 44);
} other SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} plain SEC(".maps");

void ARENA* bpf_arena_alloc_pages(void* map, void ARENA* addr, __u32 pages, int node, __u64 flags) __ksym;
void bpf_arena_free_pages(void* map, void ARENA* at, __u32 pages) __ksym;

struct node {
  struct node ARENA* next;
  __u64 value;
};
__u64 ARENA total;

SEC("syscall")
int list(void* ctx) {
  struct node ARENA* first = bpf_arena_alloc_pages(&arena, 0, 1, -1, 0);
  if (!first) return 1;
  first->next = first + 3;
  first->next->value += 7;
  __sync_fetch_and_add(&total, first->next[5].value);
  bpf_arena_free_pages(&arena, first, 1);
  return first->value > 0;
}

// No bounds are asked for, and no loop is counted through more often than the budget allows.
SEC("syscall")
int any_address(void* ctx) {
  volatile char ARENA* p = (char ARENA*)bpf_arena_alloc_pages(&arena, 0, 1, -1, 0);
  p[1 << 20] = 1;
  p[-5] = 2;
  p += p[3] * 1000;
  return *p;
}

__attribute__((noinline)) __u64 sum(struct node ARENA* list ARENA_TAG) { return list->value + list->next->value; }

SEC("syscall")
int given_to_a_function(void* ctx) { return sum(bpf_arena_alloc_pages(&arena, 0, 1, -1, 0)) & 1; }

SEC("syscall")
int stack_given_to_a_function(void* ctx) {
  struct node on_stack = {};
  void* map = &arena;
  asm volatile("" : "+r"(map));
  return sum((struct node ARENA*)(void ARENA*)(long)&on_stack) & 1;
}

SEC("syscall")
int two_arenas(void* ctx) {
  return !bpf_arena_alloc_pages(&arena, 0, 1, -1, 0) || !bpf_arena_alloc_pages(&other, 0, 1, -1, 0);
}

SEC("syscall")
int no_map(void* ctx) {
  void* map = &arena;
  asm volatile("" : "+r"(map));
  return !bpf_arena_alloc_pages((void*)5, 0, 1, -1, 0);
}

SEC("syscall")
int map_value_for_a_map(void* ctx) {
  __u32 key = 0;
  void* map = &arena;
  asm volatile("" : "+r"(map));
  __u64* value = bpf_map_lookup_elem(&plain, &key);
  return !value || !bpf_arena_alloc_pages(value, 0, 1, -1, 0);
}

SEC("tc")
int may_not_sleep(void* ctx) { return !bpf_arena_alloc_pages(&arena, 0, 1, -1, 0); }

SEC("syscall")
int for_a_helper(void* ctx) {
  char ARENA* p = bpf_arena_alloc_pages(&arena, 0, 1, -1, 0);
  char* local;
  asm volatile("%0 = addr_space_cast(%1, 0, 1)" : "=r"(local) : "r"(p));
  return bpf_probe_read_kernel(local, 8, ctx);
}

char _license[] SEC("license") = "GPL";
