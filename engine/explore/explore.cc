#include "engine/explore/search.h"

#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

constexpr int64_t kFollowed = std::numeric_limits<int64_t>::max();  // the position of the path in progress
constexpr uint32_t kRecallAfter = 16;     // prune points with nobody ahead
// Instructions processed before others are given functions: a fraction of a millisecond, which is what it takes them to begin.
constexpr uint64_t kFunctionsFrom = 4096;

constexpr uint8_t kBarrierBefore = 1, kBarrierAfter = 2;
constexpr int32_t kTailCall = 12;  // the helper

const char kLostFeature[] = "precision across a packet load in a called function";

}  // namespace

Search::Search(const Context& context, const SearchLimits& limits)
    : ctx_(context),
      prog_(*context.program),
      cfg_(*context.cfg),
      limits_(limits),
      parts_(depot_),
      pool_(parts_.states),
      history_(arena_),
      transfer_(context, pool_),
      stack_(arena_),
      table_(arena_.Make<Checkpoint*>(prog_.insns.size())),
      pointer_of_(arena_.Make(prog_.insns.size(), RegType::kNotInit)),
      called_(arena_.Make<uint8_t>(cfg_.subs.size())),
      verified_(arena_.Make<uint8_t>(cfg_.subs.size())) {
  result_.depths.assign(cfg_.subs.size(), 0);
  if (!ctx_.caps.perfmon) {
    barriers_ = arena_.Make<uint8_t>(prog_.insns.size());
    alu_mask_of_ = arena_.Make<uint64_t>(prog_.insns.size());
  }
  limits_.all_precise |= !ctx_.caps.bpf;
}

SearchResult Search::Run() {
  bool ok = ExploreFunction(0);
  // Global functions that were called are verified on their own, by prototype; they may call more of them.
  if (cfg_.exception_sub >= 0) called_[cfg_.exception_sub] = 1;
  for (bool again = ok; again && ok;) {
    again = false;
    for (size_t s = 1; s < cfg_.subs.size() && ok; ++s) {
      if (!ctx_.subs[s].global || !called_[s] || verified_[s]) continue;
      verified_[s] = 1;
      ok = TakeOver(static_cast<int>(s));
      again = true;
    }
  }
  ahead_.reset();
  if (limits_.shape) result_.shape = {LongestPath(tree_), GreedySchedule(tree_, limits_.threads)};
  return std::move(result_);
}

bool Search::Stop(Verdict verdict, Rule rule, uint32_t insn, std::string message) {
  result_.verdict = verdict;
  result_.finding.rule = rule;
  result_.finding.insn = insn;
  result_.finding.message = message;
  if (Logging()) Log(message + "\n");
  return false;
}

const State& Search::Get(Lazy& lazy) {
  if (lazy.state != nullptr) return *lazy.state;
  lazy.replayed = pool_.Clone(*lazy.from);
  uint32_t at = lazy.insn;
  StepResult step;
  for (uint32_t i = 0; i < lazy.steps; ++i) {
    step.Reset();
    transfer_.Step(*lazy.replayed, at, step);
    if (step.branch != nullptr) pool_.Free(step.branch);
    at = step.next;
  }
  transfer_.grown.clear();  // counted where the piece is retired
  lazy.state = lazy.replayed;
  return *lazy.state;
}

bool Search::Reject(Verdict verdict, Lazy& now, const Path& path, Rule rule, uint32_t insn, int reg,
                    std::string message) {
  if (limits_.explain) result_.finding.path = CollectPath(Get(now), path, insn, reg);
  result_.finding.reg = reg;
  return Stop(verdict, rule, insn, std::move(message));
}

bool Search::StopLost(Lazy& now, const Path& path, uint32_t insn) {
  result_.feature = kLostFeature;
  return Reject(Verdict::kUnsupported, now, path, Rule::kUnsupportedFeature, insn, -1, result_.feature);
}

