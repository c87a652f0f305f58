// Which instructions a search comes to, on any path.
#ifndef BPFSIEVE_ENGINE_EXPLORE_VISIT_LOG_H_
#define BPFSIEVE_ENGINE_EXPLORE_VISIT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/explore/explore.h"

namespace bpfsieve {

// Not what only a processor that guesses wrong comes to. For one search at a time.
class VisitLog final : public StateObserver {
 public:
  void Clear(size_t insns) { visited_.assign(insns, 0); }
  void At(const Context&, uint32_t insn, const State& state) override {
    if (!state.speculative) visited_[insn] = 1;
  }
  bool Visited(uint32_t insn) const { return visited_[insn] != 0; }

 private:
  std::vector<uint8_t> visited_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_VISIT_LOG_H_
