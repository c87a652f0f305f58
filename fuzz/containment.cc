#include "fuzz/containment.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/explore/path.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxItems = 400'000;  // about 40 MiB
constexpr uint64_t kSpilled = 0x0101010101010101 * static_cast<uint64_t>(SlotByte::kSpill);  // all of a slot

bool Member(const Scalar& r, uint64_t v) {
  const auto s = static_cast<int64_t>(v);
  const auto u32 = static_cast<uint32_t>(v);
  const auto s32 = static_cast<int32_t>(v);
  return r.var_off.Contains(v) && r.umin <= v && v <= r.umax && r.smin <= s && s <= r.smax && r.u32_min <= u32 &&
         u32 <= r.u32_max && r.s32_min <= s32 && s32 <= r.s32_max;
}

// The pointer's variable part, if its fixed part starts from `origin`.
bool OffsetWithin(const Reg& r, uint64_t bits, uint64_t origin) {
  return Member(r.s, bits - origin - static_cast<uint64_t>(int64_t{r.off}));
}

bool PacketHolds(const Reg& r, const Word& w, const Region& g) {
  if (g.kind != Region::Kind::kPacket) return false;
  const uint64_t data = g.base + g.data_at, end = g.base + g.size;
  if (r.type == RegType::kPacketEnd) return w.bits == end;
  const bool meta = r.type == RegType::kPacketMeta;
  const uint64_t limit = meta ? data : end;
  if (!OffsetWithin(r, w.bits, meta ? g.base : data)) return false;
  if (r.range == kAtPktEnd) return w.bits >= limit;
  if (r.range == kBeyondPktEnd) return w.bits > limit;
  return r.range == 0 || w.bits - static_cast<uint64_t>(int64_t{r.off}) + static_cast<uint64_t>(r.range) <= limit;
}

// Whether the word is one of those that the register stands for.
bool PointerHolds(const Reg& r, const Word& w, const Machine& machine);
inline bool Holds(const Reg& r, const Word& w, const Machine& machine) {
  if (r.IsScalar()) return w.set && Member(r.s, w.bits);
  return r.type == RegType::kNotInit || (w.set && PointerHolds(r, w, machine));
}
bool PointerHolds(const Reg& r, const Word& w, const Machine& machine) {
  if (w.region < 0) return r.MayBeNull() && w.bits == 0;
  const Region& g = machine.region(w.region);
  if (!g.alive) return false;
  switch (r.type) {
    case RegType::kStack: {
      const int frame = machine.base_frame() + r.frameno;
      return frame < machine.frame_count() && machine.frame(frame).stack_region == w.region &&
             OffsetWithin(r, w.bits, g.base + g.size);
    }
    case RegType::kMapValue:
      // Before it is known not to be null, what a socket map or a map of maps gives counts as its value.
      if (r.MayBeNull() && g.kind != Region::Kind::kMapValue) return true;
      return g.kind == Region::Kind::kMapValue && g.map == r.map && OffsetWithin(r, w.bits, g.base);
    case RegType::kMem:
      if (r.Has(kUntrusted)) return true;
      return g.kind == Region::Kind::kMemory && g.size >= r.mem_size && OffsetWithin(r, w.bits, g.base);
    case RegType::kArena: return g.kind == Region::Kind::kArena;
    case RegType::kBuf:
      return g.kind == Region::Kind::kMemory && g.writable != r.Has(kRdonly) && OffsetWithin(r, w.bits, g.base);
    case RegType::kCtx: return g.kind == Region::Kind::kContext && OffsetWithin(r, w.bits, g.base);
    case RegType::kConstMapPtr: return g.kind == Region::Kind::kMap && g.map == r.map;
    case RegType::kPacket:
    case RegType::kPacketMeta:
    case RegType::kPacketEnd: return PacketHolds(r, w, g);
    case RegType::kSocket:
    case RegType::kSockCommon:
    case RegType::kTcpSock:
    case RegType::kXdpSock: return g.kind == Region::Kind::kSocket && OffsetWithin(r, w.bits, g.base);
    case RegType::kDynptr: return g.kind == Region::Kind::kDynptr && w.bits == g.base;
    case RegType::kMapKey: return g.kind == Region::Kind::kMemory && !g.writable && OffsetWithin(r, w.bits, g.base);
    case RegType::kBtfId:
      if (!r.Has(kProgBtf)) {
        // Others may point anywhere.
        if (!r.Has(kTrusted) && !r.Has(kRcu) && r.ref_obj_id == 0) return true;
        return g.kind == Region::Kind::kKernel && g.type_id == r.btf_id && !g.untrusted && (r.Has(kRcu) || !g.rcu) &&
               OffsetWithin(r, w.bits, g.base);
      }
      if (!r.IsObject()) return true;
      return g.kind == Region::Kind::kObject && g.type_id == r.btf_id && !g.untrusted && g.percpu == r.Has(kPercpu) &&
             OffsetWithin(r, w.bits, g.base);
    case RegType::kFlowKeys: return g.kind == Region::Kind::kFlowKeys && OffsetWithin(r, w.bits, g.base);
    default: return true;
  }
}

