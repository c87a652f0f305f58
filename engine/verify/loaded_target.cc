#include "engine/verify/loaded_target.h"

#include <bpf/btf.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/program/btf_view.h"
#include "engine/program/target.h"
#include "engine/program/type_names.h"
#include "engine/verify/attach.h"
#include "engine/verify/passes.h"

namespace bpfsieve {
namespace {

// Which functions of a program are reached, and how they are called.
class Watch : public StateObserver {
 public:
  Watch(const Object& object, const Program& program, const Cfg& cfg)
      : program_(program), cfg_(cfg), args_(cfg.subs.size()), usable_(cfg.subs.size(), 1), reached_(cfg.subs.size(), 0),
        as_declared_(cfg.subs.size(), 1) {
    for (const Subprog& each : program.subprogs) {
      const int s = cfg.SubAt(each.start);
      if (s < 0) continue;
      args_[s] = ReadFuncArgs(object, program, each);
      usable_[s] = Usable(args_[s], each);
      if (s == 0) {
        const std::vector<FuncArg>& args = args_[s].args;
        as_declared_[s] = usable_[s] != 0 && args.size() == 1 && args[0].kind == FuncArg::Kind::kCtx;
      }
    }
  }

  void At(const Context&, uint32_t insn, const State& state) override {
    const int sub = cfg_.at[insn].sub;
    if (cfg_.subs[sub].start == insn) reached_[sub] = 1;
    const Insn& in = program_.insns[insn];
    if (IsPseudoCall(in)) Called(cfg_.SubAt(static_cast<uint32_t>(int64_t{insn} + in.imm + 1)), state);
    // Of a function to call back, the kernel looks at what its caller is given.
    for (int r = 1; r <= 5 && (IsHelperCall(in) || IsKfuncCall(in)); ++r) {
      const Reg& f = state.frame().regs[r];
      if (f.type == RegType::kFunc && TakesFunction(in, r)) Called(static_cast<int>(f.subprog), state);
    }
  }

  bool reached(int sub) const { return reached_[sub] != 0; }
  bool as_declared(int sub) const { return as_declared_[sub] != 0; }

 private:
  // Of static functions only numbers, contexts and dynptrs are looked at.
  static bool Usable(const FuncArgs& args, const Subprog& info) {
    if (args.error || !args.unsupported.empty()) return false;
    if (info.global) return true;
    return !args.tagged && std::all_of(args.args.begin(), args.args.end(), [](const FuncArg& a) {
      return a.kind == FuncArg::Kind::kScalar || a.kind == FuncArg::Kind::kCtx || a.kind == FuncArg::Kind::kDynptr;
    });
  }

  bool TakesFunction(const Insn& call, int r) const {
    if (IsHelperCall(call)) {
      const HelperProto* helper = FindHelper(static_cast<uint32_t>(call.imm), program_.type);
      return helper != nullptr && helper->args[r - 1].type == Arg::kFunc;
    }
    const size_t n = static_cast<size_t>(call.imm);
    const KfuncProto* kfunc = n < program_.externs.size() ? FindKfunc(program_.externs[n].name) : nullptr;
    return kfunc != nullptr && (kfunc->args[r - 1] == KfuncArg::kCallback || kfunc->args[r - 1] == KfuncArg::kAsyncCallback);
  }

  void Called(int callee, const State& state) {
    const std::vector<FuncArg>& args = args_[callee].args;
    bool fits = usable_[callee] != 0;
    for (size_t i = 0; i < args.size() && fits; ++i) fits = Fits(args[i], state.frame().regs[i + 1], state);
    if (!fits) as_declared_[callee] = 0;
  }

  // Calls of global functions that do not fit are refused, and so are those of others with tags.
  static bool Fits(const FuncArg& arg, const Reg& r, const State& state) {
    const bool moved = r.off != 0 || !r.s.IsConst() || r.s.ConstValue() != 0;
    switch (arg.kind) {
      case FuncArg::Kind::kScalar: return r.IsScalar();
      case FuncArg::Kind::kCtx: return r.type == RegType::kCtx && !moved;
      case FuncArg::Kind::kDynptr: {
        if (r.type == RegType::kDynptr) return !moved;
        if (r.type != RegType::kStack || !r.s.IsConst()) return false;
        const int64_t off = r.off + static_cast<int64_t>(r.s.ConstValue());
        if (off % kSlotBytes != 0 || off > -kDynptrSlots * kSlotBytes || off < -kMaxStack) return false;
        const Frame& f = *state.frames[r.frameno];
        const int spi = static_cast<int>((-off - 1) / kSlotBytes);
        return f.slot(spi).IsFirstOfDynptr() && f.slot(spi - 1).IsDynptr();
      }
      default: return true;
    }
  }

