// Damaged objects: whatever the bytes, the loader ends in an object that keeps its promises or in a status with a
// reason. The damage is drawn from a fixed seed, so that a failure repeats. Meant for a build with sanitizers.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/program/elf_file.h"
#include "engine/program/load.h"
#include "gtest/gtest.h"

// Under AddressSanitizer a single allocation beyond this many MiB is a failure.
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=256"; }

namespace bpfsieve {
namespace {

constexpr int kObjects = 5000;  // BPFSIEVE_DAMAGE_COUNT in the environment: as many
constexpr uint64_t kSeed = 20240618;

using Random = std::mt19937_64;

size_t Below(Random* random, size_t n) { return n == 0 ? 0 : (*random)() % n; }

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds;
  for (const char* folder : {BPFSIEVE_TESTDATA, BPFSIEVE_CORPUS_OBJECTS}) {
    std::error_code error;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() == ".o") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
      std::ifstream file(path, std::ios::binary);
      seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  return seeds;
}

// Overwrites 1, 2, 4 or 8 bytes with a number that is likely to be off.
void Poke(Random* random, std::string* bytes, size_t from, size_t to) {
  constexpr uint64_t kNumbers[] = {0,
                                   1,
                                   2,
                                   3,
                                   7,
                                   8,
                                   0x7f,
                                   0xff,
                                   0x7fff,
                                   0xffff,
                                   0x10000,
                                   0x7fffffff,
                                   0xffffffff,
                                   0x80000000,
                                   0x7fffffffffffffff,
                                   0xffffffffffffffff,
                                   0xfffffffffffffff8};
  const size_t width = size_t{1} << Below(random, 4);
  if (to > bytes->size() || to - from < width) return;
  const size_t at = from + Below(random, (to - from - width + 1));
  uint64_t value = kNumbers[Below(random, std::size(kNumbers))];
  if (Below(random, 4) == 0) value = (*random)() % (2 * bytes->size());
  for (size_t i = 0; i < width; ++i) (*bytes)[at + i] = static_cast<char>(value >> (8 * i));
}

// The part of an object that damage goes to: anything, its section headers (at the end), or the contents of a section.
std::pair<size_t, size_t> Target(Random* random, const std::string& bytes) {
  switch (Below(random, 6)) {
    case 0: return {0, bytes.size()};
    case 1: return {bytes.size() - std::min<size_t>(bytes.size(), 64 * 20), bytes.size()};
    default: break;
  }
  absl::StatusOr<ElfFile> elf = ParseElf(bytes);
  if (!elf.ok()) return {0, bytes.size()};
  const ElfSection& section = elf->sections[Below(random, elf->sections.size())];
  if (section.data.empty()) return {0, bytes.size()};
  const size_t from = static_cast<size_t>(section.data.data() - bytes.data());
  return {from, from + section.data.size()};
}

std::string Damage(Random* random, const std::vector<std::string>& seeds) {
  std::string bytes = seeds[Below(random, seeds.size())];
  const size_t count = 1 + Below(random, 6);
  for (size_t i = 0; i < count && !bytes.empty(); ++i) {
    const auto [from, to] = Target(random, bytes);
    const size_t at = from + Below(random, to - from);
    switch (Below(random, 20)) {
      case 0:  // cut
        bytes.resize(at);
        break;
      case 1: {  // push a piece of another object in between
        const std::string& other = seeds[Below(random, seeds.size())];
        bytes.insert(at, other, Below(random, other.size()), Below(random, 256));
        break;
      }
      case 2:
      case 3:
      case 4: {  // put a piece of another object, or of another place, over it
        const std::string& other = Below(random, 2) == 0 ? seeds[Below(random, seeds.size())] : bytes;
        const size_t length = std::min(Below(random, 64), bytes.size() - at);
        const std::string piece = other.substr(Below(random, other.size()), length);
        bytes.replace(at, piece.size(), piece);
        break;
      }
      case 5:
      case 6:
      case 7:
      case 8:
      case 9: {  // flip a bit
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(random, 8)));
        break;
      }
      default: Poke(random, &bytes, from, to); break;
    }
  }
  return bytes;
}

