// Verification without the report: the passes of verify.cc, for what has to look inside.
#ifndef BPFSIEVE_ENGINE_VERIFY_DECIDE_H_
#define BPFSIEVE_ENGINE_VERIFY_DECIDE_H_

#include "bpfsieve/verify.h"
#include "engine/explore/explore.h"
#include "engine/program/program.h"

namespace bpfsieve {

// What oracles ask of a search beyond its options; see SearchLimits.
struct DecideHooks {
  StateObserver* observer = nullptr;
  bool all_precise = false;
  bool strict_stack = false;  // see Context
};

// The verdict on a program of the object, as Verify comes to it. Safe from any thread.
SearchResult Decide(const Object& object, const Program& program, const VerifyOptions& options,
                    const DecideHooks& hooks = {});

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_DECIDE_H_
