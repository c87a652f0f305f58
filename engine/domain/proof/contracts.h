// What every operator of the domain promises, written once, for words of any kind (engine/domain/words.h).
//
// The promise is always the same: what the machine makes of members is a member of what the domain makes of the values.
// So a contract names the domain's function and the machine's; the latter is written here from RFC 9669, in terms of
// nothing but the words' own arithmetic. exhaustive.cc goes through all values of small words, prove.cc through all of
// 64 bits at once.
#ifndef BPFSIEVE_ENGINE_DOMAIN_PROOF_CONTRACTS_H_
#define BPFSIEVE_ENGINE_DOMAIN_PROOF_CONTRACTS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"

namespace bpfsieve {

// Whether v is a member of t or r, which has to be well formed for that. Truth is bool, or a formula.
inline Truth Member(const Tnum& t, U64 v) {
  return All({Same(t.value & t.mask, U64{0}), Same((v ^ t.value) & ~t.mask, U64{0})});
}
inline Truth Member(const Scalar& r, U64 v) {
  const U32 low = U32(v);
  return All({Member(r.var_off, v), AtMost(r.umin, v), AtMost(v, r.umax), AtMost(r.smin, S64(v)),
              AtMost(S64(v), r.smax), AtMost(r.u32_min, low), AtMost(low, r.u32_max), AtMost(r.s32_min, S32(low)),
              AtMost(S32(low), r.s32_max)});
}

// ---- Functions of one or two numbers ----

// kAndCount: a known number below the width, or below that of the low half.
enum class Operands { kOne, kTwo, kAndConstant, kAndCount, kAndLowCount };

using Concrete = U64 (*)(U64 x, U64 y);

struct Function {
  std::string name;
  Operands operands;
  void (*abstract)(Scalar& r, const Scalar& b);
  Concrete concrete;
  // The result before it is cut to 32 bits, where the domain takes a step on the whole of it.
  Concrete uncut = nullptr;
};

template <typename U>
Count CountOf(U v, int width) {
  return static_cast<Count>(v & (width - 1));
}

// x OP y in words of one width. A shift's count is taken modulo the width; division by zero gives 0, modulo it the
// dividend, and the least number divided by -1 is itself, with rest 0.
template <typename S, typename U>
U Execute(uint8_t op, bool is_signed, U x, U y) {
  constexpr int kWidth = std::numeric_limits<U>::digits;
  switch (op) {
    case kAdd: return x + y;
    case kSub: return x - y;
    case kMul: return x * y;
    case kAnd: return x & y;
    case kOr: return x | y;
    case kXor: return x ^ y;
    case kNeg: return U{0} - x;
    case kDiv:
      if (y == U{0}) return 0;
      if (!is_signed) return x / y;
      if (S(y) == S{-1}) return U{0} - x;
      return U(S(x) / S(y));
    case kMod:
      if (y == U{0}) return x;
      if (!is_signed) return x % y;
      if (S(y) == S{-1}) return 0;
      return U(S(x) % S(y));
    case kLsh: return x << CountOf(y, kWidth);
    case kRsh: return x >> CountOf(y, kWidth);
    default: return U(S(x) >> CountOf(y, kWidth));  // kArsh
  }
}

template <uint8_t kOp, bool kIs64, int kOff = 0>
Function Alu(const char* name, Operands operands = Operands::kTwo) {
  return {std::string(name) + (kIs64 ? "64" : "32"), operands,
          [](Scalar& r, const Scalar& b) { AluScalar(kOp, kIs64, kOff, r, b); },
          [](U64 x, U64 y) -> U64 {
            return kIs64 ? Execute<S64, U64>(kOp, kOff == 1, x, y)
                         : U64{Execute<S32, U32>(kOp, kOff == 1, U32(x), U32(y))};
          },
          !kIs64 && (kOp == kAnd || kOp == kOr || kOp == kXor)
              ? Concrete([](U64 x, U64 y) { return Execute<S64, U64>(kOp, false, x, y); })
              : nullptr};
}

// The low `bytes` bytes, extended to the word W.
template <typename W>
W Extended(U64 v, int bytes) {
  constexpr int kWidth = std::numeric_limits<W>::digits + (std::numeric_limits<W>::is_signed ? 1 : 0);
  const int shift = kWidth - BitsOf(bytes);
  return static_cast<W>(v) << shift >> shift;
}

template <int kBytes>
void AddWidths(std::vector<Function>& all) {
  const std::string bits = std::to_string(kBytes * 8);
  all.push_back({"zext" + bits, Operands::kOne, [](Scalar& r, const Scalar&) { CoerceToSize(r, kBytes); },
                 [](U64 x, U64) { return Extended<U64>(x, kBytes); }});
  all.push_back({"sext" + bits, Operands::kOne, [](Scalar& r, const Scalar&) { CoerceToSizeSx(r, kBytes); },
                 [](U64 x, U64) { return U64(Extended<S64>(x, kBytes)); }});
  if constexpr (kBytes < 4) {
    all.push_back({"movsx32_" + bits, Operands::kOne, [](Scalar& r, const Scalar&) { Movsx32(r, kBytes); },
                   [](U64 x, U64) { return U64{U32(Extended<S32>(x, kBytes))}; }});
  }
}

template <bool kIs64>
void AddAlu(std::vector<Function>& all) {
  constexpr auto count = kIs64 ? Operands::kAndCount : Operands::kAndLowCount;
  for (const Function& f : {
           Alu<kAdd, kIs64>("add"),
           Alu<kSub, kIs64>("sub"),
           Alu<kMul, kIs64>("mul"),
           Alu<kDiv, kIs64>("div"),
           Alu<kDiv, kIs64, 1>("sdiv"),
           Alu<kMod, kIs64>("mod"),
           Alu<kMod, kIs64, 1>("smod"),
           Alu<kNeg, kIs64>("neg", Operands::kOne),
           Alu<kAnd, kIs64>("and"),
           Alu<kOr, kIs64>("or"),
           Alu<kXor, kIs64>("xor"),
           Alu<kLsh, kIs64>("lsh"),
           Alu<kRsh, kIs64>("rsh"),
           Alu<kArsh, kIs64>("arsh"),
           // All shifts are among those above; these are there for their precision.
           Alu<kLsh, kIs64>("lsh_by_constant_", count),
           Alu<kRsh, kIs64>("rsh_by_constant_", count),
           Alu<kArsh, kIs64>("arsh_by_constant_", count),
       }) {
    all.push_back(f);
  }
}

inline std::vector<Function> Functions() {
  std::vector<Function> all;
  AddAlu<true>(all);
  AddAlu<false>(all);
  constexpr auto low = [](U64 x, U64) { return U64{U32(x)}; };
  all.push_back({"mov32", Operands::kOne, [](Scalar& r, const Scalar&) { Mov32(r); }, low});
  all.push_back({"zext_subreg", Operands::kOne, [](Scalar& r, const Scalar&) { ZextSubreg(r); }, low});
  if constexpr (BitsOf(1) > 0) AddWidths<1>(all);
  if constexpr (BitsOf(2) > 0) AddWidths<2>(all);
  AddWidths<4>(all);
  all.push_back({"add_delta64", Operands::kAndConstant,
                 [](Scalar& r, const Scalar& b) { AddDelta(r, S64(b.ConstValue()), false); },
                 [](U64 x, U64 y) { return x + y; }});
  all.push_back({"add_delta32", Operands::kAndConstant,
                 [](Scalar& r, const Scalar& b) { AddDelta(r, S64(b.ConstValue()), true); },
                 [](U64 x, U64 y) { return U64{U32(x) + U32(y)}; }});
  return all;
}

// Byte swaps and what else they are encoded with. They need words in which a byte is a whole number of bits.
inline std::vector<Function> Swaps() {
  return {
      {"bswap16", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 16, true); },
       [](U64 x, U64) { return Swap16(x); }},
      {"bswap32", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 32, true); },
       [](U64 x, U64) { return Swap32(x); }},
      {"bswap64", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 64, true); },
       [](U64 x, U64) { return Swap64(x); }},
      {"le16", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 16, false); },
       [](U64 x, U64) { return Extended<U64>(x, 2); }},
      {"le32", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 32, false); },
       [](U64 x, U64) { return Extended<U64>(x, 4); }},
      {"le64", Operands::kOne, [](Scalar& r, const Scalar&) { ByteSwapScalar(r, 64, false); },
       [](U64 x, U64) { return x; }},
  };
}

