#include "engine/isa/decode.h"

#include <array>

#include "absl/strings/str_format.h"

namespace bpfsieve {
namespace {

using Kind = EncodingError::Kind;

consteval std::array<bool, 256> MakeKnownOpcodes() {
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

// What is wrong with an instruction. Nearly every one is right: words are for those that are not.
struct Fault {
  enum class What : uint8_t {
    kNone, kRegister, kFrameWrite, kAddrSpace, kMov, kNeg, kEnd, kAlu, kDivZero, kShift, kCall, kJa, kExit, kMayGoto,
    kJump, kAtomicOp, kAtomicSize, kImm64, kPacketLoad, kStx, kSt,
  };
  What what = What::kNone;
  uint8_t reg = 0;
  constexpr explicit operator bool() const { return what != What::kNone; }
};
using What = Fault::What;

constexpr Fault CheckRead(uint8_t reg) { return reg >= kMaxReg ? Fault{What::kRegister, reg} : Fault{}; }
constexpr Fault CheckWrite(uint8_t reg) { return reg == kRegFp ? Fault{What::kFrameWrite, reg} : CheckRead(reg); }
constexpr Fault Either(Fault first, Fault second) { return first ? first : second; }

constexpr Fault CheckMov(const Insn& insn) {
  if (!UsesX(insn)) return insn.src != 0 || insn.off != 0 ? Fault{What::kMov} : CheckWrite(insn.dst);
  if (Class(insn) == kClassAlu64 && insn.off == kAddrSpaceCast) {
    if (insn.imm != 1 && insn.imm != 1 << 16) return {What::kAddrSpace};
  } else {
    const bool sign_extension = insn.off == 8 || insn.off == 16 || (insn.off == 32 && Class(insn) == kClassAlu64);
    if ((insn.off != 0 && !sign_extension) || insn.imm != 0) return {What::kMov};
  }
  return Either(CheckRead(insn.src), CheckWrite(insn.dst));
}

constexpr Fault CheckAlu(const Insn& insn) {
  const uint8_t op = AluOp(insn);
  if (op == kNeg) {
    if (insn.src != 0 || insn.off != 0 || insn.imm != 0) return {What::kNeg};
    return CheckWrite(insn.dst);
  }
  if (op == kEnd) {
    if (insn.src != 0 || insn.off != 0 || (insn.imm != 16 && insn.imm != 32 && insn.imm != 64)) return {What::kEnd};
    return CheckWrite(insn.dst);
  }
  if (op == kMov) return CheckMov(insn);

  const bool division = op == kDiv || op == kMod;
  if ((insn.off != 0 && !(insn.off == 1 && division)) || (UsesX(insn) ? insn.imm != 0 : insn.src != 0)) return {What::kAlu};
  if (UsesX(insn)) {
    if (const Fault f = CheckRead(insn.src)) return f;
  }
  if (const Fault f = CheckRead(insn.dst)) return f;
  if (!UsesX(insn)) {
    if (division && insn.imm == 0) return {What::kDivZero};
    const int width = Class(insn) == kClassAlu64 ? 64 : 32;
    if ((op == kLsh || op == kRsh || op == kArsh) && (insn.imm < 0 || insn.imm >= width)) return {What::kShift};
  }
  return CheckWrite(insn.dst);
}

constexpr Fault CheckJump(const Insn& insn) {
  switch (JmpOp(insn)) {
    case kCall:
      if (insn.src > kPseudoKfuncCall || insn.dst != 0 || (insn.src != kPseudoKfuncCall && insn.off != 0)) {
        return {What::kCall};
      }
      return {};
    case kJa:
      if (insn.src != 0 || insn.dst != 0 || (Class(insn) == kClassJmp ? insn.imm != 0 : insn.off != 0)) return {What::kJa};
      return {};
    case kExit:
      if (insn.src != 0 || insn.dst != 0 || insn.imm != 0) return {What::kExit};
      return {};
    case kJcond:
      if (insn.src != kMayGoto || insn.dst != 0 || insn.imm != 0) return {What::kMayGoto};
      return {};
    default:
      if (const Fault f = CheckRead(insn.dst)) return f;
      if (UsesX(insn) ? insn.imm != 0 : insn.src != 0) return {What::kJump};
      return UsesX(insn) ? CheckRead(insn.src) : Fault{};
  }
}

constexpr Fault CheckAtomic(const Insn& insn) {
  switch (insn.imm) {
    case kLoadAcq: return Either(CheckRead(insn.src), CheckWrite(insn.dst));
    case kStoreRel: return Either(CheckRead(insn.src), CheckRead(insn.dst));
    case kAdd: case kAdd | kFetch:
    case kAnd: case kAnd | kFetch:
    case kOr: case kOr | kFetch:
    case kXor: case kXor | kFetch:
    case kXchg:
    case kCmpxchg:
      break;
    default: return {What::kAtomicOp};
  }
  if (SizeField(insn) != kSizeW && SizeField(insn) != kSizeDw) return {What::kAtomicSize};
  if (const Fault f = Either(CheckRead(insn.src), CheckRead(insn.dst))) return f;
  // A compare-and-exchange returns the old value in R0, the others in the source register.
  return (insn.imm & kFetch) != 0 && insn.imm != kCmpxchg ? CheckWrite(insn.src) : Fault{};
}

constexpr Fault CheckLd(const Insn& insn) {
  if (Mode(insn) == kModeImm) return insn.off != 0 ? Fault{What::kImm64} : CheckWrite(insn.dst);
  if (insn.dst != 0 || insn.off != 0 || (Mode(insn) == kModeAbs && insn.src != 0)) return {What::kPacketLoad};
  return Mode(insn) == kModeInd ? CheckRead(insn.src) : Fault{};
}

constexpr Fault FaultOf(const Insn& insn) {
  switch (Class(insn)) {
    case kClassAlu:
    case kClassAlu64: return CheckAlu(insn);
    case kClassJmp:
    case kClassJmp32: return CheckJump(insn);
    case kClassLdx: return Either(CheckRead(insn.src), CheckWrite(insn.dst));
    case kClassStx:
      if (Mode(insn) == kModeAtomic) return CheckAtomic(insn);
      if (insn.imm != 0) return {What::kStx};
      return Either(CheckRead(insn.src), CheckRead(insn.dst));
    case kClassSt: return insn.src != 0 ? Fault{What::kSt} : CheckRead(insn.dst);
    default: return CheckLd(insn);
  }
}

// Bounds of the fields within which an instruction is right for its opcode alone; without, FaultOf() has to look. Nearly every
// instruction is right, and which of the many questions there it is asked, a processor cannot guess.
struct Shape {
  uint8_t dst_end = 0, src_end = 0;          // above the last register that may be named
  uint16_t no_off = 0xffff;                  // bits of the offset that have to be 0
  uint32_t no_imm = 0xffffffff;              // likewise, of the immediate
};
consteval std::array<Shape, 256> MakeShapes() {
  constexpr uint8_t kReadable = kMaxReg, kWritable = kRegFp, kNone = 1, kAny = 16;
  std::array<Shape, 256> shapes{};
  for (int code = 0; code < 256; ++code) {
    const Insn i = MakeInsn(code);
    const uint8_t src = UsesX(i) ? kReadable : kNone;
    const uint32_t no_imm = UsesX(i) ? 0xffffffff : 0;
    Shape& s = shapes[code];
    switch (Class(i)) {
      case kClassAlu:
      case kClassAlu64:
        if (AluOp(i) == kNeg) {
          s = {kWritable, kNone, 0xffff, 0xffffffff};
        } else if (AluOp(i) != kEnd && (UsesX(i) || (AluOp(i) != kDiv && AluOp(i) != kMod && AluOp(i) != kLsh &&
                                                     AluOp(i) != kRsh && AluOp(i) != kArsh))) {
          s = {kWritable, src, 0xffff, no_imm};
        }
        break;
      case kClassJmp:
      case kClassJmp32:
        switch (JmpOp(i)) {
          case kCall: s = {kNone, kPseudoKfuncCall + 1, 0xffff, 0}; break;
          case kJa:
            if (Class(i) == kClassJmp) s = {kNone, kNone, 0, 0xffffffff};
            break;
          case kExit: s = {kNone, kNone, 0, 0xffffffff}; break;
          case kJcond: break;
          default: s = {kReadable, src, 0, no_imm};
        }
        break;
      case kClassLdx: s = {kWritable, kReadable, 0, 0}; break;
      case kClassStx:
        if (Mode(i) != kModeAtomic) s = {kReadable, kReadable, 0, 0xffffffff};
        break;
      case kClassSt: s = {kReadable, kNone, 0, 0}; break;
      default:
        if (Mode(i) == kModeImm) s = {kWritable, kAny, 0xffff, 0};
    }
  }
  return shapes;
}
constexpr std::array<Shape, 256> kShapes = MakeShapes();

bool WithinShape(const Insn& i) {
  const Shape& s = kShapes[i.code];
  return (i.dst < s.dst_end) & (i.src < s.src_end) & (((i.off & s.no_off) | (i.imm & s.no_imm)) == 0);
}

EncodingError Describe(const Insn& insn, Fault fault) {
  const auto reserved = [](const char* what) {
    return Error(Kind::kReserved, absl::StrFormat("%s uses reserved fields", what));
  };
  switch (fault.what) {
    case What::kNone: break;
    case What::kRegister: return Error(Kind::kRegister, absl::StrFormat("R%d is invalid", fault.reg), fault.reg);
    case What::kFrameWrite: return Error(Kind::kFrameWrite, "frame pointer is read only", fault.reg);
    case What::kAddrSpace:
      return Error(Kind::kReserved, "addr_space_cast insn can only convert between address space 1 and 0");
    case What::kMov: return reserved("BPF_MOV");
    case What::kNeg: return reserved("BPF_NEG");
    case What::kEnd: return reserved("BPF_END");
    case What::kAlu: return reserved("BPF_ALU");
    case What::kDivZero: return Error(Kind::kDivZero, "div by zero");
    case What::kShift: return Error(Kind::kShift, absl::StrFormat("invalid shift %d", insn.imm));
    case What::kCall: return reserved("BPF_CALL");
    case What::kJa: return reserved("BPF_JA");
    case What::kExit: return reserved("BPF_EXIT");
    case What::kMayGoto: return Error(Kind::kReserved, absl::StrFormat("invalid may_goto imm %d", insn.imm));
    case What::kJump: return reserved("BPF_JMP/JMP32");
    case What::kAtomicOp:
      return Error(Kind::kOpcode, absl::StrFormat("BPF_ATOMIC uses invalid atomic opcode %02x", insn.imm));
    case What::kAtomicSize: return Error(Kind::kOpcode, "invalid atomic operand size");
    case What::kImm64: return reserved("BPF_LD_IMM64");
    case What::kPacketLoad: return reserved("BPF_LD_[ABS|IND]");
    case What::kStx: return reserved("BPF_STX");
    case What::kSt: return reserved("BPF_ST");
  }
  return {};
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

// The instruction at insns[0], in the order in which the kernel asks.
std::optional<EncodingError> CheckOpcode(const Insn* insns, size_t left) {
  const Insn& insn = *insns;
  if (Class(insn) == kClassLdx && ((Mode(insn) != kModeMem && Mode(insn) != kModeMemsx) || insn.imm != 0)) {
    return Error(Kind::kReserved, "BPF_LDX uses reserved fields");
  }
  if (IsLdImm64(insn)) return CheckImm64(insns, left);
  if (IsKnownOpcode(insn.code)) return std::nullopt;
  return Error(Kind::kOpcode, absl::StrFormat("unknown opcode %02x", insn.code));
}

}  // namespace

bool IsKnownOpcode(uint8_t code) { return kKnownOpcodes[code]; }

std::optional<EncodingError> CheckEncoding(const Insn* insns, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const Insn& insn = insns[i];
    if (kKnownOpcodes[insn.code] && !IsLdImm64(insn) && (Class(insn) != kClassLdx || insn.imm == 0)) continue;
    std::optional<EncodingError> error = CheckOpcode(insns + i, n - i);
    if (error) {
      error->insn = static_cast<uint32_t>(i);
      return error;
    }
    if (IsLdImm64(insns[i])) ++i;
  }
  return std::nullopt;
}

std::optional<EncodingError> CheckInsn(const Insn& insn) {
  const Fault fault = FaultOf(insn);
  return fault ? std::optional(Describe(insn, fault)) : std::nullopt;
}

bool InsnIsRight(const Insn& insn) { return WithinShape(insn) || !FaultOf(insn); }

}  // namespace bpfsieve
