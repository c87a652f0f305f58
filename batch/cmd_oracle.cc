// bpfsieve oracle: the running kernel's verdicts, load only.
#include <map>
#include <memory>

#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/run_batch.h"
#include "corpus/oracle/oracle.h"
#include "engine/verify/passes.h"

namespace bpfsieve {
namespace {

Row KernelRow(Row row, KernelReport report) {
  row.verdict = std::string(KernelVerdictName(report.verdict));
  row.message = std::move(report.message);
  row.duration = report.stats.verification_usec;
  row.total_insns = report.stats.processed;
  row.total_states = report.stats.total_states;
  row.peak_states = report.stats.peak_states;
  row.max_states_per_insn = report.stats.max_states_per_insn;
  row.max_mark_read_len = report.stats.mark_read;
  row.prog_size_jited = report.jited_size;
  row.stack_depth = report.stats.stack_depth;
  row.log = std::move(report.log);
  return row;
}

}  // namespace

int RunOracle(const RawOptions& raw) {
  absl::StatusOr<BatchOptions> options = Resolve(raw);
  if (!options.ok()) {
    absl::FPrintF(stderr, "bpfsieve oracle: %s\n", std::string(options.status().message()));
    return kExitUsage;
  }
  const Capabilities caps = CapabilitiesWithout(options->verify.without);
  if (absl::Status s = OracleAvailable(caps); !s.ok()) {
    absl::FPrintF(stderr, "bpfsieve oracle: the kernel cannot be asked: %s\n", std::string(s.message()));
    return kExitUsage;
  }
  const ObjectFile* target = options->verify.target.object;
  const OracleOptions ask = {.log_level = options->verify.log_level,
                             .test_state_freq = options->verify.test_state_freq,
                             .strict_alignment = options->verify.strict_alignment,
                             .target = target != nullptr ? &target->object() : nullptr,
                             .target_program = options->verify.target.program,
                             .target_function = options->verify.target.function};
  return RunBatch(*options, [&](const std::string& path, const TypedObject& object,
                                const std::vector<size_t>& wanted) {
    std::map<size_t, KernelOracle> oracles;  // by reading: maps are shared by the programs of one
    std::vector<Row> rows;
    for (size_t i : wanted) {
      const auto [reading, index] = object.progs[i];
      const ObjectFile& file = object.readings[reading];
      auto it = oracles.try_emplace(reading, file.object(), caps).first;
      rows.push_back(KernelRow(ProgramRow(path, file, index), it->second.Ask(index, ask)));
    }
    return rows;
  });
}

}  // namespace bpfsieve
