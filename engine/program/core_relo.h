// CO-RE relocations: a program names a field, type or enumerator of its own copy of a kernel's types, and the loader
// puts in what the kernel at hand has. Rules as in libbpf 1.6; the record's layout is linux/bpf.h's bpf_core_relo.
#ifndef BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_
#define BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/isa/insn.h"
#include "engine/program/btf_view.h"

namespace bpfsieve {

enum class CoreKind : uint32_t {
  kFieldByteOffset,
  kFieldByteSize,
  kFieldExists,
  kFieldSigned,
  kFieldLshiftU64,
  kFieldRshiftU64,
  kTypeIdLocal,
  kTypeIdTarget,
  kTypeExists,
  kTypeSize,
  kEnumvalExists,
  kEnumvalValue,
  kTypeMatches,
};

// What a relocation comes to.
struct CoreResult {
  uint64_t expected = 0;        // what the instruction holds by the program's own types
  uint64_t value = 0;           // what it shall hold
  bool check_expected = true;
  bool poison = false;          // the kernel has no such thing: the instruction must not be reached
  uint32_t expected_size = 0;   // of the field, bytes; 0: not a plain field
  uint32_t size = 0;
  uint32_t expected_type = 0, type = 0;
  bool size_conflict = false;   // the sizes differ and the instruction's cannot follow
};

// Resolves the relocations of one object, in the object's order: what matched for one relocation narrows what is
// tried for later ones on the same type. Not thread-safe.
class CoreResolver {
 public:
  // Both must outlive the resolver.
  CoreResolver(const struct btf* local, const KernelBtf& kernel);

  // `access` is the record's access string ("0:1:2"). Returns why it cannot be resolved; empty: it is.
  std::string Resolve(CoreKind kind, uint32_t type_id, std::string_view access, CoreResult* result);

 private:
  struct Accessor {
    uint32_t type_id = 0;
    uint32_t index = 0;
    bool named = false;
    std::string_view name;
  };
  struct Spec {
    uint32_t root = 0;
    uint32_t bit_offset = 0;
    int raw_length = 0;  // steps, unnamed structures included
    std::vector<Accessor> accessors;
  };
  enum class Found : uint8_t { kNo, kYes, kError };

  std::string ParseSpec(CoreKind kind, uint32_t type_id, std::string_view access, Spec* spec) const;
  std::string StepInto(uint32_t index, uint32_t* id, Spec* spec) const;
  const std::vector<uint32_t>& Candidates(uint32_t local_id);
  Found MatchSpec(CoreKind kind, const Spec& local, uint32_t target_id, Spec* target);
  Found MatchEnumerator(const Spec& local, uint32_t target_id, Spec* target) const;
  Found MatchMember(const Accessor& local, uint32_t target_id, Spec* target, uint32_t* next);
  Found MatchElement(const Accessor& local, bool is_first, uint32_t target_id, Spec* target, uint32_t* next) const;
  // Tries the candidates and chooses; `local` is what ParseSpec() made of the record.
  std::string Decide(CoreKind kind, uint32_t type_id, const Spec& local, CoreResult* result);
  std::string Calculate(CoreKind kind, const Spec& local, const Spec* target, CoreResult* result) const;

  const struct btf* local_;
  const KernelBtf& kernel_;
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> candidates_;  // by local type
  int64_t steps_ = 0;  // type comparisons left for this relocation
  int64_t work_;       // and for the object
};

// Writes the result into `insn` (the instruction and, where there is one, the one after it). Returns why it cannot.
std::string PatchCore(const CoreResult& result, std::span<Insn> insn);

// For one relocation of a type that needs no kernel: CoreKind::kTypeIdLocal.
CoreResult LocalTypeId(uint32_t type_id);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_CORE_RELO_H_
