#include "corpus/oracle/maps.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace bpfsieve {
namespace {

// Types whose key and value the kernel does not describe by BTF.
bool TakesNoBtf(MapType type) {
  switch (type) {
    case MapType::kPerfEventArray:
    case MapType::kCgroupArray:
    case MapType::kStackTrace:
    case MapType::kArrayOfMaps:
    case MapType::kHashOfMaps:
    case MapType::kDevmap:
    case MapType::kDevmapHash:
    case MapType::kCpumap:
    case MapType::kXskmap:
    case MapType::kSockmap:
    case MapType::kSockhash:
    case MapType::kQueue:
    case MapType::kStack:
    case MapType::kArena: return true;
    default: return false;
  }
}

bool IsStorage(MapType type) {
  switch (type) {
    case MapType::kSkStorage:
    case MapType::kInodeStorage:
    case MapType::kTaskStorage:
    case MapType::kCgrpStorage:
    case MapType::kCgroupStorage:
    case MapType::kPercpuCgroupStorage:
    case MapType::kArena:
    case MapType::kStructOps: return true;
    default: return false;
  }
}

// What loaders set before they create the map, none of which a program's verification depends on: a number of
// entries where the object leaves it open, a ring buffer of whole pages, no sizes where the kernel insists on none.
void MendSizes(bpf_attr* attr, MapType type) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (type == MapType::kRingbuf || type == MapType::kUserRingbuf) {
    attr->key_size = attr->value_size = 0;
    const uint64_t pages = (attr->max_entries + page - 1) / page;
    const uint64_t bytes = std::bit_ceil(std::max<uint64_t>(pages, 1)) * page;
    attr->max_entries = static_cast<uint32_t>(std::min<uint64_t>(bytes, uint64_t{1} << 31));
    return;
  }
  if (type == MapType::kPerfEventArray) {
    attr->key_size = attr->value_size = 4;
    if (attr->max_entries == 0) attr->max_entries = std::max<long>(sysconf(_SC_NPROCESSORS_CONF), 1);
  }
  if (type == MapType::kArrayOfMaps || type == MapType::kHashOfMaps) attr->value_size = 4;
  if (attr->max_entries == 0 && !IsStorage(type)) attr->max_entries = 1;
}

}  // namespace

OracleMaps::OracleMaps(const Object& object, int btf_fd)
    : object_(object), btf_fd_(btf_fd), fds_(object.maps.size()) {}

absl::StatusOr<int> OracleMaps::Get(size_t index) { return Create(index, 0); }

absl::StatusOr<int> OracleMaps::Create(size_t index, int depth) {
  if (index >= object_.maps.size()) return absl::InvalidArgumentError(absl::StrCat("no map ", index));
  if (fds_[index].ok()) return fds_[index].get();
  const MapDef& map = object_.maps[index];

  bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.map_type = static_cast<uint32_t>(map.type);
  attr.key_size = map.key_size;
  attr.value_size = map.value_size;
  attr.max_entries = map.max_entries;
  attr.map_flags = map.flags;
  attr.map_extra = map.extra;
  const std::string name = KernelObjectName(map.name);
  memcpy(attr.map_name, name.data(), std::min(name.size(), sizeof(attr.map_name) - 1));
  MendSizes(&attr, map.type);
  if (map.type == MapType::kStructOps) {
    return absl::UnimplementedError(absl::StrCat("map '", map.name, "': struct_ops maps are not created"));
  }
  if (map.btf_value_type_id == 0 && !map.fields.empty()) {
    // Without a type the kernel would create the map, and take the fields for plain bytes.
    return absl::UnimplementedError(absl::StrCat("map '", map.name, "': no type tells the kernel of its fields"));
  }
  if (map.type == MapType::kArrayOfMaps || map.type == MapType::kHashOfMaps) {
    if (map.inner < 0 || depth > 0) {
      return absl::InvalidArgumentError(absl::StrCat("map '", map.name, "': its inner map is not known"));
    }
    absl::StatusOr<int> inner = Create(map.inner, depth + 1);
    if (!inner.ok()) return inner.status();
    attr.inner_map_fd = *inner;
  }
  if (btf_fd_ >= 0 && !TakesNoBtf(map.type) && (map.btf_key_type_id != 0 || map.btf_value_type_id != 0)) {
    attr.btf_fd = btf_fd_;
    attr.btf_key_type_id = map.btf_key_type_id;
    attr.btf_value_type_id = map.btf_value_type_id;
  }
  int fd = SysMapCreate(attr);
  if (fd < 0 && attr.btf_fd != 0) {
    attr.btf_fd = attr.btf_key_type_id = attr.btf_value_type_id = 0;
    fd = SysMapCreate(attr);
  }
  if (fd < 0) {
    const std::string why = absl::StrCat("map '", map.name, "': failed to create: ", strerror(-fd));
    return fd == -EPERM ? absl::PermissionDeniedError(why) : absl::FailedPreconditionError(why);
  }
  UniqueFd owner(fd);
  if (!map.data.empty() && map.data.size() == map.value_size) {
    const uint32_t key = 0;
    const int filled = SysMapUpdate(fd, &key, map.data.data());
    if (filled < 0) {
      return absl::FailedPreconditionError(absl::StrCat("map '", map.name, "': failed to fill: ", strerror(-filled)));
    }
    if (map.frozen) {
      const int frozen = SysMapFreeze(fd);
      if (frozen < 0) {
        return absl::FailedPreconditionError(
            absl::StrCat("map '", map.name, "': failed to freeze: ", strerror(-frozen)));
      }
    }
  }
  if (map.type == MapType::kArena) {
    // As libbpf does: where an arena lies is known when it is first mapped. Its pages come with their first use.
    const size_t size = size_t{map.max_entries} * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* at = mmap(reinterpret_cast<void*>(map.extra), size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | (map.extra != 0 ? MAP_FIXED_NOREPLACE : 0), fd, 0);
    if (at == MAP_FAILED) {
      return absl::FailedPreconditionError(absl::StrCat("map '", map.name, "': failed to map: ", strerror(errno)));
    }
    munmap(at, size);
  }
  fds_[index] = std::move(owner);
  return fds_[index].get();
}

}  // namespace bpfsieve
