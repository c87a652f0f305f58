// bpfsieve: the command line. Exit codes: 0 all accepted, 1 some not, 2 usage or I/O, 3 our own fault, 130 Ctrl-C.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/options.h"

namespace {

// A failed assertion is our own fault and has an exit code of its own.
void OnAbort(int) {
  constexpr char kMessage[] = "bpfsieve: internal error (abort)\n";
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(bpfsieve::kExitInternal);
}

int Main(int argc, char** argv) {
  CLI::App app{"The Linux kernel's verdict on BPF programs, without a kernel.", "bpfsieve"};
  app.require_subcommand(1);
  app.set_version_flag("-V,--version", std::string("bpfsieve ") + BPFSIEVE_VERSION);
  std::vector<std::pair<CLI::App*, bpfsieve::Command>> commands;
  const auto add = [&](const char* name, const char* what, bpfsieve::Command (*options)(CLI::App*)) {
    CLI::App* command = app.add_subcommand(name, what);
    commands.emplace_back(command, options(command));
  };
  add("verify", "Verify objects and print each program's verdict", bpfsieve::AddVerify);
  add("oracle", "Ask the running kernel's verifier (load only: nothing is attached or run) and print its verdicts",
      bpfsieve::AddOracle);
  add("disasm", "Print the instructions of an object's programs", bpfsieve::AddDisasm);
  add("list", "List an object's programs and maps", bpfsieve::AddList);
  add("rules", "List the rule codes that findings carry", bpfsieve::AddRules);
  add("generate", "Write random programs, or those of a shape, as assembly text", bpfsieve::AddGenerate);
  add("version", "Print the version and the kernel whose verdicts are given", bpfsieve::AddVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? bpfsieve::kExitAllAccepted : bpfsieve::kExitUsage;
  }
  for (const auto& [command, run] : commands) {
    if (command->parsed()) return run();
  }
  return bpfsieve::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef M_MMAP_THRESHOLD
  // One program's memory is the next one's: given back to the system in between, it costs a page fault for every page again.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
  signal(SIGABRT, OnAbort);
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    absl::FPrintF(stderr, "bpfsieve: internal error: %s\n", error.what());
  } catch (...) {
    absl::FPrintF(stderr, "bpfsieve: internal error\n");
  }
  return bpfsieve::kExitInternal;
}
