// Running ahead of the search.
//
// The search (search.h) is sequential and stays so: what it does, in which order, is what makes its answer. But the
// costly part of it, executing instructions on states, depends on nothing but the state: whoever executes a path from a
// pending state gets the same states, forks and requests. So helpers take pending states and explore what comes of them
// ahead of time, and the search, when it gets there, finds the work done and only retires it: it looks the states up,
// records them, honours the requests, in its own order. A helper can be wrong only in guessing what will be needed.
//
// Words. A *segment* is a path from a pending state on, as far as a helper has executed it. It consists of *pieces*,
// published one by one: what was executed, the requests on the way, and the state at the end. A piece ends where the
// helper expects the search to record a state; the prune points before that are *visits*, which keep only what decides
// most look-ups. If one needs the state after all, the search executes the piece again up to there.
//
// Work is given away only when somebody asks: a helper without work is *hungry*. The first one gets the path that the
// search is on, where work is never in vain but for what is pruned, and goes ahead of it, depth-first, with a stack of its
// own. Others get pending states, the newest first, from the search or from a helper's stack. So for a path that nobody
// else takes nothing is shared. Where a helper stopped on a wrong guess the search goes on by itself, and calls it back.
//
// Who may do what (the protocol):
// - A segment is kIdle (nobody is at it, it can go on), kClaimed (a helper copies the state it goes on from), kRunning
//   (by one helper), kParked (a helper guesses that the search will prune it here), kTaken (by the search, for good) or
//   kDone (executed to its end). Whoever changes kIdle or kParked does it by compare-and-swap; from kClaimed on it is
//   the helper's to change.
// - A piece belongs to the helper until it is published (Piece::next or Segment::origin, release); from then on it
//   belongs to the search, which frees it once its successor is there or the segment is its own.
// - A state in a piece is never written. The search may make it the state of a checkpoint, or go on executing on it
//   once the segment is kTaken.
// - What the helpers know of visited states (VisitedMap) decides only where they stop: a stale or wrong guess costs
//   time. The one thing that the search takes over from a look-up, `checked`, is a proof: see LookUpKey.
//
// Turned down, after trying: a list of all pending states in sequential order under a lock, of which helpers take the earliest
// (most paths are a few instructions long, so that taking one cost more than executing it); giving the oldest pending states
// away, the roots of the largest parts of the tree (by the time the search comes there it knows states that prune most of it);
// a state kept for every prune point (three times the copies, all of them cold when they are read). Turned down before: workers
// that prune on their own and a merge afterwards (the kernel's rules for when to record and to forget a state depend on the
// order, so the merge would be the search again; deciding by the path alone costs up to six times the instructions on real
// programs); a lock around one table (an answer that depends on the schedule).
#ifndef BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_
#define BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_

#include <oneapi/tbb/spin_rw_mutex.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
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

// What a look-up needs of a state, but for the state.
struct LookUpKey {
  uint32_t insn = 0;
  int32_t callsite = -1;
  uint64_t types = 0;    // Fingerprint()
  uint64_t exact = 0;    // RegsHash(), 0: not known
  uint32_t id_gen = 0;
  // Every checkpoint for this place whose number is no larger was compared with the state and does not subsume it, or is
  // an ancestor. Both are for good: marks of precision are only ever added, which makes a comparison fail more often,
  // and an ancestor is unfinished until the path is done.
  uint32_t checked = 0;
};

// A prune point within a piece.
struct PieceVisit {
  LookUpKey key;
  int64_t prev = 0;
  uint32_t steps = 0;    // instructions of the piece before it
  uint32_t jumps = 0;    // of these, jumps
};

struct Piece {
  void Clear();

  // What was executed; of a segment's origin: nothing, there is only the end.
  std::vector<PieceEvent> events;
  std::vector<PieceVisit> visits;
  std::vector<StackUse> grown;
  uint32_t steps = 0;
  uint32_t jumps = 0;
  // How it ends: kContinue, at a prune point; kPathEnd; or with a finding, which is its last step.
  StepResult::Kind kind = StepResult::Kind::kContinue;
  State* state = nullptr;    // at the end
  LookUpKey key;             // of it; an origin has none
  uint32_t insn = 0;         // to execute next; of a finding: where it is
  int64_t prev = -1;
  uint16_t frame = 0;        // of a finding: the innermost frame before the step
  std::unique_ptr<StepResult> finding;
  Checkpoint* checkpoint = nullptr;  // of `state`, ready to be recorded
  bool consumed = false;     // the search has taken the state over

