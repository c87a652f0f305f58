// States that were recorded: what they cover, which loops end by that, and how long they are kept.
#include "engine/explore/search.h"

#include <algorithm>
#include <utility>

namespace bpfsieve {
namespace {

constexpr int kMaxBackedgeRounds = 64;    // MAX_BACKEDGE_ITERS
constexpr uint64_t kMaxStatesUnprivileged = 64;  // BPF_COMPLEXITY_LIMIT_STATES

}  // namespace

Checkpoint** Search::Head(uint32_t insn, int32_t callsite) {
  return &table_[(insn ^ static_cast<uint32_t>(callsite)) % table_.size()];
}

// The kernel's states_maybe_looping and an exact comparison, the cheapest tests first.
bool Search::IsLoop(Checkpoint& c, const LookUpKey& key, Lazy& state) {
  if (c.types != key.types) return false;
  if (state.state == nullptr && key.exact != 0) {
    if (c.exact == 0) c.exact = RegsHash(c.shared.state->frame());
    if (c.exact != key.exact) return false;
  }
  const State& old = *c.shared.state;
  const State& cur = Get(state);
  return MaybeLooping(old, cur) && SameState(old, cur, ids_) && !IterDepthsDiffer(old, cur) &&
         old.may_goto_depth == cur.may_goto_depth && old.callback_unroll_depth == cur.callback_unroll_depth;
}

// Where a loop starts its turns: this one finds nothing that the one from `c` on, which is not done yet, does not find.
bool Search::Converges(Checkpoint& c, const LookUpKey& key, Lazy& state) {
  if (c.visit == nullptr || ((key.types ^ c.types) & c.types_mask) != 0) return false;
  const State& cur = Get(state);
  const Converge kind = cfg_.at[key.insn].converge;
  if (kind == Converge::kMayGoto && c.shared.state->may_goto_depth == cur.may_goto_depth) return false;
  const uint32_t id_base = key.id_gen + 1;
  if (!(ctx_.caps.perfmon ? SubsumesWithin(*c.shared.state, c.shared.masks, /*every_slot=*/true, cur, id_base, ids_)
                          : CoversGuarded(c, cur, id_base, /*within=*/true))) {
    return false;
  }
  if (kind != Converge::kIterNext) return true;
  // One that is drained stays so, and a loop that goes on all the same is one without an end; and so is one that takes a new
  // iterator each time, and never asks the same one again.
  const StackSlot* iter = IterAt(cur, cur.regs()[1]);
  const StackSlot* was = IterAt(*c.shared.state, cur.regs()[1]);
  return iter != nullptr && was != nullptr && (iter->spilled.flags & kIterDrained) == 0 &&
         iter->spilled.ref_obj_id == was->spilled.ref_obj_id;
}

// Whether a function that the call at `insn` called back returns to it from `prev`; in doubt, it does not.
bool Search::CalledBack(uint32_t insn, int64_t prev) const {
  if (prev < 0 || prog_.insns[static_cast<size_t>(prev)].code != kCodeExit) return false;
  if (insn == 0 || !IsPseudoCall(prog_.insns[insn - 1])) return true;
  const int sub = cfg_.SubAt(static_cast<uint32_t>(int64_t{insn} + prog_.insns[insn - 1].imm));
  return sub < 0 || static_cast<uint16_t>(sub) != cfg_.at[static_cast<size_t>(prev)].sub;
}

// The loop that the state is in, by its outermost function that is in one; null: none that could matter.
LoopVisit* Search::VisitOf(const State& state, uint32_t insn) {
  if (!cfg_.any_converge) return nullptr;
  std::array<uint32_t, kMaxFrames> chain{};
  for (int f = 0; f <= state.cur; ++f) {
    const uint32_t at = f < state.cur ? static_cast<uint32_t>(state.frames[f + 1]->callsite) : insn;
    if (cfg_.at[at].scc != 0) {
      chain.back() = cfg_.at[at].scc;
      return &visits_[chain];
    }
    if (f < state.cur) chain[f] = at + 1;
  }
  return nullptr;
}

// All paths through the loop are done: what each covering state's continuation relied upon goes to the paths that it
// covered, and on to the states that cover others, until nothing changes.
void Search::EndVisit(LoopVisit& visit) {
  visit.entry = nullptr;
  bool changed = true;
  for (int round = 0; changed && !lost_; ++round) {
    changed = false;
    for (auto edge = visit.backedges.rbegin(); edge != visit.backedges.rend(); ++edge) {
      if (round < kMaxBackedgeRounds) {
        changed |= PropagatePrecision(edge->path, edge->insn, *edge->equal);
      } else {
        MarkAllPrecise(edge->path);
      }
    }
  }
  backedges_ -= visit.backedges.size();
  bytes_ -= visit.backedges.size() * sizeof(LoopVisit::Backedge);
  visit.backedges.clear();
  visit.counted = false;
  for (Checkpoint* c : visit.kept) {
    c->kept = false;
    LetGo(c);
  }
  visit.kept.clear();
}

void Search::Widen(const StepEffects& step, const Path& path) {
  const State& now = *step.turn;
  const bool forked = step.turn == step.branch;  // then the newest is of the very state that forked
  for (Checkpoint* c = *Head(step.turn_of, now.frame().callsite); c != nullptr; c = c->next) {
    if (c->insn != step.turn_of || c->finished() || (forked && c == path.parent)) continue;
    if (!SameCallChain(*c->shared.state, now)) continue;
    WidenImprecise(*c->shared.state, c->shared.precise, *step.turn, pool_, ids_);
    return;
  }
}

bool Search::CoversGuarded(Checkpoint& c, const State& state, uint32_t id_base, bool within) {
  const State& old = *c.shared.state;
  const bool every_slot = within && (!c.finished() || c.visit->counted);
  return within || same_scalars_
             ? SubsumesGuardedWithin(old, c.shared.masks, every_slot, state, id_base, ids_, same_scalars_)
             : SubsumesGuarded(old, c.shared.precise, c.shared.masks, state, id_base, ids_, c.hint);
}

bool Search::CoversByRanges(const Checkpoint& c, const State& state, uint32_t id_base) {
  const State& old = *c.shared.state;
  return ctx_.caps.perfmon ? SubsumesWithin(old, c.shared.masks, /*every_slot=*/false, state, id_base, ids_)
                           : SubsumesGuardedWithin(old, c.shared.masks, /*every_slot=*/false, state, id_base, ids_, same_scalars_);
}

bool Search::Conflicts(const StepEffects& step, uint32_t insn) const {
  const auto differs = [](auto was, auto is, auto none) { return was != none && is != none && was != is; };
  return differs(pointer_of_[insn], step.used_pointer, RegType::kNotInit) ||
         differs(alu_mask_of_[insn], step.alu_mask, uint64_t{0});
}

Search::Visit Search::IsVisited(const LookUpKey& key, Lazy& state, Here* here, Path& path) {
  const SearchStats& stats = result_.stats;
  const uint32_t insn = key.insn;
  const Converge converge = cfg_.at[insn].converge;
  const bool force = limits_.test_state_freq || converge != Converge::kNo ||
                     (path.history != nullptr && path.history->length > 40);
  const uint64_t jumps = jumps_ - last_record_jumps_;
  const uint64_t steps = stats.processed - last_record_processed_;
  bool add = force || (jumps >= kRecordJumps && steps >= kRecordSteps);
  const uint32_t id_base = key.id_gen + 1;

  uint64_t seen = 0;
  for (Checkpoint** link = Head(insn, key.callsite); *link != nullptr;) {
    Checkpoint* c = *link;
    ++seen;
    if (c->insn != insn) {
      link = &c->next;
      continue;
    }
    if (!c->finished()) {
      // Another entry of a function that runs later says nothing of a loop in it.
      const Frame& was = c->shared.state->frame();
      const bool entered_again = was.in_async_callback && was.async_entries != Get(state).frame().async_entries;
      // A call that calls back is come to again by the functions that it called, or by a loop around it, which has to end
      // by other means.
      const bool turn = converge == Converge::kCallback ? CalledBack(insn, path.last_insn) : converge != Converge::kNo;
      if (!entered_again && turn && Converges(*c, key, state)) return Prune(*c, insn, path, true);
      const bool ends = turn && converge == Converge::kCallback;
      if (!entered_again && !ends && IsLoop(*c, key, state)) return Visit::kLoop;
      // In a loop, states differ from one iteration to the next; record only some.
      if (!force && jumps < 20 && steps < 100) add = false;
    } else if (((key.types ^ c->types) & c->types_mask) == 0 &&
               c->recorded > key.checked) {
      const bool open = c->visit != nullptr && !c->visit->backedges.empty();
      if (!ctx_.caps.perfmon ? CoversGuarded(*c, Get(state), id_base, open)
          : open ? SubsumesWithin(*c->shared.state, c->shared.masks, c->visit->counted, Get(state), id_base, ids_)
                 : Subsumes(*c->shared.state, c->shared.precise, c->shared.masks, Get(state), id_base, ids_, c->hint)) {
        if (limits_.observer != nullptr && !open && !CoversByRanges(*c, Get(state), id_base)) {
          limits_.observer->CoveredImprecisely();
        }
        return Prune(*c, insn, path, open);
      }
    }
    if (add) ++c->misses;
    const uint32_t patience = converge != Converge::kNo && !c->finished() ? 64 : 3;
    if (c->misses > c->hits * patience + patience) {
      Evict(link);
      continue;
    }
    link = &c->next;
  }
  result_.stats.max_states_per_insn = std::max(stats.max_states_per_insn, seen);
  if (add && (ctx_.caps.bpf || seen <= kMaxStatesUnprivileged)) Record(key, state, here, path);
  return Visit::kNew;
}

// The path ends before `insn`, where `c` covers it. `open`: what c's continuation relies upon is not all known yet.
Search::Visit Search::Prune(Checkpoint& c, uint32_t insn, Path& path, bool open) {
  ++c.hits;
  if (cfg_.at[insn].jmp_point) Remember(path, insn, path.last_insn);
  PropagatePrecision(path, insn, c);
  if (open) {
    c.visit->counted |= !c.finished() && cfg_.at[insn].converge != Converge::kCallback;
    c.visit->backedges.push_back({path, insn, &c});
    ++backedges_;
    Charge(sizeof(LoopVisit::Backedge));
    CountStates();
  }
  return Visit::kPruned;
}

void Search::CountStates() {
  SearchStats& stats = result_.stats;
  stats.peak_states = std::max(stats.peak_states, live_checkpoints_ + evicted_.size() + backedges_);
}

void Search::Record(const LookUpKey& key, Lazy& state, Here* here, Path& path) {
  Segment* segment = here != nullptr ? here->segment : retiring_;
  Checkpoint* c = here != nullptr && here->piece != nullptr ? std::exchange(here->piece->checkpoint, nullptr) : nullptr;
  const bool prepared = c != nullptr;
  if (!prepared) {
    c = parts_.checkpoints.Take();
    c->Clear();
    // A state that a helper left here, or that was worked out for this, need not be copied.
    const State* own = &Get(state);
    if (here != nullptr && here->segment == nullptr) own = pool_.Clone(*own);
    state.replayed = nullptr;
    FillCheckpoint(ctx_, *own, key.insn, *c);
  }
  if (segment != nullptr && here != nullptr) here->owned = false;
  if (limits_.all_precise) {
    for (int f = 0; f <= c->shared.state->cur; ++f) {
      c->shared.precise.regs[f] |= static_cast<uint16_t>(~0u);
      c->shared.precise.slots[f] |= ~uint64_t{0};
    }
  }
  c->path = path;
  Checkpoint** head = Head(key.insn, key.callsite);
  c->next = *head;
  *head = c;
  Charge(c->bytes);
  c->recorded = ++recorded_;
  if (helpers_ != nullptr) {
    helpers_->Recorded(c, recorded_, segment, prepared);
    if ((recorded_ & 63) == 0) helpers_->SetLive(live_checkpoints_ + evicted_.size());
  } else {
    c->shared.number.store(recorded_, std::memory_order_relaxed);
  }

  path.parent = c;
  path.first_insn = static_cast<int32_t>(key.insn);
  path.history = nullptr;

  if (result_.stats.total_states++ == 0) {
    first_record_jumps_ = jumps_;
    first_record_processed_ = result_.stats.processed;
  }
  ++live_checkpoints_;
  CountStates();
  c->visit = VisitOf(*c->shared.state, key.insn);
  if (c->visit != nullptr && c->visit->entry == nullptr) c->visit->entry = c;
  last_record_jumps_ = jumps_;
  last_record_processed_ = result_.stats.processed;
}

void Search::Evict(Checkpoint** link) {
  Checkpoint* c = *link;
  *link = c->next;
  --live_checkpoints_;
  if (helpers_ != nullptr) helpers_->Dropped(c);
  const bool needed = c->visit != nullptr && !c->visit->backedges.empty();
  if (c->finished() && !needed) {
    Release(c);
    return;
  }
  if (c->finished()) Keep(c);
  c->evicted_at = static_cast<int64_t>(evicted_.size());
  evicted_.push_back(c);  // paths from it still refer to it
}

void Search::Release(Checkpoint* c) {
  pool_.Free(const_cast<State*>(c->shared.state));
  history_.Free(c->history);
  bytes_ -= c->bytes;
  parts_.checkpoints.Give(c);
}

// One path from each ancestor is done; the ancestors with none left are finished.
void Search::FinishPath(const Path& path) {
  for (Checkpoint* c = path.parent; c != nullptr;) {
    if (--c->branches > 0) break;
    c->shared.finished.store(true, std::memory_order_relaxed);
    Checkpoint* parent = c->path.parent;
    if (c->visit != nullptr && c->visit->entry == c) EndVisit(*c->visit);
    if (c->visit != nullptr && !c->visit->backedges.empty()) {
      Keep(c);
    } else {
      LetGo(c);
    }
    c = parent;
  }
}

void Search::Keep(Checkpoint* c) {
  if (!std::exchange(c->kept, true)) c->visit->kept.push_back(c);
}

// Nobody goes back through it any more.
void Search::LetGo(Checkpoint* c) {
  history_.Free(c->history);
  if (c->evicted_at < 0) return;
  evicted_.back()->evicted_at = c->evicted_at;
  evicted_[c->evicted_at] = evicted_.back();
  evicted_.pop_back();
  Release(c);
}

void Search::ClearTable() {
  for (Pending& p : stack_) {
    if (p.state != nullptr) pool_.Free(p.state);
    bytes_ -= p.bytes;
  }
  stack_.resize(0);
  history_.Free(entry_history_);
  for (Checkpoint*& head : table_) {
    for (Checkpoint* c = head; c != nullptr;) {
      Checkpoint* next = c->next;
      Release(c);
      c = next;
    }
    head = nullptr;
  }
  for (Checkpoint* c : evicted_) Release(c);
  evicted_.clear();
  live_checkpoints_ = 0;
  bytes_ -= backedges_ * sizeof(LoopVisit::Backedge);
  backedges_ = 0;
  visits_.clear();
}

}  // namespace bpfsieve
