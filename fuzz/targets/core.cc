// CO-RE: relocation records against two sets of types, an object's and a kernel's, all from the input.
//
// Input: number of records (1 byte); for each kind (1), type (2), access string (8, ends at a zero byte); length of the
// object's BTF (2); that; the rest is the kernel's BTF.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "engine/program/btf_view.h"
#include "engine/program/core_relo.h"

namespace {

struct Record {
  uint8_t kind;
  uint16_t type;
  std::string access;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  std::string_view in(reinterpret_cast<const char*>(data), size);
  const auto take = [&](size_t n) {
    const std::string_view part = in.substr(0, n);
    in.remove_prefix(part.size());
    return part;
  };
  const auto number = [&](size_t n) {
    uint16_t v = 0;
    const std::string_view part = take(n);
    if (!part.empty()) std::memcpy(&v, part.data(), part.size());
    return v;
  };
  std::vector<Record> records(std::min<size_t>(number(1), 16));
  for (Record& r : records) {
    r.kind = static_cast<uint8_t>(number(1) % 13);
    r.type = number(2);
    const std::string_view access = take(8);
    r.access = std::string(access.substr(0, access.find('\0')));
  }
  const absl::StatusOr<BtfPtr> local = ParseBtf(take(number(2)));
  absl::StatusOr<BtfPtr> types = ParseBtf(in);
  if (!local.ok() || !types.ok()) return 0;
  const KernelBtf kernel(*std::move(types));
  CoreResolver resolver(local->get(), kernel);
  for (const Record& r : records) {
    CoreResult result;
    (void)resolver.Resolve(static_cast<CoreKind>(r.kind), r.type, r.access, &result);
  }
  return 0;
}
