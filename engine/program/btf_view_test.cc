#include "engine/program/btf_view.h"

#include <cstring>
#include <string>

#include "engine/program/btf_fields.h"
#include "engine/program/elf_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace bpfsieve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Types are numbered from 1 in the order that they are added.
BtfPtr NewBtf() {
  BtfPtr btf(btf__new_empty());
  btf__set_pointer_size(btf.get(), 8);
  return btf;
}

std::string Raw(const BtfPtr& btf) {
  uint32_t size = 0;
  const void* data = btf__raw_data(btf.get(), &size);
  return std::string(static_cast<const char*>(data), size);
}

std::string ErrorOf(const BtfPtr& btf) {
  absl::StatusOr<BtfPtr> parsed = ParseBtf(Raw(btf));
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

MATCHER_P2(Field, kind, offset, "") { return arg.kind == kind && arg.offset == static_cast<uint32_t>(offset); }

TEST(ParseBtfTest, SoundTypesAreRead) {
  BtfPtr btf = NewBtf();
  btf__add_int(btf.get(), "int", 4, BTF_INT_SIGNED);
  btf__add_typedef(btf.get(), "number", 1);
  absl::StatusOr<BtfPtr> parsed = ParseBtf(Raw(btf));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(BtfTypeName(parsed->get(), 2), "number");
  EXPECT_EQ(BtfSize(parsed->get(), 2), 4);
  uint32_t id = 0;
  EXPECT_TRUE(btf_is_int(SkipModifiers(parsed->get(), 2, &id)));
  EXPECT_EQ(id, 1u);
}

TEST(ParseBtfTest, TypeThatDoesNotExistIsRefused) {
  BtfPtr btf = NewBtf();
  btf__add_ptr(btf.get(), 9);
  EXPECT_THAT(ErrorOf(btf), HasSubstr("does not exist"));
}

TEST(ParseBtfTest, ModifiersThatLeadBackToThemselvesAreRefused) {
  BtfPtr btf = NewBtf();
  btf__add_const(btf.get(), 2);
  btf__add_volatile(btf.get(), 1);
  EXPECT_THAT(ErrorOf(btf), HasSubstr("leads back"));
}

TEST(ParseBtfTest, StructureThatContainsItselfIsRefused) {
  BtfPtr btf = NewBtf();
  btf__add_struct(btf.get(), "s", 8);
  btf__add_field(btf.get(), "self", 1, 0, 0);
  EXPECT_THAT(ErrorOf(btf), HasSubstr("leads back"));
}

TEST(ParseBtfTest, StructureMayPointToItself) {
  BtfPtr btf = NewBtf();
  btf__add_struct(btf.get(), "node", 8);
  btf__add_field(btf.get(), "next", 2, 0, 0);
  btf__add_ptr(btf.get(), 1);
  EXPECT_EQ(ErrorOf(btf), "");
}

TEST(ParseBtfTest, FunctionWithoutAPrototypeIsRefused) {
  BtfPtr btf = NewBtf();
  btf__add_int(btf.get(), "int", 4, 0);
  btf__add_func(btf.get(), "f", BTF_FUNC_GLOBAL, 1);
  EXPECT_THAT(ErrorOf(btf), HasSubstr("prototype"));
}

TEST(ParseBtfTest, EveryTruncationIsRefused) {
  BtfPtr btf = NewBtf();
  btf__add_int(btf.get(), "int", 4, 0);
  btf__add_struct(btf.get(), "s", 4);
  btf__add_field(btf.get(), "field", 1, 0, 0);
  const std::string raw = Raw(btf);
  for (size_t size = 0; size < raw.size(); ++size) {
    EXPECT_FALSE(ParseBtf(std::string_view(raw).substr(0, size)).ok()) << size;
  }
}

TEST(EssentialNameTest, FlavourIsWhatFollowsThreeUnderscores) {
  EXPECT_EQ(EssentialName("task_struct___old"), "task_struct");
  EXPECT_EQ(EssentialName("a___b___c"), "a___b");
  EXPECT_EQ(EssentialName("task_struct"), "task_struct");
  EXPECT_EQ(EssentialName("___x"), "___x");
  EXPECT_EQ(EssentialName("x___"), "x___");
  EXPECT_EQ(EssentialName(""), "");
}

TEST(KernelBtfTest, FindsByNameAndKind) {
  BtfPtr btf = NewBtf();
  btf__add_struct(btf.get(), "thing", 0);
  btf__add_struct(btf.get(), "thing___2", 0);
  btf__add_typedef(btf.get(), "thing", 1);
  KernelBtf kernel(std::move(btf));
  EXPECT_THAT(kernel.Named("thing"), ElementsAre(1, 2, 3));
  EXPECT_EQ(kernel.Find("thing", BTF_KIND_TYPEDEF), 3u);
  EXPECT_EQ(kernel.Find("thing___2", BTF_KIND_STRUCT), 2u);
  EXPECT_EQ(kernel.Find("thing", BTF_KIND_FUNC), 0u);
  EXPECT_THAT(kernel.Named("other"), IsEmpty());
}

TEST(GetKernelBtfTest, NoneIsNoBtfAndAMissingFileIsAnError) {
  auto none = GetKernelBtf("none");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
  EXPECT_FALSE(GetKernelBtf("/no/such/file").ok());
}

TEST(GetKernelBtfTest, IsReadOnceAndShared) {
  const std::string path = BPFSIEVE_TESTDATA "/core_kernel.o";
  auto first = GetKernelBtf(path), second = GetKernelBtf(path);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->get(), second->get());
}

