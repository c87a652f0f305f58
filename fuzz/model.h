// What the generator believes of a program's state: for each register and stack slot the kind of its content and, of a
// number, a range that a verifier will know it to be in. Deliberately rough: it has to be right often, not always.
#ifndef BPFSIEVE_FUZZ_MODEL_H_
#define BPFSIEVE_FUZZ_MODEL_H_

#include <array>
#include <cstdint>

namespace bpfsieve {

inline constexpr int kModelRegs = 10;   // R0..R9
inline constexpr int kModelSlots = 16;  // slot i is fp - 8 * (i + 1)

struct Value {
  enum class Kind : uint8_t {
    kNone,       // nothing has been put there
    kMixed,      // depends on the path
    kScalar,
    kCtx,
    kMapValue,   // not null
    kRingMem,    // not null
    kSlice,      // memory that a dynptr stands for; not null
    kBuffer,     // a function's argument: memory of any kind, at least `room` bytes
    kStack,      // of this function, at fp + off
    kPacket,
    kPacketEnd,
    kDynptr,     // an argument that is one
    kOwn,        // an object of the program's own, held or lent; not null
  };
  Kind kind = Kind::kNone;
  bool var = false;       // pointers: a number has been added, so its alignment is unknown
  bool writable = true;   // pointers
  bool atomics = false;   // pointers: atomic operations are allowed
  int16_t off = 0;        // kStack
  uint64_t min = 0, max = ~uint64_t{0};  // kScalar: unsigned 64 bits
  // Pointers: bytes [lo, room) from the pointer on may be accessed.
  int32_t lo = 0, room = 0;

  bool IsScalar() const { return kind == Kind::kScalar; }
  bool IsMemory() const { return kind >= Kind::kMapValue && kind <= Kind::kPacket; }
  static Value Scalar(uint64_t min = 0, uint64_t max = ~uint64_t{0}) {
    Value v;
    v.kind = Kind::kScalar;
    v.min = min;
    v.max = max;
    return v;
  }
  static Value Pointer(Kind kind, int32_t room) {
    Value v;
    v.kind = kind;
    v.room = room;
    return v;
  }
};

struct Model {
  std::array<Value, kModelRegs> regs;
  std::array<Value, kModelSlots> slots;
};

// What holds whichever of the two holds.
Value Merged(const Value& a, const Value& b);
void MergeInto(Model& into, const Model& other);

// The result of an operation on numbers (ALU opcode without class and source), over-approximated.
Value AluResult(int op, bool wide, const Value& a, const Value& b);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_MODEL_H_
