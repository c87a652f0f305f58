// The program's control flow, checked and prepared once, before any state is explored: subprograms, prune points,
// strongly connected components and live registers (live stack slots: liveness.h). Everything here is a function of the
// instructions alone and immutable afterwards, which is what lets states be explored in any order.
#ifndef BPFSIEVE_ENGINE_PROGRAM_CFG_H_
#define BPFSIEVE_ENGINE_PROGRAM_CFG_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/program/program.h"
#include "engine/program/stop_sign.h"
#include "engine/report/finding.h"

namespace bpfsieve {

// Loops that the search need not count through: it is enough that one more turn finds nothing new, since they end by
// themselves.
enum class Converge : uint8_t {
  kNo,
  kIterNext,  // the call that advances an iterator
  kMayGoto,
  kCallback,  // the call of a function that calls back
};

// How control leaves an instruction.
enum class Edge : uint8_t {
  kNext,
  kOver,  // a 64-bit immediate: to the instruction behind its second half
  kCall,  // to the next, from where it comes back
  kCond,  // to the next or to Place::target
  kJump,  // to Place::target
  kExit,
};

// In Place::scc: a call that runs callbacks, in no other loop; with its index. 6.18 does not take it for a loop, later kernels
// do: what the rest of a turn relies upon is not known there before all turns are done, either.
inline constexpr uint32_t kCallScc = 1u << 31;

struct Cfg {
  struct Sub {
    uint32_t start = 0, end = 0;  // [start, end)
    bool has_tail_call = false;
    bool has_ld_abs = false;
    bool changes_packet = false;  // it or a callee calls a helper that does (transitively)
    bool might_sleep = false;     // likewise (transitively)
    bool is_async_callback = false;
  };
  struct Place {
    uint16_t sub = 0;
    uint16_t live_regs = 0;            // bit r (0..9): R(r) may be read before it is written
    bool prune_point = false;          // states are compared and recorded here
    bool jmp_point = false;            // the path history needs an entry (jump targets)
    Converge converge = Converge::kNo; // such a loop starts its turns here; a state is always recorded
    Edge edge = Edge::kNext;
    uint32_t scc = 0;                  // 0: in no loop; else a number, see kCallScc
    uint32_t target = 0;               // of a jump
  };
  std::vector<Sub> subs;            // by start
  int exception_sub = -1;           // index of the exception callback, -1: none
  std::vector<Place> at;            // per instruction
  std::vector<uint32_t> notable;    // calls and 64-bit immediates: all that most passes look for
  bool any_converge = false;
  bool any_async = false;           // some call takes a function to run later

  int SubAt(uint32_t start) const;  // index of the subprogram that starts there, -1: none
};

// What a helper does with the memory that an argument register may point to.
enum class ArgAccess : uint8_t {
  kNone,      // takes no such argument, or never touches memory through it (scalars, flags, sizes, context, sockets)
  kMapPtr,    // the map that kMapKey and kMapValue refer to
  kMapKey,    // reads key_size bytes
  kMapValue,  // reads value_size bytes
  kFixedMem,  // reads ArgTrait::size bytes
  kSizedMem,  // reads as many bytes as the next argument register says
  kWriteMem,  // writes only (memory that may be uninitialised): neither a read nor a full overwrite
  kOverwrite, // writes ArgTrait::size bytes, all of them: whole slots, where the pointer is aligned
  kAnyMem,    // may read anything at and above the pointer. The safe answer when in doubt
};
struct ArgTrait {
  ArgAccess access = ArgAccess::kAnyMem;
  uint32_t size = 0;  // kFixedMem, kOverwrite: bytes
};

// Properties of a kernel function, by its name.
struct KfuncTraits {
  int arg_count = 5;            // registers that it takes, 0..5
  bool changes_packet = false;
  bool might_sleep = false;
};

// Properties of helpers that the control flow needs, given by the caller so that this room does not name spec/.
// A function that is not set answers with the default in brackets.
struct HelperTraits {
  std::function<bool(uint32_t id)> changes_packet;  // [false]
  std::function<bool(uint32_t id)> might_sleep;     // [false]
  // How many of R1..R5 the helper takes (for liveness), 0..5; 5 for unknown helpers. [5]
  std::function<int(uint32_t id)> arg_count;
  // What the helper does through argument `arg`, 1..5 (R1..R5). [kAnyMem]
  std::function<ArgTrait(uint32_t id, int arg)> arg;
  std::function<KfuncTraits(std::string_view name)> kfunc;  // [KfuncTraits()]
  // What the kernel function does through argument `arg`, 1..5. [kAnyMem]
  std::function<ArgTrait(std::string_view name, int arg)> kfunc_arg;
};

// Checks encoding-independent structure as the kernel's add_subprog_and_kfunc, check_subprogs and check_cfg do (jumps
// stay in their subprogram, no instruction unreachable, every subprogram ends, no jump into a 64-bit immediate) and
// fills `cfg`; also, between the last two, that 64-bit immediates are whole and that subprograms without function
// information neither tail-call nor load from the packet (that those with it return an int is the caller's to check;
// so are all opcodes). Returns the finding for a program that
// breaks a rule, in the order that the kernel would find it; `cfg` is then incomplete. Subprograms are found from calls
// and callback references alone, as in the kernel; of Program::subprogs only btf_func_id matters. Linear in
// the program's size but for live registers, which are near it.
//
// Cfg::Sub::is_async_callback is set where the callback's address is loaded in straight line before
// bpf_timer_set_callback, bpf_wq_set_callback or bpf_task_work_schedule; the exploration may find more. It is set for the
// exception callback, which is not called either.
//
// Where `stop` asks for it, the work ends between two of its parts: no finding, and `cfg` is incomplete.
std::optional<Finding> BuildCfg(const Program& program, const HelperTraits& traits, Cfg* cfg, const StopSign& stop = {});

// The instructions that may run after `insn` within its subprogram (a call goes on to the next): writes at most two
// indices to `out`, fall-through first, and returns how many. Of a program that has passed BuildCfg's checks.
inline int Successors(const Cfg& cfg, uint32_t insn, uint32_t out[2]) {
  const Cfg::Place& place = cfg.at[insn];
  if (place.edge == Edge::kExit) return 0;
  out[0] = place.edge == Edge::kJump ? place.target : insn + 1 + (place.edge == Edge::kOver);
  if (place.edge != Edge::kCond || place.target == out[0]) return 1;
  out[1] = place.target;
  return 2;
}

// The kernel's check_max_stack_depth: every chain of calls within 512 bytes and 8 frames, with the private stacks of
// x86-64. `depth[s]`: bytes of stack that subprogram s uses, as exploration found them. `is_callback[s]`: s was passed
// to a helper as a callback (the kernel then forbids legacy packet loads below it); may be empty.
// *total (may be null): the deepest chain in bytes, private stacks not counted.
std::optional<Finding> CheckStackDepth(const Program& program, const Cfg& cfg, const std::vector<uint16_t>& depth,
                                       const std::vector<uint8_t>& is_callback, uint32_t* total);

}  // namespace bpfsieve

#include "engine/program/liveness.h"  // IWYU pragma: export

#endif  // BPFSIEVE_ENGINE_PROGRAM_CFG_H_