// A value with the fields of one kind each; returns its type.
class MapFieldsTest : public ::testing::Test {
 protected:
  MapFieldsTest() : btf_(NewBtf()) {
    int_ = btf__add_int(btf_.get(), "int", 4, 0);
    lock_ = Struct("bpf_spin_lock", 4);
    timer_ = Struct("bpf_timer", 16);
    head_ = Struct("bpf_list_head", 16);
    object_ = Struct("object", 4);
    node_ = Struct("bpf_list_node", 24);
    element_ = Struct("element", 32);
    Member(int_, 0);
    btf__add_field(btf_.get(), "node", node_, 8 * 8, 0);
  }
  int Struct(const char* name, uint32_t size) { return btf__add_struct(btf_.get(), name, size); }
  void Member(int type, uint32_t byte) { btf__add_field(btf_.get(), "m", type, byte * 8, 0); }
  int Pointer(const char* tag) { return btf__add_ptr(btf_.get(), btf__add_type_tag(btf_.get(), tag, object_)); }
  void Contains(int holder, int index, const char* what = "contains:element:node") {
    btf__add_decl_tag(btf_.get(), what, holder, index);
  }
  std::vector<StructFields> Structs(bool* refused) { return FindStructFields(btf_.get(), refused); }
  int Array(int type, uint32_t count) { return btf__add_array(btf_.get(), int_, type, count); }
  std::vector<MapField> Find(int type) { return FindMapFields(btf_.get(), type); }

  BtfPtr btf_;
  int int_, lock_, timer_, head_, object_, node_, element_;
};

TEST_F(MapFieldsTest, LockAndTimerAreFoundByName) {
  const int value = Struct("value", 32);
  Member(int_, 0);
  Member(lock_, 4);
  Member(timer_, 8);
  EXPECT_THAT(Find(value), ElementsAre(Field(SpecialField::kSpinLock, 4), Field(SpecialField::kTimer, 8)));
}

TEST_F(MapFieldsTest, TwoLocksMakeTheKernelRefuseAll) {
  const int value = Struct("value", 8);
  Member(lock_, 0);
  Member(lock_, 4);
  EXPECT_THAT(Find(value), IsEmpty());
}

TEST_F(MapFieldsTest, MisalignedLockIsNone) {
  const int value = Struct("value", 8);
  Member(lock_, 2);
  EXPECT_THAT(Find(value), IsEmpty());
}

TEST_F(MapFieldsTest, TaggedPointersToStructuresAreKptrs) {
  const int trusted = Pointer("kptr"), untrusted = Pointer("kptr_untrusted"), percpu = Pointer("percpu_kptr");
  const int value = Struct("value", 24);
  Member(trusted, 0);
  Member(untrusted, 8);
  Member(percpu, 16);
  EXPECT_THAT(Find(value), ElementsAre(Field(SpecialField::kKptrTrusted, 0), Field(SpecialField::kKptrUntrusted, 8),
                                       Field(SpecialField::kKptrPercpu, 16)));
}

