// Fragments of sections in which a program must not sleep, and of functions that run later.
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kTimerInit = 169, kTimerSetCallback = 170, kTimerStart = 171, kTimerCancel = 172;  // helpers

}  // namespace

// So many slots next to each other that a fragment may claim; the lowest in memory, -1: none.
int Generator::ClaimSlots(int count) {
  for (int first = 0; first + count <= kept_slots_; ++first) {
    const uint32_t mask = ((1u << count) - 1) << first;
    if ((pinned_slots_ & mask) != 0) continue;
    pinned_slots_ |= mask;
    for (int s = first; s < first + count; ++s) m_.slots[s] = Value{};
    return first + count - 1;
  }
  return -1;
}

void Generator::GiveSlotsBack(int lowest, int count) {
  for (int s = lowest - count + 1; s <= lowest; ++s) {
    pinned_slots_ &= ~(1u << s);
    m_.slots[s] = Value{};
  }
}

// What is open while `body` is written, and is left at `back` on every path; with a defect, some path forgets.
void Generator::While(Label& back, const std::function<void()>& body) {
  const size_t floor = bail_floor_;
  ++held_;
  bails_.push_back(&back);
  if (!Defect(0.3)) bail_floor_ = bails_.size() - 1;
  body();
  bails_.pop_back();
  bail_floor_ = floor;
  --held_;
}

void Generator::Section(int depth) {
  const uint32_t kind = c_.Below(reading_ && !Defect(0.2) ? 2 : 3);
  if ((pinned_ & 0x3f) != 0) return Alu();
  const int slot = kind == 1 ? ClaimSlots(1) : -1;
  if (kind == 1 && slot < 0) return Alu();
  // Interrupts are saved once more in it; what was saved last is restored first.
  const int inner = kind == 1 && c_.Chance(0.3) ? ClaimSlots(1) : -1;
  const auto call = [&](bool enter, int at) {
    if (kind == 1) {
      code_.MovReg(1, kRegFp);
      code_.AluImm(kAdd, 1, Defect(0.1) ? -8 * (at + 2) : -8 * (at + 1));
    }
    static constexpr const char* kNames[][2] = {{"bpf_preempt_enable", "bpf_preempt_disable"},
                                                {"bpf_local_irq_restore", "bpf_local_irq_save"},
                                                {"bpf_rcu_read_unlock", "bpf_rcu_read_lock"}};
    Kfunc(kNames[kind][enter]);
    ClobberedByCall(Value{});
  };
  const bool was_reading = reading_;
  call(true, slot);
  const bool twice = Defect(0.15);
  if (twice) call(true, slot);
  if (inner >= 0) call(true, inner);
  Label back = NewLabel();
  reading_ |= kind == 2;
  While(back, [&] { Block(c_.Between(1, 3), depth + 1); });
  reading_ = was_reading;
  Bind(back);
  const bool swapped = inner >= 0 && Defect(0.3);
  if (inner >= 0) call(false, swapped ? slot : inner);
  if (!Defect(0.5)) call(false, swapped ? inner : slot);
  if (twice ? c_.Chance(0.5) : Defect(0.2)) call(false, slot);
  if (inner >= 0) GiveSlotsBack(inner, 1);
  if (slot >= 0) GiveSlotsBack(slot, 1);
}

// A timer, or a work queue, in a map, and the function that it runs.
void Generator::Timer() {
  const int home = Saved();
  if (home < 0 || (pinned_ & 0x3f) != 0) return Alu();
  const Pin keep(*this, home);
  const bool queue = !Can(kTimerInit) || c_.Chance(0.3);
  const int map = UseMap(queue ? kQueueMap : kTimerMap);
  Label null = NewLabel();
  const int v = Lookup(map, null);
  code_.MovReg(home, v);
  code_.AluImm(kAdd, home, Defect(0.3) ? 0 : 8);
  Set(home, Value{});
  Sub sub;
  sub.later = true;
  sub.ret_max = 0;
  sub.forks = 1;
  Param none, key, value;
  none.kind = Kind::kNone;
  key.kind = Kind::kBuffer;
  key.room = 4;
  key.read_only = true;
  value.kind = Kind::kMapValue;
  value.room = 8;
  value.own = true;
  sub.params = {none, key, value};
  const int times = c_.Between(1, 3);
  for (int i = 0; i < times; ++i) {
    code_.MovReg(1, home);
    switch (c_.Below(5)) {
      case 0:
        code_.Imm64(2, kPseudoMapFd, Defect(0.4) ? UseMap(kHashMap) : map, 0);
        code_.MovImm(3, queue ? 0 : 1);
        queue ? Kfunc("bpf_wq_init") : code_.Call(kTimerInit);
        break;
      case 1:
        code_.MovImm(2, queue ? 0 : 1000);
        code_.MovImm(3, 0);
        queue ? Kfunc("bpf_wq_start") : code_.Call(kTimerStart);
        break;
      case 2:
        if (!queue) {
          code_.Call(kTimerCancel);
          break;
        }
        [[fallthrough]];
      default: {
        sub.called = true;
        const int index = static_cast<int>(subs_.size());
        subs_.push_back(sub);
        code_.FunctionAddress(2, index);
        code_.MovImm(3, 0);
        code_.MovImm(4, 0);
        queue ? Kfunc("bpf_wq_set_callback_impl") : code_.Call(kTimerSetCallback);
        break;
      }
    }
    ClobberedByCall(Value::Scalar());
  }
  if (Defect(0.3)) {
    code_.Load(8, 0, home, 0);  // what is the kernel's
    Set(0, Value::Scalar());
  }
  Bind(null);
  Set(home, Value{});
}

}  // namespace bpfsieve
