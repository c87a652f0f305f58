// For tests: writes ELF images for the BPF machine, section by section, with no compiler at hand.
#ifndef BPFSIEVE_ENGINE_PROGRAM_TEST_ELF_H_
#define BPFSIEVE_ENGINE_PROGRAM_TEST_ELF_H_

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "engine/isa/insn.h"

namespace bpfsieve {

inline Insn MovImm(uint8_t dst, int32_t imm) { return {.code = kClassAlu64 | kMov | kSrcK, .dst = dst, .imm = imm}; }
inline Insn ExitInsn() { return {.code = kCodeExit}; }
inline Insn CallSub(int32_t imm) { return {.code = kCodeCall, .src = kPseudoCall, .imm = imm}; }
inline Insn CallHelper(int32_t id) { return {.code = kCodeCall, .imm = id}; }
inline Insn LdImm64(uint8_t dst, uint8_t src, int32_t imm) {
  return {.code = kCodeLdImm64, .dst = dst, .src = src, .imm = imm};
}

class TestElf {
 public:
  TestElf() {
    sections_.push_back({});
    symbols_.push_back({});
  }

  // Each returns the index of what it added.
  int Section(const std::string& name, uint32_t type, uint64_t flags, std::string data) {
    sections_.push_back({.name = name, .type = type, .flags = flags, .data = std::move(data)});
    return static_cast<int>(sections_.size()) - 1;
  }
  int Code(const std::string& name, const std::vector<Insn>& insns) {
    std::string data(insns.size() * sizeof(Insn), '\0');
    if (!insns.empty()) std::memcpy(data.data(), insns.data(), data.size());
    return Section(name, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, data);
  }
  int Data(const std::string& name, std::string data) {
    return Section(name, SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, std::move(data));
  }
  int Bss(const std::string& name, uint64_t size) {
    const int index = Section(name, SHT_NOBITS, SHF_ALLOC | SHF_WRITE, "");
    sections_[index].nobits_size = size;
    return index;
  }
  int Symbol(const std::string& name, int section, uint64_t value, uint64_t size, int type = STT_FUNC,
             int bind = STB_GLOBAL, int visibility = STV_DEFAULT) {
    Elf64_Sym symbol{};
    symbol.st_name = AddString(&symbol_names_, name);
    symbol.st_info = static_cast<unsigned char>(ELF64_ST_INFO(bind, type));
    symbol.st_other = static_cast<unsigned char>(visibility);
    symbol.st_shndx = static_cast<uint16_t>(section);
    symbol.st_value = value;
    symbol.st_size = size;
    symbols_.push_back(symbol);
    return static_cast<int>(symbols_.size()) - 1;
  }
  // A relocation of instruction `insn` of `section` against a symbol.
  void Rel(int section, uint32_t insn, int symbol, uint32_t type = 1) {
    Elf64_Rel rel{};
    rel.r_offset = insn * sizeof(Insn);
    rel.r_info = ELF64_R_INFO(static_cast<uint64_t>(symbol), type);
    sections_[section].rels.append(reinterpret_cast<const char*>(&rel), sizeof rel);
  }

  std::string Write() const {
    std::vector<Part> parts = sections_;
    const uint32_t symtab = static_cast<uint32_t>(parts.size());
    std::string symbols(reinterpret_cast<const char*>(symbols_.data()), symbols_.size() * sizeof(Elf64_Sym));
    parts.push_back({.name = ".symtab", .type = SHT_SYMTAB, .data = symbols, .link = symtab + 1, .entsize = 24});
    parts.push_back({.name = ".strtab", .type = SHT_STRTAB, .data = symbol_names_});
    for (uint32_t i = 0; i < symtab; ++i) {
      if (sections_[i].rels.empty()) continue;
      parts.push_back({.name = ".rel" + sections_[i].name,
                       .type = SHT_REL,
                       .data = sections_[i].rels,
                       .link = symtab,
                       .info = i,
                       .entsize = sizeof(Elf64_Rel)});
    }
    std::string names(1, '\0');
    std::vector<uint32_t> name_offsets;
    parts.push_back({.name = ".shstrtab", .type = SHT_STRTAB});
    for (const Part& part : parts) name_offsets.push_back(AddString(&names, part.name));
    parts.back().data = names;

    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_REL;
    header.e_machine = 247;
    header.e_version = EV_CURRENT;
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<uint16_t>(parts.size());
    header.e_shstrndx = static_cast<uint16_t>(parts.size() - 1);
    std::string image(sizeof header, '\0');
    std::vector<Elf64_Shdr> headers;
    for (size_t i = 0; i < parts.size(); ++i) {
      Elf64_Shdr section{};
      if (i > 0) {
        image.resize((image.size() + 7) / 8 * 8);
        section.sh_name = name_offsets[i];
        section.sh_type = parts[i].type;
        section.sh_flags = parts[i].flags;
        section.sh_offset = image.size();
        section.sh_size = parts[i].type == SHT_NOBITS ? parts[i].nobits_size : parts[i].data.size();
        section.sh_link = parts[i].link;
        section.sh_info = parts[i].info;
        section.sh_entsize = parts[i].entsize;
        section.sh_addralign = 8;
        if (parts[i].type != SHT_NOBITS) image += parts[i].data;
      }
      headers.push_back(section);
    }
    image.resize((image.size() + 7) / 8 * 8);
    header.e_shoff = image.size();
    std::memcpy(image.data(), &header, sizeof header);
    image.append(reinterpret_cast<const char*>(headers.data()), headers.size() * sizeof(Elf64_Shdr));
    return image;
  }

 private:
  struct Part {
    std::string name;
    uint32_t type = SHT_NULL;
    uint64_t flags = 0;
    std::string data;
    uint32_t link = 0, info = 0;
    uint64_t entsize = 0;
    uint64_t nobits_size = 0;
    std::string rels;
  };
  static uint32_t AddString(std::string* table, const std::string& text) {
    const auto offset = static_cast<uint32_t>(table->size());
    *table += text;
    *table += '\0';
    return text.empty() ? 0 : offset;
  }

  std::vector<Part> sections_;
  std::vector<Elf64_Sym> symbols_;
  std::string symbol_names_ = std::string(1, '\0');
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_TEST_ELF_H_
