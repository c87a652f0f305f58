// A program made from the input's choices, on one thread, on two and on eight, with delays where threads meet: one report.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include "fuzz/generate.h"
#include "fuzz/settings.h"
#include "fuzz/targets/budget.h"
#include "fuzz/targets/mutate_choices.h"
#include "fuzz/write_asm.h"

namespace {

std::string Text(const bpfsieve::Report& r) {
  std::string text(r.verdict);
  for (const std::string& part : {std::string(r.rule), r.message, r.feature, r.source_file, r.explanation, r.explanation_json, r.log}) {
    text.append("\n").append(part);
  }
  for (const uint64_t n : {static_cast<uint64_t>(r.insn), uint64_t{r.source_line}, r.stats.total_insns, r.stats.total_states, r.stats.peak_states,
                           r.stats.max_states_per_insn, r.stats.stack_depth, r.stats.mem_peak}) {
    text.append(" ").append(std::to_string(n));
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size < 2) return 0;
  static const oneapi::tbb::global_control enough(oneapi::tbb::global_control::max_allowed_parallelism, 8);
  static oneapi::tbb::task_arena two(2), eight(8);
  const std::shared_ptr<Object> object =
      Generate(std::span<const uint8_t>(data + 2, size - 2), SettingsFor(data[0], -1));
  for (uint32_t i = 0; i < object->programs[0].insns.size(); ++i) {
    object->programs[0].lines.push_back({i, i + 1, 1, "generated.c", "instruction " + std::to_string(i)});
  }
  const ObjectFile file(object);
  VerifyOptions options;
  options.max_processed = 5000;
  options.explain = true;
  options.test_state_freq = (data[1] & 1) != 0;
  if ((data[1] & 14) == 0) {  // then one thread does it all, whatever is asked for
    options.log_level = 2;
    options.log_limit = 1 << 20;
  }
  const std::string expected = Text(Verify(file, 0, options));
  options.threads_from = 0;
  options.parallel_stats = (data[1] & 16) != 0;
  for (oneapi::tbb::task_arena* arena : {&two, &eight}) {
    options.threads = static_cast<unsigned>(arena->max_concurrency());
    options.shake = arena == &eight ? data[1] + 1u : 0;
    const std::string text = Text(arena->execute([&] { return Verify(file, 0, options); }));
    if (text != expected) Finding("one thread:\n" + expected + "\nmore:\n" + text + "\n" + AsmFileText(*object, "fuzzed"));
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return bpfsieve::MutateChoices(data, size, max_size, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                                            size_t max_size, unsigned seed) {
  return bpfsieve::CrossChoices(a, a_size, b, b_size, out, max_size, seed);
}
