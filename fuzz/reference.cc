#include "fuzz/reference.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/program/cfg.h"
#include "engine/program/liveness.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// All that names states and steps is in this class.
class Walker {
 public:
  Walker(const Context& context, uint64_t budget, NaiveResult* result)
      : ctx_(context),
        budget_(budget),
        result_(*result),
        depths_(context.cfg->subs.size(), 0),
        transfer_(context, pool_),
        called_(context.cfg->subs.size(), false),
        used_(context.program->insns.size(), RegType::kNotInit) {}

  ~Walker() {
    for (auto& [state, insn] : pending_) pool_.Free(state);
  }

  // Every function that is verified on its own; false: the result is settled.
  bool Run() {
    std::vector<bool> done(called_.size(), false);
    called_[0] = true;
    for (size_t s = 0; s < called_.size();) {
      if (!called_[s] || done[s]) {
        ++s;
        continue;
      }
      done[s] = true;
      if (!Function(static_cast<int>(s))) return false;
      s = 0;  // it may have called one in front of it
    }
    return true;
  }
  const StackDepths& depths() const { return depths_; }

 private:
  bool Undecided(std::string why) {
    result_.message = std::move(why);
    return false;
  }
  bool Reject(uint32_t insn, std::string message) {
    result_.decided = true;
    result_.verdict = Verdict::kReject;
    result_.insn = insn;
    result_.message = std::move(message);
    return false;
  }

  bool Function(int sub) {
    const uint32_t start = ctx_.cfg->subs[sub].start;
    const FuncArgs& prototype = ctx_.func_args[sub];
    if (sub != 0 && !prototype.unsupported.empty()) return Undecided(prototype.unsupported);
    if (sub != 0 && prototype.error) return Reject(prototype.error->insn, prototype.error->message);

    State* entry = pool_.NewEntry(sub, ctx_.liveness->Root(sub));
    pending_.emplace_back(entry, start);
    if (sub == 0) {
      entry->regs()[1].MakePointer(RegType::kCtx);
    } else {
      SetArguments(prototype, *entry);
    }
    while (!pending_.empty()) {
      auto [state, insn] = pending_.back();
      pending_.pop_back();
      const bool ok = Path(*state, insn);
      pool_.Free(state);
      if (!ok) return false;
    }
    return true;
  }

  bool Path(State& state, uint32_t insn) {
    for (;;) {
      if (result_.steps == budget_) return Undecided("too many steps");
      ++result_.steps;
      StepResult r;
      transfer_.Step(state, insn, r);
      for (const StackUse& use : transfer_.grown) depths_[use.subprog] = std::max(depths_[use.subprog], use.bytes);
      transfer_.grown.clear();
      if (r.branch != nullptr) pending_.emplace_back(r.branch, r.branch_insn);
      if (r.kind == StepResult::Kind::kUnsupported) return Undecided(r.message);
      if (r.kind == StepResult::Kind::kFinding) return Reject(insn, r.message);
      if (r.used_pointer != RegType::kNotInit) {
        if (used_[insn] != RegType::kNotInit && used_[insn] != r.used_pointer) {
          return Reject(insn, "same insn cannot be used with different pointers");
        }
        used_[insn] = r.used_pointer;
      }
      if (r.called_global >= 0) called_[r.called_global] = true;
      if (r.kind == StepResult::Kind::kPathEnd) return true;
      insn = r.next;
    }
  }

  const Context& ctx_;
  const uint64_t budget_;
  NaiveResult& result_;
  StateDepot depot_;
  StatePool pool_{depot_};
  StackDepths depths_;
  Transfer transfer_;
  std::vector<bool> called_;    // per subprogram: to be verified on its own
  std::vector<RegType> used_;   // per instruction: the pointer type that it was used with
  std::vector<std::pair<State*, uint32_t>> pending_;
};

}  // namespace

NaiveResult ExploreNaively(const Passes& passes, const NaiveOptions& options) {
  NaiveResult result;
  // The passes ahead of the search are not what is put to the test, and are the same.
  if (passes.settled()) {
    result.decided = passes.settled()->verdict == Verdict::kReject;
    result.verdict = passes.settled()->verdict;
    result.message = passes.settled()->finding.message;
    result.insn = passes.settled()->finding.insn;
    return result;
  }
  const Context& context = passes.context();
  if (context.cfg->exception_sub >= 0) {
    result.message = "exception callback";
    return result;
  }
  Walker walker(context, options.max_steps, &result);
  if (!walker.Run()) return result;
  result.decided = true;
  if (std::optional<Finding> f = CheckStackDepth(*context.program, *context.cfg, walker.depths(), {}, nullptr)) {
    result.verdict = Verdict::kReject;
    result.message = f->message;
    result.insn = f->insn;
  }
  return result;
}

bool RejectsTheKnownOnly(const NaiveResult& result) {
  return result.verdict == Verdict::kReject && (result.message == "invalid size of register fill" ||
                                                result.message == "cannot return stack pointer to the caller");
}

}  // namespace bpfsieve