// The values that share an id, as far as one comparison meets them.
class Links {
 public:
  bool Check(const Reg& r, const Word& w) {
    if (r.IsScalar()) return CheckNumber(r, w.bits);
    if (r.id == 0) return true;
    // Of packet pointers the place without the fixed offset is the same, of others the object, or that there is none.
    const uint64_t place = r.IsPacket() ? w.bits - static_cast<uint64_t>(int64_t{r.off})
                                        : static_cast<uint64_t>(int64_t{w.region} + 1);
    return Same(r.id, place, false);
  }

 private:
  static constexpr int kMax = 24;

  bool CheckNumber(const Reg& r, uint64_t bits) {
    const uint32_t id = r.id & ~kAddConst;
    if (id == 0) return true;
    const uint64_t distance = (r.id & kAddConst) != 0 ? static_cast<uint64_t>(int64_t{r.off}) : 0;
    const bool low = (r.id & kAddConst32) != 0;
    return Same(id, bits - distance, low);
  }

  bool Same(uint32_t id, uint64_t value, bool low) {
    for (int i = 0; i < n_; ++i) {
      if (ids_[i] != id) continue;
      const bool equal = low || low_[i] ? static_cast<uint32_t>(values_[i]) == static_cast<uint32_t>(value)
                                        : values_[i] == value;
      if (!equal) return false;
    }
    if (n_ < kMax) {
      ids_[n_] = id;
      low_[n_] = low;
      values_[n_++] = value;
    }
    return true;
  }

  int n_ = 0;
  uint32_t ids_[kMax];
  bool low_[kMax];
  uint64_t values_[kMax];
};

// Whether there is what the slot, one of a frame of the machine's, is thought to be a part of.
bool ObjectHolds(const StateLog::Item& item, int frame, const Machine& machine) {
  using Kind = Machine::StackObject::Kind;
  const Reg& r = item.reg;
  switch (r.type) {
    case RegType::kDynptr: {
      const bool first = (r.dynptr & kDynptrFirst) != 0;
      const Machine::StackObject* d = machine.ObjectAt(frame, item.index + (first ? 0 : 1));
      return d != nullptr && d->kind == Kind::kDynptr && (d->dynptr == r.Dynptr() || r.Dynptr() == DynptrKind::kAny) &&
             (d->reference >= 0) == (r.ref_obj_id != 0);
    }
    case RegType::kIter: {
      const IterProto& type = FindIter(static_cast<IterType>(r.iter));
      for (int i = 0; i < type.slots; ++i) {
        const Machine::StackObject* it = machine.ObjectAt(frame, item.index + i);
        if (it != nullptr) return it->kind == Kind::kIterator && static_cast<uint32_t>(it->iter) == r.iter;
      }
      return false;
    }
    case RegType::kIrq: {
      const Machine::StackObject* flag = machine.ObjectAt(frame, item.index);
      return flag != nullptr && flag->kind == Kind::kIrqFlag;
    }
    default: return true;
  }
}

