#include "engine/report/explain.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/report/report.h"

namespace bpfsieve {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextWidth = 100;
constexpr size_t kSourceWidth = 88;  // longer source lines are cut

struct SourceLine {
  uint32_t line = 0;
  std::string text;
  bool at = false;
};
struct InsnLine {
  uint32_t insn = 0;
  std::string text;
  bool at = false;
};

// A step and its number among all of them, or a gap.
struct ShownStep {
  const PathStep* step = nullptr;  // null: `omitted` steps are left out here
  size_t omitted = 0;
};

bool HasPlace(const Program& program, Verdict verdict, const Finding& finding) {
  return verdict != Verdict::kInvalid && finding.insn < program.insns.size();
}

std::vector<SourceLine> SourceContext(const Program& program, uint32_t insn, size_t context) {
  const LineInfo* at = LineOf(program, insn);
  if (at == nullptr) return {};
  const Subprog* sub = SubprogOf(program, insn);
  std::map<uint32_t, SourceLine> lines;
  lines[at->line] = {at->line, at->text, true};
  for (const LineInfo& line : program.lines) {
    const uint32_t distance = line.line > at->line ? line.line - at->line : at->line - line.line;
    if (distance == 0 || distance > context || line.text.empty() || line.file != at->file) continue;
    if (SubprogOf(program, line.insn) != sub) continue;
    lines.try_emplace(line.line, SourceLine{line.line, line.text, false});
  }
  std::vector<SourceLine> out;
  for (auto& [number, line] : lines) out.push_back(std::move(line));
  return out;
}

std::vector<InsnLine> InsnContext(const Object& object, const Program& program, uint32_t insn, size_t context) {
  // Walk outwards over instructions, not over the halves of the wide ones.
  std::vector<InsnLine> out;
  uint32_t first = insn;
  for (size_t left = context; left > 0 && first > 0;) {
    --first;
    if (!InsnText(object, program, first).empty()) --left;
  }
  size_t after = 0;
  for (uint32_t i = first; i < program.insns.size() && after <= context; ++i) {
    std::string text = InsnText(object, program, i);
    if (text.empty()) continue;
    if (i > insn && ++after > context) break;
    out.push_back({i, std::move(text), i == insn});
  }
  return out;
}

std::vector<ShownStep> ShownSteps(const std::vector<PathStep>& path, size_t max_steps) {
  std::vector<ShownStep> out;
  const size_t half = max_steps / 2;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path.size() > max_steps && i == half) {
      out.push_back({nullptr, path.size() - 2 * half});
      i = path.size() - half;
      if (i >= path.size()) break;
    }
    out.push_back({&path[i], 0});
  }
  return out;
}

