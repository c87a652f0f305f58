// Fragments that compute: numbers, their bounds, and where they are kept.
#include <algorithm>

#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kKtimeGetNs = 5, kGetPrandomU32 = 7, kGetSmpProcessorId = 8;  // helpers
constexpr uint64_t kMax32 = 0xffffffff;

}  // namespace

bool Generator::ScalarByCall() {
  if (!CallsAllowed()) return false;
  const int32_t helpers[] = {kGetPrandomU32, kGetPrandomU32, kKtimeGetNs, kGetSmpProcessorId};
  int32_t helper = c_.Of(helpers);
  if (!Can(helper)) return false;
  if (helper == kGetSmpProcessorId && !o_.processor_number) helper = kKtimeGetNs;
  code_.Call(helper);
  ClobberedByCall(Value::Scalar());
  return true;
}

int Generator::NewScalar() {
  const int d = Dst();
  switch (c_.Below(7)) {
    case 0: {
      const int32_t k = static_cast<int32_t>(c_.Below(24));
      code_.MovImm(d, k);
      Set(d, Value::Scalar(static_cast<uint64_t>(k), static_cast<uint64_t>(k)));
      return d;
    }
    case 1: {
      const int32_t k = SomeImm();
      const bool wide = c_.Chance(0.5);
      code_.Emit(MakeInsn((wide ? kClassAlu64 : kClassAlu) | kMov, d, 0, 0, k));
      const uint64_t v = wide ? static_cast<uint64_t>(int64_t{k}) : static_cast<uint32_t>(k);
      Set(d, Value::Scalar(v, v));
      return d;
    }
    case 2:
      if (c_.Chance(0.3)) {
        const int32_t high = SomeImm(), low = SomeImm();
        code_.Imm64(d, 0, low, high);
        Set(d, Value::Scalar());
        return d;
      }
      [[fallthrough]];
    case 3: {
      // A number that nothing is known of, as most are.
      const int ctx = c_.Chance(0.6) ? CtxReg() : -1;
      if (ctx >= 0 && LoadCtxNumber(d, ctx)) return d;
      if ((pinned_ & 0x3f) == 0 && ScalarByCall()) {
        if (d != 0) code_.MovReg(d, 0);
        Set(d, m_.regs[0]);
        return d;
      }
      break;
    }
    case 4: {
      // Without a slot for it, whatever the stack holds: an unknown number.
      const int slot = FreeSlot();
      if (!m_.slots[slot].IsScalar() && m_.slots[slot].kind != Kind::kNone) break;
      code_.Load(8, d, kRegFp, -8 * (slot + 1));
      Set(d, m_.slots[slot].IsScalar() ? m_.slots[slot] : Value::Scalar());
      return d;
    }
    case 5: {
      const int from = RegOf(Kind::kScalar);
      if (from < 0) break;
      const bool wide = c_.Chance(0.7);
      code_.Emit(MakeInsn((wide ? kClassAlu64 : kClassAlu) | kMov | kSrcX, d, from, 0, 0));
      Set(d, AluResult(kMov, wide, m_.regs[from], m_.regs[from]));
      return d;
    }
    default: {
      const int from = MemoryReg(1, false, false);
      if (from < 0) break;
      code_.Load(1, d, from, m_.regs[from].lo);
      Set(d, Value::Scalar(0, 255));
      return d;
    }
  }
  code_.Load(8, d, kRegFp, -8 * slots_);
  Set(d, m_.slots[slots_ - 1].IsScalar() || m_.slots[slots_ - 1].kind == Kind::kNone ? Value::Scalar() : Value{});
  if (!m_.regs[d].IsScalar()) {
    code_.MovImm(d, 1);
    Set(d, Value::Scalar(1, 1));
  }
  return d;
}

// A number that a verifier knows nothing of either, so that both ways of a comparison stay open: a jump out of the
// function that is always taken would leave the rest of the program unvisited.
int Generator::Unknown() {
  const int d = Dst();
  const int ctx = CtxReg();
  if (ctx >= 0 && c_.Chance(0.7) && LoadCtxNumber(d, ctx)) {
    // done
  } else if ((pinned_ & 0x3f) == 0 && CallsAllowed() && Can(kGetPrandomU32)) {
    code_.Call(kGetPrandomU32);
    ClobberedByCall(Value::Scalar());
    return 0;
  } else {
    // Nobody has written below the slots in use; what is there is unknown.
    code_.Load(8, d, kRegFp, -8 * (slots_ + 1));
    Set(d, Value::Scalar());
  }
  return d;
}

