// The public entry: the list of passes that take bytes to a verdict.
#include "bpfsieve/verify.h"

#include <chrono>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/explore/explore.h"
#include "engine/explore/visit_log.h"
#include "engine/isa/decode.h"
#include "engine/program/cfg.h"
#include "engine/program/liveness.h"
#include "engine/program/load.h"
#include "engine/program/target.h"
#include "engine/report/explain.h"
#include "engine/report/finding.h"
#include "engine/report/report.h"
#include "engine/spec/spec.h"
#include "engine/verify/attach.h"
#include "engine/verify/loaded_target.h"
#include "engine/verify/passes.h"
#include "engine/verify/prepare.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxInsns = 1'000'000;             // BPF_COMPLEXITY_LIMIT_INSNS, for a privileged loader
constexpr size_t kMaxInsnsUnprivileged = 4096;      // BPF_MAXINSNS
constexpr uint64_t kMaxFile = uint64_t{1} << 30;    // bytes; larger files are not BPF objects

SearchResult Settle(Verdict verdict, Finding finding) {
  SearchResult r;
  r.verdict = verdict;
  r.finding = std::move(finding);
  return r;
}

Finding Plain(Rule rule, std::string message, uint32_t insn = 0) {
  Finding f;
  f.rule = rule;
  f.message = std::move(message);
  f.insn = insn;
  return f;
}

SearchResult Stopped(const StopSign& stop) {
  if (stop.Interrupted()) return Settle(Verdict::kLimit, Plain(Rule::kInterrupted, "interrupted"));
  return Settle(Verdict::kLimit, Plain(Rule::kTimeLimit, absl::StrCat("more than ", stop.time_ms, " ms")));
}

SearchResult Unsupported(std::string feature) {
  SearchResult r = Settle(Verdict::kUnsupported, Plain(Rule::kUnsupportedFeature, feature));
  r.feature = std::move(feature);
  return r;
}

// Which programs may sleep, and which must (check_attach_btf_id); of the types that are modelled.
std::optional<Finding> CheckSleepable(const Program& program) {
  if (program.type == ProgType::kSyscall) {
    if (program.sleepable) return std::nullopt;
    return Plain(Rule::kSleepable, "Syscall programs can only be sleepable");
  }
  const bool may_sleep = program.type == ProgType::kKprobe || program.type == ProgType::kStructOps ||
                         (program.type == ProgType::kTracing && program.attach != AttachType::kTraceRawTp) ||
                         (program.type == ProgType::kLsm && program.attach != AttachType::kLsmCgroup);
  if (!program.sleepable || may_sleep) return std::nullopt;
  return Plain(Rule::kSleepable,
               "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable");
}

}  // namespace

Capabilities CapabilitiesWithout(Lacking lacking) {
  return {.perfmon = lacking == Lacking::kNothing, .bpf = lacking != Lacking::kBpf};
}

Passes::Passes(const Object& object, const Program& program, const Capabilities& caps, const Target& target,
               const StopSign& stop)
    : object_(object), program_(program), caps_(caps), stop_(stop) {
  settled_ = Check(target);
  if (settled_) return;
  // 3. Live stack slots, for every calling context.
  const Program& as_verified = extension_ ? *extension_ : program;
  liveness_.emplace(as_verified, object.maps, cfg_, TraitsFor(as_verified.type), arena_, stop_);
  if (stop_.Asked()) {
    settled_ = Stopped(stop_);
    return;
  }
  context_ = MakeContext(object, as_verified, cfg_, *liveness_);
  if (extension_) {
    context_.extension = true;
    context_.subs[0].args = ReadFuncArgs(object, as_verified, as_verified.subprogs.front());
  }
  context_.target = target_;
  context_.caps = caps_;
  context_.strict_alignment = program.strict_alignment && !program.any_alignment;
}

