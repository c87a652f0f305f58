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

bool Compares(const Insn& i) {
  return IsJmpClass(i) && JmpOp(i) != kJa && JmpOp(i) != kCall && JmpOp(i) != kExit && JmpOp(i) != kJcond;
}

bool Wider(const Scalar& after, const Scalar& before) {
  return after.umin < before.umin || after.umax > before.umax || after.smin < before.smin || after.smax > before.smax;
}

// Whether a comparison of numbers leaves no value, from what the registers are before and after it: a range is wider, as it
// was forgotten; or what is left says that the comparison had to turn out the other way.
bool NothingLeft(const Insn& i, bool taken, const Reg& dst, const Reg& src, const State& after) {
  const bool x = (i.code & kSrcX) != 0;
  const Reg& to = after.regs()[i.dst];
  const Reg& with = after.regs()[i.src];
  if (!dst.IsScalar() || (x && !src.IsScalar())) return false;
  if (Wider(to.s, dst.s) || (x && Wider(with.s, src.s))) return true;
  const Scalar other = x ? with.s : Scalar::Const(static_cast<uint64_t>(int64_t{i.imm}));
  return BranchTaken(JmpOp(i), Class(i) == kClassJmp32, to.s, other) == (taken ? 0 : 1);
}

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
    for (Pending& p : pending_) pool_.Free(p.state);
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
  struct Pending {
    State* state;
    uint32_t insn;
    bool impossible;
  };

  bool Undecided(std::string why) {
    result_.decided = false;
    result_.message = std::move(why);
    return false;
  }
  bool Reject(uint32_t insn, std::string message, bool impossible = false) {
    result_.decided = true;
    result_.impossible = impossible;
    result_.verdict = Verdict::kReject;
    result_.insn = insn;
    result_.message = std::move(message);
    return false;
  }

  bool Function(int sub) {
    const uint32_t start = ctx_.cfg->subs[sub].start;
    const FuncArgs& prototype = ctx_.subs[sub].args;
    const bool by_prototype = sub != 0 || ctx_.extension;
    if (by_prototype && !prototype.unsupported.empty()) return Undecided(prototype.unsupported);
    if (by_prototype && prototype.error) return Reject(prototype.error->insn, prototype.error->message);

    State* entry = pool_.NewEntry(sub, ctx_.liveness->Root(sub));
    pending_.push_back({entry, start, false});
    if (!by_prototype) {
      entry->regs()[1].MakePointer(RegType::kCtx);
    } else {
      SetArguments(prototype, *entry);
    }
    while (!pending_.empty()) {
      const Pending next = pending_.back();
      pending_.pop_back();
      const bool ok = Path(*next.state, next.insn, next.impossible);
      pool_.Free(next.state);
      if (!ok) return false;
    }
    return true;
  }

  bool Path(State& state, uint32_t insn, bool impossible) {
    Reg dst, src;  // of a comparison, as they were before it
    for (;;) {
      if (result_.steps == budget_) return Undecided("too many steps");
      ++result_.steps;
      const Insn& i = ctx_.program->insns[insn];
      const bool compares = Compares(i);
      if (compares) {
        dst = state.regs()[i.dst];
        src = state.regs()[i.src];
      }
      StepResult r;
      transfer_.Step(state, insn, r);
      for (const StackUse& use : transfer_.grown) depths_[use.subprog] = std::max(depths_[use.subprog], use.bytes);
      transfer_.grown.clear();
      if (r.branch != nullptr) {
        pending_.push_back({r.branch, r.branch_insn, impossible || (compares && NothingLeft(i, true, dst, src, *r.branch))});
        impossible = impossible || (compares && NothingLeft(i, false, dst, src, state));
      }
      if (r.kind == StepResult::Kind::kUnsupported) return Undecided(r.message);
      if (r.kind == StepResult::Kind::kFinding) {
        Reject(insn, r.message, impossible);
        return impossible;  // there may be more to say against another path
      }
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
  std::vector<Pending> pending_;
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
  if (result.impossible) return result;
  result.decided = true;
  if (std::optional<Finding> f = CheckStackDepth(*context.program, *context.cfg, walker.depths(), {}, nullptr)) {
    result.verdict = Verdict::kReject;
    result.message = f->message;
    result.insn = f->insn;
  }
  return result;
}

bool RejectsTheKnownOnly(const NaiveResult& result) {
  return result.verdict == Verdict::kReject &&
         (result.impossible || result.message == "invalid size of register fill" ||
          result.message == "cannot return stack pointer to the caller");
}

}  // namespace bpfsieve
