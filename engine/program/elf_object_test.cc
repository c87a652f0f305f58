#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "engine/program/load.h"
#include "engine/program/test_elf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<Object> Load(const TestElf& elf, const LoadOptions& options = {.kernel_btf = "none"}) {
  auto object = LoadElfObject(elf.Write(), "test.o", options);
  EXPECT_TRUE(object.ok()) << object.status();
  return object.ok() ? *object : std::make_shared<Object>();
}

std::string ErrorOf(const TestElf& elf) {
  auto object = LoadElfObject(elf.Write(), "test.o", {.kernel_btf = "none"});
  return object.ok() ? "" : std::string(object.status().message());
}

std::string Words(std::initializer_list<uint32_t> words) {
  return std::string(reinterpret_cast<const char*>(words.begin()), words.size() * 4);
}

// ---- Programs

TEST(ElfProgramsTest, FunctionOfANamedSectionIsAProgramOfItsType) {
  TestElf elf;
  const int code = elf.Code("tracepoint/sched/sched_switch", {MovImm(0, 0), ExitInsn()});
  elf.Symbol("trace", code, 0, 16);
  auto object = Load(elf);
  ASSERT_EQ(object->programs.size(), 1u);
  const Program& program = object->programs[0];
  EXPECT_EQ(program.name, "trace");
  EXPECT_EQ(program.section, "tracepoint/sched/sched_switch");
  EXPECT_EQ(program.type, ProgType::kTracepoint);
  EXPECT_EQ(program.attach_target, "sched/sched_switch");
  EXPECT_TRUE(program.autoload);
  EXPECT_EQ(program.broken, "");
  EXPECT_THAT(program.insns, ElementsAre(MovImm(0, 0), ExitInsn()));
}

TEST(ElfProgramsTest, SeveralFunctionsShareASection) {
  TestElf elf;
  const int code = elf.Code("xdp", {MovImm(0, 1), ExitInsn(), ExitInsn()});
  elf.Symbol("last", code, 16, 8);
  elf.Symbol("first", code, 0, 16);
  auto object = Load(elf);
  ASSERT_EQ(object->programs.size(), 2u);
  EXPECT_EQ(object->programs[0].name, "first");
  EXPECT_EQ(object->programs[1].name, "last");
  EXPECT_EQ(object->programs[1].insns.size(), 1u);
}

TEST(ElfProgramsTest, QuestionMarkMeansNotLoadedByItself) {
  TestElf elf;
  elf.Symbol("p", elf.Code("?xdp", {ExitInsn()}), 0, 8);
  auto object = Load(elf);
  EXPECT_FALSE(object->programs[0].autoload);
  EXPECT_EQ(object->programs[0].section, "xdp");
  EXPECT_EQ(object->programs[0].type, ProgType::kXdp);
}

TEST(ElfProgramsTest, UnknownSectionTakesTheDefaultType) {
  TestElf elf;
  elf.Symbol("p", elf.Code("whatever", {ExitInsn()}), 0, 8);
  EXPECT_FALSE(Load(elf)->programs[0].type_known);
  auto object = Load(elf, {.kernel_btf = "none", .default_type = "sched_cls"});
  EXPECT_TRUE(object->programs[0].type_known);
  EXPECT_EQ(object->programs[0].type, ProgType::kSchedCls);
}

TEST(ElfProgramsTest, SymbolsWithoutATypeReachToTheNextOne) {
  TestElf elf;
  const int code = elf.Code("socket", {MovImm(0, 0), ExitInsn(), MovImm(0, 1), ExitInsn()});
  elf.Symbol("LBB0_1", code, 8, 0, STT_NOTYPE, STB_LOCAL);
  elf.Symbol("one", code, 0, 0, STT_NOTYPE);
  elf.Symbol("two", code, 16, 0, STT_NOTYPE);
  auto object = Load(elf);
  ASSERT_EQ(object->programs.size(), 2u);
  EXPECT_EQ(object->programs[0].name, "one");
  EXPECT_EQ(object->programs[0].insns.size(), 2u);
  EXPECT_EQ(object->programs[1].name, "two");
  EXPECT_EQ(object->programs[1].insns.size(), 2u);
}

TEST(ElfProgramsTest, SectionWithoutSymbolsIsOneProgram) {
  TestElf elf;
  elf.Code("xdp", {MovImm(0, 0), ExitInsn()});
  auto object = Load(elf);
  ASSERT_EQ(object->programs.size(), 1u);
  EXPECT_EQ(object->programs[0].name, "xdp");
  EXPECT_EQ(object->programs[0].insns.size(), 2u);
}

