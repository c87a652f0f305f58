#include "engine/program/btf_fields.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/program/btf_view.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxFields = 11;  // the kernel's BTF_FIELDS_MAX
constexpr int kMaxDepth = 32;

struct Named {
  std::string_view name;
  SpecialField kind;
  uint32_t size, align;
  bool unique;   // at most one per value
  bool repeats;  // may stand in an array
};
constexpr Named kNamed[] = {
    {"bpf_spin_lock", SpecialField::kSpinLock, 4, 4, true, false},
    {"bpf_res_spin_lock", SpecialField::kResSpinLock, 4, 4, true, false},
    {"bpf_timer", SpecialField::kTimer, 16, 8, true, false},
    {"bpf_wq", SpecialField::kWorkqueue, 16, 8, true, false},
    {"bpf_task_work", SpecialField::kTaskWork, 8, 8, true, false},
    {"bpf_list_head", SpecialField::kListHead, 16, 8, false, true},
    {"bpf_list_node", SpecialField::kListNode, 24, 8, false, false},
    {"bpf_rb_root", SpecialField::kRbRoot, 16, 8, false, true},
    {"bpf_rb_node", SpecialField::kRbNode, 32, 8, false, false},
    {"bpf_refcount", SpecialField::kRefcount, 4, 4, true, false},
};
constexpr uint32_t kPointerSize = 8;

constexpr uint32_t Bit(SpecialField kind) { return 1u << static_cast<uint32_t>(kind); }
constexpr uint32_t kPointers = Bit(SpecialField::kKptrUntrusted) | Bit(SpecialField::kKptrTrusted) |
                               Bit(SpecialField::kKptrPercpu);
// What counts in a map's value, and in a structure of the program's own.
constexpr uint32_t kInMaps = kPointers | Bit(SpecialField::kUptr) | Bit(SpecialField::kSpinLock) |
                             Bit(SpecialField::kResSpinLock) | Bit(SpecialField::kTimer) |
                             Bit(SpecialField::kWorkqueue) | Bit(SpecialField::kTaskWork) |
                             Bit(SpecialField::kListHead) | Bit(SpecialField::kRbRoot) | Bit(SpecialField::kRefcount);
constexpr uint32_t kInStructs = kPointers | Bit(SpecialField::kSpinLock) | Bit(SpecialField::kResSpinLock) |
                                Bit(SpecialField::kListHead) | Bit(SpecialField::kListNode) |
                                Bit(SpecialField::kRbRoot) | Bit(SpecialField::kRbNode) | Bit(SpecialField::kRefcount);

// The declaration tags of an object's BTF that say what lists and trees hold, by what they stand at; and its structures
// by name, the first of each.
class ContainsTags {
 public:
  explicit ContainsTags(const struct btf* btf) {
    const uint32_t count = btf__type_cnt(btf);
    for (uint32_t id = 1; id < count; ++id) {
      const btf_type* t = btf__type_by_id(btf, id);
      if (!btf_is_decl_tag(t)) continue;
      constexpr std::string_view kKey = "contains:";
      const std::string_view text = BtfName(btf, t->name_off);
      if (!text.starts_with(kKey)) continue;
      auto [it, is_new] = tags_.try_emplace(std::pair(t->type, btf_decl_tag(t)->component_idx), text.substr(kKey.size()));
      if (!is_new) it->second = {};  // two are one too many
    }
    for (uint32_t id = 1; id < count && !tags_.empty(); ++id) {
      if (btf_is_struct(btf__type_by_id(btf, id))) structs_.try_emplace(BtfTypeName(btf, id), id);
    }
  }
  // Empty: none, or not one alone.
  std::string_view Of(uint32_t type, int component) const {
    auto it = tags_.find(std::pair(type, component));
    return it == tags_.end() ? std::string_view() : it->second;
  }
  // 0: there is none.
  uint32_t StructNamed(std::string_view name) const {
    auto it = structs_.find(name);
    return it == structs_.end() ? 0 : it->second;
  }

 private:
  absl::flat_hash_map<std::pair<uint32_t, int>, std::string_view> tags_;
  absl::flat_hash_map<std::string_view, uint32_t> structs_;
};

