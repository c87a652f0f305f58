// Helper prototypes, their availability and the maps that they take.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

using TypeSet = uint64_t;  // bit N: program type N
static_assert(kProgTypeCount <= 64);

consteval TypeSet Set(std::initializer_list<ProgType> types) {
  TypeSet set = 0;
  for (ProgType type : types) set |= TypeSet{1} << static_cast<uint32_t>(type);
  return set;
}
constexpr bool Has(TypeSet set, ProgType type) {
  return static_cast<uint32_t>(type) < kProgTypeCount && (set >> static_cast<uint32_t>(type) & 1) != 0;
}

// ---- The words of helpers.inc ------------------------------------------------------------------------------------

struct RetSpec {
  Ret type = Ret::kInteger;
  bool nullable = false;
  const char* btf_name = nullptr;
};
constexpr RetSpec kInteger{Ret::kInteger}, kVoid{Ret::kVoid}, kMapValue{Ret::kMapValue},
    kMapValueOrNull{Ret::kMapValue, true}, kSocketOrNull{Ret::kSocket, true}, kTcpSockOrNull{Ret::kTcpSock, true},
    kSockCommonOrNull{Ret::kSockCommon, true}, kRingbufMemOrNull{Ret::kRingbufMem, true},
    kDynptrMemOrNull{Ret::kDynptrMem, true}, kMemOrBtfId{Ret::kMemOrBtfId}, kMemOrBtfIdOrNull{Ret::kMemOrBtfId, true};
consteval RetSpec BtfId(const char* name) { return {Ret::kBtfId, false, name}; }
consteval RetSpec BtfIdOrNull(const char* name) { return {Ret::kBtfId, true, name}; }
consteval RetSpec BtfIdTrusted(const char* name) { return {Ret::kBtfIdTrusted, false, name}; }

constexpr ArgSpec kMapPtr{Arg::kConstMapPtr}, kKey{Arg::kMapKey}, kValue{Arg::kMapValue},
    kValueOrNull{Arg::kMapValue, kArgNullable}, kValueOut{Arg::kMapValue, kArgUninit | kArgWrite};
// Memory with its size in the next argument: read; of no stated direction; filled; updated.
constexpr ArgSpec kIn{Arg::kMem, kArgRdonly}, kInOrNull{Arg::kMem, kArgRdonly | kArgNullable}, kMem{Arg::kMem},
    kOut{Arg::kMem, kArgUninit | kArgWrite}, kInOut{Arg::kMem, kArgWrite},
    kInOutOrNull{Arg::kMem, kArgWrite | kArgNullable};
constexpr ArgSpec kSize{Arg::kConstSize}, kSize0{Arg::kConstSizeOrZero}, kAllocSize0{Arg::kConstAllocSizeOrZero};
constexpr ArgSpec kCtx{Arg::kCtx}, kCtxOrNull{Arg::kCtx, kArgNullable}, kAny{Arg::kAnything};
constexpr ArgSpec kSpinLock{Arg::kSpinLock}, kTimer{Arg::kTimer}, kFunc{Arg::kFunc},
    kStackOrNull{Arg::kStack, kArgNullable}, kConstStr{Arg::kConstStr}, kKptrDest{Arg::kKptrXchgDest},
    kPercpuBtfId{Arg::kPercpuBtfId};
// A dynptr that the helper does not change; one that it makes of sixteen bytes of stack; one that it ends.
constexpr ArgSpec kDynptr{Arg::kDynptr, kArgRdonly};
consteval ArgSpec DynptrNew(DynptrKind kind) {
  return {Arg::kDynptr, kArgUninit | kArgWrite, static_cast<uint32_t>(kind)};
}
consteval ArgSpec DynptrRelease(DynptrKind kind) { return {Arg::kDynptr, kArgRelease, static_cast<uint32_t>(kind)}; }
constexpr ArgSpec kSockCommon{Arg::kSockCommon}, kSocketArgOrNull{Arg::kSocket, kArgNullable},
    kBtfSock{Arg::kBtfIdSockCommon}, kBtfSockOrNull{Arg::kBtfIdSockCommon, kArgNullable},
    kBtfSockRelease{Arg::kBtfIdSockCommon, kArgRelease}, kRingbufMemRelease{Arg::kRingbufMem, kArgRelease};
