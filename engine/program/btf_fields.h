// Fields that the kernel manages itself, in values of maps and in the program's own structures. The rules are those of
// the kernel's btf_parse_fields() and btf_parse_struct_metas() (Linux 6.18, kernel/bpf/btf.c).
#ifndef BPFSIEVE_ENGINE_PROGRAM_BTF_FIELDS_H_
#define BPFSIEVE_ENGINE_PROGRAM_BTF_FIELDS_H_

#include <cstdint>
#include <vector>

#include "engine/program/program.h"

namespace bpfsieve {

// Special fields of a map value, by offset. Empty where the kernel finds none or refuses the type. What pointers point
// to is a type of the program's own; see ResolveFields().
std::vector<MapField> FindMapFields(const struct btf* btf, uint32_t value_type_id);

// Structures of the object's BTF with special fields of their own, as objects that a program makes. `*refused`: the
// kernel does not take the BTF as it is.
std::vector<StructFields> FindStructFields(const struct btf* btf, bool* refused);

// Fills in what the loaders leave out of a complete object: `structs`, `btf_refused`, and what the pointers of all
// fields point to. A structure that the kernel has too, by name, is the kernel's.
void ResolveFields(Object* object);

inline bool IsKptr(SpecialField kind) {
  return kind == SpecialField::kKptrUntrusted || kind == SpecialField::kKptrTrusted ||
         kind == SpecialField::kKptrPercpu || kind == SpecialField::kUptr;
}
inline bool IsGraphRoot(SpecialField kind) { return kind == SpecialField::kListHead || kind == SpecialField::kRbRoot; }
inline bool IsGraphNode(SpecialField kind) { return kind == SpecialField::kListNode || kind == SpecialField::kRbNode; }

const char* FieldTypeName(SpecialField kind);  // the kernel's: "bpf_list_head", "kptr"

// The first field of a kind, and a field by its offset and kind; null: there is none. No fields are an empty list.
const MapField* FindField(const std::vector<MapField>& fields, SpecialField kind);
const MapField* FieldAt(const std::vector<MapField>& fields, int64_t offset, SpecialField kind);
const MapField* KptrAt(const std::vector<MapField>& fields, int64_t offset);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_BTF_FIELDS_H_
