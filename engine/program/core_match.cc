#include "engine/program/core_match.h"

namespace bpfsieve {
namespace {

constexpr int kMaxDepth = 32;  // of pointers and arrays, and of prototypes and structures in one another

bool IsAnyEnum(const btf_type* type) { return btf_is_enum(type) || btf_is_enum64(type); }

Match Of(bool yes) { return yes ? Match::kYes : Match::kNo; }

bool NamesMatch(const TypePair& pair, uint32_t local_off, uint32_t target_off) {
  return EssentialName(BtfName(pair.local, local_off)) == EssentialName(BtfName(pair.target, target_off));
}

bool PlainInts(const btf_type* a, const btf_type* b) { return btf_int_offset(a) == 0 && btf_int_offset(b) == 0; }

Match Compatible(const TypePair& pair, uint32_t local_id, uint32_t target_id, int level) {
  if (!SameCoreKind(btf__type_by_id(pair.local, local_id), btf__type_by_id(pair.target, target_id))) return Match::kNo;
  for (int depth = 0; depth < kMaxDepth && --*pair.steps >= 0; ++depth) {
    const btf_type* local = SkipModifiers(pair.local, local_id, &local_id);
    const btf_type* target = SkipModifiers(pair.target, target_id, &target_id);
    if (!SameCoreKind(local, target)) return Match::kNo;
    switch (btf_kind(local)) {
      case BTF_KIND_UNKN:
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
      case BTF_KIND_FWD: return Match::kYes;
      case BTF_KIND_INT: return Of(PlainInts(local, target));
      case BTF_KIND_PTR:
        local_id = local->type;
        target_id = target->type;
        break;
      case BTF_KIND_ARRAY:
        local_id = btf_array(local)->type;
        target_id = btf_array(target)->type;
        break;
      case BTF_KIND_FUNC_PROTO:
        if (btf_vlen(local) != btf_vlen(target)) return Match::kNo;
        for (int i = 0; i < btf_vlen(local); ++i) {
          if (level <= 0) return Match::kError;
          uint32_t a = 0, b = 0;
          SkipModifiers(pair.local, btf_params(local)[i].type, &a);
          SkipModifiers(pair.target, btf_params(target)[i].type, &b);
          if (Match match = Compatible(pair, a, b, level - 1); match != Match::kYes) return match;
        }
        local_id = local->type;
        target_id = target->type;
        break;
      default: return Match::kNo;
    }
  }
  return Match::kError;
}

uint32_t EnumeratorName(const btf_type* type, int i) {
  return btf_is_enum(type) ? btf_enum(type)[i].name_off : btf_enum64(type)[i].name_off;
}

Match EnumsMatch(const TypePair& pair, const btf_type* local, const btf_type* target) {
  if (local->size != target->size || btf_vlen(local) > btf_vlen(target)) return Match::kNo;
  for (int i = 0; i < btf_vlen(local); ++i) {
    bool found = false;
    for (int j = 0; j < btf_vlen(target) && !found; ++j) {
      if (--*pair.steps < 0) return Match::kError;
      found = NamesMatch(pair, EnumeratorName(local, i), EnumeratorName(target, j));
    }
    if (!found) return Match::kNo;
  }
  return Match::kYes;
}

Match MatchAt(const TypePair& pair, uint32_t local_id, uint32_t target_id, bool behind_pointer, int level);

Match MembersMatch(const TypePair& pair, const btf_type* local, const btf_type* target, int level) {
  if (btf_vlen(local) > btf_vlen(target)) return Match::kNo;
  for (int i = 0; i < btf_vlen(local); ++i) {
    const btf_member& member = btf_members(local)[i];
    bool found = false;
    for (int j = 0; j < btf_vlen(target) && !found; ++j) {
      if (--*pair.steps < 0) return Match::kError;
      const btf_member& candidate = btf_members(target)[j];
      if (!NamesMatch(pair, member.name_off, candidate.name_off)) continue;
      const Match match = MatchAt(pair, member.type, candidate.type, false, level - 1);
      if (match == Match::kError) return match;
      found = match == Match::kYes;
    }
    if (!found) return Match::kNo;
  }
  return Match::kYes;
}

// A forward declaration may stand for the structure (kind flag 0) or union (1) that it declares, behind a pointer.
bool ForwardFor(const btf_type* forward, const btf_type* whole) {
  return BTF_INFO_KFLAG(forward->info) ? btf_is_union(whole) : btf_is_struct(whole);
}

Match MatchAt(const TypePair& pair, uint32_t local_id, uint32_t target_id, bool behind_pointer, int level) {
  if (level <= 0) return Match::kError;
  for (int depth = 0; depth < kMaxDepth && --*pair.steps >= 0; ++depth) {
    const btf_type* local = SkipModifiers(pair.local, local_id, &local_id);
    const btf_type* target = SkipModifiers(pair.target, target_id, &target_id);
    if (!NamesMatch(pair, local->name_off, target->name_off)) return Match::kNo;
    const bool same_kind = btf_kind(local) == btf_kind(target);
    switch (btf_kind(local)) {
      case BTF_KIND_UNKN: return Of(same_kind);
      case BTF_KIND_FWD:
        if (same_kind) return Of(BTF_INFO_KFLAG(local->info) == BTF_INFO_KFLAG(target->info));
        return Of(behind_pointer && ForwardFor(local, target));
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64: return IsAnyEnum(target) ? EnumsMatch(pair, local, target) : Match::kNo;
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        if (behind_pointer) return Of(same_kind || (btf_is_fwd(target) && ForwardFor(target, local)));
        return same_kind ? MembersMatch(pair, local, target, level) : Match::kNo;
      case BTF_KIND_INT:
        return Of(same_kind && local->size == target->size &&
                  (btf_int_encoding(local) & BTF_INT_SIGNED) == (btf_int_encoding(target) & BTF_INT_SIGNED));
      case BTF_KIND_PTR:
        if (!same_kind) return Match::kNo;
        behind_pointer = true;
        local_id = local->type;
        target_id = target->type;
        break;
      case BTF_KIND_ARRAY:
        if (!same_kind || btf_array(local)->nelems != btf_array(target)->nelems) return Match::kNo;
        local_id = btf_array(local)->type;
        target_id = btf_array(target)->type;
        break;
      case BTF_KIND_FUNC_PROTO:
        if (!same_kind || btf_vlen(local) != btf_vlen(target)) return Match::kNo;
        for (int i = 0; i < btf_vlen(local); ++i) {
          const Match match =
              MatchAt(pair, btf_params(local)[i].type, btf_params(target)[i].type, behind_pointer, level - 1);
          if (match != Match::kYes) return match;
        }
        local_id = local->type;
        target_id = target->type;
        break;
      default: return Match::kNo;
    }
  }
  return Match::kError;
}

}  // namespace

bool SameCoreKind(const btf_type* a, const btf_type* b) {
  return btf_kind(a) == btf_kind(b) || (IsAnyEnum(a) && IsAnyEnum(b));
}

Match TypesCompatible(const TypePair& pair, uint32_t local_id, uint32_t target_id) {
  return Compatible(pair, local_id, target_id, kMaxDepth);
}

Match TypesMatch(const TypePair& pair, uint32_t local_id, uint32_t target_id) {
  return MatchAt(pair, local_id, target_id, false, kMaxDepth);
}

Match FieldsCompatible(const TypePair& pair, uint32_t local_id, uint32_t target_id) {
  while (--*pair.steps >= 0) {
    const btf_type* local = SkipModifiers(pair.local, local_id, &local_id);
    const btf_type* target = SkipModifiers(pair.target, target_id, &target_id);
    if (btf_is_composite(local) && btf_is_composite(target)) return Match::kYes;
    if (!SameCoreKind(local, target)) return Match::kNo;
    switch (btf_kind(local)) {
      case BTF_KIND_PTR:
      case BTF_KIND_FLOAT: return Match::kYes;
      case BTF_KIND_FWD:
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        return Of(local->name_off == 0 || target->name_off == 0 || NamesMatch(pair, local->name_off, target->name_off));
      case BTF_KIND_INT: return Of(PlainInts(local, target));
      case BTF_KIND_ARRAY:
        local_id = btf_array(local)->type;
        target_id = btf_array(target)->type;
        break;
      default: return Match::kNo;
    }
  }
  return Match::kError;
}

}  // namespace bpfsieve