TEST(ElfProgramsTest, TextIsSubprogramsUnlessThereIsNothingElse) {
  TestElf only_text;
  const int text = only_text.Code(".text", {MovImm(0, 0), ExitInsn(), ExitInsn()});
  only_text.Symbol("global", text, 0, 16);
  only_text.Symbol("local", text, 16, 8, STT_FUNC, STB_LOCAL);
  auto object = Load(only_text);
  ASSERT_EQ(object->programs.size(), 1u);
  EXPECT_EQ(object->programs[0].name, "global");
  EXPECT_FALSE(object->programs[0].type_known);

  only_text.Symbol("main", only_text.Code("xdp", {ExitInsn()}), 0, 8);
  object = Load(only_text);
  ASSERT_EQ(object->programs.size(), 1u);
  EXPECT_EQ(object->programs[0].name, "main");
}

TEST(ElfProgramsTest, FunctionBeyondItsSectionIsRefused) {
  TestElf elf;
  elf.Symbol("p", elf.Code("xdp", {ExitInsn()}), 0, 16);
  EXPECT_THAT(ErrorOf(elf), HasSubstr("boundary"));
}

TEST(ElfProgramsTest, ManyOverlappingFunctionsAreRefused) {
  TestElf elf;
  const int code = elf.Code("xdp", {MovImm(0, 0), ExitInsn()});
  for (int i = 0; i < 5; ++i) elf.Symbol("p", code, 0, 16);
  EXPECT_THAT(ErrorOf(elf), HasSubstr("overlap"));
}

TEST(ElfProgramsTest, DamagedFunctionDoesNotHideTheOthers) {
  TestElf elf;
  const int code = elf.Code("xdp", {MovImm(0, 0), ExitInsn()});
  elf.Symbol("bad", code, 4, 8);
  elf.Symbol("good", elf.Code("tc", {ExitInsn()}), 0, 8);
  auto object = Load(elf);
  ASSERT_EQ(object->programs.size(), 2u);
  EXPECT_THAT(object->programs[0].broken, HasSubstr("corrupted"));
  EXPECT_EQ(object->programs[1].broken, "");
}

TEST(ElfProgramsTest, TracingProgramWithoutATargetIsBroken) {
  TestElf elf;
  elf.Symbol("p", elf.Code("fentry", {ExitInsn()}), 0, 8);
  EXPECT_THAT(Load(elf)->programs[0].broken, HasSubstr("attach target"));
}

TEST(ElfProgramsTest, LicenceAndVersionComeFromTheirSections) {
  TestElf elf;
  elf.Data("license", std::string("GPL\0junk", 8));
  elf.Data("version", Words({0x61200}));
  elf.Symbol("p", elf.Code("xdp", {ExitInsn()}), 0, 8);
  auto object = Load(elf);
  EXPECT_EQ(object->license, "GPL");
  EXPECT_TRUE(object->GplCompatible());
  EXPECT_EQ(object->kern_version, 0x61200u);
}

// ---- Linking

// .text holds leaf (1 instruction), then middle, which calls leaf through `middle_calls`.
struct Linked {
  TestElf elf;
  int text = 0, text_section_symbol = 0, leaf = 0, middle = 0, leaf2 = 0;
  Linked() {
    text = elf.Code(".text", {ExitInsn(), CallSub(-1), ExitInsn(), MovImm(0, 2), ExitInsn()});
    text_section_symbol = elf.Symbol("", text, 0, 0, STT_SECTION, STB_LOCAL);
    leaf = elf.Symbol("leaf", text, 0, 8);
    middle = elf.Symbol("middle", text, 8, 16);
    leaf2 = elf.Symbol("leaf2", text, 24, 16);
    elf.Rel(text, 1, leaf);
  }
};

TEST(ElfLinkTest, CalleesFollowInDepthFirstOrder) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(-1), CallSub(-1), ExitInsn()});
  linked.elf.Symbol("main", code, 0, 24);
  linked.elf.Rel(code, 0, linked.middle);
  linked.elf.Rel(code, 1, linked.leaf2);
  auto object = Load(linked.elf);
  const Program& program = object->programs[0];
  ASSERT_EQ(program.broken, "");
  // main 0..2, middle 3..4, leaf 5, leaf2 6..7
  std::vector<std::pair<uint32_t, std::string>> subprogs;
  for (const Subprog& subprog : program.subprogs) subprogs.emplace_back(subprog.start, subprog.name);
  EXPECT_THAT(subprogs, ElementsAre(std::pair(0u, "main"), std::pair(3u, "middle"), std::pair(5u, "leaf"),
                                    std::pair(6u, "leaf2")));
  EXPECT_EQ(program.insns[0].imm, 2);
  EXPECT_EQ(program.insns[1].imm, 4);
  EXPECT_EQ(program.insns[3].imm, 1);
}

