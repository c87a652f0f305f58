// Program types that the user gives for programs whose section name does not tell one: a CSV list.
#ifndef BPFSIEVE_BATCH_TYPE_LIST_H_
#define BPFSIEVE_BATCH_TYPE_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace bpfsieve {

class TypeList {
 public:
  // Columns file, section, prog, type; or, with a header row, those found by the names file or file_name, section,
  // prog or prog_name, type or prog_type, in any order and among others, section being optional. A ? after a type is
  // ignored. InvalidArgument: no such columns, or a type that does not exist.
  static absl::StatusOr<TypeList> Parse(std::string_view csv);

  // The type listed for the program, empty: none. A listed file matches a path that ends in it, folder by folder.
  // Empty fields of a row match anything.
  std::string Find(std::string_view path, std::string_view section, std::string_view prog) const;
  bool empty() const { return rows_.empty(); }

 private:
  struct Entry {
    std::string file, section, prog, type;
  };
  absl::flat_hash_map<std::string, std::vector<Entry>> rows_;  // by the file's last component
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_TYPE_LIST_H_
