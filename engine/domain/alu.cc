// Arithmetic on Scalars: adjust_scalar_min_max_vals() of Linux 6.18 and what it calls.
#include <limits>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

// The ranges of one width of a Scalar; most operations treat both widths alike.
template <typename Signed, typename Unsigned>
struct Ranges {
  using S = Signed;
  using U = Unsigned;
  static constexpr S kSMin = std::numeric_limits<S>::min(), kSMax = std::numeric_limits<S>::max();
  static constexpr U kUMax = std::numeric_limits<U>::max();

  S& smin;
  S& smax;
  U& umin;
  U& umax;

  void ForgetSigned() const {
    smin = kSMin;
    smax = kSMax;
  }
  void ForgetUnsigned() const {
    umin = 0;
    umax = kUMax;
  }
  // The signed range is the unsigned one where that does not cross the sign's seam.
  void SignedFromUnsigned() const {
    if (static_cast<S>(umin) <= static_cast<S>(umax)) {
      smin = static_cast<S>(umin);
      smax = static_cast<S>(umax);
    } else {
      ForgetSigned();
    }
  }
};

using Wide = Ranges<S64, U64>;
using Low = Ranges<S32, U32>;
Wide WideOf(Scalar& r) { return {r.smin, r.smax, r.umin, r.umax}; }
Low LowOf(Scalar& r) { return {r.s32_min, r.s32_max, r.u32_min, r.u32_max}; }

// The same of an operand.
template <typename R>
struct Ends {
  typename R::S smin, smax;
  typename R::U umin, umax;
};
Ends<Wide> WideOf(const Scalar& r) { return {r.smin, r.smax, r.umin, r.umax}; }
Ends<Low> LowOf(const Scalar& r) { return {r.s32_min, r.s32_max, r.u32_min, r.u32_max}; }

// Unsigned bounds may wrap, as long as all the sums do or none does.
template <typename R>
void Add(R d, Ends<R> s) {
  const bool low = AddOverflows(d.smin, s.smin, &d.smin);
  if (low || AddOverflows(d.smax, s.smax, &d.smax)) d.ForgetSigned();
  const bool min_wraps = AddOverflows(d.umin, s.umin, &d.umin);
  const bool max_wraps = AddOverflows(d.umax, s.umax, &d.umax);
  if (!min_wraps && max_wraps) d.ForgetUnsigned();
}

void AddUnsynced(Scalar& dst, const Scalar& src) {
  Add(LowOf(dst), LowOf(src));
  Add(WideOf(dst), WideOf(src));
  dst.var_off = TnumAdd(dst.var_off, src.var_off);
}

template <typename R>
void Sub(R d, Ends<R> s) {
  const bool low = SubOverflows(d.smin, s.smax, &d.smin);
  if (low || SubOverflows(d.smax, s.smin, &d.smax)) d.ForgetSigned();
  const bool min_wraps = SubOverflows(d.umin, s.umax, &d.umin);
  const bool max_wraps = SubOverflows(d.umax, s.umin, &d.umax);
  if (min_wraps && !max_wraps) d.ForgetUnsigned();
}

// The extremes of a product are among the products of the extremes, as long as none of those wraps.
template <typename R>
void Mul(R d, Ends<R> s) {
  const bool max_wraps = MulOverflows(d.umax, s.umax, &d.umax);
  if (max_wraps || MulOverflows(d.umin, s.umin, &d.umin)) d.ForgetUnsigned();
  typename R::S p[4];
  if (MulOverflows(d.smin, s.smin, &p[0]) || MulOverflows(d.smin, s.smax, &p[1]) ||
      MulOverflows(d.smax, s.smin, &p[2]) || MulOverflows(d.smax, s.smax, &p[3])) {
    d.ForgetSigned();
  } else {
    d.smin = Min(Min(p[0], p[1]), Min(p[2], p[3]));
    d.smax = Max(Max(p[0], p[1]), Max(p[2], p[3]));
  }
}