TEST(ElfLinkTest, SharedCalleeIsAppendedOnce) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(-1), CallSub(-1), ExitInsn()});
  linked.elf.Symbol("main", code, 0, 24);
  linked.elf.Rel(code, 0, linked.leaf);
  linked.elf.Rel(code, 1, linked.middle);
  const Program program = Load(linked.elf)->programs[0];
  EXPECT_EQ(program.insns.size(), 3u + 1 + 2);
  EXPECT_EQ(program.insns[4].imm, -2);  // middle at 4 calls leaf at 3
}

TEST(ElfLinkTest, EachProgramGetsItsOwnCopies) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(-1), ExitInsn(), CallSub(-1), ExitInsn()});
  linked.elf.Symbol("a", code, 0, 16);
  linked.elf.Symbol("b", code, 16, 16);
  linked.elf.Rel(code, 0, linked.leaf);
  linked.elf.Rel(code, 2, linked.leaf2);
  auto object = Load(linked.elf);
  ASSERT_EQ(object->programs.size(), 2u);
  EXPECT_EQ(object->programs[0].insns.size(), 3u);
  EXPECT_EQ(object->programs[1].insns.size(), 4u);
}

TEST(ElfLinkTest, StaticFunctionIsNamedByItsSectionAndAnOffset) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(2), ExitInsn()});  // instruction 3 of .text: leaf2
  linked.elf.Symbol("main", code, 0, 16);
  linked.elf.Rel(code, 0, linked.text_section_symbol);
  const Program program = Load(linked.elf)->programs[0];
  ASSERT_EQ(program.broken, "");
  EXPECT_EQ(program.subprogs[1].name, "leaf2");
  EXPECT_EQ(program.insns[0].imm, 1);
}

TEST(ElfLinkTest, AddressOfAFunctionIsRelativeToTheNextInstruction) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {LdImm64(2, 0, 0), {}, ExitInsn()});
  linked.elf.Symbol("main", code, 0, 24);
  linked.elf.Rel(code, 0, linked.leaf2);
  const Program program = Load(linked.elf)->programs[0];
  ASSERT_EQ(program.broken, "");
  EXPECT_TRUE(IsPseudoFunc(program.insns[0]));
  EXPECT_EQ(program.insns[0].imm, 2);
}

TEST(ElfLinkTest, RecursionIsLinkedOnce) {
  TestElf elf;
  const int text = elf.Code(".text", {CallSub(-1), ExitInsn(), CallSub(-1), ExitInsn()});
  const int ping = elf.Symbol("ping", text, 0, 16), pong = elf.Symbol("pong", text, 16, 16);
  elf.Rel(text, 0, pong);
  elf.Rel(text, 2, ping);
  const int code = elf.Code("xdp", {CallSub(-1), ExitInsn()});
  elf.Symbol("main", code, 0, 16);
  elf.Rel(code, 0, ping);
  const Program program = Load(elf)->programs[0];
  EXPECT_EQ(program.broken, "");
  EXPECT_EQ(program.insns.size(), 6u);
}

TEST(ElfLinkTest, LongChainsOfCallsNeedNoStackOfOurs) {
  TestElf elf;
  std::vector<Insn> text_insns;
  constexpr int kFunctions = 20000;
  for (int i = 0; i < kFunctions; ++i) {
    text_insns.push_back(CallSub(i + 1 < kFunctions ? 1 : -2));
    text_insns.push_back(ExitInsn());
  }
  const int text = elf.Code(".text", text_insns);
  int first = 0;
  for (int i = 0; i < kFunctions; ++i) {
    const int symbol = elf.Symbol("f", text, 16 * i, 16);
    if (i == 0) first = symbol;
  }
  const int code = elf.Code("xdp", {CallSub(-1), ExitInsn()});
  elf.Symbol("main", code, 0, 16);
  elf.Rel(code, 0, first);
  const Program program = Load(elf)->programs[0];
  EXPECT_EQ(program.subprogs.size(), kFunctions + 1u);
}

