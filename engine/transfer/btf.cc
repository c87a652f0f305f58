// Pointers to the kernel's own structures, as its BTF describes them: loads through them, and what tracing programs are
// given (check_ptr_to_btf_access, btf_ctx_access).
//
// Which of them may be relied upon is in the pointer's modifiers: what a tracepoint passes is trusted, what is loaded
// through it mostly is not, unless the kernel's BTF lists the member as safe.
#include <bpf/btf.h>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_walk.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

constexpr int kMaxTracingArgs = 12;  // MAX_BPF_FUNC_ARGS
constexpr int kMaxRegisterArgs = 5;  // MAX_BPF_FUNC_REG_ARGS
constexpr uint16_t kTrustedModifiers = kAlloc | kTrusted | kNonOwnRef;

std::string TypeText(const struct btf* btf, uint32_t id) { return std::string(BtfTypeName(btf, id)); }

uint16_t FlagOf(BtfTag tag) {
  switch (tag) {
    case BtfTag::kUser: return kUser;
    case BtfTag::kPercpu: return kPercpu;
    case BtfTag::kRcu: return kRcu;
    case BtfTag::kNone: break;
  }
  return 0;
}

// Whether the program finds what the function returned behind its arguments.
bool SeesReturned(const Program& program) {
  return program.attach == AttachType::kTraceFexit || program.attach == AttachType::kModifyReturn ||
         program.attach == AttachType::kLsmMac || program.attach == AttachType::kLsmCgroup;
}

// The kernel's name of the structure behind a map of this type; empty: it has none that programs may look at.
std::string_view MapStruct(MapType type) {
  switch (type) {
    case MapType::kArray:
    case MapType::kPercpuArray:
    case MapType::kProgArray:
    case MapType::kPerfEventArray:
    case MapType::kCgroupArray:
    case MapType::kArrayOfMaps: return "bpf_array";
    case MapType::kHash:
    case MapType::kPercpuHash:
    case MapType::kLruHash:
    case MapType::kLruPercpuHash:
    case MapType::kHashOfMaps: return "bpf_htab";
    case MapType::kStackTrace: return "bpf_stack_map";
    case MapType::kLpmTrie: return "lpm_trie";
    case MapType::kDevmap:
    case MapType::kDevmapHash: return "bpf_dtab";
    case MapType::kCpumap: return "bpf_cpu_map";
    case MapType::kXskmap: return "xsk_map";
    case MapType::kSockmap: return "bpf_stab";
    case MapType::kSockhash: return "bpf_shtab";
    case MapType::kCgroupStorage:
    case MapType::kPercpuCgroupStorage: return "bpf_cgroup_storage_map";
    case MapType::kReuseportSockarray: return "reuseport_array";
    case MapType::kQueue:
    case MapType::kStack: return "bpf_queue_stack";
    case MapType::kSkStorage:
    case MapType::kInodeStorage:
    case MapType::kTaskStorage:
    case MapType::kCgrpStorage: return "bpf_local_storage_map";
    case MapType::kRingbuf:
    case MapType::kUserRingbuf: return "bpf_ringbuf_map";
    case MapType::kBloomFilter: return "bpf_bloom_filter";
    case MapType::kArena: return "bpf_arena";
    default: return {};
  }
}

}  // namespace

// Null: not known. Reading them takes long, so that is only done where a program needs them.
const KernelBtf* Transfer::Kernel() {
  if (kernel_ == nullptr) kernel_ = KernelTypes(*ctx_.object);
  return kernel_;
}

// The kernel's in_rcu_cs(): what is not sleepable runs in one throughout.
bool Transfer::InRcuSection() const { return st_->active_locks > 0 || st_->rcu_locks > 0 || !InSleepable(); }

bool Transfer::IsTrusted(const Reg& r) const {
  if (r.ref_obj_id != 0) return true;
  if (r.flags == 0 && r.IsSockPointer()) return true;
  return r.type == RegType::kBtfId && (r.flags & kTrustedModifiers) != 0 &&
         (r.flags & ~(kTrustedModifiers | kProgBtf)) == 0;
}

void Transfer::MakeBtfPointer(Reg& r, uint32_t type, uint16_t flags) {
  r.MakePointer(RegType::kBtfId, flags);
  r.btf_id = type;
  if (r.MayBeNull()) r.id = NewId();
}

