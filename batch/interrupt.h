// Ctrl-C: the first one asks the run to end after what is in progress, the second one ends the process.
#ifndef BPFSIEVE_BATCH_INTERRUPT_H_
#define BPFSIEVE_BATCH_INTERRUPT_H_

namespace bpfsieve {

void CatchInterrupt();
bool Interrupted();

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_INTERRUPT_H_