// Lines come from the object: bytes that would move the cursor are no use here.
std::string Clean(std::string_view text, size_t width) {
  std::string out;
  for (char c : text) {
    if (c == '\t') {
      out.append(8 - out.size() % 8, ' ');
    } else {
      out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
    if (out.size() > width) return out.substr(0, width - 3) + "...";
  }
  return out;
}

// Breaks at spaces; every line gets the prefix.
void AppendWrapped(std::string* out, std::string_view prefix, std::string_view text) {
  std::string line;
  const auto flush = [&] {
    absl::StrAppend(out, std::string(prefix), line, "\n");
    line.clear();
  };
  for (absl::string_view paragraph : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    for (absl::string_view word : absl::StrSplit(paragraph, ' ', absl::SkipEmpty())) {
      if (!line.empty() && prefix.size() + line.size() + 1 + word.size() > kTextWidth) flush();
      absl::StrAppend(&line, line.empty() ? "" : " ", word);
    }
    if (!line.empty()) flush();
  }
}

size_t Indent(std::string_view text) { return std::min(text.find_first_not_of(' '), text.size()); }

std::string_view KindName(PathStep::Kind kind) {
  switch (kind) {
    case PathStep::Kind::kBranch: return "branch";
    case PathStep::Kind::kCall: return "call";
    case PathStep::Kind::kReturn: return "return";
    case PathStep::Kind::kDefine: return "define";
    case PathStep::Kind::kAcquire: return "acquire";
    case PathStep::Kind::kCheck: return "check";
  }
  return "";
}

std::string_view Headline(Verdict verdict) {
  switch (verdict) {
    case Verdict::kLimit: return "Verification stopped";
    case Verdict::kUnsupported: return "Not verified";
    case Verdict::kInvalid: return "Not a program";
    default: return "Verification failed";
  }
}

// A place with its source lines, or with the instruction alone where there is no source.
class PlacePrinter {
 public:
  PlacePrinter(const Object& object, const Program& program, std::string* out)
      : object_(object), program_(program), out_(out) {}

  void Print(uint32_t insn, std::string_view label, std::string_view text, size_t context) {
    const std::string place = PlaceText(program_, insn);
    absl::StrAppend(out_, "  ", place.empty() ? absl::StrCat("insn ", insn) : place, "\n");
    const std::vector<SourceLine> lines = SourceContext(program_, insn, context);
    if (!lines.empty()) {
      const size_t width = absl::StrCat(lines.back().line).size();
      for (const SourceLine& line : lines) {
        const std::string source = Clean(line.text, kSourceWidth);
        absl::StrAppendFormat(out_, "  %s%*d | %s\n", line.at ? ">>> " : "    ", static_cast<int>(width), line.line,
                              source);
        if (line.at) Annotate(width, Indent(source), label, text);
      }
    }
    const std::vector<InsnLine> insns = InsnContext(object_, program_, insn, context);
    const size_t width = insns.empty() ? 1 : absl::StrCat(insns.back().insn).size();
    for (const InsnLine& line : insns) {
      absl::StrAppendFormat(out_, "  %s%*d: %s\n", line.at ? ">>> " : "    ", static_cast<int>(width), line.insn,
                            Clean(line.text, kSourceWidth));
      if (line.at && lines.empty()) Annotate(width, 0, label, text);
    }
  }

 private:
  void Annotate(size_t width, size_t indent, std::string_view label, std::string_view text) {
    const std::string prefix = absl::StrCat(std::string(width + 6, ' '), " | ", std::string(indent, ' '));
    AppendWrapped(out_, prefix, absl::StrCat("^-- ", std::string(label), ": ", std::string(text)));
  }

  const Object& object_;
  const Program& program_;
  std::string* out_;
};

Json PlaceJson(const Object& object, const Program& program, uint32_t insn) {
  Json json;
  json["insn"] = insn;
  json["text"] = InsnText(object, program, insn);
  const Subprog* sub = SubprogOf(program, insn);
  json["function"] = sub != nullptr && !sub->name.empty() ? Json(sub->name) : Json();
  const LineInfo* line = LineOf(program, insn);
  json["file"] = line != nullptr ? Json(line->file) : Json();
  json["line"] = line != nullptr ? Json(line->line) : Json();
  json["column"] = line != nullptr && line->column != 0 ? Json(line->column) : Json();
  json["source"] = line != nullptr ? Json(line->text) : Json();
  return json;
}

}  // namespace

std::string_view RuleCategory(Rule rule) {
  switch (rule) {
    case Rule::kBadOpcode:
    case Rule::kReservedField:
    case Rule::kBadRegister:
    case Rule::kBadImm64:
    case Rule::kJumpRange:
    case Rule::kUnreachable:
    case Rule::kFallOff:
    case Rule::kBackEdge:
    case Rule::kInfiniteLoop:
    case Rule::kCallDepth:
    case Rule::kRecursion:
    case Rule::kStackDepth:
    case Rule::kProgramSize:
    case Rule::kDivZero:
    case Rule::kBadShift:
    case Rule::kProgramLoad:
    case Rule::kBtfInfo: return "Program Structure";
    case Rule::kUninitReg:
    case Rule::kPointerArith:
    case Rule::kPointerOffset:
    case Rule::kPointerCompare:
    case Rule::kInvalidMem:
    case Rule::kNullDeref:
    case Rule::kReturnValue:
    case Rule::kReturnPtr: return "Register Type Safety";
    case Rule::kStackBounds:
    case Rule::kStackUninit:
    case Rule::kStackSpill:
    case Rule::kStackVarOff:
    case Rule::kMapBounds:
    case Rule::kArena:
    case Rule::kMapAccess:
    case Rule::kPacketBounds:
    case Rule::kPacketAccess:
    case Rule::kMemBounds:
    case Rule::kMemRdonly:
    case Rule::kCtxAccess:
    case Rule::kAlignment:
    case Rule::kSockAccess:
    case Rule::kBtfAccess:
    case Rule::kAtomic: return "Memory Safety";
    case Rule::kHelperArg:
    case Rule::kHelperSize:
    case Rule::kHelperMap:
    case Rule::kHelperMem:
    case Rule::kTimer:
    case Rule::kGlobalFunc: return "Call Type Safety";
    case Rule::kRefLeak:
    case Rule::kRefRelease:
    case Rule::kIterator:
    case Rule::kObject:
    case Rule::kDynptr:
    case Rule::kLock: return "Resource Lifetime Safety";
    case Rule::kException:
    case Rule::kTailCall:
    case Rule::kSection:
    case Rule::kSleepable: return "Execution Context Safety";
    case Rule::kPointerLeak:
    case Rule::kSpeculation:
    case Rule::kCapability:
    case Rule::kHelperUnknown:
    case Rule::kHelperUnavailable:
    case Rule::kLicense: return "Policy";
    case Rule::kTooComplex:
    case Rule::kTooManyBranches:
    case Rule::kMemoryLimit:
    case Rule::kTimeLimit:
    case Rule::kInterrupted: return "Budget";
    case Rule::kUnsupportedFeature: return "Unsupported Feature";
    case Rule::kInvalidProgram: return "Invalid Program";
  }
  return "Verifier";
}

