// Which stack slots may still be read, by instruction and calling context.
//
// Forward, from each context's arguments: where registers and spilled registers point (stack_value.h), and with that what
// every instruction reads and overwrites of which frame, and in which contexts its calls enter other functions. Backward,
// callees first: a slot is live where something behind reads it before all of it is overwritten.
//
// Turned down:
//  - collecting reads on the way, as Linux 6.18 does: what a recorded state means then depends on what was explored before
//    it, and helpers that run ahead could no longer compare with it (docs/architecture.md);
//  - numbers in registers as ranges: the verifier forgets what it knows of them in loops over iterators, and then reads
//    more than ranges worked out here would say. Only constants in straight line are sure;
//  - leaving out code behind conditions that never hold: which these are only the verifier knows, path by path. This is
//    where most of the instructions come from that we process and the kernel does not.
#include "engine/program/liveness.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/program/stack_flow.h"
#include "engine/program/stack_value.h"

namespace bpfsieve {
namespace {

using stack_flow::Block, stack_flow::Flow;
using stack_value::AlignedSlot, stack_value::Join, stack_value::kSlots, stack_value::kUnknownSize,
    stack_value::SlotMask, stack_value::SlotsAt, stack_value::Value;

constexpr int kLevels = 8;           // MAX_CALL_FRAMES; level 0 is the frame itself, 1 its caller's
constexpr uint8_t kOwn = 1;          // bit 0 of a mask of levels
constexpr uint64_t kAll = ~uint64_t{0};

// Instance 0 stands for "we do not know": everything is live.
constexpr int kEverything = 0;

// Beyond these the answer is "everything is live": contexts, instructions visited, mask words kept, and blocks of one
// subprogram, which take 312 bytes each while it is analysed.
constexpr size_t kMaxInstances = 2000;
constexpr uint64_t kMaxWork = 4'000'000;
constexpr uint64_t kMaxCells = 2'000'000;
constexpr size_t kMaxBlocks = 200'000;
constexpr uint64_t kStopCheck = 1 << 16;  // instructions visited

constexpr uint32_t kHelperTailCall = 12;

// Helpers that call a function back before they return. The register behind that of the function holds what it is given,
// which may be a pointer to the stack.
struct Callback {
  int helper;
  int function;  // the register that holds its address
  int receives;  // in which register it gets what it is given
};
constexpr Callback kCallbacks[] = {{164, 2, 4},   // bpf_for_each_map_elem
                                   {180, 3, 3},   // bpf_find_vma
                                   {181, 2, 2},   // bpf_loop
                                   {209, 2, 2}};  // bpf_user_ringbuf_drain
const Callback* CallbackOf(const Insn& insn) {
  if (!IsHelperCall(insn)) return nullptr;
  const Callback* found = std::ranges::find(kCallbacks, insn.imm, &Callback::helper);
  return found == std::end(kCallbacks) ? nullptr : found;
}

// Forward state. Slots without a bit in `pointers` hold no stack pointer.
struct State {
  std::array<Value, 16> regs;  // as many as the field names: R11 and up are an error, but only of a path that gets there
  uint64_t pointers = 0;
  std::array<Value, kSlots> slots;

  Value Slot(int slot) const { return (pointers >> slot & 1) != 0 ? slots[slot] : Value(); }
  void SetSlot(int slot, Value v) {
    if (v.IsPointer()) {
      pointers |= uint64_t{1} << slot;
      slots[slot] = v;
    } else {
      pointers &= ~(uint64_t{1} << slot);
    }
  }
  template <typename F>
  void ForEachPointerSlot(F f) {
    for (uint64_t left = pointers; left != 0; left &= left - 1) f(__builtin_ctzll(left));
  }
  uint8_t SlotLevels() const {
    uint8_t levels = 0;
    for (uint64_t left = pointers; left != 0; left &= left - 1) levels |= slots[__builtin_ctzll(left)].levels();
    return levels;
  }
  // Where paths meet, the verifier may forget a number: it does so in loops over iterators.
  static Value AtHead(Value v) { return v.kind() == Value::kConst ? v.Maybe() : v; }
  // Takes `from` over at the head of a block, but for the registers that nobody reads: they are no reason to tell states apart.
  void Assign(const State& from, uint16_t live_regs) {
    for (int r = 0; r < kRegFp; ++r) regs[r] = (live_regs >> r & 1) == 0 ? Value() : AtHead(from.regs[r]);
    for (size_t r = kRegFp; r < regs.size(); ++r) regs[r] = from.regs[r];
    pointers = from.pointers;
    ForEachPointerSlot([&](int slot) { slots[slot] = from.slots[slot]; });
  }
  // Joins `from` into this, likewise; true if this changed.
  bool Merge(const State& from, uint16_t live_regs) {
    bool changed = false;
    for (int r = 0; r < kRegFp; ++r) {
      if ((live_regs >> r & 1) == 0) continue;
      const Value v = Join(regs[r], AtHead(from.regs[r]));
      changed |= !(v == regs[r]);
      regs[r] = v;
    }
    for (uint64_t left = pointers | from.pointers; left != 0; left &= left - 1) {
      const int slot = __builtin_ctzll(left);
      const Value old = Slot(slot), v = Join(old, from.Slot(slot));
      if (v == old) continue;
      SetSlot(slot, v);
      changed = true;
    }
    return changed;
  }
};

// A calling context: the arguments and what the callers' reachable slots may point to, all seen from the callee.
struct Context {
  int sub = 0;
  uint8_t reach = 0;  // levels that stack pointers spilled in callers' frames may point into
  std::array<Value, 5> args;

