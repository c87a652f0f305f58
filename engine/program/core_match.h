// Comparing a program's types with a kernel's, by the rules of CO-RE ("compile once, run everywhere") as libbpf 1.6
// has them. Both sides' BTF has been checked (btf_view.h). Every walk has a budget of steps, because hostile types
// nest into one another; a spent budget counts as an error.
#ifndef BPFSIEVE_ENGINE_PROGRAM_CORE_MATCH_H_
#define BPFSIEVE_ENGINE_PROGRAM_CORE_MATCH_H_

#include <cstdint>

#include "engine/program/btf_view.h"

namespace bpfsieve {

enum class Match : uint8_t { kNo, kYes, kError };

struct TypePair {
  const struct btf* local;
  const struct btf* target;
  int64_t* steps;  // what is left of the budget; all walks on this pair take from it
};

// The same kind, where the two kinds of enumerations count as one.
bool SameCoreKind(const btf_type* a, const btf_type* b);

// Whether two types are compatible in shape: same kinds all the way down pointers, arrays and prototypes, without
// regard to names, modifiers and the members of structures.
Match TypesCompatible(const TypePair& pair, uint32_t local_id, uint32_t target_id);

// Whether the target has all that the local type has: members, enumerators, sizes of integers, by name.
Match TypesMatch(const TypePair& pair, uint32_t local_id, uint32_t target_id);

// Whether a field of one type can stand for a field of the other.
Match FieldsCompatible(const TypePair& pair, uint32_t local_id, uint32_t target_id);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_CORE_MATCH_H_
