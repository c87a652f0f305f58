#include "fuzz/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/isa/insn.h"
#include "engine/program/btf_fields.h"
#include "engine/spec/spec.h"
#include "fuzz/machine_limits.h"

namespace bpfsieve {
namespace {

constexpr uint64_t kFirstBase = 0xffff'9000'0100'0000;  // as the kernel's addresses, and the low half is never zero
constexpr uint64_t kBaseStep = uint64_t{1} << 32;

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
  kfuncs_.clear();
  for (const Extern& each : program_->externs) kfuncs_.push_back({FindKfunc(each.name), FindTypedKfunc(each.name)});
  kernel_ = object.kernel_types.get();
  returns_ = Returns();
  if (frames_.empty()) frames_.resize(kMaxDepth);
}

void Machine::Reset(uint64_t seed) {
  random_ = seed * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019;
  regions_.clear();
  held_.clear();
  objects_.clear();
  later_.clear();
  direct_values_.assign(object_->maps.size(), -1);
  depth_ = base_ = 0;
  next_reference_ = next_number_ = 0;
  rcu_ = preempt_ = irq_ = 0;
  context_ = packet_ = arena_ = -1;
  locks_.clear();
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

int Machine::MapKeyRegion(int map) {
  const int at = NewRegion(Region::Kind::kMemory, object_->maps[static_cast<size_t>(map)].key_size);
  regions_.back().writable = false;
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

int Machine::Arena() {
  if (arena_ < 0) arena_ = NewRegion(Region::Kind::kArena, 0);
  return arena_;
}

void Machine::PacketMoved() {
  if (packet_ >= 0) regions_[static_cast<size_t>(packet_)].alive = false;
  packet_ = -1;
  for (Region& each : regions_) {
    if (each.packet_slice) each.alive = false;
  }
}

void Machine::PushFrame(int32_t callsite, bool global) {
  Frame& f = frames_[static_cast<size_t>(depth_)];
  f.regs.fill(Word{});
  uint64_t v = Random();
  for (size_t i = 0; i < f.stack.size(); i += 8) {
    std::memcpy(&f.stack[i], &v, 8);
    v = v * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX: what nobody wrote may be anything
  }
  f.pointers.fill(-1);
  f.callsite = callsite;
  f.global = global;
  f.callback = f.later = false;
  f.rcu = rcu_;
  f.preempt = preempt_;
  f.irq = irq_;
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

// The first of the fields there that are the kernel's; null: none.
const MapField* Machine::FieldTouched(const Region& g, uint64_t at, uint64_t size) const {
  const std::vector<MapField>* fields = FieldsOf(g);
  if (fields == nullptr) return nullptr;
  for (const MapField& f : *fields) {
    if (at < uint64_t{f.offset} + f.size && f.offset < at + size) return &f;
  }
  return nullptr;
}

bool Machine::Reach(const Word& p, int64_t off, uint64_t size, bool write, uint64_t* at) {
  if (p.region < 0) return Fault("access through a number");
  const Region& g = regions_[static_cast<size_t>(p.region)];
  if (!g.alive) return Fault("access to memory that is gone");
  *at = p.bits + static_cast<uint64_t>(off) - g.base;
  if (g.kind == Region::Kind::kMap && !write && *at < kMapBytes) return true;
  if (g.kind == Region::Kind::kKernel && g.type_id == 0 && !write) return true;  // of no type: read in a way that cannot fault
  if (g.kind == Region::Kind::kArena) return true;  // where nothing is, reading gives zero and writing does nothing
  if (*at > g.size || size > g.size - *at) return Fault("access out of bounds");
  if (write ? !g.writable : !g.readable) return Fault(write ? "write to read-only memory" : "read of write-only memory");
  if (g.kind == Region::Kind::kMapValue || g.kind == Region::Kind::kObject) {
    const MapField* field = FieldTouched(g, *at, size);
    // A pointer that is kept in a map may be loaded, and some may be stored.
    const bool kept = field != nullptr && g.kind == Region::Kind::kMapValue && IsKptr(field->kind) && size == 8 &&
                      *at == field->offset && (!write || field->kind == SpecialField::kKptrUntrusted);
    if (field != nullptr && !kept) return Fault("access to a field that is the kernel's");
    if (g.percpu) return Fault("access to what every processor has its own of");
    if (write && g.untrusted) return Fault("write to what may be anything");
  }
  for (const StackObject& each : objects_) {
    if (size > 0 && each.region == p.region && *at < each.at + each.size && each.at < *at + size) {
      return Fault("access to what only its own functions look into");
    }
  }
  if (g.within >= 0 && !regions_[static_cast<size_t>(g.within)].alive) return Fault("access to memory that is gone");
  return true;
}

Machine::Frame* Machine::FrameOf(int32_t region) {
  for (int f = depth_; f-- > 0;) {
    if (frames_[static_cast<size_t>(f)].stack_region == region) return &frames_[static_cast<size_t>(f)];
  }
  return nullptr;
}

bool Machine::LoadContext(uint64_t at, int size, Word* out) {
  if (CtxUnsupported(program_->type) != nullptr) return LoadArgument(at, size, out);
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
    // How long it has to be, what the program is for finds out.
    case CtxYield::kTpBuffer: *out = PointerTo(NewRegion(Region::Kind::kMemory, kAnything)); return true;
    case CtxYield::kNfState: return TrustedObject("nf_hook_state", out);
    case CtxYield::kNfPacket: return TrustedObject("sk_buff", out);
  }
  return NotModelled("context field");
}

bool Machine::Load(const Word& p, int64_t off, int size, Word* out) {
  uint64_t at;
  if (!Reach(p, off, static_cast<uint64_t>(size), false, &at)) return false;
  const Region& g = regions_[static_cast<size_t>(p.region)];
  switch (g.kind) {
    case Region::Kind::kContext: return LoadContext(at, size, out);
    case Region::Kind::kDynptr:
    case Region::Kind::kOther: return NotModelled("loads from kernel structures");
    case Region::Kind::kMap:  // its description: numbers, as far as programs are made here
    case Region::Kind::kKernel: LoadMember(Region(g), at, size, out); return true;
    case Region::Kind::kMapValue:
      if (const MapField* field = FieldTouched(g, at, static_cast<uint64_t>(size))) return LoadKept(*field, out);
      break;
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
  if (!objects_.empty() && p.region >= 0) {
    const uint64_t first = p.bits + static_cast<uint64_t>(off) - regions_[static_cast<size_t>(p.region)].base;
    if (!Overwrite(p.region, first, static_cast<uint64_t>(size))) return false;
  }
  if (!Reach(p, off, static_cast<uint64_t>(size), true, &at)) return false;
  const Region& g = regions_[static_cast<size_t>(p.region)];
  switch (g.kind) {
    case Region::Kind::kContext:
      if (CheckCtxAccess(program_->type, program_->attach, static_cast<int>(at), size, true).ok) return true;
      return Fault("the field in the context may not be written");
    case Region::Kind::kKernel:
      if (MayWriteMember(g, at, static_cast<uint64_t>(size))) return true;
      return Fault("write to a kernel structure");
    case Region::Kind::kMap:
    case Region::Kind::kSocket:
    case Region::Kind::kDynptr:
    case Region::Kind::kOther: return Fault("write to a kernel structure");
    case Region::Kind::kMapValue:
      if (const MapField* field = FieldTouched(g, at, static_cast<uint64_t>(size)); field != nullptr && !MayKeep(*field, value)) {
        return Fault("what is kept is not what it should be");
      }
      break;
    case Region::Kind::kMemory:
      // A slice may be a buffer on the stack.
      if (g.within >= 0) Scramble({g.base + at, g.within, true}, static_cast<uint64_t>(size));
      break;
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
    case kMov: v = i.off != 0 && i.off != kAddrSpaceCast ? SignExtended(b, i.off) : b; break;
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
  // What is still a pointer, and to where. Whatever is computed with an address in an arena is one.
  if (op == kMov && x && is64 && i.off == kAddrSpaceCast) {
    dst = {b, i.imm == 1 ? Arena() : -1, true};
  } else if (op != kMov && arena_ >= 0 && (was.region == arena_ || src.region == arena_)) {
    dst.region = arena_;
  } else if (is64) {
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
  if (g.kind == Region::Kind::kArena) return true;
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
      } else if (object_->maps[map].type == MapType::kArena) {
        dst = Word::Number(Value());  // as an address of the arena's users
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

}  // namespace bpfsieve
