// Fields of a map's value that the kernel manages itself: where they are. The rules are those of the kernel's
// btf_parse_fields() for maps (Linux 6.18, kernel/bpf/btf.c).
#include <algorithm>
#include <utility>

#include "engine/program/elf_loader.h"

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
    {"bpf_rb_root", SpecialField::kRbRoot, 16, 8, false, true},
    {"bpf_refcount", SpecialField::kRefcount, 4, 4, true, false},
};
constexpr uint32_t kPointerSize = 8;

class Finder {
 public:
  explicit Finder(const struct btf* btf) : btf_(btf), plain_(btf__type_cnt(btf), false) {}

  std::vector<MapField> Find(uint32_t id) {
    const btf_type* type = SkipModifiers(btf_, id, &id);
    bool ok = true;
    if (btf_is_struct(type)) ok = Members(id, 0, 0);
    if (btf_is_datasec(type)) ok = Variables(*type);
    return ok ? fields_ : std::vector<MapField>();
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
      if (!One(btf_members(type)[i].type, base + bit / 8, 0, depth)) return false;
    }
    if (fields_.size() == before) plain_[id] = true;  // what holds nothing once holds nothing anywhere
    return true;
  }

  bool Variables(const btf_type& datasec) {
    for (int i = 0; i < btf_vlen(&datasec); ++i) {
      const btf_var_secinfo& info = btf_var_secinfos(&datasec)[i];
      const btf_type* variable = btf__type_by_id(btf_, info.type);
      if (!btf_is_var(variable)) return false;
      if (!One(variable->type, info.offset, info.size, 0)) return false;
    }
    return true;
  }

  bool One(uint32_t id, uint64_t offset, uint32_t expected_size, int depth) {
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
      if (name != named.name) continue;
      if (named.unique && (seen_ & Bit(named.kind)) != 0) return false;
      seen_ |= Bit(named.kind);
      if (expected_size != 0 && expected_size != named.size * count) return true;
      if (offset % named.align != 0 || !btf_is_struct(type) || type->size != named.size) return true;
      return Add(named.kind, offset, named.size, count, named.repeats);
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
    if (!btf_is_struct(SkipModifiers(btf_, tag->type, nullptr))) return false;
    return Add(kind, offset, kPointerSize, count, /*repeats=*/true);
  }

  bool Add(SpecialField kind, uint64_t offset, uint32_t size, uint64_t count, bool repeats) {
    if (count > 1 && !repeats) return false;
    for (uint64_t i = 0; i < count; ++i) {
      if (!Push({.kind = kind, .offset = static_cast<uint32_t>(offset + i * size), .size = size})) return false;
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
  static uint32_t Bit(SpecialField kind) { return 1u << static_cast<uint32_t>(kind); }

  const struct btf* btf_;
  std::vector<bool> plain_;  // structures known to hold no special field
  std::vector<MapField> fields_;
  uint32_t seen_ = 0;
};

}  // namespace

std::vector<MapField> FindMapFields(const struct btf* btf, uint32_t value_type_id) {
  if (btf == nullptr || value_type_id == 0) return {};
  std::vector<MapField> fields = Finder(btf).Find(value_type_id);
  std::sort(fields.begin(), fields.end(), [](const MapField& a, const MapField& b) {
    return std::pair(a.offset, a.kind) < std::pair(b.offset, b.kind);
  });
  return fields;
}

}  // namespace bpfsieve
