// Measures against speculation, for programs whose loader lacks CAP_PERFMON (sanitize_ptr_alu and what it calls).
//
// A processor may guess a branch wrong and run on with an offset that no comparison has bounded. So the kernel masks the
// offsets that are added to pointers in registers, looks at what happens where a mask makes one zero, and looks at the
// sides of branches that are never taken. What is found there is no fault of the program: the kernel puts a barrier in
// front of the instruction (explore.cc).
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

constexpr const char* kProhibited = ", pointer arithmetic with it prohibited for !root";

// Parts of StepEffects::alu_mask, above the limit's 32 bits.
constexpr uint64_t kPresent = uint64_t{1} << 32, kNegative = kPresent << 1, kConstant = kPresent << 2,
                   kOnSource = kPresent << 3;

const char* Verb(uint8_t op) { return op == kAdd ? "add" : "sub"; }

}  // namespace

State* Transfer::ForkSpeculative(uint32_t at) {
  State* branch = Fork(at);
  branch->speculative = true;
  return branch;
}

// How far from the region's end `ptr` is, in the direction that the mask allows.
bool Transfer::PointerLimit(const Reg& ptr, int r, bool to_left, uint32_t* limit) {
  const Insn& i = insn();
  uint32_t max = 0;
  if (ptr.type == RegType::kStack) {
    max = static_cast<uint32_t>(kMaxStack) + (to_left ? 1 : 0);
    *limit = 0u - static_cast<uint32_t>(ptr.s.ConstValue() + static_cast<uint64_t>(int64_t{ptr.off}));
  } else if (ptr.type == RegType::kMapValue && !ptr.MayBeNull()) {
    max = ctx_.map(ptr.map).value_size;
    *limit = static_cast<uint32_t>((to_left ? static_cast<uint64_t>(ptr.s.smin) : ptr.s.umax) +
                                   static_cast<uint64_t>(int64_t{ptr.off}));
  } else {
    return Fail(Rule::kSpeculation, r,
                absl::StrCat("R", r, " has pointer with unsupported alu operation", kProhibited));
  }
  if (*limit < max) return true;
  return Fail(Rule::kSpeculation, i.dst,
              absl::StrCat("R", int{i.dst}, " tried to ", Verb(AluOp(i)), " beyond pointer bounds", kProhibited));
}

bool Transfer::MaskBefore(const Reg& ptr, const Reg& off, bool dst_is_ptr, AluMask& mask) {
  const Insn& i = insn();
  const bool constant = off.s.IsConst();
  // On speculative paths only what comes of the mask is of interest.
  if (!st_->speculative) {
    if (!constant && (off.s.smin < 0) != (off.s.smax < 0)) {
      const int r = dst_is_ptr ? i.src : i.dst;
      return Fail(Rule::kSpeculation, r,
                  absl::StrCat("R", r, " has unknown scalar with mixed signed bounds", kProhibited));
    }
    const bool negative = off.s.smin < 0;
    mask.to_left = (AluOp(i) == kAdd) == negative;
    if (!PointerLimit(ptr, dst_is_ptr ? i.dst : i.src, mask.to_left, &mask.limit)) return false;
    mask.kind = kPresent | (negative ? kNegative : 0) | (constant ? kConstant : 0) | (dst_is_ptr ? kOnSource : 0);
    out_->mask_of_scalar = !constant;
  }
  // Masked, the offset may be zero. A constant one becomes an immediate.
  if (!constant) ForkSpeculative(pc_ + 1);
  return true;
}

bool Transfer::MaskAfter(const Reg& result, AluMask& mask) {
  if (st_->speculative) return true;
  uint32_t limit = 0;
  if (!PointerLimit(result, insn().dst, mask.to_left, &limit)) return false;
  out_->alu_mask = mask.kind | static_cast<uint32_t>(std::abs(static_cast<int32_t>(mask.limit - limit)));
  return true;
}

// Accesses are kept in bounds by masks only where the pointer itself stays in its region.
bool Transfer::ResultInBounds(int r) {
  const Reg& p = reg(r);
  if (p.type == RegType::kStack) {
    const int64_t off = int64_t{p.off} + static_cast<int64_t>(p.s.var_off.value);
    if (!p.s.IsConst()) {
      return Fail(Rule::kSpeculation, r, absl::StrCat("R", r, " variable stack access prohibited for !root, var_off=",
                                                      TnumText(p.s.var_off), " off=", static_cast<int32_t>(off)));
    }
    if (off < 0 && off >= -kMaxStack) return true;
    return Fail(Rule::kSpeculation, r,
                absl::StrCat("R", r, " stack pointer arithmetic goes out of range, prohibited for !root; off=",
                             static_cast<int32_t>(off)));
  }
  if (p.type != RegType::kMapValue || p.MayBeNull() || MapAccess(r, p.off, 1, false, true)) return true;
  return Fail(Rule::kSpeculation, r,
              absl::StrCat("R", r, " pointer arithmetic of map value goes out of range, prohibited for !root"));
}

}  // namespace bpfsieve
