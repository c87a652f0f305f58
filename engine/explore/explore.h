// The search: every path of a program, depth-first, with pruning.
//
// States are compared at prune points. A checkpoint is a state that was recorded there; from then on the state itself
// is immutable, and what the search learns later (that all paths from it are done, which scalars were relied on) is
// kept beside it in flags that only ever go one way. A path stops where a finished checkpoint subsumes it.
//
// The order, the heuristics for when to record and when to forget a checkpoint, and the counters are those of Linux
// 6.18 (do_check, is_state_visited, update_branch_counts), so that the number of processed instructions compares.
//
// Turned down: exploring to a fixpoint with joins at loop heads (PREVAIL's way), which is faster on loops but gives
// other verdicts than the kernel; and liveness collected on the way (the kernel's way until 6.18), since then a
// state's meaning depends on which paths were explored before.
#ifndef BPFSIEVE_ENGINE_EXPLORE_EXPLORE_H_
#define BPFSIEVE_ENGINE_EXPLORE_EXPLORE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/program/stop_sign.h"
#include "engine/report/finding.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// Is shown every state that an instruction is executed on, what an oracle compares real executions with, and told of paths
// that end where that would not do.
class StateObserver {
 public:
  virtual ~StateObserver() = default;
  // `state` stands before `insn`, and is only there during the call.
  virtual void At(const Context& context, uint32_t insn, const State& state) = 0;
  // A path ends as a recorded state covers its own, but only because some scalar was not relied upon: what the path would have
  // gone on with may lie outside of all states.
  virtual void CoveredImprecisely() {}
};

// A piece of a search: what is executed on a path from one prune point to the next. For measuring (bench/replay.cc).
struct PieceTime {
  uint32_t parent = ~0u;  // the piece before it on its path, or that its path forked off in; ~0: a function's entry
  // Ticks of the processor's clock: the look-up before it; executing; what its steps ask for, and the end of its path.
  uint64_t look = 0, work = 0, honour = 0;
};

struct SearchLimits {
  uint64_t max_processed = 1'000'000;
  uint32_t max_pending = 8192;
  uint64_t memory = uint64_t{1} << 30;  // bytes of states
  int log_level = 0;
  uint64_t log_limit = uint64_t{16} << 20;
  bool test_state_freq = false;
  bool explain = false;  // fill Finding::path
  // How many threads of the caller's TBB arena may work on this program; 1: the caller's alone. The result is the same.
  unsigned threads = 1;
  // Instructions processed before helpers are tried; they stay while they pay. 0: from the start and for good (tests).
  uint64_t helpers_from = 200'000;
  uint32_t shake = 0;            // for tests: a seed for delays where threads meet; 0: none
  bool shape = false;            // fill SearchResult::shape; costs a little time, and memory for every path
  StopSign stop;                 // ends the search
  // For oracles. An observer makes it one thread; null: none.
  StateObserver* observer = nullptr;
  // Gets the pieces of the search, in order; null: nobody asks. On one thread, and with `shape`.
  std::vector<PieceTime>* pieces = nullptr;
  // Every scalar counts as relied upon, so that a state is only ever covered by one that says no more of any value than
  // it does. Some loops then do not converge.
  bool all_precise = false;
};

struct SearchStats {
  uint64_t processed = 0;
  uint64_t total_states = 0;
  uint64_t peak_states = 0;
  uint64_t max_states_per_insn = 0;
  uint64_t peak_bytes = 0;
};

// What running ahead did (speculation.h). Depends on the schedule, so it is no part of a report; for measuring.
struct SpeculationStats {
  unsigned helpers = 0;         // at work at the same time, at most
  uint64_t segments = 0;        // begun by helpers
  uint64_t parked = 0;          // stopped where they seemed to be covered by another state
  uint64_t pieces = 0;          // executed by helpers: from one prune point to the next
  uint64_t retired_pieces = 0;  // of these, used by the search
  uint64_t steps = 0;           // instructions executed by helpers
  uint64_t retired_steps = 0;   // of these, used by the search
  uint64_t waits = 0;           // times that the search waited for a piece in progress
  uint64_t wait_ns = 0;
  uint64_t busy_ns = 0;         // of all helpers together
  unsigned functions = 0;       // global functions that were explored ahead and used
};

// How far the search can be spread over threads (bound.h), in instructions; a function of the program alone.
struct SearchShape {
  uint64_t longest_path = 0;
  uint64_t greedy = 0;  // the greedy schedule on SearchLimits::threads workers
};

struct SearchResult {
  Verdict verdict = Verdict::kAccept;
  Finding finding;      // unless kAccept
  std::string feature;  // kUnsupported
  SearchStats stats;
  StackDepths depths;   // stack use per subprogram, bytes
  std::vector<uint8_t> called_back;  // per subprogram: a helper calls it back; empty: none does any
  std::vector<uint8_t> called_later; // likewise, on a stack of its own
  std::string log;
  SpeculationStats speculation;
  SearchShape shape;  // with SearchLimits::shape
};

// Explores the program of `context`. Deterministic; uses nothing but its arguments. Safe from any thread.
SearchResult Explore(const Context& context, const SearchLimits& limits);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_EXPLORE_H_
