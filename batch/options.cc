#include "batch/options.h"

#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "batch/read_file.h"
#include "engine/program/type_names.h"

namespace bpfsieve {

absl::StatusOr<BatchOptions> Resolve(const RawOptions& raw) {
  BatchOptions out;
  out.paths = raw.paths;
  out.format = raw.format == "csv" ? Format::kCsv : raw.format == "json" ? Format::kJson : Format::kTable;
  for (const std::string& list : raw.emit) {
    absl::StatusOr<std::vector<const Field*>> fields = ParseFields(list);
    if (!fields.ok()) return fields.status();
    out.fields.insert(out.fields.end(), fields->begin(), fields->end());
  }
  if (out.fields.empty()) out.fields = out.format == Format::kTable ? DefaultTableFields() : AllFieldPointers();
  if (raw.verify.parallel_stats) {
    for (const Field& field : ParallelFields()) out.fields.push_back(&field);
  }
  for (const std::string& list : raw.sort) {
    absl::StatusOr<std::vector<SortKey>> keys = ParseSort(list);
    if (!keys.ok()) return keys.status();
    out.sort.insert(out.sort.end(), keys->begin(), keys->end());
  }
  for (const std::string& filter : raw.filters) {
    if (absl::Status s = out.filters.Add(filter); !s.ok()) return s;
  }
  out.top_n = raw.top_n;
  out.jobs = raw.jobs != 0 ? raw.jobs : std::max(1u, std::thread::hardware_concurrency());
  out.progress = !raw.no_progress && isatty(STDERR_FILENO) != 0;
  if (!raw.type.empty() && !ProgTypeFromName(raw.type).has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("no program type '", raw.type, "'"));
  }
  if (!raw.types_file.empty()) {
    absl::StatusOr<std::string> content = ReadFile(raw.types_file);
    if (!content.ok()) return content.status();
    absl::StatusOr<TypeList> types = TypeList::Parse(*content);
    if (!types.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(raw.types_file, ": ", types.status().message()));
    }
    out.types = *std::move(types);
  }
  if (!raw.kernel_btf.empty() && raw.kernel_btf != "none" && access(raw.kernel_btf.c_str(), R_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(raw.kernel_btf, ": cannot be read"));
  }
  out.load.kernel_btf = raw.kernel_btf;
  out.load.default_type = raw.type;
  out.verify = raw.verify;
  if (!raw.target_object.empty()) {
    absl::StatusOr<ObjectFile> target = ObjectFile::Open(raw.target_object, out.load);
    if (!target.ok()) return target.status();
    out.target = std::make_shared<const ObjectFile>(*std::move(target));
    out.verify.target = {out.target.get(), raw.target_program, raw.target_function};
  } else if (!raw.target_program.empty() || !raw.target_function.empty()) {
    return absl::InvalidArgumentError("--target-program and --target-function name something of the --target-object");
  }
  if (raw.without == "perfmon") out.verify.without = Lacking::kPerfmon;
  if (raw.without == "bpf") out.verify.without = Lacking::kBpf;
  out.verify.log_level = raw.log_level;
  return out;
}

}  // namespace bpfsieve
