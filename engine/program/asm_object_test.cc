#include "engine/program/asm_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "engine/program/load.h"
#include "engine/program/type_names.h"

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<Object> Load(std::string_view text, const LoadOptions& options = {}) {
  auto object = LoadAsmObject(text, "dir/x.bpfasm", options);
  EXPECT_TRUE(object.ok()) << object.status();
  return object.ok() ? *object : std::make_shared<Object>();
}

std::string ErrorOf(std::string_view text) {
  auto object = LoadAsmObject(text, "x.bpfasm", {});
  return object.ok() ? "loaded" : std::string(object.status().message());
}

TEST(LoadAsmObject, TextWithoutDirectivesIsOneProgramOfUnknownType) {
  auto object = Load("r0 = 0\nexit\n");
  ASSERT_EQ(object->programs.size(), 1u);
  const Program& program = object->programs[0];
  EXPECT_EQ(program.name, "prog");
  EXPECT_FALSE(program.type_known);
  EXPECT_EQ(program.insns.size(), 2u);
  ASSERT_EQ(program.subprogs.size(), 1u);
  EXPECT_EQ(program.subprogs[0].start, 0u);
  EXPECT_EQ(program.broken, "");
}

TEST(LoadAsmObject, DefaultTypeFillsIn) {
  LoadOptions options;
  options.default_type = "xdp";
  EXPECT_EQ(Load("exit", options)->programs[0].type, ProgType::kXdp);
  EXPECT_EQ(Load(".type kprobe\nexit", options)->programs[0].type, ProgType::kKprobe);
  options.default_type = "nonsense";
  EXPECT_FALSE(LoadAsmObject("exit", "x", options).ok());
}

TEST(LoadAsmObject, SettingsInFrontOfTheFirstProgramAreDefaults) {
  auto object = Load(
      ".license Dual BSD/GPL ; both\n.type cgroup_skb\n.attach cgroup_inet_egress\n.flags strict_alignment\n"
      ".prog a\nexit\n"
      ".prog b\n.attach cgroup_inet_ingress\n.flags sleepable any_alignment test_state_freq frags\nexit\nexit\n");
  EXPECT_EQ(object->license, "Dual BSD/GPL");
  ASSERT_EQ(object->programs.size(), 2u);
  const Program& a = object->programs[0];
  const Program& b = object->programs[1];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.type, ProgType::kCgroupSkb);
  EXPECT_EQ(a.attach, AttachType::kCgroupInetEgress);
  EXPECT_TRUE(a.strict_alignment);
  EXPECT_FALSE(a.sleepable);
  EXPECT_EQ(b.type, ProgType::kCgroupSkb);
  EXPECT_EQ(b.attach, AttachType::kCgroupInetIngress);
  EXPECT_TRUE(b.strict_alignment && b.sleepable && b.any_alignment && b.test_state_freq && b.has_frags);
  EXPECT_EQ(b.insns.size(), 2u);
}

TEST(LoadAsmObject, MapsBecomeIndices) {
  auto object = Load(
      ".map inner type=array key=4 value=4 entries=1 template\n"
      ".map outer type=array_of_maps key=4 value=4 entries=2 inner=inner\n"
      ".map ro type=array key=4 value=4 entries=1 flags=0x80 extra=0x100000000 frozen data=2A0000fe\n"
      "r1 = map[outer] ll\nr2 = map[ro]+2 ll\nexit");
  ASSERT_EQ(object->maps.size(), 3u);
  EXPECT_TRUE(object->maps[0].is_inner_template);
  EXPECT_EQ(object->maps[1].type, MapType::kArrayOfMaps);
  EXPECT_EQ(object->maps[1].inner, 0);
  EXPECT_EQ(object->maps[1].max_entries, 2u);
  EXPECT_EQ(object->maps[2].flags, 0x80u);
  EXPECT_EQ(object->maps[2].extra, 0x100000000u);
  EXPECT_TRUE(object->maps[2].frozen);
  EXPECT_EQ(object->maps[2].data, (std::vector<uint8_t>{0x2a, 0, 0, 0xfe}));
  const Program& program = object->programs[0];
  EXPECT_EQ(program.insns[0].src, kPseudoMapFd);
  EXPECT_EQ(program.insns[0].imm, 1);
  EXPECT_EQ(program.insns[2].src, kPseudoMapValue);
  EXPECT_EQ(program.insns[2].imm, 2);
  EXPECT_EQ(program.insns[3].imm, 2);
}

