// Doing without capabilities for a while.
#ifndef BPFSIEVE_CORPUS_ORACLE_CAPABILITIES_H_
#define BPFSIEVE_CORPUS_ORACLE_CAPABILITIES_H_

#include <linux/capability.h>

#include "engine/spec/spec.h"

namespace bpfsieve {

// From construction to destruction the calling thread has only what `caps` leaves it of its effective capabilities.
// Other threads keep theirs: the kernel keeps capabilities by thread.
class WithOnly {
 public:
  explicit WithOnly(const Capabilities& caps);
  ~WithOnly();
  WithOnly(const WithOnly&) = delete;
  WithOnly& operator=(const WithOnly&) = delete;

 private:
  bool lowered_;
  __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3];
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_CORPUS_ORACLE_CAPABILITIES_H_
