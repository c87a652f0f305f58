// Objects of the kernel's own types. What a program finds in them may be anything; and what a pointer that it finds is worth
// depends on where it was found: some members always point to something that is there, some as long as readers are waited
// for, and the others may point anywhere. Such a pointer can be read through, but nothing else.
#include <bpf/btf.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_walk.h"
#include "engine/program/type_names.h"
#include "engine/spec/spec.h"
#include "fuzz/machine.h"
#include "fuzz/machine_limits.h"

namespace bpfsieve {
namespace {

// A member, also of a structure that one begins with or has in it; none: -1.
struct MemberPlace {
  int64_t at = -1, size = 0;
};
MemberPlace FindMember(const struct btf* btf, uint32_t type, std::string_view name) {
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  for (uint32_t i = 0; t != nullptr && btf_is_composite(t) && i < btf_vlen(t); ++i) {
    const btf_member& m = btf_members(t)[i];
    const int64_t at = btf_member_bit_offset(t, i) / 8;
    if (BtfName(btf, m.name_off) == name) return {at, BtfSize(btf, m.type)};
    const MemberPlace inside = FindMember(btf, m.type, name);
    if (inside.at >= 0) return {at + inside.at, inside.size};
  }
  return {};
}

bool IsContextName(std::string_view type) { return type == "xdp_md" || type == "__sk_buff"; }

}  // namespace

// Nothing is said of what it is worth.
int Machine::NewKernelObject(uint32_t type_id) {
  const int64_t size = type_id != 0 ? BtfSize(kernel_->get(), type_id) : kAnything;
  const int at = NewRegion(Region::Kind::kKernel, static_cast<uint32_t>(std::max<int64_t>(size, 0)));
  regions_.back().type_id = type_id;
  return at;
}

bool Machine::TrustedObject(const char* type, Word* out) {
  const uint32_t id = kernel_ != nullptr ? kernel_->Find(type, BTF_KIND_STRUCT) : 0;
  if (id == 0) return NotModelled(type);
  *out = PointerTo(NewKernelObject(id));
  regions_.back().trusted = true;
  return true;
}

bool Machine::IsHeld(const Region& g) const {
  return g.reference >= 0 && std::find(held_.begin(), held_.end(), g.reference) != held_.end();
}

// Whether there surely is such an object.
bool Machine::Usable(const Region& g) const {
  return g.alive && !g.untrusted && (g.trusted || IsHeld(g) || (g.rcu && Reading()));
}

void Machine::LoadMember(const Region& g, uint64_t at, int size, Word* out) {
  *out = Word::Number(size == 8 ? Value() : Value() & ((uint64_t{1} << (size * 8)) - 1));
  if (g.type_id == 0) return;
  const BtfField field = WalkStruct(kernel_->get(), g.type_id, static_cast<uint32_t>(at), static_cast<uint32_t>(size));
  if (field.kind != BtfField::Kind::kPointer && field.kind != BtfField::Kind::kOtherPointer) return;
  const auto safe = [&](const char* list) { return IsSafeField(*kernel_, g.type_id, field.name, field.type, list); };
  const bool usable = Usable(g) && field.kind == BtfField::Kind::kPointer && !field.through_union;
  bool trusted = false, rcu = false, null = false;
  // Of others nothing is said, unless the holder may be anything itself.
  const bool plain = (field.tag == BtfTag::kNone || field.tag == BtfTag::kRcu) && !field.through_union && field.kind == BtfField::Kind::kPointer &&
                     (g.plain || (Usable(g) && Reading()));
  if (usable && safe("__safe_trusted")) {
    trusted = true;
  } else if (usable && safe("__safe_trusted_or_null")) {
    trusted = null = true;
  } else if (usable && Reading()) {
    rcu = safe("__safe_rcu");
    if (!rcu) rcu = null = field.tag == BtfTag::kRcu || safe("__safe_rcu_or_null");
  }
  if (null && Random() % 3 == 0) {
    *out = Word::Number(0);
    return;
  }
  *out = PointerTo(NewKernelObject(field.kind == BtfField::Kind::kPointer ? field.type : 0));
  Region& found = regions_.back();
  found.trusted = trusted;
  found.rcu = rcu;
  found.untrusted = !trusted && !rcu;
  found.plain = plain && found.untrusted;
}

// The prototype of what the program is attached to; null: it is not known.
const btf_type* Machine::AttachedTo(bool* skips) const {
  const std::string& target = program_->attach_target;
  *skips = program_->attach == AttachType::kTraceRawTp;
  if (kernel_ == nullptr) return nullptr;
  const struct btf* btf = kernel_->get();
  uint32_t id = 0;
  if (program_->type == ProgType::kStructOps) {
    const size_t slash = target.find('/');
    const uint32_t table = kernel_->Find(target.substr(0, slash), BTF_KIND_STRUCT);
    const btf_type* t = table != 0 ? btf__type_by_id(btf, table) : nullptr;
    for (int i = 0; t != nullptr && i < btf_vlen(t); ++i) {
      if (BtfName(btf, btf_members(t)[i].name_off) == target.substr(slash + 1)) id = btf_members(t)[i].type;
    }
  } else if (*skips) {
    id = kernel_->Find("btf_trace_" + target, BTF_KIND_TYPEDEF);
  } else {
    const bool hook = program_->type == ProgType::kLsm, iter = program_->attach == AttachType::kTraceIter;
    id = kernel_->Find(absl::StrCat(hook ? "bpf_lsm_" : iter ? "bpf_iter_" : "", target), BTF_KIND_FUNC);
  }
  const btf_type* t = id != 0 ? btf__type_by_id(btf, id) : nullptr;
  while (t != nullptr && !btf_is_func_proto(t)) {
    if (!btf_is_func(t) && !btf_is_ptr(t) && !btf_is_typedef(t)) return nullptr;
    t = btf__type_by_id(btf, t->type);
  }
  return t;
}

RetRule Machine::Returns() const {
  const RetRule rule = ReturnRule(program_->type, program_->attach);
  if (program_->type != ProgType::kLsm && program_->type != ProgType::kStructOps) return rule;
  bool skips;
  const btf_type* proto = AttachedTo(&skips);
  if (proto == nullptr || proto->type == 0) return rule;
  if (program_->type == ProgType::kStructOps) return {};
  if (FindLsmHook(program_->attach_target).boolean) return {.checked = true, .range = {0, 1}, .is32 = true};
  return {.checked = true, .range = {-4095, 0}, .is32 = true};
}

// What the program is attached to passes its arguments, eight bytes each, and some also what was returned.
bool Machine::LoadArgument(uint64_t at, int size, Word* out) {
  bool skips;
  const btf_type* proto = AttachedTo(&skips);
  if (proto == nullptr) return NotModelled("what the program is attached to");
  const struct btf* btf = kernel_->get();
  const uint64_t argument = at / 8 + (skips ? 1 : 0);
  const bool hook = program_->type == ProgType::kLsm, iter = program_->attach == AttachType::kTraceIter;
  *out = Word::Number(size == 8 ? Value() : Value() & ((uint64_t{1} << (size * 8)) - 1));
  if (argument > btf_vlen(proto) || at % 8 != 0) return Fault("no such argument");
  const bool returned = argument == btf_vlen(proto);
  if (returned && !hook && program_->attach != AttachType::kTraceFexit && program_->attach != AttachType::kModifyReturn) {
    return Fault("what was returned is not there");
  }
  if (returned && hook && returns_.checked && size == 8) {
    const auto range = static_cast<uint64_t>(returns_.range.max - returns_.range.min + 1);
    *out = Word::Number(static_cast<uint64_t>(returns_.range.min) + Random() % range);
  }
  const uint32_t type = returned ? proto->type : btf_params(proto)[argument].type;
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  if (t == nullptr || !btf_is_ptr(t)) return true;
  const TargetProto* known = iter ? FindTarget(program_->attach_target) : nullptr;
  ElementArg element;
  for (int i = 0; known != nullptr && i < 2; ++i) {
    if (known->args[i].position == static_cast<int>(argument)) element = known->args[i];
  }
  const bool maybe_null = Random() % 3 == 0;
  if (element.kind == ElementArg::Kind::kBuffer || element.kind == ElementArg::Kind::kReadOnlyBuffer) {
    // How long it is has to be, what the program is for finds out.
    *out = maybe_null ? Word::Number(0) : PointerTo(NewRegion(Region::Kind::kMemory, kAnything));
    if (!maybe_null) regions_.back().writable = element.kind == ElementArg::Kind::kBuffer;
    return true;
  }
  uint32_t pointee = 0;
  if (!btf_is_composite(SkipModifiers(btf, t->type, &pointee))) return true;
  const uint32_t bit = at / 8 < 32 ? 1u << (at / 8) : 0;
  const TracepointArgs special = skips ? FindTracepoint(program_->attach_target) : TracepointArgs{};
  if ((special.error & bit) != 0) return true;  // may be an error instead
  uint32_t nullable = special.nullable;
  bool trusted = true;
  LsmHook rule;
  if (hook) {
    rule = FindLsmHook(program_->attach_target);
    trusted = !rule.untrusted && !rule.unfinished;
  } else if (program_->type == ProgType::kStructOps) {
    const size_t slash = program_->attach_target.find('/');
    const std::string table = program_->attach_target.substr(0, slash);
    nullable = FindStructOpsMember(table, program_->attach_target.substr(slash + 1)).nullable;
    // A connection, whatever the prototype says.
    if (table == "tcp_congestion_ops" && pointee == kernel_->Find("sock", BTF_KIND_STRUCT)) {
      pointee = kernel_->Find("tcp_sock", BTF_KIND_STRUCT);
    }
  } else if (iter) {
    if (element.kind != ElementArg::Kind::kNone) nullable = bit;
    trusted = element.kind != ElementArg::Kind::kObject;
  } else {
    trusted = skips;
  }
  if ((nullable & bit) != 0 && maybe_null) {
    *out = Word::Number(0);
    return true;
  }
  *out = PointerTo(NewKernelObject(pointee));
  Region& g = regions_.back();
  g.trusted = trusted;
  g.plain = !trusted && !rule.unfinished;
  g.untrusted = !trusted;
  return true;
}

// An argument of a helper that takes such an object.
bool Machine::KernelArgument(const ArgSpec& spec, const Word& w) {
  if (w.region < 0) return (w.bits == 0 && (spec.flags & kArgNullable) != 0) || Fault("an argument is not an object");
  const Region& g = region(w.region);
  if (kernel_ == nullptr || g.kind != Region::Kind::kKernel) return NotModelled("kernel objects");
  if (!g.alive) return Fault("access to memory that is gone");
  if (!Usable(g) && !g.plain) return Fault("an argument is an object that may not be there");
  const uint32_t wanted = kernel_->Find(spec.btf_name, BTF_KIND_STRUCT);
  const bool release = (spec.flags & kArgRelease) != 0;
  if (wanted == 0 || release) return NotModelled("kernel objects");
  const bool same = StructMatches(kernel_->get(), g.type_id, static_cast<int64_t>(w.bits - g.base), wanted, false);
  return same || Fault("an argument is an object of another type");
}

// Of what the kernel's are, programs that stand in for its functions may change a few members.
bool Machine::MayWriteMember(const Region& g, uint64_t at, uint64_t size) const {
  if (g.untrusted || g.type_id == 0 || !Usable(g)) return false;
  struct Member {
    const char *type, *name;
  };
  static constexpr Member kMembers[] = {
      {"tcp_sock", "snd_cwnd"}, {"tcp_sock", "snd_ssthresh"}, {"tcp_sock", "sk_pacing_rate"},
      {"tcp_sock", "sk_pacing_status"}, {"tcp_sock", "icsk_ca_priv"}, {"tcp_sock", "pending"}, {"nf_conn", "mark"}};
  const struct btf* btf = kernel_->get();
  const std::string_view type = EssentialName(BtfTypeName(btf, g.type_id));
  if (type == "bpf_dummy_ops_state") return program_->type == ProgType::kStructOps;
  for (const Member& each : kMembers) {
    if (type != each.type || (program_->type != ProgType::kStructOps) != (type == "nf_conn")) continue;
    const MemberPlace place = FindMember(btf, g.type_id, each.name);
    const bool inside = place.at >= 0 && at >= static_cast<uint64_t>(place.at) &&
                        at + size <= static_cast<uint64_t>(place.at + place.size);
    if (inside) return true;
  }
  return false;
}

// A function that takes and returns what its prototype says.
bool Machine::CallTyped(const TypedKfunc& function, uint32_t id) {
  const struct btf* btf = kernel_->get();
  const btf_type* func = id != 0 ? btf__type_by_id(btf, id) : nullptr;
  if (func == nullptr || !btf_is_func(func)) return NotModelled(absl::StrCat("kfunc: ", std::string(function.name)));
  const btf_type* proto = btf__type_by_id(btf, func->type);
  const auto has = [&](uint16_t flags) { return (function.flags & flags) != 0; };
  if (!locks_.empty()) return Fault("a kernel function is called with a lock held");
  if (has(kKfuncSleepable) && !MaySleep()) return Fault("a kernel function may sleep where that is not allowed");
  for (int r = 1; r <= btf_vlen(proto); ++r) {
    const btf_param& param = btf_params(proto)[r - 1];
    if (BtfName(btf, param.name_off).ends_with("__ign")) continue;
    if (!Read(r)) return false;
    const Word w = reg(r);
    const btf_type* t = SkipModifiers(btf, param.type, nullptr);
    if (!btf_is_ptr(t)) continue;
    uint32_t pointee = 0;
    if (BtfName(btf, param.name_off).ends_with("__map")) {
      if (w.region < 0 || region(w.region).kind != Region::Kind::kMap) return Fault("an argument is not a map");
      continue;
    }
    if (!btf_is_composite(SkipModifiers(btf, t->type, &pointee))) return NotModelled("memory of a kernel function");
    if (w.region == context_ && w.bits == region(context_).base && IsContextName(BtfTypeName(btf, pointee))) continue;
    if (w.region >= 0 && region(w.region).kind == Region::Kind::kMap && BtfTypeName(btf, pointee) == "bpf_map") continue;
    const bool sized = r < btf_vlen(proto) && BtfName(btf, btf_params(proto)[r].name_off).ends_with("__sz");
    if (sized || (w.region >= 0 && region(w.region).kind != Region::Kind::kKernel)) {
      uint64_t at;
      if (sized && !Read(r + 1)) return false;
      const uint64_t size = sized ? static_cast<uint32_t>(reg(r + 1).bits) : static_cast<uint64_t>(BtfSize(btf, pointee));
      if (!Reach(w, 0, size, false, &at) || !Reach(w, 0, size, true, &at)) return false;
      Scramble(w, size);
      continue;
    }
    if (w.region < 0) return Fault("an argument is not an object");
    const Region& g = region(w.region);
    if (g.kind != Region::Kind::kKernel) return NotModelled("kernel objects");
    if (!g.alive) return Fault("access to memory that is gone");
    // A type and one named after it with ___init are told apart.
    if (BtfTypeName(btf, g.type_id).ends_with("___init") != BtfTypeName(btf, pointee).ends_with("___init")) {
      return Fault("an argument is an object of another type");
    }
    const bool good = has(kKfuncRelease) ? IsHeld(g) : has(kKfuncRcu) ? Usable(g) : g.trusted || IsHeld(g);
    if (!good || g.untrusted) return Fault("an argument is an object that may not be there");
    if (!StructMatches(btf, g.type_id, static_cast<int64_t>(w.bits - g.base), pointee, false)) {
      return Fault("an argument is an object of another type");
    }
  }
  const Word first = reg(1);
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  ++pc_;
  if (has(kKfuncRelease)) EndReference(region(first.region).reference);
  const btf_type* returns = proto->type != 0 ? SkipModifiers(btf, proto->type, nullptr) : nullptr;
  if (returns == nullptr) return true;
  reg(0) = Word::Number(Value());
  if (!btf_is_ptr(returns)) return true;
  if (has(kKfuncRetNull) && Random() % 3 == 0) {
    reg(0) = Word::Number(0);
    return true;
  }
  uint32_t pointee = 0;
  const btf_type* result = SkipModifiers(btf, returns->type, &pointee);
  if (btf_is_void(result)) return true;
  if (!btf_is_composite(result)) return NotModelled("memory of a kernel function");
  reg(0) = PointerTo(NewKernelObject(pointee));
  Region& made = regions_.back();
  if (has(kKfuncAcquire)) {
    made.reference = next_reference_;
    held_.push_back(next_reference_++);
  } else {
    made.untrusted = true;
  }
  return true;
}

bool Machine::Cast(KfuncKind kind, Word* result) {
  if (kernel_ == nullptr) return NotModelled("kernel objects");
  if (kind == KfuncKind::kCastToReadOnly) {
    *result = PointerTo(NewKernelObject(static_cast<uint32_t>(reg(2).bits)));
    regions_.back().untrusted = true;
    return true;
  }
  if (reg(1).region != context_ || reg(1).bits != region(context_).base) return Fault("an argument is not the context");
  return TrustedObject(program_->type == ProgType::kXdp ? "xdp_buff" : "sk_buff", result);
}

}  // namespace bpfsieve
