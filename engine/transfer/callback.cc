// Loops that the verifier does not count through, other than over iterators: functions that a helper calls back any
// number of times, and may_goto.
//
// A helper that calls back forks: the state that goes on has called back often enough, the other one enters the function
// once more and comes back to the call itself. So a turn begins where the function returns, and the search ends when one
// finds nothing new at the call (push_callback_call, prepare_func_exit).
#include "absl/strings/str_cat.h"
#include "engine/program/btf_walk.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

enum : uint32_t { kForEachMapElem = 164, kFindVma = 180, kLoop = 181, kUserRingbufDrain = 209 };

bool HasForEach(MapType type) {
  switch (type) {
    case MapType::kArray:
    case MapType::kPercpuArray:
    case MapType::kHash:
    case MapType::kPercpuHash:
    case MapType::kLruHash:
    case MapType::kLruPercpuHash:
      return true;
    default:
      return false;
  }
}

}  // namespace

// The frame of a function that is called back, in the fork; null after recording a finding.
Frame* Transfer::EnterCallback(int sub, int instance) {
  if (st_->cur + 1 >= kMaxFrames) {
    Fail(Rule::kCallDepth, -1, absl::StrCat("the call stack of ", st_->cur + 2, " frames is too deep"));
    return nullptr;
  }
  State& turn = *Fork(ctx_.cfg->subs[sub].start);
  ++turn.callback_unroll_depth;
  ++turn.frame().callback_depth;
  st_->frame().callback_depth = 0;
  Frame* callee = pool_.NewFrame();
  callee->Init(static_cast<int32_t>(pc_), turn.cur + 1, sub, instance);
  callee->in_callback = true;
  turn.frames[++turn.cur] = callee;
  out_->called_back = sub;
  return callee;
}

// The order of a tree: two elements of it, not owned.
bool Transfer::CallLess(int sub, const MapField& root) {
  Frame* callee = EnterCallback(sub, ctx_.liveness->Root(sub));  // it gets no pointer to a stack
  if (callee == nullptr) return false;
  for (int r = 1; r <= 2; ++r) GraphNode(callee->regs[r], root, NonOwning(root.type_id));
  return true;
}

bool Transfer::CallBack(CallMeta& meta) {
  Frame& caller = st_->frame();
  if (meta.id == kLoop) {
    // How often is known from R1, and that the flags in R4 are none tells whether the loop can be inlined.
    if (reg(4).IsNull()) Precise(4);
    Precise(1);
    if (caller.callback_depth >= reg(1).s.umax) {
      caller.callback_depth = 0;
      return true;
    }
  }
  if (st_->cur + 1 < kMaxFrames && meta.id == kForEachMapElem && !HasForEach(ctx_.map(meta.map).type)) {
    return Fail(Rule::kHelperMap, 1, "callback function not allowed for map");
  }
  if (meta.id == kFindVma && Kernel() == nullptr) return Unsupported("callback: bpf_find_vma");
  Frame* callee = EnterCallback(meta.subprog, ctx_.liveness->Callee(caller.instance, pc_));
  if (callee == nullptr) return false;
  if (meta.id == kLoop) {
    callee->regs[1].MakeUnknown();
    callee->regs[2] = reg(3);
  } else if (meta.id == kFindVma) {
    callee->regs[1] = reg(1);
    MakeBtfPointer(callee->regs[2], Kernel()->Find("vm_area_struct", BTF_KIND_STRUCT), 0);
    callee->regs[3] = reg(4);
  } else if (meta.id == kUserRingbufDrain) {
    callee->regs[1].MakePointer(RegType::kDynptr);
    callee->regs[1].dynptr = static_cast<uint32_t>(DynptrKind::kLocal) | kDynptrFirst;
    callee->regs[1].id = ++out_->branch->id_gen;
    callee->regs[2] = reg(3);
  } else {
    callee->regs[1] = reg(1);
    callee->regs[2].MakePointer(RegType::kMapKey);
    callee->regs[3].MakePointer(RegType::kMapValue);
    for (int r = 2; r <= 3; ++r) {
      callee->regs[r].map = reg(1).map;
      callee->regs[r].map_uid = reg(1).map_uid;
    }
    callee->regs[4] = reg(3);
  }
  return true;
}

// Back to the call, which decides whether there is another turn.
bool Transfer::ReturnFromCallback() {
  Frame& callee = st_->frame();
  if (!callee.regs[0].IsScalar()) return Fail(Rule::kReturnValue, 0, "R0 not a scalar value");
  if (!ReturnRange(0, {0, 1}, false, "callback return")) return false;
  out_->next = static_cast<uint32_t>(callee.callsite);
  pool_.Writable(*st_, st_->cur - 1);
  pool_.FreeFrame(&callee);
  st_->frames[st_->cur--] = nullptr;
  out_->turn = st_;
  out_->turn_of = out_->next;
  return true;
}

// A function that a timer or a work queue runs: explored once the path in progress is done, from a state of its own.
void Transfer::CallLater(int subprog, bool sleeps) {
  State* later = pool_.NewEntry(subprog, ctx_.liveness->Root(subprog));
  later->async_sleeps = sleeps;
  Frame& f = later->frame();
  f.in_async_callback = true;
  f.async_entries = st_->frame().async_entries + 1;
  const Reg& field = reg(1);
  f.regs[1].MakePointer(RegType::kConstMapPtr);
  f.regs[2].MakePointer(RegType::kMapKey);
  f.regs[3].MakePointer(RegType::kMapValue);
  for (int r = 1; r <= 3; ++r) {
    f.regs[r].map = field.map;
    f.regs[r].map_uid = field.map_uid;
  }
  later->id_gen = st_->id_gen;  // the map's identity is among them
  out_->branch = later;
  out_->branch_insn = ctx_.cfg->subs[subprog].start;
  out_->branch_is_async = true;
  out_->called_later = subprog;
}

// Goes on at the jump's target, as if the budget were spent, and once more round in the fork.
bool Transfer::MayGoto() {
  State& turn = *Fork(pc_ + 1);
  ++turn.may_goto_depth;
  out_->turn = &turn;
  out_->turn_of = pc_;
  out_->next = static_cast<uint32_t>(int64_t{pc_} + 1 + insn().off);
  return true;
}

}  // namespace bpfsieve
