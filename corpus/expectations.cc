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

std::string Text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

absl::StatusOr<CorpusFile> ReadProgram(const fs::path& file, const fs::path& folder) {
  absl::StatusOr<std::vector<AsmExpectation>> expectations = ParseAsmExpectations(Text(file));
  if (!expectations.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": ", expectations.status().message()));
  }
  return CorpusFile{file.string(), NameOf(file, folder), *std::move(expectations), {}};
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
  auto by_object = ParseExpectedTable(Text(table));
  if (!by_object.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(table.string(), ": ", by_object.status().message()));
  }
  for (auto& [name, expectations] : *by_object) {
    const fs::path object = table.parent_path() / name;
    files->push_back({object.string(), NameOf(object, folder), std::move(expectations), {}});
    const std::string target = NameOf(object, table.parent_path()) + "_target.o";
    if (by_object->contains(target)) files->back().target = (table.parent_path() / target).string();
  }
  return absl::OkStatus();
}

// The lines of a table below its header row, cut into so many fields; what is beyond the last comma belongs to the last.
std::vector<std::pair<int, std::vector<std::string>>> Rows(std::string_view text, int fields) {
  std::vector<std::pair<int, std::vector<std::string>>> rows;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    if (++number > 1 && !line.empty()) rows.emplace_back(number, absl::StrSplit(line, absl::MaxSplits(',', fields - 1)));
  }
  return rows;
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

absl::StatusOr<CorpusObject> OpenCorpusFile(const CorpusFile& file, const std::string& kernel_types) {
  absl::StatusOr<ObjectFile> object = ObjectFile::Open(file.path, {.kernel_btf = kernel_types});
  if (!object.ok()) return object.status();
  CorpusObject read{*std::move(object), std::nullopt};
  if (file.target.empty()) return read;
  absl::StatusOr<ObjectFile> target = ObjectFile::Open(file.target, {.kernel_btf = kernel_types});
  if (!target.ok()) return target.status();
  read.target = *std::move(target);
  return read;
}

absl::StatusOr<std::map<std::string, std::vector<AsmExpectation>>> ParseExpectedTable(std::string_view text) {
  std::map<std::string, std::vector<AsmExpectation>> by_object;
  for (const auto& [number, fields] : Rows(text, 5)) {
    absl::StatusOr<AsmExpectation> e =
        fields.size() == 5 ? ParseRow(fields) : absl::InvalidArgumentError("five fields are wanted");
    if (!e.ok()) return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", e.status().message()));
    by_object[fields[0]].push_back(*std::move(e));
  }
  return by_object;
}

ProgramTable ParseProgramTable(std::string_view text) {
  ProgramTable rows;
  for (const auto& [number, fields] : Rows(text, 3)) {
    if (fields.size() == 3) rows[{fields[0], fields[1]}] = fields[2];
  }
  return rows;
}

Lacking WithoutFrom(std::string_view without) {
  return without == "perfmon" ? Lacking::kPerfmon : without == "bpf" ? Lacking::kBpf : Lacking::kNothing;
}

std::string CorpusKernelTypes(const std::string& folder) { return (fs::path(folder) / "kernel/types.o").string(); }

ProgramTable ReadProgramTable(const std::string& folder, const std::string& table) {
  return ParseProgramTable(Text(fs::path(folder) / table));
}

}  // namespace bpfsieve
