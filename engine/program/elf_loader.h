// The ELF loader's work in progress, shared by its passes. elf_object.cc runs them in this order:
//   1. BTF and .BTF.ext            elf_object.cc
//   2. CollectExterns              elf_externs.cc   symbols that the kernel or its configuration provides
//   3. CollectMaps                 elf_maps.cc, elf_legacy_maps.cc, elf_map_fields.cc
//   4. CollectFunctions            elf_functions.cc programs and subprograms, and their relocations
//   5. ApplyCoreRelocations        elf_core.cc, core_relo.cc
//   6. LinkPrograms                elf_link.cc      each program with the subprograms that it reaches
// What one function or map lacks is kept as its `error` and becomes the `broken` of the programs that use it.
#ifndef BPFSIEVE_ENGINE_PROGRAM_ELF_LOADER_H_
#define BPFSIEVE_ENGINE_PROGRAM_ELF_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "bpfsieve/verify.h"
#include "engine/isa/insn.h"
#include "engine/program/btf_ext.h"
#include "engine/program/btf_fields.h"
#include "engine/program/btf_view.h"
#include "engine/program/elf_file.h"
#include "engine/program/program.h"

namespace bpfsieve {

// Where a map of Object::maps comes from.
struct MapSource {
  int section = -1;     // ELF section, -1: none (.kconfig, inner definitions)
  uint64_t offset = 0;  // in the section
  bool is_data = false;  // a whole data section
  std::string error;     // why programs may not use it; empty: they may
};

struct ExternSymbol {
  Extern pub;
  uint32_t symbol = 0;       // ELF symbol
  uint32_t btf_id = 0;       // VAR or FUNC in the object's BTF
  uint32_t type_id = 0;      // its type, modifiers skipped; 0: none (`void`)
  bool kconfig = false;      // else a kernel symbol
  uint32_t kconfig_offset = 0;
  uint32_t kconfig_size = 0;
  bool resolved = false;     // found in the kernel's BTF
  std::string error;         // why programs may not use it
};

struct Reloc {
  enum class Kind : uint8_t { kCall, kFuncAddress, kMap, kData, kExternLoad, kExternCall };
  uint32_t insn = 0;    // in the function
  Kind kind{};
  int index = 0;        // map or extern
  uint64_t offset = 0;  // symbol's value, for kCall, kFuncAddress and kData
};

// A program or subprogram, before linking.
struct Function {
  std::string_view name;
  int section = 0;
  uint32_t first = 0;    // instruction in the section
  bool global = false;   // symbol binding
  bool hidden = false;   // restricted visibility: the kernel is told that it is static
  std::vector<Insn> insns;
  std::vector<Reloc> relocs;  // by insn
  std::string error;          // why programs may not use it

  uint32_t end() const { return first + static_cast<uint32_t>(insns.size()); }
};

struct ElfLoader {
  const ElfFile& elf;
  const LoadOptions& options;
  size_t file_size;
  Object* object;
  BtfExt ext;
  std::shared_ptr<const KernelBtf> kernel;  // null: none; see NeedKernel()
  bool kernel_asked = false;
  std::string kernel_error;

  absl::flat_hash_map<std::string_view, uint32_t> datasecs;  // DATASEC types of the object's BTF by name
  absl::flat_hash_set<uint32_t> exported_datasecs;           // those with a variable that is not static
  absl::flat_hash_map<uint32_t, std::vector<MapField>> fields_of_type;  // FindMapFields() of the value types seen
  std::vector<MapSource> sources;  // beside object->maps
  absl::flat_hash_map<std::pair<int, uint64_t>, int> map_at;  // section and offset of BTF-defined and legacy maps
  absl::flat_hash_map<int, int> data_map;                     // section -> map
  int kconfig_map = -1;
  bool legacy_maps = false;  // the object has maps of the time before BTF: libbpf 0.x or another loader reads it

  std::vector<ExternSymbol> externs;
  absl::flat_hash_map<uint32_t, int> extern_of_symbol;

  int text = -1;                    // section .text, -1: none or empty
  std::vector<Function> functions;  // by section and position
};

// The kernel's BTF, read when first needed; null: none, or unreadable.
const KernelBtf* NeedKernel(ElfLoader* loader);

absl::Status CollectExterns(ElfLoader* loader);
absl::Status CollectMaps(ElfLoader* loader);
absl::Status CollectLegacyMaps(ElfLoader* loader);
absl::Status CollectFunctions(ElfLoader* loader);
void ApplyCoreRelocations(ElfLoader* loader);
absl::Status LinkPrograms(ElfLoader* loader);

// Adds a map and where it comes from; its index.
int AddMap(ElfLoader* loader, MapDef map, MapSource source);
// Values of .kconfig externs, from the running kernel.
void FillKconfig(ElfLoader* loader, std::vector<uint8_t>* data);
// The function of a section that contains an instruction, -1: none.
int FunctionAt(const ElfLoader& loader, int section, uint64_t insn);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_ELF_LOADER_H_
