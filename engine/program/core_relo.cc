#include "engine/program/core_relo.h"

#include "engine/program/btf_view.h"

namespace bpfsieve {
namespace {

constexpr int kMaxDepth = 32;

bool SameKind(const btf_type* a, const btf_type* b) {
  auto any_enum = [](const btf_type* t) { return btf_is_enum(t) || btf_is_enum64(t); };
  return btf_kind(a) == btf_kind(b) || (any_enum(a) && any_enum(b));
}

class Compatibility {
 public:
  Compatibility(const struct btf* local, const struct btf* target) : local_(local), target_(target) {}

  bool Types(uint32_t local_id, uint32_t target_id, int level) {
    const btf_type *local = btf__type_by_id(local_, local_id), *target = btf__type_by_id(target_, target_id);
    if (!SameKind(local, target)) return false;
    for (int depth = 0; depth < kMaxDepth && --steps_ >= 0; ++depth) {
      local = SkipModifiers(local_, local_id, &local_id);
      target = SkipModifiers(target_, target_id, &target_id);
      if (!SameKind(local, target)) return false;
      switch (btf_kind(local)) {
        case BTF_KIND_UNKN:
        case BTF_KIND_STRUCT:
        case BTF_KIND_UNION:
        case BTF_KIND_ENUM:
        case BTF_KIND_ENUM64:
        case BTF_KIND_FWD:
          return true;
        case BTF_KIND_INT:
          return btf_int_offset(local) == 0 && btf_int_offset(target) == 0;
        case BTF_KIND_PTR:
          local_id = local->type;
          target_id = target->type;
          break;
        case BTF_KIND_ARRAY:
          local_id = btf_array(local)->type;
          target_id = btf_array(target)->type;
          break;
        case BTF_KIND_FUNC_PROTO:
          if (btf_vlen(local) != btf_vlen(target) || level <= 0) return false;
          for (int i = 0; i < btf_vlen(local); ++i) {
            uint32_t a = 0, b = 0;
            SkipModifiers(local_, btf_params(local)[i].type, &a);
            SkipModifiers(target_, btf_params(target)[i].type, &b);
            if (!Types(a, b, level - 1)) return false;
          }
          local_id = local->type;
          target_id = target->type;
          break;
        default:
          return false;
      }
    }
    return false;
  }

 private:
  const struct btf* local_;
  const struct btf* target_;
  int steps_ = 100'000;  // hostile prototypes nest into one another
};

}  // namespace

bool CoreTypesCompatible(const struct btf* local, uint32_t local_id, const struct btf* target, uint32_t target_id) {
  return Compatibility(local, target).Types(local_id, target_id, kMaxDepth);
}

}  // namespace bpfsieve
