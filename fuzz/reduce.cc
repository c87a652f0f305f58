#include "fuzz/reduce.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

bool IsBranch(const Insn& i) { return IsJmpClass(i) && JmpOp(i) != kCall && JmpOp(i) != kExit; }
bool LongJump(const Insn& i) { return i.code == (kClassJmp32 | kJa); }
// Whether the instruction names another one, and how far away it is.
bool HasTarget(const Insn& i) { return IsBranch(i) || IsPseudoCall(i) || IsPseudoFunc(i); }
int64_t Distance(const Insn& i) { return IsPseudoCall(i) || IsPseudoFunc(i) || LongJump(i) ? i.imm : i.off; }
void SetDistance(Insn& i, int64_t d) {
  if (IsPseudoCall(i) || IsPseudoFunc(i) || LongJump(i)) {
    i.imm = static_cast<int32_t>(d);
  } else {
    i.off = static_cast<int16_t>(d);
  }
}

BtfPtr CloneBtf(const BtfPtr& from) {
  uint32_t size = 0;
  const void* bytes = from != nullptr ? btf__raw_data(from.get(), &size) : nullptr;
  return BtfPtr(bytes != nullptr ? btf__new(bytes, size) : nullptr);
}

// A copy that shares nothing that changes. BTF is for the functions' prototypes and stays as it is.
std::shared_ptr<Object> Copy(const Object& from, Program program) {
  auto object = std::make_shared<Object>();
  object->path = from.path;
  object->license = from.license;
  object->kern_version = from.kern_version;
  object->maps = from.maps;
  object->programs.push_back(std::move(program));
  object->btf = CloneBtf(from.btf);
  object->kernel_btf = from.kernel_btf;
  object->kernel_types = from.kernel_types;
  object->text_structs = from.text_structs;
  object->structs = from.structs;
  object->btf_refused = from.btf_refused;
  return object;
}

// Without the instructions in [from, to). Both halves of a 64-bit immediate go together.
Program Without(const Program& p, size_t from, size_t to) {
  const size_t n = p.insns.size();
  std::vector<bool> gone(n, false);
  for (size_t i = from; i < to; ++i) gone[i] = true;
  for (size_t i = 0; i + 1 < n; ++i) {
    if (!IsLdImm64(p.insns[i])) continue;
    if (gone[i] != gone[i + 1]) gone[i] = gone[i + 1] = true;
    ++i;
  }
  std::vector<int64_t> place(n + 1, 0);  // where each instruction, or the next that is there, comes to lie
  for (size_t i = 0; i < n; ++i) place[i + 1] = place[i] + (gone[i] ? 0 : 1);
  Program out = p;
  out.insns.clear();
  for (size_t i = 0; i < n; ++i) {
    if (gone[i]) continue;
    Insn insn = p.insns[i];
    if (HasTarget(insn)) {
      const int64_t target = static_cast<int64_t>(i) + 1 + Distance(insn);
      if (target >= 0 && target <= static_cast<int64_t>(n)) {
        SetDistance(insn, place[static_cast<size_t>(target)] - place[i] - 1);
      }
    }
    out.insns.push_back(insn);
    if (IsLdImm64(insn) && i + 1 < n) out.insns.push_back(p.insns[++i]);
  }
  out.subprogs.clear();
  for (size_t s = 0; s < p.subprogs.size(); ++s) {
    const uint32_t end = s + 1 < p.subprogs.size() ? p.subprogs[s + 1].start : static_cast<uint32_t>(n);
    if (place[p.subprogs[s].start] == place[end] && s != 0) continue;  // nothing left of it
    out.subprogs.push_back(p.subprogs[s]);
    out.subprogs.back().start = static_cast<uint32_t>(place[p.subprogs[s].start]);
  }
  out.lines.clear();
  return out;
}

class Shrinker {
 public:
  Shrinker(const Object& object, const std::function<bool(const std::shared_ptr<const Object>&)>& holds, uint64_t tries)
      : best_(Copy(object, object.programs[0])), holds_(holds), tries_(tries) {}

  std::shared_ptr<const Object> Run() {
    for (bool again = true; again && tries_ > 0;) {
      again = false;
      for (size_t run = std::max<size_t>(program().insns.size() / 2, 1); run > 0; run /= 2) {
        for (size_t at = program().insns.size(); at > 0 && tries_ > 0;) {
          at = at > run ? at - run : 0;
          if (at < program().insns.size()) {
            again |= Try(Without(program(), at, std::min(at + run, program().insns.size())));
          }
        }
      }
      again |= Simplify();
    }
    return best_;
  }

 private:
  const Program& program() const { return best_->programs[0]; }

  bool Try(Program candidate) {
    if (tries_ == 0 || candidate.insns.empty()) return false;
    --tries_;
    std::shared_ptr<const Object> object = Copy(*best_, std::move(candidate));
    if (!holds_(object)) return false;
    best_ = std::move(object);
    return true;
  }

  bool Simplify() {
    bool any = false;
    for (size_t i = 0; i < program().insns.size(); ++i) {
      const Insn& insn = program().insns[i];
      if (IsLdImm64(insn)) {
        ++i;
        continue;
      }
      if (IsBranch(insn) && JmpOp(insn) != kJa) {
        Program p = program();
        p.insns[i] = MakeInsn(kClassJmp | kJa, 0, 0, insn.off);
        any |= Try(std::move(p));
        continue;
      }
      const bool number = (Class(insn) == kClassAlu || Class(insn) == kClassAlu64) && !UsesX(insn) && AluOp(insn) != kEnd &&
                          AluOp(insn) != kNeg;
      if (!number) continue;
      for (const int32_t imm : {0, 1, insn.imm / 16, insn.imm / 2}) {
        if (program().insns[i].imm == imm || std::abs(int64_t{imm}) >= std::abs(int64_t{program().insns[i].imm})) continue;
        Program p = program();
        p.insns[i].imm = imm;
        if (Try(std::move(p))) {
          any = true;
          break;
        }
      }
    }
    return any;
  }

  std::shared_ptr<const Object> best_;
  const std::function<bool(const std::shared_ptr<const Object>&)>& holds_;
  uint64_t tries_;
};

}  // namespace

std::shared_ptr<const Object> Shrink(const Object& object,
                                     const std::function<bool(const std::shared_ptr<const Object>&)>& holds,
                                     uint64_t tries) {
  return Shrinker(object, holds, tries).Run();
}

}  // namespace bpfsieve
