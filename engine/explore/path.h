// What the search remembers of a path: how it got from its last checkpoint to where it is.
//
// Going back along a path (precision, explanations) needs only the steps that straight-line order does not tell. They
// form a list from the newest to the oldest, of which paths that forked share the common part. A list belongs to the
// checkpoint that its paths start from, and is needed until that one is finished: who goes back from a later path
// only ever meets unfinished checkpoints.
#ifndef BPFSIEVE_ENGINE_EXPLORE_PATH_H_
#define BPFSIEVE_ENGINE_EXPLORE_PATH_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/program/arena.h"
#include "engine/state/state.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

struct HistoryNode {
  uint32_t insn = 0;
  uint32_t prev = 0;     // the instruction before it on the path
  uint32_t flags = 0;    // kHist*
  uint32_t length = 0;   // of the list from here on
  uint64_t linked = 0;   // scalars linked by id at a conditional jump, packed (PackLinked)
  HistoryNode* older = nullptr;
  HistoryNode* next_owned = nullptr;  // the next one of the same owner, or the next free one
};

// The nodes of one owner.
struct HistoryNodes {
  HistoryNode* first = nullptr;
  HistoryNode* last = nullptr;
};

// Hands out nodes and takes back all of an owner's at once. Not thread-safe.
class HistoryPool {
 public:
  explicit HistoryPool(Arena& arena) : arena_(arena) {}
  HistoryNode* New(HistoryNodes& owner) {
    HistoryNode* node = free_;
    if (node != nullptr) {
      free_ = node->next_owned;
    } else {
      if (fresh_.empty()) fresh_ = arena_.Raw<HistoryNode>(size_ = std::clamp<size_t>(2 * size_, 16, 256));
      node = &fresh_.front();
      fresh_ = fresh_.subspan(1);
    }
    node->next_owned = nullptr;
    (owner.first == nullptr ? owner.first : owner.last->next_owned) = node;
    owner.last = node;
    ++in_use_;
    return node;
  }
  void Free(HistoryNodes& owner) {
    if (owner.first == nullptr) return;
    for (const HistoryNode* node = owner.first; node != nullptr; node = node->next_owned) --in_use_;
    owner.last->next_owned = free_;
    free_ = owner.first;
    owner = {};
  }
  uint64_t bytes() const { return in_use_ * sizeof(HistoryNode); }

 private:
  Arena& arena_;
  std::span<HistoryNode> fresh_;  // never used
  size_t size_ = 0;               // that there were of these at first
  HistoryNode* free_ = nullptr;
  uint64_t in_use_ = 0;
};

struct Checkpoint;
struct LoopVisit;
struct Segment;

struct Path {
  Checkpoint* parent = nullptr;     // the last checkpoint, null: the function's entry
  int32_t first_insn = 0;           // where the path since then began
  int32_t last_insn = -1;           // the instruction before the current one
  HistoryNode* history = nullptr;   // newest first
};

// A recorded state. What is not said to be learnt later does not change after the checkpoint is in the table. With
// helpers (speculation.h), they read some of it too; what the search writes all the time lies on other cache lines.
struct Checkpoint {
  // The search's: what it looks at when it passes by.
  alignas(64) Checkpoint* next = nullptr;  // the next older one in its list
  uint64_t types = 0;          // fingerprint of the innermost registers' types, see Fingerprint()
  uint64_t types_mask = 0;     // which bits of it must match
  uint32_t insn = 0;
  uint32_t branches = 1;       // paths from here that are not done; 0: finished
  uint32_t hits = 0;           // usefulness, for eviction
  uint32_t misses = 0;
  uint32_t recorded = 0;       // `number`
  FailureHint hint;
  // And what it seldom needs.
  Path path;                   // how it was reached
  HistoryNodes history;        // of the paths that start here
  LiveMasks live;              // what the continuation may read
  uint64_t exact = 0;          // RegsHash(), 0: not worked out yet
  uint64_t bytes = 0;          // what it counts for in the memory budget
  int64_t evicted_at = -1;     // index in the search's list of evicted ones, -1: still in the table
  LoopVisit* visit = nullptr;  // the loop that it is in
  bool kept = false;           // among visit->kept

  // Anybody's.
  struct alignas(64) Shared {
    const State* state = nullptr;
    uint64_t types = 0, types_mask = 0;
    uint32_t insn = 0;
    std::atomic<uint32_t> number{0};    // in the order of recording, from 1; 0: a helper's guess, not recorded (yet)
    std::atomic<bool> finished{false};  // learnt later
    FailureHint hint;                   // the helpers'
    uint32_t piece = 0;                 // of a guess: where it lies
    const Segment* segment = nullptr;
    CompareMasks masks;                 // what has to be compared
    PreciseMarks precise;               // learnt later, only ever added to
  } shared;

  void Clear();  // as new
  bool finished() const { return branches == 0; }
};

// A loop on the way of one call chain (the kernel's bpf_scc_visit). A path may end in it at a checkpoint of which not all
// paths are done, because every scalar of it covers the path's; which scalars the rest relies on is not known then. It is
// passed on when all paths through the loop are done.
struct LoopVisit {
  struct Backedge {
    Path path;                        // that ended
    uint32_t insn = 0;                // before this one
    const Checkpoint* equal = nullptr;  // covered by this
  };
  // One of the backedges is of another turn of an iterator or may_goto: for 6.18, those of calls that run callbacks are none.
  bool counted = false;
  Checkpoint* entry = nullptr;        // the first in the loop of the path in progress, null: that is done
  std::vector<Backedge> backedges;
  std::vector<Checkpoint*> kept;      // finished, but backedges lead back through them
};

// Six bits per register for type and flags, for R0..R9: equal fingerprints under the mask are necessary for
// subsumption.
uint64_t Fingerprint(const Frame& frame, uint16_t live, uint64_t* mask);
// Of the frame's registers, all bytes; not 0. For this process alone.
uint64_t RegsHash(const Frame& frame);
// Makes a fresh checkpoint one of `state`, which stands at `insn`, but for what only the search knows.
void FillCheckpoint(const Context& context, const State& state, uint32_t insn, Checkpoint& c);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_PATH_H_
