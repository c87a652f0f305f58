// Program types: what they return, what they may touch, and where they may be attached; maps and helpers.

#include "engine/spec/spec.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace bpfsieve {
namespace {

template <typename E>
constexpr bool In(E value, std::initializer_list<E> set) {
  for (E each : set) {
    if (each == value) return true;
  }
  return false;
}

constexpr RetRule Within(int32_t min, int32_t max) { return {true, false, {min, max}}; }
constexpr RetRule kAnyValue{};
constexpr RetRule kBoolean = Within(0, 1);

using A = AttachType;

// Hooks that run after the fact, whose program cannot refuse.
constexpr bool IsObserver(AttachType attach) {
  return In(attach, {A::kCgroupUdp4Recvmsg, A::kCgroupUdp6Recvmsg, A::kCgroupUnixRecvmsg, A::kCgroupInet4Getpeername,
                     A::kCgroupInet6Getpeername, A::kCgroupUnixGetpeername, A::kCgroupInet4Getsockname,
                     A::kCgroupInet6Getsockname, A::kCgroupUnixGetsockname});
}

// ---- Maps and helpers --------------------------------------------------------------------------------------------

// A map type beside a helper that takes it. A type or a helper of this list goes with its partners only.
struct Pair {
  MapType map;
  uint16_t helper;
};
using M = MapType;
constexpr Pair kPairs[] = {
#define PAIR(map, helper) {M::k##map, helper},
#include "engine/spec/map_helpers.inc"
#undef PAIR
};

// Helpers of kPairs that take the maps outside it as well.
constexpr bool TakesOrdinaryMaps(uint32_t helper) {
  constexpr uint32_t kLookup = 1, kKptrXchg = 194;
  return helper == kLookup || helper == kKptrXchg;
}

// Contexts in which no socket is locked, so that a program may change a sockmap.
constexpr bool MayChangeSockmap(ProgType type, AttachType attach, uint32_t helper) {
  constexpr uint32_t kUpdate = 2, kDelete = 3;
  if (helper != kUpdate && helper != kDelete) return false;
  switch (type) {
    case ProgType::kTracing: return attach == A::kTraceIter;
    case ProgType::kSockOps: return helper == kDelete;
    case ProgType::kSocketFilter:
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kXdp:
    case ProgType::kSkReuseport:
    case ProgType::kFlowDissector:
    case ProgType::kSkLookup: return true;
    default: return false;
  }
}

}  // namespace

bool MapHelperCompatible(MapType map, uint32_t helper, ProgType type, AttachType attach) {
  constexpr uint32_t kLookupPercpu = 195;
  if (helper == kLookupPercpu) return In(map, {M::kPercpuArray, M::kPercpuHash, M::kLruPercpuHash});
  bool map_is_special = false, helper_is_special = false;
  for (const Pair& pair : kPairs) {
    if (pair.map == map && pair.helper == helper) return true;
    map_is_special |= pair.map == map;
    helper_is_special |= pair.helper == helper && !TakesOrdinaryMaps(helper);
  }
  if (map == MapType::kSockmap || map == MapType::kSockhash) return MayChangeSockmap(type, attach, helper);
  return !map_is_special && !helper_is_special;
}

uint32_t MapAccessFlags(MapType map, uint32_t flags) {
  if (map == M::kDevmap || map == M::kDevmapHash) flags |= kMapRdonlyProg;
  return flags & (kMapRdonlyProg | kMapWronlyProg);
}

bool MapAllowedInSleepable(MapType map) {
  return In(map, {M::kHash, M::kLruHash, M::kArray, M::kPercpuHash, M::kPercpuArray, M::kLruPercpuHash, M::kArrayOfMaps,
                  M::kHashOfMaps, M::kRingbuf, M::kUserRingbuf, M::kInodeStorage, M::kSkStorage, M::kTaskStorage,
                  M::kCgrpStorage, M::kQueue, M::kStack, M::kArena});
}

