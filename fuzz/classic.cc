// Fragments around which verifiers have gone wrong before: what a helper leaves in memory, two look-ups and one check, what
// an atomic operation fetches, maps whose contents are known, distances that wrap at 32 bits.
#include <algorithm>

#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kMapLookup = 1, kSkbLoadBytes = 26, kSpinLockCall = 93, kSpinUnlockCall = 94, kXdpLoadBytes = 189;  // helpers

}  // namespace

// Loads through a stack pointer plus `index`, which is below 8 * `slots`.
void Generator::UseAsIndex(int index, int slots) {
  if (!o_.caps.perfmon) return;
  const Pin keep(*this, index);
  const int base = StackBuffer(8 * slots, c_.Chance(0.3));
  if (base < 0) return;
  code_.AluReg(kAdd, base, index);
  code_.Load(1, base, base, 0);
  Set(base, Value::Scalar(0, 255));
}

// Two look-ups, of which each has to be checked.
void Generator::TwoValues() {
  const int home = Saved();
  if (home < 0) return;
  const Pin keep(*this, home);
  const int index = UseMap(c_.Chance(0.5) ? kHashMap : kArrayMap);
  const MapDef map = object_->maps[index];
  const auto look_up = [&] {
    const int key = KeyFor(map);
    code_.MovReg(2, kRegFp);
    code_.AluImm(kAdd, 2, key);
    code_.Imm64(1, kPseudoMapFd, index, 0);
    code_.Call(kMapLookup);
    ClobberedByCall(Value{});
  };
  look_up();
  code_.MovReg(home, 0);
  Set(home, Value{});
  look_up();
  Label past = NewLabel();
  bails_.push_back(&past);
  const bool one = Defect();
  const bool first = c_.Chance(0.5);
  if (!one || first) BranchImm(kJeq, home, 0, past);
  if (!one || !first) BranchImm(kJeq, 0, 0, past);
  Value v = Value::Pointer(Kind::kMapValue, static_cast<int32_t>(map.value_size));
  v.atomics = true;
  Set(home, v);
  if (!one) Set(0, v);
  if (one && first) {
    code_.Load(1, 0, 0, 0);
    Set(0, Value::Scalar(0, 255));
  }
  if (!one || !first) Access(home);
  bails_.pop_back();
  Bind(past);
}

// Two locks: of plain ones the one that was taken is given back, and of those that may be held together the last one first.
void Generator::TwoLocks() {
  const int first = Saved();
  if (first < 0) return;
  const Pin keep_first(*this, first);
  const int second = Saved();
  if (second < 0) return;
  const Pin keep_second(*this, second);
  const bool both = o_.subprograms && ctx_facts_->sections && (pinned_ & 0x3f) == 0 && c_.Chance(0.5);
  const int index = UseMap(both ? kResLockMap : kLockMap);
  Label past = NewLabel();
  for (const int home : {first, second}) {
    const int key = KeyFor(object_->maps[index]);
    code_.MovReg(2, kRegFp);
    code_.AluImm(kAdd, 2, key);
    code_.Imm64(1, kPseudoMapFd, index, 0);
    code_.Call(kMapLookup);
    ClobberedByCall(Value{});
    BranchImm(kJeq, 0, 0, past);
    code_.MovReg(home, 0);
    Set(home, Value{});
  }
  const auto call = [&](int home, bool take) {
    code_.MovReg(1, home);
    if (both) {
      Kfunc(take ? "bpf_res_spin_lock" : "bpf_res_spin_unlock");
    } else {
      code_.Call(take ? kSpinLockCall : kSpinUnlockCall);
    }
    ClobberedByCall(Value{});
  };
  Label one = NewLabel();
  call(first, true);
  if (both) {
    BranchImm(kJne, 0, 0, past, false);
    call(second, true);
    BranchImm(kJne, 0, 0, one, false);
  }
  Value v = Value::Pointer(Kind::kMapValue, 32);
  v.lo = 8;
  v.atomics = true;
  Set(first, v);
  Set(second, v);
  locked_ = true;
  Access(c_.Chance(0.5) ? first : second);
  locked_ = false;
  const bool wrong = Defect();
  if (!both) {
    call(wrong ? second : first, false);
  } else if (wrong) {
    call(first, false);
    call(second, false);
    Goto(past);
    Bind(one, false);
    call(first, false);
  } else {
    call(second, false);
    Bind(one);
    call(first, false);
  }
  Bind(past);
}

