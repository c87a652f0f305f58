// Kernel functions, as far as they are modelled.
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr KfuncArg kNone = KfuncArg::kNone, kScalar = KfuncArg::kScalar, kIter = KfuncArg::kIter;
constexpr KfuncArg kIgnored = KfuncArg::kIgnored, kHead = KfuncArg::kListHead, kListNode = KfuncArg::kListNode,
                   kRoot = KfuncArg::kTreeRoot, kTreeNode = KfuncArg::kTreeNode;

constexpr IterProto kIters[] = {
    {"num", 1, 4},
    {"bits", 2, 8},
};

constexpr KfuncProto kKfuncs[] = {
    {"bpf_throw", KfuncKind::kThrow, {kScalar}, /*generic=*/true},
    {"bpf_cast_to_kern_ctx", KfuncKind::kCastToKernelContext, {KfuncArg::kContext}},
    {"bpf_rdonly_cast", KfuncKind::kCastToReadOnly, {KfuncArg::kIgnored, KfuncArg::kConstant}},
    {"bpf_iter_num_new", KfuncKind::kIterNew, {kIter, kScalar, kScalar}, false, IterType::kNum},
    {"bpf_iter_num_next", KfuncKind::kIterNext, {kIter}, false, IterType::kNum},
    {"bpf_iter_num_destroy", KfuncKind::kIterDestroy, {kIter}, false, IterType::kNum},
    {"bpf_iter_bits_new", KfuncKind::kIterNew, {kIter, KfuncArg::kIgnored, kScalar}, false, IterType::kBits},
    {"bpf_iter_bits_next", KfuncKind::kIterNext, {kIter}, false, IterType::kBits},
    {"bpf_iter_bits_destroy", KfuncKind::kIterDestroy, {kIter}, false, IterType::kBits},
    {"bpf_obj_new_impl", KfuncKind::kObjNew, {KfuncArg::kConstant, kIgnored}, true},
    {"bpf_obj_drop_impl", KfuncKind::kObjDrop, {KfuncArg::kObject, kIgnored}, true},
    {"bpf_percpu_obj_new_impl", KfuncKind::kObjNew, {KfuncArg::kConstant, kIgnored}, true, {}, /*percpu=*/true},
    {"bpf_percpu_obj_drop_impl", KfuncKind::kObjDrop, {KfuncArg::kObject, kIgnored}, true, {}, /*percpu=*/true},
    {"bpf_refcount_acquire_impl", KfuncKind::kRefcountAcquire, {KfuncArg::kRefcounted, kIgnored}, true},
    {"bpf_list_push_front_impl", KfuncKind::kListPush, {kHead, kListNode, kIgnored, kScalar}, true},
    {"bpf_list_push_back_impl", KfuncKind::kListPush, {kHead, kListNode, kIgnored, kScalar}, true},
    {"bpf_list_pop_front", KfuncKind::kListPop, {kHead}, true},
    {"bpf_list_pop_back", KfuncKind::kListPop, {kHead}, true},
    {"bpf_list_front", KfuncKind::kListPeek, {kHead}, true},
    {"bpf_list_back", KfuncKind::kListPeek, {kHead}, true},
    {"bpf_rbtree_add_impl", KfuncKind::kTreeAdd, {kRoot, kTreeNode, KfuncArg::kCallback, kIgnored, kScalar}, true},
    {"bpf_rbtree_remove", KfuncKind::kTreeRemove, {kRoot, kTreeNode}, true},
    {"bpf_rbtree_first", KfuncKind::kTreePeek, {kRoot}, true},
    {"bpf_rbtree_root", KfuncKind::kTreePeek, {kRoot}, true},
    {"bpf_rbtree_left", KfuncKind::kTreePeek, {kRoot, kTreeNode}, true},
    {"bpf_rbtree_right", KfuncKind::kTreePeek, {kRoot, kTreeNode}, true},
};

}  // namespace

// Types for which the kernel registers its generic set (generic_btf_ids). A set belongs to a hook, and types that
// share the hook share the set.
bool TakesGenericKfuncs(ProgType type) {
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

int KfuncProto::arg_count() const {
  int n = 0;
  while (n < 5 && args[n] != kNone) ++n;
  return n;
}

const IterProto& FindIter(IterType type) { return kIters[static_cast<size_t>(type)]; }

const KfuncProto* FindKfunc(std::string_view name) {
  for (const KfuncProto& k : kKfuncs) {
    if (k.name == name) return &k;
  }
  return nullptr;
}

bool KfuncAvailable(const KfuncProto& proto, ProgType type) { return !proto.generic || TakesGenericKfuncs(type); }

}  // namespace bpfsieve
