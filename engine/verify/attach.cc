#include "engine/verify/attach.h"

#include <bpf/btf.h>

#include <algorithm>
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
  for (uint32_t id : kernel.TracepointHandlers()) {
    const btf_type* handler = ProtoOf(btf, id);
    if (handler != nullptr && SameTypes(handler, proto)) nullable |= NullableParams(btf, handler, 1);
  }
  return nullable;
}

// The function's prototype, for a program that a trampoline calls.
absl::Status FindFunction(const KernelBtf& kernel, const std::string& name, AttachTarget* target) {
  const struct btf* btf = kernel.get();
  const uint32_t id = kernel.Find(name, BTF_KIND_FUNC);
  target->proto = id != 0 ? ProtoOf(btf, id) : nullptr;
  if (target->proto == nullptr) return absl::NotFoundError(absl::StrCat("the kernel has no '", name, "' to attach to"));
  target->nullable = NullableParams(btf, target->proto, 0);
  return CheckModel(btf, target->proto, name);
}

// Where a program at a kernel function may sleep, and whether it may return in the function's place.
absl::Status CheckTraced(const Program& program, const KernelBtf& kernel, const AttachTarget& target) {
  const bool modifies = program.attach == AttachType::kModifyReturn;
  if (program.sleepable || modifies) {
    // The function exists where the kernel is built for it; the list itself is not in its types.
    const bool injects = kernel.Find("within_error_injection_list", BTF_KIND_FUNC) != 0;
    bool modifiable = false, sleepable = false;
    switch (FindModifyReturn(target.name)) {
      case ModifyReturn::kNo: break;
      case ModifyReturn::kYes: modifiable = true; break;
      case ModifyReturn::kSleepable: modifiable = sleepable = true; break;
      case ModifyReturn::kErrorInjection: modifiable = sleepable = injects; break;
      case ModifyReturn::kErrorInjectionAwake: modifiable = injects; break;
    }
    if (program.sleepable ? !sleepable : !modifiable) {
      return absl::FailedPreconditionError(
          absl::StrCat(target.name, program.sleepable ? " is not sleepable" : "() is not modifiable"));
    }
  }
  if (IsDeniedToTracing(target.name)) {
    return absl::FailedPreconditionError(absl::StrCat("no program may be attached to ", target.name));
  }
  if (program.attach != AttachType::kTraceFentry && NeverReturns(target.name)) {
    return absl::FailedPreconditionError("Attaching fexit/fmod_ret to __noreturn functions is rejected.");
  }
  return absl::OkStatus();
}

// What a program of a security module's hook gets and returns.
absl::Status CheckHook(const Program& program, bool gpl, const KernelBtf& kernel, AttachTarget* target) {
  const LsmHook hook = FindLsmHook(target->name);
  const std::string name = absl::StrCat("bpf_lsm_", target->name);
  if (program.sleepable && program.attach == AttachType::kLsmMac) {
    if (hook.maybe_sleepable) return absl::UnimplementedError(absl::StrCat("sleepable ", name));
    if (!hook.sleepable) return absl::FailedPreconditionError(absl::StrCat(name, " is not sleepable"));
  }
  if (!gpl) return absl::FailedPreconditionError("LSM programs must have a GPL compatible license");
  if (hook.disabled) return absl::FailedPreconditionError(absl::StrCat("attach_btf_id points to disabled hook ", name));
  // A member of this union for each hook tells them from other functions of such a name.
  const uint32_t hooks = kernel.Find("security_list_options", BTF_KIND_UNION);
  if (hooks == 0) return absl::UnimplementedError("without the kernel's list of hooks");
  const btf_type* t = btf__type_by_id(kernel.get(), hooks);
  const btf_member* members = btf_members(t);
  if (std::none_of(members, members + btf_vlen(t),
                   [&](const btf_member& m) { return BtfName(kernel.get(), m.name_off) == target->name; })) {
    return absl::FailedPreconditionError(absl::StrCat("attach_btf_id points to wrong type name ", name));
  }
  // Where an object is not there yet, what a program reads from it is anything; 6.18 does not say so.
  target->pointer = hook.unfinished ? kUntrusted : hook.untrusted ? 0 : kTrusted;
  const bool is_void = target->proto->type == 0;
  if (program.attach == AttachType::kLsmCgroup) {
    target->returns = RetRule{.checked = true, .range = {is_void ? 1 : 0, 1}};
  } else if (is_void) {
    target->returns = RetRule{.exempt = true};
  } else {
    constexpr int32_t kMaxErrno = 4095;
    target->returns = RetRule{.checked = true, .range = {hook.boolean ? 0 : -kMaxErrno, hook.boolean ? 1 : 0}, .is32 = true};
  }
  return absl::OkStatus();
}

