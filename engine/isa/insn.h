// The BPF instruction: wire layout and opcode fields (RFC 9669 section 3, Linux 6.18 uapi/linux/bpf.h).
//
// An instruction is 8 bytes; the 64-bit immediate form (code 0x18) takes two. The engine keeps the wire form all the
// way through: programs are short, the fields are cheap to test, and indices equal the kernel's own.
#ifndef BPFSIEVE_ENGINE_ISA_INSN_H_
#define BPFSIEVE_ENGINE_ISA_INSN_H_

#include <cstdint>

namespace bpfsieve {

struct Insn {
  uint8_t code = 0;
  uint8_t dst : 4 = 0;  // little-endian wire order: the low nibble is the destination
  uint8_t src : 4 = 0;
  int16_t off = 0;
  int32_t imm = 0;

  friend bool operator==(const Insn&, const Insn&) = default;
};
static_assert(sizeof(Insn) == 8);

// Registers. kFp is read-only; kMaxReg counts R0..R10.
inline constexpr int kRegR0 = 0;
inline constexpr int kRegFp = 10;
inline constexpr int kMaxReg = 11;

// Instruction classes (code & 7).
inline constexpr uint8_t kClassLd = 0, kClassLdx = 1, kClassSt = 2, kClassStx = 3;
inline constexpr uint8_t kClassAlu = 4, kClassJmp = 5, kClassJmp32 = 6, kClassAlu64 = 7;

// Source operand (code & 8).
inline constexpr uint8_t kSrcK = 0x00, kSrcX = 0x08;

// ALU operations (code & 0xf0).
inline constexpr uint8_t kAdd = 0x00, kSub = 0x10, kMul = 0x20, kDiv = 0x30, kOr = 0x40, kAnd = 0x50, kLsh = 0x60,
                         kRsh = 0x70, kNeg = 0x80, kMod = 0x90, kXor = 0xa0, kMov = 0xb0, kArsh = 0xc0, kEnd = 0xd0;

// Jump operations (code & 0xf0).
inline constexpr uint8_t kJa = 0x00, kJeq = 0x10, kJgt = 0x20, kJge = 0x30, kJset = 0x40, kJne = 0x50, kJsgt = 0x60,
                         kJsge = 0x70, kCall = 0x80, kExit = 0x90, kJlt = 0xa0, kJle = 0xb0, kJslt = 0xc0,
                         kJsle = 0xd0, kJcond = 0xe0;

// Load/store size (code & 0x18) and mode (code & 0xe0).
inline constexpr uint8_t kSizeW = 0x00, kSizeH = 0x08, kSizeB = 0x10, kSizeDw = 0x18;
inline constexpr uint8_t kModeImm = 0x00, kModeAbs = 0x20, kModeInd = 0x40, kModeMem = 0x60, kModeMemsx = 0x80,
                         kModeAtomic = 0xc0;

// Atomic operations (imm of kModeAtomic); the arithmetic ones may carry kFetch.
inline constexpr int32_t kFetch = 0x01, kXchg = 0xe0 | kFetch, kCmpxchg = 0xf0 | kFetch, kLoadAcq = 0x100,
                         kStoreRel = 0x110;

// src field of a 64-bit immediate.
inline constexpr uint8_t kPseudoMapFd = 1, kPseudoMapValue = 2, kPseudoBtfId = 3, kPseudoFunc = 4, kPseudoMapIdx = 5,
                         kPseudoMapIdxValue = 6;
// src field of a call.
inline constexpr uint8_t kCallHelper = 0, kPseudoCall = 1, kPseudoKfuncCall = 2;
// src field of kJcond.
inline constexpr uint8_t kMayGoto = 0;
// off of an address-space cast (ALU64 MOV X).
inline constexpr int16_t kAddrSpaceCast = 1;

inline constexpr uint8_t kCodeLdImm64 = kClassLd | kModeImm | kSizeDw;  // 0x18
inline constexpr uint8_t kCodeExit = kClassJmp | kExit;                 // 0x95
inline constexpr uint8_t kCodeCall = kClassJmp | kCall;                 // 0x85

// An instruction of these fields, each cut to its width.
constexpr Insn MakeInsn(int code, int dst = 0, int src = 0, int off = 0, int64_t imm = 0) {
  Insn i;
  i.code = static_cast<uint8_t>(code);
  i.dst = static_cast<uint8_t>(dst & 15);
  i.src = static_cast<uint8_t>(src & 15);
  i.off = static_cast<int16_t>(off);
  i.imm = static_cast<int32_t>(static_cast<uint32_t>(imm));
  return i;
}

constexpr uint8_t Class(const Insn& i) { return i.code & 0x07; }
constexpr uint8_t AluOp(const Insn& i) { return i.code & 0xf0; }
constexpr uint8_t JmpOp(const Insn& i) { return i.code & 0xf0; }
constexpr bool UsesX(const Insn& i) { return (i.code & 0x08) != 0; }
constexpr uint8_t SizeField(const Insn& i) { return i.code & 0x18; }
constexpr uint8_t Mode(const Insn& i) { return i.code & 0xe0; }
// Access size in bytes of a load or store: 1, 2, 4 or 8.
constexpr int AccessBytes(const Insn& i) {
  switch (SizeField(i)) {
    case kSizeB: return 1;
    case kSizeH: return 2;
    case kSizeW: return 4;
    default: return 8;
  }
}
constexpr bool IsLdImm64(const Insn& i) { return i.code == kCodeLdImm64; }
constexpr bool IsJmpClass(const Insn& i) { return Class(i) == kClassJmp || Class(i) == kClassJmp32; }
constexpr bool IsPseudoCall(const Insn& i) { return i.code == kCodeCall && i.src == kPseudoCall; }
constexpr bool IsHelperCall(const Insn& i) { return i.code == kCodeCall && i.src == kCallHelper; }
constexpr bool IsKfuncCall(const Insn& i) { return i.code == kCodeCall && i.src == kPseudoKfuncCall; }
constexpr bool IsPseudoFunc(const Insn& i) { return IsLdImm64(i) && i.src == kPseudoFunc; }
constexpr bool IsMayGoto(const Insn& i) { return i.code == (kClassJmp | kJcond) && i.src == kMayGoto; }

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_ISA_INSN_H_
