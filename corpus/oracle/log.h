// Reads what the kernel's verifier prints.
#ifndef BPFSIEVE_CORPUS_ORACLE_LOG_H_
#define BPFSIEVE_CORPUS_ORACLE_LOG_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace bpfsieve {

// The numbers at the end of a verifier log; -1 where the log does not have them.
struct LogStats {
  int64_t processed = -1;
  int64_t max_states_per_insn = -1;
  int64_t total_states = -1;
  int64_t peak_states = -1;
  int64_t mark_read = -1;
  int64_t verification_usec = -1;
  int64_t stack_depth = -1;  // sum over the subprograms, as the kernel lists them: "32+16"
};
LogStats ParseLogStats(std::string_view log);

// The line that says why the program was refused: the last one that is not a statistic. Empty: none.
std::string LastMessage(std::string_view log);

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_LOG_H_
