#include "fuzz/may_crash.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

using Registers = uint32_t;  // as bits
enum class What { kStackPointer, kSignMask, kMemory };
constexpr Registers kArguments = 0x3e, kSaved = 0x3c0, kFrame = 1u << kRegFp;

bool IsAlu(const Insn& i) { return Class(i) == kClassAlu || Class(i) == kClassAlu64; }
// As code does that is compiled; others are rare.
bool MakesSignMask(const Insn& i) { return IsAlu(i) && AluOp(i) == kArsh && (UsesX(i) || i.imm == 31 || i.imm == 63); }
bool Masks(const Insn& i) { return IsAlu(i) && !UsesX(i) && (AluOp(i) == kAnd || AluOp(i) == kOr); }

// Which instructions may run again and again: those that a jump goes back over, and, where there is any such jump or a
// function that is called back, all other functions.
std::vector<bool> Repeated(const Program& program) {
  const std::vector<Insn>& insns = program.insns;
  std::vector<bool> repeated(insns.size(), false);
  bool any = false;
  for (size_t at = 0; at < insns.size(); ++at) {
    const Insn& i = insns[at];
    any |= IsPseudoFunc(i);
    if (!IsJmpClass(i) || JmpOp(i) == kCall || JmpOp(i) == kExit) continue;
    const int64_t to = static_cast<int64_t>(at) + 1 + (i.code == (kClassJmp32 | kJa) ? i.imm : i.off);
    if (to > static_cast<int64_t>(at)) continue;
    any = true;
    std::fill(repeated.begin() + std::max<int64_t>(to, 0), repeated.begin() + static_cast<int64_t>(at), true);
  }
  if (!any) return repeated;
  size_t functions = insns.size();
  for (size_t at = 0; at < insns.size(); ++at) {
    if (!IsPseudoCall(insns[at]) && !IsPseudoFunc(insns[at])) continue;
    const int64_t to = static_cast<int64_t>(at) + 1 + insns[at].imm;
    if (to >= 0) functions = std::min(functions, static_cast<size_t>(to));
  }
  std::fill(repeated.begin() + static_cast<std::ptrdiff_t>(functions), repeated.end(), true);
  return repeated;
}

// What is left of a pointer after that may still be one.
bool KeepsPointers(const Insn& i) {
  return Class(i) == kClassAlu64 && (AluOp(i) == kMov || AluOp(i) == kAdd || AluOp(i) == kSub);
}

bool IsSum(const Insn& i) { return i.code == (kClassAlu64 | kAdd | kSrcX); }

// Which registers may hold such a thing, or what was computed with one, before each instruction, whatever way leads there.
// What is stored may come back with any load, and what one function returns with any call.
class Reach {
 public:
  Reach(const Program& program, What what)
      : insns_(program.insns), masks_(what == What::kSignMask), memory_(what == What::kMemory), frame_(masks_ ? 0 : kFrame),
        callback_(kArguments | frame_), before_(insns_.size(), 0), seen_(insns_.size(), false) {
    for (bool more = true; more;) {
      const bool stored = stored_, returned = returned_;
      Flow(0, frame_);
      Flow(program.exception_callback, callback_);
      while (!todo_.empty()) {
        const size_t at = todo_.back();
        todo_.pop_back();
        Step(at);
      }
      more = stored != stored_ || returned != returned_;
      if (more) std::fill(seen_.begin(), seen_.end(), false);  // once more, with that
    }
  }

  bool AddsStackPointer() const {
    for (size_t at = 0; at < insns_.size(); ++at) {
      if (IsSum(insns_[at]) && (before_[at] >> insns_[at].src & 1) != 0) return true;
    }
    return false;
  }
  bool Returns() const { return returned_; }
  bool MasksWithSign(const std::vector<bool>& where) const {
    for (size_t at = 0; at < insns_.size(); ++at) {
      if (where[at] && Masks(insns_[at]) && (before_[at] >> insns_[at].dst & 1) != 0) return true;
    }
    return false;
  }

