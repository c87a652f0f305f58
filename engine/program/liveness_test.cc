#include "engine/program/liveness.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};

Insn Mov(int dst, int32_t imm) { return MakeInsn(kClassAlu64 | kMov, dst, 0, 0, imm); }
Insn MovReg(int dst, int src) { return MakeInsn(kClassAlu64 | kMov | kSrcX, dst, src); }
Insn Add(int dst, int32_t imm) { return MakeInsn(kClassAlu64 | kAdd, dst, 0, 0, imm); }
Insn AddReg(int dst, int src) { return MakeInsn(kClassAlu64 | kAdd | kSrcX, dst, src); }
Insn Exit() { return MakeInsn(kCodeExit); }
Insn Ja(int off) { return MakeInsn(kClassJmp | kJa, 0, 0, off); }
Insn Jeq(int dst, int off) { return MakeInsn(kClassJmp | kJeq, dst, 0, off, 0); }
Insn Helper(int32_t id) { return MakeInsn(kCodeCall, 0, kCallHelper, 0, id); }
Insn Call(int32_t off) { return MakeInsn(kCodeCall, 0, kPseudoCall, 0, off); }
Insn Kfunc(int32_t index) { return MakeInsn(kCodeCall, 0, kPseudoKfuncCall, 0, index); }
Insn MapLo(int dst, int32_t index) { return MakeInsn(kCodeLdImm64, dst, kPseudoMapFd, 0, index); }
Insn FuncLo(int dst, int32_t off) { return MakeInsn(kCodeLdImm64, dst, kPseudoFunc, 0, off); }
Insn Imm64Hi() { return Insn{}; }
Insn Load(int size, int dst, int src, int off) { return MakeInsn(kClassLdx | kModeMem | size, dst, src, off); }
Insn Store(int size, int dst, int off, int src) { return MakeInsn(kClassStx | kModeMem | size, dst, src, off); }
Insn StoreImm(int size, int dst, int off, int32_t imm) {
  return MakeInsn(kClassSt | kModeMem | size, dst, 0, off, imm);
}
Insn Atomic(int dst, int off, int src, int32_t op) {
  return MakeInsn(kClassStx | kModeAtomic | kSizeDw, dst, src, off, op);
}

// Helpers of the tests: what they do with their arguments.
enum TestHelper : int32_t {
  kNothing = 5,
  kLookup = 1,      // R1: map, R2: key
  kUpdate = 2,      // R1: map, R2: key, R3: value
  kReadSized = 30,  // R1: memory, R2: its size
  kFillSized = 31,  // R1: memory that is written only, R2: its size
  kReadAny = 32,    // R1: anything
  kRead16 = 33,     // R1: 16 bytes
  kLoop = 181,      // R2: callback, R3: its context
};
HelperTraits Traits() {
  HelperTraits traits;
  traits.arg_count = [](uint32_t id) {
    switch (id) {
      case kNothing: return 0;
      case kReadAny:
      case kRead16: return 1;
      case kUpdate:
      case kLoop: return 4;
      default: return 2;
    }
  };
  traits.arg = [](uint32_t id, int arg) -> ArgTrait {
    if (id == kLookup || id == kUpdate) {
      if (arg == 1) return {ArgAccess::kMapPtr};
      if (arg == 2) return {ArgAccess::kMapKey};
      return {arg == 3 ? ArgAccess::kMapValue : ArgAccess::kNone};
    }
    if (arg != 1) return {ArgAccess::kNone};
    if (id == kReadSized) return {ArgAccess::kSizedMem};
    if (id == kFillSized) return {ArgAccess::kWriteMem};
    if (id == kRead16) return {ArgAccess::kFixedMem, 16};
    return {ArgAccess::kAnyMem};
  };
  traits.kfunc = [](std::string_view) { return KfuncTraits{2, false, false}; };
  return traits;
}

std::vector<MapDef> Maps() {
  std::vector<MapDef> maps(2);
  maps[0].key_size = 4;
  maps[0].value_size = 24;
  maps[1].key_size = 16;
  maps[1].value_size = 8;
  return maps;
}

struct Analysed {
  explicit Analysed(std::vector<Insn> insns) {
    program.insns = std::move(insns);
    program.subprogs.resize(1);
    program.externs.resize(1);
  }
  void Build() {
    const auto finding = BuildCfg(program, Traits(), &cfg);
    ASSERT_FALSE(finding) << finding->message;
    live = std::make_unique<StackLiveness>(program, Maps(), cfg, Traits(), *arena, stop);
  }
  uint64_t Own(uint32_t insn) const { return live->LiveOwn(live->Root(0), insn); }

  StopSign stop;
  Program program;
  Cfg cfg;
  std::unique_ptr<Arena> arena = std::make_unique<Arena>();
  std::unique_ptr<StackLiveness> live;
};
Analysed Analyse(std::vector<Insn> insns) {
  Analysed a(std::move(insns));
  a.Build();
  return a;
}
// The slots of the given frame offsets: -8 is slot 0.
uint64_t Slots(std::initializer_list<int> offsets) {
  uint64_t mask = 0;
  for (int off : offsets) mask |= uint64_t{1} << (-off / 8 - 1);
  return mask;
}

// ---- One frame.

TEST(LivenessOwn, LoadMakesItsSlotsLiveUpToTheStore) {
  const Analysed a = Analyse({StoreImm(kSizeDw, 10, -8, 1), Mov(0, 0), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), 0u);
  EXPECT_EQ(a.Own(1), Slots({-8}));
  EXPECT_EQ(a.Own(2), Slots({-8}));
  EXPECT_EQ(a.Own(3), 0u);
}

