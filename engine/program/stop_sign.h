// Who waits for an answer may want no more of it: Ctrl-C, or a time limit. Passes over a program ask now and then.
#ifndef BPFSIEVE_ENGINE_PROGRAM_STOP_SIGN_H_
#define BPFSIEVE_ENGINE_PROGRAM_STOP_SIGN_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace bpfsieve {

struct StopSign {
  static constexpr auto kNever = std::chrono::steady_clock::time_point::max();
  const std::atomic<bool>* interrupt = nullptr;  // null: nobody interrupts
  std::chrono::steady_clock::time_point deadline = kNever;
  uint64_t time_ms = 0;                          // so far away was the deadline at first; for messages

  bool Interrupted() const { return interrupt != nullptr && interrupt->load(std::memory_order_relaxed); }
  bool OutOfTime() const { return deadline != kNever && std::chrono::steady_clock::now() >= deadline; }
  bool Asked() const { return Interrupted() || OutOfTime(); }
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_STOP_SIGN_H_
