// How the parts of a Scalar inform each other, and the width changes.
#include "engine/domain/scalar.h"

// SyncBounds() works on a copy whose parts live in registers, which takes that all its steps become one function: otherwise
// the parts are written and read again, at other widths than they were written, a dozen times over.
#define BPFSIEVE_STEP [[gnu::always_inline]] inline

namespace bpfsieve {
namespace {

// The steps of a deduction are written once, for two uses: Write takes them, and Watch notes whether they would change
// anything. Watching leaves everything as it is, so that no step has to wait for the one before; and mostly it is enough.
struct Write {
  template <typename T>
  BPFSIEVE_STEP void Set(T& to, T v) {
    to = v;
  }
};
struct Watch {
  bool changes = false;
  template <typename T>
  BPFSIEVE_STEP void Set(const T& to, T v) {
    changes |= !(to == v);
  }
};

// Intersects a range with lo..hi.
template <typename By, typename T>
BPFSIEVE_STEP void Clamp(By& by, T& min, T& max, T lo, T hi) {
  by.Set(min, Max(min, lo));
  by.Set(max, Min(max, hi));
}
template <typename T>
BPFSIEVE_STEP void Clamp(T& min, T& max, T lo, T hi) {
  Write by;
  Clamp(by, min, max, lo, hi);
}

// The signed and the unsigned range of one width cover the same words. Where one of them does not cross the other's
// seam, it bounds the other; and where a signed range crosses zero, an unsigned range that meets only its negative or
// only its other part chooses that part.
template <typename By, typename S, typename U>
BPFSIEVE_STEP void DeduceSigns(By& by, S& smin, S& smax, U& umin, U& umax) {
  if (static_cast<S>(umin) <= static_cast<S>(umax)) Clamp(by, smin, smax, static_cast<S>(umin), static_cast<S>(umax));
  if (static_cast<U>(smin) <= static_cast<U>(smax)) {
    Clamp(by, umin, umax, static_cast<U>(smin), static_cast<U>(smax));
  } else if (umax < static_cast<U>(smin)) {
    by.Set(smin, static_cast<S>(umin));
    by.Set(umax, Min(umax, static_cast<U>(smax)));
  } else if (static_cast<U>(smax) < umin) {
    by.Set(smax, static_cast<S>(umax));
    by.Set(umin, Max(umin, static_cast<U>(smin)));
  }
}

// The low halves of a 64-bit range lo..hi form a range where the high halves are equal, and a signed one besides where
// they follow each other and the low halves go from negative to not negative.
template <typename By>
BPFSIEVE_STEP void Deduce32From64(By& by, Scalar& r) {
  if ((r.umin >> kLowBits) == (r.umax >> kLowBits)) {
    Clamp(by, r.u32_min, r.u32_max, U32(r.umin), U32(r.umax));
    if (S32(r.umin) <= S32(r.umax)) Clamp(by, r.s32_min, r.s32_max, S32(r.umin), S32(r.umax));
  }
  const U64 smin = U64(r.smin), smax = U64(r.smax);
  if ((smin >> kLowBits) == (smax >> kLowBits)) {
    if (U32(smin) <= U32(smax)) Clamp(by, r.u32_min, r.u32_max, U32(smin), U32(smax));
    if (S32(smin) <= S32(smax)) Clamp(by, r.s32_min, r.s32_max, S32(smin), S32(smax));
  }
  if (U32(r.umin >> kLowBits) + 1 == U32(r.umax >> kLowBits) && S32(r.umin) < 0 && S32(r.umax) >= 0) {
    Clamp(by, r.s32_min, r.s32_max, S32(r.umin), S32(r.umax));
  }
  if (U32(smin >> kLowBits) + 1 == U32(smax >> kLowBits) && S32(smin) < 0 && S32(smax) >= 0) {
    Clamp(by, r.s32_min, r.s32_max, S32(smin), S32(smax));
  }
}

// A 64-bit bound whose low half lies outside lo..hi moves to it, within the same high half.
template <typename By>
BPFSIEVE_STEP void TightenLowHalves(By& by, Scalar& r, U32 lo, U32 hi) {
  Clamp(by, r.umin, r.umax, (r.umin & ~kLowMask) | lo, (r.umax & ~kLowMask) | hi);
  Clamp(by, r.smin, r.smax, S64((U64(r.smin) & ~kLowMask) | lo), S64((U64(r.smax) & ~kLowMask) | hi));
}

template <typename By>
BPFSIEVE_STEP void Deduce64From32(By& by, Scalar& r) {
  TightenLowHalves(by, r, r.u32_min, r.u32_max);
  const auto lo = static_cast<U32>(r.s32_min), hi = static_cast<U32>(r.s32_max);
  if (lo <= hi) TightenLowHalves(by, r, lo, hi);
  // After a sign-extending load, the high half is all ones or all zeros; a non-negative low half excludes the ones.
  if (r.s32_min >= 0 && r.smin >= kS32Min && r.smax <= kS32Max) {
    by.Set(r.smin, S64(r.s32_min));
    by.Set(r.smax, S64(r.s32_max));
    by.Set(r.umin, U64(S64(r.s32_min)));
    by.Set(r.umax, U64(S64(r.s32_max)));
    by.Set(r.var_off, TnumIntersect(r.var_off, Tnum::Range(U64(S64(r.s32_min)), U64(S64(r.s32_max)))));
  }
}
// As steps of their own.
BPFSIEVE_STEP void Deduce32From64(Scalar& r) {
  if (ByContract(r)) return;
  Write by;
  Deduce32From64(by, r);
}
BPFSIEVE_STEP void Deduce64From32(Scalar& r) {
  if (ByContract(r)) return;
  Write by;
  Deduce64From32(by, r);
}

// One pass of __reg_deduce_bounds().
BPFSIEVE_STEP void Deduce(Scalar& r) {
  if (ByContract(r)) return;
  Write by;
  Deduce32From64(r);
  DeduceSigns(by, r.s32_min, r.s32_max, r.u32_min, r.u32_max);
  DeduceSigns(by, r.smin, r.smax, r.umin, r.umax);
  Deduce64From32(r);
}
// Whether that would change nothing.
BPFSIEVE_STEP bool Settled(Scalar& r) {
  return Either([&] {
    Watch by;
    Deduce32From64(by, r);
    DeduceSigns(by, r.s32_min, r.s32_max, r.u32_min, r.u32_max);
    DeduceSigns(by, r.smin, r.smax, r.umin, r.umax);
    Deduce64From32(by, r);
    return !by.changes;
  });
}

// The kernel makes three passes; once one of them changes nothing, neither do the following. Returns whether one did.
BPFSIEVE_STEP bool DeduceInPasses(Scalar& r) {
  if (ByContract(r)) return true;
  int passes = 0;
  while (passes < 3 && !Settled(r)) {
    Deduce(r);
    ++passes;
  }
  return passes > 0;
}

// The known bits bound the ranges...
BPFSIEVE_STEP void LowRangesFromTnum(Scalar& r) {
  if (ByContract(r)) return;
  const Tnum t = r.var_off;
  const U32 value = U32(t.value), mask = U32(t.mask);
  Clamp(r.s32_min, r.s32_max, S32(value | (mask & U32(kS32Min))), S32(value | (mask & U32(kS32Max))));
  Clamp(r.u32_min, r.u32_max, value, value | mask);
}

BPFSIEVE_STEP void RangesFromTnum64(Scalar& r) {
  if (ByContract(r)) return;
  const Tnum t = r.var_off;
  Clamp(r.smin, r.smax, S64(t.value | (t.mask & U64(kS64Min))), S64(t.value | (t.mask & U64(kS64Max))));
  Clamp(r.umin, r.umax, t.Min(), t.Max());
  // A single word both within umin..umax and a member of the tristate number is the value. Mostly both ends are members.
  if (Either([&] { return r.umin < r.umax && t.Contains(r.umin) && t.Contains(r.umax); })) return;
  const U64 next = TnumNext(t, r.umin);
  if (t.Contains(r.umin)) {
    if (next > r.umax) r = Scalar::Const(r.umin);
  } else if (next == t.Max() || (next <= r.umax && TnumNext(t, next) > r.umax)) {
    r = Scalar::Const(next);
  }
}

// ...and the ranges' common leading bits are known.
BPFSIEVE_STEP void TnumFromRanges(Scalar& r) {
  if (ByContract(r)) return;
  const Tnum all = TnumIntersect(r.var_off, Tnum::Range(r.umin, r.umax));
  const Tnum low = TnumIntersect(all.Subreg(), Tnum::Range(r.u32_min, r.u32_max));
  r.var_off = TnumOr(all.ClearSubreg(), low);
}

}  // namespace

void RangesFromTnum32(Scalar& r) { LowRangesFromTnum(r); }

void RangesFromTnum(Scalar& r) {
  LowRangesFromTnum(r);
  RangesFromTnum64(r);
}

namespace {

// Whether the steps below change nothing: constants, and numbers of which nothing is known, or only that their high half
// is zero.
BPFSIEVE_STEP bool NothingToLearn(const Scalar& r) {
  return Either([&] {
    if (r.IsConst()) return BoundsSane(r);
    if (r.var_off.IsUnknown()) return r.IsUnknown();
    const U64 most = U64{kU32Max};
    return r.var_off.mask == most && r == Scalar{{0, most}, 0, S64(most), 0, most, kS32Min, kS32Max, 0, kU32Max};
  });
}
// Whether they learn nothing but the leading bits that all members share: the four ranges are one, on this side of every
// seam, and its ends are members. With the two above, these are nearly all numbers of a program.
BPFSIEVE_STEP bool IsOneRange(const Scalar& r) {
  return Either([&] {
    const U64 lo = r.umin, hi = r.umax, most = U64(S64{kS32Max});
    return hi <= most && lo < hi && r.smin == S64(lo) && r.smax == S64(hi) && r.u32_min == U32(lo) && r.u32_max == U32(hi) &&
           r.s32_min == S32(lo) && r.s32_max == S32(hi) && r.var_off.Max() <= most && r.var_off.Contains(lo) &&
           r.var_off.Contains(hi);
  });
}

// Returns whether the result is known to be sane; false: who knows.
bool Sync(Scalar& whole) {
  if (ByContract(whole)) return false;
  if (NothingToLearn(whole)) return true;
  if (IsOneRange(whole)) {
    whole.var_off = TnumIntersect(whole.var_off, Tnum::Range(whole.umin, whole.umax));
    return true;
  }
  Scalar r = whole;
  LowRangesFromTnum(r);
  RangesFromTnum64(r);
  const bool ranges_changed = DeduceInPasses(r);
  const Tnum known = r.var_off;
  TnumFromRanges(r);
  if (!Either([&] { return !ranges_changed && r.var_off == known; })) {  // or else it would find nothing again
    LowRangesFromTnum(r);
    RangesFromTnum64(r);
  }
  whole = r;
  return false;
}

}  // namespace

void SyncBounds(Scalar& r) { Sync(r); }
bool SyncAndRepair(Scalar& r) { return Sync(r) || RepairBounds(r); }

bool BoundsSane(const Scalar& r) {
  if (r.umin > r.umax || r.smin > r.smax || r.u32_min > r.u32_max || r.s32_min > r.s32_max) return false;
  const Tnum t = r.var_off;
  if (t.IsConst() && (r.umin != t.value || r.umax != t.value || r.smin != S64(t.value) || r.smax != S64(t.value))) {
    return false;
  }
  const U32 low = U32(t.value);
  return !t.Subreg().IsConst() ||
         (r.u32_min == low && r.u32_max == low && r.s32_min == S32(low) && r.s32_max == S32(low));
}

bool RepairBounds(Scalar& r) {
  if (ByContract(r)) return true;  // no step here looks at the answer
  if (BoundsSane(r)) return true;
  UnboundRanges(r);
  return false;
}

void ZextSubreg(Scalar& r) {
  r.var_off = r.var_off.Subreg();
  r.umin = r.u32_min;
  r.umax = r.u32_max;
  const bool positive = r.s32_min >= 0 && r.s32_max >= 0;
  r.smin = positive ? r.s32_min : 0;
  r.smax = positive ? S64{r.s32_max} : S64{kU32Max};
}

void CoerceToSize(Scalar& r, int size) {
  if (size >= 8) return;
  r.var_off = r.var_off.Cast(size);
  const U64 keep = (U64{1} << BitsOf(size)) - 1;
  if ((r.umin & ~keep) == (r.umax & ~keep)) {
    r.umin &= keep;
    r.umax &= keep;
  } else {
    r.umin = 0;
    r.umax = keep;
  }
  r.smin = S64(r.umin);
  r.smax = S64(r.umax);
  if (size < 4) UnboundRange32(r);
  SyncBounds(r);
}

namespace {

// The low `size` bytes of v, sign-extended.
S64 SignExtend(U64 v, int size) {
  const int shift = kBits - BitsOf(size);
  return static_cast<S64>(v << shift) >> shift;
}

}  // namespace

void CoerceToSizeSx(Scalar& r, int size) {
  if (r.IsConst()) {
    r = Scalar::Const(U64(SignExtend(r.var_off.value, size)));
    return;
  }
  const int bits = BitsOf(size);
  if ((U64(r.smax) >> bits) == (U64(r.smin) >> bits)) {
    const S64 a = SignExtend(U64(r.smax), size), b = SignExtend(U64(r.smin), size);
    const S64 lo = Min(a, b), hi = Max(a, b);
    if ((lo >= 0) == (hi >= 0)) {
      r = {Tnum::Range(U64(lo), U64(hi)),
           lo,
           hi,
           U64(lo),
           U64(hi),
           S32(U64(lo)),
           S32(U64(hi)),
           U32(U64(lo)),
           U32(U64(hi))};
      return;
    }
  }
  const S64 max = (S64{1} << (bits - 1)) - 1, min = -max - 1;
  r = Scalar::Unknown();
  r.smin = min;
  r.smax = max;
  r.s32_min = S32(U64(min));
  r.s32_max = S32(U64(max));
}

void CoerceSubregToSizeSx(Scalar& r, int size) {
  if (r.IsConst()) {
    const S64 v = SignExtend(r.var_off.value, size);
    r.var_off = Tnum::Const(U64(v));
    r.s32_min = r.s32_max = S32(U64(v));
    r.u32_min = r.u32_max = U32(U64(v));
    return;
  }
  const int bits = BitsOf(size);
  const auto smin = static_cast<U32>(r.s32_min), smax = static_cast<U32>(r.s32_max);
  if ((smax >> bits) == (smin >> bits)) {
    const auto a = static_cast<S32>(SignExtend(smax, size)), b = static_cast<S32>(SignExtend(smin, size));
    const S32 lo = Min(a, b), hi = Max(a, b);
    if ((lo >= 0) == (hi >= 0)) {
      r.s32_min = lo;
      r.s32_max = hi;
      r.u32_min = static_cast<U32>(lo);
      r.u32_max = static_cast<U32>(hi);
      r.var_off = Tnum::Range(U64(S64{lo}), U64(S64{hi})).Subreg();
      return;
    }
  }
  r.s32_max = (S32{1} << (bits - 1)) - 1;
  r.s32_min = -r.s32_max - 1;
  r.u32_min = 0;
  r.u32_max = kU32Max;
  r.var_off = Tnum::Unknown().Subreg();
}

}  // namespace bpfsieve
