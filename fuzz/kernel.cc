// Fragments that follow the kernel's contract as the engine's tables have it (engine/spec): program types, context fields,
// calls of any helper by its prototype, sockets, tail calls.
#include <algorithm>
#include <memory>

#include <bpf/btf.h>

#include "engine/program/btf_view.h"
#include "engine/spec/spec.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kTailCallFn = 12, kSmpProcessorId = 8, kSkFullsock = 95, kTcpSockFn = 96, kSkLookupTcp = 84,
                  kGetLocalStorage = 81, kSkLookupUdp = 85, kSkRelease = 86, kSkcLookupTcp = 99;
constexpr int kLastHelper = 211;

struct TypeChoice {
  ProgType type;
  AttachType attach;
};
// Beside the three that most programs are of.
constexpr TypeChoice kMoreTypes[] = {
    {ProgType::kSocketFilter, AttachType::kCgroupInetIngress}, {ProgType::kKprobe, AttachType::kCgroupInetIngress},
    {ProgType::kSchedAct, AttachType::kCgroupInetIngress}, {ProgType::kTracepoint, AttachType::kCgroupInetIngress},
    {ProgType::kPerfEvent, AttachType::kCgroupInetIngress}, {ProgType::kRawTracepoint, AttachType::kCgroupInetIngress},
    {ProgType::kCgroupSock, AttachType::kCgroupInetSockCreate}, {ProgType::kCgroupSock, AttachType::kCgroupInet4PostBind},
    {ProgType::kCgroupSockAddr, AttachType::kCgroupInet4Bind}, {ProgType::kCgroupSockAddr, AttachType::kCgroupInet6Connect},
    {ProgType::kCgroupSockAddr, AttachType::kCgroupUdp4Sendmsg}, {ProgType::kSockOps, AttachType::kCgroupSockOps},
    {ProgType::kSkSkb, AttachType::kSkSkbStreamVerdict}, {ProgType::kSkMsg, AttachType::kSkMsgVerdict},
    {ProgType::kLwtIn, AttachType::kCgroupInetIngress}, {ProgType::kLwtXmit, AttachType::kCgroupInetIngress},
    {ProgType::kFlowDissector, AttachType::kFlowDissector}, {ProgType::kCgroupSysctl, AttachType::kCgroupSysctl},
    {ProgType::kCgroupSockopt, AttachType::kCgroupSetsockopt}, {ProgType::kCgroupSockopt, AttachType::kCgroupGetsockopt},
    {ProgType::kSkLookup, AttachType::kSkLookup}, {ProgType::kSkReuseport, AttachType::kSkReuseportSelect},
    {ProgType::kCgroupDevice, AttachType::kCgroupDevice}, {ProgType::kNetfilter, AttachType::kNetfilter},
    {ProgType::kRawTracepointWritable, AttachType::kCgroupInetIngress}};

}  // namespace

void Generator::ChooseType() {
  p_->type = ProgType::kXdp;
  p_->attach = AttachType::kXdp;
  switch (c_.Below(14)) {
    case 5:
    case 6:
      p_->type = ProgType::kSchedCls;
      p_->attach = AttachType::kCgroupInetIngress;
      break;
    case 7:
      p_->type = ProgType::kCgroupSkb;
      p_->attach = AttachType::kCgroupInetIngress;
      break;
    case 8:
    case 9:
    case 10:
    case 11: {
      const TypeChoice& choice = kMoreTypes[c_.Below(std::size(kMoreTypes))];
      if (!ProgTypeAllowed(choice.type, o_.caps)) break;
      p_->type = choice.type;
      p_->attach = choice.attach;
      break;
    }
    case 12:
    case 13:
      if (o_.subprograms && o_.kernel_objects && o_.caps.perfmon) ChooseTarget();
      break;
    default: break;
  }
  // The tables never change; they are read once for each type.
  struct Known {
    ProgType type;
    AttachType attach;
    std::string target;
    bool sleepable, perfmon;
    CtxFacts facts;
  };
  thread_local std::vector<std::unique_ptr<Known>> known;
  for (const auto& each : known) {
    if (each->type != p_->type || each->attach != p_->attach || each->sleepable != p_->sleepable) continue;
    if (each->target == p_->attach_target && each->perfmon == o_.caps.perfmon) ctx_facts_ = &each->facts;
  }
  if (ctx_facts_ != nullptr) return;
  known.push_back(std::make_unique<Known>(p_->type, p_->attach, p_->attach_target, p_->sleepable, o_.caps.perfmon,
                                          ReadCtxFacts(*p_, o_.caps)));
  ctx_facts_ = &known.back()->facts;
}

