// Programs of known shape and size, to measure a verifier with: how its work grows with one thing at a time.
#ifndef BPFSIEVE_FUZZ_SHAPES_H_
#define BPFSIEVE_FUZZ_SHAPES_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/program/program.h"

namespace bpfsieve {

struct Shape {
  std::string_view name;
  std::string_view size;  // what the size counts
  uint32_t min = 1, max = 1;
};

// In a fixed order:
//   straight-line    a move, additions of a constant, an exit
//   diamonds         an unknown number decides which of two ways is taken; they meet again, and nothing is left of it
//   precise-counter  the same, but the ways are counted, and in the end the count is an offset into the stack
//   nested-loops     two bounded loops, one within the other; the size is the rounds of each
//   call-chain       calls of a function that calls another and so on, seven deep, each with a spill and a diamond
//   switch           an unknown number is compared with one constant after the other; each has code of its own
//   map-loop         a look-up in a hash, a branch, a bounded loop over the value, a helper: 23 instructions
//   mixed            blocks of packet checks, map look-ups, spills, branches and calls: about 20 instructions each
std::vector<Shape> Shapes();

// An object with one XDP program, which is accepted. Null: no such shape, or a size beyond its limits. A pure function of
// its arguments.
std::shared_ptr<Object> MakeShape(std::string_view name, uint32_t size);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_SHAPES_H_
