// Kernel functions whose arguments and result are what their BTF prototype says. The prototype comes from the kernel's
// types; what it does not tell, that is a function's flags and which program types may call it, is here.
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr uint16_t kAcquire = kKfuncAcquire, kRelease = kKfuncRelease, kRetNull = kKfuncRetNull, kRcu = kKfuncRcu,
                   kSleepable = kKfuncSleepable, kRetWritable = kKfuncRetWritable, kRetUntrusted = kKfuncRetUntrusted,
                   kChangesPacket = kKfuncChangesPacket;
constexpr KfuncSet kGeneric = KfuncSet::kGeneric, kCommon = KfuncSet::kCommon, kCpumask = KfuncSet::kCpumask,
                   kConntrack = KfuncSet::kConntrack, kSchedCls = KfuncSet::kSchedCls, kSession = KfuncSet::kSession,
                   kSyscall = KfuncSet::kSyscall, kCrypto = KfuncSet::kCrypto, kHooks = KfuncSet::kHooks,
                   kCongestion = KfuncSet::kCongestion, kXdp = KfuncSet::kXdp;

constexpr TypedKfunc kTyped[] = {
    {"bpf_arena_alloc_pages", 5, kSleepable, kCommon},
    {"bpf_arena_free_pages", 3, kSleepable, kCommon},
    {"bpf_arena_reserve_pages", 3, kSleepable, kCommon},
    {"bpf_cgroup_acquire", 1, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_cgroup_ancestor", 2, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_cgroup_from_id", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_cgroup_read_xattr", 3, kRcu, kCommon},
    {"bpf_cgroup_release", 1, kRelease, kGeneric},
    {"bpf_cpumask_acquire", 1, kAcquire, kCpumask},
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
    {"bpf_cpumask_populate", 3, kRcu, kCpumask},
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
    {"bpf_crypto_ctx_acquire", 1, kAcquire | kRcu | kRetNull, kSyscall},
    {"bpf_crypto_ctx_create", 3, kAcquire | kRetNull | kSleepable, kSyscall},
    {"bpf_crypto_ctx_release", 1, kRelease, kSyscall},
    {"bpf_crypto_decrypt", 4, kRcu, kCrypto},
    {"bpf_crypto_encrypt", 4, kRcu, kCrypto},
    {"bpf_ct_change_status", 2, 0, kConntrack},
    {"bpf_ct_change_timeout", 2, 0, kConntrack},
    {"bpf_ct_insert_entry", 1, kAcquire | kRetNull | kRelease, kConntrack},
    {"bpf_ct_release", 1, kRelease, kConntrack},
    {"bpf_ct_set_nat_info", 4, 0, kConntrack},
    {"bpf_ct_set_status", 2, 0, kConntrack},
    {"bpf_ct_set_timeout", 2, 0, kConntrack},
    {"bpf_get_dentry_xattr", 3, kSleepable, kHooks},
    {"bpf_get_file_xattr", 3, kSleepable, kHooks},
    {"bpf_get_fsverity_digest", 2, 0, kHooks},
    {"bpf_get_kmem_cache", 1, kRetUntrusted, kCommon},
    {"bpf_get_task_exe_file", 1, kAcquire | kRetNull, kHooks},
    {"bpf_key_put", 1, kRelease, kGeneric},
    {"bpf_kfunc_call_memb_release", 1, kRelease, KfuncSet::kTestRun},
    {"bpf_kfunc_call_test_release", 1, kRelease, KfuncSet::kTestRun},
    {"bpf_lookup_system_key", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_lookup_user_key", 2, kAcquire | kRetNull | kSleepable, kGeneric},
    {"bpf_map_sum_elem_count", 1, 0, kCommon},
    {"bpf_path_d_path", 3, 0, kHooks},
    {"bpf_put_file", 1, kRelease, kHooks},
    {"bpf_send_signal_task", 4, 0, kGeneric},
    {"bpf_set_dentry_xattr", 4, kSleepable, kHooks},
    {"bpf_remove_dentry_xattr", 2, kSleepable, kHooks},
    {"bpf_session_cookie", 0, kRetWritable, kSession},
    {"bpf_session_is_return", 0, 0, kSession},
    {"bpf_sk_assign_tcp_reqsk", 4, 0, kSchedCls},
    {"bpf_skb_ct_alloc", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_skb_ct_lookup", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_sock_addr_set_sun_path", 3, 0, KfuncSet::kSocketAddress},
    {"bpf_sock_destroy", 1, 0, KfuncSet::kTypedIterator},
    {"bpf_strcasecmp", 2, 0, kCommon},
    {"bpf_strchr", 2, 0, kCommon},
    {"bpf_strchrnul", 2, 0, kCommon},
    {"bpf_strcmp", 2, 0, kCommon},
    {"bpf_strcspn", 2, 0, kCommon},
    {"bpf_strlen", 1, 0, kCommon},
    {"bpf_strnchr", 3, 0, kCommon},
    {"bpf_strnlen", 2, 0, kCommon},
    {"bpf_strnstr", 3, 0, kCommon},
    {"bpf_strrchr", 2, 0, kCommon},
    {"bpf_strspn", 2, 0, kCommon},
    {"bpf_strstr", 2, 0, kCommon},
    {"bpf_task_acquire", 1, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_task_from_pid", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_task_from_vpid", 1, kAcquire | kRetNull, kGeneric},
    {"bpf_task_get_cgroup1", 2, kAcquire | kRcu | kRetNull, kGeneric},
    {"bpf_task_release", 1, kRelease, kGeneric},
    {"bpf_task_under_cgroup", 2, kRcu, kGeneric},
    {"bpf_verify_pkcs7_signature", 3, kSleepable, kGeneric},
    {"bpf_xdp_ct_alloc", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_xdp_ct_lookup", 5, kAcquire | kRetNull, kConntrack},
    {"bpf_xdp_get_xfrm_state", 3, kAcquire | kRetNull, KfuncSet::kXdp},
    {"bpf_xdp_xfrm_state_release", 1, kRelease, KfuncSet::kXdp},
    {"bpf_xdp_pull_data", 2, kChangesPacket, kXdp},
    {"cgroup_rstat_flush", 1, kSleepable, KfuncSet::kTracing},
    {"cgroup_rstat_updated", 2, 0, KfuncSet::kTracing},
    {"css_rstat_flush", 1, kSleepable, KfuncSet::kTracing},
    {"css_rstat_updated", 2, 0, KfuncSet::kTracing},
    {"bbr_cwnd_event", 2, 0, kCongestion},
    {"bbr_init", 1, 0, kCongestion},
    {"bbr_main", 4, 0, kCongestion},
    {"bbr_min_tso_segs", 1, 0, kCongestion},
    {"bbr_set_state", 2, 0, kCongestion},
    {"bbr_sndbuf_expand", 1, 0, kCongestion},
    {"bbr_ssthresh", 1, 0, kCongestion},
    {"bbr_undo_cwnd", 1, 0, kCongestion},
    {"cubictcp_acked", 2, 0, kCongestion},
    {"cubictcp_cong_avoid", 3, 0, kCongestion},
    {"cubictcp_cwnd_event", 2, 0, kCongestion},
    {"cubictcp_init", 1, 0, kCongestion},
    {"cubictcp_recalc_ssthresh", 1, 0, kCongestion},
    {"cubictcp_state", 2, 0, kCongestion},
    {"dctcp_cwnd_event", 2, 0, kCongestion},
    {"dctcp_cwnd_undo", 1, 0, kCongestion},
    {"dctcp_init", 1, 0, kCongestion},
    {"dctcp_ssthresh", 1, 0, kCongestion},
    {"dctcp_state", 2, 0, kCongestion},
    {"dctcp_update_alpha", 2, 0, kCongestion},
    {"tcp_cong_avoid_ai", 3, 0, kCongestion},
    {"tcp_reno_cong_avoid", 3, 0, kCongestion},
    {"tcp_reno_ssthresh", 1, 0, kCongestion},
    {"tcp_reno_undo_cwnd", 1, 0, kCongestion},
    {"tcp_slow_start", 2, 0, kCongestion},
};

// A set belongs to a hook, and types that share the hook share the set: all of control groups do.
bool TakesCgroupSets(ProgType type) {
  switch (type) {
    case ProgType::kCgroupSkb:
    case ProgType::kCgroupSock:
    case ProgType::kCgroupSockAddr:
    case ProgType::kCgroupDevice:
    case ProgType::kCgroupSockopt:
    case ProgType::kCgroupSysctl:
    case ProgType::kSockOps:
      return true;
    default:
      return false;
  }
}

// Types for which the kernel registers its generic set (generic_btf_ids), and those that share a hook with one.
bool TakesGenericSet(ProgType type) {
  switch (type) {
    case ProgType::kTracepoint:
    case ProgType::kPerfEvent:
    case ProgType::kSchedCls:
    case ProgType::kXdp:
    case ProgType::kSyscall:
    case ProgType::kTracing:
    case ProgType::kLsm:
    case ProgType::kStructOps:
      return true;
    default:
      return TakesCgroupSets(type);
  }
}

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
    // One hook for tracing.
    case ProgType::kTracepoint:
    case ProgType::kPerfEvent:
    case ProgType::kTracing:
    case ProgType::kLsm:
      return true;
    default:
      return TakesCgroupSets(type);
  }
}

}  // namespace

