// One program against every oracle there is for it.
//
//   safety       the machine runs an accepted program into a fault
//   containment  what it holds lies outside of every state of the search, or an instruction runs that was never looked at
//   agreement    the naive explorer, which knows no pruning and no precision, says otherwise
//   parallel     the report differs when helpers work ahead of the search
//
// The verifier is put to the test, not the program: a rejection is compared with the naive explorer's, no more.
#ifndef BPFSIEVE_FUZZ_CHECK_H_
#define BPFSIEVE_FUZZ_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "engine/program/program.h"
#include "engine/spec/spec.h"
#include "fuzz/containment.h"
#include "fuzz/machine.h"

namespace bpfsieve {

struct CheckOptions {
  int runs = 4;                      // on the machine, of an accepted program
  uint64_t max_run = 4000;           // instructions of one
  uint64_t max_processed = 20'000;   // of a search
  uint64_t naive_steps = 2000;       // 0: without the naive explorer
  uint64_t naive_ratio = 0;          // its steps, at most, by the search's instructions (and 64 more); 0: no such bound
  bool parallel = false;             // also with a helper, shaken
  Capabilities caps{};               // of the program's loader
};

struct Violation {
  std::string oracle;  // as above
  std::string what;
  uint32_t insn = 0;
  uint64_t step = 0;      // of the machine's run, where there is one
  uint64_t run_seed = 0;  // the same run's
};

struct CheckCounts {
  uint64_t programs = 0, accepted = 0, rejected = 0, undecided = 0;  // undecided: limits and what is not modelled
  uint64_t insns = 0;      // of all programs
  uint64_t runs = 0, executed = 0, cut_short = 0, not_modelled = 0;
  uint64_t contained = 0;  // accepted programs whose states were compared with
  uint64_t naive = 0;      // programs that the naive explorer decided
};

// Keeps its memory from one program to the next. Not thread-safe.
class Checker {
 public:
  explicit Checker(const CheckOptions& options) : options_(options) {}
  // A pure function of the program, the seed and the options; counts what it did.
  std::optional<Violation> Check(std::shared_ptr<const Object> object, int program, uint64_t seed);
  const CheckCounts& counts() const { return counts_; }
  CheckOptions& options() { return options_; }

 private:
  CheckOptions options_;
  CheckCounts counts_;
  VisitLog visits_;
  StateLog states_;
  Machine machine_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_CHECK_H_
