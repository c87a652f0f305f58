// Whole files, with a status that tells the user's mistakes apart.
#ifndef BPFSIEVE_BATCH_READ_FILE_H_
#define BPFSIEVE_BATCH_READ_FILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace bpfsieve {

// At most 1 GiB. NotFound, PermissionDenied, or FailedPrecondition (a folder, too large, an I/O error); the message
// names the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// The entries of a list file: its lines without blanks around them, but for empty ones and those that # begins.
std::vector<std::string> ListEntries(std::string_view content);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_READ_FILE_H_
