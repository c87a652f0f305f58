// The tables against the running kernel. Every helper prototype is turned into a call that it allows, which the kernel
// must accept, and into calls that break it in one argument, on which the kernel must side with the table.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/spec/kernel_probe.h"
#include "engine/spec/spec.h"

namespace bpfsieve {
namespace {

constexpr uint8_t kStxDw = kClassStx | kModeMem | kSizeDw, kLdxDw = kClassLdx | kModeMem | kSizeDw,
                  kLdxW = kClassLdx | kModeMem | kSizeW;
constexpr int kBuffer = -64;  // stack offset of 64 bytes that the calls pass
constexpr int kMarker = 42;   // what they hold in each 8
constexpr uint8_t kCtxReg = 6, kSocketReg = 7 /* or the task */, kPacketReg = 8;

Insn Mov(uint8_t dst, int32_t imm) { return {kClassAlu64 | kMov, dst, 0, 0, imm}; }
Insn MovReg(uint8_t dst, uint8_t src) { return {kClassAlu64 | kMov | kSrcX, dst, src, 0, 0}; }
Insn AddImm(uint8_t dst, int32_t imm) { return {kClassAlu64 | kAdd, dst, 0, 0, imm}; }
Insn Call(uint32_t helper) { return {kCodeCall, 0, 0, 0, static_cast<int32_t>(helper)}; }
Insn Exit() { return {kCodeExit, 0, 0, 0, 0}; }

bool IsTask(const ArgSpec& arg) {
  return arg.type == Arg::kBtfId && arg.btf_name != nullptr && std::string_view(arg.btf_name) == "task_struct";
}
bool NeedsTask(const HelperProto& proto) {
  for (const ArgSpec& arg : proto.args) {
    if (IsTask(arg)) return true;
  }
  return false;
}

// How a call departs from its prototype, in one argument.
enum class Twist {
  kNone,
  kUnset,           // the register holds nothing
  kNull,            // 0; the size that goes with it 0 too
  kZeroSize,        // size 0 for good memory
  kReadOnlyValue,   // a map value that the program may only read
  kWriteOnlyValue,  // a map value that the program may only write
  kPacket,
  kMisaligned,
  kBeyondStack,  // the last byte of a fixed size lies outside the stack
};

class CallMaker {
 public:
  CallMaker(ProgType type, AttachType attach, KernelMaps* maps) : type_(type), attach_(attach), maps_(maps) {}

  // The call, twisted in argument `at`; nullopt where the test cannot make such a call.
  std::optional<KernelProgram> Make(const HelperProto& proto, Twist twist = Twist::kNone, size_t at = 0,
                                    std::optional<MapType> map = std::nullopt, bool with_packet = false,
                                    std::vector<Insn> after = {}) {
    program_ = {};
    program_.type = type_;
    program_.attach = attach_;
    program_.sleepable = type_ == ProgType::kSyscall;
    Add(MovReg(kCtxReg, 1));
    if (NeedsSocket(proto, twist, at) && !LoadSocket()) return std::nullopt;
    if (NeedsTask(proto) && !LoadTask()) return std::nullopt;
    if ((twist == Twist::kPacket || with_packet) && !LoadPacket()) return std::nullopt;
    Add(Mov(1, kMarker));
    for (int off = kBuffer; off < 0; off += 8) Add({kStxDw, kRegFp, 1, static_cast<int16_t>(off), 0});
    for (size_t i = 0; i < 5; ++i) {
      if (proto.args[i].type == Arg::kDontcare) break;
      if (!Argument(proto, i, i == at ? twist : Twist::kNone, twist == Twist::kNull && i == at + 1, map)) {
        return std::nullopt;
      }
    }
    Add(Call(proto.id));
    for (const Insn& insn : after) Add(insn);
    if (proto.acquires) Release(proto);
    Return();
    return program_;
  }

 private:
  void Add(const Insn& insn) { program_.insns.push_back(insn); }
  void Return() {
    const RetRule rule = ReturnRule(type_, attach_);
    Add(Mov(0, rule.checked ? rule.range.min : 0));
    Add(Exit());
  }
  void Address(uint8_t reg, int off) {
    Add(MovReg(reg, kRegFp));
    Add(AddImm(reg, off));
  }
  void LoadMap(uint8_t reg, int fd, uint8_t pseudo) {
    Add({kCodeLdImm64, reg, pseudo, 0, fd});
    Add({});
  }

