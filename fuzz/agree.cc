// Generated programs before the running kernel and before this engine: do they say the same?
//
// Programs are only loaded, never attached or run. Not loaded are those that Linux 6.18 may crash on (may_crash.h), by their
// text, and what the engine does not model. A budget that runs out counts as a rejection, as it does with the kernel. Each
// program on which both disagree is made smaller and written as a JSON line; the last line has the counts. Exit status: 0 no
// false accept, 1 some, 2 not understood, or the kernel cannot be asked.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cctype>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "corpus/oracle/oracle.h"
#include "engine/program/btf_view.h"
#include "engine/verify/passes.h"
#include "fuzz/generate.h"
#include "fuzz/may_crash.h"
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
  bool may_crash = false;  // nobody was asked
  bool asked = false;      // the kernel, too
  Verdict ours = Verdict::kUnsupported;
  std::string our_message;
  std::string feature;     // that the engine does not model
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

Answers Ask(const std::shared_ptr<const Object>& object, const Capabilities& caps) {
  Answers a;
  a.may_crash = MayCrashTheKernel(object->programs[0]);
  if (a.may_crash) return a;
  const SearchResult ours = Passes(*object, object->programs[0], caps).Search({});
  a.ours = ours.verdict;
  a.our_message = ours.finding.message;
  a.feature = ours.feature;
  a.may_crash = ours.verdict == Verdict::kLimit && MayCrashAtTheLimit(object->programs[0]);
  if (a.may_crash) return a;
  if (ours.verdict == Verdict::kUnsupported) return a;
  a.asked = true;
  KernelOracle oracle(*object, caps);
  a.kernel = oracle.Ask(0, {});
  return a;
}

int Run(int argc, char** argv) {
  CLI::App app("Compares verdicts on generated programs with the running kernel's (needs root; programs are only loaded)");
  uint64_t seed = 1, programs = 1000;
  double broken = -1;
  std::string without;
  app.add_option("--seed", seed, "the first one");
  app.add_option("--programs", programs, "how many")->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}));
  app.add_option("--broken", broken, "defects in programs, 0 to 1; otherwise several in turn");
  app.add_option("--without", without, "a capability that the loader lacks: perfmon, bpf")
      ->check(CLI::IsMember({"perfmon", "bpf"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  const Capabilities caps = {.perfmon = without.empty(), .bpf = without != "bpf"};
  if (const absl::Status status = OracleAvailable(caps); !status.ok()) {
    std::cerr << "agree: " << status.message() << "\n";
    return 2;
  }

  const absl::StatusOr<std::shared_ptr<const KernelBtf>> types = GetKernelBtf("");
  if (!types.ok() || *types == nullptr) {
    std::cerr << "agree: the kernel's types cannot be read\n";
    return 2;
  }
  std::map<std::string, uint64_t> unsupported;
  uint64_t accepted = 0, rejected = 0, same_message = 0, undecided = 0, may_crash = 0, both_limit = 0;
  uint64_t false_accepts = 0, false_rejects = 0, insns = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t at = seed; at < seed + programs; ++at) {
    GenerateOptions settings = SettingsFor(at, broken);
    settings.kernel_types = *types;
    if (!caps.perfmon) settings.caps.perfmon = false;
    const std::shared_ptr<const Object> object = Generate(at, settings);
    insns += object->programs[0].insns.size();
    const Answers a = Ask(object, caps);
    if (!a.asked) {
      ++(a.may_crash ? may_crash : unsupported[a.feature]);
      continue;
    }
    if (a.kernel.verdict == KernelReport::Verdict::kNotDecided) {
      if (undecided++ == 0) std::cerr << "agree: seed " << at << " is not decided by the kernel: " << a.kernel.message << "\n";
      continue;
    }
    const std::string difference = a.Difference();
    if (difference.empty()) {
      ++(a.ours == Verdict::kAccept ? accepted : a.ours == Verdict::kLimit ? both_limit : rejected);
      if (a.ours == Verdict::kReject) same_message += a.our_message == a.kernel.message;
      continue;
    }
    const bool false_accept = a.ours == Verdict::kAccept;
    ++(false_accept ? false_accepts : false_rejects);
    const std::shared_ptr<const Object> small =
        Shrink(*object, [&](const std::shared_ptr<const Object>& o) { return Ask(o, caps).Difference() == difference; }, 600);
    std::cout << nlohmann::json{{"seed", at}, {"disagreement", false_accept ? "false accept" : "false reject"},
                                {"kind", difference}, {"insns", object->programs[0].insns.size()},
                                {"shrunk", small->programs[0].insns.size()},
                                {"text", AsmFileText(*small, absl::StrCat("seed ", at, ": ", difference))}}
                     .dump()
              << std::endl;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::cout << nlohmann::json{{"programs", programs}, {"seed", seed}, {"mean_insns", static_cast<double>(insns) / static_cast<double>(programs)},
                              {"both_accept", accepted}, {"both_reject", rejected}, {"same_message", same_message},
                              {"false_accepts", false_accepts}, {"false_rejects", false_rejects},
                              {"not_decided_by_kernel", undecided}, {"not_asked_may_crash", may_crash},
                              {"unsupported", unsupported}, {"both_limit", both_limit},
                              {"seconds", seconds}, {"programs_per_second", static_cast<double>(programs) / seconds}}
                   .dump()
            << std::endl;
  return false_accepts > 0 ? 1 : 0;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Run(argc, argv); }
