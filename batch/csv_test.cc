#include "batch/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CsvTest, PlainFieldsStandAsTheyAre) { EXPECT_EQ(CsvQuote("R1 is 5"), "R1 is 5"); }

TEST(CsvTest, CommasQuotesAndLineEndsAreQuoted) {
  EXPECT_EQ(CsvQuote("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvQuote("say \"no\""), "\"say \"\"no\"\"\"");
  EXPECT_EQ(CsvQuote("a\nb"), "\"a\nb\"");
}

TEST(CsvTest, WhatIsQuotedIsReadBack) {
  const std::string field = "a,\"b\"\r\nc";
  EXPECT_THAT(ParseCsv(CsvQuote(field) + ",x\n"), ElementsAre(ElementsAre(field, "x")));
}

TEST(CsvTest, LineEndsOfBothKindsEndARecord) {
  EXPECT_THAT(ParseCsv("a,b\r\nc,d\n"), ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d")));
}

TEST(CsvTest, EmptyFieldsCountAndEmptyLinesDoNot) {
  EXPECT_THAT(ParseCsv(",\n\n\"\"\n"), ElementsAre(ElementsAre("", ""), ElementsAre("")));
  EXPECT_THAT(ParseCsv(""), IsEmpty());
}

TEST(CsvTest, AnOpenQuoteEndsWithTheText) { EXPECT_THAT(ParseCsv("\"a\nb"), ElementsAre(ElementsAre("a\nb"))); }

}  // namespace
}  // namespace bpfsieve
