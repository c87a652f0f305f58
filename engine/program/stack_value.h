// What the stack's liveness analysis (liveness.cc) knows of one register or spilled register: whether it points into
// the stack, and where.
#ifndef BPFSIEVE_ENGINE_PROGRAM_STACK_VALUE_H_
#define BPFSIEVE_ENGINE_PROGRAM_STACK_VALUE_H_

#include <algorithm>
#include <bit>
#include <cstdint>

namespace bpfsieve::stack_value {

inline constexpr int kSlots = 64;        // MAX_BPF_STACK / 8
inline constexpr int kStackBytes = 512;  // MAX_BPF_STACK
inline constexpr int kUnknownSize = -1;

// What a register or slot holds, with respect to the stack, in 32 bits so that states are cheap to copy and compare:
//   payload  20 bits: the constant, the map's or the subprogram's index, signed; or two signed halves, the lowest and the
//            highest offset from the frame's fp. More than one, where paths meet: compilers merge the tails of branches
//   levels    8 bits: the frames that it may point into; zero: not a stack pointer
//   kind      3 bits
//   maybe     1 bit: of a pointer, may also be something that is no stack pointer. Reads through it still happen, but a
//             store through it need not hit the stack. Of a constant: the verifier may have forgotten that it is one
class Value {
 public:
  enum Kind : uint32_t { kOther, kConst, kMap, kRange, kFunction };  // kOther with levels: a pointer at an unknown offset

  constexpr Value() : bits_(0) {}
  static constexpr Value Const(int64_t c) { return Fits(c) ? Value(kConst, 0, c, false) : Value(); }
  static constexpr Value Map(int64_t index) { return Fits(index) ? Value(kMap, 0, index, false) : Value(); }
  static constexpr Value Function(int sub) { return Fits(sub) ? Value(kFunction, 0, sub, false) : Value(); }
  static constexpr Value Range(int level, int64_t low, int64_t high, bool maybe) {
    const auto levels = static_cast<uint8_t>(1u << level);
    if (low < -kStackBytes || high >= kStackBytes) return Somewhere(levels);
    return Value(kRange, levels, low * (1 << kHalf) | (high & ((1 << kHalf) - 1)), maybe);
  }
  static constexpr Value Exact(int level, int64_t off, bool maybe) { return Range(level, off, off, maybe); }
  static constexpr Value Somewhere(uint8_t levels) { return Value(kOther, levels, 0, levels != 0); }

  constexpr Kind kind() const { return static_cast<Kind>(bits_ >> 28 & 7); }
  constexpr uint8_t levels() const { return static_cast<uint8_t>(bits_ >> 20); }
  constexpr int payload() const { return static_cast<int32_t>(bits_ << 12) >> 12; }
  constexpr bool maybe() const { return bits_ >> 31 != 0; }
  constexpr bool IsPointer() const { return levels() != 0; }
  // Only for kRange.
  constexpr int level() const { return __builtin_ctz(levels()); }
  constexpr int low() const { return payload() >> kHalf; }
  constexpr int high() const { return static_cast<int32_t>(bits_ << (32 - kHalf)) >> (32 - kHalf); }
  constexpr bool IsExact() const { return kind() == kRange && low() == high(); }
  constexpr uint32_t bits() const { return bits_; }
  constexpr Value Maybe() const {
    Value v = *this;
    if (IsPointer() || kind() == kConst) v.bits_ |= 1u << 31;
    return v;
  }
  // What `delta` is added to: a constant or a range.
  constexpr Value Plus(int64_t delta) const {
    if (kind() == kRange) return Range(level(), low() + delta, high() + delta, maybe());
    return maybe() ? Const(payload() + delta).Maybe() : Const(payload() + delta);
  }
  // As a plain number is to the stack: constants forgotten.
  constexpr Value PointerOnly() const { return IsPointer() ? *this : Value(); }

  friend constexpr bool operator==(Value a, Value b) { return a.bits_ == b.bits_; }

 private:
  static constexpr int kHalf = 10;
  static constexpr bool Fits(int64_t c) { return c >= -(1 << 19) && c < (1 << 19); }
  constexpr Value(Kind kind, uint8_t levels, int64_t payload, bool maybe)
      : bits_(static_cast<uint32_t>(maybe) << 31 | static_cast<uint32_t>(kind) << 28 |
              static_cast<uint32_t>(levels) << 20 | (static_cast<uint32_t>(payload) & 0xfffff)) {}

  uint32_t bits_;
};

// Both, and whatever is between them. From the second time on a bound moves to the next power of two, so that loops
// which walk the stack come to an end.
inline Value Hull(Value old, Value from) {
  int low = std::min(old.low(), from.low()), high = std::max(old.high(), from.high());
  if (!old.IsExact()) {
    if (low < old.low() && low < 0) low = -static_cast<int>(std::bit_ceil(static_cast<uint32_t>(-low)));
    if (high > old.high()) {
      high = high < 0 ? -static_cast<int>(std::bit_floor(static_cast<uint32_t>(-high))) : kStackBytes - 1;
    }
  }
  return Value::Range(old.level(), low, high, old.maybe() || from.maybe());
}

// `a` is what was known, `b` what comes to it.
inline Value Join(Value a, Value b) {
  if (a == b) return a;
  if (!a.IsPointer() && !b.IsPointer()) return Value();
  if (!a.IsPointer()) return b.Maybe();
  if (!b.IsPointer()) return a.Maybe();
  if (a.kind() == Value::kRange && b.kind() == Value::kRange && a.levels() == b.levels()) return Hull(a, b);
  return Value::Somewhere(static_cast<uint8_t>(a.levels() | b.levels()));
}

// The slots that bytes [off, off + size) of a frame lie in; kUnknownSize: up to the frame's top.
inline uint64_t SlotMask(int64_t off, int64_t size) {
  const int64_t lo = std::max<int64_t>(off, -kStackBytes);
  const int64_t hi = size == kUnknownSize ? 0 : std::min<int64_t>(off + size, 0);
  if (lo >= hi) return 0;
  const int last = static_cast<int>((-lo - 1) / 8);  // slot of the lowest byte: the highest number
  const int first = static_cast<int>((-hi) / 8);     // slot of the highest byte, at hi - 1
  const uint64_t up_to_last = last == kSlots - 1 ? ~uint64_t{0} : (uint64_t{1} << (last + 1)) - 1;
  return up_to_last & ~((uint64_t{1} << first) - 1);
}

// The slots that a range of pointers reaches with `size` bytes at `off`.
inline uint64_t SlotsAt(Value range, int64_t off, int64_t size) {
  const int64_t all = size == kUnknownSize || size == 0 ? size : size + range.high() - range.low();
  return SlotMask(range.low() + off, all);
}

// An aligned slot within the frame: its number, else -1.
inline int AlignedSlot(int64_t off) {
  if (off >= 0 || off < -kStackBytes || off % 8 != 0) return -1;
  return static_cast<int>(-off / 8 - 1);
}

}  // namespace bpfsieve::stack_value

#endif  // BPFSIEVE_ENGINE_PROGRAM_STACK_VALUE_H_
