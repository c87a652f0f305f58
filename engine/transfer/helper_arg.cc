// Arguments of helpers, by prototype (check_func_arg and what it calls).
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/isa/helper_names.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

enum : uint32_t {
  kMapLookupElem = 1, kSkRelease = 86, kMapPeekElem = 89, kSpinLockFn = 93, kSpinUnlockFn = 94, kKptrXchg = 194,
};

struct TypeAndFlags {
  RegType type;
  uint16_t flags;
};
// The register types that an argument type takes (compatible_reg_types), and how the kernel lists them.
struct Accepted {
  std::initializer_list<TypeAndFlags> types;
  const char* text;
};

const Accepted* AcceptedFor(Arg base) {
  using T = RegType;
  static const Accepted kMemTypes = {{{T::kStack, 0}, {T::kPacket, 0}, {T::kPacketMeta, 0}, {T::kMapKey, 0},
                                      {T::kMapValue, 0}, {T::kMem, 0}, {T::kMem, kRingbuf}, {T::kBuf, 0},
                                      {T::kBtfId, kTrusted}},
                                     "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"};
  static const Accepted kSock = {{{T::kSockCommon, 0}, {T::kSocket, 0}, {T::kTcpSock, 0}, {T::kXdpSock, 0}},
                                 "sock_common, sock, tcp_sock, xdp_sock"};
  static const Accepted kBtfSock = {{{T::kSockCommon, 0}, {T::kSocket, 0}, {T::kTcpSock, 0}, {T::kXdpSock, 0},
                                     {T::kBtfId, 0}, {T::kBtfId, kTrusted}},
                                    "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_"};
  static const Accepted kFull = {{{T::kSocket, 0}}, "sock"};
  static const Accepted kScalar = {{{T::kScalar, 0}}, "scalar"};
  static const Accepted kContext = {{{T::kCtx, 0}}, "ctx"};
  static const Accepted kRing = {{{T::kMem, kRingbuf}}, "ringbuf_mem"};
  static const Accepted kMapPtr = {{{T::kConstMapPtr, 0}}, "map_ptr"};
  static const Accepted kBtf = {{{T::kBtfId, 0}, {T::kBtfId, kTrusted}, {T::kBtfId, kRcu}},
                                "ptr_, trusted_ptr_, rcu_ptr_"};
  static const Accepted kObjectOrValue = {{{T::kMapValue, 0}, {T::kBtfId, kAlloc}}, "map_value, ptr_"};
  static const Accepted kPercpuBtf = {{{T::kBtfId, kPercpu}, {T::kBtfId, kPercpu | kRcu}, {T::kBtfId, kPercpu | kTrusted}},
                                      "percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_"};
  static const Accepted kStackOnly = {{{T::kStack, 0}}, "fp"};
  static const Accepted kFunction = {{{T::kFunc, 0}}, "func"};
  static const Accepted kValueOnly = {{{T::kMapValue, 0}}, "map_value"};
  static const Accepted kDynptr = {{{T::kStack, 0}, {T::kDynptr, 0}}, "fp, dynptr_ptr"};
  switch (base) {
    case Arg::kMapKey:
    case Arg::kMapValue:
    case Arg::kMem: return &kMemTypes;
    case Arg::kConstSize:
    case Arg::kConstSizeOrZero:
    case Arg::kConstAllocSizeOrZero: return &kScalar;
    case Arg::kConstMapPtr: return &kMapPtr;
    case Arg::kCtx: return &kContext;
    case Arg::kSockCommon: return &kSock;
    case Arg::kBtfIdSockCommon: return &kBtfSock;
    case Arg::kSocket: return &kFull;
    case Arg::kBtfId: return &kBtf;
    case Arg::kPercpuBtfId: return &kPercpuBtf;
    case Arg::kKptrXchgDest:
    case Arg::kSpinLock: return &kObjectOrValue;
    case Arg::kRingbufMem: return &kRing;
    case Arg::kStack: return &kStackOnly;
    case Arg::kFunc: return &kFunction;
    case Arg::kConstStr:
    case Arg::kTimer: return &kValueOnly;
    case Arg::kDynptr: return &kDynptr;
    default: return nullptr;
  }
}

}  // namespace

