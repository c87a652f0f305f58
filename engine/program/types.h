// Numbers of the kernel's user interface that several rooms name: program, attach and map types, map flags
// (Linux 6.18 uapi/linux/bpf.h). Values are the kernel's.
#ifndef BPFSIEVE_ENGINE_PROGRAM_TYPES_H_
#define BPFSIEVE_ENGINE_PROGRAM_TYPES_H_

#include <cstdint>

namespace bpfsieve {

enum class ProgType : uint32_t {
  kUnspec, kSocketFilter, kKprobe, kSchedCls, kSchedAct, kTracepoint, kXdp, kPerfEvent, kCgroupSkb, kCgroupSock,
  kLwtIn, kLwtOut, kLwtXmit, kSockOps, kSkSkb, kCgroupDevice, kSkMsg, kRawTracepoint, kCgroupSockAddr, kLwtSeg6local,
  kLircMode2, kSkReuseport, kFlowDissector, kCgroupSysctl, kRawTracepointWritable, kCgroupSockopt, kTracing,
  kStructOps, kExt, kLsm, kSkLookup, kSyscall, kNetfilter,
};
inline constexpr uint32_t kProgTypeCount = 33;

enum class AttachType : uint32_t {
  kCgroupInetIngress, kCgroupInetEgress, kCgroupInetSockCreate, kCgroupSockOps, kSkSkbStreamParser,
  kSkSkbStreamVerdict, kCgroupDevice, kSkMsgVerdict, kCgroupInet4Bind, kCgroupInet6Bind, kCgroupInet4Connect,
  kCgroupInet6Connect, kCgroupInet4PostBind, kCgroupInet6PostBind, kCgroupUdp4Sendmsg, kCgroupUdp6Sendmsg,
  kLircMode2, kFlowDissector, kCgroupSysctl, kCgroupUdp4Recvmsg, kCgroupUdp6Recvmsg, kCgroupGetsockopt,
  kCgroupSetsockopt, kTraceRawTp, kTraceFentry, kTraceFexit, kModifyReturn, kLsmMac, kTraceIter,
  kCgroupInet4Getpeername, kCgroupInet6Getpeername, kCgroupInet4Getsockname, kCgroupInet6Getsockname, kXdpDevmap,
  kCgroupInetSockRelease, kXdpCpumap, kSkLookup, kXdp, kSkSkbVerdict, kSkReuseportSelect,
  kSkReuseportSelectOrMigrate, kPerfEvent, kTraceKprobeMulti, kLsmCgroup, kStructOps, kNetfilter, kTcxIngress,
  kTcxEgress, kTraceUprobeMulti, kCgroupUnixConnect, kCgroupUnixSendmsg, kCgroupUnixRecvmsg, kCgroupUnixGetpeername,
  kCgroupUnixGetsockname, kNetkitPrimary, kNetkitPeer, kTraceKprobeSession, kTraceUprobeSession,
};
inline constexpr uint32_t kAttachTypeCount = 58;

enum class MapType : uint32_t {
  kUnspec, kHash, kArray, kProgArray, kPerfEventArray, kPercpuHash, kPercpuArray, kStackTrace, kCgroupArray, kLruHash,
  kLruPercpuHash, kLpmTrie, kArrayOfMaps, kHashOfMaps, kDevmap, kSockmap, kCpumap, kXskmap, kSockhash,
  kCgroupStorage, kReuseportSockarray, kPercpuCgroupStorage, kQueue, kStack, kSkStorage, kDevmapHash, kStructOps,
  kRingbuf, kInodeStorage, kTaskStorage, kBloomFilter, kUserRingbuf, kCgrpStorage, kArena,
};
inline constexpr uint32_t kMapTypeCount = 34;

// map_flags.
inline constexpr uint32_t kMapNoPrealloc = 1u << 0, kMapRdonly = 1u << 3, kMapWronly = 1u << 4, kMapRdonlyProg = 1u << 7,
                          kMapWronlyProg = 1u << 8, kMapMmapable = 1u << 10, kMapInnerMap = 1u << 12;

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_TYPES_H_
