#include "corpus/oracle/sys.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace bpfsieve {
namespace {

static_assert(offsetof(ProgLoadAttr, prog_name) == offsetof(bpf_attr, prog_name));
static_assert(offsetof(ProgLoadAttr, func_info) == offsetof(bpf_attr, func_info));
static_assert(offsetof(ProgLoadAttr, attach_btf_id) == offsetof(bpf_attr, attach_btf_id));
static_assert(offsetof(ProgLoadAttr, core_relo_rec_size) == offsetof(bpf_attr, core_relo_rec_size));

int Bpf(int command, void* attr, unsigned size) {
  constexpr int kAttempts = 10;
  for (int attempt = 1;; ++attempt) {
    const long r = syscall(SYS_bpf, command, attr, size);
    if (r >= 0) return static_cast<int>(r);
    if ((errno != EAGAIN && errno != EINTR) || attempt == kAttempts) return -errno;
  }
}

uint64_t ToU64(const void* p) { return reinterpret_cast<uintptr_t>(p); }

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

int SysProgLoad(ProgLoadAttr* attr) { return Bpf(BPF_PROG_LOAD, attr, sizeof(*attr)); }

int SysBtfLoad(const void* data, uint32_t size, std::string* log) {
  bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.btf = ToU64(data);
  attr.btf_size = size;
  int fd = Bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
  if (fd >= 0 || log == nullptr) return fd;
  std::string buffer(256 << 10, '\0');
  attr.btf_log_buf = ToU64(buffer.data());
  attr.btf_log_size = buffer.size();
  attr.btf_log_level = 1;
  fd = Bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
  *log = buffer.c_str();
  return fd;
}

int SysMapCreate(const bpf_attr& attr) {
  bpf_attr copy = attr;
  return Bpf(BPF_MAP_CREATE, &copy, sizeof(copy));
}

int SysMapUpdate(int fd, const void* key, const void* value) {
  bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.map_fd = fd;
  attr.key = ToU64(key);
  attr.value = ToU64(value);
  return Bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

int SysMapFreeze(int fd) {
  bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.map_fd = fd;
  return Bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
}

ProgSizes SysProgSizes(int fd) {
  bpf_prog_info info;
  memset(&info, 0, sizeof(info));
  bpf_attr attr;
  memset(&attr, 0, sizeof(attr));
  attr.info.bpf_fd = fd;
  attr.info.info_len = sizeof(info);
  attr.info.info = ToU64(&info);
  if (Bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) < 0) return {};
  return {.jited = info.jited_prog_len};
}

std::string KernelObjectName(const std::string& name) {
  std::string out = name.substr(0, BPF_OBJ_NAME_LEN - 1);
  for (char& c : out) {
    const bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
    if (!allowed) c = '_';
  }
  return out;
}

}  // namespace bpfsieve
