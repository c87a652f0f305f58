// An ELF relocatable file for the BPF machine, as tables of sections, symbols and relocations. Every offset, size and
// index that the file holds has been checked against the file's size, so that readers need no checks of their own.
#ifndef BPFSIEVE_ENGINE_PROGRAM_ELF_FILE_H_
#define BPFSIEVE_ENGINE_PROGRAM_ELF_FILE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace bpfsieve {

struct ElfSection {
  std::string_view name;
  uint32_t type = 0;   // SHT_*
  uint64_t flags = 0;  // SHF_*
  uint32_t link = 0;
  uint32_t info = 0;
  uint64_t entsize = 0;
  uint64_t size = 0;      // for SHT_NOBITS any number: nothing in the file bounds it
  std::string_view data;  // empty for SHT_NOBITS

  bool Executable() const;
};

struct ElfSymbol {
  std::string_view name;
  uint64_t value = 0;
  uint64_t size = 0;
  uint8_t type = 0;        // STT_*
  uint8_t bind = 0;        // STB_*
  uint8_t visibility = 0;  // STV_*
  uint16_t shndx = 0;      // may be a special index (SHN_*), and may be out of range

  bool IsExtern() const;  // undefined, global or weak, without a type
};

struct ElfRel {
  uint64_t offset = 0;
  uint32_t symbol = 0;  // may be out of range
  uint32_t type = 0;
};

struct ElfFile {
  std::vector<ElfSection> sections;  // [0] is the null section
  std::vector<ElfSymbol> symbols;    // [0] is the null symbol
  int symtab = 0;                    // index of the symbol table in `sections`

  // The first section of that name, -1: none.
  int SectionByName(std::string_view name) const;
  bool ValidSection(uint32_t i) const { return i > 0 && i < sections.size(); }
};

// The views point into `bytes`, which must outlive the result. Not an ELF file, another machine, class or byte order,
// or damaged: InvalidArgument.
absl::StatusOr<ElfFile> ParseElf(std::string_view bytes);

// Entries of an SHT_REL section, as many as are whole.
std::vector<ElfRel> ReadRels(const ElfSection& section);

// A T at a byte offset of `data`; the caller has checked that it lies within.
template <typename T>
T ReadAt(std::string_view data, size_t offset) {
  T value;
  std::memcpy(&value, data.data() + offset, sizeof value);
  return value;
}

// A copy of a name from the file, cut where it is absurdly long: many entries may share one long string.
std::string CopyName(std::string_view name);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_ELF_FILE_H_
