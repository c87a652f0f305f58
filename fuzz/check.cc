#include "fuzz/check.h"

#include <algorithm>
#include <memory>

#include <oneapi/tbb/task_arena.h>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "engine/verify/passes.h"
#include "fuzz/reference.h"

namespace bpfsieve {
namespace {

// What a search found, in one line, as it must not depend on who helped.
std::string Summary(const SearchResult& r) {
  return absl::StrCat(std::string(VerdictName(r.verdict)), " ", r.finding.message, " at ", r.finding.insn, ", ",
                      r.stats.processed, " instructions, ", r.stats.total_states, " states, at most ",
                      r.stats.peak_states, ", ", r.stats.max_states_per_insn, " at one instruction");
}

class Both final : public StateObserver {
 public:
  Both(VisitLog& visits, StateLog& states) : visits_(visits), states_(states) {}
  void At(const Context& context, uint32_t insn, const State& state) override {
    visits_.At(context, insn, state);
    states_.At(context, insn, state);
  }
  void CoveredImprecisely() override { states_.CoveredImprecisely(); }

 private:
  VisitLog& visits_;
  StateLog& states_;
};

}  // namespace

std::optional<Violation> Checker::Check(std::shared_ptr<const Object> object, int index, uint64_t seed) {
  const Program& program = object->programs[static_cast<size_t>(index)];
  ++counts_.programs;
  counts_.insns += program.insns.size();
  VerifyOptions verify;
  // Where there are measures against speculation, loops that the search does not get through are many.
  verify.max_processed = options_.caps.perfmon ? options_.max_processed : std::min<uint64_t>(options_.max_processed, 4000);
  verify.test_state_freq = seed % 2 == 0;  // more states recorded are more chances to cut off too much
  visits_.Clear(program.insns.size());
  states_.Clear(program.insns.size());
  Both both(visits_, states_);
  const Passes passes(*object, program, options_.caps);
  const SearchResult result = passes.Search(verify, {.observer = &both});
  const bool accepted = result.verdict == Verdict::kAccept;

  if (options_.parallel) {
    VerifyOptions helped = verify;
    helped.threads = 2;
    helped.threads_from = 0;
    helped.shake = static_cast<uint32_t>(seed) | 1;
    static oneapi::tbb::task_arena arena(2);
    const SearchResult other = arena.execute([&] { return passes.Search(helped); });
    if (Summary(other) != Summary(result)) {
      return Violation{"parallel", absl::StrCat("alone: ", Summary(result), "; helped: ", Summary(other)),
                       result.finding.insn, 0, 0};
    }
  }
  if (!accepted && result.verdict != Verdict::kReject) {
    ++counts_.undecided;
    return std::nullopt;
  }
  ++(accepted ? counts_.accepted : counts_.rejected);
  if (options_.naive_steps > 0 && options_.caps.perfmon) {  // it knows nothing of speculation
    uint64_t steps = options_.naive_steps;
    if (options_.naive_ratio > 0) steps = std::min(steps, 64 + options_.naive_ratio * result.stats.processed);
    const NaiveResult naive = ExploreNaively(passes, {.max_steps = steps});
    counts_.naive += naive.decided;
    const auto allowed = [&] {
      if (!accepted) return false;
      if (RejectsTheKnownOnly(naive)) return true;
      return passes.Search(verify, {.strict_stack = true}).verdict == Verdict::kReject;
    };
    if (naive.decided && naive.verdict != result.verdict && !allowed()) {
      return Violation{"agreement",
                       absl::StrCat("search: ", Summary(result), "; naive: ", std::string(VerdictName(naive.verdict)),
                                    " ", naive.message, " at ", naive.insn),
                       accepted ? naive.insn : result.finding.insn, 0, 0};
    }
  }
  if (!accepted) return std::nullopt;

  bool compare = true;
  if (states_.imprecise()) {
    states_.Clear(program.insns.size());
    compare = passes.Search(verify, {.observer = &states_, .all_precise = true}).verdict == Verdict::kAccept;
  }
  compare &= !states_.full();
  counts_.contained += compare;
  machine_.Load(*object, index);
  Containment containment(visits_, compare ? &states_ : nullptr, program.insns.size());
  for (int run = 0; run < options_.runs; ++run) {
    const uint64_t run_seed = seed * 64 + static_cast<uint64_t>(run);
    const Outcome out = machine_.Run(run_seed, options_.max_run, &containment);
    ++counts_.runs;
    counts_.executed += out.steps;
    switch (out.kind) {
      case Outcome::Kind::kExit: break;
      case Outcome::Kind::kTooLong: ++counts_.cut_short; break;
      case Outcome::Kind::kNotModelled: ++counts_.not_modelled; break;
      case Outcome::Kind::kFault: return Violation{"safety", out.what, out.insn, out.steps, run_seed};
      case Outcome::Kind::kStopped: return Violation{"containment", containment.violation(), out.insn, out.steps, run_seed};
    }
  }
  return std::nullopt;
}

}  // namespace bpfsieve
