// Functions of programs that other programs attach to.
#ifndef BPFSIEVE_ENGINE_PROGRAM_TARGET_H_
#define BPFSIEVE_ENGINE_PROGRAM_TARGET_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/program/program.h"

namespace bpfsieve {

struct TargetFunction {
  int program = -1;      // in Object::programs
  uint32_t func_id = 0;  // in Object::btf
  int subprog = -1;      // in Program::subprogs; -1: the program does not have it
};

// The function of that name, in the program of that name; where none is named, in the program that it is the main function
// of, or else in the only one that has it. As a loader finds it: by the object's types.
absl::StatusOr<TargetFunction> FindTargetFunction(const Object& object, const std::string& program,
                                                  const std::string& function);

// Whether the program is attached to a function of another program, where there is one with the function: extensions always,
// tracing programs where their function is there.
bool AttachesToProgram(const Program& program, const Object& target, const std::string& function);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_TARGET_H_
