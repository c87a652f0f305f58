#include "engine/isa/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bpfsieve {
namespace {

using Kind = EncodingError::Kind;

std::string ProgramError(const std::vector<Insn>& insns) {
  auto error = CheckEncoding(insns.data(), insns.size());
  return error ? error->message : "";
}

std::string InsnError(const Insn& insn) {
  auto error = CheckInsn(insn);
  return error ? error->message : "";
}

TEST(KnownOpcodes, AreAsManyAsTheKernelHas) {
  int known = 0;
  for (int code = 0; code < 256; ++code) known += IsKnownOpcode(static_cast<uint8_t>(code));
  // 53 ALU (2 classes of 12 operations in 2 forms, 2 negations, 3 byte swaps), 49 jumps (2 classes of 11 in 2 forms,
  // 2 gotos, call, exit, may_goto), 26 loads and stores (3 * 4 plain, 4 atomic, 3 sign-extending, 6 packet, 1 wide).
  EXPECT_EQ(known, 53 + 49 + 26);
}

TEST(CheckEncoding, EmptyProgramHasNoEncodingError) { EXPECT_FALSE(CheckEncoding(nullptr, 0)); }

TEST(CheckEncoding, UnknownOpcodesAreNamedInHex) {
  EXPECT_EQ(ProgramError({MakeInsn(0x95), MakeInsn(0x8d)}), "unknown opcode 8d");
  EXPECT_EQ(ProgramError({MakeInsn(0x99)}), "unknown opcode 99");  // sign-extending load of 8 bytes
  EXPECT_EQ(ProgramError({MakeInsn(0x00)}), "unknown opcode 00");
}

TEST(CheckEncoding, TellsTheInstruction) {
  std::vector<Insn> insns = {MakeInsn(0x18), MakeInsn(0), MakeInsn(0xff)};
  EXPECT_EQ(CheckEncoding(insns.data(), insns.size())->insn, 2u);
}

TEST(CheckEncoding, LoadsHaveNoImmediateAndTwoModes) {
  EXPECT_EQ(ProgramError({MakeInsn(0x79, 0, 1)}), "");
  EXPECT_EQ(ProgramError({MakeInsn(0x79, 0, 1, 0, 1)}), "BPF_LDX uses reserved fields");
  EXPECT_EQ(ProgramError({MakeInsn(0x19, 0, 1)}), "BPF_LDX uses reserved fields");
}

TEST(CheckEncoding, WideImmediateNeedsACleanSecondHalf) {
  EXPECT_EQ(ProgramError({MakeInsn(0x18)}), "invalid bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18), MakeInsn(0, 0, 0, 0, 7)}), "");
  EXPECT_EQ(ProgramError({MakeInsn(0x18), MakeInsn(0x95)}), "invalid bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18), MakeInsn(0, 1)}), "invalid bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18), MakeInsn(0, 0, 1)}), "invalid bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18), MakeInsn(0, 0, 0, 1)}), "invalid bpf_ld_imm64 insn");
}