std::optional<SearchResult> Passes::Check(const Target& target) {
  const std::string& function = target.function.empty() ? program_.attach_target : target.function;
  const bool at_program = target.object != nullptr && AttachesToProgram(program_, target.object->object(), function);
  // 1. What the loader could not prepare has no verdict of the rules.
  if (!program_.broken.empty() && !(program_.broken_target && at_program)) {
    return program_.broken_unsupported ? Unsupported(program_.broken)
                                       : Settle(Verdict::kInvalid, Plain(Rule::kInvalidProgram, program_.broken));
  }
  if (!program_.type_known || program_.type == ProgType::kUnspec) {
    return Settle(Verdict::kInvalid,
                  Plain(Rule::kInvalidProgram,
                        absl::StrCat("section '", program_.section, "' does not tell the program type; give one")));
  }
  if (program_.insns.empty() || program_.insns.size() > (caps_.bpf ? kMaxInsns : kMaxInsnsUnprivileged)) {
    return Settle(Verdict::kReject, Plain(Rule::kProgramSize, absl::StrCat(program_.insns.size(), " instructions")));
  }
  if (std::optional<Finding> f = CheckCapabilities(object_, program_, caps_)) {
    return Settle(Verdict::kReject, std::move(*f));
  }
  // Without types the kernel sees another program; see ResolveFields().
  if (object_.btf_refused) return Unsupported("types with special fields that the kernel refuses");
  const auto refuse_target = [&](const absl::Status& s) {
    const std::string why(s.message());
    if (absl::IsUnimplemented(s)) {
      return Unsupported(absl::StrCat("program type: ", std::string(ProgTypeName(program_.type)), ", ", why));
    }
    if (absl::IsFailedPrecondition(s)) return Settle(Verdict::kReject, Plain(Rule::kProgramLoad, why));
    return Settle(Verdict::kInvalid, Plain(Rule::kInvalidProgram, why));
  };
  if (program_.type == ProgType::kExt && !at_program) {
    return refuse_target(absl::UnimplementedError("without the object of its target"));
  }
  std::optional<SearchResult> refused_target;
  std::optional<LoadedTarget> loaded;
  if (program_.type == ProgType::kTracing || program_.type == ProgType::kLsm || program_.type == ProgType::kStructOps) {
    const KernelBtf* kernel = KernelTypes(object_);
    if (kernel == nullptr) return refuse_target(absl::UnimplementedError("without the kernel's types"));
    if (!at_program) {
      absl::StatusOr<AttachTarget> found = FindAttachTarget(program_, object_.GplCompatible(), *kernel);
      if (found.ok()) {
        target_ = *std::move(found);
      } else {
        refused_target = refuse_target(found.status());
      }
    }
  }
  if (at_program) {
    absl::StatusOr<LoadedTarget> found = LoadTarget(target, function);
    if (!found.ok()) return refuse_target(found.status());
    loaded = *std::move(found);
  }
  if (refused_target && refused_target->verdict != Verdict::kReject) return refused_target;
  if (!AttachTypeValid(program_.type, program_.attach)) {
    return Settle(Verdict::kReject, Plain(Rule::kProgramLoad, "attach type does not go with the program type"));
  }

  // 2. The text of the program: control flow, encoding, references; complaints in the order that the kernel makes them.
  //    Subprograms, prune points, loops and live registers are known afterwards and do not change any more.
  const bool extends = program_.type == ProgType::kExt;
  HelperTraits traits = TraitsFor(extends ? loaded->program->type : program_.type);
  if (extends) traits.might_sleep = nullptr;  // the kernel does not know yet which helpers the program has
  std::optional<Finding> flow = BuildCfg(program_, traits, &cfg_, stop_);
  if (stop_.Asked()) return Stopped(stop_);
  const bool flow_first = flow && (flow->rule == Rule::kFallOff || flow->rule == Rule::kJumpRange ||
                                   flow->rule == Rule::kException);
  if (flow_first) return Settle(Verdict::kReject, std::move(*flow));
  if (std::optional<Finding> f = CheckFunctionInfo(object_, program_, cfg_)) {
    return Settle(Verdict::kReject, std::move(*f));
  }
  if (std::optional<EncodingError> e = CheckEncoding(program_.insns.data(), program_.insns.size())) {
    return Settle(Verdict::kReject, FromEncoding(*e));
  }
  if (std::optional<Finding> f = CheckReferences(object_, program_, cfg_)) return Settle(Verdict::kReject, std::move(*f));
  if (std::optional<std::string> feature = UnmodelledReference(object_, program_, cfg_, caps_)) {
    return Unsupported(*feature);
  }
  if (!caps_.bpf) {
    if (std::optional<Finding> f = CheckNoLoops(program_)) return Settle(Verdict::kReject, std::move(*f));
  }
  if (flow) return Settle(Verdict::kReject, std::move(*flow));
  if (std::optional<Finding> f = CheckSleepable(program_)) return Settle(Verdict::kReject, std::move(*f));
  if (refused_target) return refused_target;
  if (!loaded) return std::nullopt;
  if (absl::Status s = CheckAttached(object_, program_, cfg_, *loaded); !s.ok()) return refuse_target(s);
  if (extends) {
    extension_ = program_;
    extension_->type = loaded->program->type;
    extension_->attach = loaded->program->attach;
    // Such a program may return anything, unless it is attached to something that has a type.
    if (extension_->type == ProgType::kRawTracepoint) target_.returns = RetRule{.checked = true, .range = {0, 0}};
  } else {
    target_ = TracedFunction(*loaded);
  }
  return std::nullopt;
}

