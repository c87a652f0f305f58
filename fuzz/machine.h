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
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// What a register or eight bytes of stack hold.
struct Word {
  uint64_t bits = 0;
  int32_t region = -1;  // of a pointer: index of the region that it was made from; -1: a number
  bool set = false;     // registers: something was written to it

  static Word Number(uint64_t v) { return {v, -1, true}; }
};

struct Region {
  enum class Kind : uint8_t { kStack, kContext, kMap, kMapValue, kPacket, kMemory, kSocket, kFlowKeys, kOther };
  Kind kind = Kind::kOther;
  bool alive = true;
  bool readable = true, writable = true;
  int32_t map = -1;        // kMap, kMapValue: index in Object::maps
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
    // Of the one that called such a helper, while it calls back: how often it has, and is to, and what it passes on.
    uint64_t turns = 0, turns_left = 0;
    uint32_t function = 0;
    Word passed_on;
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
  bool locked() const { return locked_; }
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
  bool Iterator(const KfuncProto& proto);
  bool CallBack(uint32_t helper, int map);
  bool NextTurn();
  bool EndOfTurn();
  bool HelperArguments(uint32_t id, const HelperProto& proto);
  bool Return();
  bool Exit();

  bool Fault(const char* what);
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
  bool TouchesField(const Region& g, uint64_t at, uint64_t size) const;

  int NewRegion(Region::Kind kind, uint32_t size, int map = -1);
  int MapValueRegion(int map);
  Word PointerTo(int region, uint64_t at = 0) const;
  int Packet();
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
  struct LiveIterator {
    IterType type;
    int32_t region;       // the stack that it lies on, and where
    uint64_t at, size;
    uint64_t left;        // elements
    int32_t reference;
  };
  std::vector<LiveIterator> iterators_;
  int depth_ = 0, base_ = 0;
  int32_t next_reference_ = 0;
  int32_t context_ = -1, packet_ = -1;
  Word lock_;                             // where the lock that is held lies; region -1: none
  bool locked_ = false;
  uint64_t random_ = 0;
  uint32_t pc_ = 0;
  Outcome out_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_MACHINE_H_
