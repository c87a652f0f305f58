#include "engine/program/btf_view.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

constexpr size_t kMaxName = 4096;
constexpr size_t kMaxStrings = size_t{1} << 31;
constexpr size_t kMaxBytes = size_t{1} << 30, kReadAtOnce = size_t{1} << 20;  // of the file with a kernel's types
constexpr char kRunningKernel[] = "/sys/kernel/btf/vmlinux";

absl::Status BadType(uint32_t id, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("BTF: type [", id, "] ", what));
}

// Calls visit(type id) for every type that `type` refers to, and name(offset) for every name in it.
template <typename Visit, typename Name>
void ForEachReference(const btf_type* type, Visit visit, Name name) {
  name(type->name_off);
  switch (btf_kind(type)) {
    case BTF_KIND_PTR:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_TYPE_TAG:
    case BTF_KIND_FUNC:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG: visit(type->type); break;
    case BTF_KIND_ARRAY:
      visit(btf_array(type)->type);
      visit(btf_array(type)->index_type);
      break;
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      for (int i = 0; i < btf_vlen(type); ++i) {
        name(btf_members(type)[i].name_off);
        visit(btf_members(type)[i].type);
      }
      break;
    case BTF_KIND_FUNC_PROTO:
      visit(type->type);
      for (int i = 0; i < btf_vlen(type); ++i) {
        name(btf_params(type)[i].name_off);
        visit(btf_params(type)[i].type);
      }
      break;
    case BTF_KIND_ENUM:
      for (int i = 0; i < btf_vlen(type); ++i) name(btf_enum(type)[i].name_off);
      break;
    case BTF_KIND_ENUM64:
      for (int i = 0; i < btf_vlen(type); ++i) name(btf_enum64(type)[i].name_off);
      break;
    case BTF_KIND_DATASEC:
      for (int i = 0; i < btf_vlen(type); ++i) visit(btf_var_secinfos(type)[i].type);
      break;
    default: break;
  }
}

// Kinds whose size or meaning comes from what they refer to. Circles through them make no sense in C; circles through
// a pointer to a struct do, so a struct's members count only as far as they are held by value.
bool IsChain(const btf_type* type) {
  switch (btf_kind(type)) {
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_TYPE_TAG:
    case BTF_KIND_PTR:
    case BTF_KIND_ARRAY:
    case BTF_KIND_VAR: return true;
    default: return false;
  }
}

// Depth-first search for a circle; `through_pointers` selects which of the two graphs is searched:
//   true: links of IsChain() kinds only; false: containment by value (no pointers, struct members included).
absl::Status CheckAcyclic(const struct btf* btf, bool through_pointers) {
  const uint32_t count = btf__type_cnt(btf);
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(count, kNew);
  struct Frame {
    uint32_t id;
    uint32_t next;  // edge to follow next
  };
  std::vector<Frame> stack;
  auto edge = [&](uint32_t id, uint32_t i, uint32_t* to) {
    const btf_type* type = btf__type_by_id(btf, id);
    if (IsChain(type)) {
      if (i != 0 || (!through_pointers && btf_is_ptr(type))) return false;
      *to = btf_is_array(type) ? btf_array(type)->type : type->type;
      return true;
    }
    if (!through_pointers && btf_is_composite(type)) {
      if (i >= btf_vlen(type)) return false;
      *to = btf_members(type)[i].type;
      return true;
    }
    return false;
  };
  for (uint32_t root = 1; root < count; ++root) {
    if (state[root] != kNew) continue;
    stack.push_back({root, 0});
    state[root] = kOpen;
    while (!stack.empty()) {
      Frame& top = stack.back();
      uint32_t to = 0;
      if (!edge(top.id, top.next, &to)) {
        state[top.id] = kDone;
        stack.pop_back();
        continue;
      }
      ++top.next;
      if (to == 0 || state[to] == kDone) continue;
      if (state[to] == kOpen) return BadType(to, "leads back to itself");
      state[to] = kOpen;
      stack.push_back({to, 0});
    }
  }
  return absl::OkStatus();
}

