// Fragments that use what the kernel lends: maps, ring buffers, locks; and calls of the program's own functions.
#include <algorithm>

#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

// Helpers.
constexpr int32_t kMapLookup = 1, kMapUpdate = 2, kMapDelete = 3, kSpinLockCall = 93, kSpinUnlockCall = 94,
                  kRingbufOutput = 130, kRingbufReserve = 131, kRingbufSubmit = 132, kRingbufDiscard = 133;

}  // namespace

int Generator::KeyFor(const MapDef& map) {
  const int off = -8 * (FreeSlot() + 1);
  const int size = static_cast<int>(map.key_size);
  if (c_.Chance(0.4)) {
    const int s = AnyScalar();
    code_.Store(size, kRegFp, off, s);
    StackWritten(off, size, size == 8 ? &m_.regs[s] : nullptr);
  } else {
    if (size == 4 && c_.Chance(0.1)) {
      // Zero, a byte at a time.
      for (int at = off; at < off + size; ++at) code_.StoreImm(1, kRegFp, at, 0);
      StackWritten(off, size, nullptr);
      return off;
    }
    // An array's elements are known to exist where the key is a constant; not all are.
    code_.StoreImm(size, kRegFp, off, static_cast<int32_t>(c_.Below(map.max_entries + 2)));
    StackWritten(off, size, nullptr);
  }
  return off;
}

// Leaves the value in the register that is returned, where it is not null. R0..R5 are lost.
int Generator::Lookup(int index, Label& null) {
  const MapDef map = object_->maps[index];
  const int key = KeyFor(map);
  code_.MovReg(2, kRegFp);
  code_.AluImm(kAdd, 2, Defect() ? key + 8 + 8 * kModelSlots : key);
  code_.Imm64(1, kPseudoMapFd, index, 0);
  code_.Call(kMapLookup);
  ClobberedByCall(Value{});
  Value v = Value::Pointer(Kind::kMapValue, static_cast<int32_t>(map.value_size));
  if (!map.fields.empty()) {
    // In front of the fields that are the kernel's, or behind the first one.
    const MapField& first = map.fields.front();
    if (first.offset > 0) {
      v.room = static_cast<int32_t>(first.offset);
    } else {
      v.lo = 8;
    }
  }
  v.atomics = true;
  int reg = 0;
  const int home = c_.Chance(0.6) ? Saved() : -1;
  const bool early = c_.Chance(0.5);  // the copy is made before the comparison, which then counts for both
  if (home >= 0 && early) code_.MovReg(home, 0);
  if (home >= 0) Set(home, Value{});
  if (Defect(0.15)) code_.AluImm(kAdd, 0, 8);  // while it may still be null
  if (!Defect()) {
    const int checked = home >= 0 && early && c_.Chance(0.4) ? home : 0;
    if (c_.Chance(0.7)) {
      BranchImm(kJeq, checked, 0, null);
    } else {
      Label ok = NewLabel();
      BranchImm(kJne, checked, 0, ok);
      ok.used = false;
      Goto(null);
      Bind(ok);
    }
  }
  if (home >= 0 && !early) code_.MovReg(home, 0);
  if (home >= 0) reg = home;
  Set(0, v);
  Set(reg, v);
  return reg;
}

void Generator::MapValues(int depth) {
  Label past = NewLabel();
  const MapUse uses[] = {kArrayMap, kHashMap, kHashMap, kArrayMap, kLockMap};
  const MapUse use = c_.Of(uses);
  const int map = UseMap(use == kLockMap && !MayLock() ? kHashMap : use);
  // Where nothing is to be done without a value, it stays usable for what follows.
  Label& null = c_.Chance(0.5) ? past : Bail();
  const int v = Lookup(map, null);
  bails_.push_back(&past);
  {
    const Pin keep(*this, v);
    for (int n = c_.Between(1, 3); n > 0; --n) {
      int p = v;
      if (c_.Chance(0.5)) p = AddIndex(v);
      Access(p >= 0 ? p : v);
    }
    if (v >= 6 && Deep(depth) && c_.Chance(0.4)) Block(c_.Between(1, 2), depth + 1);
  }
  bails_.pop_back();
  Bind(past);
}

void Generator::MapUpdate() {
  const int index = UseMap(c_.Chance(0.5) ? kHashMap : kArrayMap);
  const MapDef map = object_->maps[index];
  const uint32_t before = pinned_;
  const bool update = c_.Chance(0.6);
  if (update) {
    int value = MemoryReg(static_cast<int>(map.value_size), false, false);
    if (value >= 0 && m_.regs[value].lo != 0) value = -1;
    if (value < 0) value = StackBuffer(static_cast<int>(map.value_size), c_.Chance(0.5));
    if (value < 0) return;
    code_.MovReg(3, value);
    if (Defect()) code_.AluImm(kAdd, 3, 8 * kModelSlots + 8);
    Set(3, Value{});
    pinned_ |= 1u << 3;
  }
  const int key = KeyFor(map);
  code_.MovReg(2, kRegFp);
  if (!Defect()) code_.AluImm(kAdd, 2, key);
  code_.Imm64(1, kPseudoMapFd, index, 0);
  if (update) code_.MovImm(4, static_cast<int32_t>(c_.Below(3)));
  code_.Call(update ? kMapUpdate : kMapDelete);
  pinned_ = before;
  ClobberedByCall(Value::Scalar());
}

