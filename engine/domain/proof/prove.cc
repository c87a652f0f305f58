// Proves the contracts of contracts.h for words of 64 bits, on formulas that the domain's own source computes.
//
//   prove [--only TEXT,...] [--seconds N] [--csv FILE]
//
// Assumed of every operand is that it is well formed and has a member, and nothing else: the parts of a number may know
// different things. Proved is that the result has the member's result, and that no shift leaves its word on the way. A
// step that is proved by itself (ByContract in words.h) is used by what it promises; all steps that were used so have
// to be among those that are proved here, or the exit status is 1, as it is when something is refuted. --only takes
// those operators whose name contains one of the texts; then, steps are not asked after. --seconds are of CPU time, for
// each operator. A timeout is told, and no failure. 2: usage.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

// Not only its header: the steps in it are proved one by one.
#include "engine/domain/bounds.cc"  // NOLINT
#include "engine/domain/proof/contracts.h"

namespace bpfsieve {

// What there is to know of the run at hand, for the steps that are taken by contract.
struct Run {
  // The words whose membership the proof follows.
  std::vector<U64> followed;
  // The members of the factors and of the sum in TnumMulAdd(), and what the whole comes to.
  std::vector<U64> factors;  // x, y, p
  std::optional<U64> total;
  std::optional<U64> first;  // the bits of `a` at the start, of which fewer have to be left
  // Only what near conditions tell is asked of members: on one side of a jump, they are none of the other's.
  bool nearby = false;
  // The step that is to be proved is entered.
  bool enters = false;
  // The names of functions: the one entered, and those taken by contract.
  std::string entered;
  std::set<std::string> assumed;
};
Run g_run;

namespace {

template <typename W = U64>
W Any(const char* name, bool with_last = false) {
  return W::Of(Explorer::Get().Fresh(name, std::is_same_v<W, U64> || std::is_same_v<W, S64> ? 64 : 32, with_last));
}
Tnum AnyTnum() {
  const U64 value = Any("value");
  return {value, Any("mask", true)};
}
Scalar AnyScalar() {
  Scalar r;
  r.var_off = AnyTnum();
  r.smin = Any<S64>("smin");
  r.smax = Any<S64>("smax", true);
  r.umin = Any("umin");
  r.umax = Any("umax", true);
  r.s32_min = Any<S32>("s32_min");
  r.s32_max = Any<S32>("s32_max", true);
  r.u32_min = Any<U32>("u32_min");
  r.u32_max = Any<U32>("u32_max", true);
  return r;
}

// `then` where `given` holds. If that is so in any case, it is proved now, part by part, which is easier.
Truth Promised(const Truth& given, const Truth& then) {
  return Explorer::Get().Follows(given.formula, g_run.nearby) ? then : Implies(given, then);
}

void Assume(const Truth& truth) { Explorer::Get().Assume(truth.formula); }

}  // namespace

// Whether the step is to be taken itself; notes which it is.
bool Enters(const char* step) {
  const bool enters = g_run.enters;
  g_run.enters = false;
  if (enters) {
    g_run.entered = step;
  } else {
    g_run.assumed.insert(step);
  }
  return enters;
}

// The step promises: every member of `r` is one of the result.
bool TakesContract(Scalar& r, const char* step) {
  if (Enters(step)) return false;
  const Scalar before = r;
  r = AnyScalar();
  for (const U64& v : g_run.followed) Assume(Promised(Member(before, v), Member(r, v)));
  return true;
}

// The remaining loop of TnumMulAdd() promises: where x, y and p are members of a, b and acc, p + x * y is one of the
// result. One turn has gone by, so they are x / 2, 2 * y, and p or p + y; what they come to is the same (prove.cc's
// facts).
bool TakesContract(Tnum& acc, Tnum& a, Tnum& b, const char* step) {
  g_run.assumed.insert(step);
  const U64 x = g_run.factors[0], y = g_run.factors[1], p = g_run.factors[2];
  const U64 sum = p + (y & (U64{0} - (x & 1)));
  const Truth members = All({Member(a, x >> 1), Member(b, y << 1), Member(acc, sum)});
  if (g_run.first.has_value()) Explorer::Get().Require(z3::ult((a.value | a.mask).Term(), g_run.first->Term()));
  acc = AnyTnum();
  Assume(Promised(members, Member(acc, *g_run.total)));
  return true;
}

// TnumNext() promises what is stated in contracts.h.
bool TakesContract(U64& next, Tnum& t, U64& z, const char* step) {
  if (Enters(step)) return false;
  next = Any("next");
  for (const U64& x : g_run.followed) Assume(Promised(Member(t, x), IsNext(t, x, z, next)));
  return true;
}

namespace {

struct Lemma {
  std::string name;
  std::function<Truth()> body;
  bool by_induction = false;  // of a step that takes itself by contract, for less
};

// The products that the bounds of a multiplication are compared with, and that the low half of a product is the product
// of the low halves.
void MakeProducts(const Scalar& a, const Scalar& b, U64 x, U64 y) {
  Explorer& explorer = Explorer::Get();
  for (const S64& i : {a.smin, a.smax, S64(x)}) {
    for (const S64& k : {b.smin, b.smax, S64(y)}) explorer.Product(i.Term(), k.Term());
  }
  for (const S32& i : {a.s32_min, a.s32_max, S32(x)}) {
    for (const S32& k : {b.s32_min, b.s32_max, S32(y)}) explorer.Product(i.Term(), k.Term());
  }
  explorer.Assume(explorer.Product(x.Term(), y.Term()).wrapped.extract(31, 0) ==
                  explorer.Product(U32(x).Term(), U32(y).Term()).wrapped);
}

Truth ProveFunction(const Function& f) {
  const U64 x = Any("x"), y = Any("y", true);
  Scalar a = AnyScalar();
  const Scalar b = f.operands == Operands::kTwo ? AnyScalar() : Scalar::Const(y);
  Assume(Member(a, x));
  Assume(Member(b, y));
  if (f.name.starts_with("mul")) {
    MakeProducts(a, b, x, y);
    g_run.factors = {x, y, 0};
    g_run.total = x * y;
  }
  const U64 v = f.concrete(x, y);
  g_run.followed = {v};
  if (f.uncut != nullptr) g_run.followed.push_back(f.uncut(x, y));
  f.abstract(a, b);
  return Member(a, v);
}

Truth ProveJump(const Jump& jump) {
  const U64 x = Any("x"), y = Any("y", true);
  const Scalar a = AnyScalar(), b = AnyScalar();
  Assume(Member(a, x));
  Assume(Member(b, y));
  g_run.followed = {x, y};
  g_run.nearby = true;
  const bool holds = jump.Holds(x, y);
  const int taken = BranchTaken(jump.op, jump.is32, a, b);
  if (taken >= 0) return holds == (taken == 1) ? Always() : Not(Always());
  Scalar true_a = a, true_b = b, false_a = a, false_b = b;
  RefineBranch(true_a, true_b, false_a, false_b, jump.op, jump.is32);
  return holds ? All({Member(true_a, x), Member(true_b, y)}) : All({Member(false_a, x), Member(false_b, y)});
}

Truth ProveSelfJump(const Jump& jump) {
  const U64 x = Any("x");
  Scalar true_a = AnyScalar(), false_a = true_a;
  Assume(Member(true_a, x));
  g_run.followed = {x};
  g_run.nearby = true;
  const bool holds = jump.Holds(x, x);
  const int taken = BranchTaken(jump.op, jump.is32, true_a, true_a);
  if (taken >= 0) return holds == (taken == 1) ? Always() : Not(Always());
  RefineBranch(true_a, true_a, false_a, false_a, jump.op, jump.is32);
  return Member(holds ? true_a : false_a, x);
}

Truth ProveTnumFunction(const TnumFunction& f) {
  const U64 x = Any("x"), y = Any("y", true);
  const Tnum a = AnyTnum(), b = f.operands == Operands::kTwo ? AnyTnum() : Tnum::Const(y);
  Assume(Member(a, x));
  Assume(Member(b, y));
  if (f.name == "tnum_mul") {
    g_run.factors = {x, y, 0};
    g_run.total = x * y;
  }
  return Member(f.abstract(a, b), f.concrete(x, y));
}

Truth ProveTnumStatement(const TnumStatement& s) {
  const U64 x = Any("x"), y = Any("y", true), z = Any("z", true);
  const Tnum a = AnyTnum(), b = AnyTnum();
  Assume(Member(a, x));
  Assume(Same(b.value & b.mask, U64{0}));
  g_run.enters = s.name == "tnum_next";
  return s.holds(a, b, x, y, z);
}

Truth ProveMulAdd() {
  const U64 x = Any("x"), y = Any("y", true), p = Any("p", true), total = Any("total", true);
  const Tnum a = AnyTnum(), b = AnyTnum(), acc = AnyTnum();
  Assume(Member(a, x));
  Assume(Member(b, y));
  Assume(Member(acc, p));
  Assume(Implies(Same(x, U64{0}), Same(total, p)));
  g_run.factors = {x, y, p};
  g_run.total = total;
  g_run.first = a.value | a.mask;
  return Member(TnumMulAdd(acc, a, b), total);
}

Lemma Step(const char* name, void (*step)(Scalar&)) {
  return {name, [step] {
            const U64 x = Any("x");
            Scalar r = AnyScalar();
            Assume(Member(r, x));
            g_run.followed = {x};
            g_run.enters = true;
            step(r);
            return Member(r, x);
          }};
}

std::vector<Lemma> Lemmas() {
  std::vector<Lemma> all = {
      Step("step_ranges32_from_tnum", LowRangesFromTnum),
      Step("step_ranges64_from_tnum", RangesFromTnum64),
      Step("step_deduce_32_from_64", Deduce32From64),
      Step("step_deduce_64_from_32", Deduce64From32),
      Step("step_deduce", Deduce),
      Step("step_deduce_in_passes", [](Scalar& r) { DeduceInPasses(r); }),
      Step("step_tnum_from_ranges", TnumFromRanges),
      Step("sync", SyncBounds),
      Step("repair", [](Scalar& r) { RepairBounds(r); }),
      {"step_tnum_mul_add", ProveMulAdd, true},
  };
  for (const Function& f : Refinements()) {
    if (f.name == "sync" || f.name == "repair") continue;
    all.push_back({f.name, [f] { return ProveFunction(f); }});
  }
  for (const std::vector<Function>& functions : {Functions(), Swaps()}) {
    for (const Function& f : functions) {
      if (f.operands == Operands::kAndCount || f.operands == Operands::kAndLowCount)
        continue;  // part of the general one
      all.push_back({f.name, [f] { return ProveFunction(f); }});
    }
  }
  for (const Jump& jump : Jumps()) {
    all.push_back({jump.name, [jump] { return ProveJump(jump); }});
    all.push_back({jump.name + "_self", [jump] { return ProveSelfJump(jump); }});
  }
  for (const TnumFunction& f : TnumFunctions()) all.push_back({f.name, [f] { return ProveTnumFunction(f); }});
  for (const TnumStatement& s : TnumStatements()) all.push_back({s.name, [s] { return ProveTnumStatement(s); }});
  all.push_back({"subsumption", [] {
                   const U64 x = Any("x");
                   const Scalar a = AnyScalar(), b = AnyScalar();
                   Assume(Member(a, x));
                   Assume(Same(b.var_off.value & b.var_off.mask, U64{0}));
                   return Subsumed(a, b, x);
                 }});
  for (uint8_t op : {kAnd, kOr}) {
    all.push_back({op == kAnd ? "fork_and" : "fork_or", [op] {
                     const U64 x = Any("x"), y = Any("y", true);
                     const Scalar a = AnyScalar();
                     Assume(Member(a, x));
                     return Forked(op, a, y, x);
                   }});
  }
  return all;
}

// The facts about products that Explorer::Product() and TakesContract() tell Z3, of all numbers (and so of integers,
// and of words, whose products are those of integers modulo a power of two).
bool ProveProductFacts() {
  z3::context c;
  const z3::expr x = c.real_const("x"), y = c.real_const("y"), z = c.real_const("z"), w = c.real_const("w"),
                 p = c.real_const("p");
  const std::pair<const char*, z3::expr> facts[] = {
      {"unsigned order", z3::implies(x >= 0 && y >= 0 && x <= z && y <= w, x * y <= z * w)},
      {"signed order, common factor not negative", z3::implies(x <= z && y >= 0, x * y <= z * y)},
      {"signed order, common factor not positive", z3::implies(x <= z && y <= 0, z * y <= x * y)},
      {"zero", z3::implies(x == 0 || y == 0, x * y == 0)},
      {"a turn of long multiplication, even", p + (2 * x) * y == p + x * (2 * y)},
      {"a turn of long multiplication, odd", p + (2 * x + 1) * y == (p + y) + x * (2 * y)},
  };
  bool all = true;
  for (const auto& [name, fact] : facts) {
    z3::solver solver(c);
    solver.add(!fact);
    const bool proved = solver.check() == z3::unsat;
    if (!proved) std::printf("not proved: %s\n", name);
    all &= proved;
  }
  return all;
}

bool IsChosen(const std::string& name, const std::string& only) {
  size_t begin = 0;
  while (true) {
    const size_t end = only.find(',', begin);
    if (name.find(only.substr(begin, end - begin)) != std::string::npos) return true;
    if (end == std::string::npos) return false;
    begin = end + 1;
  }
}

int Main(int argc, char** argv) {
  std::string only;
  double seconds = 300;
  const char* csv = nullptr;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) {
      std::fprintf(stderr, "usage: %s [--only TEXT,...] [--seconds N] [--csv FILE]\n", argv[0]);
      return 2;
    } else if (std::strcmp(argv[i], "--only") == 0) {
      only = argv[i + 1];
    } else if (std::strcmp(argv[i], "--seconds") == 0) {
      seconds = std::atof(argv[i + 1]);
    } else if (std::strcmp(argv[i], "--csv") == 0) {
      csv = argv[i + 1];
    } else {
      std::fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
  }
  std::FILE* file = csv != nullptr ? std::fopen(csv, "w") : nullptr;
  if (csv != nullptr && file == nullptr) {
    std::perror(csv);
    return 2;
  }
  if (file != nullptr) std::fprintf(file, "operator,proof,seconds,paths,queries\n");

