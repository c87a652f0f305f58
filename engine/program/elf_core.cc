// Applies an object's CO-RE relocations to its functions before they are linked, so that a subprogram that several
// programs share is done once.
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/program/core_relo.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {

void ApplyCoreRelocations(ElfLoader* loader) {
  const struct btf* local = loader->object->btf.get();
  std::optional<CoreResolver> resolver;
  for (size_t i = 0; i < loader->ext.relos.size(); ++i) {
    const CoreRecord& record = loader->ext.relos[i];
    const int index = FunctionAt(*loader, record.section, record.insn);
    if (index < 0) continue;  // code of a weak function that another one replaced
    Function& function = loader->functions[index];
    if (!function.error.empty()) continue;
    const auto kind = static_cast<CoreKind>(record.kind);
    std::string error;
    CoreResult result;
    if (kind == CoreKind::kTypeIdLocal) {
      result = LocalTypeId(record.type_id);
    } else if (const KernelBtf* kernel = NeedKernel(loader); kernel == nullptr) {
      error = loader->kernel_error;
    } else {
      if (!resolver.has_value()) resolver.emplace(local, *kernel);
      error = resolver->Resolve(kind, record.type_id, BtfName(local, record.access_off), &result);
    }
    if (error.empty()) error = PatchCore(result, std::span(function.insns).subspan(record.insn - function.first));
    if (!error.empty()) {
      function.error = absl::StrCat("CO-RE relocation #", i, " of type '", CopyName(BtfTypeName(local, record.type_id)),
                                    "' at instruction ", record.insn - function.first, ": ", error);
    }
  }
}

}  // namespace bpfsieve
