// Values of the kernel's configuration, for programs that ask for them as .kconfig externs. Rules as in libbpf 1.6.
#ifndef BPFSIEVE_ENGINE_PROGRAM_KCONFIG_H_
#define BPFSIEVE_ENGINE_PROGRAM_KCONFIG_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"

struct btf;

namespace bpfsieve {

// Values by name ("CONFIG_HZ"), as they stand in the file.
using Kconfig = absl::flat_hash_map<std::string, std::string>;

// Lines CONFIG_NAME=VALUE; the first of a name counts, and other lines do not. Any text gives some result.
Kconfig ParseKconfig(std::string_view text);

// LINUX_VERSION_CODE of a release ("6.18.44-debian"); the profile's own where that is none.
uint32_t KernelVersionCode(std::string_view release);

// Writes a value into a variable of that type (in checked BTF, btf_view.h), which `out` has the size of and which is zero.
// False where the value is not one of the type's, and nothing is written.
bool WriteKconfigValue(const struct btf* btf, uint32_t type_id, std::string_view value, std::span<uint8_t> out);
bool WriteKconfigNumber(const struct btf* btf, uint32_t type_id, uint64_t value, std::span<uint8_t> out);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_KCONFIG_H_
