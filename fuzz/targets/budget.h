// What one input may cost and choose, and what to do when it shows something wrong.
#ifndef BPFSIEVE_FUZZ_TARGETS_BUDGET_H_
#define BPFSIEVE_FUZZ_TARGETS_BUDGET_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bpfsieve/verify.h"

namespace bpfsieve {

inline VerifyOptions SmallBudget() {
  VerifyOptions o;
  o.max_processed = 2000;
  o.max_pending = 256;
  o.memory_limit = uint64_t{32} << 20;
  return o;
}

// What an input chooses of how its programs are verified, in ten bits: 0-1 the log, 2 the explanation, 3-4 flags of the program,
// 5-6 what its loader lacks, 7 budgets that run out, 8 an interrupt; 9 is for the target (no types of a kernel).
constexpr unsigned kNoKernelTypes = 1u << 9;
inline VerifyOptions ChosenOptions(unsigned choices) {
  static const std::atomic<bool> interrupted{true};
  VerifyOptions o = SmallBudget();
  o.log_level = std::min(static_cast<int>(choices & 3u), 2);
  o.log_limit = (choices & 3u) == 3 ? 512 : 1 << 20;
  o.explain = (choices & 4u) != 0;
  o.test_state_freq = (choices & 8u) != 0;
  o.strict_alignment = (choices & 16u) != 0;
  constexpr Lacking kLacking[] = {Lacking::kNothing, Lacking::kPerfmon, Lacking::kBpf, Lacking::kNothing};
  o.without = kLacking[choices >> 5 & 3u];
  if ((choices & 128u) != 0) {
    o.max_processed = 100;
    o.max_pending = 3;
    o.memory_limit = uint64_t{8} << 10;
  }
  if ((choices & 256u) != 0) o.interrupt = &interrupted;
  return o;
}

// Ends the process, so that the fuzzer keeps the input.
[[noreturn]] inline void Finding(const std::string& what) {
  std::fprintf(stderr, "FINDING: %s\n", what.c_str());
  std::abort();
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_BUDGET_H_
