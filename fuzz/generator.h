// The generator proper; generate.h is its face. Fragments are member functions that write instructions and keep the
// model true. Each has a place or two at which Defect() may turn it into a broken one.
#ifndef BPFSIEVE_FUZZ_GENERATOR_H_
#define BPFSIEVE_FUZZ_GENERATOR_H_

#include <bit>
#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/program/program.h"
#include "engine/spec/spec.h"
#include "fuzz/choices.h"
#include "fuzz/code.h"
#include "fuzz/generate.h"
#include "fuzz/model.h"

namespace bpfsieve {

struct Target;  // kernel_objects.cc

class Generator {
 public:
  Generator(std::span<const uint8_t> bytes, const GenerateOptions& options) : c_(bytes), o_(options) {}
  std::shared_ptr<Object> Run();

 private:
  using Kind = Value::Kind;
  enum MapUse { kArrayMap, kHashMap, kSingleMap, kRingMap, kLockMap, kConstantMap, kDataMap, kTimerMap, kQueueMap, kTaskMap, kResLockMap, kMapUses };

  // A place to jump to, and what the jumps there leave behind.
  struct Label {
    int id = -1;
    bool used = false;
    Model in;
  };
  // Registers that must not be overwritten while it lives.
  class Pin {
   public:
    Pin(Generator& g, int reg) : g_(g), before_(g.pinned_) {
      if (reg >= 0 && reg < kModelRegs) g_.pinned_ |= 1u << reg;
    }
    ~Pin() { g_.pinned_ = before_; }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    Generator& g_;
    const uint32_t before_;
  };
  struct Param {
    Kind kind = Kind::kScalar;  // kScalar, kBuffer, kMapValue, kCtx, or kNone: of no use
    uint64_t max = ~uint64_t{0};
    int room = 0;
    bool nullable = false;
    bool own = false;        // memory that is surely writable
    bool read_only = false;
    std::string text{};      // of a global function, as its prototype has it
    const char* object = nullptr;  // one of the kernel's, of this type
    bool arena = false;      // an address in an arena
    bool moves = false;      // kCtx: the function moves the packet
  };
  // One that lies at a slot, the lower of its two, or that a register points to.
  struct Dynptr {
    int slot = -1, home = -1;
    DynptrKind kind = DynptrKind::kLocal;
    int size = 8;  // that is mostly there
    int kept = -1;  // a register for its slices that outlives it; -1: none
  };
  struct Sub {
    std::vector<Param> params;  // in R1, R2, ...
    uint64_t ret_max = ~uint64_t{0};
    bool global = false;
    bool callback = false;  // a helper calls it, any number of times
    bool less = false;      // it orders a tree
    bool later = false;     // a timer or a work queue runs it
    bool in_section = false, in_rcu = false;  // called within one
    bool called = false;
    bool typed = false;   // made for one call, with an argument of a kind
    int forks = 0;  // in its body
  };

  // generator.cc: the frame.
  void ChooseType();  // kernel.cc
  int UseMap(MapUse use);  // its index; made when first used
  void ChooseSubs();
  void Main();
  void SubBody(int index);
  void WriteStack();
  void GivenArgument(const Param& param, Label& leave);
  void Return(Label& leave, uint64_t max, bool context_range);
  void Block(int fragments, int depth);
  void Fragment(int depth);

