// Reads objects: ELF as libbpf reads it, assembly text, raw instructions.
#ifndef BPFSIEVE_ENGINE_PROGRAM_LOAD_H_
#define BPFSIEVE_ENGINE_PROGRAM_LOAD_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "bpfsieve/verify.h"
#include "engine/program/program.h"

namespace bpfsieve {

// Picks the reader by content (ELF magic) and by the name's extension (.bpfasm, .bin). Any bytes end in an object or
// a status; memory stays within a small multiple of the input's size.
absl::StatusOr<std::shared_ptr<const Object>> LoadObject(std::string_view bytes, const std::string& name,
                                                         const LoadOptions& options);
// One reader each. In elf_object.cc, asm_object.cc.
absl::StatusOr<std::shared_ptr<Object>> LoadElfObject(std::string_view bytes, const std::string& name,
                                                      const LoadOptions& options);
absl::StatusOr<std::shared_ptr<Object>> LoadAsmObject(std::string_view text, const std::string& name,
                                                      const LoadOptions& options);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_LOAD_H_
