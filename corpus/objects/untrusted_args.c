// Global functions whose arguments are tagged as untrusted: callers give them anything.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define UNTRUSTED __attribute__((btf_decl_tag("arg:untrusted")))
#define NONNULL __attribute__((btf_decl_tag("arg:nonnull")))
#define OWN __attribute__((noinline))
#define KEEP(x) asm volatile("" : : "r"(x))

struct task_struct {
  int pid;
} __attribute__((preserve_access_index));
struct of_the_program {
  int a;
};

char _license[] SEC("license") = "GPL";

OWN int reads_a_number(int* p UNTRUSTED) { return *p; }

OWN int reads_anything(void* p UNTRUSTED) { return *(long*)(p + 1000); }

OWN int reads_a_task(struct task_struct* task UNTRUSTED) { return task->pid; }

OWN int writes(int* p UNTRUSTED) {
  *p = 1;
  return 0;
}

OWN int writes_a_task(struct task_struct* task UNTRUSTED) {
  task->pid = 1;
  return 0;
}

OWN int beyond_the_task(struct task_struct* task UNTRUSTED) { return *(int*)((char*)task + (1 << 20)); }

OWN int gives_it_to_a_helper(int* p UNTRUSTED) { return bpf_get_current_comm(p, 4); }

OWN int two_tags(int* p UNTRUSTED NONNULL) { return *p; }

OWN int tagged_number(int a UNTRUSTED) { return a + 1; }

OWN int its_own(struct of_the_program* p UNTRUSTED) { return p->a; }

OWN int tagged_otherwise(int* p __attribute__((btf_decl_tag("arg:borrowed")))) { return p ? *p : 0; }

SEC("tc")
int unknown_tag(struct __sk_buff* skb) {
  int a = 1;
  return tagged_otherwise(&a);
}

SEC("tc")
int number(struct __sk_buff* skb) {
  int on_the_stack = 1;
  int* none = 0;
  asm volatile("" : "+r"(none));
  return reads_a_number(&on_the_stack) + reads_a_number((void*)skb) + reads_a_number((void*)(long)skb->mark) +
         reads_a_number(none);
}

SEC("tc")
int anything(struct __sk_buff* skb) { return reads_anything(skb); }

SEC("tc")
int task(struct __sk_buff* skb) { return reads_a_task((void*)skb); }

SEC("tc")
int write_to_a_number(struct __sk_buff* skb) { return writes((void*)skb); }

SEC("tc")
int write_to_a_task(struct __sk_buff* skb) { return writes_a_task((void*)skb); }

SEC("tc")
int read_beyond(struct __sk_buff* skb) { return beyond_the_task((void*)skb); }

SEC("tc")
int to_a_helper(struct __sk_buff* skb) { return gives_it_to_a_helper((void*)skb); }

SEC("tc")
int several_tags(struct __sk_buff* skb) { return two_tags((void*)skb); }

SEC("tc")
int tag_on_a_number(struct __sk_buff* skb) { return tagged_number(skb->mark); }

SEC("tc")
int structure_of_its_own(struct __sk_buff* skb) { return its_own((void*)skb); }

SEC("tc")
__attribute__((naked)) int never_set(void) { asm volatile("call reads_anything; r0 = 0; exit;"); }

SEC("tc")
__attribute__((naked)) int never_set_either(void) { asm volatile("r1 = r2; call reads_anything; r0 = 0; exit;"); }

SEC("tc")
__attribute__((naked)) int set_by_a_call(void) { asm volatile("call 7; call reads_anything; r0 = 0; exit;"); }