  bool NeedsSocket(const HelperProto& proto, Twist twist, size_t at) {
    for (size_t i = 0; i < 5; ++i) {
      const ArgSpec& arg = proto.args[i];
      const bool socket = arg.type == Arg::kSockCommon || arg.type == Arg::kBtfIdSockCommon || arg.type == Arg::kSocket;
      if (socket && !(i == at && (twist == Twist::kNull || twist == Twist::kUnset))) return true;
    }
    return false;
  }

  bool LoadSocket() {
    for (int off = 0; off < 256; off += 8) {
      const CtxAccess access = CheckCtxAccess(type_, attach_, off, 8, false);
      if (!access.ok) continue;
      const bool nullable = access.yield == CtxYield::kSockCommonOrNull || access.yield == CtxYield::kSocketOrNull;
      if (!nullable && access.yield != CtxYield::kSocket) continue;
      Add({kLdxDw, kSocketReg, kCtxReg, static_cast<int16_t>(off), 0});
      if (nullable) {
        Add({kClassJmp | kJne, kSocketReg, 0, 2, 0});
        Return();
      }
      return true;
    }
    return false;
  }

  bool LoadTask() {
    constexpr uint32_t kGetCurrentTaskBtf = 158;
    if (!HelperAvailable(kGetCurrentTaskBtf, type_, attach_, false)) return false;
    Add(Call(kGetCurrentTaskBtf));
    Add(MovReg(kSocketReg, 0));
    return true;
  }

  // 64 bytes of packet in kPacketReg.
  bool LoadPacket() {
    int data = -1, end = -1, size = 0;
    for (int off = 0; off < 256; off += 4) {
      for (int bytes : {4, 8}) {
        const CtxAccess access = CheckCtxAccess(type_, attach_, off, bytes, false);
        if (!access.ok) continue;
        if (access.yield == CtxYield::kPacket) data = off, size = bytes;
        if (access.yield == CtxYield::kPacketEnd) end = off;
      }
    }
    if (data < 0 || end < 0) return false;
    const uint8_t load = size == 8 ? kLdxDw : kLdxW;
    Add({load, kPacketReg, kCtxReg, static_cast<int16_t>(data), 0});
    Add({load, 9, kCtxReg, static_cast<int16_t>(end), 0});
    Add(MovReg(2, kPacketReg));
    Add(AddImm(2, 64));
    Add({kClassJmp | kJle | kSrcX, 2, 9, 2, 0});
    Return();
    return true;
  }

  static std::optional<MapType> PartnerOf(uint32_t helper, ProgType type, AttachType attach) {
    for (MapType map : {MapType::kHash, MapType::kPercpuHash}) {
      if (MapHelperCompatible(map, helper, type, attach)) return map;
    }
    for (uint32_t map = 1; map < kMapTypeCount; ++map) {
      if (MapHelperCompatible(static_cast<MapType>(map), helper, type, attach)) return static_cast<MapType>(map);
    }
    return std::nullopt;
  }

  bool Memory(uint8_t reg, const ArgSpec& arg, Twist twist) {
    switch (twist) {
      case Twist::kNone:
      case Twist::kZeroSize: Address(reg, kBuffer); return true;
      case Twist::kReadOnlyValue:
        LoadMap(reg, maps_->Get(MapType::kArray, kMapRdonlyProg), kPseudoMapValue);
        return true;
      case Twist::kWriteOnlyValue:
        LoadMap(reg, maps_->Get(MapType::kArray, kMapWronlyProg), kPseudoMapValue);
        return true;
      case Twist::kPacket: Add(MovReg(reg, kPacketReg)); return true;
      case Twist::kMisaligned: Address(reg, kBuffer + 1); return true;
      case Twist::kBeyondStack:
        if ((arg.flags & kArgFixedSize) == 0) return false;
        Address(reg, -static_cast<int>(arg.size) + 1);
        return true;
      default: return false;
    }
  }

