#include "engine/transfer/transfer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/liveness.h"

namespace bpfsieve {

LiveMasks LiveAt(const Context& context, const State& state, uint32_t insn, int innermost) {
  LiveMasks live;
  // Where frame `f` goes on. A function that a helper calls back returns to the call, which may call it once more.
  const auto next = [&](int f) {
    if (f == innermost) return insn;
    const Frame& callee = *state.frames[f + 1];
    return static_cast<uint32_t>(callee.callsite) + (callee.in_callback ? 0 : 1);
  };
  for (int f = 0; f <= innermost; ++f) {
    const uint32_t at = f == innermost ? insn : static_cast<uint32_t>(state.frames[f + 1]->callsite);
    live.regs[f] = context.cfg->at[at].live_regs;
    uint64_t slots = context.liveness->LiveOwn(state.frames[f]->instance, next(f));
    for (int g = f + 1; g <= innermost; ++g) {
      slots |= context.liveness->LiveOuter(state.frames[g]->instance, next(g), g - f);
    }
    live.slots[f] = slots;
  }
  return live;
}

bool Transfer::Fail(Rule rule, int r, std::string message) {
  out_->kind = StepResult::Kind::kFinding;
  out_->rule = rule;
  out_->fault_reg = r;
  out_->message = std::move(message);
  return false;
}

bool Transfer::Unsupported(std::string feature) {
  out_->kind = StepResult::Kind::kUnsupported;
  out_->rule = Rule::kUnsupportedFeature;
  out_->message = std::move(feature);
  return false;
}

bool Transfer::Leak(int r, const char* into) {
  return Fail(Rule::kPointerLeak, r, absl::StrCat("R", r, " leaks addr ", into));
}

bool Transfer::Unset(int r) { return Fail(Rule::kUninitReg, r, absl::StrCat("R", r, " !read_ok")); }

// The kernel complains about some faults of an instruction only once it has seen that the operands may be read.
bool Transfer::OperandsBefore(Rule fault) {
  const Insn& i = insn();
  if (i.src >= kMaxReg || i.dst >= kMaxReg) return true;
  const bool alu = Class(i) == kClassAlu || Class(i) == kClassAlu64;
  switch (fault) {
    case Rule::kDivZero:
    case Rule::kBadShift:
      return ReadReg(i.dst);
    case Rule::kBadRegister:
      if (alu) return AluOp(i) == kEnd || !UsesX(i) || ReadReg(i.src);  // of a byte swap, X is the byte order
      if (Class(i) == kClassLdx) return ReadReg(i.src);
      if (Class(i) != kClassStx || Mode(i) != kModeAtomic) return true;
      return ReadReg(i.src) && (i.imm == kLoadAcq || ReadReg(i.dst));
    case Rule::kReservedField:
      // The source of a conditional jump is looked at after its destination.
      if (!IsJmpClass(i) || JmpOp(i) == kJa || JmpOp(i) == kCall || JmpOp(i) == kExit || JmpOp(i) == kJcond) return true;
      return ReadReg(i.dst);
    default:
      return true;
  }
}

State* Transfer::Fork(uint32_t at) {
  out_->branch = pool_.Clone(*st_);
  out_->branch_insn = at;
  return out_->branch;
}

void Transfer::Step(State& state, uint32_t insn_index, StepResult& r) {
  st_ = &state;
  out_ = &r;
  pc_ = insn_index;
  r.next = insn_index + 1;
  if (!ctx_.faults.empty() && ctx_.faults[pc_].bad) {
    const LazyFault& fault = ctx_.faults[pc_];
    if (OperandsBefore(fault.rule)) Fail(fault.rule, -1, fault.message);
    return;
  }
  const Insn& i = insn();
  switch (Class(i)) {
    case kClassAlu:
    case kClassAlu64:
      Alu();
      break;
    case kClassLdx:
      LoadMem();
      break;
    case kClassStx:
      if (Mode(i) == kModeAtomic) {
        Atomic();
      } else {
        StoreMem();
      }
      break;
    case kClassSt:
      StoreMem();
      break;
    case kClassJmp:
    case kClassJmp32:
      Jump();
      break;
    case kClassLd:
      if (IsLdImm64(i)) {
        r.next = insn_index + 2;
        LoadImm64();
      } else {
        LoadAbs();
      }
      break;
  }
}

}  // namespace bpfsieve
