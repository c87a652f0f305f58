// Any instructions as a program of any type: verdict, explanation and log, and the text of each instruction, which has to
// read back as the same one. The first byte chooses the type, and how it is verified. Mutations keep to whole instructions
// (mutate_insns.h).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "engine/isa/assembler.h"
#include "engine/isa/insn.h"
#include "engine/program/program.h"
#include "fuzz/targets/budget.h"
#include "fuzz/targets/mutate_insns.h"
#include "fuzz/targets/raw_types.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size < 9) return 0;
  LoadOptions load;
  load.kernel_btf = "none";
  load.default_type = kRawTypes[data[0] % std::size(kRawTypes)];
  const std::string_view insns(reinterpret_cast<const char*>(data + 1), (size - 1) / 8 * 8);
  const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(insns, "input.bin", load);
  if (!file.ok()) Finding("instructions that cannot be loaded: " + file.status().ToString());
  // As ChosenOptions (budget.h) has them: an explanation; that and the whole log; for a loader that lacks something; the rest.
  static constexpr unsigned kChoices[] = {4, 4 | 2, 4 | 32, 4 | 64, 4 | 8 | 16, 128 | 3, 4 | 1, 0};
  const VerifyOptions verify = ChosenOptions(kChoices[data[0] / std::size(kRawTypes) % std::size(kChoices)]);
  (void)Verify(*file, 0, verify);

  const std::vector<Insn>& all = file->object().programs[0].insns;
  for (size_t at = 0; at < all.size();) {
    size_t used = 1;
    const std::string text = AsmText(&all[at], all.size() - at, &used);
    const absl::StatusOr<std::vector<Insn>> again = Assemble(text);
    if (!again.ok()) Finding("the text of an instruction cannot be read back: " + text);
    if (!std::equal(again->begin(), again->end(), all.begin() + static_cast<ptrdiff_t>(at),
                    all.begin() + static_cast<ptrdiff_t>(at + used))) {
      Finding("the text of an instruction reads back as another one: " + text);
    }
    at += used;
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return bpfsieve::MutateInsns(data, size, max_size, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                                            size_t max_size, unsigned seed) {
  return bpfsieve::CrossInsns(a, a_size, b, b_size, out, max_size, seed);
}
