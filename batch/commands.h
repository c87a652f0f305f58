// The subcommands. Each adds its options to its part of the command line and returns what to run if it is the one chosen;
// that returns the process' exit code.
#ifndef BPFSIEVE_BATCH_COMMANDS_H_
#define BPFSIEVE_BATCH_COMMANDS_H_

#include <functional>

namespace CLI {
class App;  // all of CLI11 takes ten seconds to compile
}

namespace bpfsieve {

using Command = std::function<int()>;
Command AddVerify(CLI::App* app);
Command AddOracle(CLI::App* app);
Command AddDisasm(CLI::App* app);
Command AddList(CLI::App* app);
Command AddGenerate(CLI::App* app);
Command AddRules(CLI::App* app);
Command AddVersion(CLI::App* app);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_COMMANDS_H_
