#include "engine/program/load.h"

#include <cstring>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/program/btf_fields.h"
#include "engine/program/raw_references.h"
#include "engine/program/section_names.h"
#include "engine/program/type_names.h"

namespace bpfsieve {
namespace {

// A file of instructions and nothing else: one program.
absl::StatusOr<std::shared_ptr<Object>> LoadRawObject(std::string_view bytes, const std::string& name,
                                                      const LoadOptions& options) {
  if (bytes.empty() || bytes.size() % sizeof(Insn) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw instructions: ", bytes.size(), " bytes, no multiple of ", sizeof(Insn)));
  }
  auto object = std::make_shared<Object>();
  object->path = name;
  Program program;
  std::string_view base = name;
  if (size_t slash = base.rfind('/'); slash != std::string_view::npos) base.remove_prefix(slash + 1);
  program.name = std::string(base.substr(0, base.rfind('.')));
  program.type_known = false;
  if (!options.default_type.empty()) {
    std::optional<ProgType> type = ProgTypeFromName(options.default_type);
    if (!type.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("no such program type: ", options.default_type));
    }
    program.type = *type;
    program.attach = DefaultAttachType(*type);
    program.type_known = true;
  }
  program.insns.resize(bytes.size() / sizeof(Insn));
  std::memcpy(program.insns.data(), bytes.data(), bytes.size());
  program.broken = DisownRawReferences(program.insns, {});
  program.broken_unsupported = !program.broken.empty();
  program.subprogs.push_back({.name = program.name});
  object->programs.push_back(std::move(program));
  return object;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Object>> LoadObject(std::string_view bytes, const std::string& name,
                                                         const LoadOptions& options) {
  absl::StatusOr<std::shared_ptr<Object>> object = absl::InvalidArgumentError("");
  if (bytes.starts_with("\177ELF")) {
    object = LoadElfObject(bytes, name, options);
  } else if (absl::EndsWith(name, ".bpfasm")) {
    object = LoadAsmObject(bytes, name, options);
  } else if (absl::EndsWith(name, ".bin")) {
    object = LoadRawObject(bytes, name, options);
  } else {
    return absl::InvalidArgumentError("not an ELF file, and its name tells neither assembly nor raw instructions");
  }
  if (!object.ok()) return object.status();
  (*object)->kernel_btf = options.kernel_btf;
  ResolveFields(object->get());
  return std::shared_ptr<const Object>(*std::move(object));
}

}  // namespace bpfsieve
