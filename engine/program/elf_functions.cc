// Which functions an object has, and what their relocations point to.
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

constexpr char kTextSection[] = ".text";
constexpr size_t kInsnSize = sizeof(Insn);

struct Span {
  const ElfSymbol* symbol = nullptr;  // null: the whole section
  uint64_t start = 0, size = 0;       // bytes
};

bool IsBlockLabel(std::string_view name) {
  return name.empty() || name.starts_with("LBB") || name.starts_with(".L") || name.starts_with("BB") ||
         name.starts_with("L");
}

// Symbols by section, executable sections only.
std::vector<std::vector<const ElfSymbol*>> CodeSymbols(const ElfFile& elf) {
  std::vector<std::vector<const ElfSymbol*>> result(elf.sections.size());
  for (const ElfSymbol& symbol : elf.symbols) {
    if (!elf.ValidSection(symbol.shndx) || !elf.sections[symbol.shndx].Executable()) continue;
    if (symbol.type == STT_FUNC || symbol.type == STT_NOTYPE) result[symbol.shndx].push_back(&symbol);
  }
  return result;
}

// Old compilers give function symbols neither type nor size: they reach to the next one.
std::vector<Span> UntypedSpans(const std::vector<const ElfSymbol*>& symbols, bool is_text, uint64_t section_size) {
  std::vector<Span> spans;
  for (const ElfSymbol* symbol : symbols) {
    if (symbol->value >= section_size) continue;
    const bool is_function = symbol->bind != STB_LOCAL || (is_text && !IsBlockLabel(symbol->name));
    if (is_function) spans.push_back({symbol, symbol->value, 0});
  }
  // Of several names for one place the first in the symbol table counts.
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return std::pair(a.start, a.symbol) < std::pair(b.start, b.symbol); });
  spans.erase(std::unique(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.start == b.start; }),
              spans.end());
  for (size_t i = 0; i < spans.size(); ++i) {
    spans[i].size = (i + 1 < spans.size() ? spans[i + 1].start : section_size) - spans[i].start;
  }
  return spans;
}

absl::Status AddFunctions(ElfLoader* loader, int index, const std::vector<const ElfSymbol*>& symbols) {
  const ElfSection& section = loader->elf.sections[index];
  const bool is_text = index == loader->text;
  std::vector<Span> spans;
  for (const ElfSymbol* symbol : symbols) {
    if (symbol->type == STT_FUNC) spans.push_back({symbol, symbol->value, symbol->size});
  }
  if (spans.empty()) spans = UntypedSpans(symbols, is_text, section.size);
  if (spans.empty()) spans.push_back({nullptr, 0, section.size});
  uint64_t total = 0;
  for (const Span& span : spans) {
    std::string_view name = span.symbol != nullptr ? span.symbol->name : section.name;
    if (span.start > section.size || span.size > section.size - span.start) {
      return absl::InvalidArgumentError(absl::StrCat("section '", CopyName(section.name), "': program '",
                                                     CopyName(name), "' crosses the section's boundary"));
    }
    // Functions of a sound object do not overlap, but for an alias or two.
    total += std::max<uint64_t>(span.size, kInsnSize);
    if (total > 4 * section.size) {
      return absl::InvalidArgumentError(absl::StrCat("section '", CopyName(section.name), "': functions overlap"));
    }
    Function function;
    function.name = name;
    function.section = index;
    function.first = static_cast<uint32_t>(span.start / kInsnSize);
    function.global = span.symbol == nullptr || span.symbol->bind != STB_LOCAL;
    function.hidden = span.symbol != nullptr && function.global &&
                      (span.symbol->visibility == STV_HIDDEN || span.symbol->visibility == STV_INTERNAL);
    if (span.size == 0 || span.size % kInsnSize != 0 || span.start % kInsnSize != 0) {
      function.error = absl::StrCat("corrupted program, offset ", span.start, ", size ", span.size);
    } else if (!is_text && !function.global && !loader->legacy_maps) {
      function.error = "program is static and not supported";
    }
    if (span.start % kInsnSize == 0) {
      function.insns.resize(span.size / kInsnSize);
      if (!function.insns.empty()) {
        std::memcpy(function.insns.data(), section.data.data() + span.start, function.insns.size() * kInsnSize);
      }
    }
    loader->functions.push_back(std::move(function));
  }
  return absl::OkStatus();
}

