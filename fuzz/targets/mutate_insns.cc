#include "fuzz/targets/mutate_insns.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "engine/isa/decode.h"
#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

using Random = std::minstd_rand;

// Once in so many times a change is made whatever comes of it: what a verifier says to such programs is to be tested, too.
constexpr unsigned kCareless = 64;

bool Branches(const Insn& i) { return IsJmpClass(i) && JmpOp(i) != kCall && JmpOp(i) != kExit; }
bool NamesFunction(const Insn& i) { return IsPseudoCall(i) || IsPseudoFunc(i); }
bool WideTarget(const Insn& i) { return NamesFunction(i) || i.code == (kClassJmp32 | kJa); }

// An instruction with both its halves, and the one that it names.
struct Unit {
  static constexpr int kNone = -1;  // none, or one that is not there: its field stays as it is
  Insn insn, second;
  bool wide = false;
  int target = kNone;

  size_t size() const { return wide ? 2 : 1; }
  // Whether the fields hold what they may.
  bool WellFormed() const {
    const Insn both[] = {insn, second};
    return !CheckEncoding(both, size()) && !CheckInsn(insn);
  }
};

struct Text {
  uint8_t type = 0;
  std::vector<Unit> units;

  size_t Bytes() const {
    size_t insns = 0;
    for (const Unit& u : units) insns += u.size();
    return 1 + insns * sizeof(Insn);
  }
  // The function that a unit belongs to, as [first, last].
  std::pair<int, int> Function(int at) const {
    int first = 0, last = static_cast<int>(units.size()) - 1;
    for (const Unit& u : units) {
      if (!NamesFunction(u.insn) || u.target == Unit::kNone) continue;
      if (u.target <= at) {
        first = std::max(first, u.target);
      } else {
        last = std::min(last, u.target - 1);
      }
    }
    return {first, last};
  }
  // A function's last instruction may not go on to the next function's first.
  bool EndsFunction(int at) const { return Function(at).second == at; }
  // Jumps across the place go where they went; what calls a function that begins there calls what is put in front, too.
  void Insert(int at, const std::vector<Unit>& more) {
    for (Unit& u : units) {
      if (u.target > at || (u.target == at && !NamesFunction(u.insn))) u.target += static_cast<int>(more.size());
    }
    units.insert(units.begin() + at, more.begin(), more.end());
  }
  // A jump to what goes leads to what follows.
  void Remove(int at) {
    units.erase(units.begin() + at);
    for (Unit& u : units) {
      if (u.target > at) --u.target;
      if (u.target >= static_cast<int>(units.size())) u.target = static_cast<int>(units.size()) - 1;
    }
  }
};

Text Read(const uint8_t* data, size_t size) {
  Text text;
  if (size == 0) return text;
  text.type = data[0];
  std::vector<Insn> insns((size - 1) / sizeof(Insn));
  if (!insns.empty()) std::memcpy(insns.data(), data + 1, insns.size() * sizeof(Insn));
  std::vector<int> unit_at(insns.size(), Unit::kNone);
  std::vector<int64_t> places;
  for (size_t i = 0; i < insns.size(); i += text.units.back().size()) {
    Unit u;
    u.insn = insns[i];
    u.wide = IsLdImm64(u.insn) && i + 1 < insns.size();
    if (u.wide) u.second = insns[i + 1];
    unit_at[i] = static_cast<int>(text.units.size());
    places.push_back(static_cast<int64_t>(i));
    text.units.push_back(u);
  }
  for (size_t k = 0; k < text.units.size(); ++k) {
    Unit& u = text.units[k];
    if (!Branches(u.insn) && !NamesFunction(u.insn)) continue;
    const int64_t to = places[k] + 1 + (WideTarget(u.insn) ? u.insn.imm : u.insn.off);
    if (to >= 0 && to < static_cast<int64_t>(insns.size())) u.target = unit_at[static_cast<size_t>(to)];
  }
  return text;
}

size_t Write(const Text& text, uint8_t* out, size_t max_size) {
  if (max_size == 0) return 0;
  out[0] = text.type;
  std::vector<int64_t> places;
  int64_t place = 0;
  for (const Unit& u : text.units) {
    places.push_back(place);
    place += static_cast<int64_t>(u.size());
  }
  size_t written = 1;
  for (size_t k = 0; k < text.units.size(); ++k) {
    Unit u = text.units[k];
    if (u.target != Unit::kNone) {
      const int64_t distance = places[static_cast<size_t>(u.target)] - places[k] - 1;
      if (WideTarget(u.insn)) {
        u.insn.imm = static_cast<int32_t>(distance);
      } else {
        u.insn.off = static_cast<int16_t>(distance);
      }
    }
    if (written + u.size() * sizeof(Insn) > max_size) break;
    std::memcpy(out + written, &u.insn, sizeof(Insn));
    if (u.wide) std::memcpy(out + written + sizeof(Insn), &u.second, sizeof(Insn));
    written += u.size() * sizeof(Insn);
  }
  return written;
}

