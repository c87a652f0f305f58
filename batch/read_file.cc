#include "batch/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace bpfsieve {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;

absl::Status Failed(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed(path, errno);
  absl::StatusOr<std::string> result = std::string();
  struct stat info;
  if (fstat(fd, &info) != 0) {
    result = Failed(path, errno);
  } else if (S_ISDIR(info.st_mode)) {
    result = Failed(path, EISDIR);
  } else if (info.st_size > kMaxBytes) {
    result = Failed(path, EFBIG);
  }
  char buffer[64 << 10];
  while (result.ok()) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      result = Failed(path, errno);
    } else if (static_cast<int64_t>(result->size()) + n > kMaxBytes) {
      result = Failed(path, EFBIG);
    } else {
      result->append(buffer, n);
    }
  }
  close(fd);
  return result;
}

std::vector<std::string> ListEntries(std::string_view content) {
  std::vector<std::string> entries;
  for (absl::string_view line : absl::StrSplit(absl::string_view(content.data(), content.size()), '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty() && line[0] != '#') entries.emplace_back(line);
  }
  return entries;
}

}  // namespace bpfsieve
