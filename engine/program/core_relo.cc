#include "engine/program/core_relo.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/core_match.h"

namespace bpfsieve {
namespace {

constexpr int kMaxSteps = 64;                // of an access, libbpf's BPF_CORE_SPEC_MAX_LEN
constexpr int64_t kMaxComparisons = 1'000'000;   // of types, for one relocation
constexpr int64_t kMaxAllComparisons = 50'000'000;  // for one object
constexpr int32_t kPoison = 0xbad2310;       // libbpf's helper number in place of what the kernel has not
constexpr char kTooDeep[] = "access is too deep";

bool IsField(CoreKind kind) { return kind <= CoreKind::kFieldRshiftU64; }
bool IsEnumerator(CoreKind kind) { return kind == CoreKind::kEnumvalExists || kind == CoreKind::kEnumvalValue; }
bool IsAnyEnum(const btf_type* type) { return btf_is_enum(type) || btf_is_enum64(type); }

uint32_t EnumeratorName(const btf_type* type, uint32_t i) {
  return btf_is_enum(type) ? btf_enum(type)[i].name_off : btf_enum64(type)[i].name_off;
}

// What one aspect of a field is, on one side.
struct FieldValue {
  uint64_t value = 0;
  uint32_t size = 0;
  uint32_t type = 0;
  bool check = true;
};

// A bit field is read by the smallest aligned integer that holds it. False: none up to 8 bytes does.
bool CoverBitfield(uint32_t bit_offset, uint32_t bit_size, uint32_t* byte_size, uint32_t* byte_offset) {
  if (*byte_size == 0) return false;
  *byte_offset = bit_offset / 8 / *byte_size * *byte_size;
  while (uint64_t{bit_offset} + bit_size - uint64_t{*byte_offset} * 8 > uint64_t{*byte_size} * 8) {
    if (*byte_size >= 8) return false;
    *byte_size *= 2;
    *byte_offset = bit_offset / 8 / *byte_size * *byte_size;
  }
  return true;
}

std::string ElementValue(CoreKind kind, const struct btf* btf, uint32_t type_id, uint32_t bit_offset, FieldValue* out) {
  const int64_t size = BtfSize(btf, type_id);
  if (size < 0) return "element without a size";
  if (kind == CoreKind::kFieldByteOffset) {
    out->value = bit_offset / 8;
    out->size = static_cast<uint32_t>(size);
    out->type = type_id;
  } else if (kind == CoreKind::kFieldByteSize) {
    out->value = static_cast<uint64_t>(size);
  } else {
    return "this aspect of an array element cannot be relocated";
  }
  return "";
}

std::string MemberValue(CoreKind kind, const struct btf* btf, const btf_type* parent, uint32_t index,
                        uint32_t bit_offset, FieldValue* out) {
  uint32_t type_id = 0;
  const btf_type* type = SkipModifiers(btf, btf_members(parent)[index].type, &type_id);
  uint32_t bit_size = btf_member_bitfield_size(parent, index);
  const bool bitfield = bit_size > 0;
  uint32_t byte_size = 0, byte_offset = 0;
  if (bitfield) {
    byte_size = type->size;
    if (!CoverBitfield(bit_offset, bit_size, &byte_size, &byte_offset)) return "bit field cannot be read in one load";
  } else {
    const int64_t size = BtfSize(btf, type_id);
    if (size < 0) return "field without a size";
    byte_size = static_cast<uint32_t>(size);
    byte_offset = bit_offset / 8;
    bit_size = byte_size * 8;
  }
  // Compilers may choose another load for a bit field than is chosen here.
  out->check = !bitfield;
  switch (kind) {
    case CoreKind::kFieldByteOffset:
      out->value = byte_offset;
      if (!bitfield) {
        out->size = byte_size;
        out->type = type_id;
      }
      break;
    case CoreKind::kFieldByteSize: out->value = byte_size; break;
    case CoreKind::kFieldSigned:
      out->value = (IsAnyEnum(type) && BTF_INFO_KFLAG(type->info)) ||
                   (btf_is_int(type) && (btf_int_encoding(type) & BTF_INT_SIGNED) != 0);
      out->check = true;
      break;
    case CoreKind::kFieldLshiftU64:
      // 32-bit arithmetic, as libbpf's: sizes beyond 64 bits wrap.
      out->value = uint32_t{64} - (bit_offset + bit_size - byte_offset * 8);
      break;
    case CoreKind::kFieldRshiftU64:
      out->value = uint32_t{64} - bit_size;
      out->check = true;
      break;
    default: return "unknown kind of relocation";
  }
  return "";
}

// Whether a load or store may be made wider or narrower along with the field.
bool MayResize(const btf_type* a, const btf_type* b) {
  if (btf_is_ptr(a) && btf_is_ptr(b)) return true;
  return btf_is_int(a) && btf_is_int(b) && btf_int_encoding(a) != BTF_INT_SIGNED &&
         btf_int_encoding(b) != BTF_INT_SIGNED;
}

// A zero-sized array at the end of a structure has as many elements as one likes.
bool IsFlexible(const struct btf* btf, uint32_t parent_id, uint32_t index, bool named, const struct btf_array* array) {
  return named && array->nelems == 0 && index + 1 == btf_vlen(btf__type_by_id(btf, parent_id));
}

}  // namespace

CoreResolver::CoreResolver(const struct btf* local, const KernelBtf& kernel)
    : local_(local), kernel_(kernel), work_(kMaxAllComparisons) {}

std::string CoreResolver::StepInto(uint32_t index, uint32_t* id, Spec* spec) const {
  const btf_type* type = SkipModifiers(local_, *id, id);
  if (btf_is_composite(type)) {
    if (index >= btf_vlen(type)) return "no such member";
    spec->bit_offset += btf_member_bit_offset(type, index);
    const btf_member& member = btf_members(type)[index];
    if (member.name_off != 0) {
      std::string_view name = BtfName(local_, member.name_off);
      if (name.empty()) return "member without a name";
      spec->accessors.push_back({.type_id = *id, .index = index, .named = true, .name = name});
    }
    *id = member.type;
    return "";
  }
  if (!btf_is_array(type)) return "access into something that has no parts";
  const struct btf_array* array = btf_array(type);
  const Accessor& last = spec->accessors.back();
  if (index >= array->nelems && !IsFlexible(local_, last.type_id, last.index, last.named, array)) {
    return "no such element";
  }
  SkipModifiers(local_, array->type, id);
  spec->accessors.push_back({.type_id = *id, .index = index});
  const int64_t size = BtfSize(local_, *id);
  if (size < 0) return "element without a size";
  spec->bit_offset += static_cast<uint32_t>(index * static_cast<uint64_t>(size) * 8);
  return "";
}

std::string CoreResolver::ParseSpec(CoreKind kind, uint32_t type_id, std::string_view access, Spec* spec) const {
  spec->root = type_id;
  if (access.empty() || access.front() == ':') return "malformed access string";
  if (!IsField(kind) && !IsEnumerator(kind)) return access == "0" ? "" : "malformed access string";
  std::vector<uint32_t> raw;
  const char *at = access.data(), *end = at + access.size();
  while (at != end) {
    if (*at == ':') ++at;
    int32_t index = 0;
    auto [next, error] = std::from_chars(at, end, index);
    if (error != std::errc() || index < 0) return "malformed access string";
    if (raw.size() == kMaxSteps) return kTooDeep;
    raw.push_back(static_cast<uint32_t>(index));
    at = next;
  }
  uint32_t id = 0;
  const btf_type* type = SkipModifiers(local_, type_id, &id);
  spec->raw_length = static_cast<int>(raw.size());
  spec->accessors.push_back({.type_id = id, .index = raw[0]});
  if (IsEnumerator(kind)) {
    if (!IsAnyEnum(type) || raw.size() > 1 || raw[0] >= btf_vlen(type)) return "no such enumerator";
    spec->accessors[0].named = true;
    spec->accessors[0].name = BtfName(local_, EnumeratorName(type, raw[0]));
    return "";
  }
  const int64_t size = BtfSize(local_, id);
  if (size < 0) return "type without a size";
  spec->bit_offset = static_cast<uint32_t>(raw[0] * static_cast<uint64_t>(size) * 8);
  for (size_t i = 1; i < raw.size(); ++i) {
    if (std::string error = StepInto(raw[i], &id, spec); !error.empty()) return error;
  }
  return "";
}

const std::vector<uint32_t>& CoreResolver::Candidates(uint32_t local_id) {
  auto [it, is_new] = candidates_.try_emplace(local_id);
  if (is_new) {
    const btf_type* local = btf__type_by_id(local_, local_id);
    for (uint32_t id : kernel_.Named(EssentialName(BtfName(local_, local->name_off)))) {
      if (SameCoreKind(btf__type_by_id(kernel_.get(), id), local)) it->second.push_back(id);
    }
  }
  return it->second;
}

CoreResolver::Found CoreResolver::MatchEnumerator(const Spec& local, uint32_t target_id, Spec* target) const {
  const btf_type* type = SkipModifiers(kernel_.get(), target_id, &target_id);
  if (!IsAnyEnum(type)) return Found::kNo;
  for (uint32_t i = 0; i < btf_vlen(type); ++i) {
    std::string_view name = BtfName(kernel_.get(), EnumeratorName(type, i));
    if (EssentialName(name) != EssentialName(local.accessors[0].name)) continue;
    target->accessors.push_back({.type_id = target_id, .index = i, .named = true, .name = name});
    ++target->raw_length;
    return Found::kYes;
  }
  return Found::kNo;
}

// Finds the field by name, in unnamed structures and unions too. Recursion is bounded by kMaxSteps.
CoreResolver::Found CoreResolver::MatchMember(const Accessor& local, uint32_t target_id, Spec* target, uint32_t* next) {
  const btf_type* type = SkipModifiers(kernel_.get(), target_id, &target_id);
  if (!btf_is_composite(type)) return Found::kNo;
  for (uint32_t i = 0; i < btf_vlen(type); ++i) {
    if (target->raw_length == kMaxSteps || --steps_ < 0) return Found::kError;
    const btf_member& member = btf_members(type)[i];
    const uint32_t bit_offset = btf_member_bit_offset(type, i);
    target->bit_offset += bit_offset;
    ++target->raw_length;
    std::string_view name = BtfName(kernel_.get(), member.name_off);
    if (name.empty()) {
      if (Found found = MatchMember(local, member.type, target, next); found != Found::kNo) return found;
    } else if (name == local.name) {
      const btf_type* local_parent = btf__type_by_id(local_, local.type_id);
      *next = member.type;
      const TypePair pair{.local = local_, .target = kernel_.get(), .steps = &steps_};
      switch (FieldsCompatible(pair, btf_members(local_parent)[local.index].type, member.type)) {
        case Match::kNo: return Found::kNo;
        case Match::kError: return Found::kError;
        case Match::kYes: break;
      }
      target->accessors.push_back({.type_id = target_id, .index = i, .named = true, .name = name});
      return Found::kYes;
    }
    target->bit_offset -= bit_offset;
    --target->raw_length;
  }
  return Found::kNo;
}

CoreResolver::Found CoreResolver::MatchElement(const Accessor& local, bool is_first, uint32_t target_id, Spec* target,
                                               uint32_t* next) const {
  const btf_type* type = SkipModifiers(kernel_.get(), target_id, &target_id);
  if (!is_first) {  // the first index counts whole objects, as from a pointer
    if (!btf_is_array(type)) return Found::kNo;
    const struct btf_array* array = btf_array(type);
    const Accessor& last = target->accessors.back();
    if (local.index >= array->nelems && !IsFlexible(kernel_.get(), last.type_id, last.index, last.named, array)) {
      return Found::kNo;
    }
    SkipModifiers(kernel_.get(), array->type, &target_id);
  }
  if (target->raw_length == kMaxSteps) return Found::kError;
  ++target->raw_length;
  target->accessors.push_back({.type_id = target_id, .index = local.index});
  const int64_t size = BtfSize(kernel_.get(), target_id);
  if (size < 0) return Found::kError;
  target->bit_offset += static_cast<uint32_t>(local.index * static_cast<uint64_t>(size) * 8);
  *next = target_id;
  return Found::kYes;
}

CoreResolver::Found CoreResolver::MatchSpec(CoreKind kind, const Spec& local, uint32_t target_id, Spec* target) {
  *target = Spec{.root = target_id};
  if (IsEnumerator(kind)) return MatchEnumerator(local, target_id, target);
  if (!IsField(kind)) {
    const TypePair pair{.local = local_, .target = kernel_.get(), .steps = &steps_};
    const Match match = kind == CoreKind::kTypeMatches ? TypesMatch(pair, local.root, target_id)
                                                       : TypesCompatible(pair, local.root, target_id);
    return match == Match::kYes ? Found::kYes : match == Match::kNo ? Found::kNo : Found::kError;
  }
  for (size_t i = 0; i < local.accessors.size(); ++i) {
    const Accessor& accessor = local.accessors[i];
    const Found found = accessor.named ? MatchMember(accessor, target_id, target, &target_id)
                                       : MatchElement(accessor, i == 0, target_id, target, &target_id);
    if (found != Found::kYes) return found;
  }
  return Found::kYes;
}

std::string CoreResolver::Calculate(CoreKind kind, const Spec& local, const Spec* target, CoreResult* result) const {
  *result = CoreResult();
  const auto field = [&](const struct btf* btf, const Spec& spec, FieldValue* out) -> std::string {
    const Accessor& last = spec.accessors.back();
    if (!last.named) return ElementValue(kind, btf, last.type_id, spec.bit_offset, out);
    return MemberValue(kind, btf, btf__type_by_id(btf, last.type_id), last.index, spec.bit_offset, out);
  };
  const auto enumerator = [&](const struct btf* btf, const Spec& spec) -> uint64_t {
    const btf_type* type = btf__type_by_id(btf, spec.accessors[0].type_id);
    if (btf_is_enum(type)) return static_cast<uint64_t>(int64_t{btf_enum(type)[spec.accessors[0].index].val});
    return btf_enum64_value(btf_enum64(type) + spec.accessors[0].index);
  };
  switch (kind) {
    case CoreKind::kFieldExists:
    case CoreKind::kEnumvalExists:
    case CoreKind::kTypeExists:
    case CoreKind::kTypeMatches:
      result->expected = 1;
      result->value = target != nullptr ? 1 : 0;
      return "";
    case CoreKind::kTypeIdTarget:
      // Linking renumbers types, so the instruction may hold anything.
      result->check_expected = false;
      result->expected = local.root;
      result->value = target != nullptr ? target->root : 0;
      return "";
    case CoreKind::kTypeSize: {
      const int64_t expected = BtfSize(local_, local.root);
      const int64_t size = target != nullptr ? BtfSize(kernel_.get(), target->root) : 0;
      if (expected < 0 || size < 0) return "type without a size";
      result->expected = static_cast<uint64_t>(expected);
      result->value = static_cast<uint64_t>(size);
      return "";
    }
    case CoreKind::kEnumvalValue:
      result->expected = enumerator(local_, local);
      if (target == nullptr) {
        result->poison = true;
      } else {
        result->value = enumerator(kernel_.get(), *target);
      }
      return "";
    default: break;
  }
  FieldValue expected, actual;
  if (std::string error = field(local_, local, &expected); !error.empty()) return error;
  result->expected = expected.value;
  result->expected_size = expected.size;
  result->expected_type = expected.type;
  result->check_expected = expected.check;
  if (target == nullptr) {
    result->poison = true;
    return "";
  }
  if (std::string error = field(kernel_.get(), *target, &actual); !error.empty()) return error;
  result->value = actual.value;
  result->size = actual.size;
  result->type = actual.type;
  result->size_conflict = expected.size != actual.size && !MayResize(btf__type_by_id(local_, expected.type),
                                                                     btf__type_by_id(kernel_.get(), actual.type));
  return "";
}

std::string CoreResolver::Resolve(CoreKind kind, uint32_t type_id, std::string_view access, CoreResult* result) {
  if (kind > CoreKind::kTypeMatches) return absl::StrCat("unknown kind ", static_cast<uint32_t>(kind));
  if (type_id >= btf__type_cnt(local_)) return absl::StrCat("type [", type_id, "] does not exist");
  Spec local;
  if (std::string error = ParseSpec(kind, type_id, access, &local); !error.empty()) return error;
  if (kind == CoreKind::kTypeIdLocal) {
    *result = LocalTypeId(type_id);
    return "";
  }
  if (BtfTypeName(local_, type_id).empty()) return "types without a name cannot be relocated";
  steps_ = std::min(kMaxComparisons, work_);
  const int64_t before = steps_;
  std::string error = Decide(kind, type_id, local, result);
  work_ -= before - std::max<int64_t>(steps_, 0);
  return error;
}

std::string CoreResolver::Decide(CoreKind kind, uint32_t type_id, const Spec& local, CoreResult* result) {
  Spec chosen, target;
  std::vector<uint32_t> matching;
  for (uint32_t candidate : Candidates(type_id)) {
    const Found found = MatchSpec(kind, local, candidate, &target);
    if (found == Found::kError) return absl::StrCat("error matching the kernel's type [", candidate, "]");
    if (found == Found::kNo) continue;
    CoreResult one;
    if (std::string error = Calculate(kind, local, &target, &one); !error.empty()) return error;
    if (matching.empty()) {
      *result = one;
      chosen = target;
    } else if (target.bit_offset != chosen.bit_offset) {
      return absl::StrCat("field offset ambiguity: ", target.bit_offset, " != ", chosen.bit_offset);
    } else if (one.poison != result->poison || one.value != result->value) {
      return absl::StrCat("relocation decision ambiguity: ", one.value, " != ", result->value);
    }
    matching.push_back(candidate);
  }
  if (matching.empty()) return Calculate(kind, local, nullptr, result);
  candidates_[type_id] = std::move(matching);
  return "";
}

CoreResult LocalTypeId(uint32_t type_id) { return {.expected = type_id, .value = type_id, .check_expected = false}; }

namespace {

std::string Unexpected(uint64_t got, const CoreResult& result) {
  return absl::StrCat("unexpected value in the instruction: got ", got, ", exp ", result.expected, " -> ",
                      result.value);
}

void Poison(std::span<Insn> insn) {
  const size_t count = IsLdImm64(insn[0]) ? 2 : 1;
  for (size_t i = 0; i < count; ++i) insn[i] = Insn{.code = kCodeCall, .imm = kPoison};
}

std::string PatchMemory(const CoreResult& result, std::span<Insn> insn) {
  const auto got = static_cast<uint64_t>(int64_t{insn[0].off});
  if (result.check_expected && got != result.expected) return Unexpected(got, result);
  if (result.value > INT16_MAX) return absl::StrCat("value too big: ", result.value);
  if (result.size_conflict) {
    Poison(insn);
    return "";
  }
  insn[0].off = static_cast<int16_t>(result.value);
  if (result.size == result.expected_size) return "";
  if (static_cast<uint32_t>(AccessBytes(insn[0])) != result.expected_size) {
    return absl::StrCat("unexpected mem size: got ", AccessBytes(insn[0]), ", exp ", result.expected_size);
  }
  uint8_t size = 0;
  switch (result.size) {
    case 1: size = kSizeB; break;
    case 2: size = kSizeH; break;
    case 4: size = kSizeW; break;
    case 8: size = kSizeDw; break;
    default: return absl::StrCat("invalid new mem size: ", result.size);
  }
  insn[0].code = static_cast<uint8_t>(Mode(insn[0]) | size | Class(insn[0]));
  return "";
}

}  // namespace

std::string PatchCore(const CoreResult& result, std::span<Insn> insn) {
  switch (Class(insn[0])) {
    case kClassAlu:
    case kClassAlu64: {
      if (UsesX(insn[0])) break;
      if (result.poison) {
        Poison(insn);
        return "";
      }
      const auto got = static_cast<uint64_t>(int64_t{insn[0].imm});
      if (result.check_expected && got != result.expected) return Unexpected(got, result);
      insn[0].imm = static_cast<int32_t>(result.value);
      return "";
    }
    case kClassLdx:
    case kClassSt:
    case kClassStx:
      if (result.poison) {
        Poison(insn);
        return "";
      }
      return PatchMemory(result, insn);
    case kClassLd: {
      if (!IsLdImm64(insn[0])) break;
      if (insn.size() < 2) return "64-bit immediate is truncated";
      if (insn[0].src != 0 || insn[0].off != 0 || insn[1].code != 0 || insn[1].dst != 0 || insn[1].src != 0 ||
          insn[1].off != 0) {
        return "64-bit immediate has an unexpected form";
      }
      if (result.poison) {
        Poison(insn);
        return "";
      }
      const uint64_t got = static_cast<uint32_t>(insn[0].imm) | uint64_t{static_cast<uint32_t>(insn[1].imm)} << 32;
      if (result.check_expected && got != result.expected) return Unexpected(got, result);
      insn[0].imm = static_cast<int32_t>(result.value);
      insn[1].imm = static_cast<int32_t>(result.value >> 32);
      return "";
    }
    default: break;
  }
  return absl::StrCat("instruction of code ", insn[0].code, " cannot be relocated");
}

}  // namespace bpfsieve
