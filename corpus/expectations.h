// The corpus' own programs and what is expected of each: beside the program in .bpfasm files, in a table for objects.
#ifndef BPFSIEVE_CORPUS_EXPECTATIONS_H_
#define BPFSIEVE_CORPUS_EXPECTATIONS_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bpfsieve/verify.h"
#include "engine/program/asm_object.h"

namespace bpfsieve {

// One file and the expectations on its programs, in the file's order.
struct CorpusFile {
  std::string path;
  std::string name;  // below the corpus' folder, without extension: "programs/stack/bounds"
  std::vector<AsmExpectation> expectations;
  std::string target;  // of an object X.o: X_target.o beside it, that its programs are attached to; empty: there is none
};

// Reads programs/**/*.bpfasm and objects/expected.csv (object,program,verdict,rule,message; the message is the rest of
// the line) below `folder`. Files are in the order of their names. Errors name the file and the line.
absl::StatusOr<std::vector<CorpusFile>> ReadCorpus(const std::string& folder);
struct CorpusObject {
  ObjectFile object;
  std::optional<ObjectFile> target;  // CorpusFile::target
  // VerifyOptions::target; only there as long as this is.
  Target Attach() const { return {.object = target ? &*target : nullptr, .program = {}, .function = {}}; }
};
// Both read with these types of the kernel: LoadOptions::kernel_btf.
absl::StatusOr<CorpusObject> OpenCorpusFile(const CorpusFile& file, const std::string& kernel_types);
// Of AsmExpectation::without.
Lacking WithoutFrom(std::string_view without);
// The kernel's types that the corpus is verified against, so that its verdicts do not depend on the machine: a file for
// LoadOptions::kernel_btf.
std::string CorpusKernelTypes(const std::string& folder);

// The same of the text of expected.csv: expectations by object, in the table's order. Errors are InvalidArgument and start
// with "line N: ".
absl::StatusOr<std::map<std::string, std::vector<AsmExpectation>>> ParseExpectedTable(std::string_view text);

// Programs named in a table beside them (file,program,text with a header row), with the text. `table` is the name of a
// file in `folder`; one that is missing is empty.
using ProgramTable = std::map<std::pair<std::string, std::string>, std::string>;
ProgramTable ParseProgramTable(std::string_view text);
ProgramTable ReadProgramTable(const std::string& folder, const std::string& table);

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_EXPECTATIONS_H_