  friend bool operator==(const Context&, const Context&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Context& c) {
    h = H::combine(std::move(h), c.sub, c.reach);
    for (Value v : c.args) h = H::combine(std::move(h), v.bits());
    return h;
  }
  uint8_t Levels() const {
    uint8_t levels = reach;
    for (Value v : args) levels |= v.levels();
    return levels;
  }
};

// What one instruction does to the slots of one frame. An instruction may have several.
struct Effect {
  uint32_t insn;
  uint8_t level;
  uint64_t read;
  uint64_t kill;
};
struct CallSite {
  uint32_t insn;
  int callee;      // instance
  bool by_helper;  // any number of times, also never
};

struct Instance {
  Context context;
  uint32_t start = 0;
  uint32_t size = 0;
  uint32_t first_call = 0;  // index of the subprogram's first call among the program's calls
  // Of the builder's lists: [first, last).
  size_t first_effect = 0, last_effect = 0;
  size_t first_site = 0, last_site = 0;
  std::span<int32_t> callees;                       // by call of the subprogram; kEverything: not known
  std::array<std::span<uint64_t>, kLevels> live{};  // per level, by instruction; empty: nothing of that frame is read
  std::array<uint64_t, kLevels> must_write{};  // slots of outer frames overwritten on every way to the exit
  bool done = false;
};

}  // namespace

// What is kept.
struct StackLiveness::Tables {
  explicit Tables(Arena& arena) : instances(arena, 4) {}

  uint64_t Live(int id, uint32_t insn, int level) const {
    if (id <= kEverything || static_cast<size_t>(id) >= instances.size()) return kAll;
    const Instance& instance = instances[static_cast<size_t>(id)];
    if (insn - instance.start >= instance.size) return kAll;
    const std::span<uint64_t> live = instance.live[level];
    return live.empty() ? 0 : live[insn - instance.start];
  }

  ArenaList<Instance> instances;
  std::span<int32_t> roots;        // by subprogram
  std::span<uint32_t> call_index;  // by instruction: 1-based number among the calls that enter subprograms; 0: none. Empty: no calls
};

namespace {

class Analysis {
 public:
  using Tables = StackLiveness::Tables;
  Analysis(const Program& p, const std::vector<MapDef>& m, const Cfg& c, const HelperTraits& t, Arena& kept, Tables& tables,
           const StopSign& stop)
      : program_(&p), maps_(&m), cfg_(&c), traits_(&t), stop_(stop), kept_(kept), tables_(tables), instances_(tables.instances),
        effects_(arena_), sites_(arena_), budget_work_(kMaxWork + 16 * p.insns.size()),
        budget_cells_(kMaxCells + 4 * p.insns.size()) {}

  void Run() {
    IndexCalls();
    instances_.emplace_back();  // kEverything
    const size_t subs = cfg_->subs.size();
    tables_.roots = kept_.Make<int32_t>(subs, kEverything);
    AddRoots();
    for (size_t next = 1; next < instances_.size() && !gave_up_; ++next) Forward(static_cast<int>(next));
    for (size_t next = 1; next < instances_.size() && !gave_up_; ++next) BackwardFrom(static_cast<int>(next));
    if (!gave_up_) return;
    instances_.resize(1);
    std::fill(tables_.roots.begin(), tables_.roots.end(), kEverything);
  }

 private:
  // Room for `n` that served another subprogram before, and is as that left it.
  template <typename T>
  std::span<T> Reuse(std::span<T>& room, size_t n) {
    if (room.size() < n) room = arena_.Raw<T>(std::max(n, 2 * room.size()));
    return room.first(n);
  }

  // ---- Preparation.

  void IndexCalls() {
    const std::vector<Insn>& insns = program_->insns;
    const size_t subs = cfg_->subs.size();
    first_call_ = arena_.Make<uint32_t>(subs + 1);
    global_ = arena_.Make<uint8_t>(subs);
    flows_ = arena_.Make<Flow>(subs);
    plain_ = arena_.Make<int32_t>(subs, kEverything);
    uint32_t calls = 0;
    size_t s = 0;
    for (const uint32_t i : cfg_->notable) {
      if (!IsPseudoCall(insns[i]) && CallbackOf(insns[i]) == nullptr) continue;
      if (calls == 0) tables_.call_index = kept_.Make<uint32_t>(insns.size());
      while (s < cfg_->at[i].sub) first_call_[++s] = calls;
      tables_.call_index[i] = ++calls;
    }
    while (s < subs) first_call_[++s] = calls;
    for (const Subprog& sub : program_->subprogs) {
      const int index = cfg_->SubAt(sub.start);
      if (index > 0 && sub.global) global_[index] = 1;
    }
  }

