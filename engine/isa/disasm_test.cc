#include "engine/isa/disasm.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "engine/isa/helper_names.h"

namespace bpfsieve {
namespace {

// Instructions as bytes in memory order, and the text that Linux 6.18 logged for them.
struct Logged {
  uint64_t bytes;
  const char* text;
};
constexpr Logged kLogged[] = {
#include "engine/isa/disasm_kernel_log.inc"
};

TEST(Disassemble, PrintsWhatTheKernelLogged) {
  for (const Logged& logged : kLogged) {
    Insn insns[2];
    for (int i = 0; i < 8; ++i) {
      reinterpret_cast<uint8_t*>(insns)[i] = static_cast<uint8_t>(logged.bytes >> (56 - 8 * i));
    }
    EXPECT_EQ(DisassembleLogText(insns), logged.text);
  }
}

TEST(Disassemble, WideImmediateJoinsBothHalves) {
  Insn insns[2];
  insns[0].code = 0x18;
  insns[0].dst = 3;
  insns[0].imm = -1;
  insns[1].imm = 5;
  EXPECT_EQ(Disassemble(insns), "r3 = 0x5ffffffff");
}

TEST(Disassemble, ReferencesAreNamedByTheCaller) {
  DisasmNames names;
  names.imm64 = [](const Insn* insn) { return insn->src == 1 ? "map[" + std::to_string(insn->imm) + "]" : ""; };
  names.kfunc = [](const Insn&) { return std::string("bpf_rcu_read_lock"); };
  Insn insns[2];
  insns[0].code = 0x18;
  insns[0].src = 1;
  insns[0].imm = 7;
  EXPECT_EQ(Disassemble(insns, names), "r0 = map[7]");
  insns[0].src = 4;
  EXPECT_EQ(Disassemble(insns, names), "r0 = 0x7");
  Insn call;
  call.code = kCodeCall;
  call.src = kPseudoKfuncCall;
  call.imm = 12;
  EXPECT_EQ(Disassemble(&call, names), "call bpf_rcu_read_lock#12");
}

TEST(Disassemble, AnyBytesPrintSomething) {
  for (int code = 0; code < 256; ++code) {
    for (int fields = 0; fields < 256; ++fields) {
      Insn insns[2];
      insns[0].code = static_cast<uint8_t>(code);
      insns[0].dst = fields & 15;
      insns[0].src = fields >> 4;
      insns[0].off = static_cast<int16_t>(fields * 257);
      insns[0].imm = static_cast<int32_t>(fields * 0x01010101u);
      EXPECT_FALSE(Disassemble(insns).empty());
    }
  }
}

TEST(HelperNames, NumbersAndNamesAreInverse) {
  EXPECT_EQ(HelperName(1), "bpf_map_lookup_elem");
  EXPECT_EQ(HelperName(211), "bpf_cgrp_storage_delete");
  EXPECT_EQ(HelperName(kHelperCount), "");
  for (uint32_t id = 1; id < kHelperCount; ++id) EXPECT_EQ(HelperIdFromName(HelperName(id)), id);
  EXPECT_FALSE(HelperIdFromName("bpf_unspec"));
  EXPECT_FALSE(HelperIdFromName("map_lookup_elem"));
  EXPECT_FALSE(HelperIdFromName(""));
}

}  // namespace
}  // namespace bpfsieve
