// The search against a naive one: depth-first over every path, no pruning, no heuristics. On programs small enough for
// it both must give the same verdict; if pruning ever cuts a path that breaks a rule, this is where it shows.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/explore/explore.h"
#include "engine/isa/disasm.h"
#include "engine/program/cfg.h"
#include "engine/program/liveness.h"

namespace bpfsieve {
namespace {

Insn Make(uint8_t code, int dst, int src, int off, int imm) {
  Insn i;
  i.code = code;
  i.dst = static_cast<uint8_t>(dst & 15);
  i.src = static_cast<uint8_t>(src & 15);
  i.off = static_cast<int16_t>(off);
  i.imm = imm;
  return i;
}

// Straight-line code with forward branches over it: scalars of every precision, a stack, offsets into it that are
// right on some paths only. R6 to R9 hold scalars; R1 is the context (XDP).
std::vector<Insn> Generate(std::mt19937& rng) {
  auto pick = [&](int n) { return static_cast<int>(rng() % static_cast<uint32_t>(n)); };
  std::vector<Insn> p;
  for (int r = 6; r <= 9; ++r) p.push_back(Make(0x61, r, 1, 16, 0));  // r = *(u32 *)(r1 +16)
  for (int s = 1; s <= 3; ++s) p.push_back(Make(0x7a, 10, 0, -8 * s, pick(4)));
  const int length = 4 + pick(14);
  for (int k = 0; k < length; ++k) {
    const int a = 6 + pick(4), b = 6 + pick(4), left = length - k - 1;
    switch (pick(11)) {
      case 0: p.push_back(Make(0xb7, a, 0, 0, pick(40) - 8)); break;                       // a = K
      case 1: p.push_back(Make(0xbf, a, b, 0, 0)); break;                                  // a = b
      case 2: p.push_back(Make(0x07, a, 0, 0, pick(17) - 8)); break;                       // a += K
      case 3: p.push_back(Make(0x57, a, 0, 0, (1 << pick(5)) - 1)); break;                 // a &= K
      case 4: p.push_back(Make(0x0f, a, b, 0, 0)); break;                                  // a += b
      case 5: p.push_back(Make(0x7b, 10, a, -8 * (1 + pick(3)), 0)); break;                // spill
      case 6: p.push_back(Make(0x79, a, 10, -8 * (1 + pick(3)), 0)); break;                // fill
      case 7:                                                                              // r2 = fp - 24 + a; use it
        p.push_back(Make(0xbf, 2, 10, 0, 0));
        p.push_back(Make(0x0f, 2, a, 0, 0));
        p.push_back(Make(0x71, 3, 2, -24, 0));
        break;
      default: {
        static constexpr uint8_t kOps[] = {0x15, 0x25, 0x35, 0x55, 0xa5, 0xb5, 0x65, 0xc5, 0x16, 0xa6};
        p.push_back(Make(kOps[pick(10)], a, 0, left > 0 ? pick(left) : 0, pick(24) - 2));
        break;
      }
    }
  }
  p.push_back(Make(0xb7, 0, 0, 0, 2));
  p.push_back(Make(0x95, 0, 0, 0, 0));
  // Branches were drawn in steps; keep those that leave the program from doing so.
  const int n = static_cast<int>(p.size());
  for (int i = 0; i < n; ++i) {
    if (IsJmpClass(p[i]) && p[i].code != 0x95 && i + 1 + p[i].off >= n) p[i].off = static_cast<int16_t>(n - i - 2);
  }
  return p;
}

// nullopt: more than `budget` steps.
std::optional<Verdict> Naive(const Context& context, uint64_t budget) {
  StateDepot depot;
  StatePool pool(depot);
  Transfer transfer(context, pool);
  State* start = pool.NewState();
  start->cur = 0;
  start->frames[0] = pool.NewFrame();
  start->frames[0]->Init(-1, 0, 0, 0);
  start->regs()[1].MakePointer(RegType::kCtx);
  std::vector<std::pair<State*, uint32_t>> pending = {{start, 0}};
  std::optional<Verdict> verdict = Verdict::kAccept;
  while (!pending.empty()) {
    auto [state, insn] = pending.back();
    pending.pop_back();
    while (verdict == Verdict::kAccept) {
      if (budget-- == 0) {
        verdict = std::nullopt;
        break;
      }
      StepResult r;
      transfer.Step(*state, insn, r);
      if (r.branch != nullptr) pending.emplace_back(r.branch, r.branch_insn);
      if (r.kind == StepResult::Kind::kFinding) verdict = Verdict::kReject;
      if (r.kind != StepResult::Kind::kContinue) break;
      insn = r.next;
    }
    pool.Free(state);
  }
  return verdict;
}

TEST(Reference, SearchAgreesWithTheNaiveOneOnRandomPrograms) {
  Object object;
  int compared = 0, rejected = 0, cut = 0;
  for (uint32_t seed = 0; seed < 6000; ++seed) {
    std::mt19937 rng(seed);
    Program program;
    program.name = "p";
    program.type = ProgType::kXdp;
    program.insns = Generate(rng);
    program.subprogs = {{0, "p", 0, false}};
    Cfg cfg;
    if (BuildCfg(program, {}, &cfg)) continue;  // a branch made code unreachable
    const StackLiveness liveness(program, object.maps, cfg, {});
    Context context;
    context.object = &object;
    context.program = &program;
    context.cfg = &cfg;
    context.liveness = &liveness;
    context.func_args.resize(1);
    context.global_sub = {0};
    context.sub_names = {"p"};
    const std::optional<Verdict> expected = Naive(context, 20000);
    if (!expected) continue;
    for (bool every : {false, true}) {
      SearchLimits limits;
      limits.test_state_freq = every;  // compare and record at every prune point: the hardest on pruning
      const SearchResult got = Explore(context, limits);
      std::string text;
      for (size_t i = 0; got.verdict != *expected && i < program.insns.size(); ++i) {
        text += std::to_string(i) + ": " + Disassemble(&program.insns[i]) + "\n";
      }
      ASSERT_EQ(got.verdict, *expected) << "seed " << seed << ", " << got.finding.message << "\n" << text;
      cut += got.stats.total_states > 0;
    }
    ++compared;
    rejected += *expected == Verdict::kReject;
  }
  // The generator is worth its name only if both verdicts are common.
  EXPECT_GT(compared, 2000);
  EXPECT_GT(rejected, compared / 20);
  EXPECT_LT(rejected, compared * 19 / 20);
  EXPECT_GT(cut, compared / 4);
}

}  // namespace
}  // namespace bpfsieve
