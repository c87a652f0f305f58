#include "engine/isa/assembler.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/isa/disasm.h"
#include "engine/isa/helper_names.h"

// One pass over the lines, one recursive-descent reader per line. A reader function returns false after it has set
// the error; the first error wins. References to labels are filled in at the end.
namespace bpfsieve {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '$';
}
bool IsNameChar(char c) { return IsNameStart(c) || IsDigit(c); }

std::string_view StripComment(std::string_view line) {
  for (size_t i = 0; i < line.size(); ++i) {
    const bool comment = line[i] == ';' || (line[i] == '/' && i + 1 < line.size() && line[i + 1] == '/') ||
                         (line[i] == '#' && (i == 0 || IsBlank(line[i - 1])));
    if (comment) return line.substr(0, i);
  }
  return line;
}

struct Reg {
  uint8_t number = 0;
  bool wide = true;  // r0..r15; else w0..w15
};

// Where a label's distance goes once it is known.
struct Fixup {
  enum class Field : uint8_t { kOff, kImm };
  uint32_t insn = 0;
  Field field = Field::kOff;
  std::string label;
};

struct Binary {
  const char* text;
  uint8_t op;
  int16_t off;
};
// Longer operators before their prefixes.
constexpr Binary kAluOperators[] = {{"s>>=", kArsh, 0}, {"s/=", kDiv, 1},  {"s%=", kMod, 1}, {"<<=", kLsh, 0},
                                    {">>=", kRsh, 0},   {"+=", kAdd, 0},   {"-=", kSub, 0},  {"*=", kMul, 0},
                                    {"/=", kDiv, 0},    {"|=", kOr, 0},    {"&=", kAnd, 0},  {"%=", kMod, 0},
                                    {"^=", kXor, 0},    {"=", kMov, 0}};
constexpr Binary kJumpOperators[] = {{"s>=", kJsge, 0}, {"s<=", kJsle, 0}, {"s>", kJsgt, 0}, {"s<", kJslt, 0},
                                     {"==", kJeq, 0},   {"!=", kJne, 0},   {">=", kJge, 0},  {"<=", kJle, 0},
                                     {">", kJgt, 0},    {"<", kJlt, 0},    {"&", kJset, 0}};

class LineReader {
 public:
  LineReader(std::string_view line, const AsmSymbols& symbols, AsmUnit* unit, std::vector<Fixup>* fixups)
      : rest_(line), symbols_(symbols), unit_(unit), fixups_(fixups) {}

  // Reads all labels and at most one statement.
  bool Read();
  const std::string& error() const { return error_; }

 private:
  bool Fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool Expected(std::string_view what) {
    SkipBlanks();
    if (rest_.empty()) return Fail(absl::StrFormat("expected %s at the end of the line", what));
    return Fail(absl::StrFormat("expected %s before '%s'", what, rest_.substr(0, 20)));
  }

