// The notation of the verifier's log for numbers (kernel/bpf/log.c of Linux 6.18).
#include <cstddef>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "engine/domain/scalar.h"

namespace bpfsieve {
namespace {

constexpr uint64_t kMaxDecimal = 0xffff;
constexpr int64_t kMinSignedDecimal = -0x8000, kMaxSignedDecimal = 0x7fff;

bool IsSignedDecimal(int64_t v) { return v >= kMinSignedDecimal && v <= kMaxSignedDecimal; }

void AppendHex(std::string& out, uint64_t v) { absl::StrAppend(&out, "0x", absl::Hex(v)); }

// A 32-bit bound shares its text with an equal 64-bit one; in hexadecimal it must not show a sign extension.
uint64_t Widen(int32_t v) { return IsSignedDecimal(v) ? static_cast<uint64_t>(int64_t{v}) : static_cast<uint32_t>(v); }

}  // namespace

void AppendLogNumber(std::string& out, uint64_t v) {
  if (v <= kMaxDecimal) {
    absl::StrAppend(&out, v);
  } else {
    AppendHex(out, v);
  }
}

void AppendLogSigned(std::string& out, int64_t v) {
  if (IsSignedDecimal(v)) {
    absl::StrAppend(&out, v);
  } else {
    AppendHex(out, static_cast<uint64_t>(v));
  }
}

void AppendScalarRanges(std::string& out, const Scalar& r, bool* comma) {
  struct Item {
    const char* name;
    uint64_t value;
    bool is_signed;
    bool omit;
  };
  Item items[] = {
      {"smin", static_cast<uint64_t>(r.smin), true, r.smin == kS64Min},
      {"smax", static_cast<uint64_t>(r.smax), true, r.smax == kS64Max},
      {"umin", r.umin, false, r.umin == 0},
      {"umax", r.umax, false, r.umax == kU64Max},
      {"smin32", Widen(r.s32_min), true, r.s32_min == kS32Min},
      {"smax32", Widen(r.s32_max), true, r.s32_max == kS32Max},
      {"umin32", r.u32_min, false, r.u32_min == 0},
      {"umax32", r.u32_max, false, r.u32_max == kU32Max},
  };
  constexpr size_t kItems = std::size(items);
  const auto negative = [](const Item& i) { return i.is_signed && static_cast<int64_t>(i.value) < 0; };
  const auto separate = [&] {
    if (*comma) out.push_back(',');
    *comma = true;
  };
  for (size_t i = 0; i < kItems; ++i) {
    if (items[i].omit) continue;
    separate();
    absl::StrAppend(&out, items[i].name, "=");
    // Further minima (maxima) of the same value and sign join.
    for (size_t k = i + 2; k < kItems; k += 2) {
      if (items[k].omit || items[k].value != items[i].value || negative(items[k]) != negative(items[i])) continue;
      items[k].omit = true;
      absl::StrAppend(&out, items[k].name, "=");
    }
    if (items[i].is_signed) {
      AppendLogSigned(out, static_cast<int64_t>(items[i].value));
    } else {
      AppendLogNumber(out, items[i].value);
    }
  }
  if (r.var_off.IsUnknown()) return;
  separate();
  out += "var_off=";
  AppendTnum(out, r.var_off);
}

void AppendTnum(std::string& out, Tnum t) {
  if (t.IsConst()) {
    AppendLogNumber(out, t.value);
  } else {
    absl::StrAppend(&out, "(0x", absl::Hex(t.value), "; 0x", absl::Hex(t.mask), ")");
  }
}

void AppendScalar(std::string& out, const Scalar& r) {
  if (r.IsConst()) {
    AppendLogSigned(out, static_cast<int64_t>(r.ConstValue()));
    return;
  }
  bool comma = false;
  out += "scalar(";
  AppendScalarRanges(out, r, &comma);
  out += ")";
}

std::string TnumText(const Tnum& t) {
  std::string out;
  AppendTnum(out, t);
  return out;
}

}  // namespace bpfsieve
