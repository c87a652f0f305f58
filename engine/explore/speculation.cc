#include "engine/explore/speculation.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

namespace bpfsieve {
namespace {

constexpr uint32_t kPredictions = 4096;   // entries of the table of guesses
constexpr int64_t kWindow = 4096;         // pieces ahead, on top of one for each checkpoint; each is about 2 KiB
constexpr int kHungrySpins = 512;          // looks for an offer before a helper sleeps
constexpr std::chrono::milliseconds kHungrySleep{10};  // before it gives its thread back
constexpr int kMaxGuesses = 64;            // newest ones, of those at one place, that a state is compared with
constexpr std::chrono::microseconds kWindowSleep{20};  // of a helper that is too far ahead, at first; then longer
constexpr uint32_t kMaxVisits = 12;       // of a piece: what may have to be executed again
constexpr size_t kGarbage = 32;           // pieces that the search returns at once
constexpr int kOfferSpins = 50;           // that the search waits for somebody to take what it offered
constexpr int kForcedOfferSpins = 4100;   // the same where helpers are to work whether it pays or not
constexpr uint32_t kStopCheck = 1024;     // steps
constexpr int kMaxClimb = 64;             // segments up the tree, when the order of two is asked for

// A turn of a waiting loop: first the processor's hint, then the thread's slot for somebody else, then sleep. There may be
// more threads than processors.
void Pause(int spins) {
  if (spins < 512) {
    __builtin_ia32_pause();
  } else if (spins < 4096) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

uint64_t NowNs() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// Unfinished checkpoints up to this number are ancestors of the segment. A number that is too small is only a missed
// chance, one that is too large would be wrong: so a parent's counts only while the fork is not retired, which is asked
// again after reading it.
uint32_t AncestorsOf(const Segment* segment) {
  uint32_t best = segment->ancestors.load(std::memory_order_acquire);
  for (const Segment* s = segment; s->parent != nullptr; s = s->parent) {
    if (s->attached.load(std::memory_order_acquire)) break;
    const uint32_t of_parent = s->parent->ancestors.load(std::memory_order_acquire);
    if (s->attached.load(std::memory_order_acquire)) break;
    best = std::max(best, of_parent);
  }
  return best;
}

// Whether guess `c` lies on the way to `segment`.
bool OnTheWay(const Checkpoint& c, const Segment* segment) {
  uint32_t limit = ~0u;
  for (const Segment* s = segment; s != nullptr; s = s->parent) {
    if (c.shared.segment == s) return c.shared.piece <= limit;
    if (s->attached.load(std::memory_order_acquire)) break;
    limit = s->parent_piece;
  }
  return false;
}

// Whether the search comes to what lies on `a` before it comes to what lies on `b`; a guess where that is far to see.
bool Earlier(const Segment* a, const Segment* b) {
  const Segment* up_a[kMaxClimb];
  const Segment* up_b[kMaxClimb];
  const auto climb = [](const Segment* s, const Segment** up) {
    int n = 0;
    for (; n < kMaxClimb; s = s->parent) {
      up[n++] = s;
      if (s->parent == nullptr || s->attached.load(std::memory_order_acquire)) break;
    }
    return n;
  };
  int i = climb(a, up_a), j = climb(b, up_b);
  if (up_a[i - 1] != up_b[j - 1]) {
    return up_a[i - 1]->position.load(std::memory_order_relaxed) > up_b[j - 1]->position.load(std::memory_order_relaxed);
  }
  while (i > 0 && j > 0 && up_a[i - 1] == up_b[j - 1]) --i, --j;
  if (i == 0) return true;   // b forked off a: the path itself comes first
  if (j == 0) return false;
  return up_a[i - 1]->fork_number > up_b[j - 1]->fork_number;
}

}  // namespace

// ---- Parts -------------------------------------------------------------------------------------------------------

void Piece::Clear() {
  events.clear();
  visits.clear();
  grown.clear();
  steps = jumps = 0;
  kind = StepResult::Kind::kContinue;
  state = nullptr;
  key = {};
  finding.reset();
  checkpoint = nullptr;
  consumed = false;
  next.store(nullptr, std::memory_order_relaxed);
}

void Segment::Clear() {
  std::destroy_at(this);
  std::construct_at(this);
}

Segment* Speculation::NewSegment(SearchPool& pool, State* state, uint32_t insn, int64_t prev) {
  Segment* segment = pool.segments.Take();
  segment->Clear();
  Piece* origin = pool.pieces.Take();
  origin->Clear();
  origin->state = state;
  origin->insn = insn;
  origin->prev = prev;
  segment->origin = segment->tail = origin;
  return segment;
}

VisitedMap::VisitedMap(size_t insns)
    : mask_(std::bit_ceil(std::clamp<size_t>(insns, 64, 1 << 16)) - 1), buckets_(std::make_unique<Bucket[]>(mask_ + 1)) {}

void VisitedMap::Insert(Checkpoint* c) {
  Bucket& bucket = At(*c);
  const oneapi::tbb::spin_rw_mutex::scoped_lock lock(bucket.mutex);
  bucket.list.push_back(c);
  bucket.size.store(static_cast<uint32_t>(bucket.list.size()), std::memory_order_relaxed);
}

void VisitedMap::Remove(Checkpoint* c) {
  Bucket& bucket = At(*c);
  const oneapi::tbb::spin_rw_mutex::scoped_lock lock(bucket.mutex);
  // Mostly one of the newest.
  for (size_t i = bucket.list.size(); i-- > 0;) {
    if (bucket.list[i] != c) continue;
    bucket.list.erase(bucket.list.begin() + static_cast<ptrdiff_t>(i));
    break;
  }
  bucket.size.store(static_cast<uint32_t>(bucket.list.size()), std::memory_order_relaxed);
}

void VisitedMap::Retire(Checkpoint* c, uint32_t number) {
  const oneapi::tbb::spin_rw_mutex::scoped_lock lock(At(*c).mutex);
  c->shared.segment = nullptr;
  c->shared.number.store(number, std::memory_order_release);
}

// ---- Helpers -----------------------------------------------------------------------------------------------------

struct Speculation::Helper {
  Helper(const Context& context, SearchDepot& depot) : pool(depot, true), transfer(context, pool.states) {}
  SearchPool pool;
  Transfer transfer;
  StepResult step;
  IdMap ids;
  std::deque<Segment*> stack;  // the newest last; each an owner
  // The guess at when the search records a state: counted since the last time that it seemed to.
  uint32_t jumps = 0, steps = 0, history = 0;
  // Why the last piece ended where it did.
  bool park = false, record = false, stop = false;
  bool recalled = false;
  SpeculationStats stats;
};

Speculation::Speculation(const Context& context, const SearchLimits& limits, SearchDepot& depot, SearchPool& pool)
    : ctx_(context),
      limits_(limits),
      depot_(depot),
      pool_(pool),
      visited_(context.program->insns.size()),
      predicted_(std::make_unique<PreciseMarks[]>(kPredictions)),
      distrust_(std::make_unique<std::atomic<bool>[]>(kPredictions)),
      max_helpers_(limits.threads - 1),
      window_(kWindow) {
  pool_.states.Share(true);
}

Speculation::~Speculation() { pool_.states.Share(false); }

void Speculation::Stop(SpeculationStats& stats) {
  {
    const std::lock_guard<std::mutex> lock(offers_mutex_);  // so that nobody is between asking and sleeping
    stop_.store(true, std::memory_order_relaxed);
  }
  offers_changed_.notify_all();
  group_.wait();
  for (Segment* segment : offers_) DropOwner(segment, pool_);
  offers_.clear();
  stats.helpers = std::max(stats.helpers, static_cast<unsigned>(idle_.size()));
  stats.retired_pieces += stats_.retired_pieces;
  stats.retired_steps += stats_.retired_steps;
  stats.waits += stats_.waits;
  stats.wait_ns += stats_.wait_ns;
  for (const std::unique_ptr<Helper>& h : idle_) {
    stats.segments += h->stats.segments;
    stats.parked += h->stats.parked;
    stats.pieces += h->stats.pieces;
    stats.steps += h->stats.steps;
    stats.busy_ns += h->stats.busy_ns;
  }
}

int Speculation::OfferSpins() const { return limits_.helpers_from == 0 ? kForcedOfferSpins : kOfferSpins; }

// For tests: now and then a delay, long enough for another thread to get somewhere else first.
void Speculation::Shake() {
  if (limits_.shake == 0) return;
  uint32_t x = limits_.shake * 0x9e3779b1u + shaken_.fetch_add(1, std::memory_order_relaxed) * 0x85ebca6bu;
  x ^= x >> 15;
  x *= 0xc2b2ae35u;
  x ^= x >> 13;
  if (x % 16 == 0) std::this_thread::yield();
  for (uint32_t i = 0; x % 4 == 0 && i < (x >> 8) % 512; ++i) __builtin_ia32_pause();
}

bool Speculation::WindowFull() const {
  return ahead_.load(std::memory_order_relaxed) > window_.load(std::memory_order_relaxed);
}

void Speculation::WakeUp() {
  while (helpers_.load(std::memory_order_relaxed) < max_helpers_) Wake();
}

void Speculation::Wake() {
  helpers_.fetch_add(1, std::memory_order_relaxed);
  hungry_.fetch_add(1, std::memory_order_relaxed);
  group_.run([this] { Serve(); });
}

// A task: explores what it is offered, until there is nothing for a while. It comes hungry.
void Speculation::Serve() {
  std::unique_ptr<Helper> helper;
  {
    const std::lock_guard<std::mutex> lock(offers_mutex_);
    if (!idle_.empty()) {
      helper = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (helper == nullptr) helper = std::make_unique<Helper>(ctx_, depot_);
  while (Segment* root = WaitForOffer()) {
    const uint64_t begin = NowNs();
    helper->jumps = helper->steps = 0;
    helper->recalled = false;
    helper->stack.push_back(root);
    Explore(*helper);
    helper->stats.busy_ns += NowNs() - begin;
  }
  const std::lock_guard<std::mutex> lock(offers_mutex_);
  idle_.push_back(std::move(helper));
  helpers_.fetch_sub(1, std::memory_order_relaxed);
}

void Speculation::AddOffer(Segment* segment) {
  {
    const std::lock_guard<std::mutex> lock(offers_mutex_);
    offers_.push_back(segment);
    offered_.store(static_cast<uint32_t>(offers_.size()), std::memory_order_relaxed);
  }
  offers_changed_.notify_one();
}

// Null: there is none for a long time. The caller counts as hungry, and does not any more afterwards.
Segment* Speculation::WaitForOffer() {
  const auto stop = [&] { return stop_.load(std::memory_order_relaxed); };
  for (int spins = 0; spins < kHungrySpins && offered_.load(std::memory_order_relaxed) == 0 && !stop(); ++spins) Pause(spins);
  Segment* segment = nullptr;
  std::unique_lock<std::mutex> lock(offers_mutex_);
  if (offers_changed_.wait_for(lock, kHungrySleep, [&] { return !offers_.empty() || stop(); }) && !stop()) {
    segment = offers_.front();
    offers_.pop_front();
    offered_.store(static_cast<uint32_t>(offers_.size()), std::memory_order_relaxed);
  }
  hungry_.fetch_sub(1, std::memory_order_relaxed);
  return segment;
}

// Explores what is on the helper's stack, and what forks off that, in the order of the search.
void Speculation::Explore(Helper& helper) {
  for (int spins = 0; !helper.stack.empty();) {
    if (stop_.load(std::memory_order_relaxed) || helper.recalled) {
      for (Segment* segment : helper.stack) DropOwner(segment, helper.pool);
      helper.stack.clear();
      break;
    }
    if (WindowFull()) {
      helper.recalled = TakeRecall();
      // The search has thousands of pieces to retire first.
      std::this_thread::sleep_for(kWindowSleep * (1 << std::min(spins++, 5)));
      continue;
    }
    spins = 0;
    if (helper.stack.size() > 1 && Hungry()) {
      AddOffer(helper.stack[helper.stack.size() - 2]);
      helper.stack.erase(helper.stack.end() - 2);
    }
    Clean(helper);
    Segment* segment = helper.stack.back();
    helper.stack.pop_back();
    Segment::Status idle = Segment::Status::kIdle;
    if (segment->status.compare_exchange_strong(idle, Segment::Status::kClaimed, std::memory_order_acquire)) {
      Run(helper, segment);
    }
    DropOwner(segment, helper.pool);
  }
  hungry_.fetch_add(1, std::memory_order_relaxed);
}

void Speculation::Run(Helper& helper, Segment* segment) {
  Shake();
  Piece* tail = segment->tail;
  uint32_t insn = tail->insn;
  int64_t prev = tail->prev;
  State* state = helper.pool.states.Clone(*tail->state);
  Shake();
  // From here on the search may free that state, and before the next piece is there nothing of `tail` is read.
  segment->status.store(Segment::Status::kRunning, std::memory_order_release);
  ++helper.stats.segments;
  Segment::Status status = Segment::Status::kIdle;
  LookUpKey key;
  if (segment->pieces == 0) {
    helper.history = segment->history;
    key.insn = insn;
    if (ctx_.cfg->at[insn].prune_point && LookUp(helper, segment, *state, key).pruned) {
      ++helper.stats.parked;
      status = Segment::Status::kParked;
    }
    segment->checked.store(key.checked, std::memory_order_relaxed);
  }
  while (status == Segment::Status::kIdle && !stop_.load(std::memory_order_relaxed)) {
    Piece* piece = Execute(helper, segment, *state, insn, prev);
    if (piece == nullptr) break;
    ++helper.stats.pieces;
    helper.stats.steps += piece->steps;
    insn = piece->insn;
    prev = piece->prev;
    if (piece->kind != StepResult::Kind::kContinue) {
      status = Segment::Status::kDone;
      std::swap(piece->state, state);
    } else if (helper.park) {
      ++helper.stats.parked;
      status = Segment::Status::kParked;
      std::swap(piece->state, state);
    } else if (helper.stop) {
      std::swap(piece->state, state);
      if (helper.record) Prepare(helper, segment, *piece);
    } else {
      piece->state = helper.pool.states.Clone(*state);
      if (helper.record) Prepare(helper, segment, *piece);
    }
    Publish(helper, segment, piece);
    if (helper.stop || WindowFull()) break;
  }
  if (state != nullptr) helper.pool.states.Free(state);
  segment->status.store(status, std::memory_order_release);
  if (status == Segment::Status::kIdle && !segment->cancelled.load(std::memory_order_relaxed)) {
    segment->owners.fetch_add(1, std::memory_order_relaxed);
    helper.stack.push_back(segment);  // to go on later
  }
}

bool Speculation::TakeRecall() {
  return recall_.load(std::memory_order_relaxed) && recall_.exchange(false, std::memory_order_relaxed);
}

// Up to where the search is likely to record or to prune the state, or the path ends. Null: asked to stop.
Piece* Speculation::Execute(Helper& helper, Segment* segment, State& state, uint32_t insn, int64_t prev) {
  const Cfg& cfg = *ctx_.cfg;
  const std::vector<Insn>& insns = ctx_.program->insns;
  Piece* piece = helper.pool.pieces.Take();
  piece->Clear();
  StepResult& step = helper.step;
  helper.park = helper.record = helper.stop = false;
  for (;;) {
    ++piece->steps;
    piece->jumps += IsJmpClass(insns[insn]);
    const uint16_t frame = static_cast<uint16_t>(state.cur);
    step.Reset();
    helper.transfer.Step(state, insn, step);
    if (!helper.transfer.grown.empty()) {
      piece->grown.insert(piece->grown.end(), helper.transfer.grown.begin(), helper.transfer.grown.end());
      helper.transfer.grown.clear();
    }
    if (step.kind == StepResult::Kind::kFinding || step.kind == StepResult::Kind::kUnsupported) {
      if (step.branch != nullptr) helper.pool.states.Free(std::exchange(step.branch, nullptr));
      piece->kind = step.kind;
      piece->insn = insn;
      piece->prev = prev;
      piece->frame = frame;
      piece->finding = std::make_unique<StepResult>(step);
      return piece;
    }
    if (step.Any() || cfg.at[insn].jmp_point) {
      ++helper.history;
      PieceEvent& event = piece->events.emplace_back();
      event.effects = step;
      event.insn = insn;
      event.prev = prev;
      event.steps = piece->steps;
      event.grown = static_cast<uint32_t>(piece->grown.size());
      event.frame = frame;
      if (step.branch != nullptr) {
        Segment* fork = NewSegment(helper.pool, step.branch, step.branch_insn, insn);
        fork->parent = segment;
        fork->parent_piece = segment->pieces;
        fork->fork_number = segment->forks++;
        fork->history = helper.history;
        segment->references.fetch_add(1, std::memory_order_relaxed);
        event.fork = fork;
      }
    }
    prev = insn;
    insn = step.next;
    if (step.kind == StepResult::Kind::kPathEnd) {
      piece->kind = step.kind;
      break;
    }
    ++helper.steps;
    helper.jumps += IsJmpClass(insns[static_cast<size_t>(prev)]);
    if (cfg.at[insn].prune_point) {
      LookUpKey key;
      key.insn = insn;
      const Found found = LookUp(helper, segment, state, key);
      helper.park = found.pruned;
      // The search's rules, on what is known here.
      const bool force = limits_.test_state_freq || helper.history > 40;
      helper.record = force || (helper.jumps >= 2 && helper.steps >= 8 &&
                                !(found.loop && helper.jumps < 20 && helper.steps < 100));
      if (helper.record) helper.jumps = helper.steps = helper.history = 0;
      if (!helper.recalled) helper.recalled = TakeRecall();
      helper.stop = helper.recalled || segment->cancelled.load(std::memory_order_relaxed);
      if (helper.park || helper.record || helper.stop || piece->visits.size() >= kMaxVisits) {
        piece->key = key;
        break;
      }
      piece->visits.push_back({key, prev, piece->steps, piece->jumps});
    }
    if (piece->steps % kStopCheck == 0 && stop_.load(std::memory_order_relaxed)) {
      std::vector<Segment*> forks;
      FreePiece(piece, helper.pool, forks);
      for (Segment* fork : forks) DropOwner(fork, helper.pool);
      return nullptr;
    }
  }
  piece->insn = insn;
  piece->prev = prev;
  return piece;
}

Speculation::Found Speculation::LookUp(Helper& helper, const Segment* segment, const State& state, LookUpKey& key) {
  const uint32_t newest = recorded_.load(std::memory_order_acquire);
  const uint32_t ancestors = AncestorsOf(segment);
  key.callsite = state.frame().callsite;
  key.types = Fingerprint(state.frame(), 0, nullptr);
  key.id_gen = state.id_gen;
  const uint32_t id_base = state.id_gen + 1;
  const PreciseMarks& predicted = predicted_[key.insn % kPredictions];
  Found found;
  bool proof = true;
  int guesses = 0;
  Shake();
  visited_.Visit(key.insn, key.callsite, [&](Checkpoint& guess) {
    Checkpoint::Shared& c = guess.shared;
    const uint32_t number = c.number.load(std::memory_order_acquire);
    if (number != 0) {
      const bool finished = c.finished.load(std::memory_order_relaxed);
      if (!finished && number <= ancestors) {
        found.loop = true;
        return false;
      }
    } else if (++guesses > kMaxGuesses) {
      return false;
    } else if (OnTheWay(guess, segment)) {
      found.loop = true;
      return false;
    }
    if (((key.types ^ c.types) & c.types_mask) != 0) return false;
    if (!Subsumes(*c.state, c.precise, c.masks, state, id_base, helper.ids, c.hint)) return false;
    if (number != 0 && c.finished.load(std::memory_order_relaxed)) {
      found.pruned = true;
      return true;
    }
    proof &= number == 0;
    // Not finished: once it is, more of it will matter.
    if (distrust_[key.insn % kPredictions].load(std::memory_order_relaxed)) return false;
    if (!Subsumes(*c.state, predicted, c.masks, state, id_base, helper.ids, c.hint)) return false;
    found.pruned = number != 0 || Earlier(c.segment, segment);
    return found.pruned;
  });
  if (proof && !found.pruned) key.checked = newest;
  if (found.loop) key.exact = RegsHash(state.frame());
  return found;
}

void Speculation::Prepare(Helper& helper, Segment* segment, Piece& piece) {
  Checkpoint* c = helper.pool.checkpoints.Take();
  c->Clear();
  FillCheckpoint(ctx_, *piece.state, piece.insn, *c);
  c->shared.segment = segment;
  c->shared.piece = segment->pieces + 1;
  piece.checkpoint = c;
  visited_.Insert(c);
}

void Speculation::Publish(Helper& helper, Segment* segment, Piece* piece) {
  Shake();
  for (const PieceEvent& event : piece->events) {
    if (event.fork == nullptr) continue;
    event.fork->owners.fetch_add(1, std::memory_order_relaxed);
    helper.stack.push_back(event.fork);
  }
  ++segment->pieces;
  ahead_.fetch_add(1, std::memory_order_relaxed);
  Piece* tail = segment->tail;
  segment->tail = piece;
  tail->next.store(piece, std::memory_order_release);
}

// ---- The search's side -------------------------------------------------------------------------------------------

Segment* Speculation::Share(State* state, uint32_t insn, int64_t prev, uint32_t ancestors, int64_t position) {
  Segment* segment = NewSegment(pool_, state, insn, prev);
  segment->attached.store(true, std::memory_order_relaxed);
  segment->ancestors.store(ancestors, std::memory_order_relaxed);
  segment->position.store(position, std::memory_order_relaxed);
  return segment;
}

bool Speculation::Offer(Segment* segment) {
  Shake();
  if (segment->offered || segment->status.load(std::memory_order_relaxed) != Segment::Status::kIdle) return false;
  segment->offered = true;
  segment->owners.fetch_add(1, std::memory_order_relaxed);
  AddOffer(segment);
  return true;
}

void Speculation::Attach(Segment* segment, int64_t position) {
  Shake();
  segment->position.store(position, std::memory_order_relaxed);
  segment->ancestors.store(recorded_.load(std::memory_order_relaxed), std::memory_order_release);
  segment->attached.store(true, std::memory_order_release);
}

Piece* Speculation::Follow(Segment* segment) {
  segment->position.store(std::numeric_limits<int64_t>::max(), std::memory_order_relaxed);
  segment->origin->consumed = true;
  return segment->origin;
}

Speculation::Ahead Speculation::Next(Segment* segment, Piece* at, Piece** next, int spins) {
  Shake();
  const Segment::Status status = segment->status.load(std::memory_order_acquire);
  *next = at->next.load(std::memory_order_acquire);
  if (*next != nullptr) return Ahead::kPiece;
  switch (status) {
    case Segment::Status::kClaimed:
    case Segment::Status::kRunning:
      return Ahead::kWait;
    case Segment::Status::kParked:
      // The guess was wrong.
      distrust_[at->insn % kPredictions].store(true, std::memory_order_relaxed);
      return Ahead::kNothing;
    case Segment::Status::kIdle:
      // Whoever is hungry is about to take it.
      return segment->offered && at->steps == 0 && spins < OfferSpins() ? Ahead::kWait : Ahead::kNothing;
    default:
      return Ahead::kNothing;
  }
}

void Speculation::Wait(int spins) {
  if (spins == 0) wait_begin_ = NowNs();
  Pause(spins);
}

void Speculation::EndWait() {
  ++stats_.waits;
  stats_.wait_ns += NowNs() - wait_begin_;
}

void Speculation::Consume(Segment* segment, Piece* at, Piece* next, State* state) {
  Shake();
  ++stats_.retired_pieces;
  stats_.retired_steps += next->steps;
  segment->origin = next;
  next->consumed = true;
  ahead_.fetch_sub(1, std::memory_order_relaxed);
  used_.pieces.push_back(at);
  if (state != nullptr) used_.states.push_back(state);
  if (used_.pieces.size() < kGarbage) return;
  if (returned_.load(std::memory_order_relaxed)) {  // the helpers have not come to it
    for (State* s : used_.states) pool_.states.Free(s);
    for (Piece* p : used_.pieces) pool_.pieces.Give(p);
    used_.states.clear();
    used_.pieces.clear();
    return;
  }
  const std::lock_guard<std::mutex> lock(garbage_mutex_);
  std::swap(garbage_, used_);
  returned_.store(true, std::memory_order_relaxed);
}

void Speculation::Clean(Helper& helper) {
  if (!returned_.load(std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> lock(garbage_mutex_);
  for (State* s : garbage_.states) helper.pool.states.Free(s);
  for (Piece* p : garbage_.pieces) helper.pool.pieces.Give(p);
  garbage_.states.clear();
  garbage_.pieces.clear();
  returned_.store(false, std::memory_order_relaxed);
}

void Speculation::Cancel(Segment* segment) {
  segment->cancelled.store(true, std::memory_order_relaxed);
  for (Segment::Status status : {Segment::Status::kIdle, Segment::Status::kParked}) {
    if (segment->status.compare_exchange_strong(status, Segment::Status::kTaken, std::memory_order_acquire)) return;
  }
}

void Speculation::Close(Segment* segment) {
  Shake();
  Cancel(segment);
  // A helper may be about to copy a state that is the search's now.
  for (int spins = 0; segment->status.load(std::memory_order_acquire) == Segment::Status::kClaimed; ++spins) Pause(spins);
  DropOwner(segment, pool_);
}

void Speculation::DropReference(Segment* segment, SearchPool& pool) {
  // A parent waits for its children; of a long chain of them each may be the last.
  while (segment != nullptr && segment->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Segment* parent = segment->parent;
    pool.segments.Give(segment);
    segment = parent;
  }
}

void Speculation::DropOwner(Segment* segment, SearchPool& pool) {
  std::vector<Segment*> todo;
  for (;;) {
    if (segment->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const size_t before = todo.size();
      for (Piece* piece = segment->origin; piece != nullptr;) {
        Piece* next = piece->next.load(std::memory_order_relaxed);
        // An origin never counted as ahead, and what is consumed does not any more.
        if (!piece->consumed && piece->steps > 0) ahead_.fetch_sub(1, std::memory_order_relaxed);
        FreePiece(piece, pool, todo);
        piece = next;
      }
      for (size_t i = before; i < todo.size(); ++i) Cancel(todo[i]);
      DropReference(segment, pool);
    }
    if (todo.empty()) return;
    segment = todo.back();
    todo.pop_back();
  }
}

void Speculation::FreePiece(Piece* piece, SearchPool& pool, std::vector<Segment*>& forks) {
  for (const PieceEvent& event : piece->events) {
    if (event.fork != nullptr) forks.push_back(event.fork);
  }
  if (piece->checkpoint != nullptr) {
    visited_.Remove(piece->checkpoint);
    pool.checkpoints.Give(piece->checkpoint);
  }
  if (!piece->consumed && piece->state != nullptr) pool.states.Free(piece->state);
  pool.pieces.Give(piece);
}

void Speculation::Recorded(Checkpoint* c, uint32_t number, Segment* segment, bool prepared) {
  Shake();
  if (prepared) {
    visited_.Retire(c, number);
  } else {
    c->shared.number.store(number, std::memory_order_relaxed);
    visited_.Insert(c);
  }
  recorded_.store(number, std::memory_order_release);
  if (segment != nullptr) segment->ancestors.store(number, std::memory_order_release);
}

void Speculation::SetLive(uint64_t checkpoints) {
  window_.store(kWindow + static_cast<int64_t>(checkpoints), std::memory_order_relaxed);
}

void Speculation::Predict(uint32_t insn, int frame, uint16_t regs, uint64_t slots) {
  PreciseMarks& marks = predicted_[insn % kPredictions];
  if ((regs & ~marks.regs[frame]) != 0) marks.regs[frame] |= regs;
  if ((slots & ~marks.slots[frame]) != 0) marks.slots[frame] |= slots;
}

}  // namespace bpfsieve
