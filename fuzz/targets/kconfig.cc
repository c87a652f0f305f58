// A kernel's configuration, and variables that get its values: of every type of the input's BTF.
//
// Input: length of the BTF (2); that; the rest is the configuration's text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/program/btf_view.h"
#include "engine/program/kconfig.h"
#include "fuzz/targets/budget.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  if (size < 2) return 0;
  uint16_t length = 0;
  std::memcpy(&length, data, 2);
  const std::string_view in(reinterpret_cast<const char*>(data + 2), size - 2);
  const std::string_view text = in.substr(std::min<size_t>(length, in.size()));
  const Kconfig config = ParseKconfig(text);
  (void)KernelVersionCode(text.substr(0, text.find('\n')));
  const absl::StatusOr<BtfPtr> btf = ParseBtf(in.substr(0, length));
  if (!btf.ok()) return 0;
  const uint32_t types = std::min<uint32_t>(btf__type_cnt(btf->get()), 64);
  for (uint32_t id = 1; id < types; ++id) {
    const int64_t bytes = BtfSize(btf->get(), id);
    if (bytes < 0 || bytes > 4096) continue;
    for (const auto& [name, value] : config) {
      if (name.size() < 7 || value.empty()) Finding("a line that is none: " + name + "=" + value);
      std::vector<uint8_t> out(static_cast<size_t>(bytes));  // exactly what there is room for
      const bool written = WriteKconfigValue(btf->get(), id, value, out);
      const bool zero = std::all_of(out.begin(), out.end(), [](uint8_t b) { return b == 0; });
      if (!written && !zero) Finding("a value is refused and written: " + name + "=" + value);
    }
  }
  return 0;
}
