// A finding: why a program is not accepted. Rule codes are stable: users filter, suppress and count by them.
#ifndef BPFSIEVE_ENGINE_REPORT_FINDING_H_
#define BPFSIEVE_ENGINE_REPORT_FINDING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bpfsieve {

enum class Verdict : uint8_t { kAccept, kReject, kLimit, kUnsupported, kInvalid };
std::string_view VerdictName(Verdict v);  // "accept", "reject", "limit", "unsupported", "invalid"

// One row per rule in rules.inc: RULE(kCppName, "code", "what it means", "what to do about it").
enum class Rule : uint8_t {
#define RULE(name, code, summary, advice) name,
#include "engine/report/rules.inc"
#undef RULE
};
struct RuleInfo {
  std::string_view code;     // stable, kebab-case: "stack-bounds"
  std::string_view summary;  // one sentence
  std::string_view advice;   // what usually mends it
};
const RuleInfo& GetRuleInfo(Rule rule);
int RuleCount();
std::optional<Rule> RuleFromCode(std::string_view code);

// A step of the path that leads to a finding, oldest first.
struct PathStep {
  enum class Kind : uint8_t {
    kBranch,    // a conditional jump; `taken` tells which way
    kCall,      // a call of a subprogram
    kReturn,    // back from one
    kDefine,    // the register or slot at fault got its value here
    kAcquire,   // the reference at fault was acquired here
    kCheck,     // a test of the register at fault
  };
  Kind kind = Kind::kBranch;
  uint32_t insn = 0;
  bool taken = false;
  std::string note;  // "R2=pkt(off=14,r=0)": the abstract value after the step; may be empty
};

struct Finding {
  Rule rule{};
  std::string message;  // the kernel's wording where it has one: "R1 invalid mem access 'scalar'"
  uint32_t insn = 0;
  int reg = -1;         // the register at fault, -1: none
  std::string reg_state;  // its abstract value before the instruction, in the kernel's notation; may be empty
  std::vector<PathStep> path;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_REPORT_FINDING_H_