RetRule ReturnRule(ProgType type, AttachType attach) {
  switch (type) {
    case ProgType::kCgroupSockAddr:
      if (IsObserver(attach)) return Within(1, 1);
      if (attach == A::kCgroupInet4Bind || attach == A::kCgroupInet6Bind) return Within(0, 3);
      return kBoolean;
    case ProgType::kCgroupSkb: return attach == A::kCgroupInetEgress ? Within(0, 3) : kBoolean;
    case ProgType::kCgroupSock:
    case ProgType::kSockOps:
    case ProgType::kCgroupDevice:
    case ProgType::kCgroupSysctl:
    case ProgType::kCgroupSockopt:
    case ProgType::kSkLookup:
    case ProgType::kNetfilter: return kBoolean;
    case ProgType::kKprobe:
      return attach == A::kTraceKprobeSession || attach == A::kTraceUprobeSession ? kBoolean : kAnyValue;
    case ProgType::kTracing:
      if (attach == A::kTraceFentry || attach == A::kTraceFexit) return Within(0, 0);
      if (attach == A::kTraceIter) return kBoolean;
      return kAnyValue;
    case ProgType::kLsm:
    case ProgType::kStructOps: return {false, true, {}};  // the hook's prototype decides; it may return void
    default: return kAnyValue;
  }
}

bool MayAccessPacket(ProgType type, bool write) {
  switch (type) {
    case ProgType::kLwtIn:
    case ProgType::kLwtOut:
    case ProgType::kLwtSeg6local:
    case ProgType::kSkReuseport:
    case ProgType::kFlowDissector:
    case ProgType::kCgroupSkb: return !write;
    case ProgType::kSchedCls:
    case ProgType::kSchedAct:
    case ProgType::kXdp:
    case ProgType::kLwtXmit:
    case ProgType::kSkSkb:
    case ProgType::kSkMsg:
    case ProgType::kCgroupSockopt: return true;
    default: return false;
  }
}

bool AttachTypeValid(ProgType type, AttachType attach) {
  switch (type) {
    case ProgType::kCgroupSock:  // 0 stands for sock_create
      return In(attach, {A::kCgroupInetIngress, A::kCgroupInetSockCreate, A::kCgroupInetSockRelease,
                         A::kCgroupInet4PostBind, A::kCgroupInet6PostBind});
    case ProgType::kCgroupSockAddr:
      return IsObserver(attach) ||
             In(attach, {A::kCgroupInet4Bind, A::kCgroupInet6Bind, A::kCgroupInet4Connect, A::kCgroupInet6Connect,
                         A::kCgroupUnixConnect, A::kCgroupUdp4Sendmsg, A::kCgroupUdp6Sendmsg, A::kCgroupUnixSendmsg});
    case ProgType::kCgroupSkb: return In(attach, {A::kCgroupInetIngress, A::kCgroupInetEgress});
    case ProgType::kCgroupSockopt: return In(attach, {A::kCgroupSetsockopt, A::kCgroupGetsockopt});
    case ProgType::kSkLookup: return attach == A::kSkLookup;
    case ProgType::kSkReuseport:  // 0 stands for select
      return In(attach, {A::kCgroupInetIngress, A::kSkReuseportSelect, A::kSkReuseportSelectOrMigrate});
    case ProgType::kNetfilter: return attach == A::kNetfilter;
    case ProgType::kSyscall:
    case ProgType::kExt: return static_cast<uint32_t>(attach) == 0;
    default: return true;
  }
}

bool ProgTypeAllowed(ProgType type, const Capabilities& caps) {
  if (!caps.bpf) return In(type, {ProgType::kSocketFilter, ProgType::kCgroupSkb});
  return caps.perfmon ||
         !(IsTracingType(type) || In(type, {ProgType::kTracing, ProgType::kLsm, ProgType::kStructOps, ProgType::kExt}));
}

bool MapTypeAllowed(MapType type, const Capabilities& caps) {
  if (caps.bpf) return caps.perfmon || type != M::kArena;
  return In(type, {M::kArray, M::kPercpuArray, M::kProgArray, M::kPerfEventArray, M::kCgroupArray, M::kArrayOfMaps, M::kHash,
                   M::kPercpuHash, M::kHashOfMaps, M::kRingbuf, M::kUserRingbuf, M::kCgroupStorage,
                   M::kPercpuCgroupStorage});
}

bool MayUseLdAbs(ProgType type) {
  return In(type, {ProgType::kSocketFilter, ProgType::kSchedCls, ProgType::kSchedAct});
}

bool IsTracingType(ProgType type) {
  return In(type, {ProgType::kKprobe, ProgType::kTracepoint, ProgType::kPerfEvent, ProgType::kRawTracepoint,
                   ProgType::kRawTracepointWritable});
}

}  // namespace bpfsieve
