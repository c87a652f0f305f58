// Why a program is not accepted, for people and for programs: what failed, why, where, which path leads there, and
// what usually mends it. The parts, their order and the grouping of rules into kinds of safety follow the structured
// reports that the kernel's own verifier prints from Linux 7.3 on.
//
// All functions are pure and safe from any thread; text and JSON are functions of the arguments alone.
#ifndef BPFSIEVE_ENGINE_REPORT_EXPLAIN_H_
#define BPFSIEVE_ENGINE_REPORT_EXPLAIN_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/program/program.h"
#include "engine/report/finding.h"

namespace bpfsieve {

// "Memory Safety", "Register Type Safety", ...: what kind of property the rule protects.
std::string_view RuleCategory(Rule rule);

// The schema of ExplainJson. Keys are added without a new number; a key that goes or changes its meaning makes one.
inline constexpr int kExplainSchema = 1;

struct ExplainLimits {
  size_t context = 2;    // lines and instructions shown before and after the one at fault
  size_t max_steps = 64; // steps of the path; of a longer one the middle is left out and counted
};

// For `verdict` other than accept.
std::string ExplainText(const Object& object, const Program& program, Verdict verdict, const Finding& finding,
                        const ExplainLimits& limits = {});

// One object:
//   schema      number: kExplainSchema
//   verdict, rule, category, message, reason, suggestion   strings
//   register    null or {name, state}
//   at          null or {insn, text, function, file, line, column, source}; unknown ones are null
//   source_context       [{line, text, at}]      lines of the same file and function that code came from
//   instruction_context  [{insn, text, at}]
//   causal_path {total, omitted, steps: [{kind, insn, text, taken, note, function, file, line, column, source}]};
//               kind: branch, call, return, define, acquire, check; oldest first, the omitted ones from the middle
std::string ExplainJson(const Object& object, const Program& program, Verdict verdict, const Finding& finding,
                        const ExplainLimits& limits = {});

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_REPORT_EXPLAIN_H_
