// Symbols that the object leaves to the kernel: functions and variables (.ksyms), and configuration (.kconfig).
#include <elf.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "engine/program/core_match.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

constexpr uint32_t kMaxKconfigSize = 4096;

// VAR and FUNC types of the object by name, and the section that each is declared in.
struct Declarations {
  absl::flat_hash_map<std::string_view, uint32_t> by_name;
  absl::flat_hash_map<uint32_t, std::string_view> section;
};

Declarations FindDeclarations(const struct btf* btf) {
  Declarations result;
  if (btf == nullptr) return result;
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* type = btf__type_by_id(btf, id);
    if (btf_is_var(type) || btf_is_func(type)) result.by_name.try_emplace(BtfName(btf, type->name_off), id);
    if (!btf_is_datasec(type)) continue;
    for (int i = 0; i < btf_vlen(type); ++i) {
      result.section.try_emplace(btf_var_secinfos(type)[i].type, BtfName(btf, type->name_off));
    }
  }
  return result;
}

// Alignment of the types that a configuration value may have; 0: another type.
uint32_t KconfigAlign(const struct btf* btf, uint32_t id) {
  const btf_type* type = SkipModifiers(btf, id, &id);
  if (btf_is_int(type)) {
    return type->size <= 8 && type->size != 0 && (type->size & (type->size - 1)) == 0 ? type->size : 0;
  }
  if (btf_is_enum(type) || btf_is_enum64(type)) {
    return BtfName(btf, type->name_off) == "libbpf_tristate" && type->size == 4 ? 4 : 0;
  }
  if (btf_is_array(type) && btf_array(type)->nelems != 0) {
    const btf_type* element = SkipModifiers(btf, btf_array(type)->type, nullptr);
    return btf_is_int(element) && element->size == 1 ? 1 : 0;
  }
  return 0;
}

void ResolveKernelSymbol(ElfLoader* loader, ExternSymbol* symbol) {
  const bool is_function = symbol->pub.kind == Extern::Kind::kFunc;
  const char* what = is_function ? "func ksym" : "var ksym";
  const KernelBtf* kernel = NeedKernel(loader);
  if (!is_function && symbol->type_id == 0) {
    // Libbpf looks for untyped symbols in the running kernel's symbol table; a strong one is taken to be there.
    symbol->resolved = !symbol->pub.weak || (kernel != nullptr && !kernel->Named(symbol->pub.name).empty());
    return;
  }
  if (kernel == nullptr) {
    symbol->error = absl::StrCat("extern (", what, ") '", symbol->pub.name, "': ", loader->kernel_error);
    return;
  }
  std::string_view name = is_function ? EssentialName(symbol->pub.name) : std::string_view(symbol->pub.name);
  const uint32_t id = kernel->Find(name, is_function ? BTF_KIND_FUNC : BTF_KIND_VAR);
  if (id == 0) {
    if (!symbol->pub.weak) {
      symbol->error = absl::StrCat("extern (", what, ") '", symbol->pub.name, "': not found in kernel BTF");
    }
    return;
  }
  const uint32_t kernel_type = btf__type_by_id(kernel->get(), id)->type;
  int64_t steps = 100'000;
  const TypePair pair{.local = loader->object->btf.get(), .target = kernel->get(), .steps = &steps};
  uint32_t kernel_resolved = 0;
  SkipModifiers(kernel->get(), kernel_type, &kernel_resolved);
  if (TypesCompatible(pair, symbol->type_id, kernel_resolved) != Match::kYes) {
    if (!is_function || !symbol->pub.weak) {
      symbol->error = absl::StrCat("extern (", what, ") '", symbol->pub.name, "': incompatible with the kernel's");
    }
    return;
  }
  symbol->resolved = true;
  symbol->pub.btf_id = id;
}

void Describe(ElfLoader* loader, const Declarations& declarations, ExternSymbol* symbol) {
  const struct btf* btf = loader->object->btf.get();
  auto declared = declarations.by_name.find(loader->elf.symbols[symbol->symbol].name);
  auto section = declared == declarations.by_name.end() ? declarations.section.end()
                                                        : declarations.section.find(declared->second);
  if (section == declarations.section.end()) {
    symbol->error = absl::StrCat("failed to find BTF for extern '", symbol->pub.name, "'");
    return;
  }
  symbol->btf_id = declared->second;
  const btf_type* type = btf__type_by_id(btf, symbol->btf_id);
  symbol->pub.kind = btf_is_func(type) ? Extern::Kind::kFunc : Extern::Kind::kVar;
  if (btf_is_var(type) ? btf_var(type)->linkage != BTF_VAR_GLOBAL_EXTERN
                       : BtfFuncLinkage(type) != BTF_FUNC_EXTERN) {
    symbol->error = absl::StrCat("extern '", symbol->pub.name, "' is not declared extern in BTF");
  } else if (section->second == ".kconfig") {
    const int64_t size = BtfSize(btf, type->type);
    const bool ok = btf_is_var(type) && size > 0 && size <= kMaxKconfigSize && KconfigAlign(btf, type->type) != 0;
    if (!ok) {
      symbol->error = absl::StrCat("extern (kcfg) '", symbol->pub.name, "': type is unsupported");
    } else {
      symbol->kconfig = true;
      symbol->kconfig_size = static_cast<uint32_t>(size);
      symbol->type_id = type->type;
    }
  } else if (section->second == ".ksyms") {
    SkipModifiers(btf, type->type, &symbol->type_id);
    ResolveKernelSymbol(loader, symbol);
  } else {
    symbol->error = absl::StrCat("unrecognized extern section '", CopyName(section->second), "'");
  }
}

// libbpf's layout of the .kconfig map: by falling alignment, then size, then name.
void PlaceKconfig(ElfLoader* loader) {
  const struct btf* btf = loader->object->btf.get();
  std::vector<std::pair<std::tuple<int64_t, uint32_t, std::string_view>, ExternSymbol*>> order;
  for (ExternSymbol& symbol : loader->externs) {
    if (!symbol.kconfig) continue;
    order.push_back({{-int64_t{KconfigAlign(btf, symbol.type_id)}, symbol.kconfig_size, symbol.pub.name}, &symbol});
  }
  std::sort(order.begin(), order.end());
  uint32_t offset = 0;
  for (auto& [key, symbol] : order) {
    const uint32_t align = static_cast<uint32_t>(-std::get<0>(key));
    offset = (offset + align - 1) / align * align;
    symbol->kconfig_offset = offset;
    offset += symbol->kconfig_size;
  }
}

}  // namespace

absl::Status CollectExterns(ElfLoader* loader) {
  const Declarations declarations = FindDeclarations(loader->object->btf.get());
  for (size_t i = 1; i < loader->elf.symbols.size(); ++i) {
    const ElfSymbol& elf_symbol = loader->elf.symbols[i];
    if (!elf_symbol.IsExtern() || elf_symbol.name.empty()) continue;
    ExternSymbol symbol;
    symbol.symbol = static_cast<uint32_t>(i);
    symbol.pub.name = CopyName(elf_symbol.name);
    symbol.pub.weak = elf_symbol.bind == STB_WEAK;
    Describe(loader, declarations, &symbol);
    loader->extern_of_symbol[symbol.symbol] = static_cast<int>(loader->externs.size());
    loader->externs.push_back(std::move(symbol));
  }
  PlaceKconfig(loader);
  return absl::OkStatus();
}

}  // namespace bpfsieve
