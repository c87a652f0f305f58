// Makes each program whole: appends the subprograms that it reaches, in libbpf's order (depth first, a callee's own
// callees before its caller's next one), resolves calls, maps and externs, and takes along names and source lines.
#include <elf.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/program/elf_loader.h"
#include "engine/program/raw_references.h"
#include "engine/program/section_names.h"
#include "engine/program/type_names.h"

namespace bpfsieve {
namespace {

// What libbpf writes in place of a call to a weak kernel function that is not there: no such helper exists, so that the
// program is rejected if it can get there and accepted if it cannot.
constexpr int32_t kMissingKfunc = 2002000000;
// Stands for the address of a kernel symbol without a type, which nobody but the running kernel knows.
constexpr uint64_t kSomeKernelAddress = 0xffffffff81000000;
constexpr size_t kMaxLineText = 256;

// Appended subprograms, source lines and names could multiply a small file: all programs together stay within this.
class Budget {
 public:
  explicit Budget(size_t file_size) : left_(16 * uint64_t{file_size} + (uint64_t{16} << 20)) {}
  bool Take(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }

 private:
  uint64_t left_;
};

bool IsSubprogCall(const Insn& insn) { return IsPseudoCall(insn) && insn.dst == 0 && insn.off == 0; }

class Linker {
 public:
  Linker(const ElfLoader& loader, Budget* budget, Program* program)
      : loader_(loader), budget_(budget), program_(program) {}

  // Appends `index` and what it reaches. Returns why this cannot be done; empty: done.
  std::string Append(int index) {
    // The frames of libbpf's recursion, kept here because a damaged file chooses their number.
    struct Frame {
      int function;
      uint32_t base;
      uint32_t next;  // instruction to look at next
    };
    std::vector<Frame> stack;
    std::string error = Place(index);
    if (!error.empty()) return error;
    stack.push_back({index, base_[index], 0});
    while (!stack.empty()) {
      Frame& frame = stack.back();
      const Function& function = loader_.functions[frame.function];
      if (frame.next == function.insns.size()) {
        stack.pop_back();
        continue;
      }
      const uint32_t at = frame.next++;
      const Insn insn = function.insns[at];
      if (!IsSubprogCall(insn) && !IsPseudoFunc(insn)) continue;
      int callee = -1;
      if (error = Target(function, at, insn, &callee); !error.empty()) return error;
      if (callee < 0) continue;
      const uint32_t here = frame.base + at;
      if (!base_.contains(callee)) {
        if (error = Place(callee); !error.empty()) return error;
        stack.push_back({callee, base_[callee], 0});  // `frame` is gone from here on
      }
      program_->insns[here].imm = static_cast<int32_t>(base_[callee]) - static_cast<int32_t>(here) - 1;
    }
    return "";
  }

  bool Has(int index) const { return base_.contains(index); }
  uint32_t Base(int index) const { return base_.at(index); }

  // Once all is appended. The whole program at once, because that is how the kernel reads it: an immediate cut off at
  // the end of one function takes the start of the next for its second half.
  void Finish() {
    std::string unsupported = DisownRawReferences(program_->insns, relocated_);
    if (unsupported.empty() || !program_->broken.empty()) return;
    program_->broken = std::move(unsupported);
    program_->broken_unsupported = true;
  }

 private:
  // Copies the function to the end of the program with its data relocations done.
  std::string Place(int index) {
    const Function& function = loader_.functions[index];
    if (!function.error.empty()) return function.error;
    if (!budget_->Take(function.insns.size() * sizeof(Insn) + sizeof(Subprog) + function.name.size())) {
      return "programs share too much code to be linked";
    }
    const uint32_t base = static_cast<uint32_t>(program_->insns.size());
    base_[index] = base;
    program_->insns.insert(program_->insns.end(), function.insns.begin(), function.insns.end());
    for (const Reloc& reloc : function.relocs) {
      Relocate(reloc, &program_->insns[base + reloc.insn]);
      relocated_.push_back(base + reloc.insn);
    }
    return AddInfo(function, base);
  }

  void Relocate(const Reloc& reloc, Insn* insn) {
    switch (reloc.kind) {
      case Reloc::Kind::kCall:
      case Reloc::Kind::kFuncAddress: break;  // Append() does these
      case Reloc::Kind::kMap:
        insn[0].src = kPseudoMapFd;
        insn[0].imm = reloc.index;
        insn[1].imm = 0;
        break;
      case Reloc::Kind::kData:
        insn[1].imm = static_cast<int32_t>(static_cast<uint32_t>(insn[0].imm) + static_cast<uint32_t>(reloc.offset));
        insn[0].src = kPseudoMapValue;
        insn[0].imm = reloc.index;
        break;
      case Reloc::Kind::kExternLoad: LoadExtern(reloc.index, insn); break;
      case Reloc::Kind::kExternCall:
        if (loader_.externs[reloc.index].resolved) {
          insn->src = kPseudoKfuncCall;
          insn->off = 0;
          insn->imm = ExternIndex(reloc.index);
        } else {
          *insn = Insn{.code = kCodeCall, .imm = kMissingKfunc + reloc.index};
        }
        break;
    }
  }