std::string ExplainText(const Object& object, const Program& program, Verdict verdict, const Finding& finding,
                        const ExplainLimits& limits) {
  const RuleInfo& rule = GetRuleInfo(finding.rule);
  std::string out = absl::StrCat(std::string(Headline(verdict)), ": ", std::string(RuleCategory(finding.rule)), ": ",
                                 std::string(rule.code), "\n\nReason:\n");
  if (!finding.message.empty()) AppendWrapped(&out, "  ", finding.message);
  AppendWrapped(&out, "  ", rule.summary);
  if (finding.reg >= 0 && !finding.reg_state.empty()) {
    AppendWrapped(&out, "  ", absl::StrCat("Before the instruction R", finding.reg, " is ", finding.reg_state, "."));
  }

  const bool placed = HasPlace(program, verdict, finding);
  PlacePrinter printer(object, program, &out);
  if (placed) {
    out += "\nAt:\n";
    printer.Print(finding.insn, "error", finding.message, limits.context);
  }

  if (placed && !finding.path.empty()) {
    out += "\nCausal path:\n";
    bool first = true;
    for (const ShownStep& shown : ShownSteps(finding.path, limits.max_steps)) {
      if (!first) out += "\n";
      first = false;
      if (shown.step == nullptr) {
        absl::StrAppend(&out, "  ... ", shown.omitted, shown.omitted == 1 ? " step" : " steps", " left out ...\n");
      } else {
        printer.Print(shown.step->insn, KindName(shown.step->kind), StepText(*shown.step, finding.reg), 0);
      }
    }
  }

  out += "\nSuggestion:\n";
  AppendWrapped(&out, "  ", rule.advice);
  return out;
}

std::string ExplainJson(const Object& object, const Program& program, Verdict verdict, const Finding& finding,
                        const ExplainLimits& limits) {
  const RuleInfo& rule = GetRuleInfo(finding.rule);
  Json json;
  json["schema"] = kExplainSchema;
  json["verdict"] = std::string(VerdictName(verdict));
  json["rule"] = std::string(rule.code);
  json["category"] = std::string(RuleCategory(finding.rule));
  json["message"] = finding.message;
  json["reason"] = std::string(rule.summary);
  json["register"] = nullptr;
  if (finding.reg >= 0) {
    json["register"] = {{"name", absl::StrCat("R", finding.reg)}, {"state", finding.reg_state}};
  }
  const bool placed = HasPlace(program, verdict, finding);
  json["at"] = placed ? PlaceJson(object, program, finding.insn) : Json();
  json["source_context"] = Json::array();
  json["instruction_context"] = Json::array();
  Json steps = Json::array();
  size_t omitted = 0;
  if (placed) {
    for (const SourceLine& line : SourceContext(program, finding.insn, limits.context)) {
      json["source_context"].push_back({{"line", line.line}, {"text", line.text}, {"at", line.at}});
    }
    for (const InsnLine& line : InsnContext(object, program, finding.insn, limits.context)) {
      json["instruction_context"].push_back({{"insn", line.insn}, {"text", line.text}, {"at", line.at}});
    }
    for (const ShownStep& shown : ShownSteps(finding.path, limits.max_steps)) {
      if (shown.step == nullptr) {
        omitted = shown.omitted;
        continue;
      }
      Json step;
      step["kind"] = std::string(KindName(shown.step->kind));
      step["taken"] = shown.step->kind == PathStep::Kind::kBranch ? Json(shown.step->taken) : Json();
      step["note"] = shown.step->note;
      step.update(PlaceJson(object, program, shown.step->insn));
      steps.push_back(std::move(step));
    }
  }
  json["causal_path"] = {{"total", placed ? finding.path.size() : 0}, {"omitted", omitted}, {"steps", std::move(steps)}};
  json["suggestion"] = std::string(rule.advice);
  // Names and lines of a damaged object may hold any bytes; JSON may not.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace bpfsieve
