#include "fuzz/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

// Runs assembly text, `header` with its maps in front, under seed 1..runs; the outcomes' texts, each once.
struct Ran {
  ObjectFile file;
  Machine machine;
};
std::unique_ptr<Ran> Loaded(const std::string& text, const std::string& header = ".type xdp\n") {
  absl::StatusOr<ObjectFile> file = ObjectFile::Parse(header + ".prog p\n" + text, "test.bpfasm", {});
  EXPECT_TRUE(file.ok()) << file.status();
  auto ran = std::make_unique<Ran>(Ran{*std::move(file), {}});
  ran->machine.Load(ran->file.object(), 0);
  return ran;
}
Outcome RunText(const std::string& text, const std::string& header = ".type xdp\n", uint64_t seed = 1) {
  return Loaded(text, header)->machine.Run(seed, 1000, nullptr);
}
// "" where it exits, else the fault.
std::string FaultOf(const std::string& text, const std::string& header = ".type xdp\n") {
  const Outcome out = RunText(text, header);
  return out.kind == Outcome::Kind::kExit ? "" : out.what;
}
uint64_t Result(const std::string& text) {
  const Outcome out = RunText(text + "exit\n");
  EXPECT_EQ(out.kind, Outcome::Kind::kExit) << out.what << "\n" << text;
  return out.r0;
}

TEST(Machine, ArithmeticIsThatOfTheInstructionSet) {
  EXPECT_EQ(Result("r0 = -1\nw0 += 1\n"), 0u);
  EXPECT_EQ(Result("r0 = -1\nr0 s>>= 63\n"), ~uint64_t{0});
  EXPECT_EQ(Result("r0 = -1\nw0 s>>= 31\n"), 0xffffffffu);
  EXPECT_EQ(Result("r0 = 7\nr1 = 0\nr0 /= r1\n"), 0u);
  EXPECT_EQ(Result("r0 = 7\nr1 = 0\nr0 %= r1\n"), 7u);
  EXPECT_EQ(Result("r0 = -7\nr1 = 2\nr0 s/= r1\n"), static_cast<uint64_t>(-3));
  EXPECT_EQ(Result("r0 = -7\nr1 = 2\nw0 s%= w1\n"), 0xffffffffu);
  EXPECT_EQ(Result("r1 = 0x1ff\nr0 = (s8)r1\n"), ~uint64_t{0});
  EXPECT_EQ(Result("r1 = 0x1ff\nw0 = (s8)w1\n"), 0xffffffffu);
  EXPECT_EQ(Result("r0 = 0x1234\nr0 = be16 r0\n"), 0x3412u);
  EXPECT_EQ(Result("r0 = 0x12345\nr0 = le16 r0\n"), 0x2345u);
  EXPECT_EQ(Result("r0 = 1\nr0 = bswap64 r0\n"), uint64_t{1} << 56);
  EXPECT_EQ(Result("r0 = 3\nr0 = -r0\n"), static_cast<uint64_t>(-3));
}

TEST(Machine, DividingTheLeastNumberByMinusOneWraps) {
  EXPECT_EQ(Result("r0 = 1\nr0 <<= 63\nr0 s/= -1\n"), uint64_t{1} << 63);
  EXPECT_EQ(Result("r0 = 1\nr0 <<= 63\nr0 s%= -1\n"), 0u);
  EXPECT_EQ(Result("r0 = 1\nr0 <<= 31\nw0 s/= -1\n"), uint64_t{1} << 31);
}

TEST(Machine, JumpsCompareInTheirWidthAndSign) {
  EXPECT_EQ(Result("r0 = 0\nr1 = -1\nif r1 s< 0 goto +1\nr0 = 1\n"), 0u);
  EXPECT_EQ(Result("r0 = 0\nr1 = -1\nif r1 < 5 goto +1\nr0 = 1\n"), 1u);
  EXPECT_EQ(Result("r0 = 0\nr1 = 1\nr1 <<= 32\nif w1 == 0 goto +1\nr0 = 1\n"), 0u);
  EXPECT_EQ(Result("r0 = 0\nr1 = 6\nif r1 & 4 goto +1\nr0 = 1\n"), 0u);
}

TEST(Machine, AtomicsFetchWhatWasThere) {
  EXPECT_EQ(Result("r1 = 5\n*(u64 *)(r10 -8) = 7\nr1 = atomic64_fetch_add((u64 *)(r10 -8), r1)\nr0 = r1\n"), 7u);
  EXPECT_EQ(Result("r1 = 5\n*(u64 *)(r10 -8) = 7\nr0 = 7\nr0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)\n"
                   "r0 = *(u64 *)(r10 -8)\n"), 5u);
}