  void AddRoots() {
    const size_t subs = cfg_->subs.size();
    const auto root = arena_.Make<uint8_t>(subs);
    root[0] = 1;
    for (size_t s = 0; s < subs; ++s) root[s] |= global_[s];
    for (const uint32_t i : cfg_->notable) {
      if (!IsPseudoFunc(program_->insns[i])) continue;
      const int sub = cfg_->SubAt(i + static_cast<uint32_t>(program_->insns[i].imm) + 1);
      if (sub >= 0) root[sub] = 1;
    }
    for (size_t s = 0; s < subs; ++s) {
      Context context;
      context.sub = static_cast<int>(s);
      if (root[s]) tables_.roots[s] = Intern(context);
    }
  }

  int Intern(const Context& context) {
    const bool plain = context.Levels() == 0;
    const int known = plain ? plain_[context.sub] : Known(context);
    if (known != kEverything) return known;
    if (instances_.size() >= kMaxInstances) {
      gave_up_ = true;
      return kEverything;
    }
    const int id = static_cast<int>(instances_.size());
    if (plain) {
      plain_[context.sub] = id;
    } else {
      known_[context] = id;
    }
    Instance& instance = instances_.emplace_back();
    instance.context = context;
    instance.start = cfg_->subs[context.sub].start;
    instance.size = cfg_->subs[context.sub].end - instance.start;
    instance.first_call = first_call_[context.sub];
    instance.callees = kept_.Make<int32_t>(first_call_[context.sub + 1] - first_call_[context.sub], kEverything);
    return id;
  }
  int Known(const Context& context) const {
    const auto it = known_.find(context);
    return it == known_.end() ? kEverything : it->second;
  }

  const Flow& FlowOf(int sub) {
    Flow& flow = flows_[sub];
    if (flow.blocks.empty()) flow = stack_flow::FlowOf(*cfg_, sub, arena_);
    return flow;
  }

  // ---- Forward: where pointers point.

  void Forward(int id) {
    const Context context = instances_[id].context;
    const Flow& flow = FlowOf(context.sub);
    if (!flow.complete || flow.blocks.size() > kMaxBlocks) {
      gave_up_ = true;
      return;
    }
    // Only what Assign() writes is there.
    const auto heads = Reuse(heads_, flow.blocks.size());
    heads[0].regs.fill(Value());
    heads[0].pointers = 0;
    for (int r = 0; r < 5; ++r) heads[0].regs[r + 1] = context.args[r];
    heads[0].regs[kRegFp] = Value::Exact(0, 0, false);
    reach_ = context.reach;
    instances_[id].first_effect = effects_.size();
    instances_[id].first_site = sites_.size();
    // Without loops, blocks are come to once, and in order.
    if (flow.loops ? SolveForward(flow, heads) : Spend(flow.blocks.size() / 16)) {
      recording_ = id;
      Record(flow, heads);
      recording_ = kEverything;
    }
    instances_[id].last_effect = effects_.size();
    instances_[id].last_site = sites_.size();
  }

  // What is known at the heads of blocks: false: gave up.
  bool SolveForward(const Flow& flow, std::span<State> heads) {
    const auto reached = Unreached(flow), dirty = Reuse(dirty_, flow.blocks.size());
    std::fill(dirty.begin(), dirty.end(), 0);
    State& state = Reuse(state_, 1).front();
    reached[0] = dirty[0] = 1;
    for (bool again = true; again;) {
      again = false;
      if (!Spend(flow.blocks.size() / 16)) return false;
      for (size_t b = 0; b < flow.blocks.size(); ++b) {
        if (!dirty[b]) continue;
        dirty[b] = 0;
        const Block& block = flow.blocks[b];
        if (!Spend(block.end - block.start)) return false;
        state.Assign(heads[b], 0xffff);
        Run(block, &state);
        for (int next : block.next) {
          if (next < 0 || !PassOn(flow, state, next, heads, reached)) continue;
          dirty[next] = 1;
          again |= static_cast<size_t>(next) <= b;
        }
      }
    }
    return true;
  }
  std::span<uint8_t> Unreached(const Flow& flow) {
    const auto reached = Reuse(reached_, flow.blocks.size());
    std::fill(reached.begin(), reached.end(), 0);
    return reached;
  }
  // To the head of a block; whether it had not known that.
  bool PassOn(const Flow& flow, const State& state, int next, std::span<State> heads, std::span<uint8_t> reached) const {
    const uint16_t live = cfg_->at[flow.blocks[next].start].live_regs;
    if (std::exchange(reached[next], 1) != 0) return heads[next].Merge(state, live);
    heads[next].Assign(state, live);
    return true;
  }