bool SlotHolds(const StateLog::Item& item, int frame, const Word& w, const Machine& machine, Links& links) {
  SlotByte kinds[kSlotBytes];
  std::memcpy(kinds, &item.bytes, sizeof kinds);
  if (item.bytes == kSpilled) return Holds(item.reg, w, machine) && links.Check(item.reg, w);
  if (IsObject(kinds[0])) return ObjectHolds(item, frame, machine);
  int spilled = 0;
  while (spilled < kSlotBytes && kinds[kSlotBytes - 1 - spilled] == SlotByte::kSpill) ++spilled;
  if (spilled > 0 && item.reg.IsScalar()) {
    // The lowest bytes of the register.
    Scalar low = item.reg.s;
    uint64_t bits = w.bits;
    if (spilled == 1 || spilled == 2 || spilled == 4) {
      CoerceToSize(low, spilled);
      bits &= (uint64_t{1} << (spilled * 8)) - 1;
      if (!Member(low, bits)) return false;
    }
  }
  for (int i = 0; i < kSlotBytes; ++i) {
    if (kinds[i] == SlotByte::kZero && (w.bits >> ((kSlotBytes - 1 - i) * 8) & 0xff) != 0) return false;
  }
  return true;
}

bool ItemHolds(const StateLog::Item& item, const Machine& machine, Links& links) {
  const int frame = machine.base_frame() + item.frame;
  if (item.slot) return SlotHolds(item, frame, machine.StackWord(frame, item.index), machine, links);
  const Word& r = machine.frame(frame).regs[item.index];
  return Holds(item.reg, r, machine) && links.Check(item.reg, r);
}

// What is claimed, and what is there.
std::string Describe(const StateLog::Item& item, const Machine& machine) {
  const int frame = machine.base_frame() + item.frame;
  const Word w = item.slot ? machine.StackWord(frame, item.index) : machine.frame(frame).regs[item.index];
  std::string text = item.slot ? absl::StrCat("fp", -8 * (item.index + 1)) : absl::StrCat("R", int{item.index});
  if (machine.frame_count() - machine.base_frame() > 1) absl::StrAppend(&text, " of frame ", int{item.frame});
  absl::StrAppend(&text, " = ");
  if (item.slot) absl::StrAppend(&text, "bytes 0x", absl::Hex(item.bytes), " of ");
  AppendReg(text, item.reg, item.frame, machine.maps());
  if (!w.set) return absl::StrCat(text, ", but was never set");
  if (w.region < 0) return absl::StrCat(text, ", but is the number 0x", absl::Hex(w.bits));
  const Region& g = machine.region(w.region);
  return absl::StrCat(text, ", but is a pointer to ", g.alive ? "" : "what was ", "region ", w.region, " (kind ",
                      static_cast<int>(g.kind), ", ", g.size, " bytes) plus ", static_cast<int64_t>(w.bits - g.base));
}

StateLog::Held HeldIn(const State& state) {
  StateLog::Held held{.locks = state.active_locks, .rcu = state.rcu_locks, .preempt = state.preempt_locks};
  for (const Ref& ref : state.refs) {
    held.references += ref.kind == Ref::Kind::kPointer;
    held.irq += ref.kind == Ref::Kind::kIrq;
  }
  return held;
}

}  // namespace

void StateLog::Clear(size_t insns) {
  ends_.assign(insns, Ends{});
  entries_.clear();
  items_.clear();
  steps_.clear();
  last_ = kNone;
  full_ = imprecise_ = false;
}

