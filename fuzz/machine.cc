#include "fuzz/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/isa/insn.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr int kMaxDepth = 16;              // of calls; a verified program needs 8
constexpr size_t kMaxRegions = 4096;       // a run that makes more is cut off
constexpr uint64_t kFirstBase = 0xffff'9000'0100'0000;  // as the kernel's addresses, and the low half is never zero
constexpr uint64_t kBaseStep = uint64_t{1} << 32;
constexpr uint32_t kContextSize = 4096;    // what lies where in it, the tables say
constexpr int kStackSize = 512;
constexpr uint64_t kMaxLoops = uint64_t{8} << 20;  // of bpf_loop and of iterators over numbers; more is an error

// Helpers whose contract the prototype does not tell.
enum : uint32_t {
  kMapLookup = 1, kSmpProcessorId = 8, kTailCallFn = 12, kProbeReadStr = 45, kGetStack = 67, kMapPeek = 89, kSpinLockFn = 93,
  kSpinUnlockFn = 94, kSkFullsock = 95, kTcpSockFn = 96, kProbeReadUserStr = 114, kProbeReadKernelStr = 115,
  kSkcFirst = 136, kSkcLast = 140, kGetTaskStack = 141, kForEachMapElem = 164, kFindVma = 180, kSkcUnix = 178, kLoop = 181, kSkcMptcp = 196,
  kUserRingbufDrain = 209,
};
bool IsCast(uint32_t id) {
  return id == kTcpSockFn || id == kSkFullsock || (id >= kSkcFirst && id <= kSkcLast) || id == kSkcUnix || id == kSkcMptcp;
}

uint64_t Truncate(uint64_t v, int size) { return size == 8 ? v : v & ((uint64_t{1} << (size * 8)) - 1); }
uint64_t SignExtended(uint64_t v, int bits) {
  const int shift = 64 - bits;
  return static_cast<uint64_t>(static_cast<int64_t>(v << shift) >> shift);
}

// Arithmetic of the instruction set (RFC 9669 section 4.1); 32-bit operands come truncated.
uint64_t Divide(uint64_t a, uint64_t b, bool is64, bool is_signed, bool modulo) {
  if (b == 0) return modulo ? a : 0;
  if (!is_signed) return modulo ? a % b : a / b;
  const int64_t x = is64 ? static_cast<int64_t>(a) : static_cast<int32_t>(a);
  const int64_t y = is64 ? static_cast<int64_t>(b) : static_cast<int32_t>(b);
  if (y == -1) return modulo ? 0 : 0 - static_cast<uint64_t>(x);  // the one that overflows wraps around
  return static_cast<uint64_t>(modulo ? x % y : x / y);
}

bool Compare(uint8_t op, bool wide, uint64_t a, uint64_t b) {
  const int64_t x = wide ? static_cast<int64_t>(a) : static_cast<int32_t>(a);
  const int64_t y = wide ? static_cast<int64_t>(b) : static_cast<int32_t>(b);
  switch (op) {
    case kJeq: return a == b;
    case kJne: return a != b;
    case kJset: return (a & b) != 0;
    case kJgt: return a > b;
    case kJge: return a >= b;
    case kJlt: return a < b;
    case kJle: return a <= b;
    case kJsgt: return x > y;
    case kJsge: return x >= y;
    case kJslt: return x < y;
    default: return x <= y;
  }
}

uint64_t AtomicResult(int32_t op, uint64_t old, uint64_t src) {
  switch (op & ~kFetch) {
    case kAdd: return old + src;
    case kOr: return old | src;
    case kAnd: return old & src;
    case kXor: return old ^ src;
    default: return src;  // exchange
  }
}

}  // namespace

// ---- Runs --------------------------------------------------------------------------------------------------------

void Machine::Load(const Object& object, int program) {
  object_ = &object;
  program_ = &object.programs[static_cast<size_t>(program)];
  constants_.clear();
  for (const Insn& i : program_->insns) {
    if (i.imm != 0 && constants_.size() < 64) constants_.push_back(i.imm);
  }
  globals_.clear();
  function_at_.assign(program_->insns.size(), -1);
  for (size_t s = 1; s < program_->subprogs.size(); ++s) {
    const Subprog& sub = program_->subprogs[s];
    if (!sub.global || sub.start >= function_at_.size()) continue;
    function_at_[sub.start] = static_cast<int32_t>(globals_.size());
    globals_.push_back(ReadFuncArgs(object, *program_, sub));
  }
  if (frames_.empty()) frames_.resize(kMaxDepth);
}

void Machine::Reset(uint64_t seed) {
  random_ = seed * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019;
  regions_.clear();
  held_.clear();
  iterators_.clear();
  direct_values_.assign(object_->maps.size(), -1);
  depth_ = base_ = 0;
  next_reference_ = 0;
  context_ = packet_ = -1;
  lock_ = Word{};
  locked_ = false;
  pc_ = 0;
  out_ = Outcome{};
}

Outcome Machine::Run(uint64_t seed, uint64_t max_steps, StepWatcher* watcher) {
  Reset(seed);
  PushFrame(-1, true);
  context_ = NewRegion(Region::Kind::kContext, kContextSize);
  reg(1) = PointerTo(context_);
  return Execute(max_steps, watcher);
}

Outcome Machine::RunOnMemory(std::vector<uint8_t>& memory, uint64_t max_steps) {
  Reset(1);
  PushFrame(-1, true);
  const int region = NewRegion(Region::Kind::kMemory, static_cast<uint32_t>(memory.size()));
  regions_[static_cast<size_t>(region)].bytes = memory.data();
  reg(1) = PointerTo(region);
  reg(2) = Word::Number(memory.size());
  return Execute(max_steps, nullptr);
}

