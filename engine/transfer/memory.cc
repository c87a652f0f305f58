// Loads, stores and atomics through pointers of every kind (check_mem_access and what it calls).
#include <bpf/btf.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_fields.h"
#include "engine/program/btf_view.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// What a load of `size` bytes at `off` of frozen map contents gives.
uint64_t ReadConst(const std::vector<uint8_t>& data, uint64_t off, int size, bool sign_extend) {
  uint64_t v = 0;
  std::memcpy(&v, data.data() + off, static_cast<size_t>(size));
  if (!sign_extend || size == 8) return v;
  const int shift = 64 - size * 8;
  return static_cast<uint64_t>(static_cast<int64_t>(v << shift) >> shift);
}

// Pointer types that one instruction may not mix with others: their accesses are rewritten at load time.
bool MustNotMix(RegType t) {
  return t == RegType::kCtx || t == RegType::kSocket || t == RegType::kSockCommon || t == RegType::kTcpSock ||
         t == RegType::kXdpSock || t == RegType::kBtfId || t == RegType::kArena;
}

}  // namespace

bool Transfer::UsePointer(RegType type) {
  out_->used_pointer = MustNotMix(type) ? type : RegType::kScalar;
  return true;
}

bool Transfer::LoadMem() {
  const Insn& i = insn();
  if (!ReadReg(i.src)) return false;
  // Memory that may not be there is read in the way that is used for objects.
  const RegType type = reg(i.src).IsUnsafeMem() ? RegType::kBtfId : reg(i.src).type;
  if (!MemAccess(i.src, i.off, AccessBytes(i), false, i.dst, false, Mode(i) == kModeMemsx)) return false;
  RepairBounds(reg(i.dst).s);
  return UsePointer(type);
}

bool Transfer::StoreMem() {
  const Insn& i = insn();
  const bool from_reg = Class(i) == kClassStx;
  if (from_reg && !ReadReg(i.src)) return false;
  if (!ReadReg(i.dst)) return false;
  const RegType type = reg(i.dst).type;
  const uint16_t flags = reg(i.dst).flags;
  if (!MemAccess(i.dst, i.off, AccessBytes(i), true, from_reg ? i.src : -1, false, false)) return false;
  // Loads of objects that are kept alive in different ways go together, stores do not.
  if (type == RegType::kBtfId) out_->used_detail = flags;
  return UsePointer(type);
}

bool Transfer::Atomic() {
  const Insn& i = insn();
  const int size = AccessBytes(i);
  // The processor has no instruction for these, and a loop of them cannot fault in an arena (bpf_jit_supports_insn, x86-64).
  const bool loops = i.imm == (kAnd | kFetch) || i.imm == (kOr | kFetch) || i.imm == (kXor | kFetch);
  auto pointer_ok = [this, loops](int r) {
    const Reg& p = reg(r);
    if (p.type == RegType::kArena) return !loops;
    return p.type != RegType::kCtx && !p.IsPacket() && p.type != RegType::kFlowKeys && !p.IsSockPointer();
  };
  if (i.imm == kLoadAcq || i.imm == kStoreRel) {
    const bool load = i.imm == kLoadAcq;
    const int ptr = load ? i.src : i.dst;
    if (load) {
      if (!ReadReg(i.src)) return false;
    } else if (!ReadReg(i.src) || !ReadReg(i.dst)) {
      return false;
    }
    // The kernel looks at the pointer after the access, when a load may have overwritten it with a number, and then lets
    // a raw load from the context through.
    const Reg p = reg(ptr);
    const bool ok = pointer_ok(ptr);
    if (!MemAccess(ptr, i.off, size, !load, load ? i.dst : i.src, true, false)) return false;
    if (!ok) {
      return Fail(Rule::kAtomic, ptr,
                  absl::StrCat("BPF_ATOMIC ", load ? "loads from" : "stores into", " R", ptr, " ", RegTypeName(p),
                               " is not allowed"));
    }
    if (load) RepairBounds(reg(i.dst).s);
    const RegType type = p.type;
    return UsePointer(type);
  }
  if (size < 4) return Fail(Rule::kAtomic, -1, "invalid atomic operand size");
  if (!ReadReg(i.src) || !ReadReg(i.dst)) return false;
  if (i.imm == kCmpxchg) {
    if (!ReadReg(kRegR0)) return false;
    if (Hidden(reg(kRegR0))) return Leak(kRegR0, "into mem");
  }
  if (Hidden(reg(i.src))) return Leak(i.src, "into mem");
  if (!pointer_ok(i.dst)) {
    return Fail(Rule::kAtomic, i.dst, absl::StrCat("BPF_ATOMIC stores into R", int{i.dst}, " ",
                                                   RegTypeName(reg(i.dst)), " is not allowed"));
  }
  const int load = (i.imm & kFetch) == 0 ? -1 : i.imm == kCmpxchg ? kRegR0 : int{i.src};
  if (load >= 0) reg(load).MakeUnknown();
  const RegType type = reg(i.dst).type;
  if (!MemAccess(i.dst, i.off, size, false, -1, true, false)) return false;
  if (load >= 0 && !MemAccess(i.dst, i.off, size, false, load, true, false)) return false;
  // A fetch into the pointer's own register leaves no pointer for the write.
  UsePointer(load == i.dst ? reg(i.dst).type : type);
  return MemAccess(i.dst, i.off, size, true, -1, true, false);
}