  void SkipBlanks() {
    while (!rest_.empty() && IsBlank(rest_.front())) rest_.remove_prefix(1);
  }
  bool Eat(std::string_view text) {
    SkipBlanks();
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  // A whole word: the next character does not continue it.
  bool EatWord(std::string_view word) {
    if (PeekName() != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool Need(std::string_view text) { return Eat(text) || Expected(absl::StrFormat("'%s'", text)); }
  std::string_view PeekName() {
    SkipBlanks();
    size_t n = 0;
    if (!rest_.empty() && IsNameStart(rest_.front())) {
      while (n < rest_.size() && IsNameChar(rest_[n])) ++n;
    }
    return rest_.substr(0, n);
  }

  bool PeekNumber() {
    SkipBlanks();
    size_t sign = !rest_.empty() && (rest_[0] == '-' || rest_[0] == '+') ? 1 : 0;
    return rest_.size() > sign && IsDigit(rest_[sign]);
  }
  bool ReadU64(uint64_t* value);
  // A number with an optional sign; `low` to `high` inclusive.
  bool ReadNumber(int64_t low, int64_t high, int64_t* value);
  bool ReadImm64(uint64_t* value);
  // A 32-bit immediate; `as_unsigned`: also up to 0xffffffff, as printed for 32-bit operations and comparisons.
  bool ReadImm32(bool as_unsigned, int32_t* value);

  std::optional<Reg> EatReg();
  bool ReadReg(bool wide, uint8_t* number);
  bool ReadSize(Insn* insn, bool* is_signed);
  bool ReadPlace(Insn* insn, uint8_t* base, bool* is_signed);
  bool ReadAtomicCall(std::string_view name, uint8_t result);
  bool ReadReference(const AsmSymbols::Resolver& resolver, const char* what, int32_t* value);
  bool ReadTarget(Fixup::Field field, Insn insn);

  bool ReadStatement();
  bool ReadRawInsn();
  bool ReadStore();
  bool ReadLocked();
  bool ReadIf();
  bool ReadCall();
  bool ReadRegStatement(Reg dst);
  bool ReadMove(Reg dst);
  bool ReadNamedMove(Reg dst, std::string_view name);
  bool ReadWideReference(Reg dst, uint8_t src, int32_t index);

  bool Emit(const Insn& insn) {
    unit_->insns.push_back(insn);
    return true;
  }
  bool EmitWide(Insn insn, uint64_t imm) {
    insn.code = kCodeLdImm64;
    insn.imm = static_cast<int32_t>(static_cast<uint32_t>(imm));
    Emit(insn);
    Insn second;
    second.imm = static_cast<int32_t>(static_cast<uint32_t>(imm >> 32));
    return Emit(second);
  }

  std::string_view rest_;
  const AsmSymbols& symbols_;
  AsmUnit* unit_;
  std::vector<Fixup>* fixups_;
  std::string error_;
};

bool LineReader::Read() {
  for (;;) {
    std::string_view name = PeekName();
    if (name.empty()) break;
    std::string_view after = rest_.substr(name.size());
    if (after.empty() || after.front() != ':') break;
    unit_->labels.push_back({std::string(name), static_cast<uint32_t>(unit_->insns.size())});
    rest_ = after.substr(1);
  }
  SkipBlanks();
  if (rest_.empty()) return true;
  if (!ReadStatement()) return false;
  SkipBlanks();
  return rest_.empty() || Fail(absl::StrFormat("unexpected '%s'", rest_.substr(0, 20)));
}

bool LineReader::ReadStatement() {
  if (EatWord(".insn")) return ReadRawInsn();
  if (EatWord("exit")) return Emit(Insn{.code = kCodeExit});
  if (EatWord("goto")) return ReadTarget(Fixup::Field::kOff, Insn{.code = kClassJmp | kJa});
  if (EatWord("may_goto")) return ReadTarget(Fixup::Field::kOff, Insn{.code = kClassJmp | kJcond});
  if (EatWord("gotol")) return ReadTarget(Fixup::Field::kImm, Insn{.code = kClassJmp32 | kJa});
  if (EatWord("if")) return ReadIf();
  if (EatWord("call")) return ReadCall();
  if (EatWord("lock")) return ReadLocked();
  if (EatWord("store_release")) return ReadAtomicCall("store_release", 0);
  if (Eat("*")) return ReadStore();
  if (auto reg = EatReg()) return ReadRegStatement(*reg);
  return Expected("an instruction");
}

bool LineReader::ReadU64(uint64_t* value) {
  SkipBlanks();
  size_t n = 0;
  while (n < rest_.size() && IsNameChar(rest_[n])) ++n;
  std::string_view digits = rest_.substr(0, n);
  if (digits.empty() || !IsDigit(digits.front())) return Expected("a number");
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
    base = 16;
    digits.remove_prefix(2);
  }
  auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), *value, base);
  if (ec != std::errc() || end != digits.data() + digits.size()) {
    return Fail(absl::StrFormat("'%s' is not a number of 64 bits", rest_.substr(0, n)));
  }
  rest_.remove_prefix(n);
  return true;
}

bool LineReader::ReadNumber(int64_t low, int64_t high, int64_t* value) {
  const bool negative = Eat("-");
  if (!negative) Eat("+");
  uint64_t magnitude = 0;
  if (!ReadU64(&magnitude)) return false;
  // Every range asked for lies well within 63 bits.
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  *value = magnitude > kMax ? 0 : negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  if (magnitude > kMax || *value < low || *value > high) {
    return Fail(absl::StrFormat("number out of range: it must lie in [%d, %d]", low, high));
  }
  return true;
}