Outcome Machine::Execute(uint64_t max_steps, StepWatcher* watcher) {
  for (;;) {
    out_.insn = pc_;
    if (pc_ >= program_->insns.size()) {
      Fault("execution leaves the program");
      break;
    }
    if (out_.steps == max_steps || regions_.size() > kMaxRegions) {
      out_.kind = Outcome::Kind::kTooLong;
      break;
    }
    if (watcher != nullptr && !watcher->Before(*this, pc_)) {
      out_.kind = Outcome::Kind::kStopped;
      break;
    }
    ++out_.steps;
    if (!Step()) break;
  }
  return std::move(out_);
}

bool Machine::Fault(const char* what) {
  out_.kind = Outcome::Kind::kFault;
  out_.what = what;
  return false;
}

bool Machine::NotModelled(std::string what) {
  out_.kind = Outcome::Kind::kNotModelled;
  out_.what = std::move(what);
  return false;
}

// ---- Choices -----------------------------------------------------------------------------------------------------

uint64_t Machine::Random() {  // splitmix64
  uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

uint64_t Machine::Value() {
  const uint64_t r = Random();
  const uint64_t some = r >> 8;
  switch (r & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      if (!constants_.empty()) {
        return static_cast<uint64_t>(constants_[some % constants_.size()]) + (some >> 32) % 3 - 1;
      }
      return some & 0xff;
    case 5: return some & 15;
    case 6: return 0 - (some & 15);
    case 7: return (uint64_t{1} << (some & 63)) - (some >> 8 & 1);
    case 8: return some & 0xff;
    case 9: return (some & 0xffffffff) << 8 >> 8;
    case 10: return (uint64_t{0x80000000} + (some & 3)) - 2;
    case 11: return Random() & 0xffffffff;
    case 12: return Random() | 0xffffffff00000000;
    case 13:  // a constant's low half under some other high half
      if (!constants_.empty()) {
        return (Random() << 32) | static_cast<uint32_t>(constants_[some % constants_.size()]);
      }
      return Random();
    default: return Random();
  }
}

// ---- Memory ------------------------------------------------------------------------------------------------------

int Machine::NewRegion(Region::Kind kind, uint32_t size, int map) {
  Region g;
  g.kind = kind;
  g.size = size;
  g.map = map;
  g.base = kFirstBase + kBaseStep * regions_.size();
  regions_.push_back(g);
  return static_cast<int>(regions_.size()) - 1;
}

int Machine::MapValueRegion(int map) {
  const MapDef& def = object_->maps[static_cast<size_t>(map)];
  const int at = NewRegion(Region::Kind::kMapValue, def.value_size, map);
  Region& g = regions_.back();
  const uint32_t access = MapAccessFlags(def.type, def.flags);
  constexpr uint32_t kRdonlyProg = 1u << 7, kWronlyProg = 1u << 8;  // BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG
  g.writable = (access & kRdonlyProg) == 0;
  g.readable = (access & kWronlyProg) == 0;
  // Contents that nobody changes are what the object says.
  if (def.frozen && !g.writable && def.data.size() >= def.value_size) g.bytes = const_cast<uint8_t*>(def.data.data());
  return at;
}

Word Machine::PointerTo(int region, uint64_t at) const {
  return {regions_[static_cast<size_t>(region)].base + at, region, true};
}

int Machine::Packet() {
  if (packet_ >= 0) return packet_;
  const uint32_t meta = Coin() ? 0 : static_cast<uint32_t>(Random() % 9) * 4;
  const uint32_t length = static_cast<uint32_t>(Value() & (Coin() ? 0x3f : 0x1ff));
  packet_ = NewRegion(Region::Kind::kPacket, meta + length);
  regions_.back().data_at = meta;
  regions_.back().writable = MayAccessPacket(program_->type, true);
  return packet_;
}

void Machine::PacketMoved() {
  if (packet_ >= 0) regions_[static_cast<size_t>(packet_)].alive = false;
  packet_ = -1;
}

void Machine::PushFrame(int32_t callsite, bool global) {
  Frame& f = frames_[static_cast<size_t>(depth_)];
  f.regs.fill(Word{});
  for (size_t i = 0; i < f.stack.size(); i += 8) {
    const uint64_t v = Random();
    std::memcpy(&f.stack[i], &v, 8);
  }
  f.pointers.fill(-1);
  f.callsite = callsite;
  f.global = global;
  f.callback = false;
  f.stack_region = NewRegion(Region::Kind::kStack, kStackSize);
  f.regs[kRegFp] = PointerTo(f.stack_region, kStackSize);
  if (global) base_ = depth_;
  ++depth_;
}

Word Machine::StackWord(int frame, int slot) const {
  const Frame& f = frames_[static_cast<size_t>(frame)];
  const size_t index = static_cast<size_t>(63 - slot);
  Word w;
  std::memcpy(&w.bits, &f.stack[index * 8], 8);
  w.region = f.pointers[index];
  w.set = true;
  return w;
}

bool Machine::TouchesField(const Region& g, uint64_t at, uint64_t size) const {
  if (g.kind != Region::Kind::kMapValue) return false;
  for (const MapField& f : object_->maps[static_cast<size_t>(g.map)].fields) {
    if (at < uint64_t{f.offset} + f.size && f.offset < at + size) return true;
  }
  return false;
}

bool Machine::Reach(const Word& p, int64_t off, uint64_t size, bool write, uint64_t* at) {
  if (p.region < 0) return Fault("access through a number");
  const Region& g = regions_[static_cast<size_t>(p.region)];
  if (!g.alive) return Fault("access to memory that is gone");
  *at = p.bits + static_cast<uint64_t>(off) - g.base;
  if (*at > g.size || size > g.size - *at) return Fault("access out of bounds");
  if (write ? !g.writable : !g.readable) return Fault(write ? "write to read-only memory" : "read of write-only memory");
  if (TouchesField(g, *at, size)) return Fault("access to a field that is the kernel's");
  for (const LiveIterator& each : iterators_) {
    if (each.region == p.region && *at < each.at + each.size && each.at < *at + size) return Fault("access to an iterator");
  }
  return true;
}

Machine::Frame* Machine::FrameOf(int32_t region) {
  for (int f = depth_; f-- > 0;) {
    if (frames_[static_cast<size_t>(f)].stack_region == region) return &frames_[static_cast<size_t>(f)];
  }
  return nullptr;
}

bool Machine::LoadContext(uint64_t at, int size, Word* out) {
  const CtxAccess access = CheckCtxAccess(program_->type, program_->attach, static_cast<int>(at), size, false);
  if (!access.ok) return Fault("no such field in the context");
  const auto some_socket = [&](bool null) {
    *out = null && Coin() ? Word::Number(0) : PointerTo(NewRegion(Region::Kind::kSocket, kContextSize));
  };
  switch (access.yield) {
    case CtxYield::kScalar: *out = Word::Number(Truncate(Value(), size)); return true;
    case CtxYield::kPacket: {
      const int packet = Packet();
      *out = PointerTo(packet, regions_[static_cast<size_t>(packet)].data_at);
      return true;
    }
    case CtxYield::kPacketMeta: *out = PointerTo(Packet()); return true;
    case CtxYield::kPacketEnd: {
      const int packet = Packet();
      *out = PointerTo(packet, regions_[static_cast<size_t>(packet)].size);
      return true;
    }
    case CtxYield::kSockCommonOrNull:
    case CtxYield::kSocketOrNull: some_socket(true); return true;
    case CtxYield::kSocket:
    case CtxYield::kTcpSock:
    case CtxYield::kXdpSock: some_socket(false); return true;
    case CtxYield::kFlowKeys: *out = PointerTo(NewRegion(Region::Kind::kFlowKeys, kFlowKeysSize)); return true;
    case CtxYield::kTpBuffer:
    case CtxYield::kNfState:
    case CtxYield::kNfPacket: break;
  }
  return NotModelled("BTF-typed context field");
}

bool Machine::Load(const Word& p, int64_t off, int size, Word* out) {
  uint64_t at;
  if (!Reach(p, off, static_cast<uint64_t>(size), false, &at)) return false;
  const Region& g = regions_[static_cast<size_t>(p.region)];
  switch (g.kind) {
    case Region::Kind::kContext: return LoadContext(at, size, out);
    case Region::Kind::kMap:
    case Region::Kind::kOther: return NotModelled("loads from kernel structures");
    case Region::Kind::kStack: {
      if (at % static_cast<uint64_t>(size) != 0) return Fault("misaligned access to the stack");
      const Frame& frame = *FrameOf(p.region);
      uint64_t v = 0;
      std::memcpy(&v, &frame.stack[at], static_cast<size_t>(size));
      *out = Word::Number(v);
      if (size == 8) out->region = frame.pointers[at / 8];
      return true;
    }
    default: break;
  }
  uint64_t v = 0;
  if (g.bytes != nullptr) {
    std::memcpy(&v, g.bytes + at, static_cast<size_t>(size));
  } else {
    v = Truncate(Value(), size);
  }
  *out = Word::Number(v);
  return true;
}

bool Machine::Store(const Word& p, int64_t off, int size, const Word& value) {
  uint64_t at;
  if (!Reach(p, off, static_cast<uint64_t>(size), true, &at)) return false;
  const Region& g = regions_[static_cast<size_t>(p.region)];
  switch (g.kind) {
    case Region::Kind::kContext:
      if (CheckCtxAccess(program_->type, program_->attach, static_cast<int>(at), size, true).ok) return true;
      return Fault("the field in the context may not be written");
    case Region::Kind::kMap:
    case Region::Kind::kSocket:
    case Region::Kind::kOther: return Fault("write to a kernel structure");
    case Region::Kind::kStack: {
      if (at % static_cast<uint64_t>(size) != 0) return Fault("misaligned access to the stack");
      Frame& frame = *FrameOf(p.region);
      std::memcpy(&frame.stack[at], &value.bits, static_cast<size_t>(size));
      frame.pointers[at / 8] = size == 8 ? value.region : -1;
      return true;
    }
    default: break;
  }
  if (g.bytes != nullptr) std::memcpy(g.bytes + at, &value.bits, static_cast<size_t>(size));
  return true;
}

// Somebody else has written `size` bytes, which lie within the region.
void Machine::Scramble(const Word& p, uint64_t size) {
  Frame* frame = FrameOf(p.region);
  if (frame == nullptr) return;
  const uint64_t at = p.bits - regions_[static_cast<size_t>(p.region)].base;
  for (uint64_t b = at; b < at + size; ++b) {
    frame->stack[b] = static_cast<uint8_t>(Value());
    frame->pointers[b / 8] = -1;
  }
}

// ---- Instructions ------------------------------------------------------------------------------------------------

bool Machine::Read(int r) { return reg(r).set || Fault("a register that was never set is read"); }

bool Machine::Step() {
  const Insn& i = program_->insns[pc_];
  switch (Class(i)) {
    case kClassAlu:
    case kClassAlu64: return Alu(i);
    case kClassJmp:
    case kClassJmp32: return Jump(i);
    case kClassLd: return Mode(i) == kModeImm ? LoadImm64(i) : LoadPacket(i);
    default: return LoadStore(i);
  }
}

bool Machine::Alu(const Insn& i) {
  const uint8_t op = AluOp(i);
  const bool is64 = Class(i) == kClassAlu64;
  const bool x = UsesX(i) && op != kEnd;
  if (op == kMov && x && i.off == kAddrSpaceCast && is64) return NotModelled("arena: addr_space_cast");
  if (x && !Read(i.src)) return false;
  if (op != kMov && !Read(i.dst)) return false;
  if (i.dst == kRegFp) return Fault("the frame pointer is written");
  Word& dst = reg(i.dst);
  const Word src = x ? reg(i.src) : Word::Number(static_cast<uint64_t>(int64_t{i.imm}));
  const Word was = dst;
  uint64_t a = was.bits, b = src.bits;
  if (!is64) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
  }
  const uint64_t shift = b & (is64 ? 63 : 31);
  uint64_t v = 0;
  switch (op) {
    case kAdd: v = a + b; break;
    case kSub: v = a - b; break;
    case kMul: v = a * b; break;
    case kDiv: v = Divide(a, b, is64, i.off == 1, false); break;
    case kMod: v = Divide(a, b, is64, i.off == 1, true); break;
    case kOr: v = a | b; break;
    case kAnd: v = a & b; break;
    case kXor: v = a ^ b; break;
    case kLsh: v = a << shift; break;
    case kRsh: v = a >> shift; break;
    case kArsh: v = static_cast<uint64_t>((is64 ? static_cast<int64_t>(a) : static_cast<int32_t>(a)) >> shift); break;
    case kNeg: v = 0 - a; break;
    case kMov: v = i.off != 0 ? SignExtended(b, i.off) : b; break;
    case kEnd: {
      v = was.bits;
      if (is64 || UsesX(i)) v = __builtin_bswap64(v) >> (64 - i.imm);  // this machine is little-endian
      v = Truncate(v, i.imm / 8);
      dst = Word::Number(v);
      ++pc_;
      return true;
    }
    default: return Fault("no such operation");
  }
  if (!is64) v = static_cast<uint32_t>(v);
  dst = Word::Number(v);
  // What is still a pointer, and to where.
  if (is64) {
    if (op == kMov && i.off == 0) dst.region = src.region;
    if (op == kAdd) dst.region = was.region < 0 ? src.region : src.region < 0 ? was.region : -1;
    if (op == kSub && src.region < 0) dst.region = was.region;
  }
  ++pc_;
  return true;
}

