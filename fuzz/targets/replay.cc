// Runs a fuzz target without a fuzzer: on files, on those of folders, and on a number of mutations of each, always the
// same ones. For tests, and for compilers that come without libFuzzer. What goes wrong ends the process.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed);

namespace {

constexpr size_t kMaxSize = 1 << 16;

// Where the target has no mutator of its own: bytes changed, cut, doubled.
size_t MutateBytes(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed + 1);
  if (size == 0) {
    data[0] = static_cast<uint8_t>(random());
    return 1;
  }
  for (int n = 1 + static_cast<int>(random() % 4); n > 0 && size > 0; --n) {
    const size_t at = random() % size;
    switch (random() % 6) {
      case 0: data[at] = static_cast<uint8_t>(data[at] ^ 1u << random() % 8); break;
      case 1: data[at] = static_cast<uint8_t>(random() >> 8); break;
      case 2: data[at] = random() % 2 == 0 ? 0 : 0xff; break;
      case 3: size = random() % 4 == 0 ? std::max<size_t>(at, 1) : size; break;
      case 4: {
        const size_t n_bytes = std::min({size - at, max_size - size, size_t{32}});
        std::copy_backward(data + at, data + size, data + size + n_bytes);
        size += n_bytes;
        break;
      }
      default: std::swap(data[at], data[random() % size]); break;
    }
  }
  return size;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned mutations = 0;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--mutations=", 0) == 0) {
      mutations = static_cast<unsigned>(std::strtoul(argument.c_str() + 12, nullptr, 10));
    } else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argument)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else {
      files.emplace_back(argument);
    }
  }
  std::sort(files.begin(), files.end());
  const auto mutate = LLVMFuzzerCustomMutator != nullptr ? LLVMFuzzerCustomMutator : MutateBytes;
  uint64_t inputs = 0;
  LLVMFuzzerTestOneInput(nullptr, 0);
  for (const std::filesystem::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "replay: %s cannot be read\n", file.c_str());
      return 2;
    }
    const std::vector<uint8_t> seed{std::istreambuf_iterator<char>(in), {}};
    LLVMFuzzerTestOneInput(seed.data(), seed.size());
    ++inputs;
    if (seed.size() > kMaxSize) continue;
    std::vector<uint8_t> bytes(kMaxSize);
    for (unsigned m = 0; m < mutations; ++m, ++inputs) {
      std::copy(seed.begin(), seed.end(), bytes.begin());
      size_t size = seed.size();
      for (unsigned step = 0; step <= m % 4; ++step) size = mutate(bytes.data(), size, kMaxSize, m * 16 + step);
      LLVMFuzzerTestOneInput(bytes.data(), size);
    }
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(inputs));
  return inputs > 0 ? 0 : 2;
}
