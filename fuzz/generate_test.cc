#include "fuzz/generate.h"

#include <gtest/gtest.h>
#include <map>
#include <cstdlib>
#include "bpfsieve/verify.h"
#include "fuzz/write_asm.h"
#include "fuzz/reference.h"

namespace bpfsieve {
TEST(X, Stats) {
  GenerateOptions o;
  if (getenv("BROKEN")) o.broken = atof(getenv("BROKEN"));
  if (getenv("BIG")) o = GenerateOptions::Big();
  int n = getenv("N") ? atoi(getenv("N")) : 2000;
  std::map<std::string,int> verdicts, messages; std::map<std::string, uint64_t> example;
  size_t len = 0; uint64_t insns = 0, ns = 0;
  for (int s = 0; s < n; ++s) {
    auto obj = Generate(uint64_t(s), o);
    Report r = Verify(ObjectFile(obj), 0, {});
    ++verdicts[std::string(r.verdict)];
    len += obj->programs[0].insns.size(); insns += r.stats.total_insns; ns += r.stats.duration_ns;
    if (r.verdict != "accept") { std::string m; for (char ch : r.message + r.feature) if (!isdigit(ch)) m += ch; ++messages[m]; example.emplace(m, s);} 
  }
  for (auto& [v, c] : verdicts) printf("%s %d\n", v.c_str(), c);
  printf("len %zu insns %zu us %zu\n", len / n, size_t(insns / n), size_t(ns / n / 1000));
  std::vector<std::pair<int,std::string>> v; for (auto& [m,c] : messages) v.push_back({c,m});
  std::sort(v.rbegin(), v.rend());
  for (size_t i = 0; i < v.size() && i < 40; ++i) printf("%5d %s (seed %zu)\n", v[i].first, v[i].second.c_str(), size_t(example[v[i].second]));
}
TEST(X, Print) {
  if (!getenv("SEED")) return;
  GenerateOptions o;
  if (getenv("BROKEN")) o.broken = atof(getenv("BROKEN"));
  auto obj = Generate(uint64_t(atoll(getenv("SEED"))), o);
  puts(AsmFileText(*obj, "x").c_str());
  VerifyOptions vo; vo.log_level = 2;
  Report r = Verify(ObjectFile(obj), 0, vo);
  if (getenv("LOG")) puts(r.log.c_str());
  printf("%s %s\n", std::string(r.verdict).c_str(), r.message.c_str());
}
}
