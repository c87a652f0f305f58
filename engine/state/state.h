// The abstract machine state: registers, stack frames, references.
//
// Forking is what the search does most, so a state is built to be copied: plain registers without padding, compared
// with memcmp where the kernel does so; frames, pages of stack and states come from a pool that keeps their buffers. A
// copy shares the frames of the callers and all stack with its original (counted references; whoever writes to what is
// shared makes a copy of that first); only the innermost frame's registers are copied at once, since nearly every
// instruction writes to them. A state that has been published (see explore/) is never written again; the one being
// executed belongs to one thread.
//
// Turned down: whole frames copied with every fork (the stack of a real program is two to five kilobytes, of which a
// path changes little before it forks again; measured at 5-10 % of the run plus as much in page faults), one shared
// stack per frame without pages (one spill then copies all of it), sharing the innermost registers too (a check in
// front of every write for a copy that comes anyway), and intervals without the tristate number.
#ifndef BPFSIEVE_ENGINE_STATE_STATE_H_
#define BPFSIEVE_ENGINE_STATE_STATE_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"
#include "engine/program/program.h"
#include "engine/spec/spec.h"
#include "engine/state/parts.h"

namespace bpfsieve {

inline constexpr int kMaxFrames = 8;       // MAX_CALL_FRAMES
inline constexpr int kMaxStack = 512;      // MAX_BPF_STACK, bytes per frame
inline constexpr int kSlotBytes = 8;
inline constexpr int kMaxSlots = kMaxStack / kSlotBytes;
inline constexpr int64_t kMaxVarOff = 1 << 29;  // BPF_MAX_VAR_OFF
inline constexpr int64_t kMaxVarSize = 1 << 29; // BPF_MAX_VAR_SIZ

// What a register holds: the kernel's bpf_reg_type.
enum class RegType : uint8_t {
  kNotInit, kScalar, kCtx, kConstMapPtr, kMapValue, kMapKey, kStack, kPacketMeta, kPacket, kPacketEnd, kFlowKeys,
  kSocket, kSockCommon, kTcpSock, kXdpSock, kTpBuffer, kBtfId, kMem, kBuf, kFunc,
  kArena,   // in an arena: any address is, and reading or writing where nothing is does no harm
  kIter,    // only in a stack slot: an iterator
  kDynptr,  // a dynptr that may not be changed, or in a stack slot: (half of) one
  kIrq,     // only in a stack slot: the flags that disabling interrupts saved
};
// Modifiers of a type: the kernel's bpf_type_flag.
enum RegFlag : uint16_t {
  kMaybeNull = 1,
  kRdonly = 2,
  kRingbuf = 4,
  // Of kBtfId: what keeps the object alive.
  kTrusted = 8,
  kUntrusted = 16,
  kRcu = 32,
  kPercpu = 64,
  kUser = 128,
  kAlloc = 256,       // made by the program
  kNonOwnRef = 512,
  kProgBtf = 1024,    // the type is one of the program's own, not of the kernel's
  // Of kMem: a slice of a dynptr, and of which kind (DynptrKind).
  kSliceShift = 11,
  kSliceMask = 7 << kSliceShift,
};
enum IterFlag : uint16_t { kIterDrained = 1 };  // of kIter: it has said that there is nothing more
enum IrqFlag : uint16_t { kIrqOfLock = 1 };  // of kIrq: saved by a lock that was taken

// Reg::range of a packet pointer that is known to lie at or beyond the packet's end.
inline constexpr int32_t kAtPktEnd = -1, kBeyondPktEnd = -2;
// Bits of Reg::id: the scalar equals the one with the plain id plus Reg::off, added in 64 or 32 bits.
inline constexpr uint32_t kAddConst64 = 1u << 31, kAddConst32 = 1u << 30, kAddConst = kAddConst64 | kAddConst32;
// Bit of Reg::dynptr: the first of the two slots, which is the lower one.
inline constexpr uint32_t kDynptrFirst = 1u << 8;

struct Reg {
  RegType type = RegType::kNotInit;
  uint8_t frameno = 0;   // kStack: the frame pointed into; kMem: of a buffer that it may be, plus 1, see Frame::buffers
  uint16_t flags = 0;    // RegFlag, IterFlag, IrqFlag
  int32_t off = 0;       // pointers: fixed offset in bytes; linked scalars: the constant added; iterators: turns taken
  union {
    int32_t range = 0;   // kPacket, kPacketMeta: bytes known accessible from the pointer without off, or k*PktEnd
    int32_t map;         // kConstMapPtr, kMapValue, kMapKey: index in Object::maps
    uint32_t mem_size;   // kMem: bytes
    uint32_t subprog;    // kFunc
    uint32_t btf_id;     // kBtfId
    uint32_t iter;       // kIter: which of the iterators of spec/
    uint32_t dynptr;     // kDynptr: its DynptrKind, in a stack slot's first half with kDynptrFirst
  };
  union {
    uint32_t map_uid = 0;  // identity of an inner map that was looked up
    uint32_t dynptr_id;    // kMem: the dynptr that it is a slice of, 0: none
  };
  uint32_t id = 0;          // registers with the same id hold the same thing; 0: none
  uint32_t ref_obj_id = 0;  // the reference that keeps the object alive; 0: none
  Scalar s = Scalar::Const(0);  // the value, or the variable part of a pointer's offset

