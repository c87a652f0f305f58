// BTF as the loader reads it: libbpf's reader behind a check that every index in it leads somewhere and that no chain
// of types runs in a circle, so that walking it needs no further care.
#ifndef BPFSIEVE_ENGINE_PROGRAM_BTF_VIEW_H_
#define BPFSIEVE_ENGINE_PROGRAM_BTF_VIEW_H_

#include <bpf/btf.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/program/program.h"

namespace bpfsieve {

// Parses and checks the contents of a .BTF section. Damaged: InvalidArgument.
absl::StatusOr<BtfPtr> ParseBtf(std::string_view bytes);

// Checks BTF that libbpf has read: every type id and name offset is in range, modifiers, typedefs, pointers and arrays
// do not lead back to themselves, and no type contains itself. Once this holds, following any such chain ends.
absl::Status CheckBtf(const struct btf* btf);

// The name at a string offset; empty when out of range. Cut at 4096 bytes.
std::string_view BtfName(const struct btf* btf, uint32_t offset);
// The type's own name.
std::string_view BtfTypeName(const struct btf* btf, uint32_t id);

// Follows modifiers and typedefs. `*resolved` (may be null) receives the id. Null when an id is out of range.
const btf_type* SkipModifiers(const struct btf* btf, uint32_t id, uint32_t* resolved);

// Size of a type in bytes, -1: it has none.
int64_t BtfSize(const struct btf* btf, uint32_t id);

// BTF_FUNC_STATIC, _GLOBAL or _EXTERN of a function.
inline uint32_t BtfFuncLinkage(const btf_type* function) { return btf_vlen(function); }

// "struct", "int": libbpf's names of the kinds.
std::string_view BtfKindName(const btf_type* type);

// Type names without the flavour: "task_struct___v2" is "task_struct".
std::string_view EssentialName(std::string_view name);

// A kernel's types with an index by essential name. Immutable.
class KernelBtf {
 public:
  explicit KernelBtf(BtfPtr btf);

  const struct btf* get() const { return btf_.get(); }
  // Types of that essential name, ascending by id.
  std::span<const uint32_t> Named(std::string_view essential_name) const;
  // The first type of exactly that name and kind (BTF_KIND_*); 0: none.
  uint32_t Find(std::string_view name, uint32_t kind) const;
  // The functions that hand a tracepoint's arguments to programs (__bpf_trace_*), by id.
  const std::vector<uint32_t>& TracepointHandlers() const { return handlers_; }

 private:
  BtfPtr btf_;
  absl::flat_hash_map<std::string_view, uint32_t> by_name_;  // a name's number
  std::vector<uint32_t> begins_;                             // by that: where its types begin in ids_; and the end
  std::vector<uint32_t> ids_, handlers_;
};

// The kernel's types as LoadOptions::kernel_btf names them. Read once per path and process, and shared from then on;
// thread-safe. Null with OK: "none", or the running kernel has none. Unreadable or damaged: a status.
absl::StatusOr<std::shared_ptr<const KernelBtf>> GetKernelBtf(const std::string& path);
// Those that the object was loaded with; null where there are none or they cannot be read. They stay for good.
const KernelBtf* KernelTypes(const Object& object);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_BTF_VIEW_H_
