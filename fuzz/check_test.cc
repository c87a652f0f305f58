#include "fuzz/check.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "bpfsieve/verify.h"
#include "engine/verify/passes.h"
#include "fuzz/generate.h"
#include "fuzz/reduce.h"
#include "fuzz/share.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

constexpr char kMaps[] =
    ".map hash type=hash key=4 value=8 entries=4\n.map ring type=ringbuf key=0 value=0 entries=4096\n"
    ".map guarded type=array key=4 value=16 entries=1 field=spin_lock@0\n";

ObjectFile Parsed(const std::string& text) {
  absl::StatusOr<ObjectFile> file =
      ObjectFile::Parse(".type xdp\n" + std::string(kMaps) + ".prog p\n" + text, "test.bpfasm", {});
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

// Shows the log something else than what the search did.
class Liar : public StateObserver {
 public:
  Liar(StateLog& log, void (*lie)(State&, StatePool&), uint32_t at) : log_(log), lie_(lie), at_(at) {}
  void At(const Context& context, uint32_t insn, const State& state) override {
    StateDepot depot;
    StatePool pool(depot);
    State* copy = pool.Clone(state);
    if (insn == at_) lie_(*copy, pool);
    log_.At(context, insn, *copy);
    pool.Free(copy);
  }

 private:
  StateLog& log_;
  void (*lie_)(State&, StatePool&);
  uint32_t at_;
};

// What containment says of the program if the search's states at `insn` were what `lie` makes of them; "" if nothing.
std::string Violated(const std::string& text, uint32_t insn, void (*lie)(State&, StatePool&)) {
  const ObjectFile file = Parsed(text);
  const Object& object = file.object();
  const size_t n = object.programs[0].insns.size();
  StateLog log;
  log.Clear(n);
  VisitLog visits;
  visits.Clear(n);
  Liar liar(log, lie, insn);
  const Passes passes(object, object.programs[0]);
  EXPECT_EQ(passes.Search({}, {.observer = &liar, .all_precise = true}).verdict, Verdict::kAccept);
  EXPECT_EQ(passes.Search({}, {.observer = &visits}).verdict, Verdict::kAccept);
  Machine machine;
  machine.Load(object, 0);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Containment containment(visits, &log, n);
    if (machine.Run(seed, 1000, &containment).kind == Outcome::Kind::kStopped) return containment.violation();
  }
  return "";
}
void Truth(State&, StatePool&) {}

constexpr char kNumber[] = "r2 = *(u32 *)(r1 +12)\nr2 &= 15\nr0 = r2\nexit\n";

TEST(Containment, WhatTheSearchKnowsHolds) { EXPECT_EQ(Violated(kNumber, 2, Truth), ""); }

TEST(Containment, ARangeThatIsTooSmallIsFound) {
  EXPECT_NE(Violated(kNumber, 2, [](State& s, StatePool&) { s.regs()[2].s.umax = 14; }), "");
}

TEST(Containment, AWrongBitIsFound) {
  EXPECT_NE(Violated(kNumber, 2, [](State& s, StatePool&) { s.regs()[2].s.var_off = Tnum{0, 14}; }), "");
}

TEST(Containment, WhatIsNotReadAnyMoreDoesNotCount) {
  EXPECT_EQ(Violated(kNumber, 3, [](State& s, StatePool&) { s.regs()[2].MakeScalar(Scalar::Const(99)); }), "");
}

constexpr char kPacket[] =
    "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 8\nif r4 > r3 goto end\nr0 = *(u64 *)(r2 +0)\nend:\n"
    "r0 = 1\nexit\n";

TEST(Containment, APacketThatIsShorterThanClaimedIsFound) {
  EXPECT_EQ(Violated(kPacket, 5, Truth), "");
  EXPECT_NE(Violated(kPacket, 5, [](State& s, StatePool&) { s.regs()[2].range = 9; }), "");
}

TEST(Containment, AnOffsetIsPartOfAPointer) {
  EXPECT_NE(Violated(kPacket, 4, [](State& s, StatePool&) { s.regs()[4].off = 7; }), "");
}

constexpr char kSpilled[] =
    "r2 = *(u32 *)(r1 +12)\n*(u64 *)(r10 -8) = r2\nr3 = *(u64 *)(r10 -8)\nif r2 > 5 goto end\nr0 = r3\nend:\nr0 = 1\nexit\n";

