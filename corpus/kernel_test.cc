// The corpus' expectations against the running kernel: every expected verdict and message is the kernel's own.
#include <sys/utsname.h>

#include <cerrno>
#include <map>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "corpus/expectations.h"
#include "corpus/oracle/oracle.h"
#include "engine/verify/passes.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

TEST(CorpusKernelTest, TheRunningKernelGivesEveryExpectedVerdictAndMessage) {
  if (absl::Status status = OracleAvailable(); !status.ok()) {
    GTEST_SKIP() << "the running kernel cannot be asked: " << status.message();
  }
  utsname kernel;
  ASSERT_EQ(uname(&kernel), 0);
  if (!absl::StartsWith(kernel.release, "6.18.")) {
    GTEST_SKIP() << "the expectations are those of Linux 6.18, not of " << kernel.release;
  }
  absl::StatusOr<std::vector<CorpusFile>> files = ReadCorpus(BPFSIEVE_CORPUS_DIR);
  ASSERT_TRUE(files.ok()) << files.status();
  // Where the kernel is known to be wrong its verdict is not ours; see docs/unsupported.md.
  const ProgramTable differs = ReadProgramTable(BPFSIEVE_CORPUS_DIR, "kernel_differs.csv");
  // Programs of types that not every kernel loads; another one's verdict, asked by scripts/oracle-vm.
  const ProgramTable others = ReadProgramTable(BPFSIEVE_CORPUS_DIR, "other_kernels.csv");
  // What an earlier build of 6.18 says instead, where both refuse.
  const ProgramTable earlier = ReadProgramTable(BPFSIEVE_CORPUS_DIR, "earlier_messages.csv");
  for (const CorpusFile& file : *files) {
    const absl::StatusOr<CorpusObject> read = OpenCorpusFile(file, "");
    ASSERT_TRUE(read.ok()) << read.status();
    const ObjectFile* object = &read->object;
    std::map<std::string, int> index;
    for (int i = 0; i < object->program_count(); ++i) index[std::string(object->program_name(i))] = i;
    std::map<std::string, KernelOracle> oracles;  // by what the loader lacks
    for (const AsmExpectation& want : file.expectations) {
      if (differs.contains({file.name, want.program}) || others.contains({file.name, want.program})) continue;
      SCOPED_TRACE(absl::StrCat(file.path, " ", want.program, want.without.empty() ? "" : " without ", want.without));
      const Capabilities caps = CapabilitiesWithout(WithoutFrom(want.without));
      if (!OracleAvailable(caps).ok()) continue;
      KernelOracle& oracle = oracles.try_emplace(want.without, object->object(), caps).first->second;
      OracleOptions options;
      options.log_level = 1;
      if (read->target) options.target = &read->target->object();
      const KernelReport got = oracle.Ask(index[want.program], options);
      // To the kernel a spent budget and a damaged program are rejections like any other.
      const std::string_view verdict = want.verdict == Verdict::kAccept ? "accept" : "reject";
      EXPECT_EQ(KernelVerdictName(got.verdict), verdict) << got.message;
      // What is refused before the verifier sees it has no log.
      const auto other = earlier.find({file.name, want.program});
      EXPECT_TRUE(absl::StrContains(got.log, want.message) || (want.rule == Rule::kCapability && got.error == EPERM) ||
                  (other != earlier.end() && absl::StrContains(got.log, other->second)))
          << "wanted: " << want.message << "\ngot:    " << got.message;
    }
  }
}

}  // namespace
}  // namespace bpfsieve
