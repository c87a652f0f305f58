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

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/report/finding.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

struct SearchLimits {
  uint64_t max_processed = 1'000'000;
  uint32_t max_pending = 8192;
  uint64_t memory = uint64_t{1} << 30;  // bytes of states
  uint64_t time_ms = 0;                 // 0: none
  int log_level = 0;
  uint64_t log_limit = uint64_t{16} << 20;
  bool test_state_freq = false;
  bool explain = false;  // fill Finding::path
};

struct SearchStats {
  uint64_t processed = 0;
  uint64_t total_states = 0;
  uint64_t peak_states = 0;
  uint64_t max_states_per_insn = 0;
  uint64_t peak_bytes = 0;
};

struct SearchResult {
  Verdict verdict = Verdict::kAccept;
  Finding finding;      // unless kAccept
  std::string feature;  // kUnsupported
  SearchStats stats;
  StackDepths depths;   // stack use per subprogram, bytes
  std::string log;
};

// A recorded state. `state` does not change after the checkpoint is in the table.
struct Checkpoint {
  State* state = nullptr;
  uint32_t insn = 0;
  LiveMasks live;             // what the continuation may read
  CompareMasks masks;         // what of it has to be compared
  uint64_t types = 0;         // fingerprint of the innermost registers' types, see Fingerprint()
  uint64_t types_mask = 0;    // which bits of it must match
  Checkpoint* next = nullptr; // the next older one in its list
  // Learnt later, monotonically.
  PreciseMarks precise;
  uint32_t branches = 1;      // paths from here that are not done; 0: finished
  // Usefulness, for eviction.
  uint32_t hits = 0;
  uint32_t misses = 0;
  int64_t evicted_at = -1;    // index in the explorer's list of evicted ones, -1: still in the table
};

// Explores the program of `context`. Deterministic; uses nothing but its arguments; one thread.
class Explorer {
 public:
  Explorer(const Context& context, const SearchLimits& limits);
  ~Explorer();
  SearchResult Run();

 private:
  struct Pending {
    State* state;
    uint32_t insn;
    uint32_t prev;
    size_t log_size;
  };
  enum class Visit { kNew, kPruned, kLoop };

  // Explores one function from its entry with the given start state. False: stop, result_ says why.
  bool ExploreFunction(int sub);
  State* NewEntry(int sub);
  bool SetUpEntry(int sub, State& state);
  bool Paths();
  Visit IsVisited(State& state, uint32_t insn);
  void Record(State& state, uint32_t insn);
  void FinishPath(State& state);
  void Evict(Checkpoint** link);
  void Release(Checkpoint* checkpoint);
  void ClearTable();
  Checkpoint** Head(const State& state, uint32_t insn);
  LiveMasks LiveAt(const State& state, uint32_t insn) const;

  // precision.cc
  struct Backtrack {
    int frame = 0;
    uint16_t regs[kMaxFrames] = {};
    uint64_t slots[kMaxFrames] = {};
    bool Empty() const;
  };
  // kLost: 6.18 does not know the way back here, and fails.
  enum class Back { kOk, kGiveUp, kLost };
  void MarkPrecise(const State& state, uint32_t insn, Backtrack bt);
  Back BacktrackInsn(uint32_t insn, int64_t next, const HistoryEntry* hist, Backtrack& bt) const;
  void MarkAllPrecise(const State& state);
  // After a trace that got lost: stops, unsupported.
  bool StopLost(const State& state, uint32_t insn);
  void PropagatePrecision(const State& state, uint32_t insn, const Checkpoint& old);

  // path.cc
  std::vector<uint32_t> WalkBack(const State& state, uint32_t insn) const;
  std::vector<PathStep> CollectPath(const State& state, uint32_t insn, int fault_reg);

  // Sets the result. False always. The second form is for a rule broken at `insn` of `state`.
  bool Stop(Verdict verdict, Rule rule, uint32_t insn, std::string message);
  bool Reject(Verdict verdict, const State& state, Rule rule, uint32_t insn, int reg, std::string message);
  bool OutOfTime();

  // Log.
  bool Logging() const { return limits_.log_level > 0; }
  void Log(const std::string& text);
  void LogFrom(const State& state, uint32_t prev, uint32_t insn);
  size_t LogInsn(uint32_t insn);
  void LogAfter(const State& state, uint32_t insn, const StepResult& step, const Frame& before, size_t width);

  const Context& ctx_;
  const Program& prog_;
  const Cfg& cfg_;
  SearchLimits limits_;
  SearchResult result_;
  StatePool pool_;
  Transfer transfer_;
  std::vector<Pending> stack_;
  std::vector<Checkpoint*> table_;  // lists by (instruction ^ callsite) modulo the program's length
  std::vector<Checkpoint*> evicted_;  // out of the table, but with paths that are not done
  std::vector<RegType> pointer_of_;  // per instruction: the pointer type that it was used with
  std::vector<uint8_t> called_;      // per subprogram: a global function that was called
  IdMap ids_;
  uint64_t live_checkpoints_ = 0;
  uint64_t jumps_ = 0, last_record_jumps_ = 0, last_record_processed_ = 0;
  std::chrono::steady_clock::time_point deadline_;
  bool lost_ = false;  // a trace of precision met Back::kLost
  uint32_t last_line_ = ~0u;
};

// Five bits per register type and the flags folded in, for R0..R9: equal fingerprints under the mask are necessary for
// subsumption.
uint64_t Fingerprint(const Frame& frame, uint16_t live, uint64_t* mask);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_EXPLORE_H_
