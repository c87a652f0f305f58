#include "fuzz/shapes.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "bpfsieve/verify.h"
#include "fuzz/write_asm.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

TEST(Shapes, AreAcceptedAndReadBackFromText) {
  for (const Shape& shape : Shapes()) {
    for (const uint32_t size : {shape.min, std::min(shape.max, 40u)}) {
      SCOPED_TRACE(absl::StrCat(std::string(shape.name), " ", size));
      const std::shared_ptr<Object> object = MakeShape(shape.name, size);
      ASSERT_NE(object, nullptr);
      const absl::StatusOr<ObjectFile> read =
          ObjectFile::Parse(AsmFileText(*object, "made"), "made.bpfasm", {.kernel_btf = "none"});
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->object().programs[0].insns, object->programs[0].insns);
      EXPECT_EQ(Verify(*read, 0, {}).verdict, "accept");
    }
  }
}

TEST(Shapes, HaveTheLengthsThatTheyAreQuotedBy) {
  EXPECT_EQ(MakeShape("straight-line", 611)->programs[0].insns.size(), 611u);
  EXPECT_EQ(MakeShape("diamonds", 250)->programs[0].insns.size(), 1003u);
  EXPECT_EQ(MakeShape("map-loop", 4)->programs[0].insns.size(), 23u);
  EXPECT_GE(MakeShape("mixed", 25)->programs[0].insns.size(), 500u);
}

TEST(Shapes, RefuseOtherNamesAndSizes) {
  EXPECT_EQ(MakeShape("circle", 1), nullptr);
  EXPECT_EQ(MakeShape("straight-line", 1), nullptr);
  EXPECT_EQ(MakeShape("precise-counter", 512), nullptr);
}

}  // namespace
}  // namespace bpfsieve
