// Tristate numbers: a word in which every bit is 0, 1 or unknown.
//
// A bit is unknown where `mask` is 1, and `value` holds the known ones; value & mask == 0. The operations are those of
// Linux 6.18's kernel/bpf/tnum.c, bit for bit (the paper: Vishwanathan et al., "Sound, Precise, and Fast Abstract
// Interpretation with Tristate Numbers", CGO 2022). Each is sound: the result covers OP of every pair of members.
//
// The width W is a parameter so that tests can go through all values of a small word; everything else uses Tnum, of 64
// bits, for which the cuts to W bits compile to nothing. Pure functions of plain values, usable from any thread.
#ifndef BPFSIEVE_ENGINE_DOMAIN_TNUM_H_
#define BPFSIEVE_ENGINE_DOMAIN_TNUM_H_

#include <bit>
#include <cstdint>

namespace bpfsieve {

template <int W>
struct BasicTnum {
  static_assert(W >= 1 && W <= 64);
  static constexpr uint64_t kAll = ~uint64_t{0} >> (64 - W);

  uint64_t value = 0;
  uint64_t mask = 0;

  static constexpr BasicTnum Make(uint64_t value, uint64_t mask) { return {value & kAll, mask & kAll}; }
  static constexpr BasicTnum Const(uint64_t v) { return Make(v, 0); }
  static constexpr BasicTnum Unknown() { return {0, kAll}; }
  // The smallest one that covers min..max (unsigned): their common leading bits. min <= max, or the result is only
  // what the formula gives.
  static constexpr BasicTnum Range(uint64_t min, uint64_t max) {
    const auto bits = static_cast<int>(std::bit_width(min ^ max));
    if (bits > W - 1) return Unknown();
    const uint64_t delta = (uint64_t{1} << bits) - 1;
    return {min & ~delta, delta};
  }

  constexpr bool IsConst() const { return mask == 0; }
  constexpr bool IsUnknown() const { return mask == kAll; }
  constexpr bool Contains(uint64_t v) const { return ((v ^ value) & ~mask & kAll) == 0; }
  // The least and greatest member (unsigned).
  constexpr uint64_t Min() const { return value; }
  constexpr uint64_t Max() const { return value | mask; }

  // The low `size` bytes, 1 to 8.
  constexpr BasicTnum Cast(int size) const {
    const uint64_t keep = size * 8 >= 64 ? ~uint64_t{0} : (uint64_t{1} << (size * 8)) - 1;
    return {value & keep, mask & keep};
  }
  // The low 32 bits, zero-extended; the rest; and the exchange of the low 32 bits.
  constexpr BasicTnum Subreg() const { return {value & 0xffffffffu, mask & 0xffffffffu}; }
  constexpr BasicTnum ClearSubreg() const { return {value & ~uint64_t{0xffffffffu}, mask & ~uint64_t{0xffffffffu}}; }
  constexpr BasicTnum WithSubreg(BasicTnum low) const { return TnumOr(ClearSubreg(), low.Subreg()); }
  constexpr BasicTnum ConstSubreg(uint32_t v) const { return WithSubreg(Const(v)); }

  // Whether every member is a multiple of `size`, a power of two or 0 (any alignment).
  constexpr bool IsAligned(uint64_t size) const { return size == 0 || ((value | mask) & (size - 1)) == 0; }

