#include "corpus/oracle/oracle.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "corpus/oracle/btf.h"
#include "corpus/oracle/capabilities.h"
#include "corpus/oracle/maps.h"
#include "corpus/oracle/sys.h"
#include "engine/program/target.h"

namespace bpfsieve {
namespace {

// prog_flags.
constexpr uint32_t kStrictAlignment = 1u << 0, kAnyAlignment = 1u << 1, kTestStateFreq = 1u << 3, kSleepable = 1u << 4,
                   kXdpHasFrags = 1u << 5;
// log_level.
constexpr uint32_t kLogStats = 4;
// What the kernel answers to features that it lacks; user space has no name for it.
constexpr int kErrNotSupp = 524;

struct FuncInfo {
  uint32_t insn = 0;
  uint32_t type_id = 0;
};

uint64_t ToU64(const void* p) { return reinterpret_cast<uintptr_t>(p); }

uint32_t RunningKernelVersion() {
  utsname name;
  unsigned major = 0, minor = 0, patch = 0;
  if (uname(&name) != 0 || sscanf(name.release, "%u.%u.%u", &major, &minor, &patch) < 2) return 0;
  return major << 16 | minor << 8 | std::min(patch, 255u);
}

std::string ErrnoText(int error) { return error == kErrNotSupp ? "not supported (524)" : strerror(error); }

// Whether the kernel loads the smallest program of the type with any attach type: some are built without a few types
// and then refuse all of their programs with the same EINVAL that other misuse gets.
bool KernelHasType(ProgType type) {
  // Types that need a target are refused for want of one, which says nothing.
  if (type == ProgType::kTracing || type == ProgType::kLsm || type == ProgType::kExt || type == ProgType::kStructOps) {
    return true;
  }
  const Insn insns[] = {{.code = kClassAlu64 | kMov | kSrcK, .imm = 1}, {.code = kCodeExit}};
  for (uint32_t attach = 0; attach < kAttachTypeCount; ++attach) {
    ProgLoadAttr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_type = static_cast<uint32_t>(type);
    attr.expected_attach_type = attach;
    attr.insns = ToU64(insns);
    attr.insn_cnt = std::size(insns);
    attr.license = ToU64("GPL");
    attr.kern_version = RunningKernelVersion();
    const UniqueFd fd(SysProgLoad(&attr));
    if (fd.ok()) return true;
  }
  return false;
}

// That the program is attached to.
const std::string& FunctionOf(const Program& program, const OracleOptions& options) {
  return options.target_function.empty() ? program.attach_target : options.target_function;
}

KernelReport NotDecided(int error, std::string why) {
  KernelReport report;
  report.error = error;
  report.message = std::move(why);
  return report;
}

}  // namespace

std::string_view KernelVerdictName(KernelReport::Verdict v) {
  switch (v) {
    case KernelReport::Verdict::kAccept: return "accept";
    case KernelReport::Verdict::kReject: return "reject";
    case KernelReport::Verdict::kNotDecided: return "not_decided";
  }
  return "";
}

absl::Status OracleAvailable(const Capabilities& caps) {
  if (!caps.bpf) {
    if (absl::Status s = OracleAvailable(); !s.ok()) return s;
  }
  const Insn insns[] = {{.code = kClassAlu64 | kMov | kSrcK}, {.code = kCodeExit}};
  ProgLoadAttr attr;
  memset(&attr, 0, sizeof(attr));
  // Without capabilities, one of the two types that are left; else one that needs every capability that the oracle needs.
  attr.prog_type = caps.bpf ? BPF_PROG_TYPE_SCHED_CLS : BPF_PROG_TYPE_SOCKET_FILTER;
  attr.insns = ToU64(insns);
  attr.insn_cnt = std::size(insns);
  attr.license = ToU64("GPL");
  const WithOnly only(caps);
  const UniqueFd fd(SysProgLoad(&attr));
  if (fd.ok()) return absl::OkStatus();
  const int error = -fd.get();
  const std::string why = absl::StrCat("bpf(2) refuses to load a program: ", ErrnoText(error),
                                       caps.bpf ? "" : "; kernel.unprivileged_bpf_disabled has to be 0");
  return error == EPERM || error == EACCES ? absl::PermissionDeniedError(why) : absl::UnavailableError(why);
}

struct KernelOracle::Impl {
  Impl(const Object& o, const Capabilities& c) : object(o), caps(c) {
    const std::vector<uint8_t> data = LoadableBtf(object);
    // Only with CAP_BPF may types be loaded; loaders go on without.
    if (!data.empty() && caps.bpf) {
      std::string log;
      const int fd = SysBtfLoad(data.data(), data.size(), &log);
      if (fd >= 0) {
        btf = UniqueFd(fd);
      } else {
        btf_problem = absl::StrCat("the object's BTF is refused: ", ErrnoText(-fd), ": ", LastMessage(log));
      }
    }
    maps.emplace(object, btf.get());
  }

