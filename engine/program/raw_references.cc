#include "engine/program/raw_references.h"

#include "engine/program/program.h"

namespace bpfsieve {

std::string DisownRawReferences(std::span<Insn> insns, std::span<const uint32_t> relocated) {
  std::string unsupported;
  size_t next = 0;
  for (uint32_t i = 0; i < insns.size(); ++i) {
    Insn& insn = insns[i];
    while (next < relocated.size() && relocated[next] < i) ++next;
    const bool explained = next < relocated.size() && relocated[next] == i;
    if (IsKfuncCall(insn) && !explained) unsupported = "kernel function by its BTF id";
    if (!IsLdImm64(insn)) continue;
    if (!explained) {
      switch (insn.src) {
        case kPseudoMapIdx:
        case kPseudoMapFd:
          insn.src = kPseudoMapFd;
          insn.imm = kNoSuchMap;
          break;
        case kPseudoMapIdxValue:
        case kPseudoMapValue:
          insn.src = kPseudoMapValue;
          insn.imm = kNoSuchMap;
          break;
        case kPseudoBtfId: unsupported = "kernel symbol by its BTF id"; break;
        default: break;
      }
    }
    ++i;  // the second half is data
  }
  return unsupported;
}

}  // namespace bpfsieve