bool Transfer::MemAccess(int r, int off, int size, bool write, int value, bool strict_once, bool sign_extend) {
  const Reg p = reg(r);
  if (!Alignment(p, off, size, strict_once)) return false;
  if (!p.IsScalar()) off += p.off;  // what a number is away from another one is no offset
  auto load_unknown = [&] {
    if (!write && value >= 0) reg(value).MakeUnknown();
  };
  const bool leaks = !ctx_.caps.perfmon && write && value >= 0 && !reg(value).IsScalar();
  const auto type_text = [&p] { return RegTypeName(p); };
  switch (p.type) {
    case RegType::kMapKey:
      if (write) {
        return Fail(Rule::kMemRdonly, r, absl::StrCat("write to change key R", r, " not allowed"));
      }
      if (!RegionAccess(r, off, size, ctx_.map(p.map).key_size, false)) return false;
      load_unknown();
      break;
    case RegType::kMapValue: {
      if (p.MayBeNull()) {
        return Fail(Rule::kNullDeref, r, absl::StrCat("R", r, " invalid mem access '", type_text(), "'"));
      }
      if (leaks) return Leak(value, "into map");
      if (!MapDirection(r, off, size, write) || !MapAccess(r, off, size, false, false)) return false;
      const MapDef& map = ctx_.map(p.map);
      if (p.s.IsConst()) {
        const int64_t at = off + static_cast<int64_t>(p.s.ConstValue());
        if (const MapField* kptr = KptrAt(map.fields, at)) return KptrAccess(r, *kptr, write, value);
      }
      if (!write && value >= 0) {
        const uint64_t at = static_cast<uint64_t>(off) + p.s.ConstValue();
        if (p.s.IsConst() && map.type == MapType::kArray && KnownContents(map) &&
            at + static_cast<uint64_t>(size) <= map.data.size()) {
          // The kernel finds contents only in an array of one.
          if (map.max_entries != 1) {
            return Fail(Rule::kMapAccess, r, "contents of a read-only array of several values are not known");
          }
          reg(value).MakeScalar(Scalar::Const(ReadConst(map.data, at, size, sign_extend)));
        } else {
          reg(value).MakeUnknown();
        }
      }
      break;
    }
    case RegType::kMem:
      if (p.MayBeNull()) {
        return Fail(Rule::kNullDeref, r, absl::StrCat("R", r, " invalid mem access '", type_text(), "'"));
      }
      if (write && (p.flags & kRdonly) != 0) {
        return Fail(Rule::kMemRdonly, r, absl::StrCat("R", r, " cannot write into ", type_text()));
      }
      if (leaks) return Leak(value, "into mem");
      // What nobody vouches for is read in a way that cannot fault.
      if ((p.flags & kUntrusted) == 0 && !RegionAccess(r, off, size, p.mem_size, false)) return false;
      load_unknown();
      break;
    case RegType::kCtx:
      if (leaks) return Leak(value, "into ctx");
      if (!CtxAccessAt(r, off, size, write, value, sign_extend)) return false;
      break;
    case RegType::kStack:
      if (!StackBounds(r, off, size, write)) return false;
      if (!(write ? StackWrite(r, off, size, value) : StackRead(r, off, size, value))) return false;
      break;
    case RegType::kPacket:
    case RegType::kPacketMeta:
      if (write && !MayAccessPacket(prog_.type, true)) {
        return Fail(Rule::kPacketAccess, r, "cannot write into packet");
      }
      if (leaks) return Leak(value, "into packet");
      if (!PacketAccess(r, off, size, false)) return false;
      load_unknown();
      break;
    case RegType::kFlowKeys:
      if (leaks) return Leak(value, "into flow keys");
      if (off < 0 || off + size > kFlowKeysSize) {
        return Fail(Rule::kMemBounds, r, absl::StrCat("invalid access to flow keys off=", off, " size=", size));
      }
      load_unknown();
      break;
    case RegType::kSocket:
    case RegType::kSockCommon:
    case RegType::kTcpSock:
    case RegType::kXdpSock:
      if (p.flags != 0) {
        return Fail(Rule::kNullDeref, r, absl::StrCat("R", r, " invalid mem access '", type_text(), "'"));
      }
      if (write) return Fail(Rule::kMemRdonly, r, absl::StrCat("R", r, " cannot write into ", RegTypeName(p)));
      if (!SockFieldAccess(r, off, size)) return false;
      load_unknown();
      break;
    case RegType::kTpBuffer:
      if (off < 0) {
        return Fail(Rule::kMemBounds, r,
                    absl::StrCat("R", r, " invalid tracepoint buffer access: off=", off, ", size=", size));
      }
      if (!p.s.IsConst() || p.s.ConstValue() != 0) {
        return Fail(Rule::kMemBounds, r,
                    absl::StrCat("R", r, " invalid variable buffer offset: off=", off, ", var_off=",
                                 TnumText(p.s.var_off)));
      }
      load_unknown();
      break;
    case RegType::kBtfId:
      if (p.MayBeNull()) {
        return Fail(Rule::kNullDeref, r, absl::StrCat("R", r, " invalid mem access '", type_text(), "'"));
      }
      if (!BtfAccess(r, off, size, write, value)) return false;
      break;
    case RegType::kConstMapPtr:
      if (!MapStructAccess(r, off, size, write, value)) return false;
      break;
    case RegType::kBuf:
      if (p.MayBeNull()) {
        return Fail(Rule::kNullDeref, r, absl::StrCat("R", r, " invalid mem access '", type_text(), "'"));
      }
      if (write && (p.flags & kRdonly) != 0) {
        return Fail(Rule::kMemRdonly, r, absl::StrCat("R", r, " cannot write into ", type_text()));
      }
      if (!BufferAccess(r, off, size)) return false;
      load_unknown();
      break;
    case RegType::kArena:
      load_unknown();
      break;
    default:
      return Fail(Rule::kInvalidMem, r, absl::StrCat("R", r, " invalid mem access '", RegTypeName(p), "'"));
  }
  if (size < 8 && value >= 0 && !write && reg(value).IsScalar()) {
    if (sign_extend) {
      // Linux 6.18 leaves what was filled from the stack linked to the number that was spilled, which it is not where the
      // sign bit is set, and accepts programs that read out of bounds.
      if (reg(value).s.umax >= uint64_t{1} << (8 * size - 1)) reg(value).ClearScalarId();
      CoerceToSizeSx(reg(value).s, size);
    } else {
      CoerceToSize(reg(value).s, size);
    }
  }
  return true;
}

