// bpfsieve verify: our verdicts.
#include <oneapi/tbb/parallel_for.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/interrupt.h"
#include "batch/run_batch.h"

namespace bpfsieve {
namespace {

Row ReportRow(Row row, Report report, bool parallel) {
  row.verdict = std::string(report.verdict);
  row.rule = std::string(report.rule);
  row.message = std::move(report.message);
  row.feature = std::move(report.feature);
  row.insn = report.insn;
  if (!report.source_file.empty()) row.source = absl::StrCat(report.source_file, ":", report.source_line);
  row.duration = static_cast<int64_t>((report.stats.duration_ns + 500) / 1000);
  row.total_insns = static_cast<int64_t>(report.stats.total_insns);
  row.total_states = static_cast<int64_t>(report.stats.total_states);
  row.peak_states = static_cast<int64_t>(report.stats.peak_states);
  row.max_states_per_insn = static_cast<int64_t>(report.stats.max_states_per_insn);
  row.max_mark_read_len = 0;  // liveness is computed beforehand; there are no marks to read
  row.prog_size_jited = 0;    // nothing is compiled
  row.stack_depth = static_cast<int64_t>(report.stats.stack_depth);
  row.mem_peak = static_cast<int64_t>((report.stats.mem_peak + (1 << 20) - 1) >> 20);
  if (parallel) {
    const ParallelStats& p = report.parallel;
    const auto number = [](uint64_t n) { return static_cast<int64_t>(n); };
    row.longest_path = number(p.longest_path);
    row.greedy = number(p.greedy);
    row.helpers = p.helpers;
    row.segments = number(p.segments);
    row.parked = number(p.parked);
    row.pieces = number(p.pieces);
    row.retired_pieces = number(p.retired_pieces);
    row.ahead_insns = number(p.insns);
    row.retired_insns = number(p.retired_insns);
    row.waits = number(p.waits);
    row.wait_us = number(p.wait_ns / 1000);
    row.busy_us = number(p.busy_ns / 1000);
    row.functions = p.functions;
  }
  row.log = std::move(report.log);
  row.explanation = std::move(report.explanation);
  row.explanation_json = std::move(report.explanation_json);
  return row;
}

std::vector<Row> VerifyObject(const std::string& path, const TypedObject& object, const std::vector<size_t>& wanted,
                              const VerifyOptions& options) {
  std::vector<Row> rows(wanted.size());
  oneapi::tbb::parallel_for(size_t{0}, wanted.size(), [&](size_t i) {
    if (Interrupted()) return;  // leaves a row without a verdict
    const int index = object.progs[wanted[i]].index;
    const ObjectFile& file = object.file(wanted[i]);
    rows[i] = ReportRow(ProgramRow(path, file, index), Verify(file, index, options), options.parallel_stats);
  });
  std::erase_if(rows, [](const Row& row) { return row.verdict.empty(); });
  return rows;
}

}  // namespace

int RunVerify(const RawOptions& raw) {
  absl::StatusOr<BatchOptions> options = Resolve(raw);
  if (!options.ok()) {
    absl::FPrintF(stderr, "bpfsieve verify: %s\n", std::string(options.status().message()));
    return kExitUsage;
  }
  options->verify.threads = static_cast<unsigned>(options->jobs);
  options->verify.interrupt = &InterruptFlag();
  return RunBatch(*options, [&](const std::string& path, const TypedObject& object,
                                const std::vector<size_t>& wanted) {
    return VerifyObject(path, object, wanted, options->verify);
  });
}

}  // namespace bpfsieve
