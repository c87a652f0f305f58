#include "engine/program/target.h"

#include <bpf/btf.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

uint32_t FunctionId(const Object& object, const std::string& name) {
  const int id = object.btf != nullptr ? btf__find_by_name_kind(object.btf.get(), name.c_str(), BTF_KIND_FUNC) : -1;
  return id > 0 ? static_cast<uint32_t>(id) : 0;
}

int SubprogOf(const Program& program, uint32_t func_id) {
  for (size_t s = 0; s < program.subprogs.size(); ++s) {
    if (program.subprogs[s].btf_func_id == func_id) return static_cast<int>(s);
  }
  return -1;
}

}  // namespace

absl::StatusOr<TargetFunction> FindTargetFunction(const Object& object, const std::string& program,
                                                  const std::string& function) {
  if (function.empty()) return absl::InvalidArgumentError("no function of the target is named");
  TargetFunction found;
  found.func_id = FunctionId(object, function);
  if (found.func_id == 0) return absl::NotFoundError(absl::StrCat("the target has no function '", function, "'"));
  int others = 0;
  for (size_t p = 0; p < object.programs.size(); ++p) {
    const Program& each = object.programs[p];
    const int sub = SubprogOf(each, found.func_id);
    if (program.empty() ? sub < 0 : each.name != program) continue;
    if (sub == 0 || !program.empty()) return TargetFunction{static_cast<int>(p), found.func_id, sub};
    found.program = static_cast<int>(p);
    found.subprog = sub;
    ++others;
  }
  if (others == 1) return found;
  if (!program.empty()) return absl::NotFoundError(absl::StrCat("the target has no program '", program, "'"));
  return absl::NotFoundError(absl::StrCat(others == 0 ? "no program" : "more than one program",
                                          " of the target has the function '", function, "'"));
}

bool AttachesToProgram(const Program& program, const Object& target, const std::string& function) {
  if (program.type == ProgType::kExt) return true;
  const bool traces = program.type == ProgType::kTracing &&
                      (program.attach == AttachType::kTraceFentry || program.attach == AttachType::kTraceFexit ||
                       program.attach == AttachType::kModifyReturn);
  return traces && FunctionId(target, function) != 0;
}

}  // namespace bpfsieve
