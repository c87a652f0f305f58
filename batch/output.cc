#include "batch/output.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace bpfsieve {
namespace {

void Write(FILE* file, const std::string& text) { fwrite(text.data(), 1, text.size(), file); }

}  // namespace

Output::Output(const BatchOptions& options, size_t total_files)
    : options_(options),
      stream_(options.format != Format::kTable && options.sort.empty()),
      total_files_(total_files),
      last_progress_(start_) {
  if (options_.format == Format::kCsv && stream_) Write(stdout, CsvHeader(options_.fields));
}

void Output::Add(ObjectResult result) {
  ++files_done_;
  if (!result.error.empty()) {
    ClearProgress();
    absl::FPrintF(stderr, "bpfsieve: %s\n", result.error);
    ++errors_;
  } else if (result.skipped) {
    ++skipped_;
  } else {
    ++objects_;
  }
  std::vector<Row> printed;
  for (Row& row : result.rows) {
    if (!row.prog_name.empty() || row.verdict != "invalid") ++programs_;
    ++verdicts_[row.verdict];
    if (!options_.filters.PassesRow(row)) continue;
    if (options_.format != Format::kJson && !row.log.empty()) {
      ClearProgress();
      PrintLog(row);
      row.log = {};
    }
    (stream_ ? printed : rows_).push_back(std::move(row));
  }
  if (!printed.empty()) {
    ClearProgress();
    Print(printed);
  }
  Progress();
}

void Output::Print(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    if (options_.top_n.has_value() && printed_ >= *options_.top_n) return;
    ++printed_;
    Write(stdout,
          options_.format == Format::kCsv ? CsvLine(row, options_.fields) : JsonLine(row, options_.fields));
  }
}

void Output::PrintLog(const Row& row) {
  FILE* file = options_.format == Format::kTable ? stdout : stderr;
  absl::FPrintF(file, "PROCESSING %s/%s, VERDICT: %s, VERIFIER LOG:\n", row.file_name, row.prog_name, row.verdict);
  Write(file, row.log);
  Write(file, row.log.ends_with('\n') ? "\n" : "\n\n");
}

void Output::Finish() {
  ClearProgress();
  if (!stream_) {
    SortRows(options_.sort, &rows_);
    if (options_.format == Format::kTable) {
      if (options_.top_n.has_value()) rows_.resize(std::min(rows_.size(), *options_.top_n));
      Write(stdout, Table(rows_, options_.fields, options_.verify.explain));
    } else {
      if (options_.format == Format::kCsv) Write(stdout, CsvHeader(options_.fields));
      Print(rows_);
    }
  }
  fflush(stdout);
  Write(options_.format == Format::kTable ? stdout : stderr, Summary());
  fflush(stdout);
}

std::string Output::Summary() const {
  std::string out = absl::StrCat(options_.format == Format::kTable ? "\n" : "", objects_,
                                 objects_ == 1 ? " object, " : " objects, ", programs_,
                                 programs_ == 1 ? " program: " : " programs: ");
  // The known verdicts first, in their usual order, then whatever else there is.
  std::vector<std::string> order = {"accept", "reject", "limit", "unsupported", "invalid", "not_decided"};
  bool first = true;
  for (const std::string& verdict : order) {
    const auto it = verdicts_.find(verdict);
    if (it == verdicts_.end()) continue;
    absl::StrAppend(&out, first ? "" : ", ", it->second, " ", verdict);
    first = false;
  }
  if (first) out += "nothing judged";
  if (skipped_ > 0) absl::StrAppend(&out, "; ", skipped_, skipped_ == 1 ? " file" : " files", " skipped");
  if (errors_ > 0) absl::StrAppend(&out, "; ", errors_, errors_ == 1 ? " file" : " files", " not read");
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start_;
  absl::StrAppendFormat(&out, "; %.2f s\n", wall.count());
  return out;
}

int Output::ExitCode() const {
  if (errors_ > 0) return kExitUsage;
  for (const auto& [verdict, count] : verdicts_) {
    if (verdict != "accept") return kExitSomeNot;
  }
  return kExitAllAccepted;
}

void Output::Progress() {
  using std::chrono::steady_clock;
  if (!options_.progress || (stream_ && isatty(STDOUT_FILENO) != 0)) return;
  const steady_clock::time_point now = steady_clock::now();
  if (now - last_progress_ < std::chrono::milliseconds(100)) return;
  last_progress_ = now;
  constexpr size_t kWidth = 30;
  const size_t filled = total_files_ == 0 ? kWidth : kWidth * files_done_ / total_files_;
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, ' ');
  absl::FPrintF(stderr, "\r[%s] %d/%d files, %d programs\033[K", bar, files_done_, total_files_, programs_);
  fflush(stderr);
  progress_shown_ = true;
}

void Output::ClearProgress() {
  if (!progress_shown_) return;
  Write(stderr, "\r\033[K");
  fflush(stderr);
  progress_shown_ = false;
}

}  // namespace bpfsieve
