// Fragments that access memory: the stack, the context, the packet, and whatever there are pointers to.
#include <algorithm>

#include "engine/spec/spec.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kXdpAdjustHead = 44, kSkbPullData = 39;  // helpers

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
  const bool strict = v.kind == Kind::kStack || v.kind == Kind::kBuffer || p_->strict_alignment;
  if (strict && v.var) size = 1;
  if (p_->strict_alignment && v.kind == Kind::kPacket && size > 2) size = 2;  // it begins at two beyond a multiple of four
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
      off = c_.Chance(0.7) ? v.room - size + 1 : v.lo - 1 - static_cast<int>(c_.Below(8));
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
  if (c_.Chance(0.2)) {
    if (c_.Chance(0.5)) {
      const int d = Dst();
      code_.Emit(MakeInsn(kClassStx | kModeAtomic | SizeCode(size), d, pointer, off, kLoadAcq));
      Set(d, Value::Scalar(0, size == 8 ? ~uint64_t{0} : 0xffffffff));
      if (v.kind == Kind::kStack && size == 8 && v.off + off < 0) {
        const Value& slot = m_.slots[(-(v.off + off) - 1) / 8];
        Set(d, slot.kind == Kind::kNone ? Value::Scalar() : slot);
      }
    } else {
      const int s = AnyScalar();
      code_.Emit(MakeInsn(kClassStx | kModeAtomic | SizeCode(size), pointer, s, off, kStoreRel));
      if (v.kind == Kind::kStack) StackWritten(v.off + off, size, &m_.regs[s]);
    }
    return;
  }
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
  if (!o_.caps.perfmon && v.kind != Kind::kMapValue) return -1;
  const int most = static_cast<int>(c_.Below(static_cast<uint32_t>(v.room - v.lo)));
  const int index = Bounded(static_cast<uint64_t>(most));
  const Pin keep_index(*this, index);
  const int d = Dst();
  // Not the other way around for pointers to the stack, nor for arguments that may be: 6.18 then takes the frame from
  // what the number's register once held, and where there is no such frame any more, it crashes.
  if (v.kind == Kind::kStack || v.kind == Kind::kBuffer || c_.Chance(0.6)) {
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
  const bool filled = c_.Chance(0.5);
  const int base = StackBuffer(8 * c_.Between(1, 4), filled);
  if (base < 0) return;
  const int at = AddIndex(base);
  Access(at >= 0 ? at : base);
  if (c_.Chance(0.4) && m_.regs[base].IsMemory()) Access(base);
}

void Generator::AccessSome() {
  int p = MemoryReg(1, false, false);
  if (p < 0) {
    const bool filled = c_.Chance(0.7);
    p = StackBuffer(8 * c_.Between(1, 3), filled);
  }
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
  if (!ctx_facts_->writable.empty() && c_.Chance(0.4)) {
    const int off = ctx_facts_->writable[c_.Below(static_cast<uint32_t>(ctx_facts_->writable.size()))];
    const int s = AnyScalar();
    code_.Store(4, ctx, Defect() ? 0 : off, s);
    return;
  }
  const int d = Dst();
  if (ctx_facts_->fields.empty()) return;
  int off = ctx_facts_->fields[c_.Below(static_cast<uint32_t>(ctx_facts_->fields.size()))];
  int size = 4;
  if (c_.Chance(0.3)) size = 1 << c_.Below(4);
  const CtxAccess access = CheckCtxAccess(p_->type, p_->attach, off, size, false);
  if (!access.ok || access.yield != CtxYield::kScalar) size = 4;
  if (Defect()) {
    if (c_.Chance(0.5)) {
      off += 2;
    } else {
      size = 8;
    }
  }
  code_.Load(size, d, ctx, off);
  Set(d, size == 8 ? Value::Scalar() : Value::Scalar(0, (uint64_t{1} << (8 * size)) - 1));
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
  if (Defect(0.1)) {
    code_.Emit(MakeInsn(kClassLdx | kModeMemsx | kSizeW, data, ctx, ctx_facts_->packet, 0));
  } else {
    code_.Load(ctx_facts_->packet_size, data, ctx, ctx_facts_->packet);
  }
  code_.Load(ctx_facts_->packet_size, end, ctx, ctx_facts_->packet_end);
  Value pointer = Value::Pointer(Kind::kPacket, 0);
  pointer.writable = PacketWritable();
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
    if (Defect(0.2)) {  // the wrong way round
      Label ok = NewLabel();
      BranchReg(c_.Chance(0.5) ? kJge : kJgt, t, end, ok);
      ok.used = false;
      Goto(Bail());
      Bind(ok);
    } else if (!Defect()) {
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
  if (CanFork() && c_.Chance(0.5) && o_.caps.perfmon) {
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
  if (PacketsPinned()) return;
  const int ctx = CtxReg();
  if (ctx < 0) return;
  if (ctx != 1) code_.MovReg(1, ctx);
  code_.MovImm(2, c_.Between(-8, 8));
  code_.Call(Can(kXdpAdjustHead) ? kXdpAdjustHead : kSkbPullData);
  ClobberedByCall(Value::Scalar());
  if (!Defect()) ForgetPackets();
}

}  // namespace bpfsieve