class Finder {
 public:
  Finder(const struct btf* btf, uint32_t mask, const ContainsTags& tags)
      : btf_(btf), mask_(mask), tags_(tags), plain_(btf__type_cnt(btf), false) {}

  // In the order of the members; none: the kernel refuses the type.
  std::optional<std::vector<MapField>> Find(uint32_t id) {
    fields_.clear();
    seen_ = 0;
    const btf_type* type = SkipModifiers(btf_, id, &id);
    bool ok = true;
    if (btf_is_struct(type)) ok = Members(id, 0, 0);
    if (btf_is_datasec(type)) ok = Variables(*type);
    if (!ok || !Consistent()) return std::nullopt;
    return fields_;
  }

  // Whether the type is a pointer of one of the kinds.
  bool IsTagged(uint32_t id) {
    fields_.clear();
    return Pointer(btf__type_by_id(btf_, id), 0, 0, 1) && !fields_.empty();
  }

 private:
  // All return false where the kernel refuses the whole type.
  bool Members(uint32_t id, uint64_t base, int depth) {
    if (depth >= kMaxDepth) return false;
    if (plain_[id]) return true;
    const size_t before = fields_.size();
    const btf_type* type = btf__type_by_id(btf_, id);
    for (int i = 0; i < btf_vlen(type); ++i) {
      const uint32_t bit = btf_member_bit_offset(type, i);
      // The kernel refuses bit offsets here, but only a bit field of a type without special fields can have one.
      if (bit % 8 != 0) continue;
      if (!One(id, i, btf_members(type)[i].type, base + bit / 8, 0, depth)) return false;
    }
    if (fields_.size() == before) plain_[id] = true;  // what holds nothing once holds nothing anywhere
    return true;
  }

  bool Variables(const btf_type& datasec) {
    for (int i = 0; i < btf_vlen(&datasec); ++i) {
      const btf_var_secinfo& info = btf_var_secinfos(&datasec)[i];
      const btf_type* variable = btf__type_by_id(btf_, info.type);
      if (!btf_is_var(variable)) return false;
      if (!One(info.type, -1, variable->type, info.offset, info.size, 0)) return false;
    }
    return true;
  }

  // The type `id` of member `index` of structure `holder`, or of variable `holder`.
  bool One(uint32_t holder, int index, uint32_t id, uint64_t offset, uint32_t expected_size, int depth) {
    uint64_t count = 1;
    const btf_type* type = btf__type_by_id(btf_, id);
    for (int i = 0; btf_is_array(type); ++i) {
      if (i == kMaxDepth) return false;
      count = static_cast<uint32_t>(count * btf_array(type)->nelems);
      id = btf_array(type)->type;
      type = btf__type_by_id(btf_, id);
    }
    if (count == 0) return true;
    std::string_view name = BtfName(btf_, type->name_off);
    for (const Named& named : kNamed) {
      if (name != named.name || (mask_ & Bit(named.kind)) == 0) continue;
      if (named.unique && (seen_ & Bit(named.kind)) != 0) return false;
      seen_ |= Bit(named.kind);
      if (expected_size != 0 && expected_size != named.size * count) return true;
      if (offset % named.align != 0 || !btf_is_struct(type) || type->size != named.size) return true;
      MapField field{.kind = named.kind, .offset = static_cast<uint32_t>(offset), .size = named.size};
      if (IsGraphRoot(named.kind) && !Elements(holder, index, &field)) return false;
      return Add(field, count, named.repeats);
    }
    if (btf_is_struct(type)) {
      if (expected_size != 0 && expected_size != type->size * count) return true;
      return Nested(id, offset, count, depth);
    }
    return Pointer(type, offset, expected_size, count);
  }

  bool Nested(uint32_t id, uint64_t offset, uint64_t count, int depth) {
    const size_t before = fields_.size();
    if (!Members(id, offset, depth + 1)) return false;
    const size_t found = fields_.size() - before;
    if (found == 0 || count == 1) return true;
    if (found * count > kMaxFields) return false;
    const uint32_t size = btf__type_by_id(btf_, id)->size;
    for (size_t i = before; i < before + found; ++i) {
      if (!Repeats(fields_[i].kind)) return false;
    }
    for (uint64_t n = 1; n < count; ++n) {
      for (size_t i = before; i < before + found; ++i) {
        MapField copy = fields_[i];
        copy.offset += static_cast<uint32_t>(n * size);
        if (!Push(copy)) return false;
      }
    }
    return true;
  }

