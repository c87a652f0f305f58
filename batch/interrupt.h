// Ctrl-C: the first one asks the run to end, with what has been found so far; the second one ends the process.
#ifndef BPFSIEVE_BATCH_INTERRUPT_H_
#define BPFSIEVE_BATCH_INTERRUPT_H_

#include <atomic>

namespace bpfsieve {

void CatchInterrupt();
const std::atomic<bool>& InterruptFlag();
inline bool Interrupted() { return InterruptFlag(); }

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_INTERRUPT_H_
