// Writes the first inputs of every fuzz target, a folder each, from the programs of the corpus and the objects of the loader's
// tests: seeds SOURCE_FOLDER OUT_FOLDER
#include <bpf/btf.h>
#include <elf.h>

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
#include "engine/program/btf_ext.h"
#include "engine/program/btf_view.h"
#include "engine/program/elf_file.h"
#include "engine/program/program.h"
#include "fuzz/generate.h"
#include "fuzz/settings.h"
#include "fuzz/targets/raw_types.h"
#include "fuzz/write_asm.h"

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

std::string_view Bytes(const struct btf* btf) {
  uint32_t size = 0;
  const void* bytes = btf__raw_data(btf, &size);
  return {static_cast<const char*>(bytes), bytes != nullptr ? size : 0};
}

// The section of an object; empty: none.
std::string_view Section(const ElfFile& elf, std::string_view name) {
  for (const ElfSection& section : elf.sections) {
    if (section.name == name) return section.data;
  }
  return {};
}

struct CoreSeed {
  uint32_t kind = 0, type = 0;
  std::string access;
};

// The target's input (core.cc) of those records.
std::string CoreInput(const std::vector<CoreSeed>& records, std::string_view local, std::string_view kernel) {
  std::string in = Number(records.size(), 1);
  for (const CoreSeed& r : records) {
    std::string access = r.access;
    access.resize(8);
    in += Number(r.kind, 1) + Number(r.type, 2) + access;
  }
  return in + Number(local.size(), 2) + std::string(local) + std::string(kernel);
}

// The object as an input that makes these choices (object.cc), with what its programs are attached to behind it.
std::string ObjectInput(std::string bytes, uint16_t choices, std::string_view target) {
  std::memcpy(bytes.data() + EI_PAD, &choices, sizeof choices);
  const uint32_t at = target.empty() ? 0 : static_cast<uint32_t>(bytes.size());
  std::memcpy(bytes.data() + EI_NIDENT - sizeof at, &at, sizeof at);
  return bytes.append(target);
}

// What inputs choose of how they are verified (budget.h), one after the other.
constexpr uint16_t kChoices[] = {4, 2, 1 | 4, 3 | 8, 2 | 32, 4 | 64, 16, 128, 256, 512 | 4};

// A text in pieces that a target takes whole: what stands in front of the first program, and then as many programs as fit.
std::vector<std::string> Pieces(const std::string& text, size_t most_bytes, size_t most_programs) {
  std::vector<size_t> starts;
  for (size_t at = text.find("\n.prog "); at != std::string::npos; at = text.find("\n.prog ", at + 1)) starts.push_back(at + 1);
  if (starts.empty()) return {text};
  const std::string head = text.substr(0, starts.front());
  starts.push_back(text.size());
  std::vector<std::string> pieces;
  size_t programs = 0;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::string program = text.substr(starts[i], starts[i + 1] - starts[i]);
    if (pieces.empty() || programs == most_programs || pieces.back().size() + program.size() > most_bytes) {
      pieces.push_back(head);
      programs = 0;
    }
    pieces.back() += program;
    ++programs;
  }
  return pieces;
}

