#include "fuzz/may_crash.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "engine/isa/assembler.h"
#include "fuzz/generate.h"

namespace bpfsieve {
namespace {

bool MayCrash(const std::string& text, ProgType type = ProgType::kUnspec) {
  Program p;
  p.type = type;
  p.subprogs.push_back({0, "main", 0, false});
  const absl::StatusOr<std::vector<Insn>> insns = Assemble(text);
  EXPECT_TRUE(insns.ok()) << insns.status() << "\n" << text;
  if (!insns.ok()) return false;
  p.insns = *insns;
  return MayCrashTheKernel(p);
}

// What makes it a program with functions: one that is called, and calls nothing itself.
const char kFunction[] = "call f\nexit\nf:\nr0 = 0\nexit\n";

TEST(MayCrash, NumberPlusPointerToTheStack) {
  for (const char* text : {
           "r1 = 0\nr1 += r10\n",
           "r2 = r10\nr2 += -8\nr1 = 0\nr1 += r2\n",
           "r2 = 0\nloop:\nr1 = 0\nr1 += r2\nr2 = r10\nif r1 == 5 goto loop\n",        // on another way
           "r2 = 0\nif r1 == 0 goto pc+1\nr2 = r10\nr1 = 0\nr1 += r2\n",
           "r2 = r10\ngotol over\nr2 = 0\nover:\nr1 = 0\nr1 += r2\n",
           "r3 = r10\nr2 = r3\nr1 = 0\nr1 += r2\n",                                   // by way of another
           "r2 = 8\nr2 += r10\nr1 = 0\nr1 += r2\n",                                   // a sum is one
           "*(u64 *)(r10 -8) = r10\nr2 = *(u64 *)(r10 -8)\nr1 = 0\nr1 += r2\n",       // by way of memory
           "*(u64 *)(r10 -8) = r10\nr2 = atomic64_xchg((u64 *)(r10 -8), r2)\nr1 = 0\nr1 += r2\n",
           "*(u64 *)(r10 -8) = r10\nr0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)\nr1 = 0\nr1 += r0\n",
       }) {
    EXPECT_TRUE(MayCrash(std::string(text) + kFunction)) << text;
    EXPECT_FALSE(MayCrash(std::string(text) + "r0 = 0\nexit\n")) << "without functions: " << text;
  }
}

TEST(MayCrash, AcrossCalls) {
  EXPECT_TRUE(MayCrash("call f\nexit\nf:\nr1 = 0\nr1 += r10\nr0 = 0\nexit\n"));
  EXPECT_TRUE(MayCrash("r2 = r10\ncall f\nexit\nf:\nr1 = 0\nr1 += r2\nr0 = 0\nexit\n")) << "an argument";
  EXPECT_TRUE(MayCrash("call f\nr1 = 0\nr1 += r0\nexit\nf:\nr0 = r10\nexit\n")) << "what is returned";
  EXPECT_TRUE(MayCrash("r6 = r10\ncall f\nr1 = 0\nr1 += r6\nexit\nf:\nr6 = 0\nr0 = 0\nexit\n")) << "kept across a call";
  EXPECT_TRUE(MayCrash("r1 = r10\ncall f\nr2 = *(u64 *)(r10 -8)\nr3 = 0\nr3 += r2\nexit\nf:\n*(u64 *)(r1 -8) = r10\nr0 = 0\nexit\n"))
      << "where the caller finds it";
}

TEST(MayCrash, NotAnyOtherSum) {
  for (const char* text : {
           "r1 = r10\nr1 += r2\n",  // a pointer plus a number
           "r1 = r10\nr1 += -8\n",
           "r1 = 0\nw1 += w10\n",  // 32 bits: no pointer comes of it
           "r1 = 0\nr1 -= r10\n",
           "r2 = r10\nr2 = 0\nr1 = 0\nr1 += r2\n",    // not any more
           "r2 = r10\ncall 5\nr1 = 0\nr1 += r0\n",
           "r2 = *(u64 *)(r1 +0)\nr1 = 0\nr1 += r2\n",  // nothing that could be a pointer was ever stored
       }) {
    EXPECT_FALSE(MayCrash(std::string(text) + kFunction)) << text;
  }
}

// A callback's arguments are in other registers than the caller's were: any of them may be the pointer.
TEST(MayCrash, ArgumentsOfACallback) {
  const std::string address = "r2 = func[f] ll\nr0 = 0\nexit\nf:\n";
  EXPECT_TRUE(MayCrash(address + "r0 = 0\nr0 += r4\nexit\n"));
  EXPECT_TRUE(MayCrash(address + "r0 = 0\nr0 += r10\nexit\n"));
  EXPECT_FALSE(MayCrash(address + "r0 = 0\nr6 = 0\nr0 += r6\nexit\n"));
  EXPECT_TRUE(MayCrash("r1 = 0\nr1 += r10\nr2 = func[f] ll\nr0 = 0\nexit\nf:\nr0 = 0\nexit\n"));
  Program p;
  p.insns = *Assemble("r0 = 0\nexit\nr0 = 0\nr0 += r3\nexit\n");
  p.subprogs.push_back({0, "main", 0, false});
  EXPECT_FALSE(MayCrashTheKernel(p));
  p.exception_callback = 2;
  EXPECT_TRUE(MayCrashTheKernel(p));
}

TEST(MayCrash, MasksOfASignInALoop) {
  const std::string fork = "r0 s>>= 63\nr0 &= 7\n";
  EXPECT_FALSE(MayCrash("r0 = 0\n" + fork + "exit\n"));
  EXPECT_TRUE(MayCrash("r0 = 0\nagain:\n" + fork + "if r0 == 5 goto again\nexit\n"));
  EXPECT_FALSE(MayCrash("r0 = 0\nagain:\nr0 &= 7\nif r0 == 5 goto again\nexit\n"));
  EXPECT_FALSE(MayCrash("r0 = 0\nr1 = 0\nagain:\nr1 s>>= 63\nr0 &= 7\nif r0 == 5 goto again\nexit\n")) << "of another number";
  EXPECT_TRUE(MayCrash("r0 = 0\nagain:\nr0 s>>= 63\n*(u64 *)(r10 -8) = r0\nr1 = *(u64 *)(r10 -8)\nr1 |= 7\nif r1 == 5 goto again\nexit\n"));
}

TEST(MayCrash, PointerThatAFunctionOfATableReturns) {
  for (const char* text : {
           "call 5\nexit\n",
           "call 5\nr6 = r0\nr0 = r6\nr0 += 8\nexit\n",
           "r0 = map[0] ll\nexit\n",
           "r0 = r10\nexit\n",
           "call 5\n*(u64 *)(r10 -8) = r0\nr0 = *(u64 *)(r10 -8)\nexit\n",
           "call f\nexit\nf:\ncall 5\nexit\n",
       }) {
    EXPECT_TRUE(MayCrash(text, ProgType::kStructOps)) << text;
    EXPECT_FALSE(MayCrash(text)) << text;
  }
  for (const char* text : {
           "r0 = 0\nexit\n",
           "call 5\nr0 = 1\nexit\n",
           "call 5\nr0 &= 1\nexit\n",                                                // a number, or refused
           "call 5\nw0 = w0\nexit\n",
           "call 5\n*(u64 *)(r10 -8) = r0\nr0 = *(u32 *)(r10 -8)\nexit\n",
           "r0 = *(u64 *)(r1 +0)\nexit\n",                                            // a structure, with its types
       }) {
    EXPECT_FALSE(MayCrash(text, ProgType::kStructOps)) << text;
  }
}

// It would be of no use if it kept most programs with functions from the kernel.
TEST(MayCrash, MostGeneratedProgramsAreNot) {
  int functions = 0, may = 0;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    const std::shared_ptr<Object> object = Generate(seed, {});
    const Program& p = object->programs[0];
    functions += p.subprogs.size() > 1;
    may += MayCrashTheKernel(p);
  }
  EXPECT_GT(functions, 300);
  EXPECT_LT(may, functions / 2);
}

}  // namespace
}  // namespace bpfsieve
