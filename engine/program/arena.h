// Memory for the tables of one program: taken piece by piece, given back all at once.
//
// The first bytes lie in the arena itself, on the stack of who works, so that a small program costs no allocation; and
// nothing is kept from one program to the next.
//
// Turned down: memory that a thread keeps between programs: what it would save the stack gives for nothing, and how much it
// may grow to would be one more thing to choose.
#ifndef BPFSIEVE_ENGINE_PROGRAM_ARENA_H_
#define BPFSIEVE_ENGINE_PROGRAM_ARENA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/base/config.h"

namespace bpfsieve {

class Arena {  // not thread-safe
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // `n` copies of `value`; never destroyed.
  template <typename T>
  std::span<T> Make(size_t n, const T& value = T()) {
    std::span<T> made = Raw<T>(n);
    std::uninitialized_fill_n(made.data(), n, value);
    return made;
  }
  // Room for `n`, that nobody has written to.
  template <typename T>
  std::span<T> Raw(size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= alignof(std::max_align_t));
    return {static_cast<T*>(Take(n * sizeof(T))), n};
  }

 private:
  static constexpr size_t kAlign = alignof(std::max_align_t);
  // The address sanitizer is to see who leaves a table: each is an allocation of its own then.
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  static constexpr size_t kOwn = kAlign, kLeast = 0;
#else
  static constexpr size_t kOwn = 8 << 10, kLeast = 16 << 10;
#endif

  void* Take(size_t bytes) {
    const size_t whole = (bytes + kAlign - 1) / kAlign * kAlign;
    if (whole >= left_) return TakeMore(bytes, whole);
    void* at = next_;
    next_ += whole;
    left_ -= whole;
    return at;
  }
  void* TakeMore(size_t bytes, size_t whole) {
    // What is large has a piece of its own, and leaves the rest of the current one to others.
    if (whole >= kLeast / 4) return more_.emplace_back(new std::byte[bytes]).get();
    next_ = more_.emplace_back(new std::byte[kLeast]).get();
    left_ = kLeast;
    return Take(bytes);
  }

  std::byte* next_ = own_;
  size_t left_ = kOwn;
  std::vector<std::unique_ptr<std::byte[]>> more_;
  alignas(kAlign) std::byte own_[kOwn];
};

// A list that grows, in an arena.
template <typename T>
class ArenaList {
 public:
  explicit ArenaList(Arena& arena, size_t room = 16) : arena_(&arena), at_(arena.Raw<T>(room)) {}

  void push_back(const T& v) {
    if (size_ == at_.size()) Grow();
    std::construct_at(&at_[size_++], v);
  }
  T& emplace_back() {
    if (size_ == at_.size()) Grow();
    return *std::construct_at(&at_[size_++]);
  }
  void pop_back() { --size_; }
  T& back() { return at_[size_ - 1]; }
  T& operator[](size_t i) { return at_[i]; }
  const T& operator[](size_t i) const { return at_[i]; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  void resize(size_t size) { size_ = size; }  // no larger than it is
  T* begin() { return at_.data(); }
  T* end() { return at_.data() + size_; }
  const T* begin() const { return at_.data(); }
  const T* end() const { return at_.data() + size_; }

 private:
  void Grow() {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::span<T> more = arena_->Raw<T>(2 * at_.size());
    std::uninitialized_copy_n(at_.data(), size_, more.data());
    at_ = more;
  }

  Arena* arena_;
  std::span<T> at_;
  size_t size_ = 0;
};

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_ARENA_H_
