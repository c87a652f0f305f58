// The search behind Explore(): one object per program and call.
#ifndef BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_
#define BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/explore/explore.h"
#include "engine/explore/path.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

class Search {
 public:
  Search(const Context& context, const SearchLimits& limits);
  ~Search();
  SearchResult Run();

 private:
  struct Pending {
    State* state;
    Path path;
    uint32_t insn;
    uint32_t prev;
    size_t log_size;
    uint64_t bytes;
  };
  enum class Visit { kNew, kPruned, kLoop };

  // Explores one function from its entry. False: stop, result_ says why.
  bool ExploreFunction(int sub);
  State* NewEntry(int sub);
  bool SetUpEntry(int sub, State& state);
  bool Paths();
  // One path from a pending state to its end. False: stop. Owns `state`.
  bool FollowPath(Pending& start, State*& state);
  // Does what a step asks for. `state` is the state after it, for an explanation. False: stop.
  bool Honour(const StepEffects& step, uint32_t insn, int64_t prev, int frame, Path& path, const State& state);
  bool Found(StepResult& step, uint32_t insn, int64_t prev, int frame, Path& path, const State& state);
  void CountStack(std::vector<StackUse>& grown);
  Visit IsVisited(const State& state, Path& path, uint32_t insn);
  void Record(const State& state, Path& path, uint32_t insn);
  void FinishPath(const Path& path);
  void Evict(Checkpoint** link);
  void Release(Checkpoint* checkpoint);
  void ClearTable();
  Checkpoint** Head(const State& state, uint32_t insn);
  LiveMasks LiveAt(const State& state, uint32_t insn) const;
  HistoryNode* Remember(Path& path, uint32_t insn, int64_t prev);
  void Charge(uint64_t bytes);
  bool OverBudget(uint32_t insn);

  // precision.cc
  struct Backtrack {
    int frame = 0;
    uint16_t regs[kMaxFrames] = {};
    uint64_t slots[kMaxFrames] = {};
    bool Empty() const;
  };
  // kLost: 6.18 does not know the way back here, and fails.
  enum class Back { kOk, kGiveUp, kLost };
  void MarkPrecise(const Path& path, uint32_t insn, Backtrack bt);
  Back BacktrackInsn(uint32_t insn, int64_t next, const HistoryNode* hist, Backtrack& bt) const;
  void MarkAllPrecise(const Path& path);
  // After a trace that got lost: stops, unsupported.
  bool StopLost(const State& state, const Path& path, uint32_t insn);
  void PropagatePrecision(const Path& path, uint32_t insn, const Checkpoint& old);

  // path.cc
  std::vector<uint32_t> WalkBack(const Path& path, uint32_t insn) const;
  std::vector<PathStep> CollectPath(const State& state, const Path& path, uint32_t insn, int fault_reg);

  // Sets the result. False always. The second form is for a rule broken at `insn` of `state`.
  bool Stop(Verdict verdict, Rule rule, uint32_t insn, std::string message);
  bool Reject(Verdict verdict, const State& state, const Path& path, Rule rule, uint32_t insn, int reg,
              std::string message);
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
  HistoryPool history_;
  HistoryNodes entry_history_;  // of the paths from the function's entry
  Transfer transfer_;
  std::vector<Pending> stack_;
  std::vector<Checkpoint*> table_;  // lists by (instruction ^ callsite) modulo the program's length
  std::vector<Checkpoint*> evicted_;  // out of the table, but with paths that are not done
  std::vector<Checkpoint*> free_checkpoints_;
  std::vector<RegType> pointer_of_;  // per instruction: the pointer type that it was used with
  std::vector<uint8_t> called_;      // per subprogram: a global function that was called
  IdMap ids_;
  uint64_t live_checkpoints_ = 0;
  uint64_t bytes_ = 0;  // of recorded and pending states, see SearchLimits::memory
  uint64_t jumps_ = 0, last_record_jumps_ = 0, last_record_processed_ = 0;
  std::chrono::steady_clock::time_point deadline_;
  bool lost_ = false;  // a trace of precision met Back::kLost
  uint32_t last_line_ = ~0u;
};

// Five bits per register type and the flags folded in, for R0..R9: equal fingerprints under the mask are necessary for
// subsumption.
uint64_t Fingerprint(const Frame& frame, uint16_t live, uint64_t* mask);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_