  void LoadExtern(int index, Insn* insn) {
    const ExternSymbol& symbol = loader_.externs[index];
    if (symbol.kconfig) {
      insn[0].src = kPseudoMapValue;
      insn[0].imm = loader_.kconfig_map;
      insn[1].imm = static_cast<int32_t>(symbol.kconfig_offset);
    } else if (symbol.type_id != 0 && symbol.resolved) {
      insn[0].src = kPseudoBtfId;
      insn[0].imm = ExternIndex(index);
      insn[1].imm = 0;
    } else {
      // An untyped symbol is a plain number to the verifier; an absent weak one is zero.
      const uint64_t address = symbol.resolved ? kSomeKernelAddress : 0;
      insn[0].imm = static_cast<int32_t>(address);
      insn[1].imm = static_cast<int32_t>(address >> 32);
    }
  }

  int ExternIndex(int index) {
    auto [it, is_new] = externs_.try_emplace(index, static_cast<int>(program_->externs.size()));
    if (is_new) program_->externs.push_back(loader_.externs[index].pub);
    return it->second;
  }

  // The function that a call or address load at instruction `at` leads to; -1 with no error: the kernel's.
  std::string Target(const Function& function, uint32_t at, const Insn& insn, int* callee) const {
    auto it = std::lower_bound(function.relocs.begin(), function.relocs.end(), at,
                               [](const Reloc& reloc, uint32_t insn_index) { return reloc.insn < insn_index; });
    const Reloc* reloc = it != function.relocs.end() && it->insn == at ? &*it : nullptr;
    int64_t target = 0;
    if (reloc != nullptr && reloc->kind == Reloc::Kind::kExternCall) return "";
    if (reloc != nullptr && reloc->kind == Reloc::Kind::kCall) {
      // A global function has imm -1; a static one is its section's symbol and an offset.
      target = static_cast<int64_t>(reloc->offset / sizeof(Insn)) + insn.imm + 1;
    } else if (reloc != nullptr && reloc->kind == Reloc::Kind::kFuncAddress) {
      target = (static_cast<int64_t>(reloc->offset) + insn.imm) / static_cast<int64_t>(sizeof(Insn));
    } else if (reloc != nullptr) {
      return absl::StrCat("unexpected relo for insn ", at);
    } else if (IsPseudoFunc(insn)) {
      return absl::StrCat("missing subprog addr relo for insn ", at);
    } else {
      target = int64_t{function.first} + at + insn.imm + 1;  // within the same section
    }
    if (loader_.text >= 0 && target >= 0) *callee = FunctionAt(loader_, loader_.text, static_cast<uint64_t>(target));
    if (*callee < 0) return "no .text section found yet sub-program call exists";
    return "";
  }

  // Names, function information and source lines of a function placed at `base`.
  std::string AddInfo(const Function& function, uint32_t base) {
    Subprog subprog{.start = base, .name = CopyName(function.name)};
    const bool is_main = base == 0;
    const BtfExt::Section* section = nullptr;
    if (auto it = loader_.ext.sections.find(function.section); it != loader_.ext.sections.end()) section = &it->second;
    if (is_main || has_funcs_) {
      const FuncRecord* record = section == nullptr ? nullptr : FirstWithin(section->funcs, function);
      if (record != nullptr) {
        if (record->insn == function.first) SetFunction(function, record->type_id, &subprog);
        if (is_main) has_funcs_ = true;
      } else if (!is_main) {
        return "missing .BTF.ext function info";
      }
    }
    program_->subprogs.push_back(std::move(subprog));
    if (is_main || has_lines_) {
      const LineRecord* record = section == nullptr ? nullptr : FirstWithin(section->lines, function);
      if (record == nullptr) return is_main ? "" : "missing .BTF.ext line info";
      has_lines_ = true;
      const LineRecord* last = section->lines.data() + section->lines.size();
      for (; record != last && record->insn < function.end(); ++record) {
        if (!AddLine(*record, function.first, base)) break;
      }
    }
    return "";
  }

  template <typename Record>
  static const Record* FirstWithin(const std::vector<Record>& records, const Function& function) {
    auto it = std::lower_bound(records.begin(), records.end(), function.first,
                               [](const Record& record, uint32_t insn) { return record.insn < insn; });
    return it != records.end() && it->insn < function.end() ? &*it : nullptr;
  }

