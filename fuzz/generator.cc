#include "fuzz/generator.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/program/asm_btf.h"
#include "engine/program/btf_fields.h"
#include "engine/spec/spec.h"
#include "fuzz/kernel_types.h"

namespace bpfsieve {
namespace {

constexpr int kStretch = 16;  // fragments
constexpr int32_t kXdpAdjustHead = 44, kSkbPullData = 39;  // helpers

}  // namespace

std::shared_ptr<Object> Generator::Run() {
  object_ = std::make_shared<Object>();
  object_->path = "generated";
  object_->license = "GPL";
  object_->programs.emplace_back();
  p_ = &object_->programs[0];
  std::fill(std::begin(maps_), std::end(maps_), -1);
  p_->name = "generated";
  object_->kernel_types = o_.kernel_types != nullptr ? o_.kernel_types : SmallKernel();
  ChooseType();
  task_functions_ = CanTyped("bpf_task_acquire");
  if (o_.subprograms) ChooseSubs();

  // A function is written once something in front of it has called it: the kernel wants none that nobody calls.
  std::vector<int> starts(subs_.size(), -1);
  p_->subprogs.push_back({0, p_->name, 0, false});
  Main();
  bool described = false;
  for (size_t s = 0; s < subs_.size(); ++s) {  // which may bring more of them
    if (!subs_[s].called) continue;
    starts.resize(subs_.size(), -1);
    starts[s] = code_.size();
    std::string prototype;
    for (const Param& param : subs_[s].params) absl::StrAppend(&prototype, prototype.empty() ? "" : ",", param.text);
    p_->subprogs.push_back({static_cast<uint32_t>(starts[s]), absl::StrCat("sub", s), 0, subs_[s].global,
                            subs_[s].global ? prototype : ""});
    described |= subs_[s].global || subs_[s].callback || subs_[s].later;
    SubBody(static_cast<int>(s));
  }
  described |= (p_->subprogs.size() > 1 && c_.Chance(0.3)) || !object_->text_structs.empty();
  p_->insns = code_.Finish(starts);
  // Fails only where memory does; without function information the program is still one.
  const bool kept = !object_->text_structs.empty() || maps_[kTaskMap] >= 0;
  if (DescribeByBtf({described}, object_.get()).ok() && kept) ResolveFields(object_.get());
  return object_;
}

int Generator::UseMap(MapUse use) {
  if (maps_[use] >= 0) return maps_[use];
  MapDef map;
  map.key_size = 4;
  map.value_size = static_cast<uint32_t>(8 * c_.Between(1, 6));
  map.max_entries = static_cast<uint32_t>(c_.Between(1, 8));
  switch (use) {
    case kArrayMap:
      map.name = "array";
      map.type = c_.Chance(0.2) ? MapType::kPercpuArray : MapType::kArray;
      break;
    case kHashMap:
      map.name = "hash";
      map.type = c_.Chance(0.2) ? MapType::kLruHash : c_.Chance(0.2) ? MapType::kPercpuHash : MapType::kHash;
      if (c_.Chance(0.4)) map.key_size = 8;
      break;
    case kSingleMap:
      map.name = "single";
      map.type = MapType::kArray;
      map.max_entries = 1;
      break;
    case kRingMap:
      map.name = "ring";
      map.type = MapType::kRingbuf;
      map.key_size = map.value_size = 0;
      map.max_entries = 4096;
      break;
    case kConstantMap:
    case kDataMap:
      map.name = use == kDataMap ? "data" : "constants";
      map.type = MapType::kArray;
      map.value_size = 8;
      map.max_entries = 1;
      for (int i = 0; i < 8; ++i) map.data.push_back(static_cast<uint8_t>(c_.Below(8)));
      if (use == kConstantMap) {
        map.flags = 1u << 7;  // BPF_F_RDONLY_PROG
        map.frozen = true;
      }
      break;
    case kTimerMap:
    case kQueueMap:
      map.name = use == kTimerMap ? "timers" : "queues";
      map.type = MapType::kArray;
      map.value_size = 24;
      map.fields.push_back({use == kTimerMap ? SpecialField::kTimer : SpecialField::kWorkqueue, 8, 16});
      break;
    case kTaskMap:
      map.name = "tasks";
      map.type = MapType::kArray;
      map.value_size = 16;
      map.max_entries = 1;
      map.fields.push_back({SpecialField::kKptrUntrusted, 0, 8, "task_struct"});
      map.fields.push_back({SpecialField::kKptrTrusted, 8, 8, "task_struct"});
      break;
    case kResLockMap:
      map.name = "resilient";
      map.type = MapType::kHash;
      map.value_size = 32;
      map.fields.push_back({SpecialField::kResSpinLock, 0, 4});
      break;
    default:
      map.name = "guarded";
      map.type = MapType::kHash;
      map.value_size = 32;
      map.fields.push_back({SpecialField::kSpinLock, 0, 4});
      break;
  }
  maps_[use] = static_cast<int>(object_->maps.size());
  object_->maps.push_back(std::move(map));
  return maps_[use];
}

void Generator::ChooseSubs() {
  const int count = c_.Chance(0.55) ? c_.Between(1, 3) : 0;
  for (int s = 0; s < count; ++s) {
    Sub sub;
    sub.global = c_.Chance(0.25);
    sub.forks = std::min(o_.max_forks, c_.Between(0, 2));
    const int params = c_.Between(0, 3);
    for (int i = 0; i < params; ++i) {
      Param param;
      param.text = "u64";
      const uint32_t kind = c_.Below(9);
      if (kind >= 7) {
        param.kind = Kind::kCtx;
        param.text = ContextName().empty() || c_.Chance(0.4) ? "ctx" : absl::StrCat("ctx:", std::string(ContextName()));
      } else if (kind >= 4) {
        param.kind = Kind::kBuffer;
        param.room = 8 * c_.Between(1, 3);
        param.own = sub.global;
        param.nullable = sub.global && c_.Chance(0.6);
        param.text = absl::StrCat(param.nullable ? "mem:" : "nonnull:", param.room);
      } else if (!sub.global && kind > 0) {
        param.max = (uint64_t{1} << c_.Between(2, 6)) - 1;
      }
      sub.params.push_back(param);
    }
    if (!sub.global && c_.Chance(0.6)) sub.ret_max = (uint64_t{1} << c_.Between(1, 6)) - 1;
    subs_.push_back(sub);
  }
}

void Generator::Main() {
  p_->strict_alignment = c_.Chance(0.03);
  slots_ = kModelSlots;
  kept_slots_ = 6;
  forks_ = o_.max_forks;
  Value ctx;
  ctx.kind = Kind::kCtx;
  Set(1, ctx);
  if (c_.Chance(0.3)) {
    ctx_slot_ = 0;
    pinned_slots_ |= 1;
    code_.Store(8, kRegFp, -8, 1);
    m_.slots[0] = ctx;
  } else {
    ctx_home_ = c_.Between(6, 9);
    pinned_ |= 1u << ctx_home_;
    code_.MovReg(ctx_home_, 1);
    Set(ctx_home_, ctx);
  }
  WriteStack();
  Label leave = NewLabel();
  bails_ = {&leave};
  const int fragments = c_.Between(std::min(4, o_.max_fragments), o_.max_fragments);
  if (fragments <= kStretch) {
    Block(fragments, 0);
  } else {
    // In stretches: checks that fail lead to the end of theirs, or some check that always does would, sooner or later,
    // leave all the rest of the program unvisited.
    for (int done = 0; done < fragments && !Full(); done += kStretch) {
      Label end = NewLabel();
      bails_.push_back(&end);
      Block(kStretch, 0);
      bails_.pop_back();
      Bind(end);
    }
  }
  Return(leave, ~uint64_t{0}, true);
}

void Generator::SubBody(int index) {
  const Sub sub = subs_[index];
  if (sub.less) {
    defect_ = c_.Chance(o_.broken);
    return LessBody();
  }
  m_ = Model{};
  sub_ = index;
  slots_ = 10;
  kept_slots_ = 4;
  pinned_ = pinned_slots_ = 0;
  bail_floor_ = 0;
  forks_ = sub.forks;
  ctx_home_ = ctx_slot_ = -1;
  Label leave = NewLabel();
  bails_ = {&leave};
  defect_ = c_.Chance(o_.broken);
  for (size_t i = 0; i < sub.params.size(); ++i) {
    const Param& param = sub.params[i];
    if (param.kind == Kind::kNone) continue;
    Value v = Value::Scalar(0, param.max);
    if (param.kind == Kind::kDynptr) {
      v = Value{};
    } else if (param.kind != Kind::kScalar) {
      v = Value::Pointer(param.kind, param.room);
      // Some call may pass memory of a packet that may only be read, or a packet at all.
      v.writable = !param.read_only && (param.own || PacketWritable());
      if (param.nullable && !Defect()) BranchImm(kJeq, static_cast<int>(i) + 1, 0, leave);
    }
    const int in = static_cast<int>(i) + 1;
    Set(in, v);
    if (c_.Chance(0.6)) {
      const int home = 6 + static_cast<int>(i);
      code_.MovReg(home, in);
      Set(home, v);
      if (v.kind == Kind::kCtx) {
        ctx_home_ = home;
        pinned_ |= 1u << home;
      }
    }
  }
  WriteStack();
  reading_ = sub.in_rcu;
  held_ = sub.in_section;
  if (sub.params.size() > 0 && sub.params[0].kind == Kind::kDynptr) {
    Dynptr d;
    d.home = 6;
    code_.MovReg(6, 1);
    pinned_ |= 1u << 6;
    Set(6, Value{});
    for (int n = c_.Between(1, 3); n > 0; --n) UseDynptr(d);
  }
  if (sub.params.size() > 0) GivenArgument(sub.params[0], leave);
  const int buffer = RegOf(Kind::kBuffer);
  if (buffer >= 0 && Defect(0.2)) {
    // Its own stack's address, where the caller finds it.
    const Pin keep(*this, buffer);
    const int t = Dst();
    code_.MovReg(t, kRegFp);
    code_.Store(8, buffer, 0, t);
    Set(t, Value{});
  }
  Block(c_.Between(1, 4), 1);
  Return(leave, sub.ret_max, false);
}

// What a function does with an argument that is no number and no memory.
void Generator::GivenArgument(const Param& param, Label& leave) {
  if (param.moves) return PacketChange();
  if (param.object == nullptr && !param.arena) return;
  code_.MovReg(6, 1);
  const Pin keep(*this, 6);
  Set(6, Value{});
  if (param.arena) {
    code_.Imm64(7, kPseudoMapFd, ExtraMap(MapType::kArena), 0);
    Set(7, Value{});
    if (!Defect(0.3)) code_.Emit(MakeInsn(kClassAlu64 | kMov | kSrcX, 6, 6, kAddrSpaceCast, 1));
    return UseArena(6, 7);
  }
  if (param.nullable && !Defect(0.3)) BranchImm(kJeq, 6, 0, leave);
  LoadKernelNumber(6, param.object);
  UseKernelObject(6, param.object);
}

// Without CAP_PERFMON, what was never written may not be read.
void Generator::WriteStack() {
  if (o_.caps.perfmon) return;
  for (int s = 0; s < slots_; ++s) {
    if ((pinned_slots_ >> s & 1) != 0) continue;
    code_.StoreImm(8, kRegFp, -8 * (s + 1), 0);
    m_.slots[s] = Value::Scalar(0, 0);
  }
}

void Generator::Return(Label& leave, uint64_t max, bool context_range) {
  const RetRule rule = Returns();
  const bool checked = context_range && rule.checked;
  if (checked) max = rule.range.min == 0 ? std::bit_floor(static_cast<uint64_t>(rule.range.max) + 1) - 1 : 0;
  defect_ = c_.Chance(o_.broken);
  const bool shared = c_.Chance(0.5);
  if (shared) Bind(leave);
  const bool number = c_.Chance(0.5);
  if (Defect()) {
    // The stack's address, a number that may not be returned, or R0 as it was left.
    if (sub_ >= 0 && c_.Chance(0.2)) {
      code_.MovReg(0, kRegFp);
    } else if (c_.Chance(0.5)) {
      code_.MovImm(0, -1);
    }
  } else if (number && !(checked && rule.range.min != 0)) {
    const int from = AnyScalar();
    if (from != 0) code_.MovReg(0, from);
    if (max != ~uint64_t{0}) code_.AluImm(kAnd, 0, static_cast<int32_t>(max));
  } else {
    code_.MovImm(0, checked && rule.range.min != 0
                        ? rule.range.min
                        : static_cast<int32_t>(c_.Below(static_cast<uint32_t>(std::min<uint64_t>(max, 4)) + 1)));
  }
  code_.Exit();
  if (shared || !leave.used) return;
  Bind(leave, false);
  code_.MovImm(0, checked ? rule.range.min : static_cast<int32_t>(c_.Below(max == 0 ? 1 : 2)));
  code_.Exit();
}

void Generator::Block(int fragments, int depth) {
  for (int i = 0; i < fragments && !Full(); ++i) Fragment(depth);
}

void Generator::Fragment(int depth) {
  const bool outer = defect_;
  defect_ = c_.Chance(o_.broken);
  const bool deep = Deep(depth);
  const bool maps = o_.maps && CallsAllowed() && Can(1);
  const bool fork = CanFork();
  const bool kernel = o_.kernel_objects && o_.caps.perfmon;
  const bool ctx = ctx_home_ >= 0 || ctx_slot_ >= 0;
  struct Choice {
    int weight;
    bool possible;
    void (*write)(Generator&, int depth);
  };
  const Choice choices[] = {
      {8, true, [](Generator& g, int) { g.Alu(); }},
      {2, true, [](Generator& g, int) { g.Unary(); }},
      {4, true, [](Generator& g, int) { g.NewScalar(); }},
      {4, true, [](Generator& g, int) { g.Spill(); }},
      {4, true, [](Generator& g, int) { g.Fill(); }},
      {6, o_.caps.perfmon, [](Generator& g, int) { g.StackIndexed(); }},
      {7, true, [](Generator& g, int) { g.AccessSome(); }},
      {6, fork, [](Generator& g, int) { g.Linked(); }},
      {2, true, [](Generator& g, int) { g.Zeros(); }},
      {2, maps && Can(130), [](Generator& g, int) { g.RingbufOutput(); }},
      {2, fork && bail_floor_ == 0, [](Generator& g, int) { g.EarlyExit(); }},
      {8, fork && deep, [](Generator& g, int d) { g.Diamond(d); }},
      {2, fork && deep, [](Generator& g, int d) { g.Switch(d); }},
      {5, fork && o_.caps.perfmon, [](Generator& g, int d) { g.Correlated(d); }},
      {6, deep, [](Generator& g, int d) { g.Loop(d); }},
      {1, o_.subprograms && o_.open_loops && deep && fork, [](Generator& g, int d) { g.OpenLoop(d); }},
      {3, o_.subprograms && o_.open_loops && deep && fork && o_.caps.perfmon, [](Generator& g, int) { g.CarryingLoop(); }},
      {2, o_.subprograms && o_.open_loops && deep && fork && CallsAllowed() && held_ == 0 && ctx_facts_->iterators, [](Generator& g, int d) { g.IteratorLoop(d); }},
      {2, o_.subprograms && o_.open_loops && CallsAllowed() && (sub_ < 0 || !subs_[sub_].callback) && (pinned_ & 0x3f) == 0 && Can(181), [](Generator& g, int) { g.CallBack(); }},
      {1, o_.subprograms && fork && CallsAllowed() && held_ == 0 && sub_ < 0 && depth == 0 && ctx_facts_->throws, [](Generator& g, int) { g.Throw(); }},
      {2, fork, [](Generator& g, int) { g.Compared(); }},
      {1, maps && Can(182) && (pinned_ & 0x3f) == 0, [](Generator& g, int) { g.ConstString(); }},
      {2, maps && fork && (pinned_ & 0x3f) == 0 && !p_->sleepable, [](Generator& g, int) { g.LookupInMap(); }},
      {2, ctx, [](Generator& g, int) { g.CtxLoad(); }},
      {6, fork && ctx && ctx_facts_->packet >= 0 && ctx_facts_->packet_end >= 0, [](Generator& g, int d) { g.Packet(d); }},
      {1, ctx && CallsAllowed() && (Can(kXdpAdjustHead) || Can(kSkbPullData)), [](Generator& g, int) { g.PacketChange(); }},
      {8, maps && fork, [](Generator& g, int d) { g.MapValues(d); }},
      {2, maps, [](Generator& g, int) { g.MapUpdate(); }},
      {2, o_.maps, [](Generator& g, int) { g.DirectValue(); }},
      {3, maps && fork && deep && held_ < 2 && Can(131), [](Generator& g, int d) { g.Ringbuf(d); }},
      {2, maps && fork && deep && held_ == 0 && MayLock(), [](Generator& g, int d) { g.SpinLock(d); }},
      {6, CallsAllowed(), [](Generator& g, int d) { g.CallSub(d); }},
      {2, maps && fork, [](Generator& g, int) { g.TwoValues(); }},
      {target_ != nullptr || p_->type == ProgType::kNetfilter ? 25 : 3, kernel && o_.subprograms && fork && CallsAllowed() && sub_ < 0, [](Generator& g, int d) { g.KernelObjects(d); }},
      {1, maps && fork && kernel && o_.subprograms && task_functions_, [](Generator& g, int) { g.KeptTask(); }},
      {1, maps && o_.subprograms && o_.caps.perfmon, [](Generator& g, int) { g.Arena(); }},
      {1, ctx && MayCallGlobal() && ctx_facts_->packet >= 0 && ctx_facts_->packet_end >= 0 && (Can(kXdpAdjustHead) || Can(kSkbPullData)), [](Generator& g, int) { g.MovedFar(); }},
      {2, ctx && kernel && fork && maps && sub_ < 0 && o_.subprograms && CanTyped("bpf_ct_release"), [](Generator& g, int d) { g.Conntrack(d); }},
      {1, kernel && o_.subprograms && o_.open_loops && CallsAllowed() && sub_ < 0 && (pinned_ & 0x3f) == 0 && Can(180) && Can(158), [](Generator& g, int) { g.FindVma(); }},
      {8, ctx && p_->type == ProgType::kRawTracepointWritable, [](Generator& g, int) { g.TracepointBuffer(); }},
      {4, ctx && target_ != nullptr && CallsAllowed(), [](Generator& g, int) { g.TracingArgument(); }},
      {4, ctx && fork && target_ != nullptr && IsBuffer(2), [](Generator& g, int) { g.MapElement(); }},
      {1, maps && kernel, [](Generator& g, int) { g.MapDescription(); }},
      {1, maps && Can(165) && (pinned_ & 0x3f) == 0, [](Generator& g, int) { g.Format(); }},
      {2, o_.subprograms && deep && CallsAllowed() && (sub_ < 0 || !subs_[sub_].callback) && ctx_facts_->sections, [](Generator& g, int d) { g.Section(d); }},
      {1, maps && o_.subprograms && fork && sub_ < 0 && MayLock(), [](Generator& g, int) { g.Timer(); }},
      {4, maps && fork, [](Generator& g, int d) { g.Dynptrs(d); }},
      {4, maps && o_.subprograms && fork && sub_ < 0 && MayLock() && ctx_facts_->objects && o_.caps.perfmon, [](Generator& g, int d) { g.Objects(d); }},
      {1, maps && o_.subprograms && o_.open_loops && sub_ < 0 && fork && Can(209), [](Generator& g, int) { g.DrainRing(); }},
      {1, maps && fork && held_ == 0 && MayLock(), [](Generator& g, int) { g.TwoLocks(); }},
      {3, true, [](Generator& g, int) { g.Fetched(); }},
      {2, ctx && CallsAllowed() && (Can(26) || Can(189)), [](Generator& g, int) { g.Filled(); }},
      {2, o_.maps, [](Generator& g, int) { g.Constants(); }},
      {3, fork, [](Generator& g, int) { g.Wrapped(); }},
      {1, fork && ctx && ctx_facts_->packet >= 0 && ctx_facts_->packet_end >= 0, [](Generator& g, int) { g.PacketAgain(); }},
      {1, maps && forks_ > 1 && o_.caps.perfmon, [](Generator& g, int) { g.SamePointers(); }},
      {1, ctx, [](Generator& g, int) { g.ThereAndBack(); }},
      {5, maps && !PacketsPinned(), [](Generator& g, int) { g.AnyHelper(); }},
      {3, maps && ctx && fork && held_ == 0 && sub_ < 0 && (ctx_facts_->socket >= 0 || ctx_facts_->sure_socket >= 0 || Can(84)), [](Generator& g, int) { g.Socket(); }},
      {4, ctx && ctx_facts_->flow_keys >= 0, [](Generator& g, int) { g.FlowKeys(); }},
      {2, ctx && CallsAllowed() && held_ == 0 && MayUseLdAbs(p_->type), [](Generator& g, int) { g.LegacyLoad(); }},
      {2, ctx && fork && ctx_facts_->meta >= 0, [](Generator& g, int) { g.PacketMeta(); }},
      {2, o_.caps.perfmon, [](Generator& g, int) { g.PointerPlay(); }},
      {2, true, [](Generator& g, int) { g.SignMask(); }},
      {1, maps && ctx && held_ == 0 && Can(12) && !p_->sleepable, [](Generator& g, int) { g.TailCall(); }},
  };
  int total = 0;
  for (const Choice& choice : choices) total += choice.possible ? choice.weight : 0;
  int pick = static_cast<int>(c_.Below(static_cast<uint32_t>(total)));
  for (const Choice& choice : choices) {
    if (!choice.possible) continue;
    pick -= choice.weight;
    if (pick >= 0) continue;
    choice.write(*this, depth);
    break;
  }
  defect_ = outer;
}

// Asked wherever something could go wrong: the first place need not be the one.
bool Generator::Defect(double probability) {
  if (!defect_ || !c_.Chance(probability)) return false;
  defect_ = false;
  return true;
}

int32_t Generator::SomeImm() {
  switch (c_.Below(6)) {
    case 0:
    case 1: return static_cast<int32_t>(c_.Below(17));
    case 2: return static_cast<int32_t>(uint32_t{1} << c_.Below(32));
    case 3: return static_cast<int32_t>((uint32_t{1} << c_.Below(32)) - 1);
    case 4: return -c_.Between(1, 9);
    default: return static_cast<int32_t>(c_.Bits(4));
  }
}

void Generator::Take(const Insn& insn, Label& to, bool fork) {
  if (fork) --forks_;
  code_.Jump(insn, to.id);
  if (to.used) {
    MergeInto(to.in, m_);
  } else {
    to.in = m_;
    to.used = true;
  }
}

void Generator::BranchImm(int op, int reg, int32_t imm, Label& to, bool wide) {
  Take(MakeInsn((wide ? kClassJmp : kClassJmp32) | op, reg, 0, 0, imm), to, true);
}

void Generator::BranchReg(int op, int a, int b, Label& to, bool wide) {
  Take(MakeInsn((wide ? kClassJmp : kClassJmp32) | op | kSrcX, a, b, 0, 0), to, true);
}

void Generator::Goto(Label& to) {
  const bool far = c_.Chance(0.1);
  Take(MakeInsn((far ? kClassJmp32 : kClassJmp) | kJa, 0, 0, 0, 0), to, false);
}

void Generator::Bind(Label& label, bool falls_through) {
  code_.Bind(label.id);
  if (!label.used) return;
  if (falls_through) {
    MergeInto(m_, label.in);
  } else {
    m_ = label.in;
  }
}

Generator::Label& Generator::Bail() {
  // Out of the function only where there is nothing closer.
  const size_t from = std::min(std::max<size_t>(bail_floor_, 1), bails_.size() - 1);
  if (c_.Chance(0.6)) return *bails_.back();
  return *bails_[from + c_.Below(static_cast<uint32_t>(bails_.size() - from))];
}

int Generator::Dst(bool saved) {
  int free[kModelRegs], n = 0;
  for (int r = saved ? 6 : 0; r < kModelRegs; ++r) {
    if ((pinned_ >> r & 1) == 0) free[n++] = r;
  }
  // Fragments pin few registers at once; should all be taken, the program is one of the broken ones.
  return n == 0 ? 5 : free[c_.Below(static_cast<uint32_t>(n))];
}

int Generator::Saved() { return (pinned_ >> 6 & 15) == 15 ? -1 : Dst(true); }

int Generator::Home() {
  const int saved = Saved();
  return saved >= 0 ? saved : Dst();
}

int Generator::RegOf(Kind kind) {
  int found[kModelRegs], n = 0;
  for (int r = 0; r < kModelRegs; ++r) {
    if (m_.regs[r].kind == kind) found[n++] = r;
  }
  return n == 0 ? -1 : found[c_.Below(static_cast<uint32_t>(n))];
}

int Generator::MemoryReg(int need, bool write, bool atomics) {
  int found[kModelRegs], n = 0;
  for (int r = 0; r < kModelRegs; ++r) {
    const Value& v = m_.regs[r];
    if (v.IsMemory() && v.room - v.lo >= need && (v.writable || !write) && (v.atomics || !atomics)) found[n++] = r;
  }
  return n == 0 ? -1 : found[c_.Below(static_cast<uint32_t>(n))];
}

int Generator::FreeSlot() {
  return kept_slots_ + static_cast<int>(c_.Below(static_cast<uint32_t>(slots_ - kept_slots_)));
}

// `value` is what an aligned store of 8 bytes puts there; null: bytes that nothing is known of.
void Generator::StackWritten(int off, int size, const Value* value) {
  for (int at = off; at < off + size; ++at) {
    const int slot = (-at - 1) / 8;
    if (at >= 0 || slot >= kModelSlots) continue;
    m_.slots[slot] = value != nullptr && size == 8 ? *value : Value::Scalar();
  }
}

void Generator::ClobberedByCall(const Value& result) {
  for (int r = 0; r <= 5; ++r) m_.regs[r] = Value{};
  m_.regs[0] = result;
}

void Generator::ForgetPackets() {
  auto forget = [](Value& v) {
    if (v.kind == Kind::kPacket || v.kind == Kind::kPacketEnd || v.kind == Kind::kSlice) v = Value{};
  };
  for (Value& v : m_.regs) forget(v);
  for (Value& v : m_.slots) forget(v);
}

}  // namespace bpfsieve
