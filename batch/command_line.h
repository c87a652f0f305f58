// The command line.
#ifndef BPFSIEVE_BATCH_COMMAND_LINE_H_
#define BPFSIEVE_BATCH_COMMAND_LINE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "batch/options.h"

namespace bpfsieve {

// disasm and list.
struct InspectCommand {
  std::string path, type, kernel_btf, prog = "*";
};

struct GenerateCommand {
  uint64_t seed = 0;
  uint64_t count = 1;
  double broken = -1;  // below 0: the size's own
  std::string size = "small";
  std::string shape;
  std::vector<uint32_t> shape_sizes;
  std::string folder;
};

struct CommandLine {
  std::string command;         // as it was typed
  RawOptions options;          // of verify and oracle
  InspectCommand inspect;
  GenerateCommand generate;
  bool markdown = false;       // of rules
};

// An exit code: help or the version was asked for, or a fault found; the text has been printed.
std::variant<CommandLine, int> ParseCommandLine(int argc, const char* const* argv);

// The arguments of `verify` or `oracle` alone; false: not understood. Prints nothing.
bool ParseOptions(std::vector<std::string> arguments, bool for_oracle, RawOptions* options);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_COMMAND_LINE_H_
