#include "batch/interrupt.h"

#include <signal.h>

namespace bpfsieve {
namespace {

// The one thing a signal handler can talk to.
std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

}  // namespace

void CatchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
}

const std::atomic<bool>& InterruptFlag() { return interrupted; }

}  // namespace bpfsieve
