#include "batch/rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "batch/csv.h"

namespace bpfsieve {
namespace {

constexpr Field kFields[] = {
    {.name = "file_name", .alias = "file", .header = "File", .text = &Row::file_name},
    {.name = "prog_name", .alias = "prog", .header = "Program", .text = &Row::prog_name},
    {.name = "verdict", .header = "Verdict", .text = &Row::verdict},
    {.name = "duration", .alias = "dur", .header = "Duration (us)", .number = &Row::duration},
    {.name = "total_insns", .alias = "insns", .header = "Insns", .number = &Row::total_insns},
    {.name = "total_states", .alias = "states", .header = "States", .number = &Row::total_states},
    {.name = "peak_states", .header = "Peak states", .number = &Row::peak_states},
    {.name = "max_states_per_insn", .header = "Max states per insn", .number = &Row::max_states_per_insn},
    {.name = "max_mark_read_len",
     .alias = "mark_read",
     .header = "Max mark read length",
     .number = &Row::max_mark_read_len},
    {.name = "prog_size", .header = "Program size", .number = &Row::prog_size},
    {.name = "prog_size_jited", .header = "Jited size", .number = &Row::prog_size_jited},
    {.name = "prog_type", .alias = "type", .header = "Program type", .text = &Row::prog_type},
    {.name = "attach_type", .header = "Attach type", .text = &Row::attach_type},
    {.name = "stack_depth", .alias = "stack", .header = "Stack depth", .number = &Row::stack_depth},
    {.name = "mem_peak", .header = "Peak memory (MiB)", .number = &Row::mem_peak},
    {.name = "rule", .header = "Rule", .text = &Row::rule},
    {.name = "insn", .header = "Insn", .number = &Row::insn},
    {.name = "source", .header = "Source", .text = &Row::source},
    {.name = "message", .header = "Message", .text = &Row::message},
    {.name = "feature", .header = "Feature", .text = &Row::feature},
    {.name = "section", .header = "Section", .text = &Row::section},
};

constexpr Field kParallelFields[] = {
    {.name = "longest_path", .header = "Longest path", .number = &Row::longest_path},
    {.name = "greedy", .header = "Best schedule", .number = &Row::greedy},
    {.name = "helpers", .header = "Helpers", .number = &Row::helpers},
    {.name = "segments", .header = "Segments", .number = &Row::segments},
    {.name = "parked", .header = "Parked", .number = &Row::parked},
    {.name = "pieces", .header = "Pieces", .number = &Row::pieces},
    {.name = "retired_pieces", .header = "Retired pieces", .number = &Row::retired_pieces},
    {.name = "ahead_insns", .header = "Insns ahead", .number = &Row::ahead_insns},
    {.name = "retired_insns", .header = "Retired insns", .number = &Row::retired_insns},
    {.name = "waits", .header = "Waits", .number = &Row::waits},
    {.name = "wait_us", .header = "Waiting (us)", .number = &Row::wait_us},
    {.name = "busy_us", .header = "Helpers busy (us)", .number = &Row::busy_us},
    {.name = "functions", .header = "Functions ahead", .number = &Row::functions},
};

// Bytes that would move the cursor or end the line are no use in a table, and names come from the object.
std::string Printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

std::string CellText(const Row& row, const Field& field) {
  if (field.text != nullptr) return row.*field.text;
  const int64_t value = row.*field.number;
  return value < 0 ? "" : absl::StrCat(value);
}

absl::StatusOr<const Field*> FieldOrError(std::string_view name) {
  const Field* field = FindField(name);
  if (field == nullptr) return absl::InvalidArgumentError(absl::StrCat("no field '", std::string(name), "'"));
  return field;
}

std::vector<std::string> SplitList(std::string_view list) {
  return absl::StrSplit(absl::string_view(list.data(), list.size()), ',', absl::SkipWhitespace());
}

}  // namespace

std::span<const Field> AllFields() { return kFields; }

std::span<const Field> ParallelFields() { return kParallelFields; }

const Field* FindField(std::string_view name) {
  for (std::span<const Field> fields : {AllFields(), ParallelFields()}) {
    for (const Field& field : fields) {
      if (name == field.name || (!field.alias.empty() && name == field.alias)) return &field;
    }
  }
  return nullptr;
}

std::vector<const Field*> DefaultTableFields() {
  std::vector<const Field*> out;
  for (const char* name : {"file_name", "prog_name", "verdict", "duration", "total_insns", "total_states",
                           "peak_states", "rule", "message"}) {
    out.push_back(FindField(name));
  }
  return out;
}

std::vector<const Field*> AllFieldPointers() {
  std::vector<const Field*> out;
  for (const Field& field : kFields) out.push_back(&field);
  return out;
}

absl::StatusOr<std::vector<const Field*>> ParseFields(std::string_view list) {
  std::vector<const Field*> out;
  for (const std::string& name : SplitList(list)) {
    absl::StatusOr<const Field*> field = FieldOrError(name);
    if (!field.ok()) return field.status();
    out.push_back(*field);
  }
  if (out.empty()) return absl::InvalidArgumentError("no field named");
  return out;
}

absl::StatusOr<std::vector<SortKey>> ParseSort(std::string_view list) {
  std::vector<SortKey> out;
  for (std::string name : SplitList(list)) {
    std::optional<bool> ascending;
    if (FindField(name) == nullptr && name.size() > 1) {
      const char last = name.back();
      if (last == '<' || last == '^') ascending = true;
      if (last == '>' || last == 'v') ascending = false;
      if (ascending.has_value()) name.pop_back();
    }
    absl::StatusOr<const Field*> field = FieldOrError(name);
    if (!field.ok()) return field.status();
    out.push_back({*field, ascending.value_or((*field)->text != nullptr)});
  }
  if (out.empty()) return absl::InvalidArgumentError("no field named");
  return out;
}

void SortRows(std::span<const SortKey> keys, std::vector<Row>* rows) {
  const auto compare = [keys](const Row& a, const Row& b) {
    for (const SortKey& key : keys) {
      int order = 0;
      if (key.field->text != nullptr) {
        order = (a.*key.field->text).compare(b.*key.field->text);
      } else if (a.*key.field->number != b.*key.field->number) {
        order = a.*key.field->number < b.*key.field->number ? -1 : 1;
      }
      if (order != 0) return key.ascending ? order : -order;
    }
    return 0;
  };
  std::vector<size_t> order(rows->size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int c = compare((*rows)[a], (*rows)[b]);
    return c != 0 ? c < 0 : a < b;
  });
  std::vector<Row> sorted;
  sorted.reserve(rows->size());
  for (size_t i : order) sorted.push_back(std::move((*rows)[i]));
  *rows = std::move(sorted);
}