// The bitwise operations take `min` and `max` of the new tristate number and what the operands' ranges say.
enum class Bitwise { kAnd, kOr, kXor };

template <Bitwise kOp, typename R>
void BitwiseRange(R d, Ends<R> s, typename R::U min, typename R::U max) {
  if constexpr (kOp == Bitwise::kAnd) {
    d.umin = min;
    d.umax = Min(d.umax, s.umax);
  } else if constexpr (kOp == Bitwise::kOr) {
    d.umin = Max(d.umin, s.umin);
    d.umax = max;
  } else {
    d.umin = min;
    d.umax = max;
  }
  d.SignedFromUnsigned();
}

// `dst` with a known low half, all else kept.
void SetLow(Scalar& dst, U32 v) {
  dst.var_off = dst.var_off.ConstSubreg(v);
  dst.s32_min = dst.s32_max = static_cast<S32>(v);
  dst.u32_min = dst.u32_max = v;
}

// dst.var_off is that of the result already.
template <Bitwise kOp>
void BitwiseRanges(Scalar& dst, const Scalar& src) {
  const Tnum low = dst.var_off.Subreg();
  if (low.IsConst() && src.SubregIsConst()) {
    SetLow(dst, static_cast<U32>(low.value));
  } else {
    BitwiseRange<kOp>(LowOf(dst), LowOf(src), static_cast<U32>(low.Min()), static_cast<U32>(low.Max()));
  }
  if (dst.IsConst() && src.IsConst()) {
    dst = Scalar::Const(dst.ConstValue());
  } else {
    BitwiseRange<kOp>(WideOf(dst), WideOf(src), dst.var_off.Min(), dst.var_off.Max());
    RangesFromTnum(dst);
  }
}

// Shifts by the known count `n`.
void LshLow(Scalar& dst, Count n) {
  LowOf(dst).ForgetSigned();
  if (n > kLowBits - 1 || dst.u32_max > U64{1} << (kLowBits - 1 - n)) {
    LowOf(dst).ForgetUnsigned();
  } else {
    dst.u32_min <<= n;
    dst.u32_max <<= n;
  }
}

