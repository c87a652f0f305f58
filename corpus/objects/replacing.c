// Programs in the place of functions of replacing_target.c, and at them.
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct point {
  int x, y;
};
struct other {
  int x, y;
};
struct sk_buff {
  unsigned int len;
} __attribute__((preserve_access_index));

#define OWN __attribute__((noinline))
#define KEEP(x) asm volatile("" : "+r"(x))

// ---- In their place ----

SEC("freplace/length")
int longer(struct __sk_buff* skb) { return skb->len + 1; }

SEC("freplace/length")
int reads_the_packet(struct __sk_buff* skb) {
  unsigned char* data = (unsigned char*)(long)skb->data;
  if (data + 14 > (unsigned char*)(long)skb->data_end) return -1;
  return data[12];
}

SEC("freplace/length")
int leaks(struct __sk_buff* skb) { return (long)skb; }

SEC("freplace/length")
int changes_the_packet(struct __sk_buff* skb) { return bpf_skb_pull_data(skb, 0); }

OWN static int deeper(struct __sk_buff* skb) { return bpf_skb_pull_data(skb, 0) + 1; }

SEC("freplace/length")
int changes_it_in_a_function(struct __sk_buff* skb) { return deeper(skb); }

SEC("freplace/pulls")
int pulls_too(struct __sk_buff* skb) { return bpf_skb_pull_data(skb, 14); }

SEC("freplace/pulls")
int pulls_no_more(struct __sk_buff* skb) { return skb->len; }

SEC("freplace/sum")
int difference(int a, long b) { return a - b; }

SEC("freplace/sum")
unsigned long of_another_size(int a, long b) { return a * b; }

SEC("freplace/sum")
int nothing(int a, long b) {
  void* p = (void*)b;
  return *(int*)p;
}

SEC("freplace/sum")
void returns_nothing(int a, long b) {}

SEC("freplace/sum")
int one_argument(int a) { return a; }

SEC("freplace/sum")
int wide_argument(long a, long b) { return a; }

SEC("freplace/sum")
int pointer_argument(int a, struct __sk_buff* b) { return a; }

SEC("freplace/distance")
int checked(struct point* p) { return p ? p->y : 1; }

SEC("freplace/distance")
int written(struct point* p) { return p ? p->y = 1 : 1; }

SEC("freplace/distance")
int unchecked(struct point* p) { return p->y; }

SEC("freplace/distance")
int beyond(struct point* p) { return p ? ((int*)p)[2] : 1; }

SEC("freplace/distance")
int of_another_structure(struct other* p) { return 0; }

SEC("freplace/number_at")
int number_behind(int* p) { return 0; }

SEC("freplace/hidden")
int visible(int a) { return a; }

SEC("freplace/hidden_with_a_pointer")
int visible_with_a_pointer(struct point* p) { return 0; }

SEC("freplace/third")
int of_the_third(struct point* p) { return 0; }

SEC("freplace/fifth")
int of_the_fifth(int a) { return a; }

SEC("freplace/shared")
int of_either(int a) { return a; }

SEC("freplace/left_out")
int of_nothing(int a) { return a; }

SEC("freplace/passes")
int drops(struct xdp_md* ctx) { return ctx->data ? XDP_DROP : 77; }

SEC("freplace/passes")
int asks_for_another_program_s_helper(struct xdp_md* ctx) { return bpf_skb_ecn_set_ce((void*)ctx); }

SEC("freplace/passes")
int of_another_context(struct __sk_buff* ctx) { return 0; }

SEC("freplace/any_context")
int without_a_context(void* ctx) { return 0; }

SEC("freplace/probe")
int looks(struct pt_regs* ctx) { return bpf_get_current_pid_tgid(); }

SEC("freplace/at_a_tracepoint")
int answers_nothing(int a) { return 0; }

SEC("freplace/at_a_tracepoint")
int answers_anything(int a) { return a; }

SEC("freplace/may_bind")
int binds(struct bpf_sock_addr* ctx) { return ctx->user_port == 80; }

SEC("freplace/may_bind")
int binds_anything(struct bpf_sock_addr* ctx) { return ctx->user_port; }

SEC("freplace/may_bind")
int rewrites(struct bpf_sock_addr* ctx) {
  ctx->user_port = 80;
  return 1;
}

SEC("freplace/in_a_watcher")
int in_its_place(int a) { return a; }

SEC("freplace/watches")
int watches_instead(__u64* ctx) { return 0; }

SEC("freplace/after_all")
int after_it(__u64 cookie) { return 0; }

OWN int helps(int a) {
  KEEP(a);
  return a + 1;
}

