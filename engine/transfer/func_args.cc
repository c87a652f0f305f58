// Prototypes of global functions, from BTF (btf_prepare_func_args).
#include <bpf/btf.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_view.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// The structure by which a program of this type names its context; empty: there is none.
std::string_view ContextName(ProgType type) {
  switch (type) {
    case ProgType::kSocketFilter:
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kCgroupSkb:
    case ProgType::kLwtIn:
    case ProgType::kLwtOut:
    case ProgType::kLwtXmit:
    case ProgType::kLwtSeg6local:
    case ProgType::kSkSkb:
    case ProgType::kFlowDissector: return "__sk_buff";
    case ProgType::kXdp: return "xdp_md";
    case ProgType::kCgroupSock: return "bpf_sock";
    case ProgType::kCgroupSockAddr: return "bpf_sock_addr";
    case ProgType::kSockOps: return "bpf_sock_ops";
    case ProgType::kSkMsg: return "sk_msg_md";
    case ProgType::kKprobe: return "pt_regs";
    case ProgType::kPerfEvent: return "bpf_perf_event_data";
    case ProgType::kRawTracepoint:
    case ProgType::kRawTracepointWritable: return "bpf_raw_tracepoint_args";
    case ProgType::kCgroupDevice: return "bpf_cgroup_dev_ctx";
    case ProgType::kCgroupSysctl: return "bpf_sysctl";
    case ProgType::kCgroupSockopt: return "bpf_sockopt";
    case ProgType::kSkReuseport: return "sk_reuseport_md";
    case ProgType::kSkLookup: return "bpf_sk_lookup";
    case ProgType::kNetfilter: return "bpf_nf_ctx";
    default: return {};
  }
}

std::string_view NameOf(const struct btf* btf, const btf_type* t) {
  const char* name = btf__name_by_offset(btf, t->name_off);
  return name == nullptr ? std::string_view() : name;
}

// Probes may name their context by this typedef, whatever stands behind it.
bool IsUserPtRegs(const struct btf* btf, uint32_t id) {
  for (int hops = 0; hops < 32; ++hops) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (t == nullptr) return false;
    if (btf_is_typedef(t)) return NameOf(btf, t) == "bpf_user_pt_regs_t";
    if (!btf_is_mod(t)) return false;
    id = t->type;
  }
  return false;
}

// Why a pointer to type `id` may not be tagged as the context (btf_validate_prog_ctx_type); empty: it may.
std::string ContextTagError(const struct btf* btf, uint32_t id, ProgType type, AttachType attach, uint32_t arg) {
  const bool pt_regs = type == ProgType::kKprobe || type == ProgType::kPerfEvent;
  if (pt_regs && IsUserPtRegs(btf, id)) return {};
  if (id == 0) return {};
  const btf_type* t = SkipModifiers(btf, id, nullptr);
  if (t == nullptr) return absl::StrCat("arg#", arg, " type doesn't have a name");
  if (btf_is_void(t)) return {};
  const std::string_view name = NameOf(btf, t);
  if (name.empty()) return absl::StrCat("arg#", arg, " type doesn't have a name");
  if (pt_regs && btf_is_struct(t) && name == "pt_regs") return {};
  const bool u64_array = type == ProgType::kRawTracepoint || type == ProgType::kRawTracepointWritable ||
                         (type == ProgType::kTracing && attach != AttachType::kTraceIter) || type == ProgType::kLsm ||
                         type == ProgType::kStructOps;
  if (u64_array && btf_is_int(t) && t->size == 8) return {};
  if (type == ProgType::kTracepoint || type == ProgType::kSyscall || type == ProgType::kExt) return {};
  if (type == ProgType::kTracing && btf_is_struct(t)) {
    if (attach == AttachType::kTraceRawTp && name == "bpf_raw_tracepoint_args") return {};
    if (attach == AttachType::kTraceIter && name.starts_with("bpf_iter__")) return {};
  }
  const std::string_view context = ContextName(type);
  if (context.empty()) return absl::StrCat("arg#", arg, " should be void pointer");
  if (btf_is_struct(t) && name == context) return {};
  return absl::StrCat("arg#", arg, " should be `struct ", std::string(context), " *`");
}

Finding Bad(uint32_t insn, std::string message) {
  Finding f;
  f.rule = Rule::kGlobalFunc;
  f.insn = insn;
  f.message = std::move(message);
  return f;
}

