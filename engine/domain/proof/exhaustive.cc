// Goes through the values of small words, and all of their members: is every operator sound, and how much does it lose
// against the best that the domain can say?
//
//   operators_W [--full] [--csv FILE]
//
// What a width is good for is listed in main(). --full takes the larger sets of values. Exit status: 0 sound, 1 not
// (with the first counter-example of each operator), 2 usage.
#include <array>
#include <bit>
#include <bitset>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/domain/proof/contracts.h"

namespace bpfsieve {
namespace {

constexpr int kWords = 1 << kBits;
using Set = std::bitset<kWords>;

// The i-th word, counted up from 0.
U64 Nth(int i) { return U64{i}; }

struct Value {
  Scalar scalar;
  Set members;
};

Set MembersOf(const Scalar& r) {
  // The sets of words within each range; an index is the bounds' distance from the least word.
  static const auto between = [] {
    struct {
      std::array<std::array<Set, kWords>, kWords> u, s;
      std::array<std::array<Set, 1 << kLowBits>, 1 << kLowBits> u32, s32;
      std::array<std::array<Set, kWords>, kWords> tnum;
    } t;
    for (int x = 0; x < kWords; ++x) {
      const U64 v = Nth(x);
      for (int lo = 0; lo < kWords; ++lo) {
        for (int hi = 0; hi < kWords; ++hi) {
          t.u[lo][hi][x] = Nth(lo) <= v && v <= Nth(hi);
          t.s[lo][hi][x] = S64(Nth(lo)) <= S64(v) && S64(v) <= S64(Nth(hi));
          t.tnum[lo][hi][x] = Member(Tnum{Nth(lo), Nth(hi)}, v);
        }
      }
      for (int lo = 0; lo < 1 << kLowBits; ++lo) {
        for (int hi = 0; hi < 1 << kLowBits; ++hi) {
          t.u32[lo][hi][x] = U32{lo} <= U32(v) && U32(v) <= U32{hi};
          t.s32[lo][hi][x] = S32{lo} <= S32(v) && S32(v) <= S32{hi};
        }
      }
    }
    return t;
  }();
  const auto at = [](auto bound) { return int(U64(bound)); };
  const auto at32 = [](auto bound) { return int(U32(bound)); };
  return between.u[at(r.umin)][at(r.umax)] & between.s[at(r.smin)][at(r.smax)] &
         between.u32[at32(r.u32_min)][at32(r.u32_max)] & between.s32[at32(r.s32_min)][at32(r.s32_max)] &
         between.tnum[at(r.var_off.value)][at(r.var_off.mask)];
}

// The smallest value that has these members, at least one.
Scalar Best(const Set& members) {
  Scalar r;
  bool first = true;
  U64 ones = ~U64{0}, any = 0;
  for (int i = 0; i < kWords; ++i) {
    if (!members[i]) continue;
    const U64 v = Nth(i);
    const Scalar c = Scalar::Const(v);
    if (first) r = c;
    first = false;
    r.umin = Min(r.umin, c.umin), r.umax = Max(r.umax, c.umax);
    r.smin = Min(r.smin, c.smin), r.smax = Max(r.smax, c.smax);
    r.u32_min = Min(r.u32_min, c.u32_min), r.u32_max = Max(r.u32_max, c.u32_max);
    r.s32_min = Min(r.s32_min, c.s32_min), r.s32_max = Max(r.s32_max, c.s32_max);
    ones = ones & v;
    any = any | v;
  }
  r.var_off = {ones, any & ~ones};
  return r;
}

// How many members the smallest value with these members has.
int BestCount(const Set& members) {
  const auto count = [&] { return static_cast<int>(MembersOf(Best(members)).count()); };
  if constexpr (kWords <= 16) {
    static std::vector<int> known(size_t{1} << (kWords & 31), 0);
    int& best = known[members.to_ulong()];
    if (best == 0) best = count();
    return best;
  } else {
    static std::unordered_map<Set, int> known;
    const auto [it, is_new] = known.try_emplace(members, 0);
    if (is_new) it->second = count();
    return it->second;
  }
}

std::string Text(const Scalar& r) {
  std::string text;
  const auto add = [&](const char* name, int v) { text.append(name).append(std::to_string(v)); };
  add("(value=", int(r.var_off.value)), add(" mask=", int(r.var_off.mask));
  add(" s64=", int(r.smin)), add("..", int(r.smax)), add(" u64=", int(r.umin)), add("..", int(r.umax));
  add(" s32=", int(r.s32_min)), add("..", int(r.s32_max)), add(" u32=", int(r.u32_min)), add("..", int(r.u32_max));
  return text + ")";
}

// What was found of one operator.
struct Tally {
  std::string name, over;
  int64_t cases = 0, unsound = 0;
  // How many results are the best there are, and by how much the others are larger, where that is measured.
  int64_t optimal = -1;
  double bits_lost = 0;