bool Transfer::Alignment(const Reg& p, int off, int size, bool strict_once) {
  const bool strict = ctx_.strict_alignment || strict_once || p.type == RegType::kStack;
  if (!strict || size == 1) return true;
  if (p.IsPacket()) {
    const int kIpAlign = 2;
    const Tnum at = TnumAdd(p.s.var_off, Tnum::Const(static_cast<uint64_t>(int64_t{kIpAlign} + p.off + off)));
    if (at.IsAligned(static_cast<uint64_t>(size))) return true;
    return Fail(Rule::kAlignment, -1,
                absl::StrCat("misaligned packet access off ", kIpAlign, "+", TnumText(p.s.var_off), "+", p.off, "+",
                             off, " size ", size));
  }
  const char* what = "";
  switch (p.flags == 0 ? p.type : RegType::kScalar) {
    case RegType::kFlowKeys: what = "flow keys "; break;
    case RegType::kMapKey: what = "key "; break;
    case RegType::kMapValue: what = "value "; break;
    case RegType::kCtx: what = "context "; break;
    case RegType::kStack: what = "stack "; break;
    case RegType::kSocket: what = "sock "; break;
    case RegType::kSockCommon: what = "sock_common "; break;
    case RegType::kTcpSock: what = "tcp_sock "; break;
    case RegType::kXdpSock: what = "xdp_sock "; break;
    default: break;
  }
  const Tnum at = TnumAdd(p.s.var_off, Tnum::Const(static_cast<uint64_t>(int64_t{p.off} + off)));
  if (at.IsAligned(static_cast<uint64_t>(size))) return true;
  return Fail(Rule::kAlignment, -1, absl::StrCat("misaligned ", what, "access off ", TnumText(p.s.var_off), "+",
                                                 p.off, "+", off, " size ", size));
}

