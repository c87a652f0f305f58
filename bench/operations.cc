// The operations that a verification is made of.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bpfsieve/verify.h"
#include "engine/domain/scalar.h"
#include "engine/explore/path.h"
#include "engine/isa/decode.h"
#include "engine/isa/insn.h"
#include "engine/state/state.h"
#include "fuzz/shapes.h"

namespace bpfsieve {
namespace {

// Numbers of the kinds that programs have: bytes, bounded indices, unknown words, masks.
std::array<Scalar, 8> Numbers() {
  std::array<Scalar, 8> n;
  n[0] = Scalar::Const(7);
  n[1] = Scalar::Unknown();
  n[2] = Scalar::Unknown();
  CoerceToSize(n[2], 1);
  n[3] = Scalar::Unknown();
  CoerceToSize(n[3], 4);
  n[4] = n[2];
  AluScalar(kAnd, true, 0, n[4], Scalar::Const(60));
  n[5] = n[3];
  AluScalar(kRsh, true, 0, n[5], Scalar::Const(3));
  n[6] = n[2];
  AluScalar(kSub, true, 0, n[6], Scalar::Const(14));
  n[7] = n[4];
  AluScalar(kMul, true, 0, n[7], Scalar::Const(4));
  return n;
}

void TnumAddition(benchmark::State& state) {
  const auto n = Numbers();
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(TnumAdd(n[i & 7].var_off, n[(i + 3) & 7].var_off));
    ++i;
  }
}
BENCHMARK(TnumAddition);

void Operation(benchmark::State& state, uint8_t op, bool is64) {
  const auto n = Numbers();
  size_t i = 0;
  for (auto _ : state) {
    Scalar dst = n[i & 7];
    AluScalar(op, is64, 0, dst, n[(i + 3) & 7]);
    benchmark::DoNotOptimize(dst);
    ++i;
  }
}
BENCHMARK_CAPTURE(Operation, add64, kAdd, true);
BENCHMARK_CAPTURE(Operation, add32, kAdd, false);
BENCHMARK_CAPTURE(Operation, sub64, kSub, true);
BENCHMARK_CAPTURE(Operation, mul64, kMul, true);
BENCHMARK_CAPTURE(Operation, and64, kAnd, true);
BENCHMARK_CAPTURE(Operation, rsh64, kRsh, true);

void CrossRefinement(benchmark::State& state) {
  const auto n = Numbers();
  size_t i = 0;
  for (auto _ : state) {
    Scalar s = n[i & 7];
    UnboundRange32(s);
    SyncBounds(s);
    benchmark::DoNotOptimize(s);
    ++i;
  }
}
BENCHMARK(CrossRefinement);

void Branch(benchmark::State& state) {
  const auto n = Numbers();
  size_t i = 0;
  for (auto _ : state) {
    Scalar ta = n[i & 7], tb = Scalar::Const(9), fa = ta, fb = tb;
    RefineBranch(ta, tb, fa, fb, kJgt, false);
    benchmark::DoNotOptimize(ta);
    benchmark::DoNotOptimize(fa);
    ++i;
  }
}
BENCHMARK(Branch);

void StateOfOneFrame(benchmark::State& state) {
  StateDepot depot;
  StatePool pool(depot);
  for (auto _ : state) pool.Free(pool.NewEntry(0, 0));
}
BENCHMARK(StateOfOneFrame);

// A state whose first `slots` slots hold a register each.
State* Entry(StatePool& pool, int slots) {
  State* state = pool.NewEntry(0, 0);
  state->regs()[1].MakePointer(RegType::kCtx);
  for (int r = 2; r < 6; ++r) state->regs()[r].MakeUnknown();
  for (int i = 0; i < slots; ++i) {
    StackSlot& slot = pool.WritableSlot(state->frame(), i);
    slot.spilled.MakeUnknown();
    for (SlotByte& b : slot.bytes) b = SlotByte::kSpill;
    state->frame().spills |= uint64_t{1} << i;
  }
  state->frame().slots = slots;
  return state;
}

// A copy of a state, and one write to the copy's registers.
void Fork(benchmark::State& state) {
  StateDepot depot;
  StatePool pool(depot);
  State* from = Entry(pool, static_cast<int>(state.range(0)));
  for (auto _ : state) {
    State* copy = pool.Clone(*from);
    copy->regs()[0].MakeUnknown();
    pool.Free(copy);
  }
  pool.Free(from);
}
BENCHMARK(Fork)->Arg(0)->Arg(8)->Arg(64);

LiveMasks AllLive() {
  LiveMasks live;
  live.regs[0] = 0x3ff;
  live.slots[0] = ~uint64_t{0};
  return live;
}

// Whether a recorded state covers one that is equal to it, all of it live and relied upon.
void Subsumption(benchmark::State& state) {
  StateDepot depot;
  StatePool pool(depot);
  State* old = Entry(pool, static_cast<int>(state.range(0)));
  State* now = pool.Clone(*old);
  if (old->frame().slots > 0) pool.WritableSlot(now->frame(), 0).spilled.MakeUnknown();  // pages of its own
  PreciseMarks precise;
  precise.regs[0] |= static_cast<uint16_t>(0x3ff);
  precise.slots[0] |= ~uint64_t{0};
  const CompareMasks masks = MasksFor(*old, AllLive());
  FailureHint hint;
  IdMap ids;
  for (auto _ : state) benchmark::DoNotOptimize(Subsumes(*old, precise, masks, *now, 1, ids, hint));
  pool.Free(now);
  pool.Free(old);
}
BENCHMARK(Subsumption)->Arg(0)->Arg(8)->Arg(64);

// What the threads of one search share: recorded states, which any of them may read, and only one adds to.
struct Recorded {
  static constexpr int kStates = 64;
  StateDepot depot;
  StatePool pool{depot, /*shared=*/true};
  std::vector<Checkpoint> list = std::vector<Checkpoint>(kStates);
  Recorded() {
    for (Checkpoint& c : list) {
      State* s = Entry(pool, 4);
      // None but the last covers a state whose register is unknown.
      if (&c != &list.back()) s->regs()[2].MakeScalar(Scalar::Const(static_cast<uint64_t>(&c - list.data())));
      c.types = Fingerprint(s->frame(), 0x3ff, &c.types_mask);
      c.shared.masks = MasksFor(*s, AllLive());
      c.shared.precise.regs[0] |= static_cast<uint16_t>(0x3ff);
      c.shared.state = s;
    }
  }
};

// A look-up among 64 states of one place, of which the last covers the one in question.
void LookUp(benchmark::State& state) {
  static Recorded recorded;
  StatePool pool(recorded.depot, true);
  State* now = Entry(pool, 4);
  IdMap ids;
  for (auto _ : state) {
    const uint64_t types = Fingerprint(now->frame(), 0, nullptr);
    bool found = false;
    for (Checkpoint& c : recorded.list) {
      if (((types ^ c.types) & c.types_mask) != 0) continue;
      found = Subsumes(*c.shared.state, c.shared.precise, c.shared.masks, *now, 1, ids, c.hint);
      if (found) break;
    }
    benchmark::DoNotOptimize(found);
  }
  pool.Free(now);
}
BENCHMARK(LookUp)->ThreadRange(1, 16)->UseRealTime();

// A state is copied, prepared for comparisons, and given up again; each thread has its own pool of one depot.
void Insertion(benchmark::State& state) {
  static StateDepot depot;
  StatePool pool(depot, true);
  State* now = Entry(pool, 4);
  Checkpoint c;
  for (auto _ : state) {
    State* copy = pool.Clone(*now);
    c.types = Fingerprint(copy->frame(), 0x3ff, &c.types_mask);
    c.shared.masks = MasksFor(*copy, AllLive());
    benchmark::DoNotOptimize(c);
    pool.Free(copy);
  }
  pool.Free(now);
}
BENCHMARK(Insertion)->ThreadRange(1, 16)->UseRealTime();

// Per instruction.
void Decode(benchmark::State& state) {
  const std::vector<Insn> insns = MakeShape("mixed", 25)->programs[0].insns;
  for (auto _ : state) benchmark::DoNotOptimize(CheckEncoding(insns.data(), insns.size()));
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(insns.size()));
}
BENCHMARK(Decode);

// From the bytes of an object to programs; with `core`, one whose accesses are relocated against kernel types.
void Load(benchmark::State& state, const char* name, bool core) {
  const std::string path = std::string(BPFSIEVE_CORPUS_DIR "/objects/") + name;
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const LoadOptions options = {.kernel_btf = core ? BPFSIEVE_CORPUS_DIR "/kernel/types.o" : "none"};
  for (auto _ : state) {
    const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(bytes, path, options);
    if (!file.ok()) {
      state.SkipWithError(file.status().ToString().c_str());
      break;
    }
    benchmark::DoNotOptimize(file);
  }
}
BENCHMARK_CAPTURE(Load, elf, "xdp_count.o", false);
BENCHMARK_CAPTURE(Load, core, "kprobe_core.o", true);

}  // namespace
}  // namespace bpfsieve
