#include "engine/program/asm_object.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "engine/isa/assembler.h"
#include "engine/program/asm_btf.h"
#include "engine/program/load.h"
#include "engine/program/section_names.h"
#include "engine/program/type_names.h"

// Two steps: ReadFile takes the directives out and leaves each program's instructions as text, with one line of it for
// every line of the file; LoadAsmObject assembles those.
namespace bpfsieve {
namespace {

struct Settings {
  std::optional<ProgType> type;
  std::optional<AttachType> attach;
  std::string attach_target;
  bool strict_alignment = false;
  bool any_alignment = false;
  bool sleepable = false;
  bool test_state_freq = false;
  bool frags = false;
  // By what the loader lacks. Inherited from in front of the first program are those that are not in `own_expectations`.
  std::map<std::string, AsmExpectation> expectations;
  std::set<std::string> own_expectations;
};

struct Line {
  std::string_view text;
  bool is_function = false;  // `text` is the name of a function that starts here
};

struct AsmFunction {
  bool global = false;
  std::string prototype;
};

struct AsmProgram {
  std::string name;
  Settings settings;
  std::vector<Line> lines;  // the first is line `first_line` of the file; directives are left empty
  uint32_t first_line = 1;
  std::map<std::string, AsmFunction, std::less<>> functions;  // by the label's name
};

using NameIndex = std::map<std::string, int32_t, std::less<>>;

struct AsmFile {
  std::string license;
  std::vector<MapDef> maps;
  NameIndex map_index;
  std::vector<std::pair<size_t, std::string>> inner_maps;  // map, name of its inner definition
  std::set<std::string, std::less<>> weak;  // externs
  std::vector<TextStruct> structs;
  std::vector<AsmProgram> programs;
};

// A word of a directive, without its quotes.
struct Word {
  std::string text;
  bool quoted = false;
};

// Bytes of an expected message, and the number of alternatives: both are copied into every program that inherits them.
constexpr size_t kMaxMessage = 1000;
constexpr size_t kMaxAlternatives = 4;
constexpr uint32_t kMaxStruct = 4096;  // bytes

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

std::string_view Trim(std::string_view s) {
  while (!s.empty() && IsBlank(s.front())) s.remove_prefix(1);
  while (!s.empty() && IsBlank(s.back())) s.remove_suffix(1);
  return s;
}

bool IsName(std::string_view name) {
  auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '$';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), good) && !(name[0] >= '0' && name[0] <= '9');
}

std::optional<SpecialField> FieldFromName(std::string_view name, uint32_t* size) {
  struct Row {
    std::string_view name;
    SpecialField kind;
    uint32_t size;
  };
  constexpr Row kRows[] = {
      {"spin_lock", SpecialField::kSpinLock, 4},       {"res_spin_lock", SpecialField::kResSpinLock, 4},
      {"timer", SpecialField::kTimer, 16},             {"wq", SpecialField::kWorkqueue, 16},
      {"task_work", SpecialField::kTaskWork, 8},       {"kptr_untrusted", SpecialField::kKptrUntrusted, 8},
      {"kptr", SpecialField::kKptrTrusted, 8},         {"percpu_kptr", SpecialField::kKptrPercpu, 8},
      {"uptr", SpecialField::kUptr, 8},                {"list_head", SpecialField::kListHead, 16},
      {"list_node", SpecialField::kListNode, 24},      {"rb_root", SpecialField::kRbRoot, 16},
      {"rb_node", SpecialField::kRbNode, 32},          {"refcount", SpecialField::kRefcount, 4},
  };
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    *size = row.size;
    return row.kind;
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseUnsigned(std::string_view text, uint64_t max) {
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  }
  uint64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::optional<std::vector<uint8_t>> ParseHex(std::string_view text) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::vector<uint8_t> bytes;
  if (text.size() % 2 != 0) return std::nullopt;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return bytes;
}

class FileReader {
 public:
  absl::StatusOr<AsmFile> Read(std::string_view text);