bool Transfer::RegionBounds(int r, int64_t off, int64_t size, uint64_t region, bool zero_ok) {
  if (off >= 0 && (size > 0 || (size == 0 && zero_ok)) &&
      static_cast<uint64_t>(off) + static_cast<uint64_t>(size) <= region) {
    return true;
  }
  const Reg& p = reg(r);
  switch (p.type) {
    case RegType::kMapValue:
      return Fail(Rule::kMapBounds, r,
                  absl::StrCat("invalid access to map value, value_size=", region, " off=", off, " size=", size));
    case RegType::kMapKey:
      return Fail(Rule::kMapBounds, r,
                  absl::StrCat("invalid access to map key, key_size=", region, " off=", off, " size=", size));
    case RegType::kPacket:
    case RegType::kPacketMeta:
      return Fail(Rule::kPacketBounds, r,
                  absl::StrCat("invalid access to packet, off=", off, " size=", size, ", R", r, "(id=", p.id, ",off=",
                               off, ",r=", region, ")"));
    default:
      return Fail(Rule::kMemBounds, r,
                  absl::StrCat("invalid access to memory, mem_size=", region, " off=", off, " size=", size));
  }
}

bool Transfer::RegionAccess(int r, int64_t off, int64_t size, uint64_t region, bool zero_ok) {
  const Scalar& s = reg(r).s;
  const Rule rule = reg(r).type == RegType::kMapValue || reg(r).type == RegType::kMapKey ? Rule::kMapBounds
                                                                                          : Rule::kMemBounds;
  const int64_t low = static_cast<int64_t>(static_cast<uint64_t>(s.smin) + static_cast<uint64_t>(off));
  if (s.smin < 0 && (s.smin == kS64Min || low != static_cast<int32_t>(low) || low < 0)) {
    return Fail(rule, r,
                absl::StrCat("R", r, " min value is negative, either use unsigned index or do a if (index >=0) check."));
  }
  if (!RegionBounds(r, static_cast<int32_t>(low), size, region, zero_ok)) {
    return Fail(rule, r, absl::StrCat("R", r, " min value is outside of the allowed memory range"));
  }
  if (s.umax >= static_cast<uint64_t>(kMaxVarOff)) {
    return Fail(rule, r,
                absl::StrCat("R", r, " unbounded memory access, make sure to bounds check any such access"));
  }
  if (!RegionBounds(r, static_cast<int32_t>(s.umax + static_cast<uint64_t>(off)), size, region, zero_ok)) {
    return Fail(rule, r, absl::StrCat("R", r, " max value is outside of the allowed memory range"));
  }
  return true;
}

// How large the buffer is shows when the program is attached.
bool Transfer::BufferAccess(int r, int64_t off, int64_t size) {
  const Reg& p = reg(r);
  const char* what = (p.flags & kRdonly) != 0 ? "rdonly" : "rdwr";
  if (off < 0) {
    return Fail(Rule::kMemBounds, r, absl::StrCat("R", r, " invalid ", what, " buffer access: off=", off, ", size=", size));
  }
  if (p.s.IsConst() && p.s.ConstValue() == 0) return true;
  return Fail(Rule::kMemBounds, r, absl::StrCat("R", r, " invalid variable buffer offset: off=", off, ", var_off=",
                                                TnumText(p.s.var_off)));
}

bool Transfer::MapDirection(int r, int off, int size, bool write) {
  const MapDef& map = ctx_.map(reg(r).map);
  const uint32_t access = MapAccessFlags(map.type, map.flags);
  if (write && (access & kMapRdonlyProg) != 0) {
    return Fail(Rule::kMapAccess, r, absl::StrCat("write into map forbidden, value_size=", map.value_size, " off=",
                                                  off, " size=", size));
  }
  if (!write && (access & kMapWronlyProg) != 0) {
    return Fail(Rule::kMapAccess, r, absl::StrCat("read from map forbidden, value_size=", map.value_size, " off=",
                                                  off, " size=", size));
  }
  return true;
}

