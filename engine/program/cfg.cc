#include "engine/program/cfg.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/program/arena.h"

namespace bpfsieve {
namespace {

// Linux 6.18 limits: BPF_MAX_SUBPROGS, MAX_CALL_FRAMES, MAX_BPF_STACK, BPF_PRIV_STACK_MIN_SIZE.
constexpr size_t kMaxSubprogs = 256;
constexpr int kMaxFrames = 8;
constexpr int kMaxStack = 512;
constexpr int kPrivateStackMin = 64;
constexpr int kTailCallStackLimit = 256;

constexpr int32_t kHelperTailCall = 12, kHelperForEachMapElem = 164, kHelperTimerSetCallback = 170,
                  kHelperFindVma = 180, kHelperLoop = 181, kHelperUserRingbufDrain = 209;

constexpr uint16_t kArgRegs = 0x3e;         // R1..R5
constexpr uint16_t kCallerSavedRegs = 0x3f;  // R0..R5
constexpr uint16_t kTrackedRegs = 0x3ff;     // R10 never changes

[[gnu::cold]] Finding MakeFinding(Rule rule, uint32_t insn, std::string message) {
  Finding finding;
  finding.rule = rule;
  finding.insn = insn;
  finding.message = std::move(message);
  return finding;
}

constexpr bool IsCall(const Insn& i) { return IsJmpClass(i) && JmpOp(i) == kCall; }

// Every pass asks how control leaves an instruction and which registers it takes, and for a program's mixed instructions a
// processor cannot guess the answers: they come from tables, not from branches.
consteval std::array<Edge, 256> MakeEdges() {
  std::array<Edge, 256> edges{};
  for (int code = 0; code < 256; ++code) {
    const Insn i = MakeInsn(code);
    if (IsLdImm64(i)) edges[code] = Edge::kOver;
    if (!IsJmpClass(i)) continue;
    edges[code] = JmpOp(i) == kJa ? Edge::kJump : JmpOp(i) == kExit ? Edge::kExit : IsCall(i) ? Edge::kCall : Edge::kCond;
  }
  return edges;
}
constexpr std::array<Edge, 256> kEdges = MakeEdges();

// What the instruction does with the registers that it names.
struct RegUse {
  bool reads_dst = false, reads_src = false, writes_dst = false;
  bool otherwise = false;  // it depends on more than the opcode
};
consteval std::array<RegUse, 256> MakeRegUses() {
  std::array<RegUse, 256> uses{};
  for (int code = 0; code < 256; ++code) {
    const Insn i = MakeInsn(code);
    RegUse& u = uses[code];
    switch (Class(i)) {
      case kClassLd:
        u.writes_dst = IsLdImm64(i);
        u.otherwise = Mode(i) != kModeImm;
        break;
      case kClassLdx: u.reads_src = u.writes_dst = true; break;
      case kClassSt: u.reads_dst = true; break;
      case kClassStx:
        u.reads_dst = u.reads_src = true;
        u.otherwise = Mode(i) == kModeAtomic;
        break;
      case kClassAlu:
      case kClassAlu64:
        u.reads_dst = AluOp(i) != kMov;
        u.reads_src = AluOp(i) != kEnd && UsesX(i);
        u.writes_dst = true;
        break;
      default:
        u.otherwise = JmpOp(i) == kExit || JmpOp(i) == kCall;
        u.reads_dst = JmpOp(i) != kJa && JmpOp(i) != kJcond;
        u.reads_src = u.reads_dst && UsesX(i);
    }
  }
  return uses;
}
constexpr std::array<RegUse, 256> kRegUses = MakeRegUses();

// Where a jump goes. 64-bit: offsets come from the program and may point anywhere.
int64_t JumpTarget(const Insn& i, uint32_t at) {
  const int64_t off = i.code == (kClassJmp32 | kJa) ? i.imm : i.off;
  return static_cast<int64_t>(at) + off + 1;
}
int64_t CallTarget(const Insn& i, uint32_t at) { return static_cast<int64_t>(at) + i.imm + 1; }

std::string_view KfuncName(const Program& program, const Insn& i) {
  if (i.imm < 0 || static_cast<size_t>(i.imm) >= program.externs.size()) return {};
  return program.externs[i.imm].name;
}
bool IsIterNext(std::string_view kfunc) {
  return absl::StartsWith(absl::string_view(kfunc.data(), kfunc.size()), "bpf_iter_") &&
         absl::EndsWith(absl::string_view(kfunc.data(), kfunc.size()), "_next");
}
// The call runs a callback before it returns, any number of times.
bool CallsCallback(const Program& program, const Insn& i) {
  if (IsHelperCall(i)) {
    return i.imm == kHelperForEachMapElem || i.imm == kHelperFindVma || i.imm == kHelperLoop ||
           i.imm == kHelperUserRingbufDrain;
  }
  return IsKfuncCall(i) && KfuncName(program, i) == "bpf_rbtree_add_impl";
}
// The register (0: none) in which the call takes a callback that runs later, on a stack of its own.
int AsyncCallbackArg(const Program& program, const Insn& i) {
  if (IsHelperCall(i)) return i.imm == kHelperTimerSetCallback ? 2 : 0;
  if (!IsKfuncCall(i)) return 0;
  const std::string_view name = KfuncName(program, i);
  if (name == "bpf_wq_set_callback_impl") return 2;
  if (name == "bpf_task_work_schedule_signal_impl" || name == "bpf_task_work_schedule_resume_impl") return 4;
  return 0;
}

class Builder {
 public:
  Builder(const Program& program, const HelperTraits& traits, Cfg* cfg, const StopSign& stop)
      : program_(program), insns_(program.insns), traits_(traits), cfg_(cfg), stop_(stop) {}

