// What the kernel provides: configuration, functions and variables, present in core_kernel.bpf.c and absent.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern char CONFIG_NO_SUCH_STRING[8] __kconfig __weak;
extern unsigned long CONFIG_STRONG_AND_ABSENT __kconfig;

extern int kernel_function(int) __ksym;
extern int bpf_no_such_function(int) __ksym __weak;
extern int bpf_no_such_strong_function(int) __ksym;
extern const int kernel_variable __ksym;
extern const void untyped __ksym __weak;
extern const int no_such_variable __ksym __weak;

SEC("tc")
int configured(struct __sk_buff *skb) {
  if (CONFIG_NO_SUCH_OPTION) return 1;
  return LINUX_KERNEL_VERSION > 0x50000 ? CONFIG_NO_SUCH_STRING[skb->len & 7] : 2;
}

SEC("tc")
int present(struct __sk_buff *skb) {
  kernel_function(1);
  return kernel_variable + (&untyped != 0);
}

SEC("tc")
int weak_absent(struct __sk_buff *skb) {
  if (bpf_no_such_function) return bpf_no_such_function(1);
  return &no_such_variable != 0;
}

SEC("tc")
int strong_absent(struct __sk_buff *skb) { return bpf_no_such_strong_function(1); }

SEC("tc")
int strong_config(struct __sk_buff *skb) { return CONFIG_STRONG_AND_ABSENT; }

char LICENSE[] SEC("license") = "GPL";