bool Transfer::MapAccess(int r, int off, int64_t size, bool zero_ok, bool by_helper) {
  const Reg& p = reg(r);
  const MapDef& map = ctx_.map(p.map);
  if (!RegionAccess(r, off, size, map.value_size, zero_ok)) return false;
  for (const MapField& f : map.fields) {
    const int64_t begin = p.s.smin + off;
    const uint64_t end = p.s.umax + static_cast<uint64_t>(off) + static_cast<uint64_t>(size);
    if (begin >= int64_t{f.offset} + f.size || f.offset >= end) continue;
    if (!IsKptr(f.kind)) {
      return Fail(Rule::kMapAccess, r,
                  absl::StrCat(FieldTypeName(f.kind), " cannot be accessed directly by load/store"));
    }
    const std::string name = FieldTypeName(f.kind);
    if (by_helper) return Fail(Rule::kMapAccess, r, absl::StrCat(name, " cannot be accessed indirectly by helper"));
    if (!p.s.IsConst()) return Fail(Rule::kMapAccess, r, absl::StrCat(name, " access cannot have variable offset"));
    if (f.offset != static_cast<uint64_t>(off) + p.s.ConstValue()) {
      return Fail(Rule::kMapAccess, r,
                  absl::StrCat(name, " access misaligned expected=", f.offset, " off=",
                               static_cast<uint64_t>(off) + p.s.ConstValue()));
    }
    if (size != 8) return Fail(Rule::kMapAccess, r, absl::StrCat(name, " access size must be BPF_DW"));
  }
  return true;
}

bool Transfer::PacketAccess(int r, int64_t off, int64_t size, bool zero_ok) {
  const Reg& p = reg(r);
  if (p.s.smin < 0) {
    return Fail(Rule::kPacketBounds, r,
                absl::StrCat("R", r, " min value is negative, either use unsigned index or do a if (index >=0) check."));
  }
  if (p.range < 0 || !RegionBounds(r, off, size, static_cast<uint64_t>(p.range), zero_ok)) {
    return Fail(Rule::kPacketBounds, r, absl::StrCat("R", r, " offset is outside of the packet"));
  }
  return true;
}

bool Transfer::PointerOffset(const Reg& p, int r, bool fixed_ok) {
  if (p.off < 0) {
    return Fail(Rule::kPointerOffset, r, absl::StrCat("negative offset ", RegTypeName(p), " ptr R", r, " off=", p.off,
                                                      " disallowed"));
  }
  if (!fixed_ok && p.off != 0) {
    return Fail(Rule::kPointerOffset, r, absl::StrCat("dereference of modified ", RegTypeName(p), " ptr R", r,
                                                      " off=", p.off, " disallowed"));
  }
  if (!p.s.IsConst() || p.s.ConstValue() != 0) {
    return Fail(Rule::kPointerOffset, r, absl::StrCat("variable ", RegTypeName(p), " access var_off=",
                                                      TnumText(p.s.var_off), " disallowed"));
  }
  return true;
}

bool Transfer::CtxAccessAt(int r, int off, int size, bool write, int value, bool sign_extend) {
  const Reg p = reg(r);
  if (!PointerOffset(p, r, false)) return false;
  if (ctx_.target.proto != nullptr || ctx_.target.untyped) return TracingAccess(r, off, size, write, value);
  if (const char* feature = CtxUnsupported(prog_.type)) return Unsupported(absl::StrCat("context: ", feature));
  const CtxAccess access = CheckCtxAccess(prog_.type, prog_.attach, off, size, write);
  if (!access.ok || !CtxAccessAllowed(prog_.type, off, write, access.yield, ctx_.caps) ||
      (sign_extend && access.yield != CtxYield::kScalar)) {
    return Fail(Rule::kCtxAccess, r, absl::StrCat("invalid bpf_context access off=", off, " size=", size));
  }
  if (write || value < 0) return true;
  Reg& dst = reg(value);
  switch (access.yield) {
    case CtxYield::kScalar: dst.MakeUnknown(); return true;
    case CtxYield::kPacket: dst.MakePointer(RegType::kPacket); return true;
    case CtxYield::kPacketMeta: dst.MakePointer(RegType::kPacketMeta); return true;
    case CtxYield::kPacketEnd: dst.MakePointer(RegType::kPacketEnd); return true;
    case CtxYield::kSockCommonOrNull:
      dst.MakePointer(RegType::kSockCommon, kMaybeNull);
      dst.id = NewId();
      return true;
    case CtxYield::kSocketOrNull:
      dst.MakePointer(RegType::kSocket, kMaybeNull);
      dst.id = NewId();
      return true;
    case CtxYield::kSocket: dst.MakePointer(RegType::kSocket); return true;
    case CtxYield::kTcpSock: dst.MakePointer(RegType::kTcpSock); return true;
    case CtxYield::kFlowKeys: dst.MakePointer(RegType::kFlowKeys); return true;
    case CtxYield::kXdpSock: dst.MakePointer(RegType::kXdpSock); return true;
    case CtxYield::kTpBuffer: dst.MakePointer(RegType::kTpBuffer); return true;
    case CtxYield::kNfState:
    case CtxYield::kNfPacket: {
      const char* name = access.yield == CtxYield::kNfState ? "nf_hook_state" : "sk_buff";
      const uint32_t type = Kernel() != nullptr ? Kernel()->Find(name, BTF_KIND_STRUCT) : 0;
      if (type == 0) return Unsupported("BTF-typed context field");
      MakeBtfPointer(dst, type, kTrusted);
      return true;
    }
  }
  return true;
}

