// A BPF machine for testing a verifier: it runs a program on numbers instead of sets of numbers, and says at once when
// something happens that a verifier must have excluded.
//
// Memory is made of regions: the stack of each function in progress, the context, values of maps, packets, records,
// sockets. A pointer is 64 bits as on a real machine, so that programs may do arithmetic on it, and remembers the region
// that it was made from; leaving a region and coming back is fine, an access outside of it is a fault, whatever lies
// there. So is one to a region that is gone, a read of a register that was never set, a reference or lock that is not
// given back, an argument that a helper does not take. A fault ends the run; nothing happens in this process.
//
// Whatever the program has no right to know is chosen against it, from a seed: what memory holds that others may write
// (contexts, packets, values of maps: every load is answered anew, unless the verifier claims to know the contents), what
// helpers return and write, how long packets are, whether look-ups find anything, what the stack holds at first. Choices
// lean on the program's own constants, where off-by-one errors show.
//
// Turned down: memory with real contents for maps and packets. A verifier claims nothing about them that storing would
// put to the test, and answers made up on the spot vary more, at no cost. And one flat memory with guard zones: an access
// that is wrong but lands in another object would pass.
#ifndef BPFSIEVE_FUZZ_MACHINE_H_
#define BPFSIEVE_FUZZ_MACHINE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/program/program.h"
#include "engine/spec/spec.h"
#include "engine/transfer/transfer.h"

struct btf_type;

namespace bpfsieve {

// What a register or eight bytes of stack hold.
struct Word {
  uint64_t bits = 0;
  int32_t region = -1;  // of a pointer: index of the region that it was made from; -1: a number
  bool set = false;     // registers: something was written to it

  static Word Number(uint64_t v) { return {v, -1, true}; }
};

struct Region {
  // kObject: made by the program, of one of its own types. kKernel: of a type of the kernel's. kDynptr: one that a function is
  // given by its caller. kArena: every address is one of its own.
  enum class Kind : uint8_t {
    kStack, kContext, kMap, kMapValue, kPacket, kMemory, kSocket, kFlowKeys, kObject, kKernel, kDynptr, kArena, kOther,
  };
  Kind kind = Kind::kOther;
  bool alive = true;
  bool readable = true, writable = true;
  bool lent = false;         // kObject: somebody else's; gone when the lock is
  // kObject, kKernel: somebody else's, there until the section ends; may be anything, and is only good for reading.
  bool rcu = false, untrusted = false;
  bool trusted = false;      // kKernel: somebody else's, there as long as the program runs
  bool plain = false;        // kKernel: of which nothing is said; helpers take such ones
  bool percpu = false;       // kObject: a copy for each processor
  bool packet_slice = false;  // gone when the packet moves
  int32_t map = -1;        // kMap, kMapValue: index in Object::maps
  uint32_t type_id = 0;    // kObject: in Object::btf; kKernel: of the kernel's types, 0: unknown
  int32_t within = -1;     // a slice: the region whose bytes these are
  int32_t data_of = -1;    // a slice: of the dynptr with this number, with which it goes; or an iterator's latest element
  int32_t function = -1;   // kOther: of a function's address, its first instruction
  int32_t reference = -1;  // what has to be given back, and the region dies with
  uint32_t size = 0;       // bytes
  uint64_t base = 0;       // address of the first byte
  uint32_t data_at = 0;    // kPacket: where the packet begins, after its metadata; it ends at `size`
  uint8_t* bytes = nullptr;  // contents; null: of a stack, or unknown
};

struct Outcome {
  // kTooLong: the budget of steps ran out. kNotModelled: `what` says what the machine does not know.
  enum class Kind : uint8_t { kExit, kFault, kTooLong, kNotModelled, kStopped };
  Kind kind = Kind::kExit;
  std::string what;    // kFault, kNotModelled
  uint32_t insn = 0;   // the last instruction
  uint64_t r0 = 0;     // kExit
  uint64_t steps = 0;  // instructions executed
};

class KernelBtf;
class Machine;

// Looks at the machine before each instruction. False stops the run.
class StepWatcher {
 public:
  virtual ~StepWatcher() = default;
  virtual bool Before(const Machine& machine, uint32_t insn) = 0;
};

// Not thread-safe; one program at a time, any number of runs. The object must outlive it.
class Machine {
 public:
  struct Frame {
    std::array<Word, 16> regs;
    std::array<uint8_t, 512> stack;
    std::array<int32_t, 64> pointers;  // region of the pointer in the aligned eight bytes 8 * i above the bottom; -1
    int32_t callsite = -1;             // the call in the function before
    int32_t stack_region = -1;
    bool global = false;               // verified on its own
    bool callback = false;             // called by a helper, the one at `callsite`
    bool later = false;                // run by a timer or a work queue
    bool sleeps = false;               // it may, whatever the program may
    uint32_t rcu = 0, preempt = 0, irq = 0;  // sections open when it was called
    // Of the one that called such a helper, while it calls back: how often it has, and is to, and what it passes on.
    enum class Turn : uint8_t { kLoop, kElement, kSample, kLess, kArea } kind = Turn::kLoop;
    uint64_t turns = 0, turns_left = 0;
    uint32_t function = 0;
    Word passed_on;
  };

