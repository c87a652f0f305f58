#include "engine/program/core_relo.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;

BtfPtr NewBtf() {
  BtfPtr btf(btf__new_empty());
  btf__set_pointer_size(btf.get(), 8);
  btf__add_int(btf.get(), "int", 4, BTF_INT_SIGNED);            // [1]
  btf__add_int(btf.get(), "unsigned long", 8, 0);               // [2]
  btf__add_int(btf.get(), "unsigned char", 1, 0);               // [3]
  return btf;
}
constexpr int kInt = 1, kUlong = 2, kUchar = 3;

// The program knows struct s { int a; int b; unsigned char c; int f : 5; int d[2]; }.
class CoreReloTest : public ::testing::Test {
 protected:
  CoreReloTest() : local_(NewBtf()), target_(NewBtf()) {
    array_ = btf__add_array(local_.get(), kInt, kInt, 2);
    s_ = btf__add_struct(local_.get(), "s", 24);
    btf__add_field(local_.get(), "a", kInt, 0, 0);
    btf__add_field(local_.get(), "b", kInt, 32, 0);
    btf__add_field(local_.get(), "c", kUchar, 64, 0);
    btf__add_field(local_.get(), "f", kInt, 96, 5);
    btf__add_field(local_.get(), "d", array_, 128, 0);
  }

  std::string Resolve(CoreKind kind, std::string_view access, CoreResult* result) {
    return Resolve(kind, s_, access, result);
  }
  // The kernel's types are complete once this is called.
  std::string Resolve(CoreKind kind, int type, std::string_view access, CoreResult* result) {
    if (kernel_ == nullptr) {
      kernel_ = std::make_unique<KernelBtf>(std::move(target_));
      resolver_ = std::make_unique<CoreResolver>(local_.get(), *kernel_);
    }
    return resolver_->Resolve(kind, static_cast<uint32_t>(type), access, result);
  }
  int TargetStruct(const char* name, uint32_t size) { return btf__add_struct(target_.get(), name, size); }
  void TargetField(const char* name, int type, uint32_t bit, uint32_t bits = 0) {
    btf__add_field(target_.get(), name, type, bit, bits);
  }

  BtfPtr local_, target_;
  int array_ = 0, s_ = 0;
  std::unique_ptr<KernelBtf> kernel_;
  std::unique_ptr<CoreResolver> resolver_;
};

TEST_F(CoreReloTest, FieldOffsetFollowsTheKernels) {
  TargetStruct("s", 32);
  TargetField("b", kInt, 8 * 20);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_EQ(result.expected, 4u);
  EXPECT_EQ(result.value, 20u);
  EXPECT_FALSE(result.poison);
  EXPECT_EQ(result.size, 4u);
}

TEST_F(CoreReloTest, FieldIsFoundInUnnamedStructures) {
  const int inner = TargetStruct("", 8);
  TargetField("b", kInt, 32);
  TargetStruct("s", 24);
  TargetField("x", kUlong, 0);
  TargetField("", inner, 64);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_EQ(result.value, 12u);
}

TEST_F(CoreReloTest, AbsentFieldPoisonsButItsExistenceIsANumber) {
  TargetStruct("s", 8);
  TargetField("a", kInt, 0);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_TRUE(result.poison);
  ASSERT_EQ(Resolve(CoreKind::kFieldExists, "0:1", &result), "");
  EXPECT_FALSE(result.poison);
  EXPECT_EQ(result.value, 0u);
  ASSERT_EQ(Resolve(CoreKind::kFieldExists, "0:0", &result), "");
  EXPECT_EQ(result.value, 1u);
}

TEST_F(CoreReloTest, AbsentTypePoisonsFieldsAndIsZeroForTypes) {
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_TRUE(result.poison);
  for (CoreKind kind : {CoreKind::kTypeExists, CoreKind::kTypeSize, CoreKind::kTypeIdTarget, CoreKind::kTypeMatches}) {
    ASSERT_EQ(Resolve(kind, "0", &result), "");
    EXPECT_FALSE(result.poison);
    EXPECT_EQ(result.value, 0u);
  }
}

