// Kernel functions, as far as they are modelled.
#include <initializer_list>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr KfuncArg kNone = KfuncArg::kNone, kScalar = KfuncArg::kScalar, kIter = KfuncArg::kIter,
                   kIgnored = KfuncArg::kIgnored, kTyped = KfuncArg::kTyped, kDynptr = KfuncArg::kDynptr, kDynptrNew = KfuncArg::kDynptrNew,
                   kHead = KfuncArg::kListHead, kListNode = KfuncArg::kListNode, kRoot = KfuncArg::kTreeRoot,
                   kTreeNode = KfuncArg::kTreeNode;

// A row is a prototype with what it differs in from the usual one.
consteval KfuncProto Plain(std::string_view name, std::initializer_list<KfuncArg> args, KfuncKind kind = KfuncKind::kPlain) {
  KfuncProto k;
  k.name = name;
  k.kind = kind;
  size_t at = 0;
  for (KfuncArg arg : args) k.args[at++] = arg;
  return k;
}
consteval KfuncProto Void(KfuncProto k) { return k.is_void = true, k; }
consteval KfuncProto Sleeps(KfuncProto k) { return k.sleeps = true, k; }
consteval KfuncProto Writes(KfuncProto k) { return k.writes_dynptr = true, k; }
consteval KfuncProto Percpu(KfuncProto k) { return k.percpu = true, k; }
consteval KfuncProto Of(KfuncSet set, KfuncProto k) { return k.set = set, k; }
consteval KfuncProto Iter(IterType type, KfuncProto k) { return k.iter = type, k; }
consteval KfuncProto Typed(uint16_t flags, KfuncProto k) { return k.flags = flags, k; }
consteval KfuncProto PacketDynptr(KfuncSet set, DynptrKind kind, std::string_view name) {
  KfuncProto k = Plain(name, {KfuncArg::kCtx, kScalar, kDynptrNew});
  k.set = set;
  k.dynptr = kind;
  return k;
}

constexpr IterProto kIters[] = {
    {"num", 1, 4},
    {"bits", 2, 4},
    {"task", 3, 0, "task_struct", true},
    {"css", 3, 0, "cgroup_subsys_state", true},
    {"task_vma", 1, 0, "vm_area_struct"},
    {"css_task", 1, 0, "task_struct"},
    {"kmem_cache", 1, 0, "kmem_cache"},
    {"dmabuf", 1, 0, "dma_buf"},
};