  std::optional<Finding> Run() {
    if (insns_.empty()) return MakeFinding(Rule::kProgramSize, 0, "program has no instructions");
    *cfg_ = Cfg();
    FindNotable();
    if (auto finding = FindSubprogs()) return finding;
    if (auto finding = CheckSubprogs()) return finding;
    if (auto finding = CheckAbnormalReturn()) return finding;
    if (auto finding = CheckImmediates()) return finding;
    if (stop_.Asked()) return std::nullopt;
    if (auto finding = CheckReachable()) return finding;
    if (stop_.Asked()) return std::nullopt;
    MarkCalls();
    CollectEffects();
    MarkAsyncCallbacks();
    if (stop_.Asked()) return std::nullopt;
    ComputeScc();
    if (stop_.Asked()) return std::nullopt;
    ComputeLiveRegs();
    return std::nullopt;
  }

 private:
  uint32_t Size() const { return static_cast<uint32_t>(insns_.size()); }
  Cfg::Place& At(int64_t i) { return cfg_->at[static_cast<size_t>(i)]; }

  void FindNotable() {
    ArenaList<uint32_t> found(arena_);
    cfg_->at.resize(Size());
    for (uint32_t i = 0; i < Size(); ++i) {
      const Insn& insn = insns_[i];
      cfg_->at[i].edge = kEdges[insn.code];
      if (insn.code == kCodeCall || insn.code == kCodeLdImm64) found.push_back(i);
    }
    cfg_->notable.assign(found.begin(), found.end());
  }

  std::optional<Finding> FindSubprogs() {
    ArenaList<uint32_t> starts(arena_);
    starts.push_back(0);
    absl::flat_hash_set<uint32_t> known;  // but for the program's own start
    for (const uint32_t i : cfg_->notable) {
      const Insn& insn = insns_[i];
      if (!IsPseudoFunc(insn) && !IsPseudoCall(insn)) continue;
      const int64_t target = CallTarget(insn, i);
      if (target < 0 || target >= Size()) return MakeFinding(Rule::kJumpRange, i, "call to invalid destination");
      if (target == 0 || !known.insert(static_cast<uint32_t>(target)).second) continue;
      if (starts.size() >= kMaxSubprogs) return MakeFinding(Rule::kProgramSize, i, "too many subprograms");
      starts.push_back(static_cast<uint32_t>(target));
    }
    if (program_.exception_callback == Program::kSeveralCallbacks) {
      return MakeFinding(Rule::kException, 0, "multiple exception callback tags for main subprog");
    }
    const bool has_callback = program_.exception_callback != Program::kNoCallback;
    const uint32_t callback = has_callback ? static_cast<uint32_t>(program_.exception_callback) : 0;
    if (has_callback) {
      for (const Subprog& sub : program_.subprogs) {
        if (sub.start != callback || sub.global) continue;
        return MakeFinding(Rule::kException, callback,
                           absl::StrCat("exception callback '", sub.name, "' must have global linkage"));
      }
      if (callback != 0 && known.insert(callback).second) starts.push_back(callback);
    }
    std::sort(starts.begin(), starts.end());
    cfg_->subs.resize(starts.size());
    for (size_t s = 0; s < starts.size(); ++s) {
      cfg_->subs[s].start = starts[s];
      cfg_->subs[s].end = s + 1 < starts.size() ? starts[s + 1] : Size();
      if (s == 0) continue;  // as it is
      for (uint32_t i = cfg_->subs[s].start; i < cfg_->subs[s].end; ++i) At(i).sub = static_cast<uint16_t>(s);
    }
    if (has_callback) {
      cfg_->exception_sub = cfg_->SubAt(callback);
      cfg_->subs[cfg_->exception_sub].is_async_callback = true;
    }
    return std::nullopt;
  }

