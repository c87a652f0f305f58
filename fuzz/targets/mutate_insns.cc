#include "fuzz/targets/mutate_insns.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

using Random = std::minstd_rand;

struct Bytes {
  uint8_t type = 0;
  std::vector<Insn> insns;
};

Bytes Read(const uint8_t* data, size_t size) {
  Bytes b;
  if (size == 0) return b;
  b.type = data[0];
  b.insns.resize((size - 1) / 8);
  if (!b.insns.empty()) std::memcpy(b.insns.data(), data + 1, b.insns.size() * 8);
  return b;
}

size_t Write(const Bytes& b, uint8_t* out, size_t max_size) {
  if (max_size == 0) return 0;
  out[0] = b.type;
  const size_t n = std::min(b.insns.size(), (max_size - 1) / 8);
  if (n > 0) std::memcpy(out + 1, b.insns.data(), n * 8);
  return 1 + n * 8;
}

bool Branches(const Insn& i) { return IsJmpClass(i) && JmpOp(i) != kCall && JmpOp(i) != kExit; }

// Makes room for `n` instructions at `at`, or takes as many away (n < 0): jumps across the place go where they went.
void Shift(std::vector<Insn>& insns, int64_t at, int64_t n) {
  for (int64_t i = 0; i < static_cast<int64_t>(insns.size()); ++i) {
    Insn& insn = insns[static_cast<size_t>(i)];
    const bool call = IsPseudoCall(insn);
    if (!Branches(insn) && !call) continue;
    const bool wide = call || insn.code == (kClassJmp32 | kJa);
    const int64_t target = i + 1 + (wide ? insn.imm : insn.off);
    const int64_t from = i >= at ? i + n : i, to = target > at || (n > 0 && target == at) ? target + n : target;
    const int64_t distance = to - from - 1;
    if (wide) {
      insn.imm = static_cast<int32_t>(distance);
    } else {
      insn.off = static_cast<int16_t>(distance);
    }
  }
}

Insn SomeInsn(Random& random, size_t at, size_t size) {
  static constexpr uint8_t kAlu[] = {kAdd, kSub, kMul, kDiv, kOr, kAnd, kLsh, kRsh, kNeg, kMod, kXor, kMov, kArsh, kEnd};
  static constexpr uint8_t kJumps[] = {kJeq, kJne, kJset, kJgt, kJge, kJlt, kJle, kJsgt, kJsge, kJslt, kJsle, kJa};
  static constexpr uint8_t kSizes[] = {kSizeB, kSizeH, kSizeW, kSizeDw};
  static constexpr int32_t kCalls[] = {1, 2, 3, 5, 6, 7, 8, 12, 14, 25, 26, 28, 44, 65, 84, 85, 86, 93, 94, 130, 131, 132, 133};
  const auto below = [&](size_t n) { return static_cast<int>(random() % n); };
  const int dst = below(11), src = below(11);
  const int32_t imm = below(3) == 0 ? static_cast<int32_t>(random()) : below(64) - 16;
  switch (below(8)) {
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
      const int off = static_cast<int>(random() % std::max<size_t>(size - at, 1));
      const uint8_t op = kJumps[below(std::size(kJumps))];
      const int cls = below(3) == 0 && op != kJa ? kClassJmp32 : kClassJmp;
      if (op == kJa) return MakeInsn(cls | kJa, 0, 0, off);
      return below(2) == 0 ? MakeInsn(cls | op | kSrcX, dst, src, off) : MakeInsn(cls | op, dst, 0, off, imm);
    }
    default: return MakeInsn(kCodeCall, 0, 0, 0, kCalls[below(std::size(kCalls))]);
  }
}

}  // namespace

size_t MutateInsns(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  Random random(seed + 1);
  Bytes b = Read(data, size);
  for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
    const size_t count = b.insns.size();
    const size_t at = count == 0 ? 0 : random() % count;
    switch (count == 0 ? 0u : random() % 10) {
      case 0:
      case 1:
      case 2:
        Shift(b.insns, static_cast<int64_t>(at), 1);
        b.insns.insert(b.insns.begin() + static_cast<ptrdiff_t>(at), SomeInsn(random, at, count + 1));
        break;
      case 3: {
        Shift(b.insns, static_cast<int64_t>(at), -1);
        b.insns.erase(b.insns.begin() + static_cast<ptrdiff_t>(at));
        break;
      }
      case 4: b.insns[at] = SomeInsn(random, at, count); break;
      case 5: b.insns[at].dst = static_cast<uint8_t>(random() % 11) & 15; break;
      case 6: b.insns[at].src = static_cast<uint8_t>(random() % 11) & 15; break;
      case 7: {
        const uint32_t imm = static_cast<uint32_t>(b.insns[at].imm) + static_cast<uint32_t>(random() % 17) - 8;
        b.insns[at].imm = static_cast<int32_t>(imm);
        break;
      }
      case 8:
        b.insns[at].off = static_cast<int16_t>(Branches(b.insns[at]) ? random() % count : b.insns[at].off + static_cast<int>(random() % 33) - 16);
        break;
      default:
        if (random() % 4 == 0) {
          b.type = static_cast<uint8_t>(random());
        } else {
          std::swap(b.insns[at], b.insns[random() % count]);
        }
        break;
    }
  }
  return Write(b, data, max_size);
}

size_t CrossInsns(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out, size_t max_size,
                  unsigned seed) {
  Random random(seed + 1);
  Bytes first = Read(a, a_size);
  const Bytes second = Read(b, b_size);
  if (second.insns.empty()) return Write(first, out, max_size);
  // A stretch of the second in the middle of the first.
  const size_t from = random() % second.insns.size();
  const size_t n = 1 + random() % std::min<size_t>(second.insns.size() - from, 16);
  const size_t at = random() % (first.insns.size() + 1);
  Shift(first.insns, static_cast<int64_t>(at), static_cast<int64_t>(n));
  first.insns.insert(first.insns.begin() + static_cast<ptrdiff_t>(at), second.insns.begin() + static_cast<ptrdiff_t>(from),
                     second.insns.begin() + static_cast<ptrdiff_t>(from + n));
  return Write(first, out, max_size);
}

}  // namespace bpfsieve