  std::atomic<Piece*> next{nullptr};
};

struct Segment {
  void Clear();

  enum class Status : uint8_t { kIdle, kClaimed, kRunning, kParked, kTaken, kDone };
  std::atomic<Status> status{Status::kIdle};
  std::atomic<bool> cancelled{false};  // nobody wants it any more
  std::atomic<int32_t> owners{1};      // who needs the pieces: the search or the event that forked it; helpers' stacks
  std::atomic<int32_t> references{1};  // who needs this struct: the owners together, and each child
  Piece* origin = nullptr;             // the oldest piece that is not freed; the search's
  Piece* tail = nullptr;               // the newest piece; the helper's

  // Where it forked off, until the search has retired that; then all ancestors are checkpoints.
  Segment* parent = nullptr;
  uint32_t parent_piece = 0;            // pieces of the parent before the one that forked it
  uint32_t fork_number = 0;             // forks of the parent before it
  std::atomic<bool> attached{false};
  std::atomic<uint32_t> ancestors{0};   // unfinished checkpoints up to this number are its ancestors
  bool offered = false;                 // the search's
  std::atomic<uint32_t> checked{0};     // LookUpKey::checked of the state that it starts with
  std::atomic<int64_t> position{0};     // attached: the larger, the earlier the search comes to it
  uint32_t pieces = 0, forks = 0;       // published so far; the helper's
  uint32_t history = 0;                 // entries of the path's history when it began, at a guess
};

// The visited states, for helpers: recorded ones and those that helpers think will be. A hash map by instruction and
// call site, of fixed size, with a lock for each bucket. Thread-safe.
class VisitedMap {
 public:
  explicit VisitedMap(size_t insns);
  void Insert(Checkpoint* c);
  void Remove(Checkpoint* c);
  // A guess becomes a recorded one.
  void Retire(Checkpoint* c, uint32_t number);
  // Calls f(Checkpoint&) from the newest to the oldest for those at the same instruction, until it returns true. They
  // stay where they are meanwhile.
  template <typename F>
  void Visit(uint32_t insn, int32_t callsite, F f) {
    Bucket& bucket = At(insn, callsite);
    if (bucket.size.load(std::memory_order_relaxed) == 0) return;
    const oneapi::tbb::spin_rw_mutex::scoped_lock lock(bucket.mutex, /*write=*/false);
    for (size_t i = bucket.list.size(); i-- > 0;) {
      if (bucket.list[i]->shared.insn == insn && f(*bucket.list[i])) return;
    }
  }

 private:
  struct Bucket {
    oneapi::tbb::spin_rw_mutex mutex;
    std::atomic<uint32_t> size{0};
    std::vector<Checkpoint*> list;
  };
  Bucket& At(uint32_t insn, int32_t callsite) {
    return buckets_[(insn ^ static_cast<uint32_t>(callsite) * 0x9e3779b1) & mask_];
  }
  Bucket& At(const Checkpoint& c) { return At(c.shared.insn, c.shared.state->frame().callsite); }
  size_t mask_;
  std::unique_ptr<Bucket[]> buckets_;
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

