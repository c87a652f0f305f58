#include "engine/explore/speculation.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>


namespace bpfsieve {
namespace {

constexpr int64_t kLabelGap = int64_t{1} << 24;
constexpr uint32_t kPredictions = 4096;     // entries of the table of guesses
constexpr uint64_t kWindow = 4096;          // pieces ahead, on top of one for each checkpoint; about 2 KiB each
constexpr int kIdleSpins = 2000;            // looks for work before a helper gives its thread back
constexpr uint32_t kStopCheck = 1024;       // steps

// The processor's hint that this is a waiting loop, and now and then the thread's slot for somebody else.
void Pause(int spins) {
  if (spins % 64 == 63) {
    std::this_thread::yield();
  } else {
    __builtin_ia32_pause();
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
    if (c.segment == s) return c.piece <= limit;
    if (s->attached.load(std::memory_order_acquire)) break;
    limit = s->parent_piece;
  }
  return false;
}

}  // namespace

// ---- Visited states ----------------------------------------------------------------------------------------------

void VisitedMap::Insert(Checkpoint* c) {
  Map::accessor at;
  map_.insert(at, KeyOf(*c->state, c->insn));
  at->second.push_back(c);
}

void VisitedMap::Remove(Checkpoint* c) {
  Map::accessor at;
  if (map_.find(at, KeyOf(*c->state, c->insn))) std::erase(at->second, c);
}

void VisitedMap::Retire(Checkpoint* c, uint32_t number) {
  Map::accessor at;
  map_.insert(at, KeyOf(*c->state, c->insn));
  c->segment = nullptr;
  c->number.store(number, std::memory_order_release);
}

// ---- Parts -------------------------------------------------------------------------------------------------------

void Piece::Clear() {
  events.clear();
  grown.clear();
  steps = jumps = 0;
  kind = StepResult::Kind::kContinue;
  state = nullptr;
  finding.reset();
  consumed = false;
  checked.store(0, std::memory_order_relaxed);
  checkpoint = nullptr;
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

// ---- Helpers -----------------------------------------------------------------------------------------------------

struct Speculation::Helper {
  Helper(const Context& context, SearchDepot& depot) : pool(depot, true), transfer(context, pool.states) {}
  SearchPool pool;
  Transfer transfer;
  StepResult step;
  IdMap ids;
  SpeculationStats stats;
};

Speculation::Speculation(const Context& context, const SearchLimits& limits, SearchDepot& depot, SearchPool& pool)
    : ctx_(context),
      limits_(limits),
      depot_(depot),
      pool_(pool),
      predicted_(std::make_unique<PreciseMarks[]>(kPredictions)),
      max_helpers_(limits.threads - 1),
      window_(kWindow) {
  pool_.states.Share(true);
}

Speculation::~Speculation() { pool_.states.Share(false); }

void Speculation::Stop(SpeculationStats& stats) {
  stop_.store(true, std::memory_order_relaxed);
  group_.wait();
  stats.helpers = static_cast<unsigned>(idle_.size());
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

bool Speculation::WindowFull() const {
  return ahead_.load(std::memory_order_relaxed) > window_.load(std::memory_order_relaxed);
}

void Speculation::MaybeWake() {
  if (ready_.load(std::memory_order_relaxed) == 0 || WindowFull()) return;
  if (helpers_.load(std::memory_order_relaxed) >= max_helpers_) return;
  helpers_.fetch_add(1, std::memory_order_relaxed);
  group_.run([this] { Help(); });
}

void Speculation::Help() {
  std::unique_ptr<Helper> helper;
  {
    const std::lock_guard<std::mutex> lock(idle_mutex_);
    if (!idle_.empty()) {
      helper = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (helper == nullptr) helper = std::make_unique<Helper>(ctx_, depot_);
  Segment* segment = nullptr;
  for (int spins = 0; spins < kIdleSpins && !stop_.load(std::memory_order_relaxed);) {
    if (segment == nullptr) segment = Claim();
    if (segment == nullptr) {
      Pause(spins++);
      continue;
    }
    spins = 0;
    const uint64_t begin = NowNs();
    const Segment::Status status = Run(*helper, segment);
    Segment* next = Finish(segment, status);
    DropOwner(segment, helper->pool);
    segment = next;
    helper->stats.busy_ns += NowNs() - begin;
  }
  if (segment != nullptr) {  // claimed, but there is no time left for it
    Return(segment);
    DropOwner(segment, helper->pool);
  }
  {
    const std::lock_guard<std::mutex> lock(idle_mutex_);
    idle_.push_back(std::move(helper));
  }
  helpers_.fetch_sub(1, std::memory_order_relaxed);
}

// Takes the first segment; or one that the search is already following, if there is no other.
Segment* Speculation::Claim() {
  if (ready_.load(std::memory_order_relaxed) == 0 || WindowFull()) return nullptr;
  const std::lock_guard<std::mutex> lock(line_);
  return ClaimFrom(first_);
}

Segment* Speculation::ClaimFrom(Segment* from) {
  if (WindowFull()) return nullptr;
  Segment* segment = FirstReady(from);
  if (segment == nullptr && from != first_) segment = FirstReady(first_);
  if (segment == nullptr) segment = followed_;
  if (segment == nullptr || segment->status.load(std::memory_order_relaxed) != Segment::Status::kReady) return nullptr;
  segment->status.store(Segment::Status::kClaimed, std::memory_order_relaxed);
  segment->let_go.store(false, std::memory_order_relaxed);
  segment->owners.fetch_add(1, std::memory_order_relaxed);
  ready_.fetch_sub(1, std::memory_order_relaxed);
  return segment;
}

Segment* Speculation::FirstReady(Segment* from) const {
  for (Segment* s = from; s != nullptr; s = s->after) {
    if (s != followed_ && s->status.load(std::memory_order_relaxed) == Segment::Status::kReady) return s;
  }
  return nullptr;
}

// The helper is done with `segment`, for now or for good, and claims the next one in sequential order behind it: that is
// most likely to be what its states bear on, and what the cache holds.
Segment* Speculation::Finish(Segment* segment, Segment::Status status) {
  const std::lock_guard<std::mutex> lock(line_);
  Segment* after = segment->after;
  if (status == Segment::Status::kReady) {
    ready_.fetch_add(1, std::memory_order_relaxed);
  } else {
    Unlink(segment);
  }
  segment->status.store(status, std::memory_order_release);
  if (segment->cancelled.load(std::memory_order_relaxed)) CancelLocked(segment);
  return stop_.load(std::memory_order_relaxed) ? nullptr : ClaimFrom(after);
}

void Speculation::Return(Segment* segment) {
  const std::lock_guard<std::mutex> lock(line_);
  ready_.fetch_add(1, std::memory_order_relaxed);
  segment->status.store(Segment::Status::kReady, std::memory_order_release);
  if (segment->cancelled.load(std::memory_order_relaxed)) CancelLocked(segment);
}

Segment::Status Speculation::Run(Helper& helper, Segment* segment) {
  Piece* tail = segment->tail;
  State* state = helper.pool.states.Clone(*tail->state);
  segment->status.store(Segment::Status::kRunning, std::memory_order_release);
  ++helper.stats.segments;
  Segment::Status status = Segment::Status::kReady;
  if (segment->pieces == 0 && LookUp(helper, segment, *tail, *state).pruned) {
    ++helper.stats.parked;
    status = Segment::Status::kParked;
  } else {
    uint32_t insn = tail->insn;
    int64_t prev = tail->prev;
    for (;;) {
      Piece* piece = Execute(helper, segment, *state, insn, prev);
      if (piece == nullptr) break;
      ++helper.stats.pieces;
      helper.stats.steps += piece->steps;
      bool park = false;
      if (piece->kind == StepResult::Kind::kContinue) {
        piece->state = helper.pool.states.Clone(*state);
        const Found found = LookUp(helper, segment, *piece, *state);
        park = found.pruned;
        if (!park) Prepare(helper, segment, *piece, found.loop);
      } else {
        std::swap(piece->state, state);
      }
      const bool goes_on = piece->kind == StepResult::Kind::kContinue && !park;
      insn = piece->insn;
      prev = piece->prev;
      Publish(segment, piece);
      if (!goes_on) {
        helper.stats.parked += park;
        status = park ? Segment::Status::kParked : Segment::Status::kDone;
        break;
      }
      if (stop_.load(std::memory_order_relaxed) || segment->cancelled.load(std::memory_order_relaxed) ||
          segment->let_go.load(std::memory_order_relaxed)) {
        break;
      }
      if (WindowFull() && !segment->followed.load(std::memory_order_relaxed)) break;
    }
  }
  if (state != nullptr) helper.pool.states.Free(state);
  return status;
}

// From a prune point to the next. Null: asked to stop.
Piece* Speculation::Execute(Helper& helper, Segment* segment, State& state, uint32_t insn, int64_t prev) {
  const Cfg& cfg = *ctx_.cfg;
  const std::vector<Insn>& insns = ctx_.program->insns;
  Piece* piece = helper.pool.pieces.Take();
  piece->Clear();
  StepResult& step = helper.step;
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
    if (step.Any() || cfg.jmp_point[insn]) {
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
        fork->parent_piece = segment->pieces;  // guesses up to the piece before this one are on its way
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
    if (cfg.prune_point[insn]) break;
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

// Looks `state`, which is (a copy of) the one at the end of `piece`, up.
Speculation::Found Speculation::LookUp(Helper& helper, Segment* segment, Piece& piece, const State& state) {
  const uint32_t newest = recorded_.load(std::memory_order_acquire);
  const uint32_t ancestors = AncestorsOf(segment);
  const int64_t label = segment->label.load(std::memory_order_relaxed);
  const uint64_t types = Fingerprint(state.frame(), 0, nullptr);
  const uint32_t id_base = state.id_gen + 1;
  const PreciseMarks& predicted = predicted_[piece.insn % kPredictions];
  Found found;
  bool proof = true;
  visited_.Visit(VisitedMap::KeyOf(state, piece.insn), [&](const Checkpoint& c) {
    const bool recorded = c.number.load(std::memory_order_acquire) != 0;
    if (recorded) {
      if (!c.finished() && c.number.load(std::memory_order_relaxed) <= ancestors) {
        found.loop = true;
        return false;
      }
    } else if (OnTheWay(c, segment)) {
      found.loop = true;
      return false;
    }
    if (((types ^ c.types) & c.types_mask) != 0) return false;
    if (!Subsumes(*c.state, c.precise, c.masks, state, id_base, helper.ids)) return false;
    if (recorded && c.finished()) {
      found.pruned = true;
      return true;
    }
    if (!recorded && c.segment->label.load(std::memory_order_relaxed) >= label) return false;
    found.pruned = Subsumes(*c.state, predicted, c.masks, state, id_base, helper.ids);
    proof &= !recorded;
    return found.pruned;
  });
  if (!found.pruned && proof) piece.checked.store(newest, std::memory_order_relaxed);
  return found;
}

// Makes a checkpoint if the search is likely to record the state: its rules, on what is known here.
void Speculation::Prepare(Helper& helper, Segment* segment, Piece& piece, bool in_loop) {
  segment->jumps += piece.jumps;
  segment->steps += piece.steps;
  const bool force = limits_.test_state_freq || ctx_.cfg->force_checkpoint[piece.insn] != 0;
  if (!force && (segment->jumps < 2 || segment->steps < 8)) return;
  if (!force && in_loop && segment->jumps < 20 && segment->steps < 100) return;
  segment->jumps = segment->steps = 0;
  Checkpoint* c = helper.pool.checkpoints.Take();
  c->Clear();
  FillCheckpoint(ctx_, *piece.state, piece.insn, *c);
  c->segment = segment;
  c->piece = segment->pieces + 1;
  piece.checkpoint = c;
  visited_.Insert(c);
}

void Speculation::Publish(Segment* segment, Piece* piece) {
  ++segment->pieces;
  ahead_.fetch_add(1, std::memory_order_relaxed);
  bool forks = false;
  for (const PieceEvent& event : piece->events) forks |= event.fork != nullptr;
  if (forks) {
    const std::lock_guard<std::mutex> lock(line_);
    for (PieceEvent& event : piece->events) {
      if (event.fork == nullptr || segment->cancelled.load(std::memory_order_relaxed)) continue;
      InsertAfter(segment, event.fork);
      ready_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  Piece* tail = segment->tail;
  segment->tail = piece;
  tail->next.store(piece, std::memory_order_release);
}

// ---- The line ----------------------------------------------------------------------------------------------------

void Speculation::InsertAfter(Segment* place, Segment* segment) {
  Segment* after = place != nullptr ? place->after : first_;
  segment->before = place;
  segment->after = after;
  (place != nullptr ? place->after : first_) = segment;
  if (after != nullptr) after->before = segment;
  segment->in_line = true;
  const auto label = [](const Segment* s) { return s->label.load(std::memory_order_relaxed); };
  if (place == nullptr) {
    segment->label.store(after != nullptr ? label(after) - kLabelGap : 0, std::memory_order_relaxed);
  } else if (after == nullptr) {
    segment->label.store(label(place) + kLabelGap, std::memory_order_relaxed);
  } else if (label(after) - label(place) >= 2) {
    segment->label.store(label(place) + (label(after) - label(place)) / 2, std::memory_order_relaxed);
  } else {
    int64_t next = label(first_);
    for (Segment* s = first_; s != nullptr; s = s->after) s->label.store(next += kLabelGap, std::memory_order_relaxed);
  }
}

void Speculation::Unlink(Segment* segment) {
  if (!segment->in_line) return;
  (segment->before != nullptr ? segment->before->after : first_) = segment->after;
  if (segment->after != nullptr) segment->after->before = segment->before;
  segment->in_line = false;
}

// ---- The search's side -------------------------------------------------------------------------------------------

Segment* Speculation::Push(State* state, uint32_t insn, int64_t prev, uint32_t ancestors) {
  Segment* segment = NewSegment(pool_, state, insn, prev);
  segment->attached.store(true, std::memory_order_relaxed);
  segment->ancestors.store(ancestors, std::memory_order_relaxed);
  {
    const std::lock_guard<std::mutex> lock(line_);
    InsertAfter(nullptr, segment);
    ready_.fetch_add(1, std::memory_order_relaxed);
  }
  MaybeWake();
  return segment;
}

void Speculation::Attach(Segment* segment) {
  segment->ancestors.store(recorded_.load(std::memory_order_relaxed), std::memory_order_release);
  segment->attached.store(true, std::memory_order_release);
}

Piece* Speculation::Follow(Segment* segment) {
  segment->followed.store(true, std::memory_order_relaxed);
  segment->origin->consumed = true;
  const std::lock_guard<std::mutex> lock(line_);
  followed_ = segment;
  return segment->origin;
}

Piece* Speculation::Next(Segment* segment, Piece* at) {
  Piece* next = at->next.load(std::memory_order_acquire);
  if (next == nullptr) {
    uint64_t begin = 0;
    for (int spins = 0;; ++spins) {
      {
        const std::lock_guard<std::mutex> lock(line_);
        next = at->next.load(std::memory_order_acquire);
        if (next != nullptr) break;
        const Segment::Status status = segment->status.load(std::memory_order_relaxed);
        if (status == Segment::Status::kReady || status == Segment::Status::kParked) {
          if (status == Segment::Status::kReady) ready_.fetch_sub(1, std::memory_order_relaxed);
          Unlink(segment);
          segment->status.store(Segment::Status::kTaken, std::memory_order_relaxed);
          break;
        }
        // While there is other work for the helper, both are better off apart.
        if (ready_.load(std::memory_order_relaxed) > 0) segment->let_go.store(true, std::memory_order_relaxed);
      }
      if (begin == 0) begin = NowNs();
      for (int i = 0; i < 64 && at->next.load(std::memory_order_relaxed) == nullptr; ++i) Pause(0);
      if (spins > 16) std::this_thread::yield();
    }
    if (begin != 0) {
      ++stats_.waits;
      stats_.wait_ns += NowNs() - begin;
    }
    MaybeWake();
  }
  return next;
}

void Speculation::Consume(Segment* segment, Piece* at, Piece* next) {
  ++stats_.retired_pieces;
  stats_.retired_steps += next->steps;
  segment->origin = next;
  pool_.pieces.Give(at);
  next->consumed = true;
  ahead_.fetch_sub(1, std::memory_order_relaxed);
}

void Speculation::Cancel(Segment* segment) {
  const std::lock_guard<std::mutex> lock(line_);
  segment->cancelled.store(true, std::memory_order_relaxed);
  CancelLocked(segment);
}

void Speculation::CancelLocked(Segment* segment) {
  const Segment::Status status = segment->status.load(std::memory_order_relaxed);
  if (status != Segment::Status::kReady && status != Segment::Status::kParked) return;
  if (status == Segment::Status::kReady && segment->in_line) ready_.fetch_sub(1, std::memory_order_relaxed);
  Unlink(segment);
  segment->status.store(Segment::Status::kTaken, std::memory_order_relaxed);
}

void Speculation::Close(Segment* segment) {
  {
    const std::lock_guard<std::mutex> lock(line_);
    if (followed_ == segment) followed_ = nullptr;
    segment->cancelled.store(true, std::memory_order_relaxed);
    CancelLocked(segment);
  }
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
        // The origin, or what the search consumed, no longer counts as ahead.
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
  if (prepared) {
    visited_.Retire(c, number);
  } else {
    c->number.store(number, std::memory_order_relaxed);
    visited_.Insert(c);
  }
  recorded_.store(number, std::memory_order_release);
  if (segment != nullptr) segment->ancestors.store(number, std::memory_order_release);
}

void Speculation::SetLive(uint64_t checkpoints) {
  window_.store(static_cast<uint32_t>(kWindow + checkpoints), std::memory_order_relaxed);
}

void Speculation::Dropped(Checkpoint* c) { visited_.Remove(c); }

void Speculation::Predict(uint32_t insn, int frame, uint16_t regs, uint64_t slots) {
  PreciseMarks& marks = predicted_[insn % kPredictions];
  if ((regs & ~marks.regs[frame]) != 0) marks.regs[frame] |= regs;
  if ((slots & ~marks.slots[frame]) != 0) marks.slots[frame] |= slots;
}

}  // namespace bpfsieve
