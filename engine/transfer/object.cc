// Objects that a program makes of its own types (bpf_obj_new), lists and trees of them, and pointers kept in memory
// (kptrs).
//
// A reference that is held (ref_obj_id) is owned: it has to be given back, or handed over to a list, a tree or a place in
// memory. Under the lock beside a list or tree, what was handed over may still be looked at: kNonOwnRef, until the
// unlock. The lock and what it protects lie in one value or object, which Reg::id stands for.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/btf_fields.h"
#include "engine/program/btf_view.h"
#include "engine/program/btf_walk.h"
#include "engine/transfer/transfer.h"

namespace bpfsieve {
namespace {

constexpr uint32_t kMaxPercpuObject = 512;  // BPF_GLOBAL_PERCPU_MA_MAX_SIZE

// Kinds of locks, a bit each.
constexpr uint32_t kResLocks = 1u << static_cast<int>(Ref::Kind::kResLock) | 1u << static_cast<int>(Ref::Kind::kResLockIrq);
constexpr uint32_t kAllLocks = kResLocks | 1u << static_cast<int>(Ref::Kind::kLock);

// Nothing but numbers, however deep (__btf_type_is_scalar_struct).
bool OnlyNumbers(const struct btf* btf, const btf_type* t, int depth) {
  constexpr int kMaxNested = 4;
  for (int i = 0; i < btf_vlen(t); ++i) {
    const btf_type* member = SkipModifiers(btf, btf_members(t)[i].type, nullptr);
    if (member != nullptr && btf_is_struct(member)) {
      if (depth + 1 >= kMaxNested || !OnlyNumbers(btf, member, depth + 1)) return false;
      continue;
    }
    if (member != nullptr && btf_is_array(member)) {
      if (btf_array(member)->nelems == 0) return false;
      member = SkipModifiers(btf, btf_array(member)->type, nullptr);
    }
    if (member == nullptr || (!btf_is_int(member) && !btf_is_any_enum(member))) return false;
  }
  return true;
}

// Whether an object with these fields is more to the function that frees it than its memory.
bool DropsMore(const std::vector<MapField>* fields) {
  if (fields == nullptr) return false;
  for (const MapField& f : *fields) {
    if (f.kind == SpecialField::kRefcount || IsGraphRoot(f.kind) || IsKptr(f.kind)) return true;
  }
  return false;
}

}  // namespace

const std::vector<MapField>& Transfer::FieldsOf(const Reg& p) const {
  static const std::vector<MapField> kNone;
  if (p.type == RegType::kMapValue && p.flags == 0) return ctx_.map(p.map).fields;
  if (!p.IsObject() || !p.Has(kProgBtf)) return kNone;
  const std::vector<MapField>* fields = ctx_.object->FieldsOfStruct(p.btf_id);
  return fields != nullptr ? *fields : kNone;
}

bool Transfer::MayHoldLock(const Reg& p) const {
  const std::vector<MapField>& fields = FieldsOf(p);
  return FindField(fields, SpecialField::kSpinLock) != nullptr ||
         FindField(fields, SpecialField::kResSpinLock) != nullptr;
}

// Within a function that a tree orders its elements by, or one that it calls: the lock is held outside of it.
bool Transfer::InTreeCallback() const {
  for (int f = st_->cur; f > 0; --f) {
    if (!st_->frames[f]->in_callback) continue;
    const Insn& call = prog_.insns[static_cast<size_t>(st_->frames[f]->callsite)];
    const size_t n = static_cast<size_t>(call.imm);
    if (IsKfuncCall(call) && n < prog_.externs.size() && prog_.externs[n].name.starts_with("bpf_rbtree_")) return true;
  }
  return false;
}

std::string Transfer::StructName(const Reg& p) {
  if (p.Has(kProgBtf)) return std::string(BtfTypeName(ctx_.object->btf.get(), p.btf_id));
  return Kernel() == nullptr ? std::string() : std::string(BtfTypeName(Kernel()->get(), p.btf_id));
}

uint32_t Transfer::Acquire() {
  const uint32_t ref = NewId();
  st_->refs.push_back({Ref::Kind::kPointer, ref, pc_, -1});
  return ref;
}

// How a reference is kept that is not owned, under the lock: what is counted stays for a while even when it is dropped.
uint16_t Transfer::NonOwning(uint32_t type_id) const {
  const std::vector<MapField>* fields = ctx_.object->FieldsOfStruct(type_id);
  const bool counted = fields != nullptr && FindField(*fields, SpecialField::kRefcount) != nullptr;
  return counted ? kNonOwnRef | kRcu : kNonOwnRef;
}

// An element of the list or tree, by its node.
void Transfer::GraphNode(Reg& r, const MapField& root, uint16_t flags) {
  r.MakePointer(RegType::kBtfId, static_cast<uint16_t>(kAlloc | kProgBtf | flags));
  r.btf_id = root.type_id;
  r.off = static_cast<int32_t>(root.node_offset);
}

// ---- Members -----------------------------------------------------------------------------------------------------

// check_ptr_to_btf_access, for the program's own types. `off` includes the pointer's.
bool Transfer::ObjectAccess(int r, int off, int size, bool write, int value) {
  const Reg p = reg(r);
  const auto what = [&] { return absl::StrCat("R", r, " is ptr_", StructName(p)); };
  if (off < 0) return Fail(Rule::kBtfAccess, r, absl::StrCat(what(), " invalid negative access: off=", off));
  if (!p.s.IsConst() || p.s.ConstValue() != 0) {
    return Fail(Rule::kBtfAccess, r,
                absl::StrCat(what(), " invalid variable offset: off=", off, ", var_off=", TnumText(p.s.var_off)));
  }
  if (p.Has(kUser)) return Fail(Rule::kBtfAccess, r, absl::StrCat(what(), " access user memory: off=", off));
  if (p.Has(kPercpu)) return Fail(Rule::kBtfAccess, r, absl::StrCat(what(), " access percpu memory: off=", off));
  if (write && (!p.IsObject() || p.Has(kUntrusted))) return Fail(Rule::kBtfAccess, r, "only read is supported");
  if (p.IsObject() && p.ref_obj_id == 0 && (p.flags & (kNonOwnRef | kRcu)) == 0) {
    // It was there as long as readers were waited for.
    return Fail(Rule::kBtfAccess, r, "verifier bug: allocated object must have a referenced id");
  }
  for (const MapField& f : FieldsOf(p)) {
    if (off >= static_cast<int64_t>(f.offset) + f.size || static_cast<int64_t>(f.offset) >= int64_t{off} + size) continue;
    return Fail(Rule::kObject, r, absl::StrCat("direct access to ", FieldTypeName(f.kind), " is disallowed"));
  }
  const bool object = p.IsObject();
  const BtfField field = WalkStruct(ctx_.object->btf.get(), p.btf_id, static_cast<uint32_t>(off),
                                    static_cast<uint32_t>(size), /*flexible=*/!object);
  if (field.kind == BtfField::Kind::kError) return Fail(Rule::kBtfAccess, r, field.error);
  if (write || value < 0) return true;
  Reg& dst = reg(value);
  if (field.kind == BtfField::Kind::kOtherPointer) {
    dst.MakePointer(RegType::kMem, kRdonly | kUntrusted);
    dst.mem_size = 0;
  } else if (field.kind == BtfField::Kind::kPointer && !object) {
    // Walking from what cannot be trusted does not give anything that can.
    MakeBtfPointer(dst, field.type, kUntrusted | kProgBtf);
  } else {
    // What an object holds is what the program has put there: no pointer.
    dst.MakeUnknown();
  }
  return true;
}

// ---- Locks -------------------------------------------------------------------------------------------------------

// Whether one of these kinds (a bit each) is held that lies where `p` points (find_lock_state).
bool Transfer::LockHeld(const Reg& p, uint32_t kinds) const {
  const int32_t map = p.type == RegType::kMapValue ? p.map : kLockInObject;
  return std::any_of(st_->refs.begin(), st_->refs.end(), [&](const Ref& ref) {
    return (kinds >> static_cast<int>(ref.kind) & 1) != 0 && ref.id == p.id && ref.map == map;
  });
}

// Takes the lock that R(r) points to, or gives it back (process_spin_lock). Of those that may not be had, several can be
// held; they are given back in the opposite order.
bool Transfer::SpinLock(int r, LockOp op, Ref::Kind kind) {
  const Reg p = reg(r);
  const bool resilient = kind != Ref::Kind::kLock;
  const char* name = resilient ? "bpf_res_spin" : "bpf_spin";
  if (!p.s.IsConst()) {
    return Fail(Rule::kLock, r, absl::StrCat("R", r, " doesn't have constant offset. ", name, "_lock has to be at the "
                                             "constant offset"));
  }
  const bool in_map = p.type == RegType::kMapValue;
  if (in_map && ctx_.map(p.map).fields.empty() && ctx_.map(p.map).btf_value_type_id == 0) {
    return Fail(Rule::kLock, r, absl::StrCat("map '", ctx_.map(p.map).name, "' has to have BTF in order to use ", name,
                                             "_lock"));
  }
  const MapField* field = FindField(FieldsOf(p), resilient ? SpecialField::kResSpinLock : SpecialField::kSpinLock);
  if (field == nullptr) {
    return Fail(Rule::kLock, r, absl::StrCat(in_map ? "map" : "local", " '", in_map ? ctx_.map(p.map).name : "kptr",
                                             "' has no valid ", name, "_lock"));
  }
  const int64_t at = static_cast<int64_t>(p.s.ConstValue()) + p.off;
  if (field->offset != at) {
    return Fail(Rule::kLock, r, absl::StrCat("off ", at, " doesn't point to 'struct ", name, "_lock' that is at ",
                                             field->offset));
  }
  const int32_t map = in_map ? p.map : kLockInObject;
  if (op == LockOp::kLock) {
    if (resilient && LockHeld(p, kResLocks)) {
      return Fail(Rule::kLock, r, "Acquiring the same lock again, AA deadlock detected");
    }
    ++st_->active_locks;
    st_->lock_id = p.id;
    st_->lock_map = map;
    st_->refs.push_back({kind, p.id, pc_, map});
    return true;
  }
  if (st_->active_locks == 0) return Fail(Rule::kLock, r, absl::StrCat(name, "_unlock without taking a lock"));
  if (!LockHeld(p, 1u << static_cast<int>(kind))) {
    return Fail(Rule::kLock, r, absl::StrCat(name, "_unlock of different lock"));
  }
  if (st_->lock_map != map || st_->lock_id != p.id) {
    return Fail(Rule::kLock, r, absl::StrCat(name, "_unlock cannot be out of order"));
  }
  --st_->active_locks;
  st_->lock_id = 0;
  st_->lock_map = -1;
  for (size_t i = 0; i < st_->refs.size(); ++i) {
    const Ref& ref = st_->refs[i];
    if (ref.kind == kind && ref.id == p.id && ref.map == map) {
      st_->refs.erase(st_->refs.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
    if (!ref.IsLock()) continue;
    st_->lock_id = ref.id;
    st_->lock_map = ref.map;
  }
  // What was not owned may be gone from now on.
  pool_.UpdateRegs(
      *st_, [](const Reg& q) { return q.IsObject() && q.Has(kNonOwnRef); }, [this](Reg& q) { Invalidate(q); });
  if (InRcuSection()) return true;
  // Where programs sleep, readers are waited for as long as the lock was held. Linux 6.18 goes on to take what was read
  // within for something that is there.
  pool_.UpdateRegs(
      *st_, [](const Reg& q) { return q.type == RegType::kBtfId && q.Has(kRcu) && q.ref_obj_id == 0; },
      [](Reg& q) {
        if (q.Has(kProgBtf)) {
          q.Clear();
        } else {
          q.flags = static_cast<uint16_t>((q.flags & ~(kRcu | kMaybeNull)) | kUntrusted);
        }
      });
  return true;
}

// ---- Pointers in memory ------------------------------------------------------------------------------------------

// A load or store of 8 bytes at a kptr (check_map_kptr_access); everything about offset and size is checked.
bool Transfer::KptrAccess(int r, const MapField& field, bool write, int value) {
  if (field.kind == SpecialField::kUptr) return Unsupported("kptr");
  const Insn& i = insn();
  if (Mode(i) != kModeMem) {
    return Fail(Rule::kObject, r, "kptr in map can only be accessed using BPF_MEM instruction mode");
  }
  const bool held = field.kind != SpecialField::kKptrUntrusted;
  if (write && held) return Fail(Rule::kObject, r, "store to referenced kptr disallowed");
  if (write && Class(i) == kClassSt) {
    if (i.imm == 0) return true;
    return Fail(Rule::kObject, r, absl::StrCat("BPF_ST imm must be 0 when storing to kptr at off=", field.offset));
  }
  if (write) {
    if (reg(value).IsNull()) {
      Precise(value);
      return true;
    }
    return KptrMatches(field, value);
  }
  if (field.type_id == 0) return Unsupported("kptr");
  // Kernel structures whose destruction waits for readers (rcu_protected_types).
  const bool waits = field.kind == SpecialField::kKptrPercpu ||
                     (held && (!field.kernel_type || (field.target != "prog_test_member")));
  uint16_t flags = kMaybeNull;
  if (!field.kernel_type) flags |= kProgBtf;
  if (waits && InRcuSection()) {
    flags |= kRcu;
    if (field.kind == SpecialField::kKptrPercpu) {
      flags |= kPercpu;
    } else if (!field.kernel_type) {
      flags |= kAlloc;
    }
    if (!field.kernel_type) {
      const std::vector<MapField>* fields = ctx_.object->FieldsOfStruct(field.type_id);
      const bool node = fields != nullptr && (FindField(*fields, SpecialField::kListNode) != nullptr ||
                                              FindField(*fields, SpecialField::kRbNode) != nullptr);
      if (node) flags |= kNonOwnRef;
    }
  } else {
    flags |= kUntrusted;
  }
  MakeBtfPointer(reg(value), field.type_id, flags);
  return true;
}

// Whether R(r) may be kept in the field (map_kptr_match_type).
bool Transfer::KptrMatches(const MapField& field, int r) {
  const Reg p = reg(r);
  if (field.type_id == 0) return Unsupported("kptr");
  const bool untrusted = field.kind == SpecialField::kKptrUntrusted, percpu = field.kind == SpecialField::kKptrPercpu;
  std::string name;
  const auto bad = [&] {
    std::string message = absl::StrCat("invalid kptr access, R", r, " type=", RegTypeName(p), name, " expected=ptr_",
                                       field.target);
    if (untrusted) absl::StrAppend(&message, " or untrusted_ptr_", field.target);
    return Fail(Rule::kObject, r, std::move(message));
  };
  if (p.type != RegType::kBtfId) return bad();
  uint16_t allowed = kMaybeNull;
  if (p.Has(kProgBtf)) {
    allowed |= kAlloc;
    if (percpu) allowed |= kPercpu;
  } else {
    allowed |= kTrusted | kRcu;
    if (untrusted) allowed |= kUntrusted;
  }
  if ((p.KernelFlags() & ~allowed) != 0 || percpu != p.Has(kPercpu)) return bad();
  name = StructName(p);
  if (!PointerOffset(p, r, true)) return false;
  if (p.Has(kProgBtf) == field.kernel_type) return bad();
  if (field.kernel_type && Kernel() == nullptr) return Unsupported("kptr");
  const struct btf* btf = field.kernel_type ? Kernel()->get() : ctx_.object->btf.get();
  return StructMatches(btf, p.btf_id, p.off, field.type_id, /*strict=*/!untrusted) || bad();
}

// The place that bpf_kptr_xchg exchanges (process_kptr_func).
bool Transfer::KptrDest(int r, CallMeta& meta) {
  const Reg p = reg(r);
  if (p.type == RegType::kMapValue) {
    const MapDef& map = ctx_.map(p.map);
    if (map.fields.empty() && map.btf_value_type_id == 0) {
      return Fail(Rule::kObject, r, absl::StrCat("map '", map.name, "' has to have BTF in order to use bpf_kptr_xchg"));
    }
    meta.map = p.map;
    meta.map_uid = p.map_uid;
  }
  if (!p.s.IsConst()) {
    return Fail(Rule::kObject, r, absl::StrCat("R", r, " doesn't have constant offset. kptr has to be at the constant "
                                               "offset"));
  }
  const std::vector<MapField>& fields = FieldsOf(p);
  bool any = false;
  for (const MapField& f : fields) any |= IsKptr(f.kind) && f.kind != SpecialField::kUptr;
  if (!any) return Fail(Rule::kObject, r, absl::StrCat("R", r, " has no valid kptr"));
  const int64_t at = p.off + static_cast<int64_t>(p.s.ConstValue());
  const MapField* field = KptrAt(fields, at);
  if (field == nullptr || field->kind == SpecialField::kUptr) {
    return Fail(Rule::kObject, r, absl::StrCat("off=", at, " doesn't point to kptr"));
  }
  if (field->kind == SpecialField::kKptrUntrusted) {
    return Fail(Rule::kObject, r, absl::StrCat("off=", at, " kptr isn't referenced kptr"));
  }
  if (field->type_id == 0) return Unsupported("kptr");
  meta.field = field;
  return true;
}

// The object is the memory's now. Copies for each processor are given up late, so that they may be looked at further.
bool Transfer::ReleaseToKptr(uint32_t ref_obj_id) {
  const bool readers = InRcuSection();
  const size_t before = st_->refs.size();
  std::erase_if(st_->refs, [=](const Ref& r) { return r.kind == Ref::Kind::kPointer && r.id == ref_obj_id; });
  if (st_->refs.size() == before) return false;
  pool_.UpdateRegs(*st_, [=](const Reg& r) { return r.ref_obj_id == ref_obj_id; }, [&](Reg& r) {
    if (!readers || r.type != RegType::kBtfId || !r.Has(kAlloc | kPercpu)) {
      Invalidate(r);
      return;
    }
    r.ref_obj_id = 0;
    r.flags = static_cast<uint16_t>((r.flags & ~kAlloc) | kRcu);
  });
  return true;
}

// ---- Kernel functions --------------------------------------------------------------------------------------------

// The list or tree at R(r), whose lock must be held (__process_kf_arg_ptr_to_graph_root).
bool Transfer::GraphRootArg(int r, SpecialField kind, ObjectMeta& meta) {
  const Reg p = reg(r);
  const bool object = p.type == RegType::kBtfId && p.KernelFlags() == kAlloc;
  if (!object && (p.type != RegType::kMapValue || p.flags != 0)) {
    return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " expected pointer to map value or allocated object"));
  }
  if (object && p.ref_obj_id == 0) return Fail(Rule::kObject, r, "allocated object must be referenced");
  const char* name = FieldTypeName(kind);
  if (!p.s.IsConst()) {
    return Fail(Rule::kObject, r, absl::StrCat("R", r, " doesn't have constant offset. ", name,
                                               " has to be at the constant offset"));
  }
  const std::vector<MapField>& fields = FieldsOf(p);
  const int64_t at = p.off + static_cast<int64_t>(p.s.ConstValue());
  const MapField* field = FieldAt(fields, at, kind);
  if (field == nullptr) return Fail(Rule::kObject, r, absl::StrCat(name, " not found at offset=", at));
  if (field->type_id == 0) return Unsupported("list or tree without BTF");
  if (!LockHeld(p, kAllLocks)) {
    // The kernel only names the place of the other kind of lock: none, where there is one that may not be had.
    const MapField* lock = FindField(fields, SpecialField::kSpinLock);
    return Fail(Rule::kLock, r, absl::StrCat("bpf_spin_lock at off=", lock != nullptr ? static_cast<int64_t>(lock->offset) : -EINVAL,
                                             " must be held for ", name));
  }
  meta.root = field;
  return true;
}

// The node at R(r), of an object that goes with the list or tree (__process_kf_arg_ptr_to_graph_node).
bool Transfer::GraphNodeArg(int r, SpecialField kind, ObjectMeta& meta) {
  const Reg p = reg(r);
  const char* name = FieldTypeName(kind);
  if (!p.s.IsConst()) {
    return Fail(Rule::kObject, r, absl::StrCat("R", r, " doesn't have constant offset. ", name,
                                               " has to be at the constant offset"));
  }
  const int64_t at = p.off + static_cast<int64_t>(p.s.ConstValue());
  if (FieldAt(FieldsOf(p), at, kind) == nullptr) {
    return Fail(Rule::kObject, r, absl::StrCat(name, " not found at offset=", at));
  }
  const MapField& root = *meta.root;
  const std::string wanted(BtfTypeName(ctx_.object->btf.get(), root.type_id));
  if (p.btf_id != root.type_id) {
    return Fail(Rule::kObject, r,
                absl::StrCat("operation on ", FieldTypeName(root.kind), " expects arg#1 ", name, " at offset=",
                             root.node_offset, " in struct ", wanted, ", but arg is at offset=", at, " in struct ",
                             StructName(p)));
  }
  if (at != root.node_offset) {
    return Fail(Rule::kObject, r, absl::StrCat("arg#1 offset=", at, ", but expected ", name, " at offset=",
                                               root.node_offset, " in struct ", wanted));
  }
  meta.type_id = p.btf_id;
  return true;
}

bool Transfer::ObjectArg(int r, KfuncArg kind, const Extern& function, const KfuncProto& proto, ObjectMeta& meta) {
  const Reg p = reg(r);
  const bool release = proto.kind == KfuncKind::kObjDrop;
  if (p.ref_obj_id != 0) {
    meta.ref_obj_id = p.ref_obj_id;
    if (release) meta.release_reg = r;
  }
  const bool trusted_type = p.type == RegType::kSocket || p.type == RegType::kSockCommon ||
                            p.type == RegType::kTcpSock || p.type == RegType::kConstMapPtr;
  if (kind == KfuncArg::kObject && !IsTrusted(p)) {
    return Fail(Rule::kObject, r, absl::StrCat("R", r, " must be referenced or trusted"));
  }
  if (kind == KfuncArg::kCallback && (p.type == RegType::kBtfId || trusted_type)) {
    return Fail(Rule::kHelperArg, r, absl::StrCat("kernel function ", function.name, " args#", r - 1,
                                                  " pointer type is not supported"));
  }
  if (!ArgOffset(p, r, release && p.ref_obj_id != 0)) return false;
  const uint16_t flags = p.KernelFlags();
  const bool plain = p.type == RegType::kBtfId && flags == kAlloc;
  // What readers are not waited for any more may be gone; the kernel does not look at that here.
  if (p.IsObject() && p.Has(kUntrusted)) return Unsupported(absl::StrCat("kfunc: ", function.name));
  switch (kind) {
    case KfuncArg::kObject: {
      const bool copies = p.type == RegType::kBtfId && flags == (kAlloc | kPercpu);
      if (!plain && !copies) {
        return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " expected pointer to allocated object"));
      }
      if (copies != proto.percpu) {
        return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " expected for ",
                                                   copies ? "bpf_percpu_obj_drop_impl()" : "bpf_obj_drop_impl()"));
      }
      if (p.ref_obj_id == 0) return Fail(Rule::kObject, r, "allocated object must be referenced");
      meta.type_id = p.btf_id;
      return true;
    }
    case KfuncArg::kRefcounted:
      if (!p.IsObject()) {
        return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " is neither owning or non-owning ref"));
      }
      meta.owned = !p.Has(kNonOwnRef) && p.ref_obj_id != 0;
      if (FindField(FieldsOf(p), SpecialField::kRefcount) == nullptr) {
        return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " doesn't point to a type with bpf_refcount field"));
      }
      meta.type_id = p.btf_id;
      return true;
    case KfuncArg::kListHead:
      return GraphRootArg(r, SpecialField::kListHead, meta);
    case KfuncArg::kTreeRoot:
      return GraphRootArg(r, SpecialField::kRbRoot, meta);
    case KfuncArg::kListNode:
    case KfuncArg::kTreeNode:
      if (proto.kind == KfuncKind::kListPush || proto.kind == KfuncKind::kTreeAdd) {
        if (!plain) return Fail(Rule::kObject, r, absl::StrCat("arg#", r - 1, " expected pointer to allocated object"));
        if (p.ref_obj_id == 0) return Fail(Rule::kObject, r, "allocated object must be referenced");
      } else {
        if (!(p.IsObject() && p.Has(kNonOwnRef)) && p.ref_obj_id == 0) {
          return Fail(Rule::kObject, r,
                      absl::StrCat(function.name, " can only take non-owning or refcounted bpf_rb_node pointer"));
        }
        if (InTreeCallback()) return Fail(Rule::kObject, r, absl::StrCat(function.name, " not allowed in rbtree cb"));
      }
      return GraphNodeArg(r, kind == KfuncArg::kListNode ? SpecialField::kListNode : SpecialField::kRbNode, meta);
    case KfuncArg::kCallback:
      if (p.type != RegType::kFunc) {
        return Fail(Rule::kHelperArg, r, absl::StrCat("arg", r - 1, " expected pointer to func"));
      }
      meta.subprog = static_cast<int>(p.subprog);
      return true;
    default:
      return true;
  }
}