int Generator::AnyScalar(int avoid) {
  // What one path only has set is the more interesting kind of unset.
  const int mixed = RegOf(Kind::kMixed);
  int unset = mixed >= 0 && Defect(0.3) ? mixed : -1;
  if (unset < 0 && Defect(0.05)) unset = RegOf(Kind::kNone);
  if (unset >= 0 && (pinned_ >> unset & 1) == 0) {
    // Where it is an address the path ends here: as a number it could end up as one plus a pointer, see AddIndex().
    code_.AluImm(kXor, unset, 0);
    return unset;
  }
  int found[kModelRegs], n = 0;
  for (int r = 0; r < kModelRegs; ++r) {
    if (r != avoid && m_.regs[r].IsScalar()) found[n++] = r;
  }
  if (n > 0 && c_.Chance(0.85)) return found[c_.Below(static_cast<uint32_t>(n))];
  const Pin keep(*this, avoid);
  return NewScalar();
}

int Generator::Bounded(uint64_t max) {
  int r = AnyScalar();
  const bool within = m_.regs[r].IsScalar() && m_.regs[r].max <= max;
  const bool beyond = within && Defect();
  if (within && !beyond) return r;
  if ((pinned_ >> r & 1) != 0) {
    const int copy = Dst();
    code_.MovReg(copy, r);
    Set(copy, m_.regs[r]);
    r = copy;
  }
  if (beyond) {
    code_.AluImm(kAdd, r, static_cast<int32_t>(max - m_.regs[r].max) + c_.Between(1, 3));
  } else {
    Refine(r, max);
  }
  return r;
}

// Makes a number that is not pinned known to be at most `max`.
void Generator::Refine(int reg, uint64_t max) {
  Value& v = m_.regs[reg];
  const int32_t limit = static_cast<int32_t>(max);
  const bool spoil = CanFork() && Defect(0.3);
  if (!spoil && Defect()) {
    // No check; or one that is not enough.
    switch (CanFork() ? c_.Below(4) : 0) {
      case 0: break;
      case 1: {
        Label& bail = Bail();
        BranchImm(kJgt, reg, limit + c_.Between(1, 8), bail);
        break;
      }
      case 2: BranchImm(kJsgt, reg, limit, Bail()); break;
      default: BranchImm(kJgt, reg, limit, Bail(), false); break;
    }
    v = Value::Scalar(0, max);
    return;
  }
  const Pin keep(*this, reg);
  if (CanFork() && c_.Chance(0.2)) {
    // Against a limit in a register, on which the number then depends.
    const int k = Dst();
    const Pin keep_limit(*this, k);
    code_.MovImm(k, limit);
    Set(k, Value::Scalar(max, max));
    if (spoil) OneWay([&] { code_.MovImm(k, limit + c_.Between(1, 3000)); });
    BranchReg(kJgt, reg, k, Bail());
  } else {
    Limit(reg, max);
    if (spoil) OneWay([&] { code_.MovImm(reg, limit + c_.Between(1, 3000)); });
  }
  v = Value::Scalar(0, std::min(v.max, max));
  if (c_.Chance(0.15)) {
    // By way of the stack.
    const int slot = FreeSlot();
    code_.Store(8, kRegFp, -8 * (slot + 1), reg);
    m_.slots[slot] = v;
    if (c_.Chance(0.5)) code_.MovImm(reg, 0);
    if (spoil && CanFork()) OneWay([&] { code_.StoreImm(8, kRegFp, -8 * (slot + 1), limit + 3000); });
    code_.Load(8, reg, kRegFp, -8 * (slot + 1));
  }
}

