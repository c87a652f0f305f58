// Conditional jumps on Scalars: is_scalar_branch_taken() and reg_set_min_max() of Linux 6.18.
#include <utility>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

// No jump of its own: what the false side of kJset knows.
constexpr uint8_t kJsetNot = kJset | kSrcX;

bool IsConst(const Scalar& r, bool is32) { return is32 ? r.SubregIsConst() : r.IsConst(); }
U64 ConstValue(const Scalar& r, bool is32) {
  return is32 ? static_cast<U32>(r.var_off.value) : r.var_off.value;
}

// The kernel's arithmetic wraps.
S64 Plus(S64 v, int d) { return static_cast<S64>(static_cast<U64>(v) + static_cast<U64>(d)); }
S32 Plus(S32 v, int d) { return static_cast<S32>(static_cast<U32>(v) + static_cast<U32>(d)); }
U64 Plus(U64 v, int d) { return v + static_cast<U64>(d); }
U32 Plus(U32 v, int d) { return v + static_cast<U32>(d); }

uint8_t Negated(uint8_t op) {
  switch (op) {
    case kJeq: return kJne;
    case kJne: return kJeq;
    case kJset: return kJsetNot;
    case kJge: return kJlt;
    case kJgt: return kJle;
    case kJle: return kJgt;
    case kJlt: return kJge;
    case kJsge: return kJslt;
    case kJsgt: return kJsle;
    case kJsle: return kJsgt;
    default: return kJsge;  // kJslt
  }
}

// a <= b (strict: a < b): b's maximum bounds a, and a's minimum bounds b.
template <typename T>
void RefineOrder(T& a_min, T& a_max, T& b_min, T& b_max, int strict) {
  a_max = Min(a_max, Plus(b_max, -strict));
  b_min = Max(Plus(a_min, strict), b_min);
}

template <typename T>
void Intersect(T& a_min, T& a_max, T& b_min, T& b_max) {
  a_min = Max(a_min, b_min);
  a_max = Min(a_max, b_max);
  b_min = a_min;
  b_max = a_max;
}

// A bound that must not be `v` moves by one.
template <typename T>
void Exclude(T& min, T& max, T v) {
  if (min == v) min = Plus(min, 1);
  if (max == v) max = Plus(max, -1);
}

void RefineEqual(Scalar& a, Scalar& b, bool is32) {
  if (is32) {
    Intersect(a.u32_min, a.u32_max, b.u32_min, b.u32_max);
    Intersect(a.s32_min, a.s32_max, b.s32_min, b.s32_max);
    const Tnum low = TnumIntersect(a.var_off.Subreg(), b.var_off.Subreg());
    a.var_off = a.var_off.WithSubreg(low);
    b.var_off = b.var_off.WithSubreg(low);
  } else {
    Intersect(a.umin, a.umax, b.umin, b.umax);
    Intersect(a.smin, a.smax, b.smin, b.smax);
    a.var_off = b.var_off = TnumIntersect(a.var_off, b.var_off);
  }
}

// `v` is the other operand of the jump, a constant.
void RefineAgainstConst(Scalar& r, U64 v, uint8_t op, bool is32) {
  const Tnum all_bits = r.var_off;
  const Tnum bits = is32 ? all_bits.Subreg() : all_bits;
  Tnum refined = bits;
  switch (op) {
    case kJne:
      if (is32) {
        Exclude(r.u32_min, r.u32_max, static_cast<U32>(v));
        Exclude(r.s32_min, r.s32_max, static_cast<S32>(v));
      } else {
        Exclude(r.umin, r.umax, v);
        Exclude(r.smin, r.smax, static_cast<S64>(v));
      }
      return;
    case kJset:
      // Which of several bits is set stays open.
      if (!HasSingleBit(v)) return;
      refined = TnumOr(bits, Tnum::Const(v));
      break;
    default:  // kJsetNot
      UnboundRanges(r);
      refined = TnumAnd(bits, Tnum::Const(~v));
      break;
  }
  r.var_off = is32 ? all_bits.WithSubreg(refined) : refined;
}

