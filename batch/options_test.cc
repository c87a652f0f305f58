#include "batch/options.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

RawOptions Plain() {
  RawOptions raw;
  raw.paths = {"x.o"};
  return raw;
}

TEST(OptionsTest, CsvHasEveryFieldAndTheTableAFew) {
  RawOptions raw = Plain();
  const size_t in_table = Resolve(raw)->fields.size();
  raw.format = "csv";
  EXPECT_EQ(Resolve(raw)->fields.size(), AllFields().size());
  EXPECT_LT(in_table, AllFields().size());
}

TEST(OptionsTest, ListsMayBeRepeated) {
  RawOptions raw = Plain();
  raw.emit = {"file,prog", "verdict"};
  EXPECT_EQ(Resolve(raw)->fields.size(), 3u);
}

TEST(OptionsTest, JobsDefaultToAtLeastOne) { EXPECT_GE(Resolve(Plain())->jobs, 1u); }

TEST(OptionsTest, WhatTheLoaderLacks) {
  RawOptions raw = Plain();
  EXPECT_EQ(Resolve(raw)->verify.without, Lacking::kNothing);
  raw.without = "perfmon";
  EXPECT_EQ(Resolve(raw)->verify.without, Lacking::kPerfmon);
  raw.without = "bpf";
  EXPECT_EQ(Resolve(raw)->verify.without, Lacking::kBpf);
}

TEST(OptionsTest, WrongValuesAreErrors) {
  const auto fails = [](auto set) {
    RawOptions raw = Plain();
    set(raw);
    return !Resolve(raw).ok();
  };
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.emit = {"nosuch"}; }));
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.sort = {"nosuch"}; }));
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.filters = {"nosuch>1"}; }));
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.type = "nosuch"; }));
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.types_file = "/nonexistent/list"; }));
  EXPECT_TRUE(fails([](RawOptions& raw) { raw.kernel_btf = "/nonexistent/btf"; }));
}

}  // namespace
}  // namespace bpfsieve