// A load of `size` bytes at `off` of kernel structure `type` into R(value), -1: into none. `flags`: what a pointer found
// there is, as far as its tags tell.
bool Transfer::LoadField(int r, uint32_t type, int off, int size, int value, uint16_t holder_flags) {
  const struct btf* btf = Kernel()->get();
  const BtfField field = WalkStruct(btf, type, static_cast<uint32_t>(off), static_cast<uint32_t>(size));
  uint16_t flags = static_cast<uint16_t>(FlagOf(field.tag) | (field.through_union ? kUntrusted : 0));
  switch (field.kind) {
    case BtfField::Kind::kError: return Fail(Rule::kBtfAccess, r, field.error);
    case BtfField::Kind::kScalar:
      if (value >= 0) reg(value).MakeUnknown();
      return true;
    case BtfField::Kind::kOtherPointer:
      if (value >= 0) {
        reg(value).MakePointer(RegType::kMem, kRdonly | kUntrusted);
        reg(value).mem_size = 0;
      }
      return true;
    case BtfField::Kind::kPointer: break;
  }
  const Reg holder = reg(r);
  const auto safe = [&](const char* list) { return IsSafeField(*Kernel(), type, field.name, field.type, list); };
  if (holder.type != RegType::kBtfId) {
    // A map's own description: as the tags say.
  } else if ((holder_flags & kUntrusted) != 0) {
    flags = kUntrusted;
  } else if (IsTrusted(holder) || (holder_flags & kRcu) != 0) {
    if (safe("__safe_trusted")) {
      flags |= kTrusted;
    } else if (safe("__safe_trusted_or_null")) {
      flags |= kTrusted | kMaybeNull;
    } else if (InRcuSection() && !holder.MayBeNull()) {
      const bool rcu_or_null = safe("__safe_rcu_or_null");
      if (safe("__safe_rcu")) {
        flags |= kRcu;
      } else if ((flags & kRcu) != 0 || rcu_or_null) {
        flags |= kRcu | kMaybeNull;
        if (rcu_or_null) flags &= static_cast<uint16_t>(~kUntrusted);
      } else if ((flags & (kPercpu | kUser)) == 0) {
        flags &= static_cast<uint16_t>(~(kTrustedModifiers | kRcu));
      }
    } else {
      flags = kUntrusted;
    }
  } else {
    flags &= static_cast<uint16_t>(~(kTrustedModifiers | kRcu));
  }
  if (value >= 0) MakeBtfPointer(reg(value), field.type, flags);
  return true;
}

// Of a connection, only its mark may be written (nf_conntrack_btf_struct_access).
bool Transfer::ConntrackWrite(int r, int off, int size) {
  const struct btf* btf = Kernel()->get();
  const btf_type* type = btf__type_by_id(btf, Kernel()->Find("nf_conn", BTF_KIND_STRUCT));
  for (uint32_t i = 0; type != nullptr && i < btf_vlen(type); ++i) {
    const btf_member& m = btf_members(type)[i];
    if (BtfName(btf, m.name_off) != "mark" || btf_member_bit_offset(type, i) != 8 * static_cast<uint32_t>(off)) continue;
    if (size <= 4) return true;
    return Fail(Rule::kBtfAccess, r, absl::StrCat("write access at off ", off, " with size ", size,
                                                  " beyond the member of nf_conn ended at ", off + 4));
  }
  return Fail(Rule::kBtfAccess, r, absl::StrCat("no write support to nf_conn at off ", off));
}

bool Transfer::NotWithoutPerfmon(int r, const std::string& name) {
  return Fail(Rule::kCapability, r,
              absl::StrCat("'struct ", name, "' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN"));
}