Generator::CtxFacts Generator::ReadCtxFacts(const Program& program, const Capabilities& caps) {
  const ProgType type = program.type;
  const AttachType attach = program.attach;
  CtxFacts facts;
  for (uint32_t id = 1; id <= kLastHelper; ++id) {
    const bool there = HelperAvailable(id, type, attach, program.sleepable) || HelperAvailableAt(id, type, attach, program.attach_target);
    facts.helpers[id] = FindHelper(id, type) != nullptr && there && HelperAllowed(id, type, caps) && HelperAllowedAt(id, type, attach, program.attach_target);
  }
  const auto can = [&](const char* name) {
    const KfuncProto* proto = FindKfunc(name);
    return proto != nullptr && KfuncSetAllows(proto->set, type, attach);
  };
  facts.iterators = can("bpf_iter_num_new");
  facts.throws = can("bpf_throw");
  facts.sections = can("bpf_preempt_disable");
  facts.objects = can("bpf_obj_new_impl");
  for (int off = 0; off < 256; off += 4) {
    const CtxAccess load = CheckCtxAccess(type, attach, off, 4, false);
    if (load.ok && load.yield == CtxYield::kScalar) facts.fields.push_back(off);
    if (CheckCtxAccess(type, attach, off, 4, true).ok) facts.writable.push_back(off);
    for (const int size : {4, 8}) {
      const CtxAccess pointer = CheckCtxAccess(type, attach, off, size, false);
      if (!pointer.ok) continue;
      switch (pointer.yield) {
        case CtxYield::kPacket:
          if (facts.packet < 0) {
            facts.packet = off;
            facts.packet_size = size;
          }
          break;
        case CtxYield::kPacketEnd:
          if (facts.packet_end < 0) facts.packet_end = off;
          break;
        case CtxYield::kPacketMeta: facts.meta = off; break;
        case CtxYield::kSocket: facts.sure_socket = off; break;
        case CtxYield::kFlowKeys: facts.flow_keys = off; break;
        case CtxYield::kSocketOrNull:
        case CtxYield::kSockCommonOrNull:
          facts.socket = off;
          facts.socket_common = pointer.yield == CtxYield::kSockCommonOrNull;
          break;
        default: break;
      }
    }
  }
  return facts;
}

bool Generator::Can(int32_t helper) const { return ctx_facts_->helpers[static_cast<size_t>(helper)]; }

bool Generator::MayLock() const { return !IsTracingType(p_->type) && p_->type != ProgType::kSocketFilter; }
bool Generator::PacketWritable() const { return MayAccessPacket(p_->type, true); }

// Loads a number from the context; false: it has none.
bool Generator::LoadCtxNumber(int d, int ctx) {
  if (ctx_facts_->fields.empty()) return false;
  code_.Load(4, d, ctx, ctx_facts_->fields[c_.Below(static_cast<uint32_t>(ctx_facts_->fields.size()))]);
  Set(d, Value::Scalar(0, 0xffffffff));
  return true;
}

int Generator::ExtraMap(MapType type) {
  for (const auto& [known, index] : extra_maps_) {
    if (known == type) return index;
  }
  MapDef map;
  map.type = type;
  map.name = "map" + std::to_string(static_cast<int>(type));
  map.key_size = 4;
  map.value_size = 4;
  map.max_entries = static_cast<uint32_t>(c_.Between(1, 8));
  switch (type) {
    case MapType::kLpmTrie:
      map.key_size = 8;
      map.value_size = 8;
      map.flags = 1;  // BPF_F_NO_PREALLOC
      break;
    case MapType::kQueue:
    case MapType::kStack:
      map.key_size = 0;
      map.value_size = 8;
      break;
    case MapType::kBloomFilter:
      map.key_size = 0;
      map.value_size = 8;
      break;
    case MapType::kStackTrace: map.value_size = 8 * 16; break;
    case MapType::kRingbuf:
    case MapType::kUserRingbuf:
      map.key_size = map.value_size = 0;
      map.max_entries = 4096;
      break;
    case MapType::kArena:
      map.key_size = map.value_size = 0;
      map.flags = 1u << 10;  // BPF_F_MMAPABLE
      break;
    case MapType::kReuseportSockarray: map.value_size = 8; break;
    case MapType::kArrayOfMaps: {
      MapDef inner;
      inner.type = MapType::kArray;
      inner.name = "inner";
      inner.key_size = 4;
      inner.value_size = 16;
      inner.max_entries = 4;
      inner.is_inner_template = true;
      map.inner = static_cast<int>(object_->maps.size());
      object_->maps.push_back(std::move(inner));
      break;
    }
    case MapType::kHash:
    case MapType::kArray:
    case MapType::kLruHash:
    case MapType::kPercpuArray:
    case MapType::kPercpuHash:
    case MapType::kLruPercpuHash: map.value_size = 16; break;
    default: break;
  }
  extra_maps_.emplace_back(type, static_cast<int>(object_->maps.size()));
  object_->maps.push_back(std::move(map));
  return extra_maps_.back().second;
}

