// bpfsieve: the Linux kernel's verdict on BPF programs, without a kernel.
//
//   absl::StatusOr<bpfsieve::ObjectFile> object = bpfsieve::ObjectFile::Open("prog.bpf.o", {});
//   for (int i = 0; i < object->program_count(); ++i) {
//     bpfsieve::Report report = bpfsieve::Verify(*object, i, {});
//   }
//
// The public entry of the engine. Everything here is safe to use from any number of threads at once: an ObjectFile
// does not change after Open, and Verify has no state outside of its arguments and result. A report is a function of
// the program and the options alone (a spent time budget apart). Any bytes whatever end in a verdict or a status.
#ifndef BPFSIEVE_VERIFY_H_
#define BPFSIEVE_VERIFY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace bpfsieve {

struct Object;
struct Program;

// How to read an object.
struct LoadOptions {
  // BTF of the kernel to resolve CO-RE relocations and externs against: a path; empty: the running kernel's where
  // there is one; "none": none (such relocations then make their programs `invalid`).
  std::string kernel_btf;
  // Type of the programs whose section name does not tell one (and of raw instructions): "xdp", "sched_cls", ...
  // Empty: such programs are `invalid`, with that reason.
  std::string default_type;
  // Map definitions that the section lacks are guessed as its own loader would: an array of maps or hash of maps
  // without an inner definition gets a one-element array of u32.
  bool guess_inner_maps = true;
};

// What the process that loads the program lacks.
enum class Lacking : uint8_t {
  kNothing,
  kPerfmon,  // CAP_PERFMON: pointers may not become visible, and the kernel takes measures against speculation
  kBpf,      // every capability: an ordinary user, where kernel.unprivileged_bpf_disabled is 0
};

class ObjectFile;

// The program that others are attached to: extensions (SEC("freplace/FUNCTION")), which are always verified against one, and
// tracing programs (fentry, fexit, fmod_ret) whose function it has. As for libbpf's bpf_program__set_attach_target().
struct Target {
  const ObjectFile* object = nullptr;  // null: none. It must outlive the verification
  std::string program;                 // empty: the one that the function is the main function of, or the only one with it
  std::string function;                // empty: as the section name says
};

// Budgets and outputs of one verification.
struct VerifyOptions {
  uint64_t max_processed = 1'000'000;       // instructions; the kernel's BPF_COMPLEXITY_LIMIT_INSNS
  uint32_t max_pending = 8192;              // branches; the kernel's BPF_COMPLEXITY_LIMIT_JMP_SEQ
  uint64_t memory_limit = uint64_t{1} << 30;  // bytes of states
  uint64_t time_limit_ms = 0;               // 0: none
  int log_level = 0;                        // 0: none, 1: the failing path, 2: every state, in the kernel's notation
  uint64_t log_limit = uint64_t{16} << 20;  // bytes of log kept; the rest is dropped and the log says so
  bool explain = false;                     // fill Report::explanation and explanation_json
  bool test_state_freq = false;             // a checkpoint at every prune point, as BPF_F_TEST_STATE_FREQ
  bool strict_alignment = false;            // as BPF_F_STRICT_ALIGNMENT
  Lacking without = Lacking::kNothing;      // capabilities
  Target target;
  // Threads that may work on this one program: the caller's, and up to threads - 1 others of the TBB arena that it is
  // in. The report does not depend on it. With a log (log_level > 0) one thread does it all.
  unsigned threads = 1;
  bool parallel_stats = false;              // fill Report::parallel
  // Instructions processed before others are tried; they stay while they pay. 0: from the start and for good, for tests.
  uint64_t threads_from = 200'000;
  uint32_t shake = 0;                       // for tests: a seed for delays where threads meet; 0: none
  const std::atomic<bool>* interrupt = nullptr;  // once true it ends the verification, verdict "limit"; it has to stay true
};

struct Stats {
  uint64_t total_insns = 0;   // instructions processed
  uint64_t total_states = 0;  // states recorded
  uint64_t peak_states = 0;   // at most so many at once
  uint64_t max_states_per_insn = 0;
  uint64_t stack_depth = 0;   // bytes, summed over the functions as veristat does
  uint64_t mem_peak = 0;      // bytes of states at the peak
  uint64_t duration_ns = 0;   // wall time of the verification
  uint64_t prog_size = 0;     // instructions
};

// How the work was spread over threads (docs/parallel-search.md). Instructions are those of Stats::total_insns.
struct ParallelStats {
  // Of the program alone, whatever was done:
  uint64_t longest_path = 0;   // instructions on the longest chain of paths that fork off each other
  uint64_t greedy = 0;         // instructions of time that a greedy schedule of all paths takes on `threads` threads
  // Of this run and its schedule:
  unsigned helpers = 0;        // threads that helped
  uint64_t segments = 0;       // paths that they began
  uint64_t parked = 0;         // of these, stopped where another state seemed to cover theirs
  uint64_t pieces = 0;         // stretches between prune points that they executed
  uint64_t retired_pieces = 0; // of these, used
  uint64_t insns = 0;          // instructions that they executed
  uint64_t retired_insns = 0;  // of these, used; the rest was in vain
  uint64_t waits = 0;          // times that the search waited for a stretch in progress
  uint64_t wait_ns = 0;
  uint64_t busy_ns = 0;        // of all helpers together
  unsigned functions = 0;      // global functions that others verified meanwhile
};

struct Report {
  // "accept", "reject", "limit", "unsupported", "invalid".
  std::string_view verdict;
  std::string_view rule;      // stable rule code; empty for accept
  std::string message;        // the kernel's wording where it has one; empty for accept
  std::string feature;        // unsupported: what is not modelled
  int64_t insn = -1;          // the instruction at fault; -1: none
  std::string source_file;    // where the object has line information
  uint32_t source_line = 0;
  Stats stats;
  ParallelStats parallel;        // with VerifyOptions::parallel_stats
  std::string log;               // with VerifyOptions::log_level
  std::string explanation;       // with VerifyOptions::explain: text for people
  std::string explanation_json;  // the same for programs
};

// A BPF object: an ELF file, a program in assembly text, or raw instructions.
class ObjectFile {
 public:
  // Reads a file. Not found or unreadable: NotFound or PermissionDenied; not a BPF object: InvalidArgument.
  static absl::StatusOr<ObjectFile> Open(const std::string& path, const LoadOptions& options);
  // The same from memory. `name` is for messages, and its extension tells assembly (.bpfasm) and raw instructions
  // (.bin) from ELF.
  static absl::StatusOr<ObjectFile> Parse(std::string_view bytes, const std::string& name, const LoadOptions& options);

  int program_count() const;
  std::string_view program_name(int i) const;
  std::string_view section(int i) const;
  std::string_view program_type(int i) const;  // "xdp", ...; "unspec" when unknown
  std::string_view attach_type(int i) const;

  // The engine's own view, for code built within the project.
  const Object& object() const { return *object_; }
  explicit ObjectFile(std::shared_ptr<const Object> object);

 private:
  std::shared_ptr<const Object> object_;
};

// Verifies one program of the object, `i` in [0, program_count()).
Report Verify(const ObjectFile& object, int i, const VerifyOptions& options);

}  // namespace bpfsieve

#endif  // BPFSIEVE_VERIFY_H_
