#include "fuzz/targets/kernel_types_path.h"

#include <sys/mman.h>
#include <unistd.h>

namespace bpfsieve {
namespace {

constexpr unsigned char kTypesObject[] = {
#include "types_object.inc"
};

}  // namespace

const std::string& KernelTypesPath() {
  static const auto& path = *new std::string([] {
    const int fd = memfd_create("kernel-types", MFD_CLOEXEC);  // stays open
    const bool written = fd >= 0 && write(fd, kTypesObject, sizeof kTypesObject) == static_cast<ssize_t>(sizeof kTypesObject);
    return written ? "/proc/self/fd/" + std::to_string(fd) : std::string("none");
  }());
  return path;
}

}  // namespace bpfsieve