// The kernel's structure of the name that type `id` of the object has, for argument `arg`; 0: there is none, as `out` says, or
// it is not known (btf_get_ptr_to_btf_id).
uint32_t KernelStruct(const Object& object, uint32_t id, uint32_t arg, const Subprog& info, FuncArgs* out) {
  const KernelBtf* kernel = KernelTypes(object);
  const btf_type* own = SkipModifiers(object.btf.get(), id, nullptr);
  if (kernel != nullptr && own != nullptr && btf_is_struct(own)) {
    const std::string_view name = NameOf(object.btf.get(), own);
    if (const uint32_t found = kernel->Find(EssentialName(name), BTF_KIND_STRUCT); found != 0) return found;
    if (kernel->Named(EssentialName(name)).empty()) {
      out->error = Bad(info.start, absl::StrCat("arg#", arg, " reference type('STRUCT ", std::string(name), "') has no matches"));
      return 0;
    }
  }
  out->unsupported = "global function argument tag: structure of the kernel";
  return 0;
}

bool IsScalarType(const btf_type* t) { return btf_is_int(t) || btf_is_any_enum(t); }

}  // namespace

bool IsContext(const struct btf* btf, uint32_t id, ProgType type) {
  if (type == ProgType::kKprobe && IsUserPtRegs(btf, id)) return true;
  const btf_type* t = SkipModifiers(btf, id, nullptr);
  if (t == nullptr || !btf_is_composite(t)) return false;
  const std::string_view name = NameOf(btf, t), context = ContextName(type);
  if (context.empty()) return false;
  if (name == context) return true;
  // The kernel's own structures behind two of them will do.
  return (context == "__sk_buff" && name == "sk_buff") || (context == "xdp_md" && name == "xdp_buff") ||
         (type == ProgType::kKprobe && name == "bpf_user_pt_regs_t");
}

FuncArgs ReadFuncArgs(const Object& object, const Program& program, const Subprog& info) {
  FuncArgs out;
  const struct btf* btf = object.btf.get();
  auto bad = [&](std::string message) { out.error = Bad(info.start, std::move(message)); };
  if (btf == nullptr || info.btf_func_id == 0) {
    // A program written as text declares a global function without a prototype: scalars all.
    if (btf == nullptr) {
      out.args.resize(5);
      return out;
    }
    bad("Global functions need valid BTF");
    return out;
  }
  const btf_type* func = btf__type_by_id(btf, info.btf_func_id);
  const btf_type* proto = func != nullptr && btf_is_func(func) ? btf__type_by_id(btf, func->type) : nullptr;
  if (proto == nullptr || !btf_is_func_proto(proto)) {
    bad(absl::StrCat("Invalid type of function ", info.name, "()"));
    return out;
  }
  const uint32_t count = btf_vlen(proto);
  if (count > 5) {
    bad(absl::StrCat("Global function ", info.name, "() with ", count, " > 5 args. Buggy compiler."));
    return out;
  }
  const btf_type* ret = SkipModifiers(btf, proto->type, nullptr);
  if (proto->type == 0 || ret == nullptr || !IsScalarType(ret)) {
    bad(absl::StrCat("Global function ", info.name, "() doesn't return scalar. Only those are supported."));
    return out;
  }
  // Declaration tags on parameters ("arg:ctx", ...).
  std::vector<std::vector<std::string_view>> tags(count);
  const uint32_t types = btf__type_cnt(btf);
  for (uint32_t id = 1; id < types; ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (!btf_is_decl_tag(t) || t->type != info.btf_func_id) continue;
    const int index = btf_decl_tag(t)->component_idx;
    const char* name = btf__name_by_offset(btf, t->name_off);
    if (index < 0 || index >= static_cast<int>(count) || name == nullptr) continue;
    if (std::strncmp(name, "arg:", 4) == 0) tags[index].push_back(name + 4);
  }
  const btf_param* params = btf_params(proto);
  for (uint32_t i = 0; i < count; ++i) {
    FuncArg arg;
    out.tagged |= !tags[i].empty();
    bool ctx_tag = false, nonnull = false, trusted = false, nullable = false, untrusted = false, arena = false;
    for (std::string_view tag : tags[i]) {
      if (tag == "ctx") {
        ctx_tag = true;
      } else if (tag == "nonnull") {
        nonnull = true;
      } else if (tag == "trusted") {
        trusted = true;
      } else if (tag == "nullable") {
        nullable = true;
      } else if (tag == "untrusted") {
        untrusted = true;
      } else if (tag == "arena") {
        arena = true;
      } else {
        bad(absl::StrCat("arg#", i, " has unsupported set of tags"));
        return out;
      }
    }
    const btf_type* t = SkipModifiers(btf, params[i].type, nullptr);
    if (t == nullptr) {
      bad(absl::StrCat("Invalid type of function ", info.name, "()"));
      return out;
    }
    if (!btf_is_ptr(t)) {
      if (!IsScalarType(t) || !tags[i].empty()) {
        bad(absl::StrCat("Arg#", i, " type in ", info.name, "() is not supported yet."));
        return out;
      }
      out.args.push_back(arg);
      continue;
    }
    if (ctx_tag || IsContext(btf, t->type, program.type)) {
      if (nonnull) {
        bad(absl::StrCat("arg#", i, " has invalid combination of tags"));
        return out;
      }
      if (ctx_tag) {
        if (std::string error = ContextTagError(btf, t->type, program.type, program.attach, i); !error.empty()) {
          bad(std::move(error));
          return out;
        }
      }
      arg.kind = FuncArg::Kind::kCtx;
      out.args.push_back(arg);
      continue;
    }
    if (trusted) {
      if (ctx_tag || nonnull) {
        bad(absl::StrCat("arg#", i, " has invalid combination of tags"));
        return out;
      }
      arg.kind = FuncArg::Kind::kTrusted;
      arg.nullable = nullable;
      arg.btf_id = KernelStruct(object, t->type, i, info, &out);
      if (arg.btf_id == 0) return out;
      out.args.push_back(arg);
      continue;
    }
    if (untrusted) {
      if (tags[i].size() != 1) {
        bad(absl::StrCat("arg#", i, " untrusted cannot be combined with any other tags"));
        return out;
      }
      arg.kind = FuncArg::Kind::kUntrusted;
      const btf_type* to = SkipModifiers(btf, t->type, nullptr);
      if (to != nullptr && !btf_is_void(to) && !IsScalarType(to)) {
        arg.btf_id = KernelStruct(object, t->type, i, info, &out);
        if (arg.btf_id == 0) return out;
      }
      out.args.push_back(arg);
      continue;
    }
    if (arena) {
      if (tags[i].size() != 1) {
        bad(absl::StrCat("arg#", i, " arena cannot be combined with any other tags"));
        return out;
      }
      arg.kind = FuncArg::Kind::kArena;
      out.args.push_back(arg);
      continue;
    }
    if (nullable) {
      bad(absl::StrCat("arg#", i, " has invalid combination of tags"));
      return out;
    }
    uint32_t id = t->type;
    const btf_type* target = SkipModifiers(btf, t->type, &id);
    const char* target_name = target != nullptr ? btf__name_by_offset(btf, target->name_off) : nullptr;
    if (target != nullptr && btf_is_struct(target) && target_name != nullptr &&
        std::strcmp(target_name, "bpf_dynptr") == 0) {
      if (!tags[i].empty()) {
        bad(absl::StrCat("arg#", i, " has invalid combination of tags"));
        return out;
      }
      arg.kind = FuncArg::Kind::kDynptr;
      out.args.push_back(arg);
      continue;
    }
    const int64_t size = t->type == 0 || target == nullptr ? -1 : btf__resolve_size(btf, id);
    if (size < 0 || size > INT32_MAX) {
      bad(absl::StrCat("arg#", i, " reference type('UNKNOWN ", target_name != nullptr ? target_name : "",
                       "') size cannot be determined: -22"));
      return out;
    }
    arg.kind = FuncArg::Kind::kMem;
    arg.nullable = !nonnull;
    arg.mem_size = static_cast<uint32_t>(size);
    out.args.push_back(arg);
  }
  return out;
}