// A number that an atomic operation gets from the stack is what was put there.
void Generator::Fetched() {
  const int slots = c_.Between(1, 3);
  const uint64_t most = static_cast<uint64_t>(8 * slots - 1);
  const int index = Bounded(most);
  const Pin keep(*this, index);
  const int d = Dst();
  const Pin keep_d(*this, d);
  code_.MovReg(d, index);
  Set(d, Value::Scalar(0, most));
  if (CanFork() && Defect()) OneWay([&] { code_.MovImm(d, c_.Between(200, 3000)); });
  const int slot = FreeSlot();
  const int off = -8 * (slot + 1);
  code_.Store(8, kRegFp, off, d);
  code_.MovImm(d, c_.Between(0, 3));
  const int32_t ops[] = {kAdd | kFetch, kOr | kFetch, kXchg};
  code_.Emit(MakeInsn(kClassStx | kModeAtomic | kSizeDw, kRegFp, d, off, c_.Of(ops)));
  m_.slots[slot] = Value::Scalar();
  Set(d, Value::Scalar(0, most));
  if (!Defect(0.2)) {
    // The fetched number is known only as far as the slot was.
    code_.AluImm(kAnd, d, static_cast<int32_t>(8 * (slots == 3 ? 2 : slots) - 1));
  }
  UseAsIndex(d, slots);
}

// A helper writes over what was known of the stack.
void Generator::Filled() {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  if ((pinned_ & 0x3f & ~(1u << ctx)) != 0) return Alu();
  const uint32_t before = pinned_;
  if (ctx != 1) code_.MovReg(1, ctx);
  Set(1, Value{});
  pinned_ |= 1u << 1;
  const int slots = c_.Between(1, 2);
  const int buffer = StackBuffer(8 * slots, true);
  if (buffer < 0) {
    pinned_ = before;
    return;
  }
  const int off = m_.regs[buffer].off;
  if (buffer != 3) code_.MovReg(3, buffer);
  Set(3, Value{});
  code_.MovImm(2, c_.Between(0, 8));
  code_.MovImm(4, 8 * slots);
  code_.Call(Can(kXdpLoadBytes) ? kXdpLoadBytes : kSkbLoadBytes);
  pinned_ = before;
  ClobberedByCall(Value::Scalar());
  StackWritten(off, 8 * slots, nullptr);
  const int d = Dst();
  code_.Load(8, d, kRegFp, off);
  Set(d, Value::Scalar());
  if (!Defect()) code_.AluImm(kAnd, d, 7);
  Set(d, Value::Scalar(0, 7));
  UseAsIndex(d, 1);
}

// A map whose contents never change is a table of constants; one that only starts with them is not.
void Generator::Constants() {
  const bool fixed = c_.Chance(0.6);
  const int map = UseMap(fixed ? kConstantMap : kDataMap);
  const int at = static_cast<int>(c_.Below(8));
  const int d = Dst();
  const Pin keep(*this, d);
  code_.Imm64(d, kPseudoMapValue, map, 0);
  Value v = Value::Pointer(Kind::kMapValue, 8);
  v.writable = !fixed;
  Set(d, v);
  if (fixed && Defect(0.3)) {
    code_.StoreImm(1, d, at, 1);
  } else if (fixed && CallsAllowed() && (pinned_ & 0x3f & ~(1u << d)) == 0 && Defect(0.6) &&
             (Can(kSkbLoadBytes) || Can(kXdpLoadBytes))) {
    // A helper may not write there either.
    const int ctx = CtxReg();
    if (ctx < 0 || ctx == 3) return;
    if (d != 3) code_.MovReg(3, d);
    if (ctx != 1) code_.MovReg(1, ctx);
    code_.MovImm(2, 0);
    code_.MovImm(4, 8);
    code_.Call(Can(kXdpLoadBytes) ? kXdpLoadBytes : kSkbLoadBytes);
    ClobberedByCall(Value::Scalar());
    return;
  }
  const int i = Dst();
  const Pin keep_index(*this, i);
  code_.Load(1, i, d, at);
  Set(i, Value::Scalar(0, 255));
  if (!fixed && !Defect()) code_.AluImm(kAnd, i, 7);
  Set(i, Value::Scalar(0, 7));
  UseAsIndex(i, 1);
}