TEST(ElfLinkTest, ManyProgramsThatShareMuchCodeStayWithinABudget) {
  TestElf elf;
  const int text = elf.Code(".text", std::vector<Insn>(100000, MovImm(0, 0)));
  const int shared = elf.Symbol("shared", text, 0, 800000);
  constexpr int kPrograms = 500;
  std::vector<Insn> insns;
  for (int i = 0; i < kPrograms; ++i) {
    insns.push_back(CallSub(-1));
    insns.push_back(ExitInsn());
  }
  const int code = elf.Code("xdp", insns);
  for (int i = 0; i < kPrograms; ++i) {
    elf.Symbol("p", code, 16 * i, 16);
    elf.Rel(code, 2 * i, shared);
  }
  auto object = Load(elf);
  EXPECT_EQ(object->programs.front().broken, "");
  EXPECT_THAT(object->programs.back().broken, HasSubstr("too much code"));
}

TEST(ElfLinkTest, CallOfSomethingThatIsNoFunctionBreaksItsProgramOnly) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(100), ExitInsn(), ExitInsn()});
  linked.elf.Symbol("bad", code, 0, 16);
  linked.elf.Symbol("good", code, 16, 8);
  auto object = Load(linked.elf);
  EXPECT_THAT(object->programs[0].broken, HasSubstr("sub-program"));
  EXPECT_EQ(object->programs[1].broken, "");
}

TEST(ElfLinkTest, CallOfAnUndefinedFunctionBreaksItsProgram) {
  TestElf elf;
  const int code = elf.Code("xdp", {CallSub(-1), ExitInsn()});
  elf.Symbol("main", code, 0, 16);
  elf.Rel(code, 0, elf.Symbol("bpf_map_lookup_elem", 0, 0, 0, STT_NOTYPE));
  EXPECT_THAT(Load(elf)->programs[0].broken, HasSubstr("failed to find BTF for extern 'bpf_map_lookup_elem'"));
}

TEST(ElfLinkTest, RelocationOfAnInstructionThatTakesNoneBreaksTheProgram) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {MovImm(0, 0), ExitInsn()});
  linked.elf.Symbol("main", code, 0, 16);
  linked.elf.Rel(code, 0, linked.leaf);
  EXPECT_THAT(Load(linked.elf)->programs[0].broken, HasSubstr("invalid relo"));
}

TEST(ElfLinkTest, TwoRelocationsOfOneInstructionBreakTheProgram) {
  Linked linked;
  const int code = linked.elf.Code("xdp", {CallSub(-1), ExitInsn()});
  linked.elf.Symbol("main", code, 0, 16);
  linked.elf.Rel(code, 0, linked.leaf);
  linked.elf.Rel(code, 0, linked.leaf2);
  EXPECT_THAT(Load(linked.elf)->programs[0].broken, HasSubstr("two relocations"));
}

TEST(ElfLinkTest, RelocationsOutsideOfTheTablesAreRefused) {
  Linked bad_symbol;
  const int code = bad_symbol.elf.Code("xdp", {CallSub(-1), ExitInsn()});
  bad_symbol.elf.Symbol("main", code, 0, 16);
  bad_symbol.elf.Rel(code, 0, 1000);
  EXPECT_THAT(ErrorOf(bad_symbol.elf), HasSubstr("does not exist"));

  Linked bad_offset;
  const int other = bad_offset.elf.Code("xdp", {CallSub(-1), ExitInsn()});
  bad_offset.elf.Symbol("main", other, 0, 16);
  bad_offset.elf.Rel(other, 7, bad_offset.leaf);
  EXPECT_THAT(ErrorOf(bad_offset.elf), HasSubstr("offset"));
}

TEST(ElfLinkTest, MapNumberWithoutARelocationIsNoMap) {
  TestElf elf;
  elf.Bss(".bss", 8);
  elf.Symbol("main", elf.Code("xdp", {LdImm64(1, kPseudoMapFd, 0), {}, ExitInsn()}), 0, 24);
  const Program program = Load(elf)->programs[0];
  EXPECT_EQ(program.insns[0].imm, kNoSuchMap);
}

// ---- Global data and legacy maps