// Memory of a fixed size: read, filled, updated.
consteval ArgSpec Fixed(uint32_t size) { return {Arg::kMem, kArgFixedSize, size}; }
consteval ArgSpec FixedOut(uint32_t size) {
  return {Arg::kMem, kArgFixedSize | kArgUninit | kArgWrite | kArgAligned, size};
}
consteval ArgSpec FixedInOut(uint32_t size) { return {Arg::kMem, kArgFixedSize | kArgWrite | kArgAligned, size}; }
consteval ArgSpec Btf(const char* name) { return {Arg::kBtfId, 0, 0, name}; }
consteval ArgSpec BtfOrNull(const char* name) { return {Arg::kBtfId, kArgNullable, 0, name}; }
// A kernel object of a type that another argument decides.
consteval ArgSpec BtfOrNullRelease() { return {Arg::kBtfId, kArgNullable | kArgRelease, 0, nullptr}; }

constexpr uint32_t kGpl = 1, kPkt = 2, kSleeps = 4, kMovesPacket = 8, kAcquires = 16, kFastcall = 32;

using T = ProgType;
constexpr TypeSet kForTracing = Set({T::kTracing, T::kSyscall}), kForCgroupSock = Set({T::kCgroupSock}),
                  kForCgroupSockAddr = Set({T::kCgroupSockAddr}), kForSkLookup = Set({T::kSkLookup}),
                  kForPerfEvent = Set({T::kPerfEvent});
// A socket operation's own context stands for the socket; elsewhere a socket pointer is passed.
constexpr TypeSet kForSockCtx = Set({T::kSockOps, T::kCgroupSockAddr});
constexpr TypeSet kForSockPointer = Set({T::kTracing, T::kLsm, T::kSyscall, T::kSkReuseport});
// The class of the packet's socket rather than of the current task.
constexpr TypeSet kForSkbClassid =
    Set({T::kSchedCls, T::kSchedAct, T::kLwtIn, T::kLwtOut, T::kLwtXmit, T::kLwtSeg6local});
// Where get_smp_processor_id is the variant that the JIT inlines.
constexpr TypeSet kForFastSmpId = Set({T::kSchedCls, T::kSchedAct, T::kXdp, T::kLwtIn, T::kLwtOut, T::kLwtXmit,
                                       T::kLwtSeg6local, T::kKprobe, T::kTracepoint, T::kPerfEvent, T::kRawTracepoint,
                                       T::kRawTracepointWritable, T::kTracing, T::kLsm, T::kSyscall});

struct Row {
  TypeSet types = ~TypeSet{0};
  HelperProto proto;
};

consteval Row MakeRow(TypeSet types, uint32_t id, const char* name, RetSpec ret, uint32_t flags,
                      std::initializer_list<ArgSpec> args) {
  Row row;
  row.types = types;
  row.proto.id = id;
  row.proto.name = name;
  row.proto.ret = ret.type;
  row.proto.ret_nullable = ret.nullable;
  row.proto.ret_btf_name = ret.btf_name;
  size_t at = 0;
  for (const ArgSpec& arg : args) row.proto.args[at++] = arg;
  row.proto.gpl_only = (flags & kGpl) != 0;
  row.proto.pkt_access = (flags & kPkt) != 0;
  row.proto.might_sleep = (flags & kSleeps) != 0;
  row.proto.changes_packet = (flags & kMovesPacket) != 0;
  row.proto.acquires = (flags & kAcquires) != 0;
  row.proto.allow_fastcall = (flags & kFastcall) != 0;
  return row;
}

constexpr Row kRows[] = {
#define HELPER(id, name, ret, flags, ...) MakeRow(~TypeSet{0}, id, name, ret, flags, {__VA_ARGS__}),
#define HELPER_OF(types, id, name, ret, flags, ...) MakeRow(types, id, name, ret, flags, {__VA_ARGS__}),
#include "engine/spec/helpers.inc"
#undef HELPER_OF
#undef HELPER
};
constexpr size_t kRowCount = std::size(kRows);

