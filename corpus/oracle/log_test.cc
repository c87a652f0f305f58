#include "corpus/oracle/log.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

constexpr char kRejected[] =
    "0: R1=ctx() R10=fp0\n"
    "R0 !read_ok\n"
    "verification time 21 usec\n"
    "stack depth 32+16\n"
    "processed 4 insns (limit 1000000) max_states_per_insn 3 total_states 5 peak_states 2 mark_read 1\n";

TEST(LogTest, ReadsTheStatistics) {
  const LogStats stats = ParseLogStats(kRejected);
  EXPECT_EQ(stats.processed, 4);
  EXPECT_EQ(stats.max_states_per_insn, 3);
  EXPECT_EQ(stats.total_states, 5);
  EXPECT_EQ(stats.peak_states, 2);
  EXPECT_EQ(stats.mark_read, 1);
  EXPECT_EQ(stats.verification_usec, 21);
  EXPECT_EQ(stats.stack_depth, 48);
}

TEST(LogTest, ALogWithoutStatisticsHasNone) {
  const LogStats stats = ParseLogStats("unreachable insn 3\n");
  EXPECT_EQ(stats.processed, -1);
  EXPECT_EQ(stats.verification_usec, -1);
  EXPECT_EQ(stats.stack_depth, -1);
}

TEST(LogTest, NumbersThatNoKernelPrintsAreNone) {
  const LogStats stats = ParseLogStats("processed -4 insns\nstack depth 99999999999999999999+9223372036854775807+-5+8\n");
  EXPECT_EQ(stats.processed, -1);
  EXPECT_EQ(stats.stack_depth, 8);
}

TEST(LogTest, TheMessageIsTheLastLineThatIsNoStatistic) { EXPECT_EQ(LastMessage(kRejected), "R0 !read_ok"); }

TEST(LogTest, TheStatesThatAnInfiniteLoopRepeatsAreNoMessage) {
  EXPECT_EQ(LastMessage("infinite loop detected at insn 1\ncur state: R0=0 R10=fp0\nold state: R0=0 R10=fp0\n"
                        "processed 3 insns\n"),
            "infinite loop detected at insn 1");
}

TEST(LogTest, AMessageWithoutItsLineEndIsCutOffTheStatistics) {
  EXPECT_EQ(LastMessage("expected prog array map for tail callverification time 11 usec\nprocessed 3 insns\n"),
            "expected prog array map for tail call");
  EXPECT_EQ(ParseLogStats("no line endverification time 11 usec\n").verification_usec, 11);
}

TEST(LogTest, AnEmptyLogHasNoMessage) {
  EXPECT_EQ(LastMessage(""), "");
  EXPECT_EQ(LastMessage("processed 2 insns\n\n"), "");
}

}  // namespace
}  // namespace bpfsieve
