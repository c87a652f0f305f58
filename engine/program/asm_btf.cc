#include "engine/program/asm_btf.h"

#include <bpf/btf.h>
#include <linux/btf.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace bpfsieve {
namespace {

// How a field is declared. The kernel knows it by the structure's name, its size and alignment, or by the tag of what
// a pointer points to (kernel/bpf/btf.c, Linux 6.18).
struct FieldType {
  const char* struct_name = nullptr;
  uint32_t size = 0;
  uint32_t align = 1;
  const char* tag = nullptr;  // of a pointer
};

FieldType TypeOf(SpecialField kind) {
  switch (kind) {
    case SpecialField::kSpinLock: return {"bpf_spin_lock", 4, 4, nullptr};
    case SpecialField::kResSpinLock: return {"bpf_res_spin_lock", 4, 4, nullptr};
    case SpecialField::kTimer: return {"bpf_timer", 16, 8, nullptr};
    case SpecialField::kWorkqueue: return {"bpf_wq", 16, 8, nullptr};
    case SpecialField::kTaskWork: return {"bpf_task_work", 8, 8, nullptr};
    case SpecialField::kRefcount: return {"bpf_refcount", 4, 4, nullptr};
    case SpecialField::kKptrUntrusted: return {nullptr, 8, 8, "kptr_untrusted"};
    case SpecialField::kKptrTrusted: return {nullptr, 8, 8, "kptr"};
    case SpecialField::kKptrPercpu: return {nullptr, 8, 8, "percpu_kptr"};
    case SpecialField::kUptr: return {nullptr, 8, 8, "uptr"};
    case SpecialField::kListHead: return {"bpf_list_head", 16, 8, nullptr};
    case SpecialField::kListNode: return {"bpf_list_node", 24, 8, nullptr};
    case SpecialField::kRbRoot: return {"bpf_rb_root", 16, 8, nullptr};
    case SpecialField::kRbNode: return {"bpf_rb_node", 32, 8, nullptr};
  }
  return {};
}

// Adds types one after another; the first failure sticks.
class Builder {
 public:
  Builder() : btf_(btf__new_empty()) { Check(btf_ == nullptr ? -errno : 0); }

  // Each returns the new type's number.
  uint32_t Int(const char* name, uint32_t size, int encoding) {
    return Check(btf_ ? btf__add_int(btf_.get(), name, size, encoding) : 0);
  }
  uint32_t Struct(const char* name, uint32_t size) {
    return Check(btf_ ? btf__add_struct(btf_.get(), name, size) : 0);
  }
  void Field(const char* name, uint32_t type, uint32_t byte_offset) {
    Check(btf_ ? btf__add_field(btf_.get(), name, static_cast<int>(type), byte_offset * 8, 0) : 0);
  }
  uint32_t Array(uint32_t index, uint32_t element, uint32_t count) {
    return Check(btf_ ? btf__add_array(btf_.get(), static_cast<int>(index), static_cast<int>(element), count) : 0);
  }
  uint32_t TypeTag(const char* tag, uint32_t type) {
    return Check(btf_ ? btf__add_type_tag(btf_.get(), tag, static_cast<int>(type)) : 0);
  }
  uint32_t Pointer(uint32_t type) { return Check(btf_ ? btf__add_ptr(btf_.get(), static_cast<int>(type)) : 0); }
  uint32_t Proto(uint32_t returns) {
    return Check(btf_ ? btf__add_func_proto(btf_.get(), static_cast<int>(returns)) : 0);
  }
  void Param(const char* name, uint32_t type) {
    Check(btf_ ? btf__add_func_param(btf_.get(), name, static_cast<int>(type)) : 0);
  }
  void DeclTag(const char* tag, uint32_t type, int component) {
    Check(btf_ ? btf__add_decl_tag(btf_.get(), tag, static_cast<int>(type), component) : 0);
  }
  uint32_t Func(const char* name, bool global, uint32_t proto) {
    const btf_func_linkage linkage = global ? BTF_FUNC_GLOBAL : BTF_FUNC_STATIC;
    return Check(btf_ ? btf__add_func(btf_.get(), name, linkage, static_cast<int>(proto)) : 0);
  }

  // The BTF, complete.
  absl::StatusOr<BtfPtr> Finish() {
    if (error_ == 0 && btf__raw_data(btf_.get(), &size_) == nullptr) error_ = -ENOMEM;
    if (error_ != 0) return absl::InternalError(absl::StrCat("BTF cannot be built: ", strerror(-error_)));
    return std::move(btf_);
  }

