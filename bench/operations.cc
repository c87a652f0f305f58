// The operations that a verification is made of.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

#include "engine/domain/scalar.h"
#include "engine/isa/insn.h"
#include "engine/state/state.h"

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

// A copy of a state with `slots` spilled registers, and one write to the copy's registers.
void Fork(benchmark::State& state) {
  StateDepot depot;
  StatePool pool(depot);
  State* from = pool.NewEntry(0, 0);
  const int slots = static_cast<int>(state.range(0));
  for (int i = 0; i < slots; ++i) {
    StackSlot& slot = pool.WritableSlot(from->frame(), i);
    slot.spilled.MakeUnknown();
    for (SlotByte& b : slot.bytes) b = SlotByte::kSpill;
    from->frame().spills |= uint64_t{1} << i;
  }
  from->frame().slots = slots;
  for (auto _ : state) {
    State* copy = pool.Clone(*from);
    copy->regs()[0].MakeUnknown();
    pool.Free(copy);
  }
  pool.Free(from);
}
BENCHMARK(Fork)->Arg(0)->Arg(8)->Arg(64);

}  // namespace
}  // namespace bpfsieve
