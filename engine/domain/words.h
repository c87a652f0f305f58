// The machine words that the domain computes with, and the operations on them that C++ has no operator for.
//
// Everything in this folder that computes (tnum.h, scalar.h, bounds.cc, alu.cc, branch.cc) is written in these names,
// so that the same source can be compiled on other words: on words of a few bits, to go through all of them, and on
// words that are formulas, to prove it for 64 bits (engine/domain/proof). BPFSIEVE_WORDS names the header to use then.
// Here they are what they are called, and every function is the one instruction that it stands for.
#ifndef BPFSIEVE_ENGINE_DOMAIN_WORDS_H_
#define BPFSIEVE_ENGINE_DOMAIN_WORDS_H_

#ifdef BPFSIEVE_WORDS
#include BPFSIEVE_WORDS
#else

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace bpfsieve {

using U64 = uint64_t;
using S64 = int64_t;
using U32 = uint32_t;
using S32 = int32_t;
using Count = int;  // of bits

// The width of a word, and of its low half.
inline constexpr int kBits = 64, kLowBits = 32;
// How many bits are `bytes` bytes of a word.
constexpr int BitsOf(int bytes) { return bytes * 8; }

template <typename T>
constexpr const T& Min(const T& a, const T& b) {
  return std::min(a, b);
}
template <typename T>
constexpr const T& Max(const T& a, const T& b) {
  return std::max(a, b);
}

constexpr Count BitWidth(U64 v) { return static_cast<int>(std::bit_width(v)); }
constexpr bool HasSingleBit(U64 v) { return std::has_single_bit(v); }

// The low 2, 4 or 8 bytes in the opposite order, zero-extended.
constexpr U64 Swap16(U64 v) { return __builtin_bswap16(static_cast<uint16_t>(v)); }
constexpr U64 Swap32(U64 v) { return __builtin_bswap32(static_cast<uint32_t>(v)); }
constexpr U64 Swap64(U64 v) { return __builtin_bswap64(v); }

// *result is the wrapped result; returns whether it is not the true one.
template <typename T>
constexpr bool AddOverflows(T a, T b, T* result) {
  return __builtin_add_overflow(a, b, result);
}
template <typename T>
constexpr bool SubOverflows(T a, T b, T* result) {
  return __builtin_sub_overflow(a, b, result);
}
template <typename T>
constexpr bool MulOverflows(T a, T b, T* result) {
  return __builtin_mul_overflow(a, b, result);
}

// Stands at the head of a step that is proved by itself: `if (ByContract(r)) return;`. A proof of something that takes
// this step makes of `r` any value that keeps the members, which is what has been proved of the step, and skips the
// rest. (In TnumMulAdd(), the step is the remaining loop; of TnumNext(), it is the result that is promised.) Here it is
// false, and the step is taken.
template <typename... T>
constexpr bool ByContract(T&...) {
  return false;
}

// test(), where what follows is right whatever it answers, and only time is saved by asking. A proof takes both ways, and
// does not ask.
template <typename F>
[[gnu::always_inline]] constexpr bool Either(F test) {
  return test();
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_WORDS
#endif  // BPFSIEVE_ENGINE_DOMAIN_WORDS_H_