  bool Argument(const HelperProto& proto, size_t i, Twist twist, bool beside_null, std::optional<MapType> map) {
    const ArgSpec& arg = proto.args[i];
    const uint8_t reg = static_cast<uint8_t>(i + 1);
    if ((arg.flags & kArgRelease) != 0) return false;
    if (twist == Twist::kUnset) return i > 0;  // R1 always holds something
    if (twist == Twist::kNull) {
      Add(Mov(reg, 0));
      return true;
    }
    switch (arg.type) {
      case Arg::kConstMapPtr: {
        const std::optional<MapType> chosen = map ? map : PartnerOf(proto.id, type_, attach_);
        if (!chosen || maps_->Get(*chosen) < 0) return false;
        LoadMap(reg, maps_->Get(*chosen), kPseudoMapFd);
        return true;
      }
      case Arg::kMapKey:
      case Arg::kMapValue:
        if ((arg.flags & kArgNullable) != 0 && twist == Twist::kNone) {
          Add(Mov(reg, 0));
          return true;
        }
        return Memory(reg, arg, twist);
      case Arg::kMem: return Memory(reg, arg, twist);
      case Arg::kConstSize:
      case Arg::kConstSizeOrZero:
      case Arg::kConstAllocSizeOrZero: Add(Mov(reg, twist == Twist::kZeroSize || beside_null ? 0 : 8)); return true;
      case Arg::kCtx: Add(MovReg(reg, kCtxReg)); return true;
      case Arg::kAnything: Add(Mov(reg, 0)); return true;
      case Arg::kConstStr: LoadMap(reg, maps_->String(), kPseudoMapValue); return true;
      case Arg::kSockCommon:
      case Arg::kSocket:
      case Arg::kBtfIdSockCommon: Add(MovReg(reg, kSocketReg)); return true;
      case Arg::kBtfId:
        if (!IsTask(arg)) return false;
        Add(MovReg(reg, kSocketReg));
        return true;
      default: return false;  // needs more than a micro-program
    }
  }

  void Release(const HelperProto& proto) {
    constexpr uint32_t kRingbufDiscard = 133, kSkRelease = 86;
    Add({kClassJmp | kJne, 0, 0, 2, 0});
    Return();
    Add(MovReg(1, 0));
    Add(Mov(2, 0));
    Add(Call(proto.ret == Ret::kRingbufMem ? kRingbufDiscard : kSkRelease));
  }

  const ProgType type_;
  const AttachType attach_;
  KernelMaps* const maps_;
  KernelProgram program_;
};

// The expected attach type that a type is loaded with.
AttachType SomeAttachType(ProgType type) {
  // Those with the most helpers.
  if (type == ProgType::kCgroupSockAddr) return AttachType::kCgroupInet4Connect;
  if (type == ProgType::kCgroupSockopt) return AttachType::kCgroupSetsockopt;
  for (uint32_t attach = 0; attach < kAttachTypeCount; ++attach) {
    if (AttachTypeValid(type, static_cast<AttachType>(attach))) return static_cast<AttachType>(attach);
  }
  return {};
}

class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!MayAskKernel()) GTEST_SKIP() << "this process may not ask the kernel";
  }

  // Types that programs without a target can be loaded as.
  std::vector<std::pair<ProgType, AttachType>> Types() {
    std::vector<std::pair<ProgType, AttachType>> types;
    for (uint32_t number = 1; number < kProgTypeCount; ++number) {
      const ProgType type = static_cast<ProgType>(number);
      const AttachType attach = SomeAttachType(type);
      KernelProgram program;
      program.type = type;
      program.attach = attach;
      program.sleepable = type == ProgType::kSyscall;
      program.insns = {Mov(0, ReturnRule(type, attach).range.min), Exit()};
      if (CtxUnsupported(type) == nullptr && AskKernel(program).accepted()) types.push_back({type, attach});
    }
    return types;
  }

  // Calls `visit(proto, type, maker)` for the prototypes that micro-programs can call, in every type.
  template <typename Visit>
  void ForEachCall(Visit visit) {
    for (const auto& [type, attach] : Types()) {
      KernelMaps maps;  // a program array belongs to the type that used it first
      CallMaker maker(type, attach, &maps);
      for (uint32_t id = 1; id < kHelperCount; ++id) {
        const HelperProto& proto = *FindHelper(id, type);
        if (HelperAvailable(id, type, attach, type == ProgType::kSyscall)) {
          visit(proto, type, maker);
        }
      }
    }
  }

  static std::string Where(const HelperProto& proto, ProgType type) {
    return std::string(proto.name) + " in " + std::string(ProgTypeName(type)) + "\n";
  }
};

