#include "engine/program/load.h"

#include <cstring>

#include "engine/program/test_elf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;

std::string Raw(const std::vector<Insn>& insns) {
  return std::string(reinterpret_cast<const char*>(insns.data()), insns.size() * sizeof(Insn));
}

TEST(LoadObjectTest, RawInstructionsAreOneProgramOfTheDefaultType) {
  auto object = LoadObject(Raw({MovImm(0, 0), ExitInsn()}), "some/dir/two.bin", {.default_type = "cgroup_sock"});
  ASSERT_TRUE(object.ok()) << object.status();
  ASSERT_EQ((*object)->programs.size(), 1u);
  const Program& program = (*object)->programs[0];
  EXPECT_EQ(program.name, "two");
  EXPECT_EQ(program.type, ProgType::kCgroupSock);
  EXPECT_EQ(program.attach, AttachType::kCgroupInetSockCreate);
  EXPECT_TRUE(program.type_known);
  EXPECT_EQ(program.insns.size(), 2u);
  EXPECT_EQ(program.subprogs.size(), 1u);
}

TEST(LoadObjectTest, RawInstructionsWithoutATypeAreOfUnknownType) {
  auto object = LoadObject(Raw({ExitInsn()}), "x.bin", {});
  ASSERT_TRUE(object.ok());
  EXPECT_FALSE((*object)->programs[0].type_known);
  EXPECT_EQ((*object)->programs[0].type, ProgType::kUnspec);
}

TEST(LoadObjectTest, RawMapReferencesAreNoIndices) {
  auto object = LoadObject(Raw({LdImm64(1, kPseudoMapIdxValue, 0), {}, ExitInsn()}), "x.bin", {});
  ASSERT_TRUE(object.ok());
  EXPECT_EQ((*object)->programs[0].insns[0].src, kPseudoMapValue);
  EXPECT_EQ((*object)->programs[0].insns[0].imm, kNoSuchMap);
}

TEST(LoadObjectTest, RawKernelFunctionNumbersAreUnsupported) {
  auto object = LoadObject(Raw({{.code = kCodeCall, .src = kPseudoKfuncCall, .imm = 5}, ExitInsn()}), "x.bin", {});
  ASSERT_TRUE(object.ok());
  EXPECT_THAT((*object)->programs[0].broken, HasSubstr("kernel function"));
  EXPECT_TRUE((*object)->programs[0].broken_unsupported);
}

TEST(LoadObjectTest, BadInputsAreRefusedWithAReason) {
  EXPECT_FALSE(LoadObject("", "x.bin", {}).ok());
  EXPECT_FALSE(LoadObject("1234567", "x.bin", {}).ok());
  EXPECT_FALSE(LoadObject("text", "x.txt", {}).ok());
  EXPECT_FALSE(LoadObject("\177ELF", "x.o", {}).ok());
  EXPECT_FALSE(LoadObject(Raw({ExitInsn()}), "x.bin", {.default_type = "no_such_type"}).ok());
}

TEST(ObjectTest, OnlyTheKernelsLicencesAreCompatible) {
  Object object;
  for (const char* license :
       {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}) {
    object.license = license;
    EXPECT_TRUE(object.GplCompatible()) << license;
  }
  for (const char* license : {"", "gpl", "GPL ", "MIT", "Proprietary"}) {
    object.license = license;
    EXPECT_FALSE(object.GplCompatible()) << license;
  }
}

}  // namespace
}  // namespace bpfsieve
