#include "corpus/oracle/synth_btf.h"

#include <bpf/btf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corpus/oracle/maps.h"
#include "corpus/oracle/oracle.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;

MapDef ArrayOf(std::vector<MapField> fields, uint32_t value_size) {
  return {.name = "m", .type = MapType::kArray, .key_size = 4, .value_size = value_size, .max_entries = 1,
          .fields = std::move(fields)};
}

BtfPtr Read(const SynthBtf& synth) { return BtfPtr(btf__new(synth.data.data(), synth.data.size())); }

TEST(SynthBtf, TheValueHasItsSizeAndFieldsInPlace) {
  // Given in any order, as BTF wants them by offset.
  absl::StatusOr<SynthBtf> synth = SynthesizeMapBtf(
      ArrayOf({{SpecialField::kTimer, 16}, {SpecialField::kSpinLock, 4}}, 64));
  ASSERT_TRUE(synth.ok());
  const BtfPtr btf = Read(*synth);
  ASSERT_NE(btf, nullptr);
  const btf_type* value = btf__type_by_id(btf.get(), synth->value_type_id);
  EXPECT_EQ(value->size, 64u);
  ASSERT_EQ(btf_vlen(value), 2);
  EXPECT_EQ(btf_member_bit_offset(value, 0), 32u);
  EXPECT_EQ(btf_member_bit_offset(value, 1), 128u);
  const btf_type* timer = btf__type_by_id(btf.get(), btf_members(value)[1].type);
  EXPECT_STREQ(btf__name_by_offset(btf.get(), timer->name_off), "bpf_timer");
  EXPECT_EQ(timer->size, 16u);
}

TEST(SynthBtf, AKeyOfAnySizeIsDescribed) {
  for (const uint32_t size : {1u, 3u, 4u, 20u}) {
    MapDef map = ArrayOf({}, 8);
    map.key_size = size;
    absl::StatusOr<SynthBtf> synth = SynthesizeMapBtf(map);
    ASSERT_TRUE(synth.ok());
    EXPECT_EQ(btf__resolve_size(Read(*synth).get(), synth->key_type_id), size);
  }
}

