// What a loader produces and every later room reads: maps, programs ready to verify, and the names and lines to
// explain a verdict with. Plain data; immutable once a loader has returned it, so any number of threads may read it.
#ifndef BPFSIEVE_ENGINE_PROGRAM_PROGRAM_H_
#define BPFSIEVE_ENGINE_PROGRAM_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/isa/insn.h"
#include "engine/program/types.h"

struct btf;  // libbpf's BTF reader

namespace bpfsieve {

class KernelBtf;

// A field of a map value that the kernel manages and that programs may not touch as bytes.
enum class SpecialField : uint8_t {
  kSpinLock, kResSpinLock, kTimer, kWorkqueue, kTaskWork, kKptrUntrusted, kKptrTrusted, kKptrPercpu, kUptr, kListHead,
  kListNode, kRbRoot, kRbNode, kRefcount,
};
struct MapField {
  SpecialField kind;
  uint32_t offset = 0;  // bytes from the start of the value
  uint32_t size = 0;
  // kptr and uptr: name of the structure that it points to; empty: unknown. Lists and trees of a program written as text:
  // STRUCT.OFFSET, their elements and where in one its node lies.
  std::string target{};
  // kptr and uptr: that structure; lists and trees: their elements'. 0: unknown.
  uint32_t type_id = 0;
  bool kernel_type = false;  // it is one of the kernel's types, else of Object::btf
  uint32_t node_offset = 0;  // lists and trees: where in an element its node lies
};
// A structure of a program written as text; the n-th is type n of the object's BTF.
struct TextStruct {
  std::string name;
  uint32_t size = 0;
  std::vector<MapField> fields;  // by offset; all other bytes are numbers
};
// A structure that programs make objects of, with fields that the kernel manages.
struct StructFields {
  uint32_t type_id = 0;          // in Object::btf
  std::vector<MapField> fields;  // by offset
};

struct MapDef {
  std::string name;
  MapType type = MapType::kUnspec;
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  uint32_t max_entries = 0;
  uint32_t flags = 0;
  uint64_t extra = 0;
  int inner = -1;                  // map-in-map: index of the inner definition in Object::maps; -1: none known
  uint32_t btf_key_type_id = 0;    // in Object::btf; 0: none
  uint32_t btf_value_type_id = 0;  // in Object::btf; 0: none
  std::vector<MapField> fields;    // special fields of the value, by offset
  // Global data (.rodata, .data, .bss, .kconfig): initial contents, value_size bytes. Empty for other maps, and for a
  // .bss beyond 1 MiB (all zero).
  std::vector<uint8_t> data;
  // The contents never change once loaded (.rodata, .kconfig): a load from a constant offset is a known value.
  bool frozen = false;
  bool is_inner_template = false;  // exists only as the inner definition of another map
};

// A source position: instructions from `insn` to the next entry's come from this line.
struct LineInfo {
  uint32_t insn = 0;
  uint32_t line = 0;    // 1-based; 0: unknown
  uint32_t column = 0;  // 1-based; 0: unknown
  std::string file;
  std::string text;     // the source line as BTF keeps it; may be empty
};

// A subprogram: starts at instruction `start` and ends where the next one starts. The first starts at 0.
struct Subprog {
  uint32_t start = 0;
  std::string name;           // empty: unknown
  uint32_t btf_func_id = 0;   // BTF_KIND_FUNC in Object::btf; 0: no function information
  bool global = false;        // BTF linkage is global: verified on its own, by its prototype
  std::string prototype{};    // of a program written as text: what .func says of the arguments; may be empty
};

// What an extern of the object resolved to. Instructions name it by index.
struct Extern {
  enum class Kind : uint8_t { kFunc, kVar };
  Kind kind = Kind::kFunc;
  std::string name;
  bool weak = false;
  uint32_t btf_id = 0;  // in the kernel's BTF; 0: not found or no such BTF given
  bool no_address = false;  // a variable that the running kernel's table of symbols leaves out
};

// Stands for a map that the file names by a number only, without a relocation: there is no such map.
inline constexpr int32_t kNoSuchMap = -1;

// One program, with every subprogram that it can reach appended to it, as libbpf hands it to the kernel, except that
// references are indices instead of file descriptors:
//   ld_imm64 src=kPseudoMapFd      imm = index in Object::maps, or kNoSuchMap
//   ld_imm64 src=kPseudoMapValue   imm = index in Object::maps, or kNoSuchMap, next.imm = byte offset in the value
//   ld_imm64 src=kPseudoBtfId      imm = index in `externs` (kVar, or kFunc where its address is taken)
//   ld_imm64 src=kPseudoFunc       imm = instruction offset to the subprogram, relative to the next instruction
//   call src=kPseudoCall           imm = as above
//   call src=kPseudoKfuncCall      imm = index in `externs` (kind kFunc)
//   call src=kCallHelper           imm = helper number
// kPseudoMapIdx and kPseudoMapIdxValue do not occur. Apart from that instructions are as in the file, whatever they are.
struct Program {
  std::string name;      // the function's name
  std::string section;   // ELF section; empty for raw instructions
  ProgType type = ProgType::kUnspec;
  AttachType attach = AttachType::kCgroupInetIngress;  // expected_attach_type; the kernel's 0 where none is meant
  bool type_known = true;         // false: the section name does not tell the type; `type` is then kUnspec
  bool sleepable = false;
  bool autoload = true;           // false: SEC("?...")
  bool strict_alignment = false;  // BPF_F_STRICT_ALIGNMENT
  bool any_alignment = false;     // BPF_F_ANY_ALIGNMENT
  bool test_state_freq = false;   // BPF_F_TEST_STATE_FREQ: a checkpoint at every prune point
  bool has_frags = false;         // xdp.frags
  // The function that a declaration tag names for bpf_throw to run: its first instruction, or one of these.
  static constexpr int64_t kNoCallback = -1, kSeveralCallbacks = -2;
  int64_t exception_callback = kNoCallback;
  // What follows the slash in the section name: function, hook, event; may be empty. Of a struct_ops program, the structure
  // and the member that the object's table has it for: "tcp_congestion_ops/ssthresh".
  std::string attach_target;
  std::vector<Insn> insns;
  std::vector<Subprog> subprogs;  // by start; at least one
  std::vector<LineInfo> lines;    // by insn; may be empty
  std::vector<Extern> externs;
  // Set when the object is sound but this program cannot be prepared: the reason. Its verdict is `invalid`, or
  // `unsupported` when `broken_unsupported` is set; `insns` may then be incomplete.
  std::string broken;
  bool broken_unsupported = false;
  bool broken_target = false;  // only for want of something in the kernel to attach to; another program may do instead
};

struct BtfDeleter {
  void operator()(struct btf* b) const;
};
using BtfPtr = std::unique_ptr<struct btf, BtfDeleter>;

struct Object {
  std::string path;      // as given by the user
  std::string license;   // empty: none
  uint32_t kern_version = 0;
  std::vector<MapDef> maps;
  std::vector<Program> programs;
  BtfPtr btf;            // may be null
  std::string kernel_btf;  // where the kernel's types are: see LoadOptions and KernelTypes()
  std::shared_ptr<const KernelBtf> kernel_types;  // these themselves, and not those that kernel_btf names; may be null
  std::vector<TextStruct> text_structs;  // by type; empty where the file is not text
  std::vector<StructFields> structs;  // by type_id
  bool btf_refused = false;           // the kernel does not take `btf`, for special fields that do not go together

  bool GplCompatible() const;  // by the kernel's list of licence strings
  // The special fields of a structure of `btf`; null: it has none.
  const std::vector<MapField>* FieldsOfStruct(uint32_t type_id) const;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_PROGRAM_H_
