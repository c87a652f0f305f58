// Collects the rows of a run, prints them in the format asked for, and sums up.
#ifndef BPFSIEVE_BATCH_OUTPUT_H_
#define BPFSIEVE_BATCH_OUTPUT_H_

#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "batch/options.h"
#include "batch/pipeline.h"
#include "batch/rows.h"

namespace bpfsieve {

// Not thread safe. CSV and JSON rows are printed as they come, unless they must be sorted first; a table at the end.
class Output {
 public:
  Output(const BatchOptions& options, size_t total_files);
  // One object's result; the next in order.
  void Add(ObjectResult result);
  // What is left to print, and the summary.
  void Finish();
  // By the rows of all programs judged, printed or not.
  int ExitCode() const;

 private:
  void Print(const std::vector<Row>& rows);
  void PrintLog(const Row& row);
  void Progress();
  void ClearProgress();
  std::string Summary() const;

  const BatchOptions& options_;
  const bool stream_;  // rows are printed as they come
  const size_t total_files_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_progress_;
  bool progress_shown_ = false;
  std::vector<Row> rows_;
  size_t printed_ = 0;
  size_t files_done_ = 0, objects_ = 0, programs_ = 0, skipped_ = 0, errors_ = 0;
  std::map<std::string, size_t> verdicts_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_OUTPUT_H_
