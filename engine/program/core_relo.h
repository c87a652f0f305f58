// CO-RE relocations ("compile once, run everywhere"): a program names a field, type or enumerator of its own copy of
// a kernel's types, and the loader puts in what the kernel at hand has. Rules as in libbpf 1.6.
#ifndef BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_
#define BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_

#include <cstdint>

struct btf;

namespace bpfsieve {

// Whether two types are compatible in shape: same kinds all the way down pointers, arrays and prototypes, without
// regard to names, modifiers and the members of structures. The BTF has been checked (btf_view.h).
bool CoreTypesCompatible(const struct btf* local, uint32_t local_id, const struct btf* target, uint32_t target_id);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_
