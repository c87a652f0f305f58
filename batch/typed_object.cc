#include "batch/typed_object.h"

#include <map>
#include <utility>

#include "engine/program/program.h"

namespace bpfsieve {

absl::StatusOr<TypedObject> LoadTyped(const std::string& bytes, const std::string& path, const LoadOptions& options,
                                      const TypeList& types) {
  absl::StatusOr<ObjectFile> base = ObjectFile::Parse(bytes, path, options);
  if (!base.ok()) return base.status();
  TypedObject out;
  out.readings.push_back(*std::move(base));
  std::map<std::string, size_t> readings = {{options.default_type, 0}};
  for (int i = 0; i < out.readings[0].program_count(); ++i) {
    TypedObject::Prog prog{.reading = 0, .index = i};
    std::string type;
    if (!types.empty() && !out.readings[0].object().programs[i].type_known) {
      type = types.Find(path, out.readings[0].section(i), out.readings[0].program_name(i));
    }
    if (!type.empty()) {
      const auto [it, added] = readings.try_emplace(type, out.readings.size());
      if (added) {
        LoadOptions typed = options;
        typed.default_type = type;
        absl::StatusOr<ObjectFile> reading = ObjectFile::Parse(bytes, path, typed);
        if (!reading.ok()) return reading.status();
        out.readings.push_back(*std::move(reading));
      }
      prog.reading = it->second;
    }
    out.progs.push_back(prog);
  }
  return out;
}

}  // namespace bpfsieve
