// The way to a finding: which branches were taken, and where the value at fault came from.
//
// The search keeps only what it needs to go back along a path, not the states on it. For an explanation the path is
// first walked back to the function's entry and then executed once more, which costs no more than the path is long
// and gives the abstract value at every step.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/explore/search.h"

namespace bpfsieve {
namespace {

// Long paths keep their end, which is what explains a finding.
constexpr size_t kMaxSteps = 4096;
constexpr size_t kMaxPath = 2'000'000;

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

// Where the value that the instruction writes came from: the register to look for before it, -1: it starts here.
int ComesFrom(const Insn& i) {
  if (Class(i) != kClassAlu && Class(i) != kClassAlu64) return -1;
  if (AluOp(i) == kMov) return UsesX(i) ? int{i.src} : -1;
  return i.dst;
}

bool IsConditional(const Insn& i) {
  if (!IsJmpClass(i)) return false;
  const uint8_t op = JmpOp(i);
  return op != kJa && op != kCall && op != kExit;
}

}  // namespace

// Every instruction of the path, oldest first, `insn` last. Incomplete (and then without its oldest part) if longer than
// kMaxPath.
std::vector<uint32_t> Search::WalkBack(const Path& start, uint32_t insn) const {
  std::vector<uint32_t> path = {insn};
  const Path* from = &start;
  const HistoryNode* node = from->history;
  int64_t i = insn;
  while (path.size() < kMaxPath) {
    if (i == from->first_insn && (node == nullptr || (node->older == nullptr && node->insn == i))) {
      // The checkpoint stands before instruction i; its own path leads there.
      if (from->parent == nullptr) break;
      from = &from->parent->path;
      node = from->history;
      i = from->last_insn;
    } else if (node != nullptr && node->insn == i) {
      i = node->prev;
      node = node->older;
    } else {
      --i;
      if (i > 0 && prog_.insns[i].code == 0) --i;  // the second half of a 64-bit immediate
    }
    if (i < 0 || i >= static_cast<int64_t>(prog_.insns.size())) break;
    path.push_back(static_cast<uint32_t>(i));
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<PathStep> Search::CollectPath(const State& state, const Path& taken, uint32_t insn, int fault_reg) {
  const int sub = state.frames[0]->subprog;
  const uint32_t leak = state.cur == 0 && !state.refs.empty() ? state.refs.front().insn : ~0u;
  const std::vector<uint32_t> path = WalkBack(taken, insn);
  if (path.front() != cfg_.subs[sub].start) return {};

  // Which steps matter, going back: calls, returns, branches, and what became the register at fault.
  std::vector<std::pair<size_t, PathStep>> steps;
  std::vector<int> registers;  // the register to show after each step, -1: none
  int depth = 0, wanted = fault_reg;
  for (size_t k = path.size() - 1; k-- > 0 && steps.size() < kMaxSteps;) {
    const Insn& in = prog_.insns[path[k]];
    PathStep step;
    step.insn = path[k];
    const bool here = depth == 0 && wanted >= 0 && wanted < kRegFp;
    if (IsConditional(in)) {
      const bool tests_it = here && (in.dst == wanted || (UsesX(in) && in.src == wanted));
      step.kind = tests_it ? PathStep::Kind::kCheck : PathStep::Kind::kBranch;
      step.taken = path[k + 1] != path[k] + 1;
      steps.emplace_back(k, step);
      registers.push_back(tests_it ? wanted : int{in.dst});
    } else if (IsJmpClass(in) && JmpOp(in) == kCall && path[k + 1] != path[k] + 1) {
      step.kind = PathStep::Kind::kCall;
      steps.emplace_back(k, step);
      registers.push_back(-1);
      --depth;
      // Arguments came from the caller's registers of the same number.
      if (depth == -1) depth = wanted >= 1 && wanted <= 5 ? 0 : -1;
    } else if (in.code == kCodeExit) {
      step.kind = PathStep::Kind::kReturn;
      steps.emplace_back(k, step);
      registers.push_back(-1);
      ++depth;
    } else if (here && Defines(in) == wanted) {
      step.kind = PathStep::Kind::kDefine;
      steps.emplace_back(k, step);
      registers.push_back(wanted);
      wanted = ComesFrom(in);
    } else if (path[k] == leak) {
      step.kind = PathStep::Kind::kAcquire;
      steps.emplace_back(k, step);
      registers.push_back(kRegR0);
    }
  }
  std::reverse(steps.begin(), steps.end());
  std::reverse(registers.begin(), registers.end());

  // Once more from the entry, for the values.
  State* s = pool_.NewEntry(sub, ctx_.liveness->Root(sub));
  if (!SetUpEntry(sub, *s)) {
    pool_.Free(s);
    return {};
  }
  size_t next = 0;
  for (size_t k = 0; k + 1 < path.size() && next < steps.size(); ++k) {
    StepResult r;
    transfer_.Step(*s, path[k], r);
    if (r.kind != StepResult::Kind::kContinue) {
      if (r.branch != nullptr) pool_.Free(r.branch);
      break;
    }
    if (r.turn != nullptr) {
      // The search widened this state, with what it knew then: values from here on could be others.
      if (r.branch != nullptr) pool_.Free(r.branch);
      break;
    }
    if (r.branch != nullptr) {
      if (path[k + 1] == r.branch_insn && path[k + 1] != r.next) std::swap(s, r.branch);
      pool_.Free(r.branch);
    }
    if (steps[next].first == k) {
      const int shown = registers[next];
      if (shown >= 0 && s->regs()[shown].type != RegType::kNotInit) {
        std::string& note = steps[next].second.note;
        note = absl::StrCat("R", shown, "=");
        AppendReg(note, s->regs()[shown], s->frame().frameno, ctx_.object->maps);
      }
      ++next;
    }
  }
  pool_.Free(s);
  std::vector<PathStep> out;
  out.reserve(steps.size());
  for (auto& [k, step] : steps) out.push_back(std::move(step));
  return out;
}

}  // namespace bpfsieve
