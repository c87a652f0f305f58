// Instructions under construction: jumps to labels and calls of functions whose places are not known yet.
#ifndef BPFSIEVE_FUZZ_CODE_H_
#define BPFSIEVE_FUZZ_CODE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/isa/insn.h"

namespace bpfsieve {

// The size field of 1, 2, 4 or 8 bytes.
constexpr int SizeCode(int bytes) {
  return bytes == 1 ? kSizeB : bytes == 2 ? kSizeH : bytes == 4 ? kSizeW : kSizeDw;
}

class Code {
 public:
  int size() const { return static_cast<int>(insns_.size()); }
  void Emit(const Insn& insn) { insns_.push_back(insn); }

  void MovReg(int d, int s) { Emit(MakeInsn(kClassAlu64 | kMov | kSrcX, d, s, 0, 0)); }
  void MovImm(int d, int32_t imm) { Emit(MakeInsn(kClassAlu64 | kMov, d, 0, 0, imm)); }
  void AluImm(int op, int d, int32_t imm) { Emit(MakeInsn(kClassAlu64 | op, d, 0, 0, imm)); }
  void AluReg(int op, int d, int s) { Emit(MakeInsn(kClassAlu64 | op | kSrcX, d, s, 0, 0)); }
  void Load(int size, int d, int base, int off) {
    Emit(MakeInsn(kClassLdx | kModeMem | SizeCode(size), d, base, off, 0));
  }
  void Store(int size, int base, int off, int s) {
    Emit(MakeInsn(kClassStx | kModeMem | SizeCode(size), base, s, off, 0));
  }
  void StoreImm(int size, int base, int off, int32_t imm) {
    Emit(MakeInsn(kClassSt | kModeMem | SizeCode(size), base, 0, off, imm));
  }
  void Imm64(int d, int src, int32_t low, int32_t high) {
    Emit(MakeInsn(kCodeLdImm64, d, src, 0, low));
    Emit(MakeInsn(0, 0, 0, 0, high));
  }
  void Call(int32_t helper) { Emit(MakeInsn(kCodeCall, 0, 0, 0, helper)); }
  void Exit() { Emit(MakeInsn(kCodeExit, 0, 0, 0, 0)); }

  int NewLabel() {
    labels_.push_back(-1);
    return static_cast<int>(labels_.size()) - 1;
  }
  void Bind(int label) { labels_[label] = size(); }
  void Jump(const Insn& insn, int label) {
    jumps_.emplace_back(size(), label);
    Emit(insn);
  }
  void CallSub(int sub) {
    calls_.emplace_back(size(), sub);
    Emit(MakeInsn(kCodeCall, 0, kPseudoCall, 0, 0));
  }

  // The address of a function.
  void FunctionAddress(int d, int sub) {
    calls_.emplace_back(size(), sub);
    Imm64(d, kPseudoFunc, 0, 0);
  }
  void Kfunc(int32_t index) { Emit(MakeInsn(kCodeCall, 0, kPseudoKfuncCall, 0, index)); }

  // Every label that is jumped to must be bound, every function that is called must start in `starts`.
  std::vector<Insn> Finish(const std::vector<int>& starts) {
    for (auto [at, label] : jumps_) {
      const int32_t distance = labels_[label] - at - 1;
      Insn& i = insns_[at];
      if (i.code == (kClassJmp32 | kJa)) {
        i.imm = distance;
      } else {
        i.off = static_cast<int16_t>(distance);
      }
    }
    for (auto [at, sub] : calls_) insns_[at].imm = starts[sub] - at - 1;
    return std::move(insns_);
  }

 private:
  std::vector<Insn> insns_;
  std::vector<int> labels_;                 // where bound; -1: not yet
  std::vector<std::pair<int, int>> jumps_;  // instruction, label
  std::vector<std::pair<int, int>> calls_;  // instruction, function
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_CODE_H_
