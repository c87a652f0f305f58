// Generated programs against all oracles (check.h), until the time is up or one is violated.
//
// Every seed stands for a program, the generator's settings, and what happens when it runs; a violation is reproduced
// with --seed N --programs 1. One JSON line for each violation, one for the whole. Exit status: 0 nothing found,
// 1 something, 2 not understood.
#include <CLI/CLI.hpp>
#include <malloc.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/program/btf_fields.h"
#include "engine/program/load.h"
#include "fuzz/check.h"
#include "fuzz/generate.h"
#include "fuzz/kernel_types.h"
#include "fuzz/reduce.h"
#include "fuzz/settings.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

double CpuSeconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

int Run(int argc, char** argv) {
  CLI::App app("Hunts for unsound verdicts: generated programs against all oracles");
  double seconds = 10;
  uint64_t seed = 1, programs = ~uint64_t{0};
  double broken = -1;
  bool keep_going = false, shrink = false;
  std::string folder, text_file;
  // Many programs find more than long looks at few. Of 60,000 generated ones, a search of 3,000 instructions decides all but 138,
  // and one of 750 all but 174; with 3,000, those that are not decided would take a sixth of all instructions.
  // Of 8,600 that the naive explorer decides in 2,000 steps, 50 take it more than eight times the search's instructions, while
  // those that it does not decide would take four fifths of its time.
  CheckOptions check{.runs = 2, .max_processed = 750, .naive_ratio = 8};
  uint64_t parallel_every = 127, naive_every = 4;
  app.add_option("--seconds", seconds, "CPU time of this process");
  app.add_option("--seed", seed, "the first one");
  app.add_option("--programs", programs, "at most so many");
  app.add_option("--broken", broken, "defects in programs, 0 to 1; otherwise several in turn");
  app.add_option("--runs", check.runs, "on the machine, of each accepted program");
  app.add_option("--naive-every", naive_every, "programs of which one goes to the naive explorer; 0: none");
  app.add_option("--parallel-every", parallel_every, "rows of 32 programs of which one is searched with a helper too; 0: none");
  app.add_flag("--keep-going", keep_going, "do not stop at a violation");
  app.add_flag("--shrink", shrink, "make the program of a violation smaller");
  app.add_option("--out", folder, "write each violation's program to this folder, which exists, as seed-N.bpfasm")
      ->check(CLI::ExistingDirectory);
  app.add_option("--text", text_file, "check this one program, written as text, instead: with the runs of --seed")
      ->check(CLI::ExistingFile);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }

  if (!text_file.empty()) {
    std::ifstream in(text_file);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    absl::StatusOr<std::shared_ptr<Object>> object = LoadAsmObject(text, text_file, {.kernel_btf = "none"});
    if (!object.ok()) {
      std::cerr << "hunt: " << object.status() << "\n";
      return 2;
    }
    (*object)->kernel_types = SmallKernel();
    for (Program& program : (*object)->programs) {
      for (Extern& each : program.externs) each.btf_id = SmallKernel()->Find(each.name, BTF_KIND_FUNC);
    }
    ResolveFields(object->get());
    const std::optional<Violation> v = Checker(check).Check(*object, 0, seed);
    if (v) {
      std::cout << nlohmann::json{{"oracle", v->oracle}, {"what", v->what}, {"insn", v->insn}, {"step", v->step}}.dump() << std::endl;
    }
    return v ? 1 : 0;
  }

  // Every program's states take a few megabytes: they are not given back to the system in between, which would clear them.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);

  const uint64_t naive_steps = check.naive_steps;
  const double begin = CpuSeconds();
  double generating = 0;
  std::map<std::string, uint64_t> found;
  Checker checker(check);
  // Some programs are made in a row, as the generator and the verifier put each other's code out of the processor's caches.
  std::vector<std::shared_ptr<const Object>> row(16);
  for (uint64_t n = 0; n < programs; ++n) {
    if (n % row.size() == 0) {
      const double now = CpuSeconds();
      if (now - begin > seconds) break;
      for (uint64_t i = 0; i < std::min(row.size(), programs - n); ++i) {
        GenerateOptions settings = SettingsFor(seed + n + i, broken);
        settings.processor_number = true;
        row[i] = Generate(seed + n + i, settings);
      }
      generating += CpuSeconds() - now;
    }
    const uint64_t at = seed + n;
    // A helper's thread goes on looking for work for longer than a program takes: there are more in a row for it.
    checker.options().parallel = parallel_every != 0 && at / 32 % parallel_every == 0;
    // Settings (settings.h) go with the seed's remainders: these are to be of all kinds.
    checker.options().naive_steps = naive_every != 0 && (at + at / 4) % naive_every == 0 ? naive_steps : 0;
    checker.options().caps = CapabilitiesFor(at);
    const std::shared_ptr<const Object>& object = row[n % row.size()];
    const std::optional<Violation> v = checker.Check(object, 0, at);
    if (!v) continue;
    ++found[v->oracle];
    nlohmann::json line = {{"seed", at},           {"oracle", v->oracle},
                           {"what", v->what},      {"insn", v->insn},
                           {"run_seed", v->run_seed}, {"step", v->step},
                           {"insns", object->programs[0].insns.size()},
                           {"cpu_seconds", CpuSeconds() - begin}, {"programs", checker.counts().programs}};
    std::shared_ptr<const Object> smallest = object;
    if (shrink) {
      Checker again(checker.options());
      smallest = Shrink(*object, [&](const std::shared_ptr<const Object>& candidate) {
        const std::optional<Violation> w = again.Check(candidate, 0, at);
        return w && w->oracle == v->oracle;
      });
      const std::optional<Violation> w = again.Check(smallest, 0, at);
      line["shrunk"] = smallest->programs[0].insns.size();
      if (w) line["shrunk_what"] = w->what;
    }
    const std::string text = AsmFileText(*smallest, absl::StrCat("seed ", at));
    if (!folder.empty()) {
      const std::string path = absl::StrCat(folder, "/seed-", at, ".bpfasm");
      std::ofstream out(path);
      out << text;
      if (!out.flush()) {
        std::cerr << "hunt: cannot write " << path << "\n";
        return 2;
      }
    }
    line["text"] = text;
    std::cout << line.dump() << std::endl;
    if (!keep_going) break;
  }
  const double cpu = CpuSeconds() - begin;
  const CheckCounts& c = checker.counts();
  std::cout << nlohmann::json{{"programs", c.programs}, {"accepted", c.accepted}, {"rejected", c.rejected},
                              {"undecided", c.undecided}, {"insns", c.insns}, {"runs", c.runs},
                              {"executed", c.executed}, {"cut_short", c.cut_short}, {"not_modelled", c.not_modelled},
                              {"contained", c.contained}, {"naive", c.naive}, {"cpu_seconds", cpu},
                              {"programs_per_second", static_cast<double>(c.programs) / cpu},
                              {"checked_per_second", static_cast<double>(c.programs) / (cpu - generating)}, {"found", found}}
                   .dump()
            << std::endl;
  return found.empty() ? 0 : 1;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Run(argc, argv); }