// An object's own relocations against the types of a kernel.
void WriteCore(const fs::path& folder, const std::string& name, const ElfFile& elf, const struct btf* btf, std::string_view kernel) {
  const absl::StatusOr<BtfExt> ext = ParseBtfExt(Section(elf, ".BTF.ext"), btf, elf);
  if (!ext.ok()) return;
  std::vector<CoreSeed> records;
  int part = 0;
  for (size_t i = 0; i < ext->relos.size(); ++i) {
    const CoreRecord& r = ext->relos[i];
    records.push_back({r.kind, r.type_id, std::string(BtfName(btf, r.access_off))});
    if (records.size() < 16 && i + 1 < ext->relos.size()) continue;
    Write(folder, name + "-" + std::to_string(part++), CoreInput(records, Bytes(btf), kernel));
    records.clear();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: seeds SOURCE_FOLDER OUT_FOLDER\n");
    return 2;
  }
  const fs::path source = argv[1], out = argv[2];
  const fs::path corpus = source / "corpus", testdata = source / "engine/program/testdata";
  fs::remove_all(out);
  LoadOptions load;
  load.kernel_btf = "none";
  std::vector<fs::path> paths;
  for (const fs::path& folder : {corpus, testdata}) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  const std::string kernel_object = Read(testdata / "core_kernel.o");
  const absl::StatusOr<ElfFile> kernel = ParseElf(kernel_object);
  if (!kernel.ok()) return 1;
  size_t texts = 0, objects = 0, cores = 0, choice = 0;
  for (const fs::path& path : paths) {
    const std::string extension = path.extension();
    if (extension != ".bpfasm" && extension != ".o") continue;
    const std::string bytes = Read(path);
    const std::string name = std::to_string(extension == ".o" ? objects : texts);
    const absl::StatusOr<ObjectFile> file = ObjectFile::Parse(bytes, path.string(), load);
    if (!file.ok()) continue;
    if (extension == ".o") {
      ++objects;
      // A few of its programs at a time, verified in every way once it has more of them.
      fs::path target = path;
      target.replace_filename(path.stem().string() + "_target.o");
      const std::string other = fs::exists(target) ? Read(target) : "";
      for (int first = 0; first == 0 || first < file->program_count(); first += 4) {
        for (const unsigned how : {6u, unsigned{kChoices[choice++ % std::size(kChoices)]}}) {
          const auto choices = static_cast<uint16_t>(how | static_cast<unsigned>(first / 4) << 10);
          Write(out / "object", name + "-" + std::to_string(first) + "-" + std::to_string(how), ObjectInput(bytes, choices, other));
        }
      }
      const absl::StatusOr<ElfFile> elf = ParseElf(bytes);
      const absl::StatusOr<BtfPtr> btf = ParseBtf(elf.ok() ? Section(*elf, ".BTF") : std::string_view());
      if (!btf.ok() || Bytes(btf->get()).size() > 0xffff) continue;
      ++cores;
      WriteCore(out / "core", name, *elf, btf->get(), Section(*kernel, ".BTF"));
      // Every kind on some types, against the same ones.
      std::vector<CoreSeed> records;
      for (uint32_t kind = 0; kind < 13; ++kind) records.push_back({kind, 1 + kind * 3, "0:1"});
      Write(out / "core", name, CoreInput(records, Bytes(btf->get()), Bytes(btf->get())));
      // Whether each type is there, and whether it matches, in the small ones.
      if (Bytes(btf->get()).size() < 4096) {
        records.clear();
        for (uint32_t type = 1; type < btf__type_cnt(btf->get()); ++type) {
          for (const uint32_t kind : {8u, 12u}) records.push_back({kind, type, "0"});
        }
        for (size_t first = 0; first < records.size(); first += 16) {
          const std::vector<CoreSeed> some(records.begin() + static_cast<ptrdiff_t>(first),
                                           records.begin() + static_cast<ptrdiff_t>(std::min(first + 16, records.size())));
          Write(out / "core", name + "-types-" + std::to_string(first), CoreInput(some, Bytes(btf->get()), Bytes(btf->get())));
        }
      }
      Write(out / "kconfig", name,
            Number(Bytes(btf->get()).size(), 2) + std::string(Bytes(btf->get())) +
                "6.18.44-generic\nCONFIG_Y=y\nCONFIG_M=m\nCONFIG_HZ=250\nCONFIG_BASE=0xffffffff80000000\nCONFIG_NEGATIVE=-1\n"
                "CONFIG_TEXT=\"a text\"\n# CONFIG_OFF is not set\n");
      continue;
    }
    ++texts;
    int part = 0;
    for (const std::string& piece : Pieces(bytes, 4000, 4)) {
      const unsigned how = kChoices[choice++ % std::size(kChoices)];
      const char characters[] = {'#', '!', static_cast<char>('@' + how % 32), static_cast<char>('@' + how / 32), '\n'};
      Write(out / "text", name + "-" + std::to_string(part), piece);
      Write(out / "text", name + "-" + std::to_string(part++) + "-chosen", std::string(characters, sizeof characters) + piece);
    }
    part = 0;
    for (const std::string& piece : Pieces(bytes, 2000, 16)) {
      Write(out / "expectations", name + "-" + std::to_string(part++), std::string(1, '\0') + piece);
    }
    for (int p = 0; p < file->program_count(); ++p) {
      const std::vector<Insn>& insns = file->object().programs[static_cast<size_t>(p)].insns;
      const auto type = std::find(std::begin(kRawTypes), std::end(kRawTypes), file->program_type(p));
      if (type == std::end(kRawTypes)) continue;
      const uint64_t how = choice++ % (256 / std::size(kRawTypes));
      std::string raw = Number(static_cast<uint64_t>(type - std::begin(kRawTypes)) + how * std::size(kRawTypes), 1);
      raw.append(reinterpret_cast<const char*>(insns.data()), insns.size() * sizeof(Insn));
      if (raw.size() <= 2049) Write(out / "raw", name + "-" + std::to_string(p), raw);
    }
  }
  Write(out / "expectations", "expected", "\1" + Read(corpus / "objects/expected.csv").substr(0, 1500));
  Write(out / "expectations", "differs", "\2" + Read(corpus / "kernel_differs.csv"));
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::vector<uint8_t> bytes = SeedBytes(seed, 600);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (const char* target : {"program", "parallel", "operators"}) Write(out / target, std::to_string(seed), text);
  }
  // Generated programs as text: they use types, prototypes of functions and fields that the corpus' texts do not.
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::string generated = AsmFileText(*Generate(SeedBytes(seed, 1000), SettingsFor(seed, -1)), "generated");
    if (generated.size() < 4000) Write(out / "text", "generated-" + std::to_string(seed), generated);
  }
  using namespace std::string_literals;
  const std::string readers[] = {
      "\0file,prog,type\na.o,\"x, \"\"y\"\"\",xdp\n"s,
      "\1file_name,section,prog_name,prog_type\na.o,s,p,xdp?\n"s,
      "\1a.o,s,p,kprobe\n"s,
      "\2# a list\n a.o\n\nb.o\n"s,
      "\3R1 type=scalar expected=fp\nverification time 21 usec\nstack depth 32+16\nprocessed 4 insns (limit 1000000) "
      "max_states_per_insn 3 total_states 5 peak_states 2 mark_read 1\n"s,
      "\3infinite loop detected at insn 1\ncur state: R0=0\nold state: R0=0\n"s,
      "\4a*.o/prog?"s,
      "\4!x/*"s,
      "\4insns>=10"s,
      "\4verdict=accept,states<5"s,
  };
  for (size_t i = 0; i < std::size(readers); ++i) Write(out / "readers", std::to_string(i), readers[i]);
  const std::string options[] = {
      "\0a.o\n-e\nfile,prog,verdict\n-s\ninsns>,prog\n-f\nprog*\n-f\n!insns<10\n-o\ncsv\n-n\n5\n-j\n2"s,
      "\0--explain\n--stats\n-l\n2\n--type\nxdp\n--kernel-btf\nnone\n--max-insns\n5000\n--memory-limit\n512M\n--time-limit=100\na.o\nb.o"s,
      "\0-t\n--strict-alignment\n--no-progress\n--threads-from=0\n--max-pending=16\n--\n-a.o"s,
      "\1-j4\n--output-format=json\n--types\nlist.csv\n@list"s,
      "\1--help"s,
  };
  for (size_t i = 0; i < std::size(options); ++i) Write(out / "options", std::to_string(i), options[i]);
  return texts > 0 && objects > 0 && cores > 0 ? 0 : 1;
}
