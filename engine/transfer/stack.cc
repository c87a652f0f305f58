// The stack: spills and fills, initialised bytes, constant and variable offsets (check_stack_* of the kernel).
//
// With CAP_PERFMON bytes that were never written may be read (they are unknown data), and pointers may be overwritten in
// part.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

int SlotOf(int off) { return (-off - 1) / kSlotBytes; }
int ByteOf(int off) { return (-off - 1) % kSlotBytes; }

bool Spillable(const Reg& r) {
  return r.type != RegType::kNotInit && r.type != RegType::kScalar && r.type != RegType::kTpBuffer &&
         r.type != RegType::kDynptr;
}

}  // namespace

// Data that was a spilled register or anything else known becomes unknown data.
void Transfer::Scrub(Frame& f, int spi) {
  StackSlot& slot = pool_.WritableSlot(f, spi);
  const uint64_t bit = uint64_t{1} << spi;
  const bool special = ((f.spills | f.objects) & bit) != 0;
  slot.spilled.Clear();
  if (!special) return;
  f.spills &= ~bit;
  f.objects &= ~bit;
  for (SlotByte& b : slot.bytes) {
    if (b != SlotByte::kInvalid) b = SlotByte::kMisc;
  }
}

void Transfer::SaveReg(Frame& f, int spi, const Reg& r, int size) {
  if (IsSliceBuffer(f, spi)) {
    Scrub(f, spi);
    StackSlot& data = pool_.WritableSlot(f, spi);
    for (int i = kSlotBytes; i > kSlotBytes - size; --i) data.bytes[i - 1] = SlotByte::kMisc;
    return;
  }
  StackSlot& slot = pool_.WritableSlot(f, spi);
  slot.spilled = r;
  f.spills |= uint64_t{1} << spi;
  f.objects &= ~(uint64_t{1} << spi);
  int i = kSlotBytes;
  for (; i > kSlotBytes - size; --i) slot.bytes[i - 1] = SlotByte::kSpill;
  for (; i > 0; --i) {
    SlotByte& b = slot.bytes[i - 1];
    if (b != SlotByte::kZero && b != SlotByte::kInvalid) b = SlotByte::kMisc;
  }
}

void Transfer::GrowStack(const Reg& stack_pointer, int64_t bytes) {
  const int slots = static_cast<int>((bytes + kSlotBytes - 1) / kSlotBytes);
  if (slots <= FrameOf(stack_pointer).slots) return;
  Frame& f = WritableFrameOf(stack_pointer);
  f.slots = slots;
  grown.push_back({f.subprog, static_cast<uint16_t>(slots * kSlotBytes)});
}

bool Transfer::StackBounds(int r, int64_t off, int64_t size, bool write) {
  const Reg& p = reg(r);
  const char* what = write ? " write to" : " read from";
  const int64_t lowest = write || ctx_.caps.perfmon ? -kMaxStack : -int64_t{FrameOf(p).slots} * kSlotBytes;
  int64_t low, high;
  if (p.s.IsConst()) {
    low = static_cast<int64_t>(p.s.ConstValue()) + off;
    high = low + size;
  } else {
    if (p.s.smax >= kMaxVarOff || p.s.smin <= -kMaxVarOff) {
      return Fail(Rule::kStackVarOff, r, absl::StrCat("invalid unbounded variable-offset", what, " stack R", r));
    }
    low = p.s.smin + off;
    high = p.s.smax + off + size;
  }
  if (low >= lowest && low <= -1 && high <= 0 && size >= 0) {
    GrowStack(p, -low);
    return true;
  }
  if (p.s.IsConst()) {
    return Fail(Rule::kStackBounds, r,
                absl::StrCat("invalid", what, " stack R", r, " off=", low, " size=", size));
  }
  return Fail(Rule::kStackBounds, r, absl::StrCat("invalid variable-offset", what, " stack R", r, " var_off=",
                                                  TnumText(p.s.var_off), " off=", off, " size=", size));
}

