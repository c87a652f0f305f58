// Damaged objects, from bytes to verdict: whatever is done to a file, the answer is an error with a reason or a verdict
// for each program. Sanitizers watch; the seed is fixed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "bpfsieve/verify.h"

namespace bpfsieve {
namespace {

constexpr int kObjects = 5000;

std::vector<std::string> ReadAll(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".o") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> files;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return files;
}

std::string Damage(const std::vector<std::string>& files, std::mt19937& rng) {
  auto below = [&](size_t n) { return static_cast<size_t>(rng() % n); };
  std::string bytes = files[below(files.size())];
  switch (below(3)) {
    case 0:  // cut
      bytes.resize(below(bytes.size()));
      break;
    case 1:  // flip a few bits, most often within the first or last kilobyte, where headers are
      for (size_t n = 1 + below(8); n-- > 0;) {
        const size_t edge = std::min<size_t>(bytes.size(), 1024);
        const size_t at = below(2) == 0 ? below(bytes.size()) : below(2) == 0 ? below(edge) : bytes.size() - 1 - below(edge);
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
      }
      break;
    default: {  // splice a piece of another in
      const std::string& other = files[below(files.size())];
      const size_t length = 1 + below(std::min<size_t>(other.size(), 512));
      const size_t from = below(other.size() - length + 1), at = below(bytes.size());
      bytes.replace(at, std::min(length, bytes.size() - at), other, from, length);
      break;
    }
  }
  return bytes;
}

TEST(DamagedObjects, EndInAnErrorOrInVerdicts) {
  const std::vector<std::string> files = ReadAll(BPFSIEVE_CORPUS_DIR "/objects");
  ASSERT_FALSE(files.empty());
  VerifyOptions options;
  options.max_processed = 20'000;
  options.explain = true;
  std::mt19937 rng(20261122);
  int loaded = 0, verdicts = 0;
  for (int n = 0; n < kObjects; ++n) {
    const std::string bytes = Damage(files, rng);
    const absl::StatusOr<ObjectFile> object = ObjectFile::Parse(bytes, "damaged.o", {.default_type = "xdp"});
    if (!object.ok()) {
      EXPECT_FALSE(object.status().message().empty()) << "object " << n;
      continue;
    }
    ++loaded;
    for (int i = 0; i < object->program_count(); ++i) {
      const Report report = Verify(*object, i, options);
      EXPECT_TRUE(report.verdict == "accept" || !report.message.empty()) << "object " << n << " program " << i;
      ++verdicts;
    }
  }
  // Both ends of the pipeline were reached.
  EXPECT_GT(loaded, kObjects / 10);
  EXPECT_LT(loaded, kObjects);
  EXPECT_GT(verdicts, loaded);
}

}  // namespace
}  // namespace bpfsieve
