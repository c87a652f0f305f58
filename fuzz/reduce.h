// Makes a program smaller while something about it stays true.
#ifndef BPFSIEVE_FUZZ_REDUCE_H_
#define BPFSIEVE_FUZZ_REDUCE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/program/program.h"

namespace bpfsieve {

// Drops instructions of the first program, in ever smaller runs, and simplifies what is left (conditional jumps to plain
// ones or none, immediates towards zero), as long as `holds` says yes to the result. `holds` is called at most `tries` times. Jumps over what was dropped are adjusted; one to an instruction that was
// dropped goes to the next that is there. Deterministic where `holds` is.
std::shared_ptr<const Object> Shrink(const Object& object,
                                     const std::function<bool(const std::shared_ptr<const Object>&)>& holds,
                                     uint64_t tries = 3000);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_REDUCE_H_