void Lsh32(Scalar& dst, Count n) {
  LshLow(dst, n);
  dst.var_off = TnumLsh(dst.var_off.Subreg(), n).Subreg();
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Lsh64(Scalar& dst, Count n) {
  if (n == kLowBits) {
    // Half of a sign extension from 32 bits: the low half's signed range becomes the high half's.
    dst.smin = static_cast<S64>(static_cast<U64>(S64{dst.s32_min}) << kLowBits);
    dst.smax = static_cast<S64>(static_cast<U64>(S64{dst.s32_max}) << kLowBits);
  } else {
    WideOf(dst).ForgetSigned();
  }
  if (dst.umax > U64{1} << (kBits - 1 - n)) {
    WideOf(dst).ForgetUnsigned();
  } else {
    dst.umin <<= n;
    dst.umax <<= n;
  }
  LshLow(dst, n);
  dst.var_off = TnumLsh(dst.var_off, n);
  RangesFromTnum(dst);
}

void Rsh32(Scalar& dst, Count n) {
  LowOf(dst).ForgetSigned();
  dst.var_off = TnumRsh(dst.var_off.Subreg(), n);
  dst.u32_min >>= n;
  dst.u32_max >>= n;
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Rsh64(Scalar& dst, Count n) {
  WideOf(dst).ForgetSigned();
  dst.var_off = TnumRsh(dst.var_off, n);
  dst.umin >>= n;
  dst.umax >>= n;
  UnboundRange32(dst);
  RangesFromTnum(dst);
}

void Arsh32(Scalar& dst, Count n) {
  dst.s32_min >>= n;
  dst.s32_max >>= n;
  dst.var_off = TnumArsh32(dst.var_off, n);
  LowOf(dst).ForgetUnsigned();
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Arsh64(Scalar& dst, Count n) {
  dst.smin >>= n;
  dst.smax >>= n;
  dst.var_off = TnumArsh(dst.var_off, n);
  WideOf(dst).ForgetUnsigned();
  UnboundRange32(dst);
  RangesFromTnum(dst);
}

// A shift is computed only for a count that is known, in range, and not contradictory.
bool KnownShift(const Scalar& src, bool is64) {
  if (is64) return src.IsConst() && src.smin == src.smax && src.umin == src.umax && src.umax < kBits;
  return src.SubregIsConst() && src.s32_min == src.s32_max && src.u32_min == src.u32_max && src.umax < kLowBits;
}

}  // namespace

bool ForkScalar(uint8_t op, Scalar& dst, const Scalar& src, Scalar* zero) {
  if ((op != kAnd && op != kOr) || !src.IsConst()) return false;
  if (dst.smin == -1 && dst.smax == 0) {
    *zero = Scalar::Const(0);
    dst = Scalar::Const(kU64Max);
    return true;
  }
  if (dst.s32_min == -1 && dst.s32_max == 0) {
    *zero = dst;
    SetLow(*zero, 0);
    SetLow(dst, kU32Max);
    return true;
  }
  return false;
}

bool AluScalar(uint8_t op, bool is64, int off, Scalar& dst, const Scalar& src) {
  if (op == kNeg || &dst == &src) {
    const Scalar operand = op == kNeg ? dst : src;
    if (op == kNeg) dst = Scalar::Const(0);
    return AluScalar(op == kNeg ? kSub : op, is64, off, dst, operand);
  }
  const bool shift = op == kLsh || op == kRsh || op == kArsh;
  if (shift ? !KnownShift(src, is64) : op == kDiv || op == kMod) {
    dst = Scalar::Unknown();
    return false;
  }
  const auto n = static_cast<Count>(is64 ? src.umin : src.u32_min & (kLowBits - 1));
  switch (op) {
    case kAdd: AddUnsynced(dst, src); break;
    case kSub:
      Sub(LowOf(dst), LowOf(src));
      Sub(WideOf(dst), WideOf(src));
      dst.var_off = TnumSub(dst.var_off, src.var_off);
      break;
    case kMul:
      dst.var_off = TnumMul(dst.var_off, src.var_off);
      Mul(LowOf(dst), LowOf(src));
      Mul(WideOf(dst), WideOf(src));
      break;
    case kAnd:
      dst.var_off = TnumAnd(dst.var_off, src.var_off);
      BitwiseRanges<Bitwise::kAnd>(dst, src);
      break;
    case kOr:
      dst.var_off = TnumOr(dst.var_off, src.var_off);
      BitwiseRanges<Bitwise::kOr>(dst, src);
      break;
    case kXor:
      dst.var_off = TnumXor(dst.var_off, src.var_off);
      BitwiseRanges<Bitwise::kXor>(dst, src);
      break;
    case kLsh: is64 ? Lsh64(dst, n) : Lsh32(dst, n); break;
    case kRsh: is64 ? Rsh64(dst, n) : Rsh32(dst, n); break;
    case kArsh: is64 ? Arsh64(dst, n) : Arsh32(dst, n); break;
    default: dst = Scalar::Unknown(); return false;
  }
  if (!is64) ZextSubreg(dst);
  SyncAndRepair(dst);
  return true;
}

void AddDelta(Scalar& r, S64 delta, bool is32) {
  AddUnsynced(r, Scalar::Const(static_cast<U64>(delta)));
  if (is32) ZextSubreg(r);
  SyncBounds(r);
}

void ByteSwapScalar(Scalar& dst, int bits, bool swap) {
  if (swap) {
    dst.var_off = bits == 16   ? TnumBswap16(dst.var_off)
                  : bits == 32 ? TnumBswap32(dst.var_off)
                               : TnumBswap64(dst.var_off);
    UnboundRanges(dst);
  }
  if (bits < 64) CoerceToSize(dst, bits / 8);
  SyncAndRepair(dst);
}

}  // namespace bpfsieve
