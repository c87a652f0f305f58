// A program made from the input's choices, against every oracle: faults on the machine, containment, the naive explorer, and
// the search with a helper. The first two bytes choose the generator's settings and what happens when it runs.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fuzz/check.h"
#include "fuzz/generate.h"
#include "fuzz/settings.h"
#include "fuzz/targets/budget.h"
#include "fuzz/targets/mutate_choices.h"
#include "fuzz/write_asm.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size < 2) return 0;
  static Checker checker({.runs = 3, .max_processed = 5000, .naive_steps = 1000});
  const std::shared_ptr<Object> object =
      Generate(std::span<const uint8_t>(data + 2, size - 2), SettingsFor(data[0], -1));
  checker.options().parallel = data[1] % 8 == 0;
  if (const std::optional<Violation> v = checker.Check(object, 0, data[1])) {
    Finding(v->oracle + ": " + v->what + " at " + std::to_string(v->insn) + "\n" + AsmFileText(*object, "fuzzed"));
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