void SetArguments(const FuncArgs& args, State& entry) {
  for (size_t i = 0; i < args.args.size(); ++i) {
    Reg& r = entry.regs()[i + 1];
    const FuncArg& arg = args.args[i];
    switch (arg.kind) {
      case FuncArg::Kind::kScalar:
      case FuncArg::Kind::kArena: r.MakeUnknown(); break;
      case FuncArg::Kind::kCtx: r.MakePointer(RegType::kCtx); break;
      case FuncArg::Kind::kDynptr:
        r.MakePointer(RegType::kDynptr);
        r.dynptr = static_cast<uint32_t>(DynptrKind::kAny) | kDynptrFirst;
        r.id = ++entry.id_gen;
        break;
      case FuncArg::Kind::kMem:
        r.MakePointer(RegType::kMem, arg.nullable ? kMaybeNull : 0);
        r.mem_size = arg.mem_size;
        if (arg.nullable) r.id = ++entry.id_gen;
        break;
      case FuncArg::Kind::kUntrusted:
        if (arg.btf_id == 0) {
          r.MakePointer(RegType::kMem, kRdonly | kUntrusted);
          r.mem_size = 0;
        } else {
          r.MakePointer(RegType::kBtfId, kUntrusted);
          r.btf_id = arg.btf_id;
        }
        break;
      case FuncArg::Kind::kTrusted:
        r.MakePointer(RegType::kBtfId, static_cast<uint16_t>(kTrusted | (arg.nullable ? kMaybeNull : 0)));
        r.btf_id = arg.btf_id;
        if (arg.nullable) r.id = ++entry.id_gen;
        break;
    }
  }
}

}  // namespace bpfsieve
