// Programs at functions of the kernel, before, after and instead of them.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct path;

char _license[] SEC("license") = "GPL";

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, long);
} of_sockets SEC(".maps");

SEC("fentry/bpf_fentry_test1")
int before(__u64* ctx) { return 0; }

SEC("fentry/bpf_fentry_test1")
int before_has_no_say(__u64* ctx) { return 1; }

SEC("fentry/bpf_fentry_test1")
int result_before(__u64* ctx) { return ctx[1] ? 0 : 0; }

SEC("fexit/bpf_fentry_test1")
int result_after(__u64* ctx) { return ctx[1] > 5 ? 0 : bpf_get_prandom_u32() & 0; }

SEC("fexit/bpf_fentry_test1")
__attribute__((naked)) int behind_the_result(void) { asm volatile("r0 = *(u64 *)(r1 + 16); r0 = 0; exit;"); }

SEC("fexit/bpf_fentry_test1")
__attribute__((naked)) int argument_is_written(void) { asm volatile("r0 = 0; *(u64 *)(r1 + 0) = r0; exit;"); }

SEC("fentry.s/bpf_fentry_test1")
int sleeps_where_it_may(__u64* ctx) { return 0; }

SEC("fentry.s/bpf_fentry_test2")
int sleeps_where_it_may_not(__u64* ctx) { return 0; }

SEC("fmod_ret/bpf_modify_return_test")
int instead(__u64* ctx) { return ctx[0] + ctx[2]; }

SEC("fmod_ret/bpf_modify_return_test")
__attribute__((naked)) int behind_its_result(void) { asm volatile("r0 = *(u64 *)(r1 + 24); exit;"); }

SEC("fmod_ret/security_file_permission")
int instead_of_a_security_check(__u64* ctx) { return 77; }

SEC("fmod_ret/bpf_fentry_test2")
int instead_of_another(__u64* ctx) { return 0; }

SEC("fmod_ret.s/bpf_fentry_test1")
int sleeps_instead(__u64* ctx) { return 0; }

SEC("fmod_ret.s/bpf_modify_return_test")
int sleeps_where_the_function_may_not(__u64* ctx) { return 0; }

SEC("fexit/do_exit")
int after_what_never_ends(__u64* ctx) { return 0; }

SEC("fentry/do_exit")
int before_what_never_ends(__u64* ctx) { return 0; }

SEC("fentry/migrate_disable")
int in_what_programs_run_in(__u64* ctx) { return 0; }

SEC("fentry/vfs_truncate")
int path_where_it_may(__u64* ctx) {
  char name[16] = {};
  bpf_d_path((struct path*)ctx[0], name, sizeof(name));
  return 0;
}

SEC("fentry/vfs_open")
int path_where_it_may_not(__u64* ctx) {
  char name[16] = {};
  bpf_d_path((struct path*)ctx[0], name, sizeof(name));
  return 0;
}

SEC("fentry/inet_csk_accept")
int storage_of_a_socket(__u64* ctx) {
  bpf_sk_storage_get(&of_sockets, (void*)ctx[0], 0, 0);
  return 0;
}

SEC("fentry/bpf_sk_storage_free")
int storage_within_itself(__u64* ctx) {
  bpf_sk_storage_get(&of_sockets, (void*)ctx[0], 0, 0);
  return 0;
}
