// Memory for things of one kind that are made and given up all the time, by one or several threads.
//
// Each thread has its own Parts; what one has too much of goes to the depot that they share, and what it lacks comes
// from there. Parts are made in chunks and never destroyed before the depot is: who takes one gets it as it was given
// back (or, the first time, default-constructed), with whatever buffers it holds.
//
// Turned down: new and delete (a fifth of a heavy run, and one thread's lists fill up with what another allocated).
#ifndef BPFSIEVE_ENGINE_STATE_PARTS_H_
#define BPFSIEVE_ENGINE_STATE_PARTS_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace bpfsieve {

template <typename T>
class Depot {  // thread-safe
 public:
  static constexpr size_t kBatch = 64;

  // Writes at least one and at most kBatch parts to `to`, and returns how many.
  size_t Fetch(T** to) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return Make(to);
    const size_t n = std::min(free_.size(), kBatch);
    std::copy(free_.end() - static_cast<ptrdiff_t>(n), free_.end(), to);
    free_.resize(free_.size() - n);
    return n;
  }
  // Takes kBatch parts back.
  void Return(T* const* from) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.insert(free_.end(), from, from + kBatch);
  }

  Depot() : next_(reinterpret_cast<T*>(first_)) {}
  ~Depot() {
    std::destroy_n(reinterpret_cast<T*>(first_), std::min(made_, kFirst));
    for (const Chunk& chunk : chunks_) {
      std::destroy_n(chunk.parts, &chunk == &chunks_.back() ? chunk.size - left_ : chunk.size);
      ::operator delete(chunk.parts, std::align_val_t{chunk.align});
    }
  }
  Depot(const Depot&) = delete;
  Depot& operator=(const Depot&) = delete;

 private:
  struct Chunk {
    T* parts;
    size_t size, align;
  };
  // Small programs need few: the first ones lie in the depot itself. Who needs many gets them in huge pages, where the
  // system has them: a page fault costs as much as copying a state, or several. (Measured with huge pages from two
  // megabytes on: a third slower on large programs.)
  static constexpr size_t kFirst = 16, kHuge = size_t{2} << 20;
  size_t Make(T** to) {
    if (left_ == 0) {
      const bool huge = made_ * sizeof(T) >= kHuge / 8;
      left_ = huge ? kHuge / sizeof(T) : made_;
      const size_t align = huge ? kHuge : alignof(T);
      next_ = static_cast<T*>(::operator new(left_ * sizeof(T), std::align_val_t{align}));
      chunks_.push_back({next_, left_, align});
      if (huge) madvise(next_, left_ * sizeof(T), MADV_HUGEPAGE);
    }
    // Constructed as they are asked for, since that touches the memory: as many again as there are.
    const size_t n = std::min({kBatch, left_, std::max<size_t>(made_, 1)});
    std::uninitialized_default_construct_n(next_, n);
    for (size_t i = 0; i < n; ++i) to[i] = next_ + (n - 1 - i);
    next_ += n;
    left_ -= n;
    made_ += n;
    return n;
  }

  std::mutex mutex_;
  std::vector<T*> free_;
  std::vector<Chunk> chunks_;
  T* next_;               // not constructed yet: so many in the newest chunk, from here on
  size_t left_ = kFirst;
  size_t made_ = 0;       // in all
  alignas(T) std::byte first_[kFirst * sizeof(T)];
};

template <typename T>
class Parts {  // not thread-safe: one per thread
 public:
  explicit Parts(Depot<T>& depot) : depot_(depot) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  T* Take() {
    if (count_ == 0) count_ = depot_.Fetch(own_);
    return own_[--count_];
  }
  void Give(T* part) {
    own_[count_++] = part;
    if (count_ == kMost) depot_.Return(own_ + (count_ -= Depot<T>::kBatch));
  }

 private:
  static constexpr size_t kMost = 4 * Depot<T>::kBatch;
  Depot<T>& depot_;
  size_t count_ = 0;
  T* own_[kMost];
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_STATE_PARTS_H_