// What a relocation means, or an error for the function that needs it.
class Resolver {
 public:
  explicit Resolver(const ElfLoader& loader) : loader_(loader) {}

  std::string Resolve(const Function& function, uint32_t insn_index, const ElfRel& rel, Reloc* out) const {
    const Insn& insn = function.insns[insn_index];
    const ElfSymbol& symbol = loader_.elf.symbols[rel.symbol];
    out->insn = insn_index;
    const bool is_call = insn.code == kCodeCall;
    if (!is_call && !IsLdImm64(insn)) {
      return absl::StrCat("invalid relo against ", Named(symbol), " for insn ", insn_index, " (code ", insn.code, ")");
    }
    if (!is_call && insn_index + 1 >= function.insns.size()) return "64-bit immediate cut by the end of the function";
    if (symbol.IsExtern()) return ResolveExtern(rel.symbol, is_call, out);
    if (is_call) return ResolveCall(insn, symbol, out);
    if (!loader_.elf.ValidSection(symbol.shndx)) {
      return absl::StrCat("invalid relo against ", Named(symbol), " in special section ", symbol.shndx,
                          "; forgot to initialize global var?");
    }
    if (IsTextFunction(symbol)) {
      if (symbol.value % kInsnSize != 0 || insn.imm % static_cast<int32_t>(kInsnSize) != 0) {
        return absl::StrCat("bad subprog addr relo against ", Named(symbol));
      }
      out->kind = Reloc::Kind::kFuncAddress;
      out->offset = symbol.value;
      return "";
    }
    return ResolveMap(insn, symbol, out);
  }

 private:
  std::string Named(const ElfSymbol& symbol) const {
    std::string_view name = symbol.name;
    if (name.empty() && loader_.elf.ValidSection(symbol.shndx)) name = loader_.elf.sections[symbol.shndx].name;
    return absl::StrCat("'", CopyName(name), "'");
  }

  bool IsTextFunction(const ElfSymbol& symbol) const {
    if (symbol.shndx != loader_.text) return false;
    if (symbol.bind == STB_LOCAL) return symbol.type == STT_SECTION || symbol.type == STT_FUNC;
    return symbol.type == STT_FUNC || symbol.type == STT_NOTYPE;
  }

  std::string ResolveExtern(uint32_t symbol, bool is_call, Reloc* out) const {
    auto it = loader_.extern_of_symbol.find(symbol);
    if (it == loader_.extern_of_symbol.end()) {
      return absl::StrCat("extern relo failed to find extern for ", Named(loader_.elf.symbols[symbol]));
    }
    out->kind = is_call ? Reloc::Kind::kExternCall : Reloc::Kind::kExternLoad;
    out->index = it->second;
    return loader_.externs[it->second].error;
  }

  std::string ResolveCall(const Insn& insn, const ElfSymbol& symbol, Reloc* out) const {
    if (insn.src != kPseudoCall) return absl::StrCat("incorrect bpf_call opcode for ", Named(symbol));
    if (loader_.text < 0 || symbol.shndx != loader_.text) {
      std::string_view section = loader_.elf.ValidSection(symbol.shndx) ? loader_.elf.sections[symbol.shndx].name : "?";
      return absl::StrCat("bad call relo against ", Named(symbol), " in section '", CopyName(section), "'");
    }
    if (symbol.value % kInsnSize != 0) return absl::StrCat("bad call relo against ", Named(symbol));
    out->kind = Reloc::Kind::kCall;
    out->offset = symbol.value;
    return "";
  }

  std::string ResolveMap(const Insn& insn, const ElfSymbol& symbol, Reloc* out) const {
    const int section = symbol.shndx;
    if (auto data = loader_.data_map.find(section); data != loader_.data_map.end()) {
      out->kind = Reloc::Kind::kData;
      out->index = data->second;
      out->offset = symbol.value;
      return loader_.sources[data->second].error;
    }
    // A static map is named by its section and the offset in the instruction.
    uint64_t offset = symbol.value;
    if (symbol.type == STT_SECTION) offset += static_cast<uint32_t>(insn.imm);
    auto map = loader_.map_at.find({section, offset});
    if (map == loader_.map_at.end()) {
      return absl::StrCat("bad map relo against ", Named(symbol), " in section '",
                          CopyName(loader_.elf.sections[section].name), "'");
    }
    out->kind = Reloc::Kind::kMap;
    out->index = map->second;
    return loader_.sources[map->second].error;
  }

