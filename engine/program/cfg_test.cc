#include "engine/program/cfg.h"

#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

using ::testing::ElementsAre;

Insn MakeInsn(uint8_t code, int dst = 0, int src = 0, int off = 0, int32_t imm = 0) {
  Insn i;
  i.code = code;
  i.dst = static_cast<uint8_t>(dst & 15);
  i.src = static_cast<uint8_t>(src & 15);
  i.off = static_cast<int16_t>(off);
  i.imm = imm;
  return i;
}
Insn Mov(int dst, int32_t imm) { return MakeInsn(kClassAlu64 | kMov, dst, 0, 0, imm); }
Insn MovReg(int dst, int src) { return MakeInsn(kClassAlu64 | kMov | kSrcX, dst, src); }
Insn Exit() { return MakeInsn(kCodeExit); }
Insn Ja(int off) { return MakeInsn(kClassJmp | kJa, 0, 0, off); }
Insn JeqImm(int dst, int32_t imm, int off) { return MakeInsn(kClassJmp | kJeq, dst, 0, off, imm); }
Insn MayGoto(int off) { return MakeInsn(kClassJmp | kJcond, 0, 0, off); }
Insn Helper(int32_t id) { return MakeInsn(kCodeCall, 0, kCallHelper, 0, id); }
Insn Call(int32_t off) { return MakeInsn(kCodeCall, 0, kPseudoCall, 0, off); }
Insn Kfunc(int32_t index) { return MakeInsn(kCodeCall, 0, kPseudoKfuncCall, 0, index); }
Insn FuncLo(int dst, int32_t off) { return MakeInsn(kCodeLdImm64, dst, kPseudoFunc, 0, off); }
Insn Imm64Lo(int dst, int32_t imm) { return MakeInsn(kCodeLdImm64, dst, 0, 0, imm); }
Insn Imm64Hi() { return Insn{}; }
Insn LdAbs() { return MakeInsn(kClassLd | kModeAbs | kSizeB); }

Program MakeProgram(std::vector<Insn> insns) {
  Program program;
  program.insns = std::move(insns);
  program.subprogs.resize(1);
  return program;
}

HelperTraits Traits() {
  HelperTraits traits;
  traits.arg_count = [](uint32_t id) { return id == 1 ? 2 : id == 5 ? 0 : 5; };
  traits.changes_packet = [](uint32_t id) { return id == 44; };
  traits.might_sleep = [](uint32_t id) { return id == 148; };
  return traits;
}

std::string ErrorOf(const Program& program) {
  Cfg cfg;
  const auto finding = BuildCfg(program, Traits(), &cfg);
  return finding ? std::to_string(finding->insn) + ": " + finding->message : "";
}
Cfg Build(const Program& program) {
  Cfg cfg;
  const auto finding = BuildCfg(program, Traits(), &cfg);
  EXPECT_FALSE(finding) << finding->message;
  return cfg;
}
template <typename T>
std::vector<T> Each(const Cfg& cfg, T Cfg::Place::*of) {
  std::vector<T> out;
  for (const Cfg::Place& place : cfg.at) out.push_back(place.*of);
  return out;
}
std::vector<uint32_t> Marked(const Cfg& cfg, bool Cfg::Place::*mark) {
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i < cfg.at.size(); ++i) {
    if (cfg.at[i].*mark) out.push_back(i);
  }
  return out;
}
uint16_t Regs(std::initializer_list<int> regs) {
  uint16_t mask = 0;
  for (int r : regs) mask = static_cast<uint16_t>(mask | 1u << r);
  return mask;
}

// ---- Structure. Messages are Linux 6.18's.

TEST(CfgStructure, EmptyProgramIsRejected) { EXPECT_EQ(ErrorOf(MakeProgram({})), "0: program has no instructions"); }

// One who asks for an end gets no finding of the parts that were left out: the last instruction is not reached.
TEST(CfgStructure, AStoppedOneLeavesTheRestOut) {
  const Program program = MakeProgram({Exit(), Exit()});
  Cfg cfg;
  EXPECT_TRUE(BuildCfg(program, Traits(), &cfg));
  const std::atomic<bool> interrupt = true;
  EXPECT_FALSE(BuildCfg(program, Traits(), &cfg, {.interrupt = &interrupt}));
}

