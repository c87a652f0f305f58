#include "fuzz/shapes.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "engine/isa/insn.h"

namespace bpfsieve {
namespace {

constexpr int kMov64 = kClassAlu64 | kMov, kAdd64 = kClassAlu64 | kAdd, kMov64X = kMov64 | kSrcX;
constexpr int kLoadW = kClassLdx | kModeMem | kSizeW, kLoadDw = kClassLdx | kModeMem | kSizeDw;
constexpr int kStoreW = kClassStx | kModeMem | kSizeW, kStoreDw = kClassStx | kModeMem | kSizeDw;
constexpr int kData = 0, kDataEnd = 4, kIfindex = 12;  // xdp_md; the interface's number may be anything
constexpr int32_t kMapLookup = 1, kKtimeGetNs = 5;
constexpr uint32_t kChain = 7;  // frames below the program's

class Text {
 public:
  uint32_t at() const { return static_cast<uint32_t>(insns_.size()); }
  void Add(int code, int dst = 0, int src = 0, int off = 0, int64_t imm = 0) {
    insns_.push_back(MakeInsn(code, dst, src, off, imm));
  }
  void Mov(int dst, int64_t imm) { Add(kMov64, dst, 0, 0, imm); }
  void Copy(int dst, int src) { Add(kMov64X, dst, src); }
  void Plus(int dst, int64_t imm) { Add(kAdd64, dst, 0, 0, imm); }
  void IfImm(int op, int reg, int64_t imm, int off) { Add(kClassJmp | op, reg, 0, off, imm); }
  void Helper(int32_t id) { Add(kCodeCall, 0, 0, 0, id); }
  void Map(int dst) {
    Add(kCodeLdImm64, dst, kPseudoMapFd);
    Add(0);
  }
  void Exit() { Add(kCodeExit); }
  // A call whose target is set once it is known.
  uint32_t Call() {
    Add(kCodeCall, 0, kPseudoCall);
    return at() - 1;
  }
  void SetCall(uint32_t call) { insns_[call].imm = static_cast<int32_t>(at() - call - 1); }
  void SetJump(uint32_t jump) { insns_[jump].off = static_cast<int16_t>(at() - jump - 1); }
  std::vector<Insn> Take() { return std::move(insns_); }

