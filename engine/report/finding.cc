#include "engine/report/finding.h"

#include <iterator>

namespace bpfsieve {
namespace {

constexpr RuleInfo kRules[] = {
#define RULE(name, code, summary, advice) {code, summary, advice},
#include "engine/report/rules.inc"
#undef RULE
};

}  // namespace

std::string_view VerdictName(Verdict v) {
  switch (v) {
    case Verdict::kAccept: return "accept";
    case Verdict::kReject: return "reject";
    case Verdict::kLimit: return "limit";
    case Verdict::kUnsupported: return "unsupported";
    case Verdict::kInvalid: return "invalid";
  }
  return "";
}

const RuleInfo& GetRuleInfo(Rule rule) { return kRules[static_cast<size_t>(rule)]; }

int RuleCount() { return static_cast<int>(std::size(kRules)); }

std::optional<Rule> RuleFromCode(std::string_view code) {
  for (size_t i = 0; i < std::size(kRules); ++i) {
    if (kRules[i].code == code) return static_cast<Rule>(i);
  }
  return std::nullopt;
}

}  // namespace bpfsieve