bool InRange(int64_t index, size_t size) { return index >= 0 && static_cast<size_t>(index) < size; }

void CheckProgram(const Object& object, const Program& program) {
  ASSERT_FALSE(program.subprogs.empty());
  if (!program.broken.empty()) return;
  ASSERT_FALSE(program.insns.empty());
  EXPECT_EQ(program.subprogs[0].start, 0u);
  for (size_t i = 1; i < program.subprogs.size(); ++i) {
    EXPECT_LT(program.subprogs[i - 1].start, program.subprogs[i].start);
  }
  EXPECT_LT(program.subprogs.back().start, program.insns.size());
  for (const LineInfo& line : program.lines) EXPECT_LT(line.insn, program.insns.size());
  for (size_t i = 0; i < program.insns.size(); ++i) {
    const Insn& insn = program.insns[i];
    if (IsKfuncCall(insn)) {
      EXPECT_TRUE(InRange(insn.imm, program.externs.size())) << i;
    }
    if (!IsLdImm64(insn)) continue;
    EXPECT_NE(insn.src, kPseudoMapIdx);
    EXPECT_NE(insn.src, kPseudoMapIdxValue);
    if (insn.src == kPseudoMapFd || insn.src == kPseudoMapValue) {
      EXPECT_TRUE(insn.imm == kNoSuchMap || InRange(insn.imm, object.maps.size())) << i;
    }
    if (insn.src == kPseudoBtfId) {
      EXPECT_TRUE(InRange(insn.imm, program.externs.size())) << i;
    }
    if (insn.src == kPseudoFunc) {
      EXPECT_TRUE(InRange(static_cast<int64_t>(i) + insn.imm + 1, program.insns.size())) << i;
    }
    ++i;
  }
}

void CheckObject(const Object& object) {
  for (const MapDef& map : object.maps) {
    EXPECT_GE(map.inner, -1);
    EXPECT_LT(map.inner, static_cast<int>(object.maps.size()));
    if (!map.data.empty()) {
      EXPECT_EQ(map.data.size(), map.value_size);
    }
    for (size_t i = 1; i < map.fields.size(); ++i) EXPECT_LE(map.fields[i - 1].offset, map.fields[i].offset);
  }
  for (const Program& program : object.programs) CheckProgram(object, program);
}

TEST(DamageTest, DamagedObjectsEndInAnObjectOrAReason) {
  const std::vector<std::string> seeds = Seeds();
  ASSERT_FALSE(seeds.empty());
  Random random(kSeed);
  int loaded = 0, refused = 0, broken = 0;
  const char* wanted = std::getenv("BPFSIEVE_DAMAGE_COUNT");
  const int count = wanted != nullptr ? std::atoi(wanted) : kObjects;
  for (int i = 0; i < count; ++i) {
    const std::string bytes = Damage(&random, seeds);
    LoadOptions options;
    options.kernel_btf = i % 4 == 0 ? "none" : BPFSIEVE_TESTDATA "/core_kernel.o";
    options.default_type = i % 2 == 0 ? "xdp" : "";
    SCOPED_TRACE(i);
    auto object = LoadElfObject(bytes, "damaged.o", options);
    if (!object.ok()) {
      EXPECT_FALSE(object.status().message().empty());
      ++refused;
      continue;
    }
    ++loaded;
    CheckObject(**object);
    for (const Program& program : (*object)->programs) broken += !program.broken.empty();
    if (HasFailure()) return;
  }
  // The damage reaches behind the first check, and does damage.
  EXPECT_GT(loaded, count / 10);
  EXPECT_GT(refused, count / 10);
  EXPECT_GT(broken, count / 100);
  std::printf("%d loaded (%d programs broken), %d refused\n", loaded, broken, refused);
}

}  // namespace
}  // namespace bpfsieve
