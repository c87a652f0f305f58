// Jumps: which way, and what each way tells about the operands (check_cond_jmp_op).
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

constexpr int kMaxPacketOff = 0xffff;

uint8_t Flip(uint8_t op) {
  switch (op) {
    case kJgt: return kJlt;
    case kJge: return kJle;
    case kJlt: return kJgt;
    case kJle: return kJge;
    case kJsgt: return kJslt;
    case kJsge: return kJsle;
    case kJslt: return kJsgt;
    case kJsle: return kJsge;
    default: return op;
  }
}

// The kernel's reg_not_null(): pointers that a comparison with zero is decided for. An offset that wraps around to zero
// is not thought of.
bool SurelyNotNull(const Reg& r) {
  if (r.MayBeNull() || r.IsUnsafeMem()) return false;
  switch (r.type) {
    case RegType::kSocket:
    case RegType::kTcpSock:
    case RegType::kSockCommon:
    case RegType::kMapValue:
    case RegType::kMapKey:
    case RegType::kMem:
    case RegType::kConstMapPtr:
      return true;
    case RegType::kBtfId:
      return r.ref_obj_id != 0 || ((r.flags & (kAlloc | kTrusted | kNonOwnRef)) != 0 &&
                                   (r.flags & ~(kAlloc | kTrusted | kNonOwnRef | kProgBtf)) == 0);
    default:
      return false;
  }
}

// The start of the packet's data, unmodified.
bool IsDataStart(const Reg& r) {
  return r.type == RegType::kPacket && r.off == 0 && r.s.var_off == Tnum::Const(0);
}

// Packet pointers with the id of `p` have been shown to have p.off (plus one, if `open`) bytes before the end.
void LearnPacketRange(StatePool& pool, State& s, const Reg& p_in, bool open) {
  const Reg p = p_in;
  if (p.off < 0 || (p.off == 0 && open)) return;
  if (p.s.umax > kMaxPacketOff || p.s.umax + static_cast<uint64_t>(p.off) > kMaxPacketOff) return;
  const int32_t range = p.off + (open ? 1 : 0);
  pool.UpdateRegs(
      s,
      [&](const Reg& r) { return r.type == p.type && r.flags == p.flags && r.id == p.id && r.range < range; },
      [&](Reg& r) { r.range = range; });
}

void MarkPacketEnd(State& s, int r, bool beyond) {
  Reg& p = s.regs()[r];
  if (p.type == RegType::kPacket) p.range = beyond ? kBeyondPktEnd : kAtPktEnd;
}

}  // namespace

bool Transfer::Jump() {
  const Insn& i = insn();
  switch (JmpOp(i)) {
    case kCall:
      return Call();
    case kExit:
      return Exit();
    case kJa:
      out_->next = static_cast<uint32_t>(int64_t{pc_} + 1 + (Class(i) == kClassJmp ? i.off : i.imm));
      return true;
    case kJcond:
      return MayGoto();
    default:
      return CondJump();
  }
}

int Transfer::PointerBranch(const Reg& a_in, const Reg& b_in, uint8_t op, bool is32) const {
  const Reg* a = &a_in;
  const Reg* b = &b_in;
  if (a->IsPacketAny() && b->IsPacketAny() && !is32) {
    const Reg* pkt;
    if (b->type == RegType::kPacketEnd) {
      pkt = a;
    } else if (a->type == RegType::kPacketEnd) {
      pkt = b;
      op = Flip(op);
    } else {
      return -1;
    }
    // A packet end compared with itself has a range of 0 here and decides nothing.
    if (pkt->range >= 0) return -1;
    if ((op == kJle || op == kJgt) && pkt->range == kBeyondPktEnd) return op == kJgt;
    if ((op == kJlt || op == kJge)) return op == kJge;
    return -1;
  }
  // Decided for the low half as well, although that may be zero: a program that relies on it is accepted.
  auto zero = [is32](const Reg& r) {
    return r.IsScalar() && (is32 ? r.s.var_off.Subreg() : r.s.var_off) == Tnum::Const(0);
  };
  if (zero(*a)) std::swap(a, b);
  if (!zero(*b) || !SurelyNotNull(*a)) return -1;
  if (op == kJeq) return 0;
  if (op == kJne) return 1;
  return -1;
}