// One of the ways to have a number that is not pinned at most `max`.
void Generator::Limit(int reg, uint64_t max) {
  Value& v = m_.regs[reg];
  const int32_t limit = static_cast<int32_t>(max);
  if (!CanFork() || v.min == v.max || v.min > max || c_.Chance(0.35)) {
    // The largest mask that stays within the limit.
    uint64_t mask = 1;
    while (mask * 2 + 1 <= max) mask = mask * 2 + 1;
    if (mask > max) mask = 0;
    const bool wide = c_.Chance(0.6);
    code_.Emit(MakeInsn((wide ? kClassAlu64 : kClassAlu) | kAnd, reg, 0, 0, static_cast<int32_t>(mask)));
    v = Value::Scalar(0, std::min(v.max, mask));
    return;
  }
  switch (c_.Below(5)) {
    case 0:
      BranchImm(kJgt, reg, limit, Bail());
      break;
    case 1:
      BranchImm(kJge, reg, limit + 1, Bail());
      break;
    case 2:
      BranchImm(kJslt, reg, 0, Bail());
      BranchImm(kJsgt, reg, limit, Bail());
      break;
    case 3:
      code_.Emit(MakeInsn(kClassAlu | kMov | kSrcX, reg, reg, 0, 0));
      v.max = std::min(v.max, kMax32);
      BranchImm(kJgt, reg, limit, Bail(), false);
      break;
    default: {
      // Around the other way out.
      Label ok = NewLabel();
      BranchImm(kJle, reg, limit, ok);
      ok.used = false;  // what it leaves behind is what is known below
      Goto(Bail());
      Bind(ok);
      break;
    }
  }
  v = Value::Scalar(v.min <= max ? v.min : 0, std::min(v.max, max));
}

void Generator::Alu() {
  constexpr int kOps[] = {kAdd, kAdd, kSub, kAnd, kAnd, kOr, kXor, kLsh, kRsh, kArsh, kMul, kDiv, kMod, kMov};
  int d = AnyScalar();
  if ((pinned_ >> d & 1) != 0) {
    const int copy = Dst();
    code_.MovReg(copy, d);
    Set(copy, m_.regs[d]);
    d = copy;
  }
  const int count = c_.Between(1, 4);
  for (int i = 0; i < count; ++i) {
    const int op = c_.Of(kOps);
    const bool wide = c_.Chance(0.65);
    const int cls = wide ? kClassAlu64 : kClassAlu;
    const bool divides = op == kDiv || op == kMod;
    // The sign-extending and signed forms are told by the offset.
    const int off = divides && c_.Chance(0.3) ? 1 : 0;
    if (c_.Chance(0.4)) {
      const Pin keep(*this, d);
      const int s = AnyScalar();
      code_.Emit(MakeInsn(cls | op | kSrcX, d, s, off, 0));
      Set(d, AluResult(op, wide, m_.regs[d], m_.regs[s]));
      continue;
    }
    int32_t k = c_.Chance(0.6) ? c_.Between(1, 15) : SomeImm();
    if (op == kLsh || op == kRsh || op == kArsh) k = static_cast<int32_t>(c_.Below(wide ? 64 : 32));
    if (divides && k == 0) k = 3;
    code_.Emit(MakeInsn(cls | op, d, 0, off, k));
    const uint64_t v = wide ? static_cast<uint64_t>(int64_t{k}) : static_cast<uint32_t>(k);
    Set(d, AluResult(op, wide, m_.regs[d], Value::Scalar(v, v)));
  }
}

// Negation, byte swaps, sign extension.
void Generator::Unary() {
  const int s = AnyScalar();
  const Pin keep(*this, s);
  const int d = Dst();
  switch (c_.Below(4)) {
    case 0: {
      const int widths[] = {8, 16, 32};
      const bool wide = c_.Chance(0.6);
      const int width = wide ? c_.Of(widths) : 8 << c_.Below(2);
      code_.Emit(MakeInsn((wide ? kClassAlu64 : kClassAlu) | kMov | kSrcX, d, s, width, 0));
      Set(d, Value::Scalar(0, wide ? ~uint64_t{0} : kMax32));
      return;
    }
    case 1:
      code_.MovReg(d, s);
      code_.Emit(MakeInsn((c_.Chance(0.5) ? kClassAlu64 : kClassAlu) | kNeg, d, 0, 0, 0));
      break;
    default: {
      const int bits = 16 << c_.Below(3);
      code_.MovReg(d, s);
      const bool swap = c_.Chance(0.4);
      const int order = c_.Chance(0.5) ? kSrcX : kSrcK;  // to big or to little endian
      code_.Emit(MakeInsn(swap ? kClassAlu64 | kEnd : kClassAlu | kEnd | order, d, 0, 0, bits));
      break;
    }
  }
  Set(d, Value::Scalar());
}