  bool Pointer(const btf_type* type, uint64_t offset, uint32_t expected_size, uint64_t count) {
    if (expected_size != 0 && expected_size != kPointerSize * count) return true;
    if (offset % kPointerSize != 0) return true;
    if (btf_kind(type) == BTF_KIND_VOLATILE) type = btf__type_by_id(btf_, type->type);
    if (!btf_is_ptr(type)) return true;
    const btf_type* tag = btf__type_by_id(btf_, type->type);
    if (!btf_is_type_tag(tag)) return true;
    if (btf_is_type_tag(btf__type_by_id(btf_, tag->type))) return false;
    std::string_view name = BtfName(btf_, tag->name_off);
    SpecialField kind;
    if (name == "kptr_untrusted") {
      kind = SpecialField::kKptrUntrusted;
    } else if (name == "kptr") {
      kind = SpecialField::kKptrTrusted;
    } else if (name == "percpu_kptr") {
      kind = SpecialField::kKptrPercpu;
    } else if (name == "uptr") {
      kind = SpecialField::kUptr;
    } else {
      return false;
    }
    if ((mask_ & Bit(kind)) == 0) return true;
    MapField field{.kind = kind, .offset = static_cast<uint32_t>(offset), .size = kPointerSize};
    if (!btf_is_struct(SkipModifiers(btf_, tag->type, &field.type_id))) return false;
    return Add(field, count, /*repeats=*/true);
  }

  // What the list or tree holds, by the tag "contains:STRUCTURE:MEMBER".
  bool Elements(uint32_t holder, int index, MapField* root) {
    const std::string_view tag = tags_.Of(holder, index);
    const size_t colon = tag.find(':');
    if (colon == std::string_view::npos || colon + 1 == tag.size()) return false;
    root->type_id = tags_.StructNamed(tag.substr(0, colon));
    if (root->type_id == 0) return false;
    const std::string_view member = tag.substr(colon + 1);
    const std::string_view node = root->kind == SpecialField::kListHead ? "bpf_list_node" : "bpf_rb_node";
    const btf_type* type = btf__type_by_id(btf_, root->type_id);
    int found = 0;
    for (int i = 0; i < btf_vlen(type); ++i) {
      if (BtfName(btf_, btf_members(type)[i].name_off) != member) continue;
      const uint32_t bit = btf_member_bit_offset(type, i), id = btf_members(type)[i].type;
      if (!btf_is_struct(btf__type_by_id(btf_, id)) || BtfTypeName(btf_, id) != node || bit % 64 != 0) return false;
      root->node_offset = bit / 8;
      ++found;
    }
    return found == 1;
  }

  // Fields in order and apart, and what goes with what.
  bool Consistent() const {
    uint64_t end = 0;
    uint32_t kinds = 0;
    for (const MapField& field : fields_) {
      if (field.offset < end) return false;
      end = uint64_t{field.offset} + field.size;
      kinds |= Bit(field.kind);
    }
    const auto has = [kinds](SpecialField kind) { return (kinds & Bit(kind)) != 0; };
    const bool spin = has(SpecialField::kSpinLock), res = has(SpecialField::kResSpinLock);
    if (spin && res) return false;
    if ((has(SpecialField::kListHead) || has(SpecialField::kRbRoot)) && !spin && !res) return false;
    return has(SpecialField::kRefcount) || !has(SpecialField::kListNode) || !has(SpecialField::kRbNode);
  }

  bool Add(MapField field, uint64_t count, bool repeats) {
    if (count > 1 && !repeats) return false;
    for (uint64_t i = 0; i < count; ++i) {
      if (!Push(field)) return false;
      field.offset += field.size;
    }
    return true;
  }

  bool Push(const MapField& field) {
    if (fields_.size() == kMaxFields) return false;
    fields_.push_back(field);
    return true;
  }

