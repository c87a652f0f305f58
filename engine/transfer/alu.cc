// Arithmetic on scalars and pointers (check_alu_op, adjust_reg_min_max_vals, adjust_ptr_min_max_vals).
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

int Width(const Scalar& s) { return std::bit_width(s.umax); }

// Gives a scalar that is about to be copied an id, so that what is learnt of one holds for both.
void LinkBeforeCopy(Reg& src, State& st) {
  if (!src.IsScalar()) return;
  if ((src.id & kAddConst) != 0) src.ClearScalarId();
  if (src.id == 0 && !src.s.IsConst()) src.id = ++st.id_gen;
}

const char* AluName(uint8_t op) {
  static constexpr const char* kNames[] = {"+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=",
                                           "neg", "%=", "^=", "=",  "s>>=", "endian"};
  return op >> 4 < 14 ? kNames[op >> 4] : "?";
}

}  // namespace

bool Transfer::Alu() {
  const Insn& i = insn();
  const uint8_t op = AluOp(i);
  if (op == kMov) return AluMov();
  if (op != kNeg && op != kEnd) return AluBinary();
  if (!ReadReg(i.dst)) return false;
  Reg& dst = reg(i.dst);
  if (Hidden(dst)) {
    return Fail(Rule::kPointerArith, i.dst, absl::StrCat("R", int{i.dst}, " pointer arithmetic prohibited"));
  }
  if (!dst.IsScalar()) {
    dst.MakeUnknown();
  } else if (op == kNeg) {
    AluScalar(op, Class(i) == kClassAlu64, 0, dst.s, dst.s);
    dst.ClearScalarId();
  } else {
    const bool swap = Class(i) == kClassAlu64 || UsesX(i);
    ByteSwapScalar(dst.s, i.imm, swap);
    if (swap || i.imm != 64) dst.ClearScalarId();
  }
  return true;
}

bool Transfer::AluMov() {
  const Insn& i = insn();
  const bool is64 = Class(i) == kClassAlu64;
  Reg& dst = reg(i.dst);
  if (!UsesX(i)) {
    dst.MakeScalar(Scalar::Const(is64 ? static_cast<uint64_t>(int64_t{i.imm}) : static_cast<uint32_t>(i.imm)));
    return true;
  }
  if (!ReadReg(i.src)) return false;
  if (is64 && i.off == kAddrSpaceCast) {
    if (!ctx_.has_arena) {
      return Fail(Rule::kArena, i.src, "addr_space_cast insn can only be used in a program that has an associated arena");
    }
    dst.MakeUnknown();
    if (i.imm == 1) dst.MakePointer(RegType::kArena);
    return true;
  }
  Reg& src = reg(i.src);
  if (is64 && i.off == 0) {
    LinkBeforeCopy(src, *st_);
    if (&dst != &src) dst = src;
    return true;
  }
  if (!src.IsScalar()) {  // part of a pointer
    if (Hidden(src)) {
      return Fail(Rule::kPointerLeak, i.src,
                  absl::StrCat("R", int{i.src}, is64 ? " sign-extension part of pointer" : " partial copy of pointer"));
    }
    dst.MakeUnknown();
    if (!is64) Mov32(dst.s);
    return true;
  }
  // The copy keeps its link only where no bit is lost.
  const int bits = i.off == 0 ? 32 : i.off;
  const bool lossless = i.off == 0 ? Width(src.s) <= 32 : src.s.umax < (uint64_t{1} << (bits - 1));
  if (lossless) LinkBeforeCopy(src, *st_);
  if (&dst != &src) dst = src;
  if (!lossless) dst.ClearScalarId();
  if (is64) {
    CoerceToSizeSx(dst.s, bits / 8);
  } else if (i.off == 0) {
    Mov32(dst.s);
  } else {
    Movsx32(dst.s, bits / 8);
  }
  RepairBounds(dst.s);
  return true;
}

// A mask of sign bits is a branch in all but name: the queued path repeats the instruction with 0.
void Transfer::ForkOnSigns(Reg& dst, const Scalar& src) {
  Scalar zero, ones = dst.s;
  if (!ForkScalar(AluOp(insn()), ones, src, &zero)) return;
  Fork(pc_)->regs()[insn().dst].s = zero;
  out_->branch_records_step = false;
  dst.s = ones;
}

