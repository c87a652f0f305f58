#include "engine/state/state.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

// A state with one frame whose registers are those of a program's start.
State* Start(StatePool& pool) {
  State* s = pool.NewState();
  s->cur = 0;
  s->frames[0] = pool.NewFrame();
  s->frames[0]->Init(-1, 0, 0, 0);
  return s;
}

LiveMasks AllLive() {
  LiveMasks live;
  for (auto& m : live.regs) m = 0x7ff;
  for (auto& m : live.slots) m = ~uint64_t{0};
  return live;
}

class Subsumption : public testing::Test {
 protected:
  bool Covers(const PreciseMarks& precise, const LiveMasks& live) {
    return Subsumes(*old_, precise, MasksFor(*old_, live), *cur_, 1000, ids_);
  }
  bool CoversAll() { return Covers({}, AllLive()); }
  void TearDown() override {
    pool_.Free(old_);
    pool_.Free(cur_);
  }
  StatePool pool_;
  State* old_ = Start(pool_);
  State* cur_ = Start(pool_);
  IdMap ids_;
};

TEST_F(Subsumption, ImpreciseScalarsMatchAnyValue) {
  old_->regs()[1].MakeScalar(Scalar::Const(1));
  cur_->regs()[1].MakeScalar(Scalar::Const(2));
  EXPECT_TRUE(CoversAll());
}

TEST_F(Subsumption, PreciseScalarsMustLieWithin) {
  old_->regs()[1].MakeScalar(Scalar::Const(1));
  cur_->regs()[1].MakeScalar(Scalar::Const(2));
  PreciseMarks precise;
  precise.regs[0] = 1 << 1;
  EXPECT_FALSE(Covers(precise, AllLive()));
  old_->regs()[1].MakeUnknown();
  EXPECT_TRUE(Covers(precise, AllLive()));
}

TEST_F(Subsumption, PointerDoesNotCoverScalar) {
  old_->regs()[1].MakePointer(RegType::kCtx);
  cur_->regs()[1].MakeUnknown();
  EXPECT_FALSE(CoversAll());
}

TEST_F(Subsumption, DeadRegistersDoNotCount) {
  old_->regs()[1].MakePointer(RegType::kCtx);
  cur_->regs()[1].MakeUnknown();
  LiveMasks live = AllLive();
  live.regs[0] &= ~(1 << 1);
  EXPECT_TRUE(Covers({}, live));
}

TEST_F(Subsumption, PacketRangeMayOnlyGrow) {
  old_->regs()[1].MakePointer(RegType::kPacket);
  cur_->regs()[1].MakePointer(RegType::kPacket);
  old_->regs()[1].range = 14;
  cur_->regs()[1].range = 20;
  EXPECT_TRUE(CoversAll());
  std::swap(old_, cur_);
  EXPECT_FALSE(CoversAll());
}

TEST_F(Subsumption, BeyondEndIsNotALength) {
  old_->regs()[1].MakePointer(RegType::kPacket);
  cur_->regs()[1].MakePointer(RegType::kPacket);
  old_->regs()[1].range = kBeyondPktEnd;
  cur_->regs()[1].range = 8;
  EXPECT_FALSE(CoversAll());
}

TEST_F(Subsumption, IdsMapOneToOne) {
  for (int r : {1, 2}) {
    old_->regs()[r].MakePointer(RegType::kPacket);
    cur_->regs()[r].MakePointer(RegType::kPacket);
    old_->regs()[r].id = 5;
    cur_->regs()[r].id = 6 + static_cast<uint32_t>(r);
  }
  EXPECT_FALSE(CoversAll());
  cur_->regs()[2].id = cur_->regs()[1].id;
  EXPECT_TRUE(CoversAll());
}

TEST_F(Subsumption, SpilledPointerIsNotMiscData) {
  pool_.GrowStack(old_->frame(), 1);
  pool_.GrowStack(cur_->frame(), 1);
  for (auto& b : old_->frame().stack[0].bytes) b = SlotByte::kSpill;
  old_->frame().stack[0].spilled.MakePointer(RegType::kCtx);
  for (auto& b : cur_->frame().stack[0].bytes) b = SlotByte::kMisc;
  EXPECT_FALSE(CoversAll());
  std::swap(old_, cur_);
  EXPECT_TRUE(CoversAll());  // who could do with anything can do with a pointer
}

TEST_F(Subsumption, ReferencesMustCorrespond) {
  old_->refs.push_back({Ref::Kind::kPointer, 3, 7, -1});
  EXPECT_FALSE(CoversAll());
  cur_->refs.push_back({Ref::Kind::kPointer, 9, 7, -1});
  EXPECT_TRUE(CoversAll());
}

TEST(StatePool, CountsWhatIsInUse) {
  StatePool pool;
  State* a = Start(pool);
  const uint64_t bare = pool.bytes();
  pool.GrowStack(a->frame(), 4);
  EXPECT_EQ(pool.bytes(), bare + 4 * sizeof(StackSlot));
  State* b = pool.Clone(*a);
  EXPECT_EQ(pool.bytes(), 2 * (bare + 4 * sizeof(StackSlot)));
  pool.Free(a);
  pool.Free(b);
  EXPECT_EQ(pool.bytes(), 0u);
}

TEST(LinkedRegs, PackingKeepsAllEntries) {
  LinkedRegs regs;
  EXPECT_TRUE(regs.Push(0, 3, true));
  EXPECT_TRUE(regs.Push(7, 63, false));
  LinkedRegs back = UnpackLinked(PackLinked(regs));
  ASSERT_EQ(back.count, 2);
  bool saw_slot = false;
  for (int i = 0; i < 2; ++i) saw_slot |= back.entries[i].frame == 7 && back.entries[i].index == 63;
  EXPECT_TRUE(saw_slot);
}

TEST(Print, KernelNotation) {
  StatePool pool;
  State* s = Start(pool);
  s->regs()[1].MakePointer(RegType::kCtx);
  s->regs()[2].MakePointer(RegType::kPacket);
  s->regs()[2].off = 14;
  std::string out;
  AppendFrame(out, *s, 0, {});
  EXPECT_EQ(out, " R1=ctx() R2=pkt(off=14,r=0) R10=fp0");
  pool.Free(s);
}

}  // namespace
}  // namespace bpfsieve