bool Transfer::ArgType(int r, const ArgSpec& spec, Arg base, CallMeta& meta) {
  const Accepted* accepted = AcceptedFor(base);
  if (accepted == nullptr) return Unsupported("helper argument of an unmodelled kind");
  const Reg& p = reg(r);
  uint16_t flags = p.KernelFlags();
  if ((spec.flags & kArgRdonly) != 0) flags &= static_cast<uint16_t>(~kRdonly);
  if ((spec.flags & kArgNullable) != 0) flags &= static_cast<uint16_t>(~kMaybeNull);
  // An object of the program's own may go into memory.
  const bool stored = meta.id == kKptrXchg && base == Arg::kBtfId;
  if (stored && (flags & kAlloc) != 0) flags &= static_cast<uint16_t>(~(kAlloc | kPercpu));
  if (base == Arg::kMem && p.type == RegType::kMem) flags &= static_cast<uint16_t>(~kSliceMask);
  for (const TypeAndFlags& t : accepted->types) {
    if (t.type != p.type || t.flags != flags) continue;
    if (p.type != RegType::kBtfId || base == Arg::kSpinLock || base == Arg::kKptrXchgDest) return true;
    if (base == Arg::kPercpuBtfId) return p.Has(kRcu) == p.Has(kProgBtf) || Unsupported("percpu-btf-id");
    if (stored && p.IsObject() && p.KernelFlags() != kAlloc && p.KernelFlags() != (kAlloc | kPercpu)) {
      // Not owned, or not known to be there; what the kernel says of it was not meant for programs.
      return Fail(Rule::kObject, r, "verifier bug: invalid PTR_TO_BTF_ID register for type match");
    }
    if (stored) {
      if (!p.MayBeNull()) return KptrMatches(*meta.field, r);
      return Fail(Rule::kNullDeref, r, absl::StrCat("Possibly NULL pointer passed to helper arg", r));
    }
    if (accepted == AcceptedFor(Arg::kMem)) {
      // The kernel's own memory is for reading alone.
      if ((spec.flags & kArgRdonly) != 0) return true;
      return Fail(Rule::kHelperArg, r, absl::StrCat("bpf_", std::string(meta.proto->name), "() may write into memory pointed by R",
                                                    r, " type=", RegTypeName(p)));
    }
    const bool release = (spec.flags & kArgRelease) != 0;
    const char* wanted = base == Arg::kBtfIdSockCommon ? "sock_common" : spec.btf_name;
    return BtfArg(r, wanted, (spec.flags & kArgNullable) != 0, release, release && meta.id != kSkRelease);
  }
  return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " type=", RegTypeName(p), " expected=", accepted->text));
}

bool Transfer::ArgOffset(const Reg& p, int r, bool release) {
  if (release) {
    if (p.off != 0) {
      return Fail(Rule::kRefRelease, r,
                  absl::StrCat("R", r, " must have zero offset when passed to release func or trusted arg to kfunc"));
    }
    return PointerOffset(p, r, false);
  }
  if (p.type == RegType::kBtfId) {
    const uint16_t flags = p.KernelFlags();
    const bool plain = flags == 0 || flags == kAlloc || flags == kTrusted || flags == kRcu ||
                       flags == (kAlloc | kNonOwnRef) || flags == (kAlloc | kNonOwnRef | kRcu);
    return PointerOffset(p, r, plain);
  }
  if (p.flags == 0 || p.flags == kRdonly || p.flags == kRingbuf) {
    switch (p.type) {
      case RegType::kStack:
      case RegType::kPacket:
      case RegType::kPacketMeta:
      case RegType::kMapKey:
      case RegType::kMapValue:
      case RegType::kMem:
      case RegType::kBuf:
      case RegType::kScalar:
        return true;
      default:
        break;
    }
  }
  return PointerOffset(p, r, false);
}

