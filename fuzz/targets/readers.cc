// Small readers: tables as CSV, lists of types, filters, lists of files, and the log of a kernel's verifier. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "batch/csv.h"
#include "batch/filter.h"
#include "batch/read_file.h"
#include "batch/type_list.h"
#include "corpus/oracle/log.h"
#include "fuzz/targets/budget.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 5) {
    case 0: {
      // What was read is written, and read again.
      const std::vector<std::vector<std::string>> rows = ParseCsv(text);
      std::string again;
      for (const std::vector<std::string>& row : rows) {
        if (row.size() == 1 && row[0].empty()) again.append("\"\"");  // else an empty line, which is left out
        for (size_t i = 0; i < row.size(); ++i) again.append(i == 0 ? "" : ",").append(CsvQuote(row[i]));
        again.append("\n");
      }
      if (ParseCsv(again) != rows) Finding("a table reads back as another one");
      break;
    }
    case 1: {
      const absl::StatusOr<TypeList> list = TypeList::Parse(text);
      if (list.ok()) (void)list->Find("folder/file.o", "section", "prog");
      break;
    }
    case 2: {
      const std::vector<std::string> entries = ListEntries(text);
      std::string again;
      for (const std::string& entry : entries) again.append(entry).append("\n");
      if (ListEntries(again) != entries) Finding("a list reads back as another one");
      break;
    }
    case 3: {
      const LogStats stats = ParseLogStats(text);
      if (stats.processed < -1 || stats.stack_depth < -1) Finding("a number of a log that is none");
      if (text.find(LastMessage(text)) == std::string_view::npos) Finding("a message that is not in the log: " + LastMessage(text));
      break;
    }
    default: {
      if (text.find('@') != std::string_view::npos) break;  // would read a file
      Filters filters;
      if (!filters.Add(text).ok()) break;
      (void)filters.MayPassFile("folder/file.o");
      (void)filters.PassesProgram("folder/file.o", "prog");
      Row row;
      row.file_name = "folder/file.o";
      (void)filters.PassesRow(row);
      break;
    }
  }
  return 0;
}