bool LineReader::ReadImm64(uint64_t* value) {
  const bool negative = Eat("-");
  if (!negative) Eat("+");
  if (!ReadU64(value)) return false;
  if (negative && *value > uint64_t{1} << 63) return Fail("number out of range: it does not fit into 64 bits");
  if (negative) *value = ~*value + 1;
  return true;
}

bool LineReader::ReadImm32(bool as_unsigned, int32_t* value) {
  int64_t number = 0;
  const int64_t high = as_unsigned ? std::numeric_limits<uint32_t>::max() : std::numeric_limits<int32_t>::max();
  if (!ReadNumber(std::numeric_limits<int32_t>::min(), high, &number)) return false;
  *value = static_cast<int32_t>(static_cast<uint32_t>(number));
  return true;
}

std::optional<Reg> LineReader::EatReg() {
  std::string_view name = PeekName();
  if (name.size() < 2 || name.size() > 3 || (name[0] != 'r' && name[0] != 'w')) return std::nullopt;
  uint8_t number = 0;
  for (char c : name.substr(1)) {
    if (!IsDigit(c)) return std::nullopt;
    number = static_cast<uint8_t>(number * 10 + (c - '0'));
  }
  if (number > 15 || (name.size() == 3 && name[1] == '0')) return std::nullopt;
  rest_.remove_prefix(name.size());
  return Reg{number, name[0] == 'r'};
}

bool LineReader::ReadReg(bool wide, uint8_t* number) {
  std::string_view before = rest_;
  auto reg = EatReg();
  if (!reg || reg->wide != wide) {
    rest_ = before;
    return Expected(wide ? "a register r0 to r15" : "a register w0 to w15");
  }
  *number = reg->number;
  return true;
}

// "(u32 *)". `is_signed` null: only unsigned sizes.
bool LineReader::ReadSize(Insn* insn, bool* is_signed) {
  if (!Need("(")) return false;
  constexpr std::pair<const char*, uint8_t> kSizes[] = {
      {"u8", kSizeB}, {"u16", kSizeH}, {"u32", kSizeW}, {"u64", kSizeDw},
      {"s8", kSizeB}, {"s16", kSizeH}, {"s32", kSizeW},
  };
  for (const auto& [name, size] : kSizes) {
    if (name[0] == 's' && is_signed == nullptr) continue;
    if (!EatWord(name)) continue;
    insn->code |= size;
    if (is_signed != nullptr) *is_signed = name[0] == 's';
    return Need("*") && Need(")");
  }
  return Expected(is_signed != nullptr ? "u8, u16, u32, u64, s8, s16 or s32" : "u8, u16, u32 or u64");
}

// "(u32 *)(r1 +4)".
bool LineReader::ReadPlace(Insn* insn, uint8_t* base, bool* is_signed) {
  if (!ReadSize(insn, is_signed) || !Need("(") || !ReadReg(true, base)) return false;
  SkipBlanks();
  if (!rest_.empty() && (rest_.front() == '+' || rest_.front() == '-')) {
    std::string_view sign = rest_.substr(0, 1);
    rest_.remove_prefix(1);
    int64_t off = 0;
    if (!ReadNumber(0, sign == "-" ? 32768 : 32767, &off)) return false;
    insn->off = static_cast<int16_t>(sign == "-" ? -off : off);
  }
  return Need(")");
}

