// Words of a few bits in place of the machine's (engine/domain/words.h), so that a test can go through all of them.
//
// A word has BPFSIEVE_SMALL_BITS bits (4, 6 or 8) and its low half half of them. An instruction's operand of 1, 2, 4 or
// 8 bytes has the same share of a word as it has of 64 bits; with 8 bits a byte is a bit, with 4 an operand of one byte
// does not exist. What C++ leaves undefined for machine words (shifts by the width or more) ends the program.
#ifndef BPFSIEVE_ENGINE_DOMAIN_PROOF_SMALL_WORDS_H_
#define BPFSIEVE_ENGINE_DOMAIN_PROOF_SMALL_WORDS_H_

#include <bit>
#include <compare>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <limits>

namespace bpfsieve {

template <int kWidth, bool kSigned>
class Word {
 public:
  static constexpr int kMask = (1 << kWidth) - 1;
  static constexpr int kLeast = kSigned ? -(1 << (kWidth - 1)) : 0;
  static constexpr int kGreatest = kSigned ? (1 << (kWidth - 1)) - 1 : kMask;

  constexpr Word() = default;
  constexpr Word(int v) : v_(Cut(v)) {}  // NOLINT: as from a literal
  // Implicit where every value is kept, or the width changes and nothing else.
  template <int kOther, bool kOtherSigned>
  explicit(kWidth < kOther || kSigned != kOtherSigned) constexpr Word(Word<kOther, kOtherSigned> w) : v_(Cut(int(w))) {}
  explicit constexpr operator int() const { return v_; }

  friend constexpr bool operator==(Word, Word) = default;
  friend constexpr auto operator<=>(Word, Word) = default;
  friend constexpr Word operator+(Word a, Word b) { return a.v_ + b.v_; }
  friend constexpr Word operator-(Word a, Word b) { return a.v_ - b.v_; }
  friend constexpr Word operator*(Word a, Word b) { return a.v_ * b.v_; }
  friend constexpr Word operator/(Word a, Word b) { return a.v_ / b.v_; }
  friend constexpr Word operator%(Word a, Word b) { return a.v_ % b.v_; }
  friend constexpr Word operator&(Word a, Word b) { return a.v_ & b.v_; }
  friend constexpr Word operator|(Word a, Word b) { return a.v_ | b.v_; }
  friend constexpr Word operator^(Word a, Word b) { return a.v_ ^ b.v_; }
  friend constexpr Word operator<<(Word a, int n) { return a.v_ * (1 << Shift(n)); }
  friend constexpr Word operator>>(Word a, int n) { return a.v_ >> Shift(n); }
  constexpr Word operator~() const { return ~v_; }
  constexpr Word operator-() const { return -v_; }
  constexpr Word& operator&=(Word b) { return *this = *this & b; }
  constexpr Word& operator<<=(int n) { return *this = *this << n; }
  constexpr Word& operator>>=(int n) { return *this = *this >> n; }

 private:
  static constexpr int16_t Cut(int v) {
    return static_cast<int16_t>(kSigned && (v & (1 << (kWidth - 1))) != 0 ? v | ~kMask : v & kMask);
  }
  static constexpr int Shift(int n) {
    if (n < 0 || n >= kWidth) std::abort();
    return n;
  }

  int16_t v_ = 0;
};

inline constexpr int kBits = BPFSIEVE_SMALL_BITS, kLowBits = kBits / 2;
constexpr int BitsOf(int bytes) { return bytes * kBits / 8; }

using U64 = Word<kBits, false>;
using S64 = Word<kBits, true>;
using U32 = Word<kLowBits, false>;
using S32 = Word<kLowBits, true>;
using Count = int;

template <typename T>
constexpr T Min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T Max(T a, T b) {
  return a < b ? b : a;
}

constexpr Count BitWidth(U64 v) { return static_cast<int>(std::bit_width(static_cast<unsigned>(int(v)))); }
constexpr bool HasSingleBit(U64 v) { return std::has_single_bit(static_cast<unsigned>(int(v))); }

// In words of 8 bits, a byte is a bit.
constexpr U64 Swap(U64 v, int bits) {
  U64 swapped = 0;
  for (int i = 0; i < bits; ++i) swapped = swapped | ((v >> i & 1) << (bits - 1 - i));
  return swapped;
}
constexpr U64 Swap16(U64 v) { return Swap(v, BitsOf(2)); }
constexpr U64 Swap32(U64 v) { return Swap(v, BitsOf(4)); }
constexpr U64 Swap64(U64 v) { return Swap(v, BitsOf(8)); }

template <typename T>
constexpr bool AddOverflows(T a, T b, T* result) {
  *result = a + b;
  return int(a) + int(b) != int(*result);
}
template <typename T>
constexpr bool SubOverflows(T a, T b, T* result) {
  *result = a - b;
  return int(a) - int(b) != int(*result);
}
template <typename T>
constexpr bool MulOverflows(T a, T b, T* result) {
  *result = a * b;
  return int(a) * int(b) != int(*result);
}

template <typename... T>
constexpr bool ByContract(T&...) {
  return false;
}
template <typename F>
constexpr bool Either(F test) {
  return test();
}

// Statements about words (contracts.h).
using Truth = bool;
constexpr Truth Always() { return true; }
constexpr Truth Not(Truth a) { return !a; }
constexpr Truth Implies(Truth a, Truth b) { return !a || b; }
constexpr Truth All(std::initializer_list<Truth> parts) {
  for (Truth part : parts) {
    if (!part) return false;
  }
  return true;
}
constexpr Truth Any(std::initializer_list<Truth> parts) {
  for (Truth part : parts) {
    if (part) return true;
  }
  return false;
}
template <typename T>
constexpr Truth Same(T a, T b) {
  return a == b;
}
template <typename T>
constexpr Truth AtMost(T a, T b) {
  return a <= b;
}

}  // namespace bpfsieve

template <int kWidth, bool kSigned>
struct std::numeric_limits<bpfsieve::Word<kWidth, kSigned>> {
  static constexpr bool is_signed = kSigned;
  static constexpr int digits = kWidth - (kSigned ? 1 : 0);
  static constexpr bpfsieve::Word<kWidth, kSigned> min() { return bpfsieve::Word<kWidth, kSigned>::kLeast; }
  static constexpr bpfsieve::Word<kWidth, kSigned> max() { return bpfsieve::Word<kWidth, kSigned>::kGreatest; }
};

#endif  // BPFSIEVE_ENGINE_DOMAIN_PROOF_SMALL_WORDS_H_
