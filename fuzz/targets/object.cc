// Any bytes as an ELF object: the loader, and for what it makes of them everything up to verdict and explanation.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/targets/budget.h"
#include "fuzz/targets/kernel_types_path.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  LoadOptions load;
  load.kernel_btf = KernelTypesPath();
  load.default_type = "xdp";
  const absl::StatusOr<ObjectFile> file =
      ObjectFile::Parse(std::string_view(reinterpret_cast<const char*>(data), size), "input.o", load);
  if (!file.ok()) return 0;
  VerifyOptions verify = SmallBudget();
  verify.explain = true;
  for (int i = 0; i < std::min(file->program_count(), 4); ++i) (void)Verify(*file, i, verify);
  return 0;
}
