#include "engine/isa/assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "engine/isa/decode.h"
#include "engine/isa/disasm.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;

std::string Show(const std::vector<Insn>& insns) {
  std::string text;
  for (const Insn& i : insns) {
    char line[64];
    snprintf(line, sizeof line, "%02x %d %d %d %d; ", i.code, i.dst, i.src, i.off, i.imm);
    text += line;
  }
  return text;
}

void ExpectInsns(std::string_view text, const std::vector<Insn>& insns, const AsmSymbols& symbols = {}) {
  auto result = Assemble(text, symbols);
  ASSERT_TRUE(result.ok()) << text << ": " << result.status();
  EXPECT_EQ(Show(*result), Show(insns)) << text;
}

std::string ErrorOf(std::string_view text, const AsmSymbols& symbols = {}) {
  auto result = Assemble(text, symbols);
  return result.ok() ? "assembled" : std::string(result.status().message());
}

// Writes the instructions as text and reads that again.
void ExpectRoundTrip(const std::vector<Insn>& insns) {
  std::string text;
  for (size_t i = 0; i < insns.size();) {
    size_t used = 0;
    text += AsmText(&insns[i], insns.size() - i, &used) + "\n";
    i += used;
  }
  ExpectInsns(text, insns);
}

TEST(Assemble, EmptyTextIsNoInstructions) {
  ExpectInsns("", {});
  ExpectInsns(" \n\t; comment\n# comment\n// comment", {});
}

TEST(Assemble, CommentsEndLines) {
  ExpectInsns("exit ; one\nexit // two\nexit # three\ncall bpf_map_lookup_elem#1 # four",
              {MakeInsn(0x95), MakeInsn(0x95), MakeInsn(0x95), MakeInsn(0x85, 0, 0, 0, 1)});
}

TEST(Assemble, NumbersAreDecimalOrHexWithSign) {
  ExpectInsns("r1 = -5\nr1 = 0x7fffffff\nr1 = -0x80000000\nw1 = 0xffffffff\nr1 += +3",
              {MakeInsn(0xb7, 1, 0, 0, -5), MakeInsn(0xb7, 1, 0, 0, 0x7fffffff), MakeInsn(0xb7, 1, 0, 0, INT32_MIN),
               MakeInsn(0xb4, 1, 0, 0, -1), MakeInsn(0x07, 1, 0, 0, 3)});
}

TEST(Assemble, SixtyFourBitImmediatesTakeTwoInstructions) {
  ExpectInsns("r2 = 0x1122334455667788 ll\nr2 = -1 ll\nr2 = 18446744073709551615 ll",
              {MakeInsn(0x18, 2, 0, 0, 0x55667788), MakeInsn(0, 0, 0, 0, 0x11223344), MakeInsn(0x18, 2, 0, 0, -1),
               MakeInsn(0, 0, 0, 0, -1), MakeInsn(0x18, 2, 0, 0, -1), MakeInsn(0, 0, 0, 0, -1)});
}

TEST(Assemble, LabelsBackwardForwardAndAtTheEnd) {
  ExpectInsns("a: b:\n  if r1 == 0 goto end\n  goto a\n  gotol b\n  may_goto end\nend:",
              {MakeInsn(0x15, 1, 0, 3), MakeInsn(0x05, 0, 0, -2), MakeInsn(0x06, 0, 0, 0, -3), MakeInsn(0xe5)});
}

TEST(Assemble, LabelsCountBothHalvesOfWideImmediates) {
  ExpectInsns("goto end\nr1 = 1 ll\nend: exit",
              {MakeInsn(0x05, 0, 0, 2), MakeInsn(0x18, 1, 0, 0, 1), MakeInsn(0), MakeInsn(0x95)});
}

TEST(Assemble, CallsPreferLabelsToHelpers) {
  ExpectInsns("call bpf_ktime_get_ns\ncall 5\ncall bpf_ktime_get_ns#5\ncall unknown#300\ncall pc-1\ncall sub\nsub:",
              {MakeInsn(0x85, 0, 0, 0, 5), MakeInsn(0x85, 0, 0, 0, 5), MakeInsn(0x85, 0, 0, 0, 5), MakeInsn(0x85, 0, 0, 0, 300),
               MakeInsn(0x85, 0, 1, 0, -1), MakeInsn(0x85, 0, 1, 0, 0)});
  ExpectInsns("call bpf_ktime_get_ns\nexit\nbpf_ktime_get_ns: exit", {MakeInsn(0x85, 0, 1, 0, 1), MakeInsn(0x95), MakeInsn(0x95)});
}