  const Program& program_;
  const Cfg& cfg_;
  std::vector<FuncArgs> args_;
  std::vector<uint8_t> usable_;  // the prototype is one that the kernel makes something of
  std::vector<uint8_t> reached_;
  std::vector<uint8_t> as_declared_;
};

const btf_type* ProtoOf(const struct btf* btf, uint32_t function) {
  const btf_type* t = btf__type_by_id(btf, btf__type_by_id(btf, function)->type);
  return t != nullptr && btf_is_func_proto(t) ? t : nullptr;
}

// Whether an extension's function has the prototype of the one that it replaces (btf_check_func_type_match).
absl::Status CheckSameType(const Object& object, const Program& program, const LoadedTarget& target) {
  const auto refuse = [](auto&&... words) { return absl::FailedPreconditionError(absl::StrCat(words...)); };
  const struct btf *own = object.btf.get(), *other = target.object->btf.get();
  const Subprog& main = program.subprogs.front();
  if (own == nullptr || main.btf_func_id == 0) return refuse("Program extension requires BTF");
  const std::string fn1(BtfTypeName(own, main.btf_func_id)), &fn2 = target.function;
  if (!main.global) return refuse(fn1, "() is not a global function");
  if (!target.global) return refuse(fn2, "() is not a global function");
  const btf_type *p1 = ProtoOf(own, main.btf_func_id), *p2 = ProtoOf(other, target.func_id);
  if (p1 == nullptr) return absl::InvalidArgumentError(absl::StrCat(fn1, "() has no prototype"));
  if (btf_vlen(p1) != btf_vlen(p2)) {
    return refuse(fn1, "() has ", btf_vlen(p1), " args while ", fn2, "() has ", btf_vlen(p2), " args");
  }
  const auto kind = [](const btf_type* t) {
    return btf_is_void(t) ? "UNKNOWN" : absl::AsciiStrToUpper(std::string(BtfKindName(t)));
  };
  const btf_type *t1 = SkipModifiers(own, p1->type, nullptr), *t2 = SkipModifiers(other, p2->type, nullptr);
  if (t1->info != t2->info) {
    return refuse("Return type ", kind(t1), " of ", fn1, "() doesn't match type ", kind(t2), " of ", fn2, "()");
  }
  for (uint32_t i = 0; i < btf_vlen(p1); ++i) {
    t1 = SkipModifiers(own, btf_params(p1)[i].type, nullptr);
    t2 = SkipModifiers(other, btf_params(p2)[i].type, nullptr);
    if (t1->info != t2->info) {
      return refuse("arg", i, " in ", fn1, "() is ", kind(t1), " while ", fn2, "() has ", kind(t2));
    }
    const bool sized = btf_is_int(t1) || btf_is_any_enum(t1) || btf_is_composite(t1) || btf_is_float(t1);
    if (sized && t1->size != t2->size) {
      return refuse("arg", i, " in ", fn1, "() has size ", t1->size, " while ", fn2, "() has ", t2->size);
    }
    if (btf_is_int(t1) || btf_is_any_enum(t1)) continue;
    if (!btf_is_ptr(t1)) return refuse("arg", i, " in ", fn1, "() has unrecognized type");
    t1 = SkipModifiers(own, t1->type, nullptr);
    t2 = SkipModifiers(other, t2->type, nullptr);
    if (!btf_is_composite(t1)) return refuse("arg", i, " in ", fn1, "() is not a pointer to context");
    if (!btf_is_composite(t2)) return refuse("arg", i, " in ", fn2, "() is not a pointer to context");
    const std::string s1(BtfName(own, t1->name_off)), s2(BtfName(other, t2->name_off));
    if (s1 != s2) {
      return refuse("arg", i, " ", fn1, "(struct ", s1, " *) doesn't match ", fn2, "(struct ", s2, " *)");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedTarget> LoadTarget(const Target& target, const std::string& function) {
  const Object& object = target.object->object();
  absl::StatusOr<TargetFunction> found = FindTargetFunction(object, target.program, function);
  if (!found.ok()) return absl::InvalidArgumentError(found.status().message());
  if (ProtoOf(object.btf.get(), found->func_id) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the target's function '", function, "' has no prototype"));
  }
  const Program& program = object.programs[found->program];
  const Passes passes(object, program);
  SearchResult result;
  std::optional<Watch> watch;
  if (passes.settled()) {
    result = *passes.settled();
  } else {
    watch.emplace(object, program, *passes.context().cfg);
    result = passes.Search({}, {.observer = &*watch});
  }
  if (result.verdict == Verdict::kUnsupported) {
    return absl::UnimplementedError(absl::StrCat("of a program with: ", result.feature));
  }
  if (result.verdict != Verdict::kAccept) {
    return absl::InvalidArgumentError(
        absl::StrCat("the target program '", program.name, "' is not accepted: ", result.finding.message));
  }
  LoadedTarget loaded{.object = &object, .program = &program, .function = function, .func_id = found->func_id};
  const Cfg& cfg = *passes.context().cfg;
  const int sub = found->subprog < 0 ? -1 : cfg.SubAt(program.subprogs[found->subprog].start);
  if (sub < 0 || !watch->reached(sub)) return loaded;
  loaded.there = true;
  loaded.global = program.subprogs[found->subprog].global;
  loaded.exception_callback = sub == cfg.exception_sub;
  loaded.changes_packet = cfg.subs[sub].changes_packet;
  loaded.might_sleep = cfg.subs[sub].might_sleep;
  // The kernel keeps what it knows of a function's calls by the function's number, and forgets to move it up when it removes
  // functions that no path gets to.
  int number = 0;
  for (int s = 0; s < sub; ++s) number += watch->reached(s);
  loaded.as_declared = watch->as_declared(number);
  return loaded;
}

absl::Status CheckAttached(const Object& object, const Program& program, const Cfg& cfg, const LoadedTarget& target) {
  const auto refuse = [](auto&&... words) { return absl::FailedPreconditionError(absl::StrCat(words...)); };
  const bool extends = program.type == ProgType::kExt;
  if (!target.there) return refuse("Subprog ", target.function, " doesn't exist");
  if (target.exception_callback) {
    return refuse(extends ? "Extension" : "FENTRY/FEXIT", " programs cannot attach to exception callback");
  }
  if (!extends) {
    const struct btf* btf = target.object->btf.get();
    if (target.as_declared) {
      if (absl::Status s = CheckModel(btf, ProtoOf(btf, target.func_id), target.function); !s.ok()) return s;
    }
    if (program.sleepable) return refuse(target.function, " is not sleepable");
    if (program.attach == AttachType::kModifyReturn) return refuse("can't modify return codes of BPF programs");
    return absl::OkStatus();
  }
  if (!target.as_declared) return refuse("Cannot replace static functions");
  if (cfg.subs[0].changes_packet && !target.changes_packet) {
    return refuse("Extension program changes packet data, while original does not");
  }
  if (cfg.subs[0].might_sleep && !target.might_sleep) {
    return refuse("Extension program may sleep, while original does not");
  }
  const ProgType type = target.program->type;
  const AttachType attach = target.program->attach;
  if (type == ProgType::kExt) return refuse("Cannot recursively attach");
  if (type == ProgType::kTracing && (attach == AttachType::kTraceFentry || attach == AttachType::kTraceFexit)) {
    return refuse("Cannot extend fentry/fexit");
  }
  if (absl::Status s = CheckSameType(object, program, target); !s.ok()) return s;
  if (type == ProgType::kTracing || type == ProgType::kLsm || type == ProgType::kStructOps) {
    return absl::UnimplementedError(absl::StrCat("of a program of type ", std::string(ProgTypeName(type))));
  }
  return absl::OkStatus();
}

AttachTarget TracedFunction(const LoadedTarget& target) {
  AttachTarget traced;
  traced.of = target.program->type;
  traced.btf = target.object->btf.get();
  if (target.as_declared) {
    traced.proto = ProtoOf(traced.btf, target.func_id);
    traced.nullable = NullableParams(traced.btf, traced.proto, 0);
  } else {
    traced.untyped = true;
  }
  return traced;
}

}  // namespace bpfsieve
