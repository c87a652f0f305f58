// Fragments with dynptrs: of memory in a map, records of a ring buffer, packets; what can be done through them, and slices
// that are used while they may be, or longer.
#include <algorithm>

#include "engine/spec/spec.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

// Helpers.
constexpr int32_t kDynptrFromMem = 197, kRingbufReserve = 198, kRingbufSubmit = 199, kRingbufDiscard = 200, kDynptrRead = 201,
                  kDynptrWrite = 202, kDynptrData = 203, kUserRingbufDrain = 209;

constexpr int kSlots = 2;

}  // namespace

bool Generator::HasPacketKfuncs() const {
  switch (p_->type) {
    case ProgType::kXdp:
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kSkSkb:
    case ProgType::kSocketFilter:
    case ProgType::kCgroupSkb:
    case ProgType::kLwtIn:
    case ProgType::kLwtXmit: return true;
    default: return false;
  }
}

// Into R(to): the address of the dynptr.
void Generator::DynptrAddress(int to, const Dynptr& d) {
  if (d.home >= 0) {
    code_.MovReg(to, d.home);
    return;
  }
  code_.MovReg(to, kRegFp);
  code_.AluImm(kAdd, to, -8 * (d.slot + 1) + (Defect(0.05) ? 8 : 0));
}

// What came through dynptrs is gone.
void Generator::ForgetSlices() {
  auto forget = [](Value& v) {
    if (v.kind == Kind::kSlice) v = Value{};
  };
  for (Value& v : m_.regs) forget(v);
  for (Value& v : m_.slots) forget(v);
}

void Generator::Dynptrs(int depth) {
  if ((pinned_ & 0x3f) != 0) return Alu();
  const bool has_ctx = ctx_home_ >= 0 || ctx_slot_ >= 0;
  Dynptr d;
  uint32_t kind = c_.Below(4);
  if (kind >= 2 && (!has_ctx || !HasPacketKfuncs() || PacketsPinned())) kind -= 2;
  if (kind == 1 && !Can(kRingbufReserve)) kind = 0;
  if (kind == 0 && !Can(kDynptrFromMem)) return Alu();
  d.slot = ClaimSlots(kSlots);
  if (d.slot < 0) return Alu();
  d.kind = kind == 0 ? DynptrKind::kLocal : kind == 1 ? DynptrKind::kRingbuf : p_->type == ProgType::kXdp ? DynptrKind::kXdp : DynptrKind::kSkb;
  const bool uninitialised = Defect(0.15);
  if (!uninitialised) {
    switch (d.kind) {
      case DynptrKind::kLocal: {
        const int map = UseMap(kSingleMap);
        const int size = static_cast<int>(object_->maps[static_cast<size_t>(map)].value_size);
        const int off = 8 * static_cast<int>(c_.Below(static_cast<uint32_t>(size / 8)));
        d.size = size - off;
        if (c_.Chance(0.7)) {
          code_.MovImm(2, Defect(0.3) ? d.size + 1 : d.size);
        } else {
          const int length = Bounded(static_cast<uint64_t>(d.size));
          if (length != 2) code_.MovReg(2, length);
        }
        code_.Imm64(1, kPseudoMapValue, map, off);
        code_.MovImm(3, 0);
        DynptrAddress(4, d);
        code_.Call(kDynptrFromMem);
        break;
      }
      case DynptrKind::kRingbuf: {
        d.size = 8 * c_.Between(1, 4);
        code_.Imm64(1, kPseudoMapFd, UseMap(kRingMap), 0);
        code_.MovImm(2, d.size);
        code_.MovImm(3, 0);
        DynptrAddress(4, d);
        code_.Call(kRingbufReserve);
        break;
      }
      default: {
        const int ctx = CtxReg();
        if (ctx != 1) code_.MovReg(1, ctx);
        code_.MovImm(2, 0);
        DynptrAddress(3, d);
        d.size = 32;
        if (CanKfunc("bpf_dynptr_from_skb_meta") && c_.Chance(0.2)) {
          d.kind = DynptrKind::kSkbMeta;
          Kfunc("bpf_dynptr_from_skb_meta");
        } else {
          Kfunc(d.kind == DynptrKind::kXdp ? "bpf_dynptr_from_xdp" : "bpf_dynptr_from_skb");
        }
        break;
      }
    }
    ClobberedByCall(Value::Scalar());
  }
  // Sometimes a slice stays at hand to the end and beyond it.
  if (c_.Chance(0.2)) d.kept = Saved();
  const Pin keep(*this, d.kept);
  if (d.kept >= 0) {
    code_.MovImm(d.kept, 0);
    Set(d.kept, Value{});
  }
  Label back = NewLabel();
  const size_t clones = clones_.size();
  const bool held = d.kind == DynptrKind::kRingbuf;
  const auto body = [&] {
    const int times = c_.Between(1, 4);
    for (int i = 0; i < times && !Full(); ++i) {
      UseDynptr(d);
      if (Deep(depth) && c_.Chance(0.3)) Block(1, depth + 1);
    }
  };
  if (held) {
    While(back, body);
  } else {
    bails_.push_back(&back);
    const size_t floor = bail_floor_;
    bail_floor_ = bails_.size() - 1;  // the bytes may not be read, so it is written over on every path
    body();
    bails_.pop_back();
    bail_floor_ = floor;
  }
  Bind(back);
  if (held) {
    if (!Defect(0.4)) {
      DynptrAddress(1, d);
      code_.MovImm(2, 0);
      code_.Call(c_.Chance(0.5) ? kRingbufSubmit : kRingbufDiscard);
      ClobberedByCall(Value{});
    }
    if (Defect(0.2)) {
      UseDynptr(d);
    }
  } else if (!Defect(0.3)) {
    for (int s = d.slot - kSlots + 1; s <= d.slot; ++s) {
      if (s == d.slot || c_.Chance(0.5)) code_.StoreImm(8, kRegFp, -8 * (s + 1), 0);
    }
  }
  if (d.kept >= 0 && Defect(0.7)) {
    Label none = NewLabel();
    Take(MakeInsn(kClassJmp | kJeq, d.kept, 0, 0, 0), none, false);
    const int t = Dst();
    code_.Load(1, t, d.kept, 0);
    Bind(none);
    Set(t, Value{});
  }
  if (d.kept >= 0) Set(d.kept, Value{});
  ForgetSlices();
  GiveSlotsBack(d.slot, kSlots);
  for (; clones_.size() > clones; clones_.pop_back()) GiveSlotsBack(clones_.back(), kSlots);
}

