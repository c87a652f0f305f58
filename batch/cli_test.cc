// The program as a user runs it: exit codes, formats, and the same bytes whatever the number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "batch/csv.h"

namespace bpfsieve {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kGood[] = ".type xdp\n.prog good\nr0 = 2\nexit\n";
constexpr char kBad[] = ".type xdp\n.prog bad\nr0 = *(u64 *)(r10 -600)\nexit\n";
constexpr char kTwo[] = ".type xdp\n.prog first\nr0 = 1\nexit\n.prog second\nexit\n";

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/cli_test." + std::to_string(getpid());
    fs::remove_all(root_);
    fs::create_directories(root_);
    Write("good.bpfasm", kGood);
    Write("bad.bpfasm", kBad);
    Write("two.bpfasm", kTwo);
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& name, const std::string& content) {
    fs::create_directories(fs::path(root_ + "/" + name).parent_path());
    std::ofstream(root_ + "/" + name, std::ios::binary) << content;
  }

  // Runs in the test's folder.
  Outcome Run(const std::string& args) {
    const std::string err_file = root_ + "/.stderr";
    const std::string command = "cd '" + root_ + "' && '" BPFSIEVE_BINARY "' " + args + " 2>'" + err_file + "'";
    Outcome outcome;
    FILE* pipe = popen(command.c_str(), "r");
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) outcome.out.append(buffer, n);
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    std::ifstream err(err_file);
    outcome.err.assign(std::istreambuf_iterator<char>(err), {});
    fs::remove(err_file);
    return outcome;
  }

  // The CSV records of a run without its header.
  std::vector<std::vector<std::string>> Records(const std::string& args) {
    std::vector<std::vector<std::string>> records = ParseCsv(Run(args).out);
    if (!records.empty()) records.erase(records.begin());
    return records;
  }
  std::string root_;
};

TEST_F(CliTest, AllAcceptedIsZeroAndSomeNotIsOne) {
  EXPECT_EQ(Run("verify good.bpfasm").exit_code, 0);
  EXPECT_EQ(Run("verify good.bpfasm bad.bpfasm").exit_code, 1);
}

TEST_F(CliTest, WrongUsageIsTwo) {
  EXPECT_EQ(Run("").exit_code, 2);
  EXPECT_EQ(Run("verify").exit_code, 2);
  EXPECT_EQ(Run("nosuch good.bpfasm").exit_code, 2);
  EXPECT_EQ(Run("verify good.bpfasm --nosuch").exit_code, 2);
  EXPECT_EQ(Run("verify good.bpfasm -e nosuch").exit_code, 2);
  EXPECT_EQ(Run("verify good.bpfasm -o xml").exit_code, 2);
  EXPECT_EQ(Run("verify good.bpfasm -j 0").exit_code, 2);
}

TEST_F(CliTest, OptionsMayComeBeforePaths) {
  EXPECT_THAT(Records("verify -f good -o csv -e prog -s prog good.bpfasm bad.bpfasm"), ElementsAre(ElementsAre("good")));
}

TEST_F(CliTest, AnExtensionIsVerifiedAgainstItsTarget) {
  Write("target.bpfasm", ".type xdp\n.prog one\nr1 = 1\ncall f\nr0 = 2\nexit\n.func f global u64\nr0 = r1\nexit\n");
  Write("extension.bpfasm", ".type ext\n.attach_target f\n.prog e\nr1 = 1\ncall g\nexit\n.func g\nr0 = r1\nexit\n");
  EXPECT_THAT(Run("verify extension.bpfasm").out, HasSubstr("program type: ext, without the object of its target"));
  EXPECT_THAT(Run("verify --target-object target.bpfasm extension.bpfasm").out, HasSubstr("e() is not a global function"));
  EXPECT_THAT(Run("verify --target-object target.bpfasm --target-function h extension.bpfasm").out,
              HasSubstr("the target has no function 'h'"));
  EXPECT_THAT(Run("verify --target-object target.bpfasm --target-program two extension.bpfasm").out,
              HasSubstr("the target has no program 'two'"));
  EXPECT_EQ(Run("verify --target-program one extension.bpfasm").exit_code, 2);
  EXPECT_EQ(Run("verify --target-object none.bpfasm extension.bpfasm").exit_code, 2);
}