bool Machine::Jump(const Insn& i) {
  const uint8_t op = JmpOp(i);
  const bool wide = Class(i) == kClassJmp;
  switch (op) {
    case kJa:
      pc_ = static_cast<uint32_t>(int64_t{pc_} + 1 + (wide ? i.off : i.imm));
      return true;
    case kCall:
      if (i.src == kPseudoCall) return CallFunction(i);
      return i.src == kCallHelper ? CallHelper(i) : CallKfunc(i);
    case kExit: return depth_ > 1 ? Return() : Exit();
    case kJcond:  // may_goto: the budget is spent whenever that does harm
      pc_ = static_cast<uint32_t>(int64_t{pc_} + 1 + (Random() % 4 == 0 ? i.off : 0));
      return true;
    default: break;
  }
  if (!Read(i.dst) || (UsesX(i) && !Read(i.src))) return false;
  uint64_t a = reg(i.dst).bits;
  uint64_t b = UsesX(i) ? reg(i.src).bits : static_cast<uint64_t>(int64_t{i.imm});
  if (!wide) {
    a = static_cast<uint32_t>(a);
    b = static_cast<uint32_t>(b);
  }
  pc_ = static_cast<uint32_t>(int64_t{pc_} + 1 + (Compare(op, wide, a, b) ? i.off : 0));
  return true;
}

