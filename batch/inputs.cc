#include "batch/inputs.h"

#include <elf.h>
#include <glob.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "batch/read_file.h"

namespace bpfsieve {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxListDepth = 8;  // lists that name lists

class Expander {
 public:
  Inputs Take() { return std::move(inputs_); }

  void Add(const std::string& path, int depth) {
    if (path.empty()) return;
    std::error_code error;
    if (path[0] == '@' && !fs::exists(path, error)) return AddList(path.substr(1), depth);
    const fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status)) return AddFolder(path);
    if (status.type() == fs::file_type::not_found && path.find_first_of("*?[") != std::string::npos) {
      return AddGlob(path);
    }
    // A missing file is told by whoever reads it.
    AddFile(path, /*found=*/false);
  }

 private:
  void AddFile(const std::string& path, bool found) {
    if (seen_.insert(path).second) inputs_.files.push_back({path, found});
  }

  void AddList(const std::string& path, int depth) {
    if (depth >= kMaxListDepth) {
      inputs_.errors.push_back(absl::StrCat(path, ": lists within lists, too deep"));
      return;
    }
    absl::StatusOr<std::string> content = ReadFile(path);
    if (!content.ok()) {
      inputs_.errors.push_back(std::string(content.status().message()));
      return;
    }
    for (const std::string& entry : ListEntries(*content)) Add(entry, depth + 1);
  }

  void AddFolder(const std::string& path) {
    std::vector<std::string> found;
    std::error_code error;
    fs::recursive_directory_iterator it(path, error), end;
    while (!error && it != end) {
      std::error_code ignored;
      const std::string extension = it->path().extension().string();
      const bool wanted = extension == ".o" || extension == ".bpfasm" || extension == ".bin";
      if (wanted && it->is_regular_file(ignored)) found.push_back(it->path().string());
      it.increment(error);
    }
    if (error) inputs_.errors.push_back(absl::StrCat(path, ": ", error.message()));
    std::sort(found.begin(), found.end());
    for (const std::string& file : found) AddFile(file, /*found=*/true);
  }

  void AddGlob(const std::string& pattern) {
    glob_t matches;
    memset(&matches, 0, sizeof(matches));
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
      for (size_t i = 0; i < matches.gl_pathc; ++i) {
        const std::string path = matches.gl_pathv[i];
        if (fs::is_directory(path)) {
          AddFolder(path);
        } else {
          AddFile(path, /*found=*/false);
        }
      }
    } else {
      inputs_.errors.push_back(absl::StrCat(pattern, ": no file matches"));
    }
    globfree(&matches);
  }

  Inputs inputs_;
  absl::flat_hash_set<std::string> seen_;
};

}  // namespace

Inputs ExpandInputs(const std::vector<std::string>& paths) {
  Expander expander;
  for (const std::string& path : paths) expander.Add(path, 0);
  return expander.Take();
}

bool IsForeignElf(const std::string& bytes) {
  if (bytes.size() < sizeof(Elf64_Ehdr) || memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) return false;
  Elf64_Ehdr header;
  memcpy(&header, bytes.data(), sizeof(header));
  // Early compilers left the machine open.
  return header.e_machine != EM_BPF && header.e_machine != EM_NONE;
}

}  // namespace bpfsieve
