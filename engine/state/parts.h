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
  // Fills `own`, which is empty, with at least one part.
  void Fetch(std::vector<T*>* own) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) {
      Make(own);
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
  static constexpr size_t kBatch = 64;

  ~Depot() {
    for (const Chunk& chunk : chunks_) {
      std::destroy_n(chunk.parts, chunk.made);
      ::operator delete(chunk.parts, std::align_val_t{chunk.align});
    }
  }
  Depot() = default;
  Depot(const Depot&) = delete;
  Depot& operator=(const Depot&) = delete;

 private:
  struct Chunk {
    T* parts;
    size_t size, made, align;
  };
  // Small programs need few. Who needs many gets them in huge pages, where the system has them: a page fault costs as
  // much as copying a state, or several. (Measured with huge pages from two megabytes on: a third slower on large programs.)
  void Make(std::vector<T*>* own) {
    constexpr size_t kFirst = 4, kHuge = size_t{2} << 20;
    if (chunks_.empty() || chunks_.back().made == chunks_.back().size) {
      const bool huge = total_ * sizeof(T) >= kHuge / 8;
      const size_t size = huge ? kHuge / sizeof(T) : std::max(kFirst, total_);
      const size_t align = huge ? kHuge : alignof(T);
      chunks_.push_back({static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{align})), size, 0, align});
      if (huge) madvise(chunks_.back().parts, size * sizeof(T), MADV_HUGEPAGE);
      total_ += size;
    }
    // Constructed as they are asked for: that touches the memory.
    Chunk& chunk = chunks_.back();
    const size_t n = std::min(kBatch, chunk.size - chunk.made);
    std::uninitialized_default_construct_n(chunk.parts + chunk.made, n);
    own->resize(n);
    for (size_t i = 0; i < n; ++i) (*own)[i] = chunk.parts + chunk.made + (n - 1 - i);
    chunk.made += n;
  }

  std::mutex mutex_;
  std::vector<T*> free_;
  std::vector<Chunk> chunks_;
  size_t total_ = 0;
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
