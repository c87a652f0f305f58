// The only file of the program that sees CLI11, which takes twenty seconds to compile.
#include "batch/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <utility>

#include "fuzz/shapes.h"

namespace bpfsieve {
namespace {

// The oracle does without our budgets, explanations and choice of BTF.
void AddOptions(CLI::App* app, RawOptions* o, bool for_oracle) {
  app->add_option("PATH", o->paths, "Objects: files, folders (searched for *.o, *.bpfasm, *.bin), globs, @LIST files")
      ->required();

  // One argument each, so that a PATH may follow.
  app->add_option("-e,--emit", o->emit, "Fields to print, comma-separated")
      ->group("Output")
      ->type_name("FIELDS")
      ->allow_extra_args(false);
  app->add_option("-s,--sort", o->sort, "Fields to sort by; FIELD< ascends, FIELD> descends. Default: input order")
      ->group("Output")
      ->type_name("FIELDS")
      ->allow_extra_args(false);
  app->add_option("-f,--filter", o->filters,
                  "GLOB, FILEGLOB/PROGGLOB, 'FIELD OP VALUE', @FILE with one per line; ! in front leaves out. May be "
                  "repeated. Programs that names exclude are not verified; fields exclude from the output only")
      ->group("Output")
      ->type_name("FILTER")
      ->allow_extra_args(false);
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

void AddInspect(CLI::App* app, InspectCommand* c) {
  app->add_option("PATH", c->path, "The object")->required();
  app->add_option("PROGRAM", c->prog, "Glob of the programs; default all");
  app->add_option("--type", c->type, "Type of the programs whose section name does not tell it");
  app->add_option("--kernel-btf", c->kernel_btf, "BTF to resolve against: a file, or none");
}

void AddGenerate(CLI::App* app, GenerateCommand* c) {
  app->add_option("FOLDER", c->folder, "Where to; made if it is not there")->required();
  app->add_option("--seed", c->seed, "Of the first program; the next ones count up");
  app->add_option("--count", c->count, "How many programs")->check(CLI::Range(uint64_t{1}, uint64_t{10'000'000}));
  app->add_option("--broken", c->broken, "Share of fragments with a defect, 0 to 1; default by size")
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--size", c->size, "small, or big: thousands of instructions")
      ->check(CLI::IsMember({"small", "big"}));
  std::vector<std::string> names;
  for (const Shape& shape : Shapes()) names.emplace_back(shape.name);
  CLI::Option* shape =
      app->add_option("--shape", c->shape, "No random programs, but one of known shape, for measuring: SHAPE-N.bpfasm")
          ->check(CLI::IsMember(names));
  CLI::Option* sizes = app->add_option("--shape-size", c->shape_sizes, "The shape's sizes, comma-separated");
  sizes->delimiter(',')->needs(shape);
  shape->needs(sizes);
}

}  // namespace

std::variant<CommandLine, int> ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app{"The Linux kernel's verdict on BPF programs, without a kernel.", "bpfsieve"};
  app.require_subcommand(1);
  app.set_version_flag("-V,--version", std::string("bpfsieve ") + BPFSIEVE_VERSION);
  RawOptions oracle;
  AddOptions(app.add_subcommand("verify", "Verify objects and print each program's verdict"), &line.options, false);
  AddOptions(app.add_subcommand("oracle", "Ask the running kernel's verifier (load only: nothing is attached or run) and "
                                          "print its verdicts"),
             &oracle, true);
  AddInspect(app.add_subcommand("disasm", "Print the instructions of an object's programs"), &line.inspect);
  AddInspect(app.add_subcommand("list", "List an object's programs and maps"), &line.inspect);
  app.add_subcommand("rules", "List the rule codes that findings carry")
      ->add_flag("--markdown", line.markdown, "As a table in Markdown");
  AddGenerate(app.add_subcommand("generate", "Write random programs, or those of a shape, as assembly text"), &line.generate);
  app.add_subcommand("version", "Print the version and the kernel whose verdicts are given");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitAllAccepted : kExitUsage;
  }
  line.command = app.get_subcommands().front()->get_name();
  if (line.command == "oracle") line.options = std::move(oracle);
  return line;
}

bool ParseOptions(std::vector<std::string> arguments, bool for_oracle, RawOptions* options) {
  CLI::App app("options");
  AddOptions(&app, options, for_oracle);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError&) {
    return false;
  }
  return true;
}

}  // namespace bpfsieve