// One who asks for an end gets what is always right.
TEST(LivenessOwn, AStoppedAnalysisSaysThatEverythingIsLive) {
  const std::atomic<bool> interrupt = true;
  Analysed a({StoreImm(kSizeDw, 10, -8, 1), Mov(0, 0), Load(kSizeDw, 0, 10, -8), Exit()});
  a.stop.interrupt = &interrupt;
  a.Build();
  EXPECT_EQ(a.Own(0), ~uint64_t{0});
}

TEST(LivenessOwn, PartialStoreDoesNotKill) {
  const Analysed a =
      Analyse({StoreImm(kSizeW, 10, -8, 1), StoreImm(kSizeW, 10, -4, 1), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
}

TEST(LivenessOwn, SmallLoadReadsItsWholeSlot) {
  const Analysed a = Analyse({Load(kSizeB, 0, 10, -9), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16}));
}

TEST(LivenessOwn, BranchesAreJoined) {
  const Analysed a = Analyse({Jeq(1, 2), StoreImm(kSizeDw, 10, -8, 1), Ja(0), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
  EXPECT_EQ(a.Own(1), 0u);
}

TEST(LivenessOwn, LoopKeepsItsSlotsAlive) {
  const Analysed a =
      Analyse({StoreImm(kSizeDw, 10, -8, 0), Load(kSizeDw, 2, 10, -8), Jeq(2, 1), Ja(-3), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(0), 0u);
  EXPECT_EQ(a.Own(3), Slots({-8}));
  EXPECT_EQ(a.Own(4), 0u);
}

TEST(LivenessOwn, CopiedAndMovedFramePointerStaysExact) {
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -16), MovReg(7, 6), StoreImm(kSizeDw, 7, 8, 0),
                              Load(kSizeDw, 0, 6, 0), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16}));
}

TEST(LivenessOwn, OffsetInARegisterReachesTheWholeFrame) {
  const Analysed a = Analyse({MovReg(6, 10), AddReg(6, 1), Load(kSizeB, 0, 6, -8), Exit()});
  EXPECT_EQ(a.Own(0), kAll);
  const Analysed store =
      Analyse({MovReg(6, 10), AddReg(6, 1), StoreImm(kSizeDw, 6, -8, 0), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(store.Own(2), Slots({-8}));
}

TEST(LivenessOwn, NumberThatTheVerifierIsSureToKnowIsAnOffset) {
  const Analysed a = Analyse({Mov(1, 16), MovReg(6, 10), Add(6, -32), AddReg(6, 1), Load(kSizeDw, 0, 6, 0), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16}));
  const Analysed store = Analyse({Mov(1, 16), MovReg(6, 10), Add(6, -32), AddReg(6, 1), StoreImm(kSizeDw, 6, 0, 0),
                                  Load(kSizeDw, 0, 10, -16), Exit()});
  EXPECT_EQ(store.Own(0), 0u);
}

TEST(LivenessOwn, NumberThatTheVerifierMayForgetIsNoOffset) {
  const Analysed met = Analyse({Mov(1, 16), Jeq(2, 0), MovReg(6, 10), Add(6, -32), AddReg(6, 1), Load(kSizeDw, 0, 6, 0), Exit()});
  EXPECT_EQ(met.Own(0), kAll);
  const Analysed called =
      Analyse({Mov(7, 16), Helper(kNothing), MovReg(6, 10), Add(6, -32), AddReg(6, 7), Load(kSizeDw, 0, 6, 0), Exit()});
  EXPECT_EQ(called.Own(0), kAll);
}

TEST(LivenessOwn, PointersThatDifferByPathReachWhatIsBetweenThem) {
  const Analysed a =
      Analyse({MovReg(6, 10), Add(6, -24), Jeq(1, 1), Add(6, 16), Load(kSizeDw, 0, 6, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16, -24, -32}));
}

TEST(LivenessOwn, StoreThroughPointersThatDifferByPathDoesNotKill) {
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -8), Jeq(1, 1), Add(6, -8), StoreImm(kSizeDw, 6, 0, 0),
                              Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
}

TEST(LivenessOwn, PointerThatWalksInALoopReachesTheWholeFrame) {
  const Analysed a = Analyse({MovReg(6, 10), Load(kSizeB, 2, 6, -1), Add(6, -1), Jeq(2, -3), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(0), kAll);
}

TEST(LivenessOwn, PointerOrNumberReadsTheSlotButDoesNotOverwriteIt) {
  const Analysed a = Analyse({Mov(6, 0), Jeq(1, 1), MovReg(6, 10), Load(kSizeDw, 0, 6, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
  const Analysed store =
      Analyse({Mov(6, 0), Jeq(1, 1), MovReg(6, 10), StoreImm(kSizeDw, 6, -8, 0), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(store.Own(0), Slots({-8}));
}

TEST(LivenessOwn, LoadsFromElsewhereReadNoSlot) {
  const Analysed a = Analyse({Load(kSizeW, 2, 1, 0), Load(kSizeW, 0, 2, 4), Exit()});
  EXPECT_EQ(a.Own(0), 0u);
}

TEST(LivenessOwn, SpilledFramePointerIsFollowed) {
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -24), Store(kSizeDw, 10, -8, 6), Load(kSizeDw, 7, 10, -8),
                              Load(kSizeDw, 0, 7, 0), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-24}));
  EXPECT_EQ(a.Own(3), Slots({-8, -24}));
}

TEST(LivenessOwn, StoreThroughPointerOrNumberKeepsWhatTheSlotHeld) {
  const Analysed a = Analyse({MovReg(7, 10), Add(7, -24), Store(kSizeDw, 10, -8, 7), Mov(6, 0), Jeq(1, 1),
                              MovReg(6, 10), StoreImm(kSizeDw, 6, -8, 0), Load(kSizeDw, 7, 10, -8),
                              Load(kSizeDw, 0, 7, 0), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-24}));
}

TEST(LivenessOwn, FilledThroughPointerOrNumberIsNoSureTarget) {
  const Analysed a = Analyse({MovReg(7, 10), Add(7, -24), Store(kSizeDw, 10, -8, 7), Mov(6, 0), Jeq(1, 1),
                              MovReg(6, 10), Load(kSizeDw, 7, 6, -8), StoreImm(kSizeDw, 7, 0, 0),
                              Load(kSizeDw, 0, 10, -24), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-24}));
}