  // The effects of every instruction. Where there are no loops, the heads of blocks are worked out on the way.
  void Record(const Flow& flow, std::span<State> heads) {
    const auto reached = Unreached(flow);
    const uint64_t cells_per_effect = sizeof(Effect) / sizeof(uint64_t);
    for (size_t b = 0; b < flow.blocks.size(); ++b) {
      const Block& block = flow.blocks[b];
      if (!flow.loops && !Spend(block.end - block.start)) return;
      const size_t before = effects_.size();
      Run(block, &heads[b]);
      if (!Keep((effects_.size() - before) * cells_per_effect)) return;
      if (flow.loops) continue;
      for (int next : block.next) {
        if (next >= 0) PassOn(flow, heads[b], next, heads, reached);
      }
    }
  }

  bool Spend(uint64_t instructions) {
    if (budget_work_ < instructions) {
      gave_up_ = true;
      return false;
    }
    budget_work_ -= instructions;
    if (budget_work_ > ask_at_) return true;
    ask_at_ = budget_work_ - std::min(budget_work_, kStopCheck);
    gave_up_ = stop_.Asked();
    return !gave_up_;
  }

  bool Keep(uint64_t cells) {
    if (budget_cells_ < cells) {
      gave_up_ = true;
      return false;
    }
    budget_cells_ -= cells;
    return true;
  }

  void Run(const Block& block, State* state) {
    for (uint32_t i = block.start; i < block.end; ++i) {
      const Insn& insn = program_->insns[i];
      Step(i, insn, state);
      if (IsLdImm64(insn)) ++i;
    }
  }

  void Step(uint32_t i, const Insn& insn, State* s) {
    switch (Class(insn)) {
      case kClassLd: StepLd(i, insn, s); return;
      case kClassLdx: {
        const Value base = s->regs[insn.src];
        NoteRead(i, base, insn.off, AccessBytes(insn));
        s->regs[insn.dst] = Load(*s, base, insn.off, AccessBytes(insn));
        return;
      }
      case kClassSt:
        NoteWrite(i, s->regs[insn.dst], insn.off, AccessBytes(insn));
        Store(s->regs[insn.dst], insn.off, AccessBytes(insn), Value(), s);
        return;
      case kClassStx:
        if (Mode(insn) == kModeAtomic) {
          StepAtomic(i, insn, s);
        } else {
          NoteWrite(i, s->regs[insn.dst], insn.off, AccessBytes(insn));
          Store(s->regs[insn.dst], insn.off, AccessBytes(insn), s->regs[insn.src], s);
        }
        return;
      case kClassAlu:
      case kClassAlu64: StepAlu(insn, s); return;
      default:
        if (JmpOp(insn) == kCall) StepCall(i, insn, s);
    }
  }

  void StepLd(uint32_t i, const Insn& insn, State* s) {
    if (IsLdImm64(insn)) {
      Value v;
      if (insn.src == 0 && i + 1 < program_->insns.size()) {
        const uint64_t hi = static_cast<uint32_t>(program_->insns[i + 1].imm);
        v = Value::Const(static_cast<int64_t>(hi << 32 | static_cast<uint32_t>(insn.imm)));
      } else if (insn.src == kPseudoMapFd && insn.imm >= 0) {
        v = Value::Map(insn.imm);
      } else if (insn.src == kPseudoFunc) {
        v = Value::Function(cfg_->SubAt(i + static_cast<uint32_t>(insn.imm) + 1));
      }
      s->regs[insn.dst] = v;
      return;
    }
    Clobber(s);
  }
  static void Clobber(State* s) {
    for (int r = 0; r <= 5; ++r) s->regs[r] = Value();
  }

  void StepAlu(const Insn& insn, State* s) {
    Value& dst = s->regs[insn.dst];
    const bool is64 = Class(insn) == kClassAlu64, x = UsesX(insn);
    const uint8_t op = AluOp(insn);
    const Value src = x && op != kEnd ? s->regs[insn.src] : Value();
    if (op == kMov) {
      if (!x) {
        dst = Value::Const(is64 ? insn.imm : static_cast<int64_t>(static_cast<uint32_t>(insn.imm)));
      } else if (insn.off == 0 && (is64 || (src.kind() == Value::kConst && src.payload() >= 0))) {
        dst = src;
      } else {
        dst = Value::Somewhere(src.levels());
      }
      return;
    }
    // A number in a register is an unknown one unless the verifier is sure to know it.
    if (is64 && (op == kAdd || op == kSub) && (dst.kind() == Value::kRange || dst.kind() == Value::kConst) &&
        (!x || (src.kind() == Value::kConst && !src.maybe()))) {
      const int64_t by = x ? src.payload() : insn.imm;
      dst = dst.Plus(op == kAdd ? by : -by);
      return;
    }
    dst = Value::Somewhere(static_cast<uint8_t>(dst.levels() | src.levels()));
  }

