// How a global function says that an argument is the context: by the type that it points to, or by a tag.
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>

#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))

struct sk_buff {
  int opaque;
};
struct user_pt_regs {
  int opaque;
};

__noinline int of_its_type(struct __sk_buff* ctx) { return ctx->mark; }
// What the kernel itself calls it.
__noinline int of_the_kernels_type(struct sk_buff* ctx) { return bpf_skb_pull_data((void*)ctx, 0); }
__noinline int tagged(void* ctx __arg_ctx) { return bpf_skb_pull_data(ctx, 0); }
__noinline int tagged_as_numbers(__u64* ctx __arg_ctx) { return ctx[0]; }
__noinline int of_other_registers(struct user_pt_regs* ctx) { return ctx ? ctx->opaque : 0; }

// A syscall program's context serves as memory of any size.
struct request {
  __u64 words[4];
};
__noinline int of_a_request(struct request* request) { return request ? request->words[3] : 0; }

SEC("syscall")
int context_as_memory(void* ctx) { return of_a_request(ctx); }

SEC("tc")
int by_type(struct __sk_buff* ctx) { return of_its_type(ctx); }

SEC("tc")
int by_the_kernels_type(struct __sk_buff* ctx) { return of_the_kernels_type((void*)ctx); }

SEC("tc")
int by_tag(struct __sk_buff* ctx) { return tagged(ctx); }

// Only tracepoints, whose context is an array of numbers, may call it one.
SEC("tc")
int by_tag_on_numbers(struct __sk_buff* ctx) { return tagged_as_numbers((void*)ctx); }

SEC("raw_tp/sys_enter")
int numbers_of_a_tracepoint(__u64* ctx) { return tagged_as_numbers(ctx); }

// The registers of another architecture are memory like any other.
SEC("kprobe/do_exit")
int registers_of_another_kind(struct pt_regs* ctx) { return of_other_registers((void*)ctx); }

SEC("kprobe/do_exit")
int memory_of_that_type(struct pt_regs* ctx) {
  struct user_pt_regs mine = {7};
  return of_other_registers(&mine);
}

char _license[] SEC("license") = "GPL";
