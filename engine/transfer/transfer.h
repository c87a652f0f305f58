// One abstract step: a state and the instruction it stands at give the next state, a second one where the instruction
// forks, or a finding.
//
// Transfer knows nothing of the search. What the search has to do beyond going on (mark values precise back along the
// path, remember how the path went, explore the fork, compare pointer types between visits of one instruction) is
// returned as a request in StepResult, so that a search may run steps early and honour the requests later, in order.
#ifndef BPFSIEVE_ENGINE_TRANSFER_TRANSFER_H_
#define BPFSIEVE_ENGINE_TRANSFER_TRANSFER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/program/cfg.h"
#include "engine/program/program.h"
#include "engine/report/finding.h"
#include "engine/spec/spec.h"
#include "engine/state/state.h"

struct btf_type;

namespace bpfsieve {

class KernelBtf;

// What a global function takes, from its BTF prototype.
struct FuncArg {
  enum class Kind : uint8_t { kScalar, kCtx, kMem, kTrusted, kUntrusted, kDynptr, kArena } kind = Kind::kScalar;
  bool nullable = false;   // kMem, kTrusted
  uint32_t btf_id = 0;     // kTrusted, kUntrusted: a pointer to this structure of the kernel; 0: to anything
  uint32_t mem_size = 0;   // kMem: bytes
};
struct FuncArgs {
  std::vector<FuncArg> args;
  std::optional<Finding> error;   // the prototype breaks a rule
  std::string unsupported;        // it uses something that is not modelled
  bool tagged = false;            // a declaration tag says of some argument what it is
};
// Reads the prototype of `func` (linkage global). Safe from any thread.
FuncArgs ReadFuncArgs(const Object& object, const Program& program, const Subprog& func);

// Whether a pointer to type `id` of `btf` is the context of such programs, by its type alone (btf_is_prog_ctx_type).
bool IsContext(const struct btf* btf, uint32_t id, ProgType type);

// Gives the entry state of a global function the arguments of its prototype, which has no error.
void SetArguments(const FuncArgs& args, State& entry);

// A problem of one instruction's encoding that the kernel finds when it gets there, if ever.
struct LazyFault {
  bool bad = false;
  Rule rule{};
  std::string message;
};

// What a program is attached to: its context is that function's arguments.
struct AttachTarget {
  std::string name;                 // empty: of a program's function
  const btf_type* proto = nullptr;  // of the kernel's types, or of `btf`
  // A function of a program of type `of`, kUnspec: of the kernel.
  ProgType of = ProgType::kUnspec;
  const struct btf* btf = nullptr;
  bool untyped = false;             // of which no more is known than that it takes five numbers and returns one
  int skipped = 0;        // arguments of `proto` that programs do not see, from the first
  uint16_t pointer = 0;   // modifiers of the pointers that it passes
  uint32_t nullable = 0, error = 0;  // pointers that may be null, or an error number in its place: a bit per argument
  struct Typed {
    int position;  // eight bytes each
    RegType type;
    uint16_t flags;
  };
  std::vector<Typed> typed;  // arguments that are not what their type tells alone
  uint32_t socket = 0, tcp_socket = 0;  // pointers to the one are to the other; 0: none are
  std::optional<RetRule> returns;  // where the program's type does not tell
};

// Everything that stays fixed while a program is verified. Immutable; shared by all steps.
struct Context {
  const Object* object = nullptr;
  const Program* program = nullptr;
  const Cfg* cfg = nullptr;
  const StackLiveness* liveness = nullptr;
  AttachTarget target;                    // of a tracing program, or one of a hook or a table of functions
  bool extension = false;                 // `program` is that of one, with its target's type: it starts as the prototype says
  struct Sub {
    bool global = false;
    std::string_view name;  // the program's
    FuncArgs args;          // of global ones
  };
  std::vector<Sub> subs;                  // per subprogram of cfg
  std::vector<LazyFault> faults;          // per instruction; empty: none anywhere
  Capabilities caps;
  bool strict_alignment = false;
  bool has_arena = false;
  bool gpl = false;
  // For oracles: unknown bytes of stack do not cover a pointer. The kernel lets them; what follows is then only known to be
  // right for numbers, of which a pointer is one.
  bool strict_stack = false;