bool StateLog::OneStep(const Context& context, uint32_t insn, const State& state) {
  const Cfg::Place& here = context.cfg->at[insn];
  // Where no state is compared, no jump leads to: there is one way to it, from the instruction before.
  if (last_ == kNone || here.prune_point || last_ + (context.cfg->at[last_].edge == Edge::kOver ? 2 : 1) != insn) return false;
  if (HeldIn(state) != entries_.back().held) return false;
  const Insn& done = context.program->insns[last_];
  const Frame& frame = *state.frames[state.cur];
  const Reg& dst = frame.regs[done.dst];
  const bool alu = Class(done) == kClassAlu || Class(done) == kClassAlu64;
  const auto cur = static_cast<uint8_t>(state.cur);
  Step step{.insn = insn};
  if (alu || Class(done) == kClassLdx || IsLdImm64(done)) {
    // The search goes two ways on from a mask of signs (ForkScalar), and either state is to be found.
    if (alu && (AluOp(done) == kAnd || AluOp(done) == kOr) && static_cast<uint32_t>(dst.s.var_off.mask) == 0) return false;
    if (dst.id != 0) return false;  // it may have to be equal to others
    const bool known = dst.type != RegType::kNotInit && !(dst.IsScalar() && dst.s.IsUnknown());
    if (known && (here.live_regs >> done.dst & 1) != 0) {
      step.item = static_cast<uint32_t>(items_.size());
      items_.emplace_back(dst, 0, cur, done.dst, false);
    }
  } else if (Class(done) == kClassSt || (Class(done) == kClassStx && Mode(done) == kModeMem)) {
    if (dst.type == RegType::kStack) {
      if (dst.frameno != state.cur || !dst.s.IsConst()) return false;
      const int64_t at = dst.off + static_cast<int64_t>(dst.s.var_off.value) + done.off;
      const int64_t s = (-at - 1) / kSlotBytes;
      if (at >= 0 || s >= frame.slots || (-(at + AccessBytes(done) - 1) - 1) / kSlotBytes != s) return false;
      const StackSlot& slot = frame.slot(static_cast<int>(s));
      if (slot.spilled.id != 0 || (Class(done) == kClassStx && frame.regs[done.src].id != 0)) return false;
      const bool live = (context.liveness->LiveOwn(frame.instance, insn) >> s & 1) != 0;
      if (live && !slot.AllUnknown()) {
        step.item = static_cast<uint32_t>(items_.size());
        items_.emplace_back(slot.spilled, slot.Word(), cur, static_cast<uint8_t>(s), true);
      }
    }
  } else {
    return false;
  }
  steps_.push_back(step);
  ++entries_.back().steps;
  return true;
}

void StateLog::At(const Context& context, uint32_t insn, const State& state) {
  if (state.speculative || imprecise_) return;
  if (items_.size() > kMaxItems) {
    full_ = true;
    return;
  }
  const bool one_step = OneStep(context, insn, state);
  last_ = insn;
  if (one_step) return;
  Entry e;
  e.first = static_cast<uint32_t>(items_.size());
  e.first_step = static_cast<uint32_t>(steps_.size());
  e.frames = state.cur + 1;
  e.held = HeldIn(state);
  LiveMasks live = LiveAt(context, state, insn, state.cur);
  // Where a helper calls back, it is to the call that the search comes back, and there that it compares: what is dead then is
  // dead in the function as well, though alone it is thought to read everything.
  for (int f = 1; f <= state.cur; ++f) {
    if (!state.frames[f]->in_callback) continue;
    const LiveMasks call = LiveAt(context, state, static_cast<uint32_t>(state.frames[f]->callsite), f - 1);
    for (int g = 0; g < f; ++g) {
      live.regs[g] &= call.regs[g];
      live.slots[g] &= call.slots[g];
    }
  }
  for (int f = 0; f <= state.cur; ++f) {
    const Frame& frame = *state.frames[f];
    e.callsites[f] = frame.callsite;
    for (uint32_t m = live.regs[f] & 0x3ffu; m != 0; m &= m - 1) {
      const int r = std::countr_zero(m);
      const Reg& reg = frame.regs[static_cast<size_t>(r)];
      if (reg.type == RegType::kNotInit || (reg.IsScalar() && reg.id == 0 && reg.s.IsUnknown())) continue;
      items_.emplace_back(reg, 0, static_cast<uint8_t>(f), static_cast<uint8_t>(r), false);
    }
    const uint64_t used = frame.slots == kMaxSlots ? ~uint64_t{0} : (uint64_t{1} << frame.slots) - 1;
    for (uint64_t m = live.slots[f] & used; m != 0; m &= m - 1) {
      const int s = std::countr_zero(m);
      const StackSlot& slot = frame.slot(s);
      if (slot.AllUnknown()) continue;
      items_.emplace_back(slot.spilled, slot.Word(), static_cast<uint8_t>(f), static_cast<uint8_t>(s), true);
    }
  }
  e.count = static_cast<uint32_t>(items_.size()) - e.first;
  const auto at = static_cast<uint32_t>(entries_.size());
  Ends& ends = ends_[insn];
  (ends.newest == kNone ? ends.oldest : entries_[ends.newest].newer) = at;
  ends.newest = at;
  entries_.push_back(e);
}

