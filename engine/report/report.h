// Findings as text: places in the source, instructions with names, one-line messages.
// All functions are pure and safe from any thread, and take any instruction index.
#ifndef BPFSIEVE_ENGINE_REPORT_REPORT_H_
#define BPFSIEVE_ENGINE_REPORT_REPORT_H_

#include <cstdint>
#include <string>

#include "engine/isa/disasm.h"
#include "engine/program/program.h"
#include "engine/report/finding.h"

namespace bpfsieve {

// The line that the instruction was compiled from; null: not known.
const LineInfo* LineOf(const Program& program, uint32_t insn);

// The subprogram that the instruction belongs to; null: none (no such instruction).
const Subprog* SubprogOf(const Program& program, uint32_t insn);

// "f @ prog.c:12:5", or as much of it as is known; empty: nothing is.
std::string PlaceText(const Program& program, uint32_t insn);

// Names of maps, externs and kernel functions in place of the indices that a Program's instructions carry. Refers to
// both arguments.
DisasmNames NamesOf(const Object& object, const Program& program);

// "(79) r0 = *(u64 *)(r1 +0)"; empty for the second half of a 64-bit immediate and beyond the program's end.
std::string InsnText(const Object& object, const Program& program, uint32_t insn);

// What the step says: "took the branch", "R2 got its value here: R2=scalar()".
std::string StepText(const PathStep& step, int reg);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_REPORT_REPORT_H_
