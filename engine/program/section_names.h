// What a section's name says about the programs in it: libbpf's table of section names (as of libbpf 1.6).
#ifndef BPFSIEVE_ENGINE_PROGRAM_SECTION_NAMES_H_
#define BPFSIEVE_ENGINE_PROGRAM_SECTION_NAMES_H_

#include <optional>
#include <string_view>

#include "engine/program/types.h"

namespace bpfsieve {

struct SectionType {
  ProgType type = ProgType::kUnspec;
  AttachType attach = AttachType::kCgroupInetIngress;
  bool sleepable = false;
  bool frags = false;        // xdp.frags
  bool needs_target = false;  // the part after the slash names a kernel function or hook
};

// How libbpf compares section names.
enum class SectionRules {
  kExact,   // libbpf 1.x: the whole name, or for types that take one, the name and a slash
  kPrefix,  // libbpf 0.x: the name begins so. "xdp1" is then an XDP program
};

// `section` without a leading '?'. nullopt: the name says nothing.
std::optional<SectionType> SectionTypeOf(std::string_view section, SectionRules rules);

// The expected attach type of a program that was only given a type: none, or what the kernel itself puts in its place
// (bpf_prog_load_fixup_attach_type).
AttachType DefaultAttachType(ProgType type);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_SECTION_NAMES_H_
