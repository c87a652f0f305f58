#include "fuzz/model.h"

#include <algorithm>
#include <bit>

#include "engine/isa/insn.h"

namespace bpfsieve {

Value Merged(const Value& a, const Value& b) {
  Value v = a;
  if (a.kind != b.kind || (a.kind == Value::Kind::kStack && a.off != b.off)) {
    v = Value{};
    v.kind = Value::Kind::kMixed;
    return v;
  }
  v.var = a.var || b.var;
  v.writable = a.writable && b.writable;
  v.atomics = a.atomics && b.atomics;
  v.min = std::min(a.min, b.min);
  v.max = std::max(a.max, b.max);
  v.lo = std::max(a.lo, b.lo);
  v.room = std::min(a.room, b.room);
  return v;
}

void MergeInto(Model& into, const Model& other) {
  for (int i = 0; i < kModelRegs; ++i) into.regs[i] = Merged(into.regs[i], other.regs[i]);
  for (int i = 0; i < kModelSlots; ++i) into.slots[i] = Merged(into.slots[i], other.slots[i]);
}

Value AluResult(int op, bool wide, const Value& x, const Value& y) {
  constexpr uint64_t kSmall = uint64_t{1} << 31;
  constexpr uint64_t kMax32 = 0xffffffff;
  Value a = x, b = y;
  if (!wide) {
    if (a.max > kMax32) a = Value::Scalar(0, kMax32);
    if (b.max > kMax32) b = Value::Scalar(0, kMax32);
  }
  const Value unknown = Value::Scalar(0, wide ? ~uint64_t{0} : kMax32);
  auto mask = [](uint64_t v) { return (uint64_t{1} << std::bit_width(v)) - 1; };
  switch (op) {
    case kMov: return b;
    case kAdd: return a.max < kSmall && b.max < kSmall ? Value::Scalar(a.min + b.min, a.max + b.max) : unknown;
    case kSub: return a.max < kSmall && b.max <= a.min ? Value::Scalar(a.min - b.max, a.max - b.min) : unknown;
    case kMul: return a.max < 0x8000 && b.max < 0x8000 ? Value::Scalar(a.min * b.min, a.max * b.max) : unknown;
    case kAnd: return Value::Scalar(0, std::min(a.max, b.max));
    case kOr:
    case kXor: return a.max < kSmall && b.max < kSmall ? Value::Scalar(0, mask(a.max | b.max)) : unknown;
    case kLsh:
      return b.min == b.max && b.max < 32 && a.max << b.max < kSmall && a.max < kSmall
                 ? Value::Scalar(a.min << b.max, a.max << b.max)
                 : unknown;
    case kRsh: return b.min == b.max && b.max < 64 ? Value::Scalar(a.min >> b.max, a.max >> b.max) : unknown;
    case kDiv:
    case kMod: return Value::Scalar();  // the kernel forgets even the width
    default: return unknown;
  }
}

}  // namespace bpfsieve