void Transfer::CollectLinked(State& s, uint32_t id, LinkedRegs& regs) {
  id &= ~kAddConst;
  auto linked = [=](const Reg& r) { return r.IsScalar() && (r.id & ~kAddConst) == id; };
  for (int f = s.cur; f >= 0; --f) {
    const uint32_t at = f == s.cur ? pc_ : static_cast<uint32_t>(s.frames[f + 1]->callsite);
    const uint16_t live = ctx_.cfg->at[at].live_regs;
    for (int r = 0; r < kRegFp; ++r) {
      if ((live >> r & 1) == 0 || !linked(s.frames[f]->regs[r])) continue;
      if (!regs.Push(f, r, true)) pool_.Writable(s, f).regs[r].ClearScalarId();
    }
    for (uint64_t m = s.frames[f]->spills; m != 0; m &= m - 1) {
      const int i = std::countr_zero(m);
      if (!linked(s.frames[f]->slot(i).spilled)) continue;
      if (!regs.Push(f, i, false)) pool_.WritableSlot(pool_.Writable(s, f), i).spilled.ClearScalarId();
    }
  }
}

void Transfer::SyncLinked(State& s, const Reg& known_in, const LinkedRegs& regs) {
  const Reg known = known_in;
  for (int e = 0; e < regs.count; ++e) {
    const LinkedRegs::Entry& at = regs.entries[e];
    const Frame& in = *s.frames[at.frame];
    const Reg& was = at.is_reg ? in.regs[at.index] : in.slot(at.index).spilled;
    if (!was.IsScalar() || &was == &known_in) continue;
    if ((was.id & ~kAddConst) != (known.id & ~kAddConst)) continue;
    // A distance in 32 bits says nothing of one in 64, not even of the same one: only one of them wraps around.
    if (((was.id ^ known.id) & kAddConst) == kAddConst) continue;
    Frame& f = pool_.Writable(s, at.frame);
    Reg& r = at.is_reg ? f.regs[at.index] : pool_.WritableSlot(f, at.index).spilled;
    if (((r.id & kAddConst) == 0 && (known.id & kAddConst) == 0) || r.off == known.off) {
      r = known;
      continue;
    }
    const int32_t off = r.off;
    const uint32_t id = r.id;
    r = known;
    r.off = off;
    r.id = id;
    AddDelta(r.s, int64_t{off} - known.off, ((id | known.id) & kAddConst32) != 0);
  }
}

bool Transfer::MatchPacketPointers(State& here, State& other) {
  const Insn& i = insn();
  if (!UsesX(i) || Class(i) == kClassJmp32) return false;
  const Reg& dst = here.regs()[i.dst];
  const Reg& src = here.regs()[i.src];
  const bool dst_first = (dst.type == RegType::kPacket && src.type == RegType::kPacketEnd) ||
                         (dst.type == RegType::kPacketMeta && IsDataStart(src));
  const bool src_first = (dst.type == RegType::kPacketEnd && src.type == RegType::kPacket) ||
                         (IsDataStart(dst) && src.type == RegType::kPacketMeta);
  if (!dst_first && !src_first) return false;
  // As if the pointer always stood on the left: p OP end.
  const int r = dst_first ? i.dst : i.src;
  const uint8_t op = dst_first ? JmpOp(i) : Flip(JmpOp(i));
  switch (op) {
    case kJgt:  // p > end jumps: here p <= end
      LearnPacketRange(pool_, here, here.regs()[r], false);
      MarkPacketEnd(other, r, true);
      return true;
    case kJlt:  // p < end jumps
      LearnPacketRange(pool_, other, here.regs()[r], true);
      MarkPacketEnd(here, r, false);
      return true;
    case kJge:  // p >= end jumps: here p < end
      LearnPacketRange(pool_, here, here.regs()[r], true);
      MarkPacketEnd(other, r, false);
      return true;
    case kJle:  // p <= end jumps
      LearnPacketRange(pool_, other, here.regs()[r], false);
      MarkPacketEnd(here, r, true);
      return true;
    default:
      return false;
  }
}

void Transfer::NotNull(Reg& r) {
  r.flags &= static_cast<uint16_t>(~kMaybeNull);
  if (r.type != RegType::kMapValue) return;
  const MapDef& map = ctx_.map(r.map);
  switch (map.type) {
    case MapType::kArrayOfMaps:
    case MapType::kHashOfMaps: {
      if (map.inner < 0) return;
      r.type = RegType::kConstMapPtr;
      r.map = map.inner;
      for (const MapField& f : ctx_.map(map.inner).fields) {
        if (f.kind == SpecialField::kTimer || f.kind == SpecialField::kWorkqueue) r.map_uid = r.id;
      }
      return;
    }
    // The kernel leaves the map beside the socket, which sets it apart from one of another origin when states are
    // compared.
    case MapType::kXskmap:
      r.type = RegType::kXdpSock;
      r.map = ~r.map;
      return;
    case MapType::kSockmap:
    case MapType::kSockhash:
      r.type = RegType::kSocket;
      r.map = ~r.map;
      return;
    default:
      return;
  }
}