// A copy at a distance of 32 bits, which wraps; the comparison is of either width.
void Generator::Wrapped() {
  const int a = Unknown();
  const Pin keep_a(*this, a);
  const int b = Dst();
  const Pin keep_b(*this, b);
  const bool narrow = m_.regs[a].max > 0xffffffff || c_.Chance(0.5);
  if (narrow) {
    code_.Emit(MakeInsn(kClassAlu | kMov | kSrcX, a, a, 0, 0));
    m_.regs[a].max = std::min<uint64_t>(m_.regs[a].max, 0xffffffff);
  }
  code_.MovReg(b, a);
  const int op = c_.Chance(0.5) ? kAdd : kSub;
  const int distance = c_.Between(-9, 9);
  code_.Emit(MakeInsn(kClassAlu | op, b, 0, 0, distance));
  Set(b, Value::Scalar(0, 0xffffffff));
  if ((pinned_ >> a & 1) != 0 && c_.Chance(0.4)) {  // the same one in 64 bits, which does not wrap where it does
    code_.AluImm(op, a, c_.Chance(0.7) ? distance : c_.Between(-9, 9));
    Set(a, Value::Scalar());
  }
  const int low = c_.Between(0, 12);
  Label out = NewLabel();
  const bool wide = c_.Chance(0.7);
  SomeBranchImm(c_.Chance(0.7) ? a : b, low, out, wide);
  const int slot = FreeSlot();
  code_.Store(8, kRegFp, -8 * (slot + 1), b);
  m_.slots[slot] = Value::Scalar();
  if (c_.Chance(0.5)) {
    code_.AluReg(kXor, b, a);
    Set(b, Value::Scalar());
  }
  Bind(out);
}

// Packets compared with their end once more, in every way that decides, or does not.
void Generator::PacketAgain() {
  const int ctx = CtxReg();
  const Pin keep_ctx(*this, ctx);
  const int data = Dst();
  const Pin keep_data(*this, data);
  const int end = Dst();
  const Pin keep_end(*this, end);
  const int t = Dst();
  const Pin keep(*this, t);
  if (ctx < 0) return Alu();
  code_.Load(ctx_facts_->packet_size, data, ctx, ctx_facts_->packet);
  code_.Load(ctx_facts_->packet_size, end, ctx, ctx_facts_->packet_end);
  code_.MovReg(t, data);
  code_.AluImm(kAdd, t, c_.Between(1, 16));
  for (const int r : {data, end, t}) Set(r, Value{});
  static constexpr int kOps[] = {kJgt, kJge, kJlt, kJle};
  Label past = NewLabel(), inside = NewLabel();
  const bool forward = c_.Chance(0.6);
  const int first = forward ? t : end, second = forward ? end : t;
  BranchReg(c_.Of(kOps), first, second, past);
  if (CanFork()) BranchReg(c_.Of(kOps), first, second, inside);
  if (CanFork()) BranchReg(c_.Of(kOps), first, second, inside);
  if (Defect()) code_.Load(1, t, data, 0);
  Bind(inside);
  Bind(past);
  Set(t, Value{});
}

// Two values of a map of which one may not be there, and is if they are the same.
void Generator::SamePointers() {
  const int home = Saved();
  const Pin keep(*this, home);
  if (home < 0 || (pinned_ & 0x3f) != 0) return Alu();
  const int index = UseMap(kHashMap);
  const auto look_up = [&] {
    const int key = KeyFor(object_->maps[static_cast<size_t>(index)]);
    code_.MovReg(2, kRegFp);
    code_.AluImm(kAdd, 2, key);
    code_.Imm64(1, kPseudoMapFd, index, 0);
    code_.Call(kMapLookup);
    ClobberedByCall(Value{});
  };
  Label none = NewLabel();
  look_up();
  code_.MovReg(home, 0);
  Set(home, Value{});
  BranchImm(kJeq, home, 0, none);
  look_up();
  Label other = NewLabel();
  BranchReg(Defect() ? kJeq : kJne, 0, home, other);
  code_.Load(1, 0, 0, 0);
  Bind(other);
  Bind(none);
  Set(0, Value{});
  Set(home, Value{});
}

// Offsets that are added to pointers that take only some, and taken away again.
void Generator::ThereAndBack() {
  const int ctx = CtxReg();
  const Pin keep(*this, ctx);
  const int d = Dst();
  if (ctx < 0) return Alu();
  const int32_t by = Defect() ? 4 : c_.Between(-2, 2) * 4;
  if (ctx_facts_->flow_keys >= 0) {
    code_.Load(8, d, ctx, ctx_facts_->flow_keys);
    code_.AluImm(kAdd, d, 4);
    code_.Load(4, d, d, Defect() ? kFlowKeysSize - 4 : 8);
    Set(d, Value::Scalar(0, 0xffffffff));
  } else if (c_.Chance(0.4) && o_.maps && o_.caps.perfmon) {
    code_.Imm64(d, kPseudoMapFd, UseMap(kHashMap), 0);
    code_.AluImm(kAdd, d, Defect() ? 4 : 0);
    Set(d, Value{});
  } else if (!ctx_facts_->fields.empty()) {
    code_.MovReg(d, ctx);
    code_.AluImm(kAdd, d, by);
    if (!Defect()) code_.AluImm(kSub, d, by);
    code_.Load(4, d, d, ctx_facts_->fields.front());
    Set(d, Value::Scalar(0, 0xffffffff));
  }
}

}  // namespace bpfsieve
