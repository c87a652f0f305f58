// Calls of kernel functions that take and return what their BTF prototype says (check_kfunc_args, check_kfunc_call).
#include <bpf/btf.h>

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/program/btf_walk.h"
#include "engine/program/type_names.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

struct Transfer::TypedCall {
  const TypedKfunc& function;
  const struct btf* btf = nullptr;
  const btf_type* proto = nullptr;
  uint32_t ref_obj_id = 0;
  int release_reg = 0;

  bool Has(uint16_t flags) const { return (function.flags & flags) != 0; }
  std::string name() const { return std::string(function.name); }
};

namespace {

bool IsNumber(const btf_type* t) { return btf_is_int(t) || btf_is_any_enum(t); }

// A structure of numbers, and of such structures and arrays of them.
bool IsPlain(const struct btf* btf, uint32_t id, int depth) {
  const btf_type* t = SkipModifiers(btf, id, nullptr);
  if (t == nullptr) return false;
  if (IsNumber(t)) return true;
  if (btf_is_array(t)) return IsPlain(btf, btf_array(t)->type, depth);
  if (!btf_is_composite(t) || depth > 3) return false;
  for (uint32_t i = 0; i < btf_vlen(t); ++i) {
    if (!IsPlain(btf, btf_members(t)[i].type, depth + 1)) return false;
  }
  return true;
}

// Where a program's context is of a type that functions name.
std::string_view KernelContext(ProgType type) {
  switch (type) {
    case ProgType::kSchedCls: return "sk_buff";
    case ProgType::kXdp: return "xdp_buff";
    default: return {};
  }
}
std::string_view ProgramContext(ProgType type) {
  switch (type) {
    case ProgType::kSchedCls: return "__sk_buff";
    case ProgType::kXdp: return "xdp_md";
    default: return {};
  }
}

// The kernel's structure behind a pointer of this type (reg2btf_ids); empty: there is none.
std::string_view StructBehind(RegType type) {
  switch (type) {
    case RegType::kConstMapPtr: return "bpf_map";
    case RegType::kSocket: return "sock";
    case RegType::kSockCommon: return "sock_common";
    case RegType::kTcpSock: return "tcp_sock";
    default: return {};
  }
}

const char* KindText(const btf_type* t) { return btf_is_union(t) ? "UNION" : btf_is_struct(t) ? "STRUCT" : "UNKNOWN"; }

}  // namespace

// The kernel's own structure behind the context: struct bpf_ctx_convert has both of every program type, by a name each.
// 0: not known.
uint32_t Transfer::KernelContextType(ProgType program) {
  if (Kernel() == nullptr) return 0;
  const struct btf* btf = Kernel()->get();
  std::string name = absl::StrCat("BPF_PROG_TYPE_", absl::AsciiStrToUpper(std::string(ProgTypeName(program))), "_kern");
  const uint32_t table = Kernel()->Find("bpf_ctx_convert", BTF_KIND_STRUCT);
  const btf_type* pairs = table != 0 ? btf__type_by_id(btf, table) : nullptr;
  for (uint32_t i = 0; pairs != nullptr && i < btf_vlen(pairs); ++i) {
    if (BtfName(btf, btf_members(pairs)[i].name_off) == name) return btf_members(pairs)[i].type;
  }
  return 0;
}

// The context as that structure.
bool Transfer::CastToKernelContext() {
  const uint32_t type = KernelContextType(prog_.type);
  if (type == 0) return Unsupported("kfunc: bpf_cast_to_kern_ctx");
  const Reg p = reg(1);
  if (!ArgOffset(p, 1, false)) return false;
  if (p.type != RegType::kCtx) {
    return Fail(Rule::kHelperArg, 1, absl::StrCat("arg#0 expected pointer to ctx, but got ", RegTypeName(p)));
  }
  if (!btf_is_composite(btf__type_by_id(Kernel()->get(), type))) {
    return Fail(Rule::kHelperArg, 1, absl::StrCat("kern ctx type id ", type, " is not a struct"));
  }
  ClearCallerSaved();
  MakeBtfPointer(reg(0), type, kTrusted);
  return true;
}