bool Search::OutOfTime(uint32_t insn) {
  if (limits_.stop.Interrupted()) {
    Stop(Verdict::kLimit, Rule::kInterrupted, insn, "interrupted");
    return true;
  }
  if (unwanted_ != nullptr && unwanted_->load(std::memory_order_relaxed)) return true;  // nobody reads the result
  if (!limits_.stop.OutOfTime()) return false;
  Stop(Verdict::kLimit, Rule::kTimeLimit, insn, absl::StrCat("more than ", limits_.stop.time_ms, " ms"));
  return true;
}

bool Search::SetUpEntry(int sub, State& state) {
  if (sub == 0 && !ctx_.extension) {
    state.regs()[1].MakePointer(RegType::kCtx);
    return true;
  }
  const FuncArgs& args = ctx_.subs[sub].args;
  if (!args.unsupported.empty()) {
    result_.feature = args.unsupported;
    return Stop(Verdict::kUnsupported, Rule::kUnsupportedFeature, cfg_.subs[sub].start, args.unsupported);
  }
  if (args.error) {
    result_.verdict = Verdict::kReject;
    result_.finding = *args.error;
    return false;
  }
  if (sub == cfg_.exception_sub && (args.args.size() != 1 || args.args[0].kind != FuncArg::Kind::kScalar)) {
    return Stop(Verdict::kReject, Rule::kException, cfg_.subs[sub].start,
                "exception cb only supports single integer argument");
  }
  SetArguments(args, state);
  return true;
}

bool Search::ExploreFunction(int sub) {
  State* state = pool_.NewEntry(sub, ctx_.liveness->Root(sub));
  if (!SetUpEntry(sub, *state)) {
    pool_.Free(state);
    return false;
  }
  Path path;
  path.first_insn = static_cast<int32_t>(cfg_.subs[sub].start);
  ClearTable();  // of the function before; the last one's goes with the search
  stack_.push_back({state, path, cfg_.subs[sub].start, ~0u, result_.log.size(), 0, recorded_, nullptr, NewNode(~0u)});
  const bool ok = Paths();
  StopHelpers();
  return ok;
}

// Runs the pending paths, last one first, until none is left.
bool Search::Paths() {
  while (!stack_.empty()) {
    Pending top = stack_.back();
    stack_.pop_back();
    bytes_ -= top.bytes;
    if (limits_.log_level == 1) result_.log.resize(std::min(result_.log.size(), top.log_size));
    Here here{top.state};
    if (top.segment != nullptr) {
      here.segment = top.segment;
      here.piece = helpers_->Follow(top.segment);
    }
    node_ = top.node;
    if (limits_.pieces != nullptr) BeginPiece(tree_[node_].piece);
    path_begin_ = result_.stats.processed;
    const bool ok = FollowPath(top, here);
    if (limits_.pieces != nullptr) Lap(&PieceTime::work);
    if (limits_.shape) {
      tree_[node_].order = paths_++;
      tree_[node_].length = result_.stats.processed - path_begin_;
    }
    Leave(here);
    if (here.owned) pool_.Free(here.state);
    if (!ok) return false;
    FinishPath(top.path);
    if (limits_.pieces != nullptr) Lap(&PieceTime::honour);
    if (lost_) {
      result_.feature = kLostFeature;
      return Stop(Verdict::kUnsupported, Rule::kUnsupportedFeature, top.insn, result_.feature);
    }
  }
  return true;
}

