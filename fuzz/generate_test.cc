#include "fuzz/generate.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bpfsieve/verify.h"
#include "engine/isa/decode.h"
#include "engine/isa/insn.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

// Loops that do not end are among the defects: they need not be followed for a million instructions.
VerifyOptions Short() {
  VerifyOptions options;
  options.max_processed = 20'000;
  return options;
}

double AcceptedShare(const GenerateOptions& options, uint64_t first_seed, int count) {
  int accepted = 0;
  for (int i = 0; i < count; ++i) {
    const ObjectFile file(Generate(first_seed + static_cast<uint64_t>(i), options));
    accepted += Verify(file, 0, Short()).verdict == "accept";
  }
  return static_cast<double>(accepted) / count;
}

TEST(Generate, IsAFunctionOfItsBytes) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<uint8_t> bytes = SeedBytes(seed, 8000);
    const std::shared_ptr<Object> a = Generate(bytes, {}), b = Generate(bytes, {}), c = Generate(seed, {});
    EXPECT_EQ(AsmFileText(*a, ""), AsmFileText(*b, ""));
    EXPECT_EQ(AsmFileText(*a, ""), AsmFileText(*c, "")) << "the seed's own bytes are not enough: " << seed;
  }
  EXPECT_NE(AsmFileText(*Generate(uint64_t{1}, {}), ""), AsmFileText(*Generate(uint64_t{2}, {}), ""));
}

// splitmix64's published first outputs for the seed 0: a seed means the same on every machine and for good.
TEST(Generate, SeedsAreExpandedByAFixedRule) {
  const std::vector<uint8_t> bytes = SeedBytes(0, 10);
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0xaf, 0xcd, 0x1d, 0x7b, 0x39, 0xa8, 0x20, 0xe2, 0xf4, 0x65}));
}

TEST(Generate, AnyBytesMakeAProgramWhoseTextIsInOrder) {
  GenerateOptions options;
  for (const double broken : {0.0, 0.3, 1.0}) {
    options.broken = broken;
    for (uint64_t seed = 0; seed < 300; ++seed) {
      // Short inputs, as a fuzzer has them: what is missing counts as zeros.
      const std::shared_ptr<Object> object = Generate(SeedBytes(seed, seed * 2), options);
      const Program& program = object->programs.at(0);
      ASSERT_GE(program.insns.size(), 2u);
      EXPECT_FALSE(CheckEncoding(program.insns.data(), program.insns.size()).has_value()) << seed;
      const Report report = Verify(ObjectFile(object), 0, Short());
      EXPECT_NE(report.verdict, "invalid") << seed;
      EXPECT_NE(report.rule, "unreachable") << seed;
    }
  }
}

