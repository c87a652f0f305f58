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

constexpr int32_t kCurrentTask = 158, kKptrXchg = 194, kSeqWrite = 127, kTaskPtRegs = 175, kRingbufOutput = 130;  // helpers

}  // namespace

// What a program is attached to that gets arguments of the kernel's.
struct Target {
  ProgType type;
  AttachType attach;
  const char* name;
  const char* arguments[4];  // a structure's name; behind '?' where the pointer may be null; null: none of these, a number
  int count;
  const char* returned;      // likewise; "int"; null: nothing
  bool sure;                 // the objects are there
  bool sleeps;               // a program may
};

namespace {

constexpr Target kTargets[] = {
    {ProgType::kTracing, AttachType::kTraceRawTp, "task_newtask", {"task_struct"}, 2, nullptr, true, false},
    {ProgType::kTracing, AttachType::kTraceRawTp, "sched_process_exit", {"task_struct"}, 2, nullptr, true, false},
    {ProgType::kTracing, AttachType::kTraceRawTp, "sched_pi_setprio", {"task_struct", "?task_struct"}, 2, nullptr, true, false},
    {ProgType::kTracing, AttachType::kTraceFentry, "wake_up_new_task", {"task_struct"}, 1, nullptr, false, false},
    {ProgType::kTracing, AttachType::kTraceFexit, "get_task_mm", {"task_struct"}, 1, "mm_struct", false, false},
    {ProgType::kTracing, AttachType::kTraceFexit, "bpf_fentry_test1", {}, 1, "int", false, true},
    {ProgType::kTracing, AttachType::kModifyReturn, "update_socket_protocol", {}, 3, "int", false, false},
    {ProgType::kTracing, AttachType::kModifyReturn, "bpf_fentry_test1", {}, 1, "int", false, true},
    {ProgType::kTracing, AttachType::kTraceIter, "task", {"bpf_iter_meta", "?task_struct"}, 2, "int", true, true},
    {ProgType::kTracing, AttachType::kTraceIter, "task_file", {"bpf_iter_meta", "?task_struct", nullptr, "?file"}, 4, "int", true, true},
    {ProgType::kTracing, AttachType::kTraceIter, "bpf_map", {"bpf_iter_meta", "?bpf_map"}, 2, "int", true, true},
    {ProgType::kTracing, AttachType::kTraceIter, "bpf_map_elem", {"bpf_iter_meta", "?bpf_map"}, 4, "int", true, false},
    {ProgType::kLsm, AttachType::kLsmMac, "file_open", {"file"}, 1, "int", true, true},
    {ProgType::kLsm, AttachType::kLsmMac, "file_alloc_security", {"file"}, 1, "int", false, false},
    {ProgType::kLsm, AttachType::kLsmMac, "task_alloc", {"task_struct"}, 2, "int", true, true},
    {ProgType::kLsm, AttachType::kLsmMac, "task_free", {"task_struct"}, 1, nullptr, false, false},
    {ProgType::kLsm, AttachType::kLsmMac, "audit_rule_known", {"audit_krule"}, 1, "int", true, false},
    {ProgType::kStructOps, AttachType::kCgroupInetIngress, "tcp_congestion_ops/ssthresh", {"tcp_sock"}, 1, "u32", true, true},
    {ProgType::kStructOps, AttachType::kCgroupInetIngress, "tcp_congestion_ops/cong_avoid", {"tcp_sock"}, 3, nullptr, true, true},
    {ProgType::kStructOps, AttachType::kCgroupInetIngress, "tcp_congestion_ops/set_state", {"tcp_sock"}, 2, nullptr, true, true},
    {ProgType::kStructOps, AttachType::kCgroupInetIngress, "bpf_dummy_ops/test_1", {"?bpf_dummy_ops_state"}, 1, "int", true, false},
    {ProgType::kStructOps, AttachType::kCgroupInetIngress, "bpf_dummy_ops/test_sleepable", {"bpf_dummy_ops_state"}, 1, "int", true, true},
};

// Members that are numbers, of a structure; and what may be walked to.
struct Number {
  const char* type;
  const char* name;
  int size;
};
constexpr Number kNumbers[] = {{"task_struct", "pid", 4}, {"task_struct", "tgid", 4}, {"task_struct", "comm", 8},
                               {"task_struct", "exit_code", 4}, {"cgroup", "level", 4}, {"inode", "i_ino", 8},
                               {"file", "f_flags", 4}, {"mm_struct", "start_code", 8}, {"sk_buff", "len", 4},
                               {"xdp_buff", "frame_sz", 4}, {"css_set", "nr_tasks", 4}, {"bpf_map", "max_entries", 4},
                               {"bpf_iter_meta", "seq_num", 8}, {"seq_file", "count", 8}, {"audit_krule", "flags", 4},
                               {"tcp_sock", "snd_cwnd", 4}, {"tcp_sock", "mss_cache", 4}, {"bpf_dummy_ops_state", "val", 4}, {"nf_conn", "mark", 4},
                               {"nf_conn", "status", 8}, {"vm_area_struct", "vm_start", 8}, {"nf_hook_state", "hook", 1}};
// Members that programs may change.
constexpr Number kWritable[] = {{"tcp_sock", "snd_cwnd", 4}, {"tcp_sock", "snd_ssthresh", 4}, {"sock", "sk_pacing_rate", 8},
                                {"inet_connection_sock", "icsk_ca_priv", 8}, {"bpf_dummy_ops_state", "val", 4}};
struct Step {
  const char* type;
  const char* name;
  const char* to;
  enum Kept { kNever, kReading, kAlways } kept;  // where its holder is: while readers are waited for, or as long
  bool nullable;                                 // then
};
constexpr Step kSteps[] = {{"task_struct", "real_parent", "task_struct", Step::kReading, false},
                           {"task_struct", "group_leader", "task_struct", Step::kReading, false},
                           {"task_struct", "last_wakee", "task_struct", Step::kNever, false},
                           {"task_struct", "cgroups", "css_set", Step::kReading, false},
                           {"task_struct", "mm", "mm_struct", Step::kNever, false},
                           {"task_struct", "cpus_ptr", "cpumask", Step::kReading, false},
                           {"css_set", "dfl_cgrp", "cgroup", Step::kNever, false},
                           {"mm_struct", "exe_file", "file", Step::kReading, true},
                           {"bpf_iter_meta", "seq", "seq_file", Step::kAlways, false},
                           {"vm_area_struct", "vm_mm", "mm_struct", Step::kAlways, true},
                           {"file", "f_inode", "inode", Step::kAlways, false}};

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
  target_ = &kTargets[c_.Below(static_cast<uint32_t>(std::size(kTargets)))];
  p_->type = target_->type;
  p_->attach = target_->attach;
  p_->attach_target = target_->name;
  p_->sleepable = target_->sleeps && c_.Chance(0.4);
}

