// References in a program's instructions that nothing in its file explains.
#ifndef BPFSIEVE_ENGINE_PROGRAM_RAW_REFERENCES_H_
#define BPFSIEVE_ENGINE_PROGRAM_RAW_REFERENCES_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/isa/insn.h"

namespace bpfsieve {

// In a file a map is a number that means nothing here, and must not be taken for an index of ours: every map reference
// outside of `relocated` (instruction numbers, ascending) becomes one to kNoSuchMap. Returns what the instructions need
// and the engine does not model: kernel functions and variables by their number in some kernel's BTF; empty: nothing.
std::string DisownRawReferences(std::span<Insn> insns, std::span<const uint32_t> relocated);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_RAW_REFERENCES_H_