  // Something on the stack that only its own functions may look into.
  struct StackObject {
    enum class Kind : uint8_t { kIterator, kDynptr, kIrqFlag };
    Kind kind = Kind::kIterator;
    int32_t region = -1;     // the stack that it lies on, and where; or a region of kind kDynptr
    uint64_t at = 0, size = 0;
    int32_t reference = -1;  // to be given back; -1: none
    IterType iter = {};
    uint64_t left = 0;       // kIterator: elements
    DynptrKind dynptr = DynptrKind::kNone;
    int32_t number = 0;      // kDynptr, kIterator: no other has it. kIrqFlag: the later, the greater
    int32_t memory = -1;     // kDynptr: the region of its memory, which begins at `begin`; -1: it is null
    uint64_t begin = 0, length = 0;
    bool read_only = false;
    bool of_lock = false;    // kIrqFlag: saved by a lock that was taken
  };

  // Prepares for a program, which has to be one that Verify accepts; of others, runs end in a fault or in nonsense.
  void Load(const Object& object, int program);
  // A run from the entry, with the context in R1. A pure function of what was loaded and the seed.
  Outcome Run(uint64_t seed, uint64_t max_steps, StepWatcher* watcher);
  // A run on memory: its address in R1, its size in R2.
  Outcome RunOnMemory(std::vector<uint8_t>& memory, uint64_t max_steps);

  int frame_count() const { return depth_; }
  const Frame& frame(int i) const { return frames_[static_cast<size_t>(i)]; }
  // The innermost frame that belongs to a function that is verified on its own.
  int base_frame() const { return base_; }
  // References that have to be given back, and whether a lock is held.
  size_t held() const { return held_.size(); }
  size_t locks() const { return locks_.size(); }
  // Sections that the innermost function that is verified on its own has opened.
  uint32_t rcu() const { return rcu_ - frame(base_).rcu; }
  uint32_t preempt() const { return preempt_ - frame(base_).preempt; }
  uint32_t irq() const { return irq_ - frame(base_).irq; }
  // What begins at this slot of a frame; null: nothing does.
  const StackObject* ObjectAt(int frame, int slot) const;
  const std::vector<MapDef>& maps() const { return object_->maps; }
  const Region& region(int i) const { return regions_[static_cast<size_t>(i)]; }
  // The stack word at slot `slot` (fp - 8 * (slot + 1)) of a frame.
  Word StackWord(int frame, int slot) const;
  uint64_t FramePointer(int frame) const { return region(frames_[static_cast<size_t>(frame)].stack_region).base + 512; }

 private:
  Outcome Execute(uint64_t max_steps, StepWatcher* watcher);
  void Reset(uint64_t seed);
  bool Step();
  bool Alu(const Insn& i);
  bool Jump(const Insn& i);
  bool LoadStore(const Insn& i);
  bool Atomic(const Insn& i);
  bool AtomicPlace(const Insn& i);
  bool LoadImm64(const Insn& i);
  bool LoadPacket(const Insn& i);
  bool CallFunction(const Insn& i);
  bool CallHelper(const Insn& i);
  bool CallKfunc(const Insn& i);
  bool CallBack(uint32_t helper, int map);
  bool CallLess();
  bool NextTurn();
  bool EndOfTurn();
  bool MayEndWith(const Word& value);
  bool HelperArguments(uint32_t id, const HelperProto& proto);
  bool HelperResult(uint32_t id, const HelperProto& proto, const std::array<Word, 6>& args, int map, uint64_t key);
  bool LockArgument(const Word& w, SpecialField kind, bool take, bool irq);
  bool Return();
  bool Exit();
  bool Later();
  void PopFrame();