void Transfer::MarkNullOrNot(State& s, int regno, bool is_null) {
  const uint32_t ref = s.regs()[regno].ref_obj_id;
  const uint32_t id = s.regs()[regno].id;
  if (ref != 0 && ref == id && is_null) {
    std::erase_if(s.refs, [id](const Ref& r) { return r.kind == Ref::Kind::kPointer && r.id == id; });
  }
  const auto same = [=](const Reg& r) { return r.MayBeNull() && r.id == id; };
  pool_.UpdateRegs(s, same, [&](Reg& r) {
    if (is_null) {
      r.MakeScalar(Scalar::Const(0));
      return;
    }
    NotNull(r);
    if (!MayHoldLock(r)) r.id = 0;
  });
}

bool Transfer::CondJump() {
  const Insn& i = insn();
  const uint8_t op = JmpOp(i);
  const bool is32 = Class(i) == kClassJmp32;
  const bool x = UsesX(i);
  const uint32_t target = static_cast<uint32_t>(int64_t{pc_} + 1 + i.off);
  if (!ReadReg(i.dst)) return false;
  if (x && !ReadReg(i.src)) return false;
  Reg& dst = reg(i.dst);
  Reg imm;
  if (!x) imm.MakeScalar(Scalar::Const(static_cast<uint64_t>(int64_t{i.imm})));
  Reg& src = x ? reg(i.src) : imm;
  if (Hidden(src) && !(dst.IsPacketAny() && src.IsPacketAny())) {
    return Fail(Rule::kPointerCompare, i.src, absl::StrCat("R", int{i.src}, " pointer comparison prohibited"));
  }
  if (x && src.type == RegType::kStack) out_->hist_flags |= kHistSrcStack;
  if (dst.type == RegType::kStack) out_->hist_flags |= kHistDstStack;

  const bool scalars = dst.IsScalar() && src.IsScalar();
  const int taken = scalars ? BranchTaken(op, is32, dst.s, src.s) : PointerBranch(dst, src, op, is32);
  if (taken >= 0) {
    if (dst.IsScalar()) Precise(i.dst);
    if (x && src.IsScalar()) Precise(i.src);
    if (!ctx_.caps.perfmon) {
      // A processor may guess that it goes the other way.
      auto& other = ForkSpeculative(taken == 1 ? pc_ + 1 : target)->regs();
      other[i.dst].MakeUnknown();
      if (x) other[i.src].MakeUnknown();
    }
    if (taken == 1) out_->next = target;
    return true;
  }

  LinkedRegs linked;
  if (x && src.IsScalar() && src.id != 0) CollectLinked(*st_, src.id, linked);
  if (dst.IsScalar() && dst.id != 0) CollectLinked(*st_, dst.id, linked);
  if (linked.count > 1) out_->hist_linked = PackLinked(linked);

  State& other = *Fork(target);
  Reg& other_dst = other.regs()[i.dst];
  Reg other_imm = imm;
  Reg& other_src = x ? other.regs()[i.src] : other_imm;
  if (scalars) {
    RefineBranch(other_dst.s, other_src.s, dst.s, src.s, op, is32);
    if (x && src.id != 0) {
      SyncLinked(*st_, src, linked);
      SyncLinked(other, other_src, linked);
    }
    if (dst.id != 0) {
      SyncLinked(*st_, dst, linked);
      SyncLinked(other, other_dst, linked);
    }
  } else {
    if (x && src.IsScalar() && src.id != 0) {
      SyncLinked(*st_, src, linked);
      SyncLinked(other, other_src, linked);
    }
    if (dst.IsScalar() && dst.id != 0) {
      SyncLinked(*st_, dst, linked);
      SyncLinked(other, other_dst, linked);
    }
  }

  // Two pointers that are equal: where only one of them may be null, it is not. Any other pointer counts as not null.
  if (!is32 && x && !src.IsScalar() && !dst.IsScalar() && src.MayBeNull() != dst.MayBeNull() &&
      src.type != RegType::kBtfId && dst.type != RegType::kBtfId && (op == kJeq || op == kJne)) {
    State& equal = op == kJeq ? other : *st_;
    NotNull(equal.regs()[src.MayBeNull() ? i.src : i.dst]);
  }

  if (!is32 && !x && i.imm == 0 && (op == kJeq || op == kJne) && dst.MayBeNull()) {
    MarkNullOrNot(*st_, i.dst, op == kJne);
    MarkNullOrNot(other, i.dst, op == kJeq);
  } else if (!MatchPacketPointers(*st_, other) && Hidden(dst)) {
    return Fail(Rule::kPointerCompare, i.dst, absl::StrCat("R", int{i.dst}, " pointer comparison prohibited"));
  }
  return true;
}

}  // namespace bpfsieve
