#include "engine/program/stack_flow.h"

namespace bpfsieve::stack_flow {

Flow FlowOf(const Cfg& cfg, int sub, Arena& arena) {
  Flow flow;
  const uint32_t start = cfg.subs[sub].start, end = cfg.subs[sub].end;
  const auto block_at = arena.Make<int>(end - start);  // where a block begins: its number, and one
  int leaders = 1;
  const auto lead = [&](uint32_t i) {
    leaders += block_at[i - start] == 0;
    block_at[i - start] = 1;
  };
  block_at[0] = 1;
  for (uint32_t i = start; i < end; ++i) {
    const Cfg::Place& place = cfg.at[i];
    if (place.edge < Edge::kCond) continue;
    if (place.edge != Edge::kExit) lead(place.target);
    if (i + 1 < end) lead(i + 1);
  }
  const auto blocks = arena.Make<Block>(static_cast<size_t>(leaders));
  int made = 0;
  for (uint32_t i = start; made < leaders; ++i) {
    if (block_at[i - start] == 0) continue;
    if (made > 0) blocks[made - 1].end = i;
    blocks[made].start = i;
    block_at[i - start] = ++made;
  }
  blocks.back().end = end;
  for (Block& block : blocks) {
    uint32_t last = block.end - 1;
    if (last > block.start && cfg.at[last - 1].edge == Edge::kOver) --last;  // `last` is its second half
    uint32_t next[2];
    const int count = Successors(cfg, last, next);
    for (int k = 0; k < count; ++k) block.next[k] = block_at[next[k] - start] - 1;
  }
  // Postorder by an explicit stack of blocks and how many of their successors were entered.
  struct Entered {
    int block, entered;
  };
  const auto order = arena.Make<int>(blocks.size(), -1);
  ArenaList<int> postorder(arena, blocks.size());
  ArenaList<Entered> path(arena, blocks.size());
  path.push_back({0, 0});
  order[0] = 0;
  while (!path.empty()) {
    auto& [block, entered] = path.back();
    const int next = entered < 2 ? blocks[block].next[entered++] : -1;
    if (next >= 0) {
      if (order[next] < 0) {
        order[next] = 0;
        path.push_back({next, 0});
      }
    } else if (entered >= 2) {
      postorder.push_back(block);
      path.pop_back();
    }
  }
  const int count = static_cast<int>(postorder.size());
  for (int k = 0; k < count; ++k) order[postorder[k]] = count - 1 - k;
  flow.blocks = arena.Make<Block>(static_cast<size_t>(count));
  for (const int block : postorder) {
    Block& out = flow.blocks[order[block]];
    out = blocks[block];
    for (int& next : out.next) {
      if (next >= 0) next = order[next];
      flow.loops |= next >= 0 && next <= order[block];
    }
  }
  flow.complete = flow.blocks.size() == blocks.size();
  return flow;
}

}  // namespace bpfsieve::stack_flow
