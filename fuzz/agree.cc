// Generated programs before the running kernel and before this engine: do they say the same?
//
// Programs are only loaded, never attached or run. One that the engine does not model is not shown to the kernel either:
// among what is not modelled is a form of program that Linux 6.18 crashes on (docs/unsupported.md). Each kind of
// disagreement, told by what both say with names and numbers left out, is counted, and its first program made smaller.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "corpus/oracle/oracle.h"
#include "engine/verify/passes.h"
#include "fuzz/generate.h"
#include "fuzz/reduce.h"
#include "fuzz/settings.h"
#include "fuzz/write_asm.h"

namespace bpfsieve {
namespace {

// The message without what differs between programs that break the same rule.
std::string Kind(const std::string& message) {
  std::string kind;
  for (size_t i = 0; i < message.size(); ++i) {
    const bool digit = std::isdigit(static_cast<unsigned char>(message[i])) != 0;
    if (digit && !kind.empty() && kind.back() == '#') continue;
    kind += digit ? '#' : message[i];
  }
  return kind;
}

struct Answers {
  bool asked = false;  // the kernel; else the engine does not model the program
  Verdict ours = Verdict::kUnsupported;
  std::string our_message;
  KernelReport kernel;

  bool SameVerdict() const {
    return kernel.verdict == (ours == Verdict::kAccept ? KernelReport::Verdict::kAccept : KernelReport::Verdict::kReject);
  }
  // Told by the verdicts and messages; "" where they agree.
  std::string Difference() const {
    if (!asked || kernel.verdict == KernelReport::Verdict::kNotDecided || SameVerdict()) return "";
    return absl::StrCat("ours: ", std::string(VerdictName(ours)), " ", Kind(our_message), "; kernel: ",
                        std::string(KernelVerdictName(kernel.verdict)), " ", Kind(kernel.message));
  }
};

Answers Ask(const std::shared_ptr<const Object>& object) {
  Answers a;
  const SearchResult ours = Passes(*object, object->programs[0]).Search({});
  a.ours = ours.verdict;
  a.our_message = ours.finding.message;
  if (ours.verdict != Verdict::kAccept && ours.verdict != Verdict::kReject) return a;
  a.asked = true;
  KernelOracle oracle(*object);
  a.kernel = oracle.Ask(0, {});
  return a;
}

int Run(int argc, char** argv) {
  CLI::App app("Compares verdicts on generated programs with the running kernel's (needs root; programs are only loaded)");
  uint64_t seed = 1, programs = 1000;
  double broken = -1;
  std::string folder, csv;
  app.add_option("--seed", seed, "the first one");
  app.add_option("--programs", programs, "how many")->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}));
  app.add_option("--broken", broken, "defects in programs, 0 to 1; otherwise several in turn");
  app.add_option("--folder", folder, "where to write the smallest program of each kind of disagreement");
  app.add_option("--csv", csv, "where to write the kinds of disagreement");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = OracleAvailable(); !status.ok()) {
    std::cerr << "agree: " << status.message() << "\n";
    return 2;
  }

  struct Found {
    uint64_t count = 0, seed = 0;
    size_t insns = 0;
    bool false_accept = false;
  };
  std::map<std::string, Found> kinds;
  uint64_t accepted = 0, rejected = 0, same_message = 0, undecided = 0, unsupported = 0;
  uint64_t false_accepts = 0, false_rejects = 0, insns = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t at = seed; at < seed + programs; ++at) {
    const std::shared_ptr<const Object> object = Generate(at, SettingsFor(at, broken));
    insns += object->programs[0].insns.size();
    const Answers a = Ask(object);
    if (!a.asked) {
      ++unsupported;
      continue;
    }
    if (a.kernel.verdict == KernelReport::Verdict::kNotDecided) {
      if (undecided++ == 0) std::cerr << "agree: seed " << at << " is not decided by the kernel: " << a.kernel.message << "\n";
      continue;
    }
    const std::string difference = a.Difference();
    if (difference.empty()) {
      ++(a.ours == Verdict::kAccept ? accepted : rejected);
      if (a.ours == Verdict::kReject) same_message += a.our_message == a.kernel.message;
      continue;
    }
    const bool false_accept = a.ours == Verdict::kAccept;
    ++(false_accept ? false_accepts : false_rejects);
    Found& found = kinds[difference];
    if (++found.count > 1) continue;
    found.seed = at;
    found.false_accept = false_accept;
    const std::shared_ptr<const Object> small =
        Shrink(*object, [&](const std::shared_ptr<const Object>& o) { return Ask(o).Difference() == difference; }, 600);
    found.insns = small->programs[0].insns.size();
    if (!folder.empty()) {
      std::ofstream out(absl::StrCat(folder, "/", at, ".bpfasm"));
      out << AsmFileText(*small, absl::StrCat("seed ", at, ": ", difference));
    }
    std::cerr << "seed " << at << ", " << found.insns << " instructions: " << difference << "\n";
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!csv.empty()) {
    std::ofstream out(csv);
    out << "disagreement,kind,programs,seed,shrunk_insns\n";
    for (const auto& [kind, f] : kinds) {
      std::string quoted;
      for (char c : kind) quoted += c == '"' ? "\"\"" : std::string(1, c);
      out << (f.false_accept ? "false accept" : "false reject") << ",\"" << quoted << "\"," << f.count << "," << f.seed << ","
          << f.insns << "\n";
    }
  }
  std::cout << nlohmann::json{{"programs", programs}, {"seed", seed}, {"mean_insns", static_cast<double>(insns) / static_cast<double>(programs)},
                              {"both_accept", accepted}, {"both_reject", rejected}, {"same_message", same_message},
                              {"false_accepts", false_accepts}, {"false_rejects", false_rejects},
                              {"not_decided_by_kernel", undecided}, {"unsupported", unsupported},
                              {"seconds", seconds}, {"programs_per_second", static_cast<double>(programs) / seconds}}
                   .dump()
            << std::endl;
  return false_accepts > 0 ? 1 : 0;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Run(argc, argv); }
