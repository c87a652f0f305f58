#include "engine/domain/tnum.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace bpfsieve {
namespace {

// Small enough to go through every pair of values and members.
constexpr int kWidth = 5;
constexpr uint64_t kAll = (1u << kWidth) - 1;
using Small = BasicTnum<kWidth>;

std::vector<Small> AllSmall() {
  std::vector<Small> all;
  for (uint64_t mask = 0; mask <= kAll; ++mask) {
    for (uint64_t value = 0; value <= kAll; ++value) {
      if ((value & mask) == 0) all.push_back({value, mask});
    }
  }
  return all;
}

std::vector<uint64_t> Members(Small t) {
  std::vector<uint64_t> members;
  for (uint64_t v = 0; v <= kAll; ++v) {
    if (t.Contains(v)) members.push_back(v);
  }
  return members;
}

int64_t Signed(uint64_t v) { return SignedWord<kWidth>(v); }

// The smallest tristate number that covers all words added to it.
struct Cover {
  uint64_t ones = kAll, any = 0;
  void Add(uint64_t v) {
    ones &= v & kAll;
    any |= v & kAll;
  }
  Small Get() const { return {ones, any & ~ones}; }
};

using Binary = std::function<Small(Small, Small)>;
using Concrete = std::function<uint64_t(uint64_t, uint64_t)>;

// How many pairs get exactly the smallest cover, a larger one, and an unsound result.
struct Tally {
  int exact = 0, loose = 0, unsound = 0;
};

Tally Compare(const Binary& abstract, const Concrete& concrete) {
  Tally tally;
  const std::vector<Small> all = AllSmall();
  std::vector<std::vector<uint64_t>> members;
  for (Small t : all) members.push_back(Members(t));
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < all.size(); ++k) {
      Cover cover;
      for (uint64_t x : members[i]) {
        for (uint64_t y : members[k]) cover.Add(concrete(x, y));
      }
      const Small want = cover.Get(), got = abstract(all[i], all[k]);
      if (got == want) {
        ++tally.exact;
      } else if (TnumIn(got, want)) {
        ++tally.loose;
      } else {
        ++tally.unsound;
      }
    }
  }
  return tally;
}

void ExpectOptimal(const Binary& abstract, const Concrete& concrete) {
  const Tally tally = Compare(abstract, concrete);
  EXPECT_EQ(tally.unsound, 0);
  EXPECT_EQ(tally.loose, 0);
  EXPECT_EQ(tally.exact, 243 * 243);
}

TEST(Tnum, AddIsOptimal) {
  ExpectOptimal(TnumAdd<kWidth>, [](uint64_t x, uint64_t y) { return x + y; });
}

TEST(Tnum, SubIsOptimal) {
  ExpectOptimal(TnumSub<kWidth>, [](uint64_t x, uint64_t y) { return x - y; });
}

TEST(Tnum, BitwiseOperationsAreOptimal) {
  ExpectOptimal(TnumAnd<kWidth>, [](uint64_t x, uint64_t y) { return x & y; });
  ExpectOptimal(TnumOr<kWidth>, [](uint64_t x, uint64_t y) { return x | y; });
  ExpectOptimal(TnumXor<kWidth>, [](uint64_t x, uint64_t y) { return x ^ y; });
}

TEST(Tnum, MulIsSoundAndMostlyOptimal) {
  const Tally tally = Compare(TnumMul<kWidth>, [](uint64_t x, uint64_t y) { return x * y; });
  EXPECT_EQ(tally.unsound, 0);
  EXPECT_GT(tally.exact, tally.loose);
}

TEST(Tnum, MulOfASingleUnknownBitKeepsBothProducts) {
  // Linux before 6.18 loses bit 2 here.
  EXPECT_EQ(TnumMul(Tnum{1, 2}, Tnum::Const(3)), (Tnum{1, 10}));
}

TEST(Tnum, ShiftsAndNegationAreOptimal) {
  for (Small t : AllSmall()) {
    Cover neg;
    for (uint64_t v : Members(t)) neg.Add(0 - v);
    ASSERT_EQ(TnumNeg(t), neg.Get()) << t.value << "/" << t.mask;
    for (int n = 0; n < kWidth; ++n) {
      Cover left, right, arith;
      for (uint64_t v : Members(t)) {
        left.Add(v << n);
        right.Add(v >> n);
        arith.Add(static_cast<uint64_t>(Signed(v) >> n));
      }
      ASSERT_EQ(TnumLsh(t, n), left.Get()) << t.value << "/" << t.mask << " << " << n;
      ASSERT_EQ(TnumRsh(t, n), right.Get()) << t.value << "/" << t.mask << " >> " << n;
      ASSERT_EQ(TnumArsh(t, n), arith.Get()) << t.value << "/" << t.mask << " s>> " << n;
    }
  }
}

TEST(Tnum, SetOperationsAgreeWithTheMembers) {
  const std::vector<Small> all = AllSmall();
  for (Small a : all) {
    for (Small b : all) {
      Cover both, either;
      bool overlap = false, in = true;
      for (uint64_t v = 0; v <= kAll; ++v) {
        const bool in_a = a.Contains(v), in_b = b.Contains(v);
        if (in_a || in_b) either.Add(v);
        if (in_a && in_b) both.Add(v);
        overlap |= in_a && in_b;
        in &= in_a || !in_b;
      }
      ASSERT_EQ(TnumOverlap(a, b), overlap);
      ASSERT_EQ(TnumIn(a, b), in);
      ASSERT_EQ(TnumUnion(a, b), either.Get());
      if (overlap) {
        ASSERT_EQ(TnumIntersect(a, b), both.Get());
      }
    }
  }
}

TEST(Tnum, IntersectionOfDisjointOnesHasOnesWhereTheyDisagree) {
  EXPECT_EQ(TnumIntersect(Tnum::Const(4), Tnum::Const(3)), Tnum::Const(7));
}

TEST(Tnum, RangeIsTheSmallestCover) {
  for (uint64_t min = 0; min <= kAll; ++min) {
    Cover cover;
    for (uint64_t max = min; max <= kAll; ++max) {
      cover.Add(max);
      ASSERT_EQ(Small::Range(min, max), cover.Get()) << min << ".." << max;
    }
  }
  EXPECT_EQ(Tnum::Range(4, 7), (Tnum{4, 3}));
  EXPECT_EQ(Tnum::Range(5, 8), (Tnum{0, 15}));
  EXPECT_TRUE(Tnum::Range(0, uint64_t{1} << 63).IsUnknown());
}

TEST(Tnum, NextIsTheLeastMemberAbove) {
  for (Small small : AllSmall()) {
    const Tnum t{small.value | 0x40, small.mask};
    for (uint64_t z = 0x3e; z < 0x82; ++z) {
      uint64_t want = t.Max();
      for (uint64_t v = 0x7f; v > z; --v) {
        if (t.Contains(v)) want = v;
      }
      ASSERT_EQ(TnumNext(t, z), want) << t.value << "/" << t.mask << " above " << z;
    }
  }
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