TEST(SynthBtf, FieldsThatOverlapOrLieOutsideAreRefused) {
  EXPECT_EQ(SynthesizeMapBtf(ArrayOf({{SpecialField::kTimer, 0}, {SpecialField::kSpinLock, 8}}, 64)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SynthesizeMapBtf(ArrayOf({{SpecialField::kTimer, 8}}, 16)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SynthBtf, APointerToNothingNamedIsRefused) {
  EXPECT_EQ(SynthesizeMapBtf(ArrayOf({{SpecialField::kKptrTrusted, 0}}, 8)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SynthBtf, AListHeadIsUnimplemented) {
  EXPECT_EQ(SynthesizeMapBtf(ArrayOf({{SpecialField::kListHead, 0}}, 16)).status().code(),
            absl::StatusCode::kUnimplemented);
}

// r0 = f(7, 8); exit;  f: r0 = r2; exit
Program WithGlobalFunction() {
  Program program;
  program.name = "main";
  program.type = ProgType::kSocketFilter;
  program.insns = {{.code = kClassAlu64 | kMov | kSrcK, .dst = 1, .imm = 7},
                   {.code = kClassAlu64 | kMov | kSrcK, .dst = 2, .imm = 8},
                   {.code = kCodeCall, .src = kPseudoCall, .imm = 1},
                   {.code = kCodeExit},
                   {.code = kClassAlu64 | kMov | kSrcX, .dst = 0, .src = 2},
                   {.code = kCodeExit}};
  program.subprogs = {{.start = 0, .name = "main"}, {.start = 4, .name = "f", .global = true}};
  return program;
}

TEST(SynthBtf, AFunctionTakesTheArgumentsThatItReads) {
  absl::StatusOr<SynthBtf> synth = SynthesizeProgramBtf(WithGlobalFunction());
  ASSERT_TRUE(synth.ok());
  const BtfPtr btf = Read(*synth);
  ASSERT_EQ(synth->funcs.size(), 2u);
  EXPECT_EQ(synth->funcs[1].insn, 4u);
  const btf_type* func = btf__type_by_id(btf.get(), synth->funcs[1].type_id);
  EXPECT_EQ(btf_vlen(func), BTF_FUNC_GLOBAL);
  EXPECT_EQ(btf_vlen(btf__type_by_id(btf.get(), func->type)), 2);
  EXPECT_EQ(btf_vlen(btf__type_by_id(btf.get(), synth->funcs[0].type_id)), BTF_FUNC_STATIC);
}

TEST(SynthBtf, OnlyANamedSubprogramAsksForFunctionInformation) {
  Program program = WithGlobalFunction();
  EXPECT_TRUE(NamesSubprograms(program));
  program.subprogs[1] = {.start = 4};
  EXPECT_FALSE(NamesSubprograms(program));
}

class SynthBtfOracle : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const absl::Status s = OracleAvailable(); !s.ok()) GTEST_SKIP() << s.message();
  }
};

TEST_F(SynthBtfOracle, TheKernelCreatesMapsWithEveryFieldThatIsMadeUp) {
  const MapField fields[] = {
      {SpecialField::kSpinLock, 4}, {SpecialField::kTimer, 8},       {SpecialField::kWorkqueue, 8},
      {SpecialField::kTaskWork, 8}, {SpecialField::kResSpinLock, 4},
      {.kind = SpecialField::kKptrUntrusted, .offset = 8, .target = "task_struct"},
      {.kind = SpecialField::kKptrTrusted, .offset = 8, .target = "task_struct"},
  };
  for (const MapField& field : fields) {
    Object object;
    object.maps.push_back(ArrayOf({field}, 32));
    OracleMaps maps(object, -1);
    EXPECT_TRUE(maps.Get(0).ok()) << static_cast<int>(field.kind) << ": " << maps.Get(0).status();
  }
}

TEST_F(SynthBtfOracle, TheKernelKnowsTheSpinLockByItsPlace) {
  // A map without the lock would make bpf_spin_lock "map 'm' has no valid bpf_spin_lock".
  Object object;
  object.license = "GPL";
  MapDef map = ArrayOf({{SpecialField::kSpinLock, 4}}, 8);
  object.maps.push_back(map);
  Program program;
  program.type = ProgType::kSchedCls;
  program.insns = {{.code = kClassSt | kModeMem | kSizeW, .dst = kRegFp, .off = -4},
                   {.code = kClassAlu64 | kMov | kSrcX, .dst = 2, .src = kRegFp},
                   {.code = kClassAlu64 | kAdd | kSrcK, .dst = 2, .imm = -4},
                   {.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapFd},
                   {},
                   {.code = kCodeCall, .imm = 1},  // bpf_map_lookup_elem
                   {.code = kClassJmp | kJne | kSrcK, .dst = 0, .off = 1},
                   {.code = kCodeExit},
                   {.code = kClassAlu64 | kMov | kSrcX, .dst = 6, .src = 0},
                   {.code = kClassAlu64 | kMov | kSrcX, .dst = 1, .src = 6},
                   {.code = kClassAlu64 | kAdd | kSrcK, .dst = 1, .imm = 4},
                   {.code = kCodeCall, .imm = 93},  // bpf_spin_lock
                   {.code = kClassAlu64 | kMov | kSrcX, .dst = 1, .src = 6},
                   {.code = kClassAlu64 | kAdd | kSrcK, .dst = 1, .imm = 4},
                   {.code = kCodeCall, .imm = 94},  // bpf_spin_unlock
                   {.code = kClassAlu64 | kMov | kSrcK},
                   {.code = kCodeExit}};
  program.subprogs.push_back({});
  object.programs.push_back(program);
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, KernelReport::Verdict::kAccept) << report.message;
  object.programs[0].insns[13].imm = 0;  // unlocks another place
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, KernelReport::Verdict::kReject);
}

TEST_F(SynthBtfOracle, AGlobalFunctionIsVerifiedOnItsOwn) {
  Object object;
  object.license = "GPL";
  object.programs.push_back(WithGlobalFunction());
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, KernelReport::Verdict::kAccept);
  // On its own it knows nothing of its argument, so that it may not be used as a pointer.
  object.programs[0].insns[4] = {.code = kClassLdx | kModeMem | kSizeW, .dst = 0, .src = 2};
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, KernelReport::Verdict::kReject);
  EXPECT_THAT(report.message, HasSubstr("R2 invalid mem access 'scalar'"));
}

}  // namespace
}  // namespace bpfsieve
