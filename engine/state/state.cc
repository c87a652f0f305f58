#include "engine/state/state.h"

#include <utility>

namespace bpfsieve {

std::string RegTypeName(RegType type, uint8_t flags) {
  static constexpr const char* kNames[] = {"?",        "scalar", "ctx",         "map_ptr",  "map_value",
                                           "map_key",  "fp",     "pkt_meta",    "pkt",      "pkt_end",
                                           "flow_keys", "sock",  "sock_common", "tcp_sock", "xdp_sock",
                                           "tp_buffer", "ptr_",  "mem",         "buf",      "func"};
  std::string name;
  if ((flags & kRdonly) != 0) name += "rdonly_";
  if ((flags & kRingbuf) != 0) name += "ringbuf_";
  name += kNames[static_cast<int>(type)];
  if ((flags & kMaybeNull) != 0) name += type == RegType::kBtfId ? "or_null_" : "_or_null";
  return name;
}

void Frame::Init(int32_t callsite_, int frameno_, int subprog_, int instance_) {
  for (Reg& r : regs) r.Clear();
  callsite = callsite_;
  frameno = static_cast<uint16_t>(frameno_);
  subprog = static_cast<uint16_t>(subprog_);
  instance = instance_;
  stack.clear();
  regs[kRegFp].MakePointer(RegType::kStack);
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

StatePool::~StatePool() = default;

Frame* StatePool::NewFrame() {
  Charge(sizeof(Frame));
  if (free_frames_.empty()) return new Frame();
  Frame* frame = free_frames_.back().release();
  free_frames_.pop_back();
  return frame;
}

void StatePool::FreeFrame(Frame* frame) {
  Charge(-static_cast<int64_t>(sizeof(Frame) + frame->stack.size() * sizeof(StackSlot)));
  frame->stack.clear();
  free_frames_.emplace_back(frame);
}

State* StatePool::NewState() {
  Charge(sizeof(State));
  if (free_states_.empty()) return new State();
  State* state = free_states_.back().release();
  free_states_.pop_back();
  return state;
}

State* StatePool::Clone(const State& from) {
  State* to = NewState();
  to->cur = from.cur;
  for (int i = 0; i <= from.cur; ++i) {
    Frame* f = NewFrame();
    *f = *from.frames[i];
    Charge(static_cast<int64_t>(f->stack.size() * sizeof(StackSlot)));
    to->frames[i] = f;
  }
  to->refs = from.refs;
  to->active_locks = from.active_locks;
  to->lock_id = from.lock_id;
  to->lock_map = from.lock_map;
  to->id_gen = from.id_gen;
  to->parent = from.parent;
  to->first_insn = from.first_insn;
  to->last_insn = from.last_insn;
  to->history = from.history;
  return to;
}

void StatePool::Free(State* state) {
  for (int i = 0; i <= state->cur; ++i) {
    FreeFrame(state->frames[i]);
    state->frames[i] = nullptr;
  }
  state->cur = -1;
  Charge(-static_cast<int64_t>(sizeof(State)));
  free_states_.emplace_back(state);
}

}  // namespace bpfsieve