// A branch that `spoil` makes worse on one of its ways. Mostly the second one: a search that takes the first to stand
// for both, although something depends on the difference, does not see it.
void Generator::OneWay(const std::function<void()>& spoil) {
  const int x = Unknown();
  Label other = NewLabel(), end = NewLabel();
  const bool wide = c_.Chance(0.7);
  SomeBranchImm(x, c_.Between(1, 100), other, wide);
  if (c_.Chance(0.8)) {
    Goto(end);
    Bind(other, false);
    spoil();
    Bind(end);
  } else {
    spoil();
    Bind(other);
  }
}

// Zeros in memory are known without the register that they came from.
void Generator::Zeros() {
  const int z = Dst();
  const Pin keep(*this, z);
  code_.MovImm(z, 0);
  Set(z, Value::Scalar(0, 0));
  if (CanFork() && Defect()) OneWay([&] { code_.MovImm(z, c_.Between(20, 3000)); });
  Set(z, Value::Scalar(0, 0));
  const int slot = FreeSlot();
  const int off = -8 * (slot + 1);
  const int index = Dst();
  const Pin keep_index(*this, index);
  const bool halves = c_.Chance(0.5);
  const bool narrow = halves || c_.Chance(0.5);
  // The lower half would be remembered as a number of its own, the upper one is as bytes.
  const int at = narrow ? off + 4 : off;
  code_.StoreImm(narrow ? 4 : 8, kRegFp, at, 0);
  m_.slots[slot] = Value::Scalar();
  if (halves) {
    code_.Store(4, kRegFp, off + 4, z);
  } else {
    // A number that is not known on any path: a store to one known place forgets more than one to an unknown place
    // does, in the kernel as here, and then the search, which takes the second to stand for the first, may accept
    // where the naive one rejects.
    const int i = Unknown();
    code_.AluImm(kAnd, i, narrow ? 3 : 7);
    Set(i, Value::Scalar(0, 7));
    code_.MovReg(index, kRegFp);
    code_.AluReg(kAdd, index, i);
    code_.Store(1, index, at, z);
  }
  const int size = !narrow && c_.Chance(0.5) ? 8 : 4;
  code_.Load(size, index, kRegFp, size == 8 ? off : off + 4);
  Set(index, Value::Scalar(0, 0));
  const int base = StackBuffer(8, false);
  if (base < 0) return;
  code_.AluReg(kAdd, base, index);
  code_.Load(1, base, base, 0);
  Set(base, Value::Scalar(0, 255));
}