TEST(ElfMapsTest, DataSectionsAreMapsWithTheirContents) {
  TestElf elf;
  const int data = elf.Data(".data", "abcdefgh"), rodata = elf.Data(".rodata", "1234"), bss = elf.Bss(".bss", 16);
  const int d = elf.Symbol("d", data, 4, 4, STT_OBJECT), r = elf.Symbol("r", rodata, 0, 4, STT_OBJECT);
  const int b = elf.Symbol("b", bss, 8, 4, STT_OBJECT);
  const int code = elf.Code("xdp", {LdImm64(1, 0, 2), {}, LdImm64(1, 0, 0), {}, LdImm64(1, 0, 0), {}, ExitInsn()});
  elf.Symbol("main", code, 0, 56);
  elf.Rel(code, 0, d);
  elf.Rel(code, 2, r);
  elf.Rel(code, 4, b);
  auto object = Load(elf);
  ASSERT_EQ(object->maps.size(), 3u);
  EXPECT_EQ(object->maps[0].name, "test.data");
  EXPECT_EQ(std::string(object->maps[0].data.begin(), object->maps[0].data.end()), "abcdefgh");
  EXPECT_FALSE(object->maps[0].frozen);
  EXPECT_TRUE(object->maps[1].frozen);
  EXPECT_NE(object->maps[1].flags & kMapRdonlyProg, 0u);
  EXPECT_EQ(object->maps[2].value_size, 16u);
  EXPECT_EQ(object->maps[2].data, std::vector<uint8_t>(16));
  const std::vector<Insn>& insns = object->programs[0].insns;
  EXPECT_EQ(insns[0].src, kPseudoMapValue);
  EXPECT_EQ(insns[0].imm, 0);
  EXPECT_EQ(insns[1].imm, 6);  // the symbol's offset and the instruction's own
  EXPECT_EQ(insns[2].imm, 1);
  EXPECT_EQ(insns[4].imm, 2);
  EXPECT_EQ(insns[5].imm, 8);
}

TEST(ElfMapsTest, HugeBssIsNotWrittenOut) {
  TestElf elf;
  elf.Bss(".bss", uint64_t{1} << 30);
  elf.Symbol("main", elf.Code("xdp", {ExitInsn()}), 0, 8);
  auto object = Load(elf);
  EXPECT_EQ(object->maps[0].value_size, 1u << 30);
  EXPECT_THAT(object->maps[0].data, IsEmpty());
}

TEST(ElfMapsTest, DataBeyondWhatAMapHoldsBreaksThoseThatUseIt) {
  TestElf elf;
  const int bss = elf.Bss(".bss", uint64_t{1} << 40);
  const int b = elf.Symbol("b", bss, 0, 4, STT_OBJECT);
  const int code = elf.Code("xdp", {LdImm64(1, 0, 0), {}, ExitInsn()});
  elf.Symbol("main", code, 0, 24);
  elf.Rel(code, 0, b);
  EXPECT_THAT(Load(elf)->programs[0].broken, HasSubstr("bytes of global data"));
}

TEST(ElfMapsTest, LegacyDefinitionsAreReadByTheirSymbols) {
  TestElf elf;
  const int maps = elf.Data("maps", Words({1, 4, 8, 100, 1}) + Words({2, 4, 16, 5, 0}));
  const int first = elf.Symbol("first", maps, 0, 0, STT_NOTYPE), second = elf.Symbol("second", maps, 20, 0, STT_NOTYPE);
  const int code = elf.Code("xdp_x", {LdImm64(1, 0, 0), {}, LdImm64(1, 0, 0), {}, ExitInsn()});
  elf.Symbol("main", code, 0, 40);
  elf.Rel(code, 0, second);
  elf.Rel(code, 2, first);
  auto object = Load(elf);
  ASSERT_EQ(object->maps.size(), 2u);
  EXPECT_EQ(object->maps[0].name, "first");
  EXPECT_EQ(object->maps[0].type, MapType::kHash);
  EXPECT_EQ(object->maps[0].max_entries, 100u);
  EXPECT_EQ(object->maps[0].flags, 1u);
  EXPECT_EQ(object->maps[1].value_size, 16u);
  EXPECT_EQ(object->programs[0].type, ProgType::kXdp);  // by prefix, as the loaders of the time
  EXPECT_EQ(object->programs[0].insns[0].src, kPseudoMapFd);
  EXPECT_EQ(object->programs[0].insns[0].imm, 1);
  EXPECT_EQ(object->programs[0].insns[2].imm, 0);
}

TEST(ElfMapsTest, LegacyInnerMapIsNamedByIndexOrById) {
  TestElf samples;
  int maps = samples.Data("maps", Words({1, 4, 8, 1, 0, 0, 0}) + Words({12, 4, 4, 1, 0, 0, 0}));
  samples.Symbol("inner", maps, 0, 28, STT_OBJECT);
  samples.Symbol("outer", maps, 28, 28, STT_OBJECT);
  EXPECT_EQ(Load(samples)->maps[1].inner, 0);

  TestElf iproute;
  maps = iproute.Data("maps", Words({12, 4, 4, 1, 0, 0, 0, 77, 0}) + Words({1, 4, 8, 1, 0, 77, 0, 0, 0}));
  iproute.Symbol("outer", maps, 0, 36, STT_OBJECT);
  iproute.Symbol("inner", maps, 36, 36, STT_OBJECT);
  EXPECT_EQ(Load(iproute)->maps[0].inner, 1);
}