// What the program may return.
RetRule Generator::Returns() const {
  RetRule rule = ReturnRule(p_->type, p_->attach);
  if (target_ == nullptr || target_->returned == nullptr) return rule;
  if (p_->type == ProgType::kStructOps) rule = {};
  if (p_->type == ProgType::kLsm) {
    const bool boolean = FindLsmHook(target_->name).boolean;
    rule = {.checked = true, .range = {boolean ? 0 : -4095, boolean ? 1 : 0}, .is32 = true};
  }
  return rule;
}

// Whether readers are waited for here.
bool Generator::Readers() const { return !p_->sleepable || reading_ || locked_; }

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
  uint32_t way = c_.Below(6);
  if (c_.Chance(0.6)) way = target_ != nullptr ? 0 : p_->type == ProgType::kNetfilter ? 2 : way;
  switch (way) {
    case 0:
    case 1:
      if (target_ != nullptr && has_ctx) {
        const int argument = static_cast<int>(c_.Below(4));
        const char* type = argument < 4 ? target_->arguments[argument] : nullptr;
        if (type == nullptr) type = target_->arguments[0];
        if (type == nullptr) break;
        const int ctx = CtxReg();
        code_.Load(8, home, ctx, type == target_->arguments[argument] ? 8 * argument : 0);
        *sure = target_->sure;
        if (*type != '?') return type;
        if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
        return type + 1;
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
      if (has_ctx && p_->type == ProgType::kNetfilter) {
        const int ctx = CtxReg();
        const bool packet = c_.Chance(0.6);
        code_.Load(8, home, ctx, packet ? 8 : 0);
        return packet ? "sk_buff" : "nf_hook_state";
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

// Where in an object of that type something lies that the program may change; -1: nothing does.
int Generator::WritableMember(std::string_view type) {
  const Number& number = c_.Of(kWritable);
  // A connection begins with a socket.
  const bool in_it = type == number.type || (type == "tcp_sock" && std::string_view(number.type) != "bpf_dummy_ops_state");
  return in_it ? KernelMember(number.type, number.name) : -1;
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
  const int written = target_ != nullptr && p_->type == ProgType::kStructOps && c_.Chance(0.4) ? WritableMember(type) : -1;
  if (written >= 0 || Defect(0.1)) {
    const int size = Defect(0.2) ? 8 : 4;
    code_.StoreImm(size, reg, written >= 0 ? written : KernelMember(type, number.name), 1);
    return;
  }
  if (std::string_view(type) == "task_struct" && c_.Chance(0.1)) {
    // Something that no structure tells of.
    code_.Load(8, d, reg, KernelMember(type, "stack"));
    code_.Load(1, d, d, c_.Between(0, 40));
  } else {
    code_.Load(number.size, d, reg, KernelMember(type, number.name) + (Defect(0.1) ? 1 << 20 : 0));
  }
  Set(d, Value::Scalar());
}

// A function that wants to be sure of what is in R(home).
void Generator::UseKernelObject(int home, const char* type) {
  const std::string_view is = type;
  const auto call = [&](const char* name) {
    Kfunc(name);
    ClobberedByCall(Value{});  // some return nothing
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
  const bool context = is == "xdp_buff" || is == "sk_buff";  // by that name a function takes the program's
  if (!context && MayCallGlobal() && c_.Chance(0.2)) {
    PassObject(home, type);
  } else if (is == "seq_file" && Can(kSeqWrite)) {
    const Pin keep(*this, home);
    const int data = StackBuffer(8, true);
    if (data < 0) return;
    if (data != 2) code_.MovReg(2, data);
    code_.MovReg(1, home);
    code_.MovImm(3, 8);
    code_.Call(kSeqWrite);
    ClobberedByCall(Value::Scalar());
  } else if (is == "sk_buff" && p_->type == ProgType::kNetfilter && CanKfunc("bpf_dynptr_from_skb")) {
    const int slot = ClaimSlots(2);
    if (slot < 0) return;
    code_.MovReg(1, home);
    code_.MovImm(2, 0);
    code_.MovReg(3, kRegFp);
    code_.AluImm(kAdd, 3, -8 * (slot + 1));
    call("bpf_dynptr_from_skb");
    code_.StoreImm(8, kRegFp, -8 * (slot + 1), 0);
    GiveSlotsBack(slot, 2);
  } else if (is == "tcp_sock" && CanTyped("tcp_reno_ssthresh")) {
    const Pin keep(*this, home);
    const int sample = c_.Chance(0.4) ? StackBuffer(16, true) : -1;
    if (sample >= 0 && sample != 2) code_.MovReg(2, sample);
    if (sample < 0) code_.MovImm(2, 1);
    code_.MovReg(1, home);
    call(sample >= 0 ? "cubictcp_acked" : c_.Chance(0.5) ? "tcp_reno_ssthresh" : "tcp_slow_start");
  } else if (target_ != nullptr && target_->sure && (is == "file" || is == "audit_krule" || is == "tcp_sock") &&
             Can(kRingbufOutput) && o_.maps && c_.Chance(0.2)) {
    // One that is surely there is memory to helpers that only read.
    code_.MovReg(2, home);
    code_.MovImm(3, Defect(0.2) ? 1 << 20 : 4);
    code_.Imm64(1, kPseudoMapFd, UseMap(kRingMap), 0);
    code_.MovImm(4, 0);
    code_.Call(kRingbufOutput);
    ClobberedByCall(Value::Scalar());
  } else if (is == "bpf_map" && CanTyped("bpf_map_sum_elem_count")) {
    code_.MovReg(1, home);
    call("bpf_map_sum_elem_count");
  } else if (is == "task_struct" && Can(kTaskPtRegs) && c_.Chance(0.3)) {
    code_.MovReg(1, home);
    code_.Call(kTaskPtRegs);
    ClobberedByCall(Value{});
  } else if (is == "task_struct" && CanTyped("bpf_task_acquire")) {
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
      sure = sure && (step.kept == Step::kAlways || (step.kept == Step::kReading && Readers()));
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

// A task that is kept in a map, looked at; or put where nobody relies on what is there.
void Generator::KeptTask() {
  const int home = Dst();
  const Pin keep(*this, home);
  code_.Imm64(home, kPseudoMapValue, UseMap(kTaskMap), 0);
  const bool untrusted = c_.Chance(0.3);
  if (untrusted && c_.Chance(0.3)) {
    code_.StoreImm(8, home, Defect(0.3) ? 8 : 0, Defect(0.3) ? 1 : 0);
    Set(home, Value{});
    return;
  }
  if (untrusted && home >= 6 && Can(kCurrentTask) && (pinned_ & 0x3f) == 0 && c_.Chance(0.4)) {
    code_.Call(kCurrentTask);
    ClobberedByCall(Value{});
    if (Defect(0.3)) code_.AluImm(kAdd, 0, 8);
    code_.Store(8, home, 0, 0);
    Set(home, Value{});
    return;
  }
  code_.Load(8, home, home, untrusted ? 0 : 8);
  Set(home, Value{});
  Label none = NewLabel();
  if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
  LoadKernelNumber(home, "task_struct");
  if (home >= 6 && (pinned_ & 0x3f) == 0 && (untrusted || !Readers() ? Defect(0.5) : c_.Chance(0.5))) {
    UseKernelObject(home, "task_struct");
  }
  Bind(none);
  Set(home, Value{});
}

// Numbers that such a program is given, and anything that is taken for an object.
void Generator::TracingArgument() {
  const int ctx = CtxReg();
  if (ctx < 0) return Alu();
  const Pin keep(*this, ctx);
  const int d = Dst();
  const bool hook = p_->type == ProgType::kLsm;
  const bool sees = hook || p_->attach == AttachType::kTraceFexit || p_->attach == AttachType::kModifyReturn;
  const bool returned = target_->returned != nullptr && (sees || Defect(0.3));
  const int last = returned ? target_->count : target_->count - 1;
  const int argument = c_.Between(0, std::max(0, last));
  code_.Load(8, d, ctx, 8 * argument + (Defect(0.1) ? 4 : 0));
  const std::string_view name = argument < target_->count ? "" : target_->returned;
  const bool number = argument < target_->count ? target_->arguments[argument] == nullptr && argument < 4 && !IsBuffer(argument)
                                                : name == "int" || name == "u32";
  Set(d, number ? Value::Scalar() : Value{});
  if ((pinned_ & 0x3f) != 0 || c_.Chance(0.6)) return;
  const uint32_t task = object_->kernel_types->Find("task_struct", BTF_KIND_STRUCT);
  if (d != 1) code_.MovReg(1, d);
  const bool anything = c_.Chance(0.2);
  code_.MovImm(2, anything ? 0 : static_cast<int32_t>(task));
  Kfunc("bpf_rdonly_cast");
  ClobberedByCall(Value{});
  if (!anything) return LoadKernelNumber(0, "task_struct");
  code_.Load(8, 0, 0, c_.Between(-8, 40));
  Set(0, Value::Scalar());
}

// Whether the argument is the key or the value of a map's element.
bool Generator::IsBuffer(int argument) const {
  return std::string_view(target_->name) == "bpf_map_elem" && argument >= 2;
}

// The element that an iterator over a map has come to.
void Generator::MapElement() {
  const int ctx = CtxReg();
  if (ctx < 0) return Alu();
  const Pin keep(*this, ctx);
  const int d = Dst();
  const Pin keep_d(*this, d);
  const bool value = c_.Chance(0.6);
  code_.Load(8, d, ctx, value ? 24 : 16);
  Set(d, Value{});
  Label none = NewLabel();
  if (!Defect(0.3)) BranchImm(kJeq, d, 0, none);
  const int off = 4 * c_.Between(0, 3);
  if (Can(kRingbufOutput) && o_.maps && (pinned_ & 0x3f & ~(1u << d)) == 0 && c_.Chance(0.3)) {
    if (d != 2) code_.MovReg(2, d);
    code_.MovImm(3, 4);
    code_.Imm64(1, kPseudoMapFd, UseMap(kRingMap), 0);
    code_.MovImm(4, 0);
    code_.Call(kRingbufOutput);
    ClobberedByCall(Value::Scalar());
  } else if ((value && c_.Chance(0.5)) || Defect(0.5)) {
    code_.StoreImm(4, d, off, 7);
  } else {
    const int t = Dst();
    code_.Load(4, t, d, Defect(0.2) ? -4 : off);
    Set(t, Value::Scalar(0, 0xffffffff));
  }
  Bind(none);
  Set(d, Value{});
}

}  // namespace bpfsieve