// The functions that stand for atomic instructions; `result` is the register that is assigned to.
bool LineReader::ReadAtomicCall(std::string_view name, uint8_t result) {
  Insn insn{.code = kClassStx | kModeAtomic};
  uint8_t base = 0;
  uint8_t operand = 0;
  if (!Need("(") || !ReadPlace(&insn, &base, nullptr)) return false;
  if (name == "load_acquire") {
    insn.dst = result & 15;
    insn.src = base & 15;
    insn.imm = kLoadAcq;
    return Need(")") && Emit(insn);
  }
  insn.dst = base & 15;
  if (!Need(",")) return false;
  if (name == "store_release") {
    if (!ReadReg(true, &operand)) return false;
    insn.src = operand & 15;
    insn.imm = kStoreRel;
    return Need(")") && Emit(insn);
  }

  const bool wide = name.substr(0, 9) == "atomic64_";
  if (wide != (SizeField(insn) == kSizeDw)) return Fail("atomic64_ functions take u64, the other ones do not");
  name.remove_prefix(wide ? 9 : 7);
  constexpr std::pair<std::string_view, int32_t> kOperations[] = {
      {"fetch_add", kAdd | kFetch}, {"fetch_and", kAnd | kFetch}, {"fetch_or", kOr | kFetch},
      {"fetch_xor", kXor | kFetch}, {"xchg", kXchg},              {"cmpxchg", kCmpxchg}};
  for (const auto& [operation, imm] : kOperations) {
    if (operation == name) insn.imm = imm;
  }
  if (insn.imm == 0) return Fail("no such atomic function");
  if (insn.imm == kCmpxchg) {
    if (!ReadReg(true, &operand) || !Need(",")) return false;
    if (operand != 0 || result != 0) return Fail("cmpxchg compares with r0 and returns in r0");
  }
  if (!ReadReg(true, &operand)) return false;
  if (insn.imm != kCmpxchg && operand != result) return Fail("the result goes to the register of the operand");
  insn.src = operand & 15;
  return Need(")") && Emit(insn);
}

// "[name]" or "[number]".
bool LineReader::ReadReference(const AsmSymbols::Resolver& resolver, const char* what, int32_t* value) {
  if (!Need("[")) return false;
  if (PeekNumber()) return ReadImm32(false, value) && Need("]");
  const size_t end = rest_.find(']');
  std::string_view name = rest_.substr(0, end == std::string_view::npos ? 0 : end);
  while (!name.empty() && IsBlank(name.back())) name.remove_suffix(1);
  if (name.empty()) return Expected("a name and ']'");
  auto resolved = resolver ? resolver(name) : std::nullopt;
  if (!resolved) return Fail(absl::StrFormat("no %s '%s'", what, name));
  *value = *resolved;
  rest_.remove_prefix(end + 1);
  return true;
}

// "pc+3", "+3" or a label, and emits the instruction.
bool LineReader::ReadTarget(Fixup::Field field, Insn insn) {
  std::string_view name = PeekName();
  if (name == "pc" && rest_.size() > 2 && (rest_[2] == '+' || rest_[2] == '-')) {
    rest_.remove_prefix(2);
    name = {};
  }
  if (name.empty()) {
    if (!PeekNumber()) return Expected("a label or pc+N");
    int64_t distance = 0;
    const bool wide = field == Fixup::Field::kImm;
    if (!ReadNumber(wide ? std::numeric_limits<int32_t>::min() : -32768,
                    wide ? std::numeric_limits<int32_t>::max() : 32767, &distance)) {
      return false;
    }
    if (wide) {
      insn.imm = static_cast<int32_t>(distance);
    } else {
      insn.off = static_cast<int16_t>(distance);
    }
    return Emit(insn);
  }
  rest_.remove_prefix(name.size());
  fixups_->push_back({static_cast<uint32_t>(unit_->insns.size()), field, std::string(name)});
  return Emit(insn);
}

bool LineReader::ReadRawInsn() {
  Insn insn;
  bool has_code = false;
  for (;;) {
    std::string_view key = PeekName();
    if (key.empty()) break;
    rest_.remove_prefix(key.size());
    if (!Need("=")) return false;
    int64_t value = 0;
    if (key == "code") {
      if (!ReadNumber(0, 255, &value)) return false;
      insn.code = static_cast<uint8_t>(value);
      has_code = true;
    } else if (key == "dst" || key == "src") {
      if (!ReadNumber(0, 15, &value)) return false;
      if (key == "dst") {
        insn.dst = value & 15;
      } else {
        insn.src = value & 15;
      }
    } else if (key == "off") {
      if (!ReadNumber(-32768, 65535, &value)) return false;
      insn.off = static_cast<int16_t>(static_cast<uint16_t>(value));
    } else if (key == "imm") {
      if (!ReadImm32(true, &insn.imm)) return false;
    } else {
      return Fail(absl::StrFormat("no field '%s': code, dst, src, off and imm are", key));
    }
  }
  return has_code ? Emit(insn) : Expected("code=");
}

