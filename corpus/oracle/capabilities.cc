#include "corpus/oracle/capabilities.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace bpfsieve {
namespace {

// Of the calling thread. libcap's functions change all threads of some processes.
void Set(const __user_cap_data_struct* data) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  if (syscall(SYS_capset, &header, data) != 0) abort();  // they are permitted, and were effective
}

void Clear(__user_cap_data_struct* data, int capability) {
  data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
}

}  // namespace

WithOnly::WithOnly(const Capabilities& caps) : lowered_(!caps.perfmon || !caps.bpf) {
  if (!lowered_) return;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  if (syscall(SYS_capget, &header, before_) != 0) abort();
  __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3];
  memcpy(left, before_, sizeof(left));
  Clear(left, CAP_PERFMON);
  Clear(left, CAP_SYS_ADMIN);  // which stands for the others
  if (!caps.bpf) {
    for (__user_cap_data_struct& word : left) word.effective = 0;
  }
  Set(left);
}

WithOnly::~WithOnly() {
  if (lowered_) Set(before_);
}

}  // namespace bpfsieve
