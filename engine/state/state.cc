#include "engine/state/state.h"

#include <algorithm>
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

const StackSlot Frame::kNoSlot;

void Frame::Init(int32_t callsite_, int frameno_, int subprog_, int instance_) {
  for (Reg& r : regs) r.Clear();
  callsite = callsite_;
  frameno = static_cast<uint16_t>(frameno_);
  subprog = static_cast<uint16_t>(subprog_);
  instance = instance_;
  slots = 0;
  spills = 0;
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

FreeParts::~FreeParts() {
  for (State* s : states) delete s;
  for (Frame* f : frames) delete f;
  for (StackPage* p : pages) delete p;
}

namespace {
// Parts of a kind that a pool with a depot keeps to itself, and that go there or come from there at once.
constexpr size_t kKeep = 256, kBatch = 128;
}  // namespace

template <typename T>
T* StatePool::Take(std::vector<T*> FreeParts::*list) {
  std::vector<T*>& own = free_.*list;
  if (own.empty() && depot_ != nullptr) {
    std::vector<T*>& others = depot_->parts_.*list;
    const std::lock_guard<std::mutex> lock(depot_->mutex_);
    const size_t n = std::min(others.size(), kBatch);
    own.assign(others.end() - static_cast<ptrdiff_t>(n), others.end());
    others.resize(others.size() - n);
  }
  if (own.empty()) return new T();
  T* part = own.back();
  own.pop_back();
  return part;
}

template <typename T>
void StatePool::Give(std::vector<T*> FreeParts::*list, T* part) {
  std::vector<T*>& own = free_.*list;
  own.push_back(part);
  if (depot_ == nullptr || own.size() < kKeep) return;
  std::vector<T*>& others = depot_->parts_.*list;
  const std::lock_guard<std::mutex> lock(depot_->mutex_);
  others.insert(others.end(), own.end() - static_cast<ptrdiff_t>(kBatch), own.end());
  own.resize(own.size() - kBatch);
}

Frame* StatePool::NewFrame() {
  Frame* frame = Take(&FreeParts::frames);
  frame->refs.Init();
  return frame;
}

void StatePool::DropPage(StackPage* page) {
  if (page->refs.Drop(shared())) Give(&FreeParts::pages, page);
}

void StatePool::FreeFrame(Frame* frame) {
  if (!frame->refs.Drop(shared())) return;
  for (StackPage*& page : frame->pages) {
    if (page != nullptr) DropPage(page);
    page = nullptr;
  }
  Give(&FreeParts::frames, frame);
}

void StatePool::CopyFrame(Frame& to, const Frame& from) {
  to.regs = from.regs;
  to.callsite = from.callsite;
  to.frameno = from.frameno;
  to.subprog = from.subprog;
  to.instance = from.instance;
  to.slots = from.slots;
  to.spills = from.spills;
  for (int p = 0; p * kPageSlots < from.slots; ++p) {
    to.pages[p] = from.pages[p];
    if (to.pages[p] != nullptr) to.pages[p]->refs.Add(shared());
  }
}

void StatePool::Unshare(Frame*& frame) {
  Frame* own = NewFrame();
  CopyFrame(*own, *frame);
  FreeFrame(frame);
  frame = own;
}

void StatePool::OwnPage(StackPage*& page) {
  StackPage* own = Take(&FreeParts::pages);
  own->refs.Init();
  for (int i = 0; i < kPageSlots; ++i) own->slots[i] = page != nullptr ? page->slots[i] : StackSlot{};
  if (page != nullptr) DropPage(page);
  page = own;
}

State* StatePool::NewState() { return Take(&FreeParts::states); }

State* StatePool::Clone(const State& from) {
  State* to = NewState();
  to->cur = from.cur;
  for (int i = 0; i < from.cur; ++i) {
    to->frames[i] = from.frames[i];
    to->frames[i]->refs.Add(shared());
  }
  to->frames[from.cur] = NewFrame();
  CopyFrame(to->frame(), from.frame());
  to->refs = from.refs;
  to->active_locks = from.active_locks;
  to->lock_id = from.lock_id;
  to->lock_map = from.lock_map;
  to->id_gen = from.id_gen;
  return to;
}

void StatePool::Free(State* state) {
  for (int i = 0; i <= state->cur; ++i) {
    FreeFrame(state->frames[i]);
    state->frames[i] = nullptr;
  }
  state->cur = -1;
  Give(&FreeParts::states, state);
}

}  // namespace bpfsieve