// Number of a helper's first row; the general row is the last one of the helper.
consteval std::array<uint16_t, kHelperCount> FirstRows() {
  std::array<uint16_t, kHelperCount> first{};
  for (size_t i = kRowCount; i-- > 0;) first[kRows[i].proto.id] = static_cast<uint16_t>(i);
  return first;
}
constexpr std::array<uint16_t, kHelperCount> kFirstRow = FirstRows();

consteval bool RowsAreInOrderAndComplete() {
  uint32_t last = 0;
  for (const Row& row : kRows) {
    if (row.proto.id != last && row.proto.id != last + 1) return false;
    last = row.proto.id;
  }
  return last == kHelperCount - 1;
}
static_assert(RowsAreInOrderAndComplete());

// ---- Availability ------------------------------------------------------------------------------------------------

constexpr uint32_t kAnyAttach = ~0u;

struct AvailabilityRow {
  ProgType type;
  uint32_t attach;
  uint64_t words[4];
};
consteval AvailabilityRow MakeAvailability(ProgType type, uint32_t attach, uint64_t a, uint64_t b, uint64_t c,
                                           uint64_t d) {
  return {type, attach, {a, b, c, d}};
}
constexpr uint32_t AttachNumber(AttachType attach) { return static_cast<uint32_t>(attach); }
consteval uint32_t AttachNumber(uint32_t attach) { return attach; }

constexpr AvailabilityRow kAvailability[] = {
#define ROW(type, attach, ...) MakeAvailability(ProgType::k##type, AttachNumber(attach), __VA_ARGS__),
#include "engine/spec/tables/helper_availability.inc"
#undef ROW
};

consteval std::array<uint8_t, kProgTypeCount + 1> FirstAvailability() {
  std::array<uint8_t, kProgTypeCount + 1> first{};
  size_t row = 0;
  for (uint32_t type = 0; type <= kProgTypeCount; ++type) {
    while (row < std::size(kAvailability) && static_cast<uint32_t>(kAvailability[row].type) < type) ++row;
    first[type] = static_cast<uint8_t>(row);
  }
  return first;
}
static_assert(std::size(kAvailability) < 256);
constexpr std::array<uint8_t, kProgTypeCount + 1> kFirstAvailability = FirstAvailability();

bool Probed(uint32_t id, ProgType type, AttachType attach) {
  const uint32_t number = static_cast<uint32_t>(type);
  for (size_t i = kFirstAvailability[number]; i < kFirstAvailability[number + 1]; ++i) {
    const AvailabilityRow& row = kAvailability[i];
    if (row.attach != kAnyAttach && row.attach != AttachNumber(attach)) continue;
    return (row.words[id / 64] >> id % 64 & 1) != 0;
  }
  return false;
}

struct HelperSet {
  uint64_t words[4];
  bool Has(uint32_t id) const { return (words[id / 64] >> id % 64 & 1) != 0; }
};
#define NEEDS(capability, type, ...) constexpr HelperSet k##type##Needs##capability = {{__VA_ARGS__}};
#include "engine/spec/tables/helper_capabilities.inc"
#undef NEEDS

bool OneOf(uint32_t id, std::initializer_list<uint32_t> ids) {
  for (uint32_t each : ids) {
    if (each == id) return true;
  }
  return false;
}

}  // namespace

bool HelperAvailableAt(uint32_t id, ProgType type, AttachType attach, std::string_view target) {
  if (type == ProgType::kStructOps) {
    // Netfilter programs have what all others have and nothing more.
    if (!target.starts_with("tcp_congestion_ops/")) return false;
    if ((id == 49 || id == 57) && target == "tcp_congestion_ops/release") return false;
    return OneOf(id, {49, 57, 107, 108, 116, 160}) || Probed(id, ProgType::kNetfilter, AttachType::kNetfilter);
  }
  // setsockopt and getsockopt, where the iterator or the hook's caller holds the socket's lock.
  if (id != 49 && id != 57) return false;
  return (attach == AttachType::kTraceIter && (target == "tcp" || target == "unix")) ||
         (attach == AttachType::kLsmCgroup && FindLsmHook(target).sockopt);
}

