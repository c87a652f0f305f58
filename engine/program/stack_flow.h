// The blocks of one subprogram, for the analysis of which stack slots are live (liveness.h).
#ifndef BPFSIEVE_ENGINE_PROGRAM_STACK_FLOW_H_
#define BPFSIEVE_ENGINE_PROGRAM_STACK_FLOW_H_

#include <array>
#include <cstdint>
#include <span>

#include "engine/program/arena.h"
#include "engine/program/cfg.h"

namespace bpfsieve::stack_flow {

struct Block {
  uint32_t start = 0, end = 0;
  std::array<int, 2> next{-1, -1};
};
// Blocks of a subprogram in reverse postorder.
struct Flow {
  std::span<Block> blocks;
  bool complete = true;  // every instruction is in a block
  bool loops = false;    // some block leads back to itself or to one before it
};

// Those that can be reached from the entry of `sub`. They lie in `arena`. Linear time.
Flow FlowOf(const Cfg& cfg, int sub, Arena& arena);

}  // namespace bpfsieve::stack_flow

#endif  // BPFSIEVE_ENGINE_PROGRAM_STACK_FLOW_H_
