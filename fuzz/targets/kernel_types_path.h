// Types of a kernel for the targets that load objects: those of the corpus, within the program, as a fuzzer has no other files.
#ifndef BPFSIEVE_FUZZ_TARGETS_KERNEL_TYPES_PATH_H_
#define BPFSIEVE_FUZZ_TARGETS_KERNEL_TYPES_PATH_H_

#include <string>

namespace bpfsieve {

// A path that they can be read from in this process (for LoadOptions::kernel_btf); "none" where the system does not let us.
const std::string& KernelTypesPath();

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_KERNEL_TYPES_PATH_H_
