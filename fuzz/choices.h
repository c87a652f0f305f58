// Bytes as a source of choices. Every choice is a function of the bytes alone, so that a fuzzer that changes one byte
// changes one choice, and the same bytes give the same program on every machine (std::uniform_int_distribution does not
// promise that). Once they are used up every answer is the one for zero bytes, which generators make the plain one.
#ifndef BPFSIEVE_FUZZ_CHOICES_H_
#define BPFSIEVE_FUZZ_CHOICES_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace bpfsieve {

// Not thread-safe. The bytes must outlive it.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool Spent() const { return at_ >= bytes_.size(); }
  uint64_t Bits(int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; ++i) v = v << 8 | (at_ < bytes_.size() ? bytes_[at_++] : 0);
    return v;
  }
  // In [0, n); 0 for n below 2. Not exactly uniform, which does not matter here.
  uint32_t Below(uint32_t n) {
    if (n < 2) return 0;
    return static_cast<uint32_t>(Bits(n <= 256 ? 1 : n <= 65536 ? 2 : 4) % n);
  }
  int Between(int low, int high) { return low + static_cast<int>(Below(static_cast<uint32_t>(high - low + 1))); }
  // True with the given probability, in steps of 1 / 65536; false for zero bytes unless it is 1.
  bool Chance(double probability) {
    return static_cast<double>(Bits(2)) >= 65536.0 * (1.0 - probability);
  }
  template <typename T, size_t N>
  T Of(const T (&options)[N]) {
    return options[Below(N)];
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_CHOICES_H_