namespace {

// Whether the program takes the address of a function that no helper calls back, beside other functions. `visits` null: as far
// as can be told without it. Linux 6.18 removes such a function as dead code, and does not adjust what names it: in what is
// left, it then is the place as far behind the dead code as it lay in it. Where that is no function's, the kernel gives up
// ("verifier bug: No program to jit"), if it compiles functions at all: another one is left, the program's or its own for
// exceptions.
bool LosesAFunction(const Program& program, const Cfg& cfg, const std::vector<uint8_t>& called_back, const VisitLog* visits) {
  if (cfg.subs.size() == 1) return false;
  const auto live = [&](uint32_t i) {
    const bool second_half = i > 0 && IsLdImm64(program.insns[i - 1]);
    return visits == nullptr || visits->Visited(second_half ? i - 1 : i);
  };
  std::vector<uint32_t> place;  // of an instruction among those that are left
  std::vector<uint8_t> is_function;  // by such a place
  bool others = visits == nullptr;
  if (visits != nullptr) {
    const auto n = static_cast<uint32_t>(program.insns.size());
    place.resize(n + 1);
    is_function.resize(n + 1);
    for (uint32_t i = 0; i < n; ++i) place[i + 1] = place[i] + live(i);
    for (const Cfg::Sub& sub : cfg.subs) {
      if (!live(sub.start)) continue;
      is_function[place[sub.start]] = 1;
      others |= sub.start != 0;
    }
  }
  bool lost = false;
  for (const uint32_t i : cfg.notable) {
    const Insn& insn = program.insns[i];
    if (IsKfuncCall(insn) && static_cast<size_t>(insn.imm) < program.externs.size()) {
      others |= program.externs[static_cast<size_t>(insn.imm)].name == "bpf_throw";
    }
    if (!IsPseudoFunc(insn) || !live(i)) continue;
    const auto target = static_cast<uint32_t>(static_cast<int64_t>(i) + insn.imm + 1);
    if (visits == nullptr) {
      lost |= called_back.empty() || called_back[cfg.SubAt(target)] == 0;
    } else if (!live(target)) {
      uint32_t dead = target;  // where the dead code begins
      while (dead > 0 && !live(dead - 1)) --dead;
      lost |= is_function[place[target] + (target - dead)] == 0;
    }
  }
  return lost && others;
}

}  // namespace

SearchResult Passes::Search(const VerifyOptions& options, const SearchHooks& hooks) const {
  if (settled_) return *settled_;
  // 4. Every path.
  std::optional<Context> stricter;
  if ((options.strict_alignment && !program_.any_alignment) || hooks.strict_stack) {
    stricter = context_;
    stricter->strict_alignment |= options.strict_alignment && !program_.any_alignment;
    stricter->strict_stack = hooks.strict_stack;
  }
  SearchLimits limits;
  limits.max_processed = options.max_processed;
  limits.max_pending = options.max_pending;
  limits.memory = options.memory_limit;
  limits.log_level = options.log_level;
  limits.log_limit = options.log_limit;
  limits.explain = options.explain;
  limits.threads = options.threads;
  limits.shape = options.parallel_stats;
  limits.helpers_from = options.threads_from;
  limits.shake = options.shake;
  limits.stop = stop_;
  limits.pieces = hooks.pieces;
  limits.test_state_freq = (options.test_state_freq || program_.test_state_freq) && caps_.bpf;
  limits.observer = hooks.observer;
  limits.all_precise = hooks.all_precise;
  SearchResult result = Explore(stricter ? *stricter : context_, limits);
  if (result.verdict != Verdict::kAccept) return result;

  // 5. The stack of every call chain, now that each function's use is known.
  std::optional<Cfg> called_later;
  for (size_t s = 0; s < result.called_later.size(); ++s) {
    if (result.called_later[s] == 0) continue;
    if (!called_later) called_later = cfg_;
    called_later->subs[s].is_async_callback = true;
  }
  const Cfg& cfg = called_later ? *called_later : cfg_;
  if (std::optional<Finding> f = CheckStackDepth(program_, cfg, result.depths, result.called_back, nullptr)) {
    result.verdict = Verdict::kReject;
    result.finding = std::move(*f);
    return result;
  }
  if (!LosesAFunction(program_, cfg_, result.called_back, nullptr)) return result;
  VisitLog visits;
  visits.Clear(program_.insns.size());
  limits.observer = &visits;
  if (SearchResult again = Explore(stricter ? *stricter : context_, limits); again.verdict != Verdict::kAccept) return again;
  if (LosesAFunction(program_, cfg_, result.called_back, &visits)) {
    result.verdict = Verdict::kUnsupported;
    result.feature = "function that is never called back";
    result.finding = Plain(Rule::kUnsupportedFeature, result.feature);
  }
  return result;
}

