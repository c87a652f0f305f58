// bpfsieve rules, version: about the tool itself.
#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "batch/commands.h"
#include "engine/report/finding.h"

namespace bpfsieve {

int RunRules(bool markdown) {
  if (markdown) absl::PrintF("| code | meaning | what usually mends it |\n|---|---|---|\n");
  for (int i = 0; i < RuleCount(); ++i) {
    const RuleInfo& rule = GetRuleInfo(static_cast<Rule>(i));
    const auto cell = [](std::string_view text) { return absl::StrReplaceAll(std::string(text), {{"|", "\\|"}}); };
    if (markdown) {
      absl::PrintF("| `%s` | %s | %s |\n", std::string(rule.code), cell(rule.summary), cell(rule.advice));
    } else {
      absl::PrintF("%-20s %s\n", std::string(rule.code), std::string(rule.summary));
    }
  }
  return kExitAllAccepted;
}

int RunVersion() {
  absl::PrintF("bpfsieve %s, profile Linux 6.18\n", BPFSIEVE_VERSION);
  return kExitAllAccepted;
}

}  // namespace bpfsieve