TEST(Generate, MostAreAcceptedUnlessAskedOtherwise) {
  GenerateOptions options;
  EXPECT_GT(AcceptedShare(options, 0, 1500), 0.5);
  EXPECT_LT(AcceptedShare(options, 0, 1500), 0.9);
  options.broken = 0;
  EXPECT_GT(AcceptedShare(options, 10'000, 1000), 0.98);
  options.broken = 1;
  EXPECT_LT(AcceptedShare(options, 20'000, 1000), 0.15);
}

TEST(Generate, HasWhatRealProgramsHave) {
  std::set<int> opcodes, helpers;
  std::set<ProgType> types;
  std::set<MapType> maps;
  std::set<std::string> kfuncs, prototypes;
  size_t sleepable = 0;
  size_t insns = 0, with_static = 0, with_global = 0, with_back_edge = 0, context = 0, memory = 0, may_goto = 0;
  constexpr int kCount = 1000;
  for (uint64_t seed = 0; seed < kCount; ++seed) {
    const std::shared_ptr<Object> object = Generate(seed, {});
    const Program& program = object->programs[0];
    insns += program.insns.size();
    types.insert(program.type);
    sleepable += program.sleepable;
    for (const MapDef& map : object->maps) maps.insert(map.type);
    with_static += program.subprogs.size() > 1 && !program.subprogs[1].global;
    for (const Subprog& sub : program.subprogs) {
      with_global += sub.global;
      prototypes.insert(sub.prototype);
      context += sub.prototype.find("ctx") != std::string::npos;
      memory += sub.prototype.find(':') != std::string::npos;
    }
    for (const Extern& function : program.externs) kfuncs.insert(function.name);
    bool back = false;
    for (const Insn& i : program.insns) {
      opcodes.insert(i.code);
      if (IsHelperCall(i)) helpers.insert(i.imm);
      may_goto += IsMayGoto(i);
      back |= IsJmpClass(i) && JmpOp(i) != kCall && i.off < 0;
    }
    with_back_edge += back;
  }
  EXPECT_GE(insns / kCount, 30u);
  EXPECT_GE(types.size(), 15u);
  EXPECT_GE(maps.size(), 15u);
  EXPECT_GE(opcodes.size(), 85u);
  EXPECT_GE(helpers.size(), 60u);
  for (const int used : {1, 2, 3, 5, 7, 12, 26, 44, 84, 86, 93, 94, 130, 131, 132, 133, 164, 181, 182, 189}) {
    EXPECT_EQ(helpers.count(used), 1u) << used;
  }
  EXPECT_GT(with_static, kCount / 20u);
  EXPECT_GT(with_global, kCount / 50u);
  EXPECT_GT(with_back_edge, kCount / 3u);
  EXPECT_GT(context, kCount / 200u);
  EXPECT_GT(memory, kCount / 100u);
  EXPECT_GT(may_goto, kCount / 100u);
  for (const char* used : {"bpf_iter_num_next", "bpf_throw", "bpf_rcu_read_lock", "bpf_preempt_enable", "bpf_local_irq_save",
                           "bpf_dynptr_from_xdp", "bpf_dynptr_from_skb", "bpf_dynptr_slice", "bpf_dynptr_slice_rdwr",
                           "bpf_dynptr_clone", "bpf_dynptr_copy", "bpf_wq_start", "bpf_obj_new_impl", "bpf_obj_drop_impl",
                           "bpf_list_push_front_impl", "bpf_list_pop_back", "bpf_rbtree_add_impl", "bpf_rbtree_remove",
                           "bpf_refcount_acquire_impl", "bpf_percpu_obj_new_impl", "bpf_task_acquire", "bpf_task_from_pid",
                           "bpf_cgroup_release", "bpf_cast_to_kern_ctx", "bpf_ct_release", "bpf_iter_bits_next",
                           "bpf_iter_task_vma_next"}) {
    EXPECT_EQ(kfuncs.count(used), 1u) << used;
  }
  for (const ProgType used : {ProgType::kLsm, ProgType::kStructOps, ProgType::kTracing, ProgType::kNetfilter}) {
    EXPECT_EQ(types.count(used), 1u) << ProgTypeName(used);
  }
  for (const char* used : {"dynptr", "trusted:task_struct", "arena", "tagged:xdp_md"}) {
    EXPECT_EQ(prototypes.count(used), 1u) << used;
  }
  EXPECT_EQ(maps.count(MapType::kArena), 1u);
  EXPECT_GT(sleepable, 0u);
}

TEST(Generate, OptionsLimitWhatIsMade) {
  GenerateOptions options;
  options.maps = false;
  options.subprograms = false;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::shared_ptr<Object> object = Generate(seed, options);
    EXPECT_TRUE(object->maps.empty());
    EXPECT_EQ(object->programs[0].subprogs.size(), 1u);
  }
}

TEST(Generate, BigOnesAreBig) {
  size_t insns = 0, processed = 0;
  constexpr int kCount = 10;
  for (uint64_t seed = 0; seed < kCount; ++seed) {
    const std::shared_ptr<Object> object = Generate(seed, GenerateOptions::Big());
    insns += object->programs[0].insns.size();
    processed += Verify(ObjectFile(object), 0, Short()).stats.total_insns;
  }
  EXPECT_GE(insns / kCount, 1500u);
  EXPECT_GE(processed / kCount, 5000u);
}

TEST(WriteAsm, ReadsBackAsTheSameProgram) {
  GenerateOptions options;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    options.broken = seed % 2 == 0 ? 0.05 : 0.4;
    options.kernel_objects = false;  // the kernel's types are not part of the text
    const ObjectFile made(Generate(seed, options));
    const std::string text = AsmFileText(made.object(), "a note");
    const absl::StatusOr<ObjectFile> read = ObjectFile::Parse(text, "made.bpfasm", {.kernel_btf = "none"});
    ASSERT_TRUE(read.ok()) << read.status() << "\n" << text;
    const Object& a = made.object();
    const Object& b = read->object();
    ASSERT_EQ(b.programs.size(), 1u);
    const Program& p = a.programs[0];
    const Program& q = b.programs[0];
    EXPECT_TRUE(p.insns == q.insns) << text;
    EXPECT_EQ(p.name, q.name);
    EXPECT_EQ(p.type, q.type);
    EXPECT_EQ(p.attach, q.attach);
    EXPECT_EQ(a.license, b.license);
    ASSERT_EQ(p.subprogs.size(), q.subprogs.size());
    for (size_t i = 0; i < p.subprogs.size(); ++i) {
      EXPECT_EQ(p.subprogs[i].start, q.subprogs[i].start);
      EXPECT_EQ(p.subprogs[i].name, q.subprogs[i].name);
      EXPECT_EQ(p.subprogs[i].global, q.subprogs[i].global);
      EXPECT_EQ(p.subprogs[i].prototype, q.subprogs[i].prototype);
      EXPECT_EQ(p.subprogs[i].btf_func_id != 0, q.subprogs[i].btf_func_id != 0);
    }
    ASSERT_EQ(a.maps.size(), b.maps.size());
    for (size_t i = 0; i < a.maps.size(); ++i) {
      EXPECT_EQ(a.maps[i].name, b.maps[i].name);
      EXPECT_EQ(a.maps[i].type, b.maps[i].type);
      EXPECT_EQ(a.maps[i].key_size, b.maps[i].key_size);
      EXPECT_EQ(a.maps[i].value_size, b.maps[i].value_size);
      EXPECT_EQ(a.maps[i].max_entries, b.maps[i].max_entries);
      EXPECT_EQ(a.maps[i].fields.size(), b.maps[i].fields.size());
    }
    // Whether a structure is one of the kernel's depends on its types, too.
    if (!a.text_structs.empty()) continue;
    const Report x = Verify(made, 0, Short()), y = Verify(*read, 0, Short());
    EXPECT_EQ(x.verdict, y.verdict);
    EXPECT_EQ(x.rule, y.rule);
    EXPECT_EQ(x.message, y.message);
    EXPECT_EQ(x.insn, y.insn);
    EXPECT_EQ(x.stats.total_insns, y.stats.total_insns);
  }
}

}  // namespace
}  // namespace bpfsieve