bool Machine::LoadStore(const Insn& i) {
  const int size = AccessBytes(i);
  const uint8_t cls = Class(i);
  if (cls == kClassStx && Mode(i) == kModeAtomic) return Atomic(i);
  if (cls == kClassLdx) {
    if (!Read(i.src)) return false;
    Word v;
    if (!Load(reg(i.src), i.off, size, &v)) return false;
    if (Mode(i) == kModeMemsx) v = Word::Number(SignExtended(v.bits, size * 8));
    if (i.dst == kRegFp) return Fault("the frame pointer is written");
    reg(i.dst) = v;
  } else {
    if (!Read(i.dst) || (cls == kClassStx && !Read(i.src))) return false;
    const Word v = cls == kClassStx ? reg(i.src) : Word::Number(static_cast<uint64_t>(int64_t{i.imm}));
    if (!Store(reg(i.dst), i.off, size, v)) return false;
  }
  ++pc_;
  return true;
}

// Whether an atomic operation may be done there at all; whether within bounds, the access itself finds out.
bool Machine::AtomicPlace(const Insn& i) {
  const Word& p = reg(i.imm == kLoadAcq ? i.src : i.dst);
  if (p.region < 0) return true;
  const Region& g = region(p.region);
  if ((p.bits + static_cast<uint64_t>(int64_t{i.off}) - g.base) % static_cast<uint64_t>(AccessBytes(i)) != 0) {
    return Fault("misaligned atomic operation");
  }
  // The kernel looks at the pointer after the access, where a load into its own register has left a number.
  if (i.imm == kLoadAcq && i.dst == i.src) return true;
  switch (g.kind) {
    case Region::Kind::kContext:
    case Region::Kind::kPacket:
    case Region::Kind::kSocket:
    case Region::Kind::kFlowKeys: return Fault("atomic operation on memory that has none");
    default: return true;
  }
}