 private:
  absl::Status Error(std::string_view message) const {
    return absl::InvalidArgumentError(absl::StrFormat("line %d: %s", line_, message));
  }
  absl::StatusOr<std::vector<Word>> SplitWords(std::string_view text) const;
  // `words` without the directive itself.
  absl::Status ReadDirective(std::string_view directive, const std::vector<Word>& words);
  absl::StatusOr<MapField> ReadField(std::string_view value) const;
  absl::Status SortFields(std::vector<MapField>* fields, uint32_t size) const;
  absl::Status ReadStruct(const std::vector<Word>& words);
  absl::Status ReadMap(const std::vector<Word>& words);
  absl::Status ReadMapAttribute(std::string_view key, std::string_view value, MapDef* map);
  absl::Status ReadFlags(const std::vector<Word>& words);
  absl::StatusOr<AsmExpectation> ReadVerdict(const std::vector<Word>& words, size_t* next);
  absl::Status ReadExpect(const std::vector<Word>& words);
  absl::Status ReadProgram(const std::vector<Word>& words);
  absl::Status ReadFunction(const std::vector<Word>& words);
  absl::Status Finish();

  Settings& Current() { return file_.programs.empty() ? defaults_ : file_.programs.back().settings; }

  AsmFile file_;
  Settings defaults_;
  std::set<std::string, std::less<>> program_names_;
  std::vector<Line> head_;  // lines in front of the first .prog
  std::map<std::string, AsmFunction, std::less<>> head_functions_;
  uint32_t first_instruction_line_ = 0;  // in front of the first .prog; 0: none
  uint32_t line_ = 0;
};

absl::StatusOr<std::vector<Word>> FileReader::SplitWords(std::string_view text) const {
  std::vector<Word> words;
  size_t i = 0;
  while (i < text.size()) {
    if (IsBlank(text[i])) {
      ++i;
      continue;
    }
    if (text[i] == ';' || text[i] == '#' || text.substr(i, 2) == "//") break;
    Word word;
    if (text[i] == '"') {
      word.quoted = true;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        word.text += text[i];
      }
      if (i == text.size()) return Error("a quoted text does not end");
      ++i;
    } else {
      while (i < text.size() && !IsBlank(text[i]) && text[i] != ';') word.text += text[i++];
    }
    words.push_back(std::move(word));
  }
  return words;
}

absl::StatusOr<MapField> FileReader::ReadField(std::string_view value) const {
  const size_t at = value.find('@');
  const size_t colon = value.find(':', std::min(at, value.size()));
  const std::string_view target = colon == std::string_view::npos ? "" : value.substr(colon + 1);
  MapField field{};
  auto kind = FieldFromName(value.substr(0, at), &field.size);
  auto offset = at == std::string_view::npos ? std::nullopt
                                             : ParseUnsigned(value.substr(at + 1, colon - at - 1), UINT32_MAX);
  if (!kind || !offset || (colon != std::string_view::npos && !IsName(target))) {
    return Error(absl::StrFormat("'%s' is not a field: KIND@OFFSET or KIND@OFFSET:STRUCT", value));
  }
  field.kind = *kind;
  field.offset = static_cast<uint32_t>(*offset);
  field.target = target;
  return field;
}

// By offset; apart from one another, and within `size` bytes.
absl::Status FileReader::SortFields(std::vector<MapField>* fields, uint32_t size) const {
  std::sort(fields->begin(), fields->end(), [](const MapField& a, const MapField& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const MapField& field : *fields) {
    if (field.offset < end) return Error("fields overlap");
    end = uint64_t{field.offset} + field.size;
  }
  return end > size ? Error("a field reaches past the end of what it is in") : absl::OkStatus();
}

absl::Status FileReader::ReadStruct(const std::vector<Word>& words) {
  if (words.empty() || !IsName(words[0].text)) return Error(".struct needs a name");
  TextStruct type{.name = words[0].text, .size = 0, .fields = {}};
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i].text;
    if (word.starts_with("size=")) {
      auto size = ParseUnsigned(word.substr(5), kMaxStruct);
      if (!size) return Error(absl::StrFormat("a structure has at most %d bytes", kMaxStruct));
      type.size = static_cast<uint32_t>(*size);
    } else if (word.starts_with("field=")) {
      absl::StatusOr<MapField> field = ReadField(word.substr(6));
      if (!field.ok()) return field.status();
      type.fields.push_back(*std::move(field));
    } else {
      return Error(absl::StrFormat("no attribute '%s' of a structure", word));
    }
  }
  if (type.size == 0) return Error("a structure needs size=");
  absl::Status status = SortFields(&type.fields, type.size);
  if (status.ok()) file_.structs.push_back(std::move(type));
  return status;
}