  // Kernel functions, and helpers that have to do with the same things (machine_kfuncs.cc).
  bool KfuncArguments(const KfuncProto& proto);
  bool Iterator(const KfuncProto& proto, Word* result);
  bool IteratorArgument(const KfuncProto& proto, const Word& w);
  bool Section(KfuncKind kind);
  bool Interrupts(int r, bool save, bool of_lock);
  bool ResilientLock(const KfuncProto& proto, Word* result);
  bool MaySleep() const;
  bool Reading() const;
  void EndOfReaders();
  void EndReference(int32_t reference);
  StackObject* FindObject(const Word& p, StackObject::Kind kind);
  bool NewPlace(const Word& p, uint64_t size);
  StackObject ObjectAt(const Word& place, StackObject::Kind kind, uint64_t size) const;
  void MakeDynptr(const Word& place, DynptrKind kind, int32_t memory, uint64_t begin, uint64_t length, int32_t reference);
  bool Overwrite(int32_t stack, uint64_t at, uint64_t size);
  Word Slice(const StackObject& of, uint64_t offset, uint64_t size);
  Word SliceOrBuffer(bool write);
  void WrittenThrough(const StackObject& d);
  void DynptrHelper(uint32_t id, const std::array<Word, 6>& args, Word* result);
  void DynptrKfunc(const KfuncProto& proto, const StackObject& source, Word* result);
  const std::vector<MapField>* FieldsOf(const Region& g) const;
  bool Field(const Word& w, SpecialField kind, const MapField** field);
  int NewObject(uint32_t type_id, uint64_t base, bool owned);
  bool Owned(const Word& w);
  bool GraphRoot(const Word& w, SpecialField kind, const MapField** root);
  bool GraphNode(const Word& w, const MapField& root);
  bool ObjectKfunc(const KfuncProto& proto, Word* result);
  bool ObjectHelper(uint32_t id, const std::array<Word, 6>& args);
  bool LoadKept(const MapField& field, Word* out);
  bool MayKeep(const MapField& field, const Word& value) const;
  // Objects of the kernel's (machine_kernel.cc).
  int NewKernelObject(uint32_t type_id);
  bool TrustedObject(const char* type, Word* out);
  bool Usable(const Region& g) const;
  void LoadMember(const Region& g, uint64_t at, int size, Word* out);
  const btf_type* AttachedTo(bool* skips) const;
  RetRule Returns() const;
  bool LoadArgument(uint64_t at, int size, Word* out);
  bool KernelArgument(const ArgSpec& spec, const Word& w);
  bool MayWriteMember(const Region& g, uint64_t at, uint64_t size) const;
  bool CallTyped(const TypedKfunc& function, uint32_t id);
  bool Cast(KfuncKind kind, Word* result);
  bool IsHeld(const Region& g) const;

  [[gnu::cold]] bool Fault(const char* what);
  bool NotModelled(std::string what);
  bool Read(int r);
  Word& reg(int r) { return frames_[static_cast<size_t>(depth_ - 1)].regs[static_cast<size_t>(r)]; }
  // Whether `size` bytes at the pointer plus `off` may be accessed; sets *at to the offset in the region.
  bool Reach(const Word& p, int64_t off, uint64_t size, bool write, uint64_t* at);
  bool Load(const Word& p, int64_t off, int size, Word* out);
  bool LoadContext(uint64_t at, int size, Word* out);
  bool Store(const Word& p, int64_t off, int size, const Word& value);
  Frame* FrameOf(int32_t region);  // null: not a stack, or gone
  void Scramble(const Word& p, uint64_t size);
  const MapField* FieldTouched(const Region& g, uint64_t at, uint64_t size) const;

  int NewRegion(Region::Kind kind, uint32_t size, int map = -1);
  int MapValueRegion(int map);
  int MapKeyRegion(int map);
  Word PointerTo(int region, uint64_t at = 0) const;
  int Packet();
  int Arena();
  void PacketMoved();
  void PushFrame(int32_t callsite, bool global);

  uint64_t Random();
  uint64_t Value();      // of interest
  bool Coin() { return (Random() & 1) != 0; }

  const Object* object_ = nullptr;
  const Program* program_ = nullptr;
  std::vector<int64_t> constants_;        // the program's own
  std::vector<int32_t> function_at_;      // per instruction: index in globals_ of a global function that starts here
  std::vector<FuncArgs> globals_;

  std::vector<Frame> frames_;
  std::vector<Region> regions_;
  std::vector<int32_t> direct_values_;    // per map: region of the value that instructions name; -1
  std::vector<int32_t> held_;             // references
  std::vector<StackObject> objects_;
  struct LaterCall {
    uint32_t function;
    int map;
    bool sleeps;
  };
  std::vector<LaterCall> later_;          // functions that timers and work queues are to run
  struct Kfunc {
    const KfuncProto* proto;  // null: not modelled, or
    const TypedKfunc* typed;
  };
  std::vector<Kfunc> kfuncs_;  // per extern
  const KernelBtf* kernel_ = nullptr;  // null: not known
  RetRule returns_;
  int depth_ = 0, base_ = 0;
  int32_t next_reference_ = 0, next_number_ = 0;
  uint32_t rcu_ = 0, preempt_ = 0, irq_ = 0;  // sections that are open
  int32_t context_ = -1, packet_ = -1, arena_ = -1;
  struct HeldLock {
    uint64_t bits;  // where it lies
    SpecialField kind;
    bool irq;       // taken with interrupts saved
  };
  std::vector<HeldLock> locks_;  // those that are held, the last one innermost
  uint64_t random_ = 0;
  uint32_t pc_ = 0;
  Outcome out_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_MACHINE_H_