bool Transfer::BtfAccess(int r, int off, int size, bool write, int value) {
  const Reg p = reg(r);
  if (!ctx_.caps.perfmon) return NotWithoutPerfmon(r, StructName(p));
  if (p.Has(kProgBtf)) return ObjectAccess(r, off, size, write, value);
  if (Kernel() == nullptr) return Unsupported("BTF-typed pointer access");
  const std::string_view name = BtfTypeName(Kernel()->get(), p.btf_id);
  const auto who = [&] { return absl::StrCat("R", r, " is ptr_", std::string(name)); };
  if (!ctx_.gpl) {
    return Fail(Rule::kLicense, -1, absl::StrCat("Cannot access kernel 'struct ", std::string(name),
                                                 "' from non-GPL compatible program"));
  }
  if (off < 0) return Fail(Rule::kBtfAccess, r, absl::StrCat(who(), " invalid negative access: off=", off));
  if (!p.s.IsConst() || p.s.ConstValue() != 0) {
    return Fail(Rule::kBtfAccess, r, absl::StrCat(who(), " invalid variable offset: off=", off, ", var_off=",
                                                  TnumText(p.s.var_off)));
  }
  if ((p.flags & kUser) != 0) return Fail(Rule::kBtfAccess, r, absl::StrCat(who(), " access user memory: off=", off));
  if ((p.flags & kPercpu) != 0) return Fail(Rule::kBtfAccess, r, absl::StrCat(who(), " access percpu memory: off=", off));
  if (write) {
    if ((p.flags & kUntrusted) == 0 && prog_.type == ProgType::kStructOps) return TableWrite(r, off, size);
    const bool conntrack = (p.flags & kUntrusted) == 0 && (name == "nf_conn" || name == "nf_conn___init") &&
                           (prog_.type == ProgType::kSchedCls || prog_.type == ProgType::kSchedAct ||
                            prog_.type == ProgType::kXdp);
    if (!conntrack) return Fail(Rule::kBtfAccess, r, "only read is supported");
    return ConntrackWrite(r, off, size);
  }
  return LoadField(r, p.btf_id, off, size, value, p.flags);
}

// Congestion control may change a few members of a connection (bpf_tcp_ca_btf_struct_access), and the kernel's test table
// its own state (bpf_dummy_ops_btf_struct_access).
bool Transfer::TableWrite(int r, int off, int size) {
  struct Writable {
    const char *type, *member, *inner;
    bool any_offset;
  };
  static constexpr Writable kWritable[] = {
      {"sock", "sk_pacing_rate", nullptr, false},       {"sock", "sk_pacing_status", nullptr, false},
      {"inet_connection_sock", "icsk_ca_priv", nullptr, true}, {"inet_connection_sock", "icsk_ack", "pending", false},
      {"tcp_sock", "snd_cwnd", nullptr, false},         {"tcp_sock", "snd_cwnd_cnt", nullptr, false},
      {"tcp_sock", "snd_cwnd_stamp", nullptr, false},   {"tcp_sock", "snd_ssthresh", nullptr, false},
      {"tcp_sock", "ecn_flags", nullptr, false},        {"tcp_sock", "app_limited", nullptr, false},
  };
  const struct btf* btf = Kernel()->get();
  const uint32_t type = reg(r).btf_id;
  if (ctx_.target.name.starts_with("bpf_dummy_ops/")) {
    if (type != Kernel()->Find("bpf_dummy_ops_state", BTF_KIND_STRUCT)) {
      return Fail(Rule::kBtfAccess, r, "only access to bpf_dummy_ops_state is supported");
    }
    if (off + size <= BtfSize(btf, type)) return true;
    return Fail(Rule::kBtfAccess, r, absl::StrCat("write access at off ", off, " with size ", size));
  }
  if (type != ctx_.target.tcp_socket || type == 0) return Fail(Rule::kBtfAccess, r, "only read is supported");
  for (const Writable& w : kWritable) {
    int64_t begin = 0, length = 0;
    uint32_t at = Kernel()->Find(w.type, BTF_KIND_STRUCT);
    for (const char* name : {w.member, w.inner}) {
      if (name == nullptr) continue;
      const btf_type* t = at != 0 ? SkipModifiers(btf, at, nullptr) : nullptr;
      at = 0;
      for (uint32_t i = 0; t != nullptr && btf_is_composite(t) && i < btf_vlen(t); ++i) {
        if (BtfName(btf, btf_members(t)[i].name_off) != name || btf_member_bitfield_size(t, i) != 0) continue;
        at = btf_members(t)[i].type;
        begin += btf_member_bit_offset(t, i) / 8;
        length = BtfSize(btf, at);
        break;
      }
    }
    if (at == 0 || off < begin || (w.any_offset ? off >= begin + length : off != begin)) continue;
    if (off + size <= begin + length) return true;
    return Fail(Rule::kBtfAccess, r, absl::StrCat("write access at off ", off, " with size ", size,
                                                  " beyond the member of tcp_sock ended at ", begin + length));
  }
  return Fail(Rule::kBtfAccess, r, absl::StrCat("no write support to tcp_sock at off ", off));
}