  // `want` has to be among the members of `got`.
  template <typename What>
  void Count(const Set& want, const Set& got, What&& what) {
    ++cases;
    if ((want & ~got).any()) {
      if (unsound++ == 0) std::printf("UNSOUND %s in %d bits: %s\n", name.c_str(), kBits, what().c_str());
      return;
    }
    if (optimal < 0) optimal = 0;
    const auto size = static_cast<int>(got.count());
    const int best = BestCount(want);
    if (size == best) {
      ++optimal;
    } else {
      bits_lost += std::log2(static_cast<double>(size) / best);
    }
  }
  // Only soundness.
  template <typename What>
  void Check(bool holds, What&& what) {
    ++cases;
    if (!holds && unsound++ == 0) std::printf("UNSOUND %s in %d bits: %s\n", name.c_str(), kBits, what().c_str());
  }
};

std::vector<Tally> g_tallies;

// ---- Sets of values ----

struct Values {
  std::string name;
  std::vector<Value> all;
};

// Adds the best value for a set, unless it is there.
void AddBest(Values& values, std::unordered_set<Set>& seen, const Set& members) {
  const Scalar r = Best(members);
  const Set all = MembersOf(r);
  if (seen.insert(all).second) values.all.push_back({r, all});
}

// The best value for each set of words: every set of members that the domain can tell from the others, once.
Values EverySet() {
  Values values{"every set of members", {}};
  std::unordered_set<Set> seen;
  constexpr int kCount = kWords <= 16 ? kWords : 0;  // where there are more, nobody asks
  for (unsigned long set = 1; set < 1ul << kCount; ++set) AddBest(values, seen, Set(set));
  return values;
}

// The best value for each set of one or two words.
Values Pairs() {
  Values values{"hulls of two words", {}};
  std::unordered_set<Set> seen;
  for (int i = 0; i < kWords; ++i) {
    for (int k = i; k < kWords; ++k) AddBest(values, seen, Set().set(i).set(k));
  }
  return values;
}

// Calls visit(value) with every value there is that has a member: all combinations of all parts, synced or not.
template <typename Visit>
void EveryRaw(Visit&& visit) {
  Value v;
  Scalar& r = v.scalar;
  constexpr int kLows = 1 << kLowBits;
  for (int t = 0; t < kWords * kWords; ++t) {
    r.var_off = {Nth(t % kWords), Nth(t / kWords)};
    if ((r.var_off.value & r.var_off.mask) != U64{0}) continue;
    for (int u = 0; u < kWords * kWords; ++u) {
      r.umin = Nth(u % kWords), r.umax = Nth(u / kWords);
      r.smin = kS64Min, r.smax = kS64Max;
      UnboundRange32(r);
      if (MembersOf(r).none()) continue;
      for (int s = 0; s < kWords * kWords; ++s) {
        r.smin = S64(Nth(s % kWords)), r.smax = S64(Nth(s / kWords));
        UnboundRange32(r);
        if (MembersOf(r).none()) continue;
        for (int l = 0; l < kLows * kLows; ++l) {
          r.u32_min = U32{l % kLows}, r.u32_max = U32{l / kLows};
          if (r.u32_min > r.u32_max) continue;
          for (int m = 0; m < kLows * kLows; ++m) {
            r.s32_min = S32{m % kLows}, r.s32_max = S32{m / kLows};
            v.members = MembersOf(r);
            if (v.members.any()) visit(v);
          }
        }
      }
    }
  }
}

Values AllRaw() {
  Values values{"every value", {}};
  EveryRaw([&](const Value& v) { values.all.push_back(v); });
  return values;
}

int Constants(Operands operands) {
  return operands == Operands::kAndCount ? kBits : operands == Operands::kAndLowCount ? kLowBits : kWords;
}

Values Constants(int count) {
  Values values{count == kWords ? "constants" : "counts", {}};
  for (int i = 0; i < count; ++i) values.all.push_back({Scalar::Const(Nth(i)), Set().set(i)});
  return values;
}

// ---- The checks ----

// The results of all members of one set with one word, or with all members of another.
class Images {
 public:
  explicit Images(U64 (*concrete)(U64, U64)) {
    for (int x = 0; x < kWords; ++x) {
      for (int y = 0; y < kWords; ++y) result_[x][y] = int(concrete(Nth(x), Nth(y)));
    }
  }
  Set Of(const Set& a, const Set& b) const {
    Set image;
    for (int x = 0; x < kWords; ++x) {
      if (!a[x]) continue;
      for (int y = 0; y < kWords; ++y) {
        if (b[y]) image.set(result_[x][y]);
      }
    }
    return image;
  }

