// BTF for objects written as text, as a compiler would have made it: without a description of their values the kernel
// does not create maps that hold fields which it manages, and without function information it verifies neither
// callbacks nor global functions.
#ifndef BPFSIEVE_ENGINE_PROGRAM_ASM_BTF_H_
#define BPFSIEVE_ENGINE_PROGRAM_ASM_BTF_H_

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/program/program.h"

namespace bpfsieve {

// At most five of these, with commas in between:
//   u64          a number
//   ctx          the context: a pointer to void with the declaration tag "arg:ctx"
//   ctx:xdp_md   the context by its name: a pointer to a structure of that name
//   tagged:xdp_md  likewise, with that tag, too
//   mem:16       null, or a pointer to a structure of 16 bytes; nonnull:16 is tagged not to be null
//   dynptr       a dynptr
//   trusted:task_struct  an object of the kernel's; nullable:task_struct may be null
//   arena        an address in an arena
bool ValidPrototype(std::string_view prototype);

// Sets `object`'s BTF, where there is anything to describe. It begins with `text_structs`; and in
//  - each map with special fields, or of a local storage type, the types of key and value: an integer or bytes, and a
//    structure with each field in its place. A map with a list or tree that holds none of the structures is left out.
//  - each subprogram of program i, if `with_functions[i]`, the function: it returns int, and takes what its prototype says,
//    or, without one, 64-bit numbers in as many registers as it reads, in program order, before it writes them.
// `with_functions` is as long as `object`'s programs. Fails only without memory.
absl::Status DescribeByBtf(const std::vector<bool>& with_functions, Object* object);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_ASM_BTF_H_
