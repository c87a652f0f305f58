#include "engine/program/kconfig.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <vector>

#include "engine/program/btf_view.h"

namespace bpfsieve {
namespace {

TEST(ParseKconfig, TakesTheFirstOfEachName) {
  const Kconfig config = ParseKconfig(
      "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_B=n\nCONFIG_EMPTY=\nCONFIG_NO_VALUE\nOTHER=1\nCONFIG_S=\"a=b\"\nCONFIG_LAST=0x10");
  EXPECT_EQ(config, (Kconfig{{"CONFIG_B", "y"}, {"CONFIG_S", "\"a=b\""}, {"CONFIG_LAST", "0x10"}}));
}

TEST(KernelVersionCode, Releases) {
  constexpr uint32_t kProfile = (6 << 16) | (18 << 8);
  EXPECT_EQ(KernelVersionCode("6.1.5-debian"), 0x060105u);
  EXPECT_EQ(KernelVersionCode("5.4.300"), 0x0504ffu);
  EXPECT_EQ(KernelVersionCode("7.0"), 0x070000u);
  EXPECT_EQ(KernelVersionCode("7.x"), kProfile);
  EXPECT_EQ(KernelVersionCode(""), kProfile);
}

class WriteKconfig : public testing::Test {
 protected:
  WriteKconfig() {
    boolean_ = btf__add_int(btf_.get(), "_Bool", 1, BTF_INT_BOOL);
    chars_ = btf__add_int(btf_.get(), "char", 1, BTF_INT_SIGNED);
    short_ = btf__add_int(btf_.get(), "short", 2, BTF_INT_SIGNED);
    unsigned_ = btf__add_int(btf_.get(), "unsigned", 4, 0);
    wide_ = btf__add_int(btf_.get(), "long", 8, BTF_INT_SIGNED);
    huge_ = btf__add_int(btf_.get(), "__int128", 16, 0);
    text_ = btf__add_array(btf_.get(), unsigned_, chars_, 4);
    tristate_ = btf__add_enum(btf_.get(), "libbpf_tristate", 4);
    typedef_ = btf__add_typedef(btf_.get(), "count", short_);
  }
  // What is written into a variable of that size, as a number; nullopt: not a value of the type.
  std::optional<uint64_t> Written(int type, std::string_view value, size_t size) const {
    std::vector<uint8_t> out(size);
    if (!WriteKconfigValue(btf_.get(), static_cast<uint32_t>(type), value, out)) {
      EXPECT_EQ(out, std::vector<uint8_t>(size)) << value;
      return std::nullopt;
    }
    uint64_t number = 0;
    std::memcpy(&number, out.data(), size);
    return number;
  }

  BtfPtr btf_{btf__new_empty()};
  int boolean_, chars_, short_, unsigned_, wide_, huge_, text_, tristate_, typedef_;
};

TEST_F(WriteKconfig, Numbers) {
  EXPECT_EQ(Written(short_, "-32768", 2), 0x8000u);
  EXPECT_EQ(Written(short_, "-32769", 2), std::nullopt);
  EXPECT_EQ(Written(short_, "32767", 2), 0x7fffu);
  EXPECT_EQ(Written(short_, "32768", 2), std::nullopt);
  EXPECT_EQ(Written(typedef_, "5", 2), 5u);
  EXPECT_EQ(Written(unsigned_, "0xffffffff", 4), 0xffffffffu);
  EXPECT_EQ(Written(unsigned_, "0x100000000", 4), std::nullopt);
  EXPECT_EQ(Written(unsigned_, "-1", 4), std::nullopt);
  EXPECT_EQ(Written(wide_, "-1", 8), ~uint64_t{0});
  for (const char* none : {"", "-", "0x", "1 ", "12a", "99999999999999999999"}) EXPECT_EQ(Written(wide_, none, 8), std::nullopt) << none;
  EXPECT_EQ(Written(huge_, "1", 8), std::nullopt);
  EXPECT_EQ(Written(wide_, "1", 4), std::nullopt) << "a variable that is smaller than its type";
}

TEST_F(WriteKconfig, Choices) {
  EXPECT_EQ(Written(boolean_, "y", 1), 1u);
  EXPECT_EQ(Written(boolean_, "n", 1), 0u);
  EXPECT_EQ(Written(boolean_, "m", 1), std::nullopt);
  EXPECT_EQ(Written(boolean_, "1", 1), std::nullopt);
  EXPECT_EQ(Written(tristate_, "m", 4), 2u);
  EXPECT_EQ(Written(chars_, "m", 1), static_cast<uint64_t>('m'));
  EXPECT_EQ(Written(unsigned_, "y", 4), std::nullopt);
  std::vector<uint8_t> out(1);
  EXPECT_TRUE(WriteKconfigNumber(btf_.get(), static_cast<uint32_t>(boolean_), 1, out));
  EXPECT_FALSE(WriteKconfigNumber(btf_.get(), static_cast<uint32_t>(boolean_), 2, out));
}

TEST_F(WriteKconfig, Texts) {
  EXPECT_EQ(Written(text_, "\"ab\"", 4), 0x6261u);
  EXPECT_EQ(Written(text_, "\"abcdef\"", 4), 0x636261u) << "cut, with a zero at its end";
  EXPECT_EQ(Written(text_, "\"\"", 4), 0u);
  EXPECT_EQ(Written(text_, "\"", 4), std::nullopt);
  EXPECT_EQ(Written(text_, "\"open", 4), std::nullopt);
  EXPECT_EQ(Written(unsigned_, "\"1\"", 4), std::nullopt);
}

}  // namespace
}  // namespace bpfsieve
