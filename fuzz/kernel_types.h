// Types of a small kernel of our own, for generated programs: the structures and functions that they name.
#ifndef BPFSIEVE_FUZZ_KERNEL_TYPES_H_
#define BPFSIEVE_FUZZ_KERNEL_TYPES_H_

#include <memory>

#include "engine/program/btf_view.h"

namespace bpfsieve {

// Made once, and shared; null only without memory. Thread-safe.
std::shared_ptr<const KernelBtf> SmallKernel();

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_KERNEL_TYPES_H_