  friend constexpr bool operator==(BasicTnum, BasicTnum) = default;
};

using Tnum = BasicTnum<64>;

// Sign extension of a W-bit word to 64 bits, for the arithmetic shift.
template <int W>
constexpr int64_t SignedWord(uint64_t v) {
  return static_cast<int64_t>(v << (64 - W)) >> (64 - W);
}

template <int W>
constexpr BasicTnum<W> TnumOr(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t v = a.value | b.value;
  return {v, (a.mask | b.mask) & ~v};
}

template <int W>
constexpr BasicTnum<W> TnumAnd(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t v = a.value & b.value;
  return {v, a.Max() & b.Max() & ~v};
}

template <int W>
constexpr BasicTnum<W> TnumXor(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t mu = a.mask | b.mask;
  return {(a.value ^ b.value) & ~mu, mu};
}

// Shifts by a known count in 0..W-1.
template <int W>
constexpr BasicTnum<W> TnumLsh(BasicTnum<W> a, int shift) {
  return BasicTnum<W>::Make(a.value << shift, a.mask << shift);
}

template <int W>
constexpr BasicTnum<W> TnumRsh(BasicTnum<W> a, int shift) {
  return {a.value >> shift, a.mask >> shift};
}

template <int W>
constexpr BasicTnum<W> TnumArsh(BasicTnum<W> a, int shift) {
  return BasicTnum<W>::Make(static_cast<uint64_t>(SignedWord<W>(a.value) >> shift),
                            static_cast<uint64_t>(SignedWord<W>(a.mask) >> shift));
}

// Arithmetic shift of the low 32 bits, zero-extended; `shift` in 0..31.
constexpr Tnum TnumArsh32(Tnum a, int shift) {
  return {static_cast<uint32_t>(static_cast<int32_t>(a.value) >> shift),
          static_cast<uint32_t>(static_cast<int32_t>(a.mask) >> shift)};
}

template <int W>
constexpr BasicTnum<W> TnumAdd(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t sum = a.value + b.value;
  const uint64_t carries = (a.mask + b.mask + sum) ^ sum;
  const uint64_t mu = carries | a.mask | b.mask;
  return BasicTnum<W>::Make(sum & ~mu, mu);
}

template <int W>
constexpr BasicTnum<W> TnumSub(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t diff = a.value - b.value;
  const uint64_t borrows = (diff + a.mask) ^ (diff - b.mask);
  const uint64_t mu = borrows | a.mask | b.mask;
  return BasicTnum<W>::Make(diff & ~mu, mu);
}

template <int W>
constexpr BasicTnum<W> TnumNeg(BasicTnum<W> a) {
  return TnumSub(BasicTnum<W>::Const(0), a);
}

// The smallest one that covers both.
template <int W>
constexpr BasicTnum<W> TnumUnion(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t mu = (a.value ^ b.value) | a.mask | b.mask;
  return {a.value & b.value & ~mu, mu};
}

// Long multiplication; an unknown bit of `a` gives the union of both possible sums. Since Linux 6.18; not commutative
// in its precision.
template <int W>
constexpr BasicTnum<W> TnumMul(BasicTnum<W> a, BasicTnum<W> b) {
  if (a.IsConst() && b.IsConst()) return BasicTnum<W>::Const(a.value * b.value);  // what the loop would find
  BasicTnum<W> acc{};
  while ((a.value | a.mask) != 0) {
    if ((a.value & 1) != 0) {
      acc = TnumAdd(acc, b);
    } else if ((a.mask & 1) != 0) {
      acc = TnumUnion(acc, TnumAdd(acc, b));
    }
    a = TnumRsh(a, 1);
    b = TnumLsh(b, 1);
  }
  return acc;
}

// What satisfies both. Where the two disagree on a known bit (no member at all), the bit becomes a known 1.
template <int W>
constexpr BasicTnum<W> TnumIntersect(BasicTnum<W> a, BasicTnum<W> b) {
  const uint64_t mu = a.mask & b.mask;
  return {(a.value | b.value) & ~mu, mu};
}

// Whether some word is a member of both.
template <int W>
constexpr bool TnumOverlap(BasicTnum<W> a, BasicTnum<W> b) {
  return ((a.value ^ b.value) & ~a.mask & ~b.mask) == 0;
}

// Whether every member of `b` is a member of `a`.
template <int W>
constexpr bool TnumIn(BasicTnum<W> a, BasicTnum<W> b) {
  return (b.mask & ~a.mask) == 0 && a.value == (b.value & ~a.mask);
}

// The least member above z; at or above the greatest member, the greatest.
constexpr uint64_t TnumNext(Tnum t, uint64_t z) {
  if (z >= t.Max()) return t.Max();
  if (z < t.Min()) return t.Min();
  // Members are value + s for the submasks s of mask, and s has to exceed d. To count up within the mask, the bits
  // outside it are set, so that a carry passes; and so are those below the highest bit of d that no submask has, because
  // s must exceed d above that bit.
  const uint64_t d = z - t.value;
  const auto lost_bits = static_cast<int>(std::bit_width(d & ~t.mask));
  const uint64_t below = lost_bits == 64 ? ~uint64_t{0} : (uint64_t{1} << lost_bits) - 1;
  return t.value | (((d | below | ~t.mask) + 1) & t.mask);
}

// Byte swaps of the low 16, 32 or 64 bits; the result is zero-extended.
constexpr Tnum TnumBswap16(Tnum a) {
  return {__builtin_bswap16(static_cast<uint16_t>(a.value)), __builtin_bswap16(static_cast<uint16_t>(a.mask))};
}
constexpr Tnum TnumBswap32(Tnum a) {
  return {__builtin_bswap32(static_cast<uint32_t>(a.value)), __builtin_bswap32(static_cast<uint32_t>(a.mask))};
}
constexpr Tnum TnumBswap64(Tnum a) { return {__builtin_bswap64(a.value), __builtin_bswap64(a.mask)}; }

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_TNUM_H_