TEST_F(CoreReloTest, FlavoursOfTheKernelsTypeAreCandidatesToo) {
  TargetStruct("s___v2", 8);
  TargetField("b", kInt, 64);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_EQ(result.value, 8u);
}

TEST_F(CoreReloTest, CandidatesThatDisagreeAreAnError) {
  TargetStruct("s", 8);
  TargetField("b", kInt, 32);
  TargetStruct("s", 16);
  TargetField("b", kInt, 64);
  CoreResult result;
  EXPECT_THAT(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), HasSubstr("ambiguity"));
}

TEST_F(CoreReloTest, EarlierMatchNarrowsLaterOnes) {
  TargetStruct("s", 8);  // has a and b
  TargetField("a", kInt, 0);
  TargetField("b", kInt, 32);
  TargetStruct("s", 16);  // has b only, elsewhere
  TargetField("b", kInt, 64);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:0", &result), "");
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:1", &result), "");
  EXPECT_EQ(result.value, 4u);
}

TEST_F(CoreReloTest, ArrayElementsAreBoundedByTheKernels) {
  const int shorter = btf__add_array(target_.get(), kInt, kInt, 1);
  TargetStruct("s", 8);
  TargetField("d", shorter, 32);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:4:0", &result), "");
  EXPECT_EQ(result.value, 4u);
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:4:1", &result), "");
  EXPECT_TRUE(result.poison);
}

TEST_F(CoreReloTest, BitFieldsAreReadByTheSmallestAlignedLoad) {
  TargetStruct("s", 16);
  TargetField("f", kInt, 28, 9);  // bits 28..36: an 8-byte load from 0
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kFieldByteOffset, "0:3", &result), "");
  EXPECT_EQ(result.value, 0u);
  EXPECT_FALSE(result.check_expected);
  ASSERT_EQ(Resolve(CoreKind::kFieldByteSize, "0:3", &result), "");
  EXPECT_EQ(result.value, 8u);
  ASSERT_EQ(Resolve(CoreKind::kFieldLshiftU64, "0:3", &result), "");
  EXPECT_EQ(result.value, 64u - 37u);
  ASSERT_EQ(Resolve(CoreKind::kFieldRshiftU64, "0:3", &result), "");
  EXPECT_EQ(result.value, 64u - 9u);
  ASSERT_EQ(Resolve(CoreKind::kFieldSigned, "0:3", &result), "");
  EXPECT_EQ(result.value, 1u);
}

TEST_F(CoreReloTest, EnumeratorsAreFoundByName) {
  const int local = btf__add_enum(local_.get(), "color", 4);
  btf__add_enum_value(local_.get(), "RED", 1);
  btf__add_enum_value(local_.get(), "NONE", 2);
  btf__add_enum(target_.get(), "color", 4);
  btf__add_enum_value(target_.get(), "RED", -3);
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kEnumvalValue, local, "0", &result), "");
  EXPECT_EQ(result.expected, 1u);
  EXPECT_EQ(result.value, static_cast<uint64_t>(-3));
  ASSERT_EQ(Resolve(CoreKind::kEnumvalExists, local, "1", &result), "");
  EXPECT_EQ(result.value, 0u);
  ASSERT_EQ(Resolve(CoreKind::kEnumvalValue, local, "1", &result), "");
  EXPECT_TRUE(result.poison);
}

