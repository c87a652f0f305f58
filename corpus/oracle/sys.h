// The few bpf(2) commands that the oracle needs, raw, and an owner for descriptors. Nothing here attaches or runs a
// program: the commands are BTF_LOAD, MAP_CREATE, MAP_UPDATE_ELEM, MAP_FREEZE, PROG_LOAD and OBJ_GET_INFO_BY_FD.
#ifndef BPFSIEVE_CORPUS_ORACLE_SYS_H_
#define BPFSIEVE_CORPUS_ORACLE_SYS_H_

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <utility>

namespace bpfsieve {

// Owns a file descriptor; closes it.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd();

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The PROG_LOAD part of union bpf_attr as Linux 6.18 has it; the system's header may be older. A kernel that does not
// know the later fields accepts them as long as they are zero.
struct ProgLoadAttr {
  uint32_t prog_type;
  uint32_t insn_cnt;
  uint64_t insns;
  uint64_t license;
  uint32_t log_level;
  uint32_t log_size;
  uint64_t log_buf;
  uint32_t kern_version;
  uint32_t prog_flags;
  char prog_name[16];
  uint32_t prog_ifindex;
  uint32_t expected_attach_type;
  uint32_t prog_btf_fd;
  uint32_t func_info_rec_size;
  uint64_t func_info;
  uint32_t func_info_cnt;
  uint32_t line_info_rec_size;
  uint64_t line_info;
  uint32_t line_info_cnt;
  uint32_t attach_btf_id;
  uint32_t attach_prog_fd;
  uint32_t core_relo_cnt;
  uint64_t fd_array;
  uint64_t core_relos;
  uint32_t core_relo_rec_size;
  uint32_t log_true_size;  // out: bytes that the whole log takes, with its terminating zero
};

// Each returns 0 or a descriptor, or -errno. EAGAIN and EINTR are tried again a few times.
int SysProgLoad(ProgLoadAttr* attr);
int SysBtfLoad(const void* data, uint32_t size, std::string* log);
int SysMapCreate(const bpf_attr& attr);
int SysMapUpdate(int fd, const void* key, const void* value);
int SysMapFreeze(int fd);

struct ProgSizes {
  uint32_t jited = 0;  // bytes of machine code; 0: not known
};
ProgSizes SysProgSizes(int fd);

// At most 15 characters, of those that the kernel allows in names.
std::string KernelObjectName(const std::string& name);

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_SYS_H_
