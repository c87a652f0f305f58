// bpfsieve: the command line. Exit codes: 0 all accepted, 1 some not, 2 usage or I/O, 3 our own fault, 130 Ctrl-C.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <exception>
#include <variant>

#include "absl/strings/str_format.h"
#include "batch/commands.h"

namespace {

// A failed assertion is our own fault and has an exit code of its own.
void OnAbort(int) {
  constexpr char kMessage[] = "bpfsieve: internal error (abort)\n";
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(bpfsieve::kExitInternal);
}

int Main(int argc, char** argv) {
  using namespace bpfsieve;
  const std::variant<CommandLine, int> parsed = ParseCommandLine(argc, argv);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  const CommandLine& line = std::get<CommandLine>(parsed);
  if (line.command == "verify") return RunVerify(line.options);
  if (line.command == "oracle") return RunOracle(line.options);
  if (line.command == "disasm") return RunDisasm(line.inspect);
  if (line.command == "list") return RunList(line.inspect);
  if (line.command == "rules") return RunRules(line.markdown);
  if (line.command == "generate") return RunGenerate(line.generate);
  return RunVersion();
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