TEST_F(KernelTest, AcceptsTheCallThatAPrototypeDescribes) {
  std::set<uint32_t> called;
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    const std::optional<KernelProgram> program = maker.Make(proto);
    if (!program) return;
    called.insert(proto.id);
    const KernelVerdict verdict = AskKernel(*program);
    if (verdict.Says("Sleepable programs can only use")) return;
    if (proto.might_sleep && type != ProgType::kSyscall) {
      EXPECT_TRUE(verdict.Says("might sleep")) << Where(proto, type) << verdict.log;
    } else {
      EXPECT_TRUE(verdict.accepted()) << Where(proto, type) << verdict.log;
    }
  });
  EXPECT_GE(called.size(), 130u);
}

// Whether the call is allowed with argument `at` twisted; nullopt: the prototype does not decide.
std::optional<bool> Allows(const HelperProto& proto, Twist twist, size_t at, ProgType type) {
  const ArgSpec& arg = proto.args[at];
  const bool memory = arg.type == Arg::kMem || arg.type == Arg::kMapKey || arg.type == Arg::kMapValue;
  const bool nullable = (arg.flags & kArgNullable) != 0;
  const bool sized = arg.type == Arg::kMem && (arg.flags & kArgFixedSize) == 0;
  switch (twist) {
    case Twist::kUnset: return false;
    case Twist::kNull:
      if (sized) return nullable && proto.args[at + 1].type == Arg::kConstSizeOrZero;
      return nullable || arg.type == Arg::kAnything || arg.type == Arg::kConstSizeOrZero ||
             arg.type == Arg::kConstAllocSizeOrZero;
    case Twist::kZeroSize:
      if (arg.type == Arg::kConstSize) return false;
      if (arg.type == Arg::kConstSizeOrZero) return true;
      return std::nullopt;
    case Twist::kReadOnlyValue:
      if (!memory) return std::nullopt;
      return (arg.flags & kArgWrite) == 0;
    case Twist::kWriteOnlyValue:
      if (!memory) return std::nullopt;
      return (arg.flags & kArgWrite) != 0;
    case Twist::kPacket:
      if (!memory) return std::nullopt;
      // Packets start 2 bytes behind an aligned address.
      return HelperTakesPacket(proto, type) && (arg.flags & kArgAligned) == 0;
    case Twist::kMisaligned:
      if (!memory) return std::nullopt;
      return (arg.flags & kArgAligned) == 0;
    case Twist::kBeyondStack:
      if ((arg.flags & kArgFixedSize) == 0) return std::nullopt;
      return false;
    case Twist::kNone: return true;
  }
  return std::nullopt;
}

TEST_F(KernelTest, SidesWithThePrototypeOnEveryTwistedArgument) {
  int asked = 0;
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    if (proto.might_sleep && type != ProgType::kSyscall) return;
    for (size_t at = 0; at < 5 && proto.args[at].type != Arg::kDontcare; ++at) {
      for (Twist twist : {Twist::kUnset, Twist::kNull, Twist::kZeroSize, Twist::kReadOnlyValue, Twist::kWriteOnlyValue,
                          Twist::kPacket, Twist::kMisaligned, Twist::kBeyondStack}) {
        const std::optional<bool> allowed = Allows(proto, twist, at, type);
        if (!allowed) continue;
        const std::optional<KernelProgram> program = maker.Make(proto, twist, at);
        if (!program) continue;
        const KernelVerdict verdict = AskKernel(*program);
        if (verdict.Says("Sleepable programs can only use")) continue;
        ++asked;
        EXPECT_EQ(verdict.accepted(), *allowed)
            << Where(proto, type) << "argument " << at + 1 << " twist " << static_cast<int>(twist) << "\n"
            << verdict.log;
      }
    }
  });
  EXPECT_GE(asked, 5000);
}

// What the level-2 log says that register 9 holds after the instruction printed as `insn`.
std::string StateAfter(const std::string& log, const std::string& insn) {
  size_t at = log.rfind(insn);  // the first one lists the program
  if (at == std::string::npos || (at = log.find("R9=", at)) == std::string::npos) return "?";
  const size_t begin = at + 3;
  return log.substr(begin, log.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", begin) - begin);
}

TEST_F(KernelTest, ForgetsBuffersThatAHelperWrites) {
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    bool writes = false;
    for (const ArgSpec& arg : proto.args) {
      writes |= (arg.type == Arg::kMem || arg.type == Arg::kMapValue) && (arg.flags & kArgWrite) != 0;
    }
    const Insn load{kLdxDw, 9, kRegFp, kBuffer, 0};
    std::optional<KernelProgram> program = maker.Make(proto, Twist::kNone, 0, std::nullopt, false, {load});
    if (!program) return;
    program->log_level = 2;
    const KernelVerdict verdict = AskKernel(*program);
    if (!verdict.accepted()) return;  // a map or a sleep that the type does not have
    const std::string state = StateAfter(verdict.log, "r9 = *(u64 *)(r10 -64)");
    EXPECT_EQ(state, writes ? "scalar" : std::to_string(kMarker)) << Where(proto, type) << verdict.log;
  });
}

