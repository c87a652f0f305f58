// Fragments with global functions that are given more than numbers and memory: dynptrs, objects of the kernel's, addresses in an
// arena, and the context, when they move the packet; and with arenas.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/spec/spec.h"
#include "fuzz/generator.h"

namespace bpfsieve {

// Calls a global function, made for this, with R(home), or, where that is -1, with what is in R1.
void Generator::CallGlobal(Param param, int home) {
  Sub sub;
  sub.global = sub.called = sub.typed = true;
  sub.forks = 1;
  sub.params = {std::move(param)};
  const int index = static_cast<int>(subs_.size());
  subs_.push_back(std::move(sub));
  if (home >= 0 && home != 1) code_.MovReg(1, home);
  --forks_;
  code_.CallSub(index);
  ClobberedByCall(Value::Scalar());
}

bool Generator::MayCallGlobal() const { return o_.subprograms && !locked_ && forks_ > 1 && sub_ < 0; }

void Generator::PassDynptr(const Dynptr& d) {
  Param param;
  param.kind = Kind::kDynptr;
  param.text = "dynptr";
  DynptrAddress(1, d);
  CallGlobal(std::move(param), -1);
}

void Generator::PassObject(int home, const char* type) {
  Param param;
  param.kind = Kind::kNone;
  param.object = type;
  param.nullable = c_.Chance(0.4);
  param.text = absl::StrCat(param.nullable ? "nullable:" : "trusted:", type);
  if (param.nullable ? c_.Chance(0.2) : Defect(0.2)) {
    code_.MovImm(1, 0);
    home = -1;
  }
  CallGlobal(std::move(param), home);
}

// The packet is looked at, and a function that moves it is called in between.
void Generator::MovedFar() {
  const int ctx = CtxReg();
  const Pin keep_ctx(*this, ctx);
  const int data = Saved();
  if (ctx < 0 || data < 0 || PacketsPinned()) return Alu();
  const Pin keep(*this, data);
  const int end = Dst();
  const Pin keep_end(*this, end);
  code_.Load(ctx_facts_->packet_size, data, ctx, ctx_facts_->packet);
  code_.Load(ctx_facts_->packet_size, end, ctx, ctx_facts_->packet_end);
  const int t = Dst();
  code_.MovReg(t, data);
  code_.AluImm(kAdd, t, 8);
  Set(data, Value{});
  Set(end, Value{});
  Set(t, Value{});
  Label past = NewLabel();
  BranchReg(kJgt, t, end, past);
  code_.Load(1, t, data, c_.Between(0, 7));
  Param param;
  param.kind = Kind::kCtx;
  param.moves = true;
  param.text = ContextName().empty() || c_.Chance(0.4) ? "ctx" : absl::StrCat("tagged:", std::string(ContextName()));
  CallGlobal(std::move(param), ctx);
  ForgetPackets();
  if (Defect(0.8)) {
    code_.Load(1, 0, data, 0);
    Set(0, Value::Scalar(0, 255));
  }
  Bind(past);
  Set(t, Value{});
  Set(0, Value{});
}

// What a program does with R(home), an address in an arena; R(other) is free.
void Generator::UseArena(int home, int other) {
  for (int n = c_.Between(1, 3); n > 0; --n) {
    const int off = p_->strict_alignment ? 8 * c_.Between(-1, 8) : c_.Between(-8, 64);
    const int size = 1 << c_.Below(4);
    switch (c_.Below(5)) {
      case 0: code_.StoreImm(size, home, off, 7); break;
      case 1: {
        // Another address, which is one after a cast.
        code_.Load(8, other, home, 0);
        if (!Defect(0.3)) code_.Emit(MakeInsn(kClassAlu64 | kMov | kSrcX, other, other, kAddrSpaceCast, 1));
        code_.Load(size, other, other, off);
        Set(other, Value::Scalar());
        break;
      }
      case 2: {
        const Pin keep(*this, home);
        const int s = AnyScalar();
        code_.MovReg(other, home);
        code_.AluReg(c_.Chance(0.7) ? kAdd : kSub, other, s);
        code_.StoreImm(size, other, 0, 1);
        Set(other, Value{});
        break;
      }
      case 3:
        code_.MovImm(other, 1);
        code_.Emit(MakeInsn(kClassStx | kModeAtomic | kSizeDw, home, other, static_cast<int16_t>(off & ~7), kAdd | kFetch));
        Set(other, Value::Scalar());
        break;
      default:
        code_.Load(size, other, home, off);
        Set(other, Value::Scalar());
        break;
    }
  }
}

void Generator::Arena() {
  const int home = Saved();
  if (home < 0) return Alu();
  const Pin keep(*this, home);
  const int other = Saved();
  if (other < 0) return Alu();
  const Pin keep_other(*this, other);
  const int map = ExtraMap(MapType::kArena);
  if (p_->sleepable && held_ == 0 && !reading_ && sub_ < 0 && (pinned_ & 0x3f) == 0 && CanTyped("bpf_arena_alloc_pages") && c_.Chance(0.5)) {
    code_.Imm64(1, kPseudoMapFd, map, 0);
    code_.MovImm(2, 0);
    code_.MovImm(3, 1);
    code_.MovImm(4, -1);
    code_.MovImm(5, 0);
    Kfunc("bpf_arena_alloc_pages");
    ClobberedByCall(Value::Scalar());
    code_.MovReg(home, 0);
  } else {
    code_.Imm64(home, kPseudoMapValue, map, 8 * c_.Between(0, 8));
  }
  if (!Defect(0.3)) code_.Emit(MakeInsn(kClassAlu64 | kMov | kSrcX, home, home, kAddrSpaceCast, 1));
  Set(home, Value{});
  UseArena(home, other);
  if (MayCallGlobal() && (pinned_ & 0x3f) == 0 && c_.Chance(0.4)) {
    Param param;
    param.kind = Kind::kNone;
    param.arena = true;
    param.text = "arena";
    CallGlobal(std::move(param), home);
    UseArena(home, other);
  }
  if (c_.Chance(0.3)) {
    code_.Emit(MakeInsn(kClassAlu64 | kMov | kSrcX, home, home, kAddrSpaceCast, 1 << 16));  // as its users know it
    Set(home, Value::Scalar());
  }
}

}  // namespace bpfsieve