  // And the points that jumps make. The kernel marks them while it walks; since it ends up walking every instruction, the
  // order does not matter.
  std::optional<Finding> CheckSubprogs() {
    for (Cfg::Sub& sub : cfg_->subs) {
      for (uint32_t i = sub.start; i < sub.end; ++i) {
        const Insn& insn = insns_[i];
        Cfg::Place& place = At(i);
        if (place.edge <= Edge::kOver) {
          sub.has_ld_abs |= Class(insn) == kClassLd && (Mode(insn) == kModeAbs || Mode(insn) == kModeInd);
          continue;
        }
        sub.has_tail_call |= IsHelperCall(insn) && insn.imm == kHelperTailCall;
        if (place.edge != Edge::kJump && place.edge != Edge::kCond) continue;
        const int64_t target = JumpTarget(insn, i);
        jumps_back_ |= target <= i;
        if (target < sub.start || target >= sub.end) {
          return MakeFinding(Rule::kJumpRange, i, absl::StrCat("jump out of range from insn ", i, " to ", target));
        }
        place.target = static_cast<uint32_t>(target);
        At(target).prune_point = At(target).jmp_point = true;
        if (place.edge == Edge::kCond) place.prune_point = true;
        if (IsMayGoto(insn)) MarkConverge(i, Converge::kMayGoto);
      }
      const uint8_t last = insns_[sub.end - 1].code;
      if (last != kCodeExit && last != (kClassJmp | kJa) && last != (kClassJmp32 | kJa)) {
        return MakeFinding(Rule::kFallOff, sub.end - 1, "last insn is not an exit or jmp");
      }
    }
    return std::nullopt;
  }

  // Packet loads and tail calls may leave a subprogram without a value in R0. The kernel lets them do so only where
  // function information tells what is returned.
  std::optional<Finding> CheckAbnormalReturn() {
    for (const Subprog& sub : program_.subprogs) {
      if (sub.btf_func_id != 0) return std::nullopt;
    }
    for (size_t s = 1; s < cfg_->subs.size(); ++s) {
      const Cfg::Sub& sub = cfg_->subs[s];
      if (sub.has_ld_abs) {
        return MakeFinding(Rule::kBtfInfo, sub.start, "LD_ABS is not allowed in subprogs without BTF");
      }
      if (sub.has_tail_call) {
        return MakeFinding(Rule::kTailCall, sub.start, "tail_call is not allowed in subprogs without BTF");
      }
    }
    return std::nullopt;
  }

  // All that follows relies on second halves being just that.
  std::optional<Finding> CheckImmediates() {
    for (const uint32_t i : cfg_->notable) {
      if (!IsLdImm64(insns_[i])) continue;
      const Insn half = i + 1 < Size() ? insns_[i + 1] : insns_[i];
      if (half.code != 0 || half.dst != 0 || half.src != 0 || half.off != 0) {
        return MakeFinding(Rule::kBadImm64, i, "invalid bpf_ld_imm64 insn");
      }
    }
    return std::nullopt;
  }