bool Transfer::MapStructAccess(int r, int off, int size, bool write, int value) {
  const std::string name(MapStruct(ctx_.map(reg(r).map).type));
  if (Kernel() == nullptr || name.empty()) return Unsupported("map pointer access");
  const uint32_t type = Kernel()->Find(name, BTF_KIND_STRUCT);
  if (type == 0) return Unsupported("map pointer access");
  if (!ctx_.caps.perfmon) return NotWithoutPerfmon(r, name);
  if (off < 0) return Fail(Rule::kBtfAccess, r, absl::StrCat("R", r, " is ", name, " invalid negative access: off=", off));
  if (write) return Fail(Rule::kMapAccess, r, absl::StrCat("only read from ", name, " is supported"));
  return LoadField(r, type, off, size, value, 0);
}

// The program's context is the arguments of what it is attached to, eight bytes each.
bool Transfer::TracingAccess(int r, int off, int size, bool write, int value) {
  const AttachTarget& target = ctx_.target;
  const struct btf* btf = target.btf != nullptr ? target.btf : Kernel()->get();
  const auto invalid = [&] {
    return Fail(Rule::kCtxAccess, r, absl::StrCat("invalid bpf_context access off=", off, " size=", size));
  };
  if (off < 0 || off >= 8 * kMaxTracingArgs || write || off % size != 0 || off % 8 != 0) return invalid();
  if (target.untyped) {
    if (off > 8 * kMaxRegisterArgs || (off == 8 * kMaxRegisterArgs && prog_.attach != AttachType::kTraceFexit)) return invalid();
    if (value >= 0) reg(value).MakeUnknown();
    return true;
  }
  const btf_param* params = btf_params(target.proto);
  const int count = btf_vlen(target.proto);
  int arg = 0;
  for (int64_t end = 0; arg <= count; ++arg) {  // the last one is what the function returned
    const btf_type* t = SkipModifiers(btf, arg < count ? params[arg].type : target.proto->type, nullptr);
    if (t == nullptr) return invalid();
    end += btf_is_ptr(t) ? 8 : (BtfSize(btf, arg < count ? params[arg].type : target.proto->type) + 7) / 8 * 8;
    if (off < end) break;
  }
  arg += target.skipped;
  uint32_t id = 0;
  if (arg > count) return invalid();
  const bool returned = arg == count;
  if (returned) {
    if (!SeesReturned(prog_)) return invalid();
    id = target.proto->type;
  } else {
    id = params[arg].type;
  }
  const btf_type* t = SkipModifiers(btf, id, nullptr);
  if (t == nullptr) return invalid();
  Reg unused;
  Reg& dst = value >= 0 ? reg(value) : unused;
  const auto scalar = [&] {
    dst.MakeUnknown();
    if (returned && prog_.attach == AttachType::kLsmMac && target.returns && target.returns->checked) {
      const RetRange range = target.returns->range;
      dst.s.s32_min = range.min;
      dst.s.s32_max = range.max;
      dst.s.smin = range.min;
      dst.s.smax = range.max;
      SyncAndRepair(dst.s);
    }
    return true;
  };
  const bool small_int = btf_is_int(t) && btf_int_bits(t) == t->size * 8 && btf_int_offset(t) == 0 && t->size <= 8;
  if (returned && prog_.attach == AttachType::kModifyReturn && !small_int) return invalid();
  if (small_int || btf_is_any_enum(t) || btf_is_composite(t)) return scalar();
  if (!btf_is_ptr(t) || size != 8) return invalid();
  const AttachTarget::Typed* typed = nullptr;
  for (const AttachTarget::Typed& each : target.typed) {
    if (each.position * 8 == off) typed = &each;
  }
  if (typed != nullptr && typed->type == RegType::kBuf) {
    dst.MakePointer(RegType::kBuf, typed->flags);
    dst.id = NewId();
    return true;
  }
  if (t->type == 0) return scalar();
  uint32_t pointee = 0;
  const btf_type* to = SkipModifiers(btf, t->type, &pointee);
  if (to == nullptr || btf_is_void(to) || btf_is_int(to)) return scalar();
  if (target.of != ProgType::kUnspec) {
    // Of programs' functions, only the context is something that the kernel knows.
    pointee = IsContext(btf, t->type, target.of) ? KernelContextType(target.of) : 0;
    to = pointee != 0 ? btf__type_by_id(Kernel()->get(), pointee) : nullptr;
    if (to == nullptr) return invalid();
  }
  uint16_t flags = typed != nullptr ? typed->flags : target.pointer;
  if (typed == nullptr) {
    const int number = arg - target.skipped;
    if (number < 32 && (target.nullable >> number & 1) != 0) flags |= kMaybeNull;
    if (target.btf == nullptr) flags |= static_cast<uint16_t>(FlagOf(PointeeTag(btf, t)) & (kUser | kPercpu));
    if (!btf_is_composite(to)) return invalid();
    if (number < 32 && (target.error >> number & 1) != 0) return scalar();
  }
  if (!btf_is_composite(to)) return invalid();
  if (pointee == target.socket && target.socket != 0) pointee = target.tcp_socket;
  MakeBtfPointer(dst, pointee, flags);
  return true;
}