bool Machine::Atomic(const Insn& i) {
  const int size = AccessBytes(i);
  if (!Read(i.src) || (i.imm != kLoadAcq && !Read(i.dst))) return false;
  if (!AtomicPlace(i)) return false;
  Word old;
  if (i.imm == kLoadAcq) {
    if (!Load(reg(i.src), i.off, size, &old)) return false;
    reg(i.dst) = old;
  } else if (i.imm == kStoreRel) {
    if (!Store(reg(i.dst), i.off, size, reg(i.src))) return false;
  } else {
    const Word p = reg(i.dst);
    uint64_t at;
    if (!Load(p, i.off, size, &old) || !Reach(p, i.off, static_cast<uint64_t>(size), true, &at)) return false;
    const Word src = reg(i.src);
    if (i.imm == kCmpxchg) {
      if (!Read(0)) return false;
      const bool equal = Truncate(reg(0).bits, size) == Truncate(old.bits, size);
      if (!Store(p, i.off, size, equal ? src : old)) return false;
      reg(0) = old;
    } else {
      const Word result = i.imm == kXchg ? src : Word::Number(AtomicResult(i.imm, old.bits, src.bits));
      if (!Store(p, i.off, size, result)) return false;
      if ((i.imm & kFetch) != 0) reg(i.src) = old;
    }
  }
  ++pc_;
  return true;
}

bool Machine::LoadImm64(const Insn& i) {
  if (pc_ + 1 >= program_->insns.size()) return Fault("execution leaves the program");
  const Insn& high = program_->insns[pc_ + 1];
  const size_t map = static_cast<size_t>(i.imm);
  Word& dst = reg(i.dst);
  switch (i.src) {
    case 0:
      dst = Word::Number(uint64_t{static_cast<uint32_t>(high.imm)} << 32 | static_cast<uint32_t>(i.imm));
      break;
    case kPseudoMapFd:
    case kPseudoMapValue:
      if (map >= object_->maps.size()) return Fault("no such map");
      if (i.src == kPseudoMapFd) {
        dst = PointerTo(NewRegion(Region::Kind::kMap, 0, i.imm));
      } else {
        if (direct_values_[map] < 0) direct_values_[map] = MapValueRegion(i.imm);
        dst = PointerTo(direct_values_[map], static_cast<uint32_t>(high.imm));
      }
      break;
    case kPseudoFunc: {
      const int at = NewRegion(Region::Kind::kOther, 0);
      regions_.back().function = static_cast<int32_t>(int64_t{pc_} + 1 + i.imm);
      dst = PointerTo(at);
      break;
    }
    default: return NotModelled("kernel symbols");
  }
  pc_ += 2;
  return true;
}

// The legacy packet loads: a number into R0, or, where the packet is too short, the end of the function.
bool Machine::LoadPacket(const Insn& i) {
  if (!Read(6)) return false;
  if (reg(6).region != context_) return Fault("R6 is not the context");
  if (Mode(i) == kModeInd && !Read(i.src)) return false;
  for (int r = 1; r <= 5; ++r) reg(r) = Word{};
  if (Random() % 8 == 0) {
    reg(0) = Word::Number(0);
    return depth_ > 1 ? Return() : Exit();
  }
  reg(0) = Word::Number(Truncate(Value(), AccessBytes(i)));
  ++pc_;
  return true;
}

// ---- Calls -------------------------------------------------------------------------------------------------------

bool Machine::CallFunction(const Insn& i) {
  const uint32_t target = static_cast<uint32_t>(int64_t{pc_} + 1 + i.imm);
  if (target >= program_->insns.size()) return Fault("execution leaves the program");
  if (depth_ == kMaxDepth) return Fault("calls too deep");
  const int global = function_at_[target];
  std::array<Word, 6> arguments;
  for (int r = 1; r <= 5; ++r) arguments[static_cast<size_t>(r)] = reg(r);
  if (global >= 0) {
    // A function that is verified on its own sees its arguments as the prototype has them.
    if (locked_) return Fault("a global function is called with a lock held");
    const FuncArgs& prototype = globals_[static_cast<size_t>(global)];
    if (!prototype.unsupported.empty() || prototype.error) return NotModelled("arguments of a global function");
    for (size_t n = 0; n < 5; ++n) {
      Word& argument = arguments[n + 1];
      if (n >= prototype.args.size()) {
        argument = Word{};
        continue;
      }
      const FuncArg& want = prototype.args[n];
      if (!argument.set) return Fault("an argument was never set");
      switch (want.kind) {
        case FuncArg::Kind::kScalar: argument.region = -1; break;
        case FuncArg::Kind::kArena: return NotModelled("arenas");
        case FuncArg::Kind::kCtx:
          if (argument.region != context_) return Fault("an argument is not the context");
          break;
        case FuncArg::Kind::kMem: {
          if (argument.region < 0 && argument.bits == 0) {
            if (!want.nullable) return Fault("an argument is null");
            break;
          }
          uint64_t at;
          if (!Reach(argument, 0, want.mem_size, false, &at) || !Reach(argument, 0, want.mem_size, true, &at)) return false;
          Scramble(argument, want.mem_size);
          const int memory = NewRegion(Region::Kind::kMemory, want.mem_size);
          regions_.back().base = argument.bits;
          argument.region = memory;
          break;
        }
        case FuncArg::Kind::kTrusted: return NotModelled("kernel objects");
        case FuncArg::Kind::kDynptr: return NotModelled("dynptrs");
      }
    }
  }
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  PushFrame(static_cast<int32_t>(pc_), global >= 0);
  for (int r = 1; r <= 5; ++r) reg(r) = arguments[static_cast<size_t>(r)];
  pc_ = target;
  return true;
}

