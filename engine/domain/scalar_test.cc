#include "engine/domain/scalar.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/domain/scalar_samples.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

constexpr int kRounds = 1000;

std::string Text(const Scalar& r) {
  std::string out;
  AppendScalar(out, r);
  return out;
}

// What the machine computes; a shift by its width or more has no defined result.
std::optional<uint64_t> Execute(uint8_t op, bool is64, uint64_t a, uint64_t b) {
  const uint64_t width = is64 ? 64 : 32;
  if (!is64) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
  }
  uint64_t v = 0;
  switch (op) {
    case kAdd: v = a + b; break;
    case kSub: v = a - b; break;
    case kMul: v = a * b; break;
    case kAnd: v = a & b; break;
    case kOr: v = a | b; break;
    case kXor: v = a ^ b; break;
    case kNeg: v = 0 - a; break;
    case kDiv: v = b == 0 ? 0 : a / b; break;
    case kMod: v = b == 0 ? a : a % b; break;
    default:
      if (b >= width) return std::nullopt;
      if (op == kLsh) {
        v = a << b;
      } else if (op == kRsh) {
        v = a >> b;
      } else {
        v = is64 ? static_cast<uint64_t>(static_cast<int64_t>(a) >> b)
                 : static_cast<uint64_t>(int64_t{static_cast<int32_t>(a)} >> b);
      }
  }
  return is64 ? v : static_cast<uint32_t>(v);
}

class AluSoundness : public ::testing::TestWithParam<uint8_t> {};

TEST_P(AluSoundness, ResultCoversEveryPairOfMembers) {
  const uint8_t op = GetParam();
  const bool shift = op == kLsh || op == kRsh || op == kArsh;
  Samples samples(op + 1u);
  for (int round = 0; round < kRounds; ++round) {
    for (bool is64 : {false, true}) {
      const Sample a = samples.Synced();
      Sample b = samples.Synced();
      if (shift && samples.Below(4) != 0) {
        const uint64_t n = samples.Below(is64 ? 64 : 32);
        b = {Scalar::Const(n), {n}};
      }
      Scalar result = a.scalar;
      AluScalar(op, is64, 0, result, b.scalar);
      ASSERT_TRUE(BoundsSane(result)) << Text(a.scalar) << " " << Text(b.scalar) << " -> " << Text(result);
      for (uint64_t x : a.members) {
        for (uint64_t y : b.members) {
          const std::optional<uint64_t> v = Execute(op, is64, x, y);
          ASSERT_TRUE(!v.has_value() || Contains(result, *v))
              << "op " << int{op} << (is64 ? " 64: " : " 32: ") << x << " of " << Text(a.scalar) << ", " << y << " of "
              << Text(b.scalar) << " gives " << *v << ", not in " << Text(result);
        }
      }
    }
  }
}

std::string AluName(const ::testing::TestParamInfo<uint8_t>& param) {
  constexpr const char* kNames[] = {"Add", "Sub", "Mul", "Div", "Or",  "And", "Lsh",
                                    "Rsh", "Neg", "Mod", "Xor", "Mov", "Arsh"};
  return kNames[param.param >> 4];
}

INSTANTIATE_TEST_SUITE_P(Each, AluSoundness,
                         ::testing::Values(kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kNeg, kMod, kXor, kArsh),
                         AluName);

TEST(Scalar, ConstantsAreComputedExactly) {
  Samples samples(7);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t x = samples.Number(), y = samples.Number();
    for (uint8_t op : {kAdd, kSub, kMul, kAnd, kOr, kXor, kNeg}) {
      for (bool is64 : {false, true}) {
        Scalar result = Scalar::Const(x);
        ASSERT_TRUE(AluScalar(op, is64, 0, result, Scalar::Const(y)));
        ASSERT_EQ(result, Scalar::Const(*Execute(op, is64, x, y))) << int{op} << " " << x << " " << y;
      }
    }
  }
}

TEST(Scalar, OperandsMayBeOneObject) {
  Samples samples(8);
  for (int round = 0; round < kRounds; ++round) {
    const Scalar a = samples.Synced().scalar;
    for (uint8_t op : {kAdd, kSub, kMul, kAnd, kOr, kXor, kLsh}) {
      Scalar self = a, other = a;
      AluScalar(op, true, 0, self, self);
      AluScalar(op, true, 0, other, a);
      ASSERT_EQ(self, other);
    }
  }
}

