// Calls and returns: subprograms, helpers, exit (check_func_call, check_helper_call, prepare_func_exit,
// check_return_code, check_resource_leak).
#include <bpf/btf.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/isa/helper_names.h"
#include "engine/program/btf_walk.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// Helper numbers that have rules of their own.
enum : uint32_t {
  kMapLookupElem = 1, kMapUpdateElem = 2, kMapDeleteElem = 3, kGetSmpProcessorId = 8, kTailCall = 12,
  kGetLocalStorage = 81, kSetRetval = 187, kProbeReadStr = 45, kGetStack = 67, kMapPushElem = 87, kMapPopElem = 88,
  kSpinLockFn = 93, kSpinUnlockFn = 94, kSkFullsock = 95, kTcpSockFn = 96,
  kProbeReadUserStr = 114, kProbeReadKernelStr = 115, kSkcToTcp6Sock = 136, kSkcToUdp6Sock = 140,
  kGetTaskStack = 141, kForEachMapElem = 164, kFindVma = 180, kSnprintf = 165, kTimerSetCallback = 170, kLoop = 181, kSkcToUnixSock = 178,
  kSkcToMptcpSock = 196, kDynptrFromMem = 197, kDynptrWrite = 202, kUserRingbufDrain = 209, kKptrXchg = 194,
};

// Upper bound of bpf_get_smp_processor_id(), exclusive: the most CPUs that an x86-64 kernel can be built for. A kernel
// uses its own number, which is smaller.
constexpr uint32_t kMaxCpus = 8192;

bool IsPtrCast(uint32_t id) {
  return id == kTcpSockFn || id == kSkFullsock || (id >= kSkcToTcp6Sock && id <= kSkcToUdp6Sock) ||
         id == kSkcToUnixSock || id == kSkcToMptcpSock;
}

bool IsMapWrite(uint32_t id) {
  return id == kMapDeleteElem || id == kMapUpdateElem || id == kMapPushElem || id == kMapPopElem;
}

// Kernel functions made for use with the lock held (kfunc_spin_allowed), by what their names begin with.
bool AllowedUnderLock(const std::string& kfunc) {
  for (const char* prefix : {"bpf_list_", "bpf_rbtree_", "bpf_refcount_acquire", "bpf_iter_num_", "bpf_res_spin_",
                             "bpf_arena_"}) {
    if (kfunc.starts_with(prefix)) return true;
  }
  return false;
}

std::string FuncText(uint32_t id) { return absl::StrCat(std::string(HelperName(id)), "#", id); }

}  // namespace

bool Transfer::Call() {
  const Insn& i = insn();
  const bool is_kfunc = i.src == kPseudoKfuncCall;
  const size_t n = static_cast<size_t>(i.imm);
  const Extern* const kfunc = is_kfunc && n < prog_.externs.size() ? &prog_.externs[n] : nullptr;
  if (st_->active_locks > 0 && ((i.src == kCallHelper && i.imm != static_cast<int>(kSpinUnlockFn)) ||
                                (is_kfunc && !AllowedUnderLock(kfunc != nullptr ? kfunc->name : "?")))) {
    return Fail(Rule::kLock, -1, "function calls are not allowed while holding a lock");
  }
  if (i.src == kPseudoCall) return CallSubprog();
  if (is_kfunc) {
    return kfunc != nullptr ? CallKfunc(*kfunc) : Unsupported("kfunc: ?");
  }
  return CallHelper();
}

void Transfer::ClearCallerSaved() {
  for (int r = 0; r <= 5; ++r) reg(r).Clear();
}

bool Transfer::CallSubprog() {
  const Insn& i = insn();
  const uint32_t target = static_cast<uint32_t>(int64_t{pc_} + i.imm + 1);
  const int sub = ctx_.cfg->SubAt(target);
  if (ctx_.subs[sub].global) return CallGlobal(sub);
  if (st_->cur + 1 >= kMaxFrames) {
    return Fail(Rule::kCallDepth, -1, absl::StrCat("the call stack of ", st_->cur + 2, " frames is too deep"));
  }
  Frame& caller = st_->frame();
  Frame* callee = pool_.NewFrame();
  callee->Init(static_cast<int32_t>(pc_), st_->cur + 1, sub, ctx_.liveness->Callee(caller.instance, pc_));
  for (int r = 1; r <= 5; ++r) callee->regs[r] = caller.regs[r];
  ClearCallerSaved();
  st_->frames[++st_->cur] = callee;
  out_->next = target;
  return true;
}

