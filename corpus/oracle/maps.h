// Creates the maps of an object, on demand, with the small mendings that loaders make.
#ifndef BPFSIEVE_CORPUS_ORACLE_MAPS_H_
#define BPFSIEVE_CORPUS_ORACLE_MAPS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "corpus/oracle/sys.h"
#include "engine/program/program.h"

namespace bpfsieve {

// Not thread safe. The object must outlive it.
class OracleMaps {
 public:
  // `btf_fd`: the object's BTF, loaded; -1: none.
  OracleMaps(const Object& object, int btf_fd);
  // The descriptor of map `index`, created, filled and frozen at the first call. The owner is this object.
  // PermissionDenied: the process may not create it.
  absl::StatusOr<int> Get(size_t index);

 private:
  absl::StatusOr<int> Create(size_t index, int depth);

  const Object& object_;
  int btf_fd_;
  std::vector<UniqueFd> fds_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_MAPS_H_
