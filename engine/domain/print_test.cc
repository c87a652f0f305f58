#include <gtest/gtest.h>

#include <string>

#include "engine/domain/scalar.h"

namespace bpfsieve {
namespace {

std::string Text(const Scalar& r) {
  std::string out;
  AppendScalar(out, r);
  return out;
}

TEST(Print, ConstantsAreSignedNumbers) {
  EXPECT_EQ(Text(Scalar::Const(0)), "0");
  EXPECT_EQ(Text(Scalar::Const(kU64Max)), "-1");
  EXPECT_EQ(Text(Scalar::Const(32767)), "32767");
  EXPECT_EQ(Text(Scalar::Const(32768)), "0x8000");
  EXPECT_EQ(Text(Scalar::Const(static_cast<uint64_t>(int64_t{-32768}))), "-32768");
  EXPECT_EQ(Text(Scalar::Const(static_cast<uint64_t>(int64_t{-32769}))), "0xffffffffffff7fff");
}

TEST(Print, UnknownHasNoParts) { EXPECT_EQ(Text(Scalar::Unknown()), "scalar()"); }

TEST(Print, UnsignedNumbersAreDecimalUpTo65535) {
  std::string out;
  AppendLogNumber(out, 65535);
  out += ' ';
  AppendLogNumber(out, 65536);
  EXPECT_EQ(out, "65535 0x10000");
}

TEST(Print, EqualBoundsOfOneKindShareTheirText) {
  Scalar r;
  r.umax = 255;
  SyncBounds(r);
  EXPECT_EQ(Text(r), "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))");
}

TEST(Print, NegativeBoundsDoNotJoinPositiveOnesOfTheSameBits) {
  Scalar r;
  r.smin = -2;
  r.smax = -1;
  SyncBounds(r);
  EXPECT_EQ(Text(r),
            "scalar(smin=smin32=-2,smax=smax32=-1,umin=0xfffffffffffffffe,umin32=0xfffffffe,"
            "var_off=(0xfffffffffffffffe; 0x1))");
}

TEST(Print, HexadecimalHalvesAreNotSignExtended) {
  Scalar r;
  r.s32_min = -40000;
  EXPECT_EQ(Text(r), "scalar(smin32=0xffff63c0)");
}

TEST(Print, RangesFollowWhatTheCallerPutBefore) {
  Scalar r;
  r.umin = 3;
  std::string out = "scalar(id=1";
  bool comma = true;
  AppendScalarRanges(out, r, &comma);
  EXPECT_EQ(out, "scalar(id=1,umin=3");
  out.clear();
  comma = false;
  AppendScalarRanges(out, Scalar::Unknown(), &comma);
  EXPECT_EQ(out, "");
  EXPECT_FALSE(comma);
}

}  // namespace
}  // namespace bpfsieve