  static bool Repeats(SpecialField kind) {
    for (const Named& named : kNamed) {
      if (named.kind == kind) return named.repeats;
    }
    return true;  // pointers
  }

  const struct btf* btf_;
  uint32_t mask_;
  const ContainsTags& tags_;
  std::vector<bool> plain_;  // structures known to hold no special field
  std::vector<MapField> fields_;
  uint32_t seen_ = 0;
};

void SortByOffset(std::vector<MapField>* fields) {
  std::sort(fields->begin(), fields->end(), [](const MapField& a, const MapField& b) {
    return std::pair(a.offset, a.kind) < std::pair(b.offset, b.kind);
  });
}

// Names by which the kernel decides whether it looks at structures at all (alloc_obj_fields).
bool IsOfObjects(std::string_view name) {
  return name == "bpf_spin_lock" || name == "bpf_list_head" || name == "bpf_list_node" || name == "bpf_rb_root" ||
         name == "bpf_rb_node" || name == "bpf_refcount";
}

const StructFields* OfType(const std::vector<StructFields>& structs, uint32_t id) {
  auto it = std::lower_bound(structs.begin(), structs.end(), id,
                             [](const StructFields& s, uint32_t at) { return s.type_id < at; });
  return it != structs.end() && it->type_id == id ? &*it : nullptr;
}

// Objects that hold objects: how deep below `at` they are freed. Beyond the limit, or in a circle: -1. The kernel has
// had two rules here, and what either refuses is refused: a type that lies in a list or tree holds none that owns
// others, and owners are at most eight deep. `known`: the depths found so far, beside `structs`; 0: not yet.
int OwnershipDepth(const std::vector<StructFields>& structs, const StructFields& at, int left, std::vector<int>* known) {
  if (left == 0) return -1;
  int& result = (*known)[static_cast<size_t>(&at - structs.data())];
  if (result != 0) return result > left ? -1 : result;
  int depth = 0;
  const bool node = std::any_of(at.fields.begin(), at.fields.end(), [](const MapField& f) { return IsGraphNode(f.kind); });
  for (const MapField& f : at.fields) {
    const bool root = IsGraphRoot(f.kind);
    if (!root && f.kind != SpecialField::kKptrTrusted && f.kind != SpecialField::kKptrPercpu) continue;
    const StructFields* below = OfType(structs, f.type_id);
    if (below == nullptr) {
      if (root) return -1;
      continue;
    }
    if (root && node && std::any_of(below->fields.begin(), below->fields.end(),
                                    [](const MapField& g) { return IsGraphRoot(g.kind); })) {
      return -1;
    }
    const int under = OwnershipDepth(structs, *below, left - 1, known);
    if (under < 0) return -1;
    depth = std::max(depth, under);
  }
  result = depth + 1;
  return result;
}

// Kernel structures that may be kept in maps by reference: those with a destructor registered (btf_find_dtor_kfunc).
bool HasDestructor(std::string_view name) {
  for (std::string_view known :
       {"task_struct", "cgroup", "bpf_cpumask", "bpf_crypto_ctx", "prog_test_ref_kfunc", "prog_test_member"}) {
    if (name == known) return true;
  }
  return false;
}

}  // namespace

std::vector<MapField> FindMapFields(const struct btf* btf, uint32_t value_type_id) {
  if (btf == nullptr || value_type_id == 0) return {};
  const ContainsTags tags(btf);
  std::vector<MapField> fields = Finder(btf, kInMaps, tags).Find(value_type_id).value_or(std::vector<MapField>());
  SortByOffset(&fields);
  return fields;
}