bool Transfer::HelperArg(int arg, CallMeta& meta) {
  ArgSpec spec = meta.proto->args[arg];
  const int r = arg + 1;
  if (spec.type == Arg::kDontcare) return true;
  if (!ReadReg(r)) return false;
  if (spec.type == Arg::kAnything) return !Hidden(reg(r)) || Leak(r, "into helper function");
  Reg& p = reg(r);
  if (p.IsPacketAny() && !HelperTakesPacket(*meta.proto, prog_.type)) {
    return Fail(Rule::kPacketAccess, r, "helper access to the packet is not allowed");
  }
  Arg base = spec.type;
  if (base == Arg::kMapValue && meta.map >= 0) {
    const MapType type = ctx_.map(meta.map).type;
    if (type == MapType::kSockmap || type == MapType::kSockhash) {
      if ((spec.flags & ~kArgRdonly) != 0) {
        return Fail(Rule::kHelperMap, r, "invalid arg_type for sockmap/sockhash");
      }
      base = Arg::kBtfIdSockCommon;
    }
    // A bloom filter is asked for a value, where queues give one.
    if (type == MapType::kBloomFilter && meta.id == kMapPeekElem) {
      spec.flags &= static_cast<decltype(spec.flags)>(~(kArgUninit | kArgWrite));
    }
  }
  const bool release = (spec.flags & kArgRelease) != 0;
  const bool is_null = p.IsNull() && (spec.flags & kArgNullable) != 0;
  if (is_null) {
    Precise(r);
  } else {
    if (!ArgType(r, spec, base, meta)) return false;
    // The dynptr itself may lie anywhere on the stack.
    const bool dynptr_on_stack = release && base == Arg::kDynptr && p.type == RegType::kStack;
    if (!dynptr_on_stack && !ArgOffset(p, r, release)) return false;
  }
  if (release) {
    if (base == Arg::kDynptr) {
      if (!OwnedDynptr(r)) return false;
    } else if (p.ref_obj_id == 0 && !p.IsNull()) {
      return Fail(Rule::kRefRelease, r, absl::StrCat("R", r, " must be referenced when passed to release function"));
    }
    meta.release_reg = r;
  }
  if (p.ref_obj_id != 0 && base != Arg::kKptrXchgDest) {
    if (meta.ref_obj_id != 0) {
      return Fail(Rule::kHelperArg, r, absl::StrCat("more than one arg with ref_obj_id R", r, " ", p.ref_obj_id, " ",
                                                    meta.ref_obj_id));
    }
    meta.ref_obj_id = p.ref_obj_id;
  }
  const bool writes = (spec.flags & kArgWrite) != 0;
  switch (base) {
    case Arg::kConstMapPtr:
      if (meta.map >= 0 && (meta.map != p.map || meta.map_uid != p.map_uid)) {
        return Fail(Rule::kHelperArg, r, absl::StrCat("timer pointer in R1 map_uid=", meta.map_uid,
                                                      " doesn't match map pointer in R2 map_uid=", p.map_uid));
      }
      meta.map = p.map;
      meta.map_uid = p.map_uid;
      return true;
    case Arg::kMapKey: {
      if (meta.map < 0) return Fail(Rule::kHelperArg, r, "invalid map_ptr to access map->key");
      const MapDef& map = ctx_.map(meta.map);
      if (!HelperMem(r, map.key_size, false, false, nullptr)) return false;
      const bool array = map.type == MapType::kArray || map.type == MapType::kPercpuArray;
      return !array || ConstKey(p, map.key_size, meta);
    }
    case Arg::kMapValue:
      if (is_null) return true;
      if (meta.map < 0) return Fail(Rule::kHelperArg, r, "invalid map_ptr to access map->value");
      meta.raw_mode = (spec.flags & kArgUninit) != 0;
      return HelperMem(r, ctx_.map(meta.map).value_size, writes, false, &meta);
    case Arg::kSpinLock:
      if (InTreeCallback()) return Fail(Rule::kLock, r, "can't spin_{lock,unlock} in rbtree cb");
      return SpinLock(r, meta.id == kSpinLockFn ? LockOp::kLock : LockOp::kUnlock, Ref::Kind::kLock);
    case Arg::kMem:
      meta.raw_mode = (spec.flags & kArgUninit) != 0;
      if ((spec.flags & kArgFixedSize) == 0) return true;  // checked with the size argument that follows
      if (!HelperMem(r, spec.size, writes, false, &meta)) return false;
      return (spec.flags & kArgAligned) == 0 || Alignment(p, 0, static_cast<int>(spec.size), true);
    case Arg::kConstSize:
    case Arg::kConstSizeOrZero:
      return MemSizeArg(r, (meta.proto->args[arg - 1].flags & kArgWrite) != 0, base == Arg::kConstSizeOrZero, meta);
    case Arg::kConstAllocSizeOrZero:
      if (!p.s.IsConst()) return Fail(Rule::kHelperSize, r, absl::StrCat("R", r, " is not a known constant'"));
      meta.mem_size = p.s.ConstValue();
      Precise(r);
      return true;
    case Arg::kConstStr:
      return ConstStr(r);
    case Arg::kKptrXchgDest:
      return KptrDest(r, meta);
    case Arg::kFunc:
      meta.subprog = static_cast<int>(p.subprog);
      return true;
    case Arg::kDynptr:
      return DynptrArg(r, spec, static_cast<DynptrKind>(spec.size), meta.dynptr);
    case Arg::kTimer:
      if (!MapFieldArg(r, SpecialField::kTimer, "bpf_timer")) return false;
      meta.map = p.map;
      meta.map_uid = p.map_uid;
      return true;
    default:
      return true;
  }
}

