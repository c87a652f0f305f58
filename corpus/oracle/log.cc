#include "corpus/oracle/log.h"

#include <charconv>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace bpfsieve {
namespace {

absl::string_view View(std::string_view s) { return {s.data(), s.size()}; }

// The number that follows `key` in `line`, -1: none.
int64_t NumberAfter(absl::string_view line, absl::string_view key) {
  const size_t at = line.find(key);
  if (at == absl::string_view::npos) return -1;
  int64_t value = -1;
  const char* begin = line.data() + at + key.size();
  if (std::from_chars(begin, line.data() + line.size(), value).ec != std::errc() || value < 0) return -1;
  return value;
}

bool IsStatistic(absl::string_view line) {
  return absl::StartsWith(line, "processed ") || absl::StartsWith(line, "verification time ") ||
         absl::StartsWith(line, "stack depth ") || absl::StartsWith(line, "insns processed");
}

// The two states that follow "infinite loop detected".
bool IsState(absl::string_view line) {
  return absl::StartsWith(line, "cur state:") || absl::StartsWith(line, "old state:");
}

}  // namespace

LogStats ParseLogStats(std::string_view log) {
  LogStats out;
  // The statistics are the last few lines; a level-2 log is long.
  const std::string_view tail = log.size() > 4096 ? log.substr(log.size() - 4096) : log;
  for (absl::string_view line : absl::StrSplit(View(tail), '\n')) {
    if (absl::StartsWith(line, "processed ")) {
      out.processed = NumberAfter(line, "processed ");
      out.max_states_per_insn = NumberAfter(line, "max_states_per_insn ");
      out.total_states = NumberAfter(line, "total_states ");
      out.peak_states = NumberAfter(line, "peak_states ");
      out.mark_read = NumberAfter(line, "mark_read ");
    } else if (absl::StrContains(line, "verification time ")) {
      out.verification_usec = NumberAfter(line, "verification time ");
    } else if (absl::StartsWith(line, "stack depth ")) {
      out.stack_depth = 0;
      for (absl::string_view part : absl::StrSplit(line.substr(12), absl::ByAnyChar("+ "))) {
        uint32_t value = 0;
        if (std::from_chars(part.data(), part.data() + part.size(), value).ec == std::errc()) out.stack_depth += value;
      }
    }
  }
  return out;
}

std::string LastMessage(std::string_view log) {
  size_t end = log.size();
  while (end > 0) {
    const size_t newline = log.rfind('\n', end - 1);
    const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    absl::string_view line = View(log.substr(begin, end - begin));
    // A few messages of the kernel lack their line end.
    if (const size_t glued = line.find("verification time "); glued != absl::string_view::npos && glued > 0) {
      line = line.substr(0, glued);
    }
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty() && !IsStatistic(line) && !IsState(line)) return std::string(line);
    if (newline == std::string_view::npos) break;
    end = newline;
  }
  return "";
}

}  // namespace bpfsieve
