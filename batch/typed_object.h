// An object as loaded for a run: every program with the type that it is to be verified as.
#ifndef BPFSIEVE_BATCH_TYPED_OBJECT_H_
#define BPFSIEVE_BATCH_TYPED_OBJECT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "batch/type_list.h"
#include "bpfsieve/verify.h"

namespace bpfsieve {

struct TypedObject {
  // The object read once, and once more for each type that the list gives to programs without one of their own.
  std::vector<ObjectFile> readings;
  struct Prog {
    size_t reading = 0;  // index in `readings`
    int index = 0;       // program in it
  };
  std::vector<Prog> progs;  // in the object's order

  const ObjectFile& file(size_t prog) const { return readings[progs[prog].reading]; }
};

// `options.default_type` is for programs that the list does not name.
absl::StatusOr<TypedObject> LoadTyped(const std::string& bytes, const std::string& path, const LoadOptions& options,
                                      const TypeList& types);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_TYPED_OBJECT_H_
