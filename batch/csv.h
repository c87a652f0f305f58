// Comma-separated values as RFC 4180 has them.
#ifndef BPFSIEVE_BATCH_CSV_H_
#define BPFSIEVE_BATCH_CSV_H_

#include <string>
#include <string_view>
#include <vector>

namespace bpfsieve {

// The field as it stands in a line: in quotes where it needs them.
std::string CsvQuote(std::string_view field);

// Records of fields; quotes, doubled quotes and line ends within quotes are understood. Empty lines are left out.
// Any bytes give some result; an open quote ends with the text.
std::vector<std::vector<std::string>> ParseCsv(std::string_view text);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_CSV_H_