// Anything taken for a structure of the kernel, to be read in a way that cannot fault.
bool Transfer::CastToReadOnly() {
  if (Kernel() == nullptr) return Unsupported("kfunc: bpf_rdonly_cast");
  if (!reg(2).IsScalar()) return Fail(Rule::kHelperArg, 2, "R2 is not a scalar");
  if (!reg(2).s.IsConst()) return Fail(Rule::kHelperArg, 2, "R2 must be a known constant");
  Precise(2);
  const uint64_t type = reg(2).s.ConstValue();
  const btf_type* t = type <= UINT32_MAX ? btf__type_by_id(Kernel()->get(), static_cast<uint32_t>(type)) : nullptr;
  if (t == nullptr) {
    return Fail(Rule::kHelperArg, 2, absl::StrCat("Unknown type ID ", type, " passed to kfunc bpf_rdonly_cast"));
  }
  if (!btf_is_composite(t) && !btf_is_void(t)) {
    return Fail(Rule::kHelperArg, 2, "kfunc bpf_rdonly_cast type ID argument must be of a struct or void");
  }
  ClearCallerSaved();
  if (btf_is_void(t)) {
    reg(0).MakePointer(RegType::kMem, kRdonly | kUntrusted);
    reg(0).mem_size = 0;
  } else {
    MakeBtfPointer(reg(0), static_cast<uint32_t>(type), kUntrusted);
  }
  return true;
}

bool Transfer::CallTyped(const TypedKfunc& function, uint32_t type) {
  TypedCall call{.function = function, .btf = Kernel()->get()};
  const btf_type* func = btf__type_by_id(call.btf, type);
  call.proto = func != nullptr && btf_is_func(func) ? btf__type_by_id(call.btf, func->type) : nullptr;
  if (call.proto == nullptr || !btf_is_func_proto(call.proto) || btf_vlen(call.proto) > 5) {
    return Unsupported(absl::StrCat("kfunc: ", call.name()));
  }
  if (!KfuncSetAllows(function.set, prog_.type, prog_.attach)) {
    return Fail(Rule::kHelperUnavailable, -1, absl::StrCat("calling kernel function ", call.name(), " is not allowed"));
  }
  if (call.Has(kKfuncSleepable) && !InSleepable()) {
    return Fail(Rule::kSleepable, -1, absl::StrCat("program must be sleepable to call sleepable kfunc ", call.name()));
  }
  for (int arg = 0; arg < static_cast<int>(btf_vlen(call.proto)); ++arg) {
    bool with_size = false;
    if (!TypedArg(call, arg, &with_size)) return false;
    if (with_size) ++arg;
  }
  if (call.Has(kKfuncSleepable) && !MaySleepHere(call.name())) return false;
  if (call.Has(kKfuncRelease)) {
    if (call.release_reg == 0) {
      return Fail(Rule::kRefRelease, -1, absl::StrCat("release kernel function ", call.name(),
                                                      " expects refcounted PTR_TO_BTF_ID"));
    }
    if (!ReleaseRef(call.ref_obj_id)) {
      return Fail(Rule::kRefRelease, call.release_reg, absl::StrCat("kfunc ", call.name(), "#", type,
                                                                   " reference has not been acquired before"));
    }
  }
  if (call.Has(kKfuncChangesPacket)) ClearPacketPointers(*st_);
  ClearCallerSaved();
  return TypedResult(call);
}

// An argument of a function that is not typed otherwise, in R(r).
bool Transfer::TypedArgOf(const KfuncProto& function, uint32_t type, int r) {
  const TypedKfunc as{function.name, function.arg_count(), function.flags, function.set};
  TypedCall call{.function = as, .btf = Kernel()->get()};
  const btf_type* func = btf__type_by_id(call.btf, type);
  call.proto = func != nullptr && btf_is_func(func) ? btf__type_by_id(call.btf, func->type) : nullptr;
  if (call.proto == nullptr || !btf_is_func_proto(call.proto) || btf_vlen(call.proto) < r) {
    return Unsupported(absl::StrCat("kfunc: ", call.name()));
  }
  bool with_size = false;
  return TypedArg(call, r - 1, &with_size);
}

