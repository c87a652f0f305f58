// Fragments that access memory and use the kernel's objects.
#include <algorithm>

#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

// Helpers.
constexpr int32_t kMapLookup = 1, kMapUpdate = 2, kMapDelete = 3, kXdpAdjustHead = 44, kSpinLockCall = 93,
                  kSpinUnlockCall = 94, kRingbufReserve = 131, kRingbufSubmit = 132, kRingbufDiscard = 133;

}  // namespace

// One load or store through a pointer.
void Generator::Access(int pointer) {
  const Pin keep(*this, pointer);
  const Value v = m_.regs[pointer];
  const int room = v.room - v.lo;
  if (room < 1) return;
  if (v.atomics && !v.var && room >= 8 && c_.Chance(0.2)) return Atomic(pointer);
  int size = 1 << c_.Below(4);
  while (size > room) size /= 2;
  // The stack alone is always checked for alignment; an argument may point there.
  if ((v.kind == Kind::kStack || v.kind == Kind::kBuffer) && v.var) size = 1;
  int off = v.lo + static_cast<int>(c_.Below(static_cast<uint32_t>(room - size + 1)));
  off -= off % size;
  if (off < v.lo) off += size;
  if (off + size > v.room) {
    size = 1;
    off = v.lo;
  }
  if (Defect()) {
    // Just beyond the end, or in front of the beginning. In the stack there is more stack beyond, up to the frame.
    if (v.kind == Kind::kStack) {
      off = -v.off;
    } else {
      off = c_.Chance(0.7) ? v.room - size + 1 : v.lo - 1;
    }
  }
  if (!v.writable || c_.Chance(0.5)) {
    const int d = Dst();
    if (size < 8 && c_.Chance(0.15)) {
      code_.Emit(MakeInsn(kClassLdx | kModeMemsx | SizeCode(size), d, pointer, off, 0));
      Set(d, Value::Scalar());
      return;
    }
    code_.Load(size, d, pointer, off);
    if (v.kind == Kind::kStack && !v.var && size == 8 && v.off + off < 0) {
      const Value& slot = m_.slots[(-(v.off + off) - 1) / 8];
      Set(d, slot.kind == Kind::kNone ? Value::Scalar() : slot);
    } else {
      Set(d, size == 8 ? Value::Scalar() : Value::Scalar(0, (uint64_t{1} << (8 * size)) - 1));
    }
    return;
  }
  const bool number = c_.Chance(0.4);
  const int32_t k = SomeImm();
  const int s = number ? -1 : AnyScalar();
  if (number) {
    code_.StoreImm(size, pointer, off, k);
  } else {
    code_.Store(size, pointer, off, s);
  }
  if (v.kind != Kind::kStack) return;
  if (v.var) {
    StackWritten(v.off + v.lo, v.room - v.lo + static_cast<int>(v.max), nullptr);
  } else {
    const Value stored = number ? Value::Scalar(static_cast<uint64_t>(int64_t{k}), static_cast<uint64_t>(int64_t{k}))
                                : m_.regs[s];
    StackWritten(v.off + off, size, &stored);
  }
}

