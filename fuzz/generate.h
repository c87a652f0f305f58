// Programs for testing, made from bytes.
//
// A program is put together from fragments as people write them: packet parsing, map look-ups, loops, calls. While it
// writes, the generator keeps a rough model of what each register and stack slot holds, so that most fragments are
// right, and a knob says how many are not: a check left out, a bound that is one too large, a value that one path never
// set. Programs of one kind alone would test little: a verifier that accepts everything passes on the right ones.
//
// Not a fuzzer of encodings: apart from those defects the text of every program is in order.
#ifndef BPFSIEVE_FUZZ_GENERATE_H_
#define BPFSIEVE_FUZZ_GENERATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/program/program.h"
#include "engine/spec/spec.h"

namespace bpfsieve {

struct GenerateOptions {
  // Probability that a fragment has a defect: 0 mostly valid, 1 mostly broken. Some programs are rejected at 0 too,
  // since the model is rougher than a verifier, and some defects do no harm.
  double broken = 0.08;
  int max_insns = 400;      // no fragment begins beyond this many instructions (so the program is somewhat longer)
  int max_fragments = 14;   // of the main program's outermost block
  int max_depth = 3;        // of blocks within blocks
  int max_forks = 7;        // conditional jumps whose outcome is open, counted once per way of getting there
  int loop_bound = 5;       // greatest number of rounds of a loop
  bool maps = true;
  bool subprograms = true;
  // Loops that end by themselves: may_goto, iterators, and functions that a helper calls back (only with `subprograms`). A
  // program with one is searched by one thread.
  bool open_loops = true;
  // Also ask for the number of the processor. The kernel takes the result to be below the number of its own machine's,
  // so two verifiers need not agree on such programs.
  bool processor_number = false;

  // What the loader may do. Without CAP_PERFMON, programs are what is then accepted: no variable offsets into the stack, and
  // nothing of the kernel's.
  Capabilities caps{};

  // Objects of the kernel's own types: their text is only verified as it was meant with the same types at hand.
  bool kernel_objects = true;
  std::shared_ptr<const KernelBtf> kernel_types{};  // what these look like; null: SmallKernel()

  // Thousands of instructions and so many forks that only a search with pruning gets through.
  static GenerateOptions Big();
};

// An object with one program of the name "generated": of any type that the engine models, most often XDP, with its maps
// and, where the program or a map needs it, BTF. Never null. A pure function of its arguments.
std::shared_ptr<Object> Generate(std::span<const uint8_t> bytes, const GenerateOptions& options);

// The same from a seed, which stands for a sequence of bytes that is long enough for the options.
std::shared_ptr<Object> Generate(uint64_t seed, const GenerateOptions& options);

// `count` bytes from a seed: the start of the seed's sequence.
std::vector<uint8_t> SeedBytes(uint64_t seed, size_t count);

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_GENERATE_H_
