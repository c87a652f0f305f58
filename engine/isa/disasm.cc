#include "engine/isa/disasm.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/isa/helper_names.h"

namespace bpfsieve {
namespace {

// What the kernel's printf makes of an operator that its tables lack.
constexpr const char* kNone = "(null)";

constexpr const char* kAluOps[16] = {"+=", "-=", "*=", "/=", "|=", "&=",    "<<=",    ">>=",
                                     "neg", "%=", "^=", "=",  "s>>=", "endian", kNone, kNone};
constexpr const char* kJmpOps[16] = {"jmp", "==", ">", ">=", "&",  "!=",  "s>",  "s>=",
                                     "call", "exit", "<", "<=", "s<", "s<=", kNone, kNone};
constexpr const char* kSizes[4] = {"u32", "u16", "u8", "u64"};
constexpr const char* kSignedSizes[4] = {"s32", "s16", "s8", kNone};

const char* SizeName(const Insn& i) { return kSizes[SizeField(i) >> 3]; }

const char* AluOperator(const Insn& i) {
  if (i.off == 1 && AluOp(i) == kDiv) return "s/=";
  if (i.off == 1 && AluOp(i) == kMod) return "s%=";
  return kAluOps[AluOp(i) >> 4];
}

const char* SignExtension(const Insn& i) {
  if (AluOp(i) != kMov) return "";
  switch (i.off) {
    case 8: return "(s8)";
    case 16: return "(s16)";
    case 32: return "(s32)";
    default: return "";
  }
}

std::string Alu(const Insn& i) {
  const bool wide = Class(i) == kClassAlu64;
  const char r = wide ? 'r' : 'w';
  if (AluOp(i) == kEnd) {
    const char* what = wide ? "bswap" : UsesX(i) ? "be" : "le";
    return absl::StrFormat("r%d = %s%d r%d", i.dst, what, i.imm, i.dst);
  }
  if (AluOp(i) == kNeg) return absl::StrFormat("%c%d = -%c%d", r, i.dst, r, i.dst);
  if (i.code == (kClassAlu64 | kMov | kSrcX)) {
    const uint32_t imm = static_cast<uint32_t>(i.imm);
    if (i.off == kAddrSpaceCast) {
      return absl::StrFormat("r%d = addr_space_cast(r%d, %u, %u)", i.dst, i.src, imm >> 16, imm & 0xffff);
    }
    if (i.off == -1) return absl::StrFormat("r%d = &(void __percpu *)(r%d)", i.dst, i.src);
  }
  if (UsesX(i)) return absl::StrFormat("%c%d %s %s%c%d", r, i.dst, AluOperator(i), SignExtension(i), r, i.src);
  return absl::StrFormat("%c%d %s %d", r, i.dst, AluOperator(i), i.imm);
}

std::string Bug(const Insn& i, const char* what) { return absl::StrFormat("BUG_%s%02x", what, i.code); }

std::string Stx(const Insn& i) {
  if (Mode(i) == kModeMem) return absl::StrFormat("*(%s *)(r%d %+d) = r%d", SizeName(i), i.dst, i.off, i.src);
  if (Mode(i) != kModeAtomic) return Bug(i, "");

  const char* width = SizeField(i) == kSizeDw ? "64" : "";
  const std::string place = absl::StrFormat("(%s *)(r%d %+d)", SizeName(i), i.dst, i.off);
  const char* fetch = nullptr;
  switch (i.imm) {
    case kAdd:
    case kAnd:
    case kOr:
    case kXor:
      return absl::StrFormat("lock *%s %s r%d", place, kAluOps[i.imm >> 4], i.src);
    case kAdd | kFetch: fetch = "add"; break;
    case kAnd | kFetch: fetch = "and"; break;
    case kOr | kFetch: fetch = "or"; break;
    case kXor | kFetch: fetch = "xor"; break;
    case kCmpxchg:
      return absl::StrFormat("r0 = atomic%s_cmpxchg(%s, r0, r%d)", width, place, i.src);
    case kXchg:
      return absl::StrFormat("r%d = atomic%s_xchg(%s, r%d)", i.src, width, place, i.src);
    case kLoadAcq:
      return absl::StrFormat("r%d = load_acquire((%s *)(r%d %+d))", i.dst, SizeName(i), i.src, i.off);
    case kStoreRel:
      return absl::StrFormat("store_release(%s, r%d)", place, i.src);
    default:
      return Bug(i, "");
  }
  return absl::StrFormat("r%d = atomic%s_fetch_%s(%s, r%d)", i.src, width, fetch, place, i.src);
}

std::string St(const Insn& i) {
  if (Mode(i) == kModeMem) return absl::StrFormat("*(%s *)(r%d %+d) = %d", SizeName(i), i.dst, i.off, i.imm);
  if (Mode(i) == kModeAtomic) return "nospec";
  return Bug(i, "st_");
}

std::string Ldx(const Insn& i) {
  if (Mode(i) != kModeMem && Mode(i) != kModeMemsx) return Bug(i, "ldx_");
  const char* size = Mode(i) == kModeMem ? SizeName(i) : kSignedSizes[SizeField(i) >> 3];
  return absl::StrFormat("r%d = *(%s *)(r%d %+d)", i.dst, size, i.src, i.off);
}

std::string Ld(const Insn* insn, const DisasmNames& names) {
  const Insn& i = *insn;
  if (Mode(i) == kModeAbs) return absl::StrFormat("r0 = *(%s *)skb[%d]", SizeName(i), i.imm);
  if (Mode(i) == kModeInd) return absl::StrFormat("r0 = *(%s *)skb[r%d + %d]", SizeName(i), i.src, i.imm);
  if (!IsLdImm64(i)) return Bug(i, "ld_");
  std::string value;
  if (i.src != 0 && names.imm64) value = names.imm64(insn);
  if (value.empty()) {
    value = absl::StrFormat("0x%x", uint64_t{static_cast<uint32_t>(insn[1].imm)} << 32 | static_cast<uint32_t>(i.imm));
  }
  return absl::StrFormat("r%d = %s", i.dst, value);
}

std::string Call(const Insn& i, const DisasmNames& names) {
  if (i.src == kPseudoCall) return absl::StrFormat("call pc%+d", i.imm);
  std::string name;
  if (i.src == kCallHelper) {
    name = HelperName(static_cast<uint32_t>(i.imm));
  } else if (i.src == kPseudoKfuncCall) {
    if (names.kfunc) name = names.kfunc(i);
    if (name.empty()) name = "kernel-function";
  }
  if (name.empty()) name = "unknown";
  return absl::StrFormat("call %s#%d", name, i.imm);
}

std::string Jump(const Insn& i, const DisasmNames& names) {
  const bool wide = Class(i) == kClassJmp;
  if (JmpOp(i) == kCall) return Call(i, names);
  if (i.code == (kClassJmp | kJa)) return absl::StrFormat("goto pc%+d", i.off);
  if (IsMayGoto(i)) return absl::StrFormat("may_goto pc%+d", i.off);
  if (i.code == (kClassJmp32 | kJa)) return absl::StrFormat("gotol pc%+d", i.imm);
  if (i.code == kCodeExit) return "exit";
  const char r = wide ? 'r' : 'w';
  const char* op = kJmpOps[JmpOp(i) >> 4];
  if (UsesX(i)) return absl::StrFormat("if %c%d %s %c%d goto pc%+d", r, i.dst, op, r, i.src, i.off);
  return absl::StrFormat("if %c%d %s 0x%x goto pc%+d", r, i.dst, op, static_cast<uint32_t>(i.imm), i.off);
}

}  // namespace

std::string Disassemble(const Insn* insn, const DisasmNames& names) {
  switch (Class(*insn)) {
    case kClassAlu:
    case kClassAlu64:
      return Alu(*insn);
    case kClassStx:
      return Stx(*insn);
    case kClassSt:
      return St(*insn);
    case kClassLdx:
      return Ldx(*insn);
    case kClassLd:
      return Ld(insn, names);
    default:
      return Jump(*insn, names);
  }
}

std::string DisassembleLogText(const Insn* insn, const DisasmNames& names) {
  std::string text = Disassemble(insn, names);
  if (text.compare(0, 4, "BUG_") == 0) return text;
  return absl::StrFormat("(%02x) %s", insn->code, text);
}

}  // namespace bpfsieve
