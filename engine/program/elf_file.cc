#include "engine/program/elf_file.h"

#include <gelf.h>
#include <libelf.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

constexpr uint16_t kMachineBpf = 247;
constexpr size_t kMaxName = 4096;      // longer names in string tables are taken as damage
constexpr size_t kMaxCopiedName = 256;

// The NUL-terminated string at `offset`.
std::optional<std::string_view> StringAt(std::string_view table, uint64_t offset) {
  if (offset >= table.size()) return std::nullopt;
  std::string_view rest = table.substr(offset, kMaxName);
  size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

absl::Status Damaged(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("elf: ", absl::string_view(what.data(), what.size())));
}

struct ElfCloser {
  void operator()(Elf* elf) const { elf_end(elf); }
};

absl::Status ReadSections(Elf* elf, std::string_view bytes, ElfFile* file) {
  size_t count = 0, names_index = 0;
  if (elf_getshdrnum(elf, &count) != 0 || count == 0) return Damaged("no section headers");
  if (elf_getshdrstrndx(elf, &names_index) != 0) return Damaged("no section names");
  if (count > bytes.size() / sizeof(Elf64_Shdr)) return Damaged("section headers outside of the file");
  file->sections.resize(count);
  std::vector<uint32_t> name_offsets(count);
  uint64_t total = 0;
  for (size_t i = 1; i < count; ++i) {
    GElf_Shdr header;
    Elf_Scn* scn = elf_getscn(elf, i);
    if (scn == nullptr || gelf_getshdr(scn, &header) == nullptr) return Damaged(absl::StrCat("section header ", i));
    ElfSection& section = file->sections[i];
    name_offsets[i] = header.sh_name;
    section.type = header.sh_type;
    section.flags = header.sh_flags;
    section.link = header.sh_link;
    section.info = header.sh_info;
    section.entsize = header.sh_entsize;
    section.size = header.sh_size;
    if (section.type == SHT_NULL) {
      section.size = 0;
    } else if (section.type != SHT_NOBITS) {
      if (header.sh_offset > bytes.size() || header.sh_size > bytes.size() - header.sh_offset) {
        return Damaged(absl::StrCat("section ", i, " reaches outside of the file"));
      }
      section.data = bytes.substr(header.sh_offset, header.sh_size);
      total += header.sh_size;
    }
  }
  // Sections of a sound file do not overlap. This bounds all later work by the file's size.
  if (total > 2 * uint64_t{bytes.size()}) return Damaged("sections overlap");
  if (names_index == 0 || names_index >= count) return Damaged("section name table missing");
  std::string_view names = file->sections[names_index].data;
  for (size_t i = 1; i < count; ++i) {
    std::optional<std::string_view> name = StringAt(names, name_offsets[i]);
    if (!name.has_value()) return Damaged(absl::StrCat("name of section ", i));
    file->sections[i].name = *name;
  }
  return absl::OkStatus();
}

absl::Status ReadSymbols(ElfFile* file) {
  for (size_t i = 1; i < file->sections.size(); ++i) {
    if (file->sections[i].type != SHT_SYMTAB) continue;
    if (file->symtab != 0) return Damaged("multiple symbol tables");
    file->symtab = static_cast<int>(i);
  }
  if (file->symtab == 0) return Damaged("no symbol table; stripped?");
  const ElfSection& table = file->sections[file->symtab];
  if (table.entsize != sizeof(Elf64_Sym)) return Damaged("symbol table entries of an unknown size");
  if (!file->ValidSection(table.link)) return Damaged("symbol strings section missing or invalid");
  std::string_view names = file->sections[table.link].data;
  size_t count = table.data.size() / sizeof(Elf64_Sym);
  file->symbols.resize(count);
  for (size_t i = 1; i < count; ++i) {
    Elf64_Sym sym = ReadAt<Elf64_Sym>(table.data, i * sizeof(Elf64_Sym));
    ElfSymbol& out = file->symbols[i];
    std::optional<std::string_view> name = StringAt(names, sym.st_name);
    if (!name.has_value() && sym.st_name != 0) return Damaged(absl::StrCat("name of symbol ", i));
    if (name.has_value()) out.name = *name;
    out.value = sym.st_value;
    out.size = sym.st_size;
    out.type = ELF64_ST_TYPE(sym.st_info);
    out.bind = ELF64_ST_BIND(sym.st_info);
    out.visibility = ELF64_ST_VISIBILITY(sym.st_other);
    out.shndx = sym.st_shndx;
  }
  return absl::OkStatus();
}

}  // namespace

bool ElfSection::Executable() const { return (flags & SHF_EXECINSTR) != 0; }

bool ElfSymbol::IsExtern() const {
  return shndx == SHN_UNDEF && (bind == STB_GLOBAL || bind == STB_WEAK) && type == STT_NOTYPE;
}

int ElfFile::SectionByName(std::string_view name) const {
  for (size_t i = 1; i < sections.size(); ++i) {
    if (sections[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<ElfFile> ParseElf(std::string_view bytes) {
  static const bool libelf_ready = elf_version(EV_CURRENT) != EV_NONE;
  if (!libelf_ready) return absl::InternalError("libelf is of another version than its header");
  if (bytes.size() < sizeof(Elf64_Ehdr)) return Damaged("shorter than a header");
  // libelf takes a mutable image but only reads it: ELF_C_READ is what elf_memory() implies.
  std::unique_ptr<Elf, ElfCloser> elf(elf_memory(const_cast<char*>(bytes.data()), bytes.size()));
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF) return Damaged("not an ELF file");
  if (gelf_getclass(elf.get()) != ELFCLASS64) return Damaged("not a 64-bit object");
  GElf_Ehdr header;
  if (gelf_getehdr(elf.get(), &header) == nullptr) return Damaged("damaged header");
  if (header.e_ident[EI_DATA] != ELFDATA2LSB) return Damaged("not a little-endian object");
  // Early LLVM left the machine at none.
  if (header.e_type != ET_REL || (header.e_machine != EM_NONE && header.e_machine != kMachineBpf)) {
    return Damaged("not a BPF object file");
  }
  ElfFile file;
  if (absl::Status status = ReadSections(elf.get(), bytes, &file); !status.ok()) return status;
  if (absl::Status status = ReadSymbols(&file); !status.ok()) return status;
  return file;
}

std::vector<ElfRel> ReadRels(const ElfSection& section) {
  std::vector<ElfRel> rels(section.data.size() / sizeof(Elf64_Rel));
  for (size_t i = 0; i < rels.size(); ++i) {
    Elf64_Rel rel = ReadAt<Elf64_Rel>(section.data, i * sizeof(Elf64_Rel));
    rels[i] = {.offset = rel.r_offset,
               .symbol = static_cast<uint32_t>(ELF64_R_SYM(rel.r_info)),
               .type = static_cast<uint32_t>(ELF64_R_TYPE(rel.r_info))};
  }
  return rels;
}

std::string CopyName(std::string_view name) { return std::string(name.substr(0, kMaxCopiedName)); }

}  // namespace bpfsieve
