// What a program is attached to, found by name in the kernel's types.
#ifndef BPFSIEVE_ENGINE_VERIFY_ATTACH_H_
#define BPFSIEVE_ENGINE_VERIFY_ATTACH_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/program/btf_view.h"
#include "engine/program/program.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// Of a tracing program, one of a security module's hook or one of a table of functions; `gpl`: its licence is compatible
// with the GPL.
// NotFound: the kernel has no such thing; FailedPrecondition: it takes no such program; Unimplemented: what programs may do
// there is not modelled.
absl::StatusOr<AttachTarget> FindAttachTarget(const Program& program, bool gpl, const KernelBtf& kernel);

// What a trampoline can pass on (btf_distill_func_proto); `name` is the function's.
absl::Status CheckModel(const struct btf* btf, const btf_type* proto, std::string_view name);
// Parameters beyond the first `skipped` whose names say that they may be null: a bit for each.
uint32_t NullableParams(const struct btf* btf, const btf_type* proto, int skipped);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_ATTACH_H_
