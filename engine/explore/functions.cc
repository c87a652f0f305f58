// Global functions, explored ahead.
//
// A global function is verified by its prototype alone, with no state of the paths that call it. So others may explore
// those that the program calls while the search is at its main function, each with a search of its own that begins with
// nothing; the search takes their results over in order. Four things pass from one function to the next:
// - the counters, which add up, and the budget of instructions;
// - which functions were called: what is not called in the end is dropped;
// - what an instruction may only do in one way on all paths, since functions share the static ones that they call;
// - how long ago a state was recorded, which decides whether the function's first one is. Others guess: long enough.
// Where the second last or the last shows that the search would have gone another way, or the budget does not last, it
// explores the function itself. So the report is what it would be without them.
#include <oneapi/tbb/task_group.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/explore/search.h"

namespace bpfsieve {

struct Search::Ahead {
  struct Function {
    std::atomic<bool> begun{false};  // by whoever sets it: another, or the search itself
    std::unique_ptr<Search> search;  // of another
    bool ok = false;                 // it was explored without a finding
    oneapi::tbb::task_group task;
  };
  ~Ahead() {
    unwanted.store(true, std::memory_order_relaxed);
    for (const std::unique_ptr<Function>& f : functions) {
      if (f != nullptr) f->task.wait();
    }
  }
  std::atomic<bool> unwanted{false};
  std::vector<std::unique_ptr<Function>> functions;  // per subprogram; null: nobody explores it ahead
};

// Those that may be called, and are not verified yet.
void Search::ExploreAhead() {
  ahead_tried_ = true;
  if (Logging() || limits_.observer != nullptr || !ctx_.caps.perfmon || !ctx_.caps.bpf) return;
  for (const uint32_t i : cfg_.notable) {
    if (!IsPseudoCall(prog_.insns[i])) continue;
    const int sub = cfg_.SubAt(static_cast<uint32_t>(int64_t{i} + prog_.insns[i].imm + 1));
    if (sub <= 0 || !ctx_.subs[sub].global || verified_[sub]) continue;
    if (ahead_ == nullptr) {
      ahead_ = std::make_shared<Ahead>();
      ahead_->functions.resize(cfg_.subs.size());
    }
    if (ahead_->functions[sub] == nullptr) ahead_->functions[sub] = std::make_unique<Ahead::Function>();
  }
  if (ahead_ == nullptr) return;
  // In the order in which they will be needed.
  for (size_t s = 1; s < ahead_->functions.size(); ++s) {
    Ahead::Function* f = ahead_->functions[s].get();
    if (f == nullptr) continue;
    f->task.run([this, unwanted = &ahead_->unwanted, f, s] {
      if (unwanted->load(std::memory_order_relaxed) || f->begun.exchange(true)) return;
      SearchLimits limits = limits_;
      limits.threads = 1;
      limits.pieces = nullptr;
      f->search = std::make_unique<Search>(ctx_, limits);
      f->search->unwanted_ = unwanted;
      f->search->last_record_jumps_ -= kRecordJumps;
      f->search->last_record_processed_ -= kRecordSteps;
      f->ok = f->search->ExploreFunction(static_cast<int>(s));
    });
  }
}

// Explores the function, or takes over what another has found of it. False: stop, result_ says why.
bool Search::TakeOver(int sub) {
  Ahead::Function* f = ahead_ != nullptr ? ahead_->functions[sub].get() : nullptr;
  if (f == nullptr || !f->begun.exchange(true)) return ExploreFunction(sub);
  f->task.wait();  // with other functions in the meantime
  const std::unique_ptr<Search> other = std::move(f->search);
  if (!Fits(*other)) return ExploreFunction(sub);
  ++result_.speculation.functions;
  Add(*other);
  return f->ok;
}

// Whether this search would have found the same in this place.
bool Search::Fits(const Search& other) const {
  const SearchStats& theirs = other.result_.stats;
  const Rule rule = other.result_.finding.rule;
  const bool failed = other.result_.verdict != Verdict::kAccept;
  if (failed && (rule == Rule::kInterrupted || rule == Rule::kTimeLimit)) return false;
  if (result_.stats.processed + theirs.processed > limits_.max_processed) return false;
  if (theirs.total_states > 0 &&
      (jumps_ - last_record_jumps_ + other.first_record_jumps_ < kRecordJumps ||
       result_.stats.processed - last_record_processed_ + other.first_record_processed_ < kRecordSteps)) {
    return false;
  }
  for (size_t i = 0; i < pointer_of_.size(); ++i) {
    const RegType was = pointer_of_[i], is = other.pointer_of_[i];
    if (was != RegType::kNotInit && is != RegType::kNotInit && was != is) return false;
  }
  return std::none_of(other.detail_of_.begin(), other.detail_of_.end(), [&](const auto& detail) {
    const auto it = detail_of_.find(detail.first);
    return it != detail_of_.end() && it->second != detail.second;
  });
}

void Search::Add(Search& other) {
  SearchResult& theirs = other.result_;
  SearchStats& stats = result_.stats;
  if (theirs.stats.total_states > 0) {
    last_record_jumps_ = jumps_ + other.last_record_jumps_;
    last_record_processed_ = stats.processed + other.last_record_processed_;
  }
  jumps_ += other.jumps_;
  stats.processed += theirs.stats.processed;
  stats.total_states += theirs.stats.total_states;
  stats.peak_states = std::max(stats.peak_states, theirs.stats.peak_states);
  stats.max_states_per_insn = std::max(stats.max_states_per_insn, theirs.stats.max_states_per_insn);
  stats.peak_bytes = std::max(stats.peak_bytes, theirs.stats.peak_bytes);
  for (size_t s = 0; s < called_.size(); ++s) {
    result_.depths[s] = std::max(result_.depths[s], theirs.depths[s]);
    called_[s] |= other.called_[s];
  }
  const auto add_marks = [](std::vector<uint8_t>& to, const std::vector<uint8_t>& from) {
    to.resize(std::max(to.size(), from.size()));
    for (size_t s = 0; s < from.size(); ++s) to[s] |= from[s];
  };
  add_marks(result_.called_back, theirs.called_back);
  add_marks(result_.called_later, theirs.called_later);
  for (size_t i = 0; i < pointer_of_.size(); ++i) {
    if (other.pointer_of_[i] != RegType::kNotInit) pointer_of_[i] = other.pointer_of_[i];
  }
  detail_of_.insert(other.detail_of_.begin(), other.detail_of_.end());
  const auto first = static_cast<uint32_t>(tree_.size());
  for (PathNode node : other.tree_) {
    if (node.parent != ~0u) node.parent += first;
    node.order += paths_;
    tree_.push_back(node);
  }
  paths_ += other.paths_;
  result_.verdict = theirs.verdict;
  result_.finding = std::move(theirs.finding);
  result_.feature = std::move(theirs.feature);
}

}  // namespace bpfsieve
