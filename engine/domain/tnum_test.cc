// Examples in 64 bits; engine/domain/proof goes through all values of small words, and proves 64 bits.
#include "engine/domain/tnum.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace bpfsieve {
namespace {

TEST(Tnum, MulOfASingleUnknownBitKeepsBothProducts) {
  // Linux before 6.18 loses bit 2 here.
  EXPECT_EQ(TnumMul(Tnum{1, 2}, Tnum::Const(3)), (Tnum{1, 10}));
}

TEST(Tnum, IntersectionOfDisjointOnesHasOnesWhereTheyDisagree) {
  EXPECT_EQ(TnumIntersect(Tnum::Const(4), Tnum::Const(3)), Tnum::Const(7));
}

TEST(Tnum, RangeKnowsTheCommonLeadingBits) {
  EXPECT_EQ(Tnum::Range(4, 7), (Tnum{4, 3}));
  EXPECT_EQ(Tnum::Range(5, 8), (Tnum{0, 15}));
  EXPECT_TRUE(Tnum::Range(0, uint64_t{1} << 63).IsUnknown());
}

TEST(Tnum, NextCountsThroughTheTopBit) {
  EXPECT_EQ(TnumNext(Tnum{1, uint64_t{1} << 63}, 1), (uint64_t{1} << 63) | 1);
  EXPECT_EQ(TnumNext(Tnum::Unknown(), 41), 42u);
  EXPECT_EQ(TnumNext(Tnum::Unknown(), ~uint64_t{0}), ~uint64_t{0});
}

TEST(Tnum, HalvesAreTakenAndReplaced) {
  const Tnum t{0x1122000000000000, 0x0000ffff0000ffff};
  EXPECT_EQ(t.Subreg(), (Tnum{0, 0xffff}));
  EXPECT_EQ(t.ClearSubreg(), (Tnum{0x1122000000000000, 0x0000ffff00000000}));
  EXPECT_EQ(t.ConstSubreg(7), (Tnum{0x1122000000000007, 0x0000ffff00000000}));
  EXPECT_EQ(t.WithSubreg(Tnum{0x10, 0xffffffff0000000f}), (Tnum{0x1122000000000010, 0x0000ffff0000000f}));
  EXPECT_EQ(t.Cast(1), (Tnum{0, 0xff}));
  EXPECT_EQ(t.Cast(8), t);
}

TEST(Tnum, ArithmeticShiftOfTheLowHalfKeepsItsSign) {
  EXPECT_EQ(TnumArsh32(Tnum::Const(0xffffffff80000000), 4), Tnum::Const(0xf8000000));
  EXPECT_EQ(TnumArsh32(Tnum{0, 0x80000000}, 31), (Tnum{0, 0xffffffff}));
}

TEST(Tnum, ByteSwapsMoveKnownAndUnknownBits) {
  const Tnum t{0x0102030405060700, 0x00000000000000ff};
  EXPECT_EQ(TnumBswap16(t), (Tnum{0x0007, 0xff00}));
  EXPECT_EQ(TnumBswap32(t), (Tnum{0x00070605, 0xff000000}));
  EXPECT_EQ(TnumBswap64(t), (Tnum{0x0007060504030201, 0xff00000000000000}));
}

TEST(Tnum, AlignmentNeedsKnownZeros) {
  const Tnum t{0x10, 0xff00};
  EXPECT_TRUE(t.IsAligned(16));
  EXPECT_FALSE(t.IsAligned(32));
  EXPECT_TRUE(t.IsAligned(0));
  EXPECT_FALSE((Tnum{0, 1}.IsAligned(2)));
}

}  // namespace
}  // namespace bpfsieve