  std::optional<Finding> CheckReachable() {
    seen_ = arena_.Make<uint8_t>(Size());
    ArenaList<uint32_t> todo(arena_);
    const auto reach = [&](int64_t i) {
      if (seen_[static_cast<size_t>(i)]) return;
      seen_[static_cast<size_t>(i)] = 1;
      todo.push_back(static_cast<uint32_t>(i));
    };
    reach(0);
    if (cfg_->exception_sub >= 0) reach(cfg_->subs[cfg_->exception_sub].start);
    const bool enters = cfg_->subs.size() > 1;  // there is something else to call
    size_t reached = 0;
    while (!todo.empty()) {
      // Every edge stays in the program: jumps and calls have been checked, and every subprogram ends in one.
      int64_t i = todo.back();
      todo.pop_back();
      for (bool more = true; more;) {  // straight on
        ++reached;
        const auto at = static_cast<uint32_t>(i);
        const Cfg::Place& place = At(i);
        if (place.edge == Edge::kExit) break;
        if (place.edge == Edge::kCond) reach(place.target);
        if (enters && (place.edge == Edge::kCall || place.edge == Edge::kOver)) {
          const Insn& insn = insns_[at];
          if (IsPseudoCall(insn) || IsPseudoFunc(insn)) reach(CallTarget(insn, at));
        }
        i = place.edge == Edge::kJump ? place.target : i + 1 + (place.edge == Edge::kOver);
        more = !std::exchange(seen_[static_cast<size_t>(i)], 1);
      }
    }
    bool halves = false;
    for (const uint32_t i : cfg_->notable) {
      if (!IsLdImm64(insns_[i])) continue;
      halves |= seen_[i + 1] != 0;
      ++reached;
    }
    return reached == Size() && !halves ? std::nullopt : Unreached();
  }
  std::optional<Finding> Unreached() const {
    for (uint32_t i = 0; i < Size(); ++i) {
      if (!seen_[i]) return MakeFinding(Rule::kUnreachable, i, absl::StrCat("unreachable insn ", i));
      if (!IsLdImm64(insns_[i])) continue;
      if (seen_[i + 1]) return MakeFinding(Rule::kJumpRange, i, absl::StrCat("jump into the middle of ldimm64 insn ", i));
      ++i;
    }
    return std::nullopt;
  }

  void MarkCalls() {
    for (const uint32_t i : cfg_->notable) {
      const Insn& insn = insns_[i];
      if (IsPseudoFunc(insn)) {
        MarkCall(i, i + 2, /*has_callee=*/true);
      } else if (IsCall(insn)) {
        if (AsyncCallbackArg(program_, insn) != 0) {
          At(i).prune_point = true;
          cfg_->any_async = true;
        }
        if (CallsCallback(program_, insn)) {
          MarkConverge(i, Converge::kCallback);
          At(i).jmp_point = true;
        }
        if (IsKfuncCall(insn) && IsIterNext(KfuncName(program_, insn))) MarkConverge(i, Converge::kIterNext);
        MarkCall(i, i + 1, IsPseudoCall(insn));
      }
    }
  }
  void MarkConverge(uint32_t i, Converge kind) {
    At(i).converge = kind;
    At(i).prune_point = true;
    cfg_->any_converge = true;
  }
  void MarkCall(uint32_t i, uint32_t next, bool has_callee) {
    At(next).prune_point = At(next).jmp_point = true;
    if (!has_callee) return;
    const int64_t target = CallTarget(insns_[i], i);
    At(i).prune_point = true;
    At(target).prune_point = At(target).jmp_point = true;
  }