bool Transfer::AluBinary() {
  const Insn& i = insn();
  const uint8_t op = AluOp(i);
  const bool is64 = Class(i) == kClassAlu64;
  if (UsesX(i) && !ReadReg(i.src)) return false;
  if (!ReadReg(i.dst)) return false;
  Reg& dst = reg(i.dst);
  // Whatever is computed with an address in an arena is one.
  if (dst.type == RegType::kArena) return true;
  if (UsesX(i) && reg(i.src).type == RegType::kArena) {
    dst = reg(i.src);
    return true;
  }
  if (UsesX(i)) {
    const Reg& src = reg(i.src);
    if (!src.IsScalar()) {
      if (!dst.IsScalar()) {
        if (op == kSub && !Hidden(dst)) {
          dst.MakeUnknown();
          return true;
        }
        return Fail(Rule::kPointerArith, i.dst,
                    absl::StrCat("R", int{i.dst}, " pointer ", AluName(op), " pointer prohibited"));
      }
      Precise(i.dst);
      const Reg off = dst;
      return PointerArith(dst, src, off);
    }
    if (!dst.IsScalar()) {
      Precise(i.src);
      const Reg off = src;
      return PointerArith(dst, dst, off);
    }
  } else if (!dst.IsScalar()) {
    Reg off;
    off.MakeScalar(Scalar::Const(static_cast<uint64_t>(int64_t{i.imm})));
    return PointerArith(dst, dst, off);
  }
  if (!ctx_.caps.perfmon && UsesX(i) && (op == kAdd || op == kSub)) out_->alu_mask = kMaskOfNumbers;
  const Scalar src = UsesX(i) ? reg(i.src).s : Scalar::Const(static_cast<uint64_t>(int64_t{i.imm}));
  const bool fits32 = dst.s.umax <= kU32Max;
  if (op == kAnd || op == kOr) ForkOnSigns(dst, src);
  if (!AluScalar(op, is64, i.off, dst.s, src)) {
    dst.MakeUnknown();
    return true;
  }
  // rX = rY; rX += const: what is learnt of rY moves to rX by the same distance.
  const bool self = UsesX(i) && i.src == i.dst;
  const bool const_src = is64 ? src.IsConst() : src.SubregIsConst();
  const uint32_t old_id = dst.id;
  dst.ClearScalarId();
  if ((op != kAdd && op != kSub) || old_id == 0 || (old_id & kAddConst) != 0 || !const_src || self) return true;
  if (!ctx_.caps.bpf) return true;
  if (!is64 && !fits32) return true;
  const int64_t val = is64 ? static_cast<int64_t>(src.ConstValue()) : static_cast<int32_t>(src.ConstValue());
  const int64_t delta = op == kAdd ? val : -val;
  if (val < kS32Min || val > kS32Max || delta > kS32Max) return true;
  dst.id = old_id | (is64 ? kAddConst64 : kAddConst32);
  dst.off = static_cast<int32_t>(delta);
  return true;
}

bool Transfer::SaneOffset(const Reg& r, const Reg& type_of) {
  const auto type = [&] { return RegTypeName(type_of); };
  const int64_t val = static_cast<int64_t>(r.s.var_off.value);
  if (r.s.IsConst() && (val >= kMaxVarOff || val <= -kMaxVarOff)) {
    return Fail(Rule::kPointerOffset, insn().dst,
                absl::StrCat("math between ", type(), " pointer and ", val, " is not allowed"));
  }
  if (r.off >= kMaxVarOff || r.off <= -kMaxVarOff) {
    return Fail(Rule::kPointerOffset, insn().dst, absl::StrCat(type(), " pointer offset ", r.off, " is not allowed"));
  }
  if (r.s.smin == kS64Min) {
    return Fail(Rule::kPointerOffset, insn().dst,
                absl::StrCat("math between ", type(), " pointer and register with unbounded min value is not allowed"));
  }
  if (r.s.smin >= kMaxVarOff || r.s.smin <= -kMaxVarOff) {
    return Fail(Rule::kPointerOffset, insn().dst,
                absl::StrCat("value ", r.s.smin, " makes ", type(), " pointer be out of bounds"));
  }
  return true;
}