  void StepAtomic(uint32_t i, const Insn& insn, State* s) {
    const int bytes = AccessBytes(insn);
    if (insn.imm == kLoadAcq) {
      const Value base = s->regs[insn.src];
      NoteRead(i, base, insn.off, bytes);
      s->regs[insn.dst] = Load(*s, base, insn.off, bytes);
      return;
    }
    const Value base = s->regs[insn.dst];
    // A store-release is a store, but the verifier does not track what it stores; nor do we.
    if (insn.imm != kStoreRel) NoteRead(i, base, insn.off, bytes);
    const Value old = Load(*s, base, insn.off, bytes);
    StoreWeakly(base, insn.off, bytes, s->regs[insn.src], s);
    if (insn.imm == kCmpxchg) {
      s->regs[kRegR0] = old;
    } else if (insn.imm != kStoreRel && (insn.imm & kFetch) != 0) {
      s->regs[insn.src] = old;
    }
  }

  Value Load(const State& s, Value base, int off, int bytes) const {
    if (!base.IsPointer()) return Value();
    if (base.kind() == Value::kRange && base.level() == 0) {
      const int slot = base.IsExact() && bytes == 8 ? AlignedSlot(base.low() + off) : -1;
      if (slot >= 0) return base.maybe() ? s.Slot(slot).Maybe() : s.Slot(slot);
      uint8_t levels = 0;
      for (uint64_t left = SlotsAt(base, off, bytes) & s.pointers; left != 0; left &= left - 1) {
        levels |= s.slots[__builtin_ctzll(left)].levels();
      }
      return Value::Somewhere(levels);
    }
    uint8_t levels = 0;
    if ((base.levels() & kOwn) != 0) levels |= s.SlotLevels();
    if ((base.levels() & ~kOwn) != 0) levels |= reach_;
    return Value::Somewhere(levels);
  }

  void Store(Value base, int off, int bytes, Value v, State* s) const {
    const bool exact_own = base.IsExact() && base.level() == 0;
    const int slot = exact_own && bytes == 8 ? AlignedSlot(base.low() + off) : -1;
    if (slot >= 0 && !base.maybe()) {
      s->SetSlot(slot, v.PointerOnly());
    } else {
      StoreWeakly(base, off, bytes, v, s);
    }
  }
  // The store may or may not hit each of the slots that it can reach. Callers' slots receive no stack pointers: the
  // verifier forbids it.
  void StoreWeakly(Value base, int off, int bytes, Value v, State* s) const {
    if ((base.levels() & kOwn) == 0) return;
    uint64_t hit = base.kind() == Value::kRange ? SlotsAt(base, off, bytes) : kAll;
    if (!v.IsPointer()) hit &= s->pointers;
    for (; hit != 0; hit &= hit - 1) {
      const int slot = __builtin_ctzll(hit);
      s->SetSlot(slot, Join(s->Slot(slot), v.PointerOnly()).Maybe());
    }
  }

  void NoteRead(uint32_t i, Value base, int64_t off, int64_t bytes) {
    if (recording_ == kEverything || !base.IsPointer()) return;
    if (base.kind() == Value::kRange) {
      const uint64_t mask = SlotsAt(base, off, bytes);
      if (mask != 0) effects_.push_back({i, static_cast<uint8_t>(base.level()), mask, 0});
      return;
    }
    NoteReadAll(i, base.levels());
  }
  void NoteReadAll(uint32_t i, uint8_t levels) {
    if (recording_ == kEverything) return;
    for (uint32_t left = levels; left != 0; left &= left - 1) {
      effects_.push_back({i, static_cast<uint8_t>(__builtin_ctz(left)), kAll, 0});
    }
  }
  void NoteWrite(uint32_t i, Value base, int64_t off, int bytes) {
    if (recording_ == kEverything || !base.IsExact() || base.maybe() || bytes != 8) return;
    const int slot = AlignedSlot(base.low() + off);
    if (slot < 0) return;
    effects_.push_back({i, static_cast<uint8_t>(base.level()), 0, uint64_t{1} << slot});
  }

  void NoteOverwrite(uint32_t i, Value base, const ArgTrait& trait) {
    if (trait.access != ArgAccess::kOverwrite) return;
    for (uint32_t at = 0; at < trait.size; at += 8) NoteWrite(i, base, at, 8);
  }

  // ---- Calls.

  void StepCall(uint32_t i, const Insn& insn, State* s) {
    uint8_t passed = 0;
    for (int r = 1; r <= 5; ++r) passed |= s->regs[r].levels();
    if (recording_ != kEverything) {
      if (IsPseudoCall(insn)) {
        CallSubprogram(i, insn, *s);
      } else if (const Callback* callback = CallbackOf(insn)) {
        CallBack(i, *callback, *s);
      } else if (passed != 0) {
        CallKernel(i, insn, *s);
      }
    }
    // Whatever runs may overwrite what it was given, though never with stack pointers.
    if (passed != 0) {
      s->ForEachPointerSlot([s](int slot) { s->slots[slot] = s->slots[slot].Maybe(); });
    }
    Clobber(s);
    for (int r = 6; r <= 9; ++r) s->regs[r] = State::AtHead(s->regs[r]);
  }