TEST(Containment, SpilledNumbersAndLinksHold) { EXPECT_EQ(Violated(kSpilled, 4, Truth), ""); }

TEST(Containment, ASpilledNumberThatIsWrongIsFound) {
  EXPECT_NE(Violated(kSpilled, 2, [](State& s, StatePool& pool) {
              pool.WritableSlot(s.frame(), 0).spilled.s = Scalar::Const(1);
            }),
            "");
}

TEST(Containment, AStoredNumberThatIsWrongIsFound) {
  constexpr char kStored[] = "*(u64 *)(r10 -8) = 5\nr0 = *(u64 *)(r10 -8)\nexit\n";
  EXPECT_EQ(Violated(kStored, 1, Truth), "");
  EXPECT_NE(Violated(kStored, 1, [](State& s, StatePool& pool) {
              pool.WritableSlot(s.frame(), 0).spilled.s = Scalar::Const(6);
            }),
            "");
}

TEST(Containment, AMaskOfSignsGoesOnInTwoStates) {
  EXPECT_EQ(Violated("r2 = *(u32 *)(r1 +12)\nr2 <<= 32\nr2 s>>= 63\nr2 |= 5\nr0 = r2\nexit\n", 4, Truth), "");
}

constexpr char kRecord[] =
    "r1 = map[ring]\nr2 = 8\nr3 = 0\ncall 131\nif r0 == 0 goto end\nr1 = r0\nr2 = 0\ncall 132\nend:\nr0 = 0\nexit\n";

TEST(Containment, AReferenceThatIsForgottenIsFound) {
  EXPECT_EQ(Violated(kRecord, 8, Truth), "");
  EXPECT_NE(Violated(kRecord, 8, [](State& s, StatePool&) { s.refs.clear(); }), "");
}

constexpr char kLocked[] =
    "r6 = 0\n*(u32 *)(r10 -4) = r6\nr1 = map[guarded]\nr2 = r10\nr2 += -4\ncall 1\nif r0 == 0 goto end\nr6 = r0\n"
    "r1 = r6\ncall 93\nr1 = r6\ncall 94\nend:\nr0 = 0\nexit\n";

TEST(Containment, ALockThatIsForgottenIsFound) {
  EXPECT_EQ(Violated(kLocked, 11, Truth), "");
  EXPECT_NE(Violated(kLocked, 11, [](State& s, StatePool&) { s.active_locks = 0; }), "");
}

TEST(Containment, AWrongPointerIntoAMapIsDescribed) {
  const std::string said = Violated(kLocked, 7, [](State& s, StatePool&) { s.regs()[0].off = 4; });
  EXPECT_NE(said.find("R0 = map_value"), std::string::npos) << said;
}

// Two look-ups, of which either may find nothing.
constexpr char kTwice[] =
    "r6 = 0\n*(u32 *)(r10 -4) = r6\nr1 = map[hash]\nr2 = r10\nr2 += -4\ncall 1\nr6 = r0\nr1 = map[hash]\nr2 = r10\n"
    "r2 += -4\ncall 1\nif r0 == 0 goto end\nif r6 == 0 goto end\nr0 = *(u64 *)(r6 +0)\nend:\nr0 = 0\nexit\n";

TEST(Containment, ObjectsTakenForTheSameOneAreFound) {
  EXPECT_EQ(Violated(kTwice, 13, Truth), "");
  EXPECT_NE(Violated(kTwice, 13, [](State& s, StatePool&) { s.regs()[6].id = s.regs()[0].id; }), "");
}

// Whether the states of the search as it is are no good to compare with.
bool Imprecise(const std::string& text) {
  const ObjectFile file = Parsed(text);
  const Object& object = file.object();
  StateLog log;
  log.Clear(object.programs[0].insns.size());
  EXPECT_EQ(Passes(object, object.programs[0]).Search({.test_state_freq = true}, {.observer = &log}).verdict, Verdict::kAccept);
  return log.imprecise();
}

TEST(Containment, AScalarThatNothingReliesOnMayLieOutsideOfTheStateThatCoversIt) {
  EXPECT_TRUE(Imprecise("r2 = *(u32 *)(r1 +12)\nr3 = 1\nif r2 == 0 goto l\nr3 = 5\nl:\nr0 = 0\nr0 += r3\nr0 = 0\nexit\n"));
  EXPECT_FALSE(Imprecise("r2 = *(u32 *)(r1 +12)\nr3 = 5\nif r2 == 0 goto l\nr3 = 5\nl:\nr0 = 0\nr0 += r3\nr0 = 0\nexit\n"));
}

