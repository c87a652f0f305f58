// Writes the first inputs of every fuzz target, a folder each, from the programs of the corpus: seeds CORPUS_FOLDER OUT_FOLDER
#include <bpf/btf.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "bpfsieve/verify.h"
#include "engine/program/program.h"
#include "fuzz/generate.h"
#include "fuzz/targets/raw_types.h"

namespace {

namespace fs = std::filesystem;
using namespace bpfsieve;

void Write(const fs::path& folder, const std::string& name, std::string_view bytes) {
  fs::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string Number(uint64_t v, size_t bytes) { return {reinterpret_cast<const char*>(&v), bytes}; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: seeds CORPUS_FOLDER OUT_FOLDER\n");
    return 2;
  }
  const fs::path corpus = argv[1], out = argv[2];
  fs::remove_all(out);
  LoadOptions load;
  load.kernel_btf = "none";
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(corpus)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  size_t texts = 0, objects = 0;
  for (const fs::path& path : paths) {
    const std::string extension = path.extension();
    if (extension != ".bpfasm" && extension != ".o") continue;
    const std::string bytes = Read(path);
    const std::string name = std::to_string(extension == ".o" ? objects : texts);
    const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(bytes, path.string(), load);
    if (!file.ok()) continue;
    if (extension == ".o") {
      ++objects;
      Write(out / "object", name, bytes);
      uint32_t size = 0;
      const void* types = file->object().btf != nullptr ? btf__raw_data(file->object().btf.get(), &size) : nullptr;
      if (types == nullptr || size > 0xffff) continue;
      const std::string_view btf(static_cast<const char*>(types), size);
      std::string in = Number(13, 1);
      for (uint64_t kind = 0; kind < 13; ++kind) {
        in += Number(kind, 1) + Number(1 + kind * 3, 2) + std::string("0:1\0\0\0\0\0", 8);
      }
      in += Number(size, 2);
      Write(out / "core", name, in + std::string(btf) + std::string(btf));
      continue;
    }
    ++texts;
    if (bytes.size() < 4000) Write(out / "text", name, bytes);
    for (int p = 0; p < std::min(file->program_count(), 3); ++p) {
      const std::vector<Insn>& insns = file->object().programs[static_cast<size_t>(p)].insns;
      const auto type = std::find(std::begin(kRawTypes), std::end(kRawTypes), file->program_type(p));
      if (type == std::end(kRawTypes)) continue;
      std::string raw = Number(static_cast<uint64_t>(type - std::begin(kRawTypes)), 1);
      raw.append(reinterpret_cast<const char*>(insns.data()), insns.size() * sizeof(Insn));
      if (raw.size() < 1000) Write(out / "raw", name + "-" + std::to_string(p), raw);
    }
  }
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::vector<uint8_t> bytes = SeedBytes(seed, 600);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (const char* target : {"program", "parallel", "operators"}) Write(out / target, std::to_string(seed), text);
  }
  const char* readers[] = {"\0file,prog,type\na.o,\"x, \"\"y\"\"\",xdp\n", "\1file_name,section,prog_name,prog_type\na.o,s,p,xdp?\n",
                           "\1a.o,s,p,kprobe\n", "\2a*.o/prog?", "\2!x/*", "\2insns>=10", "\2verdict=accept,states<5"};
  for (size_t i = 0; i < std::size(readers); ++i) {
    std::string text(1, readers[i][0]);
    Write(out / "readers", std::to_string(i), text + (readers[i] + 1));
  }
  return texts > 0 && objects > 0 ? 0 : 1;
}
