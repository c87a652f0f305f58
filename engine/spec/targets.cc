// What tracing programs are attached to.
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

struct Tracepoint {
  std::string_view name;
  TracepointArgs args;
};
constexpr Tracepoint kTracepoints[] = {
#define TRACEPOINT(name, nullable, error) {name, {nullable, error}},
#include "engine/spec/tracepoints.inc"
#undef TRACEPOINT
};

using Kind = ElementArg::Kind;
constexpr TargetProto kTargets[] = {
    {"bpf_link", {{Kind::kObject, 1}}},
    {"bpf_map", {{Kind::kTrustedObject, 1}}},
    {"bpf_map_elem", {{Kind::kReadOnlyBuffer, 2}, {Kind::kBuffer, 3}}},
    {"bpf_prog", {{Kind::kObject, 1}}},
    {"bpf_sk_storage_map", {{Kind::kObject, 2}, {Kind::kBuffer, 3}}},
    {"cgroup", {{Kind::kTrustedObject, 1}}},
    {"dmabuf", {{Kind::kObject, 1}}},
    {"ipv6_route", {{Kind::kObject, 1}}},
    {"kmem_cache", {{Kind::kTrustedObject, 1}}},
    {"ksym", {{Kind::kObject, 1}}},
    {"netlink", {{Kind::kObject, 1}}},
    {"sockmap", {{Kind::kReadOnlyBuffer, 2}, {Kind::kObject, 3}}},
    {"task", {{Kind::kTrustedObject, 1}}},
    {"task_file", {{Kind::kObject, 1}, {Kind::kObject, 3}}},
    {"task_vma", {{Kind::kObject, 1}, {Kind::kObject, 2}}},
    {"tcp", {{Kind::kTrustedObject, 1}}},
    {"udp", {{Kind::kTrustedObject, 1}}},
    {"unix", {{Kind::kObject, 1}}},
};

}  // namespace

TracepointArgs FindTracepoint(std::string_view name) {
  for (const Tracepoint& t : kTracepoints) {
    if (t.name == name) return t.args;
  }
  return {};
}

const TargetProto* FindTarget(std::string_view name) {
  for (const TargetProto& t : kTargets) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

}  // namespace bpfsieve