// The real thing: no program that is accepted does anything that the search did not consider.
TEST(Check, GeneratedProgramsPassEveryOracle) {
  Checker checker({});
  for (uint64_t seed = 7'000'000; seed < 7'000'000 + 4000 / kShare; ++seed) {
    GenerateOptions options;
    options.broken = seed % 2 == 0 ? 0.1 : 0.4;
    options.max_insns = 120;
    checker.options().parallel = seed % 16 == 0;
    const std::shared_ptr<Object> object = Generate(seed, options);
    const std::optional<Violation> v = checker.Check(object, 0, seed);
    ASSERT_FALSE(v) << v->oracle << ": " << v->what << " at " << v->insn << ", run " << v->run_seed << "\n"
                    << AsmFileText(*object, "seed " + std::to_string(seed));
  }
  const CheckCounts& c = checker.counts();
  EXPECT_GT(c.accepted, c.programs / 3);
  EXPECT_GT(c.contained, c.accepted * 9 / 10);
  EXPECT_GT(c.naive, c.programs / 2);
  EXPECT_GT(c.executed, c.runs * 10);
  EXPECT_LT(c.not_modelled, c.runs / 20);
}

// The kernel, too, lets stack that was never written cover a pointer: in a search that stops at every instruction, the
// way on which fp-104 is a pointer is cut off. That is nothing to report.
TEST(Check, StackThatWasNeverWrittenMayCoverAPointer) {
  const ObjectFile file = Parsed(
      "r3 = *(u64 *)(r10 -8)\nr2 = 1\nif r3 & r2 goto l\ngoto m\nl:\n*(u64 *)(r10 -104) = r1\nm:\n"
      "r9 = *(u64 *)(r10 -104)\nr9 ^= 0\nr0 = 0\nexit\n");
  Checker checker({});
  const auto object = std::make_shared<Object>();
  object->license = file.object().license;
  object->programs.push_back(file.object().programs[0]);
  for (uint64_t seed = 0; seed < 4; ++seed) {  // with and without states recorded everywhere
    const std::optional<Violation> v = checker.Check(object, 0, seed);
    EXPECT_FALSE(v) << v->oracle << ": " << v->what;
  }
  EXPECT_EQ(checker.counts().accepted, 2u);
  EXPECT_EQ(checker.counts().rejected, 2u);
}

TEST(Shrink, KeepsWhatMatters) {
  const ObjectFile file = Parsed(
      "r6 = r1\nr2 = 5\nr3 = 7\nif r2 > 3 goto l\nr3 += 1\nl:\n*(u64 *)(r10 -8) = r3\nr4 = 123456\nr4 *= 3\ncall 5\nr0 = 0\nexit\n");
  uint64_t asked = 0;
  const auto has_call = [&](const std::shared_ptr<const Object>& object) {
    ++asked;
    for (const Insn& i : object->programs[0].insns) {
      if (IsHelperCall(i)) return true;
    }
    return false;
  };
  EXPECT_EQ(Shrink(file.object(), has_call)->programs[0].insns.size(), 1u);
  asked = 0;
  (void)Shrink(file.object(), has_call, 10);
  EXPECT_LE(asked, 10u);
}

TEST(Shrink, JumpsStillLeadToTheSamePlace) {
  const ObjectFile file = Parsed("r0 = 1\nr2 = 5\nif r2 > 3 goto l\nr0 = 2\nr0 = 3\nl:\nr0 += 4\nexit\n");
  // Keeps the jump and its target; what lies between goes.
  const auto keeps = [](const std::shared_ptr<const Object>& object) {
    Machine machine;
    machine.Load(*object, 0);
    const Outcome out = machine.Run(1, 100, nullptr);
    return out.kind == Outcome::Kind::kExit && out.r0 == 5;
  };
  const std::shared_ptr<const Object> small = Shrink(file.object(), keeps);
  EXPECT_TRUE(keeps(small));
  EXPECT_LE(small->programs[0].insns.size(), 3u);
}

}  // namespace
}  // namespace bpfsieve
