#include "fuzz/write_asm.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "engine/isa/assembler.h"
#include "engine/program/type_names.h"

namespace bpfsieve {
namespace {

std::string_view FieldName(SpecialField kind) {
  switch (kind) {
    case SpecialField::kSpinLock: return "spin_lock";
    case SpecialField::kResSpinLock: return "res_spin_lock";
    case SpecialField::kTimer: return "timer";
    case SpecialField::kWorkqueue: return "wq";
    case SpecialField::kTaskWork: return "task_work";
    case SpecialField::kKptrUntrusted: return "kptr_untrusted";
    case SpecialField::kKptrTrusted: return "kptr";
    case SpecialField::kKptrPercpu: return "percpu_kptr";
    case SpecialField::kUptr: return "uptr";
    case SpecialField::kListHead: return "list_head";
    case SpecialField::kListNode: return "list_node";
    case SpecialField::kRbRoot: return "rb_root";
    case SpecialField::kRbNode: return "rb_node";
    case SpecialField::kRefcount: return "refcount";
  }
  return "";
}

void AppendFields(const std::vector<MapField>& fields, std::string* out) {
  for (const MapField& field : fields) {
    absl::StrAppend(out, " field=", std::string(FieldName(field.kind)), "@", field.offset);
    if (!field.target.empty()) absl::StrAppend(out, ":", field.target);
  }
}

void AppendMap(const MapDef& map, const std::vector<MapDef>& maps, std::string* out) {
  absl::StrAppend(out, ".map ", map.name, " type=", std::string(MapTypeName(map.type)), " key=", map.key_size,
                  " value=", map.value_size, " entries=", map.max_entries);
  if (map.flags != 0) absl::StrAppend(out, " flags=0x", absl::Hex(map.flags));
  if (map.extra != 0) absl::StrAppend(out, " extra=", map.extra);
  AppendFields(map.fields, out);
  if (map.inner >= 0) absl::StrAppend(out, " inner=", maps[static_cast<size_t>(map.inner)].name);
  if (map.is_inner_template) absl::StrAppend(out, " template");
  if (map.frozen) absl::StrAppend(out, " frozen");
  if (!map.data.empty()) absl::StrAppend(out, " data=");
  for (const uint8_t byte : map.data) absl::StrAppend(out, absl::Hex(byte, absl::kZeroPad2));
  absl::StrAppend(out, "\n");
}

void AppendProgram(const Program& program, std::string* out) {
  absl::StrAppend(out, "\n.prog ", program.name, "\n.type ", std::string(ProgTypeName(program.type)), "\n.attach ",
                  std::string(AttachTypeName(program.attach)), "\n");
  if (!program.attach_target.empty()) absl::StrAppend(out, ".attach_target ", program.attach_target, "\n");
  if (program.sleepable) absl::StrAppend(out, ".flags sleepable\n");
  if (program.strict_alignment) absl::StrAppend(out, ".flags strict_alignment\n");
  if (program.any_alignment) absl::StrAppend(out, ".flags any_alignment\n");
  if (program.test_state_freq) absl::StrAppend(out, ".flags test_state_freq\n");
  if (program.has_frags) absl::StrAppend(out, ".flags frags\n");
  size_t sub = 1;  // the first has the program's name
  for (size_t i = 0, used = 1; i < program.insns.size(); i += used) {
    for (; sub < program.subprogs.size() && program.subprogs[sub].start <= i; ++sub) {
      const Subprog& s = program.subprogs[sub];
      if (s.btf_func_id != 0) {
        absl::StrAppend(out, ".func ", s.name, s.global ? " global" : "", s.prototype.empty() ? "" : " ", s.prototype, "\n");
      } else if (!s.name.empty()) {
        absl::StrAppend(out, s.name, ":\n");
      }
    }
    const Insn& insn = program.insns[i];
    const std::string text = AsmText(&insn, program.insns.size() - i, &used);
    if (IsKfuncCall(insn) && static_cast<size_t>(insn.imm) < program.externs.size()) {
      absl::StrAppend(out, "call kfunc[", program.externs[static_cast<size_t>(insn.imm)].name, "]\n");
    } else {
      absl::StrAppend(out, text, "\n");
    }
  }
}

}  // namespace

std::string AsmFileText(const Object& object, std::string_view note) {
  std::string out = absl::StrCat("# ", std::string(note), "\n");
  if (!object.license.empty()) absl::StrAppend(&out, ".license ", object.license, "\n");
  for (const TextStruct& type : object.text_structs) {
    absl::StrAppend(&out, ".struct ", type.name, " size=", type.size);
    AppendFields(type.fields, &out);
    absl::StrAppend(&out, "\n");
  }
  for (const MapDef& map : object.maps) AppendMap(map, object.maps, &out);
  for (const Program& program : object.programs) AppendProgram(program, &out);
  return out;
}

}  // namespace bpfsieve