// Argument `arg`, from 0. `*with_size`: the next one is its size and checked with it.
bool Transfer::TypedArg(TypedCall& call, int arg, bool* with_size) {
  const int r = arg + 1;
  const struct btf* btf = call.btf;
  const btf_param* params = btf_params(call.proto);
  const auto name = [&](int i) { return BtfName(btf, params[i].name_off); };
  const btf_type* t = SkipModifiers(btf, params[arg].type, nullptr);
  const auto unmodelled = [&] { return Unsupported(absl::StrCat("kfunc: ", call.name())); };
  if (t == nullptr) return unmodelled();
  if (name(arg).ends_with("__ign")) return true;
  Reg& p = reg(r);
  if (IsNumber(t)) {
    if (!p.IsScalar()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is not a scalar"));
    if (name(arg).ends_with("__k") || name(arg) == "rdonly_buf_size" || name(arg) == "rdwr_buf_size") return unmodelled();
    return true;
  }
  if (!btf_is_ptr(t)) return unmodelled();
  const bool nullable = name(arg).ends_with("__nullable") || name(arg).ends_with("__opt");
  if ((p.IsNull() || p.MayBeNull()) && !nullable) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("Possibly NULL pointer passed to trusted arg", arg));
  }
  if (p.ref_obj_id != 0) {
    call.ref_obj_id = p.ref_obj_id;
    if (call.Has(kKfuncRelease)) call.release_reg = r;
  }
  uint32_t pointee = 0;
  const btf_type* to = SkipModifiers(btf, t->type, &pointee);
  if (to == nullptr) return unmodelled();
  const std::string to_name(BtfName(btf, to->name_off));
  const bool is_struct = btf_is_composite(to);
  // The context, under the program's name for it; a function that takes the kernel's own takes pointers to that too.
  if (is_struct && !ProgramContext(prog_.type).empty() && to_name == ProgramContext(prog_.type)) {
    if (!ArgOffset(p, r, false)) return false;
    if (p.type == RegType::kCtx) return true;
    return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", arg, " expected pointer to ctx, but got ", RegTypeName(p)));
  }
  if (is_struct && to_name == KernelContext(prog_.type) && p.type == RegType::kCtx) return unmodelled();
  if (nullable && p.IsNull()) return true;
  for (const char* suffix : {"__alloc", "__refcounted_kptr", "__iter", "__irq_flag", "__prog", "__uninit"}) {
    if (name(arg).ends_with(suffix)) return unmodelled();
  }
  if (is_struct && (to_name == "bpf_wq" || to_name == "bpf_timer" ||
                    to_name == "bpf_list_head" || to_name == "bpf_rb_root" || to_name == "bpf_res_spin_lock" ||
                    to_name == "bpf_list_node" || to_name == "bpf_rb_node" || to_name == "bpf_task_work")) {
    return unmodelled();
  }
  if (is_struct && to_name == "bpf_dynptr") {
    DynptrUse use;
    return ArgOffset(p, r, false) && DynptrArg(r, {Arg::kDynptr, kArgRdonly}, DynptrKind::kNone, use);
  }
  if (name(arg).ends_with("__str")) {
    if (!ArgOffset(p, r, false)) return false;
    if (p.type != RegType::kMapValue) return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", arg, " doesn't point to a const string"));
    return ConstStr(r);
  }
  const bool known_struct = p.flags == 0 && !StructBehind(p.type).empty();
  if (name(arg).ends_with("__map")) {
    // The kernel asks for any pointer that names a map or a type, and for the right one afterwards.
    if (p.type != RegType::kBtfId && p.type != RegType::kConstMapPtr && p.type != RegType::kMapValue &&
        p.type != RegType::kMapKey) {
      return Fail(Rule::kHelperArg, r, absl::StrCat("pointer in R", r, " isn't map pointer"));
    }
    return TypedPointer(call, r, Kernel()->Find("bpf_map", BTF_KIND_STRUCT));
  }
  if (p.type == RegType::kBtfId || known_struct) {
    if (!is_struct) {
      return Fail(Rule::kHelperArg, r, absl::StrCat("kernel function ", call.name(), " args#", arg, " pointer type ",
                                                    KindText(to), " ", to_name, " is not supported"));
    }
    return TypedPointer(call, r, pointee);
  }
  if (btf_is_func_proto(to)) return unmodelled();
  const std::string_view next = arg + 1 < static_cast<int>(btf_vlen(call.proto)) ? name(arg + 1) : std::string_view();
  const bool sized = next.ends_with("__sz") || next.ends_with("__szk");
  if (!IsNumber(to) && !IsPlain(btf, pointee, 0) && !(sized && btf_is_void(to))) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", arg, " pointer type ", KindText(to), " ", to_name,
                                                  " must point to ", sized ? "void, " : "", "scalar, or struct with scalar"));
  }
  if (!ArgOffset(p, r, false)) return false;
  if (sized) {
    if (next.ends_with("__szk") || reg(r + 1).type != RegType::kScalar) {
      if (!reg(r + 1).IsScalar()) return Fail(Rule::kHelperArg, r + 1, absl::StrCat("R", r + 1, " is not a scalar"));
      return unmodelled();
    }
    *with_size = true;
    CallMeta read, write;
    if (MemSizeArg(r + 1, false, true, read) && MemSizeArg(r + 1, true, true, write)) return true;
    if (out_->kind == StepResult::Kind::kUnsupported) return false;
    return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", arg, " arg#", arg + 1,
                                                  " memory, len pair leads to invalid memory access"));
  }
  const int64_t size = BtfSize(btf, pointee);
  if (size < 0 || size > INT32_MAX) return unmodelled();
  if (p.IsNull()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " type=scalar expected=fp"));
  const Reg saved = p;
  if (p.MayBeNull()) NotNull(p);
  const bool ok = HelperMem(r, size, false, true, nullptr) && HelperMem(r, size, true, true, nullptr);
  reg(r) = saved;
  return ok;
}

