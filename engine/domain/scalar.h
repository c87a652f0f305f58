// The scalar domain: what the verifier knows about a 64-bit register that holds a number.
//
// A Scalar is the reduced product of a tristate number and four ranges (signed and unsigned, of the whole register and
// of its low 32 bits). The transfer functions give exactly the result of Linux 6.18's verifier (kernel/bpf/verifier.c as
// of 6.18.44; later stable releases than 6.18.0 forked sign masks, tracked byte swaps, and learnt from a single common
// member), neither more nor less precise: the engine's verdict and its state log are compared with the kernel's.
//
// All functions are pure in their arguments, do not allocate (but for AppendScalar), cannot fail, and may be called
// from any thread. A Scalar that stems from these functions may be contradictory (BoundsSane() is false) on a path that
// no execution can take; every function accepts such a value.
#ifndef BPFSIEVE_ENGINE_DOMAIN_SCALAR_H_
#define BPFSIEVE_ENGINE_DOMAIN_SCALAR_H_

#include <cstdint>
#include <limits>
#include <string>

#include "engine/domain/tnum.h"
#include "engine/domain/words.h"

namespace bpfsieve {

inline constexpr S64 kS64Min = std::numeric_limits<S64>::min();
inline constexpr S64 kS64Max = std::numeric_limits<S64>::max();
inline constexpr U64 kU64Max = std::numeric_limits<U64>::max();
inline constexpr S32 kS32Min = std::numeric_limits<S32>::min();
inline constexpr S32 kS32Max = std::numeric_limits<S32>::max();
inline constexpr U32 kU32Max = std::numeric_limits<U32>::max();

struct Scalar {
  Tnum var_off = Tnum::Unknown();
  S64 smin = kS64Min, smax = kS64Max;
  U64 umin = 0, umax = kU64Max;
  S32 s32_min = kS32Min, s32_max = kS32Max;
  U32 u32_min = 0, u32_max = kU32Max;

  static constexpr Scalar Unknown() { return Scalar{}; }
  static constexpr Scalar Const(U64 v) {
    return {Tnum::Const(v),          static_cast<S64>(v),  static_cast<S64>(v), v, v, static_cast<S32>(v),
            static_cast<S32>(v), static_cast<U32>(v), static_cast<U32>(v)};
  }

  // The kernel's notion of a constant looks at var_off alone.
  constexpr bool IsConst() const { return var_off.IsConst(); }
  constexpr U64 ConstValue() const { return var_off.value; }
  constexpr bool SubregIsConst() const { return var_off.Subreg().IsConst(); }
  // No knowledge at all in any part.
  constexpr bool IsUnknown() const { return *this == Scalar{}; }

