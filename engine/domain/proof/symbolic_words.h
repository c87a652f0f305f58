// Words that are formulas, in place of the machine's (engine/domain/words.h): what the domain computes with them is a
// formula for its result, over all values of 64 bits at once.
//
// A comparison gives a plain bool, so `if` needs one answer. Explorer (explorer.h) gives one that is possible, notes it
// as a condition of this run, and runs the whole again for the other, until there is none left. A word whose value is
// known stays a number, and its comparisons are no questions.
#ifndef BPFSIEVE_ENGINE_DOMAIN_PROOF_SYMBOLIC_WORDS_H_
#define BPFSIEVE_ENGINE_DOMAIN_PROOF_SYMBOLIC_WORDS_H_

#include <z3++.h>

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <source_location>
#include <type_traits>

#include "engine/domain/proof/explorer.h"

namespace bpfsieve {

template <int kWidth, bool kSigned>
class Word {
 public:
  constexpr Word() = default;
  constexpr Word(int v) : bits_(Cut(static_cast<uint64_t>(v))) {}  // NOLINT: as from a literal
  // Implicit where every value is kept, or the width changes and nothing else.
  template <int kOther, bool kOtherSigned>
  explicit(kWidth < kOther || kSigned != kOtherSigned) constexpr Word(Word<kOther, kOtherSigned> w)
      : bits_(Cut(w.Number())), term_(w.IsNumber() ? -1 : Resized(w)) {}
  static Word Of(const z3::expr& e) {
    Word w;
    w.term_ = Explorer::Get().Keep(e);
    return w;
  }
  static constexpr Word OfNumber(uint64_t v) {
    Word w;
    w.bits_ = Cut(v);
    return w;
  }

  constexpr bool IsNumber() const { return term_ < 0; }
  // The value of a number, sign-extended to 64 bits if signed.
  constexpr uint64_t Number() const {
    return kSigned ? static_cast<uint64_t>(static_cast<int64_t>(bits_ << (64 - kWidth)) >> (64 - kWidth)) : bits_;
  }
  z3::expr Term() const {
    Explorer& explorer = Explorer::Get();
    return IsNumber() ? explorer.context().bv_val(bits_, kWidth) : explorer.Kept(term_);
  }

  friend constexpr bool operator==(Word a, Word b) {
    return Known(a, b) ? a.bits_ == b.bits_ : Explorer::Get().Decide(a.Term() == b.Term());
  }
  friend constexpr bool operator<(Word a, Word b) {
    if (Known(a, b)) return kSigned ? a.Signed() < b.Signed() : a.bits_ < b.bits_;
    return Explorer::Get().Decide(kSigned ? a.Term() < b.Term() : z3::ult(a.Term(), b.Term()));
  }
  friend constexpr bool operator>(Word a, Word b) { return b < a; }
  friend constexpr bool operator<=(Word a, Word b) { return !(b < a); }
  friend constexpr bool operator>=(Word a, Word b) { return !(a < b); }

