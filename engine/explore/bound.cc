#include "engine/explore/bound.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace bpfsieve {

uint64_t LongestPath(const std::vector<PathNode>& paths) {
  std::vector<uint64_t> begin(paths.size(), 0);
  uint64_t longest = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (paths[i].parent != ~0u) begin[i] = begin[paths[i].parent] + paths[i].at;
    longest = std::max(longest, begin[i] + paths[i].length);
  }
  return longest;
}

uint64_t GreedySchedule(const std::vector<PathNode>& paths, unsigned workers) {
  using Timed = std::pair<uint64_t, uint32_t>;
  std::vector<std::vector<uint32_t>> forks(paths.size());
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> forked;  // by time
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> ready;   // by order
  for (uint32_t i = 0; i < paths.size(); ++i) {
    if (paths[i].parent == ~0u) {
      forked.push({0, i});
    } else {
      forks[paths[i].parent].push_back(i);
    }
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> idle_from;
  for (unsigned w = 0; w < workers; ++w) idle_from.push(0);
  uint64_t end = 0;
  while (!forked.empty() || !ready.empty()) {
    uint64_t now = idle_from.top();
    idle_from.pop();
    if (ready.empty()) now = std::max(now, forked.top().first);
    while (!forked.empty() && forked.top().first <= now) {
      ready.push({paths[forked.top().second].order, forked.top().second});
      forked.pop();
    }
    const uint32_t path = ready.top().second;
    ready.pop();
    for (uint32_t fork : forks[path]) forked.push({now + paths[fork].at, fork});
    idle_from.push(now + paths[path].length);
    end = std::max(end, now + paths[path].length);
  }
  return end;
}

}  // namespace bpfsieve
