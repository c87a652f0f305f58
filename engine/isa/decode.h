// The rules of instruction encoding: which opcodes exist, and which fields each leaves unused and so must be zero
// (RFC 9669 sections 4 and 5; Linux 6.18's resolve_pseudo_ldimm64, check_alu_op, check_cond_jmp_op, ...).
//
// The kernel checks in two places, and so must whoever wants its verdict:
//   CheckEncoding  over the whole program: opcodes, 64-bit immediates, loads. The kernel does this after it has seen
//                  that jumps stay within their subprograms, and before it looks for unreachable instructions.
//   CheckInsn      on an instruction when a path reaches it. One that no path reaches may hold anything.
// All functions are pure and safe from any thread.
#ifndef BPFSIEVE_ENGINE_ISA_DECODE_H_
#define BPFSIEVE_ENGINE_ISA_DECODE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/isa/insn.h"

namespace bpfsieve {

struct EncodingError {
  enum class Kind : uint8_t {
    kOpcode,      // no such opcode, or no such atomic operation or size
    kReserved,    // a field that must be zero is not, or holds a value without a meaning
    kImm64,       // a damaged 64-bit immediate
    // Found while operands are looked at: where an operand is also uninitialised the kernel reports whichever comes
    // first, in the order of CheckInsn.
    kRegister,    // R11 to R15: "R11 is invalid"
    kFrameWrite,  // R10 is written: "frame pointer is read only"
    kDivZero,     // division by the constant zero
    kShift,       // a constant shift out of range
  };
  Kind kind = Kind::kOpcode;
  uint32_t insn = 0;    // index of the instruction; 0 from CheckInsn
  int reg = -1;         // kRegister, kFrameWrite: the register; else -1
  std::string message;  // the kernel's words
};

// Whether the opcode exists. Second halves of 64-bit immediates (code 0) do not count.
bool IsKnownOpcode(uint8_t code);

// The checks on the whole program, instruction by instruction; the first failure. `insns` may be null when n is 0.
// The immediate of a reference to a map, variable or function is not looked at.
std::optional<EncodingError> CheckEncoding(const Insn* insns, size_t n);

// The checks on one instruction that passed CheckEncoding, in the kernel's order: unused fields, then source
// register, destination register, constant operand, and whether the result register may be written. (For conditional
// jumps the kernel reads the destination before it looks at unused fields.)
std::optional<EncodingError> CheckInsn(const Insn& insn);
// Whether that finds nothing; without the words.
bool InsnIsRight(const Insn& insn);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_ISA_DECODE_H_
