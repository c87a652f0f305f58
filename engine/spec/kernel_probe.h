// For the tests of this room: asks the running kernel's verifier about micro-programs (load only, never attached, never
// run, closed at once) and says whether the process may ask at all.
#ifndef BPFSIEVE_ENGINE_SPEC_KERNEL_PROBE_H_
#define BPFSIEVE_ENGINE_SPEC_KERNEL_PROBE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/isa/insn.h"
#include "engine/program/types.h"

namespace bpfsieve {

struct KernelVerdict {
  int error = 0;  // errno; 0: accepted
  std::string log;
  bool accepted() const { return error == 0; }
  bool Says(const char* text) const { return log.find(text) != std::string::npos; }
};

struct KernelProgram {
  ProgType type = ProgType::kSocketFilter;
  AttachType attach = {};
  bool sleepable = false;
  bool gpl = true;
  int log_level = 1;
  std::vector<Insn> insns;
};

// Whether this process may load programs.
bool MayAskKernel();
KernelVerdict AskKernel(const KernelProgram& program);

// The maps that the tests pass, one of each type, made on first use and closed with the object. Keys are 4 bytes and
// values 8 where the type leaves a choice (an array's values are 64). Not safe from several threads.
class KernelMaps {
 public:
  KernelMaps() = default;
  KernelMaps(const KernelMaps&) = delete;
  KernelMaps& operator=(const KernelMaps&) = delete;
  ~KernelMaps();

  // A file descriptor; negative where the kernel does not make such a map.
  int Get(MapType type, uint32_t extra_flags = 0);
  // An array whose only value is a constant string.
  int String();

 private:
  int Make(MapType type, uint32_t extra_flags);
  int Btf();

  struct Entry {
    MapType type;
    uint32_t flags;
    int fd;
  };
  std::vector<Entry> entries_;
  int btf_ = -1;
  int string_ = -1;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_SPEC_KERNEL_PROBE_H_
