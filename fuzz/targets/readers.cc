// Everything else that reads what it is given: tables as CSV, lists of types, filters. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "batch/csv.h"
#include "batch/filter.h"
#include "batch/type_list.h"
#include "fuzz/targets/budget.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
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
    default: {
      if (text.find('@') != std::string_view::npos) break;  // would read a file
      Filters filters;
      if (!filters.Add(text).ok()) break;
      (void)filters.MayPassFile("folder/file.o");
      (void)filters.PassesProgram("folder/file.o", "prog");
      break;
    }
  }
  return 0;
}