TEST(LoadAsmObject, MapFieldsAreSortedByOffset) {
  auto object = Load(".map m type=hash key=4 value=32 entries=1 field=timer@8 field=spin_lock@0\nexit");
  ASSERT_EQ(object->maps[0].fields.size(), 2u);
  EXPECT_EQ(object->maps[0].fields[0].kind, SpecialField::kSpinLock);
  EXPECT_EQ(object->maps[0].fields[1].kind, SpecialField::kTimer);
  EXPECT_EQ(object->maps[0].fields[1].offset, 8u);
  EXPECT_EQ(object->maps[0].fields[1].size, 16u);
}

TEST(LoadAsmObject, FunctionsThatAreCalledAreSubprograms) {
  auto object = Load(
      ".prog p\ncall f\ncall g\nr1 = func[h] ll\nexit\n"
      ".func f\nexit\n.func g global ; by its prototype\nr0 = 0\nexit\nh: exit\n.func unused\nexit\n");
  const auto& subprogs = object->programs[0].subprogs;
  ASSERT_EQ(subprogs.size(), 4u);
  EXPECT_EQ(subprogs[0].name, "p");
  EXPECT_EQ(subprogs[1].name, "f");
  EXPECT_EQ(subprogs[1].start, 5u);
  EXPECT_FALSE(subprogs[1].global);
  EXPECT_EQ(subprogs[2].name, "g");
  EXPECT_TRUE(subprogs[2].global);
  EXPECT_EQ(subprogs[3].name, "h");
  EXPECT_EQ(subprogs[3].start, 8u);
}

TEST(LoadAsmObject, FunctionsMayBeNamedLikeInstructions) {
  auto object = Load("call exit\nexit\n.func exit\nexit\n");
  EXPECT_EQ(object->programs[0].insns.size(), 3u);
  EXPECT_EQ(object->programs[0].insns[0].imm, 1);
}

TEST(LoadAsmObject, FunctionsAndLabelsAreLocalToTheirProgram) {
  auto object = Load(".prog a\nx: goto x\n.func f\nexit\n.prog b\nx: goto x\n.func f\nexit\n");
  EXPECT_EQ(object->programs[1].insns.size(), 2u);
  EXPECT_THAT(ErrorOf(".prog a\nx: exit\n.prog b\ngoto x"), HasSubstr("line 4: no label 'x'"));
}

TEST(LoadAsmObject, ExternsAreCollected) {
  auto object =
      Load("call kfunc[bpf_rcu_read_lock]\nr1 = ksym[bpf_prog_active] ll\ncall kfunc[bpf_rcu_read_lock]\nexit");
  const Program& program = object->programs[0];
  ASSERT_EQ(program.externs.size(), 2u);
  EXPECT_EQ(program.externs[0].name, "bpf_rcu_read_lock");
  EXPECT_EQ(program.externs[1].kind, Extern::Kind::kVar);
  EXPECT_EQ(program.insns[3].imm, 0);
  EXPECT_EQ(program.broken, "");
}

TEST(LoadAsmObject, LinesPointIntoTheFile) {
  auto object = Load(".type xdp\n.prog p\n\n  r1 = 1 ll ; one\n.note nothing\n  exit\n");
  const auto& lines = object->programs[0].lines;
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].line, 4u);
  EXPECT_EQ(lines[0].file, "dir/x.bpfasm");
  EXPECT_EQ(lines[0].text, "r1 = 1 ll ; one");
  EXPECT_EQ(lines[1].insn, 2u);
  EXPECT_EQ(lines[1].line, 6u);
}

