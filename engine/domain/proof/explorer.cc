#include "engine/domain/proof/explorer.h"

#include <algorithm>
#include <cmath>
#include <ctime>

namespace bpfsieve {
namespace {

// Thrown through the code that is explored when time is up.
struct OutOfTime {};

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The parts of a conjunction: they are easier to prove one by one.
void Split(const z3::expr& e, std::vector<z3::expr>& parts) {
  if (e.is_and()) {
    for (unsigned i = 0; i < e.num_args(); ++i) Split(e.arg(i), parts);
  } else if (!e.is_true()) {
    parts.push_back(e);
  }
}

}  // namespace

Explorer& Explorer::Get() {
  static Explorer explorer;
  return explorer;
}

Verdict Explorer::Prove(const std::function<z3::expr()>& body, double seconds) {
  const double begin = CpuSeconds();
  deadline_ = begin + seconds;
  verdict_ = {};
  decisions_.clear();
  asked_.clear();
  groups_.clear();
  try {
    std::vector<z3::expr> goals;
    do {
      next_ = 0;
      fresh_ = 0;
      conditions_.clear();
      duties_.clear();
      kept_.clear();
      products_.clear();
      goals.clear();
      Split(body(), goals);
      goals.insert(goals.end(), duties_.begin(), duties_.end());
      ++verdict_.paths;
    } while (Hold(goals) && Backtrack());
  } catch (const OutOfTime&) {
    verdict_.kind = Verdict::Kind::kTimeout;
  }
  verdict_.seconds = CpuSeconds() - begin;
  return verdict_;
}

bool Explorer::Hold(const std::vector<z3::expr>& goals) {
  for (const z3::expr& goal : goals) {
    if (IsImplied(goal, true)) continue;
    // More likely than not, no execution takes this path.
    if (Ask(conditions_, context_.bool_val(false)).implied) return true;
    if (IsImplied(goal, false)) continue;
    verdict_.kind = Verdict::Kind::kRefuted;
    verdict_.model = Ask(conditions_, goal).counter;
    return false;
  }
  return true;
}

bool Explorer::Backtrack() {
  while (!decisions_.empty() && !decisions_.back().is_open) decisions_.pop_back();
  if (decisions_.empty()) return false;
  decisions_.back().answer = !decisions_.back().answer;
  decisions_.back().is_open = false;
  return true;
}

bool Explorer::IsPossible(const std::vector<z3::expr>& conditions, const z3::expr& extra, std::string* model) {
  const double left = deadline_ - CpuSeconds();
  if (left <= 0) throw OutOfTime();
  ++verdict_.queries;
  z3::solver solver = tactic_.mk_solver();
  z3::params params(context_);
  // Z3 counts the time on the wall, which on a busy machine goes by faster.
  params.set("timeout", static_cast<unsigned>(std::ceil(left * 4000)));
  solver.set(params);
  for (const z3::expr& condition : conditions) solver.add(condition);
  solver.add(extra);
  const z3::check_result result = solver.check();
  if (result == z3::unknown) throw OutOfTime();
  if (result == z3::sat) *model = solver.get_model().to_string();
  return result == z3::sat;
}

bool Explorer::Decide(const z3::expr& question) {
  const z3::expr q = question.simplify();
  if (q.is_true() || q.is_false()) return q.is_true();
  if (next_ == decisions_.size()) {
    // Answers that only conditions farther off exclude are taken, too: what holds on no path at all holds there as
    // well.
    const std::vector<z3::expr> near = Within(Groups(q));
    const bool may_be_false = !Ask(near, q).implied;
    const bool may_be_true = !may_be_false || !Ask(near, !q).implied;
    decisions_.push_back({may_be_true, may_be_true && may_be_false});
  }
  const bool answer = decisions_[next_++].answer;
  Split(answer ? q : !q, conditions_);
  return answer;
}

bool Explorer::Follows(const z3::expr& goal, bool nearby) {
  std::vector<z3::expr> parts;
  Split(goal, parts);
  for (const z3::expr& part : parts) {
    if (!IsImplied(part, nearby)) return false;
    conditions_.push_back(part);
  }
  return true;
}

const std::set<unsigned>& Explorer::Groups(const z3::expr& e) {
  const auto known = groups_.find(e.id());
  if (known != groups_.end()) return known->second.second;
  std::set<unsigned> all;
  for (unsigned i = 0; i < e.num_args(); ++i) {
    const std::set<unsigned>& part = Groups(e.arg(i));
    all.insert(part.begin(), part.end());
  }
  return groups_.emplace(e.id(), std::pair(e, std::move(all))).first->second.second;
}

std::vector<z3::expr> Explorer::Within(const std::set<unsigned>& groups) {
  std::vector<z3::expr> within;
  for (const z3::expr& condition : conditions_) {
    const std::set<unsigned>& others = Groups(condition);
    if (std::includes(groups.begin(), groups.end(), others.begin(), others.end())) within.push_back(condition);
  }
  return within;
}

std::set<unsigned> Explorer::Neighbours(const std::set<unsigned>& groups) {
  constexpr size_t kMost = 3;  // of groups in a condition: those with more would bring in everything
  std::set<unsigned> all = groups;
  for (const z3::expr& condition : conditions_) {
    const std::set<unsigned>& others = Groups(condition);
    if (others.size() > kMost) continue;
    for (unsigned group : others) {
      if (group == 0 || !groups.contains(group)) continue;
      all.insert(others.begin(), others.end());
      break;
    }
  }
  return all;
}

const Explorer::Asked& Explorer::Ask(const std::vector<z3::expr>& conditions, const z3::expr& goal) {
  std::vector<unsigned> key;
  for (const z3::expr& condition : conditions) key.push_back(condition.id());
  key.push_back(goal.id());
  auto known = asked_.find(key);
  if (known == asked_.end()) {
    Asked asked{conditions, false, ""};
    asked.alive.push_back(goal);
    asked.implied = !IsPossible(conditions, !goal, &asked.counter);
    known = asked_.emplace(std::move(key), std::move(asked)).first;
  }
  return known->second;
}

bool Explorer::IsImplied(const z3::expr& goal, bool nearby) {
  const std::set<unsigned>& own = Groups(goal);
  return Ask(Within(own), goal).implied || Ask(Within(Neighbours(own)), goal).implied ||
         (!nearby && Ask(conditions_, goal).implied);
}

void Explorer::Assume(const z3::expr& fact) { Split(fact, conditions_); }

z3::expr Explorer::Fresh(const char* name, unsigned width, bool with_last) {
  const z3::expr e = context_.bv_const((name + std::to_string(fresh_)).c_str(), width);
  if (!with_last) group_ = static_cast<unsigned>(fresh_);
  ++fresh_;
  groups_.insert_or_assign(e.id(), std::pair(e, std::set<unsigned>{group_}));
  return e;
}

int Explorer::Keep(const z3::expr& e) {
  kept_.push_back(e);
  return static_cast<int>(kept_.size()) - 1;
}

z3::expr Explorer::BitWidth(const z3::expr& e) {
  const unsigned width = e.get_sort().bv_size();
  z3::expr bits = context_.bv_val(0, width);
  for (unsigned i = 0; i < width; ++i) bits = z3::ite(e.extract(i, i) == 1, context_.bv_val(i + 1, width), bits);
  return bits;
}

const Explorer::Multiplied& Explorer::Product(const z3::expr& a, const z3::expr& b) {
  for (const Multiplied& p : products_) {
    if ((z3::eq(p.a, a) && z3::eq(p.b, b)) || (z3::eq(p.a, b) && z3::eq(p.b, a))) return p;
  }
  const unsigned width = a.get_sort().bv_size();
  const z3::expr as_unsigned = Fresh("product_u", 2 * width), as_signed = Fresh("product_s", 2 * width);
  // A product belongs to its factors.
  std::set<unsigned> groups = Groups(a);
  groups.insert(Groups(b).begin(), Groups(b).end());
  groups_.insert_or_assign(as_unsigned.id(), std::pair(as_unsigned, groups));
  groups_.insert_or_assign(as_signed.id(), std::pair(as_signed, groups));
  const Multiplied made{a, b, as_unsigned.extract(width - 1, 0), as_unsigned, as_signed};
  Assume(as_signed.extract(width - 1, 0) == made.wrapped);
  Assume(z3::implies(a == 0 || b == 0, as_unsigned == 0 && as_signed == 0));
  for (const Multiplied& p : products_) {
    if (p.a.get_sort().bv_size() != width) continue;
    const auto ordered = [&](const Multiplied& x, const z3::expr& xa, const z3::expr& xb, const Multiplied& y) {
      Assume(z3::implies(z3::ule(xa, y.a) && z3::ule(xb, y.b), z3::ule(x.as_unsigned, y.as_unsigned)));
    };
    ordered(made, a, b, p);
    ordered(made, b, a, p);
    ordered(p, p.a, p.b, made);
    ordered(p, p.b, p.a, made);
    const auto with_common = [&](const z3::expr& x, const z3::expr& y, const z3::expr& common) {
      const z3::expr zero = context_.bv_val(0, width);
      // made = x * common, p = y * common
      Assume(z3::implies(common >= zero && x <= y, made.as_signed <= p.as_signed));
      Assume(z3::implies(common >= zero && y <= x, p.as_signed <= made.as_signed));
      Assume(z3::implies(common <= zero && x <= y, p.as_signed <= made.as_signed));
      Assume(z3::implies(common <= zero && y <= x, made.as_signed <= p.as_signed));
    };
    if (z3::eq(a, p.a)) with_common(b, p.b, a);
    if (z3::eq(a, p.b)) with_common(b, p.a, a);
    if (z3::eq(b, p.a)) with_common(a, p.b, b);
    if (z3::eq(b, p.b)) with_common(a, p.a, b);
  }
  products_.push_back(made);
  return products_.back();
}

}  // namespace bpfsieve