// Any helper that the program may call and whose arguments can be had, with arguments made to fit its prototype.
void Generator::AnyHelper() {
  static constexpr MapType kMaps[] = {MapType::kHash, MapType::kArray, MapType::kProgArray, MapType::kPerfEventArray,
                                      MapType::kPercpuHash, MapType::kPercpuArray, MapType::kStackTrace, MapType::kCgroupArray,
                                      MapType::kLruHash, MapType::kLpmTrie, MapType::kDevmap, MapType::kCpumap, MapType::kXskmap,
                                      MapType::kQueue, MapType::kStack, MapType::kDevmapHash, MapType::kBloomFilter, MapType::kRingbuf};
  if ((pinned_ & 0x3f) != 0) return Alu();
  const HelperProto* proto = nullptr;
  uint32_t id = 0;
  for (int tries = 0; tries < 4 && proto == nullptr; ++tries) {
    id = 1 + c_.Below(kLastHelper);
    if (!Can(static_cast<int32_t>(id)) || (id == kSmpProcessorId && !o_.processor_number) || id == kTailCallFn) continue;
    proto = FindHelper(id, p_->type);
    const bool plain = proto->ret == Ret::kInteger || proto->ret == Ret::kVoid || proto->ret == Ret::kMapValue;
    if (proto->acquires || (proto->might_sleep && (!p_->sleepable || held_ > 0 || reading_ || sub_ >= 0)) || !plain || id == kGetLocalStorage) proto = nullptr;
    for (int a = 0; proto != nullptr && a < 5; ++a) {
      switch (proto->args[a].type) {
        case Arg::kDontcare:
        case Arg::kConstMapPtr:
        case Arg::kMapKey:
        case Arg::kMapValue:
        case Arg::kMem:
        case Arg::kConstSize:
        case Arg::kConstSizeOrZero:
        case Arg::kAnything: break;
        case Arg::kCtx:
          if (ctx_home_ < 0 && ctx_slot_ < 0) proto = nullptr;
          break;
        default: proto = nullptr; break;
      }
    }
  }
  if (proto == nullptr) return Alu();
  int map = -1;
  const uint32_t before = pinned_;
  bool written[5] = {};
  int buffers[5] = {};
  int lengths[5] = {};
  for (int a = 0; a < 5; ++a) {
    const ArgSpec& spec = proto->args[a];
    const int to = a + 1;
    if (spec.type == Arg::kDontcare || (pinned_ >> to & 1) != 0) continue;  // also set with the argument before it
    const auto buffer = [&](int size, bool write) {
      const int r = StackBuffer(std::max(size, 1), !write || c_.Chance(0.5));
      if (r < 0) {
        code_.MovReg(to, kRegFp);
        code_.AluImm(kAdd, to, -8 * slots_ - 8);
      } else {
        buffers[a] = m_.regs[r].off;
        lengths[a] = m_.regs[r].room;
        written[a] = write;
        if (r != to) code_.MovReg(to, r);
      }
      if (Defect(0.3)) code_.AluImm(kAdd, to, c_.Chance(0.5) ? 8 * kModelSlots : 1);
    };
    switch (spec.type) {
      case Arg::kConstMapPtr: {
        MapType fitting[std::size(kMaps)];
        uint32_t n = 0;
        for (const MapType type : kMaps) {
          if (p_->sleepable && !MapAllowedInSleepable(type)) continue;
          if (MapHelperCompatible(type, id, p_->type, p_->attach)) fitting[n++] = type;
        }
        map = ExtraMap(n == 0 || Defect(0.2) ? c_.Of(kMaps) : fitting[c_.Below(n)]);
        code_.Imm64(to, kPseudoMapFd, map, 0);
        break;
      }
      case Arg::kMapKey:
      case Arg::kMapValue: {
        if (map < 0) break;
        const MapDef& def = object_->maps[static_cast<size_t>(map)];
        buffer(static_cast<int>(spec.type == Arg::kMapKey ? def.key_size : def.value_size), (spec.flags & kArgWrite) != 0);
        break;
      }
      case Arg::kMem: {
        const bool fixed = (spec.flags & kArgFixedSize) != 0;
        const int size = fixed ? static_cast<int>(spec.size) : 8 * c_.Between(1, 4);
        buffer(size, (spec.flags & kArgWrite) != 0);
        if (!fixed && a < 4) {
          Set(to, Value{});
          pinned_ |= 1u << to;
          if (c_.Chance(0.7)) {
            code_.MovImm(to + 1, Defect(0.3) ? -1 : size);
          } else {
            const int length = Bounded(static_cast<uint64_t>(size));
            if (length != to + 1) code_.MovReg(to + 1, length);
            if (proto->args[a + 1].type == Arg::kConstSize && !Defect(0.3)) code_.AluImm(kOr, to + 1, 1);
          }
          Set(to + 1, Value{});
          pinned_ |= 1u << (to + 1);
        }
        break;
      }
      case Arg::kCtx: {
        const int ctx = CtxReg();
        if (ctx < 0) break;
        if (ctx != to) code_.MovReg(to, ctx);
        if (Defect(0.1)) code_.AluImm(kAdd, to, 4);
        break;
      }
      case Arg::kAnything:
        if (c_.Chance(0.6)) {
          code_.MovImm(to, c_.Between(0, 8));
        } else {
          const int s = AnyScalar();
          if (s != to) code_.MovReg(to, s);
        }
        break;
      default: break;
    }
    Set(to, Value{});
    pinned_ |= 1u << to;
  }
  pinned_ = before;
  code_.Call(static_cast<int32_t>(id));
  ClobberedByCall(proto->ret == Ret::kInteger ? Value::Scalar() : Value{});
  for (int a = 0; a < 5; ++a) {
    if (written[a]) StackWritten(buffers[a], lengths[a], nullptr);
  }
  if (proto->changes_packet) ForgetPackets();
  if (proto->ret == Ret::kMapValue && map >= 0 && CanFork()) {
    Label null = NewLabel();
    if (!Defect()) BranchImm(kJeq, 0, 0, null);
    code_.Load(1, 0, 0, 0);
    Set(0, Value::Scalar(0, 255));
    Bind(null);
    if (null.used) Set(0, Value{});
  }
}