TEST(ElfMapsTest, UnknownInnerMapIsGuessedWhereAsked) {
  TestElf elf;
  const int maps = elf.Data("maps", Words({12, 4, 4, 1, 0}));
  elf.Symbol("outer", maps, 0, 20, STT_OBJECT);
  auto object = Load(elf);
  ASSERT_EQ(object->maps[0].inner, 1);
  EXPECT_EQ(object->maps[1].type, MapType::kArray);
  EXPECT_EQ(object->maps[1].value_size, 4u);
  EXPECT_TRUE(object->maps[1].is_inner_template);
  EXPECT_EQ(Load(elf, {.kernel_btf = "none", .guess_inner_maps = false})->maps[0].inner, -1);
}

TEST(ElfMapsTest, ShortLegacyDefinitionBreaksThoseThatUseIt) {
  TestElf elf;
  const int maps = elf.Data("maps", Words({1, 4, 8}));
  const int map = elf.Symbol("m", maps, 0, 0, STT_NOTYPE);
  const int code = elf.Code("xdp", {LdImm64(1, 0, 0), {}, ExitInsn()});
  elf.Symbol("main", code, 0, 24);
  elf.Rel(code, 0, map);
  EXPECT_THAT(Load(elf)->programs[0].broken, HasSubstr("definition of 12 bytes"));
}

// ---- The file itself

TEST(ElfFileTest, EveryTruncationIsRefused) {
  TestElf elf;
  elf.Symbol("p", elf.Code("xdp", {ExitInsn()}), 0, 8);
  const std::string image = elf.Write();
  for (size_t size = 0; size < image.size(); ++size) {
    EXPECT_FALSE(LoadElfObject(std::string_view(image).substr(0, size), "t.o", {}).ok()) << size;
  }
}

TEST(ElfFileTest, OtherMachinesClassesAndKindsAreRefused) {
  TestElf elf;
  elf.Symbol("p", elf.Code("xdp", {ExitInsn()}), 0, 8);
  const std::string image = elf.Write();
  for (size_t offset :
       {size_t{0}, size_t{EI_CLASS}, size_t{EI_DATA}, offsetof(Elf64_Ehdr, e_type), offsetof(Elf64_Ehdr, e_machine)}) {
    std::string other = image;
    other[offset] = 62;
    EXPECT_FALSE(LoadElfObject(other, "t.o", {}).ok()) << offset;
  }
}

TEST(ElfFileTest, DamagedBtfIsRefused) {
  TestElf elf;
  elf.Data(".BTF", "nonsense");
  elf.Symbol("p", elf.Code("xdp", {ExitInsn()}), 0, 8);
  EXPECT_THAT(ErrorOf(elf), HasSubstr("BTF"));
}

// ---- Objects of a compiler (testdata/*.bpf.c)