  const MapDef& map(int i) const { return object->maps[i]; }
};

// What may still be read, in every frame of a state up to `innermost`, which stands at `insn`.
LiveMasks LiveAt(const Context& context, const State& state, uint32_t insn, int innermost);

// StepEffects::alu_mask of arithmetic on two numbers, which gets none.
inline constexpr uint64_t kMaskOfNumbers = 1;

// What the kernel returns for errors is -1 to -kMaxErrno.
inline constexpr int kMaxErrno = 4095;

// What a step asks of the search.
struct StepEffects {
  // A second state to explore after this one's path, from `branch_insn`; owned by the caller.
  State* branch = nullptr;
  uint32_t branch_insn = 0;
  bool branch_records_step = true;  // the step's history entry belongs to the branch too
  // Where the kernel takes measures against speculation (Context::caps without perfmon): alu_mask depends on what the path
  // knows of a scalar; the instruction is followed by a barrier, which ends every speculative path.
  bool mask_of_scalar = false;
  bool barrier_after = false;

  // Registers (of the frame that was innermost before the step) and one stack slot that must be precise before it.
  uint16_t precise_regs = 0;
  int16_t precise_slot = -1;
  uint16_t precise_slot_frame = 0;
  uint32_t hist_flags = 0;
  uint64_t hist_linked = 0;
  // The pointer that the instruction used, when it may not differ between visits.
  RegType used_pointer = RegType::kNotInit;
  // Beyond that for stores: its flags. For calls, what the kernel notes beside the instruction, once for all visits: the
  // type of the object, or where in it a node lies. 0: nothing.
  uint64_t used_detail = 0;
  // A global function that the program calls, -1: none. A function that a helper calls back, likewise.
  int called_global = -1;
  int called_back = -1;
  // The branch is a function that runs later, on its own.
  bool branch_is_async = false;
  int called_later = -1;  // that function, -1: none
  // The mask that the instruction's offset gets, which must be the same on all paths; 0: none.
  uint64_t alu_mask = 0;
  // Begins another turn of a loop whose turns start at `turn_of` (Cfg::converge): the branch, if there is one, or else
  // the state that goes on. The search widens it. Null: no such state.
  State* turn = nullptr;
  uint32_t turn_of = 0;

  bool Any() const {
    return branch != nullptr || precise_regs != 0 || precise_slot >= 0 || hist_flags != 0 || hist_linked != 0 ||
           used_pointer != RegType::kNotInit || used_detail != 0 || alu_mask != 0 || barrier_after ||
           called_global >= 0 || called_back >= 0;
  }
};

struct StepResult : StepEffects {
  enum class Kind : uint8_t { kContinue, kPathEnd, kFinding, kUnsupported };
  Kind kind = Kind::kContinue;
  uint32_t next = 0;  // kContinue: the next instruction

  Rule rule{};
  int fault_reg = -1;
  std::string message;  // kFinding: kernel wording; kUnsupported: the feature

  // Ready for the next step. A step that ends in a message is the last one of its result.
  void Reset() {
    static_cast<StepEffects&>(*this) = StepEffects{};
    kind = Kind::kContinue;
  }
};

// The greatest stack use seen per subprogram, in bytes; grows monotonically.
using StackDepths = std::vector<uint16_t>;
struct StackUse {
  uint16_t subprog;
  uint16_t bytes;
};

// The contents of the map's values are `data` for good: nobody may change them any more.
inline bool KnownContents(const MapDef& map) {
  return map.frozen && !map.data.empty() && (MapAccessFlags(map.type, map.flags) & kMapRdonlyProg) != 0;
}

class Transfer {
 public:
  Transfer(const Context& context, StatePool& pool) : ctx_(context), prog_(*context.program), pool_(pool) {}

  // Executes instruction `insn` on `state`, in place. `r` must be fresh or Reset().
  void Step(State& state, uint32_t insn, StepResult& r);

  // Frames that grew since the caller last cleared this: the subprogram, and the bytes of stack that it uses now.
  std::vector<StackUse> grown;

 private:
  // What is known of a dynptr that a function is given.
  struct DynptrUse {
    uint32_t id = 0;
    uint32_t ref_obj_id = 0;
    DynptrKind kind = DynptrKind::kNone;
  };