absl::Status FileReader::ReadMapAttribute(std::string_view key, std::string_view value, MapDef* map) {
  auto number = ParseUnsigned(value, key == "extra" ? UINT64_MAX : UINT32_MAX);
  if (key == "type") {
    auto type = MapTypeFromName(value);
    if (!type) return Error(absl::StrFormat("no map type '%s'", value));
    map->type = *type;
  } else if (key == "key" || key == "value" || key == "entries" || key == "flags" || key == "extra") {
    if (!number) return Error(absl::StrFormat("'%s' is not a number that fits %s", value, key));
    if (key == "extra") {
      map->extra = *number;
      return absl::OkStatus();
    }
    uint32_t& field = key == "key" ? map->key_size : key == "value" ? map->value_size
                      : key == "entries" ? map->max_entries : map->flags;
    field = static_cast<uint32_t>(*number);
  } else if (key == "inner") {
    if (!IsName(value)) return Error("inner= takes the name of a map");
    file_.inner_maps.emplace_back(file_.maps.size(), std::string(value));
  } else if (key == "field") {
    absl::StatusOr<MapField> field = ReadField(value);
    if (!field.ok()) return field.status();
    map->fields.push_back(*std::move(field));
  } else if (key == "data") {
    auto bytes = ParseHex(value);
    if (!bytes) return Error("data= takes bytes as pairs of hexadecimal digits");
    map->data = *std::move(bytes);
  } else {
    return Error(absl::StrFormat("no map attribute '%s'", key));
  }
  return absl::OkStatus();
}

absl::Status FileReader::ReadMap(const std::vector<Word>& words) {
  if (words.empty() || !IsName(words[0].text)) return Error(".map needs a name");
  MapDef map;
  map.name = words[0].text;
  for (size_t i = 1; i < words.size(); ++i) {
    std::string_view word = words[i].text;
    if (word == "frozen") {
      map.frozen = true;
    } else if (word == "template") {
      map.is_inner_template = true;
    } else {
      const size_t equals = word.find('=');
      if (equals == std::string_view::npos) return Error(absl::StrFormat("no map attribute '%s'", word));
      absl::Status status = ReadMapAttribute(word.substr(0, equals), word.substr(equals + 1), &map);
      if (!status.ok()) return status;
    }
  }
  if (map.type == MapType::kUnspec) return Error("a map needs type=");
  if (!map.data.empty() && map.data.size() != map.value_size) return Error("data= must give the value's every byte");
  absl::Status status = SortFields(&map.fields, map.value_size);
  if (!status.ok()) return status;
  if (!file_.map_index.emplace(map.name, static_cast<int32_t>(file_.maps.size())).second) {
    return Error(absl::StrFormat("map '%s' is defined twice", map.name));
  }
  file_.maps.push_back(std::move(map));
  return absl::OkStatus();
}

absl::Status FileReader::ReadFlags(const std::vector<Word>& words) {
  Settings& settings = Current();
  for (const Word& word : words) {
    if (word.text == "strict_alignment") {
      settings.strict_alignment = true;
    } else if (word.text == "any_alignment") {
      settings.any_alignment = true;
    } else if (word.text == "sleepable") {
      settings.sleepable = true;
    } else if (word.text == "test_state_freq") {
      settings.test_state_freq = true;
    } else if (word.text == "frags") {
      settings.frags = true;
    } else {
      return Error(absl::StrFormat("no flag '%s'", word.text));
    }
  }
  return absl::OkStatus();
}

// One verdict from words[*next] on, up to the end or a "|".
absl::StatusOr<AsmExpectation> FileReader::ReadVerdict(const std::vector<Word>& words, size_t* next) {
  AsmExpectation expectation;
  if (*next >= words.size()) return Error(".expect needs a verdict");
  const std::string& verdict = words[(*next)++].text;
  bool known = false;
  for (Verdict v : {Verdict::kAccept, Verdict::kReject, Verdict::kLimit, Verdict::kUnsupported, Verdict::kInvalid}) {
    if (verdict != VerdictName(v)) continue;
    expectation.verdict = v;
    known = true;
  }
  if (!known) return Error(absl::StrFormat("no verdict '%s'", verdict));
  if (expectation.verdict == Verdict::kReject || expectation.verdict == Verdict::kLimit) {
    if (*next >= words.size() || words[*next].quoted) return Error(absl::StrFormat(".expect %s needs a rule", verdict));
    const std::string& rule = words[(*next)++].text;
    expectation.rule = RuleFromCode(rule);
    if (!expectation.rule) return Error(absl::StrFormat("no rule '%s'", rule));
  }
  if (*next < words.size() && words[*next].quoted && expectation.verdict != Verdict::kAccept) {
    expectation.message = words[(*next)++].text;
    if (expectation.message.size() > kMaxMessage) return Error("the text in .expect is too long");
  }
  return expectation;
}