TEST(CfgStructure, JumpOutOfTheProgram) {
  EXPECT_EQ(ErrorOf(MakeProgram({JeqImm(1, 0, 5), Exit()})), "0: jump out of range from insn 0 to 6");
  EXPECT_EQ(ErrorOf(MakeProgram({Ja(-2), Exit()})), "0: jump out of range from insn 0 to -1");
}

TEST(CfgStructure, JumpIntoAnotherSubprogram) {
  EXPECT_EQ(ErrorOf(MakeProgram({Call(2), JeqImm(0, 0, 1), Exit(), Mov(0, 0), Exit()})),
            "1: jump out of range from insn 1 to 3");
}

TEST(CfgStructure, LongJumpUsesTheImmediate) {
  EXPECT_EQ(ErrorOf(MakeProgram({MakeInsn(kClassJmp32 | kJa, 0, 0, 0, 40), Exit()})),
            "0: jump out of range from insn 0 to 41");
}

TEST(CfgStructure, SubprogramMustNotFallOff) {
  EXPECT_EQ(ErrorOf(MakeProgram({Mov(0, 0)})), "0: last insn is not an exit or jmp");
  EXPECT_EQ(ErrorOf(MakeProgram({Call(0), Mov(0, 0), Exit()})), "0: last insn is not an exit or jmp");
}

TEST(CfgStructure, JumpsAreCheckedBeforeReachability) {
  EXPECT_EQ(ErrorOf(MakeProgram({Exit(), Mov(0, 0), Ja(7)})), "2: jump out of range from insn 2 to 10");
}

TEST(CfgStructure, UnreachableInstruction) {
  EXPECT_EQ(ErrorOf(MakeProgram({Ja(1), Mov(0, 0), Exit()})), "1: unreachable insn 1");
}

TEST(CfgStructure, SubprogramThatNobodyReachesIsUnreachable) {
  EXPECT_EQ(ErrorOf(MakeProgram({Exit(), Mov(0, 0), Call(-2), Exit()})), "1: unreachable insn 1");
}

TEST(CfgStructure, JumpIntoImmediate) {
  EXPECT_EQ(ErrorOf(MakeProgram({JeqImm(1, 0, 1), Imm64Lo(2, 1), Imm64Hi(), Exit()})),
            "1: jump into the middle of ldimm64 insn 1");
}

TEST(CfgStructure, ImmediateWithoutSecondHalf) {
  EXPECT_EQ(ErrorOf(MakeProgram({Imm64Lo(1, 0), Exit()})), "0: invalid bpf_ld_imm64 insn");
  EXPECT_EQ(ErrorOf(MakeProgram({Imm64Lo(1, 0), Imm64Lo(1, 0), Ja(-2)})), "0: invalid bpf_ld_imm64 insn");
}

TEST(CfgStructure, CallOutOfTheProgram) {
  EXPECT_EQ(ErrorOf(MakeProgram({Call(5), Exit()})), "0: call to invalid destination");
  EXPECT_EQ(ErrorOf(MakeProgram({Call(INT32_MIN), Exit()})), "0: call to invalid destination");
  EXPECT_EQ(ErrorOf(MakeProgram({FuncLo(1, -2), Imm64Hi(), Exit()})), "0: call to invalid destination");
}

TEST(CfgStructure, AtMost256Subprograms) {
  auto with_callees = [](int callees) {
    std::vector<Insn> insns;
    for (int i = 0; i < callees; ++i) insns.push_back(Call(callees));
    insns.push_back(Exit());
    for (int i = 0; i < callees; ++i) insns.push_back(Exit());
    return MakeProgram(insns);
  };
  EXPECT_EQ(ErrorOf(with_callees(255)), "");
  EXPECT_EQ(ErrorOf(with_callees(256)), "255: too many subprograms");
}

TEST(CfgStructure, PacketLoadInSubprogramNeedsFunctionInformation) {
  Program program = MakeProgram({Call(1), Exit(), LdAbs(), Exit()});
  EXPECT_EQ(ErrorOf(program), "2: LD_ABS is not allowed in subprogs without BTF");
  program.subprogs[0].btf_func_id = 3;
  EXPECT_EQ(ErrorOf(program), "");
}

TEST(CfgStructure, TailCallInSubprogramNeedsFunctionInformation) {
  EXPECT_EQ(ErrorOf(MakeProgram({Call(1), Exit(), Helper(12), Exit()})),
            "2: tail_call is not allowed in subprogs without BTF");
}