bool Transfer::StackRead(int r, int off, int size, int value) {
  const Reg p = reg(r);
  if (p.s.IsConst()) return StackReadFixed(FrameOf(p), off + static_cast<int>(p.s.ConstValue()), size, value);
  if (value < 0) {
    return Fail(Rule::kStackVarOff, r,
                absl::StrCat("variable offset stack pointer cannot be passed into helper function; var_off=",
                             TnumText(p.s.var_off), " off=", off, " size=", size));
  }
  if (!StackRangeInit(r, off, size, false, false, nullptr)) return false;
  ReadStackBytes(FrameOf(p), static_cast<int>(p.s.smin) + off, static_cast<int>(p.s.smax) + off + size, value);
  return true;
}

void Transfer::ReadStackBytes(const Frame& f, int min_off, int max_off, int value) {
  bool zeros = true;
  for (int i = min_off; i < max_off && zeros; ++i) {
    zeros = f.slot(SlotOf(i)).bytes[ByteOf(i)] == SlotByte::kZero;
  }
  if (zeros) {
    reg(value).MakeScalar(Scalar::Const(0));
  } else {
    reg(value).MakeUnknown();
  }
}

// The bytes of iterators and the like are not for reading, nor, without CAP_PERFMON, those of pointers and those that were
// never written. Of the range [from, to), which `off` of R(r) begins (-1: of an instruction).
bool Transfer::ReadableBytes(const Frame& f, int r, int off, int from, int to) {
  if (f.objects == 0 && ctx_.caps.perfmon) return true;
  for (int at = from; at < to; ++at) {
    const StackSlot& slot = f.slot(SlotOf(at));
    const SlotByte byte = slot.bytes[ByteOf(at)];
    const bool hidden = byte == SlotByte::kInvalid || (byte == SlotByte::kSpill && !slot.spilled.IsScalar());
    if (!IsObject(byte) && (ctx_.caps.perfmon || !hidden)) continue;
    const Rule rule = byte == SlotByte::kInvalid  ? Rule::kStackUninit
                      : byte == SlotByte::kSpill  ? Rule::kPointerLeak
                      : byte == SlotByte::kIter   ? Rule::kIterator
                      : byte == SlotByte::kDynptr ? Rule::kDynptr
                                                  : Rule::kSection;
    const std::string who = r >= 0 ? absl::StrCat(" R", r) : "";
    return Fail(rule, r, absl::StrCat("invalid read from stack", who, " off ", off, "+", at - from, " size ",
                                                 to - from));
  }
  return true;
}

bool Transfer::StackReadFixed(const Frame& f, int off, int size, int value) {
  const int spi = SlotOf(off);
  const StackSlot& slot = f.slot(spi);
  uint32_t hist = HistStackAccess(f.frameno, static_cast<uint32_t>(spi));
  if (!slot.IsSpill()) {
    if (!ReadableBytes(f, -1, off, off, off + size)) return false;
    if (value >= 0) ReadStackBytes(f, off, off + size, value);
    return true;
  }
  int spill_size = 1;
  for (int i = kSlotBytes - 1; i > 0 && slot.bytes[i - 1] == SlotByte::kSpill; --i) ++spill_size;
  const Reg spilled = slot.spilled;
  if (size == kSlotBytes && spill_size == kSlotBytes) {
    if (value >= 0) {
      reg(value) = spilled;
    } else if (Hidden(spilled)) {
      return Fail(Rule::kPointerLeak, -1, absl::StrCat("leaking pointer from stack off ", off));
    }
    out_->hist_flags |= hist;
    return true;
  }
  if (!spilled.IsScalar()) return Fail(Rule::kStackSpill, -1, "invalid size of register fill");
  if (value < 0) return true;
  Reg& dst = reg(value);
  if (size <= spill_size && off % kSlotBytes == 0) {
    dst = spilled;
    if (static_cast<int>(std::bit_width(spilled.s.umax)) > size * 8) dst.ClearScalarId();
  } else {
    if (!ReadableBytes(f, -1, off, off, off + size)) return false;
    int spills = 0, zeros = 0;
    for (int i = 0; i < size; ++i) {
      const SlotByte b = slot.bytes[ByteOf(off + i)];
      spills += b == SlotByte::kSpill;
      zeros += b == SlotByte::kZero;
    }
    if (spills == size && spilled.s.var_off == Tnum::Const(0)) {
      dst.MakeScalar(Scalar::Const(0));
    } else {
      if (zeros == size) {
        dst.MakeScalar(Scalar::Const(0));
      } else {
        dst.MakeUnknown();
      }
      hist = 0;
    }
  }
  out_->hist_flags |= hist;
  return true;
}

