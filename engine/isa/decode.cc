#include "engine/isa/decode.h"

#include <array>

#include "absl/strings/str_format.h"

namespace bpfsieve {
namespace {

using Kind = EncodingError::Kind;

constexpr std::array<bool, 256> MakeKnownOpcodes() {
  std::array<bool, 256> known{};
  for (uint8_t cls : {kClassAlu, kClassAlu64}) {
    for (uint8_t op : {kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kMod, kXor, kMov, kArsh}) {
      known[cls | op | kSrcK] = known[cls | op | kSrcX] = true;
    }
    known[cls | kNeg] = true;
    known[cls | kEnd] = true;
  }
  known[kClassAlu | kEnd | kSrcX] = true;  // to big endian; the 64-bit class only swaps unconditionally
  for (uint8_t cls : {kClassJmp, kClassJmp32}) {
    for (uint8_t op : {kJeq, kJgt, kJge, kJset, kJne, kJsgt, kJsge, kJlt, kJle, kJslt, kJsle}) {
      known[cls | op | kSrcK] = known[cls | op | kSrcX] = true;
    }
    known[cls | kJa] = true;
  }
  known[kClassJmp | kCall] = known[kClassJmp | kExit] = known[kClassJmp | kJcond] = true;
  for (uint8_t size : {kSizeB, kSizeH, kSizeW, kSizeDw}) {
    known[kClassLdx | kModeMem | size] = known[kClassSt | kModeMem | size] = known[kClassStx | kModeMem | size] = true;
    known[kClassStx | kModeAtomic | size] = true;
    if (size == kSizeDw) continue;
    known[kClassLdx | kModeMemsx | size] = true;
    known[kClassLd | kModeAbs | size] = known[kClassLd | kModeInd | size] = true;
  }
  known[kCodeLdImm64] = true;
  return known;
}
constexpr std::array<bool, 256> kKnownOpcodes = MakeKnownOpcodes();

EncodingError Error(Kind kind, std::string message, int reg = -1) {
  return EncodingError{.kind = kind, .insn = 0, .reg = reg, .message = std::move(message)};
}
EncodingError Reserved(const char* what) {
  return Error(Kind::kReserved, absl::StrFormat("%s uses reserved fields", what));
}

std::optional<EncodingError> CheckRead(int reg) {
  if (reg >= kMaxReg) return Error(Kind::kRegister, absl::StrFormat("R%d is invalid", reg), reg);
  return std::nullopt;
}
std::optional<EncodingError> CheckWrite(int reg) {
  if (auto error = CheckRead(reg)) return error;
  if (reg == kRegFp) return Error(Kind::kFrameWrite, "frame pointer is read only", reg);
  return std::nullopt;
}

std::optional<EncodingError> CheckMov(const Insn& insn) {
  if (UsesX(insn)) {
    if (Class(insn) == kClassAlu64 && insn.off == kAddrSpaceCast) {
      if (insn.imm != 1 && insn.imm != 1 << 16) {
        return Error(Kind::kReserved, "addr_space_cast insn can only convert between address space 1 and 0");
      }
    } else {
      bool sign_extension = insn.off == 8 || insn.off == 16 || (insn.off == 32 && Class(insn) == kClassAlu64);
      if ((insn.off != 0 && !sign_extension) || insn.imm != 0) return Reserved("BPF_MOV");
    }
    if (auto error = CheckRead(insn.src)) return error;
  } else if (insn.src != 0 || insn.off != 0) {
    return Reserved("BPF_MOV");
  }
  return CheckWrite(insn.dst);
}

std::optional<EncodingError> CheckAlu(const Insn& insn) {
  const uint8_t op = AluOp(insn);
  if (op == kNeg) {
    if (insn.src != 0 || insn.off != 0 || insn.imm != 0) return Reserved("BPF_NEG");
    return CheckWrite(insn.dst);
  }
  if (op == kEnd) {
    if (insn.src != 0 || insn.off != 0 || (insn.imm != 16 && insn.imm != 32 && insn.imm != 64)) {
      return Reserved("BPF_END");
    }
    return CheckWrite(insn.dst);
  }
  if (op == kMov) return CheckMov(insn);

  const bool division = op == kDiv || op == kMod;
  if ((insn.off != 0 && !(insn.off == 1 && division)) || (UsesX(insn) ? insn.imm != 0 : insn.src != 0)) {
    return Reserved("BPF_ALU");
  }
  if (UsesX(insn)) {
    if (auto error = CheckRead(insn.src)) return error;
  }
  if (auto error = CheckRead(insn.dst)) return error;
  if (!UsesX(insn)) {
    if (division && insn.imm == 0) return Error(Kind::kDivZero, "div by zero");
    const int width = Class(insn) == kClassAlu64 ? 64 : 32;
    if ((op == kLsh || op == kRsh || op == kArsh) && (insn.imm < 0 || insn.imm >= width)) {
      return Error(Kind::kShift, absl::StrFormat("invalid shift %d", insn.imm));
    }
  }
  return CheckWrite(insn.dst);
}

std::optional<EncodingError> CheckJump(const Insn& insn) {
  switch (JmpOp(insn)) {
    case kCall:
      if (insn.src > kPseudoKfuncCall || insn.dst != 0 || (insn.src != kPseudoKfuncCall && insn.off != 0)) {
        return Reserved("BPF_CALL");
      }
      return std::nullopt;
    case kJa:
      if (insn.src != 0 || insn.dst != 0 || (Class(insn) == kClassJmp ? insn.imm != 0 : insn.off != 0)) {
        return Reserved("BPF_JA");
      }
      return std::nullopt;
    case kExit:
      if (insn.src != 0 || insn.dst != 0 || insn.imm != 0) return Reserved("BPF_EXIT");
      return std::nullopt;
    case kJcond:
      if (insn.src != kMayGoto || insn.dst != 0 || insn.imm != 0) {
        return Error(Kind::kReserved, absl::StrFormat("invalid may_goto imm %d", insn.imm));
      }
      return std::nullopt;
    default: {
      if (auto error = CheckRead(insn.dst)) return error;
      if (UsesX(insn) ? insn.imm != 0 : insn.src != 0) return Reserved("BPF_JMP/JMP32");
      return UsesX(insn) ? CheckRead(insn.src) : std::nullopt;
    }
  }
}

std::optional<EncodingError> CheckAtomic(const Insn& insn) {
  switch (insn.imm) {
    case kLoadAcq: {
      auto error = CheckRead(insn.src);
      return error ? error : CheckWrite(insn.dst);
    }
    case kStoreRel: {
      auto error = CheckRead(insn.src);
      return error ? error : CheckRead(insn.dst);
    }
    case kAdd: case kAdd | kFetch:
    case kAnd: case kAnd | kFetch:
    case kOr: case kOr | kFetch:
    case kXor: case kXor | kFetch:
    case kXchg:
    case kCmpxchg:
      break;
    default:
      return Error(Kind::kOpcode, absl::StrFormat("BPF_ATOMIC uses invalid atomic opcode %02x", insn.imm));
  }
  if (SizeField(insn) != kSizeW && SizeField(insn) != kSizeDw) {
    return Error(Kind::kOpcode, "invalid atomic operand size");
  }
  if (auto error = CheckRead(insn.src)) return error;
  if (auto error = CheckRead(insn.dst)) return error;
  // A compare-and-exchange returns the old value in R0, the others in the source register.
  if ((insn.imm & kFetch) != 0 && insn.imm != kCmpxchg) return CheckWrite(insn.src);
  return std::nullopt;
}

std::optional<EncodingError> CheckLd(const Insn& insn) {
  if (Mode(insn) == kModeImm) {
    if (insn.off != 0) return Reserved("BPF_LD_IMM64");
    return CheckWrite(insn.dst);
  }
  if (insn.dst != 0 || insn.off != 0 || (Mode(insn) == kModeAbs && insn.src != 0)) return Reserved("BPF_LD_[ABS|IND]");
  return Mode(insn) == kModeInd ? CheckRead(insn.src) : std::nullopt;
}

// A 64-bit immediate at insns[0], with `left` instructions from there to the program's end.
std::optional<EncodingError> CheckImm64(const Insn* insns, size_t left) {
  if (left < 2 || insns[1].code != 0 || insns[1].dst != 0 || insns[1].src != 0 || insns[1].off != 0) {
    return Error(Kind::kImm64, "invalid bpf_ld_imm64 insn");
  }
  const uint8_t kind = insns[0].src;
  const bool map_pointer = kind == kPseudoMapFd || kind == kPseudoMapIdx;
  if (kind > kPseudoMapIdxValue || (map_pointer && insns[1].imm != 0)) {
    return Error(Kind::kImm64, "unrecognized bpf_ld_imm64 insn");
  }
  return std::nullopt;
}

}  // namespace

bool IsKnownOpcode(uint8_t code) { return kKnownOpcodes[code]; }

std::optional<EncodingError> CheckEncoding(const Insn* insns, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const Insn& insn = insns[i];
    std::optional<EncodingError> error;
    if (Class(insn) == kClassLdx && ((Mode(insn) != kModeMem && Mode(insn) != kModeMemsx) || insn.imm != 0)) {
      error = Reserved("BPF_LDX");
    } else if (IsLdImm64(insn)) {
      error = CheckImm64(insns + i, n - i);
    } else if (!IsKnownOpcode(insn.code)) {
      error = Error(Kind::kOpcode, absl::StrFormat("unknown opcode %02x", insn.code));
    }
    if (error) {
      error->insn = static_cast<uint32_t>(i);
      return error;
    }
    if (IsLdImm64(insn)) ++i;
  }
  return std::nullopt;
}

std::optional<EncodingError> CheckInsn(const Insn& insn) {
  switch (Class(insn)) {
    case kClassAlu:
    case kClassAlu64:
      return CheckAlu(insn);
    case kClassJmp:
    case kClassJmp32:
      return CheckJump(insn);
    case kClassLdx: {
      auto error = CheckRead(insn.src);
      return error ? error : CheckWrite(insn.dst);
    }
    case kClassStx: {
      if (Mode(insn) == kModeAtomic) return CheckAtomic(insn);
      if (insn.imm != 0) return Reserved("BPF_STX");
      auto error = CheckRead(insn.src);
      return error ? error : CheckRead(insn.dst);
    }
    case kClassSt:
      if (insn.src != 0) return Reserved("BPF_ST");
      return CheckRead(insn.dst);
    default:
      return CheckLd(insn);
  }
}

}  // namespace bpfsieve