// A pointer to an object of the kernel, where one to `wanted` is.
bool Transfer::TypedPointer(TypedCall& call, int r, uint32_t wanted) {
  const Reg p = reg(r);
  const struct btf* btf = call.btf;
  const bool typed = p.type == RegType::kBtfId;
  const bool trusted = typed ? IsTrusted(p) : p.flags == 0 && !StructBehind(p.type).empty();
  if (!trusted) {
    if (!call.Has(kKfuncRcu)) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " must be referenced or trusted"));
    if ((p.flags & kRcu) == 0) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " must be a rcu pointer"));
  }
  if (!ArgOffset(p, r, call.Has(kKfuncRelease) && p.ref_obj_id != 0)) return false;
  if (typed && (p.flags & kProgBtf) != 0) return Unsupported(absl::StrCat("kfunc: ", call.name()));
  const int unsafe = p.flags & ~(kAlloc | kTrusted | kNonOwnRef);
  if (typed && unsafe != 0 && (p.flags & kRcu) == 0) {
    const uint16_t plain = p.flags & (kAlloc | kTrusted | kNonOwnRef);
    return Fail(Rule::kHelperArg, r, absl::StrCat("arg#", r - 1, " is ", RegTypeName(p), " expected ",
                                                  RegTypeName(RegType::kBtfId, plain), " or socket"));
  }
  const uint32_t is = typed ? p.btf_id : Kernel()->Find(StructBehind(p.type), BTF_KIND_STRUCT);
  const std::string want(BtfTypeName(btf, wanted)), have(BtfTypeName(btf, is));
  // A type and one named after it with ___init are told apart strictly.
  const bool alias = EssentialName(want) == EssentialName(have) && want != have &&
                     (want.ends_with("___init") || have.ends_with("___init"));
  const bool strict = (call.Has(kKfuncRelease) && p.ref_obj_id != 0) || alias;
  if (StructMatches(btf, is, p.off, wanted, strict)) return true;
  return Fail(Rule::kHelperArg, r, absl::StrCat("kernel function ", call.name(), " args#", r - 1, " expected pointer to ",
                                                KindText(btf__type_by_id(btf, wanted)), " ", want, " but R", r,
                                                " has a pointer to ", KindText(btf__type_by_id(btf, is)), " ", have));
}

bool Transfer::TypedResult(TypedCall& call) {
  const struct btf* btf = call.btf;
  if (call.proto->type == 0) return true;
  const btf_type* t = SkipModifiers(btf, call.proto->type, nullptr);
  Reg& r0 = reg(0);
  if (t != nullptr && IsNumber(t)) {
    r0.MakeUnknown();
    return true;
  }
  uint32_t pointee = 0;
  const btf_type* to = t != nullptr && btf_is_ptr(t) ? SkipModifiers(btf, t->type, &pointee) : nullptr;
  if (to != nullptr && btf_is_void(to)) {
    r0.MakeUnknown();
    return true;
  }
  if (to == nullptr || (!btf_is_composite(to) && !IsNumber(to))) {
    return Unsupported(absl::StrCat("kfunc: ", call.name()));
  }
  const uint16_t null = call.Has(kKfuncRetNull) ? kMaybeNull : 0;
  if (IsNumber(to)) {
    r0.MakePointer(RegType::kMem, call.Has(kKfuncRetWritable) ? null : static_cast<uint16_t>(null | kRdonly));
    r0.mem_size = to->size;
  } else {
    r0.MakePointer(RegType::kBtfId, call.Has(kKfuncRetUntrusted) ? static_cast<uint16_t>(null | kUntrusted) : null);
    r0.btf_id = pointee;
  }
  if (call.Has(kKfuncRetNull)) r0.id = NewId();
  if (call.Has(kKfuncAcquire)) {
    const uint32_t ref = NewId();
    st_->refs.push_back({Ref::Kind::kPointer, ref, pc_, -1});
    if (call.Has(kKfuncRetNull)) r0.id = ref;
    r0.ref_obj_id = ref;
  }
  return true;
}

}  // namespace bpfsieve
