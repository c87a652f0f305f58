// Mutations of programs as bytes, one byte for the type and eight for each instruction, that keep them programs: instructions
// come and go as a whole, jumps go where they went or elsewhere within their function, fields hold what they may. All but a few:
// now and then any change will do.
#ifndef BPFSIEVE_FUZZ_TARGETS_MUTATE_INSNS_H_
#define BPFSIEVE_FUZZ_TARGETS_MUTATE_INSNS_H_

#include <cstddef>
#include <cstdint>

namespace bpfsieve {

// As LLVMFuzzerCustomMutator and LLVMFuzzerCustomCrossOver: pure functions of their arguments that return the new size, at
// most `max_size`.
size_t MutateInsns(uint8_t* data, size_t size, size_t max_size, unsigned seed);
size_t CrossInsns(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out, size_t max_size,
                  unsigned seed);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_MUTATE_INSNS_H_
