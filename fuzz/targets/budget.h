// What one input may cost, and what to do when it shows something wrong.
#ifndef BPFSIEVE_FUZZ_TARGETS_BUDGET_H_
#define BPFSIEVE_FUZZ_TARGETS_BUDGET_H_

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

// Ends the process, so that the fuzzer keeps the input.
[[noreturn]] inline void Finding(const std::string& what) {
  std::fprintf(stderr, "FINDING: %s\n", what.c_str());
  std::abort();
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_BUDGET_H_