bool Containment::Matches(const Machine& machine, const StateLog::Entry& entry, std::string* why) const {
  const int base = machine.base_frame();
  if (entry.frames != machine.frame_count() - base) {
    if (why != nullptr) *why = "another depth of calls";
    return false;
  }
  for (int f = 1; f < entry.frames; ++f) {
    if (entry.callsites[f] != machine.frame(base + f).callsite) {
      if (why != nullptr) *why = "called from elsewhere";
      return false;
    }
  }
  // A function that is verified on its own starts without what its callers hold. What was acquired may be null and is then
  // not held, but known until that is checked.
  if (base == 0 && machine.held() > entry.held.references) {
    if (why != nullptr) *why = absl::StrCat(machine.held(), " references are held, ", entry.held.references, " known");
    return false;
  }
  if (machine.locks() != entry.held.locks) {
    if (why != nullptr) *why = machine.locks() > entry.held.locks ? "a lock is held that is not known" : "a lock is not held";
    return false;
  }
  if (machine.rcu() != entry.held.rcu || machine.preempt() != entry.held.preempt || machine.irq() != entry.held.irq) {
    if (why != nullptr) *why = "a section is open that is not known, or the other way round";
    return false;
  }
  Links links;
  const StateLog::Item* items = states_->items(entry);
  for (uint32_t i = 0; i < entry.count; ++i) {
    if (ItemHolds(items[i], machine, links)) continue;
    if (why != nullptr) *why = Describe(items[i], machine);
    return false;
  }
  return true;
}

bool Containment::MatchesStep(const Machine& machine, const StateLog::Step& step) {
  Links links;
  if (step.item == StateLog::kNone || ItemHolds(states_->item(step.item), machine, links)) return true;
  violation_ = Describe(states_->item(step.item), machine);
  return false;
}

bool Containment::Before(const Machine& machine, uint32_t insn) {
  if (!visits_.Visited(insn)) {
    unvisited_ = true;
    violation_ = "executed, but never looked at";
    return false;
  }
  if (states_ == nullptr) return true;
  if (entry_ != StateLog::kNone) {
    const StateLog::Step* step = states_->step(states_->entry(entry_), steps_);
    if (step != nullptr && step->insn == insn) {
      ++steps_;
      return MatchesStep(machine, *step);
    }
  }
  return FindEntry(machine, insn);
}

bool Containment::FindEntry(const Machine& machine, uint32_t insn) {
  uint32_t& matched = matched_[insn];
  const uint32_t last = matched;
  const uint32_t next = last == StateLog::kNone ? StateLog::kNone : states_->entry(last).newer;
  for (uint32_t at : {next, last}) {
    if (at == StateLog::kNone || !Matches(machine, states_->entry(at), nullptr)) continue;
    entry_ = matched = at;
    steps_ = 0;
    return true;
  }
  for (uint32_t at = states_->oldest(insn); at != StateLog::kNone; at = states_->entry(at).newer) {
    if (at == next || at == last || !Matches(machine, states_->entry(at), nullptr)) continue;
    entry_ = matched = at;
    steps_ = 0;
    return true;
  }
  int n = 0;
  for (uint32_t at = states_->oldest(insn); at != StateLog::kNone && n < 4; at = states_->entry(at).newer, ++n) {
    std::string why;
    Matches(machine, states_->entry(at), &why);
    absl::StrAppend(&violation_, n == 0 ? "" : "; ", why);
  }
  if (n == 0) violation_ = "executed, but no state was recorded";
  return false;
}

}  // namespace bpfsieve
