// The search behind Explore(): one object per program and call.
#ifndef BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_
#define BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/explore/bound.h"
#include "engine/explore/explore.h"
#include "engine/explore/path.h"
#include "engine/explore/speculation.h"
#include "engine/program/arena.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// Since the last time that a state was recorded, for the next one: jumps and instructions.
inline constexpr uint64_t kRecordJumps = 2, kRecordSteps = 8;

class Search {
 public:
  Search(const Context& context, const SearchLimits& limits);
  SearchResult Run();

 private:
  struct Pending {
    State* state;
    Path path;
    uint32_t insn;
    uint32_t prev;
    size_t log_size;
    uint64_t bytes;
    uint32_t recorded;          // checkpoints when it was forked
    Segment* segment;           // with helpers: it, ahead of time
    uint32_t node;              // in tree_
  };
  // Where the search stands on a path.
  struct Here {
    State* state;               // not written unless `owned`
    bool owned = true;          // false: it is a checkpoint's
    Segment* segment = nullptr; // what helpers executed of the path, null: nothing (more)
    Piece* piece = nullptr;     // with a segment: the one that `state` is the end of
  };
  // A state that may have to be worked out first: `state`, or if that is null, the one `steps` instructions after `from`,
  // which stands at `insn`.
  struct Lazy {
    const State* state = nullptr;
    const State* from = nullptr;
    uint32_t insn = 0;
    uint32_t steps = 0;
    State* replayed = nullptr;  // what `state` was worked out as; to be freed
  };
  const State& Get(Lazy& lazy);
  enum class Visit { kNew, kPruned, kLoop };

  // Explores one function from its entry. False: stop, result_ says why.
  bool ExploreFunction(int sub);

  // functions.cc: global functions, explored ahead.
  struct Ahead;
  void ExploreAhead();
  bool TakeOver(int sub);
  bool Fits(const Search& other) const;
  void Add(Search& other);

  bool SetUpEntry(int sub, State& state);
  bool Paths();
  // One path from a pending state to its end. False: stop.
  bool FollowPath(Pending& start, Here& here);
  // Does what a helper's piece asks for, from `insn` on, and sets *done where the path ends within it. False: stop.
  bool Retire(Piece& piece, uint32_t insn, Here& here, Path& path, bool* done);
  // Does what a step asks for. `fork` is what helpers have of the branch. False: stop.
  bool Honour(const StepEffects& step, uint32_t insn, int64_t prev, int frame, Path& path, Lazy& now, Segment* fork);
  void Mark(std::vector<uint8_t>& subs, int sub);
  uint32_t NewNode(uint32_t parent);
  // With SearchLimits::pieces: begins one, and adds the time since the last call to a part of it.
  void BeginPiece(uint32_t parent);
  void Lap(uint64_t PieceTime::*part);
  void DropPrepared(Here& here);
  void Leave(Here& here);
  void Govern(Here& here);
  void StartHelpers();
  void StopHelpers();
  Segment* Share(size_t i);
  void Feed();
  Piece* NextPiece(const Here& here);
  bool Found(StepResult& step, uint32_t insn, int64_t prev, int frame, Path& path, const State& state);
  void CountStack(const StackUse* begin, const StackUse* end);
  // The rules at a prune point. `here` is null within a piece. Sets *done where the path ends there. False: stop.
  bool AtPrunePoint(const LookUpKey& key, Lazy& state, Here* here, int64_t prev, Path& path, bool* done);
  Visit IsVisited(const LookUpKey& key, Lazy& state, Here* here, Path& path);
  void Record(const LookUpKey& key, Lazy& state, Here* here, Path& path);
  bool IsLoop(Checkpoint& c, const LookUpKey& key, Lazy& state);
  // Subsumption where the loader lacks CAP_PERFMON. `within`: it is not known yet what the continuation of `c` relies upon.
  bool CoversGuarded(Checkpoint& c, const State& state, uint32_t id_base, bool within);
  // Whether it would do so if every scalar were relied upon. For observers.
  bool CoversByRanges(const Checkpoint& c, const State& state, uint32_t id_base);
  // Whether the instruction may not do here what it does on other paths.
  bool Conflicts(const StepEffects& step, uint32_t insn) const;
  void FinishPath(const Path& path);
  // Loops that need not be counted through.
  LoopVisit* VisitOf(const State& state, uint32_t insn);
  void EndVisit(LoopVisit& visit);
  void Keep(Checkpoint* checkpoint);
  void LetGo(Checkpoint* checkpoint);
  void CountStates();
  Visit Prune(Checkpoint& c, uint32_t insn, Path& path, bool open);
  bool CalledBack(uint32_t insn, int64_t prev) const;
  bool Converges(Checkpoint& c, const LookUpKey& key, Lazy& state);
  void Widen(const StepEffects& step, const Path& path);
  void Evict(Checkpoint** link);
  void Release(Checkpoint* checkpoint);
  void ClearTable();
  Checkpoint** Head(uint32_t insn, int32_t callsite);
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
  // Whether that was news to some checkpoint.
  bool MarkPrecise(const Path& path, uint32_t insn, Backtrack bt);
  static bool PassesBy(const Insn& insn, const HistoryNode* hist, const Backtrack& bt);
  Back BacktrackInsn(uint32_t insn, int64_t next, const HistoryNode* hist, Backtrack& bt) const;
  bool MarkAllPrecise(const Path& path);
  // After a trace that got lost: stops, unsupported.
  bool StopLost(Lazy& now, const Path& path, uint32_t insn);
  bool PropagatePrecision(const Path& path, uint32_t insn, const Checkpoint& old);