// How the parts of a number refine each other: no member is lost.
inline std::vector<Function> Refinements() {
  constexpr auto same = [](U64 x, U64) { return x; };
  return {
      {"sync", Operands::kOne, [](Scalar& r, const Scalar&) { SyncBounds(r); }, same},
      {"repair", Operands::kOne, [](Scalar& r, const Scalar&) { RepairBounds(r); }, same},
      {"ranges_from_tnum", Operands::kOne, [](Scalar& r, const Scalar&) { RangesFromTnum(r); }, same},
      {"ranges_from_tnum32", Operands::kOne, [](Scalar& r, const Scalar&) { RangesFromTnum32(r); }, same},
      {"unbound", Operands::kOne, [](Scalar& r, const Scalar&) { UnboundRanges(r); }, same},
  };
}

// ---- Conditional jumps ----

template <typename S, typename U>
bool Compare(uint8_t op, U x, U y) {
  switch (op) {
    case kJeq: return x == y;
    case kJne: return x != y;
    case kJset: return (x & y) != U{0};
    case kJgt: return x > y;
    case kJge: return x >= y;
    case kJlt: return x < y;
    case kJle: return x <= y;
    case kJsgt: return S(x) > S(y);
    case kJsge: return S(x) >= S(y);
    case kJslt: return S(x) < S(y);
    default: return S(x) <= S(y);  // kJsle
  }
}

