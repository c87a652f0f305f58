// Values of the kernel's configuration that programs ask for as .kconfig externs.
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
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

using Config = absl::flat_hash_map<std::string, std::string>;

struct GzCloser {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

std::shared_ptr<const Config> ReadConfig(const std::string& release) {
  // gzopen() reads plain files too.
  std::unique_ptr<gzFile_s, GzCloser> file(gzopen(absl::StrCat("/boot/config-", release).c_str(), "re"));
  if (file == nullptr) file.reset(gzopen("/proc/config.gz", "re"));
  auto config = std::make_shared<Config>();
  if (file == nullptr) return config;
  char line[4096];
  while (gzgets(file.get(), line, sizeof line) != nullptr) {
    std::string_view text(line);
    if (!text.starts_with("CONFIG_")) continue;
    while (text.ends_with('\n')) text.remove_suffix(1);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals + 1 == text.size()) continue;
    config->try_emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
  }
  return config;
}

// The running kernel's configuration; empty where it is not published. Read once per process.
std::shared_ptr<const Config> RunningConfig(const std::string& release) {
  static std::mutex mutex;
  static auto& cache = *new std::map<std::string, std::shared_ptr<const Config>>();
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Config>& config = cache[release];
  if (config == nullptr) config = ReadConfig(release);
  return config;
}

// "6.18.44-debian" as LINUX_VERSION_CODE; the profile's own version where it cannot be read.
uint32_t VersionCode(std::string_view release) {
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

// What libbpf provides under names of its own.
std::optional<uint64_t> VirtualValue(std::string_view name, std::string_view release) {
  if (name == "LINUX_KERNEL_VERSION") return VersionCode(release);
  if (name == "LINUX_HAS_BPF_COOKIE") return 1;
  if (name == "LINUX_HAS_SYSCALL_WRAPPER") return 1;
  return std::nullopt;
}

class Writer {
 public:
  Writer(const struct btf* btf, const ExternSymbol& symbol, std::vector<uint8_t>* data)
      : symbol_(symbol), data_(data), type_(SkipModifiers(btf, symbol.type_id, nullptr)) {}

  // False where the value is not of the variable's type.
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
    if (!btf_is_int(type_) || (IsBool() && value > 1)) return false;
    const uint32_t bits = type_->size * 8;
    if (bits < 64) {
      const bool is_signed = (btf_int_encoding(type_) & BTF_INT_SIGNED) != 0;
      const bool fits = is_signed ? value + (uint64_t{1} << (bits - 1)) < (uint64_t{1} << bits) : (value >> bits) == 0;
      if (!fits) return false;
    }
    Put(&value, type_->size);
    return true;
  }

 private:
  bool IsBool() const { return btf_is_int(type_) && (btf_int_encoding(type_) & BTF_INT_BOOL) != 0; }

  bool Tristate(char value) {
    const uint32_t number = value == 'y' ? 1 : value == 'm' ? 2 : 0;
    if (btf_is_enum(type_) || btf_is_enum64(type_)) {
      Put(&number, 4);
    } else if (IsBool()) {
      if (value == 'm') return false;
      Put(&number, 1);
    } else if (btf_is_int(type_) && type_->size == 1) {
      Put(&value, 1);
    } else {
      return false;
    }
    return true;
  }

  bool String(std::string_view value) {
    if (!btf_is_array(type_) || value.size() < 2 || !value.ends_with('"')) return false;
    value = value.substr(1, value.size() - 2);
    Put(value.data(), std::min<size_t>(value.size(), symbol_.kconfig_size - 1));  // the rest is zero already
    return true;
  }

  void Put(const void* bytes, size_t size) {
    if (size != 0) std::memcpy(data_->data() + symbol_.kconfig_offset, bytes, size);
  }

  const ExternSymbol& symbol_;
  std::vector<uint8_t>* data_;
  const btf_type* type_;
};

}  // namespace

void FillKconfig(ElfLoader* loader, std::vector<uint8_t>* data) {
  utsname names;
  const std::string release = uname(&names) == 0 ? names.release : "";
  const std::shared_ptr<const Config> config = RunningConfig(release);
  for (ExternSymbol& symbol : loader->externs) {
    if (!symbol.kconfig) continue;
    Writer writer(loader->object->btf.get(), symbol, data);
    std::optional<uint64_t> number = VirtualValue(symbol.pub.name, release);
    auto value = config->find(symbol.pub.name);
    bool ok = true;
    if (number.has_value()) {
      ok = writer.Number(*number);
    } else if (value != config->end()) {
      ok = writer.Write(value->second);
    } else if (!symbol.pub.weak) {
      symbol.error = absl::StrCat("extern (kcfg) '", symbol.pub.name, "': not found in the kernel's configuration");
    }
    if (!ok) symbol.error = absl::StrCat("extern (kcfg) '", symbol.pub.name, "': its value is of another type");
  }
}

}  // namespace bpfsieve