TEST_F(KernelTest, ReturnsWhatThePrototypeSays) {
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    std::optional<KernelProgram> program = maker.Make(proto, Twist::kNone, 0, std::nullopt, false, {MovReg(9, 0)});
    if (!program || proto.ret == Ret::kVoid) return;
    program->log_level = 2;
    const KernelVerdict verdict = AskKernel(*program);
    if (!verdict.accepted()) return;
    const std::string state = StateAfter(verdict.log, "r9 = r0");
    std::string expected;
    switch (proto.ret) {
      case Ret::kInteger: expected = "scalar"; break;
      case Ret::kMapValue: expected = "map_value"; break;
      case Ret::kSocket: expected = "sock"; break;
      case Ret::kTcpSock: expected = "tcp_sock"; break;
      case Ret::kSockCommon: expected = "sock_common"; break;
      case Ret::kRingbufMem: expected = "ringbuf_mem"; break;
      case Ret::kBtfId:
        expected = std::string(proto.ret_nullable ? "ptr_or_null_" : "ptr_") + proto.ret_btf_name;
        break;
      case Ret::kBtfIdTrusted: expected = "trusted_ptr_" + std::string(proto.ret_btf_name); break;
      default: expected = "(not in a micro-program)"; break;
    }
    if (proto.ret_nullable && proto.ret != Ret::kBtfId) expected += "_or_null";
    EXPECT_EQ(state, expected) << Where(proto, type) << verdict.log;
  });
}

TEST_F(KernelTest, InvalidatesPacketPointersWhereTheTableSaysSo) {
  std::set<std::string> moving;
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    const Insn load{kClassLdx | kModeMem | kSizeB, 9, kPacketReg, 0, 0};
    const std::optional<KernelProgram> program = maker.Make(proto, Twist::kNone, 0, std::nullopt, true, {load});
    if (!program || proto.might_sleep) return;
    const KernelVerdict verdict = AskKernel(*program);
    EXPECT_EQ(verdict.Says("R8 invalid mem access 'scalar'"), proto.changes_packet)
        << Where(proto, type) << verdict.log;
    EXPECT_EQ(verdict.accepted(), !proto.changes_packet) << Where(proto, type) << verdict.log;
    if (proto.changes_packet) moving.insert(proto.name);
  });
  EXPECT_GE(moving.size(), 20u);
}

TEST_F(KernelTest, KeepsGplHelpersFromOtherPrograms) {
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    if (NeedsTask(proto)) return;  // only a GPL helper hands out the task
    std::optional<KernelProgram> program = maker.Make(proto);
    if (!program || !AskKernel(*program).accepted()) return;
    program->gpl = false;
    EXPECT_EQ(AskKernel(*program).accepted(), !proto.gpl_only) << Where(proto, type);
  });
}

TEST_F(KernelTest, SparesTheStackOfFastCalls) {
  // A register that is saved around a fast call needs no stack once the call is inlined.
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker&) {
    if (proto.args[0].type != Arg::kDontcare || proto.ret != Ret::kInteger) return;
    KernelProgram program;
    program.type = type;
    program.attach = SomeAttachType(type);
    program.sleepable = type == ProgType::kSyscall;
    program.log_level = 4;
    program.insns = {{kStxDw, kRegFp, 1, -8, 0}, Call(proto.id), {kLdxDw, 1, kRegFp, -8, 0}};
    program.insns.push_back(Mov(0, ReturnRule(type, program.attach).range.min));
    program.insns.push_back(Exit());
    const KernelVerdict verdict = AskKernel(program);
    ASSERT_TRUE(verdict.accepted()) << Where(proto, type) << verdict.log;
    EXPECT_EQ(verdict.Says("stack depth 0\n"), proto.allow_fastcall) << Where(proto, type) << verdict.log;
  });
}