bool Search::FollowPath(Pending& start, Here& here) {
  SearchStats& stats = result_.stats;
  Path& path = start.path;
  uint32_t insn = start.insn;
  int64_t prev = start.prev == ~0u ? -1 : int64_t{start.prev};
  bool print_state = true;
  StepResult step;
  for (;;) {
    if (++stats.processed > limits_.max_processed) {
      return Stop(Verdict::kLimit, Rule::kTooComplex, insn,
                  absl::StrCat("BPF program is too large. Processed ", stats.processed, " insn"));
    }
    if (stats.processed >= next_check_) {
      next_check_ = stats.processed + 256;
      if (OutOfTime(insn)) return false;
      // A step that widens needs to know what the search has recorded and relied upon: nobody can run ahead of it. Nor
      // does anybody where a path begins that is not the rest of another, or where barriers end paths.
      if (limits_.threads > 1 && !Logging() && limits_.observer == nullptr && !cfg_.any_converge &&
          !cfg_.any_async && ctx_.caps.perfmon) {
        Govern(here);
      }
      if (limits_.threads > 1 && !ahead_tried_ && stats.processed >= std::min(limits_.helpers_from, kFunctionsFrom)) {
        ExploreAhead();
      }
    }
    if (cfg_.at[insn].prune_point) {
      LookUpKey key;
      if (here.piece != nullptr && here.piece->steps > 0) {
        key = here.piece->key;
      } else {
        const Frame& frame = here.state->frame();
        const bool any = *Head(insn, frame.callsite) != nullptr;  // to compare with
        key = {insn, frame.callsite, any ? Fingerprint(frame, 0, nullptr) : 0, 0, here.state->id_gen, 0};
        if (here.segment != nullptr) key.checked = here.segment->checked.load(std::memory_order_relaxed);
      }
      Lazy state{here.state};
      bool done = false;
      if (limits_.pieces != nullptr) {
        Lap(&PieceTime::work);
        if (limits_.pieces->back().work != 0) BeginPiece(piece_);
      }
      if (Logging()) safe_ = print_state ? absl::StrCat("\nfrom ", prev, " to ", insn) : absl::StrCat(insn);
      if (!AtPrunePoint(key, state, &here, prev, path, &done)) return false;
      if (limits_.pieces != nullptr) Lap(&PieceTime::look);
      if (done) return true;
    }
    if (helpers_ != nullptr && here.segment != nullptr && helpers_->Hungry()) Feed();
    if (helpers_ != nullptr && here.segment == nullptr && cfg_.at[insn].prune_point) {
      // Nobody is ahead on this path, which is the one place where work is never in vain.
      if (helpers_->Hungry()) {
        here.segment = helpers_->Share(here.state, insn, prev, recorded_, kFollowed);
        helpers_->Offer(here.segment);
        here.piece = helpers_->Follow(here.segment);
      } else if (++alone_ >= kRecallAfter) {
        alone_ = 0;
        helpers_->Recall();
      }
    }
    if (here.segment != nullptr) {
      // What a helper has executed from here on, if the budget certainly lasts for it.
      Piece* piece = NextPiece(here);
      if (piece != nullptr && stats.processed - 1 + piece->steps <= limits_.max_processed) {
        bool done = false;
        retiring_ = here.segment;
        if (!Retire(*piece, insn, here, path, &done)) return false;
        if (done) return true;
        helpers_->Consume(here.segment, here.piece, piece, here.owned ? here.state : nullptr);
        here.state = piece->state;
        here.owned = true;
        here.piece = piece;
        if (piece->kind == StepResult::Kind::kPathEnd) return true;
        insn = piece->insn;
        prev = piece->prev;
        continue;
      }
      Leave(here);
    }
    if (!here.owned) {
      here.state = pool_.Clone(*here.state);
      here.owned = true;
    }
    State& state = *here.state;
    const bool speculative = state.speculative;
    if (speculative && (barriers_[insn] & kBarrierBefore) != 0) return true;
    if (limits_.observer != nullptr) limits_.observer->At(ctx_, insn, state);
    State* before = nullptr;  // for the log alone
    size_t width = 0;
    if (Logging()) {
      if (print_state) LogFrom(state, static_cast<uint32_t>(prev), insn);
      width = LogInsn(insn);
      before = pool_.Clone(state);
    }
    print_state = false;

    jumps_ += IsJmpClass(prog_.insns[insn]);
    const int frame = state.cur;
    step.Reset();
    transfer_.Step(state, insn, step);
    if (!transfer_.grown.empty()) {
      CountStack(transfer_.grown.data(), transfer_.grown.data() + transfer_.grown.size());
      transfer_.grown.clear();
    }

    if (step.turn != nullptr) Widen(step, path);
    bool ok = true;
    Lazy now{&state};
    // What is only reached by speculation is no fault of the program: a barrier keeps the processor from it. Not where the
    // kernel gives up.
    const bool barrier = speculative && ((step.kind == StepResult::Kind::kFinding && step.rule != Rule::kCallDepth) ||
                                         Conflicts(step, insn));
    if (barrier) {
      barriers_[insn] |= kBarrierBefore;
      alu_mask_of_[insn] = step.alu_mask = step.used_detail = 0;
      step.used_pointer = RegType::kNotInit;
      step.kind = StepResult::Kind::kPathEnd;
      ok = Honour(step, insn, prev, frame, path, now, nullptr);
      if (Logging()) Log("\n");
    } else if (step.kind == StepResult::Kind::kFinding || step.kind == StepResult::Kind::kUnsupported) {
      if (step.branch != nullptr) pool_.Free(step.branch);
      ok = Found(step, insn, prev, frame, path, state);
    } else {
      if (step.Any() || cfg_.at[insn].jmp_point) {
        if (limits_.pieces != nullptr) Lap(&PieceTime::work);
        ok = Honour(step, insn, prev, frame, path, now, nullptr);
        if (limits_.pieces != nullptr) Lap(&PieceTime::honour);
      }
      if (ok && Logging()) {
        LogAfter(state, insn, step, before->frame(), width);
        print_state = state.frame().frameno != before->frame().frameno;
      }
    }
    if (before != nullptr) pool_.Free(before);
    if (!ok) return false;
    if (step.kind == StepResult::Kind::kPathEnd) return true;
    if (speculative && (barriers_[insn] & kBarrierAfter) != 0) return true;
    prev = insn;
    insn = step.next;
  }
}

