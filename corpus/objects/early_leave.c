// Subprograms that may leave early: into another program, or at a packet load that fails.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u32);
} stages SEC(".maps");

// The kernel's intrinsic for legacy packet loads.
unsigned long long load_byte(void* skb, unsigned long long offset) asm("llvm.bpf.load.byte");

__noinline int next_stage(struct __sk_buff* skb) {
  bpf_tail_call(skb, &stages, 1);
  return 1;
}

// The other program may have changed the packet, and the caller of a global function sees only what may happen.
SEC("tc")
int keeps_a_packet_pointer(struct __sk_buff* skb) {
  unsigned char* data = (void*)(long)skb->data;
  if ((void*)(data + 1) > (void*)(long)skb->data_end) return 0;
  next_stage(skb);
  return *data;
}

SEC("tc")
int looks_again(struct __sk_buff* skb) {
  unsigned char *data, *end;
  next_stage(skb);
  data = (void*)(long)skb->data;
  end = (void*)(long)skb->data_end;
  return data + 1 > end ? 0 : *data;
}

static __noinline void load_without_a_result(struct __sk_buff* skb) { skb->mark = load_byte(skb, 0); }

static __noinline long load_with_a_result(struct __sk_buff* skb) { return load_byte(skb, 0); }

SEC("tc")
int loads_in_a_void_function(struct __sk_buff* skb) {
  load_without_a_result(skb);
  return 0;
}

SEC("tc")
int loads_in_a_function_of_a_number(struct __sk_buff* skb) { return load_with_a_result(skb); }

static __noinline void leave_without_a_result(struct __sk_buff* skb) { bpf_tail_call(skb, &stages, 2); }

SEC("tc")
int leaves_in_a_void_function(struct __sk_buff* skb) {
  leave_without_a_result(skb);
  return 0;
}

char _license[] SEC("license") = "GPL";
