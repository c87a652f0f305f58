// Fragments with objects of the kernel's own types: from the context, from functions that acquire them, from a map; members
// walked from one to the next, and functions that want to be sure that what they are given is there.
#include <bpf/btf.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "engine/program/btf_view.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kCurrentTask = 158, kKptrXchg = 194;  // helpers

struct Target {
  AttachType attach;
  const char* name;
  int arguments;  // the first is a task
};
constexpr Target kTargets[] = {{AttachType::kTraceRawTp, "task_newtask", 2},
                               {AttachType::kTraceRawTp, "sched_process_exit", 2},
                               {AttachType::kTraceRawTp, "sched_pi_setprio", 2},
                               {AttachType::kTraceFentry, "wake_up_new_task", 1},
                               {AttachType::kTraceFexit, "wake_up_new_task", 1}};

// Members that are numbers, of a structure; and what may be walked to.
struct Number {
  const char* type;
  const char* name;
  int size;
};
constexpr Number kNumbers[] = {{"task_struct", "pid", 4}, {"task_struct", "tgid", 4}, {"task_struct", "comm", 8},
                               {"task_struct", "exit_code", 4}, {"cgroup", "level", 4}, {"inode", "i_ino", 8},
                               {"file", "f_flags", 4}, {"mm_struct", "start_code", 8}, {"sk_buff", "len", 4},
                               {"xdp_buff", "frame_sz", 4}, {"css_set", "nr_tasks", 4}};
struct Step {
  const char* type;
  const char* name;
  const char* to;
  bool kept;      // there while readers are waited for, where its holder is
  bool nullable;  // then
};
constexpr Step kSteps[] = {{"task_struct", "real_parent", "task_struct", true, false},
                           {"task_struct", "group_leader", "task_struct", true, false},
                           {"task_struct", "last_wakee", "task_struct", false, false},
                           {"task_struct", "cgroups", "css_set", true, false},
                           {"task_struct", "mm", "mm_struct", false, false},
                           {"task_struct", "cpus_ptr", "cpumask", true, false},
                           {"css_set", "dfl_cgrp", "cgroup", false, false},
                           {"mm_struct", "exe_file", "file", true, true},
                           {"file", "f_inode", "inode", true, false}};

// Where the member lies in the structure, also in one without a name in it; -1: there is none.
int MemberAt(const struct btf* btf, uint32_t type, std::string_view name) {
  const btf_type* t = SkipModifiers(btf, type, nullptr);
  for (int i = 0; t != nullptr && btf_is_composite(t) && i < btf_vlen(t); ++i) {
    const btf_member& m = btf_members(t)[i];
    const int at = static_cast<int>(btf_member_bit_offset(t, static_cast<uint32_t>(i)) / 8);
    const std::string_view is = BtfName(btf, m.name_off);
    if (is == name) return at;
    if (!is.empty()) continue;
    const int inside = MemberAt(btf, m.type, name);
    if (inside >= 0) return at + inside;
  }
  return -1;
}

}  // namespace

void Generator::ChooseTarget() {
  const Target& target = kTargets[c_.Below(static_cast<uint32_t>(std::size(kTargets)))];
  p_->type = ProgType::kTracing;
  p_->attach = target.attach;
  p_->attach_target = target.name;
  arguments_ = target.arguments;
}

int Generator::KernelMember(const char* type, const char* member) const {
  const uint32_t id = object_->kernel_types->Find(type, BTF_KIND_STRUCT);
  return id == 0 ? -1 : MemberAt(object_->kernel_types->get(), id, member);
}

bool Generator::CanTyped(const char* name) const {
  const TypedKfunc* function = FindTypedKfunc(name);
  return function != nullptr && KfuncSetAllows(function->set, p_->type, p_->attach) &&
         object_->kernel_types->Find(name, BTF_KIND_FUNC) != 0;
}