 private:
  uint32_t Check(int result) {
    if (result < 0 && error_ == 0) error_ = result;
    return result < 0 ? 0 : static_cast<uint32_t>(result);
  }

  BtfPtr btf_;
  uint32_t size_ = 0;
  int error_ = 0;
};

// An integer where the size allows one, bytes otherwise.
uint32_t AddKey(Builder* b, uint32_t size) {
  if (size == 1 || size == 2 || size == 4 || size == 8 || size == 16) return b->Int("key", size, 0);
  const uint32_t byte = b->Int("byte", 1, 0);
  return b->Array(b->Int("index", 4, 0), byte, size);
}

// A name that the kernel takes.
std::string Identifier(std::string name, size_t number) {
  if (name.empty()) return absl::StrCat("subprog_", number);
  for (char& c : name) {
    if (!absl::ascii_isalnum(c)) c = '_';
  }
  return absl::ascii_isdigit(name[0]) ? absl::StrCat("_", name) : name;
}

// Fields of structures and map values. The structures of the program's own come first, so what their fields are of has to
// be named before it is there: each gets the number that it will have.
class Fields {
 public:
  Fields(Builder* b, const std::vector<TextStruct>& structs) : b_(b), structs_(structs) {
    next_ = static_cast<uint32_t>(structs.size()) + 1;
  }

  void AddStructs() {
    for (const TextStruct& type : structs_) {
      b_->Struct(type.name.c_str(), type.size);
      uint32_t end = 0;
      for (size_t i = 0; i < type.fields.size(); ++i) {
        const MapField& field = type.fields[i];
        if (field.offset > end) b_->Field(absl::StrCat("bytes", i).c_str(), Bytes(field.offset - end), end);
        Member(field, i);
        end = field.offset + field.size;
      }
      if (type.size > end) b_->Field("bytes", Bytes(type.size - end), end);
      Tags(static_cast<uint32_t>(&type - structs_.data()) + 1, type.fields, type.size);
    }
    AddPromised();
  }

  // 0: it holds something of which the type is not known.
  uint32_t AddValue(const std::vector<MapField>& fields, uint32_t size) {
    for (const MapField& field : fields) {
      if (TypeOf(field.kind).tag != nullptr && field.target.empty()) return 0;
      if (IsRoot(field) && Contains(field).empty()) return 0;
    }
    const uint32_t id = b_->Struct("value", size);
    next_ = id + 1;
    for (size_t i = 0; i < fields.size(); ++i) Member(fields[i], i);
    Tags(id, fields, 0);
    AddPromised();
    return id;
  }

 private:
  static bool IsRoot(const MapField& f) { return f.kind == SpecialField::kListHead || f.kind == SpecialField::kRbRoot; }

  void Member(const MapField& field, size_t number) {
    b_->Field(absl::StrCat("field", number).c_str(), Type(field), field.offset);
  }

  // The declaration tag of a list or tree, by its field's target; empty: there is no such node.
  std::string Contains(const MapField& root) const {
    const size_t dot = root.target.rfind('.');
    const std::string name = root.target.substr(0, dot);
    uint32_t offset = 0;
    if (dot == std::string::npos || !absl::SimpleAtoi(root.target.substr(dot + 1), &offset)) return "";
    const SpecialField node = root.kind == SpecialField::kListHead ? SpecialField::kListNode : SpecialField::kRbNode;
    for (const TextStruct& type : structs_) {
      for (size_t i = 0; type.name == name && i < type.fields.size(); ++i) {
        if (type.fields[i].offset == offset && type.fields[i].kind == node) return absl::StrCat("contains:", name, ":field", i);
      }
    }
    return "";
  }

  // Of structure `holder`. Members are counted with the bytes between them, where these are described (`size` not 0).
  void Tags(uint32_t holder, const std::vector<MapField>& fields, uint32_t size) {
    int component = 0;
    uint32_t end = 0;
    for (const MapField& field : fields) {
      if (size != 0 && field.offset > end) ++component;
      end = field.offset + field.size;
      if (IsRoot(field)) {
        Promise(1, [=, this, tag = Contains(field)] { b_->DeclTag(tag.c_str(), holder, component); });
      }
      ++component;
    }
  }

  // `add` will add so many types, the last of which is the one wanted: its number.
  uint32_t Promise(uint32_t types, std::function<void()> add) {
    next_ += types;
    promised_.push_back(std::move(add));
    return next_ - 1;
  }
  void AddPromised() {
    for (const auto& add : promised_) add();
    promised_.clear();
  }

  uint32_t Bytes(uint32_t count) {
    return Promise(3, [=, this] {
      const uint32_t index = b_->Int("index", 4, 0);
      b_->Array(index, b_->Int("byte", 1, 0), count);
    });
  }

