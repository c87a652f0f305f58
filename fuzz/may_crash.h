// Programs that are never shown to the running kernel, since its verifier may crash on them.
//
// Linux 6.18 does on `number += pointer to the stack` where the number's register once held a called function's frame
// pointer: it leaves the frame as it was in that register, and follows it to a function that has returned. The engine
// calls that form `unsupported`, but it stops at the first thing that it finds wrong with a program; this looks at the
// text alone, so it does not rest on what the engine thinks of the program.
//
// And on `number &= constant` and `|= constant` where the number is 0 or -1, which makes the verifier look at both: when more
// branches are pending than it keeps (8,192), it uses the state that it did not get (maybe_fork_scalars). Only a program that
// goes round and round gets there.
//
// And where a function of a table (struct_ops) returns a pointer to memory: it takes the length, or whatever else goes with a
// pointer of that kind, for the address of the types that go with a structure's pointer (check_return_code).
#ifndef BPFSIEVE_FUZZ_MAY_CRASH_H_
#define BPFSIEVE_FUZZ_MAY_CRASH_H_

#include "engine/program/program.h"

namespace bpfsieve {

// Whether the program has functions (or callbacks) and a 64-bit addition of a register that points to a stack on any way
// through its text, possible or not; or goes back anywhere, and masks what may be a sign that was shifted through all bits; or
// is one of a table's, and a function of it returns what a call gave, an address, or what was computed with one. False means
// that it cannot be the first or the third form; true is often wrong.
bool MayCrashTheKernel(const Program& program);
// Whether it would if more branches were pending than are kept. What makes other masks of a sign counts, too.
bool MayCrashAtTheLimit(const Program& program);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_MAY_CRASH_H_