class CompiledObjectTest : public ::testing::Test {
 protected:
  std::shared_ptr<Object> LoadFile(const std::string& name, const std::string& kernel_btf = "none") {
    std::ifstream file(BPFSIEVE_TESTDATA "/" + name, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    auto object = LoadElfObject(bytes, name, {.kernel_btf = kernel_btf});
    EXPECT_TRUE(object.ok()) << object.status();
    return object.ok() ? *object : std::make_shared<Object>();
  }
  static const MapDef& Map(const Object& object, const std::string& name) {
    for (const MapDef& map : object.maps) {
      if (map.name == name) return map;
    }
    ADD_FAILURE() << "no map " << name;
    static const MapDef kNone;
    return kNone;
  }
  static const Program& Prog(const Object& object, const std::string& name) {
    for (const Program& program : object.programs) {
      if (program.name == name) return program;
    }
    ADD_FAILURE() << "no program " << name;
    static const Program kNone;
    return kNone;
  }
};

TEST_F(CompiledObjectTest, BtfDefinedMapsHaveTheirSizesTypesAndFields) {
  auto object = LoadFile("maps.o");
  const MapDef& locked = Map(*object, "locked");
  EXPECT_EQ(locked.type, MapType::kHash);
  EXPECT_EQ(locked.key_size, 4u);
  EXPECT_EQ(locked.value_size, 24u);
  EXPECT_EQ(locked.max_entries, 64u);
  EXPECT_NE(locked.btf_key_type_id, 0u);
  ASSERT_EQ(locked.fields.size(), 2u);
  EXPECT_EQ(locked.fields[0].kind, SpecialField::kSpinLock);
  EXPECT_EQ(locked.fields[1].kind, SpecialField::kTimer);
  EXPECT_EQ(locked.fields[1].offset, 8u);
  ASSERT_EQ(Map(*object, "holders").fields.size(), 1u);
  EXPECT_EQ(Map(*object, "holders").fields[0].kind, SpecialField::kKptrTrusted);
  EXPECT_EQ(Map(*object, "events").max_entries, 8192u);
  EXPECT_EQ(Map(*object, "jumps").value_size, 4u);
}

TEST_F(CompiledObjectTest, MapsInMapsKnowTheirInnerOnes) {
  auto object = LoadFile("maps.o");
  const MapDef& outer = Map(*object, "outer");
  ASSERT_GE(outer.inner, 0);
  EXPECT_EQ(object->maps[outer.inner].max_entries, 4u);
  const MapDef& anonymous = Map(*object, "outer_anonymous");
  ASSERT_GE(anonymous.inner, 0);
  EXPECT_EQ(object->maps[anonymous.inner].type, MapType::kHash);
  EXPECT_EQ(object->maps[anonymous.inner].value_size, 2u);
  const MapDef& unknown = Map(*object, "outer_unknown");
  ASSERT_GE(unknown.inner, 0);
  EXPECT_TRUE(object->maps[unknown.inner].is_inner_template);
}

TEST_F(CompiledObjectTest, GlobalVariablesKeepTheirValues) {
  auto object = LoadFile("maps.o");
  EXPECT_EQ(Map(*object, "maps.rodata").data, (std::vector<uint8_t>{42, 0, 0, 0}));
  EXPECT_EQ(Map(*object, "maps.data").data, (std::vector<uint8_t>{7, 0, 0, 0}));
  EXPECT_TRUE(Map(*object, ".rodata.names").frozen);
  EXPECT_NE(Map(*object, "maps.data").flags & kMapMmapable, 0u);
}

TEST_F(CompiledObjectTest, SubprogramsCarryLinkageAndSourceLines) {
  auto object = LoadFile("subprogs.o");
  const Program& first = Prog(*object, "first");
  ASSERT_EQ(first.broken, "");
  std::map<std::string, bool> global;
  for (const Subprog& subprog : first.subprogs) {
    EXPECT_NE(subprog.btf_func_id, 0u) << subprog.name;
    global[subprog.name] = subprog.global;
  }
  EXPECT_EQ(
      global,
      (std::map<std::string, bool>{
          {"first", true}, {"shared", true}, {"middle", false}, {"leaf", false}, {"hidden", false}, {"weak", true}}));
  ASSERT_FALSE(first.lines.empty());
  EXPECT_EQ(first.lines[0].insn, 0u);
  EXPECT_THAT(first.lines[0].file, HasSubstr("subprogs.bpf.c"));
  EXPECT_THAT(first.lines[0].text, HasSubstr("int first("));
  EXPECT_EQ(object->kern_version, 0x61200u);
}

TEST_F(CompiledObjectTest, CallbackIsAddressedAndAppended) {
  auto object = LoadFile("subprogs.o");
  const Program& second = Prog(*object, "second");
  ASSERT_EQ(second.broken, "");
  bool found = false;
  for (size_t i = 0; i < second.insns.size(); ++i) {
    if (!IsPseudoFunc(second.insns[i])) continue;
    const uint32_t start = static_cast<uint32_t>(static_cast<int64_t>(i) + second.insns[i].imm + 1);
    for (const Subprog& subprog : second.subprogs) found |= subprog.start == start && subprog.name == "callback";
  }
  EXPECT_TRUE(found);
}

TEST_F(CompiledObjectTest, SectionNamesTellTypeAndFlags) {
  auto object = LoadFile("subprogs.o");
  const Program& third = Prog(*object, "third");
  EXPECT_FALSE(third.autoload);
  EXPECT_TRUE(third.has_frags);
  EXPECT_EQ(Prog(*object, "alone").attach_target, "do_nothing");
  EXPECT_FALSE(Prog(*object, "unknown").type_known);
}

TEST_F(CompiledObjectTest, ExternsResolveAgainstTheKernelGiven) {
  auto object = LoadFile("externs.o", BPFSIEVE_TESTDATA "/core_kernel.o");
  const Program& present = Prog(*object, "present");
  ASSERT_EQ(present.broken, "");
  ASSERT_EQ(present.externs.size(), 2u);
  for (const Extern& symbol : present.externs) EXPECT_NE(symbol.btf_id, 0u) << symbol.name;
  EXPECT_EQ(Prog(*object, "weak_absent").broken, "");
  EXPECT_THAT(Prog(*object, "strong_absent").broken, HasSubstr("bpf_no_such_strong_function"));
  EXPECT_THAT(Prog(*object, "strong_config").broken, HasSubstr("CONFIG_STRONG_AND_ABSENT"));
}

TEST_F(CompiledObjectTest, AbsentWeakFunctionIsAnImpossibleHelper) {
  auto object = LoadFile("externs.o", BPFSIEVE_TESTDATA "/core_kernel.o");
  int calls = 0;
  for (const Insn& insn : Prog(*object, "weak_absent").insns) {
    if (insn.code != kCodeCall) continue;
    ++calls;
    EXPECT_TRUE(IsHelperCall(insn));
    EXPECT_GE(insn.imm, 2002000000);
  }
  EXPECT_EQ(calls, 1);
}

TEST_F(CompiledObjectTest, ConfigurationIsAFrozenMapWithAbsentOptionsZero) {
  auto object = LoadFile("externs.o");
  const MapDef& config = Map(*object, "externs.kconfig");
  EXPECT_TRUE(config.frozen);
  EXPECT_EQ(Prog(*object, "configured").broken, "");
  // By falling alignment: CONFIG_STRONG_AND_ABSENT (8), LINUX_KERNEL_VERSION (4), then single bytes.
  ASSERT_EQ(config.data.size(), 21u);
  uint32_t version = 0;
  std::memcpy(&version, config.data.data() + 8, sizeof version);
  EXPECT_GE(version, uint32_t{3} << 16);
  EXPECT_EQ(config.data[12], 0);
}

TEST_F(CompiledObjectTest, CoreRelocationsTakeTheKernelsValues) {
  auto object = LoadFile("core.o", BPFSIEVE_TESTDATA "/core_kernel.o");
  // Values that the program stores, in the order of its stores: out.v[i].
  auto stored = [&](const std::string& name) {
    const Program& program = Prog(*object, name);
    EXPECT_EQ(program.broken, "");
    std::map<int, int64_t> registers;
    std::map<int, int64_t> values;
    for (const Insn& insn : program.insns) {
      if (insn.code == (kClassAlu64 | kMov | kSrcK) || insn.code == (kClassAlu | kMov | kSrcK)) {
        registers[insn.dst] = insn.imm;
      }
      if (insn.code == (kClassStx | kModeMem | kSizeDw)) values[insn.off / 8] = registers[insn.src];
      if (insn.code == kCodeLdImm64 && insn.src == 0) registers[insn.dst] = insn.imm;
    }
    return values;
  };
  std::map<int, int64_t> fields = stored("fields");
  EXPECT_EQ(fields[0], 8);    // a
  EXPECT_EQ(fields[1], 28);   // moved
  EXPECT_EQ(fields[2], 2);    // narrow has grown
  EXPECT_EQ(fields[3], 0);    // missing
  EXPECT_EQ(fields[4], 1);
  EXPECT_EQ(fields[7], 72);   // renamed
  std::map<int, int64_t> types = stored("types");
  EXPECT_EQ(types[0], 1);
  EXPECT_EQ(types[1], 0);
  EXPECT_EQ(types[2], 80);
  EXPECT_EQ(types[3], 1);
  EXPECT_EQ(types[4], 0);
  EXPECT_EQ(types[5], 1);
  EXPECT_EQ(types[6], 0);
  EXPECT_EQ(types[7], 77);
}

TEST_F(CompiledObjectTest, LoadsFollowTheirFieldsSize) {
  auto object = LoadFile("core.o", BPFSIEVE_TESTDATA "/core_kernel.o");
  const Program& loads = Prog(*object, "loads");
  ASSERT_EQ(loads.broken, "");
  bool halfword = false;
  for (const Insn& insn : loads.insns) halfword |= insn.code == (kClassLdx | kModeMem | kSizeH);
  EXPECT_TRUE(halfword);
}

TEST_F(CompiledObjectTest, WithoutKernelTypesCoreProgramsAreBroken) {
  auto object = LoadFile("core.o");
  EXPECT_THAT(Prog(*object, "fields").broken, HasSubstr("no kernel BTF"));
}

TEST_F(CompiledObjectTest, LegacyObjectIsReadAsItsLoaderDid) {
  auto object = LoadFile("legacy.o");
  EXPECT_EQ(Prog(*object, "main_prog").type, ProgType::kXdp);
  EXPECT_FALSE(Prog(*object, "tail").type_known);
  EXPECT_EQ(Map(*object, "ports").value_size, 8u);
  ASSERT_GE(Map(*object, "nested").inner, 0);
  EXPECT_EQ(object->maps[Map(*object, "nested").inner].name, "ports");
}

}  // namespace
}  // namespace bpfsieve
