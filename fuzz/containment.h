// Containment: everything that really happens lies in what the verifier considered.
//
// The search is shown at work (StateLog), and then the program runs on the machine. Before every instruction, what the
// registers and stack slots hold must lie within one of the states that the search executed this instruction on: one
// state as a whole, for a state speaks of all paths at once that it stands for, and of how values depend on each other.
// For numbers all of a Scalar is compared, for pointers kind, region and offset, for packet pointers also what is claimed
// to be accessible, for equal ids that the values are equal (or at their distance), that no more references are held
// than are known, and locks just as is thought. Only what may still be read counts,
// as the search compares no more when it takes a state to be covered by another.
//
// Behind an instruction in a straight line that only sets a register or stores, only that register or stack slot is recorded and
// compared, and that what is held is the same as before: the rest is as it was, where it was compared. What such an instruction
// changes and should not is so found a few steps later, in the next whole state.
//
// Pruning needs thought. A scalar that no check relied upon compares as equal to any other when a path is cut short, so
// after that real values may well lie outside of all states, and nothing is wrong. There are two statements:
//
// - A search that covered states by ranges alone: everything has to lie within its states. Most do as they are; of others
//   another search is made, in which all scalars are relied upon (SearchLimits::all_precise). It shows wrong operators, refinements, links, spills, helper results; and wrong subsumption.
// - Of any search as it is, that an instruction was looked at is sure for every execution. That shows what went
//   wrong with precision: code thought dead runs. Together with the machine's faults, which need no states at all, and
//   with the naive explorer, which knows no precision, that is what can be said of it.
//
// Turned down: comparing only scalars marked precise of the second search. Marks belong to recorded states, not to every
// instruction, and a missing mark, the very fault to be found, would only leave a value out of the comparison.
#ifndef BPFSIEVE_FUZZ_CONTAINMENT_H_
#define BPFSIEVE_FUZZ_CONTAINMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/explore/explore.h"
#include "engine/explore/visit_log.h"
#include "fuzz/machine.h"

namespace bpfsieve {

// The states that a search executed each instruction on, as far as they say something of what may still be read.
class StateLog final : public StateObserver {
 public:
  static constexpr uint32_t kNone = ~0u;
  struct Item {
    Reg reg;             // a register, or the one that was spilled to a slot
    uint64_t bytes = 0;  // slots: the kinds of the eight bytes, see StackSlot
    uint8_t frame = 0, index = 0;
    bool slot = false;
  };
  struct Held {
    uint32_t references = 0, locks = 0;
    uint32_t rcu = 0, preempt = 0, irq = 0;  // sections that are open
    friend bool operator==(const Held&, const Held&) = default;
  };
  struct Entry {
    uint32_t first = 0, count = 0;  // items
    uint32_t newer = kNone;         // of the same instruction
    int32_t frames = 0;
    Held held;
    int32_t callsites[kMaxFrames] = {};
    uint32_t first_step = 0, steps = 0;      // that go on from it
  };
  // What an instruction in a straight line set.
  struct Step {
    uint32_t insn = 0;     // the next
    uint32_t item = kNone; // index of what was set; kNone: nothing is known of it, or it may not be read any more
  };

  void Clear(size_t insns);
  void At(const Context& context, uint32_t insn, const State& state) override;
  void CoveredImprecisely() override { imprecise_ = true; }
  // What it holds is of no use, as there were more states than it keeps, or where states do not say enough.
  bool full() const { return full_; }
  bool imprecise() const { return imprecise_; }
  uint32_t oldest(uint32_t insn) const { return ends_[insn].oldest; }
  const Entry& entry(uint32_t i) const { return entries_[i]; }
  const Item* items(const Entry& e) const { return items_.data() + e.first; }
  const Item& item(uint32_t i) const { return items_[i]; }
  // The step after `n` of the entry's; null: there is none.
  const Step* step(const Entry& e, uint32_t n) const { return n < e.steps ? &steps_[e.first_step + n] : nullptr; }

 private:
  // Whether the instruction was reached from the state that was recorded last, by one that sets one thing; if so, that is recorded.
  bool OneStep(const Context& context, uint32_t insn, const State& state);

  struct Ends {
    uint32_t oldest = kNone, newest = kNone;
  };
  std::vector<Ends> ends_;  // per instruction
  std::vector<Entry> entries_;
  std::vector<Item> items_;
  std::vector<Step> steps_;
  uint32_t last_ = kNone;  // the instruction of what was recorded last
  bool full_ = false, imprecise_ = false;
};

// Watches runs. `states` null: only looks for instructions that were never visited.
class Containment : public StepWatcher {
 public:
  Containment(const VisitLog& visits, const StateLog* states, size_t insns)
      : visits_(visits), states_(states), matched_(states != nullptr ? insns : 0, StateLog::kNone) {}
  bool Before(const Machine& machine, uint32_t insn) override;
  // What lies outside, once a run was stopped: the abstract and the concrete value.
  const std::string& violation() const { return violation_; }
  bool unvisited() const { return unvisited_; }

 private:
  bool Matches(const Machine& machine, const StateLog::Entry& entry, std::string* why) const;
  bool FindEntry(const Machine& machine, uint32_t insn);
  bool MatchesStep(const Machine& machine, const StateLog::Step& step);

  const VisitLog& visits_;
  const StateLog* states_;
  std::string violation_;
  bool unvisited_ = false;
  // Per instruction: the state that held the last time. Turns of a loop come in the order in which the search went through
  // them, so the next one is the first to be tried.
  std::vector<uint32_t> matched_;
  uint32_t entry_ = StateLog::kNone, steps_ = 0;  // what held before the instruction that ran last: an entry and so many steps
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_CONTAINMENT_H_