TEST(LivenessOwn, AtomicsReadAndDoNotKill) {
  for (int32_t op : {int32_t{kAdd}, int32_t{kXchg}, int32_t{kCmpxchg}}) {
    const Analysed a = Analyse({Atomic(10, -8, 1, op), Mov(0, 0), Exit()});
    EXPECT_EQ(a.Own(0), Slots({-8})) << op;
  }
}

TEST(LivenessOwn, AccessesOutsideOfTheFrameAreNobodysSlots) {
  const Analysed a = Analyse({Load(kSizeDw, 2, 10, 0), Load(kSizeDw, 2, 10, -520), Load(kSizeDw, 0, 10, -512), Exit()});
  EXPECT_EQ(a.Own(0), uint64_t{1} << 63);
}

// ---- Helpers.

TEST(LivenessHelper, KeyAndValueSizesComeFromTheMap) {
  const Analysed a = Analyse({MovReg(2, 10), Add(2, -48), MovReg(3, 10), Add(3, -24), MapLo(1, 0), Imm64Hi(), Mov(4, 0),
                              Helper(kUpdate), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-48, -24, -16, -8}));
  const Analysed lookup =
      Analyse({MovReg(2, 10), Add(2, -48), MapLo(1, 1), Imm64Hi(), Helper(kLookup), Mov(0, 0), Exit()});
  EXPECT_EQ(lookup.Own(0), Slots({-48, -40}));
}

TEST(LivenessHelper, UnknownMapReadsUpToTheTop) {
  const Analysed a = Analyse({MovReg(2, 10), Add(2, -16), Helper(kLookup), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16, -8}));
}

TEST(LivenessHelper, ConstantSizeIsUsed) {
  const Analysed a = Analyse({MovReg(1, 10), Add(1, -32), Mov(2, 9), Helper(kReadSized), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-32, -24}));
  const Analysed unknown = Analyse({MovReg(1, 10), Add(1, -32), MovReg(2, 6), Helper(kReadSized), Exit()});
  EXPECT_EQ(unknown.Own(0), Slots({-32, -24, -16, -8}));
}

TEST(LivenessHelper, WrittenMemoryIsNeitherReadNorOverwritten) {
  const Analysed a =
      Analyse({MovReg(1, 10), Add(1, -16), Mov(2, 16), Helper(kFillSized), Load(kSizeDw, 0, 10, -8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
}

TEST(LivenessHelper, PointerInWrittenMemoryIsNoSureTarget) {
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -24), Store(kSizeDw, 10, -8, 6), MovReg(1, 10), Add(1, -8),
                              Mov(2, 8), Helper(kFillSized), Load(kSizeDw, 6, 10, -8), StoreImm(kSizeDw, 6, 0, 0),
                              Load(kSizeDw, 0, 10, -24), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-24}));
}

TEST(LivenessHelper, KfuncReadsUpToTheTop) {
  const Analysed a = Analyse({MovReg(2, 10), Add(2, -16), Kfunc(0), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-16, -8}));
}

TEST(LivenessHelper, WithoutTraitsEveryPointerIsReadUpToTheTop) {
  Analysed a({MovReg(5, 10), Add(5, -16), Helper(kNothing), Exit()});
  ASSERT_FALSE(BuildCfg(a.program, HelperTraits(), &a.cfg));
  Arena arena;
  const StackLiveness live(a.program, {}, a.cfg, HelperTraits(), arena);
  EXPECT_EQ(live.LiveOwn(live.Root(0), 0), Slots({-16, -8}));
}

// ---- Calls.

TEST(LivenessCall, CalleeReadsTheCallersSlots) {
  const Analysed a = Analyse({MovReg(1, 10), Add(1, -16), Call(1), Exit(), Load(kSizeDw, 0, 1, 8), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-8}));
  EXPECT_EQ(a.Own(3), 0u);
  const int callee = a.live->Callee(a.live->Root(0), 2);
  EXPECT_EQ(a.live->LiveOuter(callee, 4, 1), Slots({-8}));
  EXPECT_EQ(a.live->LiveOuter(callee, 5, 1), 0u);
  EXPECT_EQ(a.live->LiveOuter(callee, 4, 2), 0u);
  EXPECT_EQ(a.live->LiveOwn(callee, 4), 0u);
}

TEST(LivenessCall, ContextsAreToldApart) {
  const Analysed a = Analyse({MovReg(1, 10), Add(1, -8), Call(4), MovReg(1, 10), Add(1, -16), Call(1), Exit(),
                              Load(kSizeDw, 0, 1, 0), Exit()});
  const int first = a.live->Callee(a.live->Root(0), 2), second = a.live->Callee(a.live->Root(0), 5);
  EXPECT_EQ(a.live->LiveOuter(first, 7, 1), Slots({-8}));
  EXPECT_EQ(a.live->LiveOuter(second, 7, 1), Slots({-16}));
  EXPECT_EQ(a.Own(3), Slots({-16}));
}

TEST(LivenessCall, CallsAlikeShareAnInstance) {
  const Analysed a = Analyse({Mov(1, 1), Call(3), Mov(1, 2), Call(1), Exit(), MovReg(0, 1), Exit()});
  EXPECT_EQ(a.live->Callee(a.live->Root(0), 1), a.live->Callee(a.live->Root(0), 3));
}