  void CollectEffects() {
    struct Edge {
      uint16_t caller, callee;
      auto operator<=>(const Edge&) const = default;
    };
    ArenaList<Edge> calls(arena_);
    for (const uint32_t i : cfg_->notable) {
      const Insn& insn = insns_[i];
      Cfg::Sub& sub = cfg_->subs[At(i).sub];
      if (IsPseudoCall(insn) || IsPseudoFunc(insn)) {
        calls.push_back({At(i).sub, At(CallTarget(insn, i)).sub});
      } else if (IsHelperCall(insn)) {
        if (traits_.changes_packet && traits_.changes_packet(insn.imm)) sub.changes_packet = true;
        if (traits_.might_sleep && traits_.might_sleep(insn.imm)) sub.might_sleep = true;
      } else if (IsKfuncCall(insn) && traits_.kfunc) {
        const KfuncTraits kfunc = traits_.kfunc(KfuncName(program_, insn));
        if (kfunc.changes_packet) sub.changes_packet = true;
        if (kfunc.might_sleep) sub.might_sleep = true;
      }
    }
    std::sort(calls.begin(), calls.end());
    calls.resize(static_cast<size_t>(std::unique(calls.begin(), calls.end()) - calls.begin()));
    // At most as many rounds as subprograms: each but the last one changes a caller.
    for (bool changed = true; changed;) {
      changed = false;
      for (const auto& [caller_index, callee_index] : calls) {
        Cfg::Sub& caller = cfg_->subs[caller_index];
        const Cfg::Sub& callee = cfg_->subs[callee_index];
        if ((callee.changes_packet && !caller.changes_packet) || (callee.might_sleep && !caller.might_sleep)) {
          caller.changes_packet |= callee.changes_packet;
          caller.might_sleep |= callee.might_sleep;
          changed = true;
        }
      }
    }
  }

  // Follows the callback's register back through the moves of its straight line of code.
  void MarkAsyncCallbacks() {
    if (!cfg_->any_async) return;
    for (const uint32_t i : cfg_->notable) {
      int reg = AsyncCallbackArg(program_, insns_[i]);
      if (reg == 0) continue;
      for (uint32_t at = i; at > cfg_->subs[At(i).sub].start;) {
        --at;
        const Insn& insn = insns_[at];
        if (IsJmpClass(insn)) break;
        // A zero opcode is the second half of an immediate and names no register.
        if (insn.code == 0 || Class(insn) == kClassSt || Class(insn) == kClassStx || insn.dst != reg) continue;
        if (IsPseudoFunc(insn)) cfg_->subs[At(CallTarget(insn, at)).sub].is_async_callback = true;
        if (insn.code != (kClassAlu64 | kMov | kSrcX)) break;
        reg = insn.src;
      }
    }
  }

  // Tarjan's algorithm in Pearce's form ("A Space-Efficient Algorithm for Finding Strongly Connected Components"),
  // with a stack of its own: program length must not decide how deep we recurse. Components are numbered in the order
  // in which they complete, which is the kernel's order, and only if they are loops.
  void ComputeScc() {
    constexpr uint32_t kDone = UINT32_MAX;
    if (!jumps_back_ && !cfg_->any_converge) return;
    const auto pre = arena_.Make<uint32_t>(Size()), low = arena_.Make<uint32_t>(Size());
    ArenaList<uint32_t> component(arena_, Size()), path(arena_, Size());
    const auto edge = arena_.Make<uint8_t>(Size());  // successors of the instruction already entered
    uint32_t next_pre = 1, next_scc = 1;
    for (uint32_t root = 0; root < Size(); ++root) {
      if (pre[root] != 0) continue;
      path.push_back(root);
      while (!path.empty()) {
        const uint32_t w = path.back();
        if (pre[w] == 0) {
          pre[w] = low[w] = next_pre++;
          component.push_back(w);
        }
        uint32_t next[2];
        const int count = Successors(*cfg_, w, next);
        bool descended = false;
        while (edge[w] < count) {
          const uint32_t s = next[edge[w]];
          if (pre[s] == 0) {
            path.push_back(s);
            descended = true;
            break;
          }
          low[w] = std::min(low[w], low[s]);
          ++edge[w];
        }
        if (descended) continue;
        path.pop_back();
        if (low[w] < pre[w]) continue;
        bool loop = component.back() != w;
        for (int k = 0; k < count; ++k) loop |= next[k] == w;
        if (!loop && At(w).converge == Converge::kCallback) At(w).scc = kCallScc | w;
        uint32_t member;
        do {
          member = component.back();
          component.pop_back();
          low[member] = kDone;
          if (loop) At(member).scc = next_scc;
        } while (member != w);
        if (loop) ++next_scc;
      }
    }
  }