bool Machine::Return() {
  Frame& callee = frames_[static_cast<size_t>(depth_ - 1)];
  if (callee.callback) return EndOfTurn();
  if (callee.global && !Read(0)) return false;
  Word result = callee.regs[0];
  if (callee.global) result.region = -1;
  regions_[static_cast<size_t>(callee.stack_region)].alive = false;
  pc_ = static_cast<uint32_t>(callee.callsite + 1);
  --depth_;
  for (base_ = depth_ - 1; !frames_[static_cast<size_t>(base_)].global;) --base_;
  reg(0) = result;
  return true;
}

bool Machine::Exit() {
  if (!ReturnRule(program_->type, program_->attach).exempt && !Read(0)) return false;
  if (locked_) return Fault("the program ends with a lock held");
  if (!held_.empty()) return Fault("the program ends with a reference that was not given back");
  out_.kind = Outcome::Kind::kExit;
  out_.r0 = reg(0).bits;
  return false;
}

bool Machine::HelperArguments(uint32_t id, const HelperProto& proto) {
  int map = -1;
  for (int a = 0; a < 5; ++a) {
    ArgSpec spec = proto.args[a];
    // A bloom filter is asked for a value, where queues give one.
    if (id == kMapPeek && map >= 0 && object_->maps[static_cast<size_t>(map)].type == MapType::kBloomFilter) spec.flags = 0;
    if (spec.type == Arg::kDontcare) continue;
    if (!Read(a + 1)) return false;
    const Word w = reg(a + 1);
    const bool null = w.region < 0 && w.bits == 0;
    uint64_t size = 0;
    switch (spec.type) {
      case Arg::kConstMapPtr:
        if (w.region < 0 || region(w.region).kind != Region::Kind::kMap) return Fault("an argument is not a map");
        map = region(w.region).map;
        continue;
      case Arg::kCtx:
        if (null && (spec.flags & kArgNullable) != 0) continue;
        if (w.region != context_ || w.bits != region(context_).base) return Fault("an argument is not the context");
        continue;
      case Arg::kSpinLock: {
        if (w.region < 0 || region(w.region).kind != Region::Kind::kMapValue) return Fault("an argument is not a lock");
        const Region& g = region(w.region);
        if (!g.alive) return Fault("access to memory that is gone");
        bool found = false;
        for (const MapField& f : object_->maps[static_cast<size_t>(g.map)].fields) {
          found |= f.kind == SpecialField::kSpinLock && w.bits - g.base == f.offset;
        }
        if (!found) return Fault("an argument is not a lock");
        if (id == kSpinLockFn) {
          if (locked_) return Fault("two locks are taken");
          locked_ = true;
          lock_ = w;
        } else {
          if (!locked_ || lock_.bits != w.bits) return Fault("a lock that is not held is given back");
          locked_ = false;
        }
        continue;
      }
      case Arg::kRingbufMem:
      case Arg::kSockCommon:
      case Arg::kSocket:
      case Arg::kBtfIdSockCommon: {
        if (null && (spec.flags & kArgNullable) != 0) continue;
        if (w.region < 0) return Fault("an argument is not an object");
        const Region& g = region(w.region);
        if (!g.alive) return Fault("access to memory that is gone");
        if (g.kind != (spec.type == Arg::kRingbufMem ? Region::Kind::kMemory : Region::Kind::kSocket) || w.bits != g.base) {
          return Fault("an argument is not an object");
        }
        if ((spec.flags & kArgRelease) != 0) {
          const auto at = std::find(held_.begin(), held_.end(), g.reference);
          if (g.reference < 0 || at == held_.end()) return Fault("what is given back is not held");
          const int32_t reference = *at;
          held_.erase(at);
          for (Region& each : regions_) {
            if (each.reference == reference) each.alive = false;
          }
        }
        continue;
      }
      case Arg::kMapKey:
      case Arg::kMapValue:
        if (null && (spec.flags & kArgNullable) != 0) continue;
        if (map < 0) return Fault("a key without a map");
        if (w.region >= 0 && region(w.region).kind == Region::Kind::kSocket) continue;  // the value of a socket map
        size = spec.type == Arg::kMapKey ? object_->maps[static_cast<size_t>(map)].key_size
                                         : object_->maps[static_cast<size_t>(map)].value_size;
        break;
      case Arg::kMem:
        if ((spec.flags & kArgFixedSize) != 0) {
          size = spec.size;
        } else {
          if (a == 4 || !Read(a + 2)) return false;
          size = reg(a + 2).bits;
        }
        if (null && (size == 0 || (spec.flags & kArgNullable) != 0)) continue;
        break;
      case Arg::kFunc:
        if (w.region < 0 || region(w.region).function < 0) return Fault("an argument is not a function");
        continue;
      case Arg::kStack:
        if (null && (spec.flags & kArgNullable) != 0) continue;
        if (w.region < 0 || FrameOf(w.region) == nullptr) return Fault("an argument is not memory on the stack");
        continue;
      case Arg::kConstStr: {
        if (w.region < 0 || region(w.region).bytes == nullptr) return Fault("an argument is not a constant string");
        const Region& g = region(w.region);
        const uint64_t at = w.bits - g.base;
        if (at >= g.size || std::memchr(g.bytes + at, 0, g.size - at) == nullptr) {
          return Fault("an argument is not a constant string");
        }
        continue;
      }
      default: continue;  // numbers
    }
    // Memory. The context of a syscall program counts as such.
    if (w.region >= 0 && region(w.region).kind == Region::Kind::kContext && program_->type == ProgType::kSyscall) continue;
    if (w.region >= 0 && (region(w.region).kind == Region::Kind::kContext || region(w.region).kind == Region::Kind::kMap ||
                          region(w.region).kind == Region::Kind::kSocket)) {
      return Fault("an argument is not memory");
    }
    uint64_t at;
    if ((spec.flags & kArgWrite) == 0 || (spec.flags & kArgUninit) == 0) {
      if (!Reach(w, 0, size, false, &at)) return false;
    }
    if ((spec.flags & kArgWrite) != 0) {
      if (!Reach(w, 0, size, true, &at)) return false;
      Scramble(w, size);
    }
  }
  return true;
}