  bool IsScalar() const { return type == RegType::kScalar; }
  bool IsNull() const { return IsScalar() && s.var_off == Tnum::Const(0); }
  bool MayBeNull() const { return (flags & kMaybeNull) != 0; }
  bool Has(uint16_t f) const { return (flags & f) == f; }
  // An object that the program made, owned or not, null or not (type_is_ptr_alloc_obj).
  bool IsObject() const { return type == RegType::kBtfId && Has(kAlloc); }
  // Memory that may not be there: only loads are allowed, of any size at any offset, and they give any number.
  bool IsUnsafeMem() const { return type == RegType::kMem && Has(kRdonly | kUntrusted); }
  // The flags without what the kernel keeps elsewhere.
  uint16_t KernelFlags() const { return static_cast<uint16_t>(flags & ~kProgBtf); }
  bool SameType(const Reg& o) const { return type == o.type && flags == o.flags; }
  bool IsPacket() const { return type == RegType::kPacket || type == RegType::kPacketMeta; }
  DynptrKind Dynptr() const { return static_cast<DynptrKind>(dynptr & 0xff); }
  DynptrKind SliceOf() const { return static_cast<DynptrKind>((flags & kSliceMask) >> kSliceShift); }
  // A slice of the packet: void when the packet moves.
  bool IsPacketSlice() const { return type == RegType::kMem && SliceOf() >= DynptrKind::kSkb; }
  bool IsPacketAny() const { return IsPacket() || type == RegType::kPacketEnd; }
  bool IsSockPointer() const {
    return flags == 0 && (type == RegType::kSocket || type == RegType::kSockCommon || type == RegType::kTcpSock ||
                          type == RegType::kXdpSock);
  }

  void Clear() { *this = Reg{}; }
  void MakeScalar(const Scalar& v) {
    *this = Reg{};
    type = RegType::kScalar;
    s = v;
  }
  void MakeUnknown() { MakeScalar(Scalar::Unknown()); }
  void MakePointer(RegType t, uint16_t f = 0) {
    *this = Reg{};
    type = t;
    flags = f;
  }
  void ClearScalarId() {
    id = 0;
    off = 0;
  }
};
static_assert(sizeof(Reg) == 24 + sizeof(Scalar) && sizeof(Scalar) == 64, "no padding: registers are compared bytewise");

// As in "dynptr_ringbuf".
const char* DynptrKindName(DynptrKind kind);
// The kernel's name of a type with its modifiers: "map_value_or_null", "pkt", "scalar".
std::string RegTypeName(RegType type, uint16_t flags);
inline std::string RegTypeName(const Reg& r) { return RegTypeName(r.type, r.flags); }

// What is known of one byte of stack. Known contents have the lowest bit set.
enum class SlotByte : uint8_t { kInvalid = 0, kSpill = 1, kMisc = 2, kZero = 3, kIter = 5, kDynptr = 7, kIrq = 9 };
// Part of something that only its own functions may look into.
constexpr bool IsObject(SlotByte b) { return b == SlotByte::kIter || b == SlotByte::kDynptr || b == SlotByte::kIrq; }
inline constexpr int kDynptrSlots = 2;

// Eight bytes of stack. bytes[i] describes the byte at slot address + 7 - i ... as in the kernel, index (-off - 1) % 8,
// so bytes[7] is the lowest address and a spill of n bytes fills bytes[7], bytes[6], ...
struct StackSlot {
  SlotByte bytes[kSlotBytes] = {};
  Reg spilled;

