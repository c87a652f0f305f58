// Programs with a function of their own for exceptions: the return value after one is what it returns.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern void bpf_throw(__u64 cookie) __ksym;

#define on_exception(function) __attribute__((btf_decl_tag("exception_callback:" #function)))

__noinline int as_one(__u64 cookie) { return cookie != 0; }
__noinline int as_it_is(__u64 cookie) { return (int)cookie; }
__noinline int of_two(__u64 cookie, int more) { return cookie + more != 0; }
__noinline int of_none(void) { return bpf_get_prandom_u32() & 1; }
__noinline int throws_again(__u64 cookie) {
  if (cookie > 5) bpf_throw(cookie);
  return 1;
}
static __noinline int hidden(__u64 cookie) { return cookie != 0; }

SEC("cgroup_skb/egress")
on_exception(as_one) int any_cookie(struct __sk_buff* skb) {
  if (skb->len > 100) bpf_throw(skb->len);
  return 1;
}

SEC("cgroup_skb/egress")
on_exception(as_it_is) int cookie_out_of_range(struct __sk_buff* skb) {
  if (skb->len > 100) bpf_throw(skb->len);
  return 1;
}

SEC("cgroup_skb/egress")
on_exception(as_it_is) int verified_without_a_throw(struct __sk_buff* skb) { return 1; }

SEC("cgroup_skb/egress")
on_exception(of_two) int callback_of_two(struct __sk_buff* skb) { return 1; }

SEC("cgroup_skb/egress")
on_exception(of_none) int callback_of_none(struct __sk_buff* skb) { return 1; }

SEC("cgroup_skb/egress")
on_exception(throws_again) int callback_throws(struct __sk_buff* skb) { return 1; }

SEC("tc")
on_exception(as_one) int called_like_a_function(struct __sk_buff* skb) { return as_one(skb->len); }

SEC("cgroup_skb/egress")
on_exception(hidden) int static_callback(struct __sk_buff* skb) { return hidden(skb->len); }

SEC("cgroup_skb/egress")
on_exception(as_one) on_exception(as_it_is) int two_callbacks(struct __sk_buff* skb) { return 1; }

char _license[] SEC("license") = "GPL";