// Whether packets are looked at this far: those that pins forbid to move stay.
bool Generator::PacketsPinned() const {
  for (int r = 0; r < kModelRegs; ++r) {
    const bool packet = m_.regs[r].kind == Kind::kPacket || m_.regs[r].kind == Kind::kPacketEnd;
    if (packet && (pinned_ >> r & 1) != 0) return true;
  }
  return false;
}

// A socket: looked up and given back, or the context's own; its fields, and what can be made of it.
void Generator::Socket() {
  const int home = Saved();
  if (home < 0) return;
  const Pin keep(*this, home);
  const int ctx = CtxReg();
  if (ctx < 0) return;
  const Pin keep_ctx(*this, ctx);
  Label past = NewLabel();
  const int32_t lookups[] = {kSkLookupTcp, kSkLookupUdp, kSkcLookupTcp};
  const int32_t helper = c_.Of(lookups);
  const bool sure = ctx_facts_->sure_socket >= 0 && c_.Chance(0.6);
  const bool look_up = !sure && Can(helper) && (ctx_facts_->socket < 0 || c_.Chance(0.5));
  if (!look_up && !sure && ctx_facts_->socket < 0) return;
  if (look_up) {
    const int tuple = StackBuffer(16, true);
    if (tuple < 0) return;
    const int off = m_.regs[tuple].off;
    if (ctx != 1) code_.MovReg(1, ctx);
    code_.MovReg(2, kRegFp);
    code_.AluImm(kAdd, 2, off);
    code_.MovImm(3, 12);
    code_.MovImm(4, -1);
    code_.MovImm(5, 0);
    code_.Call(helper);
    ClobberedByCall(Value{});
    code_.MovReg(home, 0);
  } else {
    code_.Load(8, home, ctx, sure ? ctx_facts_->sure_socket : ctx_facts_->socket);
  }
  Set(home, Value{});
  if (!sure && !Defect()) BranchImm(kJeq, home, 0, past);
  const int d = Dst();
  const bool common = sure ? false : look_up ? helper == kSkcLookupTcp : ctx_facts_->socket_common;
  int field = 4 * c_.Between(0, 10);
  if (!Defect(0.2) && !CheckSockLoad(common ? SockKind::kCommon : SockKind::kSocket, field, 4)) field = 4;  // the family
  code_.Load(4, d, home, field);
  Set(d, Value::Scalar(0, 0xffffffff));
  if (Can(kTcpSockFn) && c_.Chance(0.5)) {
    code_.MovReg(1, home);
    code_.Call(Can(kSkFullsock) && c_.Chance(0.3) ? kSkFullsock : kTcpSockFn);
    ClobberedByCall(Value{});
    Label none = NewLabel();
    if (!Defect(0.3)) BranchImm(kJeq, 0, 0, none);
    code_.Load(4, 0, 0, 4 * c_.Between(0, 3));
    Bind(none);
    Set(0, Value{});
  }
  if (look_up && !Defect()) {
    code_.MovReg(1, home);
    code_.Call(kSkRelease);
    ClobberedByCall(Value{});
    if (Defect()) {
      code_.Load(4, home, home, 0);
      Set(home, Value::Scalar(0, 0xffffffff));
    }
  }
  Bind(past);
  Set(home, Value{});
}