// What a reference of this kind must lead to, beyond being in range.
absl::Status CheckTargetKind(const struct btf* btf, uint32_t id, const btf_type* type) {
  if (btf_is_func(type)) {
    if (type->type == 0 || !btf_is_func_proto(btf__type_by_id(btf, type->type))) {
      return BadType(id, "is a function without a prototype");
    }
  }
  if (btf_is_datasec(type)) {
    for (int i = 0; i < btf_vlen(type); ++i) {
      // Functions stand among the variables of .ksyms.
      const btf_type* member = btf__type_by_id(btf, btf_var_secinfos(type)[i].type);
      if (member == nullptr || (!btf_is_var(member) && !btf_is_func(member))) {
        return BadType(id, "is a section of something else than variables");
      }
    }
  }
  return absl::OkStatus();
}

// Bytes of a type and what follows it, 0: no such kind.
size_t TypeBytes(uint32_t kind, uint32_t length) {
  switch (kind) {
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG: return sizeof(btf_type);
    case BTF_KIND_INT: return sizeof(btf_type) + sizeof(uint32_t);
    case BTF_KIND_ARRAY: return sizeof(btf_type) + sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION: return sizeof(btf_type) + length * sizeof(btf_member);
    case BTF_KIND_ENUM: return sizeof(btf_type) + length * sizeof(struct btf_enum);
    case BTF_KIND_ENUM64: return sizeof(btf_type) + length * sizeof(struct btf_enum64);
    case BTF_KIND_FUNC_PROTO: return sizeof(btf_type) + length * sizeof(btf_param);
    case BTF_KIND_VAR: return sizeof(btf_type) + sizeof(struct btf_var);
    case BTF_KIND_DATASEC: return sizeof(btf_type) + length * sizeof(btf_var_secinfo);
    case BTF_KIND_DECL_TAG: return sizeof(btf_type) + sizeof(struct btf_decl_tag);
    default: return 0;
  }
}

// The layout alone: libbpf's reader prints to standard error what it does not like, so it gets only what it will.
absl::Status CheckLayout(std::string_view bytes) {
  if (bytes.size() < sizeof(btf_header) || bytes.size() > UINT32_MAX) {
    return absl::InvalidArgumentError("BTF: shorter than its header");
  }
  btf_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != BTF_MAGIC) return absl::InvalidArgumentError("BTF: wrong magic number");
  if (header.version != 1) return absl::InvalidArgumentError("BTF: unknown version");
  if (header.hdr_len < sizeof header || header.hdr_len > bytes.size() || header.hdr_len % 4 != 0) {
    return absl::InvalidArgumentError("BTF: header size");
  }
  std::string_view body = bytes.substr(header.hdr_len);
  if (uint64_t{header.type_off} + header.type_len > body.size() ||
      uint64_t{header.str_off} + header.str_len > body.size() ||
      uint64_t{header.type_off} + header.type_len > header.str_off || header.type_off % 4 != 0) {
    return absl::InvalidArgumentError("BTF: tables overlap or reach outside of the section");
  }
  std::string_view strings = body.substr(header.str_off, header.str_len);
  if (strings.empty() || strings.size() > kMaxStrings || strings.front() != 0 || strings.back() != 0) {
    return absl::InvalidArgumentError("BTF: malformed strings");
  }
  std::string_view types = body.substr(header.type_off, header.type_len);
  for (uint32_t id = 1; !types.empty(); ++id) {
    if (types.size() < sizeof(btf_type)) return BadType(id, "is cut off");
    btf_type type;
    std::memcpy(&type, types.data(), sizeof type);
    const size_t size = TypeBytes(BTF_INFO_KIND(type.info), BTF_INFO_VLEN(type.info));
    if (size == 0) return BadType(id, "is of an unknown kind");
    if (size > types.size()) return BadType(id, "is cut off");
    types.remove_prefix(size);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBtf(const struct btf* btf) {
  const uint32_t count = btf__type_cnt(btf);
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(btf, id);
    bool ids_ok = true, names_ok = true;
    ForEachReference(
        type, [&](uint32_t to) { ids_ok = ids_ok && to < count; },
        [&](uint32_t offset) { names_ok = names_ok && btf__str_by_offset(btf, offset) != nullptr; });
    if (!ids_ok) return BadType(id, "refers to a type that does not exist");
    if (!names_ok) return BadType(id, "has a name outside of the strings");
    if (absl::Status status = CheckTargetKind(btf, id, type); !status.ok()) return status;
  }
  if (absl::Status status = CheckAcyclic(btf, true); !status.ok()) return status;
  return CheckAcyclic(btf, false);
}

