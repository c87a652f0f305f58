// The shape of objects from before BTF: maps in section "maps", names without a type, early section names.
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

struct map_def {
  unsigned type, key_size, value_size, max_entries, flags, inner_index, numa_node;
};

struct map_def SEC("maps") ports = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 16};
struct map_def SEC("maps") nested = {
    .type = BPF_MAP_TYPE_HASH_OF_MAPS, .key_size = 4, .value_size = 4, .max_entries = 2, .inner_index = 0};

static void *(*lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;

SEC("xdp_main")
int main_prog(struct xdp_md *ctx) {
  unsigned key = 1;
  unsigned long *value = lookup(&ports, &key);
  if (value) *value += 1;
  lookup(&nested, &key);
  return XDP_PASS;
}

SEC("2/7")
int tail(struct __sk_buff *skb) { return 1; }

char _license[] SEC("license") = "GPL";