bool Machine::CallHelper(const Insn& i) {
  const uint32_t id = static_cast<uint32_t>(i.imm);
  const HelperProto* proto = FindHelper(id, program_->type);
  if (proto == nullptr || !HelperAvailable(id, program_->type, program_->attach, program_->sleepable)) {
    return Fault("no such helper");
  }
  if (id == kFindVma) return NotModelled("bpf_find_vma");
  for (const ArgSpec& arg : proto->args) {
    if (arg.type == Arg::kDynptr) return NotModelled("dynptrs");
    if (arg.type == Arg::kTimer) return NotModelled("timers");
  }
  if (id == kUserRingbufDrain) return NotModelled("dynptrs");
  if (locked_ && id != kSpinUnlockFn) return Fault("a helper is called with a lock held");
  // What a result is made from, before the arguments are gone.
  const Word first = reg(1);
  const uint64_t second = reg(2).bits, third = reg(3).bits;
  uint64_t key = Value();
  const int map = first.set && first.region >= 0 && region(first.region).kind == Region::Kind::kMap
                      ? region(first.region).map
                      : -1;
  if (id == kMapLookup && map >= 0 && reg(2).region >= 0) {
    const Region& g = region(reg(2).region);
    const uint64_t at = reg(2).bits - g.base;
    if (Frame* frame = FrameOf(reg(2).region); frame != nullptr && at <= kStackSize - 4) {
      uint32_t v;
      std::memcpy(&v, &frame->stack[at], 4);
      key = v;
    }
  }
  if (!HelperArguments(id, *proto)) return false;
  if (id == kForEachMapElem || id == kLoop) return CallBack(id, map);

  if (id == kTailCallFn) {
    if (!held_.empty() && depth_ == 1) return Fault("a tail call with a reference that was not given back");
    if (Random() % 4 == 0) {  // it goes well: this program is over
      if (depth_ == 1) {
        reg(0) = Word::Number(0);
        return Exit();
      }
      PacketMoved();
      reg(0) = Word::Number(Value());
      return Return();
    }
  }
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  if (proto->changes_packet) PacketMoved();
  ++pc_;

  const auto null = [&] { return proto->ret_nullable && Random() % 3 == 0; };
  Word& r0 = reg(0);
  switch (proto->ret) {
    case Ret::kVoid: return true;
    case Ret::kInteger: {
      uint64_t v = Value();
      switch (id) {
        case kGetStack:
        case kGetTaskStack:
        case kProbeReadStr:
        case kProbeReadKernelStr:
        case kProbeReadUserStr: {
          const uint64_t size = id == kGetStack || id == kGetTaskStack ? third : second;
          v = Coin() ? Random() % (size + 1) : 0 - Random() % 4096;
          break;
        }
        case kSmpProcessorId: v = Random() % 8192; break;
        default: break;
      }
      r0 = Word::Number(v);
      return true;
    }
    case Ret::kMapValue: {
      if (map < 0) return Fault("a key without a map");
      const MapDef& def = object_->maps[static_cast<size_t>(map)];
      const bool array = def.type == MapType::kArray || def.type == MapType::kPercpuArray;
      const bool found = id == kMapLookup && array ? static_cast<uint32_t>(key) < def.max_entries : !null();
      if (!found) {
        r0 = Word::Number(0);
        return true;
      }
      switch (def.type) {
        case MapType::kArrayOfMaps:
        case MapType::kHashOfMaps:
          if (def.inner < 0) return NotModelled("map in map");
          r0 = PointerTo(NewRegion(Region::Kind::kMap, 0, def.inner));
          return true;
        case MapType::kSockmap:
        case MapType::kSockhash:
        case MapType::kXskmap:
          r0 = PointerTo(NewRegion(Region::Kind::kSocket, kContextSize));
          if (def.type != MapType::kXskmap) {
            regions_.back().reference = next_reference_;
            held_.push_back(next_reference_++);
          }
          return true;
        default:
          r0 = PointerTo(MapValueRegion(map));
          return true;
      }
    }
    case Ret::kSocket:
    case Ret::kSockCommon:
    case Ret::kTcpSock:
    case Ret::kRingbufMem:
    case Ret::kMem: {
      if (null()) {
        r0 = Word::Number(0);
        return true;
      }
      const bool memory = proto->ret == Ret::kRingbufMem || proto->ret == Ret::kMem;
      if (memory && second > 1u << 30) return Fault("a record of no sensible size");
      const int at = memory ? NewRegion(Region::Kind::kMemory, static_cast<uint32_t>(second))
                            : NewRegion(Region::Kind::kSocket, kContextSize);
      if (IsCast(id)) {
        if (first.region >= 0) regions_[static_cast<size_t>(at)].reference = region(first.region).reference;
      } else if (proto->acquires) {
        regions_[static_cast<size_t>(at)].reference = next_reference_;
        held_.push_back(next_reference_++);
      }
      r0 = PointerTo(at);
      return true;
    }
    default: return NotModelled("kernel objects");
  }
}

// ---- Functions that a helper calls back --------------------------------------------------------------------------

