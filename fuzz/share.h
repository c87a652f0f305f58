// How much of a test with many programs to run.
#ifndef BPFSIEVE_FUZZ_SHARE_H_
#define BPFSIEVE_FUZZ_SHARE_H_

namespace bpfsieve {

// One in so many: fewer where every step is watched by sanitizers and takes ten times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kShare = 10;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr int kShare = 10;
#else
inline constexpr int kShare = 1;
#endif
#else
inline constexpr int kShare = 1;
#endif

}  // namespace bpfsieve

#endif  // BPFSIEVE_FUZZ_SHARE_H_
