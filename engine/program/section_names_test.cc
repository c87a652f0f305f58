#include "engine/program/section_names.h"

#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

std::optional<SectionType> Exact(std::string_view name) { return SectionTypeOf(name, SectionRules::kExact); }

TEST(SectionNamesTest, PlainNameMustBeWhole) {
  ASSERT_TRUE(Exact("xdp").has_value());
  EXPECT_EQ(Exact("xdp")->type, ProgType::kXdp);
  EXPECT_EQ(Exact("xdp")->attach, AttachType::kXdp);
  EXPECT_FALSE(Exact("xdp1").has_value());
  EXPECT_FALSE(Exact("xdp/eth0").has_value());
  EXPECT_FALSE(Exact("").has_value());
}

TEST(SectionNamesTest, NameThatTakesATargetMayEndOrGoOnAfterASlash) {
  ASSERT_TRUE(Exact("kprobe").has_value());
  EXPECT_EQ(Exact("kprobe/do_unlinkat")->type, ProgType::kKprobe);
  EXPECT_FALSE(Exact("kprobes/do_unlinkat").has_value());
  EXPECT_FALSE(Exact("kprobe.multiple/x").has_value());
}

TEST(SectionNamesTest, LongerNameWinsOverItsPrefix) {
  EXPECT_EQ(Exact("kprobe.multi/x")->attach, AttachType::kTraceKprobeMulti);
  EXPECT_EQ(Exact("xdp/devmap")->attach, AttachType::kXdpDevmap);
  EXPECT_EQ(Exact("tc/ingress")->attach, AttachType::kTcxIngress);
  EXPECT_EQ(Exact("cgroup/sock_release")->attach, AttachType::kCgroupInetSockRelease);
  EXPECT_EQ(Exact("sk_skb/verdict")->attach, AttachType::kSkSkbVerdict);
}

TEST(SectionNamesTest, SuffixesSaySleepableAndFrags) {
  EXPECT_TRUE(Exact("fentry.s/vfs_read")->sleepable);
  EXPECT_FALSE(Exact("fentry/vfs_read")->sleepable);
  EXPECT_TRUE(Exact("syscall")->sleepable);
  EXPECT_TRUE(Exact("xdp.frags")->frags);
  EXPECT_TRUE(Exact("xdp.frags/cpumap")->frags);
  EXPECT_FALSE(Exact("xdp")->frags);
}

TEST(SectionNamesTest, TracingProgramsNeedATarget) {
  for (const char* name :
       {"fentry/x", "fexit/x", "fmod_ret/x", "lsm/x", "lsm_cgroup/x", "tp_btf/x", "iter/task", "freplace/x"}) {
    EXPECT_TRUE(Exact(name)->needs_target) << name;
  }
  EXPECT_FALSE(Exact("kprobe/x")->needs_target);
}

TEST(SectionNamesTest, OldLoadersComparedByPrefix) {
  EXPECT_EQ(SectionTypeOf("xdp_redirect_map", SectionRules::kPrefix)->type, ProgType::kXdp);
  EXPECT_EQ(SectionTypeOf("socket1", SectionRules::kPrefix)->type, ProgType::kSocketFilter);
  EXPECT_EQ(SectionTypeOf("cgroup/sock1", SectionRules::kPrefix)->attach, AttachType::kCgroupInetSockCreate);
  EXPECT_FALSE(SectionTypeOf("from-netdev", SectionRules::kPrefix).has_value());
}

TEST(SectionNamesTest, DefaultAttachTypesAreWhatTheKernelPutsIn) {
  EXPECT_EQ(DefaultAttachType(ProgType::kCgroupSock), AttachType::kCgroupInetSockCreate);
  EXPECT_EQ(DefaultAttachType(ProgType::kSkReuseport), AttachType::kSkReuseportSelect);
  EXPECT_EQ(DefaultAttachType(ProgType::kXdp), AttachType{});
}

}  // namespace
}  // namespace bpfsieve
