#include "engine/explore/path.h"

#include <memory>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace bpfsieve {

void Checkpoint::Clear() {
  std::destroy_at(this);
  std::construct_at(this);
}

uint64_t Fingerprint(const Frame& frame, uint16_t live, uint64_t* mask) {
  uint64_t types = 0, m = 0;
  for (int r = 0; r < kRegFp; ++r) {
    const Reg& reg = frame.regs[r];
    const uint64_t code = static_cast<uint64_t>(reg.type) ^ (reg.MayBeNull() ? 0x20 : 0);
    types |= code << (6 * r);
    if ((live >> r & 1) != 0 && reg.type != RegType::kNotInit) m |= uint64_t{0x3f} << (6 * r);
  }
  if (mask != nullptr) *mask = m;
  return types;
}

uint64_t RegsHash(const Frame& frame) {
  return absl::HashOf(absl::string_view(reinterpret_cast<const char*>(frame.regs.data()), sizeof frame.regs)) | 1;
}

void FillCheckpoint(const Context& context, const State& state, uint32_t insn, Checkpoint& c) {
  c.insn = insn;
  c.live = LiveAt(context, state, insn, state.cur);
  c.types = Fingerprint(state.frame(), c.live.regs[state.cur], &c.types_mask);
  c.bytes = state.bytes() + sizeof(Checkpoint);
  c.shared.state = &state;
  c.shared.types = c.types;
  c.shared.types_mask = c.types_mask;
  c.shared.insn = insn;
  c.shared.masks = MasksFor(state, c.live,
                            context.strict_stack    ? UnknownSlots::kAll
                            : context.caps.perfmon ? UnknownSlots::kNone
                                                   : UnknownSlots::kWritten);
}

}  // namespace bpfsieve