  void SetFunction(const Function& function, uint32_t type_id, Subprog* subprog) const {
    const btf_type* type = btf__type_by_id(loader_.object->btf.get(), type_id);
    if (type == nullptr || !btf_is_func(type)) return;
    subprog->btf_func_id = type_id;
    subprog->global = BtfFuncLinkage(type) == BTF_FUNC_GLOBAL && !function.hidden;
  }

  // False when the budget is spent.
  bool AddLine(const LineRecord& record, uint32_t first, uint32_t base) {
    const struct btf* btf = loader_.object->btf.get();
    LineInfo line{.insn = base + (record.insn - first), .line = record.line, .column = record.column};
    std::string_view file = BtfName(btf, record.file_off).substr(0, kMaxLineText);
    std::string_view text = BtfName(btf, record.text_off).substr(0, kMaxLineText);
    if (!budget_->Take(sizeof(LineInfo))) return false;
    if (budget_->Take(file.size() + text.size())) {
      line.file = file;
      line.text = text;
    }
    program_->lines.push_back(std::move(line));
    return true;
  }

  const ElfLoader& loader_;
  Budget* budget_;
  Program* program_;
  absl::flat_hash_map<int, uint32_t> base_;  // function -> first instruction in the program
  std::vector<uint32_t> relocated_;  // instructions, ascending
  absl::flat_hash_map<int, int> externs_;  // loader's extern -> program's
  bool has_funcs_ = false, has_lines_ = false;  // of the main function: else nothing is kept for its callees
};

// Programs name their exception callback in a declaration tag. Program's BTF function name -> callback's.
absl::flat_hash_map<std::string_view, std::string_view> ExceptionCallbacks(const struct btf* btf) {
  constexpr std::string_view kPrefix = "exception_callback:";
  absl::flat_hash_map<std::string_view, std::string_view> result;
  if (btf == nullptr) return result;
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* type = btf__type_by_id(btf, id);
    if (!btf_is_decl_tag(type) || btf_decl_tag(type)->component_idx != -1) continue;
    std::string_view tag = BtfName(btf, type->name_off);
    if (!tag.starts_with(kPrefix)) continue;
    const btf_type* function = btf__type_by_id(btf, type->type);
    if (!btf_is_func(function)) continue;
    auto [it, is_new] = result.try_emplace(BtfName(btf, function->name_off), tag.substr(kPrefix.size()));
    if (!is_new) it->second = {};  // several: the kernel will refuse the program
  }
  return result;
}

absl::Status SetType(const ElfLoader& loader, Program* program) {
  std::string_view name = program->section;
  const SectionRules rules = loader.legacy_maps ? SectionRules::kPrefix : SectionRules::kExact;
  if (std::optional<SectionType> type = SectionTypeOf(name, rules); type.has_value()) {
    program->type = type->type;
    program->attach = type->attach;
    program->sleepable = type->sleepable;
    program->has_frags = type->frags;
    if (size_t slash = name.find('/'); slash != std::string_view::npos && type->type != ProgType::kStructOps) {
      program->attach_target = std::string(name.substr(slash + 1));
    }
    if (type->needs_target && program->attach_target.empty() && program->broken.empty()) {
      program->broken = "no BTF-based attach target is specified";
      program->broken_target = true;
    }
    return absl::OkStatus();
  }
  if (loader.options.default_type.empty()) {
    program->type_known = false;
    return absl::OkStatus();
  }
  std::optional<ProgType> type = ProgTypeFromName(loader.options.default_type);
  if (!type.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("no such program type: ", loader.options.default_type));
  }
  program->type = *type;
  program->attach = DefaultAttachType(*type);
  return absl::OkStatus();
}

// Programs that attach to something in the kernel by its type can be loaded only where the kernel has it.
void CheckTarget(ElfLoader* loader, Program* program) {
  const char* prefix = "";
  uint32_t kind = BTF_KIND_FUNC;
  switch (program->attach) {
    case AttachType::kTraceRawTp:
      prefix = "btf_trace_";
      kind = BTF_KIND_TYPEDEF;
      break;
    case AttachType::kTraceFentry:
    case AttachType::kTraceFexit:
    case AttachType::kModifyReturn: break;
    case AttachType::kTraceIter: prefix = "bpf_iter_"; break;
    case AttachType::kLsmMac:
    case AttachType::kLsmCgroup: prefix = "bpf_lsm_"; break;
    default: return;
  }
  if (program->type != ProgType::kTracing && program->type != ProgType::kLsm) return;
  if (program->attach_target.empty() || !program->broken.empty()) return;
  const KernelBtf* kernel = NeedKernel(loader);
  if (kernel == nullptr || kernel->Find(absl::StrCat(prefix, program->attach_target), kind) != 0) return;
  program->broken = absl::StrCat("attach target '", program->attach_target, "' is not in the kernel's BTF");
  program->broken_target = true;
}

