// Any bytes as an ELF object: the loader, and for what it makes of them everything up to verdict and explanation.
//
// The padding of the ELF header, which says nothing, chooses: bytes 9 and 10 how programs are verified (the lower ten bits:
// ChosenOptions in budget.h) and which four of them (the other six), bytes 12 to 15 where in the input another object begins
// that these programs are attached to; 0: there is none.
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz/targets/budget.h"
#include "fuzz/targets/kernel_types_path.h"

namespace {

// The input as a file, for ObjectFile::Open; one that cannot be opened where the system does not let us.
const std::string& InputFile(std::string_view bytes) {
  static const int fd = memfd_create("input", MFD_CLOEXEC);
  static const auto& path = *new std::string("/proc/self/fd/" + std::to_string(fd));
  if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    static const auto& none = *new std::string();
    return none;
  }
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bpfsieve;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  uint16_t choices = 0;
  uint32_t other = 0;
  if (size >= EI_NIDENT) {
    std::memcpy(&choices, data + EI_PAD, sizeof choices);
    std::memcpy(&other, data + EI_NIDENT - sizeof other, sizeof other);
  }
  LoadOptions load;
  load.kernel_btf = (choices & kNoKernelTypes) != 0 ? "none" : KernelTypesPath();
  load.default_type = "xdp";
  const absl::StatusOr<ObjectFile> file = ObjectFile::Open(InputFile(bytes), load);
  if (!file.ok()) return 0;
  VerifyOptions verify = ChosenOptions(choices);
  std::optional<ObjectFile> target;
  if (other != 0 && other < size) {
    absl::StatusOr<ObjectFile> attached = ObjectFile::Parse(bytes.substr(other), "target.o", load);
    if (attached.ok()) verify.target.object = &target.emplace(*std::move(attached));
  }
  const int first = choices >> 10 << 2;
  for (int i = first; i < std::min(file->program_count(), first + 4); ++i) {
    if (file->program_type(i).empty() || file->attach_type(i).empty()) Finding("a program of no type");
    if (file->program_name(i).size() > 4096 || file->section(i).size() > 4096) Finding("a name of a damaged file");
    (void)Verify(*file, i, verify);
  }
  return 0;
}
