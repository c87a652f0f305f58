// Mutations of a generator's choices (choices.h). Any bytes make a program, so these need not keep anything intact; but a byte
// that comes or goes gives all later choices another meaning. So mostly single choices change, or stretches are exchanged
// for others of the same length; sometimes the end is cut or another program's end put on.
#ifndef BPFSIEVE_FUZZ_TARGETS_MUTATE_CHOICES_H_
#define BPFSIEVE_FUZZ_TARGETS_MUTATE_CHOICES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>

namespace bpfsieve {

inline size_t MutateChoices(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed + 1);
  if (size < 8) {  // a start
    size = std::min<size_t>(max_size, 256);
    for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(random() >> 8);
    return size;
  }
  for (int n = 1 + static_cast<int>(random() % 4); n > 0; --n) {
    const size_t at = random() % size;
    const size_t length = 1 + random() % std::min<size_t>(16, size - at);
    switch (random() % 8) {
      case 0: data[at] = static_cast<uint8_t>(data[at] + random() % 5 - 2); break;
      case 1: {
        const size_t from = random() % (size - length + 1);
        std::memmove(data + at, data + from, length);
        break;
      }
      case 2:
        for (size_t i = 0; i < length; ++i) data[at + i] = static_cast<uint8_t>(random() >> 8);
        break;
      case 3:
        if (size + 64 <= max_size) {
          for (size_t i = 0; i < 64; ++i) data[size + i] = static_cast<uint8_t>(random() >> 8);
          size += 64;
        }
        break;
      case 4: size = std::max<size_t>(8, at); break;
      default: data[at] = static_cast<uint8_t>(random() >> 8); break;
    }
    if (size < 8) break;
  }
  return size;
}

inline size_t CrossChoices(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out, size_t max_size,
                           unsigned seed) {
  std::minstd_rand random(seed + 1);
  const size_t cut = a_size == 0 ? 0 : random() % (a_size + 1);
  const size_t head = std::min(cut, max_size);
  std::copy_n(a, head, out);
  if (cut >= b_size) return head;
  const size_t tail = std::min(b_size - cut, max_size - head);
  std::copy_n(b + cut, tail, out + head);
  return head + tail;
}

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_TARGETS_MUTATE_CHOICES_H_
