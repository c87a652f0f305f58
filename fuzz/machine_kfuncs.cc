// Kernel functions, and what they make: iterators and dynptrs on the stack, sections, objects of the program's own types.
//
// Memory that a dynptr stands for is a region like any other, and a slice of it one more, which refers to it: so that it
// can end by itself. An object is a region for each reference to it, and for each look at one that is somebody else's;
// those of one object need not be at one place, as no program can rely on that.
#include <bpf/btf.h>

#include <algorithm>

#include "engine/isa/insn.h"
#include "engine/program/btf_fields.h"
#include "engine/program/btf_view.h"
#include "engine/spec/spec.h"
#include "fuzz/machine.h"
#include "fuzz/machine_limits.h"

namespace bpfsieve {
namespace {

// Helpers.
enum : uint32_t {
  kThisCpuPtr = 154, kKptrXchg = 194, kDynptrFromMem = 197, kRingbufReserve = 198, kRingbufSubmit = 199,
  kRingbufDiscard = 200, kDynptrWrite = 202, kDynptrData = 203,
};

bool AllowedUnderLock(std::string_view name) {
  return name.starts_with("bpf_list_") || name.starts_with("bpf_rbtree_") || name.starts_with("bpf_refcount_acquire") ||
         name.starts_with("bpf_iter_num_") || name.starts_with("bpf_res_spin_");
}

bool OfPacket(DynptrKind kind) {
  return kind == DynptrKind::kSkb || kind == DynptrKind::kXdp || kind == DynptrKind::kSkbMeta;
}

}  // namespace

bool Machine::CallKfunc(const Insn& i) {
  const size_t at = static_cast<size_t>(i.imm);
  if (i.src != kPseudoKfuncCall || at >= program_->externs.size()) return Fault("no such function");
  const Kfunc& function = kfuncs_[at];
  if (function.typed != nullptr && kernel_ != nullptr) return CallTyped(*function.typed, program_->externs[at].btf_id);
  if (function.proto == nullptr) return NotModelled("kfunc: " + program_->externs[at].name);
  const KfuncProto& proto = *function.proto;
  if (!locks_.empty() && !AllowedUnderLock(proto.name)) return Fault("a kernel function is called with a lock held");
  if (proto.sleeps && !MaySleep()) return Fault("a kernel function may sleep where that is not allowed");
  // What is made may lie where the argument that it is made of does.
  StackObject source;
  if (const StackObject* d = FindObject(reg(1), StackObject::Kind::kDynptr)) source = *d;
  if (!KfuncArguments(proto)) return false;
  Word result = Word::Number(Value());
  bool done = true;
  switch (proto.kind) {
    case KfuncKind::kThrow:
      if (!locks_.empty()) return Fault("a throw with a lock held");
      if (!held_.empty()) return Fault("a throw with a reference that was not given back");
      if (rcu_ + preempt_ + irq_ > 0) return Fault("a throw within a section");
      if (program_->exception_callback != Program::kNoCallback) return NotModelled("exception callback");
      if (!frames_[0].later && !MayEndWith(reg(1))) return false;
      out_.kind = Outcome::Kind::kExit;
      out_.r0 = reg(1).bits;
      return false;
    case KfuncKind::kResLock:
    case KfuncKind::kResUnlock: done = ResilientLock(proto, &result); break;
    case KfuncKind::kRcuLock:
    case KfuncKind::kRcuUnlock:
    case KfuncKind::kPreemptDisable:
    case KfuncKind::kPreemptEnable: done = Section(proto.kind); break;
    case KfuncKind::kIterNew:
    case KfuncKind::kIterNext:
    case KfuncKind::kIterDestroy: done = Iterator(proto, &result); break;
    case KfuncKind::kCastToKernelContext:
    case KfuncKind::kCastToReadOnly: done = Cast(proto.kind, &result); break;
    case KfuncKind::kDynptrSlice:
    case KfuncKind::kDynptrSliceRdwr: result = SliceOrBuffer(proto.kind == KfuncKind::kDynptrSliceRdwr); break;
    case KfuncKind::kTreeAdd: return ObjectKfunc(proto, &result) && CallLess();
    case KfuncKind::kPlain:
      if (proto.args[0] == KfuncArg::kIrqSave || proto.args[0] == KfuncArg::kIrqRestore) {
        done = Interrupts(1, proto.args[0] == KfuncArg::kIrqSave, false);
      } else if (proto.args[2] == KfuncArg::kDynptrNew || proto.args[0] == KfuncArg::kDynptr) {
        DynptrKfunc(proto, source, &result);
      } else if (proto.args[1] == KfuncArg::kAsyncCallback) {
        later_.push_back({static_cast<uint32_t>(region(reg(2).region).function), region(reg(1).region).map, true});
      }
      break;
    default: done = ObjectKfunc(proto, &result); break;
  }
  if (!done) return false;
  for (int r = 0; r <= 5; ++r) reg(r) = Word{};
  if (!proto.is_void) reg(0) = result;
  ++pc_;
  return true;
}

bool Machine::KfuncArguments(const KfuncProto& proto) {
  for (int r = 1; r <= proto.arg_count(); ++r) {
    const KfuncArg kind = proto.args[r - 1];
    if (kind == KfuncArg::kIgnored) continue;
    if (!Read(r)) return false;
    const Word w = reg(r);
    uint64_t at;
    switch (kind) {
      case KfuncArg::kTyped:
        if (!IteratorArgument(proto, w)) return false;
        break;
      case KfuncArg::kCtx:
        if (w.region >= 0 && region(w.region).kind == Region::Kind::kKernel) {  // a packet of the kernel's
          const Region& g = region(w.region);
          if (!Usable(g) || g.rcu || BtfTypeName(kernel_->get(), g.type_id) != "sk_buff" || w.bits != g.base) {
            return Fault("an argument is not a packet that is there");
          }
          break;
        }
        if (w.region != context_ || w.bits != region(context_).base) return Fault("an argument is not the context");
        break;
      case KfuncArg::kDynptr:
        if (FindObject(w, StackObject::Kind::kDynptr) == nullptr) return Fault("an argument is not a dynptr");
        break;
      case KfuncArg::kDynptrNew:
        if (!NewPlace(w, kDynptrBytes)) return false;
        break;
      case KfuncArg::kBufferOrNull:
        if (w.region < 0 && w.bits == 0) break;
        if (!Read(r + 1) || !Reach(w, 0, reg(r + 1).bits, false, &at) || !Reach(w, 0, reg(r + 1).bits, true, &at)) return false;
        break;
      case KfuncArg::kWorkqueue: {
        const MapField* field;
        if (w.region < 0 || region(w.region).kind != Region::Kind::kMapValue) return Fault("an argument is not a work queue");
        if (!Field(w, SpecialField::kWorkqueue, &field)) return false;
        break;
      }
      case KfuncArg::kMap:
        if (w.region < 0 || region(w.region).kind != Region::Kind::kMap || region(w.region).map != region(reg(1).region).map) {
          return Fault("an argument is not the map that it should be");
        }
        break;
      case KfuncArg::kCallback:
      case KfuncArg::kAsyncCallback:
        if (w.region < 0 || region(w.region).function < 0) return Fault("an argument is not a function");
        break;
      default: break;
    }
  }
  return true;
}

// What an iterator over the kernel's objects starts from.
bool Machine::IteratorArgument(const KfuncProto& proto, const Word& w) {
  if (proto.iter != IterType::kTask && proto.iter != IterType::kTaskVma) return NotModelled("iterator: " + std::string(proto.name));
  if (w.region < 0) return (w.bits == 0 && proto.iter == IterType::kTask) || Fault("an argument is not an object");
  const Region& g = region(w.region);
  if (kernel_ == nullptr || g.kind != Region::Kind::kKernel) return NotModelled("kernel objects");
  if (!Usable(g) || (g.rcu && proto.iter == IterType::kTask)) return Fault("an argument is an object that may not be there");
  return BtfTypeName(kernel_->get(), g.type_id) == "task_struct" || Fault("an argument is an object of another type");
}

// ---- What lies on the stack --------------------------------------------------------------------------------------

Machine::StackObject* Machine::FindObject(const Word& p, StackObject::Kind kind) {
  if (p.region < 0 || !region(p.region).alive) return nullptr;
  const uint64_t at = p.bits - region(p.region).base;
  for (StackObject& each : objects_) {
    if (each.region == p.region && each.at == at && each.kind == kind) return &each;
  }
  return nullptr;
}

const Machine::StackObject* Machine::ObjectAt(int frame, int slot) const {
  const int32_t stack = frames_[static_cast<size_t>(frame)].stack_region;
  const uint64_t at = static_cast<uint64_t>(kStackSize - 8 * (slot + 1));
  for (const StackObject& each : objects_) {
    if (each.region == stack && each.at == at) return &each;
  }
  return nullptr;
}

// Whether something can be made there: on the stack, and nothing in its way that has to stay.
bool Machine::NewPlace(const Word& p, uint64_t size) {
  if (p.region < 0 || FrameOf(p.region) == nullptr) return Fault("an object that is not on the stack");
  uint64_t at = p.bits - region(p.region).base;
  if (at % 8 != 0) return Fault("an object that is not aligned");
  if (!Overwrite(p.region, at, size) || !Reach(p, 0, size, true, &at)) return false;
  Scramble(p, size);
  return true;
}

bool Machine::Iterator(const KfuncProto& proto, Word* result) {
  const Word p = reg(1);
  const IterProto& type = FindIter(proto.iter);
  const uint64_t size = static_cast<uint64_t>(type.slots) * 8;
  if (proto.kind == KfuncKind::kIterNew) {
    if (!NewPlace(p, size)) return false;
    const auto begin = static_cast<int32_t>(reg(2).bits), end = static_cast<int32_t>(reg(3).bits);
    const uint64_t count = proto.iter == IterType::kNum ? static_cast<uint64_t>(int64_t{end} - begin) : Random() % 4;
    const bool empty = proto.iter == IterType::kNum && (end <= begin || count > kMaxLoops);
    StackObject made = ObjectAt(p, StackObject::Kind::kIterator, size);
    made.reference = next_reference_;
    made.number = next_number_++;
    made.iter = proto.iter;
    made.left = empty ? 0 : count;
    objects_.push_back(made);
    held_.push_back(next_reference_++);
    return true;
  }
  StackObject* known = FindObject(p, StackObject::Kind::kIterator);
  if (known == nullptr || known->iter != proto.iter) return Fault("no such iterator");
  for (Region& each : regions_) {  // the iterator holds on to one at a time
    if (each.data_of == known->number) each.trusted = false, each.untrusted = true;
  }
  if (proto.kind == KfuncKind::kIterDestroy) {
    EndReference(known->reference);
    return true;
  }
  *result = Word::Number(0);
  if (known->left == 0) return true;
  --known->left;
  if (!type.elem.empty()) {
    const uint32_t id = kernel_ != nullptr ? kernel_->Find(type.elem, BTF_KIND_STRUCT) : 0;
    if (id == 0) return NotModelled("what an iterator walks over");
    const int32_t number = known->number;
    *result = PointerTo(NewKernelObject(id));
    Region& g = regions_.back();
    (type.rcu ? g.rcu : g.trusted) = true;
    if (!type.rcu) g.data_of = number;
    return true;
  }
  const int32_t reference = known->reference;
  const int element = NewRegion(Region::Kind::kMemory, type.elem_size);
  regions_.back().writable = false;
  regions_.back().reference = reference;
  *result = PointerTo(element);
  return true;
}

// It is given back: what it stands for is gone.
void Machine::EndReference(int32_t reference) {
  std::erase(held_, reference);
  for (Region& each : regions_) {
    if (each.reference == reference) each.alive = false;
  }
  std::erase_if(objects_, [reference](const StackObject& each) { return each.reference == reference; });
}

// ---- Sections ----------------------------------------------------------------------------------------------------

bool Machine::Section(KfuncKind kind) {
  switch (kind) {
    case KfuncKind::kRcuLock:
      if (rcu() > 0) return Fault("an RCU section within another");
      ++rcu_;
      return true;
    case KfuncKind::kRcuUnlock:
      if (rcu() == 0) return Fault("an RCU section ends that was not entered");
      --rcu_;
      EndOfReaders();
      return true;
    case KfuncKind::kPreemptDisable: ++preempt_; return true;
    default:
      if (preempt() == 0) return Fault("preemption is enabled that was not disabled");
      --preempt_;
      return true;
  }
}

// One that is held already is not had a second time; any other may be, or not.
bool Machine::ResilientLock(const KfuncProto& proto, Word* result) {
  const bool take = proto.kind == KfuncKind::kResLock, irq = proto.args[1] != KfuncArg::kNone;
  const Word w = reg(1);
  const bool had = std::any_of(locks_.begin(), locks_.end(), [&](const HeldLock& held) { return held.bits == w.bits; });
  if (take && (had || Value() % 4 == 0)) {
    const MapField* field = nullptr;
    // An int: nobody says what is above it.
    *result = Word::Number((Value() << 32) | static_cast<uint32_t>(-1 - static_cast<int32_t>(Value() % 4095)));
    return Field(w, SpecialField::kResSpinLock, &field);
  }
  *result = Word::Number(0);
  return LockArgument(w, SpecialField::kResSpinLock, take, irq) && (!irq || Interrupts(2, take, true));
}

bool Machine::Interrupts(int r, bool save, bool of_lock) {
  const Word p = reg(r);
  if (save) {
    if (!NewPlace(p, 8)) return false;
    StackObject made = ObjectAt(p, StackObject::Kind::kIrqFlag, 8);
    made.number = next_number_++;
    made.of_lock = of_lock;
    objects_.push_back(made);
    ++irq_;
    return true;
  }
  const StackObject* flag = FindObject(p, StackObject::Kind::kIrqFlag);
  if (flag == nullptr || flag->of_lock != of_lock) return Fault("no saved interrupt flags, or those of something else");
  const int32_t number = flag->number;
  for (const StackObject& each : objects_) {
    if (each.kind == StackObject::Kind::kIrqFlag && each.number > number) return Fault("interrupts are restored out of order");
  }
  std::erase_if(objects_, [number](const StackObject& each) {
    return each.kind == StackObject::Kind::kIrqFlag && each.number == number;
  });
  --irq_;
  return true;
}

// Whether readers are waited for here.
bool Machine::Reading() const {
  const bool sleeps = frames_[0].later ? frames_[0].sleeps : program_->sleepable;
  return !sleeps || !locks_.empty() || rcu_ > 0;
}

// What only readers could rely on may be anything from now on.
void Machine::EndOfReaders() {
  if (Reading()) return;
  for (Region& each : regions_) each.untrusted |= each.rcu;
}

Machine::StackObject Machine::ObjectAt(const Word& place, StackObject::Kind kind, uint64_t size) const {
  StackObject made;
  made.kind = kind;
  made.region = place.region;
  made.at = place.bits - region(place.region).base;
  made.size = size;
  return made;
}

// ---- Dynptrs -----------------------------------------------------------------------------------------------------

void Machine::MakeDynptr(const Word& place, DynptrKind kind, int32_t memory, uint64_t begin, uint64_t length,
                         int32_t reference) {
  StackObject made = ObjectAt(place, StackObject::Kind::kDynptr, kDynptrBytes);
  made.reference = reference;
  made.dynptr = kind;
  made.number = next_number_++;
  made.memory = memory;
  made.begin = begin;
  made.length = memory < 0 ? 0 : length;
  objects_.push_back(made);
}

// The stack is written where something may lie, which ends it. What had to be given back cannot be any more.
bool Machine::Overwrite(int32_t stack, uint64_t at, uint64_t size) {
  for (size_t i = 0; i < objects_.size();) {
    const StackObject& each = objects_[i];
    if (each.region != stack || at >= each.at + each.size || each.at >= at + size) {
      ++i;
      continue;
    }
    const bool dynptr = each.kind == StackObject::Kind::kDynptr;
    if (dynptr && each.reference >= 0) return Fault("a dynptr is overwritten that has to be given back");
    for (Region& g : regions_) {
      if (dynptr && g.data_of == each.number) g.alive = false;
    }
    objects_.erase(objects_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return true;
}

// `size` bytes of its memory, or null.
Word Machine::Slice(const StackObject& of, uint64_t offset, uint64_t size) {
  StackObject d = of;
  if (d.memory >= 0 && OfPacket(d.dynptr) && !region(d.memory).alive) {  // it has moved
    const Region& packet = region(Packet());
    const bool meta = d.dynptr == DynptrKind::kSkbMeta;
    d.memory = packet_;
    d.begin = meta ? 0 : packet.data_at;
    d.length = std::min<uint64_t>(d.length, meta ? packet.data_at : packet.size - packet.data_at);
  }
  if (d.memory < 0 || offset > d.length || size > d.length - offset) return Word::Number(0);
  const int at = NewRegion(Region::Kind::kMemory, static_cast<uint32_t>(size));
  Region& g = regions_.back();
  const Region& memory = region(d.memory);
  g.base = memory.base + d.begin + offset;
  g.writable = memory.writable && !d.read_only;
  g.within = d.memory;
  g.reference = d.reference;
  g.packet_slice = OfPacket(d.dynptr);
  return PointerTo(at);
}

// What is behind it may have moved.
void Machine::WrittenThrough(const StackObject& d) {
  if (d.dynptr == DynptrKind::kSkb || d.dynptr == DynptrKind::kSkbMeta) PacketMoved();
}

void Machine::DynptrHelper(uint32_t id, const std::array<Word, 6>& args, Word* result) {
  switch (id) {
    case kDynptrFromMem: {
      const bool null = args[1].region < 0 || args[3].bits != 0 || Random() % 8 == 0;
      MakeDynptr(args[4], DynptrKind::kLocal, null ? -1 : args[1].region,
                 null ? 0 : args[1].bits - region(args[1].region).base, static_cast<uint32_t>(args[2].bits), -1);
      return;
    }
    case kRingbufReserve: {
      const uint32_t size = static_cast<uint32_t>(args[2].bits);
      const int32_t reference = next_reference_++;
      held_.push_back(reference);
      int memory = -1;
      if (size <= 4096 && Random() % 3 != 0) {
        memory = NewRegion(Region::Kind::kMemory, size);
        regions_.back().reference = reference;
      }
      MakeDynptr(args[4], DynptrKind::kRingbuf, memory, 0, size, reference);
      return;
    }
    case kRingbufSubmit:
    case kRingbufDiscard: EndReference(FindObject(args[1], StackObject::Kind::kDynptr)->reference); return;
    case kDynptrWrite: WrittenThrough(*FindObject(args[1], StackObject::Kind::kDynptr)); return;
    case kDynptrData: {
      const StackObject& d = *FindObject(args[1], StackObject::Kind::kDynptr);
      const int32_t number = d.number;
      *result = Word::Number(0);
      if (OfPacket(d.dynptr) || d.read_only) return;
      *result = Slice(d, static_cast<uint32_t>(args[2].bits), static_cast<uint32_t>(args[3].bits));
      if (result->region >= 0) regions_.back().data_of = number;
      return;
    }
    default: return;
  }
}

// A slice that is the memory itself, or a copy in the buffer.
Word Machine::SliceOrBuffer(bool write) {
  const StackObject& d = *FindObject(reg(1), StackObject::Kind::kDynptr);
  const Word buffer = reg(3);
  const uint64_t size = reg(4).bits;
  if (OfPacket(d.dynptr) && write && !MayAccessPacket(program_->type, true)) return Word::Number(0);
  const bool copy = OfPacket(d.dynptr) && buffer.region >= 0 && Coin();
  const Word slice = Slice(d, static_cast<uint32_t>(reg(2).bits), size);
  if (slice.region < 0) return slice;
  Region& g = regions_.back();
  if (copy) {
    g.base = buffer.bits;
    g.within = buffer.region;
    g.writable = true;
  }
  g.writable &= write;
  return PointerTo(slice.region);
}

void Machine::DynptrKfunc(const KfuncProto& proto, const StackObject& source, Word* result) {
  const std::string_view name = proto.name;
  if (proto.args[2] == KfuncArg::kDynptrNew) {  // of the packet
    const Region& packet = region(Packet());
    const bool meta = proto.dynptr == DynptrKind::kSkbMeta;
    const bool null = reg(2).bits != 0 || Random() % 8 == 0;
    MakeDynptr(reg(3), proto.dynptr, null ? -1 : packet_, meta ? 0 : packet.data_at,
               meta ? packet.data_at : packet.size - packet.data_at, -1);
    return;
  }
  if (name == "bpf_dynptr_clone") {
    MakeDynptr(reg(2), source.dynptr, source.memory, source.begin, source.length, source.reference);
    objects_.back().read_only = source.read_only;
    return;
  }
  StackObject& d = *FindObject(reg(1), StackObject::Kind::kDynptr);
  if (proto.writes_dynptr) {
    WrittenThrough(d);
  } else if (name == "bpf_dynptr_adjust") {
    const uint64_t from = static_cast<uint32_t>(reg(2).bits), to = static_cast<uint32_t>(reg(3).bits);
    if (from > to || to > d.length) return;
    d.begin += from;
    d.length = to - from;
    *result = Word::Number(0);
  } else if (name == "bpf_dynptr_size" && d.memory >= 0) {
    *result = Word::Number(d.length);
  }
}

// ---- Objects -----------------------------------------------------------------------------------------------------

const std::vector<MapField>* Machine::FieldsOf(const Region& g) const {
  if (g.kind == Region::Kind::kMapValue) return &object_->maps[static_cast<size_t>(g.map)].fields;
  return g.kind == Region::Kind::kObject ? object_->FieldsOfStruct(g.type_id) : nullptr;
}

// The field of that kind at which the pointer points.
bool Machine::Field(const Word& w, SpecialField kind, const MapField** field) {
  if (w.region < 0) return Fault("an argument is not a pointer");
  const Region& g = region(w.region);
  if (!g.alive) return Fault("access to memory that is gone");
  if (g.untrusted) return Fault("an argument may be anything");
  const std::vector<MapField>* fields = FieldsOf(g);
  *field = fields == nullptr ? nullptr : FieldAt(*fields, static_cast<int64_t>(w.bits - g.base), kind);
  return *field != nullptr || Fault("an argument is not the field that it should be");
}

// An object of one of the program's types, or one more view of the one at `base` (0: another one).
int Machine::NewObject(uint32_t type_id, uint64_t base, bool owned) {
  const btf_type* t = btf__type_by_id(object_->btf.get(), type_id);
  const int at = NewRegion(Region::Kind::kObject, t->size);
  Region& g = regions_.back();
  if (base != 0) g.base = base;
  g.type_id = type_id;
  if (owned) {
    g.reference = next_reference_;
    held_.push_back(next_reference_++);
  }
  return at;
}

// Whether it is an object that the program owns.
bool Machine::Owned(const Word& w) {
  if (w.region < 0 || region(w.region).kind != Region::Kind::kObject) return Fault("an argument is not an object");
  const Region& g = region(w.region);
  if (!g.alive) return Fault("access to memory that is gone");
  return IsHeld(g) || Fault("an argument is not an object that is held");
}

// The list or tree at the pointer, whose lock is held.
bool Machine::GraphRoot(const Word& w, SpecialField kind, const MapField** root) {
  if (!Field(w, kind, root)) return false;
  const Region& g = region(w.region);
  for (const HeldLock& held : locks_) {
    const MapField* lock = FindField(*FieldsOf(g), held.kind);
    if (lock != nullptr && held.bits == g.base + lock->offset) return true;
  }
  return Fault("a list or tree is used without its lock");
}

// The node at the pointer, of an object that may be in the list or tree.
bool Machine::GraphNode(const Word& w, const MapField& root) {
  if (w.region < 0 || region(w.region).kind != Region::Kind::kObject) return Fault("an argument is not an object");
  const Region& g = region(w.region);
  if (!g.alive) return Fault("access to memory that is gone");
  if (g.untrusted) return Fault("an argument may be anything");
  return (g.type_id == root.type_id && w.bits == g.base + root.node_offset) || Fault("an argument is not such a node");
}

bool Machine::ObjectKfunc(const KfuncProto& proto, Word* result) {
  const bool null = Random() % 3 == 0;
  const MapField* root = nullptr;
  const Word first = reg(1), second = reg(2);
  const auto object = [&](uint32_t type_id, uint64_t base, bool owned, uint64_t at) {
    *result = null ? Word::Number(0) : PointerTo(NewObject(type_id, base, owned), at);
    if (!null) regions_.back().lent = !owned;
    return true;
  };
  switch (proto.kind) {
    case KfuncKind::kObjNew: {
      const btf_type* t = object_->btf != nullptr && first.bits < btf__type_cnt(object_->btf.get())
                              ? btf__type_by_id(object_->btf.get(), static_cast<uint32_t>(first.bits))
                              : nullptr;
      if (t == nullptr || !btf_is_struct(t)) return Fault("an object of no type");
      object(static_cast<uint32_t>(first.bits), 0, true, 0);
      if (!null) regions_.back().percpu = proto.percpu;
      return true;
    }
    case KfuncKind::kObjDrop:
      if (!Owned(first)) return false;
      if (first.bits != region(first.region).base || region(first.region).percpu != proto.percpu) {
        return Fault("an argument is not the object that it should be");
      }
      EndReference(region(first.region).reference);
      return true;
    case KfuncKind::kRefcountAcquire: {
      if (first.region < 0 || region(first.region).kind != Region::Kind::kObject) return Fault("an argument is not an object");
      const Region g = region(first.region);
      if (!g.alive) return Fault("access to memory that is gone");
      if (g.untrusted) return Fault("an argument may be anything");
      if (FieldsOf(g) == nullptr || FindField(*FieldsOf(g), SpecialField::kRefcount) == nullptr) {
        return Fault("an object is not counted");
      }
      // One that is held is there.
      if (g.reference < 0) return object(g.type_id, g.base, true, 0);
      *result = PointerTo(NewObject(g.type_id, g.base, true));
      return true;
    }
    case KfuncKind::kListPush:
    case KfuncKind::kTreeAdd: {
      const SpecialField kind = proto.kind == KfuncKind::kListPush ? SpecialField::kListHead : SpecialField::kRbRoot;
      if (!GraphRoot(first, kind, &root) || !Owned(second) || !GraphNode(second, *root)) return false;
      // It is the list's now.
      Region& g = regions_[static_cast<size_t>(second.region)];
      std::erase(held_, g.reference);
      g.reference = -1;
      g.lent = true;
      return true;
    }
    case KfuncKind::kListPop:
    case KfuncKind::kListPeek:
      if (!GraphRoot(first, SpecialField::kListHead, &root)) return false;
      return object(root->type_id, 0, proto.kind == KfuncKind::kListPop, root->node_offset);
    case KfuncKind::kTreeRemove:
    case KfuncKind::kTreePeek: {
      if (!GraphRoot(first, SpecialField::kRbRoot, &root)) return false;
      if (proto.arg_count() > 1 && !GraphNode(second, *root)) return false;
      return object(root->type_id, 0, proto.kind == KfuncKind::kTreeRemove, root->node_offset);
    }
    default: return NotModelled("kernel objects");
  }
}

// Helpers that have to do with objects.
bool Machine::ObjectHelper(uint32_t id, const std::array<Word, 6>& args) {
  const Word first = args[1], second = args[2];
  if (id != kKptrXchg) {
    if (first.region < 0 || region(first.region).kind != Region::Kind::kObject || !region(first.region).percpu) {
      return NotModelled("kernel objects");
    }
    if (!region(first.region).alive) return Fault("access to memory that is gone");
    if (id != kThisCpuPtr && Random() % 3 == 0) {
      reg(0) = Word::Number(0);
      return true;
    }
    reg(0) = PointerTo(NewObject(region(first.region).type_id, 0, false));
    regions_.back().rcu = true;
    return true;
  }
  const MapField* field = nullptr;
  if (first.region < 0 || !region(first.region).alive) return Fault("access to memory that is gone");
  const std::vector<MapField>* fields = FieldsOf(region(first.region));
  if (fields != nullptr) field = KptrAt(*fields, static_cast<int64_t>(first.bits - region(first.region).base));
  if (field == nullptr || field->kind == SpecialField::kKptrUntrusted) return Fault("an argument is not a place for a pointer");
  const bool percpu = field->kind == SpecialField::kKptrPercpu;
  if (second.region >= 0) {
    Region& g = regions_[static_cast<size_t>(second.region)];
    const Region::Kind kind = field->kernel_type ? Region::Kind::kKernel : Region::Kind::kObject;
    if (!g.alive) return Fault("access to memory that is gone");
    if (g.kind != kind || !IsHeld(g) || g.type_id != field->type_id || g.percpu != percpu || second.bits != g.base) {
      return Fault("an argument is not the object that it should be");
    }
    std::erase(held_, g.reference);
    g.reference = -1;
    g.rcu = true;
    g.alive = percpu && Reading();
  } else if (second.bits != 0) {
    return Fault("an argument is not an object");
  }
  reg(0) = Word::Number(0);
  if (Random() % 3 == 0) return true;
  const int old = field->kernel_type ? NewKernelObject(field->type_id) : NewObject(field->type_id, 0, false);
  regions_.back().percpu = percpu;
  regions_.back().reference = next_reference_;
  held_.push_back(next_reference_++);
  reg(0) = PointerTo(old);
  return true;
}

// Whether a program may store this in a place for a pointer that nobody relies on.
bool Machine::MayKeep(const MapField& field, const Word& value) const {
  if (value.region < 0) return value.bits == 0;
  const Region& g = region(value.region);
  const Region::Kind kind = field.kernel_type ? Region::Kind::kKernel : Region::Kind::kObject;
  return g.alive && g.kind == kind && g.type_id == field.type_id && value.bits == g.base;
}

// What a place for a pointer holds.
bool Machine::LoadKept(const MapField& field, Word* out) {
  if (field.type_id == 0 || (field.kernel_type && kernel_ == nullptr)) return NotModelled("kernel objects");
  *out = Word::Number(0);
  if (Random() % 3 == 0) return true;
  *out = PointerTo(field.kernel_type ? NewKernelObject(field.type_id) : NewObject(field.type_id, 0, false));
  Region& g = regions_.back();
  g.percpu = field.kind == SpecialField::kKptrPercpu;
  g.rcu = field.kind != SpecialField::kKptrUntrusted;
  g.untrusted = !g.rcu || !Reading();
  // What lies in a list or tree may be taken out of it as soon as the lock is free.
  const std::vector<MapField>* fields = FieldsOf(g);
  g.lent = g.rcu && fields != nullptr &&
           std::any_of(fields->begin(), fields->end(), [](const MapField& f) { return IsGraphNode(f.kind); });
  return true;
}

}  // namespace bpfsieve
