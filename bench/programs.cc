// Whole verifications, from instructions to verdict, of programs of known shape.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bpfsieve/verify.h"
#include "engine/isa/insn.h"
#include "engine/program/program.h"

namespace bpfsieve {
namespace {

ObjectFile Xdp(std::vector<Insn> insns, std::vector<MapDef> maps = {}) {
  auto object = std::make_shared<Object>();
  object->license = "GPL";
  object->maps = std::move(maps);
  Program p;
  p.name = "bench";
  p.type = ProgType::kXdp;
  p.attach = AttachType::kXdp;
  p.insns = std::move(insns);
  p.subprogs.push_back({0, "bench", 0, false});
  object->programs.push_back(std::move(p));
  return ObjectFile(std::move(object));
}

void Measure(benchmark::State& state, const ObjectFile& file) {
  Report report;
  for (auto _ : state) {
    report = Verify(file, 0, {});
    benchmark::DoNotOptimize(report);
  }
  if (report.verdict != "accept") state.SkipWithError(report.message.c_str());
  state.counters["insns"] = static_cast<double>(report.stats.prog_size);
  state.counters["processed"] = static_cast<double>(report.stats.total_insns);
}

constexpr int kMov64 = kClassAlu64 | kMov, kAdd64 = kClassAlu64 | kAdd;

// One move, `additions` additions of a constant, exit.
void StraightLine(benchmark::State& state) {
  std::vector<Insn> insns = {MakeInsn(kMov64, 0)};
  for (int64_t i = 0; i < state.range(0) - 2; ++i) insns.push_back(MakeInsn(kAdd64, 0, 0, 0, 1));
  insns.push_back(MakeInsn(kCodeExit));
  Measure(state, Xdp(std::move(insns)));
}
BENCHMARK(StraightLine)->Arg(2)->Arg(23)->Arg(611)->Arg(4000);

// Diamonds after each other, each on a number that nothing is known of: both ways are open, and meet.
void Diamonds(benchmark::State& state) {
  std::vector<Insn> insns = {MakeInsn(kMov64 | kSrcX, 8, 1), MakeInsn(kMov64, 0)};
  for (int64_t i = 0; i < state.range(0); ++i) {
    insns.push_back(MakeInsn(kClassLdx | kModeMem | kSizeW, 6, 8, 12));
    insns.push_back(MakeInsn(kClassJmp | kJgt, 6, 0, 1, static_cast<int32_t>(i % 100)));
    insns.push_back(MakeInsn(kMov64, 7, 0, 0, 1));
    insns.push_back(MakeInsn(kMov64, 0, 0, 0, 1));
  }
  insns.push_back(MakeInsn(kCodeExit));
  Measure(state, Xdp(std::move(insns)));
}
BENCHMARK(Diamonds)->Arg(10)->Arg(100)->Arg(250)->Arg(1000);

// Two bounded loops, one within the other.
void NestedLoops(benchmark::State& state) {
  const auto rounds = static_cast<int32_t>(state.range(0));
  std::vector<Insn> insns = {MakeInsn(kMov64, 0), MakeInsn(kMov64, 6),
                             MakeInsn(kMov64, 7),
                             MakeInsn(kAdd64, 7, 0, 0, 1),
                             MakeInsn(kClassJmp | kJlt, 7, 0, -2, rounds),
                             MakeInsn(kAdd64, 6, 0, 0, 1),
                             MakeInsn(kClassJmp | kJlt, 6, 0, -5, rounds),
                             MakeInsn(kCodeExit)};
  Measure(state, Xdp(std::move(insns)));
}
BENCHMARK(NestedLoops)->Arg(10)->Arg(100);

// A look-up in a hash, a branch, a bounded loop over the value, a helper: 23 instructions.
void Medium(benchmark::State& state) {
  MapDef map;
  map.name = "counters";
  map.type = MapType::kHash;
  map.key_size = 4;
  map.value_size = 64;
  map.max_entries = 16;
  const std::vector<Insn> insns = {
      MakeInsn(kClassLdx | kModeMem | kSizeW, 6, 1, 12), MakeInsn(kClassStx | kModeMem | kSizeW, 10, 6, -4),
      MakeInsn(kMov64 | kSrcX, 2, 10), MakeInsn(kAdd64, 2, 0, 0, -4),
      MakeInsn(kCodeLdImm64, 1, kPseudoMapFd, 0, 0), MakeInsn(0), MakeInsn(kCodeCall, 0, 0, 0, 1),
      MakeInsn(kClassJmp | kJeq, 0, 0, 12, 0), MakeInsn(kMov64 | kSrcX, 7, 0), MakeInsn(kMov64, 8),
      MakeInsn(kMov64 | kSrcX, 9, 7), MakeInsn(kAdd64 | kSrcX, 9, 8),
      MakeInsn(kClassLdx | kModeMem | kSizeB, 3, 9), MakeInsn(kAdd64, 3, 0, 0, 1),
      MakeInsn(kClassStx | kModeMem | kSizeB, 9, 3), MakeInsn(kAdd64, 8, 0, 0, 1),
      MakeInsn(kClassJmp | kJlt, 8, 0, -7, 4), MakeInsn(kCodeCall, 0, 0, 0, 5),
      MakeInsn(kClassAlu64 | kAnd, 0, 0, 0, 1), MakeInsn(kCodeExit), MakeInsn(kMov64, 0, 0, 0, 2),
      MakeInsn(kAdd64, 0, 0, 0, 0), MakeInsn(kCodeExit)};
  Measure(state, Xdp(insns, {map}));
}
BENCHMARK(Medium);

}  // namespace
}  // namespace bpfsieve
