// Running ahead of the search.
//
// The search (search.h) is sequential and stays so: what it does, in which order, is what makes its answer. But the
// costly part of it, executing instructions on states, depends on nothing but the state: whoever executes a path from a
// pending state gets the same states, forks and requests. So helpers take pending states and execute them ahead of
// time, and the search, when it gets there, finds the work done and only retires it: it looks the states up, records
// them, honours the requests, in its own order. A helper can be wrong only in guessing that a path will be needed.
//
// Words. A *piece* is what was executed from one prune point to the next: requests on the way, the state at its end. A
// *segment* is a path from a pending state on, cut into pieces, published one by one. The *line* is the list of all
// segments that are not retired, in sequential order: a fork stands directly behind the path that it left, since that
// path comes first and what forked from it later comes before what forked earlier.
//
// Who may do what (the protocol):
// - A segment is kReady (anybody may take it), kClaimed (a helper copies the state it starts from), kRunning (by one
//   helper), kParked (a helper guesses that the search will prune it here), kTaken (by the search: no helper will touch
//   it any more) or kDone (nothing left to execute). The line's mutex guards every change but that from kClaimed on.
// - A piece belongs to the helper until it is published (Piece::next or Segment::origin, release); from then on it is
//   immutable but for `checked`, which is atomic, and belongs to the search, which frees it once
//   its successor has been published or the segment is its own.
// - A state in a piece is never written. The search may make it the state of a checkpoint, or go on executing on it
//   once the segment is kTaken.
// - What the helpers know of visited states (VisitedMap) decides only where they stop: a stale or a wrong guess costs
//   time. The one thing that the search takes over from a look-up, Piece::checked, is a proof: see there.
//
// Turned down: workers that prune on their own and a merge afterwards (the kernel's counters and its rules for when to
// record and to forget a state depend on the order, so the merge would be the search again); a lock around one table
// (an answer that depends on the schedule); tasks per piece (a piece takes about a microsecond).
#ifndef BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_
#define BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_

#include <oneapi/tbb/concurrent_hash_map.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/explore/explore.h"
#include "engine/explore/path.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

struct Segment;

// A step of a piece that the search has to look at.
struct PieceEvent {
  StepEffects effects;
  Segment* fork = nullptr;   // of effects.branch
  uint32_t insn = 0;
  int64_t prev = 0;          // the instruction before it on the path
  uint32_t steps = 0;        // instructions of the piece up to and with this one
  uint32_t grown = 0;        // entries of Piece::grown up to and with this one
  uint16_t frame = 0;        // the innermost frame before the step
};

struct Piece {
  void Clear();

  // What was executed. For a segment's origin: nothing, only the end.
  std::vector<PieceEvent> events;
  std::vector<StackUse> grown;
  uint32_t steps = 0;
  uint32_t jumps = 0;
  // How it ends: kContinue, at a prune point; kPathEnd; or with a finding, which is its last step.
  StepResult::Kind kind = StepResult::Kind::kContinue;
  State* state = nullptr;    // at the end
  uint32_t insn = 0;         // to execute next; of a finding: where it is
  int64_t prev = -1;
  uint16_t frame = 0;        // of a finding: the innermost frame before the step
  std::unique_ptr<StepResult> finding;

  bool consumed = false;     // the search has taken the state over

  // Every checkpoint for this place whose number is no larger was compared with `state` and does not subsume it, or is
  // an ancestor. Both are for good: marks of precision are only ever added, which makes a comparison fail more often,
  // and an ancestor is unfinished until the path is done.
  std::atomic<uint32_t> checked{0};
  // A checkpoint of `state`, ready to be recorded; the search's from the publication on.
  Checkpoint* checkpoint = nullptr;

  std::atomic<Piece*> next{nullptr};
};

struct Segment {
  void Clear();

  enum class Status : uint8_t { kReady, kClaimed, kRunning, kParked, kTaken, kDone };
  std::atomic<Status> status{Status::kReady};
  std::atomic<bool> cancelled{false};  // nobody wants it any more
  std::atomic<bool> followed{false};   // the search has come to it
  std::atomic<bool> let_go{false};     // the search wants to go on by itself
  std::atomic<int32_t> owners{1};      // the search or the event that forked it, and the helper: who needs the pieces
  std::atomic<int32_t> references{1};  // the owners together, and each child: who needs this struct
  Piece* origin = nullptr;             // the oldest piece that is not freed; the search's
  Piece* tail = nullptr;               // the newest piece; the helper's

  // Its place in the line: neighbours under the line's mutex, the label read by anybody.
  Segment* before = nullptr;
  Segment* after = nullptr;
  bool in_line = false;
  std::atomic<int64_t> label{0};

  // Where it forked off, until the search has retired that; then all ancestors are checkpoints.
  Segment* parent = nullptr;
  uint32_t parent_piece = 0;            // the number of the piece, in the parent
  std::atomic<bool> attached{false};
  std::atomic<uint32_t> ancestors{0};   // unfinished checkpoints up to this number are its ancestors
  uint32_t pieces = 0;                  // published so far, the helper's
  // The guess at when the search records a state.
  uint32_t jumps = 0, steps = 0;
};

// The visited states, for helpers: recorded ones and those that helpers think will be. Thread-safe.
class VisitedMap {
 public:
  static uint64_t KeyOf(const State& state, uint32_t insn) {
    return uint64_t{insn} << 32 | static_cast<uint32_t>(state.frame().callsite);
  }
  void Insert(Checkpoint* c);
  void Remove(Checkpoint* c);
  // A guess becomes a recorded one.
  void Retire(Checkpoint* c, uint32_t number);
  // Calls f(Checkpoint&) from the newest to the oldest until it returns true; they stay where they are meanwhile.
  template <typename F>
  void Visit(uint64_t key, F f) const {
    Map::const_accessor at;
    if (!map_.find(at, key)) return;
    for (auto it = at->second.rbegin(); it != at->second.rend(); ++it) {
      if (f(**it)) return;
    }
  }