 private:
  std::array<std::array<int, kWords>, kWords> result_;
};

// Images of pairs of sets: the rows of those of the right that occur are worked out ahead.
class PairImages {
 public:
  PairImages(const Images& images, const Values& right) : rows_(right.all.size()) {
    for (size_t k = 0; k < right.all.size(); ++k) {
      for (int x = 0; x < kWords; ++x) rows_[k][x] = images.Of(Set().set(x), right.all[k].members);
    }
  }
  Set Of(const Set& left, size_t k) const {
    Set image;
    for (int x = 0; x < kWords; ++x) {
      if (left[x]) image |= rows_[k][x];
    }
    return image;
  }

 private:
  std::vector<std::array<Set, kWords>> rows_;
};

void CheckOne(const Function& f, const Value& a, const Images& images, Tally& tally) {
  Scalar r = a.scalar;
  f.abstract(r, r);
  tally.Count(images.Of(a.members, Set().set(0)), MembersOf(r), [&] { return Text(a.scalar) + " -> " + Text(r); });
}

void CheckFunction(const Function& f, const Values& left, const Values& right) {
  const Images images(f.concrete);
  if (f.operands == Operands::kOne) {
    Tally tally{f.name, left.name};
    for (const Value& a : left.all) CheckOne(f, a, images, tally);
    g_tallies.push_back(tally);
    return;
  }
  const Values second = f.operands == Operands::kTwo ? right : Constants(Constants(f.operands));
  const PairImages pairs(images, second);
  Tally tally{f.name, left.name + " with " + second.name};
  for (const Value& a : left.all) {
    for (size_t k = 0; k < second.all.size(); ++k) {
      const Scalar& b = second.all[k].scalar;
      Scalar r = a.scalar;
      f.abstract(r, b);
      tally.Count(pairs.Of(a.members, k), MembersOf(r),
                  [&] { return Text(a.scalar) + ", " + Text(b) + " -> " + Text(r); });
    }
  }
  g_tallies.push_back(tally);
}

// Of the refinements, on every value there is.
[[maybe_unused]] void CheckRefinements(size_t count) {
  for (const Function& f : Refinements()) {
    if (count-- == 0) break;
    Tally tally{f.name, "every value"};
    EveryRaw([&](const Value& a) {
      Scalar r = a.scalar;
      f.abstract(r, r);
      tally.Count(a.members, MembersOf(r), [&] { return Text(a.scalar) + " -> " + Text(r); });
    });
    g_tallies.push_back(tally);
  }
}

void CheckJump(const Jump& jump, const Values& left, const Values& right) {
  // holds[x]: the words y for which x OP y.
  std::array<Set, kWords> holds, held;
  for (int x = 0; x < kWords; ++x) {
    for (int y = 0; y < kWords; ++y) {
      holds[x][y] = held[y][x] = jump.Holds(Nth(x), Nth(y));
    }
  }
  const std::string over = left.name + " with " + right.name;
  Tally decided{jump.name + "_decided", over, 0, 0, 0}, refined{jump.name + "_refined", over};
  // Nothing is learned of a constant, on either side: a comparison that would leave none of it is decided.
  Tally constant{jump.name + "_constant", over};
  for (const Value& a : left.all) {
    for (const Value& b : right.all) {
      // The members of each on each side of the jump.
      Set want[2][2];
      for (int v = 0; v < kWords; ++v) {
        if (a.members[v]) {
          want[1][0][v] = (holds[v] & b.members).any();
          want[0][0][v] = (~holds[v] & b.members).any();
        }
        if (b.members[v]) {
          want[1][1][v] = (held[v] & a.members).any();
          want[0][1][v] = (~held[v] & a.members).any();
        }
      }
      const bool may[2] = {want[0][0].any(), want[1][0].any()};
      const int taken = BranchTaken(jump.op, jump.is32, a.scalar, b.scalar);
      const auto text = [&] { return Text(a.scalar) + ", " + Text(b.scalar) + " taken=" + std::to_string(taken); };
      decided.Check(taken < 0 || !may[1 - taken], text);
      if (may[0] && may[1] ? taken < 0 : taken >= 0) ++decided.optimal;
      if (taken >= 0) continue;
      Scalar side[2][2] = {{a.scalar, b.scalar}, {a.scalar, b.scalar}};
      RefineBranch(side[1][0], side[1][1], side[0][0], side[0][1], jump.op, jump.is32);
      if (b.scalar.IsConst()) constant.Check(side[0][1] == b.scalar && side[1][1] == b.scalar, text);
      for (int way : {0, 1}) {
        if (!may[way]) continue;
        for (int operand : {0, 1}) {
          refined.Count(want[way][operand], MembersOf(side[way][operand]), [&] {
            return text() + (way == 1 ? " true" : " false") + (operand == 0 ? " left " : " right ") +
                   Text(side[way][operand]);
          });
        }
      }
    }
  }
  g_tallies.push_back(decided);
  g_tallies.push_back(refined);
  g_tallies.push_back(constant);

  // A register compared with itself is one object on either side.
  Tally self{jump.name + "_self", left.name};
  for (const Value& a : left.all) {
    Scalar side[2] = {a.scalar, a.scalar};
    const int taken = BranchTaken(jump.op, jump.is32, a.scalar, a.scalar);
    if (taken < 0) RefineBranch(side[1], side[1], side[0], side[0], jump.op, jump.is32);
    Set want[2];
    for (int v = 0; v < kWords; ++v) {
      if (a.members[v]) want[holds[v][v] ? 1 : 0].set(v);
    }
    for (int way : {0, 1}) {
      if (want[way].none()) continue;
      self.Count(want[way], taken == 1 - way ? Set() : MembersOf(side[way]),
                 [&] { return Text(a.scalar) + (way == 1 ? " true " : " false ") + Text(side[way]); });
    }
  }
  g_tallies.push_back(self);
}

void CheckStatements(const Values& left, const Values& right) {
  Tally subsumed{"subsumption", left.name + " with " + right.name};
  for (const Value& a : left.all) {
    for (const Value& b : right.all) {
      bool holds = true;
      for (int x = 0; x < kWords; ++x) {
        if (a.members[x]) holds &= Subsumed(a.scalar, b.scalar, Nth(x));
      }
      subsumed.Check(holds, [&] { return Text(a.scalar) + " within " + Text(b.scalar); });
    }
  }
  g_tallies.push_back(subsumed);
  for (uint8_t op : {kAnd, kOr}) {
    Tally forked{op == kAnd ? "fork_and" : "fork_or", left.name + " with constants"};
    for (const Value& a : left.all) {
      for (int y = 0; y < kWords; ++y) {
        bool holds = true;
        for (int x = 0; x < kWords; ++x) {
          if (a.members[x]) holds &= Forked(op, a.scalar, Nth(y), Nth(x));
        }
        forked.Check(holds, [&] { return Text(a.scalar) + " op " + std::to_string(y); });
      }
    }
    g_tallies.push_back(forked);
  }
}

// All tristate numbers, or all pairs of them. Here the best is the smallest tristate number.
[[maybe_unused]] void CheckTnums() {
  std::vector<Tnum> all;
  std::vector<std::vector<int>> members;
  for (int mask = 0; mask < kWords; ++mask) {
    for (int value = 0; value < kWords; ++value) {
      if ((value & mask) != 0) continue;
      all.push_back({Nth(value), Nth(mask)});
      members.emplace_back();
      for (int v = 0; v < kWords; ++v) {
        if (Member(all.back(), Nth(v))) members.back().push_back(v);
      }
    }
  }
  const auto text = [](Tnum t) {
    return std::string("value=")
        .append(std::to_string(int(t.value)))
        .append(" mask=")
        .append(std::to_string(int(t.mask)));
  };
  for (const TnumFunction& f : TnumFunctions()) {
    Tally tally{f.name, "every tristate number", 0, 0, 0};
    std::array<std::array<int, kWords>, kWords> result;
    for (int x = 0; x < kWords; ++x) {
      for (int y = 0; y < kWords; ++y) result[x][y] = int(f.concrete(Nth(x), Nth(y)));
    }
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t k = 0; k < all.size(); ++k) {
        if (f.operands == Operands::kOne && k > 0) break;
        const bool is_count = f.operands == Operands::kAndCount || f.operands == Operands::kAndLowCount;
        if (is_count && !(all[k].IsConst() && int(all[k].value) < Constants(f.operands))) continue;
        int ones = kWords - 1, any = 0;
        for (int x : members[i]) {
          for (int y : members[k]) {
            ones &= result[x][y];
            any |= result[x][y];
          }
        }
        const Tnum r = f.abstract(all[i], all[k]);
        const int unknown = std::popcount(static_cast<unsigned>(any & ~ones));
        tally.Check((r.value & r.mask) == U64{0} && (int(r.value) & ~ones) == 0 && (any & ~int(r.Max())) == 0,
                    [&] { return text(all[i]) + ", " + text(all[k]) + " -> " + text(r); });
        const int lost = std::popcount(static_cast<unsigned>(int(r.mask))) - unknown;
        if (lost == 0) ++tally.optimal;
        tally.bits_lost += lost;
      }
    }
    g_tallies.push_back(tally);
  }
  for (const TnumStatement& s : TnumStatements()) {
    Tally tally{s.name, s.over == Over::kThreeWords ? "every three words" : "every tristate number"};
    const auto check = [&](Tnum a, Tnum b, int x, int y, int z) {
      tally.Check(s.holds(a, b, Nth(x), Nth(y), Nth(z)), [&] {
        return text(a) + ", " + text(b) + " words " + std::to_string(x) + " " + std::to_string(y) + " " +
               std::to_string(z);
      });
    };
    if (s.over == Over::kThreeWords) {
      for (int x = 0; x < kWords; ++x) {
        for (int y = 0; y < kWords; ++y) {
          for (int z = 0; z < kWords; ++z) check(Tnum::Unknown(), Tnum::Unknown(), x, y, z);
        }
      }
    } else {
      for (size_t i = 0; i < all.size(); ++i) {
        for (int x : members[i]) {
          if (s.over == Over::kNumberAndWord) {
            for (int z = 0; z < kWords; ++z) check(all[i], all[i], x, 0, z);
          } else {
            for (Tnum b : all) check(all[i], b, x, 0, 0);
          }
        }
      }
    }
    g_tallies.push_back(tally);
  }
}