// The address of a variable or function of the kernel (check_pseudo_btf_id).
bool Transfer::KernelSymbol(const Extern& symbol, Reg& dst) {
  if (Kernel() == nullptr) return Unsupported("ksym variable");
  const struct btf* btf = Kernel()->get();
  if (symbol.kind == Extern::Kind::kFunc) {
    dst.MakePointer(RegType::kMem, kRdonly);
    dst.mem_size = 0;
    return true;
  }
  const uint32_t id = Kernel()->Find(symbol.name, BTF_KIND_VAR);
  if (id == 0) {
    if (!symbol.weak) return Unsupported("ksym variable");
    dst.MakeScalar(Scalar::Const(0));
    return true;
  }
  // Of those that each processor has its own of; few kernels have types for others.
  const uint32_t section = Kernel()->Find(".data..percpu", BTF_KIND_DATASEC);
  const btf_type* percpu = section != 0 ? btf__type_by_id(btf, section) : nullptr;
  for (uint32_t i = 0; percpu != nullptr && i < btf_vlen(percpu); ++i) {
    if (btf_var_secinfos(percpu)[i].type != id) continue;
    uint32_t type = 0;
    SkipModifiers(btf, btf__type_by_id(btf, id)->type, &type);
    MakeBtfPointer(dst, type, kPercpu);
    return true;
  }
  return Unsupported("ksym variable");
}

// One processor's copy of what is of type `type`, the program's own or the kernel's. Of an object of the program's own, every
// processor has one; of a processor that is not there, there is none, which Linux 6.18 does not think of.
bool Transfer::PerCpuResult(uint32_t type, bool own, uint16_t null_flag) {
  Reg& r0 = reg(0);
  if (own) {
    r0.MakePointer(RegType::kBtfId, static_cast<uint16_t>(kAlloc | kRcu | kProgBtf | null_flag));
    r0.btf_id = type;
    out_->used_detail = 1;
    return true;
  }
  out_->used_detail = 2;  // for the other kind, the kernel's code reads through the pointer first
  const struct btf* btf = Kernel()->get();
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  if (t != nullptr && btf_is_composite(t)) {
    r0.MakePointer(RegType::kBtfId, null_flag);
    r0.btf_id = type;
    return true;
  }
  const int64_t size = BtfSize(btf, type);
  if (size < 0 || size > UINT32_MAX) return Unsupported("percpu-btf-id");
  r0.MakePointer(RegType::kMem, static_cast<uint16_t>(kRdonly | null_flag));
  r0.mem_size = static_cast<uint32_t>(size);
  return true;
}

// An argument of a helper that takes an object of kernel type `wanted`.
bool Transfer::BtfArg(int r, const char* wanted, bool nullable, bool release, bool strict) {
  const Reg& p = reg(r);
  if (Kernel() == nullptr || wanted == nullptr || (p.flags & kProgBtf) != 0) {
    return Unsupported("BTF-typed pointer argument");
  }
  const struct btf* btf = Kernel()->get();
  const uint32_t type = Kernel()->Find(wanted, BTF_KIND_STRUCT);
  if (type == 0) return Unsupported("BTF-typed pointer argument");
  if (p.MayBeNull() && (!nullable || release)) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("Possibly NULL pointer passed to helper arg", r));
  }
  if (StructMatches(btf, p.btf_id, p.off, type, strict)) return true;
  return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is of type ", TypeText(btf, p.btf_id), " but ", wanted,
                                                " is expected"));
}

}  // namespace bpfsieve