TEST_F(CliTest, GeneratedProgramsAreReadBackAndTheSameEachTime) {
  ASSERT_EQ(Run("generate --seed 7 --count 20 --broken 0 one").exit_code, 0);
  ASSERT_EQ(Run("generate --seed 7 --count 20 --broken 0 two").exit_code, 0);
  // What is made to be valid mostly is accepted, and is always a program.
  EXPECT_LE(Run("verify one").exit_code, 1);
  EXPECT_THAT(Run("verify -o csv one").out, Not(HasSubstr(",invalid,")));
  EXPECT_THAT(Records("verify -o csv one"), testing::SizeIs(20));
  for (int seed = 7; seed < 27; ++seed) {
    auto read = [&](const std::string& folder) {
      std::ifstream in(root_ + "/" + folder + "/" + std::to_string(seed) + ".bpfasm");
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    EXPECT_THAT(read("one"), Not(IsEmpty()));
    EXPECT_EQ(read("one"), read("two"));
  }
  EXPECT_EQ(Run("generate").exit_code, 2);
  EXPECT_EQ(Run("generate --broken 2 one").exit_code, 2);
  EXPECT_EQ(Run("generate --size huge one").exit_code, 2);
  EXPECT_EQ(Run("generate good.bpfasm/below").exit_code, 2);
}

TEST_F(CliTest, HelpAndVersionAreZero) {
  EXPECT_EQ(Run("--help").exit_code, 0);
  EXPECT_EQ(Run("verify --help").exit_code, 0);
  EXPECT_EQ(Run("--version").exit_code, 0);
  EXPECT_THAT(Run("version").out, HasSubstr("Linux 6.18"));
}

TEST_F(CliTest, AMissingFileIsTwoAfterTheOthersAreDone) {
  const Outcome outcome = Run("verify missing.o bad.bpfasm -o csv");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("missing.o: No such file"));
  EXPECT_THAT(outcome.out, HasSubstr("bad.bpfasm,bad,reject"));
}

TEST_F(CliTest, AnObjectThatIsNoneIsOneInvalidRow) {
  Write("damaged.o", "\177ELF damaged");
  EXPECT_EQ(Run("verify damaged.o").exit_code, 1);
  EXPECT_THAT(Records("verify damaged.o -o csv -e file,prog,verdict"),
              ElementsAre(ElementsAre("damaged.o", "", "invalid")));
}

TEST_F(CliTest, RowsComeInTheOrderGiven) {
  EXPECT_THAT(Records("verify two.bpfasm bad.bpfasm good.bpfasm -o csv -e prog,verdict"),
              ElementsAre(ElementsAre("first", "accept"), ElementsAre("second", "reject"), ElementsAre("bad", "reject"),
                          ElementsAre("good", "accept")));
}

TEST_F(CliTest, AFolderIsSearchedAndWhatIsForOtherMachinesSkipped) {
  std::string host(64, '\0');
  host.replace(0, 4, "\177ELF");
  host[18] = 62;  // x86-64
  Write("dir/host.o", host);
  Write("dir/sub/x.bpfasm", kGood);
  const Outcome outcome = Run("verify dir -o csv -e file,verdict");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("dir/sub/x.bpfasm,accept"));
  EXPECT_THAT(outcome.err, HasSubstr("1 file skipped"));
  EXPECT_EQ(Run("verify dir/host.o").exit_code, 1) << "named, it is the user's mistake";
}

TEST_F(CliTest, OutputIsTheSameForAnyNumberOfThreads) {
  for (int i = 0; i < 40; ++i) Write("many/" + std::to_string(i) + ".bpfasm", i % 3 == 0 ? kBad : kTwo);
  const std::string fields = " -o csv -e file,prog,verdict,total_insns,total_states,mem_peak,rule,insn,message";
  const std::string sequential = Run("verify many -j 1" + fields).out;
  EXPECT_THAT(sequential, HasSubstr("39.bpfasm"));
  for (const char* jobs : {"2", "3", "16"}) EXPECT_EQ(Run("verify many -j " + (jobs + fields)).out, sequential) << jobs;
}

TEST_F(CliTest, SortTopAndFiltersActOnTheOutput) {
  EXPECT_THAT(Records("verify two.bpfasm good.bpfasm -o csv -s 'prog>' -n 2 -e prog"),
              ElementsAre(ElementsAre("second"), ElementsAre("good")));
  EXPECT_THAT(Records("verify two.bpfasm good.bpfasm -o csv -f verdict=reject -e prog"),
              ElementsAre(ElementsAre("second")));
  EXPECT_THAT(Records("verify two.bpfasm good.bpfasm -o csv -f /second -e prog"), ElementsAre(ElementsAre("second")));
}

