// Dynptrs: sixteen bytes of stack that name a piece of memory, of a length that only the run knows. Helpers make and end
// them; the memory is reached through other helpers, or through slices, which are void when their dynptr is
// (process_dynptr_func, mark_stack_slots_dynptr, unmark_stack_slots_dynptr, destroy_if_dynptr_stack_slot).
#include <bit>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// The slot of its first half, if the pointer is to a place where a dynptr can be; -1: it is not.
int DynptrSpi(const Reg& p) {
  if (!p.s.IsConst()) return -1;
  const int64_t off = p.off + static_cast<int64_t>(p.s.ConstValue());
  if (off % kSlotBytes != 0 || off > -kDynptrSlots * kSlotBytes || off < -kMaxStack) return -1;
  return static_cast<int>((-off - 1) / kSlotBytes);
}

}  // namespace

bool Transfer::DynptrArg(int r, const ArgSpec& spec, DynptrKind kind, DynptrUse& use) {
  const Reg p = reg(r);
  if (p.type != RegType::kStack && p.type != RegType::kDynptr) {
    return Fail(Rule::kDynptr, r, absl::StrCat("arg#", r - 1, " expected pointer to stack or const struct bpf_dynptr"));
  }
  const int spi = p.type == RegType::kStack ? DynptrSpi(p) : -1;
  if ((spec.flags & kArgUninit) != 0) {
    // Below the stack, the writes find that out.
    const bool below = p.type == RegType::kStack && p.s.IsConst() && p.off + int64_t(p.s.ConstValue()) < -kMaxStack &&
                       (p.off + int64_t(p.s.ConstValue())) % kSlotBytes == 0;
    if (spi < 0 && !below) return Fail(Rule::kDynptr, r, "Dynptr has to be an uninitialized dynptr");
    for (int i = 0; i < kDynptrSlots; ++i) {
      if (!MemAccess(r, i * kSlotBytes, kSlotBytes, true, -1, false, false)) return false;
    }
    if (!OwnSlots(p, spi, kDynptrSlots, r)) return false;
    MakeDynptr(p, spi, kind, use.ref_obj_id);
    return true;
  }
  if (p.type == RegType::kDynptr) {
    if ((spec.flags & kArgRdonly) == 0) {
      return Fail(Rule::kDynptr, r, "cannot pass pointer to const bpf_dynptr, the helper mutates it");
    }
    use = {p.id, p.ref_obj_id, p.Dynptr()};
  } else {
    const Frame& f = FrameOf(p);
    if (spi < 0 || !f.slot(spi).IsFirstOfDynptr() || !f.slot(spi - 1).IsDynptr()) {
      return Fail(Rule::kDynptr, r, absl::StrCat("Expected an initialized dynptr as arg #", r - 1));
    }
    const Reg& d = f.slot(spi).spilled;
    use = {d.id, d.ref_obj_id, d.Dynptr()};
  }
  if (kind != DynptrKind::kNone && kind != use.kind) {
    return Fail(Rule::kDynptr, r, absl::StrCat("Expected a dynptr of type ", DynptrKindName(kind), " as arg #", r - 1));
  }
  return true;
}

// A clone stands for the reference of what it was made from, `ref_obj_id`.
void Transfer::MakeDynptr(const Reg& p, int spi, DynptrKind kind, uint32_t ref_obj_id) {
  const uint32_t id = NewId();
  if (kind == DynptrKind::kRingbuf && ref_obj_id == 0) {
    ref_obj_id = NewId();
    st_->refs.push_back({Ref::Kind::kPointer, ref_obj_id, pc_, -1});
  }
  Frame& f = WritableFrameOf(p);
  for (int i = 0; i < kDynptrSlots; ++i) {
    StackSlot& slot = pool_.WritableSlot(f, spi - i);
    for (SlotByte& b : slot.bytes) b = SlotByte::kDynptr;
    slot.spilled.MakePointer(RegType::kDynptr);
    slot.spilled.dynptr = static_cast<uint32_t>(kind) | (i == 0 ? kDynptrFirst : 0);
    slot.spilled.id = id;
    if (kind == DynptrKind::kRingbuf) slot.spilled.ref_obj_id = ref_obj_id;
    f.objects |= uint64_t{1} << (spi - i);
  }
}

void Transfer::ClearDynptr(Frame& f, int first) {
  for (int i = 0; i < kDynptrSlots; ++i) {
    pool_.WritableSlot(f, first - i) = StackSlot{};
    f.objects &= ~(uint64_t{1} << (first - i));
  }
}

// Slot `spi` is about to be overwritten. What was obtained through bpf_dynptr_data is void then; the slices of the other
// functions are taken to be the memory itself.
bool Transfer::OverwriteDynptr(Frame& f, int spi) {
  if (!f.slot(spi).IsDynptr()) return true;
  if (!f.slot(spi).IsFirstOfDynptr()) ++spi;
  const Reg d = f.slot(spi).spilled;
  if (d.Dynptr() == DynptrKind::kRingbuf) return Fail(Rule::kDynptr, -1, "cannot overwrite referenced dynptr");
  ClearDynptr(f, spi);
  pool_.UpdateRegs(
      *st_,
      [&](const Reg& r) { return r.type == RegType::kMem && (r.flags & ~kMaybeNull) == 0 && r.dynptr_id == d.id; },
      [this](Reg& r) { Invalidate(r); });
  return true;
}