 private:
  void Flow(int64_t to, Registers held) {
    if (to < 0 || to >= static_cast<int64_t>(insns_.size())) return;  // the kernel refuses it before it follows it
    const auto at = static_cast<size_t>(to);
    if (seen_[at] && (held & ~before_[at]) == 0) return;
    seen_[at] = true;
    before_[at] |= held;
    todo_.push_back(at);
  }

  void Step(size_t at) {
    const Insn& i = insns_[at];
    const auto here = static_cast<int64_t>(at);
    Registers held = before_[at];
    const bool from = (held >> i.src & 1) != 0;
    const auto set = [&](int reg, bool pointer) { held = (held & ~(1u << reg)) | (pointer ? 1u << reg : 0); };
    switch (Class(i)) {
      case kClassAlu:
      case kClassAlu64:
        if (masks_ && MakesSignMask(i)) {
          set(i.dst, true);
        } else if (memory_ && !KeepsPointers(i)) {
          set(i.dst, false);
        } else if (AluOp(i) == kMov) {
          set(i.dst, UsesX(i) && from);
        } else if (UsesX(i) && from) {
          set(i.dst, true);
        }
        break;
      case kClassLd:
        if (IsLdImm64(i)) {
          set(i.dst, memory_ && i.src != 0);
          if (IsPseudoFunc(i)) Flow(here + 1 + i.imm, callback_);
          return Flow(here + 2, held);
        }
        break;
      case kClassLdx: set(i.dst, stored_ && !(memory_ && AccessBytes(i) < 8)); break;
      case kClassStx:
        stored_ |= from;
        if (Mode(i) == kModeAtomic && stored_) held |= 1u << i.dst | 1u << i.src | 1u << kRegR0;  // one of which fetches
        break;
      case kClassSt: break;
      default:
        if (JmpOp(i) == kExit && Class(i) == kClassJmp) {
          returned_ |= (held & 1u << kRegR0) != 0;
          return;
        }
        if (i.code == kCodeCall) {
          if (IsPseudoCall(i)) Flow(here + 1 + i.imm, (held & kArguments) | frame_);
          held &= kSaved | frame_;
          if (IsPseudoCall(i) ? returned_ : memory_) held |= 1u << kRegR0;
          break;
        }
        Flow(here + 1 + (i.code == (kClassJmp32 | kJa) ? i.imm : i.off), held);
        if (JmpOp(i) == kJa) return;
        break;
    }
    Flow(here + 1, held);
  }

  const std::vector<Insn>& insns_;
  const bool masks_, memory_;
  // What R10 is to begin with, and what a function that the kernel calls back may find: its arguments are in other registers
  // than its caller had them in.
  const Registers frame_, callback_;
  std::vector<Registers> before_;
  std::vector<bool> seen_;
  std::vector<size_t> todo_;
  bool stored_ = false, returned_ = false;  // such a thing, anywhere
};

}  // namespace

bool MayCrashAtTheLimit(const Program& program) {
  return std::any_of(program.insns.begin(), program.insns.end(), Masks);
}

bool MayCrashTheKernel(const Program& program) {
  const std::vector<Insn>& insns = program.insns;
  if (std::any_of(insns.begin(), insns.end(), MakesSignMask) &&
      Reach(program, What::kSignMask).MasksWithSign(Repeated(program))) {
    return true;
  }
  if (program.type == ProgType::kStructOps && Reach(program, What::kMemory).Returns()) return true;
  const bool functions = program.subprogs.size() > 1 || program.exception_callback != Program::kNoCallback ||
                         std::any_of(insns.begin(), insns.end(), [](const Insn& i) { return IsPseudoCall(i) || IsPseudoFunc(i); });
  if (!functions || std::none_of(insns.begin(), insns.end(), IsSum)) return false;
  // Several callbacks for exceptions, of which one may be meant: not worth telling apart.
  return program.exception_callback == Program::kSeveralCallbacks || Reach(program, What::kStackPointer).AddsStackPointer();
}

}  // namespace bpfsieve