bool Transfer::HelperMem(int r, int64_t size, bool write, bool zero_ok, CallMeta* meta) {
  const Reg p = reg(r);
  auto read_only = [&] {
    return Fail(Rule::kMemRdonly, r, absl::StrCat("R", r, " cannot write into ", RegTypeName(p)));
  };
  if (!p.MayBeNull()) {
    switch (p.type) {
      case RegType::kPacket:
      case RegType::kPacketMeta:
        return PacketAccess(r, p.off, size, zero_ok);
      case RegType::kMapKey:
        if (write) return read_only();
        return RegionAccess(r, p.off, size, ctx_.map(p.map).key_size, false);
      case RegType::kMapValue:
        return MapDirection(r, p.off, static_cast<int>(size), write) && MapAccess(r, p.off, size, zero_ok, true);
      case RegType::kMem:
        if (write && (p.flags & kRdonly) != 0) return read_only();
        return RegionAccess(r, p.off, size, p.mem_size, zero_ok);
      case RegType::kStack:
        return StackRangeInit(r, p.off, size, zero_ok, write, meta);
      case RegType::kBtfId:
        // The kernel looks at it as if it were read, whatever becomes of it.
        if (write && p.Has(kProgBtf) && !p.IsObject()) return Unsupported("BTF-typed pointer argument");
        return BtfAccess(r, p.off, static_cast<int>(size), false, -1);
      case RegType::kBuf:
        if (write && (p.flags & kRdonly) != 0) return read_only();
        return BufferAccess(r, p.off, size);
      case RegType::kCtx:
        // What a syscall program is run with has a size that only the run knows: it is checked then, up to the last byte.
        if (prog_.type != ProgType::kSyscall) break;
        return size == 0 ? zero_ok : CtxAccessAt(r, static_cast<int>(size) - 1, 1, write, -1, false);
      default:
        break;
    }
  }
  if (zero_ok && size == 0 && p.IsNull()) return true;
  return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " type=", RegTypeName(p), " expected=fp"));
}

