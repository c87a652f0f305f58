// Fragments of control flow.
#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz/generator.h"

namespace bpfsieve {

// Two ways that meet again.
void Generator::Diamond(int depth) {
  Label other = NewLabel(), end = NewLabel();
  const int x = AnyScalar();
  const bool wide = c_.Chance(0.7);
  if (c_.Chance(0.75)) {
    SomeBranchImm(x, SomeImm(), other, wide);
  } else {
    const Pin keep(*this, x);
    SomeBranchReg(x, AnyScalar(x), other, wide);
  }
  bails_.push_back(&end);
  // Often both sides give the same register different values: what a state that was recorded after them must not hide.
  const int shared = c_.Chance(0.5) ? Dst() : -1;
  auto side = [&](int fragments) {
    if (shared >= 0 && (pinned_ >> shared & 1) == 0) {
      const int32_t k = static_cast<int32_t>(c_.Below(40));
      code_.MovImm(shared, k);
      Set(shared, Value::Scalar(static_cast<uint64_t>(k), static_cast<uint64_t>(k)));
    }
    Block(fragments, depth + 1);
  };
  side(c_.Between(0, 2));
  if (c_.Chance(0.7)) {
    Goto(end);
    Bind(other, false);
    side(c_.Between(0, 2));
    bails_.pop_back();
  } else {
    bails_.pop_back();
    Bind(other);
  }
  Bind(end);
}

// One number against several constants.
void Generator::Switch(int depth) {
  Label end = NewLabel();
  const int x = AnyScalar();
  const Pin keep(*this, x);
  const int r = Dst();
  const Pin keep_r(*this, r);
  const int cases = c_.Between(2, 4);
  int32_t k = c_.Between(0, 3);
  for (int i = 0; i < cases && CanFork(); ++i) {
    Label next = NewLabel();
    BranchImm(kJne, x, k, next);
    const int32_t v = static_cast<int32_t>(c_.Below(20));
    code_.MovImm(r, v);
    Set(r, Value::Scalar(static_cast<uint64_t>(v), static_cast<uint64_t>(v)));
    if (c_.Chance(0.3)) Block(1, depth + 1);
    Goto(end);
    Bind(next, false);
    if (!m_.regs[x].IsScalar()) break;
    k += c_.Between(1, 3);
  }
  code_.MovImm(r, 0);
  Set(r, Value::Scalar(0, 0));
  Bind(end);
}

// A flag that says which of two ways was taken, and an index that is good on one of them alone.
void Generator::Correlated(int depth) {
  const int x = AnyScalar();
  const Pin keep_x(*this, x);
  const int flag = Home();
  const Pin keep_flag(*this, flag);
  const int index = Home();
  const Pin keep_index(*this, index);
  const int size = 8 * c_.Between(1, 3);
  int32_t good = static_cast<int32_t>(c_.Below(static_cast<uint32_t>(size)));
  if (Defect()) good += size;
  const int32_t set = c_.Between(1, 3);

  Label other = NewLabel(), end = NewLabel(), past = NewLabel();
  SomeBranchImm(x, SomeImm(), other);
  code_.MovImm(flag, 0);
  // On the way that must not use it: far outside, or an address.
  const bool address = c_.Chance(0.3);
  if (address) {
    code_.MovReg(index, kRegFp);
  } else {
    code_.MovImm(index, c_.Between(1, 9) * 1000);
  }
  Goto(end);
  Bind(other, false);
  code_.MovImm(flag, set);
  code_.MovImm(index, good);
  Bind(end);
  Value mixed;
  mixed.kind = Kind::kMixed;
  Set(flag, Value::Scalar(0, static_cast<uint64_t>(set)));
  Set(index, address ? mixed : Value::Scalar(0, 9000));

  const bool in_stack = c_.Chance(0.4);
  const int slot = FreeSlot();
  if (in_stack) {
    code_.Store(8, kRegFp, -8 * (slot + 1), index);
    m_.slots[slot] = m_.regs[index];
  } else if (flag >= 6 && index >= 6 && c_.Chance(0.5) && Deep(depth)) {
    Block(1, depth + 1);
  }
  const bool wrong = Defect();
  BranchImm(wrong ? kJeq : kJne, flag, set, past, c_.Chance(0.7));
  if (!wrong) ++forks_;  // the flag is known on each way
  if (in_stack) code_.Load(8, index, kRegFp, -8 * (slot + 1));
  const int base = StackBuffer(size, false);
  if (base >= 0) {
    const int at = m_.regs[base].off;
    code_.AluReg(kAdd, base, index);
    code_.StoreImm(1, base, 0, 7);
    StackWritten(at, size, nullptr);
    Set(base, Value{});
  }
  Bind(past);
  Set(index, address ? mixed : Value::Scalar(0, 9000));
}

// Out of the function in the middle of it.
void Generator::EarlyExit() {
  const int x = c_.Chance(0.9) ? Unknown() : AnyScalar();
  const bool through_bail = c_.Chance(0.5), wide = c_.Chance(0.7);
  if (through_bail) {
    SomeBranchImm(x, c_.Between(1, 100), *bails_.front(), wide);
    return;
  }
  Label on = NewLabel();
  SomeBranchImm(x, c_.Between(1, 100), on, wide);
  const RetRule rule = sub_ < 0 ? Returns() : RetRule{};
  const bool one = rule.checked ? rule.range.max - rule.range.min == 1 : sub_ < 0 || !subs_[sub_].later;
  code_.MovImm(0, (rule.checked ? rule.range.min : 0) + static_cast<int32_t>(c_.Below(one ? 2 : 1)));
  code_.Exit();
  Bind(on, false);
}

// The head of a loop is come to again with whatever its body makes: of what is not pinned only that it is a number
// stays.
void Generator::WeakenForLoop() {
  for (int r = 0; r < kModelRegs; ++r) {
    // Being pinned does not save R0 to R5 from calls.
    if (r > 5 && (pinned_ >> r & 1) != 0) continue;
    m_.regs[r] = m_.regs[r].IsScalar() ? Value::Scalar() : Value{};
  }
  for (int s = 0; s < kModelSlots; ++s) {
    if ((pinned_slots_ >> s & 1) != 0) continue;
    // Nothing written reads as an unknown number, and a pointer is not counted on.
    Value& v = m_.slots[s];
    if (!v.IsScalar() && v.kind != Kind::kNone) v.kind = Kind::kMixed;
    if (v.IsScalar()) v = Value::Scalar();
  }
}

void Generator::RepairAtBackEdge(const Model& head) {
  for (int r = 0; r < kModelRegs; ++r) {
    if (!head.regs[r].IsScalar() || m_.regs[r].IsScalar()) continue;
    code_.MovImm(r, static_cast<int32_t>(c_.Below(8)));
    Set(r, Value::Scalar());
  }
  for (int s = 0; s < slots_; ++s) {
    const bool number = head.slots[s].IsScalar() || head.slots[s].kind == Kind::kNone;
    const bool still = m_.slots[s].IsScalar() || m_.slots[s].kind == Kind::kNone;
    if ((pinned_slots_ >> s & 1) != 0 || !number || still) continue;
    code_.StoreImm(8, kRegFp, -8 * (s + 1), 0);
    m_.slots[s] = Value::Scalar(0, 0);
  }
}

void Generator::Loop(int depth) {
  const int rounds = c_.Between(1, std::max(1, o_.loop_bound));
  // Conditions inside are met in every round.
  const int before = forks_;
  forks_ /= rounds;
  const int start = forks_;
  Label end = NewLabel();
  const int counter = Saved();
  int slot = -1;
  if (counter < 0 || c_.Chance(0.3)) {
    for (int s = 0; s < kept_slots_ && slot < 0; ++s) {
      if ((pinned_slots_ >> s & 1) == 0) slot = s;
    }
  }
  if (slot >= 0) {
    // In memory, as a compiler without registers to spare leaves it.
    const int off = -8 * (slot + 1);
    const int size = c_.Chance(0.6) ? 8 : 4;
    pinned_slots_ |= 1u << slot;
    code_.StoreImm(size, kRegFp, off, 0);
    m_.slots[slot] = Value::Scalar(0, static_cast<uint64_t>(rounds - 1));
    WeakenForLoop();
    const Model head = m_;
    const int top = code_.NewLabel();
    code_.Bind(top);
    int index = -1;
    if (c_.Chance(0.5)) {
      index = Dst();
      code_.Load(size, index, kRegFp, off);
      Set(index, m_.slots[slot]);
    }
    LoopBody(rounds, -1, index, depth, end);
    const int t = Dst();
    code_.Load(size, t, kRegFp, off);
    if (!Defect()) code_.AluImm(kAdd, t, 1);
    code_.Store(size, kRegFp, off, t);
    Set(t, Value::Scalar());
    {
      const Pin keep(*this, t);
      RepairAtBackEdge(head);
    }
    code_.Jump(MakeInsn(kClassJmp | kJlt, t, 0, 0, rounds), top);
    pinned_slots_ &= ~(1u << slot);
    m_.slots[slot] = Value::Scalar();
  } else if (counter >= 0) {
    const Pin keep(*this, counter);
    const bool down = c_.Chance(0.3), open = !down && c_.Chance(0.3) && before > rounds;
    code_.MovImm(counter, down ? rounds : 0);
    Set(counter, Value::Scalar(down ? 1 : 0, static_cast<uint64_t>(down ? rounds : rounds - 1)));
    int many = -1;
    if (open) {
      many = AnyScalar();
      for (int s = 0; s < kept_slots_ && slot < 0; ++s) {
        if ((pinned_slots_ >> s & 1) == 0) slot = s;
      }
      if (slot >= 0) {
        code_.Store(8, kRegFp, -8 * (slot + 1), many);
        m_.slots[slot] = Value::Scalar();
        pinned_slots_ |= 1u << slot;
      }
    }
    WeakenForLoop();
    const Model head = m_;
    const int top = code_.NewLabel();
    code_.Bind(top);
    if (open && slot >= 0) {
      // As many rounds as some number says, but not more than a constant.
      const int t = Dst();
      code_.Load(8, t, kRegFp, -8 * (slot + 1));
      Set(t, Value::Scalar());
      BranchReg(kJge, counter, t, end);
      if (!Defect()) {
        Take(MakeInsn(kClassJmp | kJge, counter, 0, 0, rounds), end, false);
      }
    }
    LoopBody(rounds, counter, counter, depth, end);
    RepairAtBackEdge(head);
    if (!Defect()) code_.AluImm(kAdd, counter, down ? -1 : 1);
    if (open && slot >= 0) {
      code_.Jump(MakeInsn(kClassJmp | kJa, 0, 0, 0, 0), top);
      pinned_slots_ &= ~(1u << slot);
      // Only jumps lead out, and there is one.
      m_ = end.in;
    } else {
      const bool zero = down && c_.Chance(0.5);
      code_.Jump(MakeInsn(kClassJmp | (down ? zero ? kJne : kJsgt : kJlt), counter, 0, 0, down ? 0 : rounds), top);
    }
    Set(counter, Value::Scalar(0, static_cast<uint64_t>(rounds)));
  }
  const int used = std::max(0, start - forks_);
  forks_ = std::max(0, before - used * rounds);
  Bind(end);
}

void Generator::LoopBody(int rounds, int counter, int index, int depth, Label& end) {
  bails_.push_back(&end);
  const Pin keep(*this, counter);
  if (index >= 0 && o_.caps.perfmon && c_.Chance(0.6)) {
    // The counter as an index: its value in every round matters.
    const Pin keep_index(*this, index);
    const int size = 8 * (rounds / 8 + 1);
    const int base = StackBuffer(size, false);
    if (base >= 0) {
      const int at = m_.regs[base].off;
      code_.AluReg(kAdd, base, index);
      const auto stored = static_cast<int32_t>(c_.Below(100));
      code_.StoreImm(1, base, Defect() ? size : 0, stored);
      StackWritten(at, size, nullptr);
      Set(base, Value{});
    }
  }
  Block(c_.Between(rounds > 0 && index < 0 ? 1 : 0, 2), depth + 1);
  bails_.pop_back();
}

// Until a budget is spent.
void Generator::OpenLoop(int depth) {
  Label end = NewLabel();
  WeakenForLoop();
  const Model head = m_;
  const int top = code_.NewLabel();
  code_.Bind(top);
  Take(MakeInsn(kClassJmp | kJcond, 0, kMayGoto, 0, 0), end, true);
  bails_.push_back(&end);
  Block(c_.Between(1, 2), depth + 1);
  bails_.pop_back();
  RepairAtBackEdge(head);
  code_.Jump(MakeInsn(kClassJmp | kJa, 0, 0, 0, 0), top);
  Bind(end, false);
}

// Until a budget is spent, or numbers run out, with numbers that it carries from turn to turn: set before it to one thing or
// another, changed in some turns, looked at in some, and in some an index. Which of them matter where is known only when
// all of the loop has been looked at.
void Generator::CarryingLoop() {
  // What a loop around it counts with would be anything after it.
  if ((pinned_ & ~(ctx_home_ >= 0 ? 1u << ctx_home_ : 0)) != 0 || (pinned_slots_ & ~(ctx_slot_ >= 0 ? 1u : 0)) != 0) return Alu();
  const bool iterator = held_ == 0 && CallsAllowed() && ctx_facts_->iterators && c_.Chance(0.5);
  const int iter_slot = iterator ? ClaimSlots(1) : -1;
  if (iterator && iter_slot < 0) return Alu();
  struct Carried {
    int reg = -1, slot = -1;
    bool changed = false;  // in the loop, after which it may be anything
  };
  Carried carried[2];
  const uint32_t before = pinned_;
  for (Carried& each : carried) {
    if (c_.Chance(0.3)) each.slot = ClaimSlots(1);
    if (each.slot < 0) each.reg = Saved();
    if (each.reg >= 0) {
      pinned_ |= 1u << each.reg;
      Set(each.reg, Value::Scalar());
    } else if (each.slot >= 0) {
      m_.slots[each.slot] = Value::Scalar();
    } else {
      each = carried[0];
      continue;
    }
    each.changed = c_.Chance(0.4);
  }
  const auto done = [&] {
    pinned_ = before;
    for (const Carried& each : carried) {
      if (each.slot >= 0 && (pinned_slots_ >> each.slot & 1) != 0) GiveSlotsBack(each.slot, 1);
    }
    if (iter_slot >= 0) GiveSlotsBack(iter_slot, 1);
  };
  if (carried[0].reg < 0 && carried[0].slot < 0) return done();
  const int slots = c_.Between(1, 2);
  const int32_t numbers[] = {0, c_.Between(1, 7), 8 * slots - 1};
  const auto some = [&]() -> const Carried& { return carried[c_.Below(2)]; };
  const auto put = [&](const Carried& to, double wrong = 0.2) {
    const int32_t k = Defect(wrong) ? c_.Between(1, 9) * 1000 : c_.Of(numbers);
    if (to.reg >= 0) {
      code_.MovImm(to.reg, k);
    } else {
      code_.StoreImm(8, kRegFp, -8 * (to.slot + 1), k);
    }
  };
  const auto get = [&](const Carried& from) {
    if (from.reg >= 0) return from.reg;
    const int d = Dst();
    code_.Load(8, d, kRegFp, -8 * (from.slot + 1));
    Set(d, Value::Scalar());
    return d;
  };
  const auto use = [&](const Carried& index) {
    int at = get(index);
    if (index.changed && !Defect(0.3)) {
      const int d = Dst();
      if (d != at) code_.MovReg(d, at);
      code_.AluImm(kAnd, d, 8 * slots - 1);
      Set(d, Value::Scalar());
      at = d;
    }
    UseAsIndex(at, slots);
  };
  const auto call = [&](const char* name) {
    code_.MovReg(1, kRegFp);
    code_.AluImm(kAdd, 1, -8 * (iter_slot + 1));
    Kfunc(name);
    ClobberedByCall(Value{});
  };
  if (iterator) {
    code_.MovImm(2, 0);
    code_.MovImm(3, c_.Between(2, 9));
    call("bpf_iter_num_new");
  }
  for (const Carried& each : carried) put(each, 0.1);
  Label inside = NewLabel(), end = NewLabel();
  if (CanFork()) {
    // Other numbers on some path, which may get to the middle of the loop.
    const int x = Unknown();
    Label other = NewLabel(), on = NewLabel();
    SomeBranchImm(x, c_.Between(1, 100), other);
    const bool middle = c_.Chance(0.5), first = c_.Chance(0.4);
    if (c_.Chance(0.3)) put(some());
    Goto(middle && first ? inside : on);
    Bind(other, false);
    put(some(), 0.6);
    if (middle && !first) Goto(inside);
    Bind(on, !middle || first);
  }
  WeakenForLoop();
  const Model head = m_;
  const int top = code_.NewLabel();
  code_.Bind(top);
  const auto again = [&] {
    RepairAtBackEdge(head);
    code_.Jump(MakeInsn(kClassJmp | kJa, 0, 0, 0, 0), top);
  };
  if (iterator) {
    call("bpf_iter_num_next");
    Take(MakeInsn(kClassJmp | kJeq, 0, 0, 0, 0), end, true);
  } else {
    Take(MakeInsn(kClassJmp | kJcond, 0, kMayGoto, 0, 0), end, true);
  }
  // What is done in some turns; false: the turn ends with it.
  const auto act = [&](bool may_leave) {
    switch (c_.Below(6)) {
      case 0:
      case 1: use(some()); return true;
      case 2: {
        const Carried& to = some();
        to.changed ? put(to) : use(to);
        return true;
      }
      case 3: {
        if (!carried[1].changed) {
          use(carried[1]);
          return true;
        }
        const int from = get(carried[0]);
        if (carried[1].reg >= 0) {
          code_.MovReg(carried[1].reg, from);
        } else {
          code_.Store(8, kRegFp, -8 * (carried[1].slot + 1), from);
        }
        return true;
      }
      case 4:
        if (may_leave) Goto(end);
        return !may_leave;
      default:
        if (may_leave) again();
        return !may_leave;
    }
  };
  const int parts = c_.Between(1, 4), entry = static_cast<int>(c_.Below(static_cast<uint32_t>(parts)));
  const uint32_t arm_entered = c_.Below(3);
  bool entered = !inside.used;
  for (int part = 0; part < parts; ++part) {
    const auto enter = [&](uint32_t arm) {
      if (part != entry || arm != arm_entered || entered) return;
      Bind(inside);
      entered = true;
    };
    enter(0);
    Label other = NewLabel(), past = NewLabel();
    if (c_.Chance(0.4)) {
      // One after the other, since the order of arguments is the compiler's own choice.
      const int32_t number = c_.Of(numbers);
      const int looked_at = get(some());
      const uint8_t op = c_.Chance(0.5) ? kJne : kJeq;
      Take(MakeInsn(kClassJmp | op, looked_at, 0, 0, number), other, false);
    } else if (CanFork()) {
      const int32_t number = c_.Between(1, 100);
      SomeBranchImm(Unknown(), number, other);
    }
    enter(1);
    bool goes_on = act(other.used);
    if (other.used && c_.Chance(0.5)) {
      if (goes_on) Goto(past);
      Bind(other, false);
      enter(2);
      goes_on = act(past.used);
      Bind(past, goes_on);
    } else {
      Bind(other, goes_on);
    }
  }
  if (!entered) Bind(inside);
  again();
  Bind(end, false);
  if (iterator) call("bpf_iter_num_destroy");
  if (c_.Chance(0.5)) use(some());
  done();
}

// Over numbers, or what the kernel has many of, by an iterator on the stack, which is given back on every path.
void Generator::IteratorLoop(int depth) {
  if ((pinned_ & 0x3f) != 0) return Alu();
  const int slots = c_.Chance(0.7) ? 1 : c_.Between(1, 3);
  const char* type;
  const char* const elements = NewIterator(slots, &type);
  const std::string_view is = type;
  const int slot = ClaimSlots(slots);
  if (slot < 0) return Alu();
  const std::string begins = "bpf_iter_" + std::string(type) + "_";
  const auto call = [&](const char* name) {
    code_.MovReg(1, kRegFp);
    code_.AluImm(kAdd, 1, -8 * (slot + 1));
    Kfunc((begins + name).c_str());
    ClobberedByCall(Value{});
  };
  const int32_t begin = c_.Between(-2, 5);
  if (is == "task_vma") {
    code_.Call(158);  // the current task
    ClobberedByCall(Value{});
    code_.MovReg(2, 0);
    code_.MovImm(3, 0);
  } else if (is == "task") {
    code_.MovImm(2, 0);
    code_.MovImm(3, c_.Between(0, 2));
  } else if (is == "bits") {
    code_.MovReg(2, kRegFp);
    code_.MovImm(3, 1);
  } else {
    code_.MovImm(2, begin);
    if (c_.Chance(0.7)) {
      code_.MovImm(3, begin + c_.Between(0, 6));
    } else {
      Set(2, Value{});
      const Pin keep(*this, 2);
      const int many = AnyScalar();
      if (many != 3) code_.MovReg(3, many);
    }
  }
  // What it has come to is often kept, and so at hand when the iterator has moved on, or is gone.
  const int home = elements != nullptr || c_.Chance(0.4) ? Saved() : -1;
  const Pin keep(*this, home);
  call("new");
  if (home >= 0) {
    code_.MovImm(home, 0);
    Set(home, Value{});
  }
  Label back = NewLabel();
  WeakenForLoop();
  const Model head = m_;
  const int top = code_.NewLabel();
  code_.Bind(top);
  if (!Defect(0.3)) call("next");
  if (Defect(0.3)) {
    code_.Load(4, 1, 0, 0);
  }
  BranchImm(kJeq, 0, 0, back);
  Value element = Value::Pointer(Kind::kBuffer, 4);
  element.writable = false;
  const size_t floor = bail_floor_;
  ++held_;
  bails_.push_back(&back);
  if (!Defect()) bail_floor_ = bails_.size() - 1;  // else a check that fails leaks it
  if (home >= 0) code_.MovReg(home, 0);
  if (elements == nullptr) {
    Set(0, element);
    if (c_.Chance(0.7)) Access(0);
  } else if (home >= 0) {
    LoadKernelNumber(home, elements);
    if (is != "task" || Readers()) UseKernelObject(home, elements);
  }
  if (CanFork() && c_.Chance(0.2)) {
    const int32_t number = c_.Between(1, 100);
    SomeBranchImm(Unknown(), number, back);
  }
  if (Defect(0.1)) {
    const int size = 1 << c_.Below(4);
    const auto at = static_cast<int>(c_.Below(static_cast<uint32_t>(8 * slots / size)));
    code_.StoreImm(size, kRegFp, -8 * (slot + 1) + size * at, 0);
  }
  Block(c_.Between(0, 2), depth + 1);
  bails_.pop_back();
  bail_floor_ = floor;
  --held_;
  RepairAtBackEdge(head);
  code_.Jump(MakeInsn(kClassJmp | kJa, 0, 0, 0, 0), top);
  Bind(back, false);
  if (!Defect()) call("destroy");
  if (home >= 0 && Defect(0.4)) {
    Label none = NewLabel();
    Take(MakeInsn(kClassJmp | kJeq, home, 0, 0, 0), none, false);
    if (elements == nullptr) {
      code_.Load(4, 0, home, 0);
    } else {
      LoadKernelNumber(home, elements);
      UseKernelObject(home, elements);
    }
    Bind(none);
  }
  if (home >= 0) Set(home, Value{});
  GiveSlotsBack(slot, slots);
}

// A function that a helper calls back from where the program stands, as far as that is the same for all of them.
Generator::Sub Generator::CalledBackHere() const {
  Sub sub;
  sub.callback = sub.called = true;
  sub.in_section = held_ > 0;
  sub.in_rcu = reading_;
  sub.ret_max = 1;
  sub.forks = std::min(forks_, 1);
  return sub;
}

// A function of its own that a helper calls back: so many times, or for each element of a map.
void Generator::CallBack() {
  const bool each = o_.maps && c_.Chance(0.35) && Can(164);
  const int room = 8 * c_.Between(1, 2);
  const int buffer = StackBuffer(room, true);
  if (buffer < 0) return;
  const int off = m_.regs[buffer].off;
  Sub sub = CalledBackHere();
  Param memory;
  memory.kind = Kind::kBuffer;
  memory.room = room;
  memory.own = true;
  code_.MovReg(3, buffer);
  Set(3, Value{});
  const uint32_t before = pinned_;
  pinned_ |= 1u << 3;
  const int index = static_cast<int>(subs_.size());
  if (each) {
    const int map = UseMap(c_.Chance(0.5) ? kHashMap : kArrayMap);
    const MapDef& def = object_->maps[static_cast<size_t>(map)];
    Param none, key, value;
    none.kind = Kind::kNone;
    key.kind = Kind::kBuffer;
    key.room = static_cast<int>(def.key_size);
    key.read_only = true;
    value.kind = Kind::kMapValue;
    value.room = static_cast<int>(def.value_size);
    value.own = true;
    sub.params = {none, key, value, memory};
    code_.Imm64(1, kPseudoMapFd, map, 0);
  } else {
    sub.params = {Param{}, memory};
    if (c_.Chance(0.7)) {
      code_.MovImm(1, c_.Between(1, o_.loop_bound + 1));
    } else {
      const int many = Bounded(7);
      if (many != 1) code_.MovReg(1, many);
    }
  }
  Set(1, Value{});
  pinned_ = before;
  subs_.push_back(sub);
  code_.FunctionAddress(2, index);
  code_.MovImm(4, 0);
  code_.Call(each ? 164 : 181);
  ClobberedByCall(Value::Scalar());
  StackWritten(off, room, nullptr);
}

}  // namespace bpfsieve
