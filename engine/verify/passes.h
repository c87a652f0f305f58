// The passes from a program to its verdict, for Verify and for what has to look inside: oracles that watch the search, and
// the naive explorer, which shares all but the search.
#ifndef BPFSIEVE_ENGINE_VERIFY_PASSES_H_
#define BPFSIEVE_ENGINE_VERIFY_PASSES_H_

#include <optional>
#include <vector>

#include "bpfsieve/verify.h"
#include "engine/explore/explore.h"
#include "engine/program/arena.h"
#include "engine/program/cfg.h"
#include "engine/program/liveness.h"
#include "engine/program/program.h"
#include "engine/program/stop_sign.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {

// What oracles ask of a search beyond its options; see SearchLimits and Context.
struct SearchHooks {
  StateObserver* observer = nullptr;
  bool all_precise = false;
  bool strict_stack = false;
  std::vector<PieceTime>* pieces = nullptr;
};

Capabilities CapabilitiesWithout(Lacking lacking);

// Everything about a program that does not depend on its paths: done once, for any number of searches. The object must
// outlive it. Searches change nothing in it, so that several threads may be at it.
class Passes {
 public:
  // Of an extension, see VerifyOptions::target; what it names must outlive it too. `stop` ends the passes, and the searches.
  Passes(const Object& object, const Program& program, const Capabilities& caps = {}, const Target& target = {},
         const StopSign& stop = {});
  Passes(const Passes&) = delete;
  Passes& operator=(const Passes&) = delete;

  // The verdict, where the program has one before any path is looked at.
  const std::optional<SearchResult>& settled() const { return settled_; }
  // Unless it is settled.
  const Context& context() const { return context_; }
  // The verdict. VerifyOptions::without, target, interrupt and time_limit_ms are not looked at: see StopSign.
  SearchResult Search(const VerifyOptions& options, const SearchHooks& hooks = {}) const;

 private:
  std::optional<SearchResult> Check(const Target& target);

  const Object& object_;
  const Program& program_;
  std::optional<Program> extension_;  // an extension's program with its target's type
  const Capabilities caps_;
  const StopSign stop_;
  std::optional<SearchResult> settled_;
  AttachTarget target_;  // see Context::target
  Arena arena_;
  Cfg cfg_;
  std::optional<StackLiveness> liveness_;
  Context context_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_VERIFY_PASSES_H_