TEST(Scalar, DivisionAndUnknownShiftsForgetEverything) {
  for (uint8_t op : {kDiv, kMod}) {
    Scalar r = Scalar::Const(6);
    EXPECT_FALSE(AluScalar(op, true, 0, r, Scalar::Const(2)));
    EXPECT_TRUE(r.IsUnknown());
  }
  for (uint8_t op : {kLsh, kRsh, kArsh}) {
    Scalar r = Scalar::Const(6);
    EXPECT_FALSE(AluScalar(op, false, 0, r, Scalar::Const(32)));
    EXPECT_TRUE(r.IsUnknown());
    r = Scalar::Const(6);
    EXPECT_TRUE(AluScalar(op, true, 0, r, Scalar::Const(32)));
    r = Scalar::Const(6);
    EXPECT_FALSE(AluScalar(op, true, 0, r, Scalar::Unknown()));
    EXPECT_TRUE(r.IsUnknown());
  }
}

TEST(Scalar, SyncLosesNoMember) {
  Samples samples(1);
  for (int round = 0; round < 10 * kRounds; ++round) {
    const Sample raw = samples.Raw();
    Scalar synced = raw.scalar;
    SyncBounds(synced);
    for (uint64_t v : raw.members) ASSERT_TRUE(Contains(synced, v)) << v << " lost: " << Text(synced);
  }
}

TEST(Scalar, SyncPassesKnowledgeBetweenTheParts) {
  Scalar r;
  r.smin = 0;
  SyncBounds(r);
  EXPECT_EQ(Text(r), "scalar(smin=0,umax=0x7fffffffffffffff,var_off=(0x0; 0x7fffffffffffffff))");
  r = Scalar::Unknown();
  r.umax = 0x80;
  SyncBounds(r);
  EXPECT_EQ(Text(r), "scalar(smin=smin32=0,smax=umax=smax32=umax32=128,var_off=(0x0; 0xff))");
  // The unsigned range excludes the negative part of the signed one.
  r = Scalar::Unknown();
  r.smin = -1;
  r.smax = 5;
  r.umax = 7;
  SyncBounds(r);
  EXPECT_EQ(Text(r), "scalar(smin=smin32=0,smax=umax=smax32=umax32=5,var_off=(0x0; 0x7))");
}

TEST(Scalar, SyncFindsTheOnlyMemberWithinTheRange) {
  Scalar r;
  r.var_off = Tnum{0, 0x100};
  r.umin = 1;
  SyncBounds(r);
  EXPECT_EQ(r, Scalar::Const(0x100));
}

TEST(Scalar, ContradictionsAreRepairedByForgettingTheRanges) {
  Scalar r = Scalar::Const(5);
  EXPECT_TRUE(RepairBounds(r));
  EXPECT_EQ(r, Scalar::Const(5));
  r.umin = 6;
  EXPECT_FALSE(BoundsSane(r));
  EXPECT_FALSE(RepairBounds(r));
  EXPECT_EQ(r.var_off, Tnum::Const(5));
  EXPECT_EQ(r.umin, 0u);
  EXPECT_EQ(r.s32_max, kS32Max);
  Scalar low;
  low.var_off = Tnum{3, ~uint64_t{0xffffffff}};
  EXPECT_FALSE(BoundsSane(low));
  SyncBounds(low);
  EXPECT_TRUE(BoundsSane(low));
}

TEST(Scalar, WidthChangesCoverEveryMember) {
  Samples samples(2);
  for (int round = 0; round < 3 * kRounds; ++round) {
    const Sample a = samples.Synced();
    const auto check = [&](const char* what, auto abstract, auto concrete) {
      Scalar r = a.scalar;
      abstract(r);
      for (uint64_t v : a.members) {
        const auto image = static_cast<uint64_t>(concrete(v));
        ASSERT_TRUE(Contains(r, image)) << what << " of " << v << " in " << Text(a.scalar) << ": " << Text(r);
      }
    };
    check("zx8", [](Scalar& r) { CoerceToSize(r, 1); }, [](uint64_t v) { return v & 0xff; });
    check("zx16", [](Scalar& r) { CoerceToSize(r, 2); }, [](uint64_t v) { return v & 0xffff; });
    check("zx32", [](Scalar& r) { CoerceToSize(r, 4); }, [](uint64_t v) { return v & 0xffffffff; });
    check("mov32", Mov32, [](uint64_t v) { return v & 0xffffffff; });
    check("sx8", [](Scalar& r) { CoerceToSizeSx(r, 1); }, [](uint64_t v) { return int64_t{static_cast<int8_t>(v)}; });
    check("sx16", [](Scalar& r) { CoerceToSizeSx(r, 2); }, [](uint64_t v) { return int64_t{static_cast<int16_t>(v)}; });
    check("sx32", [](Scalar& r) { CoerceToSizeSx(r, 4); }, [](uint64_t v) { return int64_t{static_cast<int32_t>(v)}; });
    check(
        "sx8w", [](Scalar& r) { Movsx32(r, 1); },
        [](uint64_t v) { return static_cast<uint32_t>(int32_t{static_cast<int8_t>(v)}); });
    check(
        "sx16w", [](Scalar& r) { Movsx32(r, 2); },
        [](uint64_t v) { return static_cast<uint32_t>(int32_t{static_cast<int16_t>(v)}); });
    check(
        "be16", [](Scalar& r) { ByteSwapScalar(r, 16, true); },
        [](uint64_t v) { return __builtin_bswap16(static_cast<uint16_t>(v)); });
    check(
        "be32", [](Scalar& r) { ByteSwapScalar(r, 32, true); },
        [](uint64_t v) { return __builtin_bswap32(static_cast<uint32_t>(v)); });
    check("be64", [](Scalar& r) { ByteSwapScalar(r, 64, true); }, [](uint64_t v) { return __builtin_bswap64(v); });
    check("le16", [](Scalar& r) { ByteSwapScalar(r, 16, false); }, [](uint64_t v) { return v & 0xffff; });
    check("le64", [](Scalar& r) { ByteSwapScalar(r, 64, false); }, [](uint64_t v) { return v; });
  }
}