bool Search::AtPrunePoint(const LookUpKey& key, Lazy& state, Here* here, int64_t prev, Path& path, bool* done) {
  path.last_insn = static_cast<int32_t>(prev);
  const Visit visit = IsVisited(key, state, here, path);
  if (here != nullptr) DropPrepared(*here);  // it was not to be recorded
  bool ok = true;
  if (lost_) {
    ok = StopLost(state, path, key.insn);
  } else if (visit == Visit::kPruned) {
    if (Logging()) Log(safe_ + ": safe\n");
    *done = true;
  } else if (visit == Visit::kLoop) {
    ok = Reject(Verdict::kReject, state, path, Rule::kInfiniteLoop, key.insn, -1,
                absl::StrCat("infinite loop detected at insn ", key.insn));
  } else {
    ok = !OverBudget(key.insn);
  }
  if (state.replayed != nullptr) pool_.Free(state.replayed);
  return ok;
}

bool Search::Retire(Piece& piece, uint32_t insn, Here& here, Path& path, bool* done) {
  SearchStats& stats = result_.stats;
  // The first instruction is counted already.
  const uint64_t processed = stats.processed - 1, jumps = jumps_;
  uint32_t grown = 0;
  const auto count_stack = [&](uint32_t end) {
    CountStack(piece.grown.data() + grown, piece.grown.data() + end);
    grown = end;
  };
  size_t e = 0;
  const auto honour = [&](uint32_t steps) {
    for (; e < piece.events.size() && piece.events[e].steps <= steps; ++e) {
      PieceEvent& event = piece.events[e];
      stats.processed = processed + event.steps;
      count_stack(event.grown);
      Segment* fork = std::exchange(event.fork, nullptr);
      Lazy now{nullptr, here.state, insn, event.steps};
      if (!Honour(event.effects, event.insn, event.prev, event.frame, path, now, fork)) return false;
    }
    return true;
  };
  for (const PieceVisit& visit : piece.visits) {
    if (!honour(visit.steps)) return false;
    stats.processed = processed + visit.steps + 1;
    jumps_ = jumps + visit.jumps;
    Lazy state{nullptr, here.state, insn, visit.steps};
    if (!AtPrunePoint(visit.key, state, nullptr, visit.prev, path, done)) return false;
    if (*done) return true;
  }
  if (!honour(piece.steps)) return false;
  stats.processed = processed + piece.steps;
  jumps_ = jumps + piece.jumps;
  count_stack(static_cast<uint32_t>(piece.grown.size()));
  if (piece.finding == nullptr) return true;
  return Found(*piece.finding, piece.insn, piece.prev, piece.frame, path, *piece.state);
}

