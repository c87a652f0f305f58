#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "engine/domain/scalar.h"
#include "engine/domain/scalar_samples.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

std::string Text(const Scalar& r) {
  std::string out;
  AppendScalar(out, r);
  return out;
}

bool Holds(uint8_t op, bool is32, uint64_t a, uint64_t b) {
  auto sa = static_cast<int64_t>(a), sb = static_cast<int64_t>(b);
  if (is32) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
    sa = static_cast<int32_t>(sa);
    sb = static_cast<int32_t>(sb);
  }
  switch (op) {
    case kJeq: return a == b;
    case kJne: return a != b;
    case kJset: return (a & b) != 0;
    case kJgt: return a > b;
    case kJge: return a >= b;
    case kJlt: return a < b;
    case kJle: return a <= b;
    case kJsgt: return sa > sb;
    case kJsge: return sa >= sb;
    case kJslt: return sa < sb;
    default: return sa <= sb;
  }
}

class Branch : public ::testing::TestWithParam<uint8_t> {};

TEST_P(Branch, PredictionAndRefinementKeepEveryMember) {
  const uint8_t op = GetParam();
  Samples samples(op);
  int predicted = 0;
  for (int round = 0; round < 1000; ++round) {
    for (bool is32 : {false, true}) {
      const Sample a = samples.Synced(), b = samples.Synced();
      const int taken = BranchTaken(op, is32, a.scalar, b.scalar);
      Scalar true_a = a.scalar, true_b = b.scalar, false_a = a.scalar, false_b = b.scalar;
      if (taken < 0) {
        RefineBranch(true_a, true_b, false_a, false_b, op, is32);
      } else {
        ++predicted;
      }
      for (uint64_t x : a.members) {
        for (uint64_t y : b.members) {
          const bool holds = Holds(op, is32, x, y);
          ASSERT_TRUE(taken < 0 || holds == (taken == 1))
              << x << " " << y << " of " << Text(a.scalar) << " " << Text(b.scalar);
          ASSERT_TRUE(Contains(holds ? true_a : false_a, x) && Contains(holds ? true_b : false_b, y))
              << "op " << int{op} << " is32 " << is32 << ": " << x << " " << y << " of " << Text(a.scalar) << " "
              << Text(b.scalar) << " lost from true " << Text(true_a) << " " << Text(true_b) << " false "
              << Text(false_a) << " " << Text(false_b);
        }
      }
    }
  }
  EXPECT_GT(predicted, 100);
}

std::string JumpName(const ::testing::TestParamInfo<uint8_t>& param) {
  constexpr const char* kNames[] = {"Ja",   "Jeq",  "Jgt",  "Jge", "Jset", "Jne",  "Jsgt",
                                    "Jsge", "Call", "Exit", "Jlt", "Jle",  "Jslt", "Jsle"};
  return kNames[param.param >> 4];
}

INSTANTIATE_TEST_SUITE_P(Each, Branch,
                         ::testing::Values(kJeq, kJne, kJset, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle),
                         JumpName);

struct Sides {
  std::string taken, not_taken;
};

Sides Against(uint8_t op, uint64_t k, bool is32 = false) {
  Scalar true_a, false_a, true_k = Scalar::Const(k), false_k = Scalar::Const(k);
  RefineBranch(true_a, true_k, false_a, false_k, op, is32);
  return {Text(true_a), Text(false_a)};
}

TEST(BranchRefinement, EqualityWithAConstantGivesTheConstant) {
  EXPECT_EQ(Against(kJeq, 7).taken, "7");
  EXPECT_EQ(Against(kJne, 7).not_taken, "7");
  EXPECT_EQ(Against(kJeq, 7, true).taken,
            "scalar(smin=0x8000000000000007,smax=0x7fffffff00000007,umin=smin32=umin32=7,umax=0xffffffff00000007,"
            "smax32=umax32=7,var_off=(0x7; 0xffffffff00000000))");
}

TEST(BranchRefinement, InequalityMovesOnlyABoundThatItHits) {
  EXPECT_EQ(Against(kJne, 0).taken, "scalar(umin=1)");
  EXPECT_EQ(Against(kJne, 1).taken, "scalar()");
}

TEST(BranchRefinement, OrderBoundsBothOperands) {
  Scalar true_a, false_a, true_b, false_b;
  true_b.umax = 10;
  SyncBounds(true_b);
  false_b = true_b;
  RefineBranch(true_a, true_b, false_a, false_b, kJlt, false);
  EXPECT_EQ(Text(true_a), "scalar(smin=smin32=0,smax=umax=smax32=umax32=9,var_off=(0x0; 0xf))");
  EXPECT_EQ(Text(true_b), "scalar(smin=umin=smin32=umin32=1,smax=umax=smax32=umax32=10,var_off=(0x0; 0xf))");
  EXPECT_EQ(Text(false_a), "scalar()");
  EXPECT_EQ(Text(false_b), "scalar(smin=smin32=0,smax=umax=smax32=umax32=10,var_off=(0x0; 0xf))");
}

TEST(BranchRefinement, BitTestKnowsASingleBitWhenTakenAndAllBitsWhenNot) {
  EXPECT_EQ(Against(kJset, 8).taken,
            "scalar(smin=0x8000000000000008,umin=umin32=8,smin32=0x80000008,var_off=(0x8; 0xfffffffffffffff7))");
  EXPECT_EQ(Against(kJset, 12).taken, "scalar()");
  EXPECT_EQ(Against(kJset, ~uint64_t{3}).not_taken,
            "scalar(smin=smin32=0,smax=umax=smax32=umax32=3,var_off=(0x0; 0x3))");
}

TEST(BranchRefinement, ARegisterAgainstItselfIsRefinedAgainstItself) {
  Scalar t, f;
  EXPECT_EQ(BranchTaken(kJgt, false, t, t), -1);
  RefineBranch(t, t, f, f, kJgt, false);
  EXPECT_EQ(Text(t), "scalar(umin=1,umax=0xfffffffffffffffe)");
  EXPECT_EQ(Text(f), "scalar()");
}

TEST(BranchPrediction, BitTestOfUnknownBitsIsOpen) {
  Scalar r;
  r.var_off = Tnum{4, 3};
  SyncBounds(r);
  EXPECT_EQ(BranchTaken(kJset, false, r, Scalar::Const(4)), 1);
  EXPECT_EQ(BranchTaken(kJset, false, r, Scalar::Const(8)), 0);
  EXPECT_EQ(BranchTaken(kJset, false, Scalar::Const(8), r), 0);
  EXPECT_EQ(BranchTaken(kJset, false, r, Scalar::Const(1)), -1);
  EXPECT_EQ(BranchTaken(kJset, false, r, r), -1);
}

TEST(BranchPrediction, EqualityUsesBitsAndHalves) {
  Scalar even, odd;
  even.var_off = Tnum{0, ~uint64_t{1}};
  odd.var_off = Tnum{1, ~uint64_t{1}};
  EXPECT_EQ(BranchTaken(kJeq, false, even, odd), 0);
  EXPECT_EQ(BranchTaken(kJne, false, even, odd), 1);
  Scalar low, high;
  low.u32_max = 4;
  high.u32_min = 5;
  EXPECT_EQ(BranchTaken(kJeq, false, low, high), 0);
  EXPECT_EQ(BranchTaken(kJeq, true, low, high), 0);
  EXPECT_EQ(BranchTaken(kJlt, true, low, high), 1);
  EXPECT_EQ(BranchTaken(kJlt, false, low, high), -1);
}

}  // namespace
}  // namespace bpfsieve