bool Transfer::PointerArith(Reg& dst, const Reg& ptr_in, const Reg& off) {
  const Insn& i = insn();
  const uint8_t op = AluOp(i);
  const bool known = off.s.IsConst();
  const bool dst_is_ptr = &dst == &ptr_in;
  const Reg ptr = ptr_in;
  if ((known && (off.s.smin != off.s.smax || off.s.umin != off.s.umax)) || off.s.smin > off.s.smax ||
      off.s.umin > off.s.umax) {
    dst.MakeUnknown();
    return true;
  }
  const auto r = [&] { return absl::StrCat("R", int{i.dst}); };
  if (Class(i) != kClassAlu64) {
    if (op == kSub && ctx_.caps.perfmon) {
      dst.MakeUnknown();
      return true;
    }
    return Fail(Rule::kPointerArith, i.dst, absl::StrCat(r(), " 32-bit pointer arithmetic prohibited"));
  }
  if (ptr.MayBeNull()) {
    return Fail(Rule::kPointerArith, i.dst,
                absl::StrCat(r(), " pointer arithmetic on ", RegTypeName(ptr), " prohibited, null-check it first"));
  }
  bool allowed = false;
  switch (ptr.type) {
    case RegType::kCtx:
    case RegType::kMapValue:
    case RegType::kMapKey:
    case RegType::kStack:
    case RegType::kPacketMeta:
    case RegType::kPacket:
    case RegType::kTpBuffer:
    case RegType::kBtfId:
    case RegType::kMem:
    case RegType::kBuf:
    case RegType::kFunc:
    case RegType::kDynptr:
      allowed = true;
      break;
    case RegType::kFlowKeys:
      allowed = known;
      break;
    case RegType::kConstMapPtr:
      allowed = known && off.s.smin == 0 && op == kAdd;
      break;
    default:
      break;
  }
  if (!allowed && ptr.type == RegType::kFlowKeys && known && off.s.smin == 0 && op == kAdd) allowed = true;
  if (!allowed) {
    return Fail(Rule::kPointerArith, i.dst,
                absl::StrCat(r(), " pointer arithmetic on ", RegTypeName(ptr), " prohibited"));
  }
  if (!dst_is_ptr && ptr.type == RegType::kStack && ctx_.cfg->subs.size() > 1) {
    // Linux 6.18 leaves the frame as it was in the number's register: mostly the outermost one, but where that register
    // once pointed into the stack of a function that has returned, it follows a pointer that is gone, and crashes. To
    // follow is unsafe, not to follow accepts more.
    return Unsupported(ptr.frameno != 0 ? "number += pointer to a called function's stack"
                                        : "number += pointer to the stack, in a program with functions");
  }
  if (!dst_is_ptr) dst = ptr;
  if (!SaneOffset(off, ptr) || !SaneOffset(ptr, ptr)) return false;
  const bool masked = !ctx_.caps.perfmon && UsesX(i) && (op == kAdd || op == kSub);
  AluMask mask;
  if (masked && !MaskBefore(ptr, off, dst_is_ptr, mask)) return false;
  UnboundRange32(dst.s);
  const Scalar& o = off.s;
  const Scalar& p = ptr.s;
  switch (op) {
    case kAdd: {
      const int64_t fixed = int64_t{ptr.off} + o.smin;
      if (known && fixed == static_cast<int32_t>(fixed)) {
        dst.s = p;
        dst.off = static_cast<int32_t>(fixed);
        if (!p.IsConst()) UnboundRange32(dst.s);
        break;
      }
      if (__builtin_add_overflow(p.smin, o.smin, &dst.s.smin) || __builtin_add_overflow(p.smax, o.smax, &dst.s.smax)) {
        dst.s.smin = kS64Min;
        dst.s.smax = kS64Max;
      }
      if (__builtin_add_overflow(p.umin, o.umin, &dst.s.umin) || __builtin_add_overflow(p.umax, o.umax, &dst.s.umax)) {
        dst.s.umin = 0;
        dst.s.umax = kU64Max;
      }
      dst.s.var_off = TnumAdd(p.var_off, o.var_off);
      dst.off = ptr.off;
      if (ptr.IsPacket()) {
        dst.id = NewId();
        dst.range = 0;
      }
      break;
    }
    case kSub: {
      if (!dst_is_ptr) {
        return Fail(Rule::kPointerArith, i.dst, absl::StrCat(r(), " tried to subtract pointer from scalar"));
      }
      if (ptr.type == RegType::kStack) {
        return Fail(Rule::kPointerArith, i.dst, absl::StrCat(r(), " subtraction from stack pointer prohibited"));
      }
      const int64_t fixed = int64_t{ptr.off} - o.smin;
      if (known && fixed == static_cast<int32_t>(fixed)) {
        dst.s = p;
        dst.off = static_cast<int32_t>(fixed);
        if (!p.IsConst()) UnboundRange32(dst.s);
        break;
      }
      if (__builtin_sub_overflow(p.smin, o.smax, &dst.s.smin) || __builtin_sub_overflow(p.smax, o.smin, &dst.s.smax)) {
        dst.s.smin = kS64Min;
        dst.s.smax = kS64Max;
      }
      if (p.umin < o.umax) {
        dst.s.umin = 0;
        dst.s.umax = kU64Max;
      } else {
        dst.s.umin = p.umin - o.umax;
        dst.s.umax = p.umax - o.umin;
      }
      dst.s.var_off = TnumSub(p.var_off, o.var_off);
      dst.off = ptr.off;
      if (ptr.IsPacket()) {
        dst.id = NewId();
        if (o.smin < 0) dst.range = 0;
      }
      break;
    }
    case kAnd:
    case kOr:
    case kXor:
      return Fail(Rule::kPointerArith, i.dst,
                  absl::StrCat(r(), " bitwise operator ", AluName(op), " on pointer prohibited"));
    default:
      return Fail(Rule::kPointerArith, i.dst,
                  absl::StrCat(r(), " pointer arithmetic with ", AluName(op), " operator prohibited"));
  }
  if (!SaneOffset(dst, ptr)) return false;
  SyncBounds(dst.s);
  RepairBounds(dst.s);
  if (ctx_.caps.perfmon) return true;
  return ResultInBounds(i.dst) && (!masked || MaskAfter(dst, mask));
}

}  // namespace bpfsieve