TEST_F(KernelTest, AgreesOnEveryPairOfMapAndHelper) {
  int asked = 0;
  ForEachCall([&](const HelperProto& proto, ProgType type, CallMaker& maker) {
    if (proto.might_sleep || type == ProgType::kSyscall) return;
    bool takes_map = false;
    for (const ArgSpec& arg : proto.args) takes_map |= arg.type == Arg::kConstMapPtr;
    if (!takes_map) return;
    for (uint32_t number = 1; number < kMapTypeCount; ++number) {
      const MapType map = static_cast<MapType>(number);
      const std::optional<KernelProgram> program = maker.Make(proto, Twist::kNone, 0, map);
      if (!program) continue;
      const KernelVerdict verdict = AskKernel(*program);
      // An argument may be refused before the pair is looked at.
      const bool compatible = MapHelperCompatible(map, proto.id, type, SomeAttachType(type));
      EXPECT_FALSE(compatible ? verdict.Says("cannot pass map_type") : verdict.accepted())
          << Where(proto, type) << MapTypeName(map) << "\n"
          << verdict.log;
      asked += verdict.accepted() || verdict.Says("cannot pass map_type") ? 1 : 0;
    }
  });
  EXPECT_GE(asked, 5000);
}

TEST_F(KernelTest, LetsSleepableProgramsUseTheSameMaps) {
  KernelMaps maps;
  for (uint32_t number = 1; number < kMapTypeCount; ++number) {
    const MapType map = static_cast<MapType>(number);
    if (map == MapType::kArena || maps.Get(map) < 0) continue;  // an arena must be mapped first
    KernelProgram program;
    program.type = ProgType::kSyscall;
    program.sleepable = true;
    program.insns = {{kCodeLdImm64, 1, kPseudoMapFd, 0, maps.Get(map)}, {}, Mov(0, 0), Exit()};
    const KernelVerdict verdict = AskKernel(program);
    EXPECT_EQ(verdict.accepted(), MapAllowedInSleepable(map)) << MapTypeName(map) << verdict.log;
  }
}

TEST_F(KernelTest, AgreesOnReturnValuesAndAttachTypes) {
  for (const auto& [type, unused] : Types()) {
    for (uint32_t number = 0; number < kAttachTypeCount; ++number) {
      const AttachType attach = static_cast<AttachType>(number);
      const RetRule rule = ReturnRule(type, attach);
      for (int value : {-2147483647 - 1, -1, 0, 1, 2, 3, 4, 2147483647}) {
        KernelProgram program;
        program.type = type;
        program.attach = attach;
        program.sleepable = type == ProgType::kSyscall;
        program.insns = {Mov(0, value), Exit()};
        const bool allowed =
            AttachTypeValid(type, attach) && (!rule.checked || (value >= rule.range.min && value <= rule.range.max));
        EXPECT_EQ(AskKernel(program).accepted(), allowed)
            << ProgTypeName(type) << " " << AttachTypeName(attach) << " returns " << value;
      }
    }
  }
}

TEST_F(KernelTest, AgreesOnLegacyPacketLoads) {
  for (const auto& [type, attach] : Types()) {
    KernelProgram program;
    program.type = type;
    program.attach = attach;
    program.sleepable = type == ProgType::kSyscall;
    program.insns = {MovReg(kCtxReg, 1), {kClassLd | kModeAbs | kSizeB, 0, 0, 0, 0}};
    program.insns.push_back(Mov(0, ReturnRule(type, attach).range.min));
    program.insns.push_back(Exit());
    EXPECT_EQ(AskKernel(program).accepted(), MayUseLdAbs(type)) << ProgTypeName(type);
  }
}

const char* Printed(CtxYield yield) {
  switch (yield) {
    case CtxYield::kScalar: return "scalar";
    case CtxYield::kPacket: return "pkt";
    case CtxYield::kPacketMeta: return "pkt_meta";
    case CtxYield::kPacketEnd: return "pkt_end";
    case CtxYield::kSockCommonOrNull: return "sock_common_or_null";
    case CtxYield::kSocket: return "sock";
    case CtxYield::kSocketOrNull: return "sock_or_null";
    case CtxYield::kTcpSock: return "tcp_sock";
    case CtxYield::kFlowKeys: return "flow_keys";
    case CtxYield::kXdpSock: return "xdp_sock";
    case CtxYield::kTpBuffer: return "tp_buffer";
    case CtxYield::kNfState: return "trusted_ptr_nf_hook_state";
    case CtxYield::kNfPacket: return "trusted_ptr_sk_buff";
  }
  return nullptr;
}

