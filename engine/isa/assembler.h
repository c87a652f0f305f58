// Assembler for the text that the disassembler prints (the kernel's log syntax), with labels and named references.
//
//   # A comment: also after ';' or '//'. '#' starts one only at the start of a line or after a blank.
//   loop:                             ; a label
//     r1 = r10                        ; w1 = w2, r1 = -5, w1 = 0xffffffff, r1 = (s8)r2
//     r1 += -8                        ; -= *= /= |= &= <<= >>= %= ^= s>>= s/= s%=
//     r1 = -r1                        ; negation
//     r1 = be16 r1                    ; le16..64, be16..64, bswap16..64
//     r1 = addr_space_cast(r2, 0, 1)
//     r2 = 0x1122334455667788 ll      ; 64-bit immediate: two instructions
//     r1 = map[counters] ll           ; map by name or index; "ll" may be left out
//     r1 = map[counters]+8 ll         ; address of a map's value, at an offset
//     r1 = func[callback] ll          ; a label, or func[pc+3]
//     r1 = ksym[name] ll              ; a kernel variable, by name or index
//     r1 = map_idx[0] ll              ; through the load's fd array; map_idx[0]+8: address of the value
//     r0 = *(u32 *)(r1 +0)            ; u8 u16 u32 u64, s8 s16 s32
//     *(u64 *)(r10 -8) = r1           ; or a number
//     lock *(u64 *)(r10 -8) += r1     ; += &= |= ^=
//     r1 = atomic64_fetch_add((u64 *)(r10 -8), r1)   ; add and or xor; atomic64_xchg; atomic_... on u32
//     r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)
//     r1 = load_acquire((u64 *)(r2 +0))
//     store_release((u64 *)(r2 +0), r1)
//     r0 = *(u8 *)skb[14]             ; and skb[r7 + 14]
//     if r1 s> 0x5 goto loop          ; or "goto pc+3"; w1 for 32 bits; == != > >= < <= s> s>= s< s<= &
//     goto loop                       ; gotol, may_goto
//     call bpf_map_lookup_elem#1      ; call bpf_map_lookup_elem, call 1
//     call loop                       ; a subprogram at a label, or call pc+3
//     call kfunc[bpf_rcu_read_lock]   ; a kernel function, by name or index
//     exit
//     .insn code=0x87 dst=0 src=1 off=0 imm=0   ; any bytes; fields that are left out are 0
//
// A "0x10" without "ll" is an ordinary 32-bit immediate, although the kernel prints 64-bit immediates so.
// All functions are pure (given pure resolvers) and safe from any thread; any text ends in instructions or a status,
// in time and memory linear in its length.
#ifndef BPFSIEVE_ENGINE_ISA_ASSEMBLER_H_
#define BPFSIEVE_ENGINE_ISA_ASSEMBLER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/isa/insn.h"

namespace bpfsieve {

// What names stand for. An empty function resolves nothing; numbers in brackets need no resolver.
struct AsmSymbols {
  using Resolver = std::function<std::optional<int32_t>(std::string_view name)>;
  Resolver map;     // index of a map
  Resolver kfunc;   // index of a kernel function
  Resolver ksym;    // index of a kernel variable
  Resolver helper;  // number of a helper; empty: HelperIdFromName
};

struct AsmUnit {
  struct Label {
    std::string name;
    uint32_t insn = 0;  // may be one past the last instruction
  };
  std::vector<Insn> insns;
  std::vector<uint32_t> lines;  // per instruction: the line it was written on
  std::vector<Label> labels;    // in the order of the text
};

// Assembles `text`, whose first line counts as `first_line`. Errors are InvalidArgument and start with "line N: ".
absl::StatusOr<AsmUnit> AssembleUnit(std::string_view text, const AsmSymbols& symbols = {}, uint32_t first_line = 1);
absl::StatusOr<std::vector<Insn>> Assemble(std::string_view text, const AsmSymbols& symbols = {});

// The line that assembles to exactly the instruction at `insn`: the kernel's text where that says everything,
// references as in the table above, ".insn" for what has no text. `left` is the number of instructions readable at
// `insn`, at least 1; `used` receives how many of them the line stands for: 2 for a sound 64-bit immediate, else 1.
std::string AsmText(const Insn* insn, size_t left, size_t* used);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_ISA_ASSEMBLER_H_