uint32_t Search::NewNode(uint32_t parent) {
  if (!limits_.shape) return 0;
  const bool root = parent == ~0u;
  tree_.push_back({parent, ~0u, root ? 0 : result_.stats.processed - path_begin_, 0, root ? ~0u : piece_});
  return static_cast<uint32_t>(tree_.size() - 1);
}

namespace {

// Pieces take a microsecond, so the clock should take next to nothing.
uint64_t Ticks() {
#ifdef __x86_64__
  return __builtin_ia32_rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

}  // namespace

void Search::BeginPiece(uint32_t parent) {
  piece_ = static_cast<uint32_t>(limits_.pieces->size());
  limits_.pieces->push_back({parent});
  lap_ = Ticks();
}

void Search::Lap(uint64_t PieceTime::*part) {
  const uint64_t now = Ticks();
  limits_.pieces->back().*part += now - lap_;
  lap_ = now;
}

void Search::CountStack(const StackUse* begin, const StackUse* end) {
  for (const StackUse* use = begin; use != end; ++use) {
    uint16_t& depth = result_.depths[use->subprog];
    depth = std::max(depth, use->bytes);
  }
}

bool Search::Found(StepResult& step, uint32_t insn, int64_t prev, int frame, Path& path, const State& state) {
  const bool finding = step.kind == StepResult::Kind::kFinding;
  if (cfg_.at[insn].jmp_point) Remember(path, insn, prev);
  if (!finding) result_.feature = step.message;
  if (step.fault_reg >= 0 && state.cur == frame) {
    AppendReg(result_.finding.reg_state, state.regs()[step.fault_reg], state.frame().frameno, ctx_.object->maps);
  }
  if (Logging()) Log("\n");
  Lazy now{&state};
  return Reject(finding ? Verdict::kReject : Verdict::kUnsupported, now, path, step.rule, insn, step.fault_reg,
                step.message);
}

HistoryNode* Search::Remember(Path& path, uint32_t insn, int64_t prev) {
  HistoryNode* node = history_.New(path.parent != nullptr ? path.parent->history : entry_history_);
  node->insn = insn;
  node->prev = static_cast<uint32_t>(prev);
  node->flags = 0;
  node->linked = 0;
  node->older = path.history;
  node->length = path.history != nullptr ? path.history->length + 1 : 1;
  path.history = node;
  return node;
}

void Search::Mark(std::vector<uint8_t>& subs, int sub) {
  subs.resize(cfg_.subs.size());
  subs[sub] = 1;
}

bool Search::Honour(const StepEffects& step, uint32_t insn, int64_t prev, int frame, Path& path, Lazy& now,
                    Segment* fork) {
  // Whatever stops the search here leaves a fork to be freed.
  struct Fork {
    Search& search;
    State* state;
    Segment* segment;
    ~Fork() {
      if (segment != nullptr) {
        search.helpers_->Close(segment);
      } else if (state != nullptr) {
        search.pool_.Free(state);
      }
    }
  } forked{*this, step.branch, fork};
  Path branch = path;  // where the fork's path starts, but for what this step adds
  HistoryNode* open = nullptr;
  if (cfg_.at[insn].jmp_point) {
    open = Remember(path, insn, prev);
    branch.history = open;
  }
  if (step.precise_regs != 0 || step.precise_slot >= 0) {
    Backtrack bt;
    bt.frame = frame;
    bt.regs[frame] = step.precise_regs;
    if (step.precise_slot >= 0) bt.slots[step.precise_slot_frame] |= uint64_t{1} << step.precise_slot;
    MarkPrecise(path, insn, bt);
    if (lost_) return StopLost(now, path, insn);
  }
  if (step.used_pointer != RegType::kNotInit) {
    RegType& used = pointer_of_[insn];
    if (used == RegType::kNotInit) {
      used = step.used_pointer;
    } else if (used != step.used_pointer) {
      return Reject(Verdict::kReject, now, path, Rule::kInvalidMem, insn, -1,
                    "same insn cannot be used with different pointers");
    }
  }
  if (step.alu_mask != 0) {
    uint64_t& mask = alu_mask_of_[insn];
    if (mask != 0 && mask != step.alu_mask) {
      const Insn& i = prog_.insns[insn];
      return Reject(Verdict::kReject, now, path, Rule::kSpeculation, insn, i.dst,
                    absl::StrCat("R", int{i.dst}, " tried to ", AluOp(i) == kAdd ? "add" : "sub", " from different maps, ",
                                 "paths or scalars, pointer arithmetic with it prohibited for !root"));
    }
    mask = step.alu_mask;
    same_scalars_ |= step.mask_of_scalar;
  }
  if (step.barrier_after) barriers_[insn] |= kBarrierAfter;
  if (step.used_detail != 0) {
    // Of a call, the kernel takes the last visit's for all, and the call then runs with what is wrong for the others.
    const auto [it, is_new] = detail_of_.try_emplace(insn, step.used_detail);
    if (!is_new && it->second != step.used_detail) {
      if (IsHelperCall(prog_.insns[insn]) && prog_.insns[insn].imm == kTailCall) {
        return Reject(Verdict::kReject, now, path, Rule::kTailCall, insn, -1, "tail_call abusing map_ptr");
      }
      const bool store = step.used_pointer != RegType::kNotInit;
      return Reject(Verdict::kReject, now, path, store ? Rule::kInvalidMem : Rule::kObject, insn, -1,
                    store ? "same insn cannot be used with different pointers"
                          : "one call is made with objects of different types");
    }
  }
  if (step.called_global >= 0) called_[step.called_global] = 1;
  if (step.called_back >= 0) Mark(result_.called_back, step.called_back);
  if (step.called_later >= 0) {
    Mark(result_.called_back, step.called_later);
    Mark(result_.called_later, step.called_later);
  }
  if (step.hist_flags != 0 || step.hist_linked != 0) {
    const bool shared = step.branch == nullptr || step.branch_records_step;
    HistoryNode* node = open;
    if (open == nullptr) {
      node = Remember(path, insn, prev);
    } else if (!shared) {
      path.history = open->older;
      node = Remember(path, insn, prev);
    }
    node->flags = step.hist_flags;
    node->linked = step.hist_linked;
    if (shared) branch.history = node;
  }
  if (step.branch != nullptr) {
    const uint64_t bytes = step.branch->bytes();
    forked.state = nullptr;
    forked.segment = nullptr;
    if (fork != nullptr) {
      helpers_->Attach(fork, static_cast<int64_t>(stack_.size()));
    }
    uint32_t branch_prev = insn;
    if (step.branch_is_async) {  // nothing before it is on its path
      branch = Path();
      branch.first_insn = static_cast<int32_t>(step.branch_insn);
      branch_prev = ~0u;
    } else if (path.parent != nullptr) {
      ++path.parent->branches;
    }
    stack_.push_back({step.branch, branch, step.branch_insn, branch_prev, result_.log.size(), bytes, recorded_, fork,
                      NewNode(node_)});
    Charge(bytes);
    if (stack_.size() > limits_.max_pending) {
      return Stop(Verdict::kLimit, Rule::kTooManyBranches, insn,
                  absl::StrCat("The sequence of ", stack_.size(), " jumps is too complex."));
    }
  }
  return true;
}

void Search::Charge(uint64_t bytes) {
  bytes_ += bytes;
  result_.stats.peak_bytes = std::max(result_.stats.peak_bytes, bytes_);
}

bool Search::OverBudget(uint32_t insn) {
  if (bytes_ + history_.bytes() <= limits_.memory) return false;
  Stop(Verdict::kLimit, Rule::kMemoryLimit, insn, absl::StrCat("more than ", limits_.memory, " bytes of states"));
  return true;
}

SearchResult Explore(const Context& context, const SearchLimits& limits) {
  if (limits.threads <= 1) return Search(context, limits).Run();
  // Waiting for helpers, the thread must not take up some other, unrelated task.
  return oneapi::tbb::this_task_arena::isolate([&] { return Search(context, limits).Run(); });
}

}  // namespace bpfsieve
