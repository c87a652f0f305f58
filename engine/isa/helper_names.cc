#include "engine/isa/helper_names.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace bpfsieve {
namespace {

constexpr std::string_view kNames[] = {
    "bpf_unspec",
#define HELPER(name) "bpf_" #name,
#include "engine/isa/helper_names.inc"
#undef HELPER
};
static_assert(std::size(kNames) == kHelperCount);

// Helper numbers ordered by name.
constexpr auto kByName = [] {
  std::array<uint8_t, kHelperCount> ids{};
  for (uint32_t i = 0; i < kHelperCount; ++i) ids[i] = static_cast<uint8_t>(i);
  std::sort(ids.begin(), ids.end(), [](uint8_t a, uint8_t b) { return kNames[a] < kNames[b]; });
  return ids;
}();

}  // namespace

std::string_view HelperName(uint32_t id) { return id < kHelperCount ? kNames[id] : std::string_view(); }

std::optional<uint32_t> HelperIdFromName(std::string_view name) {
  auto it = std::lower_bound(kByName.begin(), kByName.end(), name,
                             [](uint8_t id, std::string_view n) { return kNames[id] < n; });
  if (it == kByName.end() || kNames[*it] != name || *it == 0) return std::nullopt;
  return *it;
}

}  // namespace bpfsieve