void Generator::Atomic(int pointer) {
  const Pin keep(*this, pointer);
  const Value v = m_.regs[pointer];
  const int size = c_.Chance(0.6) ? 8 : 4;
  const int first = (v.lo + size - 1) / size * size;
  int off = first + size * static_cast<int>(c_.Below(static_cast<uint32_t>((v.room - first) / size)));
  if (Defect()) off += c_.Chance(0.5) ? 1 : v.room;
  const int32_t ops[] = {kAdd,          kAnd,         kOr,          kXor,  kAdd | kFetch,
                         kAnd | kFetch, kOr | kFetch, kXor | kFetch, kXchg, kCmpxchg};
  const int32_t op = c_.Of(ops);
  const Value result = Value::Scalar(0, size == 8 ? ~uint64_t{0} : 0xffffffff);
  int s = AnyScalar();
  const bool fetches = (op & kFetch) != 0;
  if (op == kCmpxchg) {
    if ((pinned_ & 1) != 0) return;
    code_.MovImm(0, static_cast<int32_t>(c_.Below(3)));
    Set(0, Value::Scalar());
    code_.Emit(MakeInsn(kClassStx | kModeAtomic | SizeCode(size), pointer, s, off, op));
    Set(0, result);
  } else {
    if (fetches && (pinned_ >> s & 1) != 0) {
      const int copy = Dst();
      code_.MovReg(copy, s);
      s = copy;
    }
    code_.Emit(MakeInsn(kClassStx | kModeAtomic | SizeCode(size), pointer, s, off, op));
    if (fetches) Set(s, result);
  }
  if (v.kind == Kind::kStack) StackWritten(v.off + off, size, nullptr);
}

int Generator::AddIndex(int pointer) {
  const Pin keep(*this, pointer);
  const Value v = m_.regs[pointer];
  if (v.kind == Kind::kPacket || v.room - v.lo < 2) return -1;
  const int most = static_cast<int>(c_.Below(static_cast<uint32_t>(v.room - v.lo)));
  const int index = Bounded(static_cast<uint64_t>(most));
  const Pin keep_index(*this, index);
  const int d = Dst();
  // The other way around is not modelled for pointers to the stack in a called function.
  if (sub_ >= 0 || c_.Chance(0.6)) {
    code_.MovReg(d, pointer);
    code_.AluReg(kAdd, d, index);
  } else {
    code_.MovReg(d, index);
    code_.AluReg(kAdd, d, pointer);
  }
  Value sum = v;
  sum.var = true;
  sum.room = v.room - most;
  sum.max = (v.var ? v.max : 0) + static_cast<uint64_t>(most);
  Set(d, sum);
  return d;
}

int Generator::StackBuffer(int size, bool fill) {
  const int count = (size + 7) / 8;
  if (count > slots_ - kept_slots_) return -1;
  const int first = kept_slots_ + static_cast<int>(c_.Below(static_cast<uint32_t>(slots_ - kept_slots_ - count + 1)));
  for (int s = first; s < first + count; ++s) {
    // Parts of a pointer cannot be read.
    if (!fill && (m_.slots[s].IsScalar() || m_.slots[s].kind == Kind::kNone)) continue;
    const int32_t k = static_cast<int32_t>(c_.Below(8));
    code_.StoreImm(8, kRegFp, -8 * (s + 1), k);
    m_.slots[s] = Value::Scalar(static_cast<uint64_t>(k), static_cast<uint64_t>(k));
  }
  const int d = Dst();
  const int off = -8 * (first + count);
  code_.MovReg(d, kRegFp);
  code_.AluImm(kAdd, d, off);
  Value v = Value::Pointer(Kind::kStack, 8 * count);
  v.off = static_cast<int16_t>(off);
  v.atomics = true;
  Set(d, v);
  return d;
}

void Generator::StackIndexed() {
  const int base = StackBuffer(8 * c_.Between(1, 4), c_.Chance(0.5));
  if (base < 0) return;
  const int at = AddIndex(base);
  Access(at >= 0 ? at : base);
  if (c_.Chance(0.4) && m_.regs[base].IsMemory()) Access(base);
}

void Generator::AccessSome() {
  int p = MemoryReg(1, false, false);
  if (p < 0) p = StackBuffer(8 * c_.Between(1, 3), c_.Chance(0.7));
  if (p < 0) return;
  if (c_.Chance(0.5)) {
    const int q = AddIndex(p);
    if (q >= 0) p = q;
  }
  Access(p);
}

int Generator::CtxReg() {
  if (ctx_home_ >= 0) return ctx_home_;
  if (ctx_slot_ < 0) return -1;
  const int d = Dst();
  code_.Load(8, d, kRegFp, -8 * (ctx_slot_ + 1));
  Set(d, m_.slots[ctx_slot_]);
  return d;
}