  struct RegEffect {
    uint16_t use = 0, def = 0;
  };
  RegEffect EffectOf(const Insn& i) const {
    const RegUse u = kRegUses[i.code];
    if (u.otherwise) return OtherEffectOf(i);
    return {static_cast<uint16_t>(u.reads_dst << i.dst | u.reads_src << i.src), static_cast<uint16_t>(u.writes_dst << i.dst)};
  }
  RegEffect OtherEffectOf(const Insn& i) const {
    if (JmpOp(i) == kExit && IsJmpClass(i)) return {1, 0};
    if (IsCall(i)) return {static_cast<uint16_t>(ArgRegs(i)), kCallerSavedRegs};
    // Legacy packet loads leave the program on failure and take R6: the kernel calls everything live before them.
    if (Class(i) == kClassLd) return {0xffff, 0};
    const uint16_t dst = static_cast<uint16_t>(1u << i.dst), src = static_cast<uint16_t>(1u << i.src);
    if (i.imm == kCmpxchg) return {static_cast<uint16_t>(1 | dst | src), 1};
    if (i.imm == kLoadAcq) return {src, dst};
    if (i.imm == kStoreRel) return {static_cast<uint16_t>(dst | src), 0};
    return {static_cast<uint16_t>(dst | src), (i.imm & kFetch) != 0 ? src : uint16_t{0}};
  }
  // A subprogram may read all argument registers, whatever its prototype says.
  uint32_t ArgRegs(const Insn& call) const {
    int count = 5;
    if (IsHelperCall(call) && traits_.arg_count) count = traits_.arg_count(call.imm);
    if (IsKfuncCall(call) && traits_.kfunc) count = traits_.kfunc(KfuncName(program_, call)).arg_count;
    return ((2u << std::clamp(count, 0, 5)) - 2u) & kArgRegs;
  }

  // Each register becomes live before an instruction at most once, so a worklist keeps this linear however the
  // program jumps about.
  void ComputeLiveRegs() {
    effects_ = arena_.Raw<RegEffect>(Size());
    if (jumps_back_) ListJumps();
    ArenaList<uint32_t> todo(arena_);
    for (uint32_t i = Size(); i-- > 0;) {
      effects_[i] = EffectOf(insns_[i]);
      // Whatever changed here is seen by all that comes before; only jumps back have to be told.
      if (!UpdateLiveRegs(i) || !jumps_back_ || first_from_[i] == first_from_[i + 1]) continue;
      todo.push_back(i);
      while (!todo.empty()) {
        const uint32_t changed = todo.back();
        todo.pop_back();
        for (uint32_t k = first_from_[changed]; k < first_from_[changed + 1]; ++k) {
          if (jumps_from_[k] >= i && UpdateLiveRegs(jumps_from_[k])) todo.push_back(jumps_from_[k]);
        }
        const uint32_t before = changed >= 2 && IsLdImm64(insns_[changed - 2]) ? changed - 2 : changed - 1;
        if (changed > i && before >= i && UpdateLiveRegs(before)) todo.push_back(before);
      }
    }
  }
  void ListJumps() {
    const auto is_jump = [this](uint32_t i) { return At(i).edge == Edge::kJump || At(i).edge == Edge::kCond; };
    first_from_ = arena_.Make<uint32_t>(Size() + 1);
    for (uint32_t i = 0; i < Size(); ++i) {
      if (is_jump(i)) ++first_from_[At(i).target + 1];
    }
    for (uint32_t i = 0; i < Size(); ++i) first_from_[i + 1] += first_from_[i];
    jumps_from_ = arena_.Raw<uint32_t>(first_from_.back());
    const auto fill = arena_.Raw<uint32_t>(Size());
    std::copy_n(first_from_.begin(), Size(), fill.begin());
    for (uint32_t i = 0; i < Size(); ++i) {
      if (is_jump(i)) jumps_from_[fill[At(i).target]++] = i;
    }
  }
  // Recomputes what is live before `i` from what is live before its successors; true if that changed.
  bool UpdateLiveRegs(uint32_t i) {
    if (insns_[i].code == 0) return false;  // second half of an immediate
    uint32_t next[2];
    const int count = Successors(*cfg_, i, next);
    uint16_t out = 0;
    for (int k = 0; k < count; ++k) out |= At(next[k]).live_regs;
    const uint16_t in = static_cast<uint16_t>(((out & ~effects_[i].def) | effects_[i].use) & kTrackedRegs);
    if (in == At(i).live_regs) return false;
    At(i).live_regs = in;
    return true;
  }

