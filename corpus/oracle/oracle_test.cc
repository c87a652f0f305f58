#include "corpus/oracle/oracle.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "corpus/oracle/maps.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;
using Verdict = KernelReport::Verdict;

Object OneProgram(std::vector<Insn> insns, ProgType type = ProgType::kSocketFilter) {
  Object object;
  object.license = "GPL";
  Program program;
  program.name = "f";
  program.type = type;
  program.insns = std::move(insns);
  program.subprogs.push_back({});
  object.programs.push_back(std::move(program));
  return object;
}

const Insn kMovR0Zero{.code = kClassAlu64 | kMov | kSrcK};
const Insn kExitInsn{.code = kCodeExit};

int OpenDescriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

class OracleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const absl::Status s = OracleAvailable(); !s.ok()) GTEST_SKIP() << s.message();
  }
};

TEST_F(OracleTest, AcceptsASafeProgramAndReportsItsNumbers) {
  const Object object = OneProgram({kMovR0Zero, kExitInsn});
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, Verdict::kAccept) << report.message;
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(report.stats.processed, 2);
  EXPECT_GE(report.stats.verification_usec, 0);
  EXPECT_EQ(report.stats.stack_depth, 0);
  EXPECT_EQ(report.message, "");
}

TEST_F(OracleTest, DoesWithoutCapabilitiesOnlyWhileItAsks) {
  const Insn return_ctx{.code = kClassAlu64 | kMov | kSrcX, .src = 1};
  const Object object = OneProgram({return_ctx, kExitInsn}, ProgType::kSchedCls);
  KernelOracle without(object, {.perfmon = false});
  const KernelReport report = without.Ask(0, {});
  EXPECT_EQ(report.verdict, Verdict::kReject);
  EXPECT_EQ(report.message, "R0 leaks addr as return value");
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kAccept);
}

TEST_F(OracleTest, RefusalForWantOfACapabilityIsARejection) {
  const Object object = OneProgram({kMovR0Zero, kExitInsn}, ProgType::kKprobe);
  KernelOracle without(object, {.perfmon = false});
  EXPECT_EQ(without.Ask(0, {}).verdict, Verdict::kReject);
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kAccept);
}

TEST_F(OracleTest, RejectsWithTheKernelsMessage) {
  const Object object = OneProgram({kExitInsn});
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, Verdict::kReject);
  EXPECT_EQ(report.message, "R0 !read_ok");
}

TEST_F(OracleTest, GivesTheFullLogWhenAsked) {
  const Object object = OneProgram({kMovR0Zero, kExitInsn});
  const KernelReport report = *AskKernel(object, 0, {.log_level = 2});
  EXPECT_THAT(report.log, HasSubstr("1: (95) exit"));
}

TEST_F(OracleTest, AProgramWithoutATypeIsNotDecided) {
  const Object object = OneProgram({kMovR0Zero, kExitInsn}, ProgType::kUnspec);
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kNotDecided);
}

TEST_F(OracleTest, AnAttributeThatTheKernelRefusesIsAReject) {
  Object object = OneProgram({kMovR0Zero, kExitInsn}, ProgType::kCgroupSock);
  object.programs[0].attach = AttachType::kTraceIter;
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, Verdict::kReject);
  EXPECT_THAT(report.message, HasSubstr("refused before verification"));
}

TEST_F(OracleTest, AFrozenMapsContentsAreKnown) {
  // r1 = &map[0] + 0; r1 = *(u32*)r1 is 7 in a frozen map, so that the other branch, which would read R9
  // uninitialised, is never taken.
  Object object = OneProgram({{.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapValue, .imm = 0},
                              {},
                              {.code = kClassLdx | kModeMem | kSizeW, .dst = 1, .src = 1},
                              kMovR0Zero,
                              {.code = kClassJmp | kJeq | kSrcK, .dst = 1, .off = 1, .imm = 7},
                              {.code = kClassAlu64 | kMov | kSrcX, .dst = 0, .src = 9},
                              kExitInsn});
  object.maps.push_back({.name = "x.rodata",
                         .type = MapType::kArray,
                         .key_size = 4,
                         .value_size = 4,
                         .max_entries = 1,
                         .flags = kMapRdonlyProg,
                         .data = {7, 0, 0, 0},
                         .frozen = true});
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kAccept);
  object.maps[0].frozen = false;
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kReject);
}

TEST_F(OracleTest, AMapThatCannotBeCreatedIsNamed) {
  Object object = OneProgram({{.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapFd, .imm = 0}, {}, kMovR0Zero, kExitInsn});
  object.maps.push_back({.name = "wrong", .type = MapType::kArray, .key_size = 8, .value_size = 4, .max_entries = 1});
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, Verdict::kNotDecided);
  EXPECT_THAT(report.message, HasSubstr("wrong"));
}

TEST_F(OracleTest, IndexMinusOneIsADescriptorOfNoMap) {
  const Object object = OneProgram({{.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapFd, .imm = -1}, {}, kMovR0Zero,
                                    kExitInsn});
  const KernelReport report = *AskKernel(object, 0, {});
  EXPECT_EQ(report.verdict, Verdict::kReject);
  EXPECT_THAT(report.message, HasSubstr("fd -1 is not pointing to valid bpf_map"));
}

TEST_F(OracleTest, AWeakFunctionThatTheKernelLacksMayNotBeReached) {
  Object object = OneProgram({kMovR0Zero,
                              {.code = kClassJmp | kJeq | kSrcK, .dst = 0, .off = 1},  // always taken
                              {.code = kCodeCall, .src = kPseudoKfuncCall},
                              kExitInsn});
  object.programs[0].externs.push_back({.name = "no_such_function", .weak = true});
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kAccept);
  object.programs[0].insns[1].code = kClassJmp | kJne | kSrcK;
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kReject);
  object.programs[0].externs[0].weak = false;
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kNotDecided);
}

TEST_F(OracleTest, EveryMapTypeThatNeedsMendedSizesIsCreated) {
  Object object;
  object.maps.push_back({.name = "ring", .type = MapType::kRingbuf, .value_size = 16, .max_entries = 5000});
  object.maps.push_back({.name = "perf", .type = MapType::kPerfEventArray});
  object.maps.push_back({.name = "inner", .type = MapType::kHash, .key_size = 4, .value_size = 8, .is_inner_template = true});
  object.maps.push_back(
      {.name = "outer", .type = MapType::kArrayOfMaps, .key_size = 4, .value_size = 4, .max_entries = 2, .inner = 2});
  OracleMaps maps(object, -1);
  for (size_t i = 0; i < object.maps.size(); ++i) {
    const absl::StatusOr<int> fd = maps.Get(i);
    EXPECT_TRUE(fd.ok()) << object.maps[i].name << ": " << fd.status();
  }
}

TEST_F(OracleTest, EveryDescriptorIsClosed) {
  const int before = OpenDescriptors();
  Object object = OneProgram({{.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapFd, .imm = 0}, {}, kMovR0Zero, kExitInsn});
  object.maps.push_back({.name = "m", .type = MapType::kHash, .key_size = 4, .value_size = 4, .max_entries = 1});
  EXPECT_EQ(AskKernel(object, 0, {})->verdict, Verdict::kAccept);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(OracleArgumentsTest, AProgramThatDoesNotExistIsAnError) {
  const Object object = OneProgram({kMovR0Zero, kExitInsn});
  EXPECT_EQ(AskKernel(object, 1, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace bpfsieve
