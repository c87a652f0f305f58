#include "engine/verify/prepare.h"

#include <bpf/btf.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/isa/helper_names.h"
#include "engine/program/btf_view.h"
#include "engine/program/liveness.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr uint32_t kTailCall = 12, kDynptrWrite = 202;  // helpers

Finding At(uint32_t insn, Rule rule, std::string message) {
  Finding f;
  f.rule = rule;
  f.insn = insn;
  f.message = std::move(message);
  return f;
}

bool HasField(const MapDef& map, SpecialField kind) {
  return std::any_of(map.fields.begin(), map.fields.end(), [kind](const MapField& f) { return f.kind == kind; });
}

std::optional<Finding> CheckMapUse(const Program& program, const MapDef& map, uint32_t insn) {
  const bool tracing = IsTracingType(program.type);
  if (HasField(map, SpecialField::kListHead) && tracing) {
    return At(insn, Rule::kHelperMap, "tracing progs cannot use bpf_{list_head,rb_root} yet");
  }
  if (HasField(map, SpecialField::kSpinLock) || HasField(map, SpecialField::kResSpinLock)) {
    if (program.type == ProgType::kSocketFilter) {
      return At(insn, Rule::kHelperMap, "socket filter progs cannot use bpf_spin_lock yet");
    }
    if (tracing) return At(insn, Rule::kHelperMap, "tracing progs cannot use bpf_spin_lock yet");
  }
  if (HasField(map, SpecialField::kTimer) && tracing) {
    return At(insn, Rule::kHelperMap, "tracing progs cannot use bpf_timer yet");
  }
  if (HasField(map, SpecialField::kWorkqueue) && tracing) {
    return At(insn, Rule::kHelperMap, "tracing progs cannot use bpf_wq yet");
  }
  if (map.type == MapType::kStructOps) {
    return At(insn, Rule::kHelperMap, "bpf_struct_ops map cannot be used in prog");
  }
  if (program.sleepable && !MapAllowedInSleepable(map.type)) {
    return At(insn, Rule::kHelperMap,
              "Sleepable programs can only use array, hash, ringbuf and local storage maps");
  }
  return std::nullopt;
}

Rule RuleOf(EncodingError::Kind kind) {
  switch (kind) {
    case EncodingError::Kind::kOpcode: return Rule::kBadOpcode;
    case EncodingError::Kind::kReserved: return Rule::kReservedField;
    case EncodingError::Kind::kRegister:
    case EncodingError::Kind::kFrameWrite: return Rule::kBadRegister;
    case EncodingError::Kind::kImm64: return Rule::kBadImm64;
    case EncodingError::Kind::kDivZero: return Rule::kDivZero;
    case EncodingError::Kind::kShift: return Rule::kBadShift;
  }
  return Rule::kReservedField;
}

// Whether the function returns something no wider than a register: an integer or an enumeration.
bool ReturnsScalar(const struct btf* btf, uint32_t func_id) {
  const btf_type* func = btf__type_by_id(btf, func_id);
  const btf_type* proto = func != nullptr && btf_is_func(func) ? btf__type_by_id(btf, func->type) : nullptr;
  if (proto == nullptr || !btf_is_func_proto(proto) || proto->type == 0) return false;
  const btf_type* ret = SkipModifiers(btf, proto->type, nullptr);
  return ret != nullptr && (btf_is_any_enum(ret) || (btf_is_int(ret) && ret->size <= 8));
}

// Functions of a network device, for programs that are loaded for one (bpf_dev_bound_kfunc_id); a file does not say so.
bool NeedsDevice(const Extern& function) {
  return (!function.weak || function.btf_id != 0) &&
         (function.name == "bpf_xdp_metadata_rx_timestamp" || function.name == "bpf_xdp_metadata_rx_hash" ||
          function.name == "bpf_xdp_metadata_rx_vlan_tag");
}

}  // namespace

Finding FromEncoding(const EncodingError& error) { return At(error.insn, RuleOf(error.kind), error.message); }