bool HelperAllowedAt(uint32_t id, ProgType type, AttachType attach, std::string_view target) {
  constexpr std::string_view kPathAllowed[] = {"dentry_open", "filp_close", "security_file_open",
                                               "security_file_permission", "security_inode_getattr",
                                               "security_path_truncate", "vfs_fallocate", "vfs_getattr", "vfs_truncate"};
  const bool sleepable_hook = type == ProgType::kLsm && FindLsmHook(target).sleepable;
  switch (id) {
    case 107:  // sk_storage_get, sk_storage_delete: not from within themselves, nor at programs
    case 108:
      if (type != ProgType::kTracing || attach == AttachType::kTraceIter || attach == AttachType::kTraceRawTp) return true;
      return attach != AttachType::kModifyReturn && !target.empty() && !target.starts_with("bpf_sk_storage");
    case 147:  // d_path
      if (type == ProgType::kLsm) return sleepable_hook;
      if (type != ProgType::kTracing || attach == AttachType::kTraceIter) return true;
      for (std::string_view each : kPathAllowed) {
        if (each == target) return true;
      }
      return false;
    case 161:  // ima_inode_hash, ima_file_hash
    case 193: return sleepable_hook;
    default: return true;
  }
}

bool HelperAllowed(uint32_t id, ProgType type, const Capabilities& caps) {
  if (id >= kHelperCount) return false;
  const HelperSet& needs_perfmon = type == ProgType::kSyscall ? kSyscallNeedsPerfmon : kAnyNeedsPerfmon;
  return (caps.perfmon || !needs_perfmon.Has(id)) && (caps.bpf || !kAnyNeedsBpf.Has(id));
}

const HelperProto* FindHelper(uint32_t id, ProgType type) {
  if (id == 0 || id >= kHelperCount) return nullptr;
  size_t row = kFirstRow[id];
  while (!Has(kRows[row].types, type) && row + 1 < kRowCount && kRows[row + 1].proto.id == id) ++row;
  return &kRows[row].proto;
}

bool HelperTakesPacket(const HelperProto& proto, ProgType type) {
  // What a socket option program sees as its packet is the option's value, ordinary memory to every helper.
  return type == ProgType::kCgroupSockopt || (proto.pkt_access && MayAccessPacket(type, false));
}

bool HelperAvailable(uint32_t id, ProgType type, AttachType attach, bool /*sleepable*/) {
  if (id == 0 || id >= kHelperCount || static_cast<uint32_t>(type) >= kProgTypeCount) return false;
  switch (type) {
    case ProgType::kTracing:
      if (attach == AttachType::kTraceFentry || attach == AttachType::kTraceFexit ||
          attach == AttachType::kModifyReturn) {
        // get_func_ip, get_attach_cookie, get_func_arg, get_func_ret, get_func_arg_cnt, d_path (in some functions).
        return OneOf(id, {173, 174, 183, 184, 185, 147}) || Probed(id, type, attach);
      }
      return Probed(id, type, attach);
    case ProgType::kLsm:
      // sk_storage_*, inode_storage_*, d_path, bprm_opts_set, ima_*_hash.
      if (OneOf(id, {107, 108, 145, 146, 147, 159, 161, 193})) return true;
      // get_local_storage, get_retval, set_retval; get_attach_cookie.
      if (attach == AttachType::kLsmCgroup && OneOf(id, {81, 186, 187})) return true;
      if (attach == AttachType::kLsmCgroup && id == 174) return false;
      // get_attach_cookie, get_func_arg, get_func_ret, get_func_arg_cnt.
      if (attach == AttachType::kLsmMac && OneOf(id, {174, 183, 184, 185})) return true;
      return Probed(id, ProgType::kTracing, AttachType::kTraceRawTp);
    case ProgType::kLircMode2:
      // map_*_elem, ktime_get_ns, ktime_get_boot_ns, tail_call, get_prandom_u32, trace_printk, rc_*.
      return OneOf(id, {1, 2, 3, 87, 88, 89, 5, 125, 12, 7, 6, 77, 78, 92});
    case ProgType::kStructOps: return false;  // see HelperAvailableAt()
    case ProgType::kExt: return true;  // decided by what the program is loaded for
    default: return Probed(id, type, attach);
  }
}

}  // namespace bpfsieve
