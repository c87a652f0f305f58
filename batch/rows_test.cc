#include "batch/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace bpfsieve {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Row Make(std::string file, std::string prog, int64_t insns) {
  Row row;
  row.file_name = std::move(file);
  row.prog_name = std::move(prog);
  row.verdict = "accept";
  row.total_insns = insns;
  return row;
}

TEST(RowsTest, VeristatsColumnsComeFirstInItsOrder) {
  EXPECT_EQ(CsvHeader(AllFieldPointers()),
            "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,"
            "max_mark_read_len,prog_size,prog_size_jited,prog_type,attach_type,stack_depth,mem_peak,"
            "rule,insn,source,message,feature,section\n");
}

TEST(RowsTest, UnknownNumbersAreEmptyInCsvAndNullInJson) {
  const auto fields = *ParseFields("file,total_insns,insn");
  const Row row = Make("x.o", "p", 5);
  EXPECT_EQ(CsvLine(row, fields), "x.o,5,\n");
  const Json json = Json::parse(JsonLine(row, fields));
  EXPECT_EQ(json["total_insns"], 5);
  EXPECT_TRUE(json["insn"].is_null());
}

TEST(RowsTest, AFieldThatDoesNotExistIsNamed) {
  EXPECT_THAT(std::string(ParseFields("file,nosuch").status().message()), HasSubstr("nosuch"));
  EXPECT_FALSE(ParseFields("").ok());
  EXPECT_FALSE(ParseSort("nosuch<").ok());
}

TEST(RowsTest, TextsAscendAndNumbersDescendUnlessTold) {
  const std::vector<SortKey> keys = *ParseSort("file,insns,prog>,states<,duration^,peak_statesv");
  EXPECT_TRUE(keys[0].ascending);
  EXPECT_FALSE(keys[1].ascending);
  EXPECT_FALSE(keys[2].ascending);
  EXPECT_TRUE(keys[3].ascending);
  EXPECT_TRUE(keys[4].ascending);
  EXPECT_FALSE(keys[5].ascending);
}

TEST(RowsTest, EqualRowsKeepTheirOrder) {
  std::vector<Row> rows = {Make("x", "1", 3), Make("x", "2", 7), Make("x", "3", 3)};
  const std::vector<SortKey> keys = *ParseSort("insns");
  SortRows(keys, &rows);
  EXPECT_EQ(rows[0].prog_name, "2");
  EXPECT_EQ(rows[1].prog_name, "1");
  EXPECT_EQ(rows[2].prog_name, "3");
}

TEST(RowsTest, JsonCarriesLogAndExplanationAndSurvivesAnyBytes) {
  Row row = Make("x\xff.o", "p", 1);
  row.log = "line\n";
  row.explanation_json = R"({"rule":"mem-null"})";
  const Json json = Json::parse(JsonLine(row, AllFieldPointers()));
  EXPECT_EQ(json["log"], "line\n");
  EXPECT_EQ(json["explanation"]["rule"], "mem-null");
}

TEST(RowsTest, AJsonRowIsOneLine) {
  Row row = Make("x.o", "p\nq", 1);
  const std::string line = JsonLine(row, AllFieldPointers());
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(RowsTest, ATableAlignsTextLeftAndNumbersRight) {
  const std::vector<Row> rows = {Make("x.o", "p", 5), Make("long.o", "q", 12345)};
  EXPECT_EQ(Table(rows, *ParseFields("file,insns"), false),
            "File    Insns\n"
            "------  -----\n"
            "x.o         5\n"
            "long.o  12345\n");
}

TEST(RowsTest, ATableCannotBeBrokenByNames) {
  const std::vector<Row> rows = {Make("x\n\x1b[31m.o", "p", 5)};
  const std::string table = Table(rows, *ParseFields("file"), false);
  EXPECT_EQ(table.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
}

TEST(RowsTest, AnExplanationFollowsItsRowWhenAskedFor) {
  std::vector<Row> rows = {Make("x.o", "p", 5), Make("y.o", "q", 6)};
  rows[0].explanation = "Because.\n";
  const auto fields = *ParseFields("file");
  EXPECT_THAT(Table(rows, fields, true), HasSubstr("x.o\n\nBecause.\n\ny.o\n"));
  EXPECT_EQ(Table(rows, fields, false).find("Because"), std::string::npos);
}

}  // namespace
}  // namespace bpfsieve
