// Kernel functions whose arguments and result are what their BTF prototype says. The prototype comes from the kernel's
// types; what it does not tell, that is a function's flags and which program types may call it, is here.
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr uint16_t kAcquire = kKfuncAcquire, kRelease = kKfuncRelease, kRetNull = kKfuncRetNull,
                   kTrusted = kKfuncTrustedArgs, kRcu = kKfuncRcu, kSleepable = kKfuncSleepable;
constexpr KfuncSet kGeneric = KfuncSet::kGeneric, kCommon = KfuncSet::kCommon, kCpumask = KfuncSet::kCpumask,
                   kConntrack = KfuncSet::kConntrack;

constexpr TypedKfunc kTyped[] = {
    {"bpf_cgroup_acquire", 1, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_cgroup_ancestor", 2, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_cgroup_from_id", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_cgroup_release", 1, kRelease, kGeneric},
    {"bpf_cpumask_acquire", 1, kAcquire | kTrusted, kCpumask},
    {"bpf_cpumask_and", 3, kRcu, kCpumask},
    {"bpf_cpumask_any_and_distribute", 2, kRcu, kCpumask},
    {"bpf_cpumask_any_distribute", 1, kRcu, kCpumask},
    {"bpf_cpumask_clear", 1, kRcu, kCpumask},
    {"bpf_cpumask_clear_cpu", 2, kRcu, kCpumask},
    {"bpf_cpumask_copy", 2, kRcu, kCpumask},
    {"bpf_cpumask_create", 0, kAcquire | kRetNull, kCpumask},
    {"bpf_cpumask_empty", 1, kRcu, kCpumask},
    {"bpf_cpumask_equal", 2, kRcu, kCpumask},
    {"bpf_cpumask_first", 1, kRcu, kCpumask},
    {"bpf_cpumask_first_and", 2, kRcu, kCpumask},
    {"bpf_cpumask_first_zero", 1, kRcu, kCpumask},
    {"bpf_cpumask_full", 1, kRcu, kCpumask},
    {"bpf_cpumask_intersects", 2, kRcu, kCpumask},
    {"bpf_cpumask_or", 3, kRcu, kCpumask},
    {"bpf_cpumask_release", 1, kRelease, kCpumask},
    {"bpf_cpumask_set_cpu", 2, kRcu, kCpumask},
    {"bpf_cpumask_setall", 1, kRcu, kCpumask},
    {"bpf_cpumask_subset", 2, kRcu, kCpumask},
    {"bpf_cpumask_test_and_clear_cpu", 2, kRcu, kCpumask},
    {"bpf_cpumask_test_and_set_cpu", 2, kRcu, kCpumask},
    {"bpf_cpumask_test_cpu", 2, kRcu, kCpumask},
    {"bpf_cpumask_weight", 1, kRcu, kCpumask},
    {"bpf_cpumask_xor", 3, kRcu, kCpumask},
    {"bpf_copy_from_user_str", 4, kSleepable, kCommon},
    {"bpf_ct_change_status", 2, kTrusted, kConntrack},
    {"bpf_ct_change_timeout", 2, kTrusted, kConntrack},
    {"bpf_ct_insert_entry", 1, kAcquire | kRetNull | kRelease, kConntrack},
    {"bpf_ct_release", 1, kRelease, kConntrack},
    {"bpf_ct_set_status", 2, kTrusted, kConntrack},
    {"bpf_ct_set_timeout", 2, kTrusted, kConntrack},
    {"bpf_map_sum_elem_count", 1, kTrusted, kCommon},
    {"bpf_skb_ct_alloc", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_skb_ct_lookup", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_task_acquire", 1, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_task_from_pid", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_task_from_vpid", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_task_get_cgroup1", 2, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_task_release", 1, kRelease, kGeneric},
    {"bpf_task_under_cgroup", 2, kRcu, kGeneric},
    {"bpf_xdp_ct_alloc", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_xdp_ct_lookup", 5, kAcquire | kRetNull, kConntrack},
};

// Types that see the functions on socket buffers, though not all of them have one (bpf_kfunc_set_skb).
bool TakesSkbSet(ProgType type) {
  switch (type) {
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kSkSkb:
    case ProgType::kSocketFilter:
    case ProgType::kLwtIn:
    case ProgType::kLwtOut:
    case ProgType::kLwtXmit:
    case ProgType::kLwtSeg6local:
    case ProgType::kNetfilter:
    // One hook for all of control groups, and one for tracing.
    case ProgType::kCgroupSkb:
    case ProgType::kCgroupSock:
    case ProgType::kCgroupSockAddr:
    case ProgType::kCgroupDevice:
    case ProgType::kCgroupSockopt:
    case ProgType::kCgroupSysctl:
    case ProgType::kSockOps:
    case ProgType::kTracepoint:
    case ProgType::kPerfEvent:
    case ProgType::kTracing:
      return true;
    default:
      return false;
  }
}

}  // namespace

const TypedKfunc* FindTypedKfunc(std::string_view name) {
  for (const TypedKfunc& k : kTyped) {
    if (k.name == name) return &k;
  }
  return nullptr;
}

bool KfuncSetAllows(KfuncSet set, ProgType type) {
  const bool tracing = type == ProgType::kTracing || type == ProgType::kTracepoint || type == ProgType::kPerfEvent ||
                       type == ProgType::kLsm;
  switch (set) {
    case KfuncSet::kCommon: return true;
    case KfuncSet::kGeneric: return TakesGenericKfuncs(type);
    case KfuncSet::kCpumask: return tracing || type == ProgType::kStructOps || type == ProgType::kSyscall;
    case KfuncSet::kConntrack: return type == ProgType::kSchedCls || type == ProgType::kXdp;
    case KfuncSet::kSkb: return TakesSkbSet(type);
    case KfuncSet::kSched: return type == ProgType::kSchedCls || type == ProgType::kSchedAct;
    case KfuncSet::kXdp: return type == ProgType::kXdp;
  }
  return false;
}

}  // namespace bpfsieve
