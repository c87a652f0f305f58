// Results as rows: one per program (or per object that could not be read), and their output as table, CSV or JSON
// lines. The first fifteen fields are veristat's, by name, order and unit.
#ifndef BPFSIEVE_BATCH_ROWS_H_
#define BPFSIEVE_BATCH_ROWS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace bpfsieve {

// Numbers are -1 where not known.
struct Row {
  std::string file_name;  // the path as given or found
  std::string prog_name;  // empty: the row is about the object
  std::string verdict;
  int64_t duration = -1;  // microseconds
  int64_t total_insns = -1;
  int64_t total_states = -1;
  int64_t peak_states = -1;
  int64_t max_states_per_insn = -1;
  int64_t max_mark_read_len = -1;
  int64_t prog_size = -1;        // instructions
  int64_t prog_size_jited = -1;  // bytes
  std::string prog_type;
  std::string attach_type;
  int64_t stack_depth = -1;  // bytes
  int64_t mem_peak = -1;     // MiB, rounded up
  std::string rule;
  int64_t insn = -1;
  std::string source;  // "file.c:12"
  std::string message;
  std::string feature;
  std::string section;
  // With --stats; times depend on the schedule.
  int64_t longest_path = -1, greedy = -1, helpers = -1, segments = -1, parked = -1, pieces = -1, retired_pieces = -1;
  int64_t ahead_insns = -1, retired_insns = -1, waits = -1, wait_us = -1, busy_us = -1,
          functions = -1;

  // Not fields: printed in ways of their own.
  std::string log;
  std::string explanation;
  std::string explanation_json;
};

// A column: exactly one of the two members is set.
struct Field {
  std::string_view name;
  std::string_view alias;   // a shorter name that is understood too; may be empty
  std::string_view header;  // in the table
  int64_t Row::*number = nullptr;
  std::string Row::*text = nullptr;
};

std::span<const Field> AllFields();
// The fields of --stats, which are not among AllFields().
std::span<const Field> ParallelFields();
const Field* FindField(std::string_view name_or_alias);  // null: none
// The columns of the table where the user names none.
std::vector<const Field*> DefaultTableFields();
std::vector<const Field*> AllFieldPointers();

// "file_name,verdict": InvalidArgument names the one that does not exist.
absl::StatusOr<std::vector<const Field*>> ParseFields(std::string_view list);

struct SortKey {
  const Field* field = nullptr;
  bool ascending = true;
};
// As ParseFields; a name may end in < or ^ (ascending) or in > or v (descending). Texts ascend by default and numbers
// descend, as in veristat.
absl::StatusOr<std::vector<SortKey>> ParseSort(std::string_view list);
// Stable: rows that compare as equal keep their order.
void SortRows(std::span<const SortKey> keys, std::vector<Row>* rows);

std::string CsvHeader(std::span<const Field* const> fields);             // with its line end
std::string CsvLine(const Row& row, std::span<const Field* const> fields);
// One object on one line; unknown numbers are null. With `explanation` and `log` where the row has them.
std::string JsonLine(const Row& row, std::span<const Field* const> fields);
// The whole table, headed. With `explain`, each row that has an explanation is followed by it.
std::string Table(std::span<const Row> rows, std::span<const Field* const> fields, bool explain);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_ROWS_H_
