#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/isa/assembler.h"
#include "engine/isa/decode.h"
#include "engine/isa/insn.h"
#include "fuzz/targets/mutate_choices.h"
#include "fuzz/targets/mutate_insns.h"

namespace bpfsieve {
namespace {

std::vector<uint8_t> Program(const std::vector<Insn>& insns) {
  std::vector<uint8_t> bytes(1 + insns.size() * 8, 4);
  std::memcpy(bytes.data() + 1, insns.data(), insns.size() * 8);
  return bytes;
}

TEST(MutateInsns, GivesWholeInstructionsWithinTheLimit) {
  const std::vector<uint8_t> start = Program({MakeInsn(kClassAlu64 | kMov, 0), MakeInsn(kCodeExit)});
  std::vector<uint8_t> bytes = start;
  bytes.resize(1 + 8 * 64);
  size_t size = start.size();
  bool grew = false;
  for (unsigned seed = 0; seed < 2000; ++seed) {
    size = MutateInsns(bytes.data(), size, bytes.size(), seed);
    ASSERT_LE(size, bytes.size());
    ASSERT_EQ(size % 8, 1u);
    grew |= size > start.size();
  }
  EXPECT_TRUE(grew);
}

std::vector<Insn> Insns(const std::vector<uint8_t>& bytes, size_t size) {
  std::vector<Insn> insns((size - 1) / sizeof(Insn));
  if (!insns.empty()) std::memcpy(insns.data(), bytes.data() + 1, insns.size() * sizeof(Insn));
  return insns;
}

// Whether every instruction decodes, and every jump and call leads to one, within its function where it is a jump.
bool WellFormed(const std::vector<Insn>& insns) {
  if (insns.empty() || CheckEncoding(insns.data(), insns.size())) return false;
  std::vector<bool> second(insns.size(), false), starts(insns.size(), false);
  for (size_t i = 0; i < insns.size(); ++i) {
    if (second[i]) continue;
    if (CheckInsn(insns[i])) return false;
    if (IsLdImm64(insns[i])) second[i + 1] = true;
  }
  const auto target = [&](size_t i, int64_t distance) -> int64_t {
    const int64_t to = static_cast<int64_t>(i) + 1 + distance;
    return to < 0 || to >= static_cast<int64_t>(insns.size()) || second[static_cast<size_t>(to)] ? -1 : to;
  };
  for (size_t i = 0; i < insns.size(); ++i) {
    if (second[i] || !(IsPseudoCall(insns[i]) || IsPseudoFunc(insns[i]))) continue;
    const int64_t to = target(i, insns[i].imm);
    if (to < 0) return false;
    starts[static_cast<size_t>(to)] = true;
  }
  std::vector<int> function(insns.size(), 0);
  for (size_t i = 1; i < insns.size(); ++i) function[i] = function[i - 1] + starts[i];
  for (size_t i = 0; i < insns.size(); ++i) {
    const Insn& insn = insns[i];
    if (second[i]) continue;
    const bool last = i + 1 == insns.size() || function[i + 1] != function[i];
    if (last && insn.code != kCodeExit && insn.code != (kClassJmp | kJa) && insn.code != (kClassJmp32 | kJa)) return false;
    if (!IsJmpClass(insn) || JmpOp(insn) == kCall || JmpOp(insn) == kExit) continue;
    const int64_t to = target(i, insn.code == (kClassJmp32 | kJa) ? insn.imm : insn.off);
    if (to < 0 || function[static_cast<size_t>(to)] != function[i]) return false;
  }
  return true;
}

// With everything that mutations could tear apart: 64-bit immediates, jumps in both directions, functions, atomics.
std::vector<Insn> Parent() {
  return *Assemble(
      "r6 = r1\nr7 = 0x1122334455667788 ll\nr2 = 0\n*(u64 *)(r10 -8) = r2\nloop:\nr2 += 1\nr3 = 0x7fffffff ll\n"
      "lock *(u64 *)(r10 -8) += r3\nif r2 < 10 goto loop\nif w2 s> 5 goto far\ncall f\nr1 = func[g] ll\nfar:\ncall 5\nr0 = 0\n"
      "exit\nf:\nr0 = 0x100000000 ll\nif r0 == 7 goto out\nr0 <<= 3\nr0 /= 3\nout:\nexit\ng:\nr0 = be16 r0\ngotol end\n"
      "r0 = 1\nend:\nexit\n");
}

TEST(MutateInsns, KeepsProgramsWellFormed) {
  const std::vector<uint8_t> start = Program(Parent());
  ASSERT_TRUE(WellFormed(Parent()));
  int well = 0, other = 0;
  constexpr int kMutants = 20000;
  for (unsigned seed = 0; seed < kMutants; ++seed) {
    std::vector<uint8_t> bytes = start;
    bytes.resize(1 + 8 * 64);
    const std::vector<Insn> insns = Insns(bytes, MutateInsns(bytes.data(), start.size(), bytes.size(), seed));
    well += WellFormed(insns);
    other += insns != Parent();
  }
  EXPECT_GE(well, kMutants * 95 / 100);
  EXPECT_LT(well, kMutants) << "now and then any change will do";
  EXPECT_GE(other, kMutants * 90 / 100) << "and they are mutants";
}

// Where every mutant is the next one's parent, as a fuzzer has it.
TEST(MutateInsns, KeepsMostOfALineWellFormed) {
  const std::vector<uint8_t> start = Program(Parent());
  int well = 0;
  constexpr int kLines = 2000, kLength = 4;
  for (unsigned line = 0; line < kLines; ++line) {
    std::vector<uint8_t> bytes = start;
    bytes.resize(1 + 8 * 64);
    size_t size = start.size();
    for (unsigned step = 0; step < kLength; ++step) size = MutateInsns(bytes.data(), size, bytes.size(), line * kLength + step);
    well += WellFormed(Insns(bytes, size));
  }
  EXPECT_GE(well, kLines * 85 / 100);
}

TEST(CrossInsns, KeepsProgramsWellFormed) {
  const std::vector<uint8_t> a = Program(Parent());
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::vector<uint8_t> out(1 + 8 * (seed % 2 == 0 ? 400 : 30));
    const size_t size = CrossInsns(a.data(), a.size(), a.data(), a.size(), out.data(), out.size(), seed);
    ASSERT_LE(size, out.size());
    EXPECT_TRUE(WellFormed(Insns(out, size))) << seed;
  }
}

TEST(MutateInsns, IsAFunctionOfItsSeed) {
  std::vector<uint8_t> a = Program({MakeInsn(kClassAlu64 | kMov, 0), MakeInsn(kCodeExit)}), b = a;
  a.resize(200);
  b.resize(200);
  const size_t n = MutateInsns(a.data(), 17, a.size(), 7);
  EXPECT_EQ(MutateInsns(b.data(), 17, b.size(), 7), n);
  EXPECT_EQ(a, b);
}

// A jump over one instruction still leads to the exit when others are put in between.
TEST(CrossInsns, JumpsGoWhereTheyWent) {
  const std::vector<uint8_t> a =
      Program({MakeInsn(kClassJmp | kJa, 0, 0, 1), MakeInsn(kClassAlu64 | kMov, 0), MakeInsn(kCodeExit)});
  const std::vector<uint8_t> b = Program({MakeInsn(kClassAlu64 | kMov, 1), MakeInsn(kClassAlu64 | kMov, 2)});
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::vector<uint8_t> out(400);
    const size_t size = CrossInsns(a.data(), a.size(), b.data(), b.size(), out.data(), out.size(), seed);
    std::vector<Insn> insns((size - 1) / 8);
    std::memcpy(insns.data(), out.data() + 1, insns.size() * 8);
    ASSERT_GT(insns.size(), 3u);
    for (size_t i = 0; i < insns.size(); ++i) {
      if (insns[i].code != (kClassJmp | kJa)) continue;
      EXPECT_EQ(insns[i + 1 + static_cast<size_t>(insns[i].off)].code, kCodeExit);
    }
  }
}

TEST(MutateChoices, StaysWithinTheLimit) {
  std::vector<uint8_t> bytes(512);
  size_t size = 0;
  for (unsigned seed = 0; seed < 2000; ++seed) {
    size = MutateChoices(bytes.data(), size, bytes.size(), seed);
    ASSERT_LE(size, bytes.size());
    ASSERT_GE(size, 8u);
  }
}

}  // namespace
}  // namespace bpfsieve
