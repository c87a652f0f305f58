#include "engine/program/program.h"

#include <bpf/btf.h>

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

}  // namespace bpfsieve