struct Jump {
  std::string name;
  uint8_t op;
  bool is32;

  bool Holds(U64 x, U64 y) const { return is32 ? Compare<S32, U32>(op, U32(x), U32(y)) : Compare<S64, U64>(op, x, y); }
};

inline std::vector<Jump> Jumps() {
  std::vector<Jump> all;
  const std::pair<const char*, uint8_t> ops[] = {{"jeq", kJeq},   {"jne", kJne},   {"jset", kJset}, {"jgt", kJgt},
                                                 {"jge", kJge},   {"jlt", kJlt},   {"jle", kJle},   {"jsgt", kJsgt},
                                                 {"jsge", kJsge}, {"jslt", kJslt}, {"jsle", kJsle}};
  for (const auto& [name, op] : ops) {
    all.push_back({std::string(name) + "64", op, false});
    all.push_back({std::string(name) + "32", op, true});
  }
  return all;
}

// ---- Tristate numbers ----

struct TnumFunction {
  std::string name;
  Operands operands;
  Tnum (*abstract)(Tnum a, Tnum b);
  U64 (*concrete)(U64 x, U64 y);
};

inline std::vector<TnumFunction> TnumFunctions() {
  constexpr auto one = Operands::kOne, two = Operands::kTwo, with = Operands::kAndCount;
  return {
      {"tnum_add", two, [](Tnum a, Tnum b) { return TnumAdd(a, b); }, [](U64 x, U64 y) { return x + y; }},
      {"tnum_sub", two, [](Tnum a, Tnum b) { return TnumSub(a, b); }, [](U64 x, U64 y) { return x - y; }},
      {"tnum_neg", one, [](Tnum a, Tnum) { return TnumNeg(a); }, [](U64 x, U64) { return U64{0} - x; }},
      {"tnum_mul", two, [](Tnum a, Tnum b) { return TnumMul(a, b); }, [](U64 x, U64 y) { return x * y; }},
      {"tnum_and", two, [](Tnum a, Tnum b) { return TnumAnd(a, b); }, [](U64 x, U64 y) { return x & y; }},
      {"tnum_or", two, [](Tnum a, Tnum b) { return TnumOr(a, b); }, [](U64 x, U64 y) { return x | y; }},
      {"tnum_xor", two, [](Tnum a, Tnum b) { return TnumXor(a, b); }, [](U64 x, U64 y) { return x ^ y; }},
      {"tnum_lsh", with, [](Tnum a, Tnum b) { return TnumLsh(a, CountOf(b.value, kBits)); },
       [](U64 x, U64 y) { return x << CountOf(y, kBits); }},
      {"tnum_rsh", with, [](Tnum a, Tnum b) { return TnumRsh(a, CountOf(b.value, kBits)); },
       [](U64 x, U64 y) { return x >> CountOf(y, kBits); }},
      {"tnum_arsh", with, [](Tnum a, Tnum b) { return TnumArsh(a, CountOf(b.value, kBits)); },
       [](U64 x, U64 y) { return U64(S64(x) >> CountOf(y, kBits)); }},
      {"tnum_arsh32", Operands::kAndLowCount, [](Tnum a, Tnum b) { return TnumArsh32(a, CountOf(b.value, kLowBits)); },
       [](U64 x, U64 y) { return U64{U32(S32(x) >> CountOf(y, kLowBits))}; }},
      {"tnum_subreg", one, [](Tnum a, Tnum) { return a.Subreg(); }, [](U64 x, U64) { return U64{U32(x)}; }},
      {"tnum_clear_subreg", one, [](Tnum a, Tnum) { return a.ClearSubreg(); },
       [](U64 x, U64) { return x & ~kLowMask; }},
      {"tnum_with_subreg", two, [](Tnum a, Tnum b) { return a.WithSubreg(b); },
       [](U64 x, U64 y) { return (x & ~kLowMask) | U64{U32(y)}; }},
      {"tnum_cast32", one, [](Tnum a, Tnum) { return a.Cast(4); }, [](U64 x, U64) { return Extended<U64>(x, 4); }},
      {"tnum_cast64", one, [](Tnum a, Tnum) { return a.Cast(8); }, [](U64 x, U64) { return x; }},
  };
}

