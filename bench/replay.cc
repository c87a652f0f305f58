// How far a search would get on more processors than there are: the pieces of a search on one thread (from one prune point
// to the next) are timed, and these times are scheduled on simulated threads by the rule of the parallel search
// (docs/parallel-search.md).
//
//   replay LIST.csv [HANDOVER_NS [ROUNDS]]
//
// LIST.csv names file, section, prog and type (scripts/heavy-set); files lie beside it. A line for each program: what was
// measured (milliseconds, medians of ROUNDS), and the speed-up on 1 to 64 threads.
//
// The model. One thread is the search: it takes the pieces in order, and retires each: the look-up, and what the piece asks
// for (precision, history, forks). A piece that no helper has begun it executes itself; for one in progress it waits; one
// that is done costs a hand-over on top. A free helper takes the piece that the search will come to first, of those whose
// predecessor on the path is done, at most kWindow ahead of the search. It pays the piece's execution, a look-up of its
// own, and for a piece whose predecessor was another thread's, a hand-over. What helpers execute in vain is not in the
// record of one thread: their time is stretched by what the real run on two threads, with helpers at work from the start,
// executed and did not use.
//
// HANDOVER_NS is what a piece costs on the way to another processor: a dozen cache lines, each of which takes half of a round
// trip of scripts/core-latency.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "bpfsieve/verify.h"
#include "engine/program/program.h"
#include "engine/verify/passes.h"