 private:
  std::vector<Insn> insns_;
};

void StraightLine(Text& t, uint32_t insns) {
  t.Mov(0, 0);
  for (uint32_t i = 2; i < insns; ++i) t.Plus(0, 1);
  t.Exit();
}

void Diamonds(Text& t, uint32_t n) {
  t.Copy(8, 1);
  t.Mov(0, 0);
  for (uint32_t i = 0; i < n; ++i) {
    t.Add(kLoadW, 6, 8, kIfindex);
    t.IfImm(kJgt, 6, i % 100, 1);
    t.Mov(7, 1);
    t.Mov(0, 1);
  }
  t.Exit();
}

void PreciseCounter(Text& t, uint32_t n) {
  t.Copy(8, 1);
  t.Mov(9, 0);
  for (uint32_t i = 0; i < n; ++i) {
    t.Add(kLoadW, 6, 8, kIfindex);
    t.IfImm(kJgt, 6, i % 100, 1);
    t.Plus(9, 1);
    t.Mov(0, 1);
  }
  t.Copy(1, kRegFp);
  t.Plus(1, -512);
  t.Add(kAdd64 | kSrcX, 1, 9);
  t.Add(kClassSt | kModeMem | kSizeB, 1);
  t.Exit();
}

void NestedLoops(Text& t, uint32_t rounds) {
  t.Mov(0, 0);
  t.Mov(6, 0);
  t.Mov(7, 0);
  t.Plus(7, 1);
  t.IfImm(kJlt, 7, rounds, -2);
  t.Plus(6, 1);
  t.IfImm(kJlt, 6, rounds, -5);
  t.Exit();
}

void CallChain(Text& t, uint32_t calls) {
  std::vector<uint32_t> sites;
  t.Copy(8, 1);
  for (uint32_t i = 0; i < calls; ++i) {
    t.Add(kLoadW, 1, 8, kIfindex);
    sites.push_back(t.Call());
  }
  t.Mov(0, 2);
  t.Exit();
  for (uint32_t f = 0; f < kChain; ++f) {
    for (const uint32_t site : sites) t.SetCall(site);
    sites.clear();
    t.Add(kStoreDw, kRegFp, 1, -8);
    t.IfImm(kJgt, 1, 10 + f, 1);
    t.Plus(1, 1);
    if (f + 1 < kChain) sites.push_back(t.Call());
    t.Add(kLoadDw, 1, kRegFp, -8);
    t.Copy(0, 1);
    t.Exit();
  }
}

void Switch(Text& t, uint32_t cases) {
  t.Add(kLoadW, 6, 1, kIfindex);
  t.Mov(0, 0);
  std::vector<uint32_t> jumps, ends;
  for (uint32_t i = 0; i < cases; ++i) {
    jumps.push_back(t.at());
    t.IfImm(kJeq, 6, i, 0);
  }
  t.Exit();
  for (uint32_t i = 0; i < cases; ++i) {
    t.SetJump(jumps[i]);
    t.Mov(7, i);
    t.Plus(7, 3);
    ends.push_back(t.at());
    t.Add(kClassJmp | kJa);
  }
  for (const uint32_t end : ends) t.SetJump(end);
  t.Mov(0, 2);
  t.Exit();
}

void MapLoop(Text& t, uint32_t rounds) {
  t.Add(kLoadW, 6, 1, kIfindex);
  t.Add(kStoreW, kRegFp, 6, -4);
  t.Copy(2, kRegFp);
  t.Plus(2, -4);
  t.Map(1);
  t.Helper(kMapLookup);
  t.IfImm(kJeq, 0, 0, 12);
  t.Copy(7, 0);
  t.Mov(8, 0);
  t.Copy(9, 7);
  t.Add(kAdd64 | kSrcX, 9, 8);
  t.Add(kClassLdx | kModeMem | kSizeB, 3, 9);
  t.Plus(3, 1);
  t.Add(kClassStx | kModeMem | kSizeB, 9, 3);
  t.Plus(8, 1);
  t.IfImm(kJlt, 8, rounds, -7);
  t.Helper(kKtimeGetNs);
  t.Add(kClassAlu64 | kAnd, 0, 0, 0, 1);
  t.Exit();
  t.Mov(0, 2);
  t.Plus(0, 0);
  t.Exit();
}

void Mixed(Text& t, uint32_t blocks) {
  std::vector<uint32_t> even, odd, drops;
  t.Copy(9, 1);
  for (uint32_t i = 0; i < blocks; ++i) {
    // Bytes of the packet, checked; one of them decides.
    t.Add(kLoadW, 6, 9, kData);
    t.Add(kLoadW, 7, 9, kDataEnd);
    t.Copy(1, 6);
    t.Plus(1, static_cast<int64_t>(i % 16) + 14);
    drops.push_back(t.at());
    t.Add(kClassJmp | kJgt | kSrcX, 1, 7);
    t.Add(kClassLdx | kModeMem | kSizeB, 8, 6, static_cast<int>(i % 14));
    // A counter in the map by that byte.
    t.Add(kStoreW, kRegFp, 8, -4);
    t.Copy(2, kRegFp);
    t.Plus(2, -4);
    t.Map(1);
    t.Helper(kMapLookup);
    t.IfImm(kJeq, 0, 0, 3);
    t.Add(kLoadDw, 1, 0, 8);
    t.Plus(1, 1);
    t.Add(kStoreDw, 0, 1, 8);
    // A function of it.
    t.Copy(1, 8);
    t.Add(kClassAlu64 | kAnd, 1, 0, 0, 63);
    (i % 2 == 0 ? even : odd).push_back(t.Call());
    t.Add(kStoreDw, kRegFp, 0, -16);
  }
  t.Add(kLoadDw, 1, kRegFp, -16);
  t.Mov(0, 2);
  t.Exit();
  for (const uint32_t drop : drops) t.SetJump(drop);
  t.Mov(0, 1);
  t.Exit();
  for (const uint32_t call : even) t.SetCall(call);
  t.Copy(0, 1);
  t.IfImm(kJgt, 1, 31, 1);
  t.Add(kClassAlu64 | kMul, 0, 0, 0, 3);
  t.Exit();
  if (odd.empty()) return;
  for (const uint32_t call : odd) t.SetCall(call);
  t.Copy(0, 1);
  t.IfImm(kJset, 1, 1, 2);
  t.Add(kClassAlu64 | kRsh, 0, 0, 0, 1);
  t.Add(kClassJmp | kJa);
  t.Plus(0, 1);
  t.Exit();
}

// The limits keep jumps within 16 bits, stores within the stack, and loops within what a search may process.
struct Kind {
  Shape shape;
  void (*write)(Text& text, uint32_t size);
  bool map = false;
};
constexpr Kind kKinds[] = {{{"straight-line", "instructions", 2, 900'000}, StraightLine},
                           {{"diamonds", "diamonds", 1, 200'000}, Diamonds},
                           {{"precise-counter", "diamonds", 1, 511}, PreciseCounter},
                           {{"nested-loops", "rounds of each loop", 1, 600}, NestedLoops},
                           {{"call-chain", "calls of the chain", 1, 10'000}, CallChain},
                           {{"switch", "cases", 1, 8'000}, Switch},
                           {{"map-loop", "rounds", 1, 64}, MapLoop, true},
                           {{"mixed", "blocks", 1, 1'500}, Mixed, true}};

}  // namespace

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const Kind& kind : kKinds) shapes.push_back(kind.shape);
  return shapes;
}

std::shared_ptr<Object> MakeShape(std::string_view name, uint32_t size) {
  const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.shape.name == name; });
  if (kind == std::end(kKinds) || size < kind->shape.min || size > kind->shape.max) return nullptr;
  Text text;
  kind->write(text, size);
  auto object = std::make_shared<Object>();
  object->license = "GPL";
  if (kind->map) {
    MapDef map;
    map.name = "counters";
    map.type = MapType::kHash;
    map.key_size = 4;
    map.value_size = 64;
    map.max_entries = 16;
    object->maps.push_back(map);
  }
  Program p;
  p.name = "shape";
  p.type = ProgType::kXdp;
  p.attach = AttachType::kXdp;
  p.insns = text.Take();
  p.subprogs.push_back({0, "shape", 0, false});
  object->programs.push_back(std::move(p));
  return object;
}

}  // namespace bpfsieve