TEST_F(CliTest, AFieldFilterDoesNotHideAFailureFromTheExitCode) {
  const Outcome outcome = Run("verify two.bpfasm -o csv -f verdict=accept -e prog");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out, Not(HasSubstr("second")));
}

TEST_F(CliTest, JsonLinesParseAndCarryTheExplanation) {
  const Outcome outcome = Run("verify bad.bpfasm -o json --explain -l 1");
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["verdict"], "reject");
  EXPECT_EQ(json["rule"], "stack-bounds");
  EXPECT_EQ(json["insn"], 0);
  EXPECT_EQ(json["explanation"]["rule"], "stack-bounds");
  EXPECT_THAT(std::string(json["log"]), Not(IsEmpty()));
}

TEST_F(CliTest, TheTableExplainsUnderTheRow) {
  const Outcome outcome = Run("verify bad.bpfasm good.bpfasm --explain");
  EXPECT_THAT(outcome.out, HasSubstr("Reason:"));
  EXPECT_LT(outcome.out.find("Suggestion:"), outcome.out.find("good.bpfasm"));
}

TEST_F(CliTest, TheSummaryCountsVerdicts) {
  EXPECT_THAT(Run("verify two.bpfasm good.bpfasm").out, HasSubstr("2 objects, 3 programs: 2 accept, 1 reject; "));
  const Outcome csv = Run("verify good.bpfasm -o csv");
  EXPECT_THAT(csv.out, Not(HasSubstr("1 object")));
  EXPECT_THAT(csv.err, HasSubstr("1 object, 1 program: 1 accept"));
}

TEST_F(CliTest, AListOfTypesServesProgramsWithoutOne) {
  std::string mov_exit("\xb7\0\0\0\0\0\0\0\x95\0\0\0\0\0\0\0", 16);
  Write("raw.bin", mov_exit);
  Write("types.csv", "file,section,prog,type\nraw.bin,,,xdp?\n");
  EXPECT_EQ(Records("verify raw.bin -o csv -e verdict")[0][0], "invalid");
  EXPECT_THAT(Records("verify raw.bin --types types.csv -o csv -e verdict,prog_type"),
              ElementsAre(ElementsAre("accept", "xdp")));
  EXPECT_THAT(Records("verify raw.bin --type socket_filter -o csv -e verdict,prog_type"),
              ElementsAre(ElementsAre("accept", "socket_filter")));
}

TEST_F(CliTest, BudgetsEndInTheVerdictLimit) {
  EXPECT_THAT(Records("verify good.bpfasm --max-insns 1 -o csv -e verdict"), ElementsAre(ElementsAre("limit")));
}

TEST_F(CliTest, StatsSayHowFarASearchCanBeSpread) {
  const Json row = Json::parse(Run("verify --stats -o json good.bpfasm").out);
  EXPECT_EQ(row["longest_path"], 2);
  EXPECT_EQ(row["retired_insns"], 0);
  EXPECT_FALSE(Json::parse(Run("verify -o json good.bpfasm").out).contains("longest_path"));
}

TEST_F(CliTest, ListAndDisasmShowAnObject) {
  EXPECT_THAT(Run("list two.bpfasm").out, HasSubstr("second"));
  EXPECT_THAT(Run("disasm good.bpfasm").out, HasSubstr("(b7) r0 = 2"));
  EXPECT_EQ(Run("list missing.o").exit_code, 2);
}

TEST_F(CliTest, RulesListsEveryCodeOnce) {
  const std::string text = Run("rules").out;
  EXPECT_THAT(text, HasSubstr("stack-bounds"));
  EXPECT_THAT(Run("rules --markdown").out, HasSubstr("| `stack-bounds` |"));
}

TEST_F(CliTest, TheOracleAnswersInTheSameFormatOrSaysWhyNot) {
  const Outcome outcome = Run("oracle two.bpfasm -o csv -e prog,verdict,message");
  if (outcome.exit_code == 2) {
    EXPECT_THAT(outcome.err, HasSubstr("the kernel cannot be asked"));
    GTEST_SKIP() << outcome.err;
  }
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "prog_name,verdict,message\nfirst,accept,\nsecond,reject,R0 !read_ok\n");
}

}  // namespace
}  // namespace bpfsieve
