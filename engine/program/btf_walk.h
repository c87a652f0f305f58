// What lies at an offset of a structure, by its BTF (the kernel's btf_struct_walk and btf_struct_access).
#ifndef BPFSIEVE_ENGINE_PROGRAM_BTF_WALK_H_
#define BPFSIEVE_ENGINE_PROGRAM_BTF_WALK_H_

#include <bpf/btf.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/program/btf_view.h"

namespace bpfsieve {

// What the kernel says of a pointer by a tag on the type that it points to.
enum class BtfTag : uint8_t { kNone, kUser, kPercpu, kRcu };
// The tag of the type that a pointer type points to.
BtfTag PointeeTag(const struct btf* btf, const btf_type* pointer);

struct BtfField {
  enum class Kind : uint8_t {
    kError,
    kScalar,
    kPointer,        // to a structure: `type`
    kOtherPointer,   // to anything else
  };
  Kind kind = Kind::kError;
  std::string error;            // kError: the kernel's wording
  uint32_t type = 0;
  std::string_view name;        // kPointer: the member's
  BtfTag tag = BtfTag::kNone;   // kPointer
  bool through_union = false;   // of more than one member: nobody knows which one is meant
};
// A load of `size` bytes, 1 to 8, at `off` >= 0 of structure or union `type` of checked BTF (ParseBtf).
// `flexible`: an array at its end that has no length goes on.
BtfField WalkStruct(const struct btf* btf, uint32_t type, uint32_t off, uint32_t size, bool flexible = true);

// The kernel lists fields that may be trusted as structures of its BTF: struct file with `suffix` "__safe_trusted" has
// those members of struct file. Whether `field` of `type`, which points to `pointee`, is among them.
bool IsSafeField(const KernelBtf& kernel, uint32_t type, std::string_view field, uint32_t pointee,
                 std::string_view suffix);

// Whether a pointer to `type` at `off` bytes can stand for one to `wanted` of the same BTF: the same structure, or one
// that it starts with at that offset. `strict`: only itself. (btf_struct_ids_match)
bool StructMatches(const struct btf* btf, uint32_t type, int64_t off, uint32_t wanted, bool strict);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_BTF_WALK_H_
