#include <benchmark/benchmark.h>
#include <malloc.h>

int main(int argc, char** argv) {
#ifdef M_MMAP_THRESHOLD
  // As the command line does, and docs/performance.md advises: one program's memory is the next one's.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