TEST(Machine, AtomicsOf32BitsLeaveTheRestAlone) {
  const std::string set = "r2 = 0x1122334455667788 ll\n*(u64 *)(r10 -8) = r2\n";
  EXPECT_EQ(Result(set + "r1 = -1\nr1 = atomic_fetch_add((u32 *)(r10 -8), r1)\nr0 = r1\n"), 0x55667788u);
  EXPECT_EQ(Result(set + "r1 = 0xffffffff88 ll\nr1 = atomic_xchg((u32 *)(r10 -8), r1)\nr0 = *(u64 *)(r10 -8)\n"),
            0x11223344ffffff88u);
  EXPECT_EQ(Result(set + "r0 = 1\nr1 = 5\nr0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r1)\n"), 0x55667788u);
}

TEST(Machine, AcquireAndReleaseLoadAndStore) {
  EXPECT_EQ(Result("r1 = 0x1ff\nstore_release((u8 *)(r10 -8), r1)\nr0 = load_acquire((u8 *)(r10 -8))\n"), 0xffu);
}

TEST(Machine, LoadsExtendTheSignWhereTheySaySo) {
  EXPECT_EQ(Result("*(u64 *)(r10 -8) = 0x80\nr0 = *(s8 *)(r10 -8)\n"), static_cast<uint64_t>(-128));
  EXPECT_EQ(Result("*(u64 *)(r10 -8) = 0x8000\nr0 = *(s16 *)(r10 -8)\n"), static_cast<uint64_t>(-32768));
  EXPECT_EQ(Result("*(u64 *)(r10 -8) = -2\nr0 = *(s32 *)(r10 -8)\n"), static_cast<uint64_t>(-2));
  EXPECT_EQ(Result("*(u64 *)(r10 -8) = -2\nr0 = *(u32 *)(r10 -8)\n"), 0xfffffffeu);
}

TEST(Machine, LongJumpsGoAsFarAsTheirImmediateSays) {
  EXPECT_EQ(Result("r0 = 1\ngotol end\nr0 = 2\nend:\n"), 1u);
}

TEST(Machine, FunctionsKeepTheirCallersRegisters) {
  EXPECT_EQ(Result("r6 = 40\nr1 = 2\ncall f\nr0 += r6\ngoto end\nf:\nr6 = 9\nr0 = r1\nexit\nend:\n"), 42u);
}

TEST(Machine, AtomicsAreAlignedAndInPlainMemory) {
  const std::string acquire = "r0 = load_acquire((u32 *)";
  EXPECT_EQ(FaultOf(acquire + "(r10 -6))\nexit\n"), "misaligned atomic operation");
  EXPECT_EQ(FaultOf(acquire + "(r1 +12))\nexit\n"), "atomic operation on memory that has none");
  EXPECT_EQ(FaultOf("r1 = load_acquire((u32 *)(r1 +12))\nr0 = 0\nexit\n"), "");  // as the kernel lets through
  EXPECT_EQ(FaultOf("r2 = *(u32 *)(r1 +0)\nr3 = 1\nstore_release((u8 *)(r2 +0), r3)\nr0 = 0\nexit\n"),
            "atomic operation on memory that has none");
}

TEST(Machine, PointersSurviveTheStackAndAreGoneWhenOverwritten) {
  EXPECT_EQ(FaultOf("r2 = r10\n*(u64 *)(r10 -8) = r2\nr3 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r3 -8)\nexit\n"), "");
  EXPECT_EQ(FaultOf("r2 = r10\n*(u64 *)(r10 -8) = r2\n*(u8 *)(r10 -8) = 0\nr3 = *(u64 *)(r10 -8)\n"
                    "r0 = *(u64 *)(r3 -8)\nexit\n"),
            "access through a number");
}

TEST(Machine, AccessesStayWithinTheirRegion) {
  EXPECT_EQ(FaultOf("r0 = *(u64 *)(r10 +0)\nexit\n"), "access out of bounds");
  EXPECT_EQ(FaultOf("r0 = *(u64 *)(r10 -520)\nexit\n"), "access out of bounds");
  EXPECT_EQ(FaultOf("r2 = r10\nr2 += 4096\nr0 = *(u64 *)(r2 -4104)\nexit\n"), "");
  EXPECT_EQ(FaultOf("r0 = *(u32 *)(r10 -6)\nexit\n"), "misaligned access to the stack");
}