 private:
  struct Hash {  // the instruction is in the high half, and the buckets go by the low bits
    static size_t hash(uint64_t key) { return key * 0x9e3779b97f4a7c15 >> 32; }
    static bool equal(uint64_t a, uint64_t b) { return a == b; }
  };
  using Map = oneapi::tbb::concurrent_hash_map<uint64_t, std::vector<Checkpoint*>, Hash>;
  Map map_;
};

// Where everything that a search allocates comes from, and a thread's part of it.
struct SearchDepot {
  StateDepot states;
  Depot<Checkpoint> checkpoints;
  Depot<Piece> pieces;
  Depot<Segment> segments;
};
struct SearchPool {
  explicit SearchPool(SearchDepot& depot, bool shared = false)
      : states(depot.states, shared), checkpoints(depot.checkpoints), pieces(depot.pieces), segments(depot.segments) {}
  StatePool states;
  Parts<Checkpoint> checkpoints;
  Parts<Piece> pieces;
  Parts<Segment> segments;
};

// The helpers of one search. Public methods are for the search's thread alone.
class Speculation {
 public:
  Speculation(const Context& context, const SearchLimits& limits, SearchDepot& depot, SearchPool& pool);
  ~Speculation();

  // A pending state to run ahead on, first in the line. Owns the state.
  Segment* Push(State* state, uint32_t insn, int64_t prev, uint32_t ancestors);
  // The search has retired the fork that `segment` starts with.
  void Attach(Segment* segment);
  // The search begins with `segment`. Returns its origin, whose state the search takes over.
  Piece* Follow(Segment* segment);
  // The piece after `at`, as soon as it is there. Null: there will be none, and the segment is to be closed.
  Piece* Next(Segment* segment, Piece* at);
  // `next`, the piece after `at`, is retired; the search takes its state over. Frees `at`.
  void Consume(Segment* segment, Piece* at, Piece* next);
  // The path has ended, or the search goes on without `segment`. What was executed beyond is squashed. The states that
  // the search took over stay its own.
  void Close(Segment* segment);

  // The search has recorded checkpoint `c`, for the path of `segment` (null: its own), from a prepared one or not.
  void Recorded(Checkpoint* c, uint32_t number, Segment* segment, bool prepared);
  // How many there are now: helpers may be ahead by about as much memory.
  void SetLive(uint64_t checkpoints);
  // It forgets one that was recorded, or was prepared and is not to be recorded.
  void Dropped(Checkpoint* c);
  // A scalar at `insn` was found to matter.
  void Predict(uint32_t insn, int frame, uint16_t regs, uint64_t slots);

  // Ends the helpers and adds what they did.
  void Stop(SpeculationStats& stats);

 private:
  struct Helper;

  bool WindowFull() const;
  void MaybeWake();
  void Help();
  Segment::Status Run(Helper& helper, Segment* segment);
  Piece* Execute(Helper& helper, Segment* segment, State& state, uint32_t insn, int64_t prev);
  struct Found {
    bool pruned = false;  // it is likely to be pruned there
    bool loop = false;    // an ancestor stands at the same instruction
  };
  Found LookUp(Helper& helper, Segment* segment, Piece& piece, const State& state);
  void Prepare(Helper& helper, Segment* segment, Piece& piece, bool in_loop);
  void Publish(Segment* segment, Piece* piece);
  void FreePiece(Piece* piece, SearchPool& pool, std::vector<Segment*>& forks);

  // Under the line's mutex.
  void InsertAfter(Segment* place, Segment* segment);
  void Unlink(Segment* segment);
  Segment* FirstReady(Segment* from) const;
  Segment* ClaimFrom(Segment* from);
  void CancelLocked(Segment* segment);

  Segment* Claim();
  Segment* Finish(Segment* segment, Segment::Status status);
  void Return(Segment* segment);
  // Gives up `segment` for its parent or the search: nobody wants what is not retired.
  void Cancel(Segment* segment);
  void DropOwner(Segment* segment, SearchPool& pool);
  static void DropReference(Segment* segment, SearchPool& pool);
  static Segment* NewSegment(SearchPool& pool, State* state, uint32_t insn, int64_t prev);

  const Context& ctx_;
  const SearchLimits& limits_;
  SearchDepot& depot_;
  SearchPool& pool_;  // the search's
  VisitedMap visited_;
  // Which scalars were found to matter, by instruction (folded): a guess at what will matter in states that nobody has
  // come back from yet.
  std::unique_ptr<PreciseMarks[]> predicted_;
  std::atomic<uint32_t> recorded_{0};  // number of the newest checkpoint
  const uint32_t max_helpers_;
  std::atomic<uint32_t> window_;  // pieces ahead, at most

  std::mutex line_;
  Segment* first_ = nullptr;
  Segment* followed_ = nullptr;  // by the search; null: it goes by itself
  std::atomic<uint32_t> ready_{0};
  std::atomic<uint32_t> ahead_{0};  // pieces that are published and neither retired nor squashed
  std::atomic<uint32_t> helpers_{0};
  std::atomic<bool> stop_{false};
  std::mutex idle_mutex_;
  std::vector<std::unique_ptr<Helper>> idle_;  // between two tasks
  SpeculationStats stats_;  // the search's part
  oneapi::tbb::task_group group_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_
