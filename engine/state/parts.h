// Memory for things of one kind that are made and given up all the time, by one or several threads.
//
// Each thread has its own Parts; what one has too much of goes to the depot that they share, and what it lacks comes
// from there. Parts are made in chunks and never destroyed before the depot is: who takes one gets it as it was given
// back (or, the first time, default-constructed), with whatever buffers it holds.
//
// Turned down: new and delete (a fifth of a heavy run, and one thread's lists fill up with what another allocated).
#ifndef BPFSIEVE_ENGINE_STATE_PARTS_H_
#define BPFSIEVE_ENGINE_STATE_PARTS_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace bpfsieve {

template <typename T>
class Depot {  // thread-safe
 public:
  // Fills `own`, which is empty, with at least one part.
  void Fetch(std::vector<T*>* own) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) {
      // Small programs need few.
      const size_t n = std::min<size_t>(chunks_.empty() ? kFirst : made_, kBatch);
      chunks_.push_back(std::make_unique<T[]>(n));
      made_ += n;
      for (size_t i = n; i-- > 0;) own->push_back(&chunks_.back()[i]);
      return;
    }
    const size_t n = std::min(free_.size(), kBatch);
    own->assign(free_.end() - static_cast<ptrdiff_t>(n), free_.end());
    free_.resize(free_.size() - n);
  }
  // Takes a batch from `own`, which has more than that.
  void Return(std::vector<T*>* own) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.insert(free_.end(), own->end() - static_cast<ptrdiff_t>(kBatch), own->end());
    own->resize(own->size() - kBatch);
  }
  static constexpr size_t kFirst = 4, kBatch = 64;

 private:
  std::mutex mutex_;
  std::vector<T*> free_;
  std::vector<std::unique_ptr<T[]>> chunks_;
  size_t made_ = 0;
};

template <typename T>
class Parts {  // not thread-safe: one per thread
 public:
  explicit Parts(Depot<T>& depot) : depot_(depot) {}
  T* Take() {
    if (own_.empty()) depot_.Fetch(&own_);
    T* part = own_.back();
    own_.pop_back();
    return part;
  }
  void Give(T* part) {
    own_.push_back(part);
    if (own_.size() >= 4 * Depot<T>::kBatch) depot_.Return(&own_);
  }

 private:
  Depot<T>& depot_;
  std::vector<T*> own_;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_STATE_PARTS_H_