TEST(LivenessCall, CalleeThatOverwritesOnAllPathsKills) {
  const Analysed a = Analyse({MovReg(1, 10), Call(2), Load(kSizeDw, 0, 10, -8), Exit(),  //
                              StoreImm(kSizeDw, 1, -8, 0), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(0), 0u);
  const Analysed sometimes = Analyse({MovReg(1, 10), Call(2), Load(kSizeDw, 0, 10, -8), Exit(),  //
                                      Jeq(2, 1), StoreImm(kSizeDw, 1, -8, 0), Mov(0, 0), Exit()});
  EXPECT_EQ(sometimes.Own(0), Slots({-8}));
}

TEST(LivenessCall, TailCallMayLeaveBeforeTheOverwrite) {
  Analysed a({MovReg(1, 10), Call(2), Load(kSizeDw, 0, 10, -8), Exit(),  //
              MovReg(6, 1), Helper(12), StoreImm(kSizeDw, 6, -8, 0), Exit()});
  a.program.subprogs[0].btf_func_id = 1;
  a.Build();
  EXPECT_EQ(a.Own(0), Slots({-8}));
}

TEST(LivenessCall, PointersPassThroughTwoCalls) {
  const Analysed a = Analyse({MovReg(1, 10), Call(1), Exit(), Call(1), Exit(), Load(kSizeDw, 0, 1, -24), Exit()});
  EXPECT_EQ(a.Own(0), Slots({-24}));
  const int middle = a.live->Callee(a.live->Root(0), 1), inner = a.live->Callee(middle, 3);
  EXPECT_EQ(a.live->LiveOuter(middle, 3, 1), Slots({-24}));
  EXPECT_EQ(a.live->LiveOuter(inner, 5, 2), Slots({-24}));
  EXPECT_EQ(a.live->LiveOuter(inner, 5, 1), 0u);
}

TEST(LivenessCall, CalleeMayFollowPointersSpilledByTheCaller) {
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -24), Store(kSizeDw, 10, -8, 6), MovReg(1, 10), Call(1), Exit(),
                              Load(kSizeDw, 2, 1, -8), Load(kSizeDw, 0, 2, 0), Exit()});
  EXPECT_NE(a.Own(0) & Slots({-24}), 0u);
  const int callee = a.live->Callee(a.live->Root(0), 4);
  EXPECT_NE(a.live->LiveOuter(callee, 7, 1) & Slots({-24}), 0u);
}

TEST(LivenessCall, CalleeMayFollowPointersSpilledTwoFramesOut) {
  // main spills fp-24 and passes its frame on through f to g, which fills that pointer and reads through it.
  const Analysed a = Analyse({MovReg(6, 10), Add(6, -24), Store(kSizeDw, 10, -8, 6), MovReg(1, 10), Call(1), Exit(),  //
                              Call(1), Exit(),                                                                        //
                              Load(kSizeDw, 2, 1, -8), Load(kSizeDw, 0, 2, 0), Exit()});
  EXPECT_NE(a.Own(0) & Slots({-24}), 0u);
  const int f = a.live->Callee(a.live->Root(0), 4);
  EXPECT_NE(a.live->LiveOuter(a.live->Callee(f, 6), 9, 2) & Slots({-24}), 0u);
}

TEST(LivenessCall, CallbackMayFollowPointersToTheCallersCaller) {
  // f spills its argument, a pointer into main's frame, and gives its own frame to a callback.
  const Analysed a = Analyse({MovReg(1, 10), Call(1), Exit(),    //
                              Store(kSizeDw, 10, -8, 1), Mov(1, 1), FuncLo(2, 5), Imm64Hi(), MovReg(3, 10),
                              Helper(kLoop), Mov(0, 0), Exit(),  //
                              Load(kSizeDw, 2, 2, -8), Load(kSizeDw, 0, 2, -24), Exit()});
  EXPECT_NE(a.Own(0) & Slots({-24}), 0u);
}

TEST(LivenessCall, GlobalFunctionReadsUpToTheTopAndKillsNothing) {
  Analysed a({MovReg(1, 10), Add(1, -16), Call(2), Load(kSizeDw, 0, 10, -24), Exit(),  //
              StoreImm(kSizeDw, 1, 0, 0), Mov(0, 0), Exit()});
  a.program.subprogs.push_back({5, "f", 2, true});
  a.Build();
  EXPECT_EQ(a.Own(0), Slots({-8, -16, -24}));
  EXPECT_EQ(a.live->LiveOwn(a.live->Root(1), 5), 0u);
}

TEST(LivenessCall, FunctionThatIsCalledBackReadsThroughWhatTheHelperWasGiven) {
  const Analysed a = Analyse({FuncLo(2, 6), Imm64Hi(), MovReg(3, 10), Add(3, -16), Helper(kLoop), Mov(0, 0), Exit(),  //
                              Load(kSizeDw, 0, 2, 8), Exit()});
  EXPECT_EQ(a.Own(4), Slots({-8}));
  const int callback = a.live->Callee(a.live->Root(0), 4);
  EXPECT_EQ(a.live->LiveOuter(callback, 7, 1), Slots({-8}));
  EXPECT_EQ(a.live->LiveOuter(callback, 8, 1), 0u);
}

TEST(LivenessCall, FunctionThatIsCalledBackMayNotRunSoItKillsNothing) {
  const Analysed a = Analyse({FuncLo(2, 6), Imm64Hi(), MovReg(3, 10), Helper(kLoop), Load(kSizeDw, 0, 10, -8), Mov(0, 0), Exit(),  //
                              StoreImm(kSizeDw, 2, -8, 0), Mov(0, 0), Exit()});
  EXPECT_EQ(a.Own(3), Slots({-8}));
}