  // Frames whose slots can be reached from pointers into `levels`.
  uint8_t Closure(const State& s, uint8_t levels) const {
    if ((levels & kOwn) != 0) levels |= s.SlotLevels();
    if ((levels & ~kOwn) != 0) levels |= reach_;
    return levels;
  }

  void CallSubprogram(uint32_t i, const Insn& insn, const State& s) {
    const int sub = cfg_->SubAt(i + static_cast<uint32_t>(insn.imm) + 1);
    if (sub < 0) {
      gave_up_ = true;
      return;
    }
    if (global_[sub]) {
      // Not entered: the verifier checks that the memory that the prototype names is readable.
      for (int r = 1; r <= 5; ++r) NoteRead(i, s.regs[r], 0, kUnknownSize);
      return;
    }
    Enter(i, sub, s, std::span(s.regs).subspan<1, 5>(), /*by_helper=*/false);
  }

  void Enter(uint32_t i, int sub, const State& s, std::span<const Value, 5> args, bool by_helper) {
    Context context;
    context.sub = sub;
    const uint16_t used = cfg_->at[cfg_->subs[sub].start].live_regs;
    uint8_t levels = 0;
    for (int r = 1; r <= 5; ++r) {
      if ((used >> r & 1) == 0) continue;
      context.args[r - 1] = SeenByCallee(args[r - 1]);
      levels |= args[r - 1].levels();
    }
    if (levels != 0) context.reach = Outward(static_cast<uint8_t>(s.SlotLevels() | reach_));
    const int callee = Intern(context);
    sites_.push_back({i, callee, by_helper});
    const Instance& caller = instances_[recording_];
    caller.callees[tables_.call_index[i] - 1 - caller.first_call] = callee;
  }
  // Levels as the next frame in counts them. More than eight frames do not exist; the outermost level saturates.
  static uint8_t Outward(uint8_t levels) { return static_cast<uint8_t>(levels << 1 | (levels & 0x80)); }
  static Value SeenByCallee(Value v) {
    if (!v.IsPointer()) return Value();
    if (v.kind() == Value::kRange && v.level() + 1 < kLevels) {
      return Value::Range(v.level() + 1, v.low(), v.high(), v.maybe());
    }
    return Value::Somewhere(Outward(v.levels()));
  }

  // The helper calls the function back with what it was given for it: none of the other arguments points to a stack.
  void CallBack(uint32_t i, const Callback& callback, const State& s) {
    const Value function = s.regs[callback.function], given = s.regs[callback.function + 1];
    if (function.kind() != Value::kFunction || function.payload() < 0) {  // one of several, which may read all of it
      NoteReadAll(i, Closure(s, given.levels()));
      return;
    }
    std::array<Value, 5> args;
    args[callback.receives - 1] = given;
    Enter(i, function.payload(), s, args, /*by_helper=*/true);
  }

  void CallKernel(uint32_t i, const Insn& insn, const State& s) {
    if (insn.src == kCallHelper) {
      const auto id = static_cast<uint32_t>(insn.imm);
      const int count = traits_->arg_count ? std::clamp(traits_->arg_count(id), 0, 5) : 5;
      for (int arg = 1; arg <= count; ++arg) {
        if (s.regs[arg].IsPointer()) {
          NoteRead(i, s.regs[arg], 0, HelperReads(id, arg, s));
          NoteOverwrite(i, s.regs[arg], traits_->arg ? traits_->arg(id, arg) : ArgTrait());
        }
      }
      return;
    }
    int count = 5;
    if (traits_->kfunc && insn.imm >= 0 && static_cast<size_t>(insn.imm) < program_->externs.size()) {
      count = std::clamp(traits_->kfunc(program_->externs[insn.imm].name).arg_count, 0, 5);
    }
    for (int arg = 1; arg <= count; ++arg) {
      ArgTrait trait;
      if (traits_->kfunc_arg && insn.imm >= 0 && static_cast<size_t>(insn.imm) < program_->externs.size()) {
        trait = traits_->kfunc_arg(program_->externs[insn.imm].name, arg);
      }
      NoteRead(i, s.regs[arg], 0, ReadSize(trait, arg, s));
      NoteOverwrite(i, s.regs[arg], trait);
    }
  }