// Memory of some length to a helper.
void Generator::RingbufOutput() {
  const uint32_t before = pinned_;
  const int size = 8 * c_.Between(1, 4);
  const int data = StackBuffer(size, c_.Chance(0.5));
  if (data < 0) return;
  code_.MovReg(2, data);
  Set(2, Value{});
  pinned_ |= 1u << 2;
  if (c_.Chance(0.5)) {
    code_.MovImm(3, size);
    Set(3, Value::Scalar(0, static_cast<uint64_t>(size)));
  } else {
    const int length = Bounded(static_cast<uint64_t>(size));
    if (length != 3) code_.MovReg(3, length);
    Set(3, Value::Scalar(0, static_cast<uint64_t>(size)));
  }
  pinned_ |= 1u << 3;
  // Too long by what lies between the buffer and the frame, at least.
  if (CanFork() && Defect()) OneWay([&] { code_.AluImm(kAdd, 3, 8 * kModelSlots + 8); });
  Set(3, Value{});
  const int index = UseMap(kRingMap);
  code_.Imm64(1, kPseudoMapFd, index, 0);
  code_.MovImm(4, 0);
  code_.Call(kRingbufOutput);
  pinned_ = before;
  ClobberedByCall(Value::Scalar());
}

// Global data.
void Generator::DirectValue() {
  const int index = UseMap(kSingleMap);
  const int size = static_cast<int>(object_->maps[index].value_size);
  const int off = 8 * static_cast<int>(c_.Below(static_cast<uint32_t>(size / 8)));
  const int d = Dst();
  code_.Imm64(d, kPseudoMapValue, index, off);
  Value v = Value::Pointer(Kind::kMapValue, size - off);
  v.atomics = true;
  Set(d, v);
  const int p = c_.Chance(0.5) ? AddIndex(d) : -1;
  Access(p >= 0 ? p : d);
}

// Memory of a ring buffer: reserved, filled in, and given back on every path.
void Generator::Ringbuf(int depth) {
  const int home = Saved();
  if (home < 0) return;
  const Pin keep(*this, home);
  const int index = UseMap(kRingMap);
  const int size = 8 * c_.Between(1, 4);
  code_.MovImm(2, size);
  if (CanFork() && Defect(0.3)) {
    Set(2, Value::Scalar());
    const Pin keep_size(*this, 2);
    OneWay([&] { code_.MovImm(2, size - 8); });
  }
  code_.Imm64(1, kPseudoMapFd, index, 0);
  code_.MovImm(3, 0);
  code_.Call(kRingbufReserve);
  ClobberedByCall(Value{});
  Set(home, Value{});
  code_.MovReg(home, 0);
  Label none = NewLabel(), back = NewLabel();
  if (!Defect()) BranchImm(kJeq, c_.Chance(0.5) ? home : 0, 0, none);
  Value v = Value::Pointer(Kind::kRingMem, size);
  v.atomics = true;
  Set(home, v);
  Set(0, v);

  const size_t floor = bail_floor_;
  ++held_;
  bails_.push_back(&back);
  if (!Defect()) bail_floor_ = bails_.size() - 1;  // else a check that fails leaks it
  for (int n = c_.Between(0, 2); n > 0; --n) Access(home);
  Block(c_.Between(0, 3), depth + 1);
  bails_.pop_back();
  bail_floor_ = floor;
  --held_;

  auto give_back = [&](int32_t helper) {
    code_.MovReg(1, home);
    if (Defect(0.3)) code_.AluImm(kAdd, 1, 8);
    code_.MovImm(2, 0);
    code_.Call(helper);
    ClobberedByCall(Value{});
    // Other pointers into it are gone as well.
    auto forget = [](Value& x) {
      if (x.kind == Kind::kRingMem || x.kind == Kind::kBuffer) x = Value{};
    };
    for (Value& x : m_.regs) forget(x);
    for (Value& x : m_.slots) forget(x);
    Set(home, Value{});
  };
  Label done = NewLabel();
  if (back.used && c_.Chance(0.5)) {
    if (!Defect()) give_back(kRingbufSubmit);
    Goto(done);
    Bind(back, false);
    if (!Defect()) give_back(kRingbufDiscard);
    Bind(done);
  } else {
    Bind(back);
    const bool twice = Defect() && c_.Chance(0.5);
    if (!Defect()) give_back(c_.Chance(0.5) ? kRingbufSubmit : kRingbufDiscard);
    if (twice) give_back(kRingbufDiscard);
  }
  Bind(none);
}

