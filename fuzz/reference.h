// The naive explorer: depth-first over every path, one abstract step after the other. It records no states, prunes
// nothing, tracks no precision and knows no heuristics, and that is its worth: what it says of a program needs none of
// the arguments on which a search rests, so that a search which cuts off a path too early disagrees with it.
// It is as slow as that sounds; its budget is in steps.
//
// A difference is not always the search's fault: where a step makes less of a state that says more, a state that covers
// another may pass where the other one on its own does not. In the kernel, storing a zero into a spilled one at a known
// place forgets what storing it at an unknown place within it does not; and a load of part of a spilled pointer is
// refused at a known place, and gives a number at an unknown one. And bytes of stack that nothing is known of cover a
// pointer, which can do less than a number (Context::strict_stack). A function that leaves nothing in R0 covers one that
// returns its stack's address, which may not be returned. And where a branch leaves nothing of a value, the kernel forgets
// its ranges and goes on, into a path that no execution takes; a state that says more may not get there. Such a program is
// safe, and the kernel accepts it too.
#ifndef BPFSIEVE_FUZZ_REFERENCE_H_
#define BPFSIEVE_FUZZ_REFERENCE_H_

#include <cstdint>
#include <string>

#include "engine/report/finding.h"
#include "engine/verify/passes.h"

namespace bpfsieve {

struct NaiveOptions {
  uint64_t max_steps = 20'000;  // abstract steps, over all paths
};

struct NaiveResult {
  // False: the steps ran out, which they always do on a loop that does not end, or a step needed something that is not
  // modelled. There is then no verdict.
  bool decided = false;
  Verdict verdict = Verdict::kAccept;  // kAccept or kReject
  std::string message;                 // kReject: of the rule that was found broken first; else why it is undecided
  uint32_t insn = 0;                   // kReject: where
  uint64_t steps = 0;
  bool impossible = false;  // kReject: only on paths that no execution takes
};

// Explores the program of these passes, and the global functions that it calls, each by its prototype. Uses nothing but
// its arguments; safe from any thread.
NaiveResult ExploreNaively(const Passes& passes, const NaiveOptions& options);

// Whether the naive explorer may well reject what a search accepts, by all but the first and the third of the ways above.
bool RejectsTheKnownOnly(const NaiveResult& result);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_REFERENCE_H_