  // path.cc
  std::vector<uint32_t> WalkBack(const Path& path, uint32_t insn) const;
  std::vector<PathStep> CollectPath(const State& state, const Path& path, uint32_t insn, int fault_reg);

  // Sets the result. False always. The second form is for a rule broken at `insn` of `state`.
  bool Stop(Verdict verdict, Rule rule, uint32_t insn, std::string message);
  bool Reject(Verdict verdict, Lazy& now, const Path& path, Rule rule, uint32_t insn, int reg,
              std::string message);
  bool OutOfTime(uint32_t insn);

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
  SearchDepot depot_;
  SearchPool parts_;
  StatePool& pool_;  // of parts_
  Arena arena_;
  HistoryPool history_;
  HistoryNodes entry_history_;  // of the paths from the function's entry
  Transfer transfer_;
  ArenaList<Pending> stack_;
  std::span<Checkpoint*> table_;  // lists by (instruction ^ callsite) modulo the program's length
  std::vector<Checkpoint*> evicted_;  // out of the table, but with paths that are not done
  std::span<RegType> pointer_of_;    // per instruction: the pointer type that it was used with
  std::map<uint32_t, uint64_t> detail_of_;  // likewise StepEffects::used_detail, where there was one
  // Of a program whose loader lacks CAP_PERFMON, per instruction: barriers before and after it (kBarrier*), and its mask
  // (StepEffects::alu_mask). And whether any mask depends on what is known of a scalar: then scalars that differ at all
  // are different.
  std::span<uint8_t> barriers_;
  std::span<uint64_t> alu_mask_of_;
  bool same_scalars_ = false;
  std::span<uint8_t> called_;        // per subprogram: a global function that was called
  std::span<uint8_t> verified_;      // likewise: it is verified, or being
  std::shared_ptr<Ahead> ahead_;     // null: nobody explores functions ahead
  bool ahead_tried_ = false;
  std::map<std::array<uint32_t, kMaxFrames>, LoopVisit> visits_;  // by call sites and, last, the loop's number
  uint64_t backedges_ = 0;           // of all visits
  IdMap ids_;
  std::unique_ptr<Speculation> helpers_;  // null: nobody runs ahead
  uint32_t alone_ = 0;                    // prune points passed with nobody ahead
  Segment* retiring_ = nullptr;           // of the piece being retired
  // The governor: since when, for how many instructions, at which pace without helpers (seconds an instruction).
  std::chrono::steady_clock::time_point phase_begin_;
  uint64_t phase_from_ = 0, phase_length_ = 0, patience_ = 1;
  double alone_pace_ = 0;
  uint32_t recorded_ = 0;                 // checkpoints so far
  uint64_t next_check_ = 0;               // instructions processed when the clock is next looked at
  uint64_t live_checkpoints_ = 0;
  uint64_t bytes_ = 0;  // of recorded and pending states, see SearchLimits::memory
  uint64_t jumps_ = 0, last_record_jumps_ = 0, last_record_processed_ = 0;
  uint64_t first_record_jumps_ = 0, first_record_processed_ = 0;  // when the first state was recorded
  const std::atomic<bool>* unwanted_ = nullptr;  // ends the search when it becomes true
  std::vector<PathNode> tree_;  // with SearchLimits::shape
  uint32_t node_ = ~0u;         // of the path in progress
  uint32_t paths_ = 0;
  uint64_t path_begin_ = 0;     // instructions processed before it
  uint32_t piece_ = ~0u;        // with SearchLimits::pieces: the one in progress
  uint64_t lap_ = 0;            // since then its time has not been counted yet
  std::string safe_;   // what the log says before ": safe"
  bool lost_ = false;  // a trace of precision met Back::kLost
  uint32_t last_line_ = ~0u;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_SEARCH_H_