  const Program& program_;
  const std::vector<Insn>& insns_;
  const HelperTraits& traits_;
  Cfg* cfg_;
  const StopSign& stop_;
  Arena arena_;
  std::span<uint8_t> seen_;        // by instruction: it is reached
  std::span<RegEffect> effects_;   // by instruction
  // Jumps by their target: jumps_from_[first_from_[t]..first_from_[t + 1]) are the jumps to t.
  std::span<uint32_t> first_from_, jumps_from_;
  bool jumps_back_ = false;        // some jump does, or stays where it is
};

enum class PrivateStack : uint8_t { kUnknown, kNone, kAdaptive };

// Programs that may be entered again while they run get a stack of their own (x86-64 JIT). No parts of 6.18's list
// depend on anything but the program's type and attach type.
bool UsesPrivateStack(const Program& program) {
  switch (program.type) {
    case ProgType::kKprobe:
    case ProgType::kTracepoint:
    case ProgType::kPerfEvent:
    case ProgType::kRawTracepoint: return true;
    case ProgType::kTracing: return program.attach != AttachType::kTraceIter;
    default: return false;
  }
}

// The x86-64 JIT aligns frames to 16 bytes.
int RoundUp(uint16_t depth) { return (depth + 15) / 16 * 16; }

class StackDepthChecker {
 public:
  StackDepthChecker(const Program& program, const Cfg& cfg, const std::vector<uint16_t>& depth,
                    const std::vector<uint8_t>& is_callback)
      : program_(program), cfg_(cfg), depth_(depth), is_callback_(is_callback),
        modes_(arena_.Make<PrivateStack>(cfg.subs.size())), first_call_(arena_.Make<size_t>(cfg.subs.size() + 1)),
        calls_(arena_) {
    size_t sub = 0;  // calls are found in the order of their callers
    for (const uint32_t i : cfg.notable) {
      while (sub < cfg.at[i].sub) first_call_[++sub] = calls_.size();
      const Insn& insn = program.insns[i];
      if (IsKfuncCall(insn) && KfuncName(program, insn) == "bpf_throw") calls_.push_back({i, kThrow});
      if (!IsPseudoCall(insn) && !IsPseudoFunc(insn)) continue;
      const int callee = cfg.SubAt(static_cast<uint32_t>(CallTarget(insn, i)));
      if (callee < 0) continue;
      // A callback that runs later runs on a stack of its own.
      if (cfg.subs[callee].is_async_callback && !IsPseudoCall(insn)) continue;
      // A second call of the same subprogram from here finds nothing that the first one does not.
      const Call* first = calls_.begin() + first_call_[sub];
      if (std::none_of(first, std::as_const(calls_).end(), [&](const Call& c) { return c.callee == callee; })) {
        calls_.push_back({i, callee});
      }
    }
    while (sub < cfg.subs.size()) first_call_[++sub] = calls_.size();
  }

  // All asynchronous callbacks before the program itself, so that what both reach is known to use the normal stack.
  std::optional<Finding> Run(uint32_t* total) {
    bool tail_calls = false;
    for (const Cfg::Sub& sub : cfg_.subs) tail_calls |= sub.has_tail_call;
    for (int root = static_cast<int>(cfg_.subs.size()) - 1; root >= 0; --root) {
      if (root != 0 && !cfg_.subs[root].is_async_callback) continue;
      private_supported_ = root == 0 && !tail_calls && UsesPrivateStack(program_);
      seen_.clear();
      if (auto finding = Enter(root, cfg_.subs[root].start, 0, 0, false)) return finding;
    }
    if (total != nullptr) *total = static_cast<uint32_t>(deepest_);
    return std::nullopt;
  }

 private:
  static constexpr int kThrow = -1;
  struct Call {
    uint32_t insn;
    int callee;  // subprogram, or kThrow
  };