TEST(Assemble, ReferencesGoThroughTheResolvers) {
  AsmSymbols symbols;
  symbols.map = [](std::string_view name) { return name == "m" ? std::optional<int32_t>(4) : std::nullopt; };
  symbols.kfunc = [](std::string_view name) { return name == "k" ? std::optional<int32_t>(5) : std::nullopt; };
  symbols.ksym = [](std::string_view name) { return name == "v" ? std::optional<int32_t>(6) : std::nullopt; };
  ExpectInsns("r1 = map[m] ll\nr1 = map[m]+8 ll\nr1 = map[m]+0\nr1 = map[9]\ncall kfunc[k]\nr1 = ksym[v] ll\n"
              "r1 = map_idx[2] ll\nr1 = map_idx[2]+4 ll\nr1 = func[sub] ll\nsub: exit",
              {MakeInsn(0x18, 1, 1, 0, 4), MakeInsn(0), MakeInsn(0x18, 1, 2, 0, 4), MakeInsn(0, 0, 0, 0, 8), MakeInsn(0x18, 1, 2, 0, 4),
               MakeInsn(0), MakeInsn(0x18, 1, 1, 0, 9), MakeInsn(0), MakeInsn(0x85, 0, 2, 0, 5), MakeInsn(0x18, 1, 3, 0, 6), MakeInsn(0),
               MakeInsn(0x18, 1, 5, 0, 2), MakeInsn(0), MakeInsn(0x18, 1, 6, 0, 2), MakeInsn(0, 0, 0, 0, 4), MakeInsn(0x18, 1, 4, 0, 1),
               MakeInsn(0), MakeInsn(0x95)},
              symbols);
  EXPECT_EQ(ErrorOf("exit\nr1 = map[x] ll", symbols), "line 2: no map 'x'");
}

TEST(Assemble, RawInstructionsTakeAnyFields) {
  ExpectInsns(".insn code=0x87 src=1 dst=15 off=-3 imm=0xffffffff\n.insn code=255",
              {MakeInsn(0x87, 15, 1, -3, -1), MakeInsn(0xff)});
}

TEST(Assemble, ErrorsTellTheLineAndTheCause) {
  EXPECT_EQ(ErrorOf("exit\n\nfrobnicate r1"), "line 3: expected an instruction before 'frobnicate r1'");
  EXPECT_EQ(ErrorOf("goto nowhere"), "line 1: no label 'nowhere'");
  EXPECT_EQ(ErrorOf("call nowhere"), "line 1: no helper or label 'nowhere'");
  EXPECT_EQ(ErrorOf("a:\nexit\na:"), "line 3: label 'a' is defined twice");
  EXPECT_EQ(ErrorOf("r1 = w2"), "line 1: both registers must be of the same width");
  EXPECT_EQ(ErrorOf("exit exit"), "line 1: unexpected 'exit'");
  EXPECT_EQ(ErrorOf("call bpf_ktime_get_ns#6"), "line 1: bpf_ktime_get_ns is not helper 6");
  EXPECT_THAT(ErrorOf("r1 = 0xffffffff"), HasSubstr("write 'll'"));
  EXPECT_THAT(ErrorOf("r16 = 1"), HasSubstr("expected an instruction"));
  EXPECT_THAT(ErrorOf("r1 = 18446744073709551616 ll"), HasSubstr("not a number of 64 bits"));
  EXPECT_THAT(ErrorOf("*(u8 *)(r1 +32768) = 0"), HasSubstr("out of range"));
  EXPECT_THAT(ErrorOf("*(s8 *)(r1 +0) = 0"), HasSubstr("expected u8, u16, u32 or u64"));
  EXPECT_THAT(ErrorOf(".insn dst=1"), HasSubstr("code="));
  EXPECT_THAT(ErrorOf("r1 = atomic_fetch_add((u64 *)(r2 +0), r1)"), HasSubstr("atomic64_"));
  EXPECT_THAT(ErrorOf("r1 = map[x"), HasSubstr("']'"));
}