// Copies of one number, in registers and on the stack, at a constant distance or none: what a comparison teaches of one
// holds of all.
void Generator::Linked() {
  int a = AnyScalar();
  if (m_.regs[a].IsScalar() && m_.regs[a].min > 0) a = Unknown();
  const Pin keep_a(*this, a);
  const int b = Dst();
  const Pin keep_b(*this, b);
  // A copy of 32 bits is one only of a number that has no more.
  const bool narrow = m_.regs[a].IsScalar() && m_.regs[a].max <= kMax32 && c_.Chance(0.4);
  code_.Emit(MakeInsn((narrow ? kClassAlu : kClassAlu64) | kMov | kSrcX, b, a, 0, 0));
  Set(b, m_.regs[a]);
  // A copy at a distance is linked as long as it stays in a register.
  int32_t distance = 0;
  int slot = -1;
  if (c_.Chance(0.4)) {
    slot = FreeSlot();
    code_.Store(8, kRegFp, -8 * (slot + 1), b);
    if (c_.Chance(0.6)) code_.MovImm(b, 0);
  } else if (c_.Chance(0.6)) {
    distance = c_.Between(1, 9);
    code_.AluImm(kAdd, b, distance);
  }
  if (Defect(0.3)) code_.AluImm(kXor, a, c_.Between(1, 64));  // no link any more
  if (slot < 0 && CanFork() && Defect()) {
    // None on one of two ways, which look the same.
    OneWay([&] {
      if (c_.Chance(0.5)) {
        code_.Load(8, b, kRegFp, -8 * (slots_ + 2));
      } else {
        code_.MovImm(b, c_.Between(100, 3000));
      }
    });
  }
  const int32_t limit = c_.Between(0, 12);
  Label& bail = Bail();
  if (c_.Chance(0.8)) {
    BranchImm(kJgt, a, limit, bail);
  } else {
    const Pin keep_both(*this, a);
    const int k = Dst();
    code_.MovImm(k, limit);
    Set(k, Value::Scalar(static_cast<uint64_t>(limit), static_cast<uint64_t>(limit)));
    BranchReg(kJgt, a, k, bail);
  }
  const Value known = Value::Scalar(static_cast<uint64_t>(distance), static_cast<uint64_t>(limit + distance));
  if (m_.regs[a].max > static_cast<uint64_t>(limit)) m_.regs[a] = Value::Scalar(0, static_cast<uint64_t>(limit));
  if (slot >= 0) {
    m_.slots[slot] = known;
    code_.Load(8, b, kRegFp, -8 * (slot + 1));
  }
  Set(b, known);
  if (c_.Chance(0.7)) {
    // Relies on it at once; later fragments may as well.
    const int base = StackBuffer(8 * (static_cast<int>(known.max) / 8 + 1), c_.Chance(0.5));
    if (base < 0) return;
    code_.AluReg(kAdd, base, b);
    const int off = Defect() ? 8 * (static_cast<int>(known.max) / 8 + 1) : 0;
    const int at = m_.regs[base].off;
    const int room = m_.regs[base].room;
    if (c_.Chance(0.5)) {
      code_.StoreImm(1, base, off, 1);
      StackWritten(at, room, nullptr);
      Set(base, Value{});
    } else {
      code_.Load(1, base, base, off);
      Set(base, Value::Scalar(0, 255));
    }
  }
}

void Generator::Spill() {
  int r = c_.Chance(0.6) ? AnyScalar() : Dst();
  if (m_.regs[r].kind == Kind::kNone || m_.regs[r].kind == Kind::kMixed) r = AnyScalar();
  const int slot = FreeSlot();
  const int off = -8 * (slot + 1);
  const Value v = m_.regs[r];
  if (!v.IsScalar() || c_.Chance(0.7)) {
    code_.Store(8, kRegFp, off, r);
    m_.slots[slot] = v;
    return;
  }
  const int size = 1 << c_.Below(3);
  const int at = off + size * static_cast<int>(c_.Below(static_cast<uint32_t>(8 / size)));
  if (c_.Chance(0.7)) {
    code_.Store(size, kRegFp, at, r);
  } else {
    code_.StoreImm(size, kRegFp, at, SomeImm());
  }
  m_.slots[slot] = Value::Scalar();
}

void Generator::Fill() {
  const int d = Dst();
  int slot = FreeSlot();
  for (int tries = 0; tries < 4 && m_.slots[slot].kind == Kind::kNone; ++tries) slot = FreeSlot();
  const Value& v = m_.slots[slot];
  const int off = -8 * (slot + 1);
  if (v.kind == Kind::kMixed) {
    // A number on some paths, a pointer on others: good for nothing but to be read.
    code_.Load(8, d, kRegFp, off);
    Set(d, v);
    return;
  }
  if (!v.IsScalar() || c_.Chance(0.7)) {
    code_.Load(8, d, kRegFp, off);
    Set(d, v.kind == Kind::kNone ? Value::Scalar() : v);
    return;
  }
  const int size = 1 << c_.Below(3);
  const int at = c_.Chance(0.4) ? off : off + size * static_cast<int>(c_.Below(static_cast<uint32_t>(8 / size)));
  if (c_.Chance(0.3)) {
    code_.Emit(MakeInsn(kClassLdx | kModeMemsx | SizeCode(size), d, kRegFp, at, 0));
    Set(d, Value::Scalar());
    return;
  }
  code_.Load(size, d, kRegFp, at);
  Set(d, Value::Scalar(0, (uint64_t{1} << (8 * size)) - 1));
}

}  // namespace bpfsieve