// The address of a kernel object into R(home), which is not null, or a jump to `none`. Its type; null: there is no way.
const char* Generator::SomeKernelObject(int home, Label& none, bool* acquired, bool* sure) {
  *acquired = false;
  *sure = true;
  const bool has_ctx = ctx_home_ >= 0 || ctx_slot_ >= 0;
  switch (c_.Below(6)) {
    case 0:
    case 1:
      if (p_->type == ProgType::kTracing && has_ctx) {
        const int ctx = CtxReg();
        code_.Load(8, home, ctx, 0);
        *sure = p_->attach == AttachType::kTraceRawTp;
        return "task_struct";
      }
      break;
    case 2:
      if (has_ctx && (p_->type == ProgType::kXdp || p_->type == ProgType::kSchedCls)) {
        const int ctx = CtxReg();
        if (ctx != 1) code_.MovReg(1, ctx);
        Kfunc("bpf_cast_to_kern_ctx");
        ClobberedByCall(Value{});
        code_.MovReg(home, 0);
        return p_->type == ProgType::kXdp ? "xdp_buff" : "sk_buff";
      }
      break;
    case 3:
      if (Can(kCurrentTask)) {
        code_.Call(kCurrentTask);
        ClobberedByCall(Value{});
        code_.MovReg(home, 0);
        return "task_struct";
      }
      break;
    default: break;
  }
  struct Source {
    const char* function;
    const char* type;
  };
  static constexpr Source kSources[] = {{"bpf_task_from_pid", "task_struct"}, {"bpf_task_from_vpid", "task_struct"},
                                        {"bpf_cgroup_from_id", "cgroup"}, {"bpf_cpumask_create", "bpf_cpumask"}};
  const Source& source = kSources[c_.Below(4)];
  if (!CanTyped(source.function)) return nullptr;
  code_.MovImm(1, c_.Between(1, 100));
  Kfunc(source.function);
  ClobberedByCall(Value{});
  code_.MovReg(home, 0);
  if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
  *acquired = true;
  return source.type;
}

// Through R(reg), which points to an object of that type: a number of it.
void Generator::LoadKernelNumber(int reg, const char* type) {
  const Number* fitting[std::size(kNumbers)];
  uint32_t n = 0;
  for (const Number& each : kNumbers) {
    if (std::string_view(each.type) == type && KernelMember(type, each.name) >= 0) fitting[n++] = &each;
  }
  if (n == 0) return;
  const Number& number = *fitting[c_.Below(n)];
  const Pin keep(*this, reg);
  const int d = Dst();
  if (Defect(0.1)) {
    code_.StoreImm(number.size, reg, KernelMember(type, number.name), 0);
    return;
  }
  code_.Load(number.size, d, reg, KernelMember(type, number.name) + (Defect(0.1) ? 1 << 20 : 0));
  Set(d, Value::Scalar());
}

// A function that wants to be sure of what is in R(home).
void Generator::UseKernelObject(int home, const char* type) {
  const std::string_view is = type;
  const auto call = [&](const char* name) {
    Kfunc(name);
    ClobberedByCall(Value::Scalar());
  };
  // What it returns is ours, if it is there.
  const auto again = [&](const char* release) {
    Label none = NewLabel();
    if (!Defect(0.2)) Take(MakeInsn(kClassJmp | kJeq, 0, 0, 0, 0), none, false);
    code_.MovReg(1, 0);
    if (!Defect(0.2)) call(release);
    Bind(none);
    Set(0, Value{});
  };
  if (is == "task_struct" && CanTyped("bpf_task_acquire")) {
    code_.MovReg(1, home);
    call("bpf_task_acquire");
    again("bpf_task_release");
  } else if (is == "cgroup" && CanTyped("bpf_cgroup_ancestor")) {
    code_.MovReg(1, home);
    code_.MovImm(2, c_.Between(0, 3));
    call(c_.Chance(0.5) ? "bpf_cgroup_acquire" : "bpf_cgroup_ancestor");
    again("bpf_cgroup_release");
  } else if (is == "bpf_cpumask" && CanTyped("bpf_cpumask_set_cpu")) {
    code_.MovImm(1, c_.Between(0, 3));
    code_.MovReg(2, home);
    call("bpf_cpumask_set_cpu");
  } else if ((is == "cpumask" || is == "bpf_cpumask") && CanTyped("bpf_cpumask_weight")) {
    code_.MovReg(1, home);
    call(c_.Chance(0.5) ? "bpf_cpumask_first" : "bpf_cpumask_weight");
  }
}

