// Precision: which scalars did the verdict depend on?
//
// When a check relies on a value, the registers and slots that it was computed from are traced back along the path and
// marked in the checkpoints passed on the way (mark_chain_precision, backtrack_insn). A checkpoint's unmarked scalars
// compare as equal to anything. Where tracing back is not possible, every scalar of every ancestor is marked.
#include <bit>

#include "engine/explore/search.h"

namespace bpfsieve {
namespace {

constexpr uint16_t kArgRegs = 0x3e;  // R1..R5

bool IsAtomicFetch(const Insn& i) {
  return Class(i) == kClassStx && Mode(i) == kModeAtomic && (i.imm & kFetch) != 0 && i.imm != kLoadAcq &&
         i.imm != kStoreRel;
}
bool IsAtomicLoad(const Insn& i) { return Class(i) == kClassStx && Mode(i) == kModeAtomic && i.imm == kLoadAcq; }

}  // namespace

bool Search::Backtrack::Empty() const {
  uint64_t any = 0;
  for (int f = 0; f <= frame; ++f) any |= regs[f] | slots[f];
  return any == 0;
}

// Most instructions have nothing to do with what is asked for: those for which BacktrackInsn() would change nothing.
inline bool Search::PassesBy(const Insn& i, const HistoryNode* hist, const Backtrack& bt) {
  if (hist != nullptr && hist->linked != 0) return false;
  const uint16_t regs = bt.regs[bt.frame];
  switch (Class(i)) {
    case kClassLdx:
    case kClassAlu:
    case kClassAlu64: return (regs >> i.dst & 1) == 0;
    case kClassJmp:
    case kClassJmp32: {
      const uint8_t op = JmpOp(i);
      if (op == kCall || op == kExit) return false;
      return op == kJa || !UsesX(i) || ((regs >> i.dst | regs >> i.src) & 1) == 0;
    }
    default: return false;
  }
}

Search::Back Search::BacktrackInsn(uint32_t at, int64_t next, const HistoryNode* hist, Backtrack& bt) const {
  const Insn& i = prog_.insns[at];
  if (i.code == 0) return Back::kOk;  // the second half of a 64-bit immediate, which sets nothing
  const int fr = bt.frame;
  auto is_set = [&](int r) { return (bt.regs[fr] >> r & 1) != 0; };
  auto set = [&](int r) { bt.regs[fr] |= static_cast<uint16_t>(1u << r); };
  auto clear = [&](int r) { bt.regs[fr] &= static_cast<uint16_t>(~(1u << r)); };
  // Scalars that were linked at this instruction gained their ranges together.
  auto sync_linked = [&] {
    if (hist == nullptr || hist->linked == 0) return;
    const LinkedRegs linked = UnpackLinked(hist->linked);
    bool some = false;
    for (int e = 0; e < linked.count; ++e) {
      const auto& l = linked.entries[e];
      some |= l.is_reg ? (bt.regs[l.frame] >> l.index & 1) != 0 : (bt.slots[l.frame] >> l.index & 1) != 0;
    }
    if (!some) return;
    for (int e = 0; e < linked.count; ++e) {
      const auto& l = linked.entries[e];
      if (l.is_reg) {
        bt.regs[l.frame] |= static_cast<uint16_t>(1u << l.index);
      } else {
        bt.slots[l.frame] |= uint64_t{1} << l.index;
      }
    }
  };
  const bool stack_access = hist != nullptr && (hist->flags & kHistStackAccess) != 0;
  const uint32_t hist_slot = hist != nullptr ? hist->flags & 0x3f : 0;
  const uint32_t hist_frame = hist != nullptr ? hist->flags >> 8 & 0x7 : 0;

  sync_linked();
  const uint8_t cls = Class(i);
  if (cls == kClassAlu || cls == kClassAlu64) {
    if (!is_set(i.dst)) return Back::kOk;
    const uint8_t op = AluOp(i);
    if (op == kEnd || op == kNeg) return Back::kOk;
    if (op == kMov) {
      clear(i.dst);
      if (UsesX(i) && i.src != kRegFp) set(i.src);
    } else if (UsesX(i) && i.src != kRegFp) {
      set(i.src);
    }
  } else if (cls == kClassLdx || IsAtomicLoad(i) || IsAtomicFetch(i)) {
    int load = i.dst;
    if (IsAtomicFetch(i)) load = i.imm == kCmpxchg ? kRegR0 : int{i.src};
    if (!is_set(load)) return Back::kOk;
    clear(load);
    if (!stack_access) return Back::kOk;
    bt.slots[hist_frame] |= uint64_t{1} << hist_slot;
  } else if (cls == kClassStx || cls == kClassSt) {
    if (is_set(i.dst)) return Back::kGiveUp;  // a subtraction of pointers
    if (!stack_access) return Back::kOk;
    if ((bt.slots[hist_frame] >> hist_slot & 1) == 0) return Back::kOk;
    bt.slots[hist_frame] &= ~(uint64_t{1} << hist_slot);
    if (cls == kClassStx) set(i.src);
  } else if (cls == kClassJmp || cls == kClassJmp32) {
    const uint8_t op = JmpOp(i);
    if (IsPseudoCall(i)) {
      const int sub = cfg_.SubAt(static_cast<uint32_t>(int64_t{at} + i.imm + 1));
      if (ctx_.subs[sub].global) {
        if ((bt.regs[fr] & kArgRegs) != 0) return Back::kGiveUp;
        clear(0);
        return Back::kOk;
      }
      // Into the callee from its first instruction: only its arguments can still be asked for.
      if ((bt.regs[fr] & ~kArgRegs) != 0 || bt.slots[fr] != 0 || fr == 0) return Back::kGiveUp;
      bt.regs[fr - 1] |= bt.regs[fr] & kArgRegs;
      bt.regs[fr] = 0;
      --bt.frame;
      return Back::kOk;
    }
    if (op == kCall && cfg_.at[at].converge == Converge::kCallback && next != int64_t{at} + 1) {
      // Into the function that is called back, from its first instruction: whoever calls it makes up its arguments.
      if ((bt.regs[fr] & ~kArgRegs) != 0 || bt.slots[fr] != 0 || fr == 0) return Back::kGiveUp;
      bt.regs[fr] = 0;
      --bt.frame;
      return Back::kOk;
    }
    if (op == kCall) {
      clear(0);
      if ((bt.regs[fr] & kArgRegs) != 0) return Back::kGiveUp;
    } else if (op == kExit) {
      if (next >= 0 && cfg_.at[static_cast<size_t>(next)].converge == Converge::kCallback) {
        bt.regs[fr] &= static_cast<uint16_t>(~kArgRegs);
      }
      const bool from_call = next - 1 >= 0 && IsPseudoCall(prog_.insns[static_cast<size_t>(next - 1)]);
      const bool r0 = from_call && is_set(0);
      if (from_call && (bt.regs[fr] & kArgRegs) != 0) return Back::kGiveUp;
      clear(0);
      if (fr == kMaxFrames - 1) return Back::kGiveUp;
      ++bt.frame;
      if (r0) bt.regs[bt.frame] |= 1;
      return Back::kOk;
    } else if (UsesX(i) && op != kJa) {
      if (!is_set(i.dst) && !is_set(i.src)) return Back::kOk;
      if (hist == nullptr || (hist->flags & kHistSrcStack) == 0) set(i.src);
      if (hist == nullptr || (hist->flags & kHistDstStack) == 0) set(i.dst);
    }
  } else if (cls == kClassLd) {
    if (Mode(i) == kModeImm) {
      clear(i.dst);
      return Back::kOk;
    }
    if (is_set(i.dst)) return Back::kGiveUp;
    // A failing load left the subprogram. 6.18 takes what the caller asks for to be asked of the callee, and at the
    // call refuses the program for what it calls a bug of its own; later kernels step into the callee here.
    return next == int64_t{at} + 1 ? Back::kOk : Back::kLost;
  }
  sync_linked();
  return Back::kOk;
}

bool Search::MarkAllPrecise(const Path& path) {
  bool changed = false;
  for (Checkpoint* c = path.parent; c != nullptr; c = c->path.parent) {
    for (int f = 0; f <= c->shared.state->cur; ++f) {
      const Frame& frame = *c->shared.state->frames[f];
      for (int r = 0; r < kRegFp; ++r) {
        const uint16_t bit = static_cast<uint16_t>(1u << r);
        if (!frame.regs[r].IsScalar() || (c->shared.precise.regs[f] & bit) != 0) continue;
        c->shared.precise.regs[f] |= bit;
        changed = true;
      }
      for (uint64_t m = frame.spills; m != 0; m &= m - 1) {
        const int s = std::countr_zero(m);
        const uint64_t bit = uint64_t{1} << s;
        if (!frame.slot(s).spilled.IsScalar() || (c->shared.precise.slots[f] & bit) != 0) continue;
        c->shared.precise.slots[f] |= bit;
        changed = true;
      }
    }
  }
  return changed;
}

bool Search::MarkPrecise(const Path& start, uint32_t insn, Backtrack bt) {
  if (bt.Empty()) return false;
  bool changed = false;
  const Path* path = &start;
  int64_t last = insn;
  int64_t next = -1;
  bool skip = true;
  for (;;) {
    if (last < 0) break;  // the function's entry
    const HistoryNode* node = path->history;
    for (int64_t i = last;;) {
      if (skip) {
        skip = false;
      } else {
        const HistoryNode* hist = node != nullptr && node->insn == i ? node : nullptr;
        const Insn& in = prog_.insns[static_cast<size_t>(i)];
        if (!PassesBy(in, hist, bt)) {
          const Back back = BacktrackInsn(static_cast<uint32_t>(i), next, hist, bt);
          if (back != Back::kOk) {
            lost_ |= back == Back::kLost;
            return MarkAllPrecise(start) || changed;
          }
          if (bt.Empty()) return changed;
        }
      }
      next = i;
      if (i == path->first_insn && (node == nullptr || (node->older == nullptr && node->insn == i))) break;
      if (node != nullptr && node->insn == i) {
        i = node->prev;
        node = node->older;
      } else {
        --i;
      }
      if (i < 0 || i >= static_cast<int64_t>(prog_.insns.size())) {
        return MarkAllPrecise(start) || changed;
      }
    }
    Checkpoint* c = path->parent;
    if (c == nullptr) break;
    for (int f = bt.frame; f >= 0; --f) {
      if (f > c->shared.state->cur) {
        return MarkAllPrecise(start) || changed;
      }
      const Frame& frame = *c->shared.state->frames[f];
      for (uint16_t m = bt.regs[f]; m != 0; m &= static_cast<uint16_t>(m - 1)) {
        const int r = std::countr_zero(m);
        const uint16_t bit = static_cast<uint16_t>(1u << r);
        if (!frame.regs[r].IsScalar() || (c->shared.precise.regs[f] & bit) != 0) {
          bt.regs[f] &= static_cast<uint16_t>(~bit);
        } else {
          c->shared.precise.regs[f] |= bit;
          changed = true;
        }
      }
      for (uint64_t m = bt.slots[f]; m != 0; m &= m - 1) {
        const int s = std::countr_zero(m);
        const uint64_t bit = uint64_t{1} << s;
        if (s >= frame.slots || !frame.slot(s).IsScalarSpill() || (c->shared.precise.slots[f] & bit) != 0) {
          bt.slots[f] &= ~bit;
        } else {
          c->shared.precise.slots[f] |= bit;
          changed = true;
        }
      }
    }
    if (helpers_ != nullptr) {
      for (int f = 0; f <= bt.frame; ++f) helpers_->Predict(c->insn, f, bt.regs[f], bt.slots[f]);
    }
    if (bt.Empty()) return changed;
    next = path->first_insn;
    path = &c->path;
    last = path->last_insn;
  }
  // Arguments of a function verified on its own are where the trace rightly ends; anything else was missed.
  if ((bt.frame == 0 && bt.slots[0] == 0 && (bt.regs[0] & ~kArgRegs) == 0)) return changed;
  return MarkAllPrecise(start) || changed;
}

bool Search::PropagatePrecision(const Path& path, uint32_t insn, const Checkpoint& old) {
  Backtrack bt;
  bt.frame = old.shared.state->cur;
  for (int f = 0; f <= old.shared.state->cur; ++f) {
    bt.regs[f] = static_cast<uint16_t>(old.shared.precise.regs[f] & old.live.regs[f]);
    bt.slots[f] = old.shared.precise.slots[f] & old.live.slots[f];
  }
  return MarkPrecise(path, insn, bt);
}

}  // namespace bpfsieve
