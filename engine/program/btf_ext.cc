#include "engine/program/btf_ext.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/isa/insn.h"
#include "engine/program/btf_view.h"

namespace bpfsieve {
namespace {

constexpr uint16_t kMagic = 0xeb9f;

absl::Status Damaged(absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(".BTF.ext: ", what)); }

// Calls record(section index, bytes of the record) for each record of one of the three tables, whose records are at
// least `min_size` bytes.
template <typename Record>
absl::Status ForEachRecord(std::string_view table, size_t min_size, const struct btf* btf,
                           const absl::flat_hash_map<std::string_view, int>& section_index, Record record) {
  if (table.empty()) return absl::OkStatus();
  if (table.size() < 4) return Damaged("table without a record size");
  const uint32_t record_size = ReadAt<uint32_t>(table, 0);
  if (record_size < min_size || record_size % 4 != 0) return Damaged("record size");
  size_t at = 4;
  while (at < table.size()) {
    if (table.size() - at < 8) return Damaged("truncated section header");
    std::string_view name = BtfName(btf, ReadAt<uint32_t>(table, at));
    const uint32_t count = ReadAt<uint32_t>(table, at + 4);
    at += 8;
    if (count == 0) return Damaged("section without records");
    if (count > (table.size() - at) / record_size) return Damaged("records reach outside of the section");
    auto it = section_index.find(name);
    const int section = name.empty() || it == section_index.end() ? -1 : it->second;
    for (uint32_t i = 0; i < count; ++i, at += record_size) {
      if (section < 0) continue;
      if (ReadAt<uint32_t>(table, at) % sizeof(Insn) != 0) return Damaged("offset within an instruction");
      record(section, at);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BtfExt> ParseBtfExt(std::string_view bytes, const struct btf* btf, const ElfFile& elf) {
  if (bytes.size() < 24) return Damaged("shorter than its header");
  if (ReadAt<uint16_t>(bytes, 0) != kMagic) return Damaged("wrong magic number");
  if (bytes[2] != 1) return Damaged("unknown version");
  const uint32_t header_size = ReadAt<uint32_t>(bytes, 4);
  if (header_size < 24 || header_size > bytes.size()) return Damaged("header size");
  std::string_view body = bytes.substr(header_size);
  auto table = [&](size_t field) -> absl::StatusOr<std::string_view> {
    if (field + 8 > header_size) return std::string_view();
    const uint32_t offset = ReadAt<uint32_t>(bytes, field), size = ReadAt<uint32_t>(bytes, field + 4);
    if (size == 0) return std::string_view();
    if (offset % 4 != 0 || offset > body.size() || size > body.size() - offset) {
      return Damaged("table outside of the section");
    }
    return body.substr(offset, size);
  };
  absl::StatusOr<std::string_view> funcs = table(8), lines = table(16), relos = table(24);
  if (!funcs.ok()) return funcs.status();
  if (!lines.ok()) return lines.status();
  if (!relos.ok()) return relos.status();

  absl::flat_hash_map<std::string_view, int> section_index;
  for (size_t i = 1; i < elf.sections.size(); ++i) {
    section_index.try_emplace(elf.sections[i].name, static_cast<int>(i));
  }
  BtfExt ext;
  auto insn_at = [](std::string_view t, size_t at) {
    return static_cast<uint32_t>(ReadAt<uint32_t>(t, at) / sizeof(Insn));
  };
  absl::Status status = ForEachRecord(*funcs, 8, btf, section_index, [&](int section, size_t at) {
    ext.sections[section].funcs.push_back({insn_at(*funcs, at), ReadAt<uint32_t>(*funcs, at + 4)});
  });
  if (!status.ok()) return status;
  status = ForEachRecord(*lines, 16, btf, section_index, [&](int section, size_t at) {
    const uint32_t line_column = ReadAt<uint32_t>(*lines, at + 12);
    ext.sections[section].lines.push_back({.insn = insn_at(*lines, at),
                                           .file_off = ReadAt<uint32_t>(*lines, at + 4),
                                           .text_off = ReadAt<uint32_t>(*lines, at + 8),
                                           .line = line_column >> 10,
                                           .column = line_column & 0x3ff});
  });
  if (!status.ok()) return status;
  status = ForEachRecord(*relos, 16, btf, section_index, [&](int section, size_t at) {
    ext.relos.push_back({.section = section,
                         .insn = insn_at(*relos, at),
                         .type_id = ReadAt<uint32_t>(*relos, at + 4),
                         .access_off = ReadAt<uint32_t>(*relos, at + 8),
                         .kind = ReadAt<uint32_t>(*relos, at + 12)});
  });
  if (!status.ok()) return status;
  for (auto& [index, section] : ext.sections) {
    std::sort(section.funcs.begin(), section.funcs.end());
    std::sort(section.lines.begin(), section.lines.end());
  }
  return ext;
}

}  // namespace bpfsieve
