#include "engine/report/finding.h"

#include <cctype>
#include <set>

#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

TEST(RuleTest, CodesAreUniqueKebabCaseAndResolveToTheirRule) {
  std::set<std::string_view> seen;
  for (int i = 0; i < RuleCount(); ++i) {
    const RuleInfo& info = GetRuleInfo(static_cast<Rule>(i));
    EXPECT_TRUE(seen.insert(info.code).second) << info.code;
    for (char c : info.code) EXPECT_TRUE(std::islower(c) || std::isdigit(c) || c == '-') << info.code;
    EXPECT_FALSE(info.summary.empty()) << info.code;
    EXPECT_FALSE(info.advice.empty()) << info.code;
    EXPECT_EQ(RuleFromCode(info.code), static_cast<Rule>(i));
  }
}

TEST(RuleTest, UnknownCodeIsNoRule) { EXPECT_EQ(RuleFromCode("no-such-rule"), std::nullopt); }

TEST(RuleTest, RowsStandInTheOrderOfTheEnumeration) {
  EXPECT_EQ(GetRuleInfo(Rule::kStackBounds).code, "stack-bounds");
  EXPECT_EQ(GetRuleInfo(Rule::kInvalidProgram).code, "invalid");
}

TEST(VerdictTest, NamesAreThoseOfTheReports) {
  EXPECT_EQ(VerdictName(Verdict::kAccept), "accept");
  EXPECT_EQ(VerdictName(Verdict::kReject), "reject");
  EXPECT_EQ(VerdictName(Verdict::kLimit), "limit");
  EXPECT_EQ(VerdictName(Verdict::kUnsupported), "unsupported");
  EXPECT_EQ(VerdictName(Verdict::kInvalid), "invalid");
}

}  // namespace
}  // namespace bpfsieve