TEST(LivenessCall, OneOfSeveralFunctionsThatIsCalledBackReadsEverySlot) {
  const Analysed a = Analyse({Jeq(1, 3), FuncLo(2, 8), Imm64Hi(), Ja(2), FuncLo(2, 7), Imm64Hi(), MovReg(3, 10), Helper(kLoop),
                              Mov(0, 0), Exit(),  //
                              Mov(0, 0), Exit(),  //
                              Mov(0, 1), Exit()});
  EXPECT_EQ(a.Own(7), kAll);
  EXPECT_EQ(a.live->LiveOwn(a.live->Callee(a.live->Root(0), 7), 10), kAll);
}

TEST(LivenessCall, RecursionIsAnsweredConservatively) {
  const Analysed a = Analyse({MovReg(1, 10), Call(1), Exit(), Add(1, -8), Call(-2), Load(kSizeDw, 0, 1, 0), Exit()});
  EXPECT_EQ(a.Own(0), kAll);
}

TEST(LivenessCall, UnknownInstancesAreLiveThroughout) {
  const Analysed a = Analyse({Helper(kNothing), Exit()});
  const int unknown = a.live->Callee(a.live->Root(0), 0);
  EXPECT_EQ(a.live->LiveOwn(unknown, 0), kAll);
  EXPECT_EQ(a.live->LiveOuter(unknown, 0, 1), kAll);
  EXPECT_EQ(a.live->LiveOwn(a.live->Root(0), 77), kAll);
}

TEST(LivenessLimits, TooManyContextsMeanEverythingIsLive) {
  // Every level passes its argument on in 32 flavours: 32 + 32*... contexts in all.
  std::vector<Insn> insns;
  constexpr int kFlavours = 32, kBody = 3 * kFlavours + 2;
  for (int level = 0; level < 7; ++level) {
    insns.push_back(MovReg(6, level == 0 ? 10 : 1));
    for (int f = 0; f < kFlavours; ++f) {
      insns.push_back(MovReg(1, 6));
      insns.push_back(Add(1, -f * 8 - (level == 0 ? 0 : 1) * f * level * 64));
      insns.push_back(Call(kBody - 3 * f - 4));
    }
    insns.push_back(Exit());
  }
  insns.push_back(Load(kSizeDw, 0, 1, 0));
  insns.push_back(Exit());
  const Analysed a = Analyse(insns);
  EXPECT_EQ(a.Own(0), kAll);
}

// ---- Against concrete runs: whatever a run reads must have been live ever since it was last overwritten.

struct Cell {
  enum Kind : uint8_t { kNumber, kPointer, kMapRef, kFuncRef } kind = kNumber;
  int frame = 0;    // kPointer: depth of the frame
  int64_t value = 0;  // number; offset from that frame's fp; map; subprogram
};
// Numbers also stand for pointers to memory other than the stack.

// Runs a program with random branches; stops where the verifier would reject.
class ConcreteRun {
 public:
  ConcreteRun(const Analysed& a, std::mt19937* rng) : a_(a), rng_(*rng) {}

  // Empty, or what was read although it had been reported dead.
  std::string Go() {
    Frame frame;
    frame.instance = a_.live->Root(0);
    Enter(frame);
    for (int step = 0; step < 160 && error_.empty() && !stopped_; ++step) Step();
    return error_;
  }
  int reads() const { return reads_; }

 private:
  struct Frame {
    int instance = 0;
    uint32_t pc = 0;          // next instruction; the call itself while a helper runs callbacks
    int64_t id = 0;
    bool in_helper = false;   // waits for a helper that runs callbacks
    int callbacks_left = 0;
    std::array<Cell, kMaxReg> regs;
    std::array<Cell, 64> slots;
    std::array<size_t, 64> written{};  // number of snapshots when the slot was last overwritten
  };
  struct Snapshot {
    std::vector<std::pair<int, uint32_t>> frames;  // instance, next instruction
    std::vector<int64_t> ids;
  };

  int Random(int n) { return static_cast<int>(rng_() % static_cast<unsigned>(n)); }
  void Enter(Frame frame) {
    frame.id = ++next_id_;
    frame.written.fill(history_.size());
    frame.regs[kRegFp] = {Cell::kPointer, static_cast<int>(stack_.size()), 0};
    stack_.push_back(frame);
  }

  uint64_t Live(const Snapshot& s, size_t index) const {
    uint64_t live = a_.live->LiveOwn(s.frames[index].first, s.frames[index].second);
    for (size_t in = index + 1; in < s.frames.size(); ++in) {
      live |= a_.live->LiveOuter(s.frames[in].first, s.frames[in].second, static_cast<int>(in - index));
    }
    return live;
  }
  void Read(int frame, int64_t off, int64_t bytes) {
    for (int64_t at = off; at < off + bytes; ++at) {
      if (at >= 0 || at < -512) {
        stopped_ = true;
        return;
      }
      ReadSlot(frame, static_cast<int>((-at - 1) / 8));
    }
  }
  void ReadSlot(int frame, int slot) {
    ++reads_;
    const Frame& f = stack_[frame];
    for (size_t t = f.written[slot]; t < history_.size(); ++t) {
      const Snapshot& s = history_[t];
      if (s.ids.size() <= static_cast<size_t>(frame) || s.ids[frame] != f.id) continue;
      if ((Live(s, static_cast<size_t>(frame)) >> slot & 1) != 0) continue;
      error_ = "slot " + std::to_string(slot) + " of frame " + std::to_string(frame) + " read at insn " +
               std::to_string(pc_) + " was dead at step " + std::to_string(t) + ", insn " +
               std::to_string(s.frames.back().second);
      return;
    }
  }
  bool Inside(const Cell& c, int64_t off, int64_t bytes) {
    const int64_t at = c.value + off;
    if (c.kind == Cell::kPointer && at >= -512 && at + bytes <= 0) return true;
    stopped_ = true;
    return false;
  }