// One thing that can be done with it. R0 to R5 are lost.
void Generator::UseDynptr(const Dynptr& d) {
  if ((pinned_ & 0x3f) != 0) return;
  const bool packet = d.kind == DynptrKind::kXdp || d.kind == DynptrKind::kSkb || d.kind == DynptrKind::kSkbMeta;
  int size = c_.Between(1, std::max(1, d.size));
  if (c_.Chance(0.6)) size &= ~7;
  const int length = std::max(size, 1);
  const auto offset = [&](int to) {
    if (c_.Chance(0.6)) {
      code_.MovImm(to, static_cast<int32_t>(c_.Below(static_cast<uint32_t>(std::max(1, d.size - length + 1)))));
    } else {
      const int s = AnyScalar();
      if (s != to) code_.MovReg(to, s);
    }
    Set(to, Value{});
  };
  // A pointer to `length` bytes of the stack in R(to); the offset of them, 0: there is no room.
  const auto buffer = [&](int to, bool fill) {
    const int r = StackBuffer(length, fill);
    if (r < 0) return 0;
    const int off = m_.regs[r].off;
    if (r != to) code_.MovReg(to, r);
    Set(to, Value{});
    return off;
  };
  const uint32_t before = pinned_;
  const auto done = [&](const Value& result) {
    pinned_ = before;
    ClobberedByCall(result);
  };
  if (MayCallGlobal() && c_.Chance(0.12)) {
    PassDynptr(d);
    return;
  }
  switch (c_.Below(8)) {
    case 0: {  // read
      const int off = buffer(1, c_.Chance(0.5));
      if (off == 0) return;
      pinned_ |= 1u << 1;
      offset(4);
      code_.MovImm(2, Defect(0.3) ? length + 8 * kModelSlots : length);
      DynptrAddress(3, d);
      code_.MovImm(5, 0);
      code_.Call(kDynptrRead);
      done(Value::Scalar());
      StackWritten(off, (length + 7) / 8 * 8, nullptr);
      return;
    }
    case 1: {  // write
      if (packet && !PacketWritable()) return;
      if (packet && PacketsPinned()) return;
      if (buffer(3, true) == 0) return;
      pinned_ |= 1u << 3;
      offset(2);
      DynptrAddress(1, d);
      code_.MovImm(4, Defect(0.3) ? length + 8 * kModelSlots : length);
      code_.MovImm(5, 0);
      code_.Call(kDynptrWrite);
      done(Value::Scalar());
      if (packet && !Defect(0.6)) ForgetPackets();
      return;
    }
    case 2:
    case 3:
    case 4: {  // a slice
      if (!CanFork()) return;
      const bool data = !packet && c_.Chance(0.5);
      const bool write = PacketWritable() && c_.Chance(0.5);  // whatever the dynptr is of
      const int home = d.kept >= 0 ? d.kept : Saved();
      int copy = 0;
      if (data) {
        offset(2);
        code_.MovImm(3, length);
      } else {
        if (c_.Chance(packet ? 0.8 : 0.3)) {
          copy = buffer(3, true);
          if (copy == 0) return;
        } else {
          code_.MovImm(3, 0);
          Set(3, Value{});
        }
        pinned_ |= 1u << 3;
        offset(2);
        code_.MovImm(4, length);
      }
      DynptrAddress(1, d);
      if (data) {
        code_.Call(kDynptrData);
      } else {
        Kfunc(write ? "bpf_dynptr_slice_rdwr" : "bpf_dynptr_slice");
      }
      done(Value{});
      if (copy != 0) StackWritten(copy, (length + 7) / 8 * 8, nullptr);
      Label none = NewLabel();
      if (d.kept >= 0) {
        code_.MovReg(d.kept, 0);
        Set(d.kept, Value{});
      }
      if (!Defect(0.3)) BranchImm(kJeq, 0, 0, c_.Chance(0.5) ? none : Bail());
      Value v = Value::Pointer(Kind::kSlice, length);
      v.writable = data || write;
      Set(0, v);
      if (d.kept >= 0) {
        Set(d.kept, v);
      } else if (home >= 0 && c_.Chance(0.7)) {
        code_.MovReg(home, 0);
        Set(home, v);
      }
      if (copy != 0 && c_.Chance(0.3)) code_.StoreImm(8, kRegFp, copy, 1);
      Access(0);
      const int at = m_.regs[0].kind == Kind::kSlice && c_.Chance(0.4) ? AddIndex(0) : -1;
      if (at >= 0) Access(at);
      Bind(none);
      if (write && !data && home >= 0 && c_.Chance(0.8)) {
        // Else the buffer stays a place that somebody else may write to.
        code_.MovImm(home, 0);
        code_.MovImm(0, 0);
        ForgetSlices();
      }
      return;
    }
    case 5: {  // asked
      DynptrAddress(1, d);
      static constexpr const char* kNames[] = {"bpf_dynptr_size", "bpf_dynptr_is_null", "bpf_dynptr_is_rdonly"};
      Kfunc(c_.Of(kNames));
      done(Value::Scalar());
      return;
    }
    case 6: {  // cut, or filled
      if (d.home >= 0 || c_.Chance(0.5) || (packet && (PacketsPinned() || !PacketWritable()))) {
        offset(2);
        pinned_ |= 1u << 2;
        offset(3);
        DynptrAddress(1, d);
        Kfunc("bpf_dynptr_adjust");
        done(Value::Scalar());
        return;
      }
      offset(2);
      code_.MovImm(3, length);
      code_.MovImm(4, 7);
      DynptrAddress(1, d);
      Kfunc("bpf_dynptr_memset");
      done(Value::Scalar());
      if (packet && !Defect(0.6)) ForgetPackets();
      return;
    }
    default: {  // a second one, for a while
      Dynptr clone = d;
      clone.home = -1;
      clone.slot = ClaimSlots(kSlots);
      if (clone.slot < 0) return;
      DynptrAddress(1, d);
      DynptrAddress(2, clone);
      Kfunc("bpf_dynptr_clone");
      done(Value::Scalar());
      Label back = NewLabel();
      bails_.push_back(&back);
      const size_t floor = bail_floor_;
      bail_floor_ = bails_.size() - 1;
      UseDynptr(clone);
      if (c_.Chance(0.3)) {
        offset(2);
        pinned_ |= 1u << 2;
        offset(4);
        pinned_ |= 1u << 4;
        DynptrAddress(1, clone);
        DynptrAddress(3, d);
        code_.MovImm(5, length);
        if (!packet || (PacketWritable() && !PacketsPinned())) {
          Kfunc("bpf_dynptr_copy");
          done(Value::Scalar());
          if (packet) ForgetPackets();
        }
        pinned_ = before;
      }
      bails_.pop_back();
      bail_floor_ = floor;
      Bind(back);
      if (d.kind == DynptrKind::kRingbuf && !Defect(0.3)) {
        clones_.push_back(clone.slot);  // it goes with the record
        return;
      }
      code_.StoreImm(8, kRegFp, -8 * (clone.slot + 1), 0);
      ForgetSlices();
      GiveSlotsBack(clone.slot, kSlots);
      return;
    }
  }
}

// A function of its own that is called back for each sample of a user's ring buffer, with a dynptr of it.
void Generator::DrainRing() {
  if ((pinned_ & 0x3f) != 0) return Alu();
  const int buffer = StackBuffer(8, true);
  if (buffer < 0) return;
  const int off = m_.regs[buffer].off;
  Sub sub = CalledBackHere();
  Param sample, memory;
  sample.kind = Kind::kDynptr;
  memory.kind = Kind::kBuffer;
  memory.room = 8;
  memory.own = true;
  sub.params = {sample, memory};
  if (buffer != 3) code_.MovReg(3, buffer);
  const int index = static_cast<int>(subs_.size());
  subs_.push_back(sub);
  code_.Imm64(1, kPseudoMapFd, ExtraMap(MapType::kUserRingbuf), 0);
  code_.FunctionAddress(2, index);
  code_.MovImm(4, 0);
  code_.Call(kUserRingbufDrain);
  ClobberedByCall(Value::Scalar());
  StackWritten(off, 8, nullptr);
}

}  // namespace bpfsieve
