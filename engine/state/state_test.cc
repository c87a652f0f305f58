#include "engine/state/state.h"

#include <gtest/gtest.h>

namespace bpfsieve {
namespace {

// A state with one frame whose registers are those of a program's start.
State* Start(StatePool& pool) {
  return pool.NewEntry(0, 0);
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
    return Subsumes(*old_, precise, MasksFor(*old_, live), *cur_, 1000, ids_, hint_);
  }
  bool CoversAll() { return Covers({}, AllLive()); }
  void TearDown() override {
    pool_.Free(old_);
    pool_.Free(cur_);
  }
  StateDepot depot_;
  StatePool pool_{depot_};
  State* old_ = Start(pool_);
  State* cur_ = Start(pool_);
  IdMap ids_;
  FailureHint hint_;
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
  precise.regs[0] |= 1 << 1;
  EXPECT_FALSE(Covers(precise, AllLive()));
  old_->regs()[1].MakeUnknown();
  EXPECT_TRUE(Covers(precise, AllLive()));
}

TEST_F(Subsumption, WhereTheLastOneFailedDoesNotDecideTheNextOne) {
  for (int r : {1, 2}) old_->regs()[r].MakePointer(RegType::kCtx);
  cur_->regs()[1].MakePointer(RegType::kCtx);
  EXPECT_FALSE(CoversAll());
  cur_->regs()[2].MakePointer(RegType::kCtx);
  EXPECT_TRUE(CoversAll());
  cur_->regs()[1].MakeUnknown();
  EXPECT_FALSE(CoversAll());
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
  old_->frame().slots = cur_->frame().slots = 1;
  StackSlot& was = pool_.WritableSlot(old_->frame(), 0);
  for (auto& b : was.bytes) b = SlotByte::kSpill;
  was.spilled.MakePointer(RegType::kCtx);
  old_->frame().spills = 1;
  for (auto& b : pool_.WritableSlot(cur_->frame(), 0).bytes) b = SlotByte::kMisc;
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

TEST(StatePool, ACopyDoesNotSeeLaterWrites) {
  StateDepot depot;
  StatePool pool(depot);
  State* a = Start(pool);
  a->frame().slots = 9;
  pool.WritableSlot(a->frame(), 8).bytes[7] = SlotByte::kMisc;
  State* b = pool.Clone(*a);
  pool.WritableSlot(a->frame(), 8).bytes[7] = SlotByte::kZero;
  EXPECT_EQ(b->frame().slot(8).bytes[7], SlotByte::kMisc);
  EXPECT_EQ(a->frame().slot(8).bytes[7], SlotByte::kZero);
  EXPECT_EQ(a->bytes(), b->bytes());
  pool.Free(a);
  EXPECT_EQ(b->frame().slot(8).bytes[7], SlotByte::kMisc);
  pool.Free(b);
}

TEST(StatePool, CallersAreSharedUntilWritten) {
  StateDepot depot;
  StatePool pool(depot);
  State* a = Start(pool);
  a->frames[1] = pool.NewFrame();
  a->frames[1]->Init(3, 1, 1, 0);
  a->cur = 1;
  State* b = pool.Clone(*a);
  EXPECT_EQ(a->frames[0], b->frames[0]);
  pool.Writable(*b, 0).regs[6].MakeUnknown();
  EXPECT_NE(a->frames[0], b->frames[0]);
  EXPECT_EQ(a->frames[0]->regs[6].type, RegType::kNotInit);
  pool.Free(a);
  EXPECT_TRUE(b->frames[0]->regs[6].IsScalar());
  pool.Free(b);
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
  StateDepot depot;
  StatePool pool(depot);
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
