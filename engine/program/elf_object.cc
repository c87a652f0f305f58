// Reads an ELF object as libbpf does. The passes and what they share are in elf_loader.h.
#include <elf.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/program/elf_loader.h"
#include "engine/program/load.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxLicense = 63;  // libbpf keeps as many characters

absl::Status ReadBtf(ElfLoader* loader) {
  const int btf = loader->elf.SectionByName(".BTF");
  if (btf < 0 || loader->elf.sections[btf].data.empty()) return absl::OkStatus();
  absl::StatusOr<BtfPtr> parsed = ParseBtf(loader->elf.sections[btf].data);
  if (!parsed.ok()) return parsed.status();
  loader->object->btf = *std::move(parsed);
  const int ext = loader->elf.SectionByName(".BTF.ext");
  if (ext < 0 || loader->elf.sections[ext].data.empty()) return absl::OkStatus();
  absl::StatusOr<BtfExt> info = ParseBtfExt(loader->elf.sections[ext].data, loader->object->btf.get(), loader->elf);
  if (!info.ok()) return info.status();
  loader->ext = *std::move(info);
  return absl::OkStatus();
}

absl::Status ReadLicenseAndVersion(ElfLoader* loader) {
  if (int i = loader->elf.SectionByName("license"); i > 0) {
    std::string_view text = loader->elf.sections[i].data.substr(0, kMaxLicense);
    loader->object->license = std::string(text.substr(0, text.find('\0')));
  }
  if (int i = loader->elf.SectionByName("version"); i > 0) {
    std::string_view data = loader->elf.sections[i].data;
    if (data.size() != sizeof(uint32_t)) return absl::InvalidArgumentError("invalid version section");
    loader->object->kern_version = ReadAt<uint32_t>(data, 0);
  }
  return absl::OkStatus();
}

}  // namespace

const KernelBtf* NeedKernel(ElfLoader* loader) {
  if (loader->kernel_asked) return loader->kernel.get();
  loader->kernel_asked = true;
  absl::StatusOr<std::shared_ptr<const KernelBtf>> kernel = GetKernelBtf(loader->options.kernel_btf);
  if (!kernel.ok()) {
    loader->kernel_error = std::string(kernel.status().message());
  } else if (*kernel == nullptr) {
    loader->kernel_error = "no kernel BTF to resolve it against";
  } else {
    loader->kernel = *kernel;
  }
  return loader->kernel.get();
}

absl::StatusOr<std::shared_ptr<Object>> LoadElfObject(std::string_view bytes, const std::string& name,
                                                      const LoadOptions& options) {
  // libelf reads headers in place where they are aligned, and copies where they are not.
  absl::StatusOr<ElfFile> elf = ParseElf(bytes);
  if (!elf.ok()) return elf.status();
  auto object = std::make_shared<Object>();
  object->path = name;
  ElfLoader loader{.elf = *elf, .options = options, .file_size = bytes.size(), .object = object.get()};
  if (absl::Status status = ReadLicenseAndVersion(&loader); !status.ok()) return status;
  if (absl::Status status = ReadBtf(&loader); !status.ok()) return status;
  if (absl::Status status = CollectExterns(&loader); !status.ok()) return status;
  if (absl::Status status = CollectMaps(&loader); !status.ok()) return status;
  if (absl::Status status = CollectFunctions(&loader); !status.ok()) return status;
  ApplyCoreRelocations(&loader);
  if (absl::Status status = LinkPrograms(&loader); !status.ok()) return status;
  return object;
}

}  // namespace bpfsieve