  bool IsSpill() const { return bytes[kSlotBytes - 1] == SlotByte::kSpill; }
  // Whole: an iterator that was overwritten in part is none any more.
  bool IsIter() const { return bytes[0] == SlotByte::kIter && spilled.type == RegType::kIter; }
  // Never in part: a write to one destroys it.
  bool IsDynptr() const { return bytes[0] == SlotByte::kDynptr; }
  bool IsFirstOfDynptr() const { return IsDynptr() && (spilled.dynptr & kDynptrFirst) != 0; }
  bool IsIrq() const { return bytes[0] == SlotByte::kIrq && spilled.type == RegType::kIrq; }
  bool IsObject() const { return IsIter() || IsDynptr() || IsIrq(); }
  bool IsScalarSpill() const { return IsSpill() && spilled.IsScalar(); }
  bool IsScalarSpill64() const { return bytes[0] == SlotByte::kSpill && spilled.IsScalar(); }
  uint64_t Word() const {
    uint64_t w;
    std::memcpy(&w, bytes, sizeof w);
    return w;
  }
  // Those of a whole object or of one that was overwritten in part: the kinds of bytes that have one of these bits.
  bool HasObjectBytes() const { return (Word() & 0x0c0c0c0c0c0c0c0c) != 0; }
  // Unknown data or never written throughout; with all capabilities, a load gives an unknown scalar either way.
  bool AllUnknown() const { return (Word() & 0x0101010101010101) == 0; }
};

// How many states refer to something that they share. `shared` false: only one thread ever touches it.
class RefCount {
 public:
  void Add(bool shared) {
    if (shared) {
      n_.fetch_add(1, std::memory_order_relaxed);
    } else {
      n_.store(n_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  }
  // Whether that was the last one.
  bool Drop(bool shared) {
    if (shared) return n_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    const uint32_t n = n_.load(std::memory_order_relaxed) - 1;
    n_.store(n, std::memory_order_relaxed);
    return n == 0;
  }
  bool Unique() const { return n_.load(std::memory_order_acquire) == 1; }
  void Init() { n_.store(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> n_{1};
};

inline constexpr int kPageSlots = 8;
inline constexpr int kMaxPages = kMaxSlots / kPageSlots;

// Pages and frames come from the pool as they were given back, or the first time as memory is: whoever takes one writes
// the slots and registers.
struct StackPage {
  StackPage() {}
  RefCount refs;
  union {
    StackSlot slots[kPageSlots];
  };
};

struct Frame {
  Frame() {}
  union {
    std::array<Reg, kMaxReg> regs;
  };
  int32_t callsite = -1;  // the call in the caller; -1: the outermost frame
  uint8_t frameno = 0;
  uint16_t subprog = 0;
  int32_t instance = 0;   // calling context for stack liveness
  // Slot i is fp - 8*(i+1), in use for i < slots; grows as it is used. Written through StatePool::WritableSlot alone.
  int32_t slots = 0;
  uint64_t spills = 0;    // which slots hold a spilled register (IsSpill)
  uint64_t objects = 0;   // which slots hold bytes of an iterator, a dynptr or saved interrupt flags
  // Slots of buffers that programs may write to through a slice of a dynptr, without telling. What is stored there is
  // unknown data as long as such a slice is in use.
  uint64_t buffers = 0;
  // Functions that a helper calls back, any number of times.
  bool in_callback = false;      // this is one
  bool in_async_callback = false;  // the outermost frame of one that runs later
  uint32_t async_entries = 0;      // how many of those started one another to get here
  uint32_t callback_depth = 0;   // times that the innermost call of this frame has called back in a row
  StackPage* pages[kMaxPages] = {};  // null: slots that were never written
  RefCount refs;

  void Init(int32_t callsite_, int frameno_, int subprog_, int instance_);
  const StackSlot& slot(int i) const {
    const StackPage* page = pages[i / kPageSlots];
    return page != nullptr ? page->slots[i % kPageSlots] : kNoSlot;
  }

 private:
  static const StackSlot kNoSlot;
};

// Instead of a map: the lock lies in an object that the program made.
inline constexpr int32_t kLockInObject = -2;

// Something that must be given back before the program ends.
struct Ref {
  enum class Kind : uint8_t { kPointer, kIrq, kLock, kResLock, kResLockIrq };
  Kind kind = Kind::kPointer;
  uint32_t id = 0;
  uint32_t insn = 0;  // where it was acquired
  int32_t map = -1;   // of a lock: the map that it lies in, or kLockInObject

  bool IsLock() const { return kind >= Kind::kLock; }
};

// What the search has to remember of a step for going back along the path (explore/path.h).
inline constexpr uint32_t kHistStackAccess = 1u << 31;  // with frame << 8 | slot in the low bits
inline constexpr uint32_t kHistSrcStack = 1u << 30, kHistDstStack = 1u << 29;
constexpr uint32_t HistStackAccess(uint32_t frame, uint32_t slot) { return kHistStackAccess | frame << 8 | slot; }

// Up to 6 registers or spilled slots, 10 bits each above a 4-bit count.
struct LinkedRegs {
  struct Entry {
    uint8_t frame, index;
    bool is_reg;
  };
  int count = 0;
  Entry entries[6];
  bool Push(int frame, int index, bool is_reg) {
    if (count == 6) return false;
    entries[count++] = {static_cast<uint8_t>(frame), static_cast<uint8_t>(index), is_reg};
    return true;
  }
};
uint64_t PackLinked(const LinkedRegs& regs);
LinkedRegs UnpackLinked(uint64_t packed);

struct State {
  int cur = 0;  // index of the innermost frame
  Frame* frames[kMaxFrames] = {};  // the innermost belongs to this state alone, its callers may be shared
  std::vector<Ref> refs;
  uint32_t active_locks = 0;
  uint32_t lock_id = 0;   // identity of the lock taken last; 0: none
  int32_t lock_map = -1;
  // Sections that are open.
  uint32_t rcu_locks = 0, preempt_locks = 0;
  uint32_t irq_id = 0;      // the innermost one without interrupts, 0: none
  bool async_sleeps = false;  // of a function that runs later: it may sleep, whatever the program may
  bool speculative = false;   // only a processor that guesses a branch wrong, or skips a mask, gets here
  uint32_t id_gen = 0;    // the last id given out on this path
  // Turns taken of loops that need not be counted through: they differ between states of different turns.
  uint32_t may_goto_depth = 0, callback_unroll_depth = 0;

  Frame& frame() { return *frames[cur]; }
  const Frame& frame() const { return *frames[cur]; }
  std::array<Reg, kMaxReg>& regs() { return frames[cur]->regs; }
  const std::array<Reg, kMaxReg>& regs() const { return frames[cur]->regs; }

  // Bytes of the whole state as if nothing were shared: a number that does not depend on who shares what.
  uint64_t bytes() const {
    uint64_t n = sizeof(State) + static_cast<uint64_t>(cur + 1) * sizeof(Frame);
    for (int i = 0; i <= cur; ++i) n += static_cast<uint64_t>(frames[i]->slots) * sizeof(StackSlot);
    return n;
  }
};

// What the pools of one search have in common.
struct StateDepot {
  Depot<State> states;
  Depot<Frame> frames;
  Depot<StackPage> pages;
};

// Makes states, frames and pages, and takes them back for reuse. Not thread-safe: one per thread. States may go from one
// pool to another with the same depot, after Share().
class StatePool {
 public:
  explicit StatePool(StateDepot& depot, bool shared = false)
      : states_(depot.states), frames_(depot.frames), pages_(depot.pages), shared_(shared) {}
  StatePool(const StatePool&) = delete;
  StatePool& operator=(const StatePool&) = delete;

  // From now on (not) in use by several threads.
  void Share(bool shared) { shared_ = shared; }

  State* NewState();
  // With one frame, of `subprog`, as it stands at that function's start but for its arguments.
  State* NewEntry(int subprog, int instance);
  State* Clone(const State& from);
  void Free(State* state);
  Frame* NewFrame();
  void FreeFrame(Frame* frame);

  // Frame `i` of the state, not shared with another state.
  Frame& Writable(State& state, int i) {
    Frame*& f = state.frames[i];
    if (i < state.cur && !f->refs.Unique()) Unshare(f);
    return *f;
  }
  // Slot `i` of a frame that is not shared.
  StackSlot& WritableSlot(Frame& frame, int i) {
    StackPage*& page = frame.pages[i / kPageSlots];
    if (page == nullptr || !page->refs.Unique()) OwnPage(page);
    return page->slots[i % kPageSlots];
  }
  // Calls f(Reg&) for every register and spilled register, of every frame, that `wanted(const Reg&)` holds for.
  template <typename P, typename F>
  void UpdateRegs(State& state, P wanted, F f) {
    for (int i = 0; i <= state.cur; ++i) {
      for (int r = 0; r < kMaxReg; ++r) {
        if (wanted(state.frames[i]->regs[r])) f(Writable(state, i).regs[r]);
      }
      for (uint64_t m = state.frames[i]->spills; m != 0; m &= m - 1) {
        const int s = std::countr_zero(m);
        if (wanted(state.frames[i]->slot(s).spilled)) f(WritableSlot(Writable(state, i), s).spilled);
      }
    }
  }

 private:
  void Unshare(Frame*& frame);
  void OwnPage(StackPage*& page);
  void CopyFrame(Frame& to, const Frame& from);

  Parts<State> states_;
  Parts<Frame> frames_;
  Parts<StackPage> pages_;
  bool shared_;
};

// ---- Subsumption -------------------------------------------------------------------------------------------------

// Bits that are set after the fact and never cleared, by one thread; any thread may read them.
template <typename T>
class Flags {
 public:
  operator T() const { return v_.load(std::memory_order_relaxed); }
  void operator|=(T bits) { v_.store(static_cast<T>(v_.load(std::memory_order_relaxed) | bits), std::memory_order_relaxed); }

 private:
  std::atomic<T> v_{0};
};
// Which scalars of a published state some later check relied on.
struct PreciseMarks {
  Flags<uint16_t> regs[kMaxFrames];
  Flags<uint64_t> slots[kMaxFrames];
};
// What a state's continuation may still read.
struct LiveMasks {
  uint16_t regs[kMaxFrames] = {};
  uint64_t slots[kMaxFrames] = {};
};
// The part of a published state that a comparison has to look at: what is live and holds something that could matter.
struct CompareMasks {
  uint16_t typed[kMaxFrames] = {};    // registers with something other than a scalar
  uint16_t scalars[kMaxFrames] = {};  // registers that count only once they are marked precise
  uint64_t slots[kMaxFrames] = {};    // stack slots with known contents
};
// Which slots of unknown data are to be compared: none, as loads give the same for all; those that were written, where
// others may not be loaded; or all, which then cover no pointer.
enum class UnknownSlots : uint8_t { kNone, kWritten, kAll };
CompareMasks MasksFor(const State& state, const LiveMasks& live, UnknownSlots unknown = UnknownSlots::kNone);

// The pairs (old id, current id) met so far in one comparison.
class IdMap {
 public:
  void Reset(uint32_t temporary_base) {
    n_ = 0;
    next_temporary_ = temporary_base;
  }
  bool Check(uint32_t old_id, uint32_t cur_id) {
    if ((old_id | cur_id) == 0) return true;
    return CheckSlow(old_id, cur_id);
  }
  bool CheckScalar(uint32_t old_id, uint32_t cur_id);

 private:
  bool CheckSlow(uint32_t old_id, uint32_t cur_id);
  static constexpr int kMax = (kMaxReg + kMaxSlots) * kMaxFrames;
  uint32_t old_[kMax], cur_[kMax];
  int n_ = 0;
  uint32_t next_temporary_ = 0;
};

// Where the last comparison with a state failed. The next one most likely fails there too, so it looks there first; the
// answer is the same. May be used by several threads at once.
class FailureHint {
 public:
  void Set(int frame, int reg, int slot) {
    const uint16_t at = static_cast<uint16_t>(kSet | frame << 8 | (slot < 0 ? reg : 16 + slot));
    if (at != at_.load(std::memory_order_relaxed)) at_.store(at, std::memory_order_relaxed);
  }
  bool Get(int* frame, int* reg, int* slot) const {
    const uint16_t at = at_.load(std::memory_order_relaxed);
    *frame = at >> 8 & 7;
    *reg = at & 0xff;
    *slot = *reg - 16;
    return at != 0;
  }

 private:
  static constexpr int kSet = 1 << 15;
  std::atomic<uint16_t> at_{0};
};

// Whether everything that is safe from `old_` on is safe from `cur` on (the kernel's states_equal, NOT_EXACT), where
// `old_` is finished. `id_base` is any number above every id in `cur`.
bool Subsumes(const State& old_, const PreciseMarks& precise, const CompareMasks& masks, const State& cur,
              uint32_t id_base, IdMap& ids, FailureHint& hint);
// The same where it is not known yet which scalars matter: all of them do (RANGE_WITHIN). `every_slot`: nor which slots; then
// those that nothing reads count, too, and have to hold the same kind of thing.
bool SubsumesWithin(const State& old_, const CompareMasks& masks, bool every_slot, const State& cur, uint32_t id_base,
                    IdMap& ids);

// Both for programs whose loader lacks CAP_PERFMON: bytes of stack that were never written may not be loaded, and a
// speculative state covers no other. The masks are those for UnknownSlots::kWritten.
bool SubsumesGuarded(const State& old_, const PreciseMarks& precise, const CompareMasks& masks, const State& cur,
                     uint32_t id_base, IdMap& ids, FailureHint& hint);
// `same_scalars`: scalars have to be the same, not only within (the kernel's explore_alu_limits).
bool SubsumesGuardedWithin(const State& old_, const CompareMasks& masks, bool every_slot, const State& cur, uint32_t id_base,
                           IdMap& ids, bool same_scalars);
// Another turn of a loop that need not be counted through: what no check has relied upon so far, and what was not the
// same at the turn before, may be anything from here on (widen_imprecise_scalars). `before` stood where `now` stands,
// or the instruction before.
void WidenImprecise(const State& before, const PreciseMarks& precise, State& now, StatePool& pool, IdMap& ids);
// The slot at which a stack pointer points to the start of an iterator, null: it does not.
const StackSlot* IterAt(const State& state, const Reg& pointer);
// Whether the states are of different turns of an iterator's loop.
bool IterDepthsDiffer(const State& old_, const State& cur);
// Whether the states were called from the same places.
bool SameCallChain(const State& old_, const State& cur);
// Whether the states are the same but for the names of ids (states_equal, EXACT).
bool SameState(const State& old_, const State& cur, IdMap& ids);
// The kernel's states_maybe_looping: the innermost frames' registers are the same bytes.
bool MaybeLooping(const State& old_, const State& cur);

// ---- Log text ----------------------------------------------------------------------------------------------------

// " R1=ctx() R10=fp0", as the kernel's log level 2 prints a frame. With `before`, only what differs from it, and the
// registers in `also_regs` and slot `also_slot` (-1: none).
void AppendFrame(std::string& out, const State& state, int frame, const std::vector<MapDef>& maps,
                 const Frame* before = nullptr, uint16_t also_regs = 0, int also_slot = -1);
void AppendReg(std::string& out, const Reg& reg, int frameno, const std::vector<MapDef>& maps);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_STATE_STATE_H_
