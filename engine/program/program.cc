#include "engine/program/program.h"

#include <bpf/btf.h>

#include <algorithm>

namespace bpfsieve {

void BtfDeleter::operator()(struct btf* b) const { btf__free(b); }

bool Object::GplCompatible() const {
  // The kernel's license_is_gpl_compatible(): exact strings.
  for (const char* compatible :
       {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}) {
    if (license == compatible) return true;
  }
  return false;
}

const std::vector<MapField>* Object::FieldsOfStruct(uint32_t type_id) const {
  auto it = std::lower_bound(structs.begin(), structs.end(), type_id,
                             [](const StructFields& s, uint32_t id) { return s.type_id < id; });
  return it != structs.end() && it->type_id == type_id ? &it->fields : nullptr;
}

}  // namespace bpfsieve