// A program of a table of functions.
absl::Status FindMember(const Program& program, bool gpl, const KernelBtf& kernel, AttachTarget* target) {
  const struct btf* btf = kernel.get();
  const std::string_view name = target->name;
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return absl::NotFoundError("the program is for no member of a table");
  const std::string type(name.substr(0, slash)), member(name.substr(slash + 1));
  const uint32_t id = kernel.Find(type, BTF_KIND_STRUCT);
  if (id == 0 || kernel.Find(absl::StrCat("bpf_struct_ops_", type), BTF_KIND_STRUCT) == 0) {
    return absl::NotFoundError(absl::StrCat("the kernel has no table '", type, "' for programs"));
  }
  const StructOpsMember known = FindStructOpsMember(type, member);
  if (!known.known) return absl::UnimplementedError(type);
  const btf_type* table = btf__type_by_id(btf, id);
  bool found = false;
  for (uint32_t i = 0; i < btf_vlen(table); ++i) {
    if (BtfName(btf, btf_members(table)[i].name_off) != member) continue;
    found = true;
    const btf_type* pointer = SkipModifiers(btf, btf_members(table)[i].type, nullptr);
    if (pointer == nullptr || !btf_is_ptr(pointer)) continue;
    const btf_type* proto = SkipModifiers(btf, pointer->type, nullptr);
    if (proto != nullptr && btf_is_func_proto(proto)) target->proto = proto;
  }
  if (!found) return absl::NotFoundError(absl::StrCat("the kernel's ", type, " has no member '", member, "'"));
  if (!gpl) return absl::FailedPreconditionError("struct ops programs must have a GPL compatible license");
  if (target->proto == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("attach to invalid member ", member, " of struct ", type));
  }
  if (!known.supported || (program.sleepable && !known.sleepable)) {
    return absl::FailedPreconditionError(absl::StrCat("attach to unsupported member ", member, " of struct ", type));
  }
  target->pointer = kTrusted;
  target->nullable = known.nullable;
  target->returns = RetRule{.exempt = target->proto->type == 0};
  if (type == "tcp_congestion_ops") {
    target->socket = kernel.Find("sock", BTF_KIND_STRUCT);
    target->tcp_socket = kernel.Find("tcp_sock", BTF_KIND_STRUCT);
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t NullableParams(const struct btf* btf, const btf_type* proto, int skipped) {
  uint32_t nullable = 0;
  for (int i = skipped; i < static_cast<int>(btf_vlen(proto)) && i - skipped < 32; ++i) {
    if (BtfName(btf, btf_params(proto)[i].name_off).ends_with("__nullable")) nullable |= 1u << (i - skipped);
  }
  return nullable;
}

absl::Status CheckModel(const struct btf* btf, const btf_type* proto, std::string_view name) {
  constexpr uint32_t kMaxArgs = 12;
  const auto refuse = [&](auto&&... words) {
    return absl::FailedPreconditionError(absl::StrCat("The function ", std::string(name), words...));
  };
  const uint32_t count = btf_vlen(proto);
  if (count > kMaxArgs) return refuse(" has ", count, " arguments. Too many.");
  const auto fits = [&](uint32_t id, int64_t limit) {
    const btf_type* t = SkipModifiers(btf, id, nullptr);
    return t != nullptr && (btf_is_ptr(t) || ((btf_is_int(t) || btf_is_any_enum(t) || btf_is_composite(t)) &&
                                              t->size <= limit));
  };
  const btf_type* ret = SkipModifiers(btf, proto->type, nullptr);
  if (proto->type != 0 && (!fits(proto->type, 16) || btf_is_composite(ret))) {
    return refuse(" return type ", std::string(BtfKindName(ret)), " is unsupported.");
  }
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t type = btf_params(proto)[i].type;
    if (type == 0) return refuse(i + 1 == count ? " with variable args is unsupported." : " has malformed void argument.");
    if (!fits(type, 16)) {
      return refuse(" arg", i, " type ", std::string(BtfKindName(SkipModifiers(btf, type, nullptr))), " is unsupported.");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<AttachTarget> FindAttachTarget(const Program& program, bool gpl, const KernelBtf& kernel) {
  const struct btf* btf = kernel.get();
  AttachTarget target;
  target.name = program.attach_target;
  if (program.type == ProgType::kStructOps) {
    if (absl::Status s = FindMember(program, gpl, kernel, &target); !s.ok()) return s;
    return target;
  }
  const auto missing = [&] { return absl::NotFoundError(absl::StrCat("the kernel has no '", target.name, "' to attach to")); };
  switch (program.attach) {
    case AttachType::kTraceRawTp: {
      const uint32_t id = kernel.Find(absl::StrCat("btf_trace_", target.name), BTF_KIND_TYPEDEF);
      const btf_type* pointer = id != 0 ? SkipModifiers(btf, id, nullptr) : nullptr;
      if (pointer == nullptr || !btf_is_ptr(pointer)) return missing();
      target.proto = btf__type_by_id(btf, pointer->type);
      if (target.proto == nullptr || !btf_is_func_proto(target.proto) || btf_vlen(target.proto) == 0) return missing();
      target.skipped = 1;
      target.pointer = kTrusted;
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
      target.pointer = kTrusted;
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
    case AttachType::kTraceFexit:
    case AttachType::kModifyReturn: {
      if (absl::Status s = FindFunction(kernel, target.name, &target); !s.ok()) return s;
      if (absl::Status s = CheckTraced(program, kernel, target); !s.ok()) return s;
      return target;
    }
    case AttachType::kLsmMac:
    case AttachType::kLsmCgroup: {
      if (absl::Status s = FindFunction(kernel, absl::StrCat("bpf_lsm_", target.name), &target); !s.ok()) return s;
      if (absl::Status s = CheckHook(program, gpl, kernel, &target); !s.ok()) return s;
      return target;
    }
    default: return absl::UnimplementedError("attach type");
  }
}

}  // namespace bpfsieve
