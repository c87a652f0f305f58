// Symbols that the object leaves to the kernel: functions and variables (.ksyms), and configuration (.kconfig).
#include <elf.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <tuple>

#include "absl/container/flat_hash_set.h"
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
  if (!is_function && symbol->type_id == 0) return;  // ResolveAddresses() does these
  const KernelBtf* kernel = NeedKernel(loader);
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

// Names in the running kernel's symbol table that are among `wanted`; nullopt where the table cannot be read.
std::optional<absl::flat_hash_set<std::string>> ReadSymbolTable(const absl::flat_hash_set<std::string>& wanted) {
  std::ifstream file("/proc/kallsyms");
  if (!file) return std::nullopt;
  absl::flat_hash_set<std::string> found;
  for (std::string address, type, name, rest; file >> address >> type >> name; std::getline(file, rest)) {
    if (wanted.contains(name)) found.insert(name);
  }
  return found;
}

// Symbols declared `void` are numbers, the address or zero. libbpf looks for them in the running kernel's symbol
// table. For another kernel there is only its BTF to tell whether a weak one is there; a strong one is taken to be.
// Of others the kernel has to find the address, in the same table, which not every kernel keeps for variables.
void ResolveAddresses(ElfLoader* loader) {
  auto is_untyped = [](const ExternSymbol& symbol) {
    return symbol.error.empty() && symbol.btf_id != 0 && !symbol.kconfig && symbol.type_id == 0;
  };
  auto is_variable = [](const ExternSymbol& symbol) { return symbol.resolved && symbol.pub.kind == Extern::Kind::kVar; };
  absl::flat_hash_set<std::string> wanted;
  for (const ExternSymbol& symbol : loader->externs) {
    if (is_untyped(symbol) || is_variable(symbol)) wanted.insert(symbol.pub.name);
  }
  if (wanted.empty()) return;
  std::optional<absl::flat_hash_set<std::string>> table;
  if (loader->options.kernel_btf.empty()) table = ReadSymbolTable(wanted);
  for (ExternSymbol& symbol : loader->externs) {
    if (is_variable(symbol)) symbol.pub.no_address = table.has_value() && !table->contains(symbol.pub.name);
    if (!is_untyped(symbol)) continue;
    if (table.has_value()) {
      symbol.resolved = table->contains(symbol.pub.name);
      if (!symbol.resolved && !symbol.pub.weak) {
        symbol.error = absl::StrCat("extern '", symbol.pub.name, "' (strong): not resolved");
      }
    } else if (symbol.pub.weak) {
      const KernelBtf* kernel = NeedKernel(loader);
      symbol.resolved = kernel != nullptr && !kernel->Named(symbol.pub.name).empty();
    } else {
      symbol.resolved = true;
    }
  }
}

void Describe(ElfLoader* loader, const Declarations& declarations, ExternSymbol* symbol) {
  const struct btf* btf = loader->object->btf.get();
  auto declared = declarations.by_name.find(loader->elf.symbols[symbol->symbol].name);
  auto section =
      declared == declarations.by_name.end() ? declarations.section.end() : declarations.section.find(declared->second);
  if (section == declarations.section.end()) {
    symbol->error = absl::StrCat("failed to find BTF for extern '", symbol->pub.name, "'");
    return;
  }
  symbol->btf_id = declared->second;
  const btf_type* type = btf__type_by_id(btf, symbol->btf_id);
  symbol->pub.kind = btf_is_func(type) ? Extern::Kind::kFunc : Extern::Kind::kVar;
  if (btf_is_var(type) ? btf_var(type)->linkage != BTF_VAR_GLOBAL_EXTERN : BtfFuncLinkage(type) != BTF_FUNC_EXTERN) {
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

// libbpf's order: configuration by falling alignment, then size; then the kernel's symbols; each by name. It is the
// layout of the .kconfig map and the numbering in messages.
void SortAndPlace(ElfLoader* loader) {
  const struct btf* btf = loader->object->btf.get();
  auto key = [btf](const ExternSymbol& symbol) {
    const uint32_t align = symbol.kconfig ? KconfigAlign(btf, symbol.type_id) : 0;
    return std::tuple(!symbol.kconfig, -int64_t{align}, symbol.kconfig_size, std::string_view(symbol.pub.name),
                      symbol.symbol);
  };
  std::sort(loader->externs.begin(), loader->externs.end(),
            [&](const ExternSymbol& a, const ExternSymbol& b) { return key(a) < key(b); });
  uint32_t offset = 0;
  for (size_t i = 0; i < loader->externs.size(); ++i) {
    ExternSymbol& symbol = loader->externs[i];
    loader->extern_of_symbol[symbol.symbol] = static_cast<int>(i);
    if (!symbol.kconfig) continue;
    const uint32_t align = KconfigAlign(btf, symbol.type_id);
    symbol.kconfig_offset = (offset + align - 1) / align * align;
    offset = symbol.kconfig_offset + symbol.kconfig_size;
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
    loader->externs.push_back(std::move(symbol));
  }
  ResolveAddresses(loader);
  SortAndPlace(loader);
  // The kernel does not know what the object calls them.
  for (ExternSymbol& symbol : loader->externs) {
    if (symbol.resolved && symbol.pub.kind == Extern::Kind::kFunc) symbol.pub.name = std::string(EssentialName(symbol.pub.name));
  }
  return absl::OkStatus();
}

}  // namespace bpfsieve
