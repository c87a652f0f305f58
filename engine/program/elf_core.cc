#include "engine/program/elf_loader.h"

namespace bpfsieve {

void ApplyCoreRelocations(ElfLoader* loader) {
  for (const auto& [section, info] : loader->ext.sections) {
    for (const CoreRecord& record : info.relos) {
      const int index = FunctionAt(*loader, section, record.insn);
      if (index >= 0 && loader->functions[index].error.empty()) {
        loader->functions[index].error = "CO-RE relocations are not supported";
      }
    }
  }
}

}  // namespace bpfsieve