TEST(Machine, WhatWasNeverSetMayNotBeRead) {
  EXPECT_EQ(FaultOf("r0 = r3\nexit\n"), "a register that was never set is read");
  EXPECT_EQ(FaultOf("call 5\nr0 = r1\nexit\n"), "a register that was never set is read");
  EXPECT_EQ(FaultOf("exit\n"), "a register that was never set is read");
}

constexpr char kMaps[] =
    ".type xdp\n.map hash type=hash key=4 value=8 entries=4\n.map ring type=ringbuf key=0 value=0 entries=4096\n";

TEST(Machine, LookUpsMayFindNothing) {
  const std::string text =
      "*(u32 *)(r10 -4) = 0\nr1 = map[hash]\nr2 = r10\nr2 += -4\ncall 1\nr0 = *(u64 *)(r0 +0)\nexit\n";
  int faults = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) faults += RunText(text, kMaps, seed).kind == Outcome::Kind::kFault;
  EXPECT_GT(faults, 5);
  EXPECT_LT(faults, 45);
}

TEST(Machine, ReferencesAreGivenBackOnceAndNotUsedAfterwards) {
  const std::string reserve = "r1 = map[ring]\nr2 = 8\nr3 = 0\ncall 131\nif r0 == 0 goto end\n";
  const std::string end = "end:\nr0 = 0\nexit\n";
  const std::string submit = "r1 = r0\nr2 = 0\nr6 = r0\ncall 132\n";
  const auto some_fault = [&](const std::string& text) {
    std::string fault;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Outcome out = RunText(text, kMaps, seed);
      if (out.kind != Outcome::Kind::kExit) fault = out.what;
    }
    return fault;
  };
  EXPECT_EQ(some_fault(reserve + submit + end), "");
  EXPECT_EQ(some_fault(reserve + end), "the program ends with a reference that was not given back");
  EXPECT_EQ(some_fault(reserve + submit + "r1 = *(u64 *)(r6 +0)\n" + end), "access to memory that is gone");
  EXPECT_EQ(some_fault(reserve + submit + "r1 = r6\nr2 = 0\ncall 132\n" + end), "access to memory that is gone");
}

TEST(Machine, ARunIsAFunctionOfItsSeed) {
  const std::string text = "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr0 = r3\nr0 -= r2\nexit\n";
  const uint64_t first = RunText(text, ".type xdp\n", 7).r0;
  EXPECT_EQ(RunText(text, ".type xdp\n", 7).r0, first);
  bool differs = false;
  for (uint64_t seed = 8; seed < 20; ++seed) differs |= RunText(text, ".type xdp\n", seed).r0 != first;
  EXPECT_TRUE(differs);
}

TEST(Machine, LoopsEndWithTheBudget) {
  EXPECT_EQ(RunText("r0 = 0\nl:\ngoto l\n").kind, Outcome::Kind::kTooLong);
}

TEST(Machine, AFunctionIsCalledBackSoManyTimes) {
  const std::string call = "*(u64 *)(r10 -8) = 0\nr1 = 3\nr2 = func[f] ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\n";
  const std::string add = "f:\nr1 = *(u64 *)(r2 +0)\nr1 += 5\n*(u64 *)(r2 +0) = r1\n";
  EXPECT_EQ(RunText(call + "r0 = *(u64 *)(r10 -8)\nexit\n" + add + "r0 = 0\nexit\n").r0, 15u);
  EXPECT_EQ(RunText(call + "exit\n" + add + "r0 = 0\nexit\n").r0, 3u) << "how often";
  EXPECT_EQ(RunText(call + "r0 = *(u64 *)(r10 -8)\nexit\n" + add + "r0 = 1\nexit\n").r0, 5u) << "it wants no more";
  EXPECT_NE(FaultOf(call + "exit\n" + add + "r0 = 2\nexit\n"), "");
  EXPECT_NE(FaultOf(call + "exit\nf:\nr0 = r3\nexit\n"), "") << "there is no third argument";
  EXPECT_NE(FaultOf("r1 = 1\nr2 = 5\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\nf:\nr0 = 0\nexit\n"), "") << "no function";
  EXPECT_NE(FaultOf(call + "r0 = r1\nexit\nf:\nr0 = 0\nexit\n"), "") << "arguments are gone after the call";
}

