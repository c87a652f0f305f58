// Figures of the machine's.
#ifndef BPFSIEVE_FUZZ_MACHINE_LIMITS_H_
#define BPFSIEVE_FUZZ_MACHINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace bpfsieve {

inline constexpr int kMaxDepth = 16;              // of calls; a verified program needs 8
inline constexpr size_t kMaxRegions = 4096;       // a run that makes more is cut off
inline constexpr uint32_t kContextSize = 4096;    // what lies where in it, the tables say
inline constexpr uint32_t kAnything = 1u << 30;   // bytes of what is longer than any program looks
inline constexpr int kStackSize = 512;
inline constexpr uint64_t kMaxLoops = uint64_t{8} << 20;  // of bpf_loop and of iterators over numbers; more is an error
inline constexpr uint64_t kDynptrBytes = 16;
inline constexpr uint64_t kMapBytes = 256;        // of what the kernel keeps of a map, as far as programs may look at it

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_MACHINE_LIMITS_H_
