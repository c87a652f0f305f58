#include "engine/program/kconfig.h"

#include <sys/utsname.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/program/btf_view.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxConfig = size_t{16} << 20;  // bytes; a kernel's has a few hundred thousand

struct GzCloser {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

std::shared_ptr<const Kconfig> ReadConfig(const std::string& release) {
  // gzopen() reads plain files too.
  std::unique_ptr<gzFile_s, GzCloser> file(gzopen(absl::StrCat("/boot/config-", release).c_str(), "re"));
  if (file == nullptr) file.reset(gzopen("/proc/config.gz", "re"));
  std::string text;
  char part[1 << 14];
  for (int n; file != nullptr && text.size() < kMaxConfig && (n = gzread(file.get(), part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(n));
  }
  return std::make_shared<const Kconfig>(ParseKconfig(text));
}

// The running kernel's configuration; empty where it is not published. Read once per process.
std::shared_ptr<const Kconfig> RunningConfig(const std::string& release) {
  static std::mutex mutex;
  static auto& cache = *new std::map<std::string, std::shared_ptr<const Kconfig>>();
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Kconfig>& config = cache[release];
  if (config == nullptr) config = ReadConfig(release);
  return config;
}

// What libbpf provides under names of its own.
std::optional<uint64_t> VirtualValue(std::string_view name, std::string_view release) {
  if (name == "LINUX_KERNEL_VERSION") return KernelVersionCode(release);
  if (name == "LINUX_HAS_BPF_COOKIE") return 1;
  if (name == "LINUX_HAS_SYSCALL_WRAPPER") return 1;
  return std::nullopt;
}

class Writer {
 public:
  Writer(const struct btf* btf, uint32_t type_id, std::span<uint8_t> out)
      : out_(out), type_(SkipModifiers(btf, type_id, nullptr)) {}

  bool Write(std::string_view value) {
    if (value == "y" || value == "n" || value == "m") return Tristate(value[0]);
    if (value.starts_with('"')) return String(value);
    uint64_t number = 0;
    const bool negative = value.starts_with('-');
    if (negative) value.remove_prefix(1);
    int base = 10;
    if (value.starts_with("0x") || value.starts_with("0X")) {
      value.remove_prefix(2);
      base = 16;
    }
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number, base);
    if (error != std::errc() || end != value.data() + value.size() || IsBool()) return false;
    return Number(negative ? uint64_t{0} - number : number);
  }

  bool Number(uint64_t value) {
    if (!btf_is_int(type_) || type_->size == 0 || type_->size > 8 || (IsBool() && value > 1)) return false;
    const uint32_t bits = type_->size * 8;
    if (bits < 64) {
      const bool is_signed = (btf_int_encoding(type_) & BTF_INT_SIGNED) != 0;
      const bool fits = is_signed ? value + (uint64_t{1} << (bits - 1)) < (uint64_t{1} << bits) : (value >> bits) == 0;
      if (!fits) return false;
    }
    return Put(&value, type_->size);
  }

 private:
  bool IsBool() const { return btf_is_int(type_) && (btf_int_encoding(type_) & BTF_INT_BOOL) != 0; }

  bool Tristate(char value) {
    const uint32_t number = value == 'y' ? 1 : value == 'm' ? 2 : 0;
    if (btf_is_enum(type_) || btf_is_enum64(type_)) return Put(&number, 4);
    if (IsBool()) return value != 'm' && Put(&number, 1);
    return btf_is_int(type_) && type_->size == 1 && Put(&value, 1);
  }

  bool String(std::string_view value) {
    if (!btf_is_array(type_) || value.size() < 2 || !value.ends_with('"') || out_.empty()) return false;
    value = value.substr(1, value.size() - 2);
    return Put(value.data(), std::min(value.size(), out_.size() - 1));  // the rest is zero already
  }

  bool Put(const void* bytes, size_t size) {
    if (size > out_.size()) return false;
    if (size != 0) std::memcpy(out_.data(), bytes, size);
    return true;
  }

  std::span<uint8_t> out_;
  const btf_type* type_;
};

}  // namespace

Kconfig ParseKconfig(std::string_view text) {
  Kconfig config;
  for (const absl::string_view piece : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    const std::string_view line(piece.data(), piece.size());
    const size_t equals = line.find('=');
    if (!line.starts_with("CONFIG_") || equals == std::string_view::npos || equals + 1 == line.size()) continue;
    config.try_emplace(std::string(line.substr(0, equals)), std::string(line.substr(equals + 1)));
  }
  return config;
}

uint32_t KernelVersionCode(std::string_view release) {
  constexpr uint32_t kProfile = (6 << 16) | (18 << 8);
  uint32_t parts[3] = {0, 0, 0};
  const char *at = release.data(), *end = release.data() + release.size();
  for (uint32_t& part : parts) {
    auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc()) return kProfile;
    if (next == end || *next != '.') break;
    at = next + 1;
  }
  return (parts[0] << 16) | (parts[1] << 8) | std::min<uint32_t>(parts[2], 255);
}

bool WriteKconfigValue(const struct btf* btf, uint32_t type_id, std::string_view value, std::span<uint8_t> out) {
  return Writer(btf, type_id, out).Write(value);
}

bool WriteKconfigNumber(const struct btf* btf, uint32_t type_id, uint64_t value, std::span<uint8_t> out) {
  return Writer(btf, type_id, out).Number(value);
}

void FillKconfig(ElfLoader* loader, std::vector<uint8_t>* data) {
  utsname names;
  const std::string release = uname(&names) == 0 ? names.release : "";
  const std::shared_ptr<const Kconfig> config = RunningConfig(release);
  const struct btf* btf = loader->object->btf.get();
  for (ExternSymbol& symbol : loader->externs) {
    if (!symbol.kconfig) continue;
    const std::span<uint8_t> out(data->data() + symbol.kconfig_offset, symbol.kconfig_size);
    const std::optional<uint64_t> number = VirtualValue(symbol.pub.name, release);
    const auto value = config->find(symbol.pub.name);
    bool ok = true;
    if (number.has_value()) {
      ok = WriteKconfigNumber(btf, symbol.type_id, *number, out);
    } else if (value != config->end()) {
      ok = WriteKconfigValue(btf, symbol.type_id, value->second, out);
    } else if (!symbol.pub.weak) {
      symbol.error = absl::StrCat("extern (kcfg) '", symbol.pub.name, "': not found in the kernel's configuration");
    }
    if (!ok) symbol.error = absl::StrCat("extern (kcfg) '", symbol.pub.name, "': its value is of another type");
  }
}

}  // namespace bpfsieve
