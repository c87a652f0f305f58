// States in the notation of the kernel's log (kernel/bpf/log.c of Linux 6.18 prints the same for the same state).
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/spec/spec.h"
#include "engine/state/state.h"

namespace bpfsieve {
namespace {

void Item(std::string& out, bool* comma, const std::string& text) {
  if (*comma) out += ',';
  *comma = true;
  out += text;
}

bool SameReg(const Reg& a, const Reg& b) { return std::memcmp(&a, &b, sizeof(Reg)) == 0; }

bool SameSlot(const StackSlot& a, const StackSlot& b) {
  if (std::memcmp(a.bytes, b.bytes, kSlotBytes) != 0) return false;
  return (!a.IsSpill() && !a.IsObject()) || SameReg(a.spilled, b.spilled);
}

char SlotChar(SlotByte b) {
  switch (b) {
    case SlotByte::kInvalid: return '?';
    case SlotByte::kSpill: return 'r';
    case SlotByte::kMisc: return 'm';
    case SlotByte::kZero: return '0';
    case SlotByte::kIter: return 'i';
    case SlotByte::kDynptr: return 'd';
    case SlotByte::kIrq: return 'f';
  }
  return '?';
}

}  // namespace

const char* DynptrKindName(DynptrKind kind) {
  switch (kind) {
    case DynptrKind::kNone: break;
    case DynptrKind::kAny:  // as which the kernel has it
    case DynptrKind::kLocal: return "local";
    case DynptrKind::kRingbuf: return "ringbuf";
    case DynptrKind::kSkb: return "skb";
    case DynptrKind::kXdp: return "xdp";
    case DynptrKind::kSkbMeta: return "skb_meta";
  }
  return "";
}

void AppendReg(std::string& out, const Reg& reg, int frameno, const std::vector<MapDef>& maps) {
  if (reg.IsScalar() && reg.s.IsConst()) {
    AppendLogSigned(out, static_cast<int64_t>(reg.s.ConstValue()));
    return;
  }
  out += RegTypeName(reg);
  if (reg.type == RegType::kArena) return;
  if (reg.type == RegType::kStack) {
    if (reg.frameno != frameno) absl::StrAppend(&out, "[", reg.frameno, "]");
    if (reg.s.IsConst()) {
      AppendLogSigned(out, static_cast<int64_t>(reg.s.ConstValue()) + reg.off);
      return;
    }
  }
  bool comma = false;
  out += '(';
  if (reg.id != 0) Item(out, &comma, absl::StrCat("id=", reg.id & ~kAddConst));
  if ((reg.id & kAddConst) != 0) absl::StrAppend(&out, reg.off >= 0 ? "+" : "", reg.off);
  if (reg.ref_obj_id != 0) Item(out, &comma, absl::StrCat("ref_obj_id=", reg.ref_obj_id));
  if (reg.IsObject() && reg.Has(kNonOwnRef)) Item(out, &comma, "non_own_ref");
  if (reg.type == RegType::kConstMapPtr || reg.type == RegType::kMapValue || reg.type == RegType::kMapKey) {
    const MapDef& map = maps[reg.map];
    if (!map.name.empty()) Item(out, &comma, absl::StrCat("map=", map.name.substr(0, 15)));
    Item(out, &comma, absl::StrCat("ks=", map.key_size, ",vs=", map.value_size));
  }
  if (!reg.IsScalar() && reg.off != 0) {
    Item(out, &comma, "off=");
    AppendLogSigned(out, reg.off);
  }
  if (reg.IsPacket()) {
    Item(out, &comma, "r=");
    AppendLogNumber(out, static_cast<uint64_t>(static_cast<int64_t>(reg.range)));
  }
  if (reg.type == RegType::kMem) {
    Item(out, &comma, "sz=");
    AppendLogNumber(out, reg.mem_size);
  }
  if (reg.s.IsConst()) {
    if (reg.s.ConstValue() != 0) {
      Item(out, &comma, "imm=");
      AppendLogSigned(out, static_cast<int64_t>(reg.s.ConstValue()));
    }
  } else {
    AppendScalarRanges(out, reg.s, &comma);
  }
  out += ')';
}

void AppendFrame(std::string& out, const State& state, int frame, const std::vector<MapDef>& maps,
                 const Frame* before, uint16_t also_regs, int also_slot) {
  const Frame& f = *state.frames[frame];
  if (f.frameno != 0) absl::StrAppend(&out, " frame", f.frameno, ":");
  for (int i = 0; i < kMaxReg; ++i) {
    if (f.regs[i].type == RegType::kNotInit) continue;
    if (before != nullptr && (also_regs >> i & 1) == 0 && SameReg(before->regs[i], f.regs[i])) continue;
    absl::StrAppend(&out, " R", i, "=");
    AppendReg(out, f.regs[i], f.frameno, maps);
  }
  for (int i = 0; i < f.slots; ++i) {
    const StackSlot& slot = f.slot(i);
    if (before != nullptr && i != also_slot && i < before->slots && SameSlot(before->slot(i), slot)) continue;
    if (slot.IsDynptr()) {
      if (!slot.IsFirstOfDynptr()) continue;
      absl::StrAppend(&out, " fp", -(i + 1) * kSlotBytes, "=dynptr_", DynptrKindName(slot.spilled.Dynptr()), "(id=",
                      slot.spilled.id);
      if (slot.spilled.ref_obj_id != 0) absl::StrAppend(&out, ",ref_id=", slot.spilled.ref_obj_id);
      out += ')';
      continue;
    }
    if (slot.IsIter()) {
      // Of several slots, the first stands for all.
      if (slot.spilled.ref_obj_id == 0) continue;
      const IterProto& type = FindIter(static_cast<IterType>(slot.spilled.iter));
      const bool drained = (slot.spilled.flags & kIterDrained) != 0;
      absl::StrAppend(&out, " fp", -(i + 1) * kSlotBytes, "=iter_", std::string(type.name), "(ref_id=",
                      slot.spilled.ref_obj_id, ",state=", drained ? "drained" : "active", ",depth=", slot.spilled.off, ")");
      continue;
    }
    std::string bytes;
    bool valid = false;
    for (SlotByte b : slot.bytes) {
      valid |= b != SlotByte::kInvalid;
      if (slot.IsSpill() && b == SlotByte::kSpill) break;
      bytes += SlotChar(b);
    }
    if (!valid) continue;
    absl::StrAppend(&out, " fp", -(i + 1) * kSlotBytes, "=", bytes);
    if (slot.IsSpill()) AppendReg(out, slot.spilled, f.frameno, maps);
  }
  bool first = true;
  for (const Ref& ref : state.refs) {
    absl::StrAppend(&out, first ? " refs=" : ",", ref.id);
    first = false;
  }
  if (f.in_callback) out += " cb";
}

}  // namespace bpfsieve
