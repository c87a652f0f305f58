// Imports the raw tests of Debian's linux-source-6.1, where it is installed, and checks what comes out: that every
// file loads and, on Linux 6.18, that the kernel's verdicts are those that the tests expect, but for the few that the
// kernel has changed since.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "corpus/oracle/oracle.h"
#include "engine/program/load.h"

namespace bpfsieve {
namespace {

using ::testing::UnorderedElementsAre;

// The fields of one line of CSV; quotes inside of quotes are doubled.
std::vector<std::string> SplitCsv(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  return fields;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Imports and loads once for all tests of this file; removes what was imported at the end.
class RawTests : public ::testing::Test {
 protected:
  struct Row {
    std::string file;
    std::string type;
    std::string expected;
  };

  static void SetUpTestSuite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bpfsieve-raw-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = new std::filesystem::path(pattern);
    const std::string command = "'" BPFSIEVE_IMPORT_SCRIPT "' '" + pattern + "' > '" + pattern + "/log' 2>&1";
    const int status = system(command.c_str());
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static void TearDownTestSuite() {
    if (dir_ != nullptr) std::filesystem::remove_all(*dir_);
    delete dir_;
    loaded_.clear();
  }
  void SetUp() override {
    constexpr int kNoSource = 3;
    if (status_ == kNoSource) GTEST_SKIP() << ReadFile(*dir_ / "log");
    ASSERT_EQ(status_, 0) << ReadFile(*dir_ / "log");
  }

  static std::vector<Row> Index() {
    std::ifstream in(*dir_ / "index.csv");
    std::string line;
    std::getline(in, line);
    std::vector<Row> rows;
    while (std::getline(in, line)) {
      const std::vector<std::string> fields = SplitCsv(line);
      if (fields.size() == 10) rows.push_back({fields[0], fields[3], fields[5]});
    }
    return rows;
  }
  static absl::StatusOr<std::shared_ptr<const Object>> Load(const Row& row) {
    const auto [it, fresh] = loaded_.try_emplace(row.file, nullptr);
    if (fresh) it->second = LoadObject(ReadFile(*dir_ / row.file), row.file, {});
    return it->second;
  }

  static std::filesystem::path* dir_;
  static int status_;
  static std::map<std::string, absl::StatusOr<std::shared_ptr<const Object>>> loaded_;  // by file
};
std::filesystem::path* RawTests::dir_ = nullptr;
int RawTests::status_ = -1;
std::map<std::string, absl::StatusOr<std::shared_ptr<const Object>>> RawTests::loaded_;

TEST_F(RawTests, EveryTestBecomesAFileAndARow) {
  const std::vector<Row> rows = Index();
  EXPECT_EQ(rows.size(), 1365u);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*dir_)) files += entry.path().extension() == ".bpfasm";
  EXPECT_EQ(files, rows.size());
  std::map<std::string, int> expected;
  for (const Row& row : rows) ++expected[row.expected];
  EXPECT_EQ(expected["accept"], 727);
  EXPECT_EQ(expected["reject"], 638);
}

TEST_F(RawTests, EveryFileLoadsAsOneProgram) {
  for (const Row& row : Index()) {
    const absl::StatusOr<std::shared_ptr<const Object>> object = Load(row);
    ASSERT_TRUE(object.ok()) << row.file << ": " << object.status();
    ASSERT_EQ((*object)->programs.size(), 1u) << row.file;
    EXPECT_EQ((*object)->programs[0].broken, "") << row.file;
  }
}

TEST_F(RawTests, TheKernelAgreesWithWhatTheTestsExpect) {
  if (const absl::Status s = OracleAvailable(); !s.ok()) GTEST_SKIP() << s.message();
  utsname name;
  ASSERT_EQ(uname(&name), 0);
  if (!absl::StartsWith(name.release, "6.18.")) GTEST_SKIP() << "expectations are for Linux 6.18, not " << name.release;

  std::vector<std::string> differences;
  int decided = 0;
  for (const Row& row : Index()) {
    const absl::StatusOr<std::shared_ptr<const Object>> object = Load(row);
    ASSERT_TRUE(object.ok()) << row.file;
    const KernelReport report = *AskKernel(**object, 0, {});
    if (report.verdict == KernelReport::Verdict::kNotDecided) continue;
    ++decided;
    if (KernelVerdictName(report.verdict) != row.expected) differences.push_back(row.file.substr(0, row.file.find('.')));
  }
  // Tracing and LSM programs, and those that call functions of the kernel's test module, depend on its configuration.
  EXPECT_GE(decided, 1340);
  // What Linux has changed on purpose between 6.1 and 6.18.
  EXPECT_THAT(differences,
              UnorderedElementsAre("basic-instr-014-invalid-64-bit-bpf-end",  // 64-bit byte swaps exist (6.6)
                                   "bounds-mix-sign-unsign-010-bounds-checks-mixing-signed-and-unsigned-variant-10",
                                   "loops1-005-bounded-loop-start-in-the-middle",  // back edges are no longer refused
                                   "map-ptr-002-bpf-map-ptr-read-non-existent-field-rejected",
                                   // Spilled 32-bit constants keep their value
                                   "spill-fill-009-spill-a-u32-const-scalar-refill-as-u16-offset-to-skb-data",
                                   "spill-fill-010-spill-u32-const-scalars-refill-as-u64-offset-to-skb-data",
                                   "spin-lock-009-spin-lock-test10-lock-in-subprog-without-unlock"));
}

}  // namespace
}  // namespace bpfsieve
