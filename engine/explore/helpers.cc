// Helpers: what of a search other threads run ahead of, and whether that pays.
#include "engine/explore/search.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace bpfsieve {
namespace {

constexpr size_t kNearPending = 16;      // pending states, from the newest on, that are looked at for work
constexpr uint64_t kTrial = 2048;        // instructions, with and without helpers, to compare the pace
constexpr double kWorthIt = 0.93;        // of the pace without them, to keep helpers
constexpr double kHopeless = 1.2;        // of it, to end a trial early

}  // namespace

void Search::DropPrepared(Here& here) {
  if (here.piece == nullptr || here.piece->checkpoint == nullptr) return;
  helpers_->Dropped(here.piece->checkpoint);
  parts_.checkpoints.Give(std::exchange(here.piece->checkpoint, nullptr));
}

// Goes on without what helpers have of the path.
void Search::Leave(Here& here) {
  if (here.segment == nullptr) return;
  DropPrepared(here);
  helpers_->Close(std::exchange(here.segment, nullptr));
  here.piece = nullptr;
}

void Search::StartHelpers() {
  helpers_ = std::make_unique<Speculation>(ctx_, limits_, depot_, parts_);
  std::vector<Checkpoint*> recorded;
  for (Checkpoint* head : table_) {
    for (Checkpoint* c = head; c != nullptr; c = c->next) recorded.push_back(c);
  }
  std::sort(recorded.begin(), recorded.end(), [](auto* a, auto* b) { return a->recorded < b->recorded; });
  for (Checkpoint* c : recorded) helpers_->Recorded(c, c->recorded, nullptr, false);
}

// Makes the `i`th pending state one that helpers can take.
Segment* Search::Share(size_t i) {
  Pending& p = stack_[i];
  if (p.segment == nullptr) {
    p.segment = helpers_->Share(p.state, p.insn, p.prev, p.recorded, static_cast<int64_t>(i));
  }
  return p.segment;
}

// Gives a pending state away, the newest first: that is the next one to be needed.
void Search::Feed() {
  for (size_t i = stack_.size(), n = 0; i-- > 0 && n < kNearPending; ++n) {
    if (helpers_->Offer(Share(i))) return;
  }
}

// What helpers have executed of the path beyond `here`.
Piece* Search::NextPiece(const Here& here) {
  Piece* piece = nullptr;
  int spins = 0;
  while (helpers_->Next(here.segment, here.piece, &piece, spins) == Speculation::Ahead::kWait) helpers_->Wait(spins++);
  if (spins > 0) helpers_->EndWait();
  return piece;
}

void Search::StopHelpers() {
  if (helpers_ == nullptr) return;
  helpers_->Stop(result_.speculation);
  for (Pending& p : stack_) {
    if (p.segment == nullptr) continue;
    helpers_->Follow(p.segment);  // its state stays here
    helpers_->Close(std::exchange(p.segment, nullptr));
  }
  helpers_.reset();
}

// Calls helpers, and sends them away where the search is no faster with them than without: whether they pay depends on
// the program, the stretch of it, and on what else the machine does. Decides about time alone.
void Search::Govern(Here& here) {
  const uint64_t processed = result_.stats.processed;
  if (limits_.helpers_from == 0) {
    if (helpers_ == nullptr) StartHelpers();
    helpers_->WakeUp();
    return;
  }
  if (processed < limits_.helpers_from) return;
  const auto now = std::chrono::steady_clock::now();
  if (phase_length_ == 0) {  // the first time
    phase_length_ = kTrial;
    phase_from_ = processed;
    phase_begin_ = now;
  }
  const uint64_t done = processed - phase_from_;
  if (helpers_ != nullptr) helpers_->WakeUp();
  if (done < (helpers_ != nullptr ? kTrial / 4 : phase_length_)) return;
  const double pace = std::chrono::duration<double>(now - phase_begin_).count() / static_cast<double>(done);
  // Where it is much slower, that shows early.
  if (done < phase_length_ && pace < kHopeless * alone_pace_) return;
  if (helpers_ == nullptr) {
    alone_pace_ = pace;
    phase_length_ = kTrial;
    StartHelpers();
    helpers_->WakeUp();
  } else if (pace > kWorthIt * alone_pace_) {
    Leave(here);
    StopHelpers();
    patience_ *= 32;
    phase_length_ = kTrial * patience_;
  }
  phase_from_ = processed;
  phase_begin_ = std::chrono::steady_clock::now();
}

}  // namespace bpfsieve