TEST(Scalar, DistanceMovesEveryMember) {
  Samples samples(3);
  for (int round = 0; round < kRounds; ++round) {
    const Sample a = samples.Synced();
    const auto delta = static_cast<int32_t>(samples.Number());
    for (bool is32 : {false, true}) {
      Scalar r = a.scalar;
      AddDelta(r, delta, is32);
      for (uint64_t v : a.members) {
        const uint64_t moved = v + static_cast<uint64_t>(int64_t{delta});
        ASSERT_TRUE(Contains(r, is32 ? static_cast<uint32_t>(moved) : moved)) << v << " + " << delta << ": " << Text(r);
      }
    }
  }
}

TEST(Scalar, SignMaskForksIntoItsTwoValues) {
  Scalar mask = Scalar::Unknown();
  AluScalar(kArsh, true, 0, mask, Scalar::Const(63));
  Scalar ones = mask, zero;
  ASSERT_TRUE(ForkScalar(kAnd, ones, Scalar::Const(5), &zero));
  EXPECT_EQ(ones, Scalar::Const(kU64Max));
  EXPECT_EQ(zero, Scalar::Const(0));
  ones = mask;
  EXPECT_TRUE(ForkScalar(kOr, ones, Scalar::Const(5), &zero));
  ones = mask;
  EXPECT_FALSE(ForkScalar(kXor, ones, Scalar::Const(5), &zero));
  EXPECT_FALSE(ForkScalar(kAnd, ones, mask, &zero));
  EXPECT_EQ(ones, mask);
  ones = Scalar::Unknown();
  EXPECT_FALSE(ForkScalar(kAnd, ones, Scalar::Const(5), &zero));
}

TEST(Scalar, SignMaskOfTheLowHalfForksTheLowHalf) {
  Scalar ones = Scalar::Unknown(), zero;
  AluScalar(kArsh, false, 0, ones, Scalar::Const(31));
  ASSERT_TRUE(ForkScalar(kAnd, ones, Scalar::Const(5), &zero));
  EXPECT_EQ(ones.var_off, Tnum::Const(0xffffffff));
  EXPECT_EQ(zero.var_off, Tnum::Const(0));
  EXPECT_EQ(zero.u32_max, 0u);
  EXPECT_EQ(zero.umax, kU32Max);  // only the low half is told, until the next sync
  AluScalar(kAnd, false, 0, zero, Scalar::Const(5));
  EXPECT_EQ(zero, Scalar::Const(0));
}

TEST(Scalar, RangeWithinComparesEveryRange) {
  const Scalar wide = Scalar::Unknown();
  Scalar narrow;
  narrow.smin = -3;
  EXPECT_TRUE(RangeWithin(wide, narrow));
  EXPECT_FALSE(RangeWithin(narrow, wide));
  narrow = wide;
  narrow.s32_max = 9;
  EXPECT_FALSE(RangeWithin(narrow, wide));
  narrow = wide;
  narrow.u32_min = 1;
  EXPECT_FALSE(RangeWithin(narrow, wide));
  narrow = wide;
  narrow.umax = 1;
  EXPECT_FALSE(RangeWithin(narrow, wide));
  EXPECT_TRUE(RangeWithin(narrow, narrow));
}

}  // namespace
}  // namespace bpfsieve
