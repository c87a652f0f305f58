// What is expected of programs: beside them in assembly text, or in tables. The first byte chooses. Whatever a text expects is of a
// program that the text has.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/expectations.h"
#include "engine/program/asm_object.h"
#include "engine/program/load.h"
#include "engine/program/program.h"
#include "fuzz/targets/budget.h"

namespace {

using namespace bpfsieve;

void Check(const AsmExpectation& e) {
  const bool needs_rule = e.verdict == Verdict::kReject || e.verdict == Verdict::kLimit;
  if (needs_rule != e.rule.has_value()) Finding("an expectation of " + e.program + " with a rule too many, or none");
  for (const AsmExpectation& other : e.alternatives) {
    if (other.verdict != e.verdict || !other.alternatives.empty()) Finding("an alternative that is none, of " + e.program);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0: {
      const absl::StatusOr<std::vector<AsmExpectation>> expected = ParseAsmExpectations(text);
      if (!expected.ok()) break;
      LoadOptions load;
      load.kernel_btf = "none";
      const absl::StatusOr<std::shared_ptr<Object>> object = LoadAsmObject(text, "input.bpfasm", load);
      for (const AsmExpectation& e : *expected) {
        Check(e);
        if (!object.ok()) continue;
        const std::vector<Program>& programs = (*object)->programs;
        if (std::none_of(programs.begin(), programs.end(), [&](const Program& p) { return p.name == e.program; })) {
          Finding("an expectation of a program that is not there: " + e.program);
        }
      }
      break;
    }
    case 1: {
      const auto table = ParseExpectedTable(text);
      if (!table.ok()) break;
      for (const auto& [object, rows] : *table) {
        if (rows.empty() || object.find(',') != std::string::npos) Finding("an object without rows, or with more than its name");
      }
      break;
    }
    default: {
      std::string again = "file,program,text\n";
      const ProgramTable table = ParseProgramTable(text);
      for (const auto& [key, value] : table) again += key.first + "," + key.second + "," + value + "\n";
      if (ParseProgramTable(again) != table) Finding("a table reads back as another one");
      break;
    }
  }
  return 0;
}