absl::StatusOr<BtfPtr> ParseBtf(std::string_view bytes) {
  if (absl::Status status = CheckLayout(bytes); !status.ok()) return status;
  BtfPtr btf(btf__new(bytes.data(), static_cast<uint32_t>(bytes.size())));
  if (long error = libbpf_get_error(btf.get()); error != 0 || btf == nullptr) {
    (void)btf.release();  // an error code, not memory
    return absl::InvalidArgumentError(absl::StrCat("BTF: damaged (", -error, ")"));
  }
  btf__set_pointer_size(btf.get(), 8);
  if (absl::Status status = CheckBtf(btf.get()); !status.ok()) return status;
  return btf;
}

std::string_view BtfName(const struct btf* btf, uint32_t offset) {
  const char* name = btf__str_by_offset(btf, offset);
  return name == nullptr ? std::string_view() : std::string_view(name, strnlen(name, kMaxName));
}

std::string_view BtfTypeName(const struct btf* btf, uint32_t id) {
  const btf_type* type = btf__type_by_id(btf, id);
  return type == nullptr ? std::string_view() : BtfName(btf, type->name_off);
}

const btf_type* SkipModifiers(const struct btf* btf, uint32_t id, uint32_t* resolved) {
  const btf_type* type = btf__type_by_id(btf, id);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type) || btf_is_type_tag(type))) {
    id = type->type;
    type = btf__type_by_id(btf, id);
  }
  if (resolved != nullptr) *resolved = id;
  return type;
}

int64_t BtfSize(const struct btf* btf, uint32_t id) {
  int64_t size = btf__resolve_size(btf, id);
  return size < 0 ? -1 : size;
}

std::string_view BtfKindName(const btf_type* type) {
  static constexpr std::string_view kNames[] = {
      "void",  "int",      "ptr",  "array",      "struct", "union",   "enum",  "fwd",      "typedef",  "volatile",
      "const", "restrict", "func", "func_proto", "var",    "datasec", "float", "decl_tag", "type_tag", "enum64"};
  size_t kind = btf_kind(type);
  return kind < std::size(kNames) ? kNames[kind] : "unknown";
}

std::string_view EssentialName(std::string_view name) {
  // The flavour begins at the last "___" that has a character other than '_' on both sides.
  for (size_t at = name.rfind("___"); at != std::string_view::npos && at > 0; at = name.rfind("___", at - 1)) {
    if (name[at - 1] != '_' && at + 3 < name.size() && name[at + 3] != '_') return name.substr(0, at);
  }
  return name;
}

