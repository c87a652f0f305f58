#include "batch/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "batch/read_file.h"
#include "engine/program/type_names.h"

namespace bpfsieve {

void AddOptions(CLI::App* app, RawOptions* o, bool for_oracle) {
  app->add_option("PATH", o->paths, "Objects: files, folders (searched for *.o, *.bpfasm, *.bin), globs, @LIST files")
      ->required();

  app->add_option("-e,--emit", o->emit, "Fields to print, comma-separated")->group("Output")->type_name("FIELDS");
  app->add_option("-s,--sort", o->sort, "Fields to sort by; FIELD< ascends, FIELD> descends. Default: input order")
      ->group("Output")
      ->type_name("FIELDS");
  app->add_option("-f,--filter", o->filters,
                  "GLOB, FILEGLOB/PROGGLOB, 'FIELD OP VALUE', @FILE with one per line; ! in front leaves out. May be "
                  "repeated. Programs that names exclude are not verified; fields exclude from the output only")
      ->group("Output")
      ->type_name("FILTER");
  app->add_option("-o,--output-format", o->format, "table, csv, json (one object per line)")
      ->group("Output")
      ->check(CLI::IsMember({"table", "csv", "json"}));
  app->add_option("-n,--top-n", o->top_n, "Print the first N rows only")->group("Output")->type_name("N");
  app->add_option("-l,--log-level", o->log_level,
                  "1: the log of the failing path; 2: the state before every instruction, in the kernel's notation")
      ->group("Output")
      ->check(CLI::Range(0, 2));
  app->add_flag("--no-progress", o->no_progress, "No progress bar")->group("Output");

  app->add_option("-j,--jobs", o->jobs, for_oracle ? "Threads; default 1" : "Threads; default: all processors")
      ->check(CLI::Range(1u, 4096u));

  app->add_option("--type", o->type, "Type of the programs whose section name does not tell it: xdp, sched_cls, ...")
      ->group("Programs");
  app->add_option("--types", o->types_file,
                  "CSV list of such types: file, section, prog, type; columns may be named by a header row")
      ->group("Programs")
      ->type_name("FILE");
  app->add_flag("-t,--test-state-freq,--test-states", o->verify.test_state_freq,
                "Record a state at every place where states are compared (BPF_F_TEST_STATE_FREQ)")
      ->group("Programs");
  app->add_flag("--strict-alignment", o->verify.strict_alignment, "Reject misaligned accesses (BPF_F_STRICT_ALIGNMENT)")
      ->group("Programs");
  app->add_option("--without", o->without,
                  "A capability that the loader lacks: perfmon, or bpf, which leaves it none (socket filters and cgroup_skb "
                  "only). Default: it has all")
      ->group("Programs")
      ->check(CLI::IsMember({"perfmon", "bpf"}));
  app->add_option("--target-object", o->target_object,
                  "Object with the program whose functions freplace programs replace, and fentry and fexit programs watch "
                  "where it has a function of that name")
      ->group("Programs")
      ->type_name("FILE");
  app->add_option("--target-program", o->target_program,
                  "Its program. Default: the one that the function is the main function of, or the only one that has it")
      ->group("Programs");
  app->add_option("--target-function", o->target_function, "The function. Default: as the section name says")->group("Programs");
  if (for_oracle) {
    o->jobs = 1;
    return;
  }
  app->add_option("--kernel-btf", o->kernel_btf,
                  "BTF that CO-RE relocations and externs are resolved against: a file, or none. Default: the running "
                  "kernel's")
      ->group("Programs")
      ->type_name("PATH|none");
  app->add_flag("--explain", o->verify.explain,
                "What failed, why, where, how the path got there, and what to do, for each program not accepted "
                "(table and json)")
      ->group("Output");
  app->add_flag("--stats", o->verify.parallel_stats,
                "More fields: how far each program's search can be spread over threads, and how it was")
      ->group("Output");
  app->add_option("--threads-from", o->verify.threads_from,
                  "Instructions processed before a program's search may use more threads; 0: from the start, and without "
                  "asking whether it pays (for tests)")
      ->group("");
  app->add_option("--max-insns", o->verify.max_processed, "Instructions processed per program; default 1000000")
      ->group("Budgets")
      ->check(CLI::PositiveNumber);
  app->add_option("--max-pending", o->verify.max_pending, "Pending branches per program; default 8192")
      ->group("Budgets")
      ->check(CLI::PositiveNumber);
  app->add_option("--memory-limit", o->verify.memory_limit, "Bytes of states per program (K, M, G); default 1G")
      ->group("Budgets")
      ->transform(CLI::AsSizeValue(false));
  app->add_option("--time-limit", o->verify.time_limit_ms, "Milliseconds per program; default none")
      ->group("Budgets")
      ->type_name("MS");
}

absl::StatusOr<BatchOptions> Resolve(const RawOptions& raw) {
  BatchOptions out;
  out.paths = raw.paths;
  out.format = raw.format == "csv" ? Format::kCsv : raw.format == "json" ? Format::kJson : Format::kTable;
  for (const std::string& list : raw.emit) {
    absl::StatusOr<std::vector<const Field*>> fields = ParseFields(list);
    if (!fields.ok()) return fields.status();
    out.fields.insert(out.fields.end(), fields->begin(), fields->end());
  }
  if (out.fields.empty()) out.fields = out.format == Format::kTable ? DefaultTableFields() : AllFieldPointers();
  if (raw.verify.parallel_stats) {
    for (const Field& field : ParallelFields()) out.fields.push_back(&field);
  }
  for (const std::string& list : raw.sort) {
    absl::StatusOr<std::vector<SortKey>> keys = ParseSort(list);
    if (!keys.ok()) return keys.status();
    out.sort.insert(out.sort.end(), keys->begin(), keys->end());
  }
  for (const std::string& filter : raw.filters) {
    if (absl::Status s = out.filters.Add(filter); !s.ok()) return s;
  }
  out.top_n = raw.top_n;
  out.jobs = raw.jobs != 0 ? raw.jobs : std::max(1u, std::thread::hardware_concurrency());
  out.progress = !raw.no_progress && isatty(STDERR_FILENO) != 0;
  if (!raw.type.empty() && !ProgTypeFromName(raw.type).has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("no program type '", raw.type, "'"));
  }
  if (!raw.types_file.empty()) {
    absl::StatusOr<std::string> content = ReadFile(raw.types_file);
    if (!content.ok()) return content.status();
    absl::StatusOr<TypeList> types = TypeList::Parse(*content);
    if (!types.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(raw.types_file, ": ", types.status().message()));
    }
    out.types = *std::move(types);
  }
  if (!raw.kernel_btf.empty() && raw.kernel_btf != "none" && access(raw.kernel_btf.c_str(), R_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(raw.kernel_btf, ": cannot be read"));
  }
  out.load.kernel_btf = raw.kernel_btf;
  out.load.default_type = raw.type;
  out.verify = raw.verify;
  if (!raw.target_object.empty()) {
    absl::StatusOr<ObjectFile> target = ObjectFile::Open(raw.target_object, out.load);
    if (!target.ok()) return target.status();
    out.target = std::make_shared<const ObjectFile>(*std::move(target));
    out.verify.target = {out.target.get(), raw.target_program, raw.target_function};
  } else if (!raw.target_program.empty() || !raw.target_function.empty()) {
    return absl::InvalidArgumentError("--target-program and --target-function name something of the --target-object");
  }
  if (raw.without == "perfmon") out.verify.without = Lacking::kPerfmon;
  if (raw.without == "bpf") out.verify.without = Lacking::kBpf;
  out.verify.log_level = raw.log_level;
  return out;
}

}  // namespace bpfsieve