// After "*": "(u32 *)(r1 +4) = ...".
bool LineReader::ReadStore() {
  Insn insn;
  uint8_t base = 0;
  uint8_t value = 0;
  if (!ReadPlace(&insn, &base, nullptr) || !Need("=")) return false;
  insn.dst = base & 15;
  if (PeekNumber()) {
    insn.code |= kClassSt | kModeMem;
    return ReadImm32(SizeField(insn) != kSizeDw, &insn.imm) && Emit(insn);
  }
  if (!ReadReg(true, &value)) return false;
  insn.code |= kClassStx | kModeMem;
  insn.src = value & 15;
  return Emit(insn);
}

// After "lock": "*(u64 *)(r10 -8) += r1".
bool LineReader::ReadLocked() {
  Insn insn{.code = kClassStx | kModeAtomic};
  uint8_t base = 0;
  uint8_t operand = 0;
  if (!Need("*") || !ReadPlace(&insn, &base, nullptr)) return false;
  constexpr std::pair<const char*, int32_t> kOperations[] = {{"+=", kAdd}, {"&=", kAnd}, {"|=", kOr}, {"^=", kXor}};
  bool found = false;
  for (const auto& [text, operation] : kOperations) {
    if (found || !Eat(text)) continue;
    insn.imm = operation;
    found = true;
  }
  if (!found) return Expected("+=, &=, |= or ^=");
  if (!ReadReg(true, &operand)) return false;
  insn.dst = base & 15;
  insn.src = operand & 15;
  return Emit(insn);
}

bool LineReader::ReadIf() {
  auto left = EatReg();
  if (!left) return Expected("a register");
  Insn insn{.code = left->wide ? kClassJmp : kClassJmp32};
  insn.dst = left->number & 15;
  const Binary* found = nullptr;
  for (const Binary& binary : kJumpOperators) {
    if (Eat(binary.text)) {
      found = &binary;
      break;
    }
  }
  if (found == nullptr) return Expected("a comparison");
  insn.code |= found->op;
  if (PeekNumber()) {
    if (!ReadImm32(true, &insn.imm)) return false;
  } else {
    uint8_t right = 0;
    if (!ReadReg(left->wide, &right)) return false;
    insn.code |= kSrcX;
    insn.src = right & 15;
  }
  if (!EatWord("goto")) return Expected("'goto'");
  return ReadTarget(Fixup::Field::kOff, insn);
}

bool LineReader::ReadCall() {
  Insn insn{.code = kCodeCall};
  if (PeekNumber() && rest_.front() != '+') return ReadImm32(true, &insn.imm) && Emit(insn);
  std::string_view name = PeekName();
  if (name.empty()) return Expected("what to call");
  if (name == "kfunc" && rest_.substr(name.size(), 1) == "[") {
    rest_.remove_prefix(name.size());
    insn.src = kPseudoKfuncCall;
    return ReadReference(symbols_.kfunc, "kernel function", &insn.imm) && Emit(insn);
  }
  if (name == "pc" && rest_.size() > 2 && (rest_[2] == '+' || rest_[2] == '-')) {
    insn.src = kPseudoCall;
    return ReadTarget(Fixup::Field::kImm, insn);
  }
  rest_.remove_prefix(name.size());
  auto number = symbols_.helper ? symbols_.helper(name) : std::nullopt;
  if (!symbols_.helper) {
    if (auto id = HelperIdFromName(name)) number = static_cast<int32_t>(*id);
  }
  if (rest_.substr(0, 1) == "#") {  // as the kernel prints it, name#number: the number counts
    rest_.remove_prefix(1);
    if (!ReadImm32(false, &insn.imm)) return false;
    const bool placeholder = name == "unknown" || name == "bpf_unspec";
    if (!placeholder && number != insn.imm) return Fail(absl::StrFormat("%s is not helper %d", name, insn.imm));
    return Emit(insn);
  }
  // Labels win over helpers; whether there is such a label is known at the end only, so the helper's number waits in
  // the immediate.
  if (number) insn.imm = *number;
  insn.src = number ? kCallHelper : kPseudoCall;
  fixups_->push_back({static_cast<uint32_t>(unit_->insns.size()), Fixup::Field::kImm, std::string(name)});
  return Emit(insn);
}