absl::Status FileReader::ReadExpect(const std::vector<Word>& words) {
  size_t next = 0;
  std::string without;
  if (words.size() >= 2 && words[0].text == "without") {
    without = words[1].text;
    if (without != "perfmon" && without != "bpf") return Error(".expect without takes perfmon or bpf");
    next = 2;
  }
  auto expectation = ReadVerdict(words, &next);
  if (!expectation.ok()) return expectation.status();
  expectation->without = without;
  while (next < words.size() && !words[next].quoted && words[next].text == "|") {
    ++next;
    auto other = ReadVerdict(words, &next);
    if (!other.ok()) return other.status();
    if (other->verdict != expectation->verdict) return Error("alternatives in .expect must be of the same verdict");
    if (expectation->alternatives.size() == kMaxAlternatives) return Error("too many alternatives in .expect");
    expectation->alternatives.push_back(*std::move(other));
  }
  if (next != words.size()) return Error(absl::StrFormat("unexpected '%s' in .expect", words[next].text));
  if (!Current().own_expectations.insert(without).second) return Error("a second .expect for the same program");
  Current().expectations[without] = *std::move(expectation);
  return absl::OkStatus();
}

absl::Status FileReader::ReadProgram(const std::vector<Word>& words) {
  if (words.size() != 1 || !IsName(words[0].text)) return Error(".prog needs a name");
  if (first_instruction_line_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("line %d: instructions in front of the first .prog", first_instruction_line_));
  }
  if (!program_names_.insert(words[0].text).second) {
    return Error(absl::StrFormat("program '%s' is defined twice", words[0].text));
  }
  AsmProgram program;
  program.name = words[0].text;
  program.settings = defaults_;
  program.settings.own_expectations.clear();
  program.first_line = line_;
  file_.programs.push_back(std::move(program));
  return absl::OkStatus();
}

absl::Status FileReader::ReadFunction(const std::vector<Word>& words) {
  AsmFunction function;
  function.global = words.size() >= 2 && words[1].text == "global";
  if (words.empty() || words[0].quoted || !IsName(words[0].text) || words.size() > 3 || (words.size() > 1 && !function.global)) {
    return Error(".func needs a name, and may say 'global' and what it takes");
  }
  if (words.size() == 3) function.prototype = words[2].text;
  if (words.size() == 3 && !ValidPrototype(function.prototype)) {
    return Error(absl::StrFormat("'%s' is no list of arguments", function.prototype));
  }
  auto& functions = file_.programs.empty() ? head_functions_ : file_.programs.back().functions;
  if (!functions.emplace(words[0].text, std::move(function)).second) {
    return Error(absl::StrFormat("function '%s' is defined twice", words[0].text));
  }
  return absl::OkStatus();
}

absl::Status FileReader::ReadDirective(std::string_view directive, const std::vector<Word>& words) {
  if (directive == ".map") return ReadMap(words);
  if (directive == ".struct") return ReadStruct(words);
  if (directive == ".flags") return ReadFlags(words);
  if (directive == ".expect") return ReadExpect(words);
  if (directive == ".prog") return ReadProgram(words);
  if (directive == ".func") return ReadFunction(words);
  if (directive == ".type" || directive == ".attach") {
    if (words.size() != 1) return Error(absl::StrFormat("%s needs a name", directive));
    const std::string& name = words[0].text;
    if (directive == ".type") {
      Current().type = ProgTypeFromName(name);
      return Current().type ? absl::OkStatus() : Error(absl::StrFormat("no program type '%s'", name));
    }
    Current().attach = AttachTypeFromName(name);
    return Current().attach ? absl::OkStatus() : Error(absl::StrFormat("no attach type '%s'", name));
  }
  if (directive == ".attach_target" || directive == ".weak") {
    if (words.size() != 1 || !IsName(words[0].text)) return Error(absl::StrFormat("%s needs a name", directive));
    if (directive == ".weak") {
      file_.weak.insert(words[0].text);
    } else {
      Current().attach_target = words[0].text;
    }
    return absl::OkStatus();
  }
  if (directive == ".license") {
    file_.license.clear();
    for (const Word& word : words) {
      if (!file_.license.empty()) file_.license += ' ';
      file_.license += word.text;
    }
    return absl::OkStatus();
  }
  return Error(absl::StrFormat("no directive '%s'", directive));
}