bool Transfer::StackWrite(int r, int off, int size, int value) {
  const Reg p = reg(r);
  Frame& f = WritableFrameOf(p);
  if (p.s.IsConst()) return StackWriteFixed(f, off + static_cast<int>(p.s.ConstValue()), size, value);
  return StackWriteVar(f, r, off, size, value);
}

bool Transfer::StackWriteFixed(Frame& f, int off, int size, int value) {
  const Insn& i = insn();
  const int spi = SlotOf(off);
  const bool is_st = Class(i) == kClassSt && Mode(i) == kModeMem;
  Reg* r = value >= 0 ? &reg(value) : nullptr;
  if (!ctx_.caps.perfmon) {
    const StackSlot& slot = f.slot(spi);
    if (slot.IsSpill() && !slot.spilled.IsScalar() && size != kSlotBytes) {
      return Fail(Rule::kStackSpill, -1, "attempt to corrupt spilled pointer on stack");
    }
    // A processor may load what lay there before, and take a number for a pointer.
    out_->barrier_after = r != nullptr && Spillable(*r);
    for (int b = 0; b < size; ++b) {
      const SlotByte byte = slot.bytes[ByteOf(off + b)];
      out_->barrier_after |= byte != SlotByte::kMisc && byte != SlotByte::kZero;
    }
  }
  if (!OverwriteDynptr(f, spi)) return false;
  if (r != nullptr && off % kSlotBytes == 0 && r->IsScalar() && ctx_.caps.bpf) {
    const bool fits = static_cast<int>(std::bit_width(r->s.umax)) <= size * 8;
    if (fits) {
      if ((r->id & kAddConst) != 0) r->ClearScalarId();
      if (r->id == 0 && !r->s.IsConst()) r->id = NewId();
    }
    SaveReg(f, spi, *r, size);
    if (!fits) pool_.WritableSlot(f, spi).spilled.id = 0;
    out_->hist_flags |= HistStackAccess(f.frameno, static_cast<uint32_t>(spi));
    return true;
  }
  if (r == nullptr && off % kSlotBytes == 0 && is_st && ctx_.caps.bpf) {
    Reg constant;
    constant.MakeScalar(Scalar::Const(static_cast<uint64_t>(int64_t{i.imm})));
    SaveReg(f, spi, constant, size);
    out_->hist_flags |= HistStackAccess(f.frameno, static_cast<uint32_t>(spi));
    return true;
  }
  if (r != nullptr && Spillable(*r)) {
    if (size != kSlotBytes) return Fail(Rule::kStackSpill, value, "invalid size of register spill");
    if (&f != &st_->frame() && r->type == RegType::kStack) {
      return Fail(Rule::kStackSpill, value, "cannot spill pointers to stack into stack frame of the caller");
    }
    SaveReg(f, spi, *r, size);
    out_->hist_flags |= HistStackAccess(f.frameno, static_cast<uint32_t>(spi));
    return true;
  }
  SlotByte byte = SlotByte::kMisc;
  const bool zero = (r != nullptr && r->IsNull()) || (r == nullptr && is_st && i.imm == 0);
  if (zero && !IsSliceBuffer(f, spi)) {
    // The zero is remembered without the register that it came from, so that one must be precise.
    if (r != nullptr) Precise(value);
    byte = SlotByte::kZero;
  }
  Scrub(f, spi);
  StackSlot& slot = pool_.WritableSlot(f, spi);
  for (int b = 0; b < size; ++b) slot.bytes[ByteOf(off + b)] = byte;
  return true;
}