// A jump goes nowhere yet.
Insn SomeInsn(Random& random) {
  static constexpr uint8_t kAlu[] = {kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kNeg, kMod, kXor, kMov, kArsh, kEnd};
  static constexpr uint8_t kJumps[] = {kJeq, kJne, kJset, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle, kJa};
  static constexpr uint8_t kSizes[] = {kSizeB, kSizeH, kSizeW, kSizeDw};
  static constexpr int32_t kCalls[] = {1, 2, 3, 5, 6, 7, 8, 12, 14, 25, 26, 28, 44, 65, 84, 85, 86, 93, 94, 130, 131, 132, 133};
  static constexpr int32_t kAtomics[] = {kAdd,          kAnd,         kOr,          kXor,  kAdd | kFetch, kAnd | kFetch,
                                         kOr | kFetch, kXor | kFetch, kXchg, kCmpxchg, kLoadAcq, kStoreRel};
  const auto below = [&](size_t n) { return static_cast<int>(random() % n); };
  const int dst = below(11), src = below(11);
  const int32_t imm = below(3) == 0 ? static_cast<int32_t>(random()) : below(64) - 16;
  switch (below(10)) {
    case 0:
    case 1:
    case 2: {
      const int cls = below(2) == 0 ? kClassAlu : kClassAlu64;
      const uint8_t op = kAlu[below(std::size(kAlu))];
      if (op == kEnd) return MakeInsn(cls | kEnd | (cls == kClassAlu && below(2) == 0 ? kSrcX : 0), dst, 0, 0, 16 << below(3));
      if (op == kNeg) return MakeInsn(cls | kNeg, dst);
      return below(2) == 0 ? MakeInsn(cls | op | kSrcX, dst, src) : MakeInsn(cls | op, dst, 0, 0, imm);
    }
    case 3:
      return MakeInsn(kClassLdx | (below(6) == 0 ? kModeMemsx : kModeMem) | kSizes[below(4)], dst, src, below(80) - 64);
    case 4:
      return below(2) == 0 ? MakeInsn(kClassStx | kModeMem | kSizes[below(4)], dst, src, below(80) - 64)
                           : MakeInsn(kClassSt | kModeMem | kSizes[below(4)], dst, 0, below(80) - 64, imm);
    case 5:
    case 6: {
      const uint8_t op = kJumps[below(std::size(kJumps))];
      const int cls = below(3) == 0 && op != kJa ? kClassJmp32 : kClassJmp;
      if (op == kJa) return MakeInsn(cls | kJa);
      return below(2) == 0 ? MakeInsn(cls | op | kSrcX, dst, src) : MakeInsn(cls | op, dst, 0, 0, imm);
    }
    case 7: {
      const int size = below(2) == 0 ? kSizeDw : kSizeW;
      return MakeInsn(kClassStx | kModeAtomic | size, dst, src, below(80) - 64, kAtomics[below(std::size(kAtomics))]);
    }
    case 8: return MakeInsn(kCodeLdImm64, dst, 0, 0, imm);
    default: return MakeInsn(kCodeCall, 0, 0, 0, kCalls[below(std::size(kCalls))]);
  }
}

Unit SomeUnit(Random& random) {
  Unit u;
  do {
    u.insn = SomeInsn(random);
    u.wide = IsLdImm64(u.insn);
    u.second = u.wide ? MakeInsn(0, 0, 0, 0, static_cast<int32_t>(random() % 3) - 1) : Insn();
  } while (!u.WellFormed());
  return u;
}

// Another place in the same function, for what jumps.
void Retarget(Random& random, const Text& text, int at, Unit* u) {
  if (!Branches(u->insn)) return;
  const auto [first, last] = text.Function(at);
  u->target = first + static_cast<int>(random() % static_cast<unsigned>(last - first + 1));
}

