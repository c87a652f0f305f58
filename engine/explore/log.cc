// The log, in the kernel's notation.
#include "engine/explore/search.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/isa/disasm.h"

namespace bpfsieve {

void Search::Log(const std::string& text) {
  if (result_.log.size() + text.size() > limits_.log_limit) return;
  result_.log += text;
}

void Search::LogFrom(const State& state, uint32_t prev, uint32_t insn) {
  std::string line = prev == ~0u ? absl::StrCat(insn, ":") : absl::StrCat("\nfrom ", prev, " to ", insn, ":");
  if (state.speculative) line.insert(line.size() - 1, " (speculative execution)");
  AppendFrame(line, state, state.cur, ctx_.object->maps);
  Log(line + "\n");
}

size_t Search::LogInsn(uint32_t insn) {
  // The line of source that the instruction belongs to, when it changes.
  const auto& lines = prog_.lines;
  auto it = std::upper_bound(lines.begin(), lines.end(), insn, [](uint32_t a, const LineInfo& l) { return a < l.insn; });
  if (it != lines.begin()) {
    const uint32_t at = static_cast<uint32_t>(--it - lines.begin());
    if (at != last_line_) {
      last_line_ = at;
      const size_t slash = it->file.rfind('/');
      Log(absl::StrCat("; ", it->text, " @ ", slash == std::string::npos ? it->file : it->file.substr(slash + 1), ":",
                       it->line, "\n"));
    }
  }
  const std::string text = absl::StrCat(insn, ": ", DisassembleLogText(&prog_.insns[insn]));
  Log(text);
  return text.size();
}

// What the instruction touched, in the kernel's columns.
void Search::LogAfter(const State& state, uint32_t insn, const StepResult& step, const Frame& before, size_t width) {
  std::string after;
  if (state.frame().frameno == before.frameno && step.kind != StepResult::Kind::kPathEnd) {
    const Insn& i = prog_.insns[insn];
    uint16_t operands = 0;
    if (Class(i) != kClassLd && !(IsJmpClass(i) && (JmpOp(i) == kCall || JmpOp(i) == kJa))) {
      operands |= static_cast<uint16_t>(1u << i.dst);
      if (Class(i) == kClassLdx || Class(i) == kClassStx || (Class(i) != kClassSt && UsesX(i))) {
        operands |= static_cast<uint16_t>(1u << i.src);
      }
    }
    const bool own_slot = (step.hist_flags & kHistStackAccess) != 0 && (step.hist_flags >> 8 & 7) == before.frameno;
    AppendFrame(after, state, state.cur, ctx_.object->maps, &before, operands,
                own_slot ? static_cast<int>(step.hist_flags & 0x3f) : -1);
  }
  if (after.empty()) {
    Log("\n");
    return;
  }
  const size_t column = std::max<size_t>(width + 1 + 4, 40);
  Log(absl::StrCat(std::string((column + 7) / 8 * 8 - width - 2, ' '), ";", after, "\n"));
}

}  // namespace bpfsieve
