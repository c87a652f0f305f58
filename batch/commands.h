// The subcommands. Each adds itself to the command line and returns what to run if it is the one chosen; that returns
// the process' exit code.
#ifndef BPFSIEVE_BATCH_COMMANDS_H_
#define BPFSIEVE_BATCH_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace bpfsieve {

struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};
Command AddVerify(CLI::App* root);
Command AddOracle(CLI::App* root);
Command AddDisasm(CLI::App* root);
Command AddList(CLI::App* root);
Command AddGenerate(CLI::App* root);
Command AddRules(CLI::App* root);
Command AddVersion(CLI::App* root);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_COMMANDS_H_
