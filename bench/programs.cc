// Whole verifications, from instructions to verdict, of programs of known shape. Those that are quoted are among them: 2, 23
// and 611 instructions in a straight line, 250 diamonds, a loop over a map's value (23 instructions), and 25 blocks of
// branches, helpers and calls (541).
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "fuzz/generate.h"
#include "fuzz/shapes.h"

namespace bpfsieve {
namespace {

void Measure(benchmark::State& state, const ObjectFile& file, bool may_reject) {
  Report report;
  for (auto _ : state) {
    report = Verify(file, 0, {});
    benchmark::DoNotOptimize(report);
  }
  if (report.verdict != "accept" && !may_reject) state.SkipWithError(report.message.c_str());
  state.counters["insns"] = static_cast<double>(report.stats.prog_size);
  state.counters["processed"] = static_cast<double>(report.stats.total_insns);
  state.counters["peak_bytes"] = static_cast<double>(report.stats.mem_peak);
}

void OfShape(benchmark::State& state, const char* name) {
  Measure(state, ObjectFile(MakeShape(name, static_cast<uint32_t>(state.range(0)))), false);
}
BENCHMARK_CAPTURE(OfShape, straight-line, "straight-line")->Arg(2)->Arg(23)->Arg(100)->Arg(611)->Arg(4000);
BENCHMARK_CAPTURE(OfShape, diamonds, "diamonds")->Arg(10)->Arg(50)->Arg(250)->Arg(1000);
BENCHMARK_CAPTURE(OfShape, precise-counter, "precise-counter")->Arg(10)->Arg(50)->Arg(250);
BENCHMARK_CAPTURE(OfShape, nested-loops, "nested-loops")->Arg(10)->Arg(30)->Arg(100);
BENCHMARK_CAPTURE(OfShape, call-chain, "call-chain")->Arg(1)->Arg(10)->Arg(100);
BENCHMARK_CAPTURE(OfShape, switch, "switch")->Arg(10)->Arg(100)->Arg(1000);
BENCHMARK_CAPTURE(OfShape, map-loop, "map-loop")->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(OfShape, mixed, "mixed")->Arg(1)->Arg(25)->Arg(250);

// Generated programs, thousands of instructions each, by seed; most are accepted.
void Generated(benchmark::State& state) {
  Measure(state, ObjectFile(Generate(static_cast<uint64_t>(state.range(0)), GenerateOptions::Big())), true);
}
BENCHMARK(Generated)->Arg(0)->Arg(1)->Arg(2)->Arg(3);

// Many programs, one after the other: the small ones that the generator writes.
void Batch(benchmark::State& state) {
  std::vector<ObjectFile> files;
  for (int64_t seed = 0; seed < state.range(0); ++seed) {
    files.emplace_back(Generate(static_cast<uint64_t>(seed % 16), GenerateOptions{}));
  }
  for (auto _ : state) {
    for (const ObjectFile& file : files) benchmark::DoNotOptimize(Verify(file, 0, {}));
  }
}
BENCHMARK(Batch)->Arg(16)->Arg(64)->Arg(256);

}  // namespace
}  // namespace bpfsieve