  // Whether some helper has nothing to do.
  bool Hungry() const { return hungry_.load(std::memory_order_relaxed) > offered_.load(std::memory_order_relaxed); }
  // Calls back helpers that have given their threads back. For when there is work, not too often.
  void WakeUp();
  // Makes a segment of a state, which was forked when there were `ancestors` checkpoints and lies at `position` of the
  // search's stack.
  Segment* Share(State* state, uint32_t insn, int64_t prev, uint32_t ancestors, int64_t position);
  // Offers it to hungry helpers; false: somebody has been at it already.
  bool Offer(Segment* segment);
  // Asks a helper to leave what it is at, and become hungry.
  void Recall() { recall_.store(true, std::memory_order_relaxed); }
  // The search has retired the fork that `segment` starts with.
  void Attach(Segment* segment, int64_t position);
  // The search begins with `segment`. Returns its origin, whose state the search takes over.
  Piece* Follow(Segment* segment);
  enum class Ahead { kPiece, kNothing, kWait };
  // kPiece: the piece after `at`. kNothing: there will be none, and the segment is to be closed. kWait: a helper is at
  // it, or about to be; `spins` counts how often that was said.
  Ahead Next(Segment* segment, Piece* at, Piece** next, int spins);
  // A turn of waiting for that, and its end: how long it took counts.
  void Wait(int spins);
  void EndWait();
  // `next`, the piece after `at`, is retired; the search takes its state over. Frees `at`, and `state` if not null: a
  // helper does, in whose cache they are.
  void Consume(Segment* segment, Piece* at, Piece* next, State* state);
  // The path has ended, or the search goes on without `segment`. What was executed beyond is squashed. The states that
  // the search took over stay its own.
  void Close(Segment* segment);

  // The search has recorded checkpoint `c`, for the path of `segment` (null: its own), from a prepared one or not.
  void Recorded(Checkpoint* c, uint32_t number, Segment* segment, bool prepared);
  // How many there are now: helpers may be ahead by about as much memory.
  void SetLive(uint64_t checkpoints);
  // It forgets one that was recorded, or was prepared and is not to be recorded.
  void Dropped(Checkpoint* c) { visited_.Remove(c); }
  // A scalar at `insn` was found to matter.
  void Predict(uint32_t insn, int frame, uint16_t regs, uint64_t slots);

  // Ends the helpers and adds what they did. Segments are to be closed afterwards.
  void Stop(SpeculationStats& stats);

 private:
  struct Helper;
  struct Found {
    bool pruned = false;  // the state is likely to be pruned there
    bool loop = false;    // an ancestor stands at the same instruction
  };

  void Shake();
  int OfferSpins() const;
  bool WindowFull() const;
  void Wake();
  void Serve();
  void Explore(Helper& helper);
  void AddOffer(Segment* segment);
  Segment* WaitForOffer();
  bool TakeRecall();
  void Run(Helper& helper, Segment* segment);
  Piece* Execute(Helper& helper, Segment* segment, State& state, uint32_t insn, int64_t prev);
  Found LookUp(Helper& helper, const Segment* segment, const State& state, LookUpKey& key);
  void Prepare(Helper& helper, Segment* segment, Piece& piece);
  void Publish(Helper& helper, Segment* segment, Piece* piece);

  void Cancel(Segment* segment);
  void DropOwner(Segment* segment, SearchPool& pool);
  void FreePiece(Piece* piece, SearchPool& pool, std::vector<Segment*>& forks);
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
  // By instruction (folded): a state was not pruned there although an unfinished one seemed to cover it.
  std::unique_ptr<std::atomic<bool>[]> distrust_;
  const uint32_t max_helpers_;

  // Each on a cache line of its own: they change hands at different times.
  alignas(64) std::atomic<uint32_t> recorded_{0};  // number of the newest checkpoint
  alignas(64) std::atomic<int64_t> ahead_{0};      // pieces that are neither retired nor squashed
  alignas(64) std::atomic<int64_t> window_;        // so many at most
  std::atomic<bool> stop_{false};
  std::atomic<bool> recall_{false};
  std::atomic<uint32_t> shaken_{0};
  std::atomic<uint32_t> helpers_{0};               // tasks
  alignas(64) std::atomic<uint32_t> hungry_{0};
  std::atomic<uint32_t> offered_{0};
  std::mutex offers_mutex_;
  std::condition_variable offers_changed_;         // or stop_
  std::deque<Segment*> offers_;
  std::vector<std::unique_ptr<Helper>> idle_;      // between two tasks
  struct Garbage {
    std::vector<State*> states;
    std::vector<Piece*> pieces;
  };
  void Clean(Helper& helper);
  Garbage used_;                                   // by the search, and not returned yet
  std::mutex garbage_mutex_;
  Garbage garbage_;
  std::atomic<bool> returned_{false};              // there is some
  SpeculationStats stats_;                         // the search's part
  uint64_t wait_begin_ = 0;                        // ns
  oneapi::tbb::task_group group_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_SPECULATION_H_