  // Facts that arguments of one helper call establish for later arguments and the result.
  struct CallMeta {
    uint32_t id = 0;
    const HelperProto* proto = nullptr;
    int map = -1;
    uint32_t map_uid = 0;
    bool raw_mode = false;
    int raw_reg = 0, raw_size = 0;
    uint64_t mem_size = 0;
    uint64_t size_max = 0;
    int release_reg = 0;
    uint32_t ref_obj_id = 0;
    int64_t const_key = -1;
    bool const_key_known = false;
    int subprog = -1;  // the function to call back
    DynptrUse dynptr;  // the one that it is given
    const MapField* field = nullptr;  // kptr_xchg: the pointer in memory
  };

  // The same of a kernel function.
  struct KfuncMeta {
    uint32_t btf_id = 0;   // the function, in the kernel's types; 0: unknown
    uint32_t iter_ref = 0;
    DynptrUse dynptr;      // the last one that it is given
    DynptrKind written = DynptrKind::kNone;  // the first argument, where it is one
    uint64_t size = 0;     // kConstSize
    int map = -1;          // that the work queue lies in
    uint32_t map_uid = 0;
    int subprog = -1;      // to run later
  };
  // And of one that works on objects, lists and trees.
  struct ObjectMeta {
    uint64_t constant = 0;
    uint32_t ref_obj_id = 0;
    int release_reg = 0;
    const MapField* root = nullptr;  // the list or tree
    uint32_t type_id = 0;            // of the object passed
    bool owned = false;              // it is a reference that is held
    int subprog = -1;
  };

  // All checks return false after recording a finding.
  // Cold: the compiler keeps what leads to them apart from what runs.
  [[gnu::cold]] bool Fail(Rule rule, int reg, std::string message);
  [[gnu::cold]] bool Unsupported(std::string feature);
  [[gnu::cold]] bool Unset(int reg);
  bool ReadReg(int r) { return reg(r).type != RegType::kNotInit || Unset(r); }
  bool OperandsBefore(Rule fault);
  uint32_t NewId() { return ++st_->id_gen; }
  Reg& reg(int r) { return st_->regs()[r]; }
  const Insn& insn() const { return prog_.insns[pc_]; }
  const Frame& FrameOf(const Reg& stack_pointer) const { return *st_->frames[stack_pointer.frameno]; }
  Frame& WritableFrameOf(const Reg& stack_pointer) { return pool_.Writable(*st_, stack_pointer.frameno); }
  void Precise(int r) { out_->precise_regs |= static_cast<uint16_t>(1u << r); }
  // Clones the state for a fork.
  State* Fork(uint32_t at);
  // A pointer that the program may not make visible as a number.
  bool Hidden(const Reg& r) const { return !ctx_.caps.perfmon && !r.IsScalar(); }
  bool Leak(int r, const char* into);

  // alu.cc
  bool Alu();
  bool AluMov();
  void ForkOnSigns(Reg& dst, const Scalar& src);
  bool AluBinary();
  bool PointerArith(Reg& dst, const Reg& ptr, const Reg& off);
  bool SaneOffset(const Reg& r, const Reg& type_of);

  // sanitize.cc
  struct AluMask {
    uint64_t kind = 0;
    uint32_t limit = 0;
    bool to_left = false;
  };
  State* ForkSpeculative(uint32_t at);
  bool MaskBefore(const Reg& ptr, const Reg& off, bool dst_is_ptr, AluMask& mask);
  bool MaskAfter(const Reg& result, AluMask& mask);
  bool PointerLimit(const Reg& ptr, int r, bool to_left, uint32_t* limit);
  bool ResultInBounds(int r);

  // memory.cc
  bool LoadMem(), StoreMem(), Atomic(), LoadImm64(), LoadAbs();
  bool MemAccess(int r, int off, int size, bool write, int value, bool strict_once, bool sign_extend);
  bool Alignment(const Reg& p, int off, int size, bool strict_once);
  bool RegionAccess(int r, int64_t off, int64_t size, uint64_t region, bool zero_ok);
  bool RegionBounds(int r, int64_t off, int64_t size, uint64_t region, bool zero_ok);
  bool MapDirection(int r, int off, int size, bool write);
  bool MapAccess(int r, int off, int64_t size, bool zero_ok, bool by_helper);
  bool PacketAccess(int r, int64_t off, int64_t size, bool zero_ok);
  bool CtxAccessAt(int r, int off, int size, bool write, int value, bool sign_extend);
  bool SockFieldAccess(int r, int off, int size);
  bool PointerOffset(const Reg& p, int r, bool fixed_ok);
  bool UsePointer(RegType type);