namespace {

void FillParallel(const SearchResult& result, ParallelStats* stats) {
  const SpeculationStats& s = result.speculation;
  stats->longest_path = result.shape.longest_path;
  stats->greedy = result.shape.greedy;
  stats->helpers = s.helpers;
  stats->segments = s.segments;
  stats->parked = s.parked;
  stats->pieces = s.pieces;
  stats->retired_pieces = s.retired_pieces;
  stats->insns = s.steps;
  stats->retired_insns = s.retired_steps;
  stats->waits = s.waits;
  stats->wait_ns = s.wait_ns;
  stats->busy_ns = s.busy_ns;
  stats->functions = s.functions;
}

}  // namespace

ObjectFile::ObjectFile(std::shared_ptr<const Object> object) : object_(std::move(object)) {}

absl::StatusOr<ObjectFile> ObjectFile::Open(const std::string& path, const LoadOptions& options) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  if (size < 0) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  if (static_cast<uint64_t>(size) > kMaxFile) return absl::InvalidArgumentError(absl::StrCat(path, ": too large"));
  in.seekg(0);
  std::string bytes(static_cast<size_t>(size), '\0');
  if (!in.read(bytes.data(), size)) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  return Parse(bytes, path, options);
}

absl::StatusOr<ObjectFile> ObjectFile::Parse(std::string_view bytes, const std::string& name,
                                             const LoadOptions& options) {
  absl::StatusOr<std::shared_ptr<const Object>> object = LoadObject(bytes, name, options);
  if (!object.ok()) return object.status();
  return ObjectFile(*std::move(object));
}

int ObjectFile::program_count() const { return static_cast<int>(object_->programs.size()); }
std::string_view ObjectFile::program_name(int i) const { return object_->programs[i].name; }
std::string_view ObjectFile::section(int i) const { return object_->programs[i].section; }
std::string_view ObjectFile::program_type(int i) const { return ProgTypeName(object_->programs[i].type); }
std::string_view ObjectFile::attach_type(int i) const { return AttachTypeName(object_->programs[i].attach); }

Report Verify(const ObjectFile& file, int index, const VerifyOptions& options) {
  const Object& object = file.object();
  const Program& program = object.programs[index];
  const auto begin = std::chrono::steady_clock::now();
  StopSign stop{.interrupt = options.interrupt, .time_ms = options.time_limit_ms};
  if (stop.time_ms != 0) stop.deadline = begin + std::chrono::milliseconds(stop.time_ms);
  SearchResult result = Passes(object, program, CapabilitiesWithout(options.without), options.target, stop).Search(options);
  const auto end = std::chrono::steady_clock::now();

  Report report;
  report.verdict = VerdictName(result.verdict);
  report.feature = result.feature;
  report.log = std::move(result.log);
  report.stats.total_insns = result.stats.processed;
  report.stats.total_states = result.stats.total_states;
  report.stats.peak_states = result.stats.peak_states;
  report.stats.max_states_per_insn = result.stats.max_states_per_insn;
  report.stats.mem_peak = result.stats.peak_bytes;
  for (uint16_t depth : result.depths) report.stats.stack_depth += depth;
  report.stats.prog_size = program.insns.size();
  if (options.parallel_stats) FillParallel(result, &report.parallel);
  report.stats.duration_ns =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
  if (result.verdict == Verdict::kAccept) return report;

  report.rule = GetRuleInfo(result.finding.rule).code;
  report.message = result.finding.message;
  report.insn = result.verdict == Verdict::kInvalid ? -1 : int64_t{result.finding.insn};
  if (const LineInfo* line = LineOf(program, result.finding.insn)) {
    report.source_file = line->file;
    report.source_line = line->line;
  }
  if (options.explain) {
    report.explanation = ExplainText(object, program, result.verdict, result.finding);
    report.explanation_json = ExplainJson(object, program, result.verdict, result.finding);
  }
  return report;
}

}  // namespace bpfsieve
