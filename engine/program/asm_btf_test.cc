#include "engine/program/asm_btf.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/program/load.h"

namespace bpfsieve {
namespace {

std::shared_ptr<Object> Load(std::string_view text) {
  auto object = LoadAsmObject(text, "x.bpfasm", {});
  EXPECT_TRUE(object.ok()) << object.status();
  return object.ok() ? *object : std::make_shared<Object>();
}

std::string NameOf(const Object& object, const btf_type* t) {
  return btf__name_by_offset(object.btf.get(), t->name_off);
}

TEST(AsmBtf, TheValueHasItsSizeAndFieldsInPlace) {
  auto object = Load(".map m type=array key=4 value=64 entries=1 field=timer@16 field=spin_lock@4\n.type xdp\nexit\n");
  const MapDef& map = object->maps[0];
  ASSERT_NE(object->btf, nullptr);
  const btf_type* value = btf__type_by_id(object->btf.get(), map.btf_value_type_id);
  EXPECT_EQ(value->size, 64u);
  ASSERT_EQ(btf_vlen(value), 2);
  EXPECT_EQ(btf_member_bit_offset(value, 0), 32u);
  EXPECT_EQ(btf_member_bit_offset(value, 1), 128u);
  const btf_type* timer = btf__type_by_id(object->btf.get(), btf_members(value)[1].type);
  EXPECT_EQ(NameOf(*object, timer), "bpf_timer");
  EXPECT_EQ(timer->size, 16u);
}

TEST(AsmBtf, AKernelPointerIsTaggedAndNamesItsStructure) {
  auto object = Load(".map m type=array key=4 value=16 entries=1 field=kptr@8:task_struct\n.type xdp\nexit\n");
  const struct btf* btf = object->btf.get();
  ASSERT_NE(btf, nullptr);
  const btf_type* value = btf__type_by_id(btf, object->maps[0].btf_value_type_id);
  const btf_type* pointer = btf__type_by_id(btf, btf_members(value)[0].type);
  ASSERT_TRUE(btf_is_ptr(pointer));
  const btf_type* tag = btf__type_by_id(btf, pointer->type);
  EXPECT_EQ(NameOf(*object, tag), "kptr");
  EXPECT_EQ(NameOf(*object, btf__type_by_id(btf, tag->type)), "task_struct");
}

TEST(AsmBtf, AKeyOfAnySizeIsDescribed) {
  for (const int size : {1, 3, 4, 20}) {
    auto object = Load(".map m type=hash value=4 entries=1 field=spin_lock@0 key=" + std::to_string(size) + "\nexit\n");
    EXPECT_EQ(btf__resolve_size(object->btf.get(), object->maps[0].btf_key_type_id), size);
  }
}

TEST(AsmBtf, WhatCannotBeDescribedHasNoType) {
  EXPECT_EQ(Load(".map m type=array key=4 value=16 entries=1 field=list_head@0\nexit\n")->maps[0].btf_value_type_id,
            0u);
  EXPECT_EQ(Load(".map m type=array key=4 value=8 entries=1 field=kptr@0\nexit\n")->maps[0].btf_value_type_id, 0u);
  EXPECT_EQ(Load(".map m type=array key=4 value=0xfffffff0 entries=1 field=timer@0xffffff00\nexit\n")
                ->maps[0].btf_value_type_id, 0u);
}

TEST(AsmBtf, AnObjectWithNothingToDescribeHasNone) {
  auto object = Load(".map m type=array key=4 value=8 entries=1\n.type xdp\ncall f\nexit\nf:\nr0 = 0\nexit\n");
  EXPECT_EQ(object->btf, nullptr);
}

TEST(AsmBtf, LocalStorageIsDescribedWithoutFieldsToo) {
  EXPECT_NE(Load(".map m type=sk_storage key=4 value=8 flags=1\nexit\n")->maps[0].btf_value_type_id, 0u);
}

TEST(AsmBtf, AFunctionTakesTheArgumentsThatItReads) {
  auto object = Load(
      ".type xdp\nr1 = 7\nr2 = 8\ncall f\nexit\n"
      ".func f global\nr0 = r2\nr3 = 1\nr0 += r3\nexit\n");
  const struct btf* btf = object->btf.get();
  const Program& program = object->programs[0];
  ASSERT_EQ(program.subprogs.size(), 2u);
  const btf_type* func = btf__type_by_id(btf, program.subprogs[1].btf_func_id);
  EXPECT_EQ(NameOf(*object, func), "f");
  EXPECT_EQ(btf_vlen(func), BTF_FUNC_GLOBAL);
  EXPECT_EQ(btf_vlen(btf__type_by_id(btf, func->type)), 2);
  EXPECT_EQ(btf_vlen(btf__type_by_id(btf, program.subprogs[0].btf_func_id)), BTF_FUNC_STATIC);
}

TEST(AsmBtf, AFunctionTakesWhatItsPrototypeSays) {
  auto object = Load(".type xdp\ncall f\nexit\n.func f global u64,ctx,ctx:xdp_md,mem:24,nonnull:8\nr0 = 0\nexit\n");
  const struct btf* btf = object->btf.get();
  ASSERT_NE(btf, nullptr);
  const Subprog& sub = object->programs[0].subprogs.at(1);
  const btf_type* proto = btf__type_by_id(btf, btf__type_by_id(btf, sub.btf_func_id)->type);
  ASSERT_EQ(btf_vlen(proto), 5);
  const auto target = [&](int k) { return btf__type_by_id(btf, btf_params(proto)[k].type)->type; };
  EXPECT_TRUE(btf_is_int(btf__type_by_id(btf, btf_params(proto)[0].type)));
  EXPECT_EQ(target(1), 0u);
  EXPECT_EQ(NameOf(*object, btf__type_by_id(btf, target(2))), "xdp_md");
  EXPECT_EQ(btf__resolve_size(btf, target(3)), 24);
  EXPECT_EQ(btf__resolve_size(btf, target(4)), 8);
  std::string tags;
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (!btf_is_decl_tag(t)) continue;
    EXPECT_EQ(t->type, sub.btf_func_id);
    tags += NameOf(*object, t) + std::to_string(btf_decl_tag(t)->component_idx) + " ";
  }
  EXPECT_EQ(tags, "arg:ctx1 arg:nonnull4 ");
}

TEST(AsmBtf, AFunctionTakesObjectsAndAddresses) {
  auto object = Load(".type xdp\ncall f\nexit\n.func f global tagged:xdp_md,dynptr,trusted:task_struct,nullable:file,arena\nr0 = 0\nexit\n");
  const struct btf* btf = object->btf.get();
  ASSERT_NE(btf, nullptr);
  const Subprog& sub = object->programs[0].subprogs.at(1);
  const btf_type* proto = btf__type_by_id(btf, btf__type_by_id(btf, sub.btf_func_id)->type);
  ASSERT_EQ(btf_vlen(proto), 5);
  std::string names, tags;
  for (int k = 0; k < 5; ++k) {
    const uint32_t to = btf__type_by_id(btf, btf_params(proto)[k].type)->type;
    names += to != 0 ? NameOf(*object, btf__type_by_id(btf, to)) + " " : "void ";
  }
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (btf_is_decl_tag(t)) tags += NameOf(*object, t) + std::to_string(btf_decl_tag(t)->component_idx) + " ";
  }
  EXPECT_EQ(names, "xdp_md bpf_dynptr task_struct file void ");
  EXPECT_EQ(tags, "arg:ctx0 arg:trusted2 arg:trusted3 arg:nullable3 arg:arena4 ");
}

TEST(AsmBtf, PrototypesThatAreNone) {
  for (const char* none : {"", "u32", "dynptr:x", "trusted", "nullable:", "arena:a", "tagged", "u64,", "ctx:", "ctx:1a", "ctx:a-b", "mem", "mem:0", "mem:5000", "mem:x", "u64,u64,u64,u64,u64,u64"}) {
    EXPECT_FALSE(ValidPrototype(none)) << none;
  }
}

TEST(AsmBtf, OnlyProgramsWithFunctionsHaveFunctionInformation) {
  auto object = Load(
      ".type xdp\n.prog a\ncall f\nexit\n.func f\nr0 = 0\nexit\n"
      ".prog b\ncall f\nexit\nf:\nr0 = 0\nexit\n");
  EXPECT_NE(object->programs[0].subprogs[1].btf_func_id, 0u);
  EXPECT_EQ(object->programs[1].subprogs[1].btf_func_id, 0u);
}

}  // namespace
}  // namespace bpfsieve
