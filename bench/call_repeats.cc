// How much call summaries could save: the share of processed instructions that lie in static subprograms entered with what
// an earlier entry, from whatever call site and path, had already. What a subprogram sees is its live arguments, the
// callers' stack where an argument points into a stack, and what is held. `same`: all of it equal. `alike`: equal but for
// the values of scalars, of which a summary would have to be independent; an upper bound for any summary.
//
//   call_repeats FILE...    one line a program that enters a subprogram, as CSV
#include <cstdint>
#include <cstdio>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "bpfsieve/verify.h"
#include "engine/explore/explore.h"
#include "engine/state/state.h"
#include "engine/verify/passes.h"

namespace bpfsieve {
namespace {

class Repeats : public StateObserver {
 public:
  uint64_t steps = 0, inside = 0, entries = 0, same = 0, alike = 0;

  void At(const Context& context, uint32_t insn, const State& state) override {
    ++steps;
    if (state.cur == 0) {
      depth_same_ = depth_alike_ = kNone;
      return;
    }
    ++inside;
    if (state.cur < depth_same_) depth_same_ = kNone;
    if (state.cur < depth_alike_) depth_alike_ = kNone;
    const Frame& frame = state.frame();
    if (insn == context.cfg->subs[frame.subprog].start) {
      ++entries;
      if (!same_.insert(Key(context, insn, state, true)).second && depth_same_ == kNone) depth_same_ = state.cur;
      if (!alike_.insert(Key(context, insn, state, false)).second && depth_alike_ == kNone) depth_alike_ = state.cur;
    }
    same += depth_same_ != kNone;
    alike += depth_alike_ != kNone;
  }

 private:
  static constexpr int kNone = 1 << 20;

  static void Add(std::string& key, const Reg& reg, bool values) {
    Reg r = reg;
    r.id = r.ref_obj_id = 0;  // names
    if (!values && r.IsScalar()) r.MakeUnknown();
    key.append(reinterpret_cast<const char*>(&r), sizeof r);
  }
  static uint64_t Key(const Context& context, uint32_t insn, const State& state, bool values) {
    std::string key(reinterpret_cast<const char*>(&insn), sizeof insn);
    bool stack = false;
    for (int r = 1; r <= 5; ++r) {
      if ((context.cfg->at[insn].live_regs >> r & 1) == 0) continue;
      Add(key, state.regs()[r], values);
      stack |= state.regs()[r].type == RegType::kStack;
    }
    for (int f = 0; stack && f < state.cur; ++f) {
      const Frame& frame = *state.frames[f];
      for (int s = 0; s < frame.slots; ++s) {
        const StackSlot& slot = frame.slot(s);
        key.append(reinterpret_cast<const char*>(slot.bytes), sizeof slot.bytes);
        if (slot.IsSpill()) Add(key, slot.spilled, values);
      }
    }
    key += static_cast<char>(state.refs.size());
    key += static_cast<char>(state.active_locks);
    return absl::HashOf(absl::string_view(key));
  }

  std::unordered_set<uint64_t> same_, alike_;
  int depth_same_ = kNone, depth_alike_ = kNone;  // the outermost frame that was entered before
};

int Run(int argc, char** argv) {
  absl::PrintF("program,processed,inside,entries,same,alike\n");
  for (int i = 1; i < argc; ++i) {
    const absl::StatusOr<ObjectFile> file = ObjectFile::Open(argv[i], {});
    if (!file.ok()) continue;
    for (int p = 0; p < file->program_count(); ++p) {
      Repeats repeats;
      SearchHooks hooks;
      hooks.observer = &repeats;
      Passes(file->object(), file->object().programs[static_cast<size_t>(p)]).Search({}, hooks);
      if (repeats.entries == 0) continue;
      const std::string path = argv[i];
      absl::PrintF("%s:%s,%u,%u,%u,%u,%u\n", path.substr(path.rfind('/') + 1), std::string(file->program_name(p)),
                   repeats.steps, repeats.inside, repeats.entries, repeats.same, repeats.alike);
    }
  }
  return 0;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) { return bpfsieve::Run(argc, argv); }