TEST(CfgStructure, LoopsAndRecursionAreNotStructuralFaults) {
  EXPECT_EQ(ErrorOf(MakeProgram({Ja(-1)})), "");
  EXPECT_EQ(ErrorOf(MakeProgram({Call(-1), Exit()})), "");
}

TEST(CfgStructure, SubprogramsComeFromCallsAndCallbacks) {
  const Cfg cfg = Build(MakeProgram({Call(4), FuncLo(2, 5), Imm64Hi(), Mov(0, 0), Exit(), Mov(0, 0), Exit(), Exit()}));
  ASSERT_EQ(cfg.subs.size(), 3u);
  EXPECT_EQ(cfg.subs[1].start, 5u);
  EXPECT_EQ(cfg.subs[1].end, 7u);
  EXPECT_EQ(cfg.subs[2].start, 7u);
  EXPECT_EQ(cfg.subs[2].end, 8u);
  EXPECT_THAT(Each(cfg, &Cfg::Place::sub), ElementsAre(0, 0, 0, 0, 0, 1, 1, 2));
  EXPECT_EQ(cfg.SubAt(5), 1);
  EXPECT_EQ(cfg.SubAt(6), -1);
}

// ---- Points.

TEST(CfgPoints, ConditionalJumpAndItsTarget) {
  const Cfg cfg = Build(MakeProgram({Mov(0, 0), JeqImm(1, 0, 1), Mov(0, 1), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(1, 3));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::jmp_point), ElementsAre(3));
  EXPECT_FALSE(cfg.any_converge);
}

TEST(CfgPoints, GotoMarksOnlyItsTarget) {
  const Cfg cfg = Build(MakeProgram({Ja(0), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(1));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::jmp_point), ElementsAre(1));
}

TEST(CfgPoints, HelperCallMarksTheNextInstruction) {
  const Cfg cfg = Build(MakeProgram({Helper(5), Mov(0, 0), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(1));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::jmp_point), ElementsAre(1));
}

TEST(CfgPoints, CallMarksItselfItsTargetAndTheNextInstruction) {
  const Cfg cfg = Build(MakeProgram({Mov(1, 0), Call(2), Mov(0, 0), Exit(), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(1, 2, 4));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::jmp_point), ElementsAre(2, 4));
}