  const ElfLoader& loader_;
};

absl::Status CollectRelocs(ElfLoader* loader) {
  const ElfFile& elf = loader->elf;
  Resolver resolver(*loader);
  for (const ElfSection& section : elf.sections) {
    if (section.type != SHT_REL || !elf.ValidSection(section.info) || !elf.sections[section.info].Executable()) {
      continue;
    }
    if (section.entsize != sizeof(Elf64_Rel)) {
      return absl::InvalidArgumentError("relocation entries of an unknown size");
    }
    const ElfSection& target = elf.sections[section.info];
    for (const ElfRel& rel : ReadRels(section)) {
      if (rel.symbol >= elf.symbols.size()) {
        return absl::InvalidArgumentError(absl::StrCat("section '", CopyName(section.name),
                                                       "': relocation against symbol ", rel.symbol,
                                                       ", which does not exist"));
      }
      if (rel.offset % kInsnSize != 0 || rel.offset >= target.size) {
        return absl::InvalidArgumentError(
            absl::StrCat("section '", CopyName(section.name), "': invalid relocation offset ", rel.offset));
      }
      const uint64_t insn = rel.offset / kInsnSize;
      const int index = FunctionAt(*loader, static_cast<int>(section.info), insn);
      if (index < 0) continue;  // code of a weak function that another one replaced
      Function& function = loader->functions[index];
      Reloc reloc;
      std::string error = resolver.Resolve(function, static_cast<uint32_t>(insn - function.first), rel, &reloc);
      if (error.empty()) {
        function.relocs.push_back(reloc);
      } else if (function.error.empty()) {
        function.error = std::move(error);
      }
    }
  }
  for (Function& function : loader->functions) {
    std::sort(function.relocs.begin(), function.relocs.end(),
              [](const Reloc& a, const Reloc& b) { return a.insn < b.insn; });
    auto same_insn = [](const Reloc& a, const Reloc& b) { return a.insn == b.insn; };
    if (std::adjacent_find(function.relocs.begin(), function.relocs.end(), same_insn) != function.relocs.end() &&
        function.error.empty()) {
      function.error = "two relocations of one instruction";
    }
    // Address loads become recognisable, so that linking looks up relocations of calls only.
    for (const Reloc& reloc : function.relocs) {
      if (reloc.kind == Reloc::Kind::kFuncAddress) function.insns[reloc.insn].src = kPseudoFunc;
    }
  }
  return absl::OkStatus();
}

}  // namespace

int FunctionAt(const ElfLoader& loader, int section, uint64_t insn) {
  auto after = [&](const std::pair<int, uint64_t>& key, const Function& function) {
    return key.first != function.section ? key.first < function.section : key.second < function.first;
  };
  auto it = std::upper_bound(loader.functions.begin(), loader.functions.end(), std::pair(section, insn), after);
  if (it == loader.functions.begin()) return -1;
  --it;
  if (it->section != section || insn >= it->end()) return -1;
  return static_cast<int>(it - loader.functions.begin());
}

absl::Status CollectFunctions(ElfLoader* loader) {
  const ElfFile& elf = loader->elf;
  for (size_t i = 1; i < elf.sections.size(); ++i) {
    const ElfSection& section = elf.sections[i];
    if (section.name == kTextSection && section.type == SHT_PROGBITS && section.Executable() && section.size > 0) {
      loader->text = static_cast<int>(i);
    }
  }
  std::vector<std::vector<const ElfSymbol*>> symbols = CodeSymbols(elf);
  for (size_t i = 1; i < elf.sections.size(); ++i) {
    const ElfSection& section = elf.sections[i];
    if (section.type != SHT_PROGBITS || !section.Executable() || section.size == 0) continue;
    if (absl::Status status = AddFunctions(loader, static_cast<int>(i), symbols[i]); !status.ok()) return status;
  }
  std::sort(loader->functions.begin(), loader->functions.end(), [](const Function& a, const Function& b) {
    return std::tuple(a.section, a.first, a.name) < std::tuple(b.section, b.first, b.name);
  });
  return CollectRelocs(loader);
}

}  // namespace bpfsieve