// One field of an instruction.
void Change(Random& random, const Text& text, int at, Unit* u) {
  Insn& insn = u->insn;
  switch (random() % 5) {
    case 0: insn.dst = static_cast<uint8_t>(random() % 11) & 15; break;
    case 1: insn.src = static_cast<uint8_t>(random() % 11) & 15; break;
    case 2: insn.imm = static_cast<int32_t>(static_cast<uint32_t>(insn.imm) + static_cast<uint32_t>(random() % 17) - 8); break;
    case 3: insn.imm = static_cast<int32_t>(random() % 4 == 0 ? random() : 1u << random() % 32); break;
    default:
      if (Branches(insn)) {
        Retarget(random, text, at, u);
      } else {
        insn.off = static_cast<int16_t>(insn.off + static_cast<int>(random() % 33) - 16);
      }
      break;
  }
}

}  // namespace

size_t MutateInsns(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  Random random(seed + 1);
  Text text = Read(data, size);
  if (text.units.empty()) {
    text.units.resize(2);
    text.units[0].insn = MakeInsn(kClassAlu64 | kMov);
    text.units[1].insn = MakeInsn(kCodeExit);
  }
  for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
    const int count = static_cast<int>(text.units.size());
    const int at = static_cast<int>(random() % static_cast<unsigned>(count));
    const bool careless = random() % kCareless == 0;
    switch (random() % 10) {
      case 0:
      case 1:
      case 2: {
        Unit u = SomeUnit(random);
        if (text.Bytes() + u.size() * sizeof(Insn) > max_size) break;
        Retarget(random, text, at, &u);
        const int target = u.target;
        text.Insert(at, {u});
        if (target >= at) ++text.units[static_cast<size_t>(at)].target;  // as for the jumps that were there
        break;
      }
      case 3:
        if (count > 1 && (careless || !text.EndsFunction(at))) text.Remove(at);
        break;
      case 4: {
        Unit u = SomeUnit(random);
        const Unit& old = text.units[static_cast<size_t>(at)];
        if (text.Bytes() + (u.size() - old.size()) * sizeof(Insn) > max_size || (!careless && text.EndsFunction(at))) break;
        Retarget(random, text, at, &u);
        text.units[static_cast<size_t>(at)] = u;
        break;
      }
      case 9: {
        const int other = static_cast<int>(random() % static_cast<unsigned>(count));
        if (random() % 4 == 0) {
          text.type = static_cast<uint8_t>(random());
        } else if (careless || (text.Function(at) == text.Function(other) && !text.EndsFunction(at) && !text.EndsFunction(other))) {
          std::swap(text.units[static_cast<size_t>(at)], text.units[static_cast<size_t>(other)]);
        }
        break;
      }
      default: {
        // Some fields of some instructions may hold little else than what they do: then another is tried.
        for (int tries = 0; tries < 8; ++tries) {
          Unit u = text.units[static_cast<size_t>(at)];
          Change(random, text, at, &u);
          if (NamesFunction(u.insn) != NamesFunction(text.units[static_cast<size_t>(at)].insn) && !careless) continue;
          if (!careless && !u.WellFormed()) continue;
          text.units[static_cast<size_t>(at)] = u;
          break;
        }
        break;
      }
    }
  }
  return Write(text, data, max_size);
}

size_t CrossInsns(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out, size_t max_size,
                  unsigned seed) {
  Random random(seed + 1);
  Text first = Read(a, a_size);
  const Text second = Read(b, b_size);
  if (second.units.empty()) return Write(first, out, max_size);
  if (first.units.empty()) return Write(second, out, max_size);
  // A stretch of the second in the middle of the first.
  const int from = static_cast<int>(random() % second.units.size());
  const int n = 1 + static_cast<int>(random() % std::min<size_t>(second.units.size() - static_cast<size_t>(from), 16));
  const int at = static_cast<int>(random() % first.units.size());
  std::vector<Unit> stretch(second.units.begin() + from, second.units.begin() + from + n);
  size_t bytes = first.Bytes();
  for (Unit& u : stretch) {
    // What leads out of the stretch leads to its end; there are none of the second's functions here.
    if (NamesFunction(u.insn)) {
      u = Unit();
      u.insn = MakeInsn(kClassAlu64 | kMov, kRegR0);
    } else if (u.target != Unit::kNone) {
      u.target = at + (u.target >= from && u.target < from + n ? u.target - from : n);
    }
    bytes += u.size() * sizeof(Insn);
  }
  if (bytes > max_size) return Write(first, out, max_size);
  first.Insert(at, stretch);
  return Write(first, out, max_size);
}

}  // namespace bpfsieve
