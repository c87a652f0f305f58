// Calls of kernel functions (check_kfunc_call), among them the open-coded iterators: an iterator lies on the stack, new()
// makes it a reference that destroy() gives back, and next() forks into one more element and none.
//
// A loop over an iterator is not counted through. It ends by itself, so that it is enough that another turn finds
// nothing new (explore/); the fork is where a turn begins.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_walk.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// Whether the context is the one that functions of the set take. Program types share sets with others.
bool HasPacketContext(KfuncSet set, ProgType type) {
  if (set != KfuncSet::kSkb) return true;
  switch (type) {
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kSkSkb:
    case ProgType::kSocketFilter:
    case ProgType::kCgroupSkb:
    case ProgType::kLwtIn:
    case ProgType::kLwtOut:
    case ProgType::kLwtXmit:
    case ProgType::kLwtSeg6local:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Transfer::CallKfunc(const Extern& function) {
  const TypedKfunc* typed = FindTypedKfunc(function.name);
  if (typed != nullptr && function.btf_id != 0 && Kernel() != nullptr) return CallTyped(*typed, function.btf_id);
  const KfuncProto* proto = FindKfunc(function.name);
  // A weak one that no kernel type was found for may be missing there: the kernel then takes it as an error if reached.
  if (proto == nullptr || (function.weak && function.btf_id == 0)) {
    return Unsupported(absl::StrCat("kfunc: ", function.name));
  }
  if (!KfuncSetAllows(proto->set, prog_.type, prog_.attach)) {
    return Fail(Rule::kHelperUnavailable, -1, absl::StrCat("calling kernel function ", function.name,
                                                           " is not allowed"));
  }
  const bool over_objects = proto->args[0] == KfuncArg::kIter && !FindIter(proto->iter).elem.empty();
  if (over_objects && (function.btf_id == 0 || Kernel() == nullptr ||
                       Kernel()->Find(FindIter(proto->iter).elem, BTF_KIND_STRUCT) == 0)) {
    return Unsupported(absl::StrCat("kfunc: ", function.name));
  }
  if (proto->sleeps && !InSleepable()) {
    return Fail(Rule::kSleepable, -1, absl::StrCat("program must be sleepable to call sleepable kfunc ", function.name));
  }
  if (proto->kind >= KfuncKind::kObjNew) return ObjectKfunc(function, *proto);
  if (over_objects && proto->kind == KfuncKind::kIterNew && FindIter(proto->iter).rcu && !InRcuSection()) {
    return Fail(Rule::kSection, -1, absl::StrCat("kernel func ", function.name,
                                                 " requires RCU critical section protection"));
  }
  const Reg iter = reg(1), buffer = reg(3);
  KfuncMeta meta;
  meta.btf_id = function.btf_id;
  if (proto->kind == KfuncKind::kResLock) LockFails();
  if (!KfuncArgs(*proto, meta)) return false;
  if (meta.subprog >= 0) CallLater(meta.subprog, true);
  if (!EnterOrLeave(*proto)) return false;
  if (proto->sleeps && !MaySleepHere(function.name)) return false;
  if (proto->writes_dynptr && MovesPacket(meta.written)) {
    // To the kernel they stay pointers, so they are not numbers either.
    pool_.UpdateRegs(
        *st_, [](const Reg& q) { return q.IsPacketAny() || q.IsPacketSlice(); }, [](Reg& q) { q.Clear(); });
  }
  if (proto->kind == KfuncKind::kThrow) return Throw();
  if (proto->kind == KfuncKind::kCastToKernelContext) return CastToKernelContext();
  if (proto->kind == KfuncKind::kCastToReadOnly) return CastToReadOnly();
  ClearCallerSaved();
  if (!proto->is_void) reg(0).MakeUnknown();
  switch (proto->kind) {
    case KfuncKind::kResLock:
      reg(0).MakeScalar(Scalar::Const(0));
      return true;
    case KfuncKind::kIterNext: {
      IterElement(proto->iter, meta.iter_ref);
      return IterNext(iter);
    }
    case KfuncKind::kDynptrSlice:
    case KfuncKind::kDynptrSliceRdwr:
      return DynptrSlice(proto->kind == KfuncKind::kDynptrSliceRdwr, meta.dynptr, meta.size,
                         buffer);
    default:
      return true;
  }
}

// Another path goes on without the lock. Linux 6.18 takes the error, an int, for a negative number of 64 bits; which is not
// what compilers leave in the register.
void Transfer::LockFails() {
  std::array<Reg, kMaxReg>& regs = Fork(pc_ + 1)->regs();
  for (int r = 0; r <= 5; ++r) regs[r].Clear();
  regs[0].MakeUnknown();
  Scalar& error = regs[0].s;
  error.s32_min = -kMaxErrno;
  error.s32_max = -1;
  SyncAndRepair(error);
}

bool Transfer::KfuncArgs(const KfuncProto& proto, KfuncMeta& meta) {
  for (int r = 1; r <= proto.arg_count(); ++r) {
    const KfuncArg kind = proto.args[r - 1];
    if (kind == KfuncArg::kIgnored || kind == KfuncArg::kConstant || kind == KfuncArg::kContext) continue;
    if (kind == KfuncArg::kScalar) {
      if (!reg(r).IsScalar()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is not a scalar"));
      continue;
    }
    if (kind == KfuncArg::kTyped) {
      if (!TypedArgOf(proto, meta.btf_id, r)) return false;
      continue;
    }
    const Reg& p = reg(r);
    if (kind != KfuncArg::kBufferOrNull && (p.IsNull() || p.MayBeNull())) {
      return Fail(Rule::kHelperArg, r, absl::StrCat("Possibly NULL pointer passed to trusted arg", r - 1));
    }
    if (kind == KfuncArg::kCtx && !HasPacketContext(proto.set, prog_.type)) {
      if (p.type == RegType::kBtfId) {
        if (!KernelPacket(r, proto)) return false;
        continue;
      }
      return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " pointer type STRUCT __sk_buff must point to scalar, "
                                                    "or struct with scalar"));
    }
    if (kind == KfuncArg::kIter) {
      if (!IterArg(r, proto, &meta.iter_ref)) return false;
      continue;
    }
    if (!ArgOffset(p, r, false)) return false;
    switch (kind) {
      case KfuncArg::kCtx:
        if (p.type != RegType::kCtx) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " expected pointer to ctx, but got ",
                                                        RegTypeName(p)));
        }
        break;
      case KfuncArg::kDynptr:
        if (!DynptrArg(r, {Arg::kDynptr, kArgRdonly}, DynptrKind::kNone, meta.dynptr)) return false;
        if (r == 1) meta.written = meta.dynptr.kind;
        break;
      case KfuncArg::kDynptrNew: {
        const bool clone = proto.dynptr == DynptrKind::kNone;
        DynptrUse from = clone ? meta.dynptr : DynptrUse{};
        if (!DynptrArg(r, {Arg::kDynptr, kArgUninit}, clone ? from.kind : proto.dynptr, from)) return false;
        break;
      }
      case KfuncArg::kResLock:
        if ((p.type != RegType::kMapValue || p.flags != 0) && (p.type != RegType::kBtfId || p.KernelFlags() != kAlloc)) {
          return Fail(Rule::kLock, r, absl::StrCat("arg#", r - 1, " doesn't point to map value or allocated object"));
        }
        if (!SpinLock(r, proto.kind == KfuncKind::kResLock ? LockOp::kLock : LockOp::kUnlock,
                      proto.args[1] != KfuncArg::kNone ? Ref::Kind::kResLockIrq : Ref::Kind::kResLock)) {
          return false;
        }
        break;
      case KfuncArg::kIrqSave:
      case KfuncArg::kIrqRestore:
        if (!SavedIrq(r, kind == KfuncArg::kIrqSave, proto.args[0] == KfuncArg::kResLock)) return false;
        break;
      case KfuncArg::kBufferOrNull:
        if (!KfuncBuffer(r, meta)) return false;
        ++r;
        break;
      case KfuncArg::kWorkqueue:
        if (p.type != RegType::kMapValue || p.flags != 0) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " doesn't point to a map value"));
        }
        if (!MapFieldArg(r, SpecialField::kWorkqueue, "bpf_wq")) return false;
        meta.map = p.map;
        meta.map_uid = p.map_uid;
        break;
      case KfuncArg::kMap:
        if (p.type != RegType::kConstMapPtr && p.type != RegType::kMapValue && p.type != RegType::kMapKey) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("pointer in R", r, " isn't map pointer"));
        }
        if (p.type != RegType::kConstMapPtr) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " must be referenced or trusted"));
        }
        if (meta.map != p.map || meta.map_uid != p.map_uid) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("workqueue pointer in R1 map_uid=", meta.map_uid,
                                                        " doesn't match map pointer in R2 map_uid=", p.map_uid));
        }
        break;
      case KfuncArg::kAsyncCallback:
        if (p.type != RegType::kFunc) {
          return Fail(Rule::kHelperArg, r, absl::StrCat("arg", r - 1, " expected pointer to func"));
        }
        meta.subprog = static_cast<int>(p.subprog);
        break;
      default:
        return Unsupported(absl::StrCat("kfunc: ", std::string(proto.name)));
    }
  }
  return true;
}

