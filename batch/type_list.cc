#include "batch/type_list.h"

#include <array>
#include <initializer_list>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "batch/csv.h"
#include "engine/program/type_names.h"

namespace bpfsieve {
namespace {

std::string_view Basename(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Whether `path` ends in `suffix`, whole components only.
bool EndsInPath(std::string_view path, std::string_view suffix) {
  if (!path.ends_with(suffix)) return false;
  return path.size() == suffix.size() || suffix.empty() || path[path.size() - suffix.size() - 1] == '/';
}

int FindColumn(const std::vector<std::string>& header, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names) {
    for (size_t i = 0; i < header.size(); ++i) {
      if (header[i] == name) return static_cast<int>(i);
    }
  }
  return -1;
}

}  // namespace

absl::StatusOr<TypeList> TypeList::Parse(std::string_view csv) {
  std::vector<std::vector<std::string>> records = ParseCsv(csv);
  TypeList out;
  if (records.empty()) return out;
  // file, section, prog, type.
  std::array<int, 4> columns = {0, 1, 2, 3};
  const std::vector<std::string>& first = records[0];
  const int type = FindColumn(first, {"type", "prog_type"});
  const bool headed = type >= 0;
  if (headed) {
    columns = {FindColumn(first, {"file", "file_name"}), FindColumn(first, {"section"}),
               FindColumn(first, {"prog", "prog_name"}), type};
    if (columns[0] < 0) return absl::InvalidArgumentError("the list's header names no column 'file'");
  }
  for (size_t i = headed ? 1 : 0; i < records.size(); ++i) {
    const std::vector<std::string>& record = records[i];
    const auto field = [&](int which) -> std::string {
      const int column = columns[which];
      return column >= 0 && static_cast<size_t>(column) < record.size() ? record[column] : "";
    };
    Entry entry{field(0), field(1), field(2), field(3)};
    while (entry.type.ends_with('?')) entry.type.pop_back();
    // Rows of a list of verdicts about whole objects have no type.
    if (entry.type.empty()) continue;
    if (!ProgTypeFromName(entry.type).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("row ", i + 1, ": no program type '", entry.type, "'"));
    }
    while (entry.file.starts_with("./")) entry.file.erase(0, 2);
    out.rows_[std::string(Basename(entry.file))].push_back(std::move(entry));
  }
  return out;
}

std::string TypeList::Find(std::string_view path, std::string_view section, std::string_view prog) const {
  for (const std::string_view key : {Basename(path), std::string_view()}) {
    const auto it = rows_.find(std::string(key));
    if (it == rows_.end()) continue;
    for (const Entry& entry : it->second) {
      if (EndsInPath(path, entry.file) && (entry.section.empty() || entry.section == section) &&
          (entry.prog.empty() || entry.prog == prog)) {
        return entry.type;
      }
    }
  }
  return "";
}

}  // namespace bpfsieve