  // btf.cc
  const KernelBtf* Kernel();
  bool InRcuSection() const;
  bool IsTrusted(const Reg& r) const;
  void MakeBtfPointer(Reg& r, uint32_t type, uint16_t flags);
  bool LoadField(int r, uint32_t type, int off, int size, int value, uint16_t holder_flags);
  bool ConntrackWrite(int r, int off, int size);
  bool NotWithoutPerfmon(int r, const std::string& name);
  bool BtfAccess(int r, int off, int size, bool write, int value);
  bool MapStructAccess(int r, int off, int size, bool write, int value);
  bool TableWrite(int r, int off, int size);
  bool TracingAccess(int r, int off, int size, bool write, int value);
  bool BtfArg(int r, const char* wanted, bool nullable, bool release, bool strict);
  bool BufferAccess(int r, int64_t off, int64_t size);
  bool KernelSymbol(const Extern& symbol, Reg& dst);
  bool PerCpuResult(uint32_t type, bool own, uint16_t null_flag);
  uint32_t KernelContextType(ProgType type);

  // stack.cc
  bool StackBounds(int r, int64_t off, int64_t size, bool write);
  bool StackRead(int r, int off, int size, int value);
  bool StackReadFixed(const Frame& f, int off, int size, int value);
  bool StackWrite(int r, int off, int size, int value);
  bool StackWriteFixed(Frame& f, int off, int size, int value);
  bool StackWriteVar(Frame& f, int r, int off, int size, int value);
  bool ReadableBytes(const Frame& f, int r, int off, int from, int to);
  bool StackRangeInit(int r, int off, int64_t size, bool zero_ok, bool write, CallMeta* meta);
  void ReadStackBytes(const Frame& f, int min_off, int max_off, int value);
  void GrowStack(const Reg& stack_pointer, int64_t bytes);
  void SaveReg(Frame& f, int spi, const Reg& r, int size);
  void Scrub(Frame& f, int spi);

  // jump.cc
  bool Jump();
  bool CondJump();
  int PointerBranch(const Reg& a, const Reg& b, uint8_t op, bool is32) const;
  void CollectLinked(State& s, uint32_t id, LinkedRegs& regs);
  void SyncLinked(State& s, const Reg& known, const LinkedRegs& regs);
  bool MatchPacketPointers(State& here, State& other);
  void MarkNullOrNot(State& s, int r, bool is_null);
  void NotNull(Reg& r);

  // call.cc, helper_arg.cc
  bool Call();
  bool CallSubprog();
  bool CallGlobal(int sub);
  bool CallHelper();
  bool HelperArg(int arg, CallMeta& meta);
  bool ArgType(int r, const ArgSpec& spec, Arg base, CallMeta& meta);
  bool ArgOffset(const Reg& p, int r, bool release);
  bool HelperMem(int r, int64_t size, bool write, bool zero_ok, CallMeta* meta);
  bool MemSizeArg(int r, bool write, bool zero_ok, CallMeta& meta);
  bool ConstKey(const Reg& key, uint32_t key_size, CallMeta& meta);
  bool ConstStr(int r);
  bool FormatString();
  bool MapFieldArg(int r, SpecialField kind, const char* name);
  bool HelperResult(CallMeta& meta);
  bool ReleaseRef(uint32_t ref_obj_id);
  void ClearPacketPointers(State& s);
  void ClearCallerSaved();
  bool Exit();
  bool ReturnFromSubprog();

