#include "engine/verify/attach.h"

#include <bpf/btf.h>

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

const btf_type* ProtoOf(const struct btf* btf, uint32_t function) {
  const btf_type* t = btf__type_by_id(btf, btf__type_by_id(btf, function)->type);
  return t != nullptr && btf_is_func_proto(t) ? t : nullptr;
}

uint32_t NullableParams(const struct btf* btf, const btf_type* proto, int skipped) {
  uint32_t nullable = 0;
  for (int i = skipped; i < static_cast<int>(btf_vlen(proto)) && i - skipped < 32; ++i) {
    if (BtfName(btf, btf_params(proto)[i].name_off).ends_with("__nullable")) nullable |= 1u << (i - skipped);
  }
  return nullable;
}

bool SameTypes(const btf_type* a, const btf_type* b) {
  if (btf_vlen(a) != btf_vlen(b)) return false;
  for (uint32_t i = 0; i < btf_vlen(a); ++i) {
    if (btf_params(a)[i].type != btf_params(b)[i].type) return false;
  }
  return true;
}

// A tracepoint is a typedef of its handler's type, which does not name the arguments. The function that does is of the
// class of tracepoints that it belongs to, which only the kernel's symbols tell; by the BTF alone it is one of those
// with the same types.
uint32_t NullableByClass(const KernelBtf& kernel, std::string_view name, const btf_type* proto) {
  const struct btf* btf = kernel.get();
  const uint32_t own = kernel.Find(absl::StrCat("__bpf_trace_", std::string(name)), BTF_KIND_FUNC);
  if (own != 0) {
    const btf_type* t = ProtoOf(btf, own);
    return t != nullptr ? NullableParams(btf, t, 1) : 0;
  }
  uint32_t nullable = 0;
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (!btf_is_func(t) || !BtfName(btf, t->name_off).starts_with("__bpf_trace_")) continue;
    const btf_type* handler = ProtoOf(btf, id);
    if (handler != nullptr && SameTypes(handler, proto)) nullable |= NullableParams(btf, handler, 1);
  }
  return nullable;
}

}  // namespace

absl::StatusOr<AttachTarget> FindAttachTarget(const Program& program, const KernelBtf& kernel) {
  const struct btf* btf = kernel.get();
  AttachTarget target;
  target.name = program.attach_target;
  const auto missing = [&] { return absl::NotFoundError(absl::StrCat("the kernel has no '", target.name, "' to attach to")); };
  switch (program.attach) {
    case AttachType::kTraceRawTp: {
      const uint32_t id = kernel.Find(absl::StrCat("btf_trace_", target.name), BTF_KIND_TYPEDEF);
      const btf_type* pointer = id != 0 ? SkipModifiers(btf, id, nullptr) : nullptr;
      if (pointer == nullptr || !btf_is_ptr(pointer)) return missing();
      target.proto = btf__type_by_id(btf, pointer->type);
      if (target.proto == nullptr || !btf_is_func_proto(target.proto) || btf_vlen(target.proto) == 0) return missing();
      target.skipped = 1;
      target.trusted = true;
      const TracepointArgs args = FindTracepoint(target.name);
      target.nullable = args.nullable | NullableByClass(kernel, target.name, target.proto);
      target.error = args.error;
      return target;
    }
    case AttachType::kTraceIter: {
      const uint32_t id = kernel.Find(absl::StrCat("bpf_iter_", target.name), BTF_KIND_FUNC);
      target.proto = id != 0 ? ProtoOf(btf, id) : nullptr;
      if (target.proto == nullptr) return missing();
      const TargetProto* known = FindTarget(target.name);
      if (known == nullptr) return absl::UnimplementedError(absl::StrCat("iterator over ", target.name));
      target.trusted = true;
      for (const ElementArg& arg : known->args) {
        switch (arg.kind) {
          case ElementArg::Kind::kNone: break;
          case ElementArg::Kind::kObject: target.typed.push_back({arg.position, RegType::kBtfId, kMaybeNull}); break;
          case ElementArg::Kind::kTrustedObject:
            target.typed.push_back({arg.position, RegType::kBtfId, kMaybeNull | kTrusted});
            break;
          case ElementArg::Kind::kBuffer: target.typed.push_back({arg.position, RegType::kBuf, kMaybeNull}); break;
          case ElementArg::Kind::kReadOnlyBuffer:
            target.typed.push_back({arg.position, RegType::kBuf, kMaybeNull | kRdonly});
            break;
        }
      }
      return target;
    }
    case AttachType::kTraceFentry:
    case AttachType::kTraceFexit: {
      // Which functions may sleep is in lists that the BTF does not have.
      if (program.sleepable) return absl::UnimplementedError("sleepable fentry and fexit");
      const uint32_t id = kernel.Find(target.name, BTF_KIND_FUNC);
      target.proto = id != 0 ? ProtoOf(btf, id) : nullptr;
      if (target.proto == nullptr) return missing();
      target.nullable = NullableParams(btf, target.proto, 0);
      return target;
    }
    default: return absl::UnimplementedError("fmod_ret");
  }
}

}  // namespace bpfsieve