TEST_F(KernelTest, AgreesOnContextAccessesPickedAtRandom) {
  std::minstd_rand random(1);
  for (const auto& [type, some] : Types()) {
    for (uint32_t number = 0; number < kAttachTypeCount; ++number) {
      const AttachType attach = static_cast<AttachType>(number);
      if (!AttachTypeValid(type, attach)) continue;
      for (int i = 0; i < 15; ++i) {
        const int size = 1 << random() % 4;
        // A tracepoint program may read in front of its record, which the table does not allow.
        const int off = static_cast<int>(random() % 270) - (type == ProgType::kTracepoint ? 0 : 6);
        const bool write = random() % 4 == 0;
        const uint8_t size_field = size == 1 ? kSizeB : size == 2 ? kSizeH : size == 4 ? kSizeW : kSizeDw;
        KernelProgram program;
        program.type = type;
        program.attach = attach;
        program.sleepable = type == ProgType::kSyscall;
        program.log_level = 2;
        program.insns = {Mov(9, 0)};
        if (write) {
          program.insns.push_back(
              {static_cast<uint8_t>(kClassStx | kModeMem | size_field), 1, 9, static_cast<int16_t>(off), 0});
        } else {
          program.insns.push_back(
              {static_cast<uint8_t>(kClassLdx | kModeMem | size_field), 9, 1, static_cast<int16_t>(off), 0});
        }
        program.insns.push_back(Mov(0, ReturnRule(type, attach).range.min));
        program.insns.push_back(Exit());
        const KernelVerdict verdict = AskKernel(program);
        const CtxAccess access = CheckCtxAccess(type, attach, off, size, write);
        ASSERT_EQ(verdict.accepted(), access.ok)
            << ProgTypeName(type) << " " << AttachTypeName(attach) << " " << off << "/" << size << " " << write;
        if (!access.ok || write || Printed(access.yield) == nullptr) continue;
        ASSERT_EQ(StateAfter(verdict.log, "r9 = *"), Printed(access.yield)) << ProgTypeName(type) << " " << off;
      }
    }
  }
}

TEST_F(KernelTest, AgreesOnPacketAccess) {
  // A helper that does nothing to the packet, but lets the call maker load the packet pointers first.
  constexpr uint32_t kGetPrandom = 7;
  for (const auto& [type, attach] : Types()) {
    KernelMaps maps;
    for (bool write : {false, true}) {
      const Insn byte = write ? Insn{kClassSt | kModeMem | kSizeB, kPacketReg, 0, 0, 0}
                              : Insn{kClassLdx | kModeMem | kSizeB, 9, kPacketReg, 0, 0};
      const std::optional<KernelProgram> program =
          CallMaker(type, attach, &maps)
              .Make(*FindHelper(kGetPrandom, type), Twist::kNone, 0, std::nullopt, true, {byte});
      if (!program) continue;
      const KernelVerdict verdict = AskKernel(*program);
      // Direct loads need only the pointer: the question for them is what helpers may do.
      EXPECT_EQ(verdict.accepted(), !write || MayAccessPacket(type, true)) << ProgTypeName(type) << verdict.log;
    }
  }
}

TEST_F(KernelTest, AgreesOnHelpersPickedAtRandom) {
  std::minstd_rand random(1);
  for (const auto& [type, some] : Types()) {
    for (int i = 0; i < 300; ++i) {
      const AttachType attach = static_cast<AttachType>(random() % kAttachTypeCount);
      if (!AttachTypeValid(type, attach)) continue;
      const uint32_t helper = 1 + random() % (kHelperCount + 3);
      KernelProgram program;
      program.type = type;
      program.attach = attach;
      program.sleepable = type == ProgType::kSyscall;
      program.insns = {Call(helper), Mov(0, ReturnRule(type, attach).range.min), Exit()};
      const KernelVerdict verdict = AskKernel(program);
      const bool refused = verdict.Says("cannot use helper") || verdict.Says("invalid func") ||
                           verdict.Says("not allowed in probe") || verdict.Says("supported");
      EXPECT_EQ(!refused, HelperAvailable(helper, type, attach, program.sleepable))
          << ProgTypeName(type) << " " << AttachTypeName(attach) << " " << HelperName(helper) << verdict.log;
    }
  }
}

}  // namespace
}  // namespace bpfsieve