void Generator::FlowKeys() {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  const int d = Dst();
  const Pin keep(*this, d);
  code_.Load(8, d, ctx, ctx_facts_->flow_keys);
  Set(d, Value{});
  const int s = AnyScalar();
  const int size = 1 << c_.Below(3);
  int off = size * static_cast<int>(c_.Below(static_cast<uint32_t>(kFlowKeysSize / size)));
  if (Defect()) off += kFlowKeysSize;
  if (Defect(0.3)) {
    const int i = Bounded(7);
    code_.AluReg(kAdd, d, i);
  }
  if (c_.Chance(0.5)) {
    code_.Store(size, d, off, s);
  } else {
    code_.Load(size, d, d, off);
    Set(d, Value::Scalar(0, 0xffffffff));
  }
}

// The legacy loads from a packet, which take the context in R6 and may end the function.
void Generator::LegacyLoad() {
  const int ctx = CtxReg();
  if (ctx < 0 || (pinned_ & 0x3f & ~(1u << ctx)) != 0) return;
  if (ctx != 6) {
    if ((pinned_ >> 6 & 1) != 0) return;
    code_.MovReg(6, ctx);
    Set(6, m_.regs[ctx]);
  }
  const int size = SizeCode(1 << c_.Below(3));
  if (c_.Chance(0.5)) {
    code_.Emit(MakeInsn(kClassLd | kModeAbs | size, 0, 0, 0, c_.Between(0, 40)));
  } else {
    const Pin keep(*this, 6);
    const int s = AnyScalar();
    code_.Emit(MakeInsn(kClassLd | kModeInd | size, 0, s, 0, c_.Between(0, 40)));
  }
  ClobberedByCall(Value::Scalar(0, 0xffffffff));
}

// What lies in front of the packet.
void Generator::PacketMeta() {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  const Pin keep_ctx(*this, ctx);
  const int meta = Dst();
  const Pin keep_meta(*this, meta);
  const int data = Dst();
  const Pin keep_data(*this, data);
  code_.Load(4, meta, ctx, ctx_facts_->meta);
  code_.Load(4, data, ctx, ctx_facts_->packet);
  Set(meta, Value{});
  Set(data, Value{});
  const int t = Dst();
  const int bytes = 4 * c_.Between(1, 4);
  code_.MovReg(t, meta);
  code_.AluImm(kAdd, t, Defect() ? bytes - 1 : bytes);
  Set(t, Value{});
  Label past = NewLabel();
  if (!Defect()) {
    if (c_.Chance(0.5)) {
      BranchReg(kJgt, t, data, past);
    } else {
      BranchReg(kJlt, data, t, past);
    }
  }
  Value v = Value::Pointer(Kind::kPacket, bytes);
  v.writable = PacketWritable();
  Set(meta, v);
  Access(meta);
  Bind(past);
  Set(meta, Value{});
}