bool Transfer::CallGlobal(int sub) {
  if (st_->active_locks > 0) {
    return Fail(Rule::kLock, -1,
                "global function calls are not allowed while holding a lock, use static function instead");
  }
  if (ctx_.cfg->subs[sub].might_sleep && (InSection() || !InSleepable())) {
    return Fail(Rule::kSleepable, -1,
                "global functions that may sleep are not allowed in non-sleepable context, i.e., in a "
                "RCU/IRQ/preempt-disabled section, or in a non-sleepable BPF program context");
  }
  const FuncArgs& args = ctx_.subs[sub].args;
  if (!args.unsupported.empty()) return Unsupported(args.unsupported);
  auto bad = [&](int r) {
    return Fail(Rule::kGlobalFunc, r,
                absl::StrCat("Caller passes invalid args into func#", sub, " ('", std::string(ctx_.subs[sub].name), "')"));
  };
  if (args.error) return bad(-1);
  for (size_t n = 0; n < args.args.size(); ++n) {
    const int r = static_cast<int>(n) + 1;
    const FuncArg& arg = args.args[n];
    const Reg p = reg(r);
    switch (arg.kind) {
      case FuncArg::Kind::kScalar:
        if (!p.IsScalar()) return bad(r);
        break;
      case FuncArg::Kind::kArena:
        if (!p.IsScalar() && p.type != RegType::kArena) return bad(r);
        break;
      case FuncArg::Kind::kUntrusted: break;  // reading through it cannot fault, and nothing else may be done with it
      case FuncArg::Kind::kCtx:
        if (p.type != RegType::kCtx || !ArgOffset(p, r, false)) return bad(r);
        break;
      case FuncArg::Kind::kTrusted: {
        if (p.IsNull() && arg.nullable) break;
        const int flags = arg.nullable ? p.flags & ~kMaybeNull : int{p.flags};
        if (p.type != RegType::kBtfId || (flags != 0 && flags != kTrusted && flags != kRcu)) return bad(r);
        if (!StructMatches(Kernel()->get(), p.btf_id, p.off, arg.btf_id, false) || !ArgOffset(p, r, false)) return bad(r);
        break;
      }
      case FuncArg::Kind::kMem: {
        if (!ArgOffset(p, r, false)) return bad(r);
        if (!p.IsNull()) {
          if (p.MayBeNull()) NotNull(reg(r));
          const bool ok = HelperMem(r, arg.mem_size, false, true, nullptr) &&
                          HelperMem(r, arg.mem_size, true, true, nullptr);
          reg(r) = p;
          if (!ok) return out_->kind == StepResult::Kind::kUnsupported ? false : bad(r);
        }
        if (!arg.nullable && p.MayBeNull()) return bad(r);
        break;
      }
      case FuncArg::Kind::kDynptr: {
        DynptrUse use;
        if (!ArgOffset(p, r, false) || !DynptrArg(r, {Arg::kDynptr, kArgRdonly}, DynptrKind::kNone, use)) return bad(r);
        break;
      }
    }
  }
  if (ctx_.cfg->subs[sub].changes_packet) ClearPacketPointers(*st_);
  out_->called_global = sub;
  ClearCallerSaved();
  reg(0).MakeUnknown();
  return true;
}

void Transfer::ClearPacketPointers(State& s) {
  pool_.UpdateRegs(s, [](const Reg& r) { return r.IsPacketAny() || r.IsPacketSlice(); }, [this](Reg& r) { Invalidate(r); });
}

bool Transfer::ReleaseRef(uint32_t ref_obj_id) {
  const size_t before = st_->refs.size();
  std::erase_if(st_->refs, [=](const Ref& r) { return r.kind == Ref::Kind::kPointer && r.id == ref_obj_id; });
  if (st_->refs.size() == before) return false;
  pool_.UpdateRegs(
      *st_, [=](const Reg& r) { return r.ref_obj_id == ref_obj_id; }, [this](Reg& r) { Invalidate(r); });
  return true;
}