// Where the context is not the packet, the kernel's own structure stands for it. Linux 6.18 takes it at any offset.
bool Transfer::KernelPacket(int r, const KfuncProto& proto) {
  const Reg& p = reg(r);
  if (Kernel() == nullptr || (p.flags & kProgBtf) != 0) return Unsupported("BTF-typed pointer argument");
  if (!IsTrusted(p)) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " must be referenced or trusted"));
  if (!ArgOffset(p, r, false)) return false;
  const std::string have(BtfTypeName(Kernel()->get(), p.btf_id));
  if (have == "sk_buff" && p.off == 0) return true;
  return Fail(Rule::kHelperArg, r, absl::StrCat("kernel function ", std::string(proto.name), " args#", r - 1,
                                                " expected pointer to STRUCT __sk_buff but R", r,
                                                " has a pointer to STRUCT ", have));
}

// Memory, which the function may read and write, with its size, a constant, in the next register; or null.
bool Transfer::KfuncBuffer(int r, KfuncMeta& meta) {
  const Reg p = reg(r);
  if (!reg(r + 1).IsScalar()) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " pointer type UNKNOWN  must point to scalar, or struct "
                                                  "with scalar"));
  }
  if (p.IsNull()) {
    Precise(r);
  } else {
    CallMeta none;
    if (p.MayBeNull()) NotNull(reg(r));
    const bool ok = MemSizeArg(r + 1, false, true, none) && MemSizeArg(r + 1, true, true, none);
    reg(r) = p;
    if (!ok) {
      return out_->kind != StepResult::Kind::kUnsupported &&
             Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " arg#", r,
                                                    " memory, len pair leads to invalid memory access"));
    }
  }
  const Scalar& size = reg(r + 1).s;
  if (!size.IsConst()) return Fail(Rule::kHelperArg, r + 1, absl::StrCat("R", r + 1, " must be a known constant"));
  Precise(r + 1);
  meta.size = size.ConstValue();
  return true;
}

