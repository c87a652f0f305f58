// Abstract numbers, each with a member: whatever is done to both, the member's result stays a member.
//
// Input: pairs of an operation and its operands. A number is made by jumps, as a program would: from anything, or a constant,
// through comparisons and arithmetic, so that every state that arises is one that could.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"
#include "fuzz/choices.h"
#include "fuzz/targets/budget.h"

namespace {

using namespace bpfsieve;

struct Number {
  Scalar s = Scalar::Unknown();
  uint64_t v = 0;
};

bool Holds(const Number& n) {
  const Scalar& r = n.s;
  const auto s = static_cast<int64_t>(n.v);
  const auto u32 = static_cast<uint32_t>(n.v);
  const auto s32 = static_cast<int32_t>(n.v);
  return r.var_off.Contains(n.v) && r.umin <= n.v && n.v <= r.umax && r.smin <= s && s <= r.smax && r.u32_min <= u32 &&
         u32 <= r.u32_max && r.s32_min <= s32 && s32 <= r.s32_max;
}

uint64_t Concrete(uint8_t op, bool is64, int off, uint64_t a, uint64_t b) {
  if (!is64) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
  }
  const uint64_t shift = b & (is64 ? 63 : 31);
  const auto x = is64 ? static_cast<int64_t>(a) : static_cast<int32_t>(a);
  const auto y = is64 ? static_cast<int64_t>(b) : static_cast<int32_t>(b);
  uint64_t v = 0;
  switch (op) {
    case kAdd: v = a + b; break;
    case kSub: v = a - b; break;
    case kMul: v = a * b; break;
    case kDiv: v = b == 0 ? 0 : off == 0 ? a / b : y == -1 ? 0 - a : static_cast<uint64_t>(x / y); break;
    case kMod: v = b == 0 ? a : off == 0 ? a % b : y == -1 ? 0 : static_cast<uint64_t>(x % y); break;
    case kOr: v = a | b; break;
    case kAnd: v = a & b; break;
    case kXor: v = a ^ b; break;
    case kLsh: v = a << shift; break;
    case kRsh: v = a >> shift; break;
    case kArsh: v = static_cast<uint64_t>(x >> shift); break;
    default: v = 0 - a; break;
  }
  return is64 ? v : static_cast<uint32_t>(v);
}

bool Taken(uint8_t op, bool is32, uint64_t a, uint64_t b) {
  if (is32) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
  }
  const auto x = is32 ? static_cast<int32_t>(a) : static_cast<int64_t>(a);
  const auto y = is32 ? static_cast<int32_t>(b) : static_cast<int64_t>(b);
  switch (op) {
    case kJeq: return a == b;
    case kJne: return a != b;
    case kJset: return (a & b) != 0;
    case kJgt: return a > b;
    case kJge: return a >= b;
    case kJlt: return a < b;
    case kJle: return a <= b;
    case kJsgt: return x > y;
    case kJsge: return x >= y;
    case kJslt: return x < y;
    default: return x <= y;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices c(std::span<const uint8_t>(data, size));
  Number n[4];
  for (Number& each : n) each.v = c.Bits(8);
  while (!c.Spent()) {
    Number& a = n[c.Below(4)];
    Number& b = n[c.Below(4)];
    const uint32_t what = c.Below(8);
    std::string done;
    switch (what) {
      case 0: {
        const uint64_t v = c.Chance(0.5) ? c.Bits(8) : static_cast<uint64_t>(int64_t{static_cast<int8_t>(c.Bits(1))});
        a = {Scalar::Const(v), v};
        break;
      }
      case 1:
      case 2: {
        static constexpr uint8_t kOps[] = {kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kNeg, kMod, kXor, kArsh};
        const uint8_t op = c.Of(kOps);
        const bool is64 = c.Chance(0.6);
        const int off = op == kDiv || op == kMod ? static_cast<int>(c.Below(2)) : 0;
        const uint64_t v = Concrete(op, is64, off, a.v, b.v);
        done = "operation " + std::to_string(op) + (is64 ? " in 64 bits" : " in 32 bits");
        Scalar zero, ones = a.s;
        if (ForkScalar(op, ones, b.s, &zero)) {
          // One of the two ways has the value.
          const Number low{zero, a.v}, high{ones, a.v};
          if (!Holds(low) && !Holds(high)) Finding("a forked mask has its value on neither way");
          a.s = Holds(high) ? ones : zero;
        }
        const Scalar src = b.s;
        AluScalar(op, is64, off, a.s, src);
        a.v = v;
        break;
      }
      case 3:
      case 4: {
        static constexpr uint8_t kOps[] = {kJeq, kJne, kJset, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle};
        const uint8_t op = c.Of(kOps);
        const bool is32 = c.Chance(0.4);
        const bool taken = Taken(op, is32, a.v, b.v);
        done = "jump " + std::to_string(op) + (is32 ? " in 32 bits" : " in 64 bits");
        const int known = BranchTaken(op, is32, a.s, b.s);
        if (known >= 0) {
          if ((known == 1) != taken) Finding(done + " goes the other way");
          break;
        }
        if (&a == &b) {
          Scalar t = a.s, f = a.s;
          RefineBranch(t, t, f, f, op, is32);
          a.s = taken ? t : f;
        } else {
          Scalar ta = a.s, tb = b.s, fa = a.s, fb = b.s;
          RefineBranch(ta, tb, fa, fb, op, is32);
          a.s = taken ? ta : fa;
          b.s = taken ? tb : fb;
        }
        if (!Holds(b)) Finding(done + ": the second operand is out");
        break;
      }
      case 5: {
        const int width = 1 << c.Below(4);
        done = "cut or sign extension to " + std::to_string(width);
        const int shift = 64 - 8 * width;
        const uint64_t extended = static_cast<uint64_t>(static_cast<int64_t>(a.v << shift) >> shift);
        switch (c.Below(4)) {
          case 0:
            CoerceToSize(a.s, width);
            if (width < 8) a.v &= (uint64_t{1} << (8 * width)) - 1;
            break;
          case 1:
            if (width == 8) break;
            CoerceToSizeSx(a.s, width);
            a.v = extended;
            break;
          case 2:
            if (width > 2) break;
            Movsx32(a.s, width);
            a.v = static_cast<uint32_t>(extended);
            break;
          default:
            Mov32(a.s);
            a.v = static_cast<uint32_t>(a.v);
            break;
        }
        break;
      }
      case 6: {
        const int bits = 16 << c.Below(3);
        const bool swap = c.Chance(0.6);
        done = "byte order of " + std::to_string(bits);
        ByteSwapScalar(a.s, bits, swap);
        if (swap) a.v = __builtin_bswap64(a.v) >> (64 - bits);
        if (bits < 64) a.v &= (uint64_t{1} << bits) - 1;
        break;
      }
      default: {
        const int64_t delta = static_cast<int16_t>(c.Bits(2));
        const bool is32 = c.Chance(0.5);
        done = "a distance";
        AddDelta(a.s, delta, is32);
        a.v += static_cast<uint64_t>(delta);
        if (is32) a.v = static_cast<uint32_t>(a.v);
        break;
      }
    }
    if (!Holds(a)) {
      std::string text;
      AppendScalar(text, a.s);
      Finding(done + ": " + std::to_string(a.v) + " is not in " + text);
    }
  }
  return 0;
}