TEST(LoadAsmObject, ReferencesThatLeadNowhereBreakTheProgram) {
  EXPECT_EQ(Load("exit\nr1 = map[0] ll\n")->programs[0].broken, "instruction 1: there is no map 0");
  EXPECT_EQ(Load("r1 = map[-2]+4 ll\n")->programs[0].broken, "instruction 0: there is no map -2");
  EXPECT_EQ(Load("call kfunc[2]")->programs[0].broken, "instruction 0: there is no kernel function 2");
  EXPECT_EQ(Load("r1 = ksym[2]")->programs[0].broken, "instruction 0: there is no kernel variable 2");
  EXPECT_EQ(Load("r1 = map_idx[0]")->programs[0].broken, "instruction 0: there is no file descriptor array");
  EXPECT_EQ(Load(".insn code=0x18 src=1 imm=7")->programs[0].broken, "instruction 0: there is no map 7");
}

TEST(LoadAsmObject, MapMinusOneIsNoMapOnPurpose) {
  auto object = Load("r1 = map[-1] ll\n");
  EXPECT_EQ(object->programs[0].broken, "");
  EXPECT_EQ(object->programs[0].insns[0].imm, -1);
}

TEST(LoadAsmObject, AnAttachTargetIsKept) {
  auto object = Load(".type lsm\n.attach lsm_mac\n.attach_target file_open\n.prog a\nexit\n.prog b\n"
                     ".attach_target bprm_committed_creds\nexit");
  EXPECT_EQ(object->programs[0].attach_target, "file_open");
  EXPECT_EQ(object->programs[1].attach_target, "bprm_committed_creds");
}

TEST(LoadAsmObject, AWeakExternMayBeMissing) {
  auto object = Load("call kfunc[f]\ncall kfunc[g]\nexit\n.weak g\n");
  EXPECT_FALSE(object->programs[0].externs[0].weak);
  EXPECT_TRUE(object->programs[0].externs[1].weak);
}

TEST(LoadAsmObject, APointerFieldNamesItsStructure) {
  auto object =
      Load(".map m type=array key=4 value=24 entries=1 field=kptr@8:task_struct field=kptr_untrusted@16\nexit");
  const MapDef& map = object->maps[0];
  ASSERT_EQ(map.fields.size(), 2u);
  EXPECT_EQ(map.fields[0].offset, 8u);
  EXPECT_EQ(map.fields[0].target, "task_struct");
  EXPECT_EQ(map.fields[1].target, "");
  EXPECT_THAT(ErrorOf(".map m type=array value=24 field=kptr@8:"), HasSubstr("is not a field"));
}