// Pointers compared, subtracted, negated, cut: numbers come of it, or nothing.
void Generator::PointerPlay() {
  const int p = MemoryReg(1, false, false);
  const int q = MemoryReg(1, false, false);
  const int d = Dst();
  if (p < 0 || q < 0 || d == p || d == q) return Alu();
  switch (c_.Below(7)) {
    case 5:
    case 6: {
      // Forth and back again.
      const Value v = m_.regs[p];
      if (v.kind == Kind::kStack || v.kind == Kind::kBuffer || v.var) return Alu();
      const int most = std::min(v.room - v.lo - 1, 7);
      if (most < 1) return Alu();
      const Pin keep(*this, p);
      const int index = Bounded(static_cast<uint64_t>(most));
      const Pin keep_index(*this, index);
      const int t = Dst();
      code_.MovReg(t, p);
      code_.AluImm(kAdd, t, most);
      if (c_.Chance(0.7)) {
        code_.AluReg(kSub, t, index);
      } else {
        code_.AluImm(kSub, t, most);
      }
      if (v.kind != Kind::kPacket || c_.Chance(0.3)) code_.Load(1, t, t, Defect() ? v.room : v.lo);
      Set(t, v.kind != Kind::kPacket ? Value::Scalar(0, 255) : Value{});
      return;
    }
    case 0:
      code_.MovReg(d, p);
      code_.AluReg(kSub, d, q);
      break;
    case 1:
      code_.Emit(MakeInsn(kClassAlu | kMov | kSrcX, d, p, 0, 0));
      Set(d, Value::Scalar(0, 0xffffffff));
      return;
    case 2:
      code_.MovReg(d, p);
      code_.Emit(MakeInsn(kClassAlu64 | kNeg, d, 0, 0, 0));
      break;
    case 3: {
      if (!CanFork()) return;
      Label same = NewLabel();
      BranchReg(c_.Chance(0.5) ? kJeq : kJne, p, q, same);
      code_.MovImm(d, 1);
      Set(d, Value::Scalar(1, 1));
      Bind(same);
      return;
    }
    default:
      code_.MovReg(d, p);
      if (c_.Chance(0.5)) {
        code_.Emit(MakeInsn(kClassAlu | kSub | kSrcX, d, q, 0, 0));
      } else {
        code_.Emit(MakeInsn(kClassAlu | kSub, d, 0, 0, c_.Between(1, 8)));
      }
      break;
  }
  Set(d, Value::Scalar());
}

// A mask of sign bits, which a verifier may take for a branch.
void Generator::SignMask() {
  const int d = Unknown();
  const bool wide = c_.Chance(0.6);
  code_.Emit(MakeInsn((wide ? kClassAlu64 : kClassAlu) | kArsh, d, 0, 0, wide ? 63 : 31));
  Set(d, Value::Scalar());
  const int32_t k = c_.Between(0, 7);
  if (c_.Chance(0.6)) {
    code_.Emit(MakeInsn((c_.Chance(0.6) ? kClassAlu64 : kClassAlu) | kAnd, d, 0, 0, k));
    Set(d, Value::Scalar(0, static_cast<uint64_t>(k)));
    if (c_.Chance(0.5)) UseAsIndex(d, 1);
  } else {
    code_.Emit(MakeInsn((c_.Chance(0.6) ? kClassAlu64 : kClassAlu) | kOr, d, 0, 0, k));
    Set(d, Value::Scalar());
  }
}

void Generator::TailCall() {
  const int ctx = CtxReg();
  if (ctx < 0) return;
  if ((pinned_ & 0x3f & ~(1u << ctx)) != 0) return Alu();
  const int map = ExtraMap(MapType::kProgArray);
  if (ctx != 1) code_.MovReg(1, ctx);
  Set(1, Value{});
  const Pin keep(*this, 1);
  const int index = AnyScalar();
  if (index != 3) code_.MovReg(3, index);
  code_.Imm64(2, kPseudoMapFd, map, 0);
  code_.Call(kTailCallFn);
  ClobberedByCall(Value{});
}