absl::Status FileReader::Finish() {
  if (file_.programs.empty()) {
    AsmProgram program;
    program.name = "prog";
    program.settings = std::move(defaults_);
    program.lines = std::move(head_);
    program.functions = std::move(head_functions_);
    file_.programs.push_back(std::move(program));
  }
  for (AsmProgram& program : file_.programs) {
    for (auto& [without, expectation] : program.settings.expectations) {
      expectation.program = program.name;
      for (AsmExpectation& other : expectation.alternatives) other.program = program.name;
    }
  }
  for (const auto& [map, inner] : file_.inner_maps) {
    auto it = file_.map_index.find(inner);
    if (it == file_.map_index.end()) return absl::InvalidArgumentError(absl::StrFormat("no inner map '%s'", inner));
    file_.maps[map].inner = it->second;
  }
  return absl::OkStatus();
}

absl::StatusOr<AsmFile> FileReader::Read(std::string_view text) {
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    std::string_view line = Trim(text.substr(start, end - start));
    start = end + 1;
    ++line_;

    std::string_view word = line.substr(0, std::min(line.find_first_of(" \t\r\f\v:;#"), line.size()));
    const bool label = word.size() < line.size() && line[word.size()] == ':';
    if (!line.starts_with('.') || label || word == ".insn") {
      const bool code = !line.empty() && line[0] != ';' && line[0] != '#' && !line.starts_with("//");
      if (file_.programs.empty() && code && first_instruction_line_ == 0) first_instruction_line_ = line_;
      (file_.programs.empty() ? head_ : file_.programs.back().lines).push_back({line});
      continue;
    }
    Line rest;
    if (word != ".note" && word != ".origin") {
      auto words = SplitWords(line.substr(word.size()));
      if (!words.ok()) return words.status();
      absl::Status status = ReadDirective(word, *words);
      if (!status.ok()) return status;
      if (word == ".func") {
        // An unquoted word is in the line as it is.
        const std::string& name = (*words)[0].text;
        rest = {line.substr(line.find(name, word.size()), name.size()), true};
        if (file_.programs.empty() && first_instruction_line_ == 0) first_instruction_line_ = line_;
      }
    }
    (file_.programs.empty() ? head_ : file_.programs.back().lines).push_back(rest);
  }
  absl::Status status = Finish();
  if (!status.ok()) return status;
  return std::move(file_);
}

// The first reference that leads nowhere: the later rooms index with them.
std::string DanglingReference(const Program& program, size_t maps) {
  auto outside = [](int32_t index, size_t count) { return index < 0 || static_cast<size_t>(index) >= count; };
  for (size_t i = 0; i < program.insns.size(); ++i) {
    const Insn& insn = program.insns[i];
    std::string what;
    if (IsLdImm64(insn)) {
      const bool map = insn.src == kPseudoMapFd || insn.src == kPseudoMapValue;
      if (map && insn.imm != kNoSuchMap && outside(insn.imm, maps)) what = absl::StrFormat("map %d", insn.imm);
      if (insn.src == kPseudoMapIdx || insn.src == kPseudoMapIdxValue) what = "file descriptor array";
      if (insn.src == kPseudoBtfId && outside(insn.imm, program.externs.size())) {
        what = absl::StrFormat("kernel variable %d", insn.imm);
      }
    } else if (IsKfuncCall(insn) && outside(insn.imm, program.externs.size())) {
      what = absl::StrFormat("kernel function %d", insn.imm);
    }
    if (!what.empty()) return absl::StrFormat("instruction %d: there is no %s", i, what);
  }
  return "";
}

// Subprograms as the kernel sees them: the start, and whatever is called or taken the address of.
void FillSubprogs(const AsmProgram& source, const AsmUnit& unit, Program* program) {
  std::map<int64_t, Subprog> subprogs;
  subprogs[0].name = program->name;
  const int64_t count = static_cast<int64_t>(program->insns.size());
  for (int64_t i = 0; i < count; ++i) {
    const Insn& insn = program->insns[static_cast<size_t>(i)];
    if (!IsPseudoCall(insn) && !IsPseudoFunc(insn)) continue;
    const int64_t target = i + 1 + insn.imm;
    if (target > 0 && target < count) subprogs[target].start = static_cast<uint32_t>(target);
  }
  for (const AsmUnit::Label& label : unit.labels) {
    auto subprog = subprogs.find(label.insn);
    if (subprog == subprogs.end() || label.insn == 0) continue;
    auto function = source.functions.find(label.name);
    if (function == source.functions.end()) {
      if (subprog->second.name.empty()) subprog->second.name = label.name;
      continue;
    }
    subprog->second.name = label.name;
    subprog->second.global = function->second.global;
    subprog->second.prototype = function->second.prototype;
  }
  for (auto& [start, subprog] : subprogs) program->subprogs.push_back(std::move(subprog));
}