TEST(CfgPoints, MayGotoForcesACheckpoint) {
  const Cfg cfg = Build(MakeProgram({MayGoto(1), Ja(-2), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(0, 2));
  EXPECT_EQ(cfg.at[0].converge, Converge::kMayGoto);
}

TEST(CfgPoints, CallsThatRunCallbacksForceACheckpoint) {
  const Cfg cfg = Build(MakeProgram({FuncLo(2, 4), Imm64Hi(), Helper(181), Mov(0, 0), Exit(), Exit()}));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(0, 2, 3, 5));
  EXPECT_THAT(Marked(cfg, &Cfg::Place::jmp_point), ElementsAre(2, 3, 5));
  EXPECT_EQ(cfg.at[2].converge, Converge::kCallback);
}

TEST(CfgPoints, IteratorNextForcesACheckpoint) {
  Program program = MakeProgram({Mov(1, 0), Kfunc(0), Kfunc(1), Exit()});
  program.externs = {{Extern::Kind::kFunc, "bpf_iter_num_next"}, {Extern::Kind::kFunc, "bpf_iter_num_destroy"}};
  const Cfg cfg = Build(program);
  EXPECT_EQ(cfg.at[1].converge, Converge::kIterNext);
  EXPECT_THAT(Marked(cfg, &Cfg::Place::prune_point), ElementsAre(1, 2, 3));
}

// ---- Effects.

TEST(CfgEffects, PacketChangesAndSleepReachTheCallers) {
  const Cfg cfg =
      Build(MakeProgram({Call(2), Call(3), Exit(), Call(3), Exit(), Helper(148), Exit(), Helper(44), Exit()}));
  ASSERT_EQ(cfg.subs.size(), 4u);
  EXPECT_TRUE(cfg.subs[0].changes_packet);
  EXPECT_TRUE(cfg.subs[0].might_sleep);
  EXPECT_TRUE(cfg.subs[1].changes_packet);
  EXPECT_FALSE(cfg.subs[1].might_sleep);
  EXPECT_FALSE(cfg.subs[2].changes_packet);
  EXPECT_TRUE(cfg.subs[2].might_sleep);
}

TEST(CfgEffects, CallbackOfATimerIsAsynchronous) {
  const Cfg timer =
      Build(MakeProgram({FuncLo(3, 6), Imm64Hi(), MovReg(2, 3), Mov(1, 0), Helper(170), Mov(0, 0), Exit(), Exit()}));
  EXPECT_TRUE(timer.subs[1].is_async_callback);
  const Cfg loop = Build(MakeProgram({FuncLo(2, 4), Imm64Hi(), Mov(1, 0), Helper(181), Exit(), Exit()}));
  EXPECT_FALSE(loop.subs[1].is_async_callback);
}

// ---- Loops.

TEST(CfgScc, OnlyLoopsAreNumbered) {
  const Cfg cfg = Build(MakeProgram({Mov(0, 0), JeqImm(0, 1, 1), Ja(-2), JeqImm(1, 0, -1), Exit()}));
  EXPECT_THAT(Each(cfg, &Cfg::Place::scc), ElementsAre(0, 2, 2, 1, 0));
}

TEST(CfgScc, DeepProgramsNeedNoDeepStack) {
  std::vector<Insn> insns(200000, JeqImm(1, 0, 0));
  insns.push_back(JeqImm(1, 0, -32768));
  insns.push_back(Exit());
  const Cfg cfg = Build(MakeProgram(insns));
  EXPECT_EQ(cfg.at[200000].scc, 1u);
  EXPECT_EQ(cfg.at[200001 - 32768].scc, 1u);
  EXPECT_EQ(cfg.at[200000 - 32768].scc, 0u);
}

// ---- Live registers.

TEST(CfgLiveRegs, ReadBeforeWriteIsLive) {
  const Cfg cfg = Build(MakeProgram({MovReg(2, 1), MakeInsn(kClassAlu64 | kAdd | kSrcX, 2, 3), MovReg(0, 2), Exit()}));
  EXPECT_THAT(Each(cfg, &Cfg::Place::live_regs), ElementsAre(Regs({1, 3}), Regs({2, 3}), Regs({2}), Regs({0})));
}

TEST(CfgLiveRegs, HelpersReadTheirArgumentsAndCallsReadAllFive) {
  const Cfg helper = Build(MakeProgram({Helper(1), Exit()}));
  EXPECT_EQ(helper.at[0].live_regs, Regs({1, 2}));
  const Cfg call = Build(MakeProgram({Call(1), Exit(), Exit()}));
  EXPECT_EQ(call.at[0].live_regs, Regs({1, 2, 3, 4, 5}));
}

TEST(CfgLiveRegs, LoopCarriesLivenessAround) {
  const Cfg cfg = Build(MakeProgram({Mov(0, 0), JeqImm(7, 0, 2), MovReg(7, 8), Ja(-3), Exit()}));
  EXPECT_EQ(cfg.at[3].live_regs, Regs({0, 7, 8}));
}

TEST(CfgLiveRegs, LongChainsOfJumpsBackAreFollowed) {
  // Runs from the last pair of instructions to the first, and only then reads R9.
  constexpr int kPairs = 30000;
  std::vector<Insn> insns = {MakeInsn(kClassJmp32 | kJa, 0, 0, 0, 2 + 2 * kPairs), MovReg(0, 9), Exit()};
  for (int k = 0; k < kPairs; ++k) {
    insns.push_back(Mov(0, 0));
    insns.push_back(Ja(-4));
  }
  insns.push_back(Ja(-3));
  const Cfg cfg = Build(MakeProgram(insns));
  EXPECT_EQ(cfg.at[0].live_regs, Regs({9}));
  EXPECT_EQ(cfg.at[insns.size() - 1].live_regs, Regs({9}));
}

TEST(CfgLiveRegs, MayGotoReadsNothing) {
  const Cfg cfg = Build(MakeProgram({MayGoto(0), Mov(0, 0), Exit()}));
  EXPECT_EQ(cfg.at[0].live_regs, 0);
}

TEST(CfgLiveRegs, PacketLoadKeepsEverythingAlive) {
  const Cfg cfg = Build(MakeProgram({LdAbs(), Exit()}));
  EXPECT_EQ(cfg.at[0].live_regs, 0x3ff);
}

TEST(CfgLiveRegs, AtomicsDefineWhatTheyFetch) {
  auto live = [](int32_t op) {
    const Insn atomic = MakeInsn(kClassStx | kModeAtomic | kSizeDw, 1, 2, 0, op);
    return Build(MakeProgram({atomic, MovReg(0, 2), Exit()})).at[0].live_regs;
  };
  EXPECT_EQ(live(kCmpxchg), Regs({0, 1, 2}));
  EXPECT_EQ(live(kXchg), Regs({1, 2}));
  EXPECT_EQ(live(kStoreRel), Regs({1, 2}));
  EXPECT_EQ(live(kLoadAcq), Regs({2}));
}

// ---- Stack depth.

std::string DepthErrorOf(const Program& program, std::vector<uint16_t> depth, uint32_t* total = nullptr,
                         std::vector<uint8_t> is_callback = {}) {
  const auto finding = CheckStackDepth(program, Build(program), depth, is_callback, total);
  return finding ? finding->message : "";
}
// A chain of `count` subprograms, each calling the next.
Program Chain(int count) {
  std::vector<Insn> insns;
  for (int i = 0; i + 1 < count; ++i) {
    insns.push_back(Call(1));
    insns.push_back(Exit());
  }
  insns.push_back(Exit());
  return MakeProgram(insns);
}

TEST(CfgStackDepth, FramesAreRoundedTo16Bytes) {
  uint32_t total = 0;
  EXPECT_EQ(DepthErrorOf(Chain(2), {8, 24}, &total), "");
  EXPECT_EQ(total, 48u);
  EXPECT_EQ(DepthErrorOf(Chain(2), {256, 256}), "");
  EXPECT_EQ(DepthErrorOf(Chain(2), {256, 264}), "combined stack size of 2 calls is 528. Too large");
}

TEST(CfgStackDepth, EightFramesAtMost) {
  EXPECT_EQ(DepthErrorOf(Chain(8), std::vector<uint16_t>(8, 8)), "");
  EXPECT_EQ(DepthErrorOf(Chain(9), std::vector<uint16_t>(9, 8)), "the call stack of 8 frames is too deep !");
}

TEST(CfgStackDepth, RecursionIsTooDeep) {
  EXPECT_EQ(DepthErrorOf(MakeProgram({Call(1), Exit(), Call(-1), Exit()}), {0, 0}),
            "the call stack of 8 frames is too deep !");
}

TEST(CfgStackDepth, TailCallNeedsShallowCallers) {
  Program program = MakeProgram({Call(1), Exit(), Helper(12), Exit()});
  program.subprogs[0].btf_func_id = 1;
  EXPECT_EQ(DepthErrorOf(program, {240, 8}), "");
  EXPECT_EQ(DepthErrorOf(program, {256, 8}),
            "tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large");
}

TEST(CfgStackDepth, TracingProgramsHavePrivateStacks) {
  Program program = Chain(3);
  EXPECT_EQ(DepthErrorOf(program, {256, 256, 48}), "combined stack size of 3 calls is 560. Too large");
  program.type = ProgType::kKprobe;
  uint32_t total = 0;
  EXPECT_EQ(DepthErrorOf(program, {256, 256, 48}, &total), "");
  EXPECT_EQ(total, 48u);
}

TEST(CfgStackDepth, AsynchronousCallbackHasItsOwnStack) {
  const Program program = MakeProgram({FuncLo(2, 4), Imm64Hi(), Helper(170), Mov(0, 0), Exit(), Exit()});
  EXPECT_EQ(DepthErrorOf(program, {512, 512}), "");
  EXPECT_EQ(DepthErrorOf(program, {512, 520}), "combined stack size of 1 calls is 528. Too large");
}

TEST(CfgStackDepth, ManyPathsAreWalkedOnce) {
  // Seven levels of forty calls: 40^7 paths.
  std::vector<Insn> insns;
  for (int level = 0; level < 7; ++level) {
    for (int call = 0; call < 40; ++call) insns.push_back(Call(40 - call));
    insns.push_back(Exit());
  }
  insns.push_back(Exit());
  EXPECT_EQ(DepthErrorOf(MakeProgram(insns), std::vector<uint16_t>(8, 64)), "");
}

}  // namespace
}  // namespace bpfsieve
