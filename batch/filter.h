// Filters of programs and rows, with veristat's meaning:
//   GLOB             file or program name
//   FILEGLOB/PROGGLOB, FILEGLOB/, /PROGGLOB
//   FIELD OP VALUE   OP: = == != <> < <= > >=, of a row's number, or = and != with a glob of a row's text
//   !...             the same, to leave out
//   @FILE            one filter per line, # begins a comment
// In a glob only * is special; it matches any text, slashes too.
#ifndef BPFSIEVE_BATCH_FILTER_H_
#define BPFSIEVE_BATCH_FILTER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "batch/rows.h"

namespace bpfsieve {

bool GlobMatches(std::string_view text, std::string_view glob);

class Filters {
 public:
  // InvalidArgument: not a filter. NotFound: the file of an @FILE cannot be read.
  absl::Status Add(std::string_view text);

  // Whether the file may hold a program that passes. Names only.
  bool MayPassFile(std::string_view path) const;
  // Whether the program passes the name filters: it is verified then.
  bool PassesProgram(std::string_view path, std::string_view prog) const;
  // Whether the row passes the field filters: it is printed then.
  bool PassesRow(const Row& row) const;

 private:
  enum class Op { kEq, kNe, kLt, kLe, kGt, kGe };
  struct Name {
    std::string any, file, prog;  // empty: not restricted
  };
  struct Stat {
    const Field* field = nullptr;
    Op op = Op::kEq;
    int64_t number = 0;
    std::string text;
  };
  struct List {
    std::vector<Name> names;
    std::vector<Stat> stats;
  };
  absl::Status AddOne(std::string_view text, List* list);
  static bool Matches(const Name& name, std::string_view path, std::string_view prog);
  static bool Matches(const Stat& stat, const Row& row);

  List allow_, deny_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_FILTER_H_
