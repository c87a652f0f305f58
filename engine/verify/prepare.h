// What verification needs to know of a program before its states are explored.
#ifndef BPFSIEVE_ENGINE_VERIFY_PREPARE_H_
#define BPFSIEVE_ENGINE_VERIFY_PREPARE_H_

#include <optional>
#include <string>

#include "engine/isa/decode.h"
#include "engine/program/cfg.h"
#include "engine/program/program.h"
#include "engine/report/finding.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

Finding FromEncoding(const EncodingError& error);
// Map references are within the object, and such as the kernel lets the program type use
// (check_and_resolve_insns, check_map_prog_compatibility).
std::optional<Finding> CheckReferences(const Object& object, const Program& program, const Cfg& cfg);
// Subprograms that packet loads or tail calls may leave early return a number (check_btf_func). `cfg`'s subprograms must
// be known.
std::optional<Finding> CheckFunctionInfo(const Object& object, const Program& program, const Cfg& cfg);
// The first thing that the program refers to and that is not modelled; CheckReferences must have passed.
std::optional<std::string> UnmodelledReference(const Object& object, const Program& program, const Cfg& cfg,
                                               const Capabilities& caps);
// The loader may load such a program, and create its maps (bpf_prog_load, map_create, add_subprog_and_kfunc).
std::optional<Finding> CheckCapabilities(const Object& object, const Program& program, const Capabilities& caps);
// No jump goes back, as is asked of who lacks CAP_BPF (check_cfg). Of a program without functions whose jumps are in range.
std::optional<Finding> CheckNoLoops(const Program& program);
// The helper facts that control flow and liveness use, for programs of this type.
HelperTraits TraitsFor(ProgType type);
// `cfg` and `liveness` must outlive the context.
Context MakeContext(const Object& object, const Program& program, const Cfg& cfg, const StackLiveness& liveness);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_PREPARE_H_