TEST(Assemble, FarLabelsNeedGotol) {
  std::string body;
  for (int i = 0; i < 40000; ++i) body += "r0 = 0\n";
  body += "end: exit";
  EXPECT_THAT(ErrorOf("goto end\n" + body), HasSubstr("too far away (40000); use gotol"));
  auto insns = Assemble("gotol end\n" + body);
  ASSERT_TRUE(insns.ok());
  EXPECT_EQ(insns->front().imm, 40000);
}

TEST(AssembleUnit, KeepsLinesAndLabels) {
  auto unit = AssembleUnit("r1 = 1 ll\n\nlast: exit", {}, 10);
  ASSERT_TRUE(unit.ok());
  EXPECT_EQ(unit->lines, (std::vector<uint32_t>{10, 10, 12}));
  ASSERT_EQ(unit->labels.size(), 1u);
  EXPECT_EQ(unit->labels[0].name, "last");
  EXPECT_EQ(unit->labels[0].insn, 2u);
}

// Every opcode with values of each field that matter to some instruction: valid ones must not need ".insn".
TEST(AsmText, RoundTripsEveryOpcodeAndField) {
  const std::vector<int64_t> imms = {0, 1, -1, 16, 64, 0x10000};
  const std::vector<int64_t> atomics = {0, 0x40, 0x50, 0xa0, 1, 0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110, 0x30};
  int valid = 0;
  for (int code = 0; code < 256; ++code) {
    const bool atomic = (code & 7) == kClassStx && (code & 0xe0) == kModeAtomic;
    for (int dst : {0, 10}) {
      for (int src = 0; src < (code == kCodeLdImm64 ? 8 : 3); ++src) {
        for (int off : {0, 1, 8, 32, -1, -32768}) {
          for (int64_t imm : atomic ? atomics : imms) {
            std::vector<Insn> insns = {MakeInsn(code, dst, src, off, imm)};
            if (code == kCodeLdImm64) insns.push_back(MakeInsn(0, 0, 0, 0, imm));
            ExpectRoundTrip(insns);
            if (CheckEncoding(insns.data(), insns.size()) || CheckInsn(insns[0])) continue;
            // The offset of exit is ignored, and that of a kernel function's call is a module's index.
            if ((code == kCodeExit || IsKfuncCall(insns[0])) && off != 0) continue;
            ++valid;
            size_t used = 0;
            EXPECT_EQ(AsmText(insns.data(), insns.size(), &used).find(".insn"), std::string::npos) << Show(insns);
          }
        }
      }
    }
  }
  EXPECT_GT(valid, 4000);
}

TEST(AsmText, KernelTextWhereItSaysEverything) {
  const Insn plain[] = {MakeInsn(0xb7, 1, 0, 0, 5), MakeInsn(0x95, 0, 0, 0, 0)};
  size_t used = 0;
  EXPECT_EQ(AsmText(plain, 2, &used), "r1 = 5");
  const Insn reserved = MakeInsn(0x95, 3);
  EXPECT_EQ(AsmText(&reserved, 1, &used), ".insn code=0x95 dst=3 src=0 off=0 imm=0");
  const Insn torn = MakeInsn(0x18, 3);
  EXPECT_EQ(AsmText(&torn, 1, &used), ".insn code=0x18 dst=3 src=0 off=0 imm=0");
  EXPECT_EQ(used, 1u);
}

TEST(Assemble, DamagedTextEndsInAStatus) {
  const std::string text =
      "loop: r1 = map[x]+8 ll\nif r1 s> 0x5 goto loop\nr0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)\n"
      "*(u64 *)(r10 -8) = r1\nr0 = *(u8 *)skb[r7 + 14]\ncall bpf_map_lookup_elem#1\n.insn code=1 dst=2\n"
      "r1 = addr_space_cast(r2, 0, 1)\nr1 = be16 r1\nr1 = func[loop] ll\nlock *(u32 *)(r1 +0) ^= r2\n";
  std::mt19937 random(1);
  int failed = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = text;
    for (int k = 0; k < 3; ++k) {
      const size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0: damaged[at] = static_cast<char>(random()); break;
        case 1: damaged.erase(at, random() % 8); break;
        default: damaged.insert(at, text.substr(random() % text.size(), random() % 8)); break;
      }
    }
    failed += !Assemble(damaged).ok();
  }
  EXPECT_EQ(failed, 3000);  // 'x' is no map, so at the latest that fails
}

}  // namespace
}  // namespace bpfsieve