  // Recursion is bounded by kMaxFrames. What a subprogram's subtree may do wrong depends on how deep it starts and on
  // whether a callback is above it, so each such way in is walked once; the kernel walks every path.
  std::optional<Finding> Enter(int sub, uint32_t callsite, int frame, int depth, bool in_callback) {
    const Cfg::Sub& info = cfg_.subs[sub];
    if (!private_supported_) modes_[sub] = PrivateStack::kNone;
    in_callback |= static_cast<size_t>(sub) < is_callback_.size() && is_callback_[sub] != 0;
    in_callback |= sub == cfg_.exception_sub;
    const int place = (sub * kMaxFrames + frame) * (kMaxStack + 1) + depth;
    const uint32_t key = static_cast<uint32_t>(place * 2 + (in_callback ? 1 : 0));
    const std::span<const Call> calls(calls_.begin() + first_call_[sub], calls_.begin() + first_call_[sub + 1]);
    if (!calls.empty() && !seen_.insert(key).second) return std::nullopt;
    if (info.has_ld_abs && in_callback) {
      return MakeFinding(Rule::kPacketAccess, callsite, "cannot use BPF_LD_[ABS|IND] within callback");
    }
    if (sub != 0 && info.has_tail_call && depth >= kTailCallStackLimit) {
      return MakeFinding(Rule::kTailCall, callsite,
                         absl::StrCat("tail_calls are not allowed when call stack of previous frames is ", depth,
                                      " bytes. Too large"));
    }
    const int own = RoundUp(static_cast<size_t>(sub) < depth_.size() ? depth_[sub] : 0);
    if (private_supported_ && modes_[sub] == PrivateStack::kUnknown && own >= kPrivateStackMin) {
      modes_[sub] = PrivateStack::kAdaptive;
    }
    if (modes_[sub] == PrivateStack::kAdaptive) {
      if (own > kMaxStack) {
        return MakeFinding(Rule::kStackDepth, callsite,
                           absl::StrCat("stack size of subprog ", sub, " is ", own, ". Too large"));
      }
    } else {
      depth += own;
      if (depth > kMaxStack) {
        return MakeFinding(Rule::kStackDepth, callsite,
                           absl::StrCat("combined stack size of ", frame + 1, " calls is ", depth, ". Too large"));
      }
    }
    deepest_ = std::max(deepest_, depth);
    for (const Call& call : calls) {
      if (call.callee == kThrow) {
        if (!in_callback) continue;
        return MakeFinding(Rule::kException, call.insn,
                           absl::StrCat("bpf_throw kfunc (insn ", call.insn,
                                        ") cannot be called from callback subprog ", sub));
      }
      if (call.callee == cfg_.exception_sub) {
        return MakeFinding(Rule::kException, call.insn,
                           absl::StrCat("insn ", call.insn, " cannot call exception cb directly"));
      }
      if (frame + 1 >= kMaxFrames) {
        return MakeFinding(Rule::kCallDepth, call.insn,
                           absl::StrCat("the call stack of ", frame + 1, " frames is too deep !"));
      }
      if (auto finding = Enter(call.callee, call.insn, frame + 1, depth, in_callback)) return finding;
    }
    return std::nullopt;
  }

  const Program& program_;
  const Cfg& cfg_;
  const std::vector<uint16_t>& depth_;
  const std::vector<uint8_t>& is_callback_;
  Arena arena_;
  std::span<PrivateStack> modes_;
  std::span<size_t> first_call_;  // by subprogram, and one more: calls before its own
  ArenaList<Call> calls_;         // in program order
  absl::flat_hash_set<uint32_t> seen_;
  bool private_supported_ = false;
  int deepest_ = 0;
};

}  // namespace

int Cfg::SubAt(uint32_t start) const {
  const auto it = std::lower_bound(subs.begin(), subs.end(), start,
                                   [](const Sub& sub, uint32_t value) { return sub.start < value; });
  return it != subs.end() && it->start == start ? static_cast<int>(it - subs.begin()) : -1;
}

std::optional<Finding> BuildCfg(const Program& program, const HelperTraits& traits, Cfg* cfg, const StopSign& stop) {
  return Builder(program, traits, cfg, stop).Run();
}

std::optional<Finding> CheckStackDepth(const Program& program, const Cfg& cfg, const std::vector<uint16_t>& depth,
                                       const std::vector<uint8_t>& is_callback, uint32_t* total) {
  return StackDepthChecker(program, cfg, depth, is_callback).Run(total);
}

}  // namespace bpfsieve
