// Programs that fill tables of functions: what congestion control gets, what it may change, and what it returns.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock {
  unsigned long sk_pacing_rate;
};
struct tcp_sock {
  unsigned int snd_cwnd;
  unsigned int snd_ssthresh;
  unsigned int packets_out;
};
struct bpf_dummy_ops_state {
  int val;
};
#pragma clang attribute pop

struct tcp_congestion_ops {
  unsigned int (*ssthresh)(struct sock* sk);
  void (*cong_avoid)(struct sock* sk, unsigned int ack, unsigned int acked);
  void (*set_state)(struct sock* sk, unsigned char new_state);
  unsigned int (*undo_cwnd)(struct sock* sk);
  unsigned long (*get_info)(struct sock* sk, unsigned int ext, int* attr, void* info);
  void (*init)(struct sock* sk);
  void (*release)(struct sock* sk);
  char name[16];
};
struct bpf_dummy_ops {
  int (*test_1)(struct bpf_dummy_ops_state* state);
  int (*test_sleepable)(struct bpf_dummy_ops_state* state);
};

unsigned int tcp_reno_ssthresh(struct sock* sk) __ksym;

char _license[] SEC("license") = "GPL";

SEC("struct_ops")
unsigned int returns_a_number(__u64* ctx) {
  return ((struct tcp_sock*)ctx[0])->snd_cwnd + ((struct sock*)ctx[0])->sk_pacing_rate;
}

SEC("struct_ops")
__attribute__((naked)) int returns_nothing(void) { asm volatile("exit;"); }

SEC("struct_ops")
__attribute__((naked)) int has_to_return(void) { asm volatile("exit;"); }

SEC("struct_ops")
int changes_what_it_may(__u64* ctx) {
  ((struct tcp_sock*)ctx[0])->snd_cwnd = 1;
  return 0;
}

SEC("struct_ops")
int changes_something_else(__u64* ctx) {
  ((struct tcp_sock*)ctx[0])->packets_out = 1;
  return 0;
}

SEC("struct_ops")
int changes_more_than_it_may(__u64* ctx) {
  asm volatile("*(u64 *)(%0 + 0) = %1;" : : "r"(&((struct tcp_sock*)ctx[0])->snd_ssthresh), "r"(1ull));
  return 0;
}

SEC("struct_ops")
int changes_an_argument(__u64* ctx) {
  ctx[1] = 1;
  return 0;
}

SEC("struct_ops")
int member_that_takes_no_programs(__u64* ctx) { return 0; }

SEC("struct_ops")
int sets_an_option(__u64* ctx) {
  int on = 1;
  bpf_setsockopt((void*)ctx[0], 6, 1, &on, sizeof(on));
  return 0;
}

SEC("struct_ops")
int sets_an_option_at_the_end(__u64* ctx) {
  int on = 1;
  bpf_setsockopt((void*)ctx[0], 6, 1, &on, sizeof(on));
  return 0;
}

SEC("struct_ops")
int asks_the_kernel_s_own(__u64* ctx) { return tcp_reno_ssthresh((struct sock*)ctx[0]); }

SEC("struct_ops")
int state_that_may_be_missing(__u64* ctx) { return ((struct bpf_dummy_ops_state*)ctx[0])->val; }

SEC("struct_ops")
int state_is_changed(__u64* ctx) {
  struct bpf_dummy_ops_state* state = (void*)ctx[0];
  if (!state) return 0;
  state->val = 5;
  return 0;
}

SEC("struct_ops")
int no_helpers(__u64* ctx) { return bpf_get_prandom_u32(); }

SEC("struct_ops.s")
int sleeps_where_it_may(__u64* ctx) { return 0; }

SEC("struct_ops.s")
int sleeps_where_it_may_not(__u64* ctx) { return 0; }

SEC(".struct_ops") struct tcp_congestion_ops reading = {
  .ssthresh = (void*)returns_a_number,
  .cong_avoid = (void*)changes_what_it_may,
  .set_state = (void*)changes_an_argument,
  .undo_cwnd = (void*)has_to_return,
  .get_info = (void*)member_that_takes_no_programs,
  .init = (void*)sets_an_option,
  .release = (void*)sets_an_option_at_the_end,
  .name = "reading",
};
SEC(".struct_ops") struct tcp_congestion_ops writing = {
  .ssthresh = (void*)asks_the_kernel_s_own,
  .cong_avoid = (void*)changes_something_else,
  .set_state = (void*)changes_more_than_it_may,
  .init = (void*)returns_nothing,
  .name = "writing",
};
SEC(".struct_ops") struct bpf_dummy_ops testing = {
  .test_1 = (void*)state_that_may_be_missing,
  .test_sleepable = (void*)sleeps_where_it_may,
};
SEC(".struct_ops") struct bpf_dummy_ops changing = {
  .test_1 = (void*)state_is_changed,
  .test_sleepable = (void*)no_helpers,
};
SEC(".struct_ops") struct bpf_dummy_ops sleeping = {
  .test_1 = (void*)sleeps_where_it_may_not,
};
