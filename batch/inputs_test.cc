#include "batch/inputs.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace bpfsieve {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InputsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/inputs_test";
    fs::remove_all(root_);
    fs::create_directories(root_ + "/sub");
    for (const char* name : {"b.o", "a.bpfasm", "sub/c.bin", "sub/notes.txt"}) std::ofstream(root_ + "/" + name) << "x";
  }
  void TearDown() override { fs::remove_all(root_); }

  std::vector<std::string> Paths(const std::vector<std::string>& paths) {
    std::vector<std::string> out;
    for (const InputFile& file : ExpandInputs(paths).files) out.push_back(fs::relative(file.path, root_));
    return out;
  }
  std::string root_;
};

TEST_F(InputsTest, AFolderGivesItsObjectsSorted) {
  EXPECT_THAT(Paths({root_}), ElementsAre("a.bpfasm", "b.o", "sub/c.bin"));
}

TEST_F(InputsTest, ANamedFileIsTakenWhateverItsName) {
  const Inputs inputs = ExpandInputs({root_ + "/sub/notes.txt", root_});
  EXPECT_FALSE(inputs.files[0].found);
  EXPECT_TRUE(inputs.files[1].found);
}

TEST_F(InputsTest, TheOrderGivenIsKeptAndAPathComesOnce) {
  EXPECT_THAT(Paths({root_ + "/sub/c.bin", root_ + "/b.o", root_ + "/sub/c.bin"}), ElementsAre("sub/c.bin", "b.o"));
}

TEST_F(InputsTest, AGlobThatTheShellLeftIsExpanded) { EXPECT_THAT(Paths({root_ + "/*.o"}), ElementsAre("b.o")); }

TEST_F(InputsTest, AGlobWithoutAMatchIsAnError) {
  EXPECT_THAT(ExpandInputs({root_ + "/*.nothing"}).errors, ElementsAre(HasSubstr("no file matches")));
}

TEST_F(InputsTest, AListNamesPaths) {
  std::ofstream(root_ + "/list") << "# comment\n" << root_ << "/b.o\n\n" << root_ << "/sub\n";
  EXPECT_THAT(Paths({"@" + root_ + "/list"}), ElementsAre("b.o", "sub/c.bin"));
}

TEST_F(InputsTest, AListThatNamesItselfEnds) {
  std::ofstream(root_ + "/list") << "@" << root_ << "/list\n";
  EXPECT_THAT(ExpandInputs({"@" + root_ + "/list"}).errors, ElementsAre(HasSubstr("too deep")));
}

TEST_F(InputsTest, AMissingListIsAnError) { EXPECT_EQ(ExpandInputs({"@/nonexistent/list"}).errors.size(), 1u); }

TEST_F(InputsTest, AMissingFileIsLeftToItsReader) {
  const Inputs inputs = ExpandInputs({"/nonexistent/x.o"});
  EXPECT_THAT(inputs.errors, IsEmpty());
  EXPECT_EQ(inputs.files.size(), 1u);
}

TEST(ForeignElfTest, OnlyElfOfAnotherMachineIsForeign) {
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  const auto bytes = [&] { return std::string(reinterpret_cast<const char*>(&header), sizeof(header)); };
  header.e_machine = EM_X86_64;
  EXPECT_TRUE(IsForeignElf(bytes()));
  header.e_machine = EM_BPF;
  EXPECT_FALSE(IsForeignElf(bytes()));
  header.e_machine = EM_NONE;
  EXPECT_FALSE(IsForeignElf(bytes()));
  EXPECT_FALSE(IsForeignElf("not ELF at all"));
}

}  // namespace
}  // namespace bpfsieve
