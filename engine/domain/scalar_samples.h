// Random Scalars with known members, for soundness tests. Deterministic.
#ifndef BPFSIEVE_ENGINE_DOMAIN_SCALAR_SAMPLES_H_
#define BPFSIEVE_ENGINE_DOMAIN_SCALAR_SAMPLES_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/domain/scalar.h"

namespace bpfsieve {

inline bool Contains(const Scalar& r, uint64_t v) {
  const auto s = static_cast<int64_t>(v);
  const auto u32 = static_cast<uint32_t>(v);
  const auto s32 = static_cast<int32_t>(v);
  return r.var_off.Contains(v) && r.umin <= v && v <= r.umax && r.smin <= s && s <= r.smax && r.u32_min <= u32 &&
         u32 <= r.u32_max && r.s32_min <= s32 && s32 <= r.s32_max;
}

struct Sample {
  Scalar scalar;
  std::vector<uint64_t> members;  // some of them, at least one
};

class Samples {
 public:
  explicit Samples(uint32_t seed) : random_(seed) {
    for (uint64_t base : {uint64_t{0}, uint64_t{0x7fffffff}, uint64_t{0x80000000}, uint64_t{0x100000000},
                          uint64_t{0x180000000}, uint64_t{0x7fffffffffffffff}, uint64_t{0x8000000000000000},
                          uint64_t{0xffffffff00000000}, uint64_t{0xffffffff80000000}}) {
      for (uint64_t d : {0u, 1u, 2u, 3u, 8u}) {
        points_.push_back(base + d);
        points_.push_back(base - d);
      }
    }
  }

  uint64_t Below(uint64_t n) { return random_() % n; }

  // A number near one of those where signs and widths change, or any number.
  uint64_t Number() {
    const uint64_t kind = Below(8);
    if (kind < 5) return points_[Below(points_.size())];
    return kind < 7 ? random_() >> Below(64) : Below(256);
  }

  // Constraints of every kind around a common member. Not synced: the parts may know different things.
  Sample Raw() {
    const uint64_t member = Number();
    Scalar r;
    for (uint64_t i = Below(4); i > 0; --i) Constrain(r, member);
    if (Below(4) == 0) r = Scalar::Const(member);
    Sample sample{r, {member}};
    for (int tries = 0; tries < 40 && sample.members.size() < 6; ++tries) {
      const uint64_t v = Below(2) != 0 ? Number() : (random_() & r.var_off.mask) | r.var_off.value;
      if (Contains(r, v)) sample.members.push_back(v);
    }
    return sample;
  }

  Sample Synced() {
    Sample sample = Raw();
    SyncBounds(sample.scalar);
    return sample;
  }

 private:
  template <typename T>
  static void Narrow(T& min, T& max, T member, T other) {
    min = std::max(min, std::min(member, other));
    max = std::min(max, std::max(member, other));
  }

  void Constrain(Scalar& r, uint64_t member) {
    const uint64_t other = Below(2) != 0 ? Number() : member + Below(9) - 4;
    switch (Below(5)) {
      case 0: Narrow(r.umin, r.umax, member, other); break;
      case 1: Narrow(r.smin, r.smax, static_cast<int64_t>(member), static_cast<int64_t>(other)); break;
      case 2: Narrow(r.u32_min, r.u32_max, static_cast<uint32_t>(member), static_cast<uint32_t>(other)); break;
      case 3: Narrow(r.s32_min, r.s32_max, static_cast<int32_t>(member), static_cast<int32_t>(other)); break;
      default: {
        const uint64_t mask = r.var_off.mask & Number();
        r.var_off = Tnum{member & ~mask, mask};
        break;
      }
    }
  }

  std::mt19937_64 random_;
  std::vector<uint64_t> points_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_DOMAIN_SCALAR_SAMPLES_H_
