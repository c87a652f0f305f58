// The program types of the target `raw`: what its input's first byte chooses.
#ifndef BPFSIEVE_FUZZ_TARGETS_RAW_TYPES_H_
#define BPFSIEVE_FUZZ_TARGETS_RAW_TYPES_H_

namespace bpfsieve {

inline constexpr const char* kRawTypes[] = {
    "socket_filter", "kprobe", "sched_cls", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock", "lwt_xmit",
    "sock_ops", "sk_skb", "sk_msg", "raw_tracepoint", "cgroup_sock_addr", "flow_dissector", "cgroup_sysctl",
    "cgroup_sockopt", "sk_lookup", "syscall", "sk_reuseport", "sched_act", "lwt_in",
    "lwt_out", "lwt_seg6local", "cgroup_device", "lirc_mode2", "raw_tracepoint_writable", "tracing", "lsm", "struct_ops",
    "ext", "netfilter"};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_RAW_TYPES_H_
