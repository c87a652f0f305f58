#include "engine/report/report.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace bpfsieve {

const LineInfo* LineOf(const Program& program, uint32_t insn) {
  if (insn >= program.insns.size()) return nullptr;
  const auto it = std::upper_bound(program.lines.begin(), program.lines.end(), insn,
                                   [](uint32_t i, const LineInfo& line) { return i < line.insn; });
  if (it == program.lines.begin()) return nullptr;
  const LineInfo& line = *std::prev(it);
  // A line of another function says nothing about this one.
  const Subprog* sub = SubprogOf(program, insn);
  if (line.line == 0 || (sub != nullptr && line.insn < sub->start)) return nullptr;
  return &line;
}

const Subprog* SubprogOf(const Program& program, uint32_t insn) {
  if (insn >= program.insns.size()) return nullptr;
  const auto it = std::upper_bound(program.subprogs.begin(), program.subprogs.end(), insn,
                                   [](uint32_t i, const Subprog& sub) { return i < sub.start; });
  return it == program.subprogs.begin() ? nullptr : &*std::prev(it);
}

std::string PlaceText(const Program& program, uint32_t insn) {
  const Subprog* sub = SubprogOf(program, insn);
  const LineInfo* line = LineOf(program, insn);
  std::string out = sub != nullptr ? sub->name : "";
  if (line != nullptr) {
    absl::StrAppend(&out, out.empty() ? "" : " @ ", line->file, ":", line->line);
    if (line->column != 0) absl::StrAppend(&out, ":", line->column);
  }
  return out;
}

DisasmNames NamesOf(const Object& object, const Program& program) {
  DisasmNames names;
  names.imm64 = [&object, &program](const Insn* insn) -> std::string {
    const auto index = static_cast<uint32_t>(insn->imm);
    switch (insn->src) {
      case kPseudoMapFd: return index < object.maps.size() ? absl::StrCat("map[", object.maps[index].name, "]") : "";
      case kPseudoMapValue:
        return index < object.maps.size() ? absl::StrCat("map[", object.maps[index].name, "]+", insn[1].imm) : "";
      case kPseudoBtfId:
        return index < program.externs.size() ? absl::StrCat("extern[", program.externs[index].name, "]") : "";
      default: return "";
    }
  };
  names.kfunc = [&program](const Insn& insn) -> std::string {
    const auto index = static_cast<uint32_t>(insn.imm);
    return index < program.externs.size() ? program.externs[index].name : "";
  };
  return names;
}

std::string InsnText(const Object& object, const Program& program, uint32_t insn) {
  if (insn >= program.insns.size()) return "";
  if (insn > 0 && IsLdImm64(program.insns[insn - 1])) return "";
  if (IsLdImm64(program.insns[insn]) && insn + 1 == program.insns.size()) return "";
  return DisassembleLogText(&program.insns[insn], NamesOf(object, program));
}

std::string StepText(const PathStep& step, int reg) {
  const std::string what = reg >= 0 ? absl::StrCat("R", reg) : "the value at fault";
  std::string out;
  switch (step.kind) {
    case PathStep::Kind::kBranch: out = step.taken ? "the branch is taken" : "the branch is not taken"; break;
    case PathStep::Kind::kCall: out = "calls the function"; break;
    case PathStep::Kind::kReturn: out = "returns"; break;
    case PathStep::Kind::kDefine: out = absl::StrCat(what, " gets its value here"); break;
    case PathStep::Kind::kAcquire: out = "the reference is acquired here"; break;
    case PathStep::Kind::kCheck: out = absl::StrCat(what, " is tested here"); break;
  }
  if (!step.note.empty()) absl::StrAppend(&out, ": ", step.note);
  return out;
}

}  // namespace bpfsieve
