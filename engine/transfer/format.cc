// The format of bpf_snprintf: every conversion has an argument, and is one that the kernel can carry out
// (check_bpf_snprintf_call, bpf_bprintf_prepare).
#include <cstring>
#include <string_view>

#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

// The kernel's character classes: those of Latin-1.
bool IsSpace(uint8_t c) { return (c >= 9 && c <= 13) || c == ' ' || c == 0xa0; }
bool IsDigit(uint8_t c) { return c >= '0' && c <= '9'; }
bool IsPunct(uint8_t c) {
  if (c >= 0x80) return (c > 0xa0 && c < 0xc0) || c == 0xd7 || c == 0xf7;
  return c > ' ' && c < 0x7f && !IsDigit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}
bool EndsWord(uint8_t c) { return c == 0 || IsSpace(c) || IsPunct(c); }

// `s` ends in a zero, which is not counted. Whether `count` arguments of eight bytes are enough for it.
bool FormatFits(std::string_view s, uint64_t count) {
  const auto at = [s](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : uint8_t{0}; };
  uint64_t used = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    const uint8_t c = at(i);
    if (c < ' ' && !IsSpace(c)) return false;
    if (c == 0x7f) return false;
    if (c != '%') continue;
    if (at(i + 1) == '%') {
      ++i;
      continue;
    }
    if (used >= count) return false;
    ++used;
    ++i;
    while (at(i) == '0' || at(i) == '+' || at(i) == '-' || at(i) == ' ') ++i;
    while (IsDigit(at(i))) ++i;
    bool string = at(i) == 's';
    if (at(i) == 'p') {
      const uint8_t kind = at(i + 1);
      if (EndsWord(kind)) continue;
      if ((kind == 'k' || kind == 'u') && at(i + 2) == 's') {
        i += 2;
        string = true;
      } else if (kind == 'K' || kind == 'x' || kind == 's' || kind == 'S' || kind == 'B') {
        ++i;
        continue;
      } else if ((kind == 'i' || kind == 'I') && (at(i + 2) == '4' || at(i + 2) == '6')) {
        i += 2;
        continue;
      } else {
        return false;
      }
    }
    if (string) {
      if (!EndsWord(at(i + 1))) return false;
      continue;
    }
    if (at(i) == 'c') continue;
    for (int l = 0; l < 2 && at(i) == 'l'; ++l) ++i;
    if (at(i) == 0 || std::strchr("iduxX", at(i)) == nullptr) return false;
  }
  return true;
}

}  // namespace

bool Transfer::FormatString() {
  // What is known of the size will do: the helper looks again.
  const uint64_t size = reg(5).s.var_off.value;
  if (size % 8 != 0) return Fail(Rule::kHelperSize, 5, "arguments of bpf_snprintf have eight bytes each");
  const Reg& p = reg(3);
  const std::vector<uint8_t>& data = ctx_.map(p.map).data;
  const size_t from = static_cast<size_t>(p.off) + p.s.ConstValue();  // zero-terminated, see ConstStr
  const char* text = reinterpret_cast<const char*>(data.data()) + from;
  if (FormatFits(std::string_view(text), static_cast<uint32_t>(size / 8))) return true;
  return Fail(Rule::kHelperArg, 3, "Invalid format string");
}

}  // namespace bpfsieve
