// Arithmetic on Scalars: adjust_scalar_min_max_vals() of Linux 6.18 and what it calls.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

// The ranges of one width of a Scalar; most operations treat both widths alike.
template <typename S>
struct Ranges {
  using U = std::make_unsigned_t<S>;
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

using Wide = Ranges<int64_t>;
using Low = Ranges<int32_t>;
Wide WideOf(Scalar& r) { return {r.smin, r.smax, r.umin, r.umax}; }
Low LowOf(Scalar& r) { return {r.s32_min, r.s32_max, r.u32_min, r.u32_max}; }

// Unsigned bounds may wrap, as long as all the sums do or none does.
template <typename R>
void Add(R d, R s) {
  const bool low = __builtin_add_overflow(d.smin, s.smin, &d.smin);
  if (low || __builtin_add_overflow(d.smax, s.smax, &d.smax)) d.ForgetSigned();
  const bool min_wraps = __builtin_add_overflow(d.umin, s.umin, &d.umin);
  const bool max_wraps = __builtin_add_overflow(d.umax, s.umax, &d.umax);
  if (!min_wraps && max_wraps) d.ForgetUnsigned();
}

void AddUnsynced(Scalar& dst, Scalar& src) {
  Add(LowOf(dst), LowOf(src));
  Add(WideOf(dst), WideOf(src));
  dst.var_off = TnumAdd(dst.var_off, src.var_off);
}

template <typename R>
void Sub(R d, R s) {
  const bool low = __builtin_sub_overflow(d.smin, s.smax, &d.smin);
  if (low || __builtin_sub_overflow(d.smax, s.smin, &d.smax)) d.ForgetSigned();
  const bool min_wraps = __builtin_sub_overflow(d.umin, s.umax, &d.umin);
  const bool max_wraps = __builtin_sub_overflow(d.umax, s.umin, &d.umax);
  if (min_wraps && !max_wraps) d.ForgetUnsigned();
}

// The extremes of a product are among the products of the extremes, as long as none of those wraps.
template <typename S>
void Mul(Ranges<S> d, Ranges<S> s) {
  const bool max_wraps = __builtin_mul_overflow(d.umax, s.umax, &d.umax);
  if (max_wraps || __builtin_mul_overflow(d.umin, s.umin, &d.umin)) d.ForgetUnsigned();
  S p[4];
  if (__builtin_mul_overflow(d.smin, s.smin, &p[0]) || __builtin_mul_overflow(d.smin, s.smax, &p[1]) ||
      __builtin_mul_overflow(d.smax, s.smin, &p[2]) || __builtin_mul_overflow(d.smax, s.smax, &p[3])) {
    d.ForgetSigned();
  } else {
    d.smin = std::min({p[0], p[1], p[2], p[3]});
    d.smax = std::max({p[0], p[1], p[2], p[3]});
  }
}

// The bitwise operations take `min` and `max` of the new tristate number and what the operands' ranges say.
enum class Bitwise { kAnd, kOr, kXor };

template <Bitwise kOp, typename R>
void BitwiseRange(R d, R s, typename R::U min, typename R::U max) {
  if constexpr (kOp == Bitwise::kAnd) {
    d.umin = min;
    d.umax = std::min(d.umax, s.umax);
  } else if constexpr (kOp == Bitwise::kOr) {
    d.umin = std::max(d.umin, s.umin);
    d.umax = max;
  } else {
    d.umin = min;
    d.umax = max;
  }
  d.SignedFromUnsigned();
}

// `dst` with a known low half, all else kept.
void SetLow(Scalar& dst, uint32_t v) {
  dst.var_off = dst.var_off.ConstSubreg(v);
  dst.s32_min = dst.s32_max = static_cast<int32_t>(v);
  dst.u32_min = dst.u32_max = v;
}

// dst.var_off is that of the result already.
template <Bitwise kOp>
void BitwiseRanges(Scalar& dst, Scalar& src) {
  const Tnum low = dst.var_off.Subreg();
  if (low.IsConst() && src.SubregIsConst()) {
    SetLow(dst, static_cast<uint32_t>(low.value));
  } else {
    BitwiseRange<kOp>(LowOf(dst), LowOf(src), static_cast<uint32_t>(low.Min()), static_cast<uint32_t>(low.Max()));
  }
  if (dst.IsConst() && src.IsConst()) {
    dst = Scalar::Const(dst.ConstValue());
  } else {
    BitwiseRange<kOp>(WideOf(dst), WideOf(src), dst.var_off.Min(), dst.var_off.Max());
    RangesFromTnum(dst);
  }
}

// Shifts by the known count `n`.
void LshLow(Scalar& dst, int n) {
  LowOf(dst).ForgetSigned();
  if (n > 31 || dst.u32_max > uint64_t{1} << (31 - n)) {
    LowOf(dst).ForgetUnsigned();
  } else {
    dst.u32_min <<= n;
    dst.u32_max <<= n;
  }
}

void Lsh32(Scalar& dst, int n) {
  LshLow(dst, n);
  dst.var_off = TnumLsh(dst.var_off.Subreg(), n).Subreg();
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Lsh64(Scalar& dst, int n) {
  if (n == 32) {
    // Half of a sign extension from 32 bits: the low half's signed range becomes the high half's.
    dst.smin = static_cast<int64_t>(static_cast<uint64_t>(int64_t{dst.s32_min}) << 32);
    dst.smax = static_cast<int64_t>(static_cast<uint64_t>(int64_t{dst.s32_max}) << 32);
  } else {
    WideOf(dst).ForgetSigned();
  }
  if (dst.umax > uint64_t{1} << (63 - n)) {
    WideOf(dst).ForgetUnsigned();
  } else {
    dst.umin <<= n;
    dst.umax <<= n;
  }
  LshLow(dst, n);
  dst.var_off = TnumLsh(dst.var_off, n);
  RangesFromTnum(dst);
}

void Rsh32(Scalar& dst, int n) {
  LowOf(dst).ForgetSigned();
  dst.var_off = TnumRsh(dst.var_off.Subreg(), n);
  dst.u32_min >>= n;
  dst.u32_max >>= n;
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Rsh64(Scalar& dst, int n) {
  WideOf(dst).ForgetSigned();
  dst.var_off = TnumRsh(dst.var_off, n);
  dst.umin >>= n;
  dst.umax >>= n;
  UnboundRange32(dst);
  RangesFromTnum(dst);
}

void Arsh32(Scalar& dst, int n) {
  dst.s32_min >>= n;
  dst.s32_max >>= n;
  dst.var_off = TnumArsh32(dst.var_off, n);
  LowOf(dst).ForgetUnsigned();
  UnboundRange64(dst);
  RangesFromTnum32(dst);
}

void Arsh64(Scalar& dst, int n) {
  dst.smin >>= n;
  dst.smax >>= n;
  dst.var_off = TnumArsh(dst.var_off, n);
  WideOf(dst).ForgetUnsigned();
  UnboundRange32(dst);
  RangesFromTnum(dst);
}

// A shift is computed only for a count that is known, in range, and not contradictory.
bool KnownShift(const Scalar& src, bool is64) {
  if (is64) return src.IsConst() && src.smin == src.smax && src.umin == src.umax && src.umax < 64;
  return src.SubregIsConst() && src.s32_min == src.s32_max && src.u32_min == src.u32_max && src.umax < 32;
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

bool AluScalar(uint8_t op, bool is64, int /*off*/, Scalar& dst, const Scalar& src_in) {
  Scalar src = src_in;  // dst may be the same object
  const bool shift = op == kLsh || op == kRsh || op == kArsh;
  if (shift ? !KnownShift(src, is64) : op == kDiv || op == kMod) {
    dst = Scalar::Unknown();
    return false;
  }
  const auto n = static_cast<int>(is64 ? src.umin : src.u32_min & 31);
  switch (op) {
    case kAdd: AddUnsynced(dst, src); break;
    case kNeg:
      src = dst;
      dst = Scalar::Const(0);
      [[fallthrough]];
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

void AddDelta(Scalar& r, int64_t delta, bool is32) {
  Scalar d = Scalar::Const(static_cast<uint64_t>(delta));
  AddUnsynced(r, d);
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
