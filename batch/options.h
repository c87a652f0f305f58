// The options of `verify` and `oracle`.
#ifndef BPFSIEVE_BATCH_OPTIONS_H_
#define BPFSIEVE_BATCH_OPTIONS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "batch/filter.h"
#include "batch/rows.h"
#include "batch/type_list.h"
#include "bpfsieve/verify.h"

namespace bpfsieve {

// Exit codes of the program.
enum ExitCode { kExitAllAccepted = 0, kExitSomeNot = 1, kExitUsage = 2, kExitInternal = 3, kExitInterrupted = 130 };

enum class Format { kTable, kCsv, kJson };

// As the command line (command_line.h) has them.
struct RawOptions {
  std::vector<std::string> paths;
  std::vector<std::string> emit, sort, filters;
  std::string format = "table";
  std::optional<size_t> top_n;
  unsigned jobs = 0;
  bool no_progress = false;
  std::string type, types_file, kernel_btf, without;
  std::string target_object, target_program, target_function;
  int log_level = 0;
  VerifyOptions verify;  // log_level, without and target aside
};
// Checked and resolved.
struct BatchOptions {
  std::vector<std::string> paths;
  std::vector<const Field*> fields;
  std::vector<SortKey> sort;
  Filters filters;
  Format format = Format::kTable;
  std::optional<size_t> top_n;
  unsigned jobs = 1;
  bool progress = false;  // standard error is a terminal and the user did not turn it off
  TypeList types;
  LoadOptions load;
  std::shared_ptr<const ObjectFile> target;  // that verify.target names
  VerifyOptions verify;
};
absl::StatusOr<BatchOptions> Resolve(const RawOptions& raw);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_OPTIONS_H_