TEST(Machine, AFunctionIsCalledBackForElementsOfAMap) {
  const std::string map = ".type xdp\n.map m type=array key=4 value=8 entries=3\n";
  const std::string call = "r1 = map[m]\nr2 = func[f] ll\nr3 = 0\nr4 = 0\ncall bpf_for_each_map_elem\nr0 = 0\nexit\nf:\n";
  std::set<std::string> faults;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(RunText(call + "r0 = *(u32 *)(r2 +0)\nr0 = *(u64 *)(r3 +0)\n*(u64 *)(r3 +0) = 5\nr0 = 0\nexit\n", map, seed).kind,
              Outcome::Kind::kExit);
    faults.insert(RunText(call + "*(u32 *)(r2 +0) = 5\nr0 = 0\nexit\n", map, seed).what);
    faults.insert(RunText(call + "r0 = *(u64 *)(r3 +8)\nr0 = 0\nexit\n", map, seed).what);
  }
  EXPECT_EQ(faults, (std::set<std::string>{"", "access out of bounds", "write to read-only memory"}));
}

TEST(Machine, IteratorsAreGivenBack) {
  const std::string make = "r1 = r10\nr1 += -8\nr2 = 2\nr3 = 5\ncall kfunc[bpf_iter_num_new]\n";
  const std::string next = "r1 = r10\nr1 += -8\ncall kfunc[bpf_iter_num_next]\n";
  const std::string destroy = "r1 = r10\nr1 += -8\ncall kfunc[bpf_iter_num_destroy]\n";
  EXPECT_EQ(RunText("r6 = 0\n" + make + "again:\n" + next + "if r0 == 0 goto out\nr6 += 1\ngoto again\nout:\n" + destroy +
                    "r0 = r6\nexit\n").r0, 3u);
  EXPECT_EQ(FaultOf(make + "r0 = 0\nexit\n"), "the program ends with a reference that was not given back");
  EXPECT_NE(FaultOf(next + "r0 = 0\nexit\n"), "");
  EXPECT_NE(FaultOf(make + destroy + destroy + "r0 = 0\nexit\n"), "");
  EXPECT_NE(FaultOf(make + "r1 = *(u64 *)(r10 -8)\n" + destroy + "r0 = 0\nexit\n"), "") << "its memory is its own";
  EXPECT_NE(FaultOf(make + next + "r6 = r0\n" + destroy + "r0 = *(u32 *)(r6 +0)\nexit\n"), "") << "the element is gone";
  EXPECT_NE(FaultOf(make + next + "*(u32 *)(r0 +0) = 1\n" + destroy + "r0 = 0\nexit\n"), "") << "it is not written";
  EXPECT_EQ(FaultOf(make + "*(u8 *)(r10 -3) = 0\n" + destroy + "r0 = 0\nexit\n"), "no such iterator") << "written over";
}

TEST(Machine, SectionsAreLeft) {
  const auto call = [](const std::string& name) { return "call kfunc[bpf_" + name + "]\n"; };
  const auto flags = [&](const std::string& off, const std::string& name) {
    return "r1 = r10\nr1 += " + off + "\n" + call("local_irq_" + name);
  };
  const std::string end = "r0 = 0\nexit\n";
  EXPECT_EQ(FaultOf(call("rcu_read_lock") + call("rcu_read_unlock") + end), "");
  EXPECT_NE(FaultOf(call("rcu_read_lock") + end), "");
  EXPECT_NE(FaultOf(call("rcu_read_unlock") + end), "");
  EXPECT_NE(FaultOf(call("rcu_read_lock") + call("rcu_read_lock") + call("rcu_read_unlock") + end), "");
  EXPECT_EQ(FaultOf(call("preempt_disable") + call("preempt_disable") + call("preempt_enable") + call("preempt_enable") + end), "");
  EXPECT_NE(FaultOf(call("preempt_disable") + end), "");
  EXPECT_EQ(FaultOf(flags("-8", "save") + flags("-16", "save") + flags("-16", "restore") + flags("-8", "restore") + end), "");
  EXPECT_NE(FaultOf(flags("-8", "save") + flags("-16", "save") + flags("-8", "restore") + flags("-16", "restore") + end), "");
  EXPECT_NE(FaultOf(flags("-8", "save") + "r2 = *(u64 *)(r10 -8)\n" + flags("-8", "restore") + end), "");
  EXPECT_NE(FaultOf(flags("-8", "save") + flags("-8", "restore") + flags("-8", "restore") + end), "");
  EXPECT_NE(FaultOf(flags("-8", "save") + "*(u8 *)(r10 -3) = 0\n" + flags("-8", "restore") + end), "") << "written over";
}