TEST(CheckEncoding, WideImmediateKinds) {
  for (int src = 0; src <= 6; ++src) EXPECT_EQ(ProgramError({MakeInsn(0x18, 1, src), MakeInsn(0)}), "") << src;
  for (int src = 7; src < 16; ++src) {
    EXPECT_EQ(ProgramError({MakeInsn(0x18, 1, src), MakeInsn(0)}), "unrecognized bpf_ld_imm64 insn") << src;
  }
  EXPECT_EQ(ProgramError({MakeInsn(0x18, 1, 1), MakeInsn(0, 0, 0, 0, 8)}), "unrecognized bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18, 1, 5), MakeInsn(0, 0, 0, 0, 8)}), "unrecognized bpf_ld_imm64 insn");
  EXPECT_EQ(ProgramError({MakeInsn(0x18, 1, 2), MakeInsn(0, 0, 0, 0, 8)}), "");
}

TEST(CheckEncoding, LeavesUnusedFieldsOfOtherInstructionsToThePath) {
  EXPECT_EQ(ProgramError({MakeInsn(0x87, 0, 1), MakeInsn(0x37, 1), MakeInsn(0xbf, 11, 1), MakeInsn(0x95, 1)}), "");
}

struct Case {
  Insn insn;
  const char* message;
};

TEST(CheckInsn, UnusedFields) {
  const Case cases[] = {
      {MakeInsn(0x87, 1), ""},
      {MakeInsn(0x87, 1, 1), "BPF_NEG uses reserved fields"},
      {MakeInsn(0x87, 1, 0, 1), "BPF_NEG uses reserved fields"},
      {MakeInsn(0x84, 1, 0, 0, 1), "BPF_NEG uses reserved fields"},
      {MakeInsn(0xd4, 1, 0, 0, 16), ""},
      {MakeInsn(0xdc, 1, 0, 0, 64), ""},
      {MakeInsn(0xd7, 1, 0, 0, 32), ""},
      {MakeInsn(0xd7, 1, 0, 0, 24), "BPF_END uses reserved fields"},
      {MakeInsn(0xd7, 1, 1, 0, 32), "BPF_END uses reserved fields"},
      {MakeInsn(0xbf, 1, 2), ""},
      {MakeInsn(0xbf, 1, 2, 32), ""},
      {MakeInsn(0xbc, 1, 2, 16), ""},
      {MakeInsn(0xbc, 1, 2, 32), "BPF_MOV uses reserved fields"},
      {MakeInsn(0xbf, 1, 2, 0, 1), "BPF_MOV uses reserved fields"},
      {MakeInsn(0xbf, 1, 2, 1, 1), ""},
      {MakeInsn(0xbf, 1, 2, 1, 2), "addr_space_cast insn can only convert between address space 1 and 0"},
      {MakeInsn(0xbc, 1, 2, 1, 1), "BPF_MOV uses reserved fields"},
      {MakeInsn(0xb7, 1, 0, 8), "BPF_MOV uses reserved fields"},
      {MakeInsn(0xb7, 1, 2), "BPF_MOV uses reserved fields"},
      {MakeInsn(0x3f, 1, 2, 1), ""},
      {MakeInsn(0x97, 1, 0, 1, 3), ""},
      {MakeInsn(0x3f, 1, 2, 2), "BPF_ALU uses reserved fields"},
      {MakeInsn(0x0f, 1, 2, 1), "BPF_ALU uses reserved fields"},
      {MakeInsn(0x0f, 1, 2, 0, 1), "BPF_ALU uses reserved fields"},
      {MakeInsn(0x07, 1, 2, 0, 1), "BPF_ALU uses reserved fields"},
      {MakeInsn(0x85, 0, 0, 0, 1), ""},
      {MakeInsn(0x85, 0, 2, 5, 1), ""},
      {MakeInsn(0x85, 0, 3, 0, 1), "BPF_CALL uses reserved fields"},
      {MakeInsn(0x85, 1, 0, 0, 1), "BPF_CALL uses reserved fields"},
      {MakeInsn(0x85, 0, 1, 1, 1), "BPF_CALL uses reserved fields"},
      {MakeInsn(0x05, 0, 0, 3), ""},
      {MakeInsn(0x06, 0, 0, 0, 3), ""},
      {MakeInsn(0x05, 0, 0, 3, 1), "BPF_JA uses reserved fields"},
      {MakeInsn(0x06, 0, 0, 3, 1), "BPF_JA uses reserved fields"},
      {MakeInsn(0x05, 1, 0, 3), "BPF_JA uses reserved fields"},
      {MakeInsn(0x95), ""},
      {MakeInsn(0x95, 0, 0, 1), ""},  // the kernel does not look at the offset
      {MakeInsn(0x95, 0, 0, 0, 1), "BPF_EXIT uses reserved fields"},
      {MakeInsn(0xe5, 0, 0, 2), ""},
      {MakeInsn(0xe5, 0, 1, 2), "invalid may_goto imm 0"},
      {MakeInsn(0xe5, 0, 0, 2, 9), "invalid may_goto imm 9"},
      {MakeInsn(0x1d, 1, 2, 2), ""},
      {MakeInsn(0x1d, 1, 2, 2, 1), "BPF_JMP/JMP32 uses reserved fields"},
      {MakeInsn(0x16, 1, 2, 2, 1), "BPF_JMP/JMP32 uses reserved fields"},
      {MakeInsn(0x7b, 10, 1, -8), ""},
      {MakeInsn(0x7b, 10, 1, -8, 1), "BPF_STX uses reserved fields"},
      {MakeInsn(0x7a, 10, 0, -8, 1), ""},
      {MakeInsn(0x7a, 10, 1, -8, 1), "BPF_ST uses reserved fields"},
      {MakeInsn(0x18, 1, 0, 1), "BPF_LD_IMM64 uses reserved fields"},
      {MakeInsn(0x30, 0, 0, 0, 14), ""},
      {MakeInsn(0x30, 1, 0, 0, 14), "BPF_LD_[ABS|IND] uses reserved fields"},
      {MakeInsn(0x30, 0, 1, 0, 14), "BPF_LD_[ABS|IND] uses reserved fields"},
      {MakeInsn(0x50, 0, 1, 0, 14), ""},
      {MakeInsn(0x50, 0, 1, 1, 14), "BPF_LD_[ABS|IND] uses reserved fields"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(InsnError(c.insn), c.message) << std::hex << int{c.insn.code} << " " << c.insn.dst << " " << c.insn.src;
  }
}

TEST(InsnIsRight, WhereTheChecksFindNothing) {
  for (int code = 0; code < 256; ++code) {
    for (int dst : {0, 1, 9, 10, 11, 15}) {
      for (int src : {0, 1, 2, 3, 9, 10, 11}) {
        for (int off : {0, 1, 8, -1}) {
          for (int imm : {0, 1, 16, 32, 64, 0x100, -1}) {
            const Insn insn = MakeInsn(code, dst, src, off, imm);
            ASSERT_EQ(InsnIsRight(insn), !CheckInsn(insn)) << code << " " << dst << " " << src << " " << off << " " << imm;
          }
        }
      }
    }
  }
}

TEST(CheckInsn, AtomicOperationsAndSizes) {
  for (int imm : {0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1}) {
    EXPECT_EQ(InsnError(MakeInsn(0xdb, 10, 1, -8, imm)), "") << imm;
    EXPECT_EQ(InsnError(MakeInsn(0xc3, 10, 1, -8, imm)), "") << imm;
    EXPECT_EQ(InsnError(MakeInsn(0xd3, 10, 1, -8, imm)), "invalid atomic operand size") << imm;
  }
  for (int code : {0xc3, 0xcb, 0xd3, 0xdb}) {
    EXPECT_EQ(InsnError(MakeInsn(code, 1, 10, -8, 0x100)), "") << code;
    EXPECT_EQ(InsnError(MakeInsn(code, 10, 1, -8, 0x110)), "") << code;
  }
  EXPECT_EQ(InsnError(MakeInsn(0xdb, 10, 1, -8, 0xe0)), "BPF_ATOMIC uses invalid atomic opcode e0");
  EXPECT_EQ(InsnError(MakeInsn(0xdb, 10, 1, -8, 0x10)), "BPF_ATOMIC uses invalid atomic opcode 10");
}

TEST(CheckInsn, RegistersAboveTenDoNotExist) {
  auto error = CheckInsn(MakeInsn(0xbf, 1, 12));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind, Kind::kRegister);
  EXPECT_EQ(error->reg, 12);
  EXPECT_EQ(error->message, "R12 is invalid");
  EXPECT_EQ(InsnError(MakeInsn(0x79, 11, 10)), "R11 is invalid");
  EXPECT_EQ(InsnError(MakeInsn(0x7b, 11, 1)), "R11 is invalid");
  EXPECT_EQ(InsnError(MakeInsn(0x1d, 1, 15)), "R15 is invalid");
}

TEST(CheckInsn, FramePointerIsNotWritten) {
  for (Insn insn : {MakeInsn(0xb7, 10), MakeInsn(0xbf, 10, 1), MakeInsn(0x07, 10, 0, 0, 8), MakeInsn(0x79, 10, 10, -8),
                    MakeInsn(0x18, 10), MakeInsn(0x87, 10), MakeInsn(0xdb, 1, 10, 0, 0xe1), MakeInsn(0xdb, 10, 1, 0, 0x100)}) {
    auto error = CheckInsn(insn);
    ASSERT_TRUE(error) << std::hex << int{insn.code};
    EXPECT_EQ(error->kind, Kind::kFrameWrite);
    EXPECT_EQ(error->message, "frame pointer is read only");
  }
  EXPECT_EQ(InsnError(MakeInsn(0x7b, 10, 10, -8)), "");
  EXPECT_EQ(InsnError(MakeInsn(0xdb, 1, 10, 0, 0xf1)), "");  // compare-and-exchange writes R0
}

TEST(CheckInsn, ConstantDivisorsAndShifts) {
  EXPECT_EQ(CheckInsn(MakeInsn(0x37, 1, 0, 0, 0))->kind, Kind::kDivZero);
  EXPECT_EQ(CheckInsn(MakeInsn(0x94, 1, 0, 1, 0))->message, "div by zero");
  EXPECT_EQ(InsnError(MakeInsn(0x3f, 1, 2)), "");
  EXPECT_EQ(CheckInsn(MakeInsn(0x67, 1, 0, 0, 64))->kind, Kind::kShift);
  EXPECT_EQ(InsnError(MakeInsn(0x67, 1, 0, 0, 63)), "");
  EXPECT_EQ(InsnError(MakeInsn(0x64, 1, 0, 0, 32)), "invalid shift 32");
  EXPECT_EQ(InsnError(MakeInsn(0xc7, 1, 0, 0, -1)), "invalid shift -1");
}

}  // namespace
}  // namespace bpfsieve