const TypedKfunc* FindTypedKfunc(std::string_view name) {
  static const auto& by_name = *new auto([] {
    absl::flat_hash_map<absl::string_view, const TypedKfunc*> all;
    for (const TypedKfunc& k : kTyped) all.try_emplace(absl::string_view(k.name.data(), k.name.size()), &k);
    return all;
  }());
  const auto it = by_name.find(absl::string_view(name.data(), name.size()));
  return it == by_name.end() ? nullptr : it->second;
}

bool KfuncSetAllows(KfuncSet set, ProgType type, AttachType attach) {
  const bool tracing = type == ProgType::kTracing || type == ProgType::kTracepoint || type == ProgType::kPerfEvent ||
                       type == ProgType::kLsm;
  switch (set) {
    case KfuncSet::kCommon: return true;
    case KfuncSet::kTracing: return tracing;
    case KfuncSet::kCongestion: return type == ProgType::kStructOps;
    case KfuncSet::kHooks: return type == ProgType::kLsm;
    case KfuncSet::kGeneric: return TakesGenericSet(type);
    case KfuncSet::kCpumask: return tracing || type == ProgType::kStructOps || type == ProgType::kSyscall;
    case KfuncSet::kConntrack: return type == ProgType::kSchedCls || type == ProgType::kXdp;
    case KfuncSet::kSkb: return TakesSkbSet(type);
    case KfuncSet::kSched: return type == ProgType::kSchedCls || type == ProgType::kSchedAct;
    case KfuncSet::kXdp: return type == ProgType::kXdp;
    case KfuncSet::kSchedCls: return type == ProgType::kSchedCls;
    // A hook of all of control groups.
    case KfuncSet::kSocketAddress: return TakesCgroupSets(type);
    case KfuncSet::kTypedIterator: return type == ProgType::kTracing && attach == AttachType::kTraceIter;
    case KfuncSet::kSession:
      return type == ProgType::kKprobe &&
             (attach == AttachType::kTraceKprobeSession || attach == AttachType::kTraceUprobeSession);
    case KfuncSet::kTestRun: return tracing || type == ProgType::kSchedCls || type == ProgType::kSyscall;
    case KfuncSet::kSyscall: return type == ProgType::kSyscall;
    case KfuncSet::kCrypto:
      return type == ProgType::kSchedCls || type == ProgType::kSchedAct || type == ProgType::kXdp;
  }
  return false;
}

}  // namespace bpfsieve