namespace bpfsieve {
namespace {

constexpr size_t kWindow = 4096;
constexpr unsigned kThreads[] = {1, 2, 4, 8, 16, 32, 64};

// Of a piece, in nanoseconds.
struct Timed {
  uint32_t parent;
  double work, look, honour;
};

struct Costs {
  double handover = 0;  // ns
  double in_vain = 1;   // of helpers: executed over used
};

// Nanoseconds until all pieces are retired.
double Schedule(const std::vector<Timed>& pieces, unsigned threads, const Costs& costs) {
  constexpr double kNever = 1e300;
  const size_t n = pieces.size();
  std::vector<double> done(n, kNever);     // when it is executed
  std::vector<uint8_t> begun(n, 0);
  std::vector<unsigned> by(n, 0);          // thread; 0: the search
  std::vector<std::vector<uint32_t>> next(n);
  std::set<uint32_t> ready;                // its predecessor is done, and it is not begun
  for (uint32_t i = 0; i < n; ++i) {
    if (pieces[i].parent == ~0u) {
      ready.insert(i);
    } else {
      next[pieces[i].parent].push_back(i);
    }
  }
  // What happens: at a time, a helper (1..) is done with its piece, or the search (0) with its.
  using Event = std::pair<double, unsigned>;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  std::vector<uint32_t> at(threads, ~0u);  // the piece that the thread is at; ~0: none
  std::vector<unsigned> idle;
  for (unsigned t = threads; t-- > 1;) idle.push_back(t);
  uint32_t retired = 0;
  bool waits = false;                      // the search, for a piece in progress
  double now = 0, end = 0;
  const auto execute = [&](uint32_t piece) {
    for (uint32_t later : next[piece]) {
      if (begun[later] == 0) ready.insert(later);
    }
  };
  const auto search = [&] {
    if (retired == n) return;
    const Timed& piece = pieces[retired];
    double cost = piece.look + piece.honour;
    waits = false;
    if (begun[retired] == 0) {
      begun[retired] = 1;
      ready.erase(retired);
      cost += piece.work;
    } else if (done[retired] > now) {
      waits = true;
      return;
    } else {
      cost += costs.handover;
    }
    at[0] = retired;
    events.push({now + cost, 0});
  };
  const auto help = [&] {
    while (!idle.empty() && !ready.empty() && *ready.begin() < retired + kWindow) {
      const unsigned thread = idle.back();
      idle.pop_back();
      const uint32_t i = *ready.begin();
      ready.erase(ready.begin());
      begun[i] = 1;
      by[i] = thread;
      at[thread] = i;
      const bool own = pieces[i].parent != ~0u && by[pieces[i].parent] == thread;
      events.push({now + (pieces[i].work + pieces[i].look) * costs.in_vain + (own ? 0 : costs.handover), thread});
    }
  };
  search();
  help();
  while (!events.empty()) {
    const auto [time, thread] = events.top();
    events.pop();
    now = time;
    const uint32_t piece = at[thread];
    if (thread == 0) {
      if (done[piece] > now) {
        done[piece] = now;
        execute(piece);
      }
      ++retired;
      end = now;
      search();
    } else {
      done[piece] = now;
      execute(piece);
      idle.push_back(thread);
      if (waits && piece == retired) search();
    }
    help();
  }
  return end;
}

double Ms(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

int Replay(const ObjectFile& file, int index, const std::string& name, double handover, int rounds) {
  const Object& object = file.object();
  const Passes passes(object, object.programs[index]);
  if (passes.settled()) {
    absl::FPrintF(stderr, "replay: %s has no paths\n", name);
    return 2;
  }
  VerifyOptions alone_options, two_options;
  alone_options.parallel_stats = two_options.parallel_stats = true;
  two_options.threads = 2;
  two_options.threads_from = 0;
  std::vector<double> alone, two, metered;
  std::vector<PieceTime> ticks;
  uint64_t ahead = 0, used = 0, processed = 0;
  oneapi::tbb::task_arena arena(2);
  const auto timed = [&](std::vector<double>& to, const VerifyOptions& options, const SearchHooks& hooks = {}) {
    const auto begin = std::chrono::steady_clock::now();
    SearchResult result = passes.Search(options, hooks);
    to.push_back(Ms(std::chrono::steady_clock::now() - begin));
    return result;
  };
  for (int round = 0; round < rounds; ++round) {
    processed = timed(alone, {}).stats.processed;
    const SearchResult result = arena.execute([&] { return timed(two, two_options); });
    ahead += result.speculation.steps;
    used += result.speculation.retired_steps;
    ticks.clear();
    timed(metered, alone_options, {.pieces = &ticks});
  }
  // The clock takes time too: what was measured is brought to the time that the search takes without it.
  double total = 0;
  for (const PieceTime& t : ticks) total += static_cast<double>(t.work + t.look + t.honour);
  const double scale = Median(alone) * 1e6 / total;
  std::vector<Timed> pieces;
  double work = 0, look = 0, honour = 0;
  for (const PieceTime& t : ticks) {
    pieces.push_back({t.parent, static_cast<double>(t.work) * scale, static_cast<double>(t.look) * scale,
                      static_cast<double>(t.honour) * scale});
    work += pieces.back().work, look += pieces.back().look, honour += pieces.back().honour;
  }
  const double in_vain = used > 0 ? static_cast<double>(ahead) / static_cast<double>(used) : 1;
  absl::PrintF("%s,%u,%u,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f", name, processed, pieces.size(), Median(alone), work / 1e6, look / 1e6,
               honour / 1e6, in_vain, Median(alone) / Median(two));
  for (const Costs& costs : {Costs{handover, in_vain}, Costs{0, 1}}) {
    for (unsigned threads : kThreads) absl::PrintF(",%.2f", Median(alone) * 1e6 / Schedule(pieces, threads, costs));
  }
  absl::PrintF("\n");
  fflush(stdout);
  return 0;
}

int Run(const std::string& list, double handover, int rounds) {
  std::ifstream in(list);
  std::string line;
  if (!std::getline(in, line) || line != "file,section,prog,type") {
    absl::FPrintF(stderr, "replay: %s: not a list of file, section, prog and type\n", list);
    return 2;
  }
  const std::string folder = list.find('/') == std::string::npos ? "" : list.substr(0, list.rfind('/') + 1);
  const oneapi::tbb::global_control enough(oneapi::tbb::global_control::max_allowed_parallelism, 2);
  absl::PrintF("program,processed,pieces,alone_ms,work_ms,look_ms,honour_ms,in_vain,real_2");
  for (const char* kind : {"on", "free"}) {
    for (unsigned threads : kThreads) absl::PrintF(",%s_%u", kind, threads);
  }
  absl::PrintF("\n");
  while (std::getline(in, line)) {
    const std::vector<std::string> row = absl::StrSplit(line, ',');
    if (row.size() != 4) continue;
    const absl::StatusOr<ObjectFile> file = ObjectFile::Open(folder + row[0], {.default_type = row[3]});
    if (!file.ok()) {
      absl::FPrintF(stderr, "replay: %s\n", file.status().ToString());
      return 2;
    }
    for (int i = 0; i < file->program_count(); ++i) {
      if (file->program_name(i) != row[2] || (!row[1].empty() && file->section(i) != row[1])) continue;
      const size_t slash = row[0].rfind('/');
      const std::string base = row[0].substr(slash == std::string::npos ? 0 : slash + 1);
      if (int code = Replay(*file, i, base.substr(0, base.rfind(".o")) + ":" + row[2], handover, rounds)) return code;
    }
  }
  return 0;
}

}  // namespace
}  // namespace bpfsieve

int main(int argc, char** argv) {
  double handover = 840;
  int rounds = 3;
  if (argc < 2 || argc > 4 || (argc > 2 && !absl::SimpleAtod(argv[2], &handover)) ||
      (argc > 3 && (!absl::SimpleAtoi(argv[3], &rounds) || rounds < 1))) {
    absl::FPrintF(stderr, "replay LIST.csv [HANDOVER_NS [ROUNDS]]\n");
    return 2;
  }
  return bpfsieve::Run(argv[1], handover, rounds);
}