  uint32_t Type(const MapField& field) {
    const FieldType type = TypeOf(field.kind);
    if (type.tag != nullptr) {
      for (size_t i = 0; i < structs_.size(); ++i) {
        if (structs_[i].name != field.target) continue;
        return Promise(2, [=, this] { b_->Pointer(b_->TypeTag(type.tag, static_cast<uint32_t>(i) + 1)); });
      }
      return Promise(3, [=, this, name = field.target] {
        b_->Pointer(b_->TypeTag(type.tag, b_->Struct(name.c_str(), 0)));
      });
    }
    // The kernel looks for structures that hold the first one of that name.
    uint32_t& known = special_[static_cast<size_t>(field.kind)];
    if (known == 0) {
      known = Promise(4, [=, this] {
        const uint32_t element = b_->Int(type.align == 8 ? "u64" : "u32", type.align, 0);
        const uint32_t content = b_->Array(b_->Int("index", 4, 0), element, type.size / type.align);
        b_->Struct(type.struct_name, type.size);
        b_->Field("opaque", content, 0);
      });
    }
    return known;
  }

  Builder* b_;
  const std::vector<TextStruct>& structs_;
  uint32_t next_;  // the number that the next type promised will have
  std::vector<std::function<void()>> promised_;
  uint32_t special_[static_cast<size_t>(SpecialField::kRefcount) + 1] = {};
};

// Argument registers that the subprogram reads before it writes them, in program order: the highest one's number.
int ArgumentCount(const Program& program, uint32_t start, uint32_t end) {
  uint32_t written = 0;
  int highest = 0;
  auto read = [&](int reg) {
    if (reg >= 1 && reg <= 5 && !(written & 1u << reg)) highest = std::max(highest, reg);
  };
  for (uint32_t i = start; i < end; ++i) {
    const Insn& insn = program.insns[i];
    switch (Class(insn)) {
      case kClassLd:
        if (IsLdImm64(insn)) {
          written |= 1u << insn.dst;
          ++i;
        }
        break;
      case kClassLdx:
        read(insn.src);
        written |= 1u << insn.dst;
        break;
      case kClassStx: read(insn.src); [[fallthrough]];
      case kClassSt: read(insn.dst); break;
      case kClassAlu:
      case kClassAlu64:
        if (UsesX(insn) && AluOp(insn) != kEnd) read(insn.src);
        if (AluOp(insn) != kMov) read(insn.dst);
        written |= 1u << insn.dst;
        break;
      default:
        if (JmpOp(insn) == kCall) {
          // What a call takes is not looked up here; afterwards the argument registers are gone.
          written |= 0x3e;
        } else if (JmpOp(insn) != kJa && JmpOp(insn) != kExit && JmpOp(insn) != kJcond) {
          read(insn.dst);
          if (UsesX(insn)) read(insn.src);
        }
    }
  }
  return highest;
}

struct Argument {
  enum class Kind : uint8_t { kNumber, kMemory, kStructure, kVoid } kind = Kind::kNumber;
  std::string name;     // kStructure
  uint32_t size = 0;    // kMemory: bytes
  std::vector<const char*> tags;
};

std::optional<Argument> ParseArgument(std::string_view text) {
  Argument a;
  const size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (text == "u64") return a;
  struct Word {
    std::string_view word;
    bool named;
    std::vector<const char*> tags;
    const char* structure;  // null: none, or the one that is named
  };
  static const auto& words = *new std::vector<Word>{
      {"ctx", false, {"arg:ctx"}, nullptr}, {"ctx", true, {}, nullptr}, {"tagged", true, {"arg:ctx"}, nullptr},
      {"dynptr", false, {}, "bpf_dynptr"}, {"trusted", true, {"arg:trusted"}, nullptr},
      {"nullable", true, {"arg:trusted", "arg:nullable"}, nullptr}, {"arena", false, {"arg:arena"}, nullptr}};
  for (const Word& each : words) {
    if (each.word != kind || each.named != (colon != std::string_view::npos)) continue;
    const bool name = std::all_of(rest.begin(), rest.end(), [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
    if (!name || (each.named && (rest.empty() || absl::ascii_isdigit(rest[0])))) return std::nullopt;
    a.name = each.structure != nullptr ? each.structure : std::string(rest);
    a.kind = a.name.empty() ? Argument::Kind::kVoid : Argument::Kind::kStructure;
    a.tags = each.tags;
    return a;
  }
  a.kind = Argument::Kind::kMemory;
  if (kind == "nonnull") a.tags = {"arg:nonnull"};
  if ((kind != "mem" && kind != "nonnull") || !absl::SimpleAtoi(absl::string_view(rest.data(), rest.size()), &a.size)) return std::nullopt;
  if (a.size == 0 || a.size > 4096) return std::nullopt;
  return a;
}

// Nullopt: it is none.
std::optional<std::vector<Argument>> ParsePrototype(std::string_view prototype) {
  std::vector<Argument> arguments;
  for (const absl::string_view part : absl::StrSplit(absl::string_view(prototype.data(), prototype.size()), ',')) {
    std::optional<Argument> a = ParseArgument(std::string_view(part.data(), part.size()));
    if (!a || arguments.size() == 5) return std::nullopt;
    arguments.push_back(*std::move(a));
  }
  return arguments;
}

uint32_t AddArgument(Builder* b, const Argument& a, uint32_t number) {
  switch (a.kind) {
    case Argument::Kind::kNumber: return number;
    case Argument::Kind::kVoid: return b->Pointer(0);
    case Argument::Kind::kStructure: return b->Pointer(b->Struct(a.name.c_str(), 0));
    case Argument::Kind::kMemory: break;
  }
  const uint32_t bytes = b->Array(b->Int("index", 4, 0), b->Int("byte", 1, 0), a.size);
  const uint32_t memory = b->Struct(absl::StrCat("memory", a.size).c_str(), a.size);
  b->Field("bytes", bytes, 0);
  return b->Pointer(memory);
}

// Whether the kernel wants to know the types of the map's key and value.
bool WantsTypes(const MapDef& map) {
  return !map.fields.empty() || map.type == MapType::kSkStorage || map.type == MapType::kInodeStorage ||
         map.type == MapType::kTaskStorage || map.type == MapType::kCgrpStorage;
}

// The map's fields are in order of their offsets, as the loader has sorted them.
void DescribeMap(Builder* b, Fields* fields, MapDef* map) {
  constexpr uint32_t kMaxValue = 1u << 28;  // offsets are counted in bits
  if (map->value_size > kMaxValue) return;
  map->btf_value_type_id = fields->AddValue(map->fields, map->value_size);
  if (map->btf_value_type_id != 0) map->btf_key_type_id = AddKey(b, map->key_size);
}

void DescribeFunctions(Builder* b, Program* program) {
  const uint32_t result = b->Int("int", 4, BTF_INT_SIGNED);
  const uint32_t number = b->Int("u64", 8, 0);
  for (size_t i = 0; i < program->subprogs.size(); ++i) {
    Subprog& sub = program->subprogs[i];
    const uint32_t end = i + 1 < program->subprogs.size() ? program->subprogs[i + 1].start
                                                          : static_cast<uint32_t>(program->insns.size());
    std::vector<Argument> arguments(static_cast<size_t>(ArgumentCount(*program, sub.start, end)));
    if (!sub.prototype.empty()) arguments = ParsePrototype(sub.prototype).value_or(std::vector<Argument>());
    std::vector<uint32_t> types;
    for (const Argument& a : arguments) types.push_back(AddArgument(b, a, number));
    const uint32_t proto = b->Proto(result);
    for (size_t k = 0; k < types.size(); ++k) b->Param(absl::StrCat("arg", k + 1).c_str(), types[k]);
    sub.btf_func_id = b->Func(Identifier(sub.name, i).c_str(), sub.global, proto);
    for (size_t k = 0; k < types.size(); ++k) {
      for (const char* tag : arguments[k].tags) b->DeclTag(tag, sub.btf_func_id, static_cast<int>(k));
    }
  }
}

}  // namespace

bool ValidPrototype(std::string_view prototype) { return ParsePrototype(prototype).has_value(); }

absl::Status DescribeByBtf(const std::vector<bool>& with_functions, Object* object) {
  const bool any_map = std::any_of(object->maps.begin(), object->maps.end(), WantsTypes);
  if (!any_map && object->text_structs.empty() &&
      std::find(with_functions.begin(), with_functions.end(), true) == with_functions.end()) {
    return absl::OkStatus();
  }
  Builder b;
  Fields fields(&b, object->text_structs);
  fields.AddStructs();
  for (MapDef& map : object->maps) {
    if (WantsTypes(map)) DescribeMap(&b, &fields, &map);
  }
  for (size_t i = 0; i < object->programs.size(); ++i) {
    if (with_functions[i]) DescribeFunctions(&b, &object->programs[i]);
  }
  absl::StatusOr<BtfPtr> btf = b.Finish();
  if (!btf.ok()) return btf.status();
  object->btf = *std::move(btf);
  return absl::OkStatus();
}

}  // namespace bpfsieve