  Cell DoLoad(const Cell& base, int off, int bytes) {
    if (base.kind == Cell::kNumber) return {};
    if (!Inside(base, off, bytes)) return {};
    const int64_t at = base.value + off;
    if (at % bytes != 0) {
      stopped_ = true;
      return {};
    }
    Read(base.frame, at, bytes);
    const Cell& cell = stack_[base.frame].slots[(-at - 1) / 8];
    if (bytes == 8) return cell;
    if (cell.kind != Cell::kNumber) stopped_ = true;  // "invalid size of register fill"
    return {Cell::kNumber, 0, cell.value & 0xff};
  }
  void DoStore(const Cell& base, int off, int bytes, const Cell& v) {
    if (base.kind == Cell::kNumber || !Inside(base, off, bytes)) return;
    const int64_t at = base.value + off;
    const bool pointer = v.kind == Cell::kPointer;
    if (at % bytes != 0 || (pointer && (bytes != 8 || base.frame + 1 != static_cast<int>(stack_.size())))) {
      stopped_ = true;
      return;
    }
    Frame& f = stack_[base.frame];
    const int slot = static_cast<int>((-at - 1) / 8);
    f.slots[slot] = bytes == 8 ? v : Cell{};
    if (bytes == 8) f.written[slot] = history_.size();
  }

  void Step() {
    Snapshot snapshot;
    for (const Frame& f : stack_) {
      snapshot.frames.emplace_back(f.instance, f.pc);
      snapshot.ids.push_back(f.id);
    }
    history_.push_back(std::move(snapshot));
    Frame& f = stack_.back();
    const uint32_t pc = pc_ = f.pc;
    const Insn insn = a_.program.insns[pc];
    Cell& dst = f.regs[insn.dst];
    const Cell src = f.regs[insn.src];
    f.pc = pc + (IsLdImm64(insn) ? 2 : 1);
    switch (Class(insn)) {
      case kClassLd:
        if (insn.src == kPseudoMapFd) dst = {Cell::kMapRef, 0, insn.imm};
        if (insn.src == kPseudoFunc) dst = {Cell::kFuncRef, 0, int64_t{pc} + insn.imm + 1};
        return;
      case kClassLdx: dst = DoLoad(src, insn.off, AccessBytes(insn)); return;
      case kClassSt: DoStore(dst, insn.off, AccessBytes(insn), {Cell::kNumber, 0, insn.imm}); return;
      case kClassStx:
        if (Mode(insn) == kModeAtomic) {
          if (dst.kind != Cell::kPointer) stopped_ = true;
          const Cell old = DoLoad(dst, insn.off, AccessBytes(insn));
          if (old.kind != Cell::kNumber || src.kind != Cell::kNumber) stopped_ = true;
          if (stopped_) return;
          const size_t before = stack_[dst.frame].written[(-(dst.value + insn.off) - 1) / 8];
          DoStore(dst, insn.off, AccessBytes(insn), {});
          // It read the slot: not an overwrite.
          if (!stopped_) stack_[dst.frame].written[(-(dst.value + insn.off) - 1) / 8] = before;
          if (insn.imm == kCmpxchg) {
            f.regs[0] = old;
          } else if ((insn.imm & kFetch) != 0) {
            f.regs[insn.src] = old;
          }
          return;
        }
        DoStore(dst, insn.off, AccessBytes(insn), src);
        return;
      case kClassAlu64: {
        const Cell operand = UsesX(insn) ? src : Cell{Cell::kNumber, 0, insn.imm};
        if (AluOp(insn) == kMov) {
          dst = operand;
        } else if (AluOp(insn) == kAdd && dst.kind == Cell::kPointer && operand.kind == Cell::kNumber) {
          dst.value += operand.value;
        } else if (AluOp(insn) == kAdd && dst.kind == Cell::kNumber && operand.kind == Cell::kPointer) {
          dst = {Cell::kPointer, operand.frame, operand.value + dst.value};
        } else if (dst.kind == Cell::kNumber && operand.kind == Cell::kNumber) {
          dst.value = (dst.value + operand.value) % 64;
        } else {
          stopped_ = true;
        }
        return;
      }
      default: Jump(insn, pc); return;
    }
  }