[[maybe_unused]] void CheckNumbers(const Values& left, const Values& right) {
  for (const Function& f : Functions()) CheckFunction(f, left, right);
  for (const Jump& jump : Jumps()) CheckJump(jump, left, right);
  CheckStatements(left, right);
}

void WriteCsv(const char* path) {
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) {
    std::perror(path);
    std::exit(2);
  }
  std::fprintf(file, "operator,bits,over,cases,unsound,optimal_percent,mean_bits_lost\n");
  for (const Tally& t : g_tallies) {
    const auto cases = static_cast<double>(t.cases);
    std::fprintf(file, "%s,%d,%s,%lld,%lld,", t.name.c_str(), kBits, t.over.c_str(), static_cast<long long>(t.cases),
                 static_cast<long long>(t.unsound));
    if (t.optimal >= 0) std::fprintf(file, "%.2f", 100 * static_cast<double>(t.optimal) / cases);
    std::fprintf(file, ",");
    if (t.optimal >= 0 && !t.name.ends_with("_decided")) std::fprintf(file, "%.4f", t.bits_lost / cases);
    std::fprintf(file, "\n");
  }
  std::fclose(file);
}

int Main(int argc, char** argv) {
  bool full = false;
  const char* csv = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--full") == 0) {
      full = true;
    } else if (std::strcmp(argv[i], "--csv") == 0 && i + 1 < argc) {
      csv = argv[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--full] [--csv FILE]\n", argv[0]);
      return 2;
    }
  }
  const size_t kAllRefinements = Refinements().size(), kOnlySync = 1;
  if constexpr (kBits == 2) {
    // Values whose parts know different things, too.
    const Values raw = AllRaw();
    CheckNumbers(raw, full ? raw : EverySet());
    CheckRefinements(kAllRefinements);
  } else if constexpr (kBits == 4) {
    const Values sets = EverySet();
    CheckNumbers(sets, full ? sets : Pairs());
    CheckRefinements(full ? kAllRefinements : kOnlySync);
  } else if constexpr (kBits == 6) {
    CheckTnums();
  } else {
    // Functions of one operand, and byte swaps, for which a byte is a bit.
    const Values pairs = Pairs();
    for (const std::vector<Function>& functions : {Functions(), Swaps()}) {
      for (const Function& f : functions) {
        if (f.operands == Operands::kOne) CheckFunction(f, pairs, pairs);
      }
    }
  }
  int64_t cases = 0, unsound = 0;
  for (const Tally& t : g_tallies) {
    cases += t.cases;
    unsound += t.unsound;
  }
  std::printf("%zu operators in %d bits: %lld cases, %lld unsound\n", g_tallies.size(), kBits,
              static_cast<long long>(cases), static_cast<long long>(unsound));
  if (csv != nullptr) WriteCsv(csv);
  return unsound == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Main(argc, argv); }
