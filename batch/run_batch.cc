#include "batch/run_batch.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "batch/inputs.h"
#include "batch/interrupt.h"
#include "batch/output.h"

namespace bpfsieve {

int RunBatch(const BatchOptions& options, const Judge& judge) {
  const Inputs inputs = ExpandInputs(options.paths);
  for (const std::string& error : inputs.errors) absl::FPrintF(stderr, "bpfsieve: %s\n", error);

  CatchInterrupt();
  Output output(options, inputs.files.size());
  RunPipeline(inputs.files, options, judge, Interrupted,
              [&output](ObjectResult result) { output.Add(std::move(result)); });
  output.Finish();
  if (Interrupted()) {
    absl::FPrintF(stderr, "bpfsieve: interrupted\n");
    return kExitInterrupted;
  }
  return inputs.errors.empty() ? output.ExitCode() : kExitUsage;
}

}  // namespace bpfsieve