void Generator::CtxLoad() {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  const Pin keep(*this, ctx);
  const bool xdp = p_->type == ProgType::kXdp;
  if (!xdp && c_.Chance(0.4)) {
    const int writable[] = {8, 48, 52, 56, 60, 64};  // mark, cb[]
    const int off = c_.Of(writable);
    const int s = AnyScalar();
    code_.Store(4, ctx, Defect() ? 0 : off, s);
    return;
  }
  const int d = Dst();
  int off = xdp ? 12 + 4 * static_cast<int>(c_.Below(2)) : 4 * static_cast<int>(c_.Below(5));
  int size = 4;
  if (!xdp && c_.Chance(0.3)) size = 1 << c_.Below(2);
  if (Defect()) {
    if (c_.Chance(0.5)) {
      off += 2;
    } else {
      size = 8;
    }
  }
  code_.Load(size, d, ctx, off);
  Set(d, Value::Scalar(0, (uint64_t{1} << (8 * size - 1)) * 2 - 1));
}

// The packet's beginning and end, a comparison, accesses; then perhaps a part of variable length and another one.
void Generator::Packet(int depth) {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  const Pin keep_ctx(*this, ctx);
  const int saved = CallsAllowed() && c_.Chance(0.5) ? Saved() : -1;
  const int data = saved >= 0 ? saved : Dst();
  const Pin keep_data(*this, data);
  const int end = Dst();
  const Pin keep_end(*this, end);
  const int at = p_->type == ProgType::kXdp ? 0 : 76;
  code_.Load(4, data, ctx, at);
  code_.Load(4, end, ctx, at + 4);
  Value pointer = Value::Pointer(Kind::kPacket, 0);
  pointer.writable = p_->type != ProgType::kCgroupSkb;
  Value limit;
  limit.kind = Kind::kPacketEnd;
  Set(end, limit);
  Label past = NewLabel();
  bails_.push_back(&past);

  // Makes `bytes` from register r on accessible.
  auto check = [&](int r, int bytes) {
    Set(r, pointer);
    const int t = Dst();
    code_.MovReg(t, r);
    code_.AluImm(kAdd, t, Defect() ? bytes - 1 : bytes);
    Set(t, Value{});
    if (!Defect()) {
      switch (c_.Below(4)) {
        case 0: BranchReg(kJgt, t, end, Bail()); break;
        case 1: BranchReg(kJlt, end, t, Bail()); break;
        case 2: BranchReg(kJge, t, end, Bail()); break;
        default: {
          Label ok = NewLabel();
          BranchReg(kJle, t, end, ok);
          ok.used = false;
          Goto(Bail());
          Bind(ok);
          break;
        }
      }
    }
    m_.regs[r].room = bytes;
  };
  check(data, c_.Between(1, 40));
  for (int n = c_.Between(1, 3); n > 0; --n) Access(data);
  if (CanFork() && c_.Chance(0.5)) {
    const int length = Dst();
    const Pin keep_length(*this, length);
    code_.Load(1, length, data, 0);
    Set(length, Value::Scalar(0, 255));
    if (c_.Chance(0.7)) {
      code_.AluImm(kAnd, length, 15);
      code_.AluImm(kLsh, length, 2);
      Set(length, Value::Scalar(0, 60));
    }
    int next = data;
    if (c_.Chance(0.5)) {
      next = Dst();
      code_.MovReg(next, data);
    }
    const Pin keep_next(*this, next);
    code_.AluReg(kAdd, next, length);
    check(next, c_.Between(1, 20));
    for (int n = c_.Between(1, 2); n > 0; --n) Access(next);
  }
  if (Deep(depth) && c_.Chance(0.4)) Block(c_.Between(1, 2), depth + 1);
  bails_.pop_back();
  Bind(past);
}