bool LineReader::ReadRegStatement(Reg dst) {
  for (const Binary& binary : kAluOperators) {
    if (!Eat(binary.text)) continue;
    if (binary.op == kMov) return ReadMove(dst);
    Insn insn{.code = static_cast<uint8_t>((dst.wide ? kClassAlu64 : kClassAlu) | binary.op)};
    insn.dst = dst.number & 15;
    insn.off = binary.off;
    if (PeekNumber()) return ReadImm32(!dst.wide, &insn.imm) && Emit(insn);
    uint8_t src = 0;
    if (!ReadReg(dst.wide, &src)) return false;
    insn.code |= kSrcX;
    insn.src = src & 15;
    return Emit(insn);
  }
  return Expected("an operator");
}

// After "rN =".
bool LineReader::ReadMove(Reg dst) {
  Insn insn{.code = dst.wide ? kClassAlu64 : kClassAlu};
  insn.dst = dst.number & 15;
  if (PeekNumber()) {
    std::string_view before = rest_;
    uint64_t wide = 0;
    if (!ReadImm64(&wide)) return false;
    if (EatWord("ll")) {
      if (!dst.wide) return Fail("64-bit immediates go to r registers");
      return EmitWide(insn, wide);
    }
    rest_ = before;
    insn.code |= kMov;
    if (ReadImm32(!dst.wide, &insn.imm)) return Emit(insn);
    error_ += dst.wide ? "; write 'll' after it for a 64-bit immediate" : "";
    return false;
  }
  uint8_t src = 0;
  if (Eat("-")) {
    if (!ReadReg(dst.wide, &src)) return false;
    if (src != dst.number) return Fail("negation works in place: both registers must be the same");
    insn.code |= kNeg;
    return Emit(insn);
  }
  if (Eat("*")) {  // a load
    if (!dst.wide) return Fail("loads go to r registers");
    bool is_signed = false;
    insn.code = 0;
    std::string_view before = rest_;
    if (!ReadSize(&insn, &is_signed)) return false;
    if (EatWord("skb")) {
      if (is_signed || dst.number != 0) return Fail("packet loads are unsigned and go to r0");
      if (!Need("[")) return false;
      insn.code |= kClassLd | kModeAbs;
      if (auto index = EatReg()) {
        if (!index->wide) return Fail("packet loads are indexed by an r register");
        insn.code ^= kModeAbs ^ kModeInd;
        insn.src = index->number & 15;
        if (Eat("+") ? !ReadImm32(false, &insn.imm) : PeekNumber() && !ReadImm32(false, &insn.imm)) return false;
      } else if (!ReadImm32(false, &insn.imm)) {
        return false;
      }
      return Need("]") && Emit(insn);
    }
    rest_ = before;
    insn.code = 0;
    if (!ReadPlace(&insn, &src, &is_signed)) return false;
    insn.code |= kClassLdx | (is_signed ? kModeMemsx : kModeMem);
    insn.src = src & 15;
    return Emit(insn);
  }
  if (Eat("&")) {  // the kernel's own form of a per-CPU address
    if (!Need("(") || !EatWord("void") || !EatWord("__percpu") || !Need("*") || !Need(")") || !Need("(") ||
        !ReadReg(true, &src) || !Need(")") || !dst.wide) {
      return Fail("expected '&(void __percpu *)(rN)'");
    }
    insn.code |= kMov | kSrcX;
    insn.src = src & 15;
    insn.off = -1;
    return Emit(insn);
  }
  if (Eat("(")) {  // a sign extension
    constexpr std::pair<const char*, int16_t> kWidths[] = {{"s8", 8}, {"s16", 16}, {"s32", 32}};
    for (const auto& [name, width] : kWidths) {
      if (EatWord(name)) insn.off = width;
    }
    if (insn.off == 0) return Expected("s8, s16 or s32");
    if (!Need(")") || !ReadReg(dst.wide, &src)) return false;
    insn.code |= kMov | kSrcX;
    insn.src = src & 15;
    return Emit(insn);
  }
  if (auto reg = EatReg()) {
    if (reg->wide != dst.wide) return Fail("both registers must be of the same width");
    insn.code |= kMov | kSrcX;
    insn.src = reg->number & 15;
    return Emit(insn);
  }
  std::string_view name = PeekName();
  if (name.empty()) return Expected("a value");
  return ReadNamedMove(dst, name);
}