using Members = absl::flat_hash_map<std::pair<int, uint64_t>, std::string>;

// The member that each program of a table of functions is for, "TYPE/MEMBER", by the function's section and offset: the
// table's relocations tell.
Members StructOpsMembers(const ElfLoader& loader) {
  const ElfFile& elf = loader.elf;
  const struct btf* btf = loader.object->btf.get();
  Members members;
  int64_t steps = int64_t{1} << 22;  // damaged tables may name each other's places over and over
  for (const ElfSection& rels : elf.sections) {
    if (rels.type != SHT_REL || !elf.ValidSection(rels.info) || btf == nullptr) continue;
    const std::string_view full = elf.sections[rels.info].name, name = full.substr(full.starts_with('?') ? 1 : 0);
    const auto datasec = loader.datasecs.find(full);
    if ((name != ".struct_ops" && name != ".struct_ops.link") || datasec == loader.datasecs.end()) continue;
    const btf_type* table = btf__type_by_id(btf, datasec->second);
    for (const ElfRel& rel : ReadRels(rels)) {
      if (rel.symbol >= elf.symbols.size()) continue;
      const ElfSymbol& symbol = elf.symbols[rel.symbol];
      for (uint32_t v = 0; v < btf_vlen(table) && --steps > 0; ++v) {
        const btf_var_secinfo& place = btf_var_secinfos(table)[v];
        if (rel.offset < place.offset || rel.offset - place.offset >= place.size) continue;
        const btf_type* var = btf__type_by_id(btf, place.type);
        const btf_type* type = SkipModifiers(btf, var->type, nullptr);
        if (type == nullptr || !btf_is_struct(type)) continue;
        for (uint32_t m = 0; m < btf_vlen(type) && --steps > 0; ++m) {
          if (btf_member_bit_offset(type, m) != (rel.offset - place.offset) * 8) continue;
          const std::string_view structure = EssentialName(BtfName(btf, type->name_off));
          members.try_emplace({symbol.shndx, symbol.value},
                              absl::StrCat(CopyName(structure), "/", CopyName(BtfName(btf, btf_members(type)[m].name_off))));
        }
      }
    }
  }
  return members;
}

}  // namespace

absl::Status LinkPrograms(ElfLoader* loader) {
  Budget budget(loader->file_size);
  auto callbacks = ExceptionCallbacks(loader->object->btf.get());
  const Members members = StructOpsMembers(*loader);
  absl::flat_hash_map<std::string_view, int> text_functions;
  bool only_text = true;
  for (size_t i = 0; i < loader->functions.size(); ++i) {
    const Function& function = loader->functions[i];
    if (function.section == loader->text) {
      text_functions.try_emplace(function.name, static_cast<int>(i));
    } else {
      only_text = false;
    }
  }
  for (size_t i = 0; i < loader->functions.size(); ++i) {
    const Function& function = loader->functions[i];
    // Without any other section, the functions of .text are all that one can verify.
    const bool is_program = function.section != loader->text || (only_text && function.global);
    if (!is_program) continue;
    Program program;
    program.name = CopyName(function.name);
    std::string_view section = loader->elf.sections[function.section].name;
    program.autoload = !section.starts_with('?');  // libbpf's SEC("?...")
    if (!program.autoload) section.remove_prefix(1);
    program.section = CopyName(section);
    Linker linker(*loader, &budget, &program);
    program.broken = linker.Append(static_cast<int>(i));
    if (auto it = callbacks.find(function.name); it != callbacks.end() && program.broken.empty()) {
      auto callback = text_functions.find(it->second);
      if (it->second.empty()) {
        program.exception_callback = Program::kSeveralCallbacks;
      } else if (callback == text_functions.end()) {
        program.broken = absl::StrCat("cannot find exception callback '", CopyName(it->second), "'");
      } else {
        if (!linker.Has(callback->second)) program.broken = linker.Append(callback->second);
        if (program.broken.empty()) program.exception_callback = linker.Base(callback->second);
      }
    }
    linker.Finish();
    if (program.subprogs.empty()) program.subprogs.push_back({.name = program.name});
    if (absl::Status status = SetType(*loader, &program); !status.ok()) return status;
    if (program.type == ProgType::kStructOps && program.broken.empty()) {
      auto member = members.find({function.section, uint64_t{function.first} * sizeof(Insn)});
      if (member == members.end()) {
        program.broken = "no table of functions has the program";
      } else {
        program.attach_target = member->second;
      }
    }
    CheckTarget(loader, &program);
    loader->object->programs.push_back(std::move(program));
  }
  return absl::OkStatus();
}

}  // namespace bpfsieve
