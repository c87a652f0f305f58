#include "batch/filter.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace bpfsieve {
namespace {

Filters Of(std::initializer_list<const char*> texts) {
  Filters filters;
  for (const char* text : texts) {
    const absl::Status s = filters.Add(text);
    EXPECT_TRUE(s.ok()) << s;
  }
  return filters;
}

TEST(GlobTest, OnlyTheStarIsSpecial) {
  EXPECT_TRUE(GlobMatches("abc", "abc"));
  EXPECT_TRUE(GlobMatches("abc", "a*c"));
  EXPECT_TRUE(GlobMatches("abc", "*"));
  EXPECT_TRUE(GlobMatches("abbbc", "a*b*c"));
  EXPECT_FALSE(GlobMatches("abc", "ab"));
  EXPECT_FALSE(GlobMatches("abc", "a?c"));
  EXPECT_FALSE(GlobMatches("", "a"));
  EXPECT_TRUE(GlobMatches("", "*"));
}

TEST(GlobTest, ManyStarsAreNoTrouble) {
  EXPECT_FALSE(GlobMatches(std::string(5000, 'a'), "*a*a*a*a*a*a*a*a*a*a*a*a*a*b"));
}

TEST(FilterTest, WithoutFiltersEverythingPasses) {
  const Filters filters;
  EXPECT_TRUE(filters.MayPassFile("x.o"));
  EXPECT_TRUE(filters.PassesProgram("x.o", "p"));
  EXPECT_TRUE(filters.PassesRow({}));
}

TEST(FilterTest, AGlobIsOfFileOrProgram) {
  const Filters filters = Of({"tail_*"});
  EXPECT_TRUE(filters.PassesProgram("dir/tail_call.o", "main"));
  EXPECT_TRUE(filters.PassesProgram("dir/x.o", "tail_lb"));
  EXPECT_FALSE(filters.PassesProgram("dir/x.o", "main"));
  EXPECT_TRUE(filters.MayPassFile("dir/x.o"));
}

TEST(FilterTest, ASlashPartsFileFromProgram) {
  const Filters both = Of({"x*/main"});
  EXPECT_TRUE(both.PassesProgram("dir/x1.o", "main"));
  EXPECT_FALSE(both.PassesProgram("dir/x1.o", "other"));
  EXPECT_FALSE(both.MayPassFile("dir/y.o"));
  EXPECT_TRUE(Of({"/main"}).PassesProgram("dir/y.o", "main"));
  EXPECT_FALSE(Of({"y.o/"}).PassesProgram("dir/x.o", "y.o"));
}

TEST(FilterTest, DenyWinsOverAllow) {
  const Filters filters = Of({"*.o/", "!/main"});
  EXPECT_FALSE(filters.PassesProgram("x.o", "main"));
  EXPECT_TRUE(filters.PassesProgram("x.o", "other"));
  EXPECT_FALSE(Of({"!x.o"}).MayPassFile("x.o"));
}

TEST(FilterTest, NumbersCompare) {
  Row row;
  row.total_insns = 10;
  EXPECT_TRUE(Of({"total_insns>9"}).PassesRow(row));
  EXPECT_FALSE(Of({"insns>10"}).PassesRow(row));
  EXPECT_TRUE(Of({"insns>=10"}).PassesRow(row));
  EXPECT_TRUE(Of({"insns<=10"}).PassesRow(row));
  EXPECT_TRUE(Of({"insns==10"}).PassesRow(row));
  EXPECT_TRUE(Of({"insns=10"}).PassesRow(row));
  EXPECT_FALSE(Of({"insns<>10"}).PassesRow(row));
  EXPECT_FALSE(Of({"!insns=10"}).PassesRow(row));
  EXPECT_FALSE(Of({"insns>9", "insns<10"}).PassesRow(row));
}

TEST(FilterTest, TextsMatchByGlob) {
  Row row;
  row.verdict = "reject";
  row.rule = "mem-null";
  EXPECT_TRUE(Of({"verdict=reject"}).PassesRow(row));
  EXPECT_FALSE(Of({"verdict!=reject"}).PassesRow(row));
  EXPECT_TRUE(Of({"rule=mem-*"}).PassesRow(row));
}

TEST(FilterTest, VeristatsVerdictsAreUnderstood) {
  Row row;
  row.verdict = "limit";
  EXPECT_TRUE(Of({"verdict=failure"}).PassesRow(row));
  EXPECT_FALSE(Of({"verdict=success"}).PassesRow(row));
  row.verdict = "accept";
  EXPECT_TRUE(Of({"verdict=success"}).PassesRow(row));
  EXPECT_FALSE(Of({"verdict=failure"}).PassesRow(row));
}

TEST(FilterTest, WhatIsNoFilterIsAnError) {
  for (const char* text : {"", "!", "/", "nosuch>1", "insns>many", "insns>1x", "verdict>accept"}) {
    Filters filters;
    EXPECT_EQ(filters.Add(text).code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(FilterTest, AFileHoldsOneFilterPerLine) {
  const std::string path = testing::TempDir() + "/filters.txt";
  std::ofstream(path) << "# comment\n\n  good*  \n!*bad\n";
  const Filters filters = Of({("@" + path).c_str()});
  EXPECT_TRUE(filters.PassesProgram("x.o", "good"));
  EXPECT_FALSE(filters.PassesProgram("x.o", "goodbad"));
  EXPECT_FALSE(filters.PassesProgram("x.o", "other"));
  std::remove(path.c_str());
}

TEST(FilterTest, AMissingFileIsAnError) {
  Filters filters;
  EXPECT_EQ(filters.Add("@/nonexistent/filters").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace bpfsieve
