#include <gtest/gtest.h>

#include <vector>

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
