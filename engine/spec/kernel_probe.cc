#include "engine/spec/kernel_probe.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace bpfsieve {
namespace {

uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

int Bpf(int command, bpf_attr* attr) { return static_cast<int>(syscall(SYS_bpf, command, attr, sizeof(*attr))); }

}  // namespace

KernelVerdict AskKernel(const KernelProgram& program) {
  KernelVerdict verdict;
  std::vector<char> log(1 << 16);
  bpf_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.prog_type = static_cast<uint32_t>(program.type);
  attr.expected_attach_type = static_cast<uint32_t>(program.attach);
  attr.insns = Address(program.insns.data());
  attr.insn_cnt = static_cast<uint32_t>(program.insns.size());
  attr.license = Address(program.gpl ? "GPL" : "Apache-2.0");
  attr.log_level = static_cast<uint32_t>(program.log_level);
  attr.log_buf = Address(log.data());
  attr.log_size = static_cast<uint32_t>(log.size());
  attr.prog_flags = program.sleepable ? BPF_F_SLEEPABLE : 0;
  const int fd = Bpf(BPF_PROG_LOAD, &attr);
  if (fd >= 0) {
    close(fd);
  } else {
    verdict.error = errno;
  }
  verdict.log = log.data();
  return verdict;
}

bool MayAskKernel() {
  KernelProgram program;
  program.insns = {{kClassAlu64 | kMov, 0, 0, 0, 0}, {kCodeExit, 0, 0, 0, 0}};
  return AskKernel(program).accepted();
}

KernelMaps::~KernelMaps() {
  for (const Entry& entry : entries_) {
    if (entry.fd >= 0) close(entry.fd);
  }
  if (btf_ >= 0) close(btf_);
  if (string_ >= 0) close(string_);
}

// The smallest BTF with a type: one int of 4 bytes, number 1. Local storage maps insist on some.
int KernelMaps::Btf() {
  if (btf_ >= 0) return btf_;
  const uint32_t int_type[] = {1, 1u << 24, 4, 32};
  const char strings[] = "\0int";
  std::string blob;
  const uint32_t header[] = {0x0001'eb9f, 24, 0, sizeof(int_type), sizeof(int_type), sizeof(strings)};
  blob.append(reinterpret_cast<const char*>(header), sizeof(header));
  blob.append(reinterpret_cast<const char*>(int_type), sizeof(int_type));
  blob.append(strings, sizeof(strings));
  bpf_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.btf = Address(blob.data());
  attr.btf_size = static_cast<uint32_t>(blob.size());
  btf_ = Bpf(BPF_BTF_LOAD, &attr);
  return btf_;
}

int KernelMaps::Make(MapType type, uint32_t extra_flags) {
  bpf_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.map_type = static_cast<uint32_t>(type);
  attr.key_size = 4;
  attr.value_size = 8;
  attr.max_entries = 1;
  attr.map_flags = extra_flags;
  switch (type) {
    case MapType::kArray: attr.value_size = 64; break;
    case MapType::kProgArray:
    case MapType::kPerfEventArray:
    case MapType::kCgroupArray:
    case MapType::kDevmap:
    case MapType::kDevmapHash:
    case MapType::kCpumap:
    case MapType::kXskmap:
    case MapType::kSockmap:
    case MapType::kSockhash:
    case MapType::kReuseportSockarray: attr.value_size = 4; break;
    case MapType::kArrayOfMaps:
    case MapType::kHashOfMaps:
      attr.value_size = 4;
      attr.inner_map_fd = static_cast<uint32_t>(Get(MapType::kArray));
      break;
    case MapType::kLpmTrie:
      attr.key_size = 8;
      attr.map_flags |= kMapNoPrealloc;
      break;
    case MapType::kCgroupStorage:
    case MapType::kPercpuCgroupStorage:
      attr.key_size = 8;
      attr.max_entries = 0;
      break;
    case MapType::kQueue:
    case MapType::kStack:
    case MapType::kBloomFilter: attr.key_size = 0; break;
    case MapType::kRingbuf:
    case MapType::kUserRingbuf:
      attr.key_size = attr.value_size = 0;
      attr.max_entries = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
      break;
    case MapType::kSkStorage:
    case MapType::kInodeStorage:
    case MapType::kTaskStorage:
    case MapType::kCgrpStorage:
      attr.value_size = 4;
      attr.max_entries = 0;
      attr.map_flags |= kMapNoPrealloc;
      attr.btf_fd = static_cast<uint32_t>(Btf());
      attr.btf_key_type_id = attr.btf_value_type_id = 1;
      break;
    case MapType::kArena:
      attr.key_size = attr.value_size = 0;
      attr.map_flags |= kMapMmapable;
      break;
    default: break;
  }
  return Bpf(BPF_MAP_CREATE, &attr);
}

int KernelMaps::String() {
  if (string_ >= 0) return string_;
  string_ = Make(MapType::kArray, kMapRdonlyProg);
  const uint32_t key = 0;
  const char value[64] = "text";
  bpf_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.map_fd = static_cast<uint32_t>(string_);
  attr.key = Address(&key);
  attr.value = Address(value);
  Bpf(BPF_MAP_UPDATE_ELEM, &attr);
  std::memset(&attr, 0, sizeof(attr));
  attr.map_fd = static_cast<uint32_t>(string_);
  Bpf(BPF_MAP_FREEZE, &attr);
  return string_;
}

int KernelMaps::Get(MapType type, uint32_t extra_flags) {
  for (const Entry& entry : entries_) {
    if (entry.type == type && entry.flags == extra_flags) return entry.fd;
  }
  const int fd = Make(type, extra_flags);
  entries_.push_back({type, extra_flags, fd});
  return fd;
}

}  // namespace bpfsieve
