// Fragments that call kernel functions which take memory, and walk what the kernel has many of: connections, tasks and their
// memory areas; and what network filters and writable tracepoints are given.
#include <iterator>
#include <string_view>
#include <utility>

#include "engine/spec/spec.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kCurrentTask = 158, kFindVma = 180;  // helpers

}  // namespace

// A connection that is looked up, or made and put into the kernel's table; given back on every path.
void Generator::Conntrack(int depth) {
  const bool xdp = p_->type == ProgType::kXdp;
  const int home = Saved();
  const Pin keep(*this, home);
  const int ctx = CtxReg();
  const Pin keep_ctx(*this, ctx);
  if (home < 0 || ctx < 6 || (pinned_ & 0x3f) != 0) return Alu();
  const bool made = c_.Chance(0.4);
  const int tuple = StackBuffer(16, true);
  const int tuple_at = tuple >= 0 ? m_.regs[tuple].off : 0;
  const int opts = StackBuffer(16, true);
  const int opts_at = opts >= 0 ? m_.regs[opts].off : 0;
  if (tuple_at == 0 || opts_at == 0) return Alu();
  code_.MovReg(1, ctx);
  code_.MovReg(2, kRegFp);
  code_.AluImm(kAdd, 2, tuple_at);
  code_.MovImm(3, 12);
  code_.MovReg(4, kRegFp);
  code_.AluImm(kAdd, 4, opts_at);
  code_.MovImm(5, Defect(0.3) ? 12 + 8 * kModelSlots : 12);
  Kfunc(xdp ? made ? "bpf_xdp_ct_alloc" : "bpf_xdp_ct_lookup" : made ? "bpf_skb_ct_alloc" : "bpf_skb_ct_lookup");
  ClobberedByCall(Value{});
  StackWritten(tuple_at, 16, nullptr);
  StackWritten(opts_at, 16, nullptr);
  code_.MovReg(home, 0);
  Set(home, Value{});
  Label none = NewLabel(), back = NewLabel(), lost = NewLabel();
  if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
  const auto call = [&](const char* name, bool number) {
    code_.MovReg(1, home);
    if (number) code_.MovImm(2, c_.Between(1, 9));
    Kfunc(name);
    ClobberedByCall(Value{});
  };
  While(back, [&] {
    LoadKernelNumber(home, "nf_conn");
    if (c_.Chance(0.5)) code_.StoreImm(4, home, KernelMember("nf_conn", "mark") + (Defect(0.3) ? 4 : 0), 1);
    if (c_.Chance(0.5)) call(made != Defect(0.3) ? "bpf_ct_set_timeout" : "bpf_ct_change_timeout", true);
    if (Deep(depth) && c_.Chance(0.3)) Block(1, depth + 1);
  });
  Bind(back);
  if (made) {
    call("bpf_ct_insert_entry", false);
    code_.MovReg(home, 0);
    if (!Defect(0.3)) Take(MakeInsn(kClassJmp | kJeq, home, 0, 0, 0), lost, false);
    if (c_.Chance(0.5)) call("bpf_ct_change_timeout", true);
  }
  if (!Defect(0.3)) call("bpf_ct_release", false);
  if (Defect(0.3)) LoadKernelNumber(home, "nf_conn");
  Bind(lost);
  Bind(none);
  Set(home, Value{});
}

// What the iterator walks over: null: nothing of the kernel's.
const char* Generator::NewIterator(int slots, const char** name) {
  struct Walk {
    const char* name;
    const char* elements;
    int slots;
  };
  static constexpr Walk kWalks[] = {{"bits", nullptr, 2}, {"task", "task_struct", 3}, {"task_vma", "vm_area_struct", 1}};
  const Walk& walk = kWalks[c_.Below(3)];
  *name = "num";
  if (walk.slots != slots) return nullptr;
  const bool task = Can(kCurrentTask);
  if (walk.elements != nullptr && (!o_.caps.perfmon || !o_.kernel_objects || (walk.slots == 1 && !task))) return nullptr;
  if (walk.slots == 3 && !Readers() && !Defect(0.3)) return nullptr;
  *name = walk.name;
  return walk.elements;
}

// A function that is called back with the memory area that an address of a task's is in.
void Generator::FindVma() {
  const int buffer = StackBuffer(8, true);
  if (buffer < 0) return;
  const int off = m_.regs[buffer].off;
  code_.Call(kCurrentTask);
  ClobberedByCall(Value{});
  Sub sub = CalledBackHere();
  Param task, area, memory;
  task.kind = area.kind = Kind::kNone;
  task.object = "task_struct";
  memory.kind = Kind::kBuffer;
  memory.room = 8;
  memory.own = true;
  sub.params = {task, area, memory};
  const int index = static_cast<int>(subs_.size());
  subs_.push_back(std::move(sub));
  code_.MovReg(1, 0);
  code_.MovImm(2, 4096);
  code_.FunctionAddress(3, index);
  code_.MovReg(4, kRegFp);
  code_.AluImm(kAdd, 4, off);
  code_.MovImm(5, 0);
  code_.Call(kFindVma);
  ClobberedByCall(Value::Scalar());
  StackWritten(off, 8, nullptr);
}

// The buffer that a tracepoint lets its programs write to.
void Generator::TracepointBuffer() {
  const int ctx = CtxReg();
  if (ctx < 0) return Alu();
  const int d = Dst();
  code_.Load(8, d, ctx, 0);
  const int off = Defect(0.3) ? -8 : 8 * c_.Between(0, 4);
  if (c_.Chance(0.5)) {
    code_.StoreImm(8, d, off, 1);
    Set(d, Value{});
  } else {
    code_.Load(8, d, d, off);
    Set(d, Value::Scalar());
  }
}

}  // namespace bpfsieve
