// Fragments with objects of the program's own types: made, given back, handed over to a list, a tree or a place in a map
// and taken out again, looked at under the lock, and, with a defect, afterwards.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "fuzz/generator.h"

namespace bpfsieve {
namespace {

constexpr int32_t kSpinLockCall = 93, kSpinUnlockCall = 94, kPerCpuPtr = 153, kThisCpuPtr = 154, kKptrXchg = 194;  // helpers

// Structures, by type; and where in the map's value things lie.
constexpr int kNode = 1, kPlain = 2;
constexpr int kNodeBytes = 16, kPlainBytes = 32;
constexpr int kListAt = 16, kTreeAt = 32, kCopiesAt = 48, kKeptAt = 56;

}  // namespace

// The map with the list and the tree; made, with the types, when first used.
int Generator::UseGraph() {
  if (graph_.map >= 0) return graph_.map;
  const uint32_t kind = c_.Below(4);
  graph_.tree = kind != 1;
  graph_.list = kind != 0;
  TextStruct node{"own_node", kNodeBytes, {}};
  const auto add = [&node](SpecialField field, uint32_t size) {
    const uint32_t at = node.size;
    node.fields.push_back({field, at, size});
    node.size += (size + 7) / 8 * 8;
    return static_cast<int>(at);
  };
  if (graph_.tree) graph_.tree_node = add(SpecialField::kRbNode, 32);
  if (graph_.list) graph_.list_node = add(SpecialField::kListNode, 24);
  if (c_.Chance(0.3)) {
    // One more node, by which no list or tree holds it.
    graph_.other_node = graph_.tree ? add(SpecialField::kRbNode, 32) : add(SpecialField::kListNode, 24);
  }
  graph_.counted = (graph_.tree && graph_.list) || c_.Chance(0.3);
  if (graph_.counted) add(SpecialField::kRefcount, 4);
  object_->text_structs = {node, {"own_plain", kPlainBytes, {}}};
  MapDef map;
  map.name = "graph";
  map.type = MapType::kArray;
  map.key_size = 4;
  map.value_size = kKeptAt + 8;
  map.max_entries = 1;
  map.fields.push_back({SpecialField::kSpinLock, 0, 4});
  if (graph_.list) map.fields.push_back({SpecialField::kListHead, kListAt, 16, absl::StrCat("own_node.", graph_.list_node)});
  if (graph_.tree) map.fields.push_back({SpecialField::kRbRoot, kTreeAt, 16, absl::StrCat("own_node.", graph_.tree_node)});
  map.fields.push_back({SpecialField::kKptrPercpu, kCopiesAt, 8, "own_plain"});
  map.fields.push_back({SpecialField::kKptrTrusted, kKeptAt, 8, "own_plain"});
  graph_.map = static_cast<int>(object_->maps.size());
  object_->maps.push_back(std::move(map));
  return graph_.map;
}

// One look at an object through R(reg), which points `at` bytes into it.
void Generator::AccessObject(int reg, int bytes, int at) {
  Value v = Value::Pointer(Kind::kOwn, bytes - at);
  v.lo = -at;
  Set(reg, v);
  if (Defect(0.1)) {
    const int t = Dst();
    code_.Load(8, t, reg, kNodeBytes - at);  // what is the kernel's
    Set(t, Value::Scalar());
  }
  Access(reg);
}

void Generator::ForgetObjects() {
  auto forget = [](Value& v) {
    if (v.kind == Kind::kOwn) v = Value{};
  };
  for (Value& v : m_.regs) forget(v);
  for (Value& v : m_.slots) forget(v);
}

// A new object in R(home), or a jump to `none`.
void Generator::MakeObject(int home, int type, bool copies, Label& none) {
  code_.MovImm(1, Defect(0.05) ? 3 : type);
  code_.MovImm(2, 0);
  Kfunc(copies ? "bpf_percpu_obj_new_impl" : "bpf_obj_new_impl");
  ClobberedByCall(Value{});
  code_.MovReg(home, 0);
  Set(home, Value{});
  if (!Defect(0.3)) BranchImm(kJeq, c_.Chance(0.5) ? home : 0, 0, none);
}

void Generator::DropObject(int home, bool copies) {
  if (Defect(0.3)) return;
  const int times = Defect(0.2) ? 2 : 1;
  for (int i = 0; i < times; ++i) {
    code_.MovReg(1, home);
    code_.MovImm(2, 0);
    Kfunc(copies ? "bpf_percpu_obj_drop_impl" : "bpf_obj_drop_impl");
    ClobberedByCall(Value{});
  }
  if (Defect(0.3)) {
    const int t = Dst();
    code_.Load(4, t, home, 0);
    Set(t, Value::Scalar());
  }
  Set(home, Value{});
}

// The function that orders the tree: two objects by their first number.
void Generator::LessBody() {
  const int at = -graph_.tree_node;
  code_.Load(8, 3, 1, at + (Defect(0.2) ? kNodeBytes : 0));
  code_.Load(8, 4, 2, at);
  code_.MovImm(0, Defect(0.2) ? 2 : 0);
  if (c_.Chance(0.7)) {
    const int skip = code_.NewLabel();
    code_.Jump(MakeInsn(kClassJmp | kJge | kSrcX, 3, 4, 0, 0), skip);
    code_.MovImm(0, 1);
    code_.Bind(skip);
  }
  code_.Exit();
}

void Generator::HandOver(int home, int graph, bool tree) {
  if (tree) {
    Sub less;
    less.callback = less.called = less.less = true;
    const int index = static_cast<int>(subs_.size());
    subs_.push_back(less);
    code_.FunctionAddress(3, index);
    code_.MovImm(5, 0);
  } else {
    code_.MovImm(3, 0);
  }
  code_.MovImm(4, 0);
  code_.MovReg(1, graph);
  code_.AluImm(kAdd, 1, tree ? kTreeAt : kListAt);
  code_.MovReg(2, home);
  const int node = tree ? graph_.tree_node : graph_.list_node;
  const int wrong = tree == graph_.tree && graph_.other_node != 0 ? graph_.other_node : node + 8;
  code_.AluImm(kAdd, 2, Defect(0.15) ? wrong : node);
  Kfunc(tree ? "bpf_rbtree_add_impl" : c_.Chance(0.5) ? "bpf_list_push_front_impl" : "bpf_list_push_back_impl");
  ClobberedByCall(Value::Scalar());
}

// With the lock of the map's value at R(graph): look at elements, take one out into R(taken), -1: no.
void Generator::LookAtElements(int graph, int taken) {
  const bool tree = graph_.tree && (!graph_.list || c_.Chance(0.5));
  const int node = tree ? graph_.tree_node : graph_.list_node;
  const auto root = [&] {
    code_.MovReg(1, graph);
    code_.AluImm(kAdd, 1, tree ? kTreeAt : kListAt);
  };
  Label none = NewLabel();
  root();
  if (tree || taken < 0) {
    static constexpr const char* kTree[] = {"bpf_rbtree_first", "bpf_rbtree_root"};
    static constexpr const char* kList[] = {"bpf_list_front", "bpf_list_back"};
    Kfunc(tree ? c_.Of(kTree) : c_.Of(kList));
    ClobberedByCall(Value{});
    if (!Defect(0.3)) BranchImm(kJeq, 0, 0, none);
    AccessObject(0, kNodeBytes, node);
  }
  const bool still = m_.regs[0].kind == Kind::kOwn || (!tree && taken >= 0);
  if (tree && still && taken < 0 && CanFork() && c_.Chance(0.4)) {
    code_.MovReg(2, 0);
    root();
    Kfunc(c_.Chance(0.5) ? "bpf_rbtree_left" : "bpf_rbtree_right");
    ClobberedByCall(Value{});
    if (!Defect(0.3)) BranchImm(kJeq, 0, 0, none);
    AccessObject(0, kNodeBytes, node);
  } else if (still && taken >= 0) {
    if (tree) code_.MovReg(2, 0);
    root();
    Kfunc(tree ? "bpf_rbtree_remove" : c_.Chance(0.5) ? "bpf_list_pop_front" : "bpf_list_pop_back");
    ClobberedByCall(Value{});
    code_.MovReg(taken, 0);
    graph_.taken_node = node;
  }
  Bind(none);
  Set(0, Value{});
}

void Generator::Objects(int) {
  const int home = Saved();
  if (home < 0 || (pinned_ & 0x3f) != 0) return Alu();
  const Pin keep(*this, home);
  const int graph = Saved();
  if (graph < 0) return Alu();
  const Pin keep_graph(*this, graph);
  code_.Imm64(graph, kPseudoMapValue, UseGraph(), 0);
  Set(graph, Value{});
  switch (c_.Below(8)) {
    case 0: return Copies(home, graph);
    case 1:
    case 2: return Kept(home, graph);
    default: break;
  }
  // An object of our own, or none; elements under the lock, one of which may stay with us.
  const int taken = c_.Chance(0.5) ? Saved() : -1;
  const Pin keep_taken(*this, taken);
  const bool make = c_.Chance(0.75);
  Label none = NewLabel();
  if (make) {
    MakeObject(home, kNode, false, none);
    AccessObject(home, kNodeBytes, 0);
    if (graph_.counted && c_.Chance(0.4)) {
      code_.MovReg(1, home);
      code_.MovImm(2, 0);
      Kfunc("bpf_refcount_acquire_impl");
      ClobberedByCall(Value{});
      code_.MovReg(1, 0);
      code_.MovImm(2, 0);
      if (!Defect(0.3)) Kfunc("bpf_obj_drop_impl");
      ClobberedByCall(Value{});
    }
    if (c_.Chance(0.2)) {
      DropObject(home, false);
      Bind(none);
      Set(home, Value{});
      return;
    }
  }
  if (taken >= 0) code_.MovImm(taken, 0);
  const bool lock = !Defect(0.15);
  if (lock) {
    code_.MovReg(1, graph);
    code_.Call(kSpinLockCall);
    ClobberedByCall(Value{});
  }
  locked_ = true;
  const int before = held_++;
  if (make) {
    const bool tree = graph_.tree && (!graph_.list || c_.Chance(0.5));
    HandOver(home, graph, tree);
    if (c_.Chance(0.5)) AccessObject(home, kNodeBytes, 0);
    if (Defect(0.2)) HandOver(home, graph, tree);
  }
  if (CanFork() && (!make || taken >= 0 || c_.Chance(0.4))) LookAtElements(graph, taken);
  held_ = before;
  locked_ = false;
  if (lock && !Defect(0.1)) {
    code_.MovReg(1, graph);
    code_.Call(kSpinUnlockCall);
    ClobberedByCall(Value{});
  }
  if (Defect(0.3)) {
    const int t = Dst();
    code_.Load(4, t, make ? home : 0, 0);  // what was only lent
    Set(t, Value::Scalar());
  }
  ForgetObjects();
  if (taken >= 0) {
    Label nothing = NewLabel();
    Set(taken, Value{});
    if (!Defect(0.3)) Take(MakeInsn(kClassJmp | kJeq, taken, 0, 0, 0), nothing, false);
    if (!Defect(0.2)) code_.AluImm(kSub, taken, graph_.taken_node);
    if (c_.Chance(0.5)) AccessObject(taken, kNodeBytes, 0);
    DropObject(taken, false);
    Bind(nothing);
    Set(taken, Value{});
  }
  Bind(none);
  Set(home, Value{});
}

// A pointer that is kept in a map.
void Generator::Kept(int home, int graph) {
  Label none = NewLabel(), nothing = NewLabel();
  if (c_.Chance(0.4)) {
    code_.Load(8, home, graph, Defect(0.1) ? kKeptAt + 4 : kKeptAt);
    if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
    AccessObject(home, kPlainBytes, 0);
    if (Defect(0.3)) DropObject(home, false);
    Bind(none);
    ForgetObjects();
    return;
  }
  const bool make = c_.Chance(0.7);
  if (make) {
    MakeObject(home, kPlain, false, none);
    AccessObject(home, kPlainBytes, 0);
    code_.MovReg(2, home);
  } else {
    code_.MovImm(2, 0);
  }
  code_.MovReg(1, graph);
  code_.AluImm(kAdd, 1, Defect(0.1) ? kCopiesAt : kKeptAt);
  code_.Call(kKptrXchg);
  ClobberedByCall(Value{});
  if (make && Defect(0.3)) {
    const int t = Dst();
    code_.Load(4, t, home, 0);  // it is the map's
    Set(t, Value::Scalar());
  }
  code_.MovReg(home, 0);
  Set(home, Value{});
  if (!Defect(0.3)) Take(MakeInsn(kClassJmp | kJeq, home, 0, 0, 0), nothing, false);
  AccessObject(home, kPlainBytes, 0);
  DropObject(home, false);
  Bind(nothing);
  Bind(none);
  ForgetObjects();
}

// Objects of which every processor has its own copy.
void Generator::Copies(int home, int graph) {
  Label none = NewLabel(), nothing = NewLabel();
  const bool kept = Can(kThisCpuPtr) && c_.Chance(0.4);
  if (kept) {
    // Copies that the map keeps: one of them.
    code_.Load(8, home, graph, kCopiesAt);
    if (!Defect(0.3)) BranchImm(kJeq, home, 0, none);
  } else {
    MakeObject(home, kPlain, true, none);
  }
  if (kept || Defect(0.1)) {
    Label here = NewLabel();
    const bool any = c_.Chance(0.4) && CanFork();
    code_.MovReg(1, home);
    code_.MovImm(2, 0);
    code_.Call(any ? kPerCpuPtr : kThisCpuPtr);
    ClobberedByCall(Value{});
    if (any && !Defect(0.3)) BranchImm(kJeq, 0, 0, here);
    AccessObject(0, kPlainBytes, 0);
    Bind(here);
    Bind(none);
    return ForgetObjects();
  }
  if (Defect(0.2)) AccessObject(home, kPlainBytes, 0);
  if (c_.Chance(0.5)) {
    code_.MovReg(1, graph);
    code_.AluImm(kAdd, 1, kCopiesAt);
    code_.MovReg(2, home);
    code_.Call(kKptrXchg);
    ClobberedByCall(Value{});
    code_.MovReg(home, 0);
    if (!Defect(0.3)) Take(MakeInsn(kClassJmp | kJeq, home, 0, 0, 0), nothing, false);
  }
  DropObject(home, !Defect(0.1));
  Bind(nothing);
  Bind(none);
  ForgetObjects();
}

}  // namespace bpfsieve