TEST(LoadAsmObject, ErrorsTellTheLine) {
  EXPECT_EQ(ErrorOf("exit\n.frob"), "line 2: no directive '.frob'");
  EXPECT_EQ(ErrorOf("\n.type bogus"), "line 2: no program type 'bogus'");
  EXPECT_EQ(ErrorOf(".attach bogus"), "line 1: no attach type 'bogus'");
  EXPECT_EQ(ErrorOf(".flags bogus"), "line 1: no flag 'bogus'");
  EXPECT_EQ(ErrorOf(".map m key=4"), "line 1: a map needs type=");
  EXPECT_EQ(ErrorOf(".map m type=hash key=4294967296"), "line 1: '4294967296' is not a number that fits key");
  EXPECT_EQ(ErrorOf(".map m type=hash\n.map m type=hash"), "line 2: map 'm' is defined twice");
  EXPECT_EQ(ErrorOf(".map m type=hash value=4 field=timer@0"), "line 1: a field reaches past the end of what it is in");
  EXPECT_EQ(ErrorOf(".map m type=hash value=32 field=timer@0 field=timer@8"),
            "line 1: fields overlap");
  EXPECT_EQ(ErrorOf(".map m type=hash value=4 data=00"), "line 1: data= must give the value's every byte");
  EXPECT_EQ(ErrorOf(".map m type=array_of_maps inner=x"), "no inner map 'x'");
  EXPECT_EQ(ErrorOf("exit\n.prog p\nexit"), "line 1: instructions in front of the first .prog");
  EXPECT_EQ(ErrorOf(".prog p\n.prog p"), "line 2: program 'p' is defined twice");
  EXPECT_EQ(ErrorOf(".prog p\n.func f\n.func f"), "line 3: function 'f' is defined twice");
  EXPECT_EQ(ErrorOf(".prog p\nexit\nbad"), "line 3: expected an instruction before 'bad'");
  EXPECT_EQ(ErrorOf(".func \"f\""), "line 1: .func needs a name, and may say 'global' and what it takes");
  EXPECT_EQ(ErrorOf(".license \"GPL"), "line 1: a quoted text does not end");
}

TEST(ParseAsmExpectations, EveryVerdict) {
  auto expectations = ParseAsmExpectations(
      ".prog a\n.expect accept\n.prog b\n.expect reject mem-type \"say \\\"x\\\"\" ; why\n"
      ".prog c\n.expect limit limit-insns\n.prog d\n.expect unsupported \"timer\"\n.prog e\n.expect invalid\n"
      ".prog f\nnot even an instruction\n");
  ASSERT_TRUE(expectations.ok()) << expectations.status();
  ASSERT_EQ(expectations->size(), 5u);
  EXPECT_EQ((*expectations)[0].program, "a");
  EXPECT_EQ((*expectations)[0].verdict, Verdict::kAccept);
  EXPECT_EQ((*expectations)[1].rule, Rule::kInvalidMem);
  EXPECT_EQ((*expectations)[1].message, "say \"x\"");
  EXPECT_EQ((*expectations)[2].verdict, Verdict::kLimit);
  EXPECT_EQ((*expectations)[2].rule, Rule::kTooComplex);
  EXPECT_EQ((*expectations)[3].verdict, Verdict::kUnsupported);
  EXPECT_EQ((*expectations)[3].message, "timer");
  EXPECT_EQ((*expectations)[4].verdict, Verdict::kInvalid);
}

TEST(ParseAsmExpectations, ProgramsInheritAndOverride) {
  auto expectations = ParseAsmExpectations(".expect accept\n.prog a\n.prog b\n.expect invalid\n");
  ASSERT_TRUE(expectations.ok()) << expectations.status();
  ASSERT_EQ(expectations->size(), 2u);
  EXPECT_EQ((*expectations)[0].verdict, Verdict::kAccept);
  EXPECT_EQ((*expectations)[1].verdict, Verdict::kInvalid);
}

TEST(ParseAsmExpectations, WithoutCapabilities) {
  auto expectations = ParseAsmExpectations(
      ".expect without bpf invalid\n.expect accept\n.prog a\n.expect without perfmon reject ptr-leak \"x\"\n.prog b\n"
      ".expect without bpf accept\n");
  ASSERT_TRUE(expectations.ok()) << expectations.status();
  std::string text;
  for (const AsmExpectation& e : *expectations) {
    absl::StrAppend(&text, e.program, " ", e.without, " ", std::string(VerdictName(e.verdict)), "; ");
  }
  EXPECT_EQ(text, "a  accept; a bpf invalid; a perfmon reject; b  accept; b bpf accept; ");
}

