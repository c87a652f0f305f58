// From what the user named (files, folders, globs, @lists) to the files to read, in a fixed order.
#ifndef BPFSIEVE_BATCH_INPUTS_H_
#define BPFSIEVE_BATCH_INPUTS_H_

#include <string>
#include <vector>

namespace bpfsieve {

struct InputFile {
  std::string path;
  bool found = false;  // in a folder, by its extension, rather than named: skipped where it is no BPF object
};
struct Inputs {
  std::vector<InputFile> files;     // each path once, in the order named; a folder's files by path
  std::vector<std::string> errors;  // what is missing or cannot be read
};
// Folders are searched recursively for *.o, *.bpfasm and *.bin, without following symbolic links to folders. @FILE
// names a file of such paths, one per line, # begins a comment. What does not exist and has *, ? or [ is a glob.
Inputs ExpandInputs(const std::vector<std::string>& paths);

// Whether the bytes are an ELF file for some other machine.
bool IsForeignElf(const std::string& bytes);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_INPUTS_H_