std::optional<Finding> CheckReferences(const Object& object, const Program& program, const Cfg& cfg) {
  const auto& insns = program.insns;
  // Kernel functions are looked up before anything is known of what is reached.
  for (const uint32_t i : cfg.notable) {
    if (IsKfuncCall(insns[i])) {
      if (!object.GplCompatible()) {
        return At(i, Rule::kLicense, "cannot call kernel function from non-GPL compatible program");
      }
      // Functions of modules; a loader gives their module's descriptor, which a file cannot.
      const size_t n = static_cast<size_t>(insns[i].imm);
      if (n < program.externs.size() && NeedsDevice(program.externs[n])) {
        return At(i, Rule::kProgramLoad, "metadata kfuncs require device-bound program");
      }
      if (insns[i].off != 0) return At(i, Rule::kBtfInfo, "failed to find BTF for kernel function");
    }
  }
  int cgroup_storage[2] = {-1, -1};
  int arena = -1;
  constexpr int kMaxUsedMaps = 64;  // MAX_USED_MAPS
  std::vector<bool> used;
  int used_count = 0;
  for (const uint32_t at : cfg.notable) {
    const Insn& in = insns[at];
    if (!IsLdImm64(in)) continue;
    // The kernel looks up the address of each, used or not.
    const size_t symbol = in.src == kPseudoBtfId ? static_cast<size_t>(in.imm) : program.externs.size();
    if (symbol < program.externs.size() && program.externs[symbol].no_address) {
      return At(at, Rule::kBtfInfo, absl::StrCat("ldimm64 failed to find the address for kernel symbol '",
                                                 program.externs[symbol].name, "'."));
    }
    if (in.src != kPseudoMapFd && in.src != kPseudoMapValue) continue;
    if (in.imm < 0 || static_cast<size_t>(in.imm) >= object.maps.size()) {
      return At(at, Rule::kBadImm64, absl::StrCat("fd ", in.imm, " is not pointing to valid bpf_map"));
    }
    const MapDef& map = object.maps[in.imm];
    used.resize(object.maps.size());
    if (!used[in.imm]) {
      used[in.imm] = true;
      if (++used_count > kMaxUsedMaps) {
        return At(at, Rule::kProgramSize,
                  absl::StrCat("The total number of maps per program has reached the limit of ", kMaxUsedMaps));
      }
    }
    if (std::optional<Finding> f = CheckMapUse(program, map, at)) return f;
    if (map.type == MapType::kCgroupStorage || map.type == MapType::kPercpuCgroupStorage) {
      int& seen = cgroup_storage[map.type == MapType::kPercpuCgroupStorage];
      if (seen >= 0 && seen != in.imm) {
        return At(at, Rule::kHelperMap, "only one cgroup storage of each type is allowed");
      }
      seen = in.imm;
    }
    if (map.type == MapType::kArena) {
      if (arena >= 0 && arena != in.imm) return At(at, Rule::kArena, "Only one arena per program");
      arena = in.imm;
    }
    if (in.src != kPseudoMapValue) continue;
    const uint32_t off = static_cast<uint32_t>(insns[at + 1].imm);
    if (off >= static_cast<uint32_t>(kMaxVarOff)) {
      return At(at, Rule::kMapBounds, absl::StrCat("direct value offset of ", off, " is not allowed"));
    }
    if (map.type == MapType::kArena) {
      constexpr uint64_t kPage = 4096;
      if (off <= map.max_entries * kPage) continue;
      return At(at, Rule::kMapBounds, absl::StrCat("invalid access to map value pointer, value_size=", map.value_size,
                                                   " off=", off));
    }
    if (map.type != MapType::kArray) {
      return At(at, Rule::kMapAccess, "no direct value access support for this map type");
    }
    if (map.max_entries != 1 || off >= map.value_size) {
      return At(at, Rule::kMapBounds, absl::StrCat("invalid access to map value pointer, value_size=", map.value_size,
                                                   " off=", off));
    }
  }
  return std::nullopt;
}