bool Transfer::ObjectKfunc(const Extern& function, const KfuncProto& proto) {
  ObjectMeta meta;
  for (int r = 1; r <= proto.arg_count(); ++r) {
    const KfuncArg kind = proto.args[r - 1];
    if (kind == KfuncArg::kIgnored) continue;
    if (kind == KfuncArg::kScalar || kind == KfuncArg::kConstant) {
      if (!reg(r).IsScalar()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " is not a scalar"));
      if (kind == KfuncArg::kScalar) continue;
      if (!reg(r).s.IsConst()) return Fail(Rule::kHelperArg, r, absl::StrCat("R", r, " must be a known constant"));
      Precise(r);
      meta.constant = reg(r).s.ConstValue();
    } else if (reg(r).IsNull() || reg(r).MayBeNull()) {
      return Fail(Rule::kNullDeref, r, absl::StrCat("Possibly NULL pointer passed to trusted arg", r - 1));
    } else if (!ObjectArg(r, kind, function, proto, meta)) {
      return false;
    }
  }
  switch (proto.kind) {
    case KfuncKind::kObjDrop:
      if (meta.release_reg == 0) {
        return Fail(Rule::kRefRelease, 1, absl::StrCat("release kernel function ", function.name,
                                                       " expects refcounted PTR_TO_BTF_ID"));
      }
      // What is to be done with its fields is noted beside the instruction: for most types, nothing.
      out_->used_detail = DropsMore(ctx_.object->FieldsOfStruct(meta.type_id)) ? meta.type_id : uint64_t{1} << 32;
      if (!ReleaseRef(meta.ref_obj_id)) {
        return Fail(Rule::kRefRelease, 1, absl::StrCat("kfunc ", function.name, " reference has not been acquired "
                                                       "before"));
      }
      break;
    case KfuncKind::kTreeAdd:
      if (!CallLess(meta.subprog, *meta.root)) return false;
      [[fallthrough]];
    case KfuncKind::kListPush: {
      out_->used_detail = meta.type_id | uint64_t{meta.root->node_offset} << 32;
      // The list or tree owns it; the program may look at it until the unlock.
      const uint32_t ref = reg(2).ref_obj_id;
      const uint16_t kept = NonOwning(meta.type_id);
      std::erase_if(st_->refs, [ref](const Ref& held) { return held.kind == Ref::Kind::kPointer && held.id == ref; });
      pool_.UpdateRegs(*st_, [ref](const Reg& q) { return q.ref_obj_id == ref; }, [kept](Reg& q) {
        q.ref_obj_id = 0;
        q.flags |= kept;
      });
      break;
    }
    case KfuncKind::kRefcountAcquire:
      out_->used_detail = meta.type_id;
      break;
    case KfuncKind::kObjNew:
      out_->used_detail = meta.constant + 1;
      break;
    default:
      break;
  }
  return ObjectResult(proto, meta);
}