// What the context is called in C; empty: it has no name that a global function could take it by.
std::string_view Generator::ContextName() const {
  switch (p_->type) {
    case ProgType::kSocketFilter:
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kCgroupSkb:
    case ProgType::kLwtIn:
    case ProgType::kLwtXmit:
    case ProgType::kSkSkb:
    case ProgType::kFlowDissector: return "__sk_buff";
    case ProgType::kXdp: return "xdp_md";
    case ProgType::kCgroupSock: return "bpf_sock";
    case ProgType::kCgroupSockAddr: return "bpf_sock_addr";
    case ProgType::kSockOps: return "bpf_sock_ops";
    case ProgType::kSkMsg: return "sk_msg_md";
    case ProgType::kPerfEvent: return "bpf_perf_event_data";
    case ProgType::kRawTracepoint: return "bpf_raw_tracepoint_args";
    case ProgType::kCgroupDevice: return "bpf_cgroup_dev_ctx";
    case ProgType::kCgroupSysctl: return "bpf_sysctl";
    case ProgType::kCgroupSockopt: return "bpf_sockopt";
    case ProgType::kSkReuseport: return "sk_reuseport_md";
    case ProgType::kSkLookup: return "bpf_sk_lookup";
    default: return {};
  }
}

bool Generator::CanKfunc(const char* name) const {
  const KfuncProto* proto = FindKfunc(name);
  return proto != nullptr && KfuncSetAllows(proto->set, p_->type, p_->attach);
}

void Generator::Kfunc(const char* name) {
  size_t at = 0;
  while (at < p_->externs.size() && p_->externs[at].name != name) ++at;
  if (at == p_->externs.size()) {
    p_->externs.push_back({Extern::Kind::kFunc, name, false, object_->kernel_types->Find(name, BTF_KIND_FUNC)});
  }
  code_.Kfunc(static_cast<int32_t>(at));
}

// The end of the program, from here and at once.
void Generator::Throw() {
  const RetRule rule = Returns();
  Label past = NewLabel();
  const int x = Unknown();
  SomeBranchImm(x, c_.Between(1, 100), past);
  code_.MovImm(1, Defect() ? -1 : rule.checked ? rule.range.min : c_.Between(0, 3));
  Kfunc("bpf_throw");
  Bind(past, false);
}

// Comparisons whose outcome is known, with the constant on either side; of pointers with one another; of packets once more.
void Generator::Compared() {
  const int a = c_.Chance(0.6) ? MemoryReg(1, false, false) : -1;
  if (a >= 0) {
    const Pin keep(*this, a);
    const int b = Dst();
    code_.MovReg(b, a);
    const int32_t distance = c_.Between(-4, 4);
    code_.AluImm(c_.Chance(0.5) || m_.regs[a].kind == Kind::kStack || m_.regs[a].kind == Kind::kBuffer ? kAdd : kSub, b, distance);
    Set(b, Value{});
    const Pin keep_b(*this, b);
    Label same = NewLabel();
    BranchReg(c_.Chance(0.5) ? kJeq : kJne, a, b, same);
    Bind(same);
    return;
  }
  const int x = AnyScalar();
  const Pin keep(*this, x);
  const int k = Dst();
  const Pin keep_k(*this, k);
  const int32_t imm = SomeImm();
  code_.MovImm(k, imm);
  Set(k, Value::Scalar());
  Label out = NewLabel();
  const int first = c_.Chance(0.7) ? k : x;
  SomeBranchReg(first, first == k ? x : k, out, c_.Chance(0.7));
  if (CanFork()) SomeBranchReg(k, x, out, c_.Chance(0.7));
  Bind(out);
}

// A string that never changes, compared with some memory.
void Generator::ConstString() {
  const int map = UseMap(kConstantMap);
  MapDef& def = object_->maps[static_cast<size_t>(map)];
  if (!Defect()) def.data.back() = 0;
  const int buffer = StackBuffer(8, true);
  if (buffer < 0) return;
  if (buffer != 1) code_.MovReg(1, buffer);
  code_.MovImm(2, c_.Between(1, 8));
  code_.Imm64(3, kPseudoMapValue, map, static_cast<int32_t>(c_.Below(8)));
  code_.Call(182);
  ClobberedByCall(Value::Scalar());
}

// What the kernel keeps of a map.
void Generator::MapDescription() {
  const MapType types[] = {MapType::kArray, MapType::kHash, MapType::kQueue, MapType::kBloomFilter, MapType::kLpmTrie,
                           MapType::kDevmap, MapType::kCpumap, MapType::kStackTrace, MapType::kXskmap, MapType::kSockmap,
                           MapType::kRingbuf, MapType::kArrayOfMaps, MapType::kArena, MapType::kSockhash,
                           MapType::kReuseportSockarray};
  const MapType type = c_.Of(types);
  if (p_->sleepable && !MapAllowedInSleepable(type)) return Alu();
  static constexpr const char* kMembers[] = {"key_size", "value_size", "max_entries"};
  const int off = KernelMember("bpf_map", c_.Of(kMembers));
  const int d = Dst();
  code_.Imm64(d, kPseudoMapFd, ExtraMap(type), 0);
  if (Defect(0.3)) {
    code_.StoreImm(4, d, off, 0);
  } else {
    code_.Load(4, d, d, Defect(0.2) ? -4 : off);
  }
  Set(d, Value::Scalar(0, 0xffffffff));
}