  // generator.cc: small things.
  bool Full() const { return code_.size() >= o_.max_insns || c_.Spent(); }
  bool Defect(double probability = 0.6);
  // Whether a block may hold another: every level takes a register or two for good.
  bool Deep(int depth) const { return depth < o_.max_depth && std::popcount(pinned_) <= 5; }
  bool CanFork() const { return forks_ > 0; }
  bool CallsAllowed() const { return !locked_; }
  int32_t SomeImm();
  int SomeCompare() { return c_.Of(kCompares); }
  Label NewLabel() { return Label{code_.NewLabel(), false, {}}; }
  // SomeBranch: on any comparison.
  void BranchImm(int op, int reg, int32_t imm, Label& to, bool wide = true);
  void SomeBranchImm(int reg, int32_t imm, Label& to, bool wide = true) { BranchImm(SomeCompare(), reg, imm, to, wide); }
  void SomeBranchReg(int a, int b, Label& to, bool wide) { BranchReg(SomeCompare(), a, b, to, wide); }
  void BranchReg(int op, int a, int b, Label& to, bool wide = true);
  void Goto(Label& to);  // what follows is not reached unless it is bound
  void Take(const Insn& insn, Label& to, bool fork);
  void Bind(Label& label, bool falls_through = true);
  Label& Bail();
  int Dst(bool saved = false);    // a register to overwrite
  int Saved();                    // one that calls leave alone and nothing of worth is in, or -1
  int Home();                     // Saved(), or else Dst()
  int RegOf(Kind kind);           // -1: none
  int MemoryReg(int need, bool write, bool atomics);  // a pointer with at least `need` bytes, -1: none
  int FreeSlot();                 // a slot that nothing relies on
  void StackWritten(int off, int size, const Value* value);
  void ClobberedByCall(const Value& result);
  void ForgetPackets();
  void Set(int reg, const Value& v) { m_.regs[reg] = v; }

  // numbers.cc
  int NewScalar();                // the register
  int AnyScalar(int avoid = -1);  // a register with a number, made if there is none
  int Unknown();                  // likewise; nothing is known of the number
  bool ScalarByCall();            // into R0
  int Bounded(uint64_t max);      // a register with a number in [0, max]
  void Refine(int reg, uint64_t max);
  void Limit(int reg, uint64_t max);
  void OneWay(const std::function<void()>& spoil);
  void Zeros();
  void Alu();
  void Unary();
  void Linked();
  void Spill();
  void Fill();

  // sections.cc
  int ClaimSlots(int count);
  void GiveSlotsBack(int lowest, int count);
  void While(Label& back, const std::function<void()>& body);
  void Section(int depth);
  void Timer();

  // dynptrs.cc
  bool HasPacketKfuncs() const;
  void DynptrAddress(int to, const Dynptr& d);
  void ForgetSlices();
  void Dynptrs(int depth);
  void UseDynptr(const Dynptr& d);
  void DrainRing();

  // graph.cc
  int UseGraph();
  void AccessObject(int reg, int bytes, int at);
  void ForgetObjects();
  void MakeObject(int home, int type, bool copies, Label& none);
  void DropObject(int home, bool copies);
  void LessBody();
  void HandOver(int home, int graph, bool tree);
  void LookAtElements(int graph, int taken);
  void Objects(int depth);
  void Kept(int home, int graph);
  void Copies(int home, int graph);

  // kernel_objects.cc
  void ChooseTarget();
  int KernelMember(const char* type, const char* member) const;
  bool CanTyped(const char* name) const;
  const char* SomeKernelObject(int home, Label& none, bool* acquired, bool* sure);
  void LoadKernelNumber(int reg, const char* type);
  void UseKernelObject(int home, const char* type);
  void KernelObjects(int depth);
  void KeptTask();
  void TracingArgument();
  RetRule Returns() const;
  bool Readers() const;
  int WritableMember(std::string_view type);
  bool IsBuffer(int argument) const;
  void MapElement();
  void MapDescription();
  void Format();

  // typed_arguments.cc
  void CallGlobal(Param param, int home);
  bool MayCallGlobal() const;
  void PassDynptr(const Dynptr& d);
  void PassObject(int home, const char* type);
  void MovedFar();
  void UseArena(int home, int other);
  void Arena();

  // kernel_calls.cc
  void Conntrack(int depth);
  const char* NewIterator(int slots, const char** name);
  void FindVma();
  void TracepointBuffer();

  // control.cc
  void Diamond(int depth);
  void Switch(int depth);
  void Correlated(int depth);
  void EarlyExit();
  void Loop(int depth);
  void LoopBody(int rounds, int counter, int index, int depth, Label& end);
  void OpenLoop(int depth);
  void CarryingLoop();
  void IteratorLoop(int depth);
  void CallBack();
  void WeakenForLoop();
  void RepairAtBackEdge(const Model& head);