  bool ok = ProveProductFacts();
  std::set<std::string> assumed, proved;
  for (const Lemma& lemma : Lemmas()) {
    if (!IsChosen(lemma.name, only)) continue;
    std::set<std::string> used;
    std::string entered;
    const Verdict verdict = Explorer::Get().Prove(
        [&] {
          g_run = {};
          const z3::expr goal = lemma.body().formula;
          used.merge(g_run.assumed);
          if (!g_run.entered.empty()) entered = g_run.entered;
          return goal;
        },
        seconds);
    if (lemma.by_induction && !used.empty()) entered = *used.begin();
    const bool is_proved = verdict.kind == Verdict::Kind::kProved;
    const char* text = is_proved ? "proved" : verdict.kind == Verdict::Kind::kRefuted ? "refuted" : "timeout";
    std::printf("%-28s %-8s %8.1f s %5d paths %6d queries\n%s", lemma.name.c_str(), text, verdict.seconds,
                verdict.paths, verdict.queries, verdict.model.c_str());
    std::fflush(stdout);
    if (file != nullptr) {
      std::fprintf(file, "%s,%s,%.1f,%d,%d\n", lemma.name.c_str(), text, verdict.seconds, verdict.paths,
                   verdict.queries);
      std::fflush(file);
    }
    ok &= verdict.kind != Verdict::Kind::kRefuted;
    assumed.merge(used);
    if (is_proved && !entered.empty()) proved.insert(entered);
  }
  if (file != nullptr) std::fclose(file);
  for (const std::string& step : assumed) {
    if (proved.contains(step) || !only.empty()) continue;
    std::printf("used, but not proved: %s\n", step.c_str());
    ok = false;
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Main(argc, argv); }
