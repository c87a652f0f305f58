// What objects written as text need of the kernel: maps with fields that it manages, callbacks, global functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "corpus/oracle/oracle.h"
#include "engine/program/load.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;
using Verdict = KernelReport::Verdict;

class TextObject : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const absl::Status s = OracleAvailable(); !s.ok()) GTEST_SKIP() << s.message();
  }
  static KernelReport Ask(std::string_view text) {
    auto object = LoadAsmObject(text, "x.bpfasm", {});
    EXPECT_TRUE(object.ok()) << object.status();
    return object.ok() ? *AskKernel(**object, 0, {}) : KernelReport{};
  }
};

constexpr char kLookUp[] =
    ".license GPL\n.type sched_cls\n"
    "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[m]\ncall bpf_map_lookup_elem\nif r0 != 0 goto found\nexit\n"
    "found:\n";

TEST_F(TextObject, TheKernelProtectsEachKindOfField) {
  for (const char* field : {"spin_lock", "res_spin_lock", "timer", "wq", "task_work", "kptr", "kptr_untrusted"}) {
    const bool pointer = absl::StartsWith(field, "kptr");
    const std::string head = absl::StrCat(".map m type=array key=4 value=32 entries=1 field=", field, "@8",
                                          pointer ? ":task_struct\n" : "\n", kLookUp);
    const KernelReport beside = Ask(absl::StrCat(head, "*(u64 *)(r0 +24) = 1\nexit\n"));
    EXPECT_EQ(beside.verdict, Verdict::kAccept) << field << ": " << beside.message;
    const KernelReport inside = Ask(absl::StrCat(head, "*(u64 *)(r0 +8) = 1\nexit\n"));
    EXPECT_EQ(inside.verdict, Verdict::kReject) << field;
  }
}

TEST_F(TextObject, TheKernelKnowsASpinLockByItsPlace) {
  const std::string head = absl::StrCat(".map m type=array key=4 value=8 entries=1 field=spin_lock@4\n", kLookUp,
                                        "r6 = r0\nr1 = r6\nr1 += 4\ncall bpf_spin_lock\nr1 = r6\n");
  const KernelReport good = Ask(absl::StrCat(head, "r1 += 4\ncall bpf_spin_unlock\nr0 = 0\nexit\n"));
  EXPECT_EQ(good.verdict, Verdict::kAccept) << good.message;
  const KernelReport bad = Ask(absl::StrCat(head, "r1 += 0\ncall bpf_spin_unlock\nr0 = 0\nexit\n"));
  EXPECT_EQ(bad.verdict, Verdict::kReject);
  EXPECT_THAT(bad.message, HasSubstr("off"));
}

TEST_F(TextObject, LocalStorageIsCreated) {
  const KernelReport report =
      Ask(".map m type=sk_storage key=4 value=8 flags=1\n.type sched_cls\nr1 = map[m]\nr0 = 0\nexit\n");
  EXPECT_EQ(report.verdict, Verdict::kAccept) << report.message;
}

TEST_F(TextObject, FieldsThatNoTypeDescribesLeaveTheProgramUndecided) {
  const KernelReport report = Ask(
      ".map m type=array key=4 value=16 entries=1 field=list_head@0\n.type sched_cls\nr1 = map[m]\nr0 = 0\nexit\n");
  EXPECT_EQ(report.verdict, Verdict::kNotDecided);
}

TEST_F(TextObject, ACallbackNeedsFunctionInformation) {
  constexpr char kMain[] =
      ".license GPL\n.type tracepoint\nr1 = 4\nr2 = func[body]\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\n";
  EXPECT_EQ(Ask(absl::StrCat(kMain, ".func body\nr0 = 0\nexit\n")).verdict, Verdict::kAccept);
  const KernelReport without = Ask(absl::StrCat(kMain, "body:\nr0 = 0\nexit\n"));
  EXPECT_EQ(without.verdict, Verdict::kReject);
  EXPECT_THAT(without.message, HasSubstr("missing btf func_info"));
}

TEST_F(TextObject, AGlobalFunctionIsVerifiedOnItsOwn) {
  constexpr char kMain[] = ".type socket_filter\nr1 = 7\nr2 = 8\ncall f\nexit\n.func f global\n";
  EXPECT_EQ(Ask(absl::StrCat(kMain, "r0 = r2\nexit\n")).verdict, Verdict::kAccept);
  // On its own it knows nothing of its argument, which may then not be used as a pointer.
  const KernelReport report = Ask(absl::StrCat(kMain, "r0 = *(u32 *)(r2 +0)\nexit\n"));
  EXPECT_EQ(report.verdict, Verdict::kReject);
  EXPECT_THAT(report.message, HasSubstr("R2 invalid mem access 'scalar'"));
}

}  // namespace
}  // namespace bpfsieve