// Without a callback of its own for exceptions, the program returns what was thrown.
bool Transfer::Throw() {
  if (ctx_.cfg->exception_sub < 0 && !ReturnCode(1)) return false;
  out_->kind = StepResult::Kind::kPathEnd;
  if (!NoResources(true, "bpf_throw", true)) return false;
  // No function that a helper calls back may throw, nor any below it: CheckStackDepth() finds that when all paths are done.
  for (int f = 1; f <= st_->cur; ++f) {
    if (st_->frames[f]->in_callback) return true;
  }
  // A path that ends in a loop is a bug to Linux 6.18 ("scc exit: no visit info"), unless it has recorded a state there.
  for (int f = 0; f <= st_->cur; ++f) {
    const uint32_t at = f < st_->cur ? static_cast<uint32_t>(st_->frames[f + 1]->callsite) : pc_;
    if (ctx_.cfg->at[at].scc != 0) return Unsupported("bpf_throw in a loop");
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
    if (proto.iter == IterType::kCssTask && !InSleepable() && prog_.type != ProgType::kLsm &&
        !(prog_.type == ProgType::kTracing && prog_.attach == AttachType::kTraceIter)) {
      return Fail(Rule::kIterator, r, "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs");
    }
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
    if (!OwnSlots(p, static_cast<int>(spi), type.slots, r)) return false;
    const uint32_t ref = NewId();
    st_->refs.push_back({Ref::Kind::kPointer, ref, pc_, -1});
    Frame& f = WritableFrameOf(p);
    for (int i = 0; i < type.slots; ++i) {
      const int s = static_cast<int>(spi) - i;
      StackSlot& slot = pool_.WritableSlot(f, s);
      slot.spilled.MakePointer(RegType::kIter);
      slot.spilled.iter = static_cast<uint32_t>(proto.iter);
      if (type.rcu) slot.spilled.flags |= kRcu;
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
  if (first->spilled.Has(kUntrusted)) {
    return Fail(Rule::kIterator, r, absl::StrCat("expected an RCU CS when using ", std::string(proto.name)));
  }
  *ref_obj_id = first->spilled.ref_obj_id;
  DropElements(type);
  if (proto.kind == KfuncKind::kIterDestroy) {
    ReleaseRef(*ref_obj_id);
    ClearIter(p, type.slots);
  }
  return true;
}

// Linux 6.18 goes on to trust an element that the iterator has left.
void Transfer::DropElements(const IterProto& type) {
  if (type.elem.empty() || type.rcu || Kernel() == nullptr) return;
  const uint32_t elem = Kernel()->Find(type.elem, BTF_KIND_STRUCT);
  pool_.UpdateRegs(
      *st_, [elem](const Reg& r) { return r.type == RegType::kBtfId && r.btf_id == elem && r.Has(kTrusted) && r.ref_obj_id == 0; },
      [](Reg& r) { r.flags = static_cast<uint16_t>((r.flags & ~(kTrusted | kMaybeNull)) | kUntrusted); });
}

// What next() returns, or null.
void Transfer::IterElement(IterType iter, uint32_t ref_obj_id) {
  const IterProto& type = FindIter(iter);
  Reg& r0 = reg(0);
  if (type.elem.empty()) {
    r0.MakePointer(RegType::kMem, kRdonly | kMaybeNull);
    r0.mem_size = type.elem_size;
    r0.ref_obj_id = ref_obj_id;
    r0.id = NewId();
  } else {
    MakeBtfPointer(r0, Kernel()->Find(type.elem, BTF_KIND_STRUCT), kMaybeNull | (type.rcu ? kRcu : kTrusted));
  }
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