// regs_refine_cond_op(): `a op b` holds.
void Refine(Scalar& a_in, Scalar& b_in, uint8_t op, bool is32) {
  Scalar* a = &a_in;
  Scalar* b = &b_in;
  switch (op) {
    case kJge:
    case kJgt:
    case kJsge:
    case kJsgt: std::swap(a, b); break;
    default: break;
  }
  switch (op) {
    case kJeq: RefineEqual(*a, *b, is32); break;
    case kJne:
    case kJset:
    case kJsetNot:
      if (!IsConst(*b, is32)) std::swap(a, b);
      if (IsConst(*b, is32)) RefineAgainstConst(*a, ConstValue(*b, is32), op, is32);
      break;
    case kJge:
    case kJle:
    case kJgt:
    case kJlt: {
      const int strict = op == kJgt || op == kJlt ? 1 : 0;
      if (is32) {
        RefineOrder(a->u32_min, a->u32_max, b->u32_min, b->u32_max, strict);
      } else {
        RefineOrder(a->umin, a->umax, b->umin, b->umax, strict);
      }
      break;
    }
    default: {
      const int strict = op == kJsgt || op == kJslt ? 1 : 0;
      if (is32) {
        RefineOrder(a->s32_min, a->s32_max, b->s32_min, b->s32_max, strict);
      } else {
        RefineOrder(a->smin, a->smax, b->smin, b->smax, strict);
      }
      break;
    }
  }
}

template <typename T>
bool Disjoint(T a_min, T a_max, T b_min, T b_max) {
  return a_min > b_max || a_max < b_min;
}

// Whether a and b are the same word: 1, 0 or -1.
int Equal(const Scalar& a, const Scalar& b, bool is32) {
  const Tnum ta = is32 ? a.var_off.Subreg() : a.var_off;
  const Tnum tb = is32 ? b.var_off.Subreg() : b.var_off;
  if (ta.IsConst() && tb.IsConst()) return ta.value == tb.value ? 1 : 0;
  if (!TnumOverlap(ta, tb)) return 0;
  if (!is32 && (Disjoint(a.umin, a.umax, b.umin, b.umax) || Disjoint(a.smin, a.smax, b.smin, b.smax))) return 0;
  if (Disjoint(a.u32_min, a.u32_max, b.u32_min, b.u32_max) || Disjoint(a.s32_min, a.s32_max, b.s32_min, b.s32_max)) {
    return 0;
  }
  return -1;
}

// Whether a <= b (strict: a < b). The answers are tried in the kernel's order, which shows for contradictory ranges.
template <typename T>
int Less(T a_min, T a_max, T b_min, T b_max, bool strict) {
  if (strict ? a_max < b_min : a_max <= b_min) return 1;
  if (strict ? a_min >= b_max : a_min > b_max) return 0;
  return -1;
}

}  // namespace

int BranchTaken(uint8_t op, bool is32, const Scalar& a, const Scalar& b) {
  switch (op) {
    case kJeq: return Equal(a, b, is32);
    case kJne: {
      const int equal = Equal(a, b, is32);
      return equal < 0 ? -1 : 1 - equal;
    }
    case kJset: {
      const bool b_const = IsConst(b, is32);
      if (!b_const && !IsConst(a, is32)) return -1;
      const U64 v = ConstValue(b_const ? b : a, is32);
      const Tnum t = (b_const ? a : b).var_off;
      if ((t.value & v) != 0) return 1;
      return (t.Max() & v) == 0 ? 0 : -1;
    }
    case kJlt:
    case kJle:
      return is32 ? Less(a.u32_min, a.u32_max, b.u32_min, b.u32_max, op == kJlt)
                  : Less(a.umin, a.umax, b.umin, b.umax, op == kJlt);
    case kJgt:
    case kJge:
      return is32 ? Less(b.u32_min, b.u32_max, a.u32_min, a.u32_max, op == kJgt)
                  : Less(b.umin, b.umax, a.umin, a.umax, op == kJgt);
    case kJslt:
    case kJsle:
      return is32 ? Less(a.s32_min, a.s32_max, b.s32_min, b.s32_max, op == kJslt)
                  : Less(a.smin, a.smax, b.smin, b.smax, op == kJslt);
    case kJsgt:
    case kJsge:
      return is32 ? Less(b.s32_min, b.s32_max, a.s32_min, a.s32_max, op == kJsgt)
                  : Less(b.smin, b.smax, a.smin, a.smax, op == kJsgt);
    default: return -1;
  }
}

void RefineBranch(Scalar& true_a, Scalar& true_b, Scalar& false_a, Scalar& false_b, uint8_t op, bool is32) {
  Refine(false_a, false_b, Negated(op), is32);
  SyncBounds(false_a);
  SyncBounds(false_b);
  Refine(true_a, true_b, op, is32);
  SyncBounds(true_a);
  SyncBounds(true_b);
  RepairBounds(true_a);
  RepairBounds(true_b);
  RepairBounds(false_a);
  RepairBounds(false_b);
}

}  // namespace bpfsieve
