// Which stack slots may be read later: before exploration, for every instruction and calling context.
//
// Linux 6.18 collects the same knowledge while it explores (kernel/bpf/liveness.c), which ties it to one order of
// exploration; later kernels compute it ahead, and so do we: a forward analysis finds which registers and slots point
// into which stack frame, a backward one which slots are still read.
#ifndef BPFSIEVE_ENGINE_PROGRAM_LIVENESS_H_
#define BPFSIEVE_ENGINE_PROGRAM_LIVENESS_H_

#include <cstdint>
#include <vector>

#include "engine/program/arena.h"
#include "engine/program/cfg.h"
#include "engine/program/program.h"

namespace bpfsieve {

// A calling context ("instance") is a subprogram together with what its arguments point to in the callers' stacks.
// Bit i of a mask is the 8-byte slot at fp - 8*(i+1). Conservative: a slot that may be read before it is fully
// overwritten is live; only an aligned 8-byte store overwrites. It relies on what the verifier enforces anyway: stack
// pointers reach memory only by 8-byte spills, are never spilled into a caller's frame nor returned, and only take
// additions and subtractions. A program with too many contexts gets "everything is live" throughout.
//
// Immutable once constructed: any number of threads may ask. Every question takes constant time. Instances are
// non-negative; asking about an instruction outside of the instance's subprogram answers "everything".
class StackLiveness {
 public:
  // `program` must have passed BuildCfg, which filled `cfg`; `maps` are the object's, as ld_imm64 indexes them.
  // Of the arguments, only `arena` has to stay. Where `stop` asks for it, the work ends and everything is live.
  StackLiveness(const Program& program, const std::vector<MapDef>& maps, const Cfg& cfg, const HelperTraits& traits,
                Arena& arena, const StopSign& stop = {});
  StackLiveness(const StackLiveness&) = delete;
  StackLiveness& operator=(const StackLiveness&) = delete;

  // Subprogram `sub` entered on its own (the program, a global function, an asynchronous callback): instance of the
  // outermost frame.
  int Root(int sub) const;
  // The instance that a bpf-to-bpf call at `callsite`, in a frame of instance `caller`, enters, or a helper called there
  // that calls back; one in which everything is live, where it may be different functions.
  int Callee(int caller, uint32_t callsite) const;

  // Slots live before `insn` in the frame of `instance` itself.
  uint64_t LiveOwn(int instance, uint32_t insn) const;
  // Slots of the frame `up` levels above `instance`'s (1: its caller's) that `instance` or its callees may still read
  // from `insn` on. What the caller reads after the call returns is the caller's LiveOwn at the call's next
  // instruction.
  uint64_t LiveOuter(int instance, uint32_t insn, int up) const;

  // All that may still be read of a frame while others run inside it: its own LiveOwn at the instruction that it will
  // return to, with the LiveOuter of every frame further in, each at its own next instruction. A frame that waits for
  // a helper that runs callbacks may run another one: ask about the call itself then, not about what follows it.

  struct Tables;

 private:
  const Tables* tables_;  // in the arena
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_LIVENESS_H_
