#include "engine/program/btf_walk.h"

#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

std::string Text(std::string_view s) { return std::string(s); }

bool IsStruct(const btf_type* t) { return t != nullptr && btf_is_composite(t); }

// A member's type without array dimensions: its elements, their number, and the size of all.
struct Shape {
  const btf_type* type = nullptr;  // modifiers and typedefs are gone
  uint32_t id = 0;
  uint64_t size = 0;
  uint64_t elements = 1;
  bool array = false;
};

Shape ShapeOf(const struct btf* btf, uint32_t id) {
  Shape shape;
  shape.type = SkipModifiers(btf, id, &shape.id);
  while (shape.type != nullptr && btf_is_array(shape.type)) {
    shape.array = true;
    shape.elements *= btf_array(shape.type)->nelems;
    if (shape.elements > UINT32_MAX) return {};
    shape.type = SkipModifiers(btf, btf_array(shape.type)->type, &shape.id);
  }
  if (shape.type == nullptr) return {};
  const int64_t size = btf_is_ptr(shape.type) ? 8 : BtfSize(btf, shape.id);
  if (size < 0) return {};
  shape.size = static_cast<uint64_t>(size) * shape.elements;
  return shape;
}

BtfField Error(std::string text) {
  BtfField field;
  field.error = std::move(text);
  return field;
}

// A structure ends in an array of no stated length, and the access lies in it: the element's type, and the offset in it.
const btf_type* FlexibleElement(const struct btf* btf, const btf_type* t, uint32_t* off) {
  const uint32_t count = btf_vlen(t);
  if (count == 0) return nullptr;
  const btf_type* array = SkipModifiers(btf, btf_members(t)[count - 1].type, nullptr);
  if (array == nullptr || !btf_is_array(array) || btf_array(array)->nelems != 0) return nullptr;
  const uint32_t begin = btf_member_bit_offset(t, count - 1) / 8;
  if (*off < begin) return nullptr;
  const btf_type* element = SkipModifiers(btf, btf_array(array)->type, nullptr);
  if (element == nullptr || btf_is_int(element)) return element;
  if (!IsStruct(element) || element->size == 0) return nullptr;
  *off = (*off - begin) % element->size;
  return element;
}

}  // namespace

BtfTag PointeeTag(const struct btf* btf, const btf_type* pointer) {
  const btf_type* t = btf__type_by_id(btf, pointer->type);
  if (t == nullptr || btf_kind(t) != BTF_KIND_TYPE_TAG) return BtfTag::kNone;
  const std::string_view tag = BtfName(btf, t->name_off);
  if (tag == "user") return BtfTag::kUser;
  if (tag == "percpu") return BtfTag::kPercpu;
  return tag == "rcu" ? BtfTag::kRcu : BtfTag::kNone;
}