bool Transfer::SockFieldAccess(int r, int off, int size) {
  const Reg& p = reg(r);
  if (p.s.smin < 0) {
    return Fail(Rule::kSockAccess, r,
                absl::StrCat("R", r, " min value is negative, either use unsigned index or do a if (index >=0) check."));
  }
  const SockKind kind = p.type == RegType::kSocket       ? SockKind::kSocket
                        : p.type == RegType::kSockCommon ? SockKind::kCommon
                        : p.type == RegType::kTcpSock    ? SockKind::kTcp
                                                         : SockKind::kXdp;
  if (CheckSockLoad(kind, off, size)) return true;
  return Fail(Rule::kSockAccess, r, absl::StrCat("R", r, " invalid ", RegTypeName(p), " access off=", off,
                                                 " size=", size));
}

bool Transfer::LoadImm64() {
  const Insn& i = insn();
  Reg& dst = reg(i.dst);
  const Insn& high = prog_.insns[pc_ + 1];
  switch (i.src) {
    case 0:
      dst.MakeScalar(Scalar::Const(static_cast<uint64_t>(static_cast<uint32_t>(high.imm)) << 32 |
                                   static_cast<uint32_t>(i.imm)));
      return true;
    case kPseudoMapFd:
      dst.MakePointer(RegType::kConstMapPtr);
      dst.map = i.imm;
      return true;
    case kPseudoMapValue:
      if (ctx_.map(i.imm).type == MapType::kArena) {
        dst.MakeUnknown();
        return true;
      }
      dst.MakePointer(RegType::kMapValue);
      dst.map = i.imm;
      dst.off = high.imm;
      return true;
    case kPseudoBtfId: return KernelSymbol(prog_.externs[static_cast<size_t>(i.imm)], dst);
    case kPseudoFunc: {
      const int sub = ctx_.cfg->SubAt(static_cast<uint32_t>(int64_t{pc_} + i.imm + 1));
      const uint32_t start = ctx_.cfg->subs[sub].start;
      const bool described = std::any_of(prog_.subprogs.begin(), prog_.subprogs.end(), [start](const Subprog& s) {
        return s.start == start && s.btf_func_id != 0;
      });
      if (!described) return Fail(Rule::kBtfInfo, -1, "missing btf func_info");
      if (ctx_.subs[sub].global) return Fail(Rule::kBtfInfo, -1, "callback function not static");
      dst.MakePointer(RegType::kFunc);
      dst.subprog = static_cast<uint32_t>(sub);
      return true;
    }
  }
  return Fail(Rule::kBadImm64, -1, "unrecognized bpf_ld_imm64 insn");
}

bool Transfer::LoadAbs() {
  const Insn& i = insn();
  if (!MayUseLdAbs(prog_.type)) {
    return Fail(Rule::kCtxAccess, -1, "BPF_LD_[ABS|IND] instructions not allowed for this program type");
  }
  if (!ReadReg(6)) return false;
  if (!NoResources(true, "BPF_LD_[ABS|IND]")) return false;
  if (reg(6).type != RegType::kCtx) {
    return Fail(Rule::kCtxAccess, 6, "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
  }
  if (Mode(i) == kModeInd && !ReadReg(i.src)) return false;
  if (!PointerOffset(reg(6), 6, false)) return false;
  ClearCallerSaved();
  reg(0).MakeUnknown();
  if (st_->cur > 0) {
    // A failed load leaves the subprogram at once, with R0 = 0; a good one goes on.
    Fork(pc_ + 1);
    reg(0).MakeScalar(Scalar::Const(0));
    return ReturnFromSubprog();
  }
  return true;
}

}  // namespace bpfsieve
