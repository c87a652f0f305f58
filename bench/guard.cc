// What verification costs, in figures that do not depend on the machine: verdict, processed instructions and peak states of
// a fixed set of programs, one line each. Under `valgrind --tool=callgrind --collect-atstart=no` a profile is dumped after
// each verification as well, whose total is the number of machine instructions that it took. scripts/guard compares both
// with bench/guard.csv.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bpfsieve/verify.h"
#include "corpus/expectations.h"
#include "fuzz/generate.h"
#include "fuzz/shapes.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_DUMP_STATS_AT(name)
#endif

namespace bpfsieve {
namespace {

constexpr uint32_t kSizes[] = {2, 23, 250};
constexpr int kRounds = 3;
constexpr uint64_t kLong = 10'000;  // processed instructions
constexpr uint64_t kSmall = 60, kBig = 3;  // generated programs, from seed 0 on

void Measure(const std::string& object, const ObjectFile& file, const Target& target = {}) {
  for (int i = 0; i < file.program_count(); ++i) {
    const std::string name = absl::StrCat(object, ":", std::string(file.program_name(i)));
    Report report;
    // What an allocation costs depends on what was freed before, and so on the programs before this one: the least counts.
    // (A process for each program would do away with that, and take six minutes under callgrind.) In a long search it drowns.
    for (int round = 0; round < kRounds && (round == 0 || report.stats.total_insns < kLong); ++round) {
      CALLGRIND_TOGGLE_COLLECT;
      report = Verify(file, i, {.target = target});
      CALLGRIND_TOGGLE_COLLECT;
      CALLGRIND_DUMP_STATS_AT(name.c_str());
    }
    absl::PrintF("%s,%s,%u,%u\n", name, std::string(report.verdict), report.stats.total_insns, report.stats.peak_states);
  }
}

int Run() {
  absl::PrintF("program,verdict,processed,peak_states\n");
  for (const Shape& shape : Shapes()) {
    for (const uint32_t size : kSizes) {
      if (size <= shape.max) Measure(absl::StrCat(std::string(shape.name), "-", size), ObjectFile(MakeShape(shape.name, size)));
    }
  }
  for (uint64_t seed = 0; seed < kSmall + kBig; ++seed) {
    const bool small = seed < kSmall;
    const std::shared_ptr<Object> object = Generate(seed, small ? GenerateOptions{} : GenerateOptions::Big());
    object->kernel_btf = "none";
    Measure(absl::StrCat(small ? "small-" : "big-", seed), ObjectFile(object));
  }
  const absl::StatusOr<std::vector<CorpusFile>> corpus = ReadCorpus(BPFSIEVE_CORPUS_DIR);
  if (!corpus.ok()) {
    absl::FPrintF(stderr, "guard: %s\n", corpus.status().ToString());
    return 2;
  }
  for (const CorpusFile& entry : *corpus) {
    const absl::StatusOr<CorpusObject> file = OpenCorpusFile(entry, CorpusKernelTypes(BPFSIEVE_CORPUS_DIR));
    if (!file.ok()) {
      absl::FPrintF(stderr, "guard: %s\n", file.status().ToString());
      return 2;
    }
    Measure(entry.name, file->object, file->Attach());
  }
  return 0;
}

}  // namespace
}  // namespace bpfsieve

int main() { return bpfsieve::Run(); }
