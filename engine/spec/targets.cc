// What tracing programs are attached to.
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

struct Tracepoint {
  std::string_view name;
  TracepointArgs args;
};
constexpr Tracepoint kTracepoints[] = {
#define TRACEPOINT(name, nullable, error) {name, {nullable, error}},
#include "engine/spec/tracepoints.inc"
#undef TRACEPOINT
};

using Kind = ElementArg::Kind;
constexpr TargetProto kTargets[] = {
    {"bpf_link", {{Kind::kObject, 1}}},
    {"bpf_map", {{Kind::kTrustedObject, 1}}},
    {"bpf_map_elem", {{Kind::kReadOnlyBuffer, 2}, {Kind::kBuffer, 3}}},
    {"bpf_prog", {{Kind::kObject, 1}}},
    {"bpf_sk_storage_map", {{Kind::kObject, 2}, {Kind::kBuffer, 3}}},
    {"cgroup", {{Kind::kTrustedObject, 1}}},
    {"dmabuf", {{Kind::kObject, 1}}},
    {"ipv6_route", {{Kind::kObject, 1}}},
    {"kmem_cache", {{Kind::kTrustedObject, 1}}},
    {"ksym", {{Kind::kObject, 1}}},
    {"netlink", {{Kind::kObject, 1}}},
    {"sockmap", {{Kind::kReadOnlyBuffer, 2}, {Kind::kObject, 3}}},
    {"task", {{Kind::kTrustedObject, 1}}},
    {"task_file", {{Kind::kObject, 1}, {Kind::kObject, 3}}},
    {"task_vma", {{Kind::kObject, 1}, {Kind::kObject, 2}}},
    {"tcp", {{Kind::kTrustedObject, 1}}},
    {"udp", {{Kind::kTrustedObject, 1}}},
    {"unix", {{Kind::kObject, 1}}},
};

struct Hook {
  std::string_view name;
  uint32_t flags;
};
constexpr uint32_t kDisabled = 1, kSleepable = 2, kMaybeSleepable = 4, kUntrusted = 8, kBoolean = 16, kSockopt = 32,
                   kUnfinished = 64;
constexpr Hook kHooks[] = {
#define HOOK(name, flags) {name, flags},
#include "engine/spec/lsm_hooks.inc"
#undef HOOK
};

template <size_t N>
bool In(std::string_view name, const std::string_view (&list)[N]) {
  for (std::string_view each : list) {
    if (each == name) return true;
  }
  return false;
}

constexpr std::string_view kCongestionOps[] = {"cong_avoid", "cong_control", "cwnd_event", "in_ack_event", "init",
                                               "min_tso_segs", "pkts_acked", "release", "set_state", "sndbuf_expand",
                                               "ssthresh", "undo_cwnd"};
constexpr std::string_view kErrorInjection[] = {
    "btrfs_check_leaf", "btrfs_check_node", "btrfs_cow_block", "btrfs_search_slot", "btrfs_should_cancel_balance",
    "io_ctl_init", "open_ctree", "page_pool_alloc_pages", "should_fail_bio"};
constexpr std::string_view kErrorInjectionAwake[] = {"__filemap_add_folio", "should_fail_alloc_page", "should_failslab"};
constexpr std::string_view kModifyReturn[] = {"bpf_modify_return_test", "bpf_modify_return_test2",
                                              "bpf_modify_return_test_tp", "update_socket_protocol"};
constexpr std::string_view kDenied[] = {"__rcu_read_lock", "__rcu_read_unlock", "migrate_disable", "migrate_enable",
                                        "preempt_count_add", "preempt_count_sub", "rcu_read_unlock_strict"};
constexpr std::string_view kNoReturn[] = {
    "__ia32_sys_exit", "__ia32_sys_exit_group", "__kunit_abort", "__module_put_and_kthread_exit", "__x64_sys_exit",
    "__x64_sys_exit_group", "do_exit", "do_group_exit", "kthread_complete_and_exit", "kthread_exit",
    "kunit_try_catch_throw", "make_task_dead"};

}  // namespace

TracepointArgs FindTracepoint(std::string_view name) {
  for (const Tracepoint& t : kTracepoints) {
    if (t.name == name) return t.args;
  }
  return {};
}

const TargetProto* FindTarget(std::string_view name) {
  for (const TargetProto& t : kTargets) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

LsmHook FindLsmHook(std::string_view name) {
  for (const Hook& h : kHooks) {
    if (h.name != name) continue;
    const auto has = [&](uint32_t flag) { return (h.flags & flag) != 0; };
    return {has(kDisabled), has(kSleepable), has(kMaybeSleepable), has(kUntrusted), has(kUnfinished), has(kBoolean),
            has(kSockopt)};
  }
  return {};
}

StructOpsMember FindStructOpsMember(std::string_view type, std::string_view member) {
  if (type == "bpf_dummy_ops") {
    return {true, member.starts_with("test_"), member == "test_sleepable", member == "test_1" ? 1u : 0};
  }
  return {type == "tcp_congestion_ops", In(member, kCongestionOps), true, 0};
}

ModifyReturn FindModifyReturn(std::string_view function) {
  if (function == "bpf_fentry_test1") return ModifyReturn::kSleepable;
  if (In(function, kModifyReturn) || function.starts_with("security_")) return ModifyReturn::kYes;
  if (In(function, kErrorInjectionAwake)) return ModifyReturn::kErrorInjectionAwake;
  // Every system call is on the list.
  if (In(function, kErrorInjection) || function.starts_with("__x64_sys_") || function.starts_with("__ia32_sys_")) {
    return ModifyReturn::kErrorInjection;
  }
  return ModifyReturn::kNo;
}

bool IsDeniedToTracing(std::string_view function) { return In(function, kDenied); }
bool NeverReturns(std::string_view function) { return In(function, kNoReturn); }

}  // namespace bpfsieve