  void Jump(const Insn& insn, uint32_t pc) {
    Frame& f = stack_.back();
    if (JmpOp(insn) == kExit) {
      const Cell result = f.regs[0];
      if (result.kind == Cell::kPointer || stack_.size() == 1) {
        stopped_ = true;
        return;
      }
      stack_.pop_back();
      if (stack_.back().in_helper) {
        NextCallback();
      } else {
        ClobberAfterCall(result);
      }
      return;
    }
    if (JmpOp(insn) == kCall) {
      DoCall(insn, pc);
    } else if (JmpOp(insn) == kJa || Random(2) == 0) {
      f.pc = pc + 1 + static_cast<uint32_t>(int32_t{insn.off});
    }
  }
  void ClobberAfterCall(const Cell& result) {
    Frame& f = stack_.back();
    for (int r = 1; r <= 5; ++r) f.regs[r] = {};
    f.regs[0] = result;
  }
  void DoCall(const Insn& insn, uint32_t pc) {
    Frame& f = stack_.back();
    const std::array<Cell, kMaxReg> regs = f.regs;
    if (insn.src == kPseudoCall) {
      if (stack_.size() >= 8) {
        stopped_ = true;
        return;
      }
      Frame callee;
      callee.instance = a_.live->Callee(f.instance, pc);
      callee.pc = static_cast<uint32_t>(int64_t{pc} + insn.imm + 1);
      for (int r = 1; r <= 5; ++r) callee.regs[r] = regs[r];
      Enter(callee);
      return;
    }
    if (insn.src == kPseudoKfuncCall) {
      for (int r = 1; r <= 2; ++r) {
        if (regs[r].kind == Cell::kPointer && regs[r].value < 0) Read(regs[r].frame, regs[r].value, 1 + Random(8));
      }
    } else if (insn.imm == kLookup || insn.imm == kUpdate) {
      const int64_t map = regs[1].value;
      if (regs[1].kind != Cell::kMapRef) stopped_ = true;
      if (!stopped_) ReadMemory(regs[2], Maps()[map].key_size);
      if (!stopped_ && insn.imm == kUpdate) ReadMemory(regs[3], Maps()[map].value_size);
    } else if (insn.imm == kReadSized || insn.imm == kFillSized) {
      if (regs[2].kind != Cell::kNumber || regs[2].value < 0) stopped_ = true;
      if (!stopped_ && insn.imm == kReadSized) ReadMemory(regs[1], regs[2].value);
      if (!stopped_ && insn.imm == kFillSized && regs[1].kind == Cell::kPointer && Inside(regs[1], 0, regs[2].value)) {
        for (int64_t at = regs[1].value; at < regs[1].value + regs[2].value; ++at) {
          stack_[regs[1].frame].slots[(-at - 1) / 8] = {};
        }
      }
    } else if (insn.imm == kReadAny || insn.imm == kRead16) {
      ReadMemory(regs[1], insn.imm == kRead16 ? 16 : 1 + Random(24));
    } else if (insn.imm == kLoop) {
      if (regs[2].kind != Cell::kFuncRef || stack_.size() >= 8) stopped_ = true;
      f.in_helper = true;
      f.pc = pc;
      f.callbacks_left = Random(3);
      if (!stopped_) NextCallback();
      return;
    }
    if (!stopped_) ClobberAfterCall({});
  }
  void ReadMemory(const Cell& base, int64_t bytes) {
    if (base.kind != Cell::kNumber && Inside(base, 0, bytes)) Read(base.frame, base.value, bytes);
  }
  // The innermost frame waits at a kLoop call: run another callback or go on.
  void NextCallback() {
    Frame& f = stack_.back();
    if (f.callbacks_left-- <= 0) {
      ++f.pc;
      f.in_helper = false;
      ClobberAfterCall({});
      return;
    }
    Frame callback;
    callback.pc = static_cast<uint32_t>(f.regs[2].value);
    callback.instance = a_.live->Callee(f.instance, f.pc);
    callback.regs[2] = f.regs[3];
    Enter(callback);
  }

  const Analysed& a_;
  std::mt19937& rng_;
  std::vector<Frame> stack_;
  std::vector<Snapshot> history_;
  std::string error_;
  int64_t next_id_ = 0;
  int reads_ = 0;
  uint32_t pc_ = 0;  // the instruction in execution
  bool stopped_ = false;
};

class Generator {
 public:
  explicit Generator(std::mt19937* rng) : rng_(*rng) {}

  std::vector<Insn> Program() {
    const int subs = 1 + Random(4);
    for (int s = 0; s < subs; ++s) {
      starts_.push_back(static_cast<int>(insns_.size()));
      Sub(s, subs);
    }
    for (const auto& [at, sub] : calls_) insns_[at].imm = starts_[sub] - at - 1;
    return insns_;
  }

 private:
  int Random(int n) { return static_cast<int>(rng_() % static_cast<unsigned>(n)); }
  int Offset() { return -8 * (1 + Random(5)); }
  int Size() {
    static constexpr int kSizes[] = {kSizeDw, kSizeDw, kSizeDw, kSizeDw, kSizeW, kSizeB};
    return kSizes[Random(6)];
  }
  // Registers that mostly hold pointers, so that runs get somewhere.
  int Pointer() { return Random(3) == 0 ? 10 : Random(4) == 0 ? 1 + Random(5) : 6 + Random(3); }