SEC("freplace/sum")
int with_help(int a, long b) { return helps(a) + b; }

extern int bpf_copy_from_user_str(void* dst, __u32 dst__sz, const void* unsafe_ptr__ign, __u64 flags) __ksym;

SEC("freplace/sum")
int sleeps(int a, long b) {
  char c = 0;
  bpf_copy_from_user_str(&c, 1, (void*)b, 0);
  return c;
}

// ---- At them ----

SEC("fentry/length")
int before(__u64* ctx) {
  struct sk_buff* skb = (void*)ctx[0];
  return skb->len ? 0 : bpf_get_prandom_u32() & 0;
}

SEC("fentry/length")
__attribute__((naked)) int result_before(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fexit/length")
__attribute__((naked)) int result_after(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fexit/length")
__attribute__((naked)) int behind_the_result(void) { asm volatile("r0 = *(u64 *)(r1 + 16); r0 = 0; exit;"); }

SEC("fentry/distance")
__attribute__((naked)) int pointer_of_the_program(void) { asm volatile("r0 = *(u64 *)(r1 + 0); r0 = 0; exit;"); }

SEC("fexit/distance")
__attribute__((naked)) int result_beside_a_pointer(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fexit/number_at")
__attribute__((naked)) int pointer_to_a_number(void) { asm volatile("r0 = *(u64 *)(r1 + 0); r0 = 0; exit;"); }

SEC("fentry/hidden")
__attribute__((naked)) int hidden_argument(void) { asm volatile("r0 = *(u64 *)(r1 + 0); r0 = 0; exit;"); }

SEC("fentry/hidden")
__attribute__((naked)) int behind_the_hidden_argument(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fentry/hidden_with_a_pointer")
__attribute__((naked)) int fifth_of_five_numbers(void) { asm volatile("r0 = *(u64 *)(r1 + 32); r0 = 0; exit;"); }

SEC("fentry/hidden_with_a_pointer")
__attribute__((naked)) int sixth_of_five_numbers(void) { asm volatile("r0 = *(u64 *)(r1 + 40); r0 = 0; exit;"); }

SEC("fexit/hidden_with_a_pointer")
__attribute__((naked)) int result_of_five_numbers(void) { asm volatile("r0 = *(u64 *)(r1 + 40); r0 = 0; exit;"); }

SEC("fentry/third")
__attribute__((naked)) int second_of_the_third(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fentry/fourth")
__attribute__((naked)) int fifth_of_the_fourth(void) { asm volatile("r0 = *(u64 *)(r1 + 32); r0 = 0; exit;"); }

SEC("fentry/turn")
__attribute__((naked)) int number_of_a_turn(void) { asm volatile("r0 = *(u64 *)(r1 + 0); r0 = 0; exit;"); }

SEC("fentry/turn")
__attribute__((naked)) int second_of_one_number(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fentry/turn_with_more")
__attribute__((naked)) int fifth_of_a_turn_with_more(void) { asm volatile("r0 = *(u64 *)(r1 + 32); r0 = 0; exit;"); }

SEC("fentry/turn_of_numbers")
__attribute__((naked)) int fifth_of_a_turn_of_numbers(void) { asm volatile("r0 = *(u64 *)(r1 + 32); r0 = 0; exit;"); }

SEC("fentry/of_a_dynptr")
__attribute__((naked)) int a_dynptr(void) { asm volatile("r0 = *(u64 *)(r1 + 0); r0 = 0; exit;"); }

SEC("fentry/of_a_dynptr")
__attribute__((naked)) int second_of_a_dynptr(void) { asm volatile("r0 = *(u64 *)(r1 + 8); r0 = 0; exit;"); }

SEC("fentry/of_what_is_none")
__attribute__((naked)) int fifth_of_what_is_none(void) { asm volatile("r0 = *(u64 *)(r1 + 32); r0 = 0; exit;"); }

SEC("fexit/passes")
int after_a_program(__u64* ctx) { return ctx[0] & 0; }

SEC("fexit/left_out")
int after_nothing(__u64* ctx) { return 0; }

SEC("fexit/after_all")
int after_the_end(__u64* ctx) { return 0; }

SEC("fentry/in_a_watcher")
int watches_a_watcher(__u64* ctx) { return ctx[0] & 0; }

SEC("fmod_ret/sum")
int instead(__u64* ctx) { return 0; }

SEC("fentry.s/sum")
int sleeps_before(__u64* ctx) { return 0; }

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, long);
} of_sockets SEC(".maps");

SEC("fentry/length")
int storage_of_nothing(__u64* ctx) { return bpf_sk_storage_delete(&of_sockets, 0) & 0; }
