// Subsumption: may the search stop at a state because an earlier one covers it?
//
// The rules are the kernel's (regsafe, stacksafe, refsafe of Linux 6.18); the differences are in how liveness and
// precision reach them. The kernel writes both into the old state; here liveness is a property of the program that was
// computed beforehand, and precision is a pair of masks beside the state, so that the state itself never changes.
//
// Most comparisons fail, and most of them on something cheap. So what has to be looked at is worked out once, when a
// state is published (CompareMasks), and an imprecise scalar, the commonest case, is never touched at all.
#include <bit>
#include <cstring>
#include <type_traits>

#include "engine/state/state.h"

namespace bpfsieve {
namespace {

// Everything is equal, ids up to renaming: the kernel's regs_exact.
bool RegsExact(const Reg& o, const Reg& c, IdMap& ids) {
  return o.type == c.type && o.flags == c.flags && o.frameno == c.frameno && o.off == c.off && o.range == c.range &&
         o.map_uid == c.map_uid && std::memcmp(&o.s, &c.s, sizeof o.s) == 0 && ids.Check(o.id, c.id) &&
         ids.Check(o.ref_obj_id, c.ref_obj_id);
}

// Where the dynptr lies, frame * kMaxSlots + slot; -1: nowhere on the stack.
int DynptrAt(const State& s, uint32_t id) {
  for (int f = 0; f <= s.cur; ++f) {
    for (uint64_t m = s.frames[f]->objects; m != 0; m &= m - 1) {
      const int i = std::countr_zero(m);
      const StackSlot& slot = s.frames[f]->slot(i);
      if (slot.IsFirstOfDynptr() && slot.spilled.id == id) return f * kMaxSlots + i;
    }
  }
  return -1;
}

// What makes a slice void must make both void, and what it may write to must be the same. The kernel asks for the same id, which it gives out once in a program; ours
// count along each path, and dynptrs of two paths may have the same.
bool SameDynptr(const State& old_, const State& cur, const Reg& o, const Reg& c) {
  if (o.dynptr_id != c.dynptr_id || o.frameno != c.frameno) return false;
  if (o.frameno != 0 && (cur.frames[o.frameno - 1]->buffers & ~old_.frames[o.frameno - 1]->buffers) != 0) return false;
  return o.dynptr_id == 0 || DynptrAt(old_, o.dynptr_id) == DynptrAt(cur, c.dynptr_id);
}

bool ValueWithin(const Reg& o, const Reg& c) { return RangeWithin(o.s, c.s) && TnumIn(o.s.var_off, c.s.var_off); }

bool ScalarSafe(const Reg& o, const Reg& c, IdMap& ids) {
  if (o.id != 0 && (o.id & kAddConst) != (c.id & kAddConst)) return false;
  if ((o.id & kAddConst) != 0 && o.off != c.off) return false;
  return ValueWithin(o, c) && ids.CheckScalar(o.id, c.id);
}

// `o` is initialised.
bool RegSafe(const Reg& o, const Reg& c, bool precise, IdMap& ids) {
  if (!o.SameType(c)) return false;
  switch (o.type) {
    case RegType::kScalar:
      return !precise || ScalarSafe(o, c, ids);
    case RegType::kMapKey:
    case RegType::kMapValue:
    case RegType::kMem:
    case RegType::kBuf:
    case RegType::kTpBuffer:
      return o.off == c.off && o.range == c.range && o.map_uid == c.map_uid && ValueWithin(o, c) &&
             ids.Check(o.id, c.id) && ids.Check(o.ref_obj_id, c.ref_obj_id);
    case RegType::kArena:
      return true;
    case RegType::kPacket:
    case RegType::kPacketMeta:
      // A negative range says that the pointer is at or beyond the end: no length to compare.
      if (o.range < 0 || c.range < 0) {
        if (o.range != c.range) return false;
      } else if (o.range > c.range) {
        return false;
      }
      return o.off == c.off && ValueWithin(o, c) && ids.Check(o.id, c.id);
    default:
      return RegsExact(o, c, ids);
  }
}

const Reg& UnboundScalar() {
  static const Reg unbound = [] {
    Reg r;
    r.MakeUnknown();
    return r;
  }();
  return unbound;
}

// The scalar that an 8-byte load of the slot gives, where that is one register's worth.
const Reg* SlotScalar(const StackSlot& slot) {
  if (slot.IsScalarSpill64()) return &slot.spilled;
  return slot.AllUnknown() ? &UnboundScalar() : nullptr;
}

// Some byte of `o` is of an object.
bool ObjectSafe(const StackSlot& o, const StackSlot& c, IdMap& ids) {
  if (o.IsDynptr() && c.IsDynptr()) {
    return o.spilled.dynptr == c.spilled.dynptr && ids.Check(o.spilled.ref_obj_id, c.spilled.ref_obj_id);
  }
  if (o.IsIrq() && c.IsIrq()) {
    return o.spilled.flags == c.spilled.flags && ids.Check(o.spilled.ref_obj_id, c.spilled.ref_obj_id);
  }
  if (o.IsIter() && c.IsIter()) {
    // The number of turns is not compared: it would never be the same.
    return o.spilled.iter == c.spilled.iter && o.spilled.flags == c.spilled.flags &&
           ids.Check(o.spilled.ref_obj_id, c.spilled.ref_obj_id);
  }
  return !o.IsObject() && !c.IsObject() && o.Word() == c.Word();
}

bool SlotSafe(const StackSlot& o, const StackSlot& c, bool precise, IdMap& ids) {
  if (o.AllUnknown()) return !c.IsSpill() || c.spilled.IsScalar();  // compared at all only on request, see MasksFor
  if (o.HasObjectBytes()) return ObjectSafe(o, c, ids);
  const Reg* old_reg = SlotScalar(o);
  if (old_reg != nullptr) {
    const Reg* cur_reg = SlotScalar(c);
    if (cur_reg != nullptr) return !precise || ScalarSafe(*old_reg, *cur_reg, ids);
  }
  // Bytes that the old state did not know anything about cannot have mattered.
  const uint64_t known = (o.Word() & 0x0101010101010101) * 0xff;
  if (((o.Word() ^ c.Word()) & known) != 0) return false;
  return !o.IsSpill() || RegSafe(o.spilled, c.spilled, precise, ids);
}

// The rules where bytes that were never written may not be loaded: unknown data covers no such byte.
const Reg* SlotScalarGuarded(const StackSlot& slot) {
  if (slot.IsScalarSpill64()) return &slot.spilled;
  constexpr uint64_t kAllMisc = 0x0101010101010101 * static_cast<uint64_t>(SlotByte::kMisc);
  return slot.Word() == kAllMisc ? &UnboundScalar() : nullptr;
}

bool SameScalar(const Reg& o, const Reg& c, IdMap& ids) {
  return o.off == c.off && std::memcmp(&o.s, &c.s, sizeof o.s) == 0 && ids.CheckScalar(o.id, c.id);
}

bool SlotSafeGuarded(const StackSlot& o, const StackSlot& c, bool precise, bool same_scalars, IdMap& ids) {
  if (o.HasObjectBytes()) return ObjectSafe(o, c, ids);
  const Reg* old_reg = SlotScalarGuarded(o);
  const Reg* cur_reg = old_reg != nullptr ? SlotScalarGuarded(c) : nullptr;
  if (cur_reg != nullptr) {
    if (same_scalars) return SameScalar(*old_reg, *cur_reg, ids);
    return !precise || old_reg == &UnboundScalar() || ScalarSafe(*old_reg, *cur_reg, ids);
  }
  for (int i = 0; i < kSlotBytes; ++i) {
    if (o.bytes[i] == SlotByte::kInvalid || o.bytes[i] == c.bytes[i]) continue;
    if (o.bytes[i] != SlotByte::kMisc || c.bytes[i] != SlotByte::kZero) return false;
  }
  if (!o.IsSpill() || o.spilled.type == RegType::kNotInit) return true;
  if (same_scalars && o.spilled.IsScalar()) return c.spilled.IsScalar() && SameScalar(o.spilled, c.spilled, ids);
  return RegSafe(o.spilled, c.spilled, precise, ids);
}

bool RefsSafe(const State& o, const State& c, IdMap& ids) {
  if (o.refs.size() != c.refs.size() || o.active_locks != c.active_locks || o.lock_map != c.lock_map) return false;
  if (!ids.Check(o.lock_id, c.lock_id)) return false;
  if (o.rcu_locks != c.rcu_locks || o.preempt_locks != c.preempt_locks || !ids.Check(o.irq_id, c.irq_id)) return false;
  for (size_t i = 0; i < o.refs.size(); ++i) {
    if (o.refs[i].kind != c.refs[i].kind || o.refs[i].map != c.refs[i].map) return false;
    if (!ids.Check(o.refs[i].id, c.refs[i].id)) return false;
  }
  return true;
}

// Marks for SubsumesWithin().
struct AllPrecise {
  template <typename T>
  struct All {
    T operator[](int) const { return static_cast<T>(~uint64_t{0}); }
  };
  All<uint16_t> regs;
  All<uint64_t> slots;
  bool every_slot;
};

}  // namespace

bool SameCallChain(const State& o, const State& c) {
  if (o.cur != c.cur) return false;
  for (int f = 1; f <= o.cur; ++f) {
    if (o.frames[f]->callsite != c.frames[f]->callsite) return false;
  }
  return true;
}

bool IdMap::CheckSlow(uint32_t old_id, uint32_t cur_id) {
  if (old_id == 0 || cur_id == 0) return false;
  for (int i = 0; i < n_; ++i) {
    if (old_[i] == old_id) return cur_[i] == cur_id;
    if (cur_[i] == cur_id) return false;
  }
  if (n_ == kMax) return false;
  old_[n_] = old_id;
  cur_[n_++] = cur_id;
  return true;
}

bool IdMap::CheckScalar(uint32_t old_id, uint32_t cur_id) {
  // An independent old scalar asks nothing of how the current one is linked.
  if (old_id == 0) return true;
  if (cur_id == 0) cur_id = ++next_temporary_;
  if (!Check(old_id, cur_id)) return false;
  if ((old_id & kAddConst) == 0) return true;
  return Check(old_id & ~kAddConst, cur_id & ~kAddConst);
}

CompareMasks MasksFor(const State& state, const LiveMasks& live, UnknownSlots unknown) {
  CompareMasks masks;
  for (int f = 0; f <= state.cur; ++f) {
    const Frame& frame = *state.frames[f];
    for (int r = 0; r < kRegFp; ++r) {
      const uint16_t bit = static_cast<uint16_t>(1u << r);
      if ((live.regs[f] & bit) == 0 || frame.regs[r].type == RegType::kNotInit) continue;
      (frame.regs[r].IsScalar() ? masks.scalars : masks.typed)[f] |= bit;
    }
    const uint64_t used = frame.slots == kMaxSlots ? ~uint64_t{0} : (uint64_t{1} << frame.slots) - 1;
    // Nothing is known either of slots that are not in use yet.
    for (uint64_t m = live.slots[f] & (unknown == UnknownSlots::kAll ? ~uint64_t{0} : used); m != 0; m &= m - 1) {
      const int s = std::countr_zero(m);
      if (!frame.slot(s).AllUnknown() || unknown == UnknownSlots::kAll ||
          (unknown == UnknownSlots::kWritten && frame.slot(s).Word() != 0)) {
        masks.slots[f] |= uint64_t{1} << s;
      }
    }
  }
  return masks;
}

template <bool kGuarded, typename Marks>
static bool Covers(const State& old_, const Marks& precise, const CompareMasks& masks, const State& cur,
                   uint32_t id_base, IdMap& ids, FailureHint& hint, bool same_scalars = false) {
  if (kGuarded && old_.speculative && !cur.speculative) return false;
  if (!SameCallChain(old_, cur)) return false;
  // What runs later may do other things, and returns something else.
  if (old_.frames[0]->in_async_callback != cur.frames[0]->in_async_callback || old_.async_sleeps != cur.async_sleeps) {
    return false;
  }
  ids.Reset(id_base);
  const auto reg_safe = [&](int f, int r) {
    const Reg& was = old_.frames[f]->regs[r];
    const Reg& is = cur.frames[f]->regs[r];
    if (kGuarded && same_scalars && was.IsScalar()) return is.IsScalar() && SameScalar(was, is, ids);
    return RegSafe(was, is, true, ids) && (was.type != RegType::kMem || SameDynptr(old_, cur, was, is));
  };
  const auto slot_safe = [&](int f, int s) {
    if (s >= cur.frames[f]->slots) return s >= old_.frames[f]->slots;
    const StackSlot& was = old_.frames[f]->slot(s);
    const StackSlot& is = cur.frames[f]->slot(s);
    const bool exact = (precise.slots[f] >> s & 1) != 0;
    // The same slot, and no id or range in it to compare.
    if (&was == &is && !was.IsObject() && (!was.IsSpill() || (was.spilled.IsScalar() && !exact))) return true;
    if (!(kGuarded ? SlotSafeGuarded(was, is, exact, same_scalars, ids) : SlotSafe(was, is, exact, ids))) return false;
    return !was.IsSpill() || was.spilled.type != RegType::kMem || SameDynptr(old_, cur, was.spilled, is.spilled);
  };
  int f, r, s;
  if (hint.Get(&f, &r, &s) && f <= old_.cur) {
    // Alone, without the ids met before it, it fails less often than in its turn; never more often.
    if (s < 0 ? ((masks.typed[f] | (masks.scalars[f] & precise.regs[f])) >> r & 1) != 0 && !reg_safe(f, r)
              : (masks.slots[f] >> s & 1) != 0 && !slot_safe(f, s)) {
      return false;
    }
    ids.Reset(id_base);
  }
  if (!RefsSafe(old_, cur, ids)) return false;
  for (f = 0; f <= old_.cur; ++f) {
    if (old_.frames[f]->callback_depth > cur.frames[f]->callback_depth) return false;
    // An imprecise scalar still asks for a scalar.
    for (uint16_t m = masks.scalars[f] & static_cast<uint16_t>(~precise.regs[f]); m != 0;
         m &= static_cast<uint16_t>(m - 1)) {
      if (!cur.frames[f]->regs[std::countr_zero(m)].IsScalar()) return false;
    }
    for (uint16_t m = masks.typed[f] | (masks.scalars[f] & precise.regs[f]); m != 0;
         m &= static_cast<uint16_t>(m - 1)) {
      r = std::countr_zero(m);
      if (!reg_safe(f, r)) {
        hint.Set(f, r, -1);
        return false;
      }
    }
    if constexpr (std::is_same_v<Marks, AllPrecise>) {
      if (precise.every_slot) {
        if (cur.frames[f]->slots < old_.frames[f]->slots) return false;
        for (s = 0; s < old_.frames[f]->slots; ++s) {
          if (old_.frames[f]->slot(s).Word() != cur.frames[f]->slot(s).Word() || !slot_safe(f, s)) return false;
        }
        continue;
      }
    }
    for (uint64_t m = masks.slots[f]; m != 0; m &= m - 1) {
      s = std::countr_zero(m);
      if (!slot_safe(f, s)) {
        hint.Set(f, 0, s);
        return false;
      }
    }
  }
  return true;
}

bool Subsumes(const State& old_, const PreciseMarks& precise, const CompareMasks& masks, const State& cur,
              uint32_t id_base, IdMap& ids, FailureHint& hint) {
  return Covers<false>(old_, precise, masks, cur, id_base, ids, hint);
}

bool SubsumesWithin(const State& old_, const CompareMasks& masks, bool every_slot, const State& cur, uint32_t id_base,
                    IdMap& ids) {
  FailureHint none;
  return Covers<false>(old_, AllPrecise{.every_slot = every_slot}, masks, cur, id_base, ids, none);
}

bool SubsumesGuarded(const State& old_, const PreciseMarks& precise, const CompareMasks& masks, const State& cur,
                     uint32_t id_base, IdMap& ids, FailureHint& hint) {
  return Covers<true>(old_, precise, masks, cur, id_base, ids, hint);
}

bool SubsumesGuardedWithin(const State& old_, const CompareMasks& masks, bool every_slot, const State& cur, uint32_t id_base,
                           IdMap& ids, bool same_scalars) {
  FailureHint none;
  return Covers<true>(old_, AllPrecise{.every_slot = every_slot}, masks, cur, id_base, ids, none, same_scalars);
}

void WidenImprecise(const State& before, const PreciseMarks& precise, State& now, StatePool& pool, IdMap& ids) {
  ids.Reset(0);
  const auto changed = [&](const Reg& was, const Reg& is) {
    return was.IsScalar() && is.IsScalar() && !RegsExact(was, is, ids);
  };
  for (int f = before.cur; f >= 0; --f) {
    const Frame& was = *before.frames[f];
    for (int r = 0; r < kMaxReg; ++r) {
      if ((precise.regs[f] >> r & 1) != 0 || !changed(was.regs[r], now.frames[f]->regs[r])) continue;
      pool.Writable(now, f).regs[r].MakeUnknown();
    }
    for (uint64_t m = was.spills & now.frames[f]->spills & ~precise.slots[f]; m != 0; m &= m - 1) {
      const int s = std::countr_zero(m);
      if (!changed(was.slot(s).spilled, now.frames[f]->slot(s).spilled)) continue;
      pool.WritableSlot(pool.Writable(now, f), s).spilled.MakeUnknown();
    }
  }
}

const StackSlot* IterAt(const State& state, const Reg& pointer) {
  if (pointer.type != RegType::kStack || !pointer.s.IsConst()) return nullptr;
  const int64_t off = int64_t{pointer.off} + static_cast<int64_t>(pointer.s.ConstValue());
  if (off >= 0 || off < -kMaxStack || off % kSlotBytes != 0) return nullptr;
  const StackSlot& slot = state.frames[pointer.frameno]->slot(static_cast<int>((-off - 1) / kSlotBytes));
  return slot.IsIter() ? &slot : nullptr;
}

bool IterDepthsDiffer(const State& old_, const State& cur) {
  for (int f = 0; f <= old_.cur; ++f) {
    for (uint64_t m = old_.frames[f]->objects; m != 0; m &= m - 1) {
      const int s = std::countr_zero(m);
      const StackSlot& was = old_.frames[f]->slot(s);
      if (was.IsIter() && (was.spilled.flags & kIterDrained) == 0 &&
          was.spilled.off != cur.frames[f]->slot(s).spilled.off) {
        return true;
      }
    }
  }
  return false;
}

bool SameState(const State& old_, const State& cur, IdMap& ids) {
  if (!SameCallChain(old_, cur)) return false;
  ids.Reset(0);
  if (!RefsSafe(old_, cur, ids)) return false;
  for (int f = 0; f <= old_.cur; ++f) {
    const Frame& o = *old_.frames[f];
    const Frame& c = *cur.frames[f];
    for (int r = 0; r < kMaxReg; ++r) {
      if (!RegsExact(o.regs[r], c.regs[r], ids)) return false;
    }
    if (o.slots > c.slots || o.callback_depth > c.callback_depth) return false;
    for (int s = 0; s < o.slots; ++s) {
      const StackSlot& was = o.slot(s);
      const StackSlot& is = c.slot(s);
      if (was.Word() != is.Word()) return false;
      if (was.IsSpill() && !RegsExact(was.spilled, is.spilled, ids)) return false;
      if (was.IsObject() && !SlotSafe(was, is, true, ids)) return false;
    }
  }
  return true;
}

bool MaybeLooping(const State& old_, const State& cur) {
  if (old_.cur != cur.cur) return false;
  return std::memcmp(old_.frames[cur.cur]->regs.data(), cur.frames[cur.cur]->regs.data(), sizeof(Reg) * kMaxReg) == 0;
}

}  // namespace bpfsieve
