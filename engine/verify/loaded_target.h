// Programs that other programs attach to: what the kernel knows of one once it is loaded, and what it lets attach to it.
#ifndef BPFSIEVE_ENGINE_VERIFY_LOADED_TARGET_H_
#define BPFSIEVE_ENGINE_VERIFY_LOADED_TARGET_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bpfsieve/verify.h"
#include "engine/program/cfg.h"
#include "engine/program/program.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

struct LoadedTarget {
  const Object* object = nullptr;
  const Program* program = nullptr;
  std::string function;
  uint32_t func_id = 0;         // in Object::btf
  bool there = false;           // the program has the function, and some path gets there: else the kernel has removed it
  bool global = false;
  bool exception_callback = false;
  bool changes_packet = false;
  bool might_sleep = false;
  // Whether calls go with the function's prototype, as far as the kernel looks at it.
  enum class Calls : uint8_t { kAsDeclared, kOtherwise, kUnknown } calls = Calls::kAsDeclared;
};

// Verifies the program that has `function`. InvalidArgument: there is none, or it is not accepted; Unimplemented: what it
// would take is not modelled.
absl::StatusOr<LoadedTarget> LoadTarget(const Target& target, const std::string& function);

// What the kernel checks of a program that is attached to it (bpf_check_attach_target); `cfg` is that program's own.
// FailedPrecondition: the rule that it breaks, in the kernel's words; Unimplemented: not modelled.
absl::Status CheckAttached(const Object& object, const Program& program, const Cfg& cfg, const LoadedTarget& target);

// What a tracing program is given there.
AttachTarget TracedFunction(const LoadedTarget& target);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_LOADED_TARGET_H_