absl::StatusOr<Program> BuildProgram(const AsmProgram& source, const AsmFile& file, const std::string& file_name,
                                     const LoadOptions& options) {
  Program program;
  program.name = source.name;
  const Settings& settings = source.settings;
  std::optional<ProgType> type = settings.type;
  if (!type && !options.default_type.empty()) {
    type = ProgTypeFromName(options.default_type);
    if (!type) return absl::InvalidArgumentError(absl::StrFormat("no such program type: %s", options.default_type));
  }
  program.type_known = type.has_value();
  program.type = type.value_or(ProgType::kUnspec);
  program.attach = settings.attach.value_or(DefaultAttachType(program.type));
  program.attach_target = settings.attach_target;
  program.sleepable = settings.sleepable;
  program.strict_alignment = settings.strict_alignment;
  program.any_alignment = settings.any_alignment;
  program.test_state_freq = settings.test_state_freq;
  program.has_frags = settings.frags;

  std::map<std::pair<Extern::Kind, std::string>, int32_t> extern_index;
  AsmSymbols symbols;
  symbols.map = [&](std::string_view name) -> std::optional<int32_t> {
    auto it = file.map_index.find(name);
    return it == file.map_index.end() ? std::nullopt : std::optional(it->second);
  };
  auto find_extern = [&](Extern::Kind kind, std::string_view name) {
    auto [it, added] =
        extern_index.emplace(std::pair(kind, std::string(name)), static_cast<int32_t>(program.externs.size()));
    if (added) program.externs.push_back({.kind = kind, .name = std::string(name), .weak = file.weak.contains(name)});
    return it->second;
  };
  symbols.kfunc = [&](std::string_view name) { return find_extern(Extern::Kind::kFunc, name); };
  symbols.ksym = [&](std::string_view name) { return find_extern(Extern::Kind::kVar, name); };

  std::string text;
  for (const Line& line : source.lines) {
    text += line.text;
    text += line.is_function ? ":\n" : "\n";
  }
  auto unit = AssembleUnit(text, symbols, source.first_line);
  if (!unit.ok()) return unit.status();
  program.insns = std::move(unit->insns);
  for (uint32_t i = 0; i < program.insns.size(); ++i) {
    const uint32_t line = unit->lines[i];
    if (i > 0 && unit->lines[i - 1] == line) continue;
    program.lines.push_back({.insn = i, .line = line, .column = 0, .file = file_name,
                             .text = std::string(source.lines[line - source.first_line].text)});
  }
  FillSubprogs(source, *unit, &program);
  program.broken = DanglingReference(program, file.map_index.size());
  return program;
}

}  // namespace

absl::StatusOr<std::vector<AsmExpectation>> ParseAsmExpectations(std::string_view text) {
  auto file = FileReader().Read(text);
  if (!file.ok()) return file.status();
  std::vector<AsmExpectation> expectations;
  for (AsmProgram& program : file->programs) {
    for (auto& [without, expectation] : program.settings.expectations) expectations.push_back(std::move(expectation));
  }
  return expectations;
}

absl::StatusOr<std::shared_ptr<Object>> LoadAsmObject(std::string_view text, const std::string& name,
                                                      const LoadOptions& options) {
  auto file = FileReader().Read(text);
  if (!file.ok()) return file.status();
  auto object = std::make_shared<Object>();
  object->path = name;
  object->license = std::move(file->license);
  object->maps = std::move(file->maps);
  object->text_structs = file->structs;
  std::vector<bool> with_functions;
  for (const AsmProgram& source : file->programs) {
    auto program = BuildProgram(source, *file, name, options);
    if (!program.ok()) return program.status();
    object->programs.push_back(*std::move(program));
    with_functions.push_back(!source.functions.empty() || !file->structs.empty());
  }
  absl::Status status = DescribeByBtf(with_functions, object.get());
  if (!status.ok()) return status;
  return object;
}

}  // namespace bpfsieve
