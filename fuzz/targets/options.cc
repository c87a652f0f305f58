// Command lines of `verify` and `oracle`: one argument a line; the first byte chooses. What is understood and resolved is what
// the rest of the program takes for granted, and reads the same a second time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "batch/command_line.h"
#include "fuzz/targets/budget.h"

namespace {

using namespace bpfsieve;

// What a command line says, in one text.
std::string Summary(const BatchOptions& o) {
  std::string text = absl::StrCat(static_cast<int>(o.format), " ", o.jobs, " ", o.top_n.has_value(), " ", o.top_n.value_or(0), " ",
                                  o.verify.log_level, " ", o.verify.max_processed, " ", o.verify.max_pending, " ",
                                  o.verify.memory_limit, " ", o.verify.time_limit_ms, " ", o.load.default_type);
  for (const std::string& path : o.paths) absl::StrAppend(&text, "\n", path);
  for (const Field* field : o.fields) absl::StrAppend(&text, " ", std::string(field->name));
  for (const SortKey& key : o.sort) absl::StrAppend(&text, " ", std::string(key.field->name), key.ascending ? "<" : ">");
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool for_oracle = data[0] % 2 != 0;
  const std::vector<std::string> arguments =
      absl::StrSplit(absl::string_view(reinterpret_cast<const char*>(data + 1), size - 1), '\n');
  RawOptions raw, again;
  const bool understood = ParseOptions(arguments, for_oracle, &raw);
  if (ParseOptions(arguments, for_oracle, &again) != understood) Finding("a command line that is understood at times");
  if (!understood) return 0;
  // Files are not read here.
  if (!raw.types_file.empty() || std::any_of(raw.filters.begin(), raw.filters.end(), [](const std::string& f) { return f.starts_with('@'); })) {
    return 0;
  }
  const absl::StatusOr<BatchOptions> options = Resolve(raw);
  const absl::StatusOr<BatchOptions> same = Resolve(again);
  if (options.ok() != same.ok()) Finding("options that are in order at times");
  if (!options.ok()) return 0;
  if (Summary(*options) != Summary(*same)) Finding("options mean one thing and another:\n" + Summary(*options) + "\n" + Summary(*same));
  if (options->paths.empty()) Finding("nothing to read, and no complaint");
  if (options->fields.empty() || std::count(options->fields.begin(), options->fields.end(), nullptr) != 0) {
    Finding("fields that are none: " + Summary(*options));
  }
  if (options->jobs < 1 || options->jobs > 4096 || options->verify.log_level < 0 || options->verify.log_level > 2 ||
      options->verify.max_processed == 0 || options->verify.max_pending == 0) {
    Finding("a number out of its range: " + Summary(*options));
  }
  return 0;
}
