// Our verdict on every program of the corpus, one test per file.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "corpus/expectations.h"
#include "engine/report/finding.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

const std::vector<CorpusFile>& Corpus() {
  static const auto* files = new absl::StatusOr<std::vector<CorpusFile>>(ReadCorpus(BPFSIEVE_CORPUS_DIR));
  static const auto* none = new std::vector<CorpusFile>;
  return files->ok() ? **files : *none;
}

// Programs whose verdict the engine cannot give yet, and the feature that it has to name instead.
const ProgramTable& NotModelled() {
  static const auto* table = new ProgramTable(ReadProgramTable(BPFSIEVE_CORPUS_DIR, "not_modelled.csv"));
  return *table;
}

class CorpusTest : public testing::TestWithParam<size_t> {};

TEST_P(CorpusTest, EveryProgramGetsTheExpectedVerdictRuleAndMessage) {
  const CorpusFile& file = Corpus()[GetParam()];
  const absl::StatusOr<CorpusObject> read = OpenCorpusFile(file, CorpusKernelTypes(BPFSIEVE_CORPUS_DIR));
  ASSERT_TRUE(read.ok()) << read.status();
  const ObjectFile* object = &read->object;
  std::map<std::string, int> index;
  for (int i = 0; i < object->program_count(); ++i) index[std::string(object->program_name(i))] = i;
  const auto all_capabilities = [](const AsmExpectation& e) { return e.without.empty(); };
  EXPECT_EQ(index.size(), std::count_if(file.expectations.begin(), file.expectations.end(), all_capabilities))
      << "a program without expectation, or the other way round";

  for (const AsmExpectation& want : file.expectations) {
    SCOPED_TRACE(absl::StrCat(file.path, " ", want.program, want.without.empty() ? "" : " without ", want.without));
    if (!index.contains(want.program)) {
      ADD_FAILURE() << "no such program";
      continue;
    }
    const Report got = Verify(*object, index[want.program],
                              {.without = WithoutFrom(want.without), .target = read->Attach()});
    if (const auto it = NotModelled().find({file.name, want.program}); it != NotModelled().end()) {
      EXPECT_EQ(got.verdict, "unsupported") << "modelled now? then it leaves not_modelled.csv";
      EXPECT_EQ(got.feature, it->second);
      continue;
    }
    EXPECT_EQ(got.verdict, VerdictName(want.verdict)) << got.rule << ": " << got.message << got.feature;
    if (want.rule) {
      EXPECT_EQ(got.rule, GetRuleInfo(*want.rule).code) << got.message;
    }
    EXPECT_TRUE(absl::StrContains(got.message, want.message) || absl::StrContains(got.feature, want.message))
        << "wanted: " << want.message << "\ngot:    " << got.message << got.feature;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, CorpusTest, testing::Range(size_t{0}, Corpus().size()),
                         [](const testing::TestParamInfo<size_t>& info) {
                           std::string name = Corpus()[info.param].name;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

// What a program is attached to may be named beside it.
TEST(TargetTest, ProgramAndFunctionMayBeNamed) {
  const std::string objects = BPFSIEVE_CORPUS_DIR "/objects/";
  const LoadOptions load = {.kernel_btf = CorpusKernelTypes(BPFSIEVE_CORPUS_DIR)};
  const absl::StatusOr<ObjectFile> object = ObjectFile::Open(objects + "replacing.o", load);
  const absl::StatusOr<ObjectFile> target = ObjectFile::Open(objects + "replacing_target.o", load);
  ASSERT_TRUE(object.ok() && target.ok());
  const auto verify = [&](std::string_view program, const Target& attach) {
    for (int i = 0; i < object->program_count(); ++i) {
      if (object->program_name(i) != program) continue;
      const Report r = Verify(*object, i, {.target = attach});
      return absl::StrCat(std::string(r.verdict), ": ", r.message);
    }
    return std::string("no such program");
  };
  EXPECT_EQ(verify("of_either", {}), "unsupported: program type: ext, without the object of its target");
  EXPECT_EQ(verify("of_either", {&*target, "", ""}), "invalid: more than one program of the target has the function 'shared'");
  EXPECT_EQ(verify("of_either", {&*target, "moves_up", ""}), "accept: ");
  EXPECT_EQ(verify("of_either", {&*target, "passes", ""}), "reject: Subprog shared doesn't exist");
  EXPECT_EQ(verify("of_either", {&*target, "none", ""}), "invalid: the target has no program 'none'");
  EXPECT_EQ(verify("of_either", {&*target, "", "fifth"}), "accept: ");
  EXPECT_EQ(verify("of_either", {&*target, "", "none"}), "invalid: the target has no function 'none'");
  EXPECT_EQ(verify("before", {&*target, "", "passes"}), "reject: invalid bpf_context access off=0 size=8");
  EXPECT_EQ(verify("before", {}), "invalid: attach target 'length' is not in the kernel's BTF");
}

TEST(CorpusFolderTest, IsReadWithoutErrors) {
  absl::StatusOr<std::vector<CorpusFile>> files = ReadCorpus(BPFSIEVE_CORPUS_DIR);
  EXPECT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE(Corpus().empty());
}

// A rule that no program of the corpus breaks is either untested or unreachable; the latter are named here.
TEST(CorpusFolderTest, EveryRuleThatAProgramCanBreakIsBrokenByOne) {
  const std::set<std::string_view> out_of_reach = {
#include "corpus/rules_out_of_reach.inc"
  };
  std::set<std::string_view> broken;
  for (const CorpusFile& file : Corpus()) {
    for (const AsmExpectation& e : file.expectations) {
      if (e.rule) broken.insert(GetRuleInfo(*e.rule).code);
    }
  }
  for (int i = 0; i < RuleCount(); ++i) {
    const std::string_view code = GetRuleInfo(static_cast<Rule>(i)).code;
    EXPECT_NE(broken.contains(code), out_of_reach.contains(code)) << code;
  }
}

}  // namespace
}  // namespace bpfsieve