constexpr KfuncProto kKfuncs[] = {
    Of(KfuncSet::kGeneric, Void(Plain("bpf_throw", {kScalar}, KfuncKind::kThrow))),
    Plain("bpf_cast_to_kern_ctx", {KfuncArg::kContext}, KfuncKind::kCastToKernelContext),
    Plain("bpf_rdonly_cast", {kIgnored, KfuncArg::kConstant}, KfuncKind::kCastToReadOnly),
    Iter(IterType::kNum, Plain("bpf_iter_num_new", {kIter, kScalar, kScalar}, KfuncKind::kIterNew)),
    Iter(IterType::kNum, Plain("bpf_iter_num_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kNum, Void(Plain("bpf_iter_num_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kBits, Plain("bpf_iter_bits_new", {kIter, kIgnored, kScalar}, KfuncKind::kIterNew)),
    Iter(IterType::kBits, Plain("bpf_iter_bits_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kBits, Void(Plain("bpf_iter_bits_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kTask, Plain("bpf_iter_task_new", {kIter, kTyped, kScalar}, KfuncKind::kIterNew)),
    Iter(IterType::kTask, Plain("bpf_iter_task_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kTask, Void(Plain("bpf_iter_task_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kCss, Plain("bpf_iter_css_new", {kIter, kTyped, kScalar}, KfuncKind::kIterNew)),
    Iter(IterType::kCss, Plain("bpf_iter_css_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kCss, Void(Plain("bpf_iter_css_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kTaskVma, Typed(kKfuncRcu, Plain("bpf_iter_task_vma_new", {kIter, kTyped, kScalar}, KfuncKind::kIterNew))),
    Iter(IterType::kTaskVma, Plain("bpf_iter_task_vma_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kTaskVma, Void(Plain("bpf_iter_task_vma_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kCssTask, Plain("bpf_iter_css_task_new", {kIter, kTyped, kScalar}, KfuncKind::kIterNew)),
    Iter(IterType::kCssTask, Plain("bpf_iter_css_task_next", {kIter}, KfuncKind::kIterNext)),
    Iter(IterType::kCssTask, Void(Plain("bpf_iter_css_task_destroy", {kIter}, KfuncKind::kIterDestroy))),
    Iter(IterType::kKmemCache, Sleeps(Plain("bpf_iter_kmem_cache_new", {kIter}, KfuncKind::kIterNew))),
    Iter(IterType::kKmemCache, Sleeps(Plain("bpf_iter_kmem_cache_next", {kIter}, KfuncKind::kIterNext))),
    Iter(IterType::kKmemCache, Sleeps(Void(Plain("bpf_iter_kmem_cache_destroy", {kIter}, KfuncKind::kIterDestroy)))),
    Iter(IterType::kDmabuf, Sleeps(Plain("bpf_iter_dmabuf_new", {kIter}, KfuncKind::kIterNew))),
    Iter(IterType::kDmabuf, Sleeps(Plain("bpf_iter_dmabuf_next", {kIter}, KfuncKind::kIterNext))),
    Iter(IterType::kDmabuf, Sleeps(Void(Plain("bpf_iter_dmabuf_destroy", {kIter}, KfuncKind::kIterDestroy)))),

    // Sections in which a program may not sleep.
    Void(Plain("bpf_rcu_read_lock", {}, KfuncKind::kRcuLock)),
    Void(Plain("bpf_rcu_read_unlock", {}, KfuncKind::kRcuUnlock)),
    Void(Plain("bpf_preempt_disable", {}, KfuncKind::kPreemptDisable)),
    Void(Plain("bpf_preempt_enable", {}, KfuncKind::kPreemptEnable)),
    Void(Plain("bpf_local_irq_save", {KfuncArg::kIrqSave})),
    Void(Plain("bpf_local_irq_restore", {KfuncArg::kIrqRestore})),

    // Locks that may not be had.
    Plain("bpf_res_spin_lock", {KfuncArg::kResLock}, KfuncKind::kResLock),
    Void(Plain("bpf_res_spin_unlock", {KfuncArg::kResLock}, KfuncKind::kResUnlock)),
    Plain("bpf_res_spin_lock_irqsave", {KfuncArg::kResLock, KfuncArg::kIrqSave}, KfuncKind::kResLock),
    Void(Plain("bpf_res_spin_unlock_irqrestore", {KfuncArg::kResLock, KfuncArg::kIrqRestore}, KfuncKind::kResUnlock)),

    // Dynptrs.
    PacketDynptr(KfuncSet::kSkb, DynptrKind::kSkb, "bpf_dynptr_from_skb"),
    PacketDynptr(KfuncSet::kSched, DynptrKind::kSkbMeta, "bpf_dynptr_from_skb_meta"),
    PacketDynptr(KfuncSet::kXdp, DynptrKind::kXdp, "bpf_dynptr_from_xdp"),
    Plain("bpf_dynptr_slice", {kDynptr, kScalar, KfuncArg::kBufferOrNull, KfuncArg::kConstSize}, KfuncKind::kDynptrSlice),
    Plain("bpf_dynptr_slice_rdwr", {kDynptr, kScalar, KfuncArg::kBufferOrNull, KfuncArg::kConstSize},
          KfuncKind::kDynptrSliceRdwr),
    Plain("bpf_dynptr_adjust", {kDynptr, kScalar, kScalar}),
    Plain("bpf_dynptr_is_null", {kDynptr}),
    Plain("bpf_dynptr_is_rdonly", {kDynptr}),
    Plain("bpf_dynptr_size", {kDynptr}),
    Plain("bpf_dynptr_clone", {kDynptr, kDynptrNew}),
    Writes(Plain("bpf_dynptr_copy", {kDynptr, kScalar, kDynptr, kScalar, kScalar})),
    Writes(Plain("bpf_dynptr_memset", {kDynptr, kScalar, kScalar, kScalar})),
    Writes(Plain("bpf_probe_read_user_dynptr", {kDynptr, kScalar, kScalar, kIgnored})),
    Writes(Plain("bpf_probe_read_kernel_dynptr", {kDynptr, kScalar, kScalar, kIgnored})),
    Writes(Plain("bpf_probe_read_user_str_dynptr", {kDynptr, kScalar, kScalar, kIgnored})),
    Writes(Plain("bpf_probe_read_kernel_str_dynptr", {kDynptr, kScalar, kScalar, kIgnored})),
    Writes(Sleeps(Plain("bpf_copy_from_user_dynptr", {kDynptr, kScalar, kScalar, kIgnored}))),
    Writes(Sleeps(Plain("bpf_copy_from_user_str_dynptr", {kDynptr, kScalar, kScalar, kIgnored}))),

    // Work that is done later.
    Plain("bpf_wq_init", {KfuncArg::kWorkqueue, KfuncArg::kMap, kScalar}),
    Plain("bpf_wq_start", {KfuncArg::kWorkqueue, kScalar}),
    Plain("bpf_wq_set_callback_impl", {KfuncArg::kWorkqueue, KfuncArg::kAsyncCallback, kScalar, kIgnored}),

    // Objects of the program's own types, lists and trees of them.
    Of(KfuncSet::kGeneric, Plain("bpf_obj_new_impl", {KfuncArg::kConstant, kIgnored}, KfuncKind::kObjNew)),
    Of(KfuncSet::kGeneric, Void(Plain("bpf_obj_drop_impl", {KfuncArg::kObject, kIgnored}, KfuncKind::kObjDrop))),
    Of(KfuncSet::kGeneric, Percpu(Plain("bpf_percpu_obj_new_impl", {KfuncArg::kConstant, kIgnored}, KfuncKind::kObjNew))),
    Of(KfuncSet::kGeneric, Void(Percpu(Plain("bpf_percpu_obj_drop_impl", {KfuncArg::kObject, kIgnored}, KfuncKind::kObjDrop)))),
    Of(KfuncSet::kGeneric, Plain("bpf_refcount_acquire_impl", {KfuncArg::kRefcounted, kIgnored}, KfuncKind::kRefcountAcquire)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_push_front_impl", {kHead, kListNode, kIgnored, kScalar}, KfuncKind::kListPush)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_push_back_impl", {kHead, kListNode, kIgnored, kScalar}, KfuncKind::kListPush)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_pop_front", {kHead}, KfuncKind::kListPop)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_pop_back", {kHead}, KfuncKind::kListPop)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_front", {kHead}, KfuncKind::kListPeek)),
    Of(KfuncSet::kGeneric, Plain("bpf_list_back", {kHead}, KfuncKind::kListPeek)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_add_impl", {kRoot, kTreeNode, KfuncArg::kCallback, kIgnored, kScalar}, KfuncKind::kTreeAdd)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_remove", {kRoot, kTreeNode}, KfuncKind::kTreeRemove)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_first", {kRoot}, KfuncKind::kTreePeek)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_root", {kRoot}, KfuncKind::kTreePeek)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_left", {kRoot, kTreeNode}, KfuncKind::kTreePeek)),
    Of(KfuncSet::kGeneric, Plain("bpf_rbtree_right", {kRoot, kTreeNode}, KfuncKind::kTreePeek)),
};

}  // namespace

int KfuncProto::arg_count() const {
  int n = 0;
  while (n < 5 && args[n] != kNone) ++n;
  return n;
}

const IterProto& FindIter(IterType type) { return kIters[static_cast<size_t>(type)]; }

const KfuncProto* FindKfunc(std::string_view name) {
  static const auto& by_name = *new auto([] {
    absl::flat_hash_map<absl::string_view, const KfuncProto*> all;
    for (const KfuncProto& k : kKfuncs) all.try_emplace(absl::string_view(k.name.data(), k.name.size()), &k);
    return all;
  }());
  const auto it = by_name.find(absl::string_view(name.data(), name.size()));
  return it == by_name.end() ? nullptr : it->second;
}

}  // namespace bpfsieve