// A statement about tristate numbers `a` and `b`, a member `x` of `a`, and other words; or about three words.
enum class Over { kTwoNumbers, kNumberAndWord, kThreeWords };

struct TnumStatement {
  std::string name;
  Over over;
  Truth (*holds)(Tnum a, Tnum b, U64 x, U64 y, U64 z);
};

// The next member after z is one, no other (no x) lies between, and it is above z unless there is none.
inline Truth IsNext(const Tnum& t, U64 x, U64 z, U64 next) {
  return All(
      {Member(t, next), Implies(Not(AtMost(x, z)), AtMost(next, x)), Implies(AtMost(next, z), Same(next, t.Max()))});
}

inline std::vector<TnumStatement> TnumStatements() {
  return {
      {"tnum_union", Over::kTwoNumbers,
       [](Tnum a, Tnum b, U64 x, U64, U64) {
         return All({Member(TnumUnion(a, b), x), Member(TnumUnion(b, a), x)});
       }},
      {"tnum_intersect", Over::kTwoNumbers,
       [](Tnum a, Tnum b, U64 x, U64, U64) { return Implies(Member(b, x), Member(TnumIntersect(a, b), x)); }},
      {"tnum_overlap", Over::kTwoNumbers,
       [](Tnum a, Tnum b, U64 x, U64, U64) { return TnumOverlap(a, b) ? Always() : Not(Member(b, x)); }},
      {"tnum_in", Over::kTwoNumbers,
       [](Tnum a, Tnum b, U64 x, U64, U64) { return TnumIn(b, a) ? Member(b, x) : Always(); }},
      {"tnum_range", Over::kThreeWords,
       [](Tnum, Tnum, U64 x, U64 y, U64 z) {
         return Implies(All({AtMost(x, z), AtMost(z, y)}), Member(Tnum::Range(x, y), z));
       }},
      {"tnum_next", Over::kNumberAndWord,
       [](Tnum a, Tnum, U64 x, U64, U64 z) { return IsNext(a, x, z, TnumNext(a, z)); }},
      {"tnum_aligned", Over::kNumberAndWord,
       [](Tnum a, Tnum, U64 x, U64, U64 z) {
         const U64 size = z & (U64{0} - z);  // a power of two, or 0
         return size != U64{0} && a.IsAligned(size) ? Same(x & (size - 1), U64{0}) : Always();
       }},
  };
}

// Two statements about numbers: of subsumption (what the pruning test asks), and of the fork on sign masks.
inline Truth Subsumed(const Scalar& a, const Scalar& b, U64 x) {
  return RangeWithin(b, a) && TnumIn(b.var_off, a.var_off) ? Member(b, x) : Always();
}
inline Truth Forked(uint8_t op, Scalar a, U64 y, U64 x) {
  Scalar zero;
  return ForkScalar(op, a, Scalar::Const(y), &zero) ? Any({Member(zero, x), Member(a, x)}) : Member(a, x);
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_PROOF_CONTRACTS_H_
