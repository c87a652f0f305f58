// The .BTF.ext section: per instruction, which function starts, which source line it is from, and which CO-RE
// relocation applies. Layout: Linux Documentation/bpf/btf.rst.
#ifndef BPFSIEVE_ENGINE_PROGRAM_BTF_EXT_H_
#define BPFSIEVE_ENGINE_PROGRAM_BTF_EXT_H_

#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/program/elf_file.h"

struct btf;

namespace bpfsieve {

// Instruction numbers count from the start of the ELF section.
struct FuncRecord {
  uint32_t insn = 0;
  uint32_t type_id = 0;
  friend auto operator<=>(const FuncRecord&, const FuncRecord&) = default;
};
struct LineRecord {
  uint32_t insn = 0;
  uint32_t file_off = 0;  // string offsets
  uint32_t text_off = 0;
  uint32_t line = 0;
  uint32_t column = 0;
  friend auto operator<=>(const LineRecord&, const LineRecord&) = default;
};
struct CoreRecord {
  int section = 0;
  uint32_t insn = 0;
  uint32_t type_id = 0;
  uint32_t access_off = 0;
  uint32_t kind = 0;
};

struct BtfExt {
  struct Section {
    std::vector<FuncRecord> funcs;  // by insn
    std::vector<LineRecord> lines;  // by insn
  };
  absl::flat_hash_map<int, Section> sections;  // by index of the ELF section
  std::vector<CoreRecord> relos;               // in the file's order
};

// `btf` gives the strings. Damaged: InvalidArgument.
absl::StatusOr<BtfExt> ParseBtfExt(std::string_view bytes, const struct btf* btf, const ElfFile& elf);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_BTF_EXT_H_
