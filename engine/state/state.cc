#include "engine/state/state.h"

#include <utility>

namespace bpfsieve {

std::string RegTypeName(RegType type, uint16_t flags) {
  static constexpr const char* kNames[] = {"?",        "scalar", "ctx",         "map_ptr",  "map_value",
                                           "map_key",  "fp",     "pkt_meta",    "pkt",      "pkt_end",
                                           "flow_keys", "sock",  "sock_common", "tcp_sock", "xdp_sock",
                                           "tp_buffer", "ptr_",  "mem",         "buf",      "func", "arena",
                                           "iter",     "dynptr_ptr", "irq"};
  std::string name;
  static constexpr struct {
    uint16_t flag;
    const char* text;
  } kPrefixes[] = {{kRdonly, "rdonly_"}, {kRingbuf, "ringbuf_"}, {kUser, "user_"},       {kPercpu, "percpu_"},
                   {kRcu, "rcu_"},       {kUntrusted, "untrusted_"}, {kTrusted, "trusted_"}};
  for (const auto& prefix : kPrefixes) {
    if ((flags & prefix.flag) != 0) name += prefix.text;
  }
  name += kNames[static_cast<int>(type)];
  if ((flags & kMaybeNull) != 0) name += type == RegType::kBtfId ? "or_null_" : "_or_null";
  return name;
}

const StackSlot Frame::kNoSlot{};

namespace {

std::array<Reg, kMaxReg> EntryRegs() {
  std::array<Reg, kMaxReg> regs;
  regs[kRegFp].MakePointer(RegType::kStack);
  return regs;
}
const std::array<Reg, kMaxReg> kEntryRegs = EntryRegs();  // copied, as that is faster than to write them

}  // namespace

void Frame::Init(int32_t callsite_, int frameno_, int subprog_, int instance_) {
  regs = kEntryRegs;
  callsite = callsite_;
  frameno = static_cast<uint8_t>(frameno_);
  subprog = static_cast<uint16_t>(subprog_);
  instance = instance_;
  slots = 0;
  spills = objects = buffers = 0;
  in_callback = in_async_callback = false;
  async_entries = 0;
  callback_depth = 0;
  regs[kRegFp].frameno = frameno;
}

uint64_t PackLinked(const LinkedRegs& regs) {
  uint64_t packed = 0;
  for (int i = 0; i < regs.count; ++i) {
    const LinkedRegs::Entry& e = regs.entries[i];
    packed = packed << 10 | static_cast<uint64_t>(e.frame) | static_cast<uint64_t>(e.index) << 3 |
             static_cast<uint64_t>(e.is_reg) << 9;
  }
  return packed << 4 | static_cast<uint64_t>(regs.count);
}

LinkedRegs UnpackLinked(uint64_t packed) {
  LinkedRegs regs;
  int n = static_cast<int>(packed & 0xf);
  packed >>= 4;
  for (int i = 0; i < n; ++i, packed >>= 10) {
    regs.Push(packed & 7, (packed >> 3) & 63, ((packed >> 9) & 1) != 0);
  }
  return regs;
}

Frame* StatePool::NewFrame() {
  Frame* frame = frames_.Take();
  frame->refs.Init();
  return frame;
}

void StatePool::FreeFrame(Frame* frame) {
  if (!frame->refs.Drop(shared_)) return;
  for (int p = 0; p * kPageSlots < frame->slots; ++p) {
    StackPage*& page = frame->pages[p];
    if (page != nullptr && page->refs.Drop(shared_)) pages_.Give(page);
    page = nullptr;
  }
  frames_.Give(frame);
}

void StatePool::CopyFrame(Frame& to, const Frame& from) {
  to.regs = from.regs;
  to.callsite = from.callsite;
  to.frameno = from.frameno;
  to.subprog = from.subprog;
  to.instance = from.instance;
  to.slots = from.slots;
  to.spills = from.spills;
  to.objects = from.objects;
  to.buffers = from.buffers;
  to.in_callback = from.in_callback;
  to.in_async_callback = from.in_async_callback;
  to.async_entries = from.async_entries;
  to.callback_depth = from.callback_depth;
  for (int p = 0; p * kPageSlots < from.slots; ++p) {
    to.pages[p] = from.pages[p];
    if (to.pages[p] != nullptr) to.pages[p]->refs.Add(shared_);
  }
}

void StatePool::Unshare(Frame*& frame) {
  Frame* own = NewFrame();
  CopyFrame(*own, *frame);
  FreeFrame(frame);
  frame = own;
}

void StatePool::OwnPage(StackPage*& page) {
  StackPage* own = pages_.Take();
  own->refs.Init();
  for (int i = 0; i < kPageSlots; ++i) own->slots[i] = page != nullptr ? page->slots[i] : StackSlot{};
  if (page != nullptr && page->refs.Drop(shared_)) pages_.Give(page);
  page = own;
}

State* StatePool::NewState() { return states_.Take(); }

State* StatePool::NewEntry(int subprog, int instance) {
  State* state = NewState();
  state->cur = 0;
  state->frames[0] = NewFrame();
  state->frames[0]->Init(-1, 0, subprog, instance);
  state->refs.clear();
  state->active_locks = 0;
  state->lock_id = 0;
  state->lock_map = -1;
  state->rcu_locks = state->preempt_locks = state->irq_id = 0;
  state->async_sleeps = false;
  state->speculative = false;
  state->id_gen = 0;
  state->may_goto_depth = state->callback_unroll_depth = 0;
  return state;
}

State* StatePool::Clone(const State& from) {
  State* to = NewState();
  to->cur = from.cur;
  for (int i = 0; i < from.cur; ++i) {
    to->frames[i] = from.frames[i];
    to->frames[i]->refs.Add(shared_);
  }
  to->frames[from.cur] = NewFrame();
  CopyFrame(to->frame(), from.frame());
  to->refs = from.refs;
  to->active_locks = from.active_locks;
  to->lock_id = from.lock_id;
  to->lock_map = from.lock_map;
  to->rcu_locks = from.rcu_locks;
  to->preempt_locks = from.preempt_locks;
  to->irq_id = from.irq_id;
  to->async_sleeps = from.async_sleeps;
  to->speculative = from.speculative;
  to->id_gen = from.id_gen;
  to->may_goto_depth = from.may_goto_depth;
  to->callback_unroll_depth = from.callback_unroll_depth;
  return to;
}

void StatePool::Free(State* state) {
  for (int i = 0; i <= state->cur; ++i) {
    FreeFrame(state->frames[i]);
    state->frames[i] = nullptr;
  }
  state->cur = -1;
  states_.Give(state);
}

}  // namespace bpfsieve