  friend constexpr Word operator+(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ + b.bits_) : Of(a.Term() + b.Term());
  }
  friend constexpr Word operator-(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ - b.bits_) : Of(a.Term() - b.Term());
  }
  friend constexpr Word operator*(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ * b.bits_) : Of(Explorer::Get().Product(a.Term(), b.Term()).wrapped);
  }
  friend constexpr Word operator/(Word a, Word b) {
    return Of(kSigned ? a.Term() / b.Term() : z3::udiv(a.Term(), b.Term()));
  }
  friend constexpr Word operator%(Word a, Word b) {
    return Of(kSigned ? z3::srem(a.Term(), b.Term()) : z3::urem(a.Term(), b.Term()));
  }
  friend constexpr Word operator&(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ & b.bits_) : Of(a.Term() & b.Term());
  }
  friend constexpr Word operator|(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ | b.bits_) : Of(a.Term() | b.Term());
  }
  friend constexpr Word operator^(Word a, Word b) {
    return Known(a, b) ? OfNumber(a.bits_ ^ b.bits_) : Of(a.Term() ^ b.Term());
  }
  // A count is a signed word of 64 bits. That it is below the width is something to be proved, too.
  friend constexpr Word operator<<(Word a, Word<64, true> n) {
    if (Known(a, n) && n.Number() < kWidth) return OfNumber(a.bits_ << n.Number());
    return Of(z3::shl(a.Term(), ShiftCount(n)));
  }
  friend constexpr Word operator>>(Word a, Word<64, true> n) {
    if (Known(a, n) && n.Number() < kWidth) {
      return OfNumber(kSigned ? static_cast<uint64_t>(a.Signed() >> n.Number()) : a.bits_ >> n.Number());
    }
    return Of(kSigned ? z3::ashr(a.Term(), ShiftCount(n)) : z3::lshr(a.Term(), ShiftCount(n)));
  }
  constexpr Word operator~() const { return IsNumber() ? OfNumber(~bits_) : Of(~Term()); }
  constexpr Word operator-() const { return Word(0) - *this; }
  constexpr Word& operator&=(Word b) { return *this = *this & b; }
  constexpr Word& operator<<=(Word<64, true> n) { return *this = *this << n; }
  constexpr Word& operator>>=(Word<64, true> n) { return *this = *this >> n; }

 private:
  static constexpr uint64_t Cut(uint64_t v) { return v & (~uint64_t{0} >> (64 - kWidth)); }
  template <typename A, typename B>
  static constexpr bool Known(A a, B b) {
    return a.IsNumber() && b.IsNumber();
  }
  constexpr int64_t Signed() const { return static_cast<int64_t>(Number()); }
  static z3::expr ShiftCount(Word<64, true> n) {
    const z3::expr count = n.Term();
    Explorer::Get().Require(z3::ult(count, kWidth));
    return kWidth == 64 ? count : count.extract(kWidth - 1, 0);
  }
  template <int kOther, bool kOtherSigned>
  static int Resized(Word<kOther, kOtherSigned> w) {
    const z3::expr e = w.Term();
    return Explorer::Get().Keep(kWidth == kOther  ? e
                                : kWidth < kOther ? e.extract(kWidth - 1, 0)
                                : kOtherSigned    ? z3::sext(e, kWidth - kOther)
                                                  : z3::zext(e, kWidth - kOther));
  }

  uint64_t bits_ = 0;
  int term_ = -1;
};

inline constexpr int kBits = 64, kLowBits = 32;
constexpr int BitsOf(int bytes) { return bytes * 8; }

using U64 = Word<64, false>;
using S64 = Word<64, true>;
using U32 = Word<32, false>;
using S32 = Word<32, true>;
using Count = S64;

template <int kWidth, bool kSigned>
z3::expr IsAtMost(Word<kWidth, kSigned> a, Word<kWidth, kSigned> b) {
  return kSigned ? a.Term() <= b.Term() : z3::ule(a.Term(), b.Term());
}

// No questions: which of the two it is becomes part of the formula.
template <typename T>
T Min(T a, T b) {
  return T::Of(z3::ite(IsAtMost(a, b), a.Term(), b.Term()));
}
template <typename T>
T Max(T a, T b) {
  return T::Of(z3::ite(IsAtMost(a, b), b.Term(), a.Term()));
}

constexpr Count BitWidth(U64 v) {
  if (v.IsNumber()) return Count(64 - std::countl_zero(v.Number()));
  return Count::Of(Explorer::Get().BitWidth(v.Term()));
}
inline bool HasSingleBit(U64 v) {
  const z3::expr e = v.Term();
  return Explorer::Get().Decide(e != 0 && (e & (e - 1)) == 0);
}

inline U64 SwapBytes(U64 v, unsigned bytes) {
  z3::expr_vector parts(Explorer::Get().context());
  if (bytes < 8) parts.push_back(Explorer::Get().context().bv_val(0, 64 - bytes * 8));
  for (unsigned i = 0; i < bytes; ++i) parts.push_back(v.Term().extract(i * 8 + 7, i * 8));
  return U64::Of(z3::concat(parts));
}
// constexpr, as the functions that call them are; of numbers, they are never asked.
constexpr U64 Swap16(U64 v) { return v.IsNumber() ? v : SwapBytes(v, 2); }
constexpr U64 Swap32(U64 v) { return v.IsNumber() ? v : SwapBytes(v, 4); }
constexpr U64 Swap64(U64 v) { return v.IsNumber() ? v : SwapBytes(v, 8); }