TEST(Machine, DynptrsAndTheirSlices) {
  const std::string maps = ".map m type=array key=4 value=16 entries=1\n.map rb type=ringbuf entries=4096\n.type sched_cls\n";
  const std::string at = "r1 = r10\nr1 += -16\n", end = "r0 = 0\nexit\n";
  const std::string local = "r1 = map[m]+0 ll\nr2 = 16\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_dynptr_from_mem\n";
  const std::string record = "r1 = map[rb] ll\nr2 = 16\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_ringbuf_reserve_dynptr\n";
  const std::string submit = at + "r2 = 0\ncall bpf_ringbuf_submit_dynptr\n";
  const std::string data = at + "r2 = 0\nr3 = 8\ncall bpf_dynptr_data\nr6 = r0\nif r0 == 0 goto out\n";
  const std::string skb = "r2 = 0\nr3 = r10\nr3 += -16\ncall kfunc[bpf_dynptr_from_skb]\n";
  const std::string slice = at + "r2 = 0\nr3 = r10\nr3 += -24\nr4 = 8\ncall kfunc[bpf_dynptr_slice_rdwr]\nr6 = r0\nif r0 == 0 goto out\n";
  const auto faults = [&](const std::string& text) {
    std::set<std::string> all;
    for (uint64_t seed = 1; seed <= 40; ++seed) all.insert(RunText(text, maps, seed).what);
    return all;
  };
  const std::set<std::string> none = {""}, gone = {"", "access to memory that is gone"};
  EXPECT_EQ(faults(local + data + "*(u64 *)(r6 +0) = 1\nout:\n" + end), none);
  EXPECT_EQ(faults(local + data + "*(u64 *)(r10 -8) = 0\nr1 = *(u64 *)(r6 +0)\nout:\n" + end), gone) << "overwritten";
  EXPECT_EQ(faults(local + data + "r1 = *(u64 *)(r6 +1)\nout:\n" + end), (std::set<std::string>{"", "access out of bounds"}));
  EXPECT_EQ(faults(record + data + "*(u64 *)(r6 +0) = 1\nout:\n" + submit + end), none);
  EXPECT_EQ(faults(record + submit + submit + end), (std::set<std::string>{"an argument is not a dynptr"}));
  EXPECT_EQ(faults(record + end), (std::set<std::string>{"the program ends with a reference that was not given back"}));
  EXPECT_EQ(faults(record + "*(u64 *)(r10 -8) = 0\n" + submit + end),
            (std::set<std::string>{"a dynptr is overwritten that has to be given back"}));
  EXPECT_EQ(faults(local + "r1 = *(u8 *)(r10 -1)\n" + end), (std::set<std::string>{"access to what only its own functions look into"}));
  EXPECT_EQ(faults("r7 = r1\n" + skb + slice + "*(u64 *)(r6 +0) = 1\nout:\n" + end), none);
  EXPECT_EQ(faults("r7 = r1\n" + skb + slice + "r1 = r7\nr2 = 0\ncall bpf_skb_pull_data\nr1 = *(u64 *)(r6 +0)\nout:\n" + end), gone);
}

TEST(Machine, AFunctionRunsLater) {
  const std::string maps = ".map t type=array key=4 value=24 entries=1 field=timer@8\n.type sched_cls\n.license GPL\n";
  const std::string set = "r1 = map[t]+8 ll\nr2 = func[f] ll\ncall bpf_timer_set_callback\nr0 = 0\nexit\n.func f\n";
  EXPECT_EQ(FaultOf(set + "r0 = *(u64 *)(r3 +0)\nr0 = *(u32 *)(r2 +0)\nr0 = 0\nexit\n", maps), "");
  EXPECT_NE(FaultOf(set + "r0 = 1\nexit\n", maps), "");
  EXPECT_NE(FaultOf(set + "r0 = *(u64 *)(r3 +8)\nr0 = 0\nexit\n", maps), "");
  EXPECT_NE(FaultOf(set + "r0 = r6\nexit\n", maps), "");
}

TEST(Machine, AThrowEndsTheProgram) {
  const std::string type = ".type sched_cls\n";
  EXPECT_EQ(FaultOf("r1 = 5\ncall kfunc[bpf_throw]\nr0 = r9\nexit\n", type), "");
  EXPECT_NE(FaultOf("call f\nexit\nf:\nr1 = r10\nr1 += -8\nr2 = 0\nr3 = 0\ncall kfunc[bpf_iter_num_new]\nr1 = 0\n"
                    "call kfunc[bpf_throw]\nexit\n", type), "") << "with a reference";
}

