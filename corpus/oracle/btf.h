// BTF as the kernel takes it: an object's own, mended as libbpf mends it before loading, and look-ups in the kernel's.
#ifndef BPFSIEVE_CORPUS_ORACLE_BTF_H_
#define BPFSIEVE_CORPUS_ORACLE_BTF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/program/program.h"

namespace bpfsieve {

// The object's BTF, with the same type numbers, in a form that BPF_BTF_LOAD accepts: what only a linker or loader
// reads (extern variables and functions, data sections whose layout is not filled in) is replaced by plain types.
// Empty: the object has none.
std::vector<uint8_t> LoadableBtf(const Object& object);

// The running kernel's BTF. Not thread safe while it is being loaded; read-only after.
class RunningBtf {
 public:
  static absl::StatusOr<RunningBtf> Load();
  // The number of the function, variable, typedef or struct of that name; 0: none.
  uint32_t Func(const std::string& name) const;
  uint32_t Var(const std::string& name) const;
  uint32_t Typedef(const std::string& name) const;
  uint32_t Struct(const std::string& name) const;
  // The position of a member in a struct; -1: there is none.
  int Member(const std::string& structure, const std::string& member) const;

 private:
  explicit RunningBtf(BtfPtr btf) : btf_(std::move(btf)) {}
  uint32_t Find(const std::string& name, uint32_t kind) const;
  BtfPtr btf_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_BTF_H_