TEST_F(MapFieldsTest, NestedStructuresAndArraysAreSearched) {
  const int pointer = Pointer("kptr");
  const int nested = Struct("nested", 24);
  Member(pointer, 0);
  Member(head_, 8);
  Contains(nested, 1);
  const int array = Array(nested, 2);
  const int value = Struct("value", 56);
  Member(lock_, 0);
  Member(array, 8);
  EXPECT_THAT(Find(value), ElementsAre(Field(SpecialField::kSpinLock, 0), Field(SpecialField::kKptrTrusted, 8),
                                       Field(SpecialField::kListHead, 16), Field(SpecialField::kKptrTrusted, 32),
                                       Field(SpecialField::kListHead, 40)));
}

TEST_F(MapFieldsTest, MoreFieldsThanTheKernelKeepsAreRefused) {
  const int few = Array(head_, 10), many = Array(head_, 12);
  const int value = Struct("value", 16 * 12 + 8);
  Member(lock_, 0);
  Member(few, 8);
  Contains(value, 1);
  EXPECT_EQ(Find(value).size(), 11u);
  const int larger = Struct("larger", 16 * 12 + 8);
  Member(lock_, 0);
  Member(many, 8);
  Contains(larger, 1);
  EXPECT_THAT(Find(larger), IsEmpty());
}

TEST_F(MapFieldsTest, AListIsNoneWithoutALockOrWithoutElements) {
  const int unlocked = Struct("unlocked", 16);
  Member(head_, 0);
  Contains(unlocked, 0);
  EXPECT_THAT(Find(unlocked), IsEmpty());
  for (const char* tag : {"", "contains:element", "contains:element:", "contains:nothing:node", "contains:element:m"}) {
    const int value = Struct("value", 24);
    Member(head_, 0);
    Member(lock_, 16);
    if (*tag != 0) Contains(value, 0, tag);
    EXPECT_THAT(Find(value), IsEmpty()) << tag;
  }
  const int value = Struct("value", 24);
  Member(head_, 0);
  Member(lock_, 16);
  Contains(value, 0);
  const std::vector<MapField> fields = Find(value);
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_EQ(fields[0].type_id, static_cast<uint32_t>(element_));
  EXPECT_EQ(fields[0].node_offset, 8u);
}

TEST_F(MapFieldsTest, StructuresWithFieldsOfTheirOwnAreFound) {
  const int pointer = Pointer("kptr");
  const int holder = Struct("holder", 16);
  Member(int_, 0);
  Member(pointer, 8);
  const int around = Struct("around", 16);
  Member(holder, 0);
  bool refused = true;
  const std::vector<StructFields> structs = Structs(&refused);
  EXPECT_FALSE(refused);
  ASSERT_EQ(structs.size(), 2u);  // the element of lists, and the holder, but not what is around it
  EXPECT_EQ(structs[0].type_id, static_cast<uint32_t>(element_));
  EXPECT_THAT(structs[0].fields, ElementsAre(Field(SpecialField::kListNode, 8)));
  EXPECT_EQ(structs[1].type_id, static_cast<uint32_t>(holder));
  EXPECT_THAT(structs[1].fields, ElementsAre(Field(SpecialField::kKptrTrusted, 8)));
  EXPECT_NE(holder, around);
}

TEST_F(MapFieldsTest, AStructureThatDoesNotHoldTogetherSpoilsAll) {
  bool refused = false;
  Struct("holder", 16);
  Member(head_, 0);
  Structs(&refused);
  EXPECT_TRUE(refused);
}

TEST_F(MapFieldsTest, PlainPointersAndIntegersAreNone) {
  const int plain = btf__add_ptr(btf_.get(), object_);
  const int value = Struct("value", 16);
  Member(plain, 0);
  Member(int_, 8);
  EXPECT_THAT(Find(value), IsEmpty());
}

}  // namespace
}  // namespace bpfsieve