std::optional<Finding> CheckFunctionInfo(const Object& object, const Program& program, const Cfg& cfg) {
  if (object.btf == nullptr) return std::nullopt;
  for (const Subprog& info : program.subprogs) {
    const int s = info.btf_func_id == 0 ? -1 : cfg.SubAt(info.start);
    if (s <= 0) continue;
    const Cfg::Sub& sub = cfg.subs[s];
    if ((!sub.has_ld_abs && !sub.has_tail_call) || ReturnsScalar(object.btf.get(), info.btf_func_id)) continue;
    return At(sub.start, sub.has_ld_abs ? Rule::kBtfInfo : Rule::kTailCall,
              absl::StrCat(sub.has_ld_abs ? "LD_ABS" : "tail_call",
                           " is only allowed in functions that return 'int'."));
  }
  return std::nullopt;
}

std::optional<Finding> CheckCapabilities(const Object& object, const Program& program, const Capabilities& caps) {
  if (caps.perfmon) return std::nullopt;
  if (!ProgTypeAllowed(program.type, caps)) {
    return At(0, Rule::kCapability, absl::StrCat("programs of type ", std::string(ProgTypeName(program.type)),
                                                 caps.bpf ? " need CAP_PERFMON" : " need CAP_BPF"));
  }
  for (uint32_t i = 0; i < program.insns.size(); ++i) {
    const Insn& in = program.insns[i];
    if (!caps.bpf && (IsPseudoFunc(in) || IsPseudoCall(in) || IsKfuncCall(in))) {
      return At(i, Rule::kCapability,
                "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN");
    }
    if (!IsLdImm64(in)) continue;
    const bool names_map = (in.src == kPseudoMapFd || in.src == kPseudoMapValue) && in.imm >= 0 &&
                           static_cast<size_t>(in.imm) < object.maps.size();
    // The map is created first, and with it its inner one.
    for (int m = names_map ? in.imm : -1; m >= 0; m = object.maps[m].inner) {
      const MapType type = object.maps[m].type;
      if (MapTypeAllowed(type, caps)) continue;
      if (type == MapType::kArena) return At(i, Rule::kCapability, "CAP_BPF and CAP_PERFMON are required to use arena");
      return At(i, Rule::kCapability,
                absl::StrCat("maps of type ", std::string(MapTypeName(type)), " need a capability"));
    }
    ++i;
  }
  return std::nullopt;
}

std::optional<Finding> CheckNoLoops(const Program& program) {
  // Depth first, what follows before where a jump goes, as the kernel does it: it names the first edge that goes back.
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> seen(program.insns.size(), kNew);
  struct Visit {
    uint32_t insn;
    int edges;  // taken so far
  };
  std::vector<Visit> path = {{0, 0}};
  seen[0] = kOpen;
  while (!path.empty()) {
    const uint32_t at = path.back().insn;
    const Insn& in = program.insns[at];
    const bool jumps = IsJmpClass(in) && JmpOp(in) != kCall && JmpOp(in) != kExit;
    const bool goes_on = !(IsJmpClass(in) && (JmpOp(in) == kExit || JmpOp(in) == kJa));
    const int edge = path.back().edges++;
    int64_t next = -1;
    if (edge == 0 && goes_on) {
      next = int64_t{at} + (IsLdImm64(in) ? 2 : 1);
    } else if (edge == (goes_on ? 1 : 0) && jumps) {
      next = int64_t{at} + 1 + (Class(in) == kClassJmp32 && JmpOp(in) == kJa ? in.imm : in.off);
    } else {
      seen[at] = kDone;
      path.pop_back();
      continue;
    }
    if (next < 0 || next >= static_cast<int64_t>(seen.size())) continue;  // found before
    if (seen[next] == kOpen) {
      return At(at, Rule::kBackEdge, absl::StrCat("back-edge from insn ", at, " to ", next));
    }
    if (seen[next] == kDone) continue;
    seen[next] = kOpen;
    path.push_back({static_cast<uint32_t>(next), 0});
  }
  return std::nullopt;
}