bool Transfer::CallHelper() {
  const uint32_t id = static_cast<uint32_t>(insn().imm);
  if (insn().imm < 0 || id >= kHelperCount) {
    return Fail(Rule::kHelperUnknown, -1, absl::StrCat("invalid func unknown#", insn().imm));
  }
  const HelperProto* proto = FindHelper(id, prog_.type);
  const bool available = HelperAvailable(id, prog_.type, prog_.attach, prog_.sleepable) ||
                         HelperAvailableAt(id, prog_.type, prog_.attach, ctx_.target.name);
  if (proto == nullptr || !available || (!ctx_.caps.perfmon && !HelperAllowed(id, prog_.type, ctx_.caps))) {
    return Fail(Rule::kHelperUnavailable, -1, absl::StrCat("program of this type cannot use helper ", FuncText(id)));
  }
  if (proto->gpl_only && !ctx_.gpl) {
    return Fail(Rule::kLicense, -1, "cannot call GPL-restricted function from non-GPL compatible program");
  }
  if (!HelperAllowedAt(id, prog_.type, prog_.attach, ctx_.target.name)) {
    return Fail(Rule::kHelperUnavailable, -1, "helper call is not allowed in probe");
  }
  if (proto->might_sleep && !InSleepable()) {
    return Fail(Rule::kSleepable, -1, "helper call might sleep in a non-sleepable prog");
  }
  if (proto->might_sleep && InSection()) {
    const char* where = st_->rcu_locks > 0       ? "rcu_read_lock"
                        : st_->preempt_locks > 0 ? "non-preemptible"
                                                 : "IRQ-disabled";
    return Fail(Rule::kSection, -1, absl::StrCat("sleepable helper ", FuncText(id), " in ", where, " region"));
  }

  CallMeta meta;
  meta.id = id;
  meta.proto = proto;
  for (int a = 0; a < 5; ++a) {
    if (!HelperArg(a, meta)) return false;
  }
  if (meta.map >= 0 && IsMapWrite(id) &&
      (MapAccessFlags(ctx_.map(meta.map).type, ctx_.map(meta.map).flags) & kMapRdonlyProg) != 0) {
    return Fail(Rule::kMapAccess, -1, "write into map forbidden");
  }
  if (id == kTailCall) {
    if (ctx_.map(meta.map).type != MapType::kProgArray) {
      return Fail(Rule::kHelperMap, -1, "expected prog array map for tail call");
    }
    const Reg& index = reg(3);
    if (index.IsScalar() && index.s.IsConst() && index.s.ConstValue() < ctx_.map(meta.map).max_entries) Precise(3);
  }
  // The helper fills a buffer that may have been uninitialised: its bytes are unknown data now.
  for (int b = 0; b < meta.raw_size; ++b) {
    if (!MemAccess(meta.raw_reg, b, 1, true, -1, false, false)) return false;
  }
  if (meta.release_reg != 0) {
    const bool released = meta.dynptr.id != 0    ? ReleaseDynptr(meta.dynptr.ref_obj_id)
                          : meta.ref_obj_id == 0 ? reg(meta.release_reg).IsNull()
                          : id == kKptrXchg      ? ReleaseToKptr(meta.ref_obj_id)
                                                 : ReleaseRef(meta.ref_obj_id);
    if (!released) {
      return Fail(Rule::kRefRelease, meta.release_reg,
                  absl::StrCat("func ", FuncText(id), " reference has not been acquired before"));
    }
  }
  switch (id) {
    case kTailCall:
      if (!NoResources(true, "tail_call")) return false;
      // The array is looked into in a way of its own, where it was created without CAP_PERFMON.
      if (!ctx_.caps.perfmon) out_->used_detail = static_cast<uint64_t>(meta.map) + 1;
      break;
    case kSetRetval:
      if (prog_.attach == AttachType::kLsmCgroup && ctx_.target.proto->type == 0) {
        return Fail(Rule::kHelperArg, -1, "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!");
      }
      break;
    case kGetLocalStorage:
      if (!reg(2).IsNull()) {
        return Fail(Rule::kHelperArg, 2, "get_local_storage() doesn't support non-zero flags");
      }
      Precise(2);
      break;
    case kDynptrFromMem:
      if (reg(1).type != RegType::kMapValue) {
        return Fail(Rule::kDynptr, 1, absl::StrCat("Unsupported reg type ", RegTypeName(reg(1)),
                                                   " for bpf_dynptr_from_mem data"));
      }
      break;
    case kTimerSetCallback:
      CallLater(meta.subprog, false);
      break;
    case kForEachMapElem:
    case kFindVma:
    case kUserRingbufDrain:
    case kLoop:
      if (!CallBack(meta)) return false;
      break;
    case kSnprintf:
      if (!FormatString()) return false;
      break;
    default:
      break;
  }
  return HelperResult(meta);
}