KernelBtf::KernelBtf(BtfPtr btf) : btf_(std::move(btf)) {
  const uint32_t count = btf__type_cnt(btf_.get());
  by_name_.reserve(count / 2);
  // A name's types lie side by side: first how many each has, then where they begin, then they themselves.
  constexpr uint32_t kNoName = UINT32_MAX;
  std::vector<uint32_t> name_of(count, kNoName);
  for (uint32_t id = 1; id < count; ++id) {
    const std::string_view name = BtfTypeName(btf_.get(), id);
    if (name.empty()) continue;
    const auto [it, is_new] = by_name_.try_emplace(EssentialName(name), static_cast<uint32_t>(begins_.size()));
    if (is_new) begins_.push_back(0);
    ++begins_[name_of[id] = it->second];
    if (name.starts_with("__bpf_trace_") && btf_is_func(btf__type_by_id(btf_.get(), id))) handlers_.push_back(id);
  }
  begins_.push_back(0);
  std::exclusive_scan(begins_.begin(), begins_.end(), begins_.begin(), 0u);
  ids_.resize(begins_.back());
  std::vector<uint32_t> next(begins_.begin(), begins_.end() - 1);
  for (uint32_t id = 1; id < count; ++id) {
    if (name_of[id] != kNoName) ids_[next[name_of[id]]++] = id;
  }
}

std::span<const uint32_t> KernelBtf::Named(std::string_view essential_name) const {
  const auto it = by_name_.find(essential_name);
  if (it == by_name_.end()) return {};
  return std::span(ids_).subspan(begins_[it->second], begins_[it->second + 1] - begins_[it->second]);
}

uint32_t KernelBtf::Find(std::string_view name, uint32_t kind) const {
  for (uint32_t id : Named(EssentialName(name))) {
    const btf_type* type = btf__type_by_id(btf_.get(), id);
    if (btf_kind(type) == kind && BtfName(btf_.get(), type->name_off) == name) return id;
  }
  return 0;
}

namespace {

absl::StatusOr<std::shared_ptr<const KernelBtf>> ReadKernelBtf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("kernel BTF: cannot open ", path));
  std::string bytes;
  do {
    const size_t size = bytes.size();
    if (size > kMaxBytes) return absl::InvalidArgumentError(absl::StrCat("kernel BTF: ", path, " is too large"));
    bytes.resize(size + kReadAtOnce);
    file.read(bytes.data() + size, kReadAtOnce);
    bytes.resize(size + static_cast<size_t>(file.gcount()));
  } while (file);
  if (absl::StartsWith(bytes, "\177ELF")) {
    BtfPtr in_elf(btf__parse_elf(path.c_str(), nullptr));
    if (long error = libbpf_get_error(in_elf.get()); error != 0 || in_elf == nullptr) {
      (void)in_elf.release();  // an error code, not memory
      return absl::InvalidArgumentError(absl::StrCat("kernel BTF: none in ", path, " (", -error, ")"));
    }
    uint32_t size = 0;
    const void* raw = btf__raw_data(in_elf.get(), &size);
    bytes.assign(static_cast<const char*>(raw), raw == nullptr ? 0 : size);
  }
  absl::StatusOr<BtfPtr> btf = ParseBtf(bytes);
  if (!btf.ok()) return absl::InvalidArgumentError(absl::StrCat("kernel ", btf.status().message(), " in ", path));
  return std::make_shared<const KernelBtf>(*std::move(btf));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const KernelBtf>> GetKernelBtf(const std::string& path) {
  using Result = absl::StatusOr<std::shared_ptr<const KernelBtf>>;
  if (path == "none") return std::shared_ptr<const KernelBtf>();
  if (path.empty() && access(kRunningKernel, R_OK) != 0) return std::shared_ptr<const KernelBtf>();
  // A cache of immutable values: what a call returns depends on the path alone.
  static std::mutex mutex;
  static auto& cache = *new std::map<std::string, Result>();
  std::lock_guard<std::mutex> lock(mutex);
  auto [it, is_new] = cache.try_emplace(path, std::shared_ptr<const KernelBtf>());
  if (!is_new) return it->second;
  it->second = ReadKernelBtf(path.empty() ? std::string(kRunningKernel) : path);
  return it->second;
}

const KernelBtf* KernelTypes(const Object& object) {
  if (object.kernel_types != nullptr) return object.kernel_types.get();
  absl::StatusOr<std::shared_ptr<const KernelBtf>> types = GetKernelBtf(object.kernel_btf);
  return types.ok() ? types->get() : nullptr;  // the cache keeps it
}

}  // namespace bpfsieve
