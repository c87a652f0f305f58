#include "engine/explore/bound.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

// A trunk of 10 instructions with two forks of 10 each, after 2 and after 4.
std::vector<PathNode> Trunk() { return {{~0u, 0, 0, 10}, {0, 2, 2, 10}, {0, 1, 4, 10}}; }

TEST(Bound, LongestChainGoesThroughTheLatestFork) { EXPECT_EQ(LongestPath(Trunk()), 14u); }

TEST(Bound, OneWorkerDoesAllTheWork) { EXPECT_EQ(GreedySchedule(Trunk(), 1), 30u); }

// The second worker takes the first fork at 2 and ends it at 12; the other one is free for the second at 10.
TEST(Bound, TwoWorkersShareIt) { EXPECT_EQ(GreedySchedule(Trunk(), 2), 20u); }

TEST(Bound, ManyWorkersReachTheLongestChain) { EXPECT_EQ(GreedySchedule(Trunk(), 64), 14u); }

TEST(Bound, EarlierPathsGoFirst) {
  // Both forks are there when the worker becomes free; the one that the search explores first is the longer one.
  EXPECT_EQ(GreedySchedule({{~0u, 0, 0, 4}, {0, 2, 1, 2}, {0, 1, 2, 6}}, 1), 12u);
  EXPECT_EQ(GreedySchedule({}, 4), 0u);
}

}  // namespace
}  // namespace bpfsieve
