// A program at a hook of security modules under a licence that is not compatible with the GPL.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Proprietary";

SEC("lsm/file_permission")
int allows(__u64* ctx) { return 0; }
