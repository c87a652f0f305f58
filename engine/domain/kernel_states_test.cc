// The domain against states that the kernel printed.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

struct Row {
  Insn insn;
  const char* r6;
  const char* r7;
  const char* jump_r6;
  const char* jump_r7;
};

constexpr Row kRows[] = {
#include "engine/domain/kernel_states.inc"
};

using Regs = std::array<Scalar, kMaxReg>;

std::string Text(const Scalar& r) {
  std::string out;
  AppendScalar(out, r);
  return out;
}

void RunAlu(const Insn& i, Regs& regs) {
  Scalar& dst = regs[i.dst];
  const bool is64 = Class(i) == kClassAlu64;
  switch (AluOp(i)) {
    case kEnd: ByteSwapScalar(dst, i.imm, is64 || UsesX(i)); return;
    case kMov:
      dst = regs[i.src];
      if (is64) {
        CoerceToSizeSx(dst, i.off / 8);
      } else if (i.off != 0) {
        Movsx32(dst, i.off / 8);
      } else {
        Mov32(dst);
      }
      return;
    default: {
      const Scalar src = UsesX(i) ? regs[i.src] : Scalar::Const(static_cast<uint64_t>(int64_t{i.imm}));
      Scalar zero;
      ForkScalar(AluOp(i), dst, src, &zero);  // the log follows the other half first
      AluScalar(AluOp(i), is64, i.off, dst, src);
    }
  }
}

TEST(KernelStates, EveryRecordedStateIsReproduced) {
  Regs regs;
  int row = 0;
  for (const Row& want : kRows) {
    ++row;
    const Insn& i = want.insn;
    if (i == Insn{}) {
      regs = Regs{};
      continue;
    }
    std::string jump_r6, jump_r7, r6, r7;
    int taken = 0;
    if (Class(i) == kClassLdx) {  // a narrow fill of the register's own spill
      Scalar& dst = regs[i.dst];
      Mode(i) == kModeMemsx ? CoerceToSizeSx(dst, AccessBytes(i)) : CoerceToSize(dst, AccessBytes(i));
    } else if (IsJmpClass(i)) {
      const bool is32 = Class(i) == kClassJmp32;
      Scalar imm = Scalar::Const(static_cast<uint64_t>(int64_t{i.imm})), jump_imm = imm;
      Scalar& src = UsesX(i) ? regs[i.src] : imm;
      taken = BranchTaken(JmpOp(i), is32, regs[i.dst], src);
      Regs jump = regs;
      if (taken < 0) {
        RefineBranch(jump[i.dst], UsesX(i) ? jump[i.src] : jump_imm, regs[i.dst], src, JmpOp(i), is32);
      }
      if (taken != 0) {
        jump_r6 = Text(jump[6]);
        jump_r7 = Text(jump[7]);
      }
    } else {
      RunAlu(i, regs);
    }
    if (taken != 1) {
      r6 = Text(regs[6]);
      r7 = Text(regs[7]);
    }
    EXPECT_EQ(r6, want.r6) << "row " << row;
    EXPECT_EQ(r7, want.r7) << "row " << row;
    EXPECT_EQ(jump_r6, want.jump_r6) << "row " << row << " when jumping";
    EXPECT_EQ(jump_r7, want.jump_r7) << "row " << row << " when jumping";
  }
  EXPECT_GT(row, 100);
}

}  // namespace
}  // namespace bpfsieve