std::optional<std::string> UnmodelledReference(const Object& object, const Program& program, const Cfg& cfg,
                                               const Capabilities& caps) {
  if (program.exception_callback >= 0) {
    // The kernel takes no notice of the tag where the program has no function information, and follows tail calls below
    // the callback in a way of its own.
    if (program.subprogs.front().btf_func_id == 0) return "exception callback without function information";
    for (size_t s = 1; s < cfg.subs.size(); ++s) {
      if (cfg.subs[s].has_tail_call) return "exception callback beside functions with tail calls";
    }
  }
  for (const uint32_t i : cfg.notable) {
    const Insn& in = program.insns[i];
    if (!IsLdImm64(in)) continue;
    // Who may not load types has such maps without the fields.
    if (!caps.bpf && (in.src == kPseudoMapFd || in.src == kPseudoMapValue) && !object.maps[in.imm].fields.empty()) {
      return "map with special fields, without CAP_BPF";
    }
  }
  return std::nullopt;
}

HelperTraits TraitsFor(ProgType type) {
  HelperTraits t;
  t.changes_packet = [type](uint32_t id) {
    // The program that a tail call goes on to may, and the function that called does not come back to tell. A write to a
    // dynptr may, where it is one of the packet; Linux 6.18 does not think of that in global functions.
    if (id == kTailCall || id == kDynptrWrite) return true;
    const HelperProto* p = FindHelper(id, type);
    return p != nullptr && p->changes_packet;
  };
  t.might_sleep = [type](uint32_t id) {
    const HelperProto* p = FindHelper(id, type);
    return p != nullptr && p->might_sleep;
  };
  t.arg_count = [type](uint32_t id) {
    const HelperProto* p = FindHelper(id, type);
    if (p == nullptr) return 5;
    int n = 0;
    while (n < 5 && p->args[n].type != Arg::kDontcare) ++n;
    return n;
  };
  t.kfunc = [](std::string_view name) {
    KfuncTraits traits;
    if (const KfuncProto* k = FindKfunc(name)) {
      traits.arg_count = k->arg_count();
      traits.might_sleep = k->sleeps;
      traits.changes_packet = k->writes_dynptr;  // which may be one of the packet, see kDynptrWrite
    }
    if (const TypedKfunc* k = FindTypedKfunc(name)) {
      traits.arg_count = k->arg_count;
      traits.might_sleep = (k->flags & kKfuncSleepable) != 0;
      traits.changes_packet = (k->flags & kKfuncChangesPacket) != 0;
    }
    return traits;
  };
  t.kfunc_arg = [](std::string_view name, int arg) -> ArgTrait {
    const KfuncProto* k = FindKfunc(name);
    if (k == nullptr) return {};
    switch (k->args[arg - 1]) {
      case KfuncArg::kIter:
        return {k->kind == KfuncKind::kIterNew ? ArgAccess::kOverwrite : ArgAccess::kFixedMem,
                static_cast<uint32_t>(FindIter(k->iter).slots * kSlotBytes)};
      case KfuncArg::kIrqSave:  // where the lock is not had, what is there stays
        if (k->kind == KfuncKind::kResLock) return {ArgAccess::kNone, 0};
        return {ArgAccess::kOverwrite, kSlotBytes};
      case KfuncArg::kDynptrNew: return {ArgAccess::kOverwrite, kDynptrSlots * kSlotBytes};
      case KfuncArg::kIrqRestore: return {ArgAccess::kFixedMem, kSlotBytes};
      case KfuncArg::kDynptr: return {ArgAccess::kFixedMem, kDynptrSlots * kSlotBytes};
      case KfuncArg::kBufferOrNull: return {ArgAccess::kSizedMem, 0};
      case KfuncArg::kScalar:
      case KfuncArg::kIgnored:
      case KfuncArg::kTyped:
      case KfuncArg::kConstant:
      case KfuncArg::kContext:
      case KfuncArg::kCtx:
      case KfuncArg::kConstSize:
      case KfuncArg::kResLock:
      case KfuncArg::kWorkqueue:
      case KfuncArg::kMap:
      case KfuncArg::kAsyncCallback:
      case KfuncArg::kObject:
      case KfuncArg::kRefcounted:
      case KfuncArg::kListHead:
      case KfuncArg::kListNode:
      case KfuncArg::kTreeRoot:
      case KfuncArg::kTreeNode:
      case KfuncArg::kCallback: return {ArgAccess::kNone, 0};
      case KfuncArg::kNone: break;
    }
    return {};
  };
  t.arg = [type](uint32_t id, int arg) -> ArgTrait {
    const HelperProto* p = FindHelper(id, type);
    if (p == nullptr) return {};
    const ArgSpec& spec = p->args[arg - 1];
    switch (spec.type) {
      case Arg::kDontcare:
      case Arg::kConstSize:
      case Arg::kConstSizeOrZero:
      case Arg::kConstAllocSizeOrZero:
      case Arg::kCtx:
      case Arg::kSpinLock:
      case Arg::kSockCommon:
      case Arg::kSocket:
      case Arg::kRingbufMem:
      case Arg::kFunc:
      case Arg::kAnything:
      case Arg::kConstStr:
      case Arg::kTimer:
        return {ArgAccess::kNone, 0};
      case Arg::kConstMapPtr: return {ArgAccess::kMapPtr, 0};
      case Arg::kMapKey: return {ArgAccess::kMapKey, 0};
      case Arg::kMapValue:
        return {(spec.flags & kArgUninit) != 0 ? ArgAccess::kWriteMem : ArgAccess::kMapValue, 0};
      case Arg::kMem:
        if ((spec.flags & kArgUninit) != 0) return {ArgAccess::kWriteMem, 0};
        if ((spec.flags & kArgFixedSize) != 0) return {ArgAccess::kFixedMem, spec.size};
        return {ArgAccess::kSizedMem, 0};
      case Arg::kDynptr:
        return {(spec.flags & kArgUninit) != 0 ? ArgAccess::kOverwrite : ArgAccess::kFixedMem, kDynptrSlots * kSlotBytes};
      default: return {};
    }
  };
  return t;
}