void Generator::KernelObjects(int depth) {
  const int home = Saved();
  if (home < 0 || (pinned_ & 0x3f & ~(ctx_home_ >= 0 ? 1u << ctx_home_ : 0)) != 0) return Alu();
  const Pin keep(*this, home);
  const int walked = Saved();
  if (walked < 0) return Alu();
  const Pin keep_walked(*this, walked);
  Label none = NewLabel(), back = NewLabel(), done = NewLabel();
  bool acquired, sure;
  const char* const first = SomeKernelObject(home, none, &acquired, &sure);
  if (first == nullptr) return Alu();
  Set(home, Value{});
  const auto body = [&] {
    const char* type = first;
    int at = home;
    LoadKernelNumber(at, type);
    if ((sure && c_.Chance(0.5)) || Defect(0.3)) UseKernelObject(at, type);
    for (int steps = c_.Between(0, 3); steps > 0; --steps) {
      const Step* fitting[std::size(kSteps)];
      uint32_t n = 0;
      for (const Step& each : kSteps) {
        if (std::string_view(each.type) == type && KernelMember(type, each.name) >= 0) fitting[n++] = &each;
      }
      if (n == 0) break;
      const Step& step = *fitting[c_.Below(n)];
      code_.Load(8, walked, at, KernelMember(type, step.name));
      Set(walked, Value{});
      at = walked;
      type = step.to;
      sure = sure && step.kept;
      if ((sure && step.nullable && !Defect(0.3)) || (CanFork() && c_.Chance(0.1))) {
        BranchImm(kJeq, walked, 0, acquired ? back : none);
      }
      LoadKernelNumber(at, type);
      if ((sure && c_.Chance(0.5)) || Defect(0.4)) UseKernelObject(at, type);
    }
    if (Deep(depth) && c_.Chance(0.3)) Block(1, depth + 1);
  };
  if (!acquired) {
    body();
    Bind(none);
    return;
  }
  While(back, body);
  Bind(back);
  const std::string_view is = first;
  const char* release = is == "task_struct" ? "bpf_task_release" : is == "cgroup" ? "bpf_cgroup_release" : "bpf_cpumask_release";
  const bool keep_it = is == "task_struct" && Can(kKptrXchg) && c_.Chance(0.4);
  if (keep_it) {
    code_.Imm64(1, kPseudoMapValue, UseMap(kTaskMap), 8);
    code_.MovReg(2, home);
    code_.Call(kKptrXchg);
    ClobberedByCall(Value{});
    if (Defect(0.2)) {
      LoadKernelNumber(home, first);
    }
    code_.MovReg(home, 0);
    if (!Defect(0.3)) Take(MakeInsn(kClassJmp | kJeq, home, 0, 0, 0), done, false);
  }
  if (!Defect(0.3)) {
    code_.MovReg(1, home);
    Kfunc(release);
    ClobberedByCall(Value{});
  }
  if (Defect(0.4)) LoadKernelNumber(home, first);
  if (Defect(0.2)) {
    code_.MovReg(1, home);
    Kfunc(release);
    ClobberedByCall(Value{});
  }
  Bind(done);
  Bind(none);
  Set(home, Value{});
  Set(walked, Value{});
}

// A task that is kept in a map, looked at.
void Generator::KeptTask() {
  const int home = Dst();
  const Pin keep(*this, home);
  code_.Imm64(home, kPseudoMapValue, UseMap(kTaskMap), 0);
  code_.Load(8, home, home, 8);
  Set(home, Value{});
  Label none = NewLabel();
  if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
  LoadKernelNumber(home, "task_struct");
  if (home >= 6 && (pinned_ & 0x3f) == 0 && c_.Chance(0.5)) UseKernelObject(home, "task_struct");
  Bind(none);
  Set(home, Value{});
}

// Numbers that a tracing program is given, and anything that is taken for an object.
void Generator::TracingArgument() {
  const int ctx = CtxReg();
  if (ctx < 0) return Alu();
  const Pin keep(*this, ctx);
  const int d = Dst();
  const int last = p_->attach == AttachType::kTraceFentry && !Defect(0.3) ? arguments_ - 1 : arguments_;
  const int argument = c_.Between(0, std::max(0, last));
  code_.Load(8, d, ctx, 8 * argument + (Defect(0.1) ? 4 : 0));
  const bool number = argument > 0 && std::string_view(p_->attach_target) != "sched_pi_setprio";
  Set(d, number ? Value::Scalar() : Value{});
  if ((pinned_ & 0x3f) != 0 || c_.Chance(0.6)) return;
  const uint32_t task = object_->kernel_types->Find("task_struct", BTF_KIND_STRUCT);
  if (d != 1) code_.MovReg(1, d);
  code_.MovImm(2, static_cast<int32_t>(task));
  Kfunc("bpf_rdonly_cast");
  ClobberedByCall(Value{});
  LoadKernelNumber(0, "task_struct");
}

}  // namespace bpfsieve
