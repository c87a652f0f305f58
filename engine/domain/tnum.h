// Tristate numbers: a word in which every bit is 0, 1 or unknown.
//
// A bit is unknown where `mask` is 1, and `value` holds the known ones; value & mask == 0. The operations are those of
// Linux 6.18's kernel/bpf/tnum.c, bit for bit (the paper: Vishwanathan et al., "Sound, Precise, and Fast Abstract
// Interpretation with Tristate Numbers", CGO 2022). Each is sound: the result covers OP of every pair of members.
//
// Pure functions of plain values, usable from any thread.
#ifndef BPFSIEVE_ENGINE_DOMAIN_TNUM_H_
#define BPFSIEVE_ENGINE_DOMAIN_TNUM_H_

#include "engine/domain/words.h"

namespace bpfsieve {

inline constexpr U64 kLowMask = (U64{1} << kLowBits) - 1;

struct Tnum;
constexpr Tnum TnumOr(Tnum a, Tnum b);

struct Tnum {
  U64 value = 0;
  U64 mask = 0;

  static constexpr Tnum Const(U64 v) { return {v, 0}; }
  static constexpr Tnum Unknown() { return {0, ~U64{0}}; }
  // The smallest one that covers min..max (unsigned): their common leading bits. min <= max, or the result is only
  // what the formula gives.
  static constexpr Tnum Range(U64 min, U64 max) {
    const Count bits = BitWidth(min ^ max);
    if (bits > kBits - 1) return Unknown();
    const U64 delta = (U64{1} << bits) - 1;
    return {min & ~delta, delta};
  }

  constexpr bool IsConst() const { return mask == 0; }
  constexpr bool IsUnknown() const { return mask == ~U64{0}; }
  constexpr bool Contains(U64 v) const { return ((v ^ value) & ~mask) == 0; }
  // The least and greatest member (unsigned).
  constexpr U64 Min() const { return value; }
  constexpr U64 Max() const { return value | mask; }

  // The low `size` bytes, 1 to 8.
  constexpr Tnum Cast(int size) const {
    const U64 keep = BitsOf(size) >= kBits ? ~U64{0} : (U64{1} << BitsOf(size)) - 1;
    return {value & keep, mask & keep};
  }
  // The low 32 bits, zero-extended; the rest; and the exchange of the low 32 bits.
  constexpr Tnum Subreg() const { return {value & kLowMask, mask & kLowMask}; }
  constexpr Tnum ClearSubreg() const { return {value & ~kLowMask, mask & ~kLowMask}; }
  constexpr Tnum WithSubreg(Tnum low) const { return TnumOr(ClearSubreg(), low.Subreg()); }
  constexpr Tnum ConstSubreg(U32 v) const { return WithSubreg(Const(v)); }

  // Whether every member is a multiple of `size`, a power of two or 0 (any alignment).
  constexpr bool IsAligned(U64 size) const { return size == 0 || ((value | mask) & (size - 1)) == 0; }