TEST(Machine, AMayGotoLoopEnds) {
  std::set<uint64_t> rounds;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Outcome out = RunText("r0 = 0\nagain:\nmay_goto out\nr0 += 1\ngoto again\nout:\nexit\n", ".type xdp\n", seed);
    ASSERT_EQ(out.kind, Outcome::Kind::kExit) << out.what;
    rounds.insert(out.r0);
  }
  EXPECT_GT(rounds.size(), 3u);
}

TEST(Machine, EveryAddressOfAnArenaIsOneAndNoNumberIs) {
  const std::string arena = ".type xdp\n.map a type=arena key=0 value=0 entries=1 flags=0x400\n";
  const std::string cast = "r1 = map[a]+0 ll\nr1 = addr_space_cast(r1, 0, 1)\n", end = "r0 = 2\nexit\n";
  EXPECT_EQ(FaultOf(cast + "r2 = *(u64 *)(r1 +12345)\nr1 *= 77\n*(u64 *)(r1 -9) = r2\n" + end, arena), "");
  EXPECT_EQ(FaultOf("r1 = map[a]+0 ll\nr2 = *(u64 *)(r1 +0)\n" + end, arena), "access through a number");
  EXPECT_EQ(FaultOf(cast + "r1 = addr_space_cast(r1, 1, 0)\nr2 = *(u64 *)(r1 +0)\n" + end, arena), "access through a number");
}

TEST(Machine, ProgramsReturnWhatTheirKindMay) {
  const std::string device = ".type cgroup_device\n.attach cgroup_device\n";
  EXPECT_EQ(FaultOf("r0 = 1\nexit\n", device), "");
  EXPECT_EQ(FaultOf("r0 = 2\nexit\n", device), "the program returns what it must not");
  EXPECT_EQ(FaultOf("r0 = r10\nexit\n", device), "the program returns what it must not");
}

TEST(Machine, LocksThatMayNotBeHadAreHadOnceAtATimeAndGivenBackInOrder) {
  const std::string header =
      ".type sched_cls\n.license GPL\n.map m type=array key=4 value=16 entries=2 field=res_spin_lock@0\n";
  const auto find = [](int key, int home) {
    return absl::StrCat("*(u32 *)(r10 -4) = ", key, "\nr2 = r10\nr2 += -4\nr1 = map[m] ll\ncall bpf_map_lookup_elem\n",
                        "if r0 == 0 goto out\nr", home, " = r0\n");
  };
  const auto call = [](const std::string& what, int home) {
    return absl::StrCat("r1 = r", home, "\ncall kfunc[bpf_res_spin_", what, "]\n");
  };
  const std::string end = "r0 = 0\nexit\nout:\nr0 = 99\nexit\n";
  // 1: the first was had, 2: the second, too.
  const auto both = [&](int second) {
    return find(0, 6) + find(1, 7) + call("lock", 6) + "if w0 != 0 goto none\n" + call("lock", second) +
           "if w0 != 0 goto one\n" + call("unlock", second) + call("unlock", 6) + "r0 = 2\nexit\none:\n" + call("unlock", 6) +
           "r0 = 1\nexit\nnone:\n" + end;
  };
  std::set<uint64_t> same, different;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    same.insert(RunText(both(6), header, seed).r0);
    different.insert(RunText(both(7), header, seed).r0);
  }
  EXPECT_THAT(same, testing::ElementsAre(0, 1));
  EXPECT_THAT(different, testing::ElementsAre(0, 1, 2));

  const auto faults = [&](const std::string& text) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const Outcome out = RunText(find(0, 6) + find(1, 7) + text + end, header, seed);
      if (out.kind != Outcome::Kind::kExit) return out.what;
    }
    return std::string();
  };
  const std::string other_first = call("lock", 6) + "if w0 != 0 goto out\n" + call("lock", 7) + "if w0 != 0 goto one\n" +
                                  call("unlock", 6) + "one:\n" + call("unlock", 7);
  EXPECT_EQ(faults(other_first), "a lock that is not held, or not the last one, is given back");
  EXPECT_EQ(faults(call("unlock", 6)), "a lock that is not held, or not the last one, is given back");
  EXPECT_EQ(faults(call("lock", 6) + "if w0 != 0 goto out\n"), "the program ends with a lock held");
}

}  // namespace
}  // namespace bpfsieve
