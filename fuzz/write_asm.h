// Objects as assembly text (.bpfasm, engine/program/asm_object.h).
#ifndef BPFSIEVE_FUZZ_WRITE_ASM_H_
#define BPFSIEVE_FUZZ_WRITE_ASM_H_

#include <string>
#include <string_view>

#include "engine/program/program.h"

namespace bpfsieve {

// Text from which the assembly loader makes the same maps, program types, instructions and functions. For objects as
// Generate makes them: one whose programs use externs or unprintable names, or whose maps are in maps, loses those.
// `note` goes on top, as a comment of one line. Pure, and safe from any thread.
std::string AsmFileText(const Object& object, std::string_view note);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_WRITE_ASM_H_
