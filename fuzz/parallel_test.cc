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
    options.max_processed = std::min<uint64_t>(options.max_processed, 20'000);  // some never end
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

// A main function that takes a while, and then calls global functions `names`.
std::string Calls(const std::vector<std::string>& names) {
  std::string text = ".type xdp\n.origin test\n.prog main\nr7 = *(u32 *)(r1 +12)\nr6 = 0\nloop:\nr6 += 1\n"
                     "if r7 > 7 goto odd\nr6 += 0\nodd:\nif r6 < 3000 goto loop\n";
  for (const std::string& name : names) absl::StrAppend(&text, "r1 = r7\ncall ", name, "\n");
  return text + "r0 = 2\nexit\n";
}

// One that takes `turns` turns, and ends with `end`.
std::string GlobalFunction(const std::string& name, int turns, const std::string& end) {
  return absl::StrCat(".func ", name, " global\nr6 = r1\nr7 = 0\nloop_", name, ":\nif r6 > 3 goto skip_", name,
                      "\nr7 += 0\nskip_", name, ":\nr7 += 1\nif r7 < ", turns, " goto loop_", name, "\n", end,
                      "r0 = 0\nexit\n");
}

// The report is the same on every number of threads. How many functions others have got done: with `helped`, in as many of
// 200 turns as it takes for one, or else in five.
uint64_t FunctionsOf(const std::string& text, uint64_t budget, bool helped) {
  const oneapi::tbb::global_control enough(oneapi::tbb::global_control::max_allowed_parallelism, 8);
  oneapi::tbb::task_arena two(2), eight(8);
  const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(text, "functions.bpfasm", {});
  EXPECT_TRUE(file.ok()) << file.status() << "\n" << text;
  if (!file.ok()) return 0;
  uint64_t functions = 0;
  for (int turn = 0; turn < 5 || (helped && functions == 0 && turn < 200); ++turn) {
    VerifyOptions options;
    options.max_processed = budget;
    options.explain = options.parallel_stats = true;
    options.test_state_freq = turn % 3 == 2;
    const Report alone = Verify(*file, 0, options);
    for (oneapi::tbb::task_arena* arena : {&two, &eight}) {
      options.shake = static_cast<uint32_t>(turn);
      options.threads = static_cast<unsigned>(arena->max_concurrency());
      // With helpers in the main function, too, where there are threads for both.
      options.threads_from = arena == &eight && turn % 4 == 0 ? 0 : VerifyOptions().threads_from;
      const Report report = arena->execute([&] { return Verify(*file, 0, options); });
      EXPECT_EQ(Text(report), Text(alone)) << arena->max_concurrency() << " threads, budget " << budget << "\n" << text;
      EXPECT_EQ(report.parallel.longest_path, alone.parallel.longest_path);
      if (testing::Test::HasFailure()) return functions;
      if (!options.test_state_freq) functions += report.parallel.functions;
    }
  }
  return functions;
}
void SameFunctions(const std::string& text, uint64_t budget = 1'000'000) { EXPECT_GT(FunctionsOf(text, budget, true), 0u); }

TEST(Parallel, GlobalFunctionsAreVerifiedSideBySide) {
  const std::string text = Calls({"one", "two", "three"}) + GlobalFunction("one", 500, "") +
                           GlobalFunction("two", 700, "") + GlobalFunction("three", 300, "call four\n") +
                           GlobalFunction("four", 400, "");
  const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(text, "functions.bpfasm", {});
  ASSERT_TRUE(file.ok());
  const Report all = Verify(*file, 0, {});
  ASSERT_EQ(all.verdict, "accept") << all.message;
  SameFunctions(text);
  SameFunctions(text, all.stats.total_insns);
  SameFunctions(text, all.stats.total_insns - 1);
  // The budget ends in every one of them, and in between.
  for (uint64_t i = 3; i < 16; i += 3) {
    const uint64_t budget = all.stats.total_insns * i / 16;
    VerifyOptions options;
    options.max_processed = budget;
    ASSERT_EQ(Verify(*file, 0, options).verdict, "limit");
    FunctionsOf(text, budget, false);
  }
}

TEST(Parallel, TheFirstFunctionThatIsWrongIsReported) {
  const std::string bad = "r0 = *(u64 *)(r7 +0)\n";
  SameFunctions(Calls({"one", "two", "three"}) + GlobalFunction("one", 500, "") + GlobalFunction("two", 700, bad) +
                GlobalFunction("three", 10, bad));
  // What is not called on any path is not looked at.
  SameFunctions(Calls({"one", "two"}) + GlobalFunction("one", 500, "") +
                GlobalFunction("two", 700, "r1 = 0\nif r1 == 0 goto over\ncall three\nover:\n") +
                GlobalFunction("three", 10, bad));
  // The main function's own fault comes first.
  std::string main = Calls({"one"});
  main.replace(main.find("r0 = 2"), 6, "r0 = *(u64 *)(r7 +0)");
  EXPECT_EQ(FunctionsOf(main + GlobalFunction("one", 10, bad), 1'000'000, false), 0u);
}

// Two functions use a third one's instruction on pointers of different kinds, which is for the search to see.
TEST(Parallel, WhatFunctionsShareIsComparedBetweenThem) {
  const std::string on_stack = "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\ncall shared\n";
  const std::string text = Calls({"one", "two"}) + GlobalFunction("one", 500, on_stack) +
                           GlobalFunction("two", 300, on_stack) + ".func shared\nr0 = *(u32 *)(r1 +4)\nexit\n";
  SameFunctions(text);
  std::string conflict = text;
  conflict.insert(conflict.find("r7 = *(u32 *)(r1 +12)"), "r8 = r1\ncall shared\nr1 = r8\n");
  const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(conflict, "functions.bpfasm", {});
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(Verify(*file, 0, {}).message, "same insn cannot be used with different pointers");
  EXPECT_EQ(FunctionsOf(conflict, 1'000'000, false), 0u);
}

// Whether a function's first state is recorded depends on how long ago one was recorded before: where that is not long, what
// others have found on a guess at it is of no use.
TEST(Parallel, AFunctionFollowsWhatWasRecordedBefore) {
  int used = 0, of_no_use = 0;
  for (int straight : {0, 1, 2, 8, 9}) {
    std::string text = ".type xdp\n.origin test\n.prog main\nr6 = 0\nloop:\nr6 += 1\nif r6 < 10000 goto loop\n"
                       "r1 = 0\nr1 = 0\nr1 = 0\nr1 = 0\nr1 = 0\nr1 = 0\ngoto there\nthere:\n";
    for (int i = 0; i < straight; ++i) text += "r1 = 1\n";
    text += "r1 = 1\ncall one\nr0 = 2\nexit\n";
    text += ".func one global\nif r1 > 7 goto on\nr1 = 0\non:\nr2 = 2000\nagain:\nr2 += -1\nif r2 != 0 goto again\n"
            "r0 = 0\nexit\n";
    (FunctionsOf(text, 1'000'000, straight >= 8) > 0 ? used : of_no_use) += 1;
  }
  EXPECT_EQ(used, 2);
  EXPECT_EQ(of_no_use, 3);
}

}  // namespace
}  // namespace bpfsieve
