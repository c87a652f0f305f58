// bpfsieve disasm, list: what is in an object.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "batch/commands.h"
#include "batch/filter.h"
#include "batch/options.h"
#include "batch/read_file.h"
#include "engine/program/program.h"
#include "engine/program/type_names.h"
#include "engine/report/report.h"

namespace bpfsieve {
namespace {

// Prints the reason and sets the exit code where the object cannot be read.
std::unique_ptr<ObjectFile> Open(const InspectCommand& options, int* exit_code) {
  absl::StatusOr<std::string> bytes = ReadFile(options.path);
  if (!bytes.ok()) {
    absl::FPrintF(stderr, "bpfsieve: %s\n", std::string(bytes.status().message()));
    *exit_code = kExitUsage;
    return nullptr;
  }
  absl::StatusOr<ObjectFile> file =
      ObjectFile::Parse(*bytes, options.path, {.kernel_btf = options.kernel_btf, .default_type = options.type});
  if (!file.ok()) {
    absl::FPrintF(stderr, "bpfsieve: %s: %s\n", options.path, std::string(file.status().message()));
    *exit_code = kExitSomeNot;
    return nullptr;
  }
  return std::make_unique<ObjectFile>(*std::move(file));
}

void PrintProgram(const Object& object, const Program& program) {
  absl::PrintF("%s: section %s, type %s, %d instructions\n", program.name, program.section,
               std::string(ProgTypeName(program.type)), program.insns.size());
  if (!program.broken.empty()) absl::PrintF("; incomplete: %s\n", program.broken);
  size_t line = 0, sub = 0;
  for (size_t i = 0; i < program.insns.size(); ++i) {
    for (; sub < program.subprogs.size() && program.subprogs[sub].start <= i; ++sub) {
      absl::PrintF("%s%s:\n", sub == 0 ? "" : "\n", program.subprogs[sub].name);
    }
    for (; line < program.lines.size() && program.lines[line].insn <= i; ++line) {
      const LineInfo& info = program.lines[line];
      absl::PrintF("; %s @ %s:%d\n", info.text, info.file, info.line);
    }
    const std::string text = InsnText(object, program, static_cast<uint32_t>(i));
    if (!text.empty()) absl::PrintF("%5d: %s\n", i, text);
  }
  absl::PrintF("\n");
}

}  // namespace

int RunDisasm(const InspectCommand& options) {
  int exit_code = kExitAllAccepted;
  const std::unique_ptr<ObjectFile> file = Open(options, &exit_code);
  if (file == nullptr) return exit_code;
  for (const Program& program : file->object().programs) {
    if (GlobMatches(program.name, options.prog)) PrintProgram(file->object(), program);
  }
  return exit_code;
}

int RunList(const InspectCommand& options) {
  int exit_code = kExitAllAccepted;
  const std::unique_ptr<ObjectFile> file = Open(options, &exit_code);
  if (file == nullptr) return exit_code;
  const Object& object = file->object();
  std::vector<Row> rows;
  for (int i = 0; i < file->program_count(); ++i) {
    if (!GlobMatches(file->program_name(i), options.prog)) continue;
    Row row;
    row.prog_name = std::string(file->program_name(i));
    row.section = std::string(file->section(i));
    row.prog_type = std::string(file->program_type(i));
    row.attach_type = std::string(file->attach_type(i));
    row.prog_size = static_cast<int64_t>(object.programs[i].insns.size());
    row.message = object.programs[i].broken;
    rows.push_back(std::move(row));
  }
  const std::vector<const Field*> fields =
      *ParseFields("prog_name,section,prog_type,attach_type,prog_size,message");
  absl::PrintF("%s", Table(rows, fields, false));
  if (!object.maps.empty()) absl::PrintF("\n%-32s %-24s %10s %10s %10s\n", "Map", "Type", "Key", "Value", "Entries");
  for (const MapDef& map : object.maps) {
    absl::PrintF("%-32s %-24s %10d %10d %10d\n", map.name, std::string(MapTypeName(map.type)), map.key_size,
                 map.value_size, map.max_entries);
  }
  return exit_code;
}

}  // namespace bpfsieve
