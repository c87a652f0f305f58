// Helper numbers and names: the stable list of uapi/linux/bpf.h (numbers 1 to 211 in Linux 6.18).
// Look-ups are by table and safe from any thread.
#ifndef BPFSIEVE_ENGINE_ISA_HELPER_NAMES_H_
#define BPFSIEVE_ENGINE_ISA_HELPER_NAMES_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace bpfsieve {

inline constexpr uint32_t kHelperCount = 212;  // numbers 1..211
// The kernel's name, "bpf_map_lookup_elem"; "bpf_unspec" for 0, as the kernel prints it; empty for numbers out of
// range.
std::string_view HelperName(uint32_t id);
// The inverse, for numbers 1..211.
std::optional<uint32_t> HelperIdFromName(std::string_view name);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_ISA_HELPER_NAMES_H_
