#include "engine/report/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

const Insn kMovInsn{.code = kClassAlu64 | kMov | kSrcK};

Program SixMoves() {
  Program program;
  program.name = "entry";
  program.insns.assign(6, kMovInsn);
  program.insns.push_back({.code = kCodeExit});
  program.subprogs = {{.start = 0, .name = "entry"}};
  program.lines = {{.insn = 0, .line = 9, .file = "a.c", .text = "int x;"},
                   {.insn = 3, .line = 10, .column = 4, .file = "a.c", .text = "\treturn *p;"},
                   {.insn = 5, .line = 30, .file = "a.c", .text = "far away"}};
  return program;
}

Finding NullDeref() {
  return {.rule = Rule::kNullDeref,
          .message = "R0 invalid mem access 'map_value_or_null'",
          .insn = 3,
          .reg = 0,
          .reg_state = "map_value_or_null(id=1)"};
}

TEST(ExplainTest, TheTextHasItsPartsInOrder) {
  const std::string text = ExplainText({}, SixMoves(), Verdict::kReject, NullDeref());
  size_t at = 0;
  for (const char* part : {"Verification failed: Register Type Safety: mem-null\n", "\nReason:\n",
                           "  R0 invalid mem access 'map_value_or_null'\n",
                           "  Before the instruction R0 is map_value_or_null(id=1).\n", "\nAt:\n",
                           "  entry @ a.c:10:4\n", "       9 | int x;\n", "  >>> 10 |         return *p;\n",
                           "         |         ^-- error: R0 invalid mem access", "  >>> 3: (b7) r0 = 0\n",
                           "\nSuggestion:\n"}) {
    const size_t found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << "missing or out of order: " << part << "\nin\n" << text;
    at = found;
  }
}

TEST(ExplainTest, SourceLinesThatAreFarAreNotShown) {
  EXPECT_THAT(ExplainText({}, SixMoves(), Verdict::kReject, NullDeref()), Not(HasSubstr("far away")));
}

TEST(ExplainTest, WithoutLinesTheInstructionIsMarked) {
  Program program = SixMoves();
  program.lines.clear();
  EXPECT_THAT(ExplainText({}, program, Verdict::kReject, NullDeref()),
              HasSubstr("  >>> 3: (b7) r0 = 0\n        | ^-- error: R0 invalid"));
}

TEST(ExplainTest, APathShowsItsSteps) {
  Finding finding = NullDeref();
  finding.path = {{.kind = PathStep::Kind::kBranch, .insn = 1, .taken = true},
                  {.kind = PathStep::Kind::kDefine, .insn = 2, .note = "R0=0"}};
  const std::string text = ExplainText({}, SixMoves(), Verdict::kReject, finding);
  EXPECT_THAT(text, HasSubstr("Causal path:"));
  EXPECT_THAT(text, HasSubstr("branch: the branch is taken"));
  EXPECT_THAT(text, HasSubstr("define: R0 gets its value here: R0=0"));
}

TEST(ExplainTest, TheMiddleOfALongPathIsLeftOutAndCounted) {
  Finding finding = NullDeref();
  for (int i = 0; i < 100; ++i) finding.path.push_back({.insn = 1, .note = "step" + std::to_string(i) + "."});
  const std::string text = ExplainText({}, SixMoves(), Verdict::kReject, finding, {.max_steps = 4});
  EXPECT_THAT(text, HasSubstr("... 96 steps left out ..."));
  EXPECT_THAT(text, HasSubstr("step1."));
  EXPECT_THAT(text, Not(HasSubstr("step2.")));
  EXPECT_THAT(text, Not(HasSubstr("step97.")));
  EXPECT_THAT(text, HasSubstr("step98."));

  const Json json = Json::parse(ExplainJson({}, SixMoves(), Verdict::kReject, finding, {.max_steps = 4}));
  EXPECT_EQ(json["causal_path"]["total"], 100);
  EXPECT_EQ(json["causal_path"]["omitted"], 96);
  EXPECT_EQ(json["causal_path"]["steps"].size(), 4u);
}

TEST(ExplainTest, APathOfExactlyTheLimitIsShownWhole) {
  Finding finding = NullDeref();
  for (int i = 0; i < 4; ++i) finding.path.push_back({.insn = 1});
  EXPECT_THAT(ExplainText({}, SixMoves(), Verdict::kReject, finding, {.max_steps = 4}), Not(HasSubstr("left out")));
}

TEST(ExplainTest, AnInvalidObjectHasNoPlace) {
  const Finding finding{.rule = Rule::kInvalidProgram, .message = "elf: damaged"};
  const std::string text = ExplainText({}, SixMoves(), Verdict::kInvalid, finding);
  EXPECT_THAT(text, HasSubstr("Not a program: Invalid Program: invalid"));
  EXPECT_THAT(text, Not(HasSubstr("At:")));
  EXPECT_TRUE(Json::parse(ExplainJson({}, SixMoves(), Verdict::kInvalid, finding))["at"].is_null());
}

TEST(ExplainTest, AFindingBeyondTheProgramIsHarmless) {
  Finding finding = NullDeref();
  finding.insn = 1000;
  EXPECT_THAT(ExplainText({}, SixMoves(), Verdict::kReject, finding), HasSubstr("Suggestion:"));
  finding.insn = 3;
  finding.path = {{.insn = 4000}};
  EXPECT_THAT(ExplainText({}, SixMoves(), Verdict::kReject, finding), HasSubstr("insn 4000"));
}

TEST(ExplainTest, JsonNamesPlaceAndContext) {
  const Json json = Json::parse(ExplainJson({}, SixMoves(), Verdict::kReject, NullDeref()));
  EXPECT_EQ(json["schema"], kExplainSchema);
  EXPECT_EQ(json["verdict"], "reject");
  EXPECT_EQ(json["rule"], "mem-null");
  EXPECT_EQ(json["register"]["name"], "R0");
  EXPECT_EQ(json["at"]["insn"], 3);
  EXPECT_EQ(json["at"]["line"], 10);
  EXPECT_EQ(json["at"]["function"], "entry");
  EXPECT_EQ(json["source_context"].size(), 2u);
  EXPECT_EQ(json["instruction_context"].size(), 5u);
  EXPECT_EQ(json["instruction_context"][2]["at"], true);
}

TEST(ExplainTest, BytesThatAreNotUtf8AreReplaced) {
  Program program = SixMoves();
  program.lines[1].text = "\xff\x1b[31m";
  EXPECT_FALSE(Json::parse(ExplainJson({}, program, Verdict::kReject, NullDeref()), nullptr, false).is_discarded());
  EXPECT_THAT(ExplainText({}, program, Verdict::kReject, NullDeref()), Not(HasSubstr("\x1b")));
}

TEST(ExplainTest, EveryRuleHasACategory) {
  std::set<std::string> categories;
  for (int i = 0; i < RuleCount(); ++i) categories.insert(std::string(RuleCategory(static_cast<Rule>(i))));
  EXPECT_EQ(categories.count("Verifier"), 0u);
  EXPECT_EQ(categories.size(), 10u);
}

}  // namespace
}  // namespace bpfsieve