Context MakeContext(const Object& object, const Program& program, const Cfg& cfg, const StackLiveness& liveness) {
  Context c;
  c.object = &object;
  c.program = &program;
  c.cfg = &cfg;
  c.liveness = &liveness;
  c.gpl = object.GplCompatible();
  c.subs.resize(cfg.subs.size());
  for (size_t s = 0; s < cfg.subs.size(); ++s) {
    auto it = std::find_if(program.subprogs.begin(), program.subprogs.end(),
                           [&](const Subprog& p) { return p.start == cfg.subs[s].start; });
    if (it == program.subprogs.end()) continue;
    c.subs[s].name = it->name;
    if (s == 0 || !it->global) continue;
    c.subs[s].global = true;
    c.subs[s].args = ReadFuncArgs(object, program, *it);
  }
  for (uint32_t i = 0; i < program.insns.size(); ++i) {
    if (InsnIsRight(program.insns[i])) continue;
    const EncodingError e = *CheckInsn(program.insns[i]);
    c.faults.resize(program.insns.size());
    c.faults[i] = {true, RuleOf(e.kind), e.message};
  }
  for (const uint32_t i : cfg.notable) {
    const Insn& in = program.insns[i];
    if (!IsLdImm64(in)) continue;
    c.has_arena |= (in.src == kPseudoMapFd || in.src == kPseudoMapValue) && object.maps[in.imm].type == MapType::kArena;
  }
  return c;
}

}  // namespace bpfsieve