// What is done under a lock. One that may not be had says so, or not; some are taken with interrupts saved.
void Generator::SpinLock(int depth) {
  const bool resilient = o_.subprograms && ctx_facts_->sections && (pinned_ & 0x3f) == 0 && c_.Chance(0.4);
  const int flags = resilient && c_.Chance(0.3) ? ClaimSlots(1) : -1;
  const auto call = [&](int home, bool take) {
    code_.MovReg(1, home);
    if (!resilient) return code_.Call(take ? kSpinLockCall : kSpinUnlockCall);
    if (flags >= 0) {
      code_.MovReg(2, kRegFp);
      code_.AluImm(kAdd, 2, -8 * (flags + 1));
    }
    static constexpr const char* kNames[][2] = {{"bpf_res_spin_unlock", "bpf_res_spin_lock"},
                                                {"bpf_res_spin_unlock_irqrestore", "bpf_res_spin_lock_irqsave"}};
    Kfunc(kNames[flags >= 0 && !Defect(0.1)][take]);
  };
  Label null = NewLabel(), unlock = NewLabel();
  const int v = Lookup(UseMap(resilient ? kResLockMap : kLockMap), null);
  const int home = v >= 6 ? v : Saved();
  if (home >= 0) {
    const Pin keep(*this, home);
    if (home != v) code_.MovReg(home, v);
    Set(home, m_.regs[v]);
    call(home, true);
    const Value pointer = m_.regs[home];
    ClobberedByCall(Value{});
    Set(home, pointer);
    if (resilient && !Defect(0.5)) {
      if (c_.Chance(0.5)) {
        BranchImm(kJslt, 0, 0, null, false);
      } else {
        BranchImm(kJne, 0, 0, null, false);
      }
    }
    const size_t floor = bail_floor_;
    bails_.push_back(&unlock);
    if (!Defect()) bail_floor_ = bails_.size() - 1;
    locked_ = !Defect();  // where it is not, nothing keeps calls out
    Access(home);
    Block(c_.Between(0, 2), depth + 1);
    bails_.pop_back();
    bail_floor_ = floor;
    locked_ = false;
    Bind(unlock);
    if (!Defect()) {
      call(home, false);
      ClobberedByCall(Value{});
    }
  }
  Bind(null);
  if (flags >= 0) GiveSlotsBack(flags, 1);
}

void Generator::CallSub(int) {
  const int first = sub_ + 1;
  const int count = static_cast<int>(subs_.size()) - first;
  if (count <= 0) return Alu();
  const int index = first + static_cast<int>(c_.Below(static_cast<uint32_t>(count)));
  Sub& sub = subs_[index];
  if (sub.forks > forks_ || sub.callback || sub.typed) return Alu();
  const bool has_ctx = ctx_home_ >= 0 || ctx_slot_ >= 0;
  for (const Param& param : sub.params) {
    if (param.kind == Kind::kCtx && (!has_ctx || PacketsPinned())) return Alu();
  }
  const uint32_t before = pinned_;
  const bool writable = PacketWritable();
  int passed = 0;  // an offset in the stack that the function was given
  for (size_t i = 0; i < sub.params.size(); ++i) {
    const Param& param = sub.params[i];
    const int to = static_cast<int>(i) + 1;
    if (m_.regs[to].kind == Kind::kNone && Defect()) continue;
    int from;
    if (param.kind == Kind::kCtx) {
      from = CtxReg();
    } else if (param.nullable && c_.Chance(0.2)) {
      code_.MovImm(to, 0);
      Set(to, Value::Scalar(0, 0));
      pinned_ |= 1u << to;
      continue;
    } else if (param.kind == Kind::kBuffer) {
      from = MemoryReg(param.room, writable || param.own, false);
      if (from >= 0 && (m_.regs[from].lo != 0 || m_.regs[from].var)) from = -1;
      if (from < 0) from = StackBuffer(param.room, c_.Chance(0.6));
      const Value v = m_.regs[from];
      if (v.kind == Kind::kStack) StackWritten(v.off, param.room, nullptr);
      if (v.kind == Kind::kStack) passed = v.off;
    } else {
      from = AnyScalar();
    }
    const Value v = m_.regs[from];
    if (from != to) code_.MovReg(to, from);
    Set(to, v);
    if (param.kind == Kind::kScalar && v.max > param.max && !Defect()) {
      code_.AluImm(kAnd, to, static_cast<int32_t>(param.max));
      Set(to, Value::Scalar(0, param.max));
    }
    pinned_ |= 1u << to;
  }
  pinned_ = before;
  sub.called = true;
  sub.in_section |= held_ > 0;
  sub.in_rcu |= reading_;
  code_.CallSub(index);
  forks_ -= sub.forks;
  ClobberedByCall(Value::Scalar(0, sub.global ? ~uint64_t{0} : sub.ret_max));
  // It may have given the packet another beginning.
  const bool moved = std::any_of(sub.params.begin(), sub.params.end(), [](const Param& p) { return p.kind == Kind::kCtx; });
  if (moved && !Defect()) ForgetPackets();
  if (passed < 0 && passed % 8 == 0 && c_.Chance(0.3)) {
    const int d = Dst();
    code_.Load(8, d, kRegFp, passed);
    Set(d, Value::Scalar());
  }
}

}  // namespace bpfsieve