// Whether R(r) points to something that a helper may end; the rest is for DynptrArg() to say.
bool Transfer::OwnedDynptr(int r) {
  const Reg& p = reg(r);
  if (p.type != RegType::kStack) return Fail(Rule::kDynptr, r, "cannot release unowned const bpf_dynptr");
  const int spi = DynptrSpi(p);
  if (spi >= 0 && FrameOf(p).slot(spi).spilled.ref_obj_id != 0) return true;
  return Fail(Rule::kDynptr, r, absl::StrCat("arg ", r, " is an unacquired reference"));
}

// Ends the dynptr with all its clones, and all that was obtained through any of them. Linux 6.18 leaves the clones in other
// functions' frames, and the slices that are not bpf_dynptr_data's, and accepts programs that go on using both. As it refuses
// what no pointer can do, such a register is not taken for a number here: it must not be used at all.
bool Transfer::ReleaseDynptr(uint32_t ref_obj_id) {
  if (!ReleaseRef(ref_obj_id)) return false;
  for (int i = 0; i <= st_->cur; ++i) {
    for (uint64_t m = st_->frames[i]->objects; m != 0; m &= m - 1) {
      const int s = std::countr_zero(m);
      const StackSlot& slot = st_->frames[i]->slot(s);
      if (!slot.IsFirstOfDynptr() || slot.spilled.ref_obj_id != ref_obj_id) continue;
      const uint32_t id = slot.spilled.id;
      ClearDynptr(pool_.Writable(*st_, i), s);
      pool_.UpdateRegs(
          *st_, [=](const Reg& r) { return r.type == RegType::kMem && r.dynptr_id == id; }, [](Reg& r) { r.Clear(); });
    }
  }
  return true;
}

// What bpf_dynptr_slice and its like return: `size` bytes, in the dynptr's memory or in the buffer.
//
// Linux 6.18 forgets the buffer. A program that stores a pointer into it, or leaves the function that it belongs to, and
// then writes through the slice, makes up pointers or writes to whatever the stack is used for next; it is accepted.
bool Transfer::DynptrSlice(bool writable, const DynptrUse& use, uint64_t size, const Reg& buffer) {
  Reg& r0 = reg(0);
  r0.MakePointer(RegType::kMem, static_cast<uint16_t>(kMaybeNull | static_cast<int>(use.kind) << kSliceShift |
                                                      (writable ? 0 : kRdonly)));
  if (writable && !MayAccessPacket(prog_.type, true)) {
    return Fail(Rule::kDynptr, -1, "the prog does not allow writes to packet data");
  }
  r0.mem_size = static_cast<uint32_t>(size);
  r0.dynptr_id = use.id;
  r0.id = NewId();
  if (!writable || buffer.type != RegType::kStack) return true;
  r0.frameno = static_cast<uint8_t>(buffer.frameno + 1);
  const int64_t from = buffer.off + buffer.s.smin;
  const int64_t to = buffer.off + buffer.s.smax + static_cast<int64_t>(size);
  Frame& f = WritableFrameOf(buffer);
  for (int64_t at = from; at < to && at < 0; ++at) f.buffers |= uint64_t{1} << ((-at - 1) / kSlotBytes);
  return true;
}

// Whether a slice may still write to the slot: one that nobody looks at any more does not.
bool Transfer::IsSliceBuffer(Frame& f, int spi) {
  if ((f.buffers >> spi & 1) == 0) return false;
  const auto writes = [&](const Reg& r) { return r.type == RegType::kMem && r.frameno == f.frameno + 1; };
  const LiveMasks live = LiveAt(ctx_, *st_, pc_, st_->cur);
  for (int i = 0; i <= st_->cur; ++i) {
    const Frame& holder = *st_->frames[i];
    for (uint32_t m = live.regs[i]; m != 0; m &= m - 1) {
      if (writes(holder.regs[static_cast<size_t>(std::countr_zero(m))])) return true;
    }
    for (uint64_t m = holder.spills & live.slots[i]; m != 0; m &= m - 1) {
      if (writes(holder.slot(std::countr_zero(m)).spilled)) return true;
    }
  }
  f.buffers = 0;
  return false;
}

// Something that only its own functions may look into cannot be where a slice may write.
bool Transfer::OwnSlots(const Reg& p, int spi, int slots, int r) {
  Frame& f = WritableFrameOf(p);
  for (int i = 0; i < slots; ++i) {
    if (!IsSliceBuffer(f, spi - i)) continue;
    return Fail(Rule::kDynptr, r, "the buffer of a dynptr's slice is still in use");
  }
  return true;
}

// The buffers of the innermost frame end with it.
void Transfer::LeaveFrame() {
  const Frame& f = st_->frame();
  if (f.buffers == 0) return;
  const int frameno = f.frameno + 1;
  pool_.UpdateRegs(
      *st_, [=](const Reg& r) { return r.type == RegType::kMem && r.frameno == frameno; }, [](Reg& r) { r.Clear(); });
}

}  // namespace bpfsieve
