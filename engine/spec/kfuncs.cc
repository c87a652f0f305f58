// Kernel functions, as far as they are modelled.
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr KfuncProto kKfuncs[] = {
    {"bpf_throw", KfuncKind::kThrow, 1},
};

// Types for which the kernel registers its generic set (generic_btf_ids). A set belongs to a hook, and types that
// share the hook share the set.
bool TakesGenericSet(ProgType type) {
  switch (type) {
    case ProgType::kTracepoint:
    case ProgType::kPerfEvent:
    case ProgType::kSchedCls:
    case ProgType::kXdp:
    case ProgType::kSyscall:
    case ProgType::kCgroupSkb:
    case ProgType::kCgroupSock:
    case ProgType::kCgroupSockAddr:
    case ProgType::kCgroupDevice:
    case ProgType::kCgroupSockopt:
    case ProgType::kCgroupSysctl:
    case ProgType::kSockOps:
    case ProgType::kTracing:
    case ProgType::kLsm:
    case ProgType::kStructOps:
      return true;
    default:
      return false;
  }
}

}  // namespace

const KfuncProto* FindKfunc(std::string_view name) {
  for (const KfuncProto& k : kKfuncs) {
    if (k.name == name) return &k;
  }
  return nullptr;
}

bool KfuncAvailable(const KfuncProto& proto, ProgType type) {
  switch (proto.kind) {
    case KfuncKind::kThrow: return TakesGenericSet(type);
  }
  return false;
}

}  // namespace bpfsieve
