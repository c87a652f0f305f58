// Subsumption: may the search stop at a state because an earlier one covers it?
//
// The rules are the kernel's (regsafe, stacksafe, refsafe of Linux 6.18); the differences are in how liveness and
// precision reach them. The kernel writes both into the old state; here liveness is a property of the program that was
// computed beforehand, and precision is a pair of masks beside the state, so that the state itself never changes.
#include <algorithm>
#include <cstring>

#include "engine/state/state.h"

namespace bpfsieve {
namespace {

bool SameBytes(const void* a, const void* b, size_t n) { return std::memcmp(a, b, n) == 0; }

// Everything but the ids is equal: the kernel's regs_exact.
bool RegsExact(const Reg& o, const Reg& c, IdMap& ids) {
  return o.type == c.type && o.flags == c.flags && o.off == c.off && o.range == c.range && o.map_uid == c.map_uid &&
         o.s == c.s && ids.Check(o.id, c.id) && ids.Check(o.ref_obj_id, c.ref_obj_id);
}

bool ValueWithin(const Reg& o, const Reg& c) { return RangeWithin(o.s, c.s) && TnumIn(o.s.var_off, c.s.var_off); }

bool RegSafe(const Reg& o, const Reg& c, bool precise, Exactness exactness, IdMap& ids) {
  if (exactness == Exactness::kExact) return RegsExact(o, c, ids);
  if (o.type == RegType::kNotInit) return true;
  if (!o.SameType(c)) return false;
  switch (o.type) {
    case RegType::kScalar:
      if (!precise) return true;
      if (o.id != 0 && (o.id & kAddConst) != (c.id & kAddConst)) return false;
      if ((o.id & kAddConst) != 0 && o.off != c.off) return false;
      return ids.CheckScalar(o.id, c.id) && ValueWithin(o, c);
    case RegType::kMapKey:
    case RegType::kMapValue:
    case RegType::kMem:
    case RegType::kBuf:
    case RegType::kTpBuffer:
      return o.off == c.off && o.range == c.range && o.map_uid == c.map_uid && ValueWithin(o, c) &&
             ids.Check(o.id, c.id) && ids.Check(o.ref_obj_id, c.ref_obj_id);
    case RegType::kPacket:
    case RegType::kPacketMeta:
      if (o.range < 0 || c.range < 0) {
        if (o.range != c.range) return false;
      } else if (o.range > c.range) {
        return false;
      }
      return o.off == c.off && ids.Check(o.id, c.id) && ValueWithin(o, c);
    case RegType::kStack:
      return RegsExact(o, c, ids) && o.frameno == c.frameno;
    default:
      return RegsExact(o, c, ids);
  }
}

// With all capabilities, bytes that were never written may be read as unknown data.
bool AllMisc(const StackSlot& slot) {
  return std::all_of(std::begin(slot.bytes), std::end(slot.bytes),
                     [](SlotByte b) { return b == SlotByte::kMisc || b == SlotByte::kInvalid; });
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
  if (AllMisc(slot)) return &UnboundScalar();
  return nullptr;
}

bool StackSafe(const Frame& o, const Frame& c, uint64_t precise, uint64_t live, Exactness exactness, IdMap& ids) {
  if (exactness == Exactness::kExact) {
    for (size_t i = 0; i < o.stack.size(); ++i) {
      if (i >= c.stack.size() || !SameBytes(o.stack[i].bytes, c.stack[i].bytes, kSlotBytes)) return false;
    }
  }
  const StackSlot kUnused;
  for (size_t i = 0; i < o.stack.size(); ++i) {
    if ((live >> i & 1) == 0) continue;
    const StackSlot& old_slot = o.stack[i];
    // Bytes that the old state did not know anything about cannot have mattered.
    int first = 0;
    while (first < kSlotBytes &&
           (old_slot.bytes[first] == SlotByte::kInvalid || old_slot.bytes[first] == SlotByte::kMisc)) {
      ++first;
    }
    if (first == kSlotBytes) continue;
    if (i >= c.stack.size()) return false;
    const StackSlot& cur_slot = c.stack[i];
    const Reg* old_reg = SlotScalar(old_slot);
    const Reg* cur_reg = SlotScalar(cur_slot);
    const bool slot_precise = (precise >> i & 1) != 0;
    if (old_reg != nullptr && cur_reg != nullptr) {
      if (!RegSafe(*old_reg, *cur_reg, slot_precise, exactness, ids)) return false;
      continue;
    }
    for (int b = first; b < kSlotBytes; ++b) {
      const SlotByte old_byte = old_slot.bytes[b];
      if (old_byte == SlotByte::kInvalid || old_byte == SlotByte::kMisc) continue;
      if (old_byte != cur_slot.bytes[b]) return false;
    }
    if (old_slot.IsSpill() && !RegSafe(old_slot.spilled, cur_slot.spilled, slot_precise, exactness, ids)) return false;
  }
  return true;
}

bool RefsSafe(const State& o, const State& c, IdMap& ids) {
  if (o.refs.size() != c.refs.size() || o.active_locks != c.active_locks) return false;
  if (!ids.Check(o.lock_id, c.lock_id) || o.lock_map != c.lock_map) return false;
  for (size_t i = 0; i < o.refs.size(); ++i) {
    if (o.refs[i].kind != c.refs[i].kind || o.refs[i].map != c.refs[i].map) return false;
    if (!ids.Check(o.refs[i].id, c.refs[i].id)) return false;
  }
  return true;
}

}  // namespace

bool IdMap::Check(uint32_t old_id, uint32_t cur_id) {
  if ((old_id == 0) != (cur_id == 0)) return false;
  if (old_id == 0) return true;
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

bool Subsumes(const State& old_, const PreciseMarks& precise, const LiveMasks& live, const State& cur,
              Exactness exactness, uint32_t id_base, IdMap& ids) {
  if (old_.cur != cur.cur) return false;
  ids.Reset(id_base);
  if (!RefsSafe(old_, cur, ids)) return false;
  for (int f = 0; f <= old_.cur; ++f) {
    if (old_.frames[f]->callsite != cur.frames[f]->callsite) return false;
    const Frame& o = *old_.frames[f];
    const Frame& c = *cur.frames[f];
    for (int r = 0; r < kMaxReg; ++r) {
      if (r != kRegFp && (live.regs[f] >> r & 1) == 0) continue;
      if (!RegSafe(o.regs[r], c.regs[r], (precise.regs[f] >> r & 1) != 0, exactness, ids)) return false;
    }
    if (!StackSafe(o, c, precise.slots[f], live.slots[f], exactness, ids)) return false;
  }
  return true;
}

bool MaybeLooping(const State& old_, const State& cur) {
  if (old_.cur != cur.cur) return false;
  return SameBytes(old_.frames[cur.cur]->regs.data(), cur.frames[cur.cur]->regs.data(), sizeof(Reg) * kMaxReg);
}

}  // namespace bpfsieve
