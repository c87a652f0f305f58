#include "batch/filter.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "batch/read_file.h"

namespace bpfsieve {
namespace {

std::string_view Basename(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool FileMatches(std::string_view path, std::string_view glob) {
  return GlobMatches(Basename(path), glob) || GlobMatches(path, glob);
}

}  // namespace

bool GlobMatches(std::string_view text, std::string_view glob) {
  // The usual walk with one point to return to: on a mismatch the last * takes one more character.
  size_t t = 0, g = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && glob[g] == text[t]) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

absl::Status Filters::Add(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("an empty filter");
  if (text[0] != '@') {
    return text[0] == '!' ? AddOne(text.substr(1), &deny_) : AddOne(text, &allow_);
  }
  absl::StatusOr<std::string> content = ReadFile(std::string(text.substr(1)));
  if (!content.ok()) return content.status();
  for (const std::string& entry : ListEntries(*content)) {
    const std::string_view filter(entry);
    absl::Status s = filter[0] == '!' ? AddOne(filter.substr(1), &deny_) : AddOne(filter, &allow_);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Filters::AddOne(std::string_view text, List* list) {
  // An operator that begins another stands after it.
  static constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::kEq}, {"!=", Op::kNe}, {"<>", Op::kNe},
                                                             {"<=", Op::kLe}, {"<", Op::kLt},  {">=", Op::kGe},
                                                             {">", Op::kGt},  {"=", Op::kEq}};
  for (const auto& [symbol, op] : kOps) {
    const size_t at = text.find(symbol);
    if (at == std::string_view::npos) continue;
    Stat stat;
    stat.op = op;
    stat.field = FindField(text.substr(0, at));
    stat.text = text.substr(at + symbol.size());
    if (stat.field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("filter '", std::string(text), "': no such field"));
    }
    if (stat.field->text != nullptr) {
      if (op != Op::kEq && op != Op::kNe) {
        return absl::InvalidArgumentError(absl::StrCat("filter '", std::string(text), "': a text has no order"));
      }
      if (stat.field->name == "verdict" && (stat.text == "success" || stat.text == "failure")) {
        if (stat.text == "failure") stat.op = op == Op::kEq ? Op::kNe : Op::kEq;
        stat.text = "accept";
      }
    } else {
      const char* end = stat.text.data() + stat.text.size();
      const auto [stopped, error] = std::from_chars(stat.text.data(), end, stat.number);
      if (error != std::errc() || stopped != end) {
        return absl::InvalidArgumentError(absl::StrCat("filter '", std::string(text), "': not a number"));
      }
    }
    list->stats.push_back(std::move(stat));
    return absl::OkStatus();
  }

  Name name;
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    name.any = text;
  } else {
    name.file = text.substr(0, slash);
    name.prog = text.substr(slash + 1);
  }
  if (name.any.empty() && name.file.empty() && name.prog.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("filter '", std::string(text), "': names nothing"));
  }
  list->names.push_back(std::move(name));
  return absl::OkStatus();
}

bool Filters::Matches(const Name& name, std::string_view path, std::string_view prog) {
  if (!name.any.empty()) return FileMatches(path, name.any) || GlobMatches(prog, name.any);
  return (name.file.empty() || FileMatches(path, name.file)) && (name.prog.empty() || GlobMatches(prog, name.prog));
}

bool Filters::Matches(const Stat& stat, const Row& row) {
  if (stat.field->text != nullptr) {
    return GlobMatches(row.*stat.field->text, stat.text) == (stat.op == Op::kEq);
  }
  const int64_t value = row.*stat.field->number;
  switch (stat.op) {
    case Op::kEq: return value == stat.number;
    case Op::kNe: return value != stat.number;
    case Op::kLt: return value < stat.number;
    case Op::kLe: return value <= stat.number;
    case Op::kGt: return value > stat.number;
    case Op::kGe: return value >= stat.number;
  }
  return false;
}

bool Filters::MayPassFile(std::string_view path) const {
  for (const Name& name : deny_.names) {
    if (name.prog.empty() && FileMatches(path, name.any.empty() ? name.file : name.any)) return false;
  }
  if (allow_.names.empty()) return true;
  for (const Name& name : allow_.names) {
    if (name.file.empty() || FileMatches(path, name.file)) return true;
  }
  return false;
}

bool Filters::PassesProgram(std::string_view path, std::string_view prog) const {
  for (const Name& name : deny_.names) {
    if (Matches(name, path, prog)) return false;
  }
  if (allow_.names.empty()) return true;
  for (const Name& name : allow_.names) {
    if (Matches(name, path, prog)) return true;
  }
  return false;
}

bool Filters::PassesRow(const Row& row) const {
  for (const Stat& stat : deny_.stats) {
    if (Matches(stat, row)) return false;
  }
  for (const Stat& stat : allow_.stats) {
    if (!Matches(stat, row)) return false;
  }
  return true;
}

}  // namespace bpfsieve
