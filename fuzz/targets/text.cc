// Any text as a program in assembly: the assembler, and verdicts. What it makes is written out again as text, which has to
// give the same instructions. In a text that begins with "#!", the low five bits of each of the next two characters choose how
// its programs are verified (ChosenOptions in budget.h).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/isa/assembler.h"
#include "engine/isa/decode.h"
#include "engine/program/program.h"
#include "fuzz/targets/budget.h"
#include "fuzz/targets/kernel_types_path.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  unsigned choices = 0;
  if (size >= 4 && input.starts_with("#!")) choices = (data[2] & 31u) | (data[3] & 31u) << 5;
  LoadOptions load;
  load.kernel_btf = (choices & kNoKernelTypes) != 0 ? "none" : KernelTypesPath();
  load.default_type = "xdp";
  const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(input, "input.bpfasm", load);
  if (!file.ok()) return 0;
  const VerifyOptions verify = ChosenOptions(choices);
  for (int i = 0; i < std::min(file->program_count(), 4); ++i) {
    (void)Verify(*file, i, verify);
    const std::vector<Insn>& insns = file->object().programs[static_cast<size_t>(i)].insns;
    std::string text;
    for (size_t at = 0; at < insns.size();) {
      size_t used = 1;
      text += AsmText(&insns[at], insns.size() - at, &used) + "\n";
      at += used;
    }
    const absl::StatusOr<std::vector<Insn>> again = Assemble(text);
    if (!again.ok()) Finding("the text of a program cannot be read back: " + again.status().ToString() + "\n" + text);
    if (*again != insns) Finding("the text of a program reads back as another one:\n" + text);
  }
  return 0;
}