bool Machine::CallBack(uint32_t helper, int map) {
  if (helper == kForEachMapElem && map < 0) return Fault("an argument is not a map");
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  caller.turns = 0;
  caller.turns_left = helper == kLoop ? static_cast<uint32_t>(reg(1).bits)
                                      : Random() % (object_->maps[static_cast<size_t>(map)].max_entries + 1);
  if (helper == kLoop && caller.turns_left > kMaxLoops) caller.turns_left = 0;  // an error, and no turn
  caller.function = static_cast<uint32_t>(region(reg(2).region).function);
  caller.passed_on = reg(3);
  return NextTurn();
}

// With the frame of the one that called the helper innermost, and the call as the instruction.
bool Machine::NextTurn() {
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  if (caller.turns_left == 0) {
    for (int r = 0; r <= 5; ++r) reg(r) = Word{};
    reg(0) = Word::Number(caller.turns);
    ++pc_;
    return true;
  }
  if (depth_ == kMaxDepth) return Fault("calls too deep");
  const bool loop = program_->insns[pc_].imm == static_cast<int32_t>(kLoop);
  const Word first = loop ? Word::Number(caller.turns) : reg(1);
  PushFrame(static_cast<int32_t>(pc_), false);
  frames_[static_cast<size_t>(depth_ - 1)].callback = true;
  reg(1) = first;
  if (loop) {
    reg(2) = caller.passed_on;
  } else {
    const int map = region(first.region).map;
    const int key = NewRegion(Region::Kind::kMemory, object_->maps[static_cast<size_t>(map)].key_size);
    regions_.back().writable = false;
    reg(2) = PointerTo(key);
    reg(3) = PointerTo(MapValueRegion(map));
    reg(4) = caller.passed_on;
  }
  pc_ = caller.function;
  return true;
}

bool Machine::EndOfTurn() {
  if (!Read(0)) return false;
  const Frame& callee = frames_[static_cast<size_t>(depth_ - 1)];
  const Word result = callee.regs[0];
  if (result.region >= 0 || result.bits > 1) return Fault("a function that was called back returns neither 0 nor 1");
  regions_[static_cast<size_t>(callee.stack_region)].alive = false;
  pc_ = static_cast<uint32_t>(callee.callsite);
  --depth_;
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  ++caller.turns;
  caller.turns_left = result.bits == 1 ? 0 : caller.turns_left - 1;
  return NextTurn();
}

// ---- Kernel functions --------------------------------------------------------------------------------------------

bool Machine::CallKfunc(const Insn& i) {
  const size_t at = static_cast<size_t>(i.imm);
  if (i.src != kPseudoKfuncCall || at >= program_->externs.size()) return Fault("no such function");
  const KfuncProto* proto = FindKfunc(program_->externs[at].name);
  if (proto == nullptr) return NotModelled("kfunc: " + program_->externs[at].name);
  const bool iterator = proto->kind == KfuncKind::kIterNew || proto->kind == KfuncKind::kIterNext ||
                        proto->kind == KfuncKind::kIterDestroy;
  if (!iterator && proto->kind != KfuncKind::kThrow) return NotModelled("kfunc: " + program_->externs[at].name);
  for (int r = 1; r <= proto->arg_count(); ++r) {
    if (proto->args[r - 1] != KfuncArg::kIgnored && !Read(r)) return false;
  }
  if (proto->kind != KfuncKind::kThrow) return Iterator(*proto);
  if (locked_) return Fault("a throw with a lock held");
  if (!held_.empty()) return Fault("a throw with a reference that was not given back");
  if (program_->exception_callback != Program::kNoCallback) return NotModelled("exception callback");
  out_.kind = Outcome::Kind::kExit;
  out_.r0 = reg(1).bits;
  return false;
}

bool Machine::Iterator(const KfuncProto& proto) {
  const Word p = reg(1);
  Frame* frame = p.region >= 0 ? FrameOf(p.region) : nullptr;
  if (frame == nullptr) return Fault("an iterator that is not on the stack");
  const uint64_t at = p.bits - region(p.region).base;
  const IterProto& type = FindIter(proto.iter);
  const uint64_t size = static_cast<uint64_t>(type.slots) * 8;
  const auto known = std::find_if(iterators_.begin(), iterators_.end(), [&](const LiveIterator& each) {
    return each.region == p.region && each.at == at && each.type == proto.iter;
  });
  Word result;
  if (proto.kind == KfuncKind::kIterNew) {
    uint64_t place;
    if (at % 8 != 0) return Fault("an iterator that is not aligned");
    if (!Reach(p, 0, size, true, &place)) return false;  // in another iterator, too
    Scramble(p, size);
    const auto begin = static_cast<int32_t>(reg(2).bits), end = static_cast<int32_t>(reg(3).bits);
    const uint64_t count = proto.iter == IterType::kNum ? static_cast<uint64_t>(int64_t{end} - begin) : Random() % 4;
    const bool empty = proto.iter == IterType::kNum && (end <= begin || count > kMaxLoops);
    iterators_.push_back({proto.iter, p.region, at, size, empty ? 0 : count, next_reference_});
    held_.push_back(next_reference_++);
    result = Word::Number(Value());
  } else if (known == iterators_.end()) {
    return Fault("no such iterator");
  } else if (proto.kind == KfuncKind::kIterNext) {
    result = Word::Number(0);
    if (known->left > 0) {
      --known->left;
      const int element = NewRegion(Region::Kind::kMemory, type.elem_size);
      regions_.back().writable = false;
      regions_.back().reference = known->reference;
      result = PointerTo(element);
    }
  } else {
    for (Region& each : regions_) {
      if (each.reference == known->reference) each.alive = false;
    }
    held_.erase(std::find(held_.begin(), held_.end(), known->reference));
    iterators_.erase(known);
  }
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  reg(0) = result;
  ++pc_;
  return true;
}

}  // namespace bpfsieve