  // memory.cc
  void Access(int pointer);
  void Atomic(int pointer);
  int AddIndex(int pointer);      // a new pointer at a variable offset, -1: no room for one
  int StackBuffer(int size, bool fill);  // a pointer to this function's stack
  void StackIndexed();
  void AccessSome();
  int CtxReg();
  void CtxLoad();
  void Packet(int depth);
  void PacketChange();

  // objects.cc
  int KeyFor(const MapDef& map);  // its offset in the stack
  int Lookup(int map, Label& null);
  void MapValues(int depth);
  void MapUpdate();
  void RingbufOutput();
  void DirectValue();
  void Ringbuf(int depth);
  void SpinLock(int depth);
  Sub CalledBackHere() const;
  void CallSub(int depth);

  // classic.cc
  void UseAsIndex(int index, int slots);
  void TwoValues();
  void TwoLocks();
  void Fetched();
  void Filled();
  void Constants();
  void Wrapped();
  void PacketAgain();
  void SamePointers();
  void ThereAndBack();

  // kernel.cc
  bool Can(int32_t helper) const;
  bool MayLock() const;
  bool PacketWritable() const;
  bool PacketsPinned() const;
  bool LoadCtxNumber(int d, int ctx);
  int ExtraMap(MapType type);
  void AnyHelper();
  void Socket();
  void FlowKeys();
  void TailCall();
  std::string_view ContextName() const;
  bool CanKfunc(const char* name) const;
  void Kfunc(const char* name);
  void Throw();
  void Compared();
  void ConstString();
  void LookupInMap();
  void LegacyLoad();
  void PacketMeta();
  void PointerPlay();
  void SignMask();

  static constexpr int kCompares[] = {kJeq, kJne, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle, kJset};

  Choices c_;
  const GenerateOptions& o_;
  std::shared_ptr<Object> object_;
  Program* p_ = nullptr;
  Code code_;
  std::vector<Sub> subs_;
  int maps_[kMapUses];  // indices, -1: not used yet

  std::vector<std::pair<MapType, int>> extra_maps_;
  struct Graph {
    int map = -1;
    bool list = false, tree = false, counted = false;
    int list_node = 0, tree_node = 0;  // offsets in an element
    int other_node = 0;                // of a tree if there is one, else of a list; 0: there is none
    int taken_node = 0;                // of the one that was taken out last
  } graph_;
  // Of the context: offsets of numbers, of what may be written, of the packet's ends, of a socket; -1: none.
  struct CtxFacts {
    std::vector<int> fields, writable;
    int packet = -1, packet_end = -1, packet_size = 4, socket = -1, sure_socket = -1, flow_keys = -1, meta = -1;
    bool socket_common = false;
    std::bitset<256> helpers;  // that may be called
    bool iterators = false, throws = false, sections = false, objects = false;  // kernel functions, likewise
  };
  static CtxFacts ReadCtxFacts(const Program& program, const Capabilities& caps);
  const CtxFacts* ctx_facts_ = nullptr;
  bool task_functions_ = false;  // the kernel's types have them, and the program may call them
  const Target* target_ = nullptr;  // what a tracing program, or one of a kind, is attached to

  // Of the function being written.
  Model m_;
  int sub_ = -1;           // -1: the main program
  int ctx_home_ = -1;      // register, or
  int ctx_slot_ = -1;      // slot that holds the context for good
  int slots_ = 0;          // slots in use
  int kept_slots_ = 0;     // of these the first, which fragments claim and give back
  uint32_t pinned_ = 0;
  uint32_t pinned_slots_ = 0;
  std::vector<Label*> bails_;  // where a check that failed may go, innermost last
  size_t bail_floor_ = 0;      // those below would leak what is held
  int held_ = 0;               // references
  bool locked_ = false;
  bool reading_ = false;       // in an RCU section
  std::vector<int> clones_;    // slots of dynptrs that go with another one
  int forks_ = 0;
  bool defect_ = false;        // the fragment being written is to be broken
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_GENERATOR_H_
