// The kernel as an oracle: what the running kernel's verifier says about a program.
//
// Load only: a program is never attached or run, and its descriptor is closed at once. Needs the privilege to load
// programs (root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN).
#ifndef BPFSIEVE_CORPUS_ORACLE_ORACLE_H_
#define BPFSIEVE_CORPUS_ORACLE_ORACLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "corpus/oracle/log.h"
#include "engine/program/program.h"
#include "engine/spec/spec.h"

namespace bpfsieve {

struct OracleOptions {
  int log_level = 0;                          // 1 or 2: KernelReport::log holds the verifier's log at that level
  uint64_t log_limit = uint64_t{256} << 20;   // bytes; of a longer log the kernel keeps the end
  bool test_state_freq = false;
  bool strict_alignment = false;
  // What extensions and tracing programs are attached to: see Target in bpfsieve/verify.h. Null: nothing but the kernel.
  const Object* target = nullptr;
  std::string target_program, target_function;
};

struct KernelReport {
  enum class Verdict : uint8_t {
    kAccept,
    kReject,
    kNotDecided,  // the program did not get as far as the verifier: `message` says why
  };
  Verdict verdict = Verdict::kNotDecided;
  int error = 0;        // errno of the load; 0 for accept
  std::string message;  // the last line of the log that says something; empty for accept
  std::string log;      // with OracleOptions::log_level
  LogStats stats;
  int64_t jited_size = -1;  // bytes of machine code; -1: not known
};
std::string_view KernelVerdictName(KernelReport::Verdict v);  // "accept", "reject", "not_decided"

// OK where this process may load programs, and one with these capabilities some; otherwise PermissionDenied (or
// Unavailable) with the reason.
absl::Status OracleAvailable(const Capabilities& caps = {});

// Asks about the programs of one object; maps and BTF are created once and shared by its programs. With fewer than all
// capabilities, the calling thread does without the others while it asks. What the kernel then refuses to look at, and
// judges with all of them, is rejected.
// Not thread safe; several oracles may work in parallel. The object must outlive the oracle.
class KernelOracle {
 public:
  explicit KernelOracle(const Object& object, const Capabilities& caps = {});
  ~KernelOracle();
  KernelReport Ask(int program, const OracleOptions& options);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same for a single program. InvalidArgument: no such program.
absl::StatusOr<KernelReport> AskKernel(const Object& object, int program, const OracleOptions& options);

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_ORACLE_H_
