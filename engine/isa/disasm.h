// Text of instructions, as Linux 6.18 prints it in verifier logs.
// Any bytes are printed as something; all functions are pure and safe from any thread.
#ifndef BPFSIEVE_ENGINE_ISA_DISASM_H_
#define BPFSIEVE_ENGINE_ISA_DISASM_H_

#include <cstdint>
#include <functional>
#include <string>

#include "engine/isa/insn.h"

namespace bpfsieve {

// How to name what an instruction refers to. An empty function, or an empty string from it, means the kernel's
// default text.
struct DisasmNames {
  // A 64-bit immediate that is a reference (src not 0); default: the number in hexadecimal. The second instruction
  // is at insn[1].
  std::function<std::string(const Insn* insn)> imm64;
  // The name of a called kernel function; default "kernel-function".
  std::function<std::string(const Insn& insn)> kfunc;
};

// The instruction's text without its opcode: "r1 = r10", "if r1 > 0x5 goto pc+3". For a 64-bit immediate (code 0x18)
// insn[1] must be readable. What the kernel cannot print is "BUG_xx".
std::string Disassemble(const Insn* insn, const DisasmNames& names = {});

// The same as a log line has it, opcode first: "(bf) r1 = r10".
std::string DisassembleLogText(const Insn* insn, const DisasmNames& names = {});

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_ISA_DISASM_H_