// "rN = name...": byte swaps, functions and references. `name` is the next word.
bool LineReader::ReadNamedMove(Reg dst, std::string_view name) {
  if (!dst.wide) return Expected("a value for a w register");
  rest_.remove_prefix(name.size());

  constexpr std::pair<std::string_view, uint8_t> kSwaps[] = {
      {"le", kClassAlu | kEnd}, {"be", kClassAlu | kEnd | kSrcX}, {"bswap", kClassAlu64 | kEnd}};
  for (const auto& [prefix, code] : kSwaps) {
    std::string_view width = name.substr(std::min(prefix.size(), name.size()));
    if (name.substr(0, prefix.size()) != prefix || (width != "16" && width != "32" && width != "64")) continue;
    Insn insn{.code = code};
    insn.dst = dst.number & 15;
    insn.imm = width == "16" ? 16 : width == "32" ? 32 : 64;
    uint8_t src = 0;
    if (!ReadReg(true, &src)) return false;
    return src == dst.number ? Emit(insn) : Fail("byte swaps work in place: both registers must be the same");
  }
  if (name == "load_acquire" || name.substr(0, 9) == "atomic64_" || name.substr(0, 7) == "atomic_") {
    return ReadAtomicCall(name, dst.number);
  }
  if (name == "addr_space_cast") {
    Insn insn{.code = kClassAlu64 | kMov | kSrcX};
    uint8_t src = 0;
    int64_t to = 0;
    int64_t from = 0;
    if (!Need("(") || !ReadReg(true, &src) || !Need(",") || !ReadNumber(0, 65535, &to) || !Need(",") ||
        !ReadNumber(0, 65535, &from) || !Need(")")) {
      return false;
    }
    insn.dst = dst.number & 15;
    insn.src = src & 15;
    insn.off = kAddrSpaceCast;
    insn.imm = static_cast<int32_t>(static_cast<uint32_t>(to << 16 | from));
    return Emit(insn);
  }

  int32_t index = 0;
  if (name == "map") {
    return ReadReference(symbols_.map, "map", &index) && ReadWideReference(dst, kPseudoMapFd, index);
  }
  if (name == "map_idx") {
    return ReadReference({}, "map", &index) && ReadWideReference(dst, kPseudoMapIdx, index);
  }
  if (name == "ksym") {
    return ReadReference(symbols_.ksym, "kernel variable", &index) && ReadWideReference(dst, kPseudoBtfId, index);
  }
  if (name == "func") {
    Insn insn{.code = kCodeLdImm64};
    insn.dst = dst.number & 15;
    insn.src = kPseudoFunc;
    if (!Need("[") || !ReadTarget(Fixup::Field::kImm, insn) || !Need("]")) return false;
    Insn second;  // its immediate means nothing here, but the kernel does not insist on 0
    if (Eat("+") && !ReadImm32(true, &second.imm)) return false;
    EatWord("ll");
    return Emit(second);
  }
  return Fail(absl::StrFormat("unknown value '%s'", name));
}

// The rest of a reference: "+8" and "ll". With an offset, a map's reference is to its value.
bool LineReader::ReadWideReference(Reg dst, uint8_t src, int32_t index) {
  Insn insn;
  insn.dst = dst.number & 15;
  insn.src = src & 15;
  uint64_t offset = 0;
  if (Eat("+")) {
    int64_t value = 0;
    if (!ReadNumber(0, std::numeric_limits<uint32_t>::max(), &value)) return false;
    offset = static_cast<uint64_t>(value);
    if (src == kPseudoMapFd) insn.src = kPseudoMapValue;
    if (src == kPseudoMapIdx) insn.src = kPseudoMapIdxValue;
  }
  EatWord("ll");
  return EmitWide(insn, offset << 32 | static_cast<uint32_t>(index));
}

}  // namespace

