#include "batch/type_list.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

TEST(TypeListTest, RowsWithoutAHeaderAreFileSectionProgType) {
  const TypeList list = *TypeList::Parse("dir/x.o,test,main,xdp\n");
  EXPECT_EQ(list.Find("/somewhere/dir/x.o", "test", "main"), "xdp");
  EXPECT_EQ(list.Find("dir/x.o", "other", "main"), "");
  EXPECT_EQ(list.Find("dir/x.o", "test", "other"), "");
}

TEST(TypeListTest, ColumnsAreFoundByTheHeader) {
  const TypeList list = *TypeList::Parse(
      "file,section,prog,prog_type,prog_size,verdict\n"
      "build/a.o,.text,func,sched_cls?,5,reject\n"
      "build/b.o,,,,-1,not_decided\n");
  EXPECT_EQ(list.Find("corpus/build/a.o", ".text", "func"), "sched_cls");
  EXPECT_EQ(list.Find("corpus/build/b.o", ".text", "func"), "");
}

TEST(TypeListTest, AFileMatchesByWholeComponents) {
  const TypeList list = *TypeList::Parse("a/x.o,,,xdp\n");
  EXPECT_EQ(list.Find("aa/x.o", "", "p"), "");
  EXPECT_EQ(list.Find("b/a/x.o", "", "p"), "xdp");
  EXPECT_EQ(list.Find("x.o", "", "p"), "");
}

TEST(TypeListTest, EmptyFieldsMatchAnything) {
  const TypeList list = *TypeList::Parse(",legacy,,socket_filter\n");
  EXPECT_EQ(list.Find("any/y.o", "legacy", "p"), "socket_filter");
}

TEST(TypeListTest, ATypeThatDoesNotExistIsAnErrorWithItsRow) {
  const absl::StatusOr<TypeList> list = TypeList::Parse("x.o,,,xdp\ny.o,,,nosuch\n");
  ASSERT_EQ(list.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(list.status().message().find("row 2"), absl::string_view::npos);
}

TEST(TypeListTest, AHeaderWithoutAFileColumnIsAnError) { EXPECT_FALSE(TypeList::Parse("prog,type\np,xdp\n").ok()); }

}  // namespace
}  // namespace bpfsieve
