// Sections of a program in which it must not sleep: under the RCU lock, without preemption, without interrupts; and what may
// not happen while one is open.
#include <bit>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

bool Transfer::InSleepable() const {
  return st_->frames[0]->in_async_callback ? st_->async_sleeps : prog_.sleepable;
}

bool Transfer::InSection() const { return st_->rcu_locks > 0 || st_->preempt_locks > 0 || st_->irq_id != 0; }

bool Transfer::EnterOrLeave(const KfuncProto& proto) {
  const auto name = [&proto] { return std::string(proto.name); };
  switch (proto.kind) {
    case KfuncKind::kRcuLock:
      if (st_->rcu_locks > 0) {
        return Fail(Rule::kSection, -1, absl::StrCat("nested rcu read lock (kernel function ", name(), ")"));
      }
      ++st_->rcu_locks;
      return true;
    case KfuncKind::kRcuUnlock:
      if (st_->rcu_locks == 0) {
        return Fail(Rule::kSection, -1, absl::StrCat("unmatched rcu read unlock (kernel function ", name(), ")"));
      }
      // What only the lock kept alive can still be read, but not be relied upon.
      pool_.UpdateRegs(
          *st_, [](const Reg& r) { return (r.flags & kRcu) != 0; },
          [](Reg& r) { r.flags = static_cast<uint16_t>((r.flags & ~(kRcu | kMaybeNull)) | kUntrusted); });
      for (int i = 0; i <= st_->cur; ++i) {
        for (uint64_t slots = st_->frames[i]->objects; slots != 0; slots &= slots - 1) {
          const int slot = std::countr_zero(slots);
          const StackSlot& iter = st_->frames[i]->slot(slot);
          if (!iter.IsIter() || !iter.spilled.Has(kRcu)) continue;
          Reg& r = pool_.WritableSlot(pool_.Writable(*st_, i), slot).spilled;
          r.flags = static_cast<uint16_t>((r.flags & ~kRcu) | kUntrusted);
        }
      }
      --st_->rcu_locks;
      return true;
    case KfuncKind::kPreemptDisable:
      ++st_->preempt_locks;
      return true;
    case KfuncKind::kPreemptEnable:
      if (st_->preempt_locks == 0) {
        return Fail(Rule::kSection, -1,
                    absl::StrCat("unmatched attempt to enable preemption (kernel function ", name(), ")"));
      }
      --st_->preempt_locks;
      return true;
    default:
      return true;
  }
}

bool Transfer::MaySleepHere(const std::string& kfunc) {
  const char* where = st_->rcu_locks > 0       ? "rcu_read_lock"
                      : st_->preempt_locks > 0 ? "non-preemptible"
                      : st_->irq_id != 0       ? "IRQ-disabled"
                                               : nullptr;
  if (where == nullptr) return true;
  return Fail(Rule::kSection, -1, absl::StrCat("kernel func ", kfunc, " is sleepable within ", where, " region"));
}

// Eight bytes of stack that keep whether there were interrupts. Sections are left in the order opposite to that in which
// they were entered.
bool Transfer::SavedIrq(int r, bool save, bool of_lock) {
  const Reg p = reg(r);
  if (p.type != RegType::kStack) {
    return Fail(Rule::kSection, r, absl::StrCat("arg#", r - 1, " doesn't point to an irq flag on stack"));
  }
  const int64_t off = p.off + static_cast<int64_t>(p.s.ConstValue());
  const bool placed = p.s.IsConst() && off < 0 && off % kSlotBytes == 0;
  const int spi = placed && off >= -kMaxStack ? static_cast<int>((-off - 1) / kSlotBytes) : -1;
  if (save) {
    bool fresh = placed || (p.s.IsConst() && off == 0);  // where the write fails
    if (spi >= 0) {
      for (SlotByte b : FrameOf(p).slot(spi).bytes) fresh &= b != SlotByte::kIrq;
    }
    if (!fresh) return Fail(Rule::kSection, r, absl::StrCat("expected uninitialized irq flag as arg#", r - 1));
    if (!MemAccess(r, 0, kSlotBytes, true, -1, false, false)) return false;
    if (!OwnSlots(p, spi, 1, r)) return false;
    st_->irq_id = NewId();
    st_->refs.push_back({Ref::Kind::kIrq, st_->irq_id, pc_, -1});
    Frame& f = WritableFrameOf(p);
    StackSlot& slot = pool_.WritableSlot(f, spi);
    for (SlotByte& b : slot.bytes) b = SlotByte::kIrq;
    slot.spilled.MakePointer(RegType::kIrq, of_lock ? kIrqOfLock : 0);
    slot.spilled.ref_obj_id = st_->irq_id;
    f.objects |= uint64_t{1} << spi;
    return true;
  }
  bool whole = spi >= 0 && FrameOf(p).slot(spi).IsIrq();
  if (whole) {
    for (SlotByte b : FrameOf(p).slot(spi).bytes) whole &= b == SlotByte::kIrq;
  }
  if (!whole) return Fail(Rule::kSection, r, absl::StrCat("expected an initialized irq flag as arg#", r - 1));
  const Reg& flags = FrameOf(p).slot(spi).spilled;
  if (flags.Has(kIrqOfLock) != of_lock) {
    return Fail(Rule::kSection, r, absl::StrCat("irq flag acquired by ", of_lock ? "native" : "lock",
                                                " kfuncs cannot be restored with ", of_lock ? "lock" : "native", " kfuncs"));
  }
  const uint32_t id = flags.ref_obj_id;
  uint32_t outer = 0, acquired = 0;
  for (const Ref& ref : st_->refs) {
    if (ref.kind != Ref::Kind::kIrq) continue;
    if (ref.id == st_->irq_id) {
      acquired = ref.insn;
    } else {
      outer = ref.id;  // the last one before it
    }
  }
  if (id != st_->irq_id) {
    return Fail(Rule::kSection, r, absl::StrCat("cannot restore irq state out of order, expected id=", st_->irq_id,
                                                " acquired at insn_idx=", acquired));
  }
  std::erase_if(st_->refs, [id](const Ref& ref) { return ref.kind == Ref::Kind::kIrq && ref.id == id; });
  st_->irq_id = outer;
  Frame& f = WritableFrameOf(p);
  pool_.WritableSlot(f, spi) = StackSlot{};
  f.objects &= ~(uint64_t{1} << spi);
  return true;
}

// Whether `what` may happen here. An inner function's exit leaves everything to its caller.
bool Transfer::NoResources(bool check_sections, const char* what, bool every_frame) {
  auto inside = [&](Rule rule, const char* section) {
    return Fail(rule, -1, absl::StrCat(what, " cannot be used inside ", section, "-ed region"));
  };
  if (check_sections && st_->active_locks > 0) return inside(Rule::kLock, "bpf_spin_lock");
  if (st_->cur == 0 || every_frame) {
    for (const Ref& r : st_->refs) {
      if (r.kind == Ref::Kind::kPointer) {
        return Fail(Rule::kRefLeak, -1, absl::StrCat(what, " would lead to reference leak"));
      }
    }
  }
  if (!check_sections) return true;
  if (st_->irq_id != 0) return inside(Rule::kSection, "bpf_local_irq_save");
  if (st_->rcu_locks > 0) return inside(Rule::kSection, "bpf_rcu_read_lock");
  if (st_->preempt_locks > 0) return inside(Rule::kSection, "bpf_preempt_disable");
  return true;
}

}  // namespace bpfsieve