  // How many bytes the call reads through the argument; kUnknownSize: we do not know.
  static int64_t ReadSize(const ArgTrait& trait, int arg, const State& s) {
    switch (trait.access) {
      case ArgAccess::kNone:
      case ArgAccess::kMapPtr:
      case ArgAccess::kOverwrite:
      case ArgAccess::kWriteMem: return 0;
      case ArgAccess::kFixedMem: return trait.size;
      case ArgAccess::kSizedMem: {
        const Value size = arg < 5 ? s.regs[arg + 1] : Value();
        return size.kind() == Value::kConst && size.payload() >= 0 ? size.payload() : kUnknownSize;
      }
      case ArgAccess::kMapKey:
      case ArgAccess::kMapValue:
      case ArgAccess::kAnyMem: break;
    }
    return kUnknownSize;
  }
  int64_t HelperReads(uint32_t id, int arg, const State& s) const {
    const ArgTrait trait = traits_->arg ? traits_->arg(id, arg) : ArgTrait();
    if (trait.access != ArgAccess::kMapKey && trait.access != ArgAccess::kMapValue) return ReadSize(trait, arg, s);
    for (int other = 1; other <= 5; ++other) {
      if (traits_->arg(id, other).access != ArgAccess::kMapPtr) continue;
      const Value map = s.regs[other];
      if (map.kind() != Value::kMap || static_cast<size_t>(map.payload()) >= maps_->size()) break;
      const MapDef& def = (*maps_)[map.payload()];
      return trait.access == ArgAccess::kMapKey ? def.key_size : def.value_size;
    }
    return kUnknownSize;
  }

  // ---- Backward: what is still read.

  // Callees first. A callee that is still in progress is a recursion, which exploration rejects anyway.
  void BackwardFrom(int root) {
    if (instances_[root].done || root == kEverything) return;
    struct Entered {
      int id;
      size_t next;
    };
    if (in_path_.empty()) in_path_ = arena_.Make<uint8_t>(instances_.size());
    ArenaList<Entered> path(arena_);
    path.push_back({root, instances_[root].first_site});
    in_path_[root] = 1;
    while (!path.empty() && !gave_up_) {
      auto& [id, next] = path.back();
      if (next < instances_[id].last_site) {
        const int callee = sites_[next++].callee;
        if (callee != kEverything && !instances_[callee].done && !in_path_[callee]) {
          in_path_[callee] = 1;
          path.push_back({callee, instances_[callee].first_site});
        }
      } else {
        Backward(&instances_[id]);
        instances_[id].done = true;
        path.pop_back();
      }
    }
  }

  void Backward(Instance* instance) {
    const Flow& flow = FlowOf(instance->context.sub);
    AddCallEffects(instance);
    const std::span<const Effect> effects(effects_.begin() + instance->first_effect, effects_.begin() + instance->last_effect);
    uint8_t touched = 0, killed = 0;
    for (const Effect& effect : effects) {
      if (effect.read != 0) touched |= static_cast<uint8_t>(1u << effect.level);
      if (effect.kill != 0) killed |= static_cast<uint8_t>(1u << effect.level);
    }
    for (int level = 0; level < kLevels; ++level) {
      const bool reads = (touched >> level & 1) != 0, kills = level > 0 && (killed >> level & 1) != 0;
      if (!reads && !kills) continue;
      if (!Keep(instance->size) || !Spend(instance->size)) return;
      const auto read = Reuse(read_, instance->size), kill = Reuse(kill_, instance->size);
      std::fill(read.begin(), read.end(), 0);
      std::fill(kill.begin(), kill.end(), 0);
      for (const Effect& effect : effects) {
        if (effect.level != level) continue;
        read[effect.insn - instance->start] |= effect.read;
        kill[effect.insn - instance->start] |= effect.kill;
      }
      if (reads) instance->live[level] = SolveLive(flow, instance->start, read, kill);
      if (kills) instance->must_write[level] = SolveMustWrite(flow, instance->start, kill);
      if (gave_up_) return;
    }
  }

  // Behind the instance's own, which move for that.
  void AddCallEffects(Instance* instance) {
    if (instance->first_site == instance->last_site) return;
    const size_t own = effects_.size();
    for (size_t e = instance->first_effect; e < instance->last_effect; ++e) effects_.push_back(Effect(effects_[e]));
    for (size_t s = instance->first_site; s < instance->last_site; ++s) {
      const CallSite& call = sites_[s];
      const Instance& callee = instances_[call.callee];
      if (call.callee == kEverything || !callee.done) {
        for (int level = 0; level < kLevels; ++level) {
          effects_.push_back({call.insn, static_cast<uint8_t>(level), kAll, 0});
        }
        continue;
      }
      for (int level = 1; level < kLevels; ++level) {
        const uint64_t read = callee.live[level].empty() ? 0 : callee.live[level][0];
        const uint64_t kill = call.by_helper ? 0 : callee.must_write[level];
        if (read == 0 && kill == 0) continue;
        effects_.push_back({call.insn, static_cast<uint8_t>(level - 1), read, kill});
        // The outermost level stands for itself and everything further out.
        if (level == kLevels - 1 && read != 0) {
          effects_.push_back({call.insn, static_cast<uint8_t>(level), kAll, 0});
        }
      }
    }
    instance->first_effect = own;
    instance->last_effect = effects_.size();
  }

