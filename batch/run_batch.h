// What `verify` and `oracle` share: inputs in, rows out.
#ifndef BPFSIEVE_BATCH_RUN_BATCH_H_
#define BPFSIEVE_BATCH_RUN_BATCH_H_

#include "batch/options.h"
#include "batch/pipeline.h"

namespace bpfsieve {

// Returns the process' exit code.
int RunBatch(const BatchOptions& options, const Judge& judge);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_RUN_BATCH_H_