bool Transfer::HelperResult(CallMeta& meta) {
  const HelperProto& proto = *meta.proto;
  const bool is_sockmap = meta.map >= 0 && (ctx_.map(meta.map).type == MapType::kSockmap ||
                                            ctx_.map(meta.map).type == MapType::kSockhash);
  const uint32_t percpu_type = reg(1).btf_id;
  const bool percpu_own = reg(1).Has(kProgBtf);
  ClearCallerSaved();
  Reg& r0 = reg(0);
  const uint16_t null_flag = proto.ret_nullable ? kMaybeNull : 0;
  switch (proto.ret) {
    case Ret::kInteger:
      r0.MakeUnknown();
      break;
    case Ret::kVoid:
      break;
    case Ret::kMapValue: {
      const MapDef& map = ctx_.map(meta.map);
      uint16_t flags = null_flag;
      const bool array = map.type == MapType::kArray || map.type == MapType::kPercpuArray;
      if (meta.id == kMapLookupElem && array && meta.const_key_known && meta.const_key >= 0 &&
          meta.const_key < int64_t{map.max_entries}) {
        flags = 0;
      }
      r0.MakePointer(RegType::kMapValue, flags);
      r0.map = meta.map;
      r0.map_uid = meta.map_uid;
      if (flags == 0) {
        for (const MapField& f : map.fields) {
          if (f.kind == SpecialField::kSpinLock || f.kind == SpecialField::kResSpinLock) r0.id = NewId();
        }
      }
      break;
    }
    case Ret::kSocket: r0.MakePointer(RegType::kSocket, null_flag); break;
    case Ret::kSockCommon: r0.MakePointer(RegType::kSockCommon, null_flag); break;
    case Ret::kTcpSock: r0.MakePointer(RegType::kTcpSock, null_flag); break;
    case Ret::kRingbufMem:
      r0.MakePointer(RegType::kMem, static_cast<uint16_t>(null_flag | kRingbuf));
      r0.mem_size = static_cast<uint32_t>(meta.mem_size);
      break;
    case Ret::kDynptrMem:
      r0.MakePointer(RegType::kMem, null_flag);
      r0.mem_size = static_cast<uint32_t>(meta.mem_size);
      r0.dynptr_id = meta.dynptr.id;
      r0.ref_obj_id = meta.dynptr.ref_obj_id;
      break;
    case Ret::kMem:
      r0.MakePointer(RegType::kMem, null_flag);
      r0.mem_size = static_cast<uint32_t>(meta.mem_size);
      break;
    case Ret::kMemOrBtfId:
      if (!PerCpuResult(percpu_type, percpu_own, null_flag)) return false;
      break;
    case Ret::kBtfId:
    case Ret::kBtfIdTrusted: {
      if (meta.id == kKptrXchg) {
        const MapField& field = *meta.field;
        uint16_t flags = null_flag;
        if (!field.kernel_type) flags |= kAlloc | kProgBtf;
        if (!field.kernel_type && field.kind == SpecialField::kKptrPercpu) flags |= kPercpu;
        r0.MakePointer(RegType::kBtfId, flags);
        r0.btf_id = field.type_id;
        break;
      }
      const uint32_t type = Kernel() != nullptr ? Kernel()->Find(proto.ret_btf_name, BTF_KIND_STRUCT) : 0;
      if (type == 0) return Unsupported(absl::StrCat("BTF-typed pointer: ", std::string(HelperName(meta.id))));
      r0.MakePointer(RegType::kBtfId, static_cast<uint16_t>(null_flag | (proto.ret == Ret::kBtfIdTrusted ? kTrusted : 0)));
      r0.btf_id = type;
      break;
    }
    default:
      return Unsupported(absl::StrCat("BTF-typed pointer: ", std::string(HelperName(meta.id))));
  }
  if (r0.MayBeNull()) r0.id = NewId();
  if (IsPtrCast(meta.id)) {
    r0.ref_obj_id = meta.ref_obj_id;
  } else if (proto.acquires || (meta.id == kMapLookupElem && is_sockmap)) {
    const uint32_t ref = NewId();
    st_->refs.push_back({Ref::Kind::kPointer, ref, pc_, -1});
    r0.id = ref;
    r0.ref_obj_id = ref;
  }
  switch (meta.id) {
    case kGetStack:
    case kGetTaskStack:
    case kProbeReadStr:
    case kProbeReadKernelStr:
    case kProbeReadUserStr:
      r0.s.smax = static_cast<int64_t>(meta.size_max);
      r0.s.s32_max = static_cast<int32_t>(meta.size_max);
      r0.s.smin = -kMaxErrno;
      r0.s.s32_min = -kMaxErrno;
      SyncAndRepair(r0.s);
      break;
    case kGetSmpProcessorId:
      r0.s.umax = r0.s.u32_max = kMaxCpus - 1;
      r0.s.smax = r0.s.s32_max = kMaxCpus - 1;
      r0.s.smin = r0.s.s32_min = 0;
      SyncAndRepair(r0.s);
      break;
    default:
      break;
  }
  if (meta.map >= 0 && !MapHelperCompatible(ctx_.map(meta.map).type, meta.id, prog_.type, prog_.attach)) {
    return Fail(Rule::kHelperMap, -1, absl::StrCat("cannot pass map_type ", static_cast<int>(ctx_.map(meta.map).type),
                                                   " into func ", FuncText(meta.id)));
  }
  if (proto.changes_packet || (meta.id == kDynptrWrite && MovesPacket(meta.dynptr.kind))) ClearPacketPointers(*st_);
  if (meta.id == kTailCall && st_->cur > 0) {
    // Taken, it leaves the subprogram from within another program, which may have moved the packet; else it goes on.
    Fork(pc_ + 1);
    ClearPacketPointers(*st_);
    reg(0).MakeUnknown();
    return ReturnFromSubprog();
  }
  return true;
}