std::string CsvHeader(std::span<const Field* const> fields) {
  std::string out;
  for (const Field* field : fields) absl::StrAppend(&out, out.empty() ? "" : ",", std::string(field->name));
  return out + "\n";
}

std::string CsvLine(const Row& row, std::span<const Field* const> fields) {
  std::string out;
  for (size_t i = 0; i < fields.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",", CsvQuote(CellText(row, *fields[i])));
  }
  return out + "\n";
}

std::string JsonLine(const Row& row, std::span<const Field* const> fields) {
  nlohmann::ordered_json json;
  for (const Field* field : fields) {
    const std::string name(field->name);
    if (field->text != nullptr) {
      json[name] = row.*field->text;
    } else if (row.*field->number < 0) {
      json[name] = nullptr;
    } else {
      json[name] = row.*field->number;
    }
  }
  if (!row.explanation_json.empty()) {
    json["explanation"] = nlohmann::ordered_json::parse(row.explanation_json, nullptr, /*allow_exceptions=*/false);
  }
  if (!row.log.empty()) json["log"] = row.log;
  // Names and messages may hold any bytes; JSON may not.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string Table(std::span<const Row> rows, std::span<const Field* const> fields, bool explain) {
  std::vector<size_t> widths;
  for (const Field* field : fields) widths.push_back(field->header.size());
  std::vector<std::vector<std::string>> cells;
  for (const Row& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (size_t i = 0; i < fields.size(); ++i) {
      line.push_back(Printable(CellText(row, *fields[i])));
      widths[i] = std::max(widths[i], line.back().size());
    }
  }
  std::string out;
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (size_t i = 0; i < fields.size(); ++i) {
      const std::string text(cell(i));
      const std::string pad(widths[i] - text.size(), ' ');
      if (i > 0) line += "  ";
      line += fields[i]->number != nullptr ? pad + text : text + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  };
  add_line([&](size_t i) { return fields[i]->header; });
  add_line([&](size_t i) { return std::string(widths[i], '-'); });
  for (size_t r = 0; r < rows.size(); ++r) {
    add_line([&](size_t i) -> const std::string& { return cells[r][i]; });
    if (explain && !rows[r].explanation.empty()) {
      absl::StrAppend(&out, "\n", rows[r].explanation);
      if (out.back() != '\n') out += '\n';
      out += '\n';
    }
  }
  return out;
}

}  // namespace bpfsieve
