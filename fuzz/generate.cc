#include "fuzz/generate.h"

#include <algorithm>
#include <cstring>

#include "fuzz/generator.h"

namespace bpfsieve {

GenerateOptions GenerateOptions::Big() {
  GenerateOptions o;
  o.broken = 0.0005;
  o.max_insns = 6000;
  o.max_fragments = 600;
  o.max_depth = 5;
  o.max_forks = 1 << 20;
  o.loop_bound = 12;
  o.open_loops = false;
  return o;
}

std::vector<uint8_t> SeedBytes(uint64_t seed, size_t count) {
  // splitmix64: fixed for good, since a seed in a report has to mean the same program tomorrow.
  std::vector<uint8_t> bytes((count + 7) / 8 * 8);
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = seed += 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    word ^= word >> 31;
    std::memcpy(&bytes[i], &word, sizeof word);
  }
  bytes.resize(count);
  return bytes;
}

std::shared_ptr<Object> Generate(std::span<const uint8_t> bytes, const GenerateOptions& options) {
  return Generator(bytes, options).Run();
}

std::shared_ptr<Object> Generate(uint64_t seed, const GenerateOptions& options) {
  // An instruction takes about three choices of one or two bytes; what is left over is never read.
  const size_t count = 256 + static_cast<size_t>(std::max(options.max_insns, 0)) * 16;
  return Generate(SeedBytes(seed, count), options);
}

}  // namespace bpfsieve
