// The generator's settings for a long series of programs: different seeds stress different things, from programs with few
// defects to mostly broken ones, with many paths or few, and with numbers, branches and the stack alone.
#ifndef BPFSIEVE_FUZZ_SETTINGS_H_
#define BPFSIEVE_FUZZ_SETTINGS_H_

#include <cstdint>

#include "engine/spec/spec.h"
#include "fuzz/generate.h"

namespace bpfsieve {

// What the loader of the program may do: of some it lacks CAP_PERFMON, and the verifier takes measures against speculation.
inline Capabilities CapabilitiesFor(uint64_t seed) { return {.perfmon = seed / 32 % 24 != 3}; }

// `broken` below 0: several in turn.
inline GenerateOptions SettingsFor(uint64_t seed, double broken) {
  constexpr double kBroken[] = {0.05, 0.15, 0.3, 0.5};
  GenerateOptions o;
  o.broken = broken >= 0 ? broken : kBroken[seed % 4];
  // Short programs find as much in the same time, most of it in less; every fifth is long, for what takes many
  // fragments (five has nothing to do with the other choices' periods).
  const bool small = seed / 4 % 5 != 4;
  o.max_insns = small ? 40 : 120;
  o.max_fragments = small ? 3 : 9;
  o.caps = CapabilitiesFor(seed);
  o.maps = seed / 8 % 4 != 0;
  o.subprograms = seed / 8 % 4 > 1;
  return o;
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_SETTINGS_H_
