// Names of program, attach and map types in libbpf's spelling. Look-ups are by table and safe from any thread.
#ifndef BPFSIEVE_ENGINE_PROGRAM_TYPE_NAMES_H_
#define BPFSIEVE_ENGINE_PROGRAM_TYPE_NAMES_H_

#include <optional>
#include <string_view>

#include "engine/program/types.h"

namespace bpfsieve {

// "sched_cls", "xdp", ...; empty when out of range.
std::string_view ProgTypeName(ProgType type);
std::optional<ProgType> ProgTypeFromName(std::string_view name);
// "cgroup_inet_ingress", ...; empty when out of range.
std::string_view AttachTypeName(AttachType type);
std::optional<AttachType> AttachTypeFromName(std::string_view name);
// "hash", "array", ...; empty when out of range.
std::string_view MapTypeName(MapType type);
std::optional<MapType> MapTypeFromName(std::string_view name);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_TYPE_NAMES_H_
