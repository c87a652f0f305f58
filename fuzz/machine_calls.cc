// Calls: of the program's own functions, of helpers, and of functions that helpers call back or have called later.
#include <bpf/btf.h>

#include <algorithm>
#include <cstring>

#include "engine/isa/insn.h"
#include "engine/program/btf_fields.h"
#include "engine/program/btf_view.h"
#include "engine/program/btf_walk.h"
#include "engine/spec/spec.h"
#include "fuzz/machine.h"
#include "fuzz/machine_limits.h"

namespace bpfsieve {
namespace {

// Helpers whose contract the prototype does not tell.
enum : uint32_t {
  kMapLookup = 1, kSmpProcessorId = 8, kTailCallFn = 12, kProbeReadStr = 45, kGetStack = 67, kMapPeek = 89, kSpinLockFn = 93,
  kSpinUnlockFn = 94, kSkFullsock = 95, kTcpSockFn = 96, kProbeReadUserStr = 114, kProbeReadKernelStr = 115,
  kSkcFirst = 136, kSkcLast = 140, kGetTaskStack = 141, kPerCpuPtr = 153, kThisCpuPtr = 154, kForEachMapElem = 164, kFindVma = 180,
  kTimerSetCallback = 170, kSkcUnix = 178, kLoop = 181, kKptrXchg = 194, kSkcMptcp = 196, kUserRingbufDrain = 209,
};
bool IsCast(uint32_t id) {
  return id == kTcpSockFn || id == kSkFullsock || (id >= kSkcFirst && id <= kSkcLast) || id == kSkcUnix || id == kSkcMptcp;
}

}  // namespace

bool Machine::CallFunction(const Insn& i) {
  const uint32_t target = static_cast<uint32_t>(int64_t{pc_} + 1 + i.imm);
  if (target >= program_->insns.size()) return Fault("execution leaves the program");
  if (depth_ == kMaxDepth) return Fault("calls too deep");
  const int global = function_at_[target];
  std::array<Word, 6> arguments;
  for (int r = 1; r <= 5; ++r) arguments[static_cast<size_t>(r)] = reg(r);
  if (global >= 0) {
    // A function that is verified on its own sees its arguments as the prototype has them.
    if (!locks_.empty()) return Fault("a global function is called with a lock held");
    const FuncArgs& prototype = globals_[static_cast<size_t>(global)];
    if (!prototype.unsupported.empty() || prototype.error) return NotModelled("arguments of a global function");
    for (size_t n = 0; n < 5; ++n) {
      Word& argument = arguments[n + 1];
      if (n >= prototype.args.size()) {
        argument = Word{};
        continue;
      }
      const FuncArg& want = prototype.args[n];
      if (want.kind == FuncArg::Kind::kUntrusted) return NotModelled("arguments that may be anything");
      if (!argument.set) return Fault("an argument was never set");
      switch (want.kind) {
        case FuncArg::Kind::kScalar:
        case FuncArg::Kind::kArena: argument.region = -1; break;
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
        case FuncArg::Kind::kTrusted: {
          if (argument.region < 0 && argument.bits == 0 && want.nullable) break;
          if (argument.region < 0) return Fault("an argument is not an object");
          const Region& g = region(argument.region);
          if (g.kind != Region::Kind::kKernel || !g.alive || (!Usable(g) && !g.plain)) {
            return Fault("an argument is an object that may not be there");
          }
          if (!StructMatches(kernel_->get(), g.type_id, static_cast<int64_t>(argument.bits - g.base), want.btf_id, false)) {
            return Fault("an argument is an object of another type");
          }
          // The function takes its word for it, as the kernel does, also where nothing is said of the object.
          argument = PointerTo(NewKernelObject(want.btf_id));
          regions_.back().trusted = true;
          break;
        }
        case FuncArg::Kind::kUntrusted: return NotModelled("arguments tagged as untrusted");
        case FuncArg::Kind::kDynptr: {
          const StackObject* d = FindObject(argument, StackObject::Kind::kDynptr);
          if (d == nullptr) return Fault("an argument is not a dynptr");
          // The function looks at it as at a copy, of which nothing has to be given back.
          StackObject copy = *d;
          copy.reference = -1;
          copy.region = NewRegion(Region::Kind::kDynptr, 0);
          copy.at = 0;
          copy.number = next_number_++;
          objects_.push_back(copy);
          argument = PointerTo(copy.region);
          break;
        }
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
  PopFrame();
  pc_ = static_cast<uint32_t>(callee.callsite + 1);
  for (base_ = depth_ - 1; !frames_[static_cast<size_t>(base_)].global;) --base_;
  reg(0) = result;
  return true;
}

// What lies on the innermost frame goes with it; what has to be given back is then lost.
void Machine::PopFrame() {
  const int32_t stack = frames_[static_cast<size_t>(depth_ - 1)].stack_region;
  regions_[static_cast<size_t>(stack)].alive = false;
  std::erase_if(objects_, [stack](const StackObject& each) { return each.region == stack; });
  --depth_;
}

bool Machine::Exit() {
  const bool later = frames_[0].later;
  if ((later || !returns_.exempt) && !Read(0)) return false;
  if (later && (reg(0).region >= 0 || reg(0).bits != 0)) return Fault("a function that runs later does not return 0");
  if (!later && !MayEndWith(reg(0))) return false;
  if (!locks_.empty()) return Fault("the program ends with a lock held");
  if (!held_.empty()) return Fault("the program ends with a reference that was not given back");
  if (rcu_ + preempt_ + irq_ > 0) return Fault("the program ends within a section");
  if (!later_.empty()) return Later();
  out_.kind = Outcome::Kind::kExit;
  out_.r0 = reg(0).bits;
  return false;
}

// Whether the program may return this.
bool Machine::MayEndWith(const Word& value) {
  if (!returns_.checked) return true;
  const int64_t v = returns_.is32 ? static_cast<int32_t>(value.bits) : static_cast<int64_t>(value.bits);
  if (value.region < 0 && v >= returns_.range.min && v <= returns_.range.max) return true;
  return Fault("the program returns what it must not");
}

// The program has ended; a timer, or a work queue, runs what it was to.
bool Machine::Later() {
  const LaterCall call = later_.back();
  later_.pop_back();
  while (depth_ > 0) PopFrame();
  for (Region& each : regions_) each.alive = false;
  packet_ = context_ = arena_ = -1;
  direct_values_.assign(object_->maps.size(), -1);
  PushFrame(-1, true);
  Frame& frame = frames_[0];
  frame.later = true;
  frame.sleeps = call.sleeps;
  reg(1) = PointerTo(NewRegion(Region::Kind::kMap, 0, call.map));
  reg(2) = PointerTo(MapKeyRegion(call.map));
  reg(3) = PointerTo(MapValueRegion(call.map));
  pc_ = call.function;
  return true;
}

bool Machine::MaySleep() const { return !Reading() && preempt_ + irq_ == 0; }

// A lock is taken or given back: of those that may not be had several can be held, inside one another.
bool Machine::LockArgument(const Word& w, SpecialField kind, bool take, bool irq) {
  const MapField* field = nullptr;
  if (!Field(w, kind, &field)) return false;
  if (take) {
    for (const HeldLock& held : locks_) {
      if (kind == SpecialField::kSpinLock && held.kind == kind) return Fault("two locks are taken");
    }
    locks_.push_back({w.bits, kind, irq});
    return true;
  }
  if (locks_.empty() || locks_.back().bits != w.bits || locks_.back().kind != kind || locks_.back().irq != irq) {
    return Fault("a lock that is not held, or not the last one, is given back");
  }
  locks_.pop_back();
  for (Region& each : regions_) {
    if (each.lent) each.alive = false;
  }
  EndOfReaders();
  return true;
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
      case Arg::kSpinLock:
        if (!LockArgument(w, SpecialField::kSpinLock, id == kSpinLockFn, false)) return false;
        continue;
      case Arg::kTimer: {
        const MapField* field = nullptr;
        if (w.region < 0 || region(w.region).kind != Region::Kind::kMapValue) return Fault("an argument is not a timer");
        if (!Field(w, SpecialField::kTimer, &field)) return false;
        const int in = region(w.region).map;
        if (proto.args[1].type == Arg::kConstMapPtr &&
            (reg(2).region < 0 || region(reg(2).region).kind != Region::Kind::kMap || region(reg(2).region).map != in)) {
          return Fault("a timer is not of the map that is given with it");
        }
        continue;
      }
      case Arg::kDynptr: {
        if ((spec.flags & kArgUninit) != 0) {
          if (!NewPlace(w, kDynptrBytes)) return false;
          continue;
        }
        const StackObject* d = FindObject(w, StackObject::Kind::kDynptr);
        if (d == nullptr) return Fault("an argument is not a dynptr");
        const bool of_this_kind = spec.size == 0 || static_cast<DynptrKind>(spec.size) == d->dynptr;
        const bool owned = d->reference >= 0 && region(d->region).kind == Region::Kind::kStack;
        if (!of_this_kind || ((spec.flags & kArgRelease) != 0 && !owned)) return Fault("an argument is another dynptr");
        continue;
      }
      case Arg::kBtfId:
        if (spec.btf_name != nullptr && !KernelArgument(spec, w)) return false;
        continue;
      case Arg::kKptrXchgDest:
      case Arg::kPercpuBtfId: continue;  // ObjectHelper() looks at them
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
          EndReference(*at);
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
  const Program& p = *program_;
  const bool there = HelperAvailable(id, p.type, p.attach, p.sleepable) || HelperAvailableAt(id, p.type, p.attach, p.attach_target);
  if (proto == nullptr || !there || !HelperAllowedAt(id, p.type, p.attach, p.attach_target)) return Fault("no such helper");
  if (!locks_.empty() && id != kSpinUnlockFn) return Fault("a helper is called with a lock held");
  if (proto->might_sleep && !MaySleep()) return Fault("a helper may sleep where that is not allowed");
  const Word first = reg(1);
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
  if (id == kForEachMapElem || id == kLoop || id == kUserRingbufDrain || id == kFindVma) return CallBack(id, map);

  if (id == kTailCallFn) {
    if (!held_.empty() && depth_ == 1) return Fault("a tail call with a reference that was not given back");
    // It comes back to whom called this function, sections and all: only those of its own must be over.
    if (rcu() + preempt() + irq() > 0) return Fault("a tail call within a section");
    if (Random() % 4 == 0) {  // it goes well: this program is over
      if (depth_ == 1) {
        reg(0) = Word::Number(static_cast<uint64_t>(int64_t{returns_.range.min}));
        return Exit();
      }
      PacketMoved();
      reg(0) = Word::Number(Value());
      return Return();
    }
  }
  std::array<Word, 6> args;
  for (int r = 1; r <= 5; ++r) args[static_cast<size_t>(r)] = reg(r);
  if (!HelperResult(id, *proto, args, map, key)) return false;
  if (proto->changes_packet) PacketMoved();
  ++pc_;
  return true;
}

bool Machine::HelperResult(uint32_t id, const HelperProto& proto, const std::array<Word, 6>& args, int map, uint64_t key) {
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  if (id == kKptrXchg || id == kPerCpuPtr || id == kThisCpuPtr) return ObjectHelper(id, args);
  Word result = Word::Number(Value());
  bool dynptr = false;
  for (const ArgSpec& arg : proto.args) dynptr |= arg.type == Arg::kDynptr;
  if (dynptr) {
    DynptrHelper(id, args, &result);
    if (proto.ret != Ret::kVoid) reg(0) = result;
    return true;
  }
  const Word& first = args[1];
  const uint64_t second = args[2].bits, third = args[3].bits;
  if (id == kTimerSetCallback) {
    later_.push_back({static_cast<uint32_t>(region(args[2].region).function), region(first.region).map, false});
  }

  const auto null = [&] { return proto.ret_nullable && Random() % 3 == 0; };
  Word& r0 = reg(0);
  switch (proto.ret) {
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
      const bool memory = proto.ret == Ret::kRingbufMem || proto.ret == Ret::kMem;
      if (memory && second > 1u << 30) return Fault("a record of no sensible size");
      const int at = memory ? NewRegion(Region::Kind::kMemory, static_cast<uint32_t>(second))
                            : NewRegion(Region::Kind::kSocket, kContextSize);
      if (IsCast(id)) {
        if (first.region >= 0) regions_[static_cast<size_t>(at)].reference = region(first.region).reference;
      } else if (proto.acquires) {
        regions_[static_cast<size_t>(at)].reference = next_reference_;
        held_.push_back(next_reference_++);
      }
      r0 = PointerTo(at);
      return true;
    }
    case Ret::kBtfId:
    case Ret::kBtfIdTrusted: {
      const uint32_t type = kernel_ != nullptr ? kernel_->Find(proto.ret_btf_name, BTF_KIND_STRUCT) : 0;
      if (type == 0) return NotModelled("kernel objects");
      if (null()) {
        r0 = Word::Number(0);
        return true;
      }
      r0 = PointerTo(NewKernelObject(type));
      Region& g = regions_.back();
      (proto.ret == Ret::kBtfIdTrusted ? g.trusted : g.untrusted) = true;
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
  caller.kind = helper == kLoop             ? Frame::Turn::kLoop
                : helper == kForEachMapElem ? Frame::Turn::kElement
                : helper == kFindVma        ? Frame::Turn::kArea
                                            : Frame::Turn::kSample;
  switch (caller.kind) {
    case Frame::Turn::kLoop: caller.turns_left = static_cast<uint32_t>(reg(1).bits); break;
    case Frame::Turn::kElement:
      caller.turns_left = Random() % (object_->maps[static_cast<size_t>(map)].max_entries + 1);
      break;
    case Frame::Turn::kArea: caller.turns_left = Random() % 2; break;
    default: caller.turns_left = Random() % 4; break;
  }
  if (helper == kLoop && caller.turns_left > kMaxLoops) caller.turns_left = 0;  // an error, and no turn
  const int function = caller.kind == Frame::Turn::kArea ? 3 : 2;
  caller.function = static_cast<uint32_t>(region(reg(function).region).function);
  caller.passed_on = reg(function + 1);
  return NextTurn();
}

// A tree asks for its order, in the function in R3.
bool Machine::CallLess() {
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  caller.turns = 0;
  caller.turns_left = Random() % 3;
  caller.kind = Frame::Turn::kLess;
  caller.function = static_cast<uint32_t>(region(reg(3).region).function);
  return NextTurn();
}

// With the frame of the one that called the helper innermost, and the call as the instruction.
bool Machine::NextTurn() {
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  if (caller.turns_left == 0) {
    for (int r = 0; r <= 5; ++r) reg(r) = Word{};
    reg(0) = Word::Number(caller.kind >= Frame::Turn::kLess ? Value() : caller.turns);
    ++pc_;
    return true;
  }
  if (depth_ == kMaxDepth) return Fault("calls too deep");
  const Word first = reg(1);
  PushFrame(static_cast<int32_t>(pc_), false);
  frames_[static_cast<size_t>(depth_ - 1)].callback = true;
  switch (caller.kind) {
    case Frame::Turn::kLoop:
      reg(1) = Word::Number(caller.turns);
      reg(2) = caller.passed_on;
      break;
    case Frame::Turn::kElement: {
      const int map = region(first.region).map;
      reg(1) = first;
      reg(2) = PointerTo(MapKeyRegion(map));
      reg(3) = PointerTo(MapValueRegion(map));
      reg(4) = caller.passed_on;
      break;
    }
    case Frame::Turn::kSample: {
      const uint32_t size = static_cast<uint32_t>(Random() % 64);
      const int memory = NewRegion(Region::Kind::kMemory, size);
      const int sample = NewRegion(Region::Kind::kDynptr, 0);
      MakeDynptr(PointerTo(sample), DynptrKind::kLocal, memory, 0, size, -1);
      reg(1) = PointerTo(sample);
      reg(2) = caller.passed_on;
      break;
    }
    case Frame::Turn::kArea: {
      const uint32_t type = kernel_ != nullptr ? kernel_->Find("vm_area_struct", BTF_KIND_STRUCT) : 0;
      if (type == 0) return NotModelled("bpf_find_vma");
      reg(1) = first;
      reg(2) = PointerTo(NewKernelObject(type));
      regions_.back().plain = regions_.back().untrusted = true;
      reg(3) = caller.passed_on;
      break;
    }
    case Frame::Turn::kLess:
      for (int r = 1; r <= 2; ++r) {
        const Region& tree = region(first.region);
        const MapField& root = *FieldAt(*FieldsOf(tree), static_cast<int64_t>(first.bits - tree.base), SpecialField::kRbRoot);
        reg(r) = PointerTo(NewObject(root.type_id, 0, false), root.node_offset);
        regions_.back().lent = true;
      }
      break;
  }
  pc_ = caller.function;
  return true;
}

bool Machine::EndOfTurn() {
  if (!Read(0)) return false;
  const Frame& callee = frames_[static_cast<size_t>(depth_ - 1)];
  const Word result = callee.regs[0];
  if (result.region >= 0 || result.bits > 1) return Fault("a function that was called back returns neither 0 nor 1");
  pc_ = static_cast<uint32_t>(callee.callsite);
  PopFrame();
  Frame& caller = frames_[static_cast<size_t>(depth_ - 1)];
  ++caller.turns;
  caller.turns_left = result.bits == 1 && caller.kind != Frame::Turn::kLess ? 0 : caller.turns_left - 1;
  return NextTurn();
}

}  // namespace bpfsieve
