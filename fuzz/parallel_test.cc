// The search of one program on several threads: whatever the schedule, the report is the one that a single thread gives,
// byte for byte. Helpers are made to work from the first instruction on, and a shaker puts delays where threads meet.
#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "corpus/expectations.h"
#include "fuzz/generate.h"
#include "fuzz/share.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

// Everything in a report that a user can see, but for times.
std::string Text(const Report& r) {
  const Stats& s = r.stats;
  return absl::StrCat(absl::string_view(r.verdict.data(), r.verdict.size()), "\n",
                      absl::string_view(r.rule.data(), r.rule.size()), "\n", r.message, "\n", r.feature, "\n", r.insn,
                      "\n", r.source_file, ":", r.source_line, "\n", s.total_insns, " ", s.total_states, " ",
                      s.peak_states, " ", s.max_states_per_insn, " ", s.stack_depth, " ", s.mem_peak, "\n",
                      r.explanation, "\n", r.explanation_json);
}

Report On(oneapi::tbb::task_arena& arena, const ObjectFile& file, VerifyOptions options, int index = 0) {
  options.threads = static_cast<unsigned>(arena.max_concurrency());
  options.threads_from = 0;
  return arena.execute([&] { return Verify(file, index, options); });
}

// Programs of a kind, on 2 and 8 threads, quiet and shaken. How many of the runs had parts in them that a helper explored?
uint64_t HelpedOf(uint64_t first, uint64_t count, const GenerateOptions& generate, const VerifyOptions& base) {
  const oneapi::tbb::global_control enough(oneapi::tbb::global_control::max_allowed_parallelism, 8);
  oneapi::tbb::task_arena two(2), eight(8);
  uint64_t helped = 0;
  for (uint64_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
    const std::shared_ptr<Object> object = Generate(seed, generate);
    const ObjectFile file(object);
    VerifyOptions options = base;
    options.max_processed = std::min<uint64_t>(options.max_processed, 60'000);  // some never end
    options.explain = true;
    options.test_state_freq = seed % 3 == 0;
    options.parallel_stats = true;
    const std::string expected = Text(Verify(file, 0, options));
    for (oneapi::tbb::task_arena* arena : {&two, &eight}) {
      options.shake = arena == &eight || seed % 2 == 0 ? static_cast<uint32_t>(seed + 1) : 0;
      const Report report = On(*arena, file, options);
      EXPECT_EQ(Text(report), expected) << arena->max_concurrency() << " threads, shake " << options.shake << "\n"
                                        << AsmFileText(*object, absl::StrCat("seed ", seed));
      helped += report.parallel.retired_pieces > 0;
    }
  }
  return helped;
}

// Helpers that never get anything done would pass, too: one run in twenty (a program has two) must have used them. Where
// the processors are busy with something else a few short programs can be over before a helper has had its turn, so they
// get more than one chance.
void SameReports(uint64_t first, uint64_t count, const GenerateOptions& generate, const VerifyOptions& base) {
  uint64_t helped = 0;
  for (int turn = 0; turn < 50 && helped <= count / 10 && !testing::Test::HasFailure(); ++turn) {
    helped = HelpedOf(first, count, generate, base);
  }
  EXPECT_GT(helped, count / 10);
}

// More of them on request: BPFSIEVE_PARALLEL_PROGRAMS says how many.
TEST(Parallel, SmallProgramsGiveTheReportOfOneThread) {
  const char* count = std::getenv("BPFSIEVE_PARALLEL_PROGRAMS");
  SameReports(1, count != nullptr ? std::strtoull(count, nullptr, 10) : 600 / kShare, {}, {});
}

TEST(Parallel, BrokenProgramsGiveTheReportOfOneThread) {
  GenerateOptions broken;
  broken.broken = 0.7;
  SameReports(1'000'000, 600 / kShare, broken, {});
}

TEST(Parallel, BigProgramsGiveTheReportOfOneThread) {
  SameReports(2'000'000, 1 + 5 / kShare, GenerateOptions::Big(), {});
}

TEST(Parallel, TheCorpusGivesTheReportsOfOneThread) {
  const oneapi::tbb::global_control enough(oneapi::tbb::global_control::max_allowed_parallelism, 64);
  oneapi::tbb::task_arena two(2), three(3), eight(8), sixty_four(64);
  const absl::StatusOr<std::vector<CorpusFile>> files = ReadCorpus(BPFSIEVE_CORPUS_DIR);
  ASSERT_TRUE(files.ok()) << files.status();
  uint64_t helped = 0;
  for (size_t f = 0; f < files->size(); f += kShare) {
    const absl::StatusOr<CorpusObject> read = OpenCorpusFile((*files)[f], CorpusKernelTypes(BPFSIEVE_CORPUS_DIR));
    ASSERT_TRUE(read.ok()) << read.status();
    const ObjectFile* object = &read->object;
    for (int i = 0; i < object->program_count(); ++i) {
      VerifyOptions options;
      options.explain = true;
      options.parallel_stats = true;
      options.target = read->Attach();
      const std::string expected = Text(Verify(*object, i, options));
      for (oneapi::tbb::task_arena* arena : {&two, &three, &eight, &sixty_four}) {
        options.shake = static_cast<uint32_t>(f * 64 + static_cast<size_t>(i) + 1);
        const Report report = On(*arena, *object, options, i);
        ASSERT_EQ(Text(report), expected) << (*files)[f].path << " " << object->program_name(i) << ", "
                                          << arena->max_concurrency() << " threads, shake " << options.shake;
        helped += report.parallel.retired_pieces > 0;
      }
    }
  }
  EXPECT_GT(helped, 0u);
}

// Budgets end the search in the middle of what helpers have done.
TEST(Parallel, BudgetsEndAtTheSamePlace) {
  VerifyOptions instructions;
  instructions.max_processed = 1234;
  SameReports(3'000'000, 20, GenerateOptions::Big(), instructions);
  VerifyOptions pending;
  pending.max_pending = 12;
  SameReports(4'000'000, 20, GenerateOptions::Big(), pending);
  VerifyOptions memory;
  memory.memory_limit = 200'000;
  SameReports(5'000'000, 20, GenerateOptions::Big(), memory);
}

}  // namespace
}  // namespace bpfsieve