  void Sub(int s, int subs) {
    const size_t first = insns_.size();
    std::vector<size_t> boundaries;
    // Pointers of all kinds to start with.
    insns_.push_back(MovReg(6, Random(3) == 0 ? 10 : 1 + Random(2)));
    insns_.push_back(MovReg(7, Random(2) == 0 ? 10 : 1 + Random(2)));
    insns_.push_back(MovReg(8, 10));
    insns_.push_back(Add(8, Offset()));
    insns_.push_back(Mov(9, 8 * Random(3)));
    insns_.push_back(Mov(0, 0));
    const int length = 4 + Random(16);
    bool called = s + 1 == subs;
    for (int k = 0; k < length; ++k) {
      boundaries.push_back(insns_.size());
      if (k == length / 2 && !called) CallTo(s + 1);
      switch (Random(21)) {
        case 0: insns_.push_back(MovReg(6 + Random(3), Random(2) == 0 ? 10 : 6 + Random(3))); break;
        case 1: insns_.push_back(Add(6 + Random(3), 8 * (Random(5) - 3))); break;
        case 2: insns_.push_back(Random(3) == 0 ? AddReg(6 + Random(3), 9) : Mov(6 + Random(3), 0)); break;
        case 3:
        case 4: {
          const int to = Random(2) == 0 ? 0 : 6 + Random(4);
          insns_.push_back(Load(Size(), to, Pointer(), Random(3) == 0 ? 0 : Offset()));
          break;
        }
        case 5:
        case 6: insns_.push_back(StoreImm(Size(), Pointer(), Random(3) == 0 ? 0 : Offset(), 8)); break;
        case 7:
        case 8: insns_.push_back(Store(kSizeDw, Random(3) == 0 ? Pointer() : 10, Offset(), 6 + Random(4))); break;
        case 9: insns_.push_back(Jeq(9, 0)); break;
        case 10: HelperCall(s, subs); break;
        case 11:
          if (s + 1 < subs) {
            CallTo(Random(12) == 0 ? s : s + 1 + Random(subs - s - 1));
          }
          break;
        case 12: {
          static constexpr int32_t kOps[] = {kAdd, kAdd | kFetch, kXchg, kCmpxchg};
          insns_.push_back(Atomic(Pointer(), Offset(), 9, kOps[Random(4)]));
          break;
        }
        case 19:  // ways with different pointers that meet, as merged tails of branches do
          insns_.push_back(MovReg(7, Random(2) == 0 ? 10 : 8));
          insns_.push_back(Add(7, Offset()));
          insns_.push_back(MakeInsn(kClassJmp | kJne, 9, 0, 1, 8));
          insns_.push_back(Add(7, 8 * (Random(5) - 3)));
          insns_.push_back(Random(3) == 0 ? StoreImm(kSizeDw, 7, 0, 8) : Load(Size(), 0, 7, 0));
          break;
        case 13:
        case 14:  // spill a pointer to the frame, fill a pointer from anywhere
          insns_.push_back(Store(kSizeDw, Random(3) == 0 ? Pointer() : 10, Offset(), 8));
          break;
        case 15:
        case 16: {
          const int to = 6 + Random(2);
          insns_.push_back(Load(kSizeDw, to, Random(2) == 0 ? Pointer() : 10, Offset()));
          if (Random(2) == 0) insns_.push_back(Load(kSizeDw, 0, to, Random(2) == 0 ? 0 : Offset()));
          break;
        }
        case 17: {  // a pointer or something else, by path
          const int to = 6 + Random(2);
          insns_.push_back(Random(2) == 0 ? Mov(to, 0) : MovReg(to, 1));
          insns_.push_back(MakeInsn(kClassJmp | kJne, 9, 0, 1, 1));
          insns_.push_back(MovReg(to, Random(2) == 0 ? 10 : 8));
          if (Random(2) == 0) insns_.push_back(StoreImm(kSizeDw, to, Random(2) == 0 ? 0 : Offset(), 0));
          if (Random(2) == 0) insns_.push_back(Store(kSizeDw, 10, Offset(), to));
          break;
        }
        case 18: {  // a pointer at an offset that is not a constant to the analysis
          const int to = 6 + Random(2);
          insns_.push_back(Mov(9, Offset()));
          insns_.push_back(MovReg(to, 10));
          insns_.push_back(AddReg(to, 9));
          if (Random(2) == 0) insns_.push_back(Store(kSizeDw, to, 0, 8));
          break;
        }
        default: insns_.push_back(Mov(9, 8 * Random(3)));
      }
    }
    boundaries.push_back(insns_.size());
    insns_.push_back(Mov(0, 0));
    insns_.push_back(Exit());
    for (size_t at = first; at < insns_.size(); ++at) {
      if (insns_[at].code != (kClassJmp | kJeq)) continue;
      size_t target = boundaries[static_cast<size_t>(Random(static_cast<int>(boundaries.size())))];
      if (target <= at && Random(3) != 0) target = boundaries.back();
      insns_[at].off = static_cast<int16_t>(static_cast<int>(target) - static_cast<int>(at) - 1);
    }
  }
  void Arguments() {
    for (int r = 1; r <= 2 + Random(2); ++r) {
      insns_.push_back(MovReg(r, Random(4) == 0 ? 10 : 6 + Random(3)));
      if (Random(2) == 0) insns_.push_back(Add(r, Offset()));
    }
  }
  void CallTo(int sub) {
    Arguments();
    calls_.emplace_back(static_cast<int>(insns_.size()), sub);
    insns_.push_back(Call(0));
  }
  void HelperCall(int s, int subs) {
    static constexpr int32_t kHelpers[] = {kLookup, kUpdate, kReadSized, kFillSized, kReadAny, kRead16, kLoop, -1};
    const int32_t id = kHelpers[Random(8)];
    Arguments();
    if (id == kLookup || id == kUpdate) {
      insns_.push_back(MovReg(2, 10));
      insns_.push_back(Add(2, Offset() - 8));
      insns_.push_back(MovReg(3, 10));
      insns_.push_back(Add(3, Offset() - 16));
      insns_.push_back(MapLo(1, Random(2)));
      insns_.push_back(Imm64Hi());
    } else if (id == kReadSized || id == kFillSized) {
      insns_.push_back(Random(3) == 0 ? MovReg(2, 9) : Mov(2, 4 * (1 + Random(4))));
    } else if (id == kLoop) {
      if (s + 1 >= subs) return;
      insns_.push_back(MovReg(3, Random(3) == 0 ? 6 : 10));
      calls_.emplace_back(static_cast<int>(insns_.size()), s + 1 + Random(subs - s - 1));
      insns_.push_back(FuncLo(2, 0));
      insns_.push_back(Imm64Hi());
    }
    insns_.push_back(id < 0 ? Kfunc(0) : Helper(id));
  }

  std::mt19937& rng_;
  std::vector<Insn> insns_;
  std::vector<int> starts_;
  std::vector<std::pair<int, int>> calls_;  // instruction, subprogram
};

TEST(LivenessSoundness, WhateverIsReadWasReportedLive) {
  std::mt19937 rng(20260101);
  int reads = 0;
  for (int round = 0; round < 200; ++round) {
    Analysed a(Generator(&rng).Program());
    a.Build();
    for (int run = 0; run < 8; ++run) {
      ConcreteRun concrete(a, &rng);
      const std::string error = concrete.Go();
      reads += concrete.reads();
      ASSERT_EQ(error, "") << "round " << round;
    }
  }
  EXPECT_GT(reads, 20000);
}

}  // namespace
}  // namespace bpfsieve