TEST(ParseAsmExpectations, AlternativesOfTheSameVerdict) {
  auto expectations = ParseAsmExpectations(".prog a\n.expect reject mem-type \"a|b\" | reject mem-null \"c\" ; why\n");
  ASSERT_TRUE(expectations.ok()) << expectations.status();
  const AsmExpectation& first = expectations->front();
  EXPECT_EQ(first.rule, Rule::kInvalidMem);
  EXPECT_EQ(first.message, "a|b");
  ASSERT_EQ(first.alternatives.size(), 1u);
  EXPECT_EQ(first.alternatives[0].program, "a");
  EXPECT_EQ(first.alternatives[0].rule, Rule::kNullDeref);
  EXPECT_EQ(first.alternatives[0].message, "c");
}

TEST(ParseAsmExpectations, ErrorsTellTheLine) {
  auto error = [](std::string_view text) { return std::string(ParseAsmExpectations(text).status().message()); };
  EXPECT_EQ(error(".expect"), "line 1: .expect needs a verdict");
  EXPECT_EQ(error(".expect maybe"), "line 1: no verdict 'maybe'");
  EXPECT_EQ(error(".expect reject"), "line 1: .expect reject needs a rule");
  EXPECT_EQ(error(".expect reject no-such-rule"), "line 1: no rule 'no-such-rule'");
  EXPECT_EQ(error(".expect accept \"x\""), "line 1: unexpected 'x' in .expect");
  EXPECT_EQ(error(".expect accept | invalid"), "line 1: alternatives in .expect must be of the same verdict");
  EXPECT_EQ(error(".expect reject mem-type |"), "line 1: .expect needs a verdict");
  EXPECT_EQ(error(".expect accept\n.expect accept"), "line 2: a second .expect for the same program");
  EXPECT_EQ(error(".expect without bpf accept\n.expect without bpf accept"),
            "line 2: a second .expect for the same program");
  EXPECT_EQ(error(".expect without root accept"), "line 1: .expect without takes perfmon or bpf");
  EXPECT_EQ(error(".expect without"), "line 1: no verdict 'without'");
}

TEST(TypeNames, NamesAndNumbersAreInverse) {
  for (uint32_t i = 0; i < kProgTypeCount; ++i) {
    EXPECT_EQ(ProgTypeFromName(ProgTypeName(ProgType{i})), ProgType{i});
  }
  for (uint32_t i = 0; i < kAttachTypeCount; ++i) {
    EXPECT_EQ(AttachTypeFromName(AttachTypeName(AttachType{i})), AttachType{i});
  }
  for (uint32_t i = 0; i < kMapTypeCount; ++i) EXPECT_EQ(MapTypeFromName(MapTypeName(MapType{i})), MapType{i});
  EXPECT_EQ(ProgTypeName(ProgType::kSchedCls), "sched_cls");
  EXPECT_EQ(AttachTypeName(AttachType::kCgroupInet6Getsockname), "cgroup_inet6_getsockname");
  EXPECT_EQ(AttachTypeName(AttachType::kTcxEgress), "tcx_egress");
  EXPECT_EQ(MapTypeName(MapType::kLpmTrie), "lpm_trie");
  EXPECT_EQ(MapTypeName(MapType{kMapTypeCount}), "");
  EXPECT_FALSE(ProgTypeFromName("bogus"));
}

TEST(LoadAsmObject, DamagedTextEndsInAnObjectOrAStatus) {
  const std::string text =
      ".license GPL\n.map m type=hash key=4 value=32 entries=1 field=timer@8\n.map o type=array_of_maps inner=m\n"
      ".prog a\n.type xdp\n.expect reject mem-type \"x\"\nr1 = map[m] ll\ncall f\nexit\n.func f global\nexit\n";
  std::mt19937 random(7);
  int loaded = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = text;
    for (int k = 0; k < 2; ++k) {
      const size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0: damaged[at] = static_cast<char>(random()); break;
        case 1: damaged.erase(at, random() % 8); break;
        default: damaged.insert(at, text.substr(random() % text.size(), random() % 8)); break;
      }
    }
    loaded += LoadAsmObject(damaged, "x", {}).ok();
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, 2000);
}

}  // namespace
}  // namespace bpfsieve
