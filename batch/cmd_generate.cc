// bpfsieve generate: programs to test a verifier with.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/options.h"
#include "fuzz/generate.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

struct RawGenerateOptions {
  uint64_t seed = 0;
  uint64_t count = 1;
  double broken = -1;  // below 0: the size's own
  std::string size = "small";
  std::string folder;
};

int RunGenerate(const RawGenerateOptions& raw) {
  GenerateOptions options = raw.size == "big" ? GenerateOptions::Big() : GenerateOptions{};
  if (raw.broken >= 0) options.broken = raw.broken;
  std::error_code error;
  std::filesystem::create_directories(raw.folder, error);
  if (error) {
    absl::FPrintF(stderr, "bpfsieve generate: %s: %s\n", raw.folder, error.message());
    return kExitUsage;
  }
  for (uint64_t i = 0; i < raw.count; ++i) {
    const uint64_t seed = raw.seed + i;
    const std::string path = absl::StrCat(raw.folder, "/", seed, ".bpfasm");
    std::ofstream out(path, std::ios::binary);
    const std::string note =
        absl::StrCat("bpfsieve generate --seed ", seed, " --size ", raw.size, " --broken ", options.broken);
    out << AsmFileText(*Generate(seed, options), note);
    out.close();
    if (!out) {
      absl::FPrintF(stderr, "bpfsieve generate: %s: cannot be written\n", path);
      return kExitUsage;
    }
  }
  return kExitAllAccepted;
}

}  // namespace

Command AddGenerate(CLI::App* root) {
  CLI::App* app = root->add_subcommand("generate", "Write random programs as assembly text, SEED.bpfasm and so on");
  auto raw = std::make_shared<RawGenerateOptions>();
  app->add_option("FOLDER", raw->folder, "Where to; made if it is not there")->required();
  app->add_option("--seed", raw->seed, "Of the first program; the next ones count up");
  app->add_option("--count", raw->count, "How many programs")->check(CLI::Range(uint64_t{1}, uint64_t{10'000'000}));
  app->add_option("--broken", raw->broken, "Share of fragments with a defect, 0 to 1; default by size")
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--size", raw->size, "small, or big: thousands of instructions")
      ->check(CLI::IsMember({"small", "big"}));
  return {app, [raw] { return RunGenerate(*raw); }};
}

}  // namespace bpfsieve