  friend constexpr bool operator==(const Scalar&, const Scalar&) = default;
};

// Replaces the 64-bit (32-bit) ranges by "anything"; var_off and the other half stay.
inline void UnboundRange64(Scalar& r) {
  r.smin = kS64Min;
  r.smax = kS64Max;
  r.umin = 0;
  r.umax = kU64Max;
}
inline void UnboundRange32(Scalar& r) {
  r.s32_min = kS32Min;
  r.s32_max = kS32Max;
  r.u32_min = 0;
  r.u32_max = kU32Max;
}
// All ranges "anything", var_off kept.
inline void UnboundRanges(Scalar& r) {
  UnboundRange64(r);
  UnboundRange32(r);
}

// Tightens the ranges (the 32-bit ones only) to what the known bits allow; the first step of SyncBounds().
void RangesFromTnum(Scalar& r);
void RangesFromTnum32(Scalar& r);
// Lets every part of `r` tighten the others, in the kernel's order and with the kernel's number of passes (a fixpoint is
// not always reached). reg_bounds_sync().
void SyncBounds(Scalar& r);
// False if a range is empty, or a constant disagrees with its ranges (reg_bounds_sanity_check()).
bool BoundsSane(const Scalar& r);
// The kernel's answer to a contradictory value is to forget its ranges (not var_off). Returns whether `r` was sane. The
// kernel does this for the destination of every ALU instruction and for both operands of a conditional jump.
bool RepairBounds(Scalar& r);
// SyncBounds() then RepairBounds().
bool SyncAndRepair(Scalar& r);

// Takes the low 32 bits, zero-extended, without a sync (zext_32_to_64()).
void ZextSubreg(Scalar& r);
// What a 32-bit register move leaves: ZextSubreg() and SyncBounds().
inline void Mov32(Scalar& r) {
  ZextSubreg(r);
  SyncBounds(r);
}
// Zero extension of the low `size` (1, 2, 4) bytes to 64 bit, synced (coerce_reg_to_size()); for 8, nothing changes.
void CoerceToSize(Scalar& r, int size);
// Sign extension of the low `size` (1, 2, 4) bytes to 64 bit, not synced (coerce_reg_to_size_sx()): sign-extending loads
// and 64-bit MOVSX.
void CoerceToSizeSx(Scalar& r, int size);
// Sign extension of the low `size` (1, 2) bytes to 32 bit, with the 64-bit ranges left to a following Mov32().
void CoerceSubregToSizeSx(Scalar& r, int size);
// The whole of a 32-bit MOVSX: CoerceSubregToSizeSx(), then Mov32().
inline void Movsx32(Scalar& r, int size) {
  CoerceSubregToSizeSx(r, size);
  Mov32(r);
}

// dst = dst OP src for the arithmetic operations of engine/isa (kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kNeg,
// kMod, kXor, kArsh; moves and byte swaps have functions of their own), in 64 or 32 bit (then with zero extension),
// synced and repaired. `src` of kNeg is ignored; `dst` and `src` may be the same object. An immediate is passed as
// Scalar::Const() of its sign extension. `off` is the instruction's (1 = signed division or modulo).
// Returns false where the kernel gives up and forgets all about `dst` (it then is Unknown(), for 32-bit operations
// too). A caller that tracks ids and precision clears them then, and after kNeg, as the kernel does.
bool AluScalar(uint8_t op, bool is64, int off, Scalar& dst, const Scalar& src);

// r += delta, in 32 bit with zero extension if `is32`, synced but not repaired: how knowledge of one register moves to
// another one at a known distance. 6.18 links registers so by 32- and 64-bit additions and subtractions of a constant.
void AddDelta(Scalar& r, S64 delta, bool is32);

// The kernel follows both outcomes of a sign-bit mask, which compilers make by an arithmetic shift: where AND or OR
// (either width) with a constant meets a `dst` known to be -1 or 0, it queues a path that repeats the instruction with
// 0 and goes on with -1 in this one. To be called before AluScalar(). Returns whether to fork, and if so sets *zero to
// the operand of the queued path and `dst` to that of this one; only the low half of both where only that is known.
bool ForkScalar(uint8_t op, Scalar& dst, const Scalar& src, Scalar* zero);

// A byte swap (`swap`: the ALU64 form, or to big endian) or truncation (to little endian, on the little-endian machines
// that this engine models) to `bits` = 16, 32 or 64, synced and repaired. Unless it is a truncation to 64, the result
// shares no id with others.
void ByteSwapScalar(Scalar& dst, int bits, bool swap);

// Whether `a OP b` (an operation of engine/isa: kJeq, kJne, kJset, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle)
// is always true (1), never true (0) or unknown (-1). That a register is compared with itself is no reason to know more.
int BranchTaken(uint8_t op, bool is32, const Scalar& a, const Scalar& b);

// Tightens the operands of a conditional jump in the world where it is taken (true_*) and where it is not (false_*), and
// repairs contradictory results. On entry, true_a equals false_a and true_b equals false_b; an immediate operand is one
// Scalar::Const() for each world. A register compared with itself is one object as both a and b of a world: the kernel
// refines it against itself, with results (even contradictory ones) that depend on that.
void RefineBranch(Scalar& true_a, Scalar& true_b, Scalar& false_a, Scalar& false_b, uint8_t op, bool is32);

// Whether each of the four ranges of `cur` lies within that of `old_`; the pruning test of a scalar asks besides for
// TnumIn(old_.var_off, cur.var_off).
constexpr bool RangeWithin(const Scalar& old_, const Scalar& cur) {
  return old_.umin <= cur.umin && old_.umax >= cur.umax && old_.smin <= cur.smin && old_.smax >= cur.smax &&
         old_.u32_min <= cur.u32_min && old_.u32_max >= cur.u32_max && old_.s32_min <= cur.s32_min &&
         old_.s32_max >= cur.s32_max;
}

// A tristate number as the kernel writes it, in messages and in the log: "(0x0; 0xff)", or the number if it is constant.
std::string TnumText(const Tnum& t);
// Appends the ranges and the tristate number in the notation of the verifier's log, e.g.
// "smin=0,smax=umax=255,var_off=(0x0; 0xff)". Every item is preceded by a comma if `*comma` is true; the first item sets
// it, so that a caller can put items of its own before. Nothing is appended for an unknown value.
void AppendScalarRanges(std::string& out, const Scalar& r, bool* comma);
// "(0x0; 0xff)", or the number if it is constant.
void AppendTnum(std::string& out, Tnum t);
// One number as the log writes it: decimal when small, hexadecimal otherwise.
void AppendLogNumber(std::string& out, uint64_t v);
void AppendLogSigned(std::string& out, int64_t v);
// A whole scalar: a constant as its number, otherwise "scalar(" ranges ")" or "scalar()".
void AppendScalar(std::string& out, const Scalar& r);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_SCALAR_H_
