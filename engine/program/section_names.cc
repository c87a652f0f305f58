#include "engine/program/section_names.h"

namespace bpfsieve {
namespace {

constexpr int kSleepable = 1, kFrags = 2, kTarget = 4;
constexpr int kExtras = 8;  // the name may be followed by a slash and more
constexpr AttachType kNone{};

struct Row {
  std::string_view name;
  ProgType type;
  AttachType attach;
  int flags;
};

// First match wins. usdt has the attach type that libbpf gives it where the kernel has multi-uprobes (since 6.6).
constexpr Row kRows[] = {
    {"socket", ProgType::kSocketFilter, kNone, 0},
    {"sk_reuseport/migrate", ProgType::kSkReuseport, AttachType::kSkReuseportSelectOrMigrate, 0},
    {"sk_reuseport", ProgType::kSkReuseport, AttachType::kSkReuseportSelect, 0},
    {"kprobe", ProgType::kKprobe, kNone, kExtras},
    {"uprobe", ProgType::kKprobe, kNone, kExtras},
    {"uprobe.s", ProgType::kKprobe, kNone, kSleepable | kExtras},
    {"kretprobe", ProgType::kKprobe, kNone, kExtras},
    {"uretprobe", ProgType::kKprobe, kNone, kExtras},
    {"uretprobe.s", ProgType::kKprobe, kNone, kSleepable | kExtras},
    {"kprobe.multi", ProgType::kKprobe, AttachType::kTraceKprobeMulti, kExtras},
    {"kretprobe.multi", ProgType::kKprobe, AttachType::kTraceKprobeMulti, kExtras},
    {"kprobe.session", ProgType::kKprobe, AttachType::kTraceKprobeSession, kExtras},
    {"uprobe.multi", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kExtras},
    {"uretprobe.multi", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kExtras},
    {"uprobe.session", ProgType::kKprobe, AttachType::kTraceUprobeSession, kExtras},
    {"uprobe.multi.s", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kSleepable | kExtras},
    {"uretprobe.multi.s", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kSleepable | kExtras},
    {"uprobe.session.s", ProgType::kKprobe, AttachType::kTraceUprobeSession, kSleepable | kExtras},
    {"ksyscall", ProgType::kKprobe, kNone, kExtras},
    {"kretsyscall", ProgType::kKprobe, kNone, kExtras},
    {"usdt", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kExtras},
    {"usdt.s", ProgType::kKprobe, AttachType::kTraceUprobeMulti, kSleepable | kExtras},
    {"tc/ingress", ProgType::kSchedCls, AttachType::kTcxIngress, 0},
    {"tc/egress", ProgType::kSchedCls, AttachType::kTcxEgress, 0},
    {"tcx/ingress", ProgType::kSchedCls, AttachType::kTcxIngress, 0},
    {"tcx/egress", ProgType::kSchedCls, AttachType::kTcxEgress, 0},
    {"tc", ProgType::kSchedCls, kNone, 0},
    {"classifier", ProgType::kSchedCls, kNone, 0},
    {"action", ProgType::kSchedAct, kNone, 0},
    {"netkit/primary", ProgType::kSchedCls, AttachType::kNetkitPrimary, 0},
    {"netkit/peer", ProgType::kSchedCls, AttachType::kNetkitPeer, 0},
    {"tracepoint", ProgType::kTracepoint, kNone, kExtras},
    {"tp", ProgType::kTracepoint, kNone, kExtras},
    {"raw_tracepoint", ProgType::kRawTracepoint, kNone, kExtras},
    {"raw_tp", ProgType::kRawTracepoint, kNone, kExtras},
    {"raw_tracepoint.w", ProgType::kRawTracepointWritable, kNone, kExtras},
    {"raw_tp.w", ProgType::kRawTracepointWritable, kNone, kExtras},
    {"tp_btf", ProgType::kTracing, AttachType::kTraceRawTp, kTarget | kExtras},
    {"fentry", ProgType::kTracing, AttachType::kTraceFentry, kTarget | kExtras},
    {"fmod_ret", ProgType::kTracing, AttachType::kModifyReturn, kTarget | kExtras},
    {"fexit", ProgType::kTracing, AttachType::kTraceFexit, kTarget | kExtras},
    {"fentry.s", ProgType::kTracing, AttachType::kTraceFentry, kSleepable | kTarget | kExtras},
    {"fmod_ret.s", ProgType::kTracing, AttachType::kModifyReturn, kSleepable | kTarget | kExtras},
    {"fexit.s", ProgType::kTracing, AttachType::kTraceFexit, kSleepable | kTarget | kExtras},
    {"freplace", ProgType::kExt, kNone, kTarget | kExtras},
    {"lsm", ProgType::kLsm, AttachType::kLsmMac, kTarget | kExtras},
    {"lsm.s", ProgType::kLsm, AttachType::kLsmMac, kSleepable | kTarget | kExtras},
    {"lsm_cgroup", ProgType::kLsm, AttachType::kLsmCgroup, kTarget | kExtras},
    {"iter", ProgType::kTracing, AttachType::kTraceIter, kTarget | kExtras},
    {"iter.s", ProgType::kTracing, AttachType::kTraceIter, kSleepable | kTarget | kExtras},
    {"syscall", ProgType::kSyscall, kNone, kSleepable},
    {"xdp.frags/devmap", ProgType::kXdp, AttachType::kXdpDevmap, kFrags},
    {"xdp/devmap", ProgType::kXdp, AttachType::kXdpDevmap, 0},
    {"xdp.frags/cpumap", ProgType::kXdp, AttachType::kXdpCpumap, kFrags},
    {"xdp/cpumap", ProgType::kXdp, AttachType::kXdpCpumap, 0},
    {"xdp.frags", ProgType::kXdp, AttachType::kXdp, kFrags},
    {"xdp", ProgType::kXdp, AttachType::kXdp, 0},
    {"perf_event", ProgType::kPerfEvent, kNone, 0},
    {"lwt_in", ProgType::kLwtIn, kNone, 0},
    {"lwt_out", ProgType::kLwtOut, kNone, 0},
    {"lwt_xmit", ProgType::kLwtXmit, kNone, 0},
    {"lwt_seg6local", ProgType::kLwtSeg6local, kNone, 0},
    {"sockops", ProgType::kSockOps, AttachType::kCgroupSockOps, 0},
    {"sk_skb/stream_parser", ProgType::kSkSkb, AttachType::kSkSkbStreamParser, 0},
    {"sk_skb/stream_verdict", ProgType::kSkSkb, AttachType::kSkSkbStreamVerdict, 0},
    {"sk_skb/verdict", ProgType::kSkSkb, AttachType::kSkSkbVerdict, 0},
    {"sk_skb", ProgType::kSkSkb, kNone, 0},
    {"sk_msg", ProgType::kSkMsg, AttachType::kSkMsgVerdict, 0},
    {"lirc_mode2", ProgType::kLircMode2, AttachType::kLircMode2, 0},
    {"flow_dissector", ProgType::kFlowDissector, AttachType::kFlowDissector, 0},
    {"cgroup_skb/ingress", ProgType::kCgroupSkb, AttachType::kCgroupInetIngress, 0},
    {"cgroup_skb/egress", ProgType::kCgroupSkb, AttachType::kCgroupInetEgress, 0},
    {"cgroup/skb", ProgType::kCgroupSkb, kNone, 0},
    {"cgroup/sock_create", ProgType::kCgroupSock, AttachType::kCgroupInetSockCreate, 0},
    {"cgroup/sock_release", ProgType::kCgroupSock, AttachType::kCgroupInetSockRelease, 0},
    {"cgroup/sock", ProgType::kCgroupSock, AttachType::kCgroupInetSockCreate, 0},
    {"cgroup/post_bind4", ProgType::kCgroupSock, AttachType::kCgroupInet4PostBind, 0},
    {"cgroup/post_bind6", ProgType::kCgroupSock, AttachType::kCgroupInet6PostBind, 0},
    {"cgroup/bind4", ProgType::kCgroupSockAddr, AttachType::kCgroupInet4Bind, 0},
    {"cgroup/bind6", ProgType::kCgroupSockAddr, AttachType::kCgroupInet6Bind, 0},
    {"cgroup/connect4", ProgType::kCgroupSockAddr, AttachType::kCgroupInet4Connect, 0},
    {"cgroup/connect6", ProgType::kCgroupSockAddr, AttachType::kCgroupInet6Connect, 0},
    {"cgroup/connect_unix", ProgType::kCgroupSockAddr, AttachType::kCgroupUnixConnect, 0},
    {"cgroup/sendmsg4", ProgType::kCgroupSockAddr, AttachType::kCgroupUdp4Sendmsg, 0},
    {"cgroup/sendmsg6", ProgType::kCgroupSockAddr, AttachType::kCgroupUdp6Sendmsg, 0},
    {"cgroup/sendmsg_unix", ProgType::kCgroupSockAddr, AttachType::kCgroupUnixSendmsg, 0},
    {"cgroup/recvmsg4", ProgType::kCgroupSockAddr, AttachType::kCgroupUdp4Recvmsg, 0},
    {"cgroup/recvmsg6", ProgType::kCgroupSockAddr, AttachType::kCgroupUdp6Recvmsg, 0},
    {"cgroup/recvmsg_unix", ProgType::kCgroupSockAddr, AttachType::kCgroupUnixRecvmsg, 0},
    {"cgroup/getpeername4", ProgType::kCgroupSockAddr, AttachType::kCgroupInet4Getpeername, 0},
    {"cgroup/getpeername6", ProgType::kCgroupSockAddr, AttachType::kCgroupInet6Getpeername, 0},
    {"cgroup/getpeername_unix", ProgType::kCgroupSockAddr, AttachType::kCgroupUnixGetpeername, 0},
    {"cgroup/getsockname4", ProgType::kCgroupSockAddr, AttachType::kCgroupInet4Getsockname, 0},
    {"cgroup/getsockname6", ProgType::kCgroupSockAddr, AttachType::kCgroupInet6Getsockname, 0},
    {"cgroup/getsockname_unix", ProgType::kCgroupSockAddr, AttachType::kCgroupUnixGetsockname, 0},
    {"cgroup/sysctl", ProgType::kCgroupSysctl, AttachType::kCgroupSysctl, 0},
    {"cgroup/getsockopt", ProgType::kCgroupSockopt, AttachType::kCgroupGetsockopt, 0},
    {"cgroup/setsockopt", ProgType::kCgroupSockopt, AttachType::kCgroupSetsockopt, 0},
    {"cgroup/dev", ProgType::kCgroupDevice, AttachType::kCgroupDevice, 0},
    {"struct_ops", ProgType::kStructOps, kNone, kExtras},
    {"struct_ops.s", ProgType::kStructOps, kNone, kSleepable | kExtras},
    {"sk_lookup", ProgType::kSkLookup, AttachType::kSkLookup, 0},
    {"netfilter", ProgType::kNetfilter, AttachType::kNetfilter, 0},
};

// Names that libbpf 0.x compared by prefix in addition, in its order: a longer name stands before its prefixes.
constexpr Row kPrefixRows[] = {
    {"socket", ProgType::kSocketFilter, kNone, 0},
    {"sk_reuseport", ProgType::kSkReuseport, AttachType::kSkReuseportSelect, 0},
    {"kprobe/", ProgType::kKprobe, kNone, 0},
    {"uprobe/", ProgType::kKprobe, kNone, 0},
    {"kretprobe/", ProgType::kKprobe, kNone, 0},
    {"uretprobe/", ProgType::kKprobe, kNone, 0},
    {"classifier", ProgType::kSchedCls, kNone, 0},
    {"action", ProgType::kSchedAct, kNone, 0},
    {"tracepoint/", ProgType::kTracepoint, kNone, 0},
    {"tp/", ProgType::kTracepoint, kNone, 0},
    {"raw_tracepoint/", ProgType::kRawTracepoint, kNone, 0},
    {"raw_tp/", ProgType::kRawTracepoint, kNone, 0},
    {"xdp_devmap/", ProgType::kXdp, AttachType::kXdpDevmap, 0},
    {"xdp_cpumap/", ProgType::kXdp, AttachType::kXdpCpumap, 0},
    {"xdp", ProgType::kXdp, AttachType::kXdp, 0},
    {"perf_event", ProgType::kPerfEvent, kNone, 0},
    {"lwt_in", ProgType::kLwtIn, kNone, 0},
    {"lwt_out", ProgType::kLwtOut, kNone, 0},
    {"lwt_xmit", ProgType::kLwtXmit, kNone, 0},
    {"lwt_seg6local", ProgType::kLwtSeg6local, kNone, 0},
    {"cgroup_skb/ingress", ProgType::kCgroupSkb, AttachType::kCgroupInetIngress, 0},
    {"cgroup_skb/egress", ProgType::kCgroupSkb, AttachType::kCgroupInetEgress, 0},
    {"cgroup/skb", ProgType::kCgroupSkb, kNone, 0},
    {"cgroup/sock", ProgType::kCgroupSock, AttachType::kCgroupInetSockCreate, 0},
    {"cgroup/dev", ProgType::kCgroupDevice, AttachType::kCgroupDevice, 0},
    {"sockops", ProgType::kSockOps, AttachType::kCgroupSockOps, 0},
    {"sk_skb/stream_parser", ProgType::kSkSkb, AttachType::kSkSkbStreamParser, 0},
    {"sk_skb/stream_verdict", ProgType::kSkSkb, AttachType::kSkSkbStreamVerdict, 0},
    {"sk_skb", ProgType::kSkSkb, kNone, 0},
    {"sk_msg", ProgType::kSkMsg, AttachType::kSkMsgVerdict, 0},
    {"lirc_mode2", ProgType::kLircMode2, AttachType::kLircMode2, 0},
    {"flow_dissector", ProgType::kFlowDissector, AttachType::kFlowDissector, 0},
};

bool Matches(const Row& row, std::string_view section) {
  if (!section.starts_with(row.name)) return false;
  if (section.size() == row.name.size()) return true;
  return (row.flags & kExtras) != 0 && section[row.name.size()] == '/';
}

SectionType Make(const Row& row) {
  return {.type = row.type,
          .attach = row.attach,
          .sleepable = (row.flags & kSleepable) != 0,
          .frags = (row.flags & kFrags) != 0,
          .needs_target = (row.flags & kTarget) != 0};
}

}  // namespace

std::optional<SectionType> SectionTypeOf(std::string_view section, SectionRules rules) {
  for (const Row& row : kRows) {
    if (Matches(row, section)) return Make(row);
  }
  if (rules == SectionRules::kPrefix) {
    for (const Row& row : kPrefixRows) {
      if (section.starts_with(row.name)) return Make(row);
    }
  }
  return std::nullopt;
}

AttachType DefaultAttachType(ProgType type) {
  switch (type) {
    case ProgType::kCgroupSock: return AttachType::kCgroupInetSockCreate;
    case ProgType::kSkReuseport: return AttachType::kSkReuseportSelect;
    default: return kNone;
  }
}

}  // namespace bpfsieve