template <int kWidth, bool kSigned>
constexpr bool AddOverflows(Word<kWidth, kSigned> a, Word<kWidth, kSigned> b, Word<kWidth, kSigned>* result) {
  return OverflowsAs(a, b, result, [](z3::expr x, z3::expr y) { return x + y; });
}
template <int kWidth, bool kSigned>
constexpr bool SubOverflows(Word<kWidth, kSigned> a, Word<kWidth, kSigned> b, Word<kWidth, kSigned>* result) {
  return OverflowsAs(a, b, result, [](z3::expr x, z3::expr y) { return x - y; });
}
// Whether the operation on two more bits gives the same number.
template <int kWidth, bool kSigned, typename Op>
bool OverflowsAs(Word<kWidth, kSigned> a, Word<kWidth, kSigned> b, Word<kWidth, kSigned>* result, Op op) {
  const auto wider = [](const z3::expr& e) { return kSigned ? z3::sext(e, 2) : z3::zext(e, 2); };
  const z3::expr wrapped = op(a.Term(), b.Term());
  const z3::expr overflows = wider(wrapped) != op(wider(a.Term()), wider(b.Term()));
  *result = Word<kWidth, kSigned>::Of(wrapped);
  return Explorer::Get().Decide(overflows);
}
template <int kWidth, bool kSigned>
bool MulOverflows(Word<kWidth, kSigned> a, Word<kWidth, kSigned> b, Word<kWidth, kSigned>* result) {
  const Explorer::Multiplied& product = Explorer::Get().Product(a.Term(), b.Term());
  *result = Word<kWidth, kSigned>::Of(product.wrapped);
  return Explorer::Get().Decide(kSigned ? z3::sext(product.wrapped, kWidth) != product.as_signed
                                        : z3::zext(product.wrapped, kWidth) != product.as_unsigned);
}

struct Scalar;
struct Tnum;
// In prove.cc.
bool TakesContract(Scalar& r, const char* step);
bool TakesContract(Tnum& acc, Tnum& a, Tnum& b, const char* step);
bool TakesContract(U64& next, Tnum& t, U64& z, const char* step);
constexpr bool ByContract(Scalar& r, std::source_location step = std::source_location::current()) {
  return std::is_constant_evaluated() ? false : TakesContract(r, step.function_name());
}
constexpr bool ByContract(Tnum& acc, Tnum& a, Tnum& b, std::source_location step = std::source_location::current()) {
  return std::is_constant_evaluated() ? false : TakesContract(acc, a, b, step.function_name());
}

constexpr bool ByContract(U64& next, Tnum& t, U64& z, std::source_location step = std::source_location::current()) {
  return std::is_constant_evaluated() ? false : TakesContract(next, t, z, step.function_name());
}

template <typename F>
bool Either(F) {
  return Explorer::Get().Decide(Explorer::Get().Fresh("either", 1) == Explorer::Get().context().bv_val(1, 1));
}

// Statements about words (contracts.h).
struct Truth {
  z3::expr formula;
};
inline Truth Always() { return {Explorer::Get().context().bool_val(true)}; }
inline Truth Not(const Truth& a) { return {!a.formula}; }
inline Truth Implies(const Truth& a, const Truth& b) { return {z3::implies(a.formula, b.formula)}; }
inline Truth All(std::initializer_list<Truth> parts) {
  z3::expr all = Explorer::Get().context().bool_val(true);
  for (const Truth& part : parts) all = all && part.formula;
  return {all};
}
inline Truth Any(std::initializer_list<Truth> parts) {
  z3::expr any = Explorer::Get().context().bool_val(false);
  for (const Truth& part : parts) any = any || part.formula;
  return {any};
}
template <typename T>
Truth Same(T a, T b) {
  return {a.Term() == b.Term()};
}
template <typename T>
Truth AtMost(T a, T b) {
  return {IsAtMost(a, b)};
}

}  // namespace bpfsieve

template <int kWidth, bool kSigned>
struct std::numeric_limits<bpfsieve::Word<kWidth, kSigned>> {
  using Word = bpfsieve::Word<kWidth, kSigned>;
  static constexpr bool is_signed = kSigned;
  static constexpr int digits = kWidth - (kSigned ? 1 : 0);
  static constexpr Word min() { return Word::OfNumber(kSigned ? uint64_t{1} << (kWidth - 1) : 0); }
  static constexpr Word max() { return Word::OfNumber(~uint64_t{0} >> (64 - digits)); }
};

#endif  // BPFSIEVE_ENGINE_DOMAIN_PROOF_SYMBOLIC_WORDS_H_