TEST_F(CoreReloTest, MalformedAccessStringsAreErrors) {
  TargetStruct("s", 8);
  CoreResult result;
  for (const char* access : {"", ":", "x", "0:x", "0:-1", "0:99", "0:0:0", "99999999999"}) {
    EXPECT_NE(Resolve(CoreKind::kFieldByteOffset, access, &result), "") << access;
  }
  EXPECT_NE(Resolve(CoreKind::kTypeExists, "1", &result), "");
  EXPECT_NE(Resolve(CoreKind::kFieldByteOffset, 99, "0", &result), "");
  EXPECT_NE(Resolve(static_cast<CoreKind>(77), "0", &result), "");
}

TEST_F(CoreReloTest, LocalTypeIdNeedsNoCandidate) {
  CoreResult result;
  ASSERT_EQ(Resolve(CoreKind::kTypeIdLocal, "0", &result), "");
  EXPECT_EQ(result.value, static_cast<uint64_t>(s_));
}

Insn Load(uint8_t size, int16_t off) { return {.code = static_cast<uint8_t>(kClassLdx | kModeMem | size), .off = off}; }

TEST(PatchCoreTest, ImmediateIsReplaced) {
  Insn insn{.code = kClassAlu64 | kMov | kSrcK, .imm = 4};
  EXPECT_EQ(PatchCore({.expected = 4, .value = 20}, std::span(&insn, 1)), "");
  EXPECT_EQ(insn.imm, 20);
}

TEST(PatchCoreTest, UnexpectedImmediateIsAnErrorUnlessAnyWillDo) {
  Insn insn{.code = kClassAlu64 | kMov | kSrcK, .imm = 5};
  EXPECT_THAT(PatchCore({.expected = 4, .value = 20}, std::span(&insn, 1)), HasSubstr("unexpected"));
  EXPECT_EQ(PatchCore({.expected = 4, .value = 20, .check_expected = false}, std::span(&insn, 1)), "");
}

TEST(PatchCoreTest, LoadIsResizedWithItsField) {
  Insn insn = Load(kSizeB, 8);
  EXPECT_EQ(PatchCore({.expected = 8, .value = 16, .expected_size = 1, .size = 4}, std::span(&insn, 1)), "");
  EXPECT_EQ(insn, Load(kSizeW, 16));
}

TEST(PatchCoreTest, LoadOfAFieldOfAnotherSizeIsPoisoned) {
  Insn insn = Load(kSizeW, 8);
  EXPECT_EQ(PatchCore({.expected = 8, .value = 8, .size_conflict = true}, std::span(&insn, 1)), "");
  EXPECT_EQ(insn, (Insn{.code = kCodeCall, .imm = 0xbad2310}));
}

TEST(PatchCoreTest, OffsetBeyond16BitsIsAnError) {
  Insn insn = Load(kSizeW, 8);
  EXPECT_THAT(PatchCore({.expected = 8, .value = 40000}, std::span(&insn, 1)), HasSubstr("too big"));
}

TEST(PatchCoreTest, BothHalvesOfA64BitImmediateAreReplacedOrPoisoned) {
  Insn pair[2] = {{.code = kCodeLdImm64, .imm = 7}, {}};
  EXPECT_EQ(PatchCore({.expected = 7, .value = 0x100000002}, pair), "");
  EXPECT_EQ(pair[0].imm, 2);
  EXPECT_EQ(pair[1].imm, 1);
  EXPECT_EQ(PatchCore({.poison = true}, pair), "");
  EXPECT_EQ(pair[0].code, kCodeCall);
  EXPECT_EQ(pair[1].code, kCodeCall);
}

TEST(PatchCoreTest, CutOffOrForeignInstructionsAreErrors) {
  Insn half{.code = kCodeLdImm64};
  EXPECT_NE(PatchCore({}, std::span(&half, 1)), "");
  Insn jump{.code = kClassJmp | kJa};
  EXPECT_NE(PatchCore({}, std::span(&jump, 1)), "");
  Insn from_register{.code = kClassAlu64 | kMov | kSrcX};
  EXPECT_NE(PatchCore({}, std::span(&from_register, 1)), "");
}

}  // namespace
}  // namespace bpfsieve