  std::span<uint64_t> SolveLive(const Flow& flow, uint32_t start, std::span<const uint64_t> read,
                                std::span<const uint64_t> kill) {
    const auto live = kept_.Make<uint64_t>(read.size());
    bool settled = false;  // without loops, after once round
    for (bool changed = true; changed;) {
      changed = false;
      if (!Spend(read.size()) || settled) break;
      settled = !flow.loops;
      for (size_t b = flow.blocks.size(); b-- > 0;) {
        const Block& block = flow.blocks[b];
        uint64_t mask = 0;
        for (int next : block.next) {
          if (next >= 0) mask |= live[flow.blocks[next].start - start];
        }
        for (uint32_t i = block.end; i-- > block.start;) {
          mask = read[i - start] | (mask & ~kill[i - start]);
          if (i == block.start) changed |= live[i - start] != mask;
          live[i - start] = mask;
        }
      }
    }
    return live;
  }

  // Greatest solution: a way that never ends overwrites what it likes.
  uint64_t SolveMustWrite(const Flow& flow, uint32_t start, std::span<const uint64_t> kill) {
    const auto head = Reuse(masks_, flow.blocks.size());
    std::fill(head.begin(), head.end(), kAll);
    for (bool changed = true; changed;) {
      changed = false;
      if (!Spend(kill.size())) return 0;
      for (size_t b = flow.blocks.size(); b-- > 0;) {
        const Block& block = flow.blocks[b];
        uint64_t mask = block.next[0] < 0 ? 0 : kAll;
        for (int next : block.next) {
          if (next >= 0) mask &= head[next];
        }
        for (uint32_t i = block.end; i-- > block.start;) {
          const Insn& insn = program_->insns[i];
          // Both may leave the subprogram on the spot.
          if ((IsHelperCall(insn) && static_cast<uint32_t>(insn.imm) == kHelperTailCall) ||
              (Class(insn) == kClassLd && Mode(insn) != kModeImm)) {
            mask = 0;
          }
          mask |= kill[i - start];
        }
        changed |= head[b] != mask;
        head[b] = mask;
      }
    }
    return head[0];
  }

  const Program* program_;
  const std::vector<MapDef>* maps_;
  const Cfg* cfg_;
  const HelperTraits* traits_;
  const StopSign& stop_;
  Arena& kept_;  // for the tables
  Arena arena_;  // for the rest
  Tables& tables_;
  ArenaList<Instance>& instances_;
  std::span<Flow> flows_;
  std::span<uint8_t> global_;  // by subprogram: verified on its own, so calls do not enter it
  std::span<int32_t> plain_;   // by subprogram: the instance without any pointer into a stack, kEverything: not yet
  absl::flat_hash_map<Context, int> known_;  // the others
  ArenaList<Effect> effects_;
  ArenaList<CallSite> sites_;
  std::span<uint32_t> first_call_;    // by subprogram, and one more: calls before it
  std::span<uint8_t> in_path_;
  std::span<State> heads_, state_;
  std::span<uint8_t> reached_, dirty_;
  std::span<uint64_t> read_, kill_, masks_;
  uint8_t reach_ = 0;  // Context::reach of the instance in work
  int recording_ = kEverything;  // the instance whose effects are being noted; kEverything: none
  uint64_t budget_work_, budget_cells_;
  uint64_t ask_at_ = budget_work_;  // what is left of it when `stop_` is asked next
  bool gave_up_ = false;
};

}  // namespace

StackLiveness::StackLiveness(const Program& program, const std::vector<MapDef>& maps, const Cfg& cfg,
                             const HelperTraits& traits, Arena& arena, const StopSign& stop) {
  Tables& tables = *std::construct_at(arena.Raw<Tables>(1).data(), arena);
  Analysis(program, maps, cfg, traits, arena, tables, stop).Run();
  tables_ = &tables;
}

int StackLiveness::Root(int sub) const {
  return sub >= 0 && static_cast<size_t>(sub) < tables_->roots.size() ? tables_->roots[sub] : kEverything;
}

int StackLiveness::Callee(int caller, uint32_t callsite) const {
  if (caller <= kEverything || static_cast<size_t>(caller) >= tables_->instances.size()) return kEverything;
  if (callsite >= tables_->call_index.size() || tables_->call_index[callsite] == 0) return kEverything;
  const Instance& instance = tables_->instances[static_cast<size_t>(caller)];
  const uint32_t call = tables_->call_index[callsite] - 1 - instance.first_call;
  return call < instance.callees.size() ? instance.callees[call] : kEverything;
}

uint64_t StackLiveness::LiveOwn(int instance, uint32_t insn) const { return tables_->Live(instance, insn, 0); }

uint64_t StackLiveness::LiveOuter(int instance, uint32_t insn, int up) const {
  if (up < 1) return kAll;
  return tables_->Live(instance, insn, std::min(up, kLevels - 1));
}

}  // namespace bpfsieve
