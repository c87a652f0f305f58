// The way to a finding: which branches were taken, and where the value at fault came from.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/explore/explore.h"
#include "engine/isa/disasm.h"

namespace bpfsieve {
namespace {

// Long paths keep their end, which is what explains a finding.
constexpr size_t kMaxSteps = 4096;

// The register that the instruction writes, -1: none.
int Defines(const Insn& i) {
  switch (Class(i)) {
    case kClassAlu:
    case kClassAlu64:
    case kClassLdx:
      return i.dst;
    case kClassLd:
      return Mode(i) == kModeImm ? int{i.dst} : kRegR0;
    case kClassStx:
      if (Mode(i) != kModeAtomic) return -1;
      if (i.imm == kLoadAcq) return i.dst;
      if (i.imm == kCmpxchg) return kRegR0;
      return (i.imm & kFetch) != 0 && i.imm != kStoreRel ? int{i.src} : -1;
    case kClassJmp:
      return JmpOp(i) == kCall ? kRegR0 : -1;
    default:
      return -1;
  }
}

bool IsConditional(const Insn& i) {
  if (!IsJmpClass(i)) return false;
  const uint8_t op = JmpOp(i);
  return op != kJa && op != kCall && op != kExit;
}

}  // namespace

std::vector<PathStep> Explorer::CollectPath(const State& start, uint32_t insn, int fault_reg) const {
  std::vector<PathStep> steps;
  const State* st = &start;
  int64_t i = insn;
  size_t end = st->history.size();
  int depth = 0;         // frames above the finding's frame, going back
  int wanted = fault_reg;
  while (steps.size() < kMaxSteps) {
    int64_t prev;
    if (i == st->first_insn && (end == 0 || (end == 1 && st->history[0].insn == i))) {
      const Checkpoint* c = st->parent;
      prev = st->parent != nullptr ? c->state->last_insn : -1;
      // The checkpoint stands before instruction i, reached from its own last instruction.
      if (c == nullptr || prev < 0) break;
      st = c->state;
      end = st->history.size();
      if (end > 0 && st->history[end - 1].insn == i) --end;
    } else if (end > 0 && st->history[end - 1].insn == i) {
      prev = st->history[--end].prev;
    } else {
      prev = i - 1;
    }
    if (prev < 0 || prev >= static_cast<int64_t>(prog_.insns.size())) break;
    const Insn* in = &prog_.insns[prev];
    if (in->code == 0 && prev > 0) in = &prog_.insns[--prev];  // the second half of a 64-bit immediate
    PathStep step;
    step.insn = static_cast<uint32_t>(prev);
    if (IsConditional(*in)) {
      step.kind = PathStep::Kind::kBranch;
      step.taken = i != prev + 1;
      steps.push_back(step);
    } else if (IsPseudoCall(*in) && i != prev + 1) {
      step.kind = PathStep::Kind::kCall;
      steps.push_back(step);
      --depth;
    } else if (in->code == kCodeExit) {
      step.kind = PathStep::Kind::kReturn;
      steps.push_back(step);
      ++depth;
    }
    if (depth == 0 && wanted >= 0 && wanted < kRegFp && Defines(*in) == wanted) {
      step.kind = IsHelperCall(*in) && wanted == kRegR0 ? PathStep::Kind::kDefine : PathStep::Kind::kDefine;
      steps.push_back(step);
      const bool copy = AluOp(*in) == kMov && UsesX(*in) && (Class(*in) == kClassAlu64 || Class(*in) == kClassAlu);
      wanted = copy ? int{in->src} : -1;
    }
    i = prev;
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

void Explorer::FillFinding(const State& state, uint32_t insn, const StepResult& step) {
  Finding& f = result_.finding;
  f.rule = step.rule;
  f.message = step.message;
  f.insn = insn;
  f.reg = step.fault_reg;
  f.path = CollectPath(state, insn, step.fault_reg);
}

}  // namespace bpfsieve
