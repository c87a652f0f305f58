// Access to the context and to sockets.

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr uint32_t kAnyAttach = ~0u;

// Accesses of one of the sizes (a sum of 1, 2, 4, 8), aligned to the size and wholly inside [begin, end); with
// `at_begin` only at `begin`.
struct Field {
  uint8_t profile;
  bool at_begin;
  int16_t begin;
  int16_t end;
  uint8_t load_sizes;
  uint8_t store_sizes;
  CtxYield yield;
};
constexpr Field kFields[] = {
#define FIELD(profile, begin, end, loads, stores, yield) \
  {profile, false, begin, end, loads, stores, CtxYield::k##yield},
#define START(profile, begin, end, loads, stores, yield) {profile, true, begin, end, loads, stores, CtxYield::k##yield},
#include "engine/spec/tables/ctx_access.inc"
#undef START
#undef FIELD
};

constexpr uint32_t AttachNumber(AttachType attach) { return static_cast<uint32_t>(attach); }
consteval uint32_t AttachNumber(uint32_t attach) { return attach; }

struct Use {
  ProgType type;
  uint32_t attach;
  uint8_t profile;
};
constexpr Use kUses[] = {
#define USE(type, attach, profile) {ProgType::k##type, AttachNumber(attach), profile},
#include "engine/spec/tables/ctx_access.inc"
#undef USE
};

struct SockField {
  SockKind kind;
  bool at_begin;
  int16_t begin;
  int16_t end;
  uint8_t load_sizes;
};
constexpr SockField kSockFields[] = {
#define SOCK(kind, begin, end, loads) {SockKind::k##kind, false, begin, end, loads},
#define SOCK_START(kind, begin, end, loads) {SockKind::k##kind, true, begin, end, loads},
#include "engine/spec/tables/ctx_access.inc"
#undef SOCK_START
#undef SOCK
};

// Rows of a profile are [kProfileBegin[p], kProfileBegin[p + 1]).
constexpr size_t kProfileCount = kFields[std::size(kFields) - 1].profile + 1;
consteval std::array<uint16_t, kProfileCount + 1> ProfileBegins() {
  std::array<uint16_t, kProfileCount + 1> begins{};
  size_t row = 0;
  for (size_t profile = 0; profile <= kProfileCount; ++profile) {
    while (row < std::size(kFields) && kFields[row].profile < profile) ++row;
    begins[profile] = static_cast<uint16_t>(row);
  }
  return begins;
}
constexpr std::array<uint16_t, kProfileCount + 1> kProfileBegin = ProfileBegins();

constexpr CtxAccess kRefused{};
constexpr CtxAccess kScalarAccess{true, CtxYield::kScalar};

constexpr bool IsSize(int size) { return size == 1 || size == 2 || size == 4 || size == 8; }

// Whether an access of the sizes in `sizes` fits a row: see Field.
template <typename Row>
bool Fits(const Row& row, int off, int size, uint8_t sizes) {
  if (off < row.begin || off >= row.end) return false;
  if (row.at_begin ? off != row.begin : off + size > row.end) return false;
  return (sizes & size) != 0 && off % size == 0;
}

CtxAccess InProfile(size_t profile, int off, int size, bool write) {
  for (size_t i = kProfileBegin[profile]; i < kProfileBegin[profile + 1]; ++i) {
    const Field& field = kFields[i];
    if (Fits(field, off, size, write ? field.store_sizes : field.load_sizes)) return {true, field.yield};
  }
  return kRefused;
}

}  // namespace

CtxAccess CheckCtxAccess(ProgType type, AttachType attach, int off, int size, bool write) {
  if (!IsSize(size)) return kRefused;
  constexpr int kMaxContext = 1 << 16;
  if (off < 0 || off >= kMaxContext) return kRefused;
  switch (type) {
    case ProgType::kTracepoint: {
      // The record of the event, without the 8 bytes of common fields that the program must not see. The kernel lets
      // negative offsets through, by an unsigned comparison; no compiler makes them, and they read foreign memory.
      constexpr int kHidden = 8, kMaxRecord = 8192;
      const bool ok = !write && off >= kHidden && off < kMaxRecord && off % size == 0;
      return ok ? kScalarAccess : kRefused;
    }
    case ProgType::kSyscall:
      // What the caller passes; its length is checked when the program runs.
      return off < kMaxContext - 1 && off % size == 0 ? kScalarAccess : kRefused;
    case ProgType::kLircMode2: return !write && off == 0 && size == 4 ? kScalarAccess : kRefused;
    default: break;
  }
  for (const Use& use : kUses) {
    if (use.type != type || (use.attach != kAnyAttach && use.attach != AttachNumber(attach))) continue;
    return InProfile(use.profile, off, size, write);
  }
  return kRefused;
}

bool CtxAccessAllowed(ProgType type, int off, bool write, CtxYield yield, const Capabilities& caps) {
  if (caps.bpf || type != ProgType::kCgroupSkb) return true;
  constexpr int kTstamp = 152;  // struct __sk_buff
  return write ? off != kTstamp : yield != CtxYield::kPacket && yield != CtxYield::kPacketEnd;
}

bool CheckSockLoad(SockKind kind, int off, int size) {
  if (!IsSize(size)) return false;
  for (const SockField& field : kSockFields) {
    if (field.kind == kind && Fits(field, off, size, field.load_sizes)) return true;
  }
  return false;
}

const char* CtxUnsupported(ProgType type) {
  switch (type) {
    case ProgType::kTracing: return "context: tracing";
    case ProgType::kLsm: return "context: lsm";
    case ProgType::kStructOps: return "context: struct_ops";
    case ProgType::kExt: return "context: ext";
    default: return nullptr;
  }
}

}  // namespace bpfsieve