  // As Ask(), with the capabilities that the thread has now.
  // `kept`: where the program's descriptor goes, if it is accepted; null: it is closed at once.
  KernelReport Ask(const Program& program, const OracleOptions& options, UniqueFd* kept = nullptr);
  const RunningBtf* kernel_btf();
  // Replaces indices by descriptors and kernel BTF numbers. On failure: the reason.
  absl::Status Resolve(const Program& program, std::vector<Insn>* insns);
  absl::Status ResolveTarget(const Program& program, const OracleOptions& options, ProgLoadAttr* attr, UniqueFd* loaded);
  // One load; the log grows until it fits.
  int Load(ProgLoadAttr attr, uint32_t log_level, uint64_t log_limit, std::string* log, int64_t* jited, UniqueFd* kept);

  const Object& object;
  const Capabilities caps;
  UniqueFd btf;
  std::string btf_problem;
  std::optional<OracleMaps> maps;
  std::optional<absl::StatusOr<RunningBtf>> kernel;
};

const RunningBtf* KernelOracle::Impl::kernel_btf() {
  if (!kernel.has_value()) kernel = RunningBtf::Load();
  return kernel->ok() ? &**kernel : nullptr;
}

absl::Status KernelOracle::Impl::Resolve(const Program& program, std::vector<Insn>* insns) {
  *insns = program.insns;
  for (size_t i = 0; i < insns->size(); ++i) {
    Insn& insn = (*insns)[i];
    const bool wide = IsLdImm64(insn) && i + 1 < insns->size();
    if (wide && (insn.src == kPseudoMapFd || insn.src == kPseudoMapValue)) {
      if (insn.imm != kNoSuchMap) {  // -1, which as a descriptor is one that no process has
        absl::StatusOr<int> fd = maps->Get(static_cast<uint32_t>(insn.imm));
        if (!fd.ok()) return fd.status();
        insn.imm = *fd;
      }
    } else if ((wide && insn.src == kPseudoBtfId) || IsKfuncCall(insn)) {
      const auto index = static_cast<uint32_t>(insn.imm);
      if (index >= program.externs.size()) return absl::InvalidArgumentError(absl::StrCat("no extern ", index));
      const Extern& ext = program.externs[index];
      const RunningBtf* types = kernel_btf();
      uint32_t id = 0;
      if (types != nullptr) id = ext.kind == Extern::Kind::kFunc ? types->Func(ext.name) : types->Var(ext.name);
      // A weak one becomes a null address, or a call of no function, which must turn out unreachable.
      if (id == 0 && ext.weak && ext.kind == Extern::Kind::kVar) insn.src = 0;
      if (id == 0 && !ext.weak) return absl::NotFoundError(absl::StrCat("extern '", ext.name, "': not in the kernel's BTF"));
      insn.imm = static_cast<int32_t>(id);
    }
    if (IsLdImm64(insn)) ++i;
  }
  return absl::OkStatus();
}

// `loaded` keeps the program that this one is attached to.
absl::Status KernelOracle::Impl::ResolveTarget(const Program& program, const OracleOptions& options, ProgLoadAttr* attr,
                                               UniqueFd* loaded) {
  const std::string& target = FunctionOf(program, options);
  if (options.target != nullptr && AttachesToProgram(program, *options.target, target)) {
    absl::StatusOr<TargetFunction> found = FindTargetFunction(*options.target, options.target_program, target);
    if (!found.ok()) return found.status();
    Impl other(*options.target, caps);
    const KernelReport report = other.Ask(options.target->programs[found->program], {}, loaded);
    if (!loaded->ok()) return absl::FailedPreconditionError(absl::StrCat("the target is not loaded: ", report.message));
    attr->attach_btf_id = found->func_id;
    attr->attach_prog_fd = static_cast<uint32_t>(loaded->get());
    return absl::OkStatus();
  }
  std::string name;
  bool is_typedef = false;
  switch (program.type) {
    case ProgType::kTracing:
      if (program.attach == AttachType::kTraceRawTp) {
        name = absl::StrCat("btf_trace_", target);
        is_typedef = true;
      } else if (program.attach == AttachType::kTraceIter) {
        name = absl::StrCat("bpf_iter_", target);
      } else {
        name = target;
      }
      break;
    case ProgType::kLsm: name = absl::StrCat("bpf_lsm_", target); break;
    case ProgType::kExt: return absl::UnimplementedError("freplace: no target is given");
    case ProgType::kStructOps: {
      const size_t slash = target.find('/');
      if (slash == std::string::npos) return absl::UnimplementedError("struct_ops: the member is not known");
      const RunningBtf* types = kernel_btf();
      if (types == nullptr) return kernel->status();
      const int member = types->Member(target.substr(0, slash), target.substr(slash + 1));
      if (member < 0) return absl::NotFoundError(absl::StrCat("'", target, "' is not in the kernel's BTF"));
      attr->attach_btf_id = types->Struct(target.substr(0, slash));
      attr->expected_attach_type = static_cast<uint32_t>(member);
      return absl::OkStatus();
    }
    default: return absl::OkStatus();
  }
  if (target.empty()) return absl::OkStatus();
  const RunningBtf* types = kernel_btf();
  if (types == nullptr) return kernel->status();
  attr->attach_btf_id = is_typedef ? types->Typedef(name) : types->Func(name);
  if (attr->attach_btf_id == 0) return absl::NotFoundError(absl::StrCat("'", name, "' is not in the kernel's BTF"));
  return absl::OkStatus();
}

int KernelOracle::Impl::Load(ProgLoadAttr attr, uint32_t log_level, uint64_t log_limit, std::string* log,
                             int64_t* jited, UniqueFd* kept) {
  uint64_t size = log_level == kLogStats ? 64 << 10 : 1 << 20;
  const uint64_t largest = std::clamp<uint64_t>(log_limit, size, (uint64_t{1} << 30) - 1);
  for (;;) {
    std::vector<char> buffer(size);
    attr.log_level = log_level;
    attr.log_size = static_cast<uint32_t>(size);
    attr.log_buf = ToU64(buffer.data());
    attr.log_true_size = 0;
    UniqueFd fd(SysProgLoad(&attr));
    if (fd.ok() && jited != nullptr) *jited = SysProgSizes(fd.get()).jited;
    // A log that does not fit turns an accept into ENOSPC, and of a reject keeps the end only.
    const bool cut = fd.get() == -ENOSPC || attr.log_true_size > size;
    if (cut && size < largest) {
      size = std::min(largest, std::max<uint64_t>(size * 8, attr.log_true_size));
      continue;
    }
    log->assign(buffer.data(), strnlen(buffer.data(), buffer.size()));
    const int result = fd.get();
    if (fd.ok() && kept != nullptr) *kept = std::move(fd);
    return result;
  }
}

KernelOracle::KernelOracle(const Object& object, const Capabilities& caps) {
  const WithOnly only(caps);
  impl_ = std::make_unique<Impl>(object, caps);
}
KernelOracle::~KernelOracle() = default;

KernelReport KernelOracle::Ask(int index, const OracleOptions& options) {
  KernelReport report;
  {
    const WithOnly only(impl_->caps);
    report = impl_->Ask(impl_->object.programs[index], options);
  }
  const bool refused = report.verdict == KernelReport::Verdict::kNotDecided && report.error == EPERM;
  if (!refused || (impl_->caps.perfmon && impl_->caps.bpf)) return report;
  // Is it for want of a capability, or do such programs have no verdict at all?
  if (KernelOracle(impl_->object).Ask(index, options).verdict == KernelReport::Verdict::kNotDecided) return report;
  report.verdict = KernelReport::Verdict::kReject;
  return report;
}

KernelReport KernelOracle::Impl::Ask(const Program& program, const OracleOptions& options, UniqueFd* kept) {
  const bool at_program = options.target != nullptr && AttachesToProgram(program, *options.target, FunctionOf(program, options));
  if (!program.broken.empty() && !(program.broken_target && at_program)) return NotDecided(0, program.broken);
  if (program.type == ProgType::kUnspec) return NotDecided(EINVAL, "the program's type is not known");

  std::vector<Insn> insns;
  if (absl::Status s = Resolve(program, &insns); !s.ok()) {
    return NotDecided(absl::IsPermissionDenied(s) ? EPERM : EINVAL, std::string(s.message()));
  }

  ProgLoadAttr attr;
  memset(&attr, 0, sizeof(attr));
  attr.prog_type = static_cast<uint32_t>(program.type);
  attr.expected_attach_type = static_cast<uint32_t>(program.attach);
  attr.insns = ToU64(insns.data());
  attr.insn_cnt = static_cast<uint32_t>(insns.size());
  attr.license = ToU64(object.license.c_str());
  attr.kern_version = RunningKernelVersion();
  const std::string name = KernelObjectName(program.name);
  memcpy(attr.prog_name, name.data(), std::min(name.size(), sizeof(attr.prog_name) - 1));
  if (program.strict_alignment || options.strict_alignment) attr.prog_flags |= kStrictAlignment;
  if (program.any_alignment) attr.prog_flags |= kAnyAlignment;
  if (program.test_state_freq || options.test_state_freq) attr.prog_flags |= kTestStateFreq;
  if (program.sleepable) attr.prog_flags |= kSleepable;
  if (program.has_frags) attr.prog_flags |= kXdpHasFrags;
  UniqueFd target;
  if (absl::Status s = ResolveTarget(program, options, &attr, &target); !s.ok()) {
    return NotDecided(EINVAL, std::string(s.message()));
  }

  // Function information is all or nothing: the kernel wants as many entries as there are subprograms.
  std::vector<FuncInfo> funcs;
  for (const Subprog& sub : program.subprogs) {
    if (sub.btf_func_id != 0) funcs.push_back({sub.start, sub.btf_func_id});
  }
  if (btf.ok() && !funcs.empty() && funcs.size() == program.subprogs.size()) {
    attr.prog_btf_fd = btf.get();
    attr.func_info = ToU64(funcs.data());
    attr.func_info_cnt = static_cast<uint32_t>(funcs.size());
    attr.func_info_rec_size = sizeof(FuncInfo);
  }

  KernelReport report;
  std::string log;
  const int result = Load(attr, kLogStats, 16 << 20, &log, &report.jited_size, kept);
  report.stats = ParseLogStats(log);
  report.error = result < 0 ? -result : 0;
  report.message = result < 0 ? LastMessage(log) : "";
  if (result < 0 && report.message.empty() && report.stats.processed >= 0) {
    Load(attr, 1, options.log_limit, &log, nullptr, nullptr);
    report.message = LastMessage(log);
  }
  if (options.log_level > 0) {
    Load(attr, static_cast<uint32_t>(options.log_level) | kLogStats, options.log_limit, &report.log, nullptr, nullptr);
  }

  if (result >= 0) {
    report.verdict = KernelReport::Verdict::kAccept;
    return report;
  }
  // EPERM without a word: the attach point is not for this kernel to judge.
  const bool judged = !report.message.empty() || (report.stats.processed >= 0 && report.error != EPERM);
  if (!judged && report.error == EINVAL && !KernelHasType(program.type)) {
    report.message = "this kernel is built without the program type";
    return report;
  }
  if (judged || report.error == EINVAL || report.error == E2BIG) {
    report.verdict = KernelReport::Verdict::kReject;
    if (!judged) report.message = absl::StrCat("refused before verification: ", ErrnoText(report.error));
  } else {
    // EPERM for attach points that this kernel does not judge, ENOMEM, and the like.
    report.message = absl::StrCat("not verified: ", ErrnoText(report.error));
  }
  if (report.verdict == KernelReport::Verdict::kReject && !btf_problem.empty()) {
    absl::StrAppend(&report.message, " (", btf_problem, ")");
  }
  return report;
}

absl::StatusOr<KernelReport> AskKernel(const Object& object, int program, const OracleOptions& options) {
  if (program < 0 || static_cast<size_t>(program) >= object.programs.size()) {
    return absl::InvalidArgumentError(absl::StrCat("no program ", program));
  }
  return KernelOracle(object).Ask(program, options);
}

}  // namespace bpfsieve
