// Runs a function over formulas along all of its paths, and asks Z3 about each.
#ifndef BPFSIEVE_ENGINE_DOMAIN_PROOF_EXPLORER_H_
#define BPFSIEVE_ENGINE_DOMAIN_PROOF_EXPLORER_H_

#include <z3++.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace bpfsieve {

// What is known of one function.
struct Verdict {
  enum class Kind { kProved, kRefuted, kTimeout };
  Kind kind = Kind::kProved;
  int paths = 0, queries = 0;
  double seconds = 0;  // of CPU time
  std::string model;   // of kRefuted: an assignment of the inputs
};

class Explorer {
 public:
  // A product of two words, which is not handed to Z3 as a multiplication: of its true value, seen as signed and as
  // unsigned numbers of twice the width, Z3 is told only the facts of Product().
  struct Multiplied {
    z3::expr a, b, wrapped, as_unsigned, as_signed;
  };

  // The explorer at work; there is one.
  static Explorer& Get();

  z3::context& context() { return context_; }

  // Runs `body` once for each path; it gives what has to hold at its end, under what was assumed and decided. `seconds`
  // are of CPU time.
  Verdict Prove(const std::function<z3::expr()>& body, double seconds);

  // ---- For `body`, and what it calls ----

  // One of the possible answers to `question`; another run takes the other.
  bool Decide(const z3::expr& question);
  void Assume(const z3::expr& fact);
  // Whether something is so in any case here; with `nearby`, as far as the conditions tell that speak of the same. Its
  // parts that are so are noted, to build upon.
  bool Follows(const z3::expr& goal, bool nearby);
  // Something that has to hold here.
  void Require(const z3::expr& fact) { duties_.push_back(fact); }
  // An unknown, the same in every run if made in the same order. The bounds of one range belong together: questions
  // about one of them are likely to need what is known of the other.
  z3::expr Fresh(const char* name, unsigned width, bool with_last = false);
  int Keep(const z3::expr& e);
  z3::expr Kept(int index) const { return kept_[static_cast<size_t>(index)]; }
  // The number of bits that it takes to write e, in a word of e's width.
  z3::expr BitWidth(const z3::expr& e);
  // The product of two words. Its facts: the wrapped one is the low half of the others; products of words that are
  // ordered are ordered alike (for signed ones: with a common factor, by that factor's sign); a factor 0 makes 0.
  // prove.cc proves them of integers.
  const Multiplied& Product(const z3::expr& a, const z3::expr& b);

 private:
  struct Decision {
    bool answer;
    bool is_open;  // whether the other answer is possible and still to be taken
  };

  struct Asked {
    std::vector<z3::expr> alive;  // what the key's numbers stand for: they are not given to others meanwhile
    bool implied;
    std::string counter;  // an assignment where it is not
  };

  // Throws where time is up.
  bool IsPossible(const std::vector<z3::expr>& conditions, const z3::expr& extra, std::string* model);
  // The conditions that speak of no other groups of unknowns. They are few, and the same on many paths, so that what
  // they imply is often known already.
  std::vector<z3::expr> Within(const std::set<unsigned>& groups);
  // With those that conditions connect these with, but for group 0, which is connected with all: the first unknown that
  // a body makes, and what belongs to it, are meant to be the members that it is about.
  std::set<unsigned> Neighbours(const std::set<unsigned>& groups);
  const Asked& Ask(const std::vector<z3::expr>& conditions, const z3::expr& goal);
  // By those within goal's groups, or their neighbours, or (unless `nearby`) by all.
  bool IsImplied(const z3::expr& goal, bool nearby);
  // The groups that the unknowns in e belong to.
  const std::set<unsigned>& Groups(const z3::expr& e);
  // Whether all of them hold on this path.
  bool Hold(const std::vector<z3::expr>& goals);
  // To the last question whose other answer is open. Returns false if there is none.
  bool Backtrack();

  z3::context context_;
  z3::tactic tactic_{context_, "qfbv"};
  double deadline_ = 0;  // in seconds of CPU time
  std::vector<Decision> decisions_;
  size_t next_ = 0;
  std::vector<z3::expr> conditions_, duties_, kept_;
  std::vector<Multiplied> products_;
  std::map<std::vector<unsigned>, Asked> asked_;
  std::map<unsigned, std::pair<z3::expr, std::set<unsigned>>> groups_;
  int fresh_ = 0;
  unsigned group_ = 0;
  Verdict verdict_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_PROOF_EXPLORER_H_