// Gives the packet another beginning: pointers into it are worth nothing afterwards.
void Generator::PacketChange() {
  for (int r = 0; r < kModelRegs; ++r) {
    const bool packet = m_.regs[r].kind == Kind::kPacket || m_.regs[r].kind == Kind::kPacketEnd;
    if (packet && (pinned_ >> r & 1) != 0) return;
  }
  const int ctx = CtxReg();
  if (ctx < 0) return;
  if (ctx != 1) code_.MovReg(1, ctx);
  code_.MovImm(2, c_.Between(-8, 8));
  code_.Call(kXdpAdjustHead);
  ClobberedByCall(Value::Scalar());
  if (!Defect()) ForgetPackets();
}

int Generator::KeyFor(const MapDef& map) {
  const int off = -8 * (FreeSlot() + 1);
  const int size = static_cast<int>(map.key_size);
  if (c_.Chance(0.4)) {
    const int s = AnyScalar();
    code_.Store(size, kRegFp, off, s);
    StackWritten(off, size, size == 8 ? &m_.regs[s] : nullptr);
  } else {
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
  v.lo = map.fields.empty() ? 0 : 8;
  v.atomics = true;
  int reg = 0;
  const int home = c_.Chance(0.6) ? Saved() : -1;
  const bool early = c_.Chance(0.5);  // the copy is made before the comparison, which then counts for both
  if (home >= 0 && early) code_.MovReg(home, 0);
  if (home >= 0) Set(home, Value{});
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
  const int map = UseMap(c_.Of(uses));
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
  code_.Imm64(1, kPseudoMapFd, index, 0);
  code_.MovImm(2, size);
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

void Generator::SpinLock(int depth) {
  Label null = NewLabel(), unlock = NewLabel();
  const int v = Lookup(UseMap(kLockMap), null);
  const int home = v >= 6 ? v : Saved();
  if (home >= 0) {
    const Pin keep(*this, home);
    if (home != v) code_.MovReg(home, v);
    Set(home, m_.regs[v]);
    code_.MovReg(1, home);
    code_.Call(kSpinLockCall);
    const Value pointer = m_.regs[home];
    ClobberedByCall(Value{});
    Set(home, pointer);
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
      code_.MovReg(1, home);
      code_.Call(kSpinUnlockCall);
      ClobberedByCall(Value{});
    }
  }
  Bind(null);
}

void Generator::CallSub(int) {
  const int first = sub_ + 1;
  const int count = static_cast<int>(subs_.size()) - first;
  if (count <= 0) return Alu();
  const int index = first + static_cast<int>(c_.Below(static_cast<uint32_t>(count)));
  Sub& sub = subs_[index];
  if (sub.forks > forks_) return Alu();
  const bool has_ctx = ctx_home_ >= 0 || ctx_slot_ >= 0;
  for (const Param& param : sub.params) {
    if (param.kind == Kind::kCtx && !has_ctx) return Alu();
  }
  const uint32_t before = pinned_;
  const bool writable = p_->type != ProgType::kCgroupSkb;
  for (size_t i = 0; i < sub.params.size(); ++i) {
    const Param& param = sub.params[i];
    const int to = static_cast<int>(i) + 1;
    if (Defect() && c_.Chance(0.5)) continue;  // whatever is there
    int from;
    if (param.kind == Kind::kCtx) {
      from = CtxReg();
    } else if (param.kind == Kind::kBuffer) {
      from = MemoryReg(param.room, writable, false);
      if (from >= 0 && (m_.regs[from].lo != 0 || m_.regs[from].var)) from = -1;
      if (from < 0) from = StackBuffer(param.room, c_.Chance(0.6));
      const Value v = m_.regs[from];
      if (v.kind == Kind::kStack) StackWritten(v.off, param.room, nullptr);
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
  code_.CallSub(index);
  forks_ -= sub.forks;
  ClobberedByCall(Value::Scalar(0, sub.global ? ~uint64_t{0} : sub.ret_max));
}

}  // namespace bpfsieve