std::vector<StructFields> FindStructFields(const struct btf* btf, bool* refused) {
  *refused = false;
  std::vector<StructFields> structs;
  const uint32_t count = btf__type_cnt(btf);
  const ContainsTags tags(btf);
  Finder finder(btf, kInStructs, tags);
  std::vector<bool> special(count, false);
  bool any = false;
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    const bool named = btf_is_struct(t) && IsOfObjects(BtfTypeName(btf, id));
    special[id] = named || ((btf_is_ptr(t) || btf_kind(t) == BTF_KIND_VOLATILE) && finder.IsTagged(id));
    any |= special[id];
  }
  if (!any) return structs;
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (!btf_is_struct(t)) continue;
    bool looks = false;
    for (int i = 0; i < btf_vlen(t) && !looks; ++i) looks = special[btf_members(t)[i].type];
    if (!looks) continue;
    std::optional<std::vector<MapField>> fields = finder.Find(id);
    if (!fields.has_value() || fields->empty()) {
      *refused = true;
      return {};
    }
    SortByOffset(&*fields);
    structs.push_back({id, *std::move(fields)});
  }
  constexpr int kMaxOwners = 8;
  std::vector<int> depths(structs.size(), 0);
  for (const StructFields& s : structs) *refused = *refused || OwnershipDepth(structs, s, kMaxOwners, &depths) < 0;
  if (*refused) structs.clear();
  return structs;
}

void ResolveFields(Object* object) {
  const struct btf* btf = object->btf.get();
  if (btf == nullptr) return;
  object->structs = FindStructFields(btf, &object->btf_refused);
  const auto resolve = [&](MapField& f) {
    if (!IsKptr(f.kind) || f.type_id == 0) return;
    const std::string_view name = BtfTypeName(btf, f.type_id);
    f.target = std::string(name);
    const KernelBtf* kernel = KernelTypes(*object);
    const uint32_t id = kernel == nullptr ? 0 : kernel->Find(name, BTF_KIND_STRUCT);
    if (id != 0 && (f.kind != SpecialField::kKptrTrusted || HasDestructor(name))) {
      f.kernel_type = true;
      f.type_id = id;
    } else if (id != 0 || kernel == nullptr) {
      f.type_id = 0;
    }
  };
  for (StructFields& s : object->structs) {
    for (MapField& f : s.fields) resolve(f);
  }
  for (MapDef& map : object->maps) {
    if (map.fields.empty() || map.btf_value_type_id == 0) continue;
    // A program as text names the structures; their types come with its BTF.
    const bool by_name = std::any_of(map.fields.begin(), map.fields.end(),
                                     [](const MapField& f) { return (IsKptr(f.kind) || IsGraphRoot(f.kind)) && f.type_id == 0; });
    std::vector<MapField> found = by_name ? FindMapFields(btf, map.btf_value_type_id) : std::vector<MapField>();
    if (found.size() == map.fields.size()) {
      for (size_t i = 0; i < found.size(); ++i) found[i].target = map.fields[i].target;
      map.fields = std::move(found);
    }
    for (MapField& f : map.fields) resolve(f);
  }
}

const char* FieldTypeName(SpecialField kind) {
  switch (kind) {
    case SpecialField::kSpinLock: return "bpf_spin_lock";
    case SpecialField::kResSpinLock: return "bpf_res_spin_lock";
    case SpecialField::kTimer: return "bpf_timer";
    case SpecialField::kWorkqueue: return "bpf_wq";
    case SpecialField::kTaskWork: return "bpf_task_work";
    case SpecialField::kListHead: return "bpf_list_head";
    case SpecialField::kListNode: return "bpf_list_node";
    case SpecialField::kRbRoot: return "bpf_rb_root";
    case SpecialField::kRbNode: return "bpf_rb_node";
    case SpecialField::kRefcount: return "bpf_refcount";
    case SpecialField::kKptrPercpu: return "percpu_kptr";
    case SpecialField::kUptr: return "uptr";
    default: return "kptr";
  }
}

const MapField* FindField(const std::vector<MapField>& fields, SpecialField kind) {
  for (const MapField& f : fields) {
    if (f.kind == kind) return &f;
  }
  return nullptr;
}

const MapField* FieldAt(const std::vector<MapField>& fields, int64_t offset, SpecialField kind) {
  for (const MapField& f : fields) {
    if (f.kind == kind && f.offset == offset) return &f;
  }
  return nullptr;
}

const MapField* KptrAt(const std::vector<MapField>& fields, int64_t offset) {
  for (const MapField& f : fields) {
    if (IsKptr(f.kind) && f.offset == offset) return &f;
  }
  return nullptr;
}

}  // namespace bpfsieve
