// bpfsieve generate: programs to test a verifier with.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/options.h"
#include "fuzz/generate.h"
#include "fuzz/shapes.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

bool Write(const std::string& path, const Object& object, std::string_view note) {
  std::ofstream out(path, std::ios::binary);
  out << AsmFileText(object, note);
  out.close();
  if (!out) absl::FPrintF(stderr, "bpfsieve generate: %s: cannot be written\n", path);
  return static_cast<bool>(out);
}

int RunShapes(const GenerateCommand& raw) {
  for (const uint32_t size : raw.shape_sizes) {
    const std::shared_ptr<Object> object = MakeShape(raw.shape, size);
    if (object == nullptr) {
      const std::vector<Shape> shapes = Shapes();
      const auto known = std::find_if(shapes.begin(), shapes.end(), [&](const Shape& s) { return s.name == raw.shape; });
      absl::FPrintF(stderr, "bpfsieve generate: %s: %u to %u %s\n", raw.shape, known->min, known->max, known->size);
      return kExitUsage;
    }
    const std::string name = absl::StrCat(raw.shape, "-", size);
    if (!Write(absl::StrCat(raw.folder, "/", name, ".bpfasm"), *object,
               absl::StrCat("bpfsieve generate --shape ", raw.shape, " --shape-size ", size))) {
      return kExitUsage;
    }
  }
  return kExitAllAccepted;
}

}  // namespace

int RunGenerate(const GenerateCommand& raw) {
  GenerateOptions options = raw.size == "big" ? GenerateOptions::Big() : GenerateOptions{};
  options.kernel_objects = false;  // so that a text means the same on every machine
  if (raw.broken >= 0) options.broken = raw.broken;
  std::error_code error;
  std::filesystem::create_directories(raw.folder, error);
  if (error) {
    absl::FPrintF(stderr, "bpfsieve generate: %s: %s\n", raw.folder, error.message());
    return kExitUsage;
  }
  if (!raw.shape.empty()) return RunShapes(raw);
  for (uint64_t i = 0; i < raw.count; ++i) {
    const uint64_t seed = raw.seed + i;
    const std::string note =
        absl::StrCat("bpfsieve generate --seed ", seed, " --size ", raw.size, " --broken ", options.broken);
    if (!Write(absl::StrCat(raw.folder, "/", seed, ".bpfasm"), *Generate(seed, options), note)) return kExitUsage;
  }
  return kExitAllAccepted;
}

}  // namespace bpfsieve
