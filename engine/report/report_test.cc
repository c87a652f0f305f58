#include "engine/report/report.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

const Insn kMov{.code = kClassAlu64 | bpfsieve::kMov | kSrcK};
const Insn kExitInsn{.code = kCodeExit};

// main: 0 ld_imm64 of map 0, 2 mov, 3 exit; helper: 4 mov, 5 exit. Lines 10 at 0 and 20 at 4.
struct Fixture {
  Object object;
  Program program;
  Fixture() {
    object.maps.push_back({.name = "counts"});
    program.insns = {{.code = kCodeLdImm64, .dst = 1, .src = kPseudoMapFd, .imm = 0}, {}, kMov, kExitInsn, kMov,
                     kExitInsn};
    program.subprogs = {{.start = 0, .name = "entry"}, {.start = 4, .name = "helper"}};
    program.lines = {{.insn = 0, .line = 10, .column = 3, .file = "a.c", .text = "x = 1;"},
                     {.insn = 5, .line = 20, .file = "a.c", .text = "}"}};
  }
};

TEST(ReportTest, AnInstructionBelongsToTheLastLineBeforeIt) {
  const Fixture f;
  EXPECT_EQ(LineOf(f.program, 3)->line, 10u);
  EXPECT_EQ(LineOf(f.program, 5)->line, 20u);
}

TEST(ReportTest, ALineOfAnotherFunctionIsNotAnInstructionsOwn) {
  const Fixture f;
  EXPECT_EQ(LineOf(f.program, 4), nullptr);
}

TEST(ReportTest, NoInstructionHasNoPlace) {
  const Fixture f;
  EXPECT_EQ(LineOf(f.program, 6), nullptr);
  EXPECT_EQ(SubprogOf(f.program, 6), nullptr);
  EXPECT_EQ(InsnText(f.object, f.program, 6), "");
}

TEST(ReportTest, APlaceIsFunctionFileLineAndColumn) {
  const Fixture f;
  EXPECT_EQ(PlaceText(f.program, 3), "entry @ a.c:10:3");
  EXPECT_EQ(PlaceText(f.program, 4), "helper");
  EXPECT_EQ(PlaceText(f.program, 5), "helper @ a.c:20");
}

TEST(ReportTest, InstructionsNameTheirMaps) {
  const Fixture f;
  EXPECT_NE(InsnText(f.object, f.program, 0).find("map[counts]"), std::string::npos);
}

TEST(ReportTest, TheSecondHalfOfAWideInstructionHasNoText) {
  const Fixture f;
  EXPECT_EQ(InsnText(f.object, f.program, 1), "");
  EXPECT_EQ(InsnText(f.object, f.program, 2), "(b7) r0 = 0");
}

TEST(ReportTest, AWideInstructionWithoutItsSecondHalfHasNoText) {
  Fixture f;
  f.program.insns.resize(1);
  EXPECT_EQ(InsnText(f.object, f.program, 0), "");
}

TEST(ReportTest, ReferencesOutOfRangeAreNotNamed) {
  Fixture f;
  f.program.insns[0].imm = 77;
  EXPECT_EQ(InsnText(f.object, f.program, 0).find("map["), std::string::npos);
}

TEST(ReportTest, AStepSaysWhatItDidAndTheValueAfterIt) {
  EXPECT_EQ(StepText({.kind = PathStep::Kind::kBranch, .taken = true}, -1), "the branch is taken");
  EXPECT_EQ(StepText({.kind = PathStep::Kind::kDefine, .note = "R2=5"}, 2), "R2 gets its value here: R2=5");
}

}  // namespace
}  // namespace bpfsieve