// A string with conversions that never changes, and numbers for them.
void Generator::Format() {
  struct Text {
    const char* text;
    int conversions;
  };
  static constexpr Text kTexts[] = {{"%d %5x", 2}, {"%s %pks", 2}, {"%% %llu", 1}, {"%pI4 %pK", 2}, {"%c:%-3i", 2}, {"plain", 0}};
  const Text& text = kTexts[c_.Below(static_cast<uint32_t>(std::size(kTexts)))];
  const bool wrong = Defect(0.3);
  MapDef map;
  map.name = "format" + std::to_string(object_->maps.size());
  map.type = MapType::kArray;
  map.key_size = 4;
  map.value_size = 16;
  map.max_entries = 1;
  map.flags = 1u << 7;  // BPF_F_RDONLY_PROG
  map.frozen = true;
  map.data.assign(16, 0);
  for (size_t i = 0; text.text[i] != 0; ++i) map.data[i] = static_cast<uint8_t>(text.text[i]);
  const int numbers = StackBuffer(16, true);
  if (numbers < 0) return;
  const int off = m_.regs[numbers].off;
  const int out = c_.Chance(0.3) ? -1 : StackBuffer(8, false);
  if (out >= 0) {
    const int at = m_.regs[out].off;
    code_.MovReg(1, kRegFp);
    code_.AluImm(kAdd, 1, at);
    if (at < off + 16 && off < at + 8) StackWritten(off, 16, nullptr);
    StackWritten(at, 8, nullptr);
  } else {
    code_.MovImm(1, 0);
  }
  code_.MovImm(2, out >= 0 ? 8 : 0);
  code_.Imm64(3, kPseudoMapValue, static_cast<int32_t>(object_->maps.size()), 0);
  object_->maps.push_back(std::move(map));
  code_.MovReg(4, kRegFp);
  code_.AluImm(kAdd, 4, off);
  code_.MovImm(5, 8 * std::max(0, text.conversions - (wrong ? 1 : 0)));
  code_.Call(165);
  ClobberedByCall(Value::Scalar());
}

// Maps whose values are not memory: another map, or a socket.
void Generator::LookupInMap() {
  const int home = Saved();
  if (home < 0) return Alu();
  const Pin keep(*this, home);
  const uint32_t kind = c_.Below(3);
  const MapType type = kind == 0 ? MapType::kXskmap : kind == 1 ? MapType::kArrayOfMaps : MapType::kSockmap;
  if (type == MapType::kSockmap && !Can(kSkRelease)) return Alu();
  if (type == MapType::kXskmap && p_->type != ProgType::kXdp) return Alu();
  const int map = ExtraMap(type);
  const auto look_up = [&](int in) {
    const int off = KeyFor(object_->maps[static_cast<size_t>(map)]);
    code_.MovReg(2, kRegFp);
    code_.AluImm(kAdd, 2, off);
    if (in < 0) {
      code_.Imm64(1, kPseudoMapFd, map, 0);
    } else {
      code_.MovReg(1, in);
    }
    code_.Call(1);
    ClobberedByCall(Value{});
    code_.MovReg(home, 0);
    Set(home, Value{});
  };
  look_up(-1);
  Label past = NewLabel();
  if (!Defect()) BranchImm(kJeq, home, 0, past);
  switch (type) {
    case MapType::kXskmap:
      code_.Load(4, 0, home, 0);
      Set(0, Value::Scalar(0, 0xffffffff));
      break;
    case MapType::kSockmap:
      code_.Load(4, 3, home, 4);
      if (!Defect()) {
        code_.MovReg(1, home);
        code_.Call(kSkRelease);
      }
      ClobberedByCall(Value::Scalar());
      break;
    default: {
      look_up(home);
      Label none = NewLabel();
      if (!Defect()) BranchImm(kJeq, 0, 0, none);
      code_.Load(4, 0, 0, 0);
      Set(0, Value::Scalar(0, 0xffffffff));
      Bind(none);
      Set(0, Value{});
      break;
    }
  }
  Bind(past);
  Set(0, Value{});
  Set(home, Value{});
}

}  // namespace bpfsieve
