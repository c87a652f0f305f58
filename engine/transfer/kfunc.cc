// Calls of kernel functions (check_kfunc_call), among them the open-coded iterators: an iterator lies on the stack, new()
// makes it a reference that destroy() gives back, and next() forks into one more element and none.
//
// A loop over an iterator is not counted through. It ends by itself, so that it is enough that another turn finds
// nothing new (explore/); the fork is where a turn begins.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

bool Transfer::CallKfunc(const Extern& function) {
  const TypedKfunc* typed = FindTypedKfunc(function.name);
  if (typed != nullptr && function.btf_id != 0 && Kernel() != nullptr) return CallTyped(*typed, function.btf_id);
  const KfuncProto* proto = FindKfunc(function.name);
  // A weak one that no kernel type was found for may be missing there: the kernel then takes it as an error if reached.
  if (proto == nullptr || (function.weak && function.btf_id == 0)) {
    return Unsupported(absl::StrCat("kfunc: ", function.name));
  }
  if (!KfuncAvailable(*proto, prog_.type)) {
    return Fail(Rule::kHelperUnavailable, -1, absl::StrCat("calling kernel function ", function.name,
                                                           " is not allowed"));
  }
  if (proto->kind >= KfuncKind::kObjNew) return ObjectKfunc(function, *proto);
  uint32_t ref_obj_id = 0;
  const Reg iter = reg(1);
  for (int r = 1; r <= proto->arg_count(); ++r) {
    switch (proto->args[r - 1]) {
      case KfuncArg::kScalar:
        if (!reg(r).IsScalar()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is not a scalar"));
        break;
      case KfuncArg::kIter:
        if (!IterArg(r, *proto, &ref_obj_id)) return false;
        break;
      default:
        break;
    }
  }
  if (proto->kind == KfuncKind::kThrow) return Throw();
  if (proto->kind == KfuncKind::kCastToKernelContext) return CastToKernelContext();
  if (proto->kind == KfuncKind::kCastToReadOnly) return CastToReadOnly();
  ClearCallerSaved();
  switch (proto->kind) {
    case KfuncKind::kIterNew:
      reg(0).MakeUnknown();
      return true;
    case KfuncKind::kIterNext: {
      Reg& r0 = reg(0);
      r0.MakePointer(RegType::kMem, kRdonly | kMaybeNull);
      r0.mem_size = FindIter(proto->iter).elem_size;
      r0.ref_obj_id = ref_obj_id;
      r0.id = NewId();
      return IterNext(iter);
    }
    default:
      return true;
  }
}

// Without a callback of its own for exceptions, the program returns what was thrown.
bool Transfer::Throw() {
  if (ctx_.cfg->exception_sub < 0 && !ReturnCode(1)) return false;
  out_->kind = StepResult::Kind::kPathEnd;
  if (!NoResources(true, "bpf_throw", true)) return false;
  // A path that ends in a loop is a bug to Linux 6.18 ("scc exit: no visit info"), unless it has recorded a state there.
  for (int f = 0; f <= st_->cur; ++f) {
    const uint32_t at = f < st_->cur ? static_cast<uint32_t>(st_->frames[f + 1]->callsite) : pc_;
    if (ctx_.cfg->scc[at] != 0) return Unsupported("bpf_throw in a loop");
  }
  return true;
}

// The iterator that R(r) points to: uninitialised for new(), else of the function's kind. Does what the function does to
// it, but for next().
bool Transfer::IterArg(int r, const KfuncProto& proto, uint32_t* ref_obj_id) {
  const Reg p = reg(r);
  const IterProto& type = FindIter(proto.iter);
  if (p.type != RegType::kStack || p.flags != 0) {
    return Fail(Rule::kIterator, r, absl::StrCat("arg#", r - 1, " expected pointer to an iterator on stack"));
  }
  const int64_t off = p.off + static_cast<int64_t>(p.s.ConstValue());
  const int64_t spi = (-off - 1) / kSlotBytes;
  const bool placed = p.s.IsConst() && off < 0 && off % kSlotBytes == 0 && spi + 1 >= type.slots;
  if (proto.kind == KfuncKind::kIterNew) {
    bool fresh = placed;
    for (int i = 0; i < type.slots && fresh && spi < kMaxSlots; ++i) {
      const StackSlot& slot = FrameOf(p).slot(static_cast<int>(spi) - i);
      for (SlotByte b : slot.bytes) fresh &= b != SlotByte::kIter;
    }
    if (!fresh) {
      return Fail(Rule::kIterator, r, absl::StrCat("expected uninitialized iter_", std::string(type.name),
                                                   " as arg #", r - 1));
    }
    for (int i = 0; i < type.slots; ++i) {
      if (!MemAccess(r, i * kSlotBytes, kSlotBytes, true, -1, false, false)) return false;
    }
    const uint32_t ref = NewId();
    st_->refs.push_back({Ref::Kind::kPointer, ref, pc_, -1});
    Frame& f = WritableFrameOf(p);
    for (int i = 0; i < type.slots; ++i) {
      const int s = static_cast<int>(spi) - i;
      StackSlot& slot = pool_.WritableSlot(f, s);
      slot.spilled.MakePointer(RegType::kIter);
      slot.spilled.iter = static_cast<uint32_t>(proto.iter);
      if (i == 0) slot.spilled.ref_obj_id = ref;
      for (SlotByte& b : slot.bytes) b = SlotByte::kIter;
      f.objects |= uint64_t{1} << s;
    }
    return true;
  }
  const StackSlot* first = placed ? IterAt(*st_, p) : nullptr;
  bool whole = first != nullptr && first->spilled.ref_obj_id != 0;
  for (int i = 0; whole && i < type.slots; ++i) {
    const StackSlot& slot = FrameOf(p).slot(static_cast<int>(spi) - i);
    for (SlotByte b : slot.bytes) whole &= b == SlotByte::kIter;
    whole &= slot.IsIter() && slot.spilled.iter == static_cast<uint32_t>(proto.iter) &&
             (i == 0 || slot.spilled.ref_obj_id == 0);
  }
  if (!whole) {
    return Fail(Rule::kIterator, r, absl::StrCat("expected an initialized iter_", std::string(type.name),
                                                 " as arg #", r - 1));
  }
  *ref_obj_id = first->spilled.ref_obj_id;
  if (proto.kind == KfuncKind::kIterDestroy) {
    ReleaseRef(*ref_obj_id);
    ClearIter(p, type.slots);
  }
  return true;
}

void Transfer::ClearIter(const Reg& iter, int slots) {
  const int spi = (-(iter.off + static_cast<int>(iter.s.ConstValue())) - 1) / kSlotBytes;
  Frame& f = WritableFrameOf(iter);
  for (int i = 0; i < slots; ++i) {
    pool_.WritableSlot(f, spi - i) = StackSlot{};
    f.objects &= ~(uint64_t{1} << (spi - i));
  }
}

bool Transfer::IterNext(const Reg& iter) {
  const int spi = (-(iter.off + static_cast<int>(iter.s.ConstValue())) - 1) / kSlotBytes;
  const bool drained = (FrameOf(iter).slot(spi).spilled.flags & kIterDrained) != 0;
  if (!drained) {
    State& more = *Fork(pc_ + 1);
    ++pool_.WritableSlot(pool_.Writable(more, iter.frameno), spi).spilled.off;
    more.regs()[0].flags &= static_cast<uint16_t>(~kMaybeNull);
    out_->turn = &more;
    out_->turn_of = pc_;
    pool_.WritableSlot(WritableFrameOf(iter), spi).spilled.flags |= kIterDrained;
  }
  reg(0).MakeScalar(Scalar::Const(0));
  return true;
}

}  // namespace bpfsieve