  friend constexpr bool operator==(Tnum, Tnum) = default;
};

constexpr Tnum TnumOr(Tnum a, Tnum b) {
  const U64 v = a.value | b.value;
  return {v, (a.mask | b.mask) & ~v};
}

constexpr Tnum TnumAnd(Tnum a, Tnum b) {
  const U64 v = a.value & b.value;
  return {v, a.Max() & b.Max() & ~v};
}

constexpr Tnum TnumXor(Tnum a, Tnum b) {
  const U64 mu = a.mask | b.mask;
  return {(a.value ^ b.value) & ~mu, mu};
}

// Shifts by a known count in 0..kBits-1.
constexpr Tnum TnumLsh(Tnum a, Count shift) {
  return {a.value << shift, a.mask << shift};
}

constexpr Tnum TnumRsh(Tnum a, Count shift) {
  return {a.value >> shift, a.mask >> shift};
}

constexpr Tnum TnumArsh(Tnum a, Count shift) {
  return {static_cast<U64>(static_cast<S64>(a.value) >> shift), static_cast<U64>(static_cast<S64>(a.mask) >> shift)};
}

// Arithmetic shift of the low 32 bits, zero-extended; `shift` in 0..31.
constexpr Tnum TnumArsh32(Tnum a, Count shift) {
  return {static_cast<U32>(static_cast<S32>(a.value) >> shift), static_cast<U32>(static_cast<S32>(a.mask) >> shift)};
}

constexpr Tnum TnumAdd(Tnum a, Tnum b) {
  const U64 sum = a.value + b.value;
  const U64 carries = (a.mask + b.mask + sum) ^ sum;
  const U64 mu = carries | a.mask | b.mask;
  return {sum & ~mu, mu};
}

constexpr Tnum TnumSub(Tnum a, Tnum b) {
  const U64 diff = a.value - b.value;
  const U64 borrows = (diff + a.mask) ^ (diff - b.mask);
  const U64 mu = borrows | a.mask | b.mask;
  return {diff & ~mu, mu};
}

constexpr Tnum TnumNeg(Tnum a) {
  return TnumSub(Tnum::Const(0), a);
}

// The smallest one that covers both.
constexpr Tnum TnumUnion(Tnum a, Tnum b) {
  const U64 mu = (a.value ^ b.value) | a.mask | b.mask;
  return {a.value & b.value & ~mu, mu};
}

// acc + a * b by long multiplication; an unknown bit of `a` gives the union of both possible sums.
constexpr Tnum TnumMulAdd(Tnum acc, Tnum a, Tnum b) {
  while ((a.value | a.mask) != 0) {
    if ((a.value & 1) != 0) {
      acc = TnumAdd(acc, b);
    } else if ((a.mask & 1) != 0) {
      acc = TnumUnion(acc, TnumAdd(acc, b));
    }
    a = TnumRsh(a, 1);
    b = TnumLsh(b, 1);
    if (ByContract(acc, a, b)) break;
  }
  return acc;
}

// Since Linux 6.18; not commutative in its precision.
constexpr Tnum TnumMul(Tnum a, Tnum b) {
  if (a.IsConst() && b.IsConst()) return Tnum::Const(a.value * b.value);  // what the loop would find
  return TnumMulAdd(Tnum{}, a, b);
}

// What satisfies both. Where the two disagree on a known bit (no member at all), the bit becomes a known 1.
constexpr Tnum TnumIntersect(Tnum a, Tnum b) {
  const U64 mu = a.mask & b.mask;
  return {(a.value | b.value) & ~mu, mu};
}

// Whether some word is a member of both.
constexpr bool TnumOverlap(Tnum a, Tnum b) {
  return ((a.value ^ b.value) & ~a.mask & ~b.mask) == 0;
}

// Whether every member of `b` is a member of `a`.
constexpr bool TnumIn(Tnum a, Tnum b) {
  return (b.mask & ~a.mask) == 0 && a.value == (b.value & ~a.mask);
}

// The least member above z; at or above the greatest member, the greatest.
constexpr U64 TnumNext(Tnum t, U64 z) {
  U64 next{};
  if (ByContract(next, t, z)) return next;
  if (z >= t.Max()) return t.Max();
  if (z < t.Min()) return t.Min();
  // Members are value + s for the submasks s of mask, and s has to exceed d. To count up within the mask, the bits
  // outside it are set, so that a carry passes; and so are those below the highest bit of d that no submask has,
  // because s must exceed d above that bit.
  const U64 d = z - t.value;
  const Count lost_bits = BitWidth(d & ~t.mask);
  const U64 below = lost_bits == kBits ? ~U64{0} : (U64{1} << lost_bits) - 1;
  return t.value | (((d | below | ~t.mask) + 1) & t.mask);
}

// Byte swaps of the low 16, 32 or 64 bits; the result is zero-extended.
constexpr Tnum TnumBswap16(Tnum a) { return {Swap16(a.value), Swap16(a.mask)}; }
constexpr Tnum TnumBswap32(Tnum a) { return {Swap32(a.value), Swap32(a.mask)}; }
constexpr Tnum TnumBswap64(Tnum a) { return {Swap64(a.value), Swap64(a.mask)}; }

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_TNUM_H_
