#include "corpus/expectations.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace bpfsieve {
namespace {

namespace fs = std::filesystem;

std::string NameOf(const fs::path& file, const fs::path& folder) {
  return file.lexically_relative(folder).replace_extension().string();
}

absl::StatusOr<CorpusFile> ReadProgram(const fs::path& file, const fs::path& folder) {
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  absl::StatusOr<std::vector<AsmExpectation>> expectations = ParseAsmExpectations(text);
  if (!expectations.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": ", expectations.status().message()));
  }
  return CorpusFile{file.string(), NameOf(file, folder), *std::move(expectations)};
}

absl::StatusOr<AsmExpectation> ParseRow(const std::vector<std::string>& fields) {
  AsmExpectation e;
  e.program = fields[1];
  e.message = fields[4];
  for (Verdict v : {Verdict::kAccept, Verdict::kReject, Verdict::kLimit, Verdict::kUnsupported, Verdict::kInvalid}) {
    if (fields[2] != VerdictName(v)) continue;
    e.verdict = v;
    e.rule = RuleFromCode(fields[3]);
    if (!fields[3].empty() && !e.rule) return absl::InvalidArgumentError(absl::StrCat("no rule ", fields[3]));
    return e;
  }
  return absl::InvalidArgumentError(absl::StrCat("no verdict ", fields[2]));
}

absl::Status ReadTable(const fs::path& table, const fs::path& folder, std::vector<CorpusFile>* files) {
  std::ifstream in(table);
  std::string line;
  std::map<std::string, CorpusFile> by_object;
  for (int number = 1; std::getline(in, line); ++number) {
    if (number == 1 || line.empty()) continue;
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(',', 4));
    absl::StatusOr<AsmExpectation> e =
        fields.size() == 5 ? ParseRow(fields) : absl::InvalidArgumentError("five fields are wanted");
    if (!e.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(table.string(), ":", number, ": ", e.status().message()));
    }
    const fs::path object = table.parent_path() / fields[0];
    CorpusFile& file = by_object[fields[0]];
    file.path = object.string();
    file.name = NameOf(object, folder);
    file.expectations.push_back(*std::move(e));
  }
  for (auto& [name, file] : by_object) files->push_back(std::move(file));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<CorpusFile>> ReadCorpus(const std::string& folder) {
  std::vector<fs::path> programs;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(fs::path(folder) / "programs", error)) {
    if (entry.path().extension() == ".bpfasm") programs.push_back(entry.path());
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, "/programs: ", error.message()));
  std::sort(programs.begin(), programs.end());

  std::vector<CorpusFile> files;
  for (const fs::path& program : programs) {
    absl::StatusOr<CorpusFile> file = ReadProgram(program, folder);
    if (!file.ok()) return file.status();
    files.push_back(*std::move(file));
  }
  absl::Status status = ReadTable(fs::path(folder) / "objects" / "expected.csv", folder, &files);
  if (!status.ok()) return status;
  return files;
}

ProgramTable ReadProgramTable(const std::string& folder, const std::string& table) {
  ProgramTable rows;
  std::ifstream in(absl::StrCat(folder, "/", table));
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(',', 2));
    if (fields.size() == 3) rows[{fields[0], fields[1]}] = fields[2];
  }
  return rows;
}

std::string CorpusKernelTypes() { return BPFSIEVE_CORPUS_DIR "/kernel/types.o"; }

}  // namespace bpfsieve