bool Transfer::StackWriteVar(Frame& f, int r, int off, int size, int value) {
  const Insn& i = insn();
  const Reg p = reg(r);
  const int min_off = static_cast<int>(p.s.smin) + off;
  const int max_off = static_cast<int>(p.s.smax) + off + size;
  const bool is_st = Class(i) == kClassSt && Mode(i) == kModeMem;
  const bool writes_zero = value >= 0 ? reg(value).IsNull() : is_st && i.imm == 0;
  bool zero_used = false;
  for (int at = min_off; at < max_off; ++at) {
    if (!OverwriteDynptr(f, SlotOf(at))) return false;
  }
  for (int at = min_off; at < max_off; ++at) {
    const int spi = SlotOf(at);
    StackSlot& slot = pool_.WritableSlot(f, spi);
    SlotByte& byte = slot.bytes[ByteOf(at)];
    if (!ctx_.caps.perfmon && byte != SlotByte::kMisc && byte != SlotByte::kZero) {
      return Fail(Rule::kStackSpill, r, absl::StrCat("spilled ptr in range of var-offset stack write; insn ", pc_,
                                                     ", ptr off: ", at));
    }
    if (writes_zero && byte == SlotByte::kSpill && slot.IsScalarSpill() && slot.spilled.s.var_off == Tnum::Const(0)) {
      zero_used = true;
      continue;
    }
    if ((f.objects >> spi & 1) != 0) {
      slot.spilled.Clear();
    } else {
      Scrub(f, spi);
    }
    SlotByte next = SlotByte::kMisc;
    if (writes_zero && byte == SlotByte::kZero) {
      next = SlotByte::kZero;
      zero_used = true;
    }
    byte = next;
  }
  if (zero_used && value >= 0) Precise(value);
  return true;
}

// A range that a helper or a variable-offset load may touch. What a helper may write is unknown data afterwards.
bool Transfer::StackRangeInit(int r, int off, int64_t size, bool zero_ok, bool write, CallMeta* meta) {
  const Reg p = reg(r);
  if (size == 0 && !zero_ok) return Fail(Rule::kHelperSize, r, "invalid zero-sized read");
  if (!StackBounds(r, off, size, write)) return false;
  int64_t min_off, max_off;
  if (p.s.IsConst()) {
    min_off = max_off = static_cast<int64_t>(p.s.ConstValue()) + off;
  } else {
    if (!ctx_.caps.perfmon) {
      return Fail(Rule::kStackVarOff, r,
                  absl::StrCat("R", r, " variable offset stack access prohibited for !root, var_off=",
                               TnumText(p.s.var_off)));
    }
    if (meta != nullptr && meta->raw_mode) meta = nullptr;
    min_off = p.s.smin + off;
    max_off = p.s.smax + off;
  }
  if (meta != nullptr && meta->raw_mode) {
    // The bytes are written later, when the helper may have been given a dynptr among them.
    for (int64_t at = min_off; at < max_off + size; ++at) {
      if (!FrameOf(p).slot(SlotOf(static_cast<int>(at))).IsDynptr()) continue;
      return Fail(Rule::kDynptr, r, absl::StrCat("potential write to dynptr at off=", at, " disallowed"));
    }
    meta->raw_size = static_cast<int>(size);
    meta->raw_reg = r;
    return true;
  }
  if (!ReadableBytes(FrameOf(p), r, static_cast<int>(min_off), static_cast<int>(min_off),
                     static_cast<int>(max_off + size))) {
    return false;
  }
  if (!write) return true;
  Frame& f = WritableFrameOf(p);
  for (int64_t at = min_off; at < max_off + size; ++at) {
    const int spi = SlotOf(static_cast<int>(at));
    SlotByte& byte = pool_.WritableSlot(f, spi).bytes[ByteOf(static_cast<int>(at))];
    if (byte == SlotByte::kSpill) {
      Scrub(f, spi);
    } else {
      byte = SlotByte::kMisc;
    }
  }
  return true;
}

}  // namespace bpfsieve
