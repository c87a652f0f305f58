// What the look-ups promise on any input, and facts of the interface that its documentation states.

#include "engine/spec/spec.h"

#include <gtest/gtest.h>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bpfsieve {
namespace {

TEST(FindHelper, NamesHelpersAsTheInterfaceDoes) {
  for (uint32_t id = 1; id < kHelperCount; ++id) {
    const HelperProto* proto = FindHelper(id, ProgType::kXdp);
    ASSERT_NE(proto, nullptr) << id;
    EXPECT_EQ("bpf_" + std::string(proto->name), HelperName(id));
  }
}

TEST(FindHelper, KnowsNoNumbersBeyondTheList) {
  EXPECT_EQ(FindHelper(0, ProgType::kXdp), nullptr);
  EXPECT_EQ(FindHelper(kHelperCount, ProgType::kXdp), nullptr);
  EXPECT_EQ(FindHelper(UINT32_MAX, ProgType::kXdp), nullptr);
}

TEST(FindHelper, GivesAnUnknownProgramTypeTheGeneralPrototype) {
  const HelperProto* proto = FindHelper(107, static_cast<ProgType>(1000));
  ASSERT_NE(proto, nullptr);
  EXPECT_EQ(proto->args[1].type, Arg::kBtfIdSockCommon);
}

TEST(FindHelper, TakesTheContextForASocketInCgroupSock) {
  EXPECT_EQ(FindHelper(107, ProgType::kCgroupSock)->args[1].type, Arg::kCtx);
}

TEST(FindHelper, FollowsEverySizedBufferWithItsSize) {
  for (uint32_t id = 1; id < kHelperCount; ++id) {
    for (uint32_t type = 0; type < kProgTypeCount; ++type) {
      const HelperProto& proto = *FindHelper(id, static_cast<ProgType>(type));
      for (size_t i = 0; i < 5; ++i) {
        const bool size = proto.args[i].type == Arg::kConstSize || proto.args[i].type == Arg::kConstSizeOrZero;
        const bool sized =
            i > 0 && proto.args[i - 1].type == Arg::kMem && (proto.args[i - 1].flags & kArgFixedSize) == 0;
        EXPECT_EQ(size, sized) << proto.name << " argument " << i + 1;
      }
    }
  }
}

TEST(FindKfunc, KnowsWhatIsModelledAlone) {
  ASSERT_NE(FindKfunc("bpf_throw"), nullptr);
  EXPECT_EQ(FindKfunc("bpf_throw_"), nullptr);
  EXPECT_EQ(FindKfunc(""), nullptr);
}

TEST(KfuncSetAllows, SharesTheGenericSetAmongTypesOfOneHook) {
  const auto allows = [](ProgType type) { return KfuncSetAllows(KfuncSet::kGeneric, type, AttachType{}); };
  EXPECT_TRUE(allows(ProgType::kCgroupSkb));
  EXPECT_TRUE(allows(ProgType::kSockOps));
  EXPECT_FALSE(allows(ProgType::kSchedAct));
  EXPECT_FALSE(allows(static_cast<ProgType>(kProgTypeCount)));
}

TEST(KfuncSetAllows, TellsProbesOfEntryAndExitFromOthers) {
  EXPECT_TRUE(KfuncSetAllows(KfuncSet::kSession, ProgType::kKprobe, AttachType::kTraceKprobeSession));
  EXPECT_FALSE(KfuncSetAllows(KfuncSet::kSession, ProgType::kKprobe, AttachType::kTraceKprobeMulti));
}

TEST(HelperAvailable, IsFalseOutOfRange) {
  EXPECT_FALSE(HelperAvailable(0, ProgType::kXdp, {}, false));
  EXPECT_FALSE(HelperAvailable(kHelperCount, ProgType::kXdp, {}, false));
  EXPECT_FALSE(HelperAvailable(1, static_cast<ProgType>(kProgTypeCount), {}, false));
  EXPECT_FALSE(HelperAvailable(1, ProgType::kUnspec, {}, false));
}

TEST(HelperAvailable, GivesRedirectMapToXdpOnly) {
  EXPECT_TRUE(HelperAvailable(51, ProgType::kXdp, AttachType::kXdp, false));
  EXPECT_FALSE(HelperAvailable(51, ProgType::kSchedCls, {}, false));
}

TEST(HelperAllowed, DependsOnTheCapability) {
  const Capabilities all, no_perfmon = {.perfmon = false}, none = {.perfmon = false, .bpf = false};
  constexpr uint32_t kLookup = 1, kTracePrintk = 6, kJiffies = 118, kSkcToTcpSock = 137;
  for (const Capabilities& caps : {all, no_perfmon, none}) {
    EXPECT_TRUE(HelperAllowed(kLookup, ProgType::kSocketFilter, caps));
    EXPECT_FALSE(HelperAllowed(kHelperCount, ProgType::kSocketFilter, caps));
  }
  EXPECT_TRUE(HelperAllowed(kTracePrintk, ProgType::kSocketFilter, all));
  EXPECT_FALSE(HelperAllowed(kTracePrintk, ProgType::kSocketFilter, no_perfmon));
  EXPECT_TRUE(HelperAllowed(kJiffies, ProgType::kSocketFilter, no_perfmon));
  EXPECT_FALSE(HelperAllowed(kJiffies, ProgType::kSocketFilter, none));
  EXPECT_FALSE(HelperAllowed(kSkcToTcpSock, ProgType::kSchedCls, no_perfmon));
  EXPECT_TRUE(HelperAllowed(kSkcToTcpSock, ProgType::kSyscall, no_perfmon));
}

TEST(Capabilities, DecideOnTypes) {
  const Capabilities no_perfmon = {.perfmon = false}, none = {.perfmon = false, .bpf = false};
  EXPECT_TRUE(ProgTypeAllowed(ProgType::kKprobe, {}));
  EXPECT_FALSE(ProgTypeAllowed(ProgType::kKprobe, no_perfmon));
  EXPECT_TRUE(ProgTypeAllowed(ProgType::kXdp, no_perfmon));
  EXPECT_FALSE(ProgTypeAllowed(ProgType::kXdp, none));
  EXPECT_TRUE(ProgTypeAllowed(ProgType::kCgroupSkb, none));
  EXPECT_TRUE(MapTypeAllowed(MapType::kLruHash, no_perfmon));
  EXPECT_FALSE(MapTypeAllowed(MapType::kLruHash, none));
  EXPECT_FALSE(MapTypeAllowed(MapType::kArena, no_perfmon));
  EXPECT_FALSE(CtxAccessAllowed(ProgType::kCgroupSkb, 76, false, CtxYield::kPacket, none));
  EXPECT_TRUE(CtxAccessAllowed(ProgType::kCgroupSkb, 76, false, CtxYield::kPacket, no_perfmon));
}

TEST(CheckCtxAccess, RefusesNonsense) {
  for (uint32_t number = 0; number <= kProgTypeCount; ++number) {
    const ProgType type = static_cast<ProgType>(number);
    for (int off : {INT_MIN, -8, -1, 1 << 16, INT_MAX - 7}) {
      EXPECT_FALSE(CheckCtxAccess(type, {}, off, 8, false).ok) << number << " " << off;
    }
    for (int size : {INT_MIN, -1, 0, 3, 16, INT_MAX}) {
      EXPECT_FALSE(CheckCtxAccess(type, {}, 0, size, false).ok) << number << " " << size;
    }
  }
}

TEST(CheckCtxAccess, YieldsThePacketToXdp) {
  EXPECT_EQ(CheckCtxAccess(ProgType::kXdp, AttachType::kXdp, 0, 4, false).yield, CtxYield::kPacket);
  EXPECT_EQ(CheckCtxAccess(ProgType::kXdp, AttachType::kXdp, 4, 4, false).yield, CtxYield::kPacketEnd);
  EXPECT_EQ(CheckCtxAccess(ProgType::kXdp, AttachType::kXdp, 8, 4, false).yield, CtxYield::kPacketMeta);
}

TEST(CheckCtxAccess, ShowsTheEgressDeviceOnlyBehindADeviceMap) {
  constexpr int kEgressIfindex = 20;
  EXPECT_TRUE(CheckCtxAccess(ProgType::kXdp, AttachType::kXdpDevmap, kEgressIfindex, 4, false).ok);
  EXPECT_FALSE(CheckCtxAccess(ProgType::kXdp, AttachType::kXdp, kEgressIfindex, 4, false).ok);
}

TEST(CheckCtxAccess, HidesTheCommonFieldsOfATracepoint) {
  EXPECT_FALSE(CheckCtxAccess(ProgType::kTracepoint, {}, 0, 8, false).ok);
  EXPECT_TRUE(CheckCtxAccess(ProgType::kTracepoint, {}, 8, 8, false).ok);
  EXPECT_TRUE(CheckCtxAccess(ProgType::kTracepoint, {}, 8184, 8, false).ok);
  EXPECT_FALSE(CheckCtxAccess(ProgType::kTracepoint, {}, 8192, 8, false).ok);
}

TEST(CheckSockLoad, EndsWithTheStructure) {
  EXPECT_TRUE(CheckSockLoad(SockKind::kSocket, 76, 4));  // rx_queue_mapping, the last field
  EXPECT_FALSE(CheckSockLoad(SockKind::kSocket, 80, 4));
  EXPECT_FALSE(CheckSockLoad(SockKind::kXdp, 4, 4));
  EXPECT_FALSE(CheckSockLoad(SockKind::kTcp, INT_MAX - 3, 4));
}

TEST(MapHelperCompatible, ChangesSocketMapsOnlyWhereNoSocketIsLocked) {
  EXPECT_TRUE(MapHelperCompatible(MapType::kSockmap, 2, ProgType::kSchedCls));
  EXPECT_FALSE(MapHelperCompatible(MapType::kSockmap, 2, ProgType::kSockOps));
  EXPECT_TRUE(MapHelperCompatible(MapType::kSockmap, 3, ProgType::kSockOps));
  EXPECT_FALSE(MapHelperCompatible(MapType::kSockmap, 2));
}

TEST(MapHelperCompatible, TakesOrdinaryMapsForLookup) {
  EXPECT_TRUE(MapHelperCompatible(MapType::kHash, 1));
  EXPECT_FALSE(MapHelperCompatible(MapType::kProgArray, 1));
  EXPECT_FALSE(MapHelperCompatible(MapType::kHash, 12));
}

}  // namespace
}  // namespace bpfsieve
