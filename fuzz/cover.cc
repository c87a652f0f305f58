// For coverage builds (-DBPFSIEVE_COVERAGE=ON): which lines do accepted programs execute?
//
// Generates programs and verifies them, resets the profile, and then verifies once more, and runs, those that were accepted
// alone: what is left in the profile is theirs. scripts/transfer-coverage makes a table of it.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <iostream>
#include <memory>
#include <vector>

#include "bpfsieve/verify.h"
#include "engine/verify/passes.h"
#include "fuzz/generate.h"
#include "fuzz/machine.h"
#include "fuzz/settings.h"

extern "C" void __llvm_profile_reset_counters(void);

int main(int argc, char** argv) {
  using namespace bpfsieve;
  CLI::App app("Executes accepted generated programs alone, for coverage");
  uint64_t seed = 1, programs = 20000;
  double broken = 0;
  bool all = false;
  app.add_option("--seed", seed, "the first one");
  app.add_option("--programs", programs, "generated");
  app.add_option("--broken", broken, "defects in programs, 0 to 1");
  app.add_flag("--all", all, "those that are not accepted, too");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  VerifyOptions verify;
  verify.max_processed = 20'000;
  const auto generate = [&](uint64_t at) {
    GenerateOptions settings = SettingsFor(at, broken);
    settings.processor_number = true;
    return Generate(at, settings);
  };
  const auto judge = [&](uint64_t at) {
    const std::shared_ptr<Object> object = generate(at);
    return Passes(*object, object->programs[0], CapabilitiesFor(at)).Search(verify).verdict;
  };
  std::vector<uint64_t> chosen;
  for (uint64_t at = seed; at < seed + programs; ++at) {
    if (all || judge(at) == Verdict::kAccept) chosen.push_back(at);
  }
  __llvm_profile_reset_counters();
  Machine machine;
  for (const uint64_t at : chosen) {
    if (judge(at) != Verdict::kAccept) continue;
    const std::shared_ptr<Object> object = generate(at);
    machine.Load(*object, 0);
    (void)machine.Run(at, 4000, nullptr);
  }
  std::cout << chosen.size() << "\n";
  return 0;
}