bool Transfer::MemSizeArg(int r, bool write, bool zero_ok, CallMeta& meta) {
  const Scalar& s = reg(r).s;
  meta.size_max = s.umax;
  CallMeta* use = s.IsConst() ? &meta : nullptr;
  if (s.smin < 0) {
    return Fail(Rule::kHelperSize, r,
                absl::StrCat("R", r, " min value is negative, either use unsigned or 'var &= const'"));
  }
  if (s.umin == 0 && !zero_ok) {
    return Fail(Rule::kHelperSize, r, absl::StrCat("R", r, " invalid zero-sized read: u64=[", int64_t(s.umin), ",",
                                                   static_cast<int64_t>(s.umax), "]"));
  }
  if (s.umax >= static_cast<uint64_t>(kMaxVarSize)) {
    return Fail(Rule::kHelperSize, r,
                absl::StrCat("R", r, " unbounded memory access, use 'var &= const' or 'if (var < const)'"));
  }
  if (!HelperMem(r - 1, static_cast<int64_t>(s.umax), write, zero_ok, use)) return false;
  Precise(r);
  return true;
}

// An array index that is known makes the look-up's result known not to be null.
bool Transfer::ConstKey(const Reg& key, uint32_t key_size, CallMeta& meta) {
  if (!ctx_.caps.bpf || key.type != RegType::kStack || !key.s.IsConst()) return true;
  const int off = key.off + static_cast<int>(key.s.ConstValue());
  const int spi = (-off - 1) / kSlotBytes, first = (-off - 1) % kSlotBytes;
  const StackSlot& slot = FrameOf(key).slot(spi);
  uint32_t zeros = 0, spills = 0;
  for (int b = first; b >= 0 && slot.bytes[b] == SlotByte::kZero; --b) ++zeros;
  if (zeros >= key_size) {
    meta.const_key = 0;
    meta.const_key_known = true;
    return true;
  }
  if (!slot.IsScalarSpill()) return true;
  for (int b = first; b >= 0 && slot.bytes[b] == SlotByte::kSpill; --b) ++spills;
  if (spills != key_size || !slot.spilled.s.IsConst()) return true;
  out_->precise_slot = static_cast<int16_t>(spi);
  out_->precise_slot_frame = key.frameno;
  meta.const_key = static_cast<int64_t>(slot.spilled.s.ConstValue());
  meta.const_key_known = true;
  return true;
}

bool Transfer::ConstStr(int r) {
  const Reg& p = reg(r);
  const MapDef& map = ctx_.map(p.map);
  if (!KnownContents(map)) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " does not point to a readonly map'"));
  }
  if (!p.s.IsConst()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is not a constant address'"));
  if (!MapAccess(r, p.off, int64_t{map.value_size} - p.off, false, true)) return false;
  const size_t off = static_cast<size_t>(p.off) + p.s.ConstValue();
  if (off < map.data.size() && std::memchr(map.data.data() + off, 0, map.data.size() - off) != nullptr) return true;
  return Fail(Rule::kHelperArg, r, "string is not zero-terminated");
}

// R(r) points to the field of that kind in a map's value.
bool Transfer::MapFieldArg(int r, SpecialField kind, const char* name) {
  const Reg& p = reg(r);
  const Rule rule = kind == SpecialField::kSpinLock ? Rule::kLock : Rule::kTimer;
  if (!p.s.IsConst()) {
    return Fail(rule, r, absl::StrCat("R", r, " doesn't have constant offset. ", name, " has to be at the constant offset"));
  }
  const MapDef& map = ctx_.map(p.map);
  if (map.fields.empty() && map.btf_value_type_id == 0) {
    return Fail(rule, r, absl::StrCat("map '", map.name, "' has to have BTF in order to use ", name));
  }
  const MapField* field = nullptr;
  for (const MapField& f : map.fields) {
    if (f.kind == kind) field = &f;
  }
  if (field == nullptr) return Fail(rule, r, absl::StrCat("map '", map.name, "' has no valid ", name));
  const int64_t at = static_cast<int64_t>(p.s.ConstValue()) + p.off;
  if (field->offset == at) return true;
  return Fail(rule, r, absl::StrCat("off ", at, " doesn't point to 'struct ", name, "' that is at ", field->offset));
}

}  // namespace bpfsieve