BtfField WalkStruct(const struct btf* btf, uint32_t type, uint32_t off, uint32_t size, bool flexible) {
  BtfField field;
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  // Each turn goes into a structure within the one before, and none contains itself.
again:
  if (!IsStruct(t)) return Error(absl::StrCat("Type '", t != nullptr ? Text(BtfName(btf, t->name_off)) : "", "' is not a struct"));
  const std::string name = Text(BtfName(btf, t->name_off));
  if (btf_is_union(t) && btf_vlen(t) != 1) field.through_union = true;
  if (uint64_t{off} + size > t->size) {
    uint32_t inner = off;
    const btf_type* element = flexible ? FlexibleElement(btf, t, &inner) : nullptr;
    if (element == nullptr) {
      return Error(absl::StrCat("access beyond struct ", name, " at off ", off, " size ", size));
    }
    if (btf_is_int(element)) {
      field.kind = BtfField::Kind::kScalar;
      return field;
    }
    t = element;
    off = inner;
    goto again;
  }
  for (uint32_t i = 0; i < btf_vlen(t); ++i) {
    const btf_member& member = btf_members(t)[i];
    uint64_t begin = btf_member_bit_offset(t, i) / 8;
    if (off + size <= begin) break;
    if (const uint32_t bits = btf_member_bitfield_size(t, i); bits != 0) {
      const uint64_t end = (uint64_t{btf_member_bit_offset(t, i)} + bits + 7) / 8;
      if (off <= begin && end <= off + size) {
        field.kind = BtfField::Kind::kScalar;
        return field;
      }
      continue;
    }
    if (off < begin) break;  // a hole
    const Shape shape = ShapeOf(btf, member.type);
    if (shape.type == nullptr) {
      return Error(absl::StrCat("field ", Text(BtfName(btf, member.name_off)), " doesn't have size"));
    }
    const uint64_t end = begin + shape.size;
    if (off >= end) continue;
    const uint64_t element = shape.size / shape.elements;  // not empty: off lies in it
    begin += (off - begin) / element * element;
    if (IsStruct(shape.type)) {
      t = shape.type;
      off -= static_cast<uint32_t>(begin);
      goto again;
    }
    if (btf_is_ptr(shape.type)) {
      if (element != size || off != begin) {
        return Error(absl::StrCat("cannot access ptr member ", Text(BtfName(btf, member.name_off)), " with moff ", begin,
                                  " in struct ", name, " with off ", off, " size ", size));
      }
      if (!IsStruct(SkipModifiers(btf, shape.type->type, &field.type))) {
        field.kind = BtfField::Kind::kOtherPointer;
        return field;
      }
      field.kind = BtfField::Kind::kPointer;
      field.name = BtfName(btf, member.name_off);
      field.tag = PointeeTag(btf, shape.type);
      return field;
    }
    if (off + size > end && !field.through_union) {
      return Error(absl::StrCat("access beyond the end of member ", Text(BtfName(btf, member.name_off)), " (mend:", end,
                                ") in struct ", name, " with off ", off, " size ", size));
    }
    field.kind = BtfField::Kind::kScalar;
    return field;
  }
  return Error(absl::StrCat("struct ", name, " doesn't have field at offset ", off));
}

bool IsSafeField(const KernelBtf& kernel, uint32_t type, std::string_view field, uint32_t pointee,
                 std::string_view suffix) {
  const struct btf* btf = kernel.get();
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  if (t == nullptr) return false;
  const uint32_t safe = kernel.Find(absl::StrCat(Text(BtfName(btf, t->name_off)), Text(suffix)), btf_kind(t));
  if (safe == 0) return false;
  const btf_type* list = btf__type_by_id(btf, safe);
  for (uint32_t i = 0; i < btf_vlen(list); ++i) {
    const btf_member& member = btf_members(list)[i];
    const btf_type* pointer = SkipModifiers(btf, member.type, nullptr);
    if (pointer == nullptr || !btf_is_ptr(pointer)) continue;
    uint32_t id = 0;
    SkipModifiers(btf, pointer->type, &id);
    if (id == pointee && BtfName(btf, member.name_off) == field) return true;
  }
  return false;
}

bool StructMatches(const struct btf* btf, uint32_t type, int64_t off, uint32_t wanted, bool strict) {
  if (off == 0 && type == wanted) return true;
  if (strict || off < 0 || off > UINT32_MAX) return false;
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  while (IsStruct(t) && static_cast<uint64_t>(off) < t->size) {
    bool inside = false;
    for (uint32_t i = 0; i < btf_vlen(t) && !inside; ++i) {
      if (btf_member_bitfield_size(t, i) != 0) continue;
      const int64_t begin = btf_member_bit_offset(t, i) / 8;
      const Shape shape = ShapeOf(btf, btf_members(t)[i].type);
      if (shape.type == nullptr || off < begin || off >= begin + static_cast<int64_t>(shape.size)) continue;
      if (!IsStruct(shape.type)) return false;
      off = (off - begin) % static_cast<int64_t>(shape.size / shape.elements);
      if (off == 0 && shape.id == wanted) return true;
      t = shape.type;
      inside = true;
    }
    if (!inside) return false;
  }
  return false;
}

}  // namespace bpfsieve
