// How far a search can be spread over threads at all.
//
// A search is a tree of paths: each begins where it forked off another one and ends where it is pruned or done. With
// everything known beforehand, the time on any number of threads is at least that of the longest chain of paths, and
// a greedy schedule (each free worker takes the earliest path, in sequential order, that has been forked) says what can
// be had on a given number. Time is counted in instructions processed.
#ifndef BPFSIEVE_ENGINE_EXPLORE_BOUND_H_
#define BPFSIEVE_ENGINE_EXPLORE_BOUND_H_

#include <cstdint>
#include <vector>

namespace bpfsieve {

struct PathNode {
  uint32_t parent = ~0u;  // the path that it forked off; ~0: a function's entry
  uint32_t order = 0;     // in which the paths were explored
  uint64_t at = 0;        // instructions of the parent before the fork
  uint64_t length = 0;    // instructions
  uint32_t piece = ~0u;   // of the parent in which it forked off, where they are recorded (SearchLimits::pieces)
};

// Instructions on the longest chain. Parents come before their children. Linear time.
uint64_t LongestPath(const std::vector<PathNode>& paths);
// Instructions until all is done on `workers` of them. Time n log n.
uint64_t GreedySchedule(const std::vector<PathNode>& paths, unsigned workers);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_EXPLORE_BOUND_H_