  // kfunc.cc
  bool CallKfunc(const Extern& function);
  bool Throw();
  bool KfuncArgs(const KfuncProto& proto, KfuncMeta& meta);
  bool KfuncBuffer(int r, KfuncMeta& meta);
  bool KernelPacket(int r, const KfuncProto& proto);
  // typed_kfunc.cc
  struct TypedCall;
  bool CallTyped(const TypedKfunc& function, uint32_t type);
  bool TypedArg(TypedCall& call, int arg, bool* with_size);
  bool TypedArgOf(const KfuncProto& function, uint32_t type, int r);
  bool TypedPointer(TypedCall& call, int r, uint32_t wanted);
  bool TypedResult(TypedCall& call);
  bool CastToKernelContext();
  bool CastToReadOnly();
  bool IterArg(int r, const KfuncProto& proto, uint32_t* ref_obj_id);
  void LockFails();
  bool IterNext(const Reg& iter);
  void ClearIter(const Reg& iter, int slots);
  void DropElements(const IterProto& type);
  void IterElement(IterType iter, uint32_t ref_obj_id);

  // object.cc
  const std::vector<MapField>& FieldsOf(const Reg& p) const;
  bool MayHoldLock(const Reg& p) const;
  bool InTreeCallback() const;
  bool ObjectAccess(int r, int off, int size, bool write, int value);
  enum class LockOp : uint8_t { kLock, kUnlock };
  bool SpinLock(int r, LockOp op, Ref::Kind kind);
  bool LockHeld(const Reg& p, uint32_t kinds) const;
  bool KptrAccess(int r, const MapField& field, bool write, int value);
  bool KptrMatches(const MapField& field, int r);
  bool KptrDest(int r, CallMeta& meta);
  bool ReleaseToKptr(uint32_t ref_obj_id);
  bool ObjectKfunc(const Extern& function, const KfuncProto& proto);
  bool ObjectArg(int r, KfuncArg kind, const Extern& function, const KfuncProto& proto, ObjectMeta& meta);
  bool GraphRootArg(int r, SpecialField kind, ObjectMeta& meta);
  bool GraphNodeArg(int r, SpecialField kind, ObjectMeta& meta);
  bool ObjectResult(const KfuncProto& proto, const ObjectMeta& meta);
  void GraphNode(Reg& r, const MapField& root, uint16_t flags);
  uint16_t NonOwning(uint32_t type_id) const;
  uint32_t Acquire();
  std::string StructName(const Reg& p);

  // callback.cc
  bool CallBack(CallMeta& meta);
  bool CallLess(int sub, const MapField& root);
  Frame* EnterCallback(int sub, int instance);
  bool ReturnFromCallback();
  bool MayGoto();
  void CallLater(int subprog, bool sleeps);

  // section.cc
  bool InSleepable() const;
  bool InSection() const;
  bool EnterOrLeave(const KfuncProto& proto);
  bool MaySleepHere(const std::string& kfunc);
  bool SavedIrq(int r, bool save, bool of_lock);
  bool NoResources(bool check_sections, const char* what, bool every_frame = false);

  // dynptr.cc
  bool DynptrArg(int r, const ArgSpec& spec, DynptrKind kind, DynptrUse& use);
  void MakeDynptr(const Reg& p, int spi, DynptrKind kind, uint32_t ref_obj_id);
  void ClearDynptr(Frame& f, int first);
  bool OverwriteDynptr(Frame& f, int spi);
  bool OwnedDynptr(int r);
  bool ReleaseDynptr(uint32_t ref_obj_id);
  // Whether writing to it through a function may give the packet other memory. Linux 6.18 knows that of bpf_dynptr_write
  // only, not of the kernel functions that write, and accepts programs that go on using slices.
  static bool MovesPacket(DynptrKind kind) {
    return kind == DynptrKind::kSkb || kind == DynptrKind::kSkbMeta || kind == DynptrKind::kAny;
  }
  bool DynptrSlice(bool writable, const DynptrUse& use, uint64_t size, const Reg& buffer);
  bool IsSliceBuffer(Frame& f, int spi);
  bool OwnSlots(const Reg& p, int spi, int slots, int r);
  void LeaveFrame();

  bool ReturnCode(int r);
  bool ReturnRange(int r, RetRange range, bool is32, const char* where);
  void Invalidate(Reg& r) {
    if (ctx_.caps.perfmon) {
      r.MakeUnknown();
    } else {
      r.Clear();
    }
  }

  const Context& ctx_;
  const Program& prog_;
  StatePool& pool_;
  const KernelBtf* kernel_ = nullptr;  // once asked for
  // The step in progress.
  State* st_ = nullptr;
  StepResult* out_ = nullptr;
  uint32_t pc_ = 0;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_TRANSFER_TRANSFER_H_
