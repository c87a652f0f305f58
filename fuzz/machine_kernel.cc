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

namespace bpfsieve {
namespace {

constexpr uint32_t kAnything = 1u << 30;  // bytes

}  // namespace

// Nothing is said of what it is worth.
int Machine::NewKernelObject(uint32_t type_id) {
  const int64_t size = type_id != 0 ? BtfSize(kernel_->get(), type_id) : kAnything;
  const int at = NewRegion(Region::Kind::kKernel, static_cast<uint32_t>(std::max<int64_t>(size, 0)));
  regions_.back().type_id = type_id;
  return at;
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
}

// What a tracing program is attached to passes its arguments, eight bytes each.
bool Machine::LoadArgument(uint64_t at, int size, Word* out) {
  if (kernel_ == nullptr) return NotModelled("tracing programs");
  const bool tracepoint = program_->attach == AttachType::kTraceRawTp;
  const std::string name = tracepoint ? absl::StrCat("btf_trace_", program_->attach_target) : program_->attach_target;
  const uint32_t id = kernel_->Find(name, tracepoint ? BTF_KIND_TYPEDEF : BTF_KIND_FUNC);
  const struct btf* btf = kernel_->get();
  const btf_type* proto = id != 0 ? btf__type_by_id(btf, btf__type_by_id(btf, id)->type) : nullptr;
  if (proto != nullptr && btf_is_ptr(proto)) proto = btf__type_by_id(btf, proto->type);
  if (proto == nullptr || !btf_is_func_proto(proto)) return NotModelled("tracing programs");
  const uint64_t argument = at / 8 + (tracepoint ? 1 : 0);
  *out = Word::Number(size == 8 ? Value() : Value() & ((uint64_t{1} << (size * 8)) - 1));
  if (argument > btf_vlen(proto) || at % 8 != 0) return Fault("no such argument");
  const uint32_t type = argument == btf_vlen(proto) ? proto->type : btf_params(proto)[argument].type;
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  uint32_t pointee = 0;
  if (t == nullptr || !btf_is_ptr(t) || !btf_is_composite(SkipModifiers(btf, t->type, &pointee))) return true;
  const TracepointArgs special = tracepoint ? FindTracepoint(program_->attach_target) : TracepointArgs{};
  if ((special.error >> (at / 8) & 1) != 0) return true;  // may be an error instead
  if ((special.nullable >> (at / 8) & 1) != 0 && Random() % 3 == 0) {
    *out = Word::Number(0);
    return true;
  }
  *out = PointerTo(NewKernelObject(pointee));
  (tracepoint ? regions_.back().trusted : regions_.back().untrusted) = true;
  return true;
}

// A function that takes and returns what its prototype says.
bool Machine::CallTyped(const TypedKfunc& function, uint32_t id) {
  const struct btf* btf = kernel_->get();
  const btf_type* func = id != 0 ? btf__type_by_id(btf, id) : nullptr;
  if (func == nullptr || !btf_is_func(func)) return NotModelled(absl::StrCat("kfunc: ", std::string(function.name)));
  const btf_type* proto = btf__type_by_id(btf, func->type);
  const auto has = [&](uint16_t flags) { return (function.flags & flags) != 0; };
  if (locked_) return Fault("a kernel function is called with a lock held");
  if (has(kKfuncSleepable) && !MaySleep()) return Fault("a kernel function may sleep where that is not allowed");
  for (int r = 1; r <= btf_vlen(proto); ++r) {
    const btf_param& param = btf_params(proto)[r - 1];
    if (BtfName(btf, param.name_off).ends_with("__ign")) continue;
    if (!Read(r)) return false;
    const Word w = reg(r);
    const btf_type* t = SkipModifiers(btf, param.type, nullptr);
    if (!btf_is_ptr(t)) continue;
    uint32_t pointee = 0;
    if (!btf_is_composite(SkipModifiers(btf, t->type, &pointee))) return NotModelled("memory of a kernel function");
    if (w.region < 0) return Fault("an argument is not an object");
    const Region& g = region(w.region);
    if (g.kind != Region::Kind::kKernel) return NotModelled("kernel objects");
    if (!g.alive) return Fault("access to memory that is gone");
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
  if (!btf_is_composite(SkipModifiers(btf, returns->type, &pointee))) return NotModelled("memory of a kernel function");
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
  const uint32_t type = kernel_->Find(program_->type == ProgType::kXdp ? "xdp_buff" : "sk_buff", BTF_KIND_STRUCT);
  if (type == 0) return NotModelled("kernel objects");
  *result = PointerTo(NewKernelObject(type));
  regions_.back().trusted = true;
  return true;
}

}  // namespace bpfsieve