bool Transfer::Exit() {
  if (!NoResources(st_->cur == 0, "BPF_EXIT instruction in main prog")) return false;
  if (st_->cur > 0) return ReturnFromSubprog();
  out_->kind = StepResult::Kind::kPathEnd;
  return ReturnCode(0);
}

bool Transfer::ReturnFromSubprog() {
  Frame& callee = st_->frame();
  if (callee.regs[0].type == RegType::kStack) {
    return Fail(Rule::kReturnPtr, 0, "cannot return stack pointer to the caller");
  }
  LeaveFrame();
  if (callee.in_callback) return ReturnFromCallback();
  // The caller becomes the innermost frame, so it has to be this state's own.
  pool_.Writable(*st_, st_->cur - 1).regs[0] = callee.regs[0];
  out_->next = static_cast<uint32_t>(callee.callsite + 1);
  pool_.FreeFrame(&callee);
  st_->frames[st_->cur--] = nullptr;
  return true;
}

bool Transfer::ReturnCode(int r) {
  const int sub = st_->frames[0]->subprog;
  const bool main = sub == 0 || sub == ctx_.cfg->exception_sub;
  const RetRule rule = ctx_.target.returns ? *ctx_.target.returns : ReturnRule(prog_.type, prog_.attach);
  if (main && rule.exempt) return true;
  if (!ReadReg(r)) return false;
  const Reg& value = reg(r);
  if (Hidden(value)) return Leak(r, "as return value");
  if (st_->frames[0]->in_async_callback) {
    if (value.IsScalar()) return ReturnRange(r, {0, 0}, false, "async callback return");
    return Fail(Rule::kReturnValue, r, absl::StrCat("At async callback return the register R", r, " is not a known value (",
                                                    RegTypeName(value), ")"));
  }
  if (!main) {
    if (value.IsScalar()) return true;
    return Fail(Rule::kReturnValue, r, absl::StrCat("At subprogram exit the register R", r, " is not a scalar value (",
                                                    RegTypeName(value), ")"));
  }
  if (!rule.checked) return true;
  if (!value.IsScalar()) {
    return Fail(Rule::kReturnValue, r, absl::StrCat("At program exit the register R", r, " is not a known value (",
                                                    RegTypeName(value), ")"));
  }
  return ReturnRange(r, rule.range, rule.is32, "program exit");
}

bool Transfer::ReturnRange(int r, RetRange range, bool is32, const char* where) {
  Precise(r);
  const Scalar& s = reg(r).s;
  if (is32 ? range.min <= s.s32_min && s.s32_max <= range.max : range.min <= s.smin && s.smax <= range.max) return true;
  std::string has = absl::StrCat("At ", where, " the register R", r, " has");
  if (s.smin != kS64Min) absl::StrAppend(&has, " smin=", s.smin);
  if (s.smax != kS64Max) absl::StrAppend(&has, " smax=", s.smax);
  if (s.smin == kS64Min && s.smax == kS64Max) absl::StrAppend(&has, " unknown scalar value");
  return Fail(Rule::kReturnValue, r, absl::StrCat(has, " should have been in [", range.min, ", ", range.max, "]"));
}

}  // namespace bpfsieve