absl::StatusOr<AsmUnit> AssembleUnit(std::string_view text, const AsmSymbols& symbols, uint32_t first_line) {
  AsmUnit unit;
  std::vector<Fixup> fixups;
  absl::flat_hash_map<std::string, uint32_t> labels;
  uint32_t line = first_line;
  auto error = [](uint32_t at, const std::string& message) {
    return absl::InvalidArgumentError(absl::StrFormat("line %d: %s", at, message));
  };
  for (size_t start = 0; start <= text.size(); ++line) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const size_t known_labels = unit.labels.size();
    LineReader reader(StripComment(text.substr(start, end - start)), symbols, &unit, &fixups);
    if (!reader.Read()) return error(line, reader.error());
    unit.lines.resize(unit.insns.size(), line);
    for (size_t i = known_labels; i < unit.labels.size(); ++i) {
      const AsmUnit::Label& label = unit.labels[i];
      if (!labels.emplace(label.name, label.insn).second) {
        return error(line, absl::StrFormat("label '%s' is defined twice", label.name));
      }
    }
    start = end + 1;
  }

  for (const Fixup& fixup : fixups) {
    Insn& insn = unit.insns[fixup.insn];
    const uint32_t at = unit.lines[fixup.insn];
    auto label = labels.find(fixup.label);
    if (label == labels.end()) {
      if (IsHelperCall(insn)) continue;  // a helper's name
      const char* kind = IsPseudoCall(insn) ? "helper or label" : "label";
      return error(at, absl::StrFormat("no %s '%s'", kind, fixup.label));
    }
    const int64_t distance = int64_t{label->second} - int64_t{fixup.insn} - 1;
    if (fixup.field == Fixup::Field::kImm) {
      if (IsHelperCall(insn)) insn.src = kPseudoCall;
      insn.imm = static_cast<int32_t>(distance);
    } else if (distance < std::numeric_limits<int16_t>::min() || distance > std::numeric_limits<int16_t>::max()) {
      return error(at, absl::StrFormat("label '%s' is too far away (%d); use gotol", fixup.label, distance));
    } else {
      insn.off = static_cast<int16_t>(distance);
    }
  }
  return unit;
}

absl::StatusOr<std::vector<Insn>> Assemble(std::string_view text, const AsmSymbols& symbols) {
  auto unit = AssembleUnit(text, symbols);
  if (!unit.ok()) return unit.status();
  return std::move(unit->insns);
}

std::string AsmText(const Insn* insn, size_t left, size_t* used) {
  DisasmNames names;
  names.imm64 = [](const Insn* i) -> std::string {
    const uint32_t second = static_cast<uint32_t>(i[1].imm);
    switch (i->src) {
      case kPseudoMapFd: return absl::StrFormat("map[%d] ll", i->imm);
      case kPseudoMapValue: return absl::StrFormat("map[%d]+%u ll", i->imm, second);
      case kPseudoBtfId: return absl::StrFormat("ksym[%d]+%u ll", i->imm, second);
      case kPseudoFunc: {
        const std::string rest = second == 0 ? "" : absl::StrFormat("+%u", second);
        return absl::StrFormat("func[pc%+d]%s ll", i->imm, rest);
      }
      case kPseudoMapIdx: return absl::StrFormat("map_idx[%d] ll", i->imm);
      case kPseudoMapIdxValue: return absl::StrFormat("map_idx[%d]+%u ll", i->imm, second);
      default: return "";
    }
  };
  std::string text;
  *used = 1;
  if (!IsLdImm64(*insn)) {
    text = IsKfuncCall(*insn) ? absl::StrFormat("call kfunc[%d]", insn->imm) : Disassemble(insn);
  } else if (left >= 2) {
    text = Disassemble(insn, names);
    if (insn->src == 0) text += " ll";
    *used = 2;
  }
  // The text leaves out fields that ought to be zero; what it leaves out decides whether it will do.
  auto again = Assemble(text);
  if (again.ok() && *again == std::vector<Insn>(insn, insn + *used)) return text;
  *used = 1;
  return absl::StrFormat(".insn code=0x%02x dst=%d src=%d off=%d imm=%d", insn->code, insn->dst, insn->src, insn->off,
                         insn->imm);
}

}  // namespace bpfsieve