bool Transfer::ObjectResult(const KfuncProto& proto, const ObjectMeta& meta) {
  ClearCallerSaved();
  Reg& r0 = reg(0);
  bool nullable = true, acquires = true;
  switch (proto.kind) {
    case KfuncKind::kObjNew: {
      if (meta.constant > kU32Max) {
        return Fail(Rule::kObject, 1, "local type ID argument must be in range [0, U32_MAX]");
      }
      const struct btf* btf = ctx_.object->btf.get();
      if (btf == nullptr) return Fail(Rule::kObject, 1, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
      const uint32_t id = static_cast<uint32_t>(meta.constant);
      const btf_type* t = id < btf__type_cnt(btf) ? btf__type_by_id(btf, id) : nullptr;
      if (t == nullptr || !btf_is_struct(t)) {
        return Fail(Rule::kObject, 1, "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct");
      }
      if (proto.percpu) {
        if (t->size > kMaxPercpuObject) {
          return Fail(Rule::kObject, 1, absl::StrCat("bpf_percpu_obj_new type size (", t->size, ") is greater than ",
                                                     kMaxPercpuObject));
        }
        if (!OnlyNumbers(btf, t, 0)) {
          return Fail(Rule::kObject, 1, "bpf_percpu_obj_new type ID argument must be of a struct of scalars");
        }
        if (ctx_.object->FieldsOfStruct(id) != nullptr) {
          return Fail(Rule::kObject, 1, "bpf_percpu_obj_new type ID argument must not contain special fields");
        }
      }
      r0.MakePointer(RegType::kBtfId, static_cast<uint16_t>(kAlloc | kProgBtf | (proto.percpu ? kPercpu : 0)));
      r0.btf_id = id;
      break;
    }
    case KfuncKind::kRefcountAcquire:
      r0.MakePointer(RegType::kBtfId, kAlloc | kProgBtf);
      r0.btf_id = meta.type_id;
      nullable = !meta.owned;  // who owns one can have another
      break;
    case KfuncKind::kListPop:
    case KfuncKind::kTreeRemove:
      GraphNode(r0, *meta.root, 0);
      break;
    case KfuncKind::kListPeek:
    case KfuncKind::kTreePeek:
      GraphNode(r0, *meta.root, NonOwning(meta.root->type_id));
      acquires = false;
      break;
    case KfuncKind::kObjDrop:
      return true;
    default:
      r0.MakeUnknown();
      return true;
  }
  if (nullable) {
    r0.flags |= kMaybeNull;
    r0.id = NewId();
  }
  if (acquires) {
    r0.ref_obj_id = Acquire();
    if (nullable) r0.id = r0.ref_obj_id;
  }
  if (r0.id == 0 && MayHoldLock(r0)) r0.id = NewId();
  return true;
}

}  // namespace bpfsieve
