// BTF made up for objects that have none (assembly text), where the kernel insists on it: a map whose values hold
// fields that it manages cannot be created without a description of the value, and callbacks and global functions
// cannot be verified without function information.
#ifndef BPFSIEVE_CORPUS_ORACLE_SYNTH_BTF_H_
#define BPFSIEVE_CORPUS_ORACLE_SYNTH_BTF_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/program/program.h"

namespace bpfsieve {

// Raw BTF, ready for BPF_BTF_LOAD, and the numbers of the types in it.
struct SynthBtf {
  struct Func {
    uint32_t insn = 0;     // where it starts
    uint32_t type_id = 0;  // BTF_KIND_FUNC
  };
  std::vector<uint8_t> data;
  uint32_t key_type_id = 0;    // of a map
  uint32_t value_type_id = 0;  // of a map
  std::vector<Func> funcs;     // of a program: one per subprogram, by start
};

// An integer or bytes of the key's size, and a structure of the value's size with each special field in its place.
// InvalidArgument: a field lies outside of the value, overlaps its neighbour, or is a pointer to nothing named.
// Unimplemented: list and tree roots, which need the type of their elements.
absl::StatusOr<SynthBtf> SynthesizeMapBtf(const MapDef& map);

// Whether the program's source asked for function information, by naming a subprogram.
bool NamesSubprograms(const Program& program);
// A prototype for each subprogram: it returns int, and takes as many 64-bit numbers as it reads argument registers
// (from the first to the last that is read before it is written, in program order).
absl::StatusOr<SynthBtf> SynthesizeProgramBtf(const Program& program);

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_SYNTH_BTF_H_
