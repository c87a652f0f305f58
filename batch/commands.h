// The subcommands. Each returns the process' exit code.
#ifndef BPFSIEVE_BATCH_COMMANDS_H_
#define BPFSIEVE_BATCH_COMMANDS_H_

#include "batch/command_line.h"
#include "batch/options.h"

namespace bpfsieve {

int RunVerify(const RawOptions& raw);
int RunOracle(const RawOptions& raw);
int RunDisasm(const InspectCommand& command);
int RunList(const InspectCommand& command);
int RunRules(bool markdown);
int RunGenerate(const GenerateCommand& command);
int RunVersion();

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_COMMANDS_H_
