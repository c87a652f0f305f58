// The smallest program that embeds the engine: opens the objects given and prints a verdict per program.
// Exit codes: 0 all accepted, 1 some not, 2 an object could not be opened.
#include <iostream>

#include "bpfsieve/verify.h"

int main(int argc, char** argv) {
  bool all_accepted = true;
  for (int arg = 1; arg < argc; ++arg) {
    absl::StatusOr<bpfsieve::ObjectFile> object = bpfsieve::ObjectFile::Open(argv[arg], {});
    if (!object.ok()) {
      std::cerr << argv[arg] << ": " << object.status().message() << "\n";
      return 2;
    }
    for (int i = 0; i < object->program_count(); ++i) {
      bpfsieve::Report report = bpfsieve::Verify(*object, i, {});
      std::cout << object->program_name(i) << ": " << report.verdict;
      if (!report.message.empty()) std::cout << " (" << report.rule << ": " << report.message << ")";
      std::cout << "\n";
      all_accepted = all_accepted && report.verdict == "accept";
    }
  }
  return all_accepted ? 0 : 1;
}
