// What a tracing program is attached to, found by name in the kernel's types.
#ifndef BPFSIEVE_ENGINE_VERIFY_ATTACH_H_
#define BPFSIEVE_ENGINE_VERIFY_ATTACH_H_

#include "absl/status/statusor.h"
#include "engine/program/btf_view.h"
#include "engine/program/program.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// NotFound: the kernel has no such thing; Unimplemented: it may have, but what programs may do there is not modelled.
absl::StatusOr<AttachTarget> FindAttachTarget(const Program& program, const KernelBtf& kernel);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_ATTACH_H_
