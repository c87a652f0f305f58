// The kernel's contract as data: what a program type may call and touch, and what it must return. Linux 6.18.
// Look-ups are by table, constant time, and safe from any thread; the tables never change.
#ifndef BPFSIEVE_ENGINE_SPEC_SPEC_H_
#define BPFSIEVE_ENGINE_SPEC_SPEC_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/isa/helper_names.h"    // kHelperCount, HelperName
#include "engine/program/type_names.h"  // ProgTypeName, AttachTypeName, MapTypeName and their inverses
#include "engine/program/types.h"

namespace bpfsieve {

// What the process that loads a program may do, as far as the verifier asks.
struct Capabilities {
  bool perfmon = true;  // CAP_PERFMON
  bool bpf = true;      // CAP_BPF. False: CAP_PERFMON and CAP_NET_ADMIN are lacking, too, as with an ordinary user, and
                        // such users may load programs at all (kernel.unprivileged_bpf_disabled is 0)
};

// What a dynptr refers to.
enum class DynptrKind : uint8_t {
  kNone, kLocal, kRingbuf, kSkb, kXdp, kSkbMeta,
  kAny,  // an argument of a global function: the kernel takes it for a local one, whatever the caller has
};

// ---- Helpers ---------------------------------------------------------------------------------------------------

// What a helper wants in an argument register: the kernel's bpf_arg_type. Base types:
enum class Arg : uint8_t {
  kDontcare,
  kConstMapPtr,
  kMapKey,
  kMapValue,
  kMem,
  kConstSize,
  kConstSizeOrZero,
  kCtx,
  kAnything,
  kSpinLock,
  kSockCommon,
  kSocket,
  kBtfId,
  kRingbufMem,
  kConstAllocSizeOrZero,
  kBtfIdSockCommon,
  kPercpuBtfId,
  kFunc,
  kStack,
  kConstStr,
  kTimer,
  kKptrXchgDest,
  kDynptr,
};
// Flags beside the base type.
enum ArgFlag : uint16_t {
  kArgNullable = 1,         // PTR_MAYBE_NULL
  kArgRdonly = 2,           // MEM_RDONLY: the helper only reads
  kArgUninit = 4,           // MEM_UNINIT: memory may be uninitialised, the helper fills it
  kArgWrite = 8,            // MEM_WRITE: the helper writes it
  kArgFixedSize = 16,       // MEM_FIXED_SIZE: ArgSpec::size bytes
  kArgAligned = 32,         // MEM_ALIGNED
  kArgRelease = 64,         // OBJ_RELEASE: the reference ends here
};
struct ArgSpec {
  Arg type = Arg::kDontcare;
  uint16_t flags = 0;
  uint32_t size = 0;               // kArgFixedSize; kDynptr: its DynptrKind, kNone: any
  const char* btf_name = nullptr;  // kBtfId: the kernel struct's name, e.g. "task_struct"
};

enum class Ret : uint8_t {
  kInteger,
  kVoid,
  kMapValue,
  kSocket,
  kTcpSock,
  kSockCommon,
  kRingbufMem /* alloc mem */,
  kMemOrBtfId,
  kBtfId,
  kBtfIdTrusted,
  kDynptrMem,
  kMem,
};
struct HelperProto {
  uint32_t id = 0;
  const char* name = "";  // without "bpf_": "map_lookup_elem"
  Ret ret = Ret::kInteger;
  bool ret_nullable = false;
  const char* ret_btf_name = nullptr;  // kBtfId*: kernel struct's name
  ArgSpec args[5];
  bool gpl_only = false;
  bool pkt_access = false;  // may take packet pointers as memory: ask HelperTakesPacket()
  bool might_sleep = false;
  // Packet pointers die. Not so with tail_call: it comes back only if it failed, and then the packet is what it was. In
  // a subprogram the kernel also follows the call that succeeded: the subprogram returns at once, R0 an unknown scalar,
  // and the caller's packet pointers are dead. A global function that may tail-call counts as changing the packet.
  bool changes_packet = false;
  bool acquires = false;  // returns a reference that must be released
  bool allow_fastcall = false;
};
// The prototype as program type `type` sees it (a few helpers have several); null: no such helper number.
const HelperProto* FindHelper(uint32_t id, ProgType type);
// Whether a program of this type and expected attach type may call the helper at all (the kernel's get_func_proto,
// as probed from the running kernel, all capabilities).
bool HelperAvailable(uint32_t id, ProgType type, AttachType attach, bool sleepable);
// Whether the loader's capabilities suffice for the helper, where it is available.
bool HelperAllowed(uint32_t id, ProgType type, const Capabilities& caps);
// Whether a program may call it because of what it is attached to.
bool HelperAvailableAt(uint32_t id, ProgType type, AttachType attach, std::string_view target);
// Whether it may call one that is available to its type, where it is attached (the prototype's allowed()); `target`: empty
// at a function of another program.
bool HelperAllowedAt(uint32_t id, ProgType type, AttachType attach, std::string_view target);
// Whether the helper takes packet pointers where it wants memory, in a program of this type.
bool HelperTakesPacket(const HelperProto& proto, ProgType type);
// Whether the map may be passed to the helper (the kernel's check_map_func_compatibility, both ways). The program
// matters to updates and deletions in socket maps, which without a type are refused.
bool MapHelperCompatible(MapType map, uint32_t helper, ProgType type = ProgType::kUnspec, AttachType attach = {});

// What programs may do with a map's values, as BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG of its flags: device maps forbid
// writing by themselves.
uint32_t MapAccessFlags(MapType map, uint32_t flags);
// Whether a sleepable program may use the map at all.
bool MapAllowedInSleepable(MapType map);

// ---- Kernel functions ------------------------------------------------------------------------------------------

// What is particular about a kernel function.
enum class KfuncKind : uint8_t {
  kPlain,  // does what its arguments say
  kThrow,  // ends the program, from whatever depth of calls
  kRcuLock,
  kRcuUnlock,
  kPreemptDisable,
  kPreemptEnable,
  kResLock,  // forks into success and failure
  kResUnlock,
  kDynptrSlice,      // of constant size: memory to read
  kDynptrSliceRdwr,  // and to write
  kIterNew,
  kIterNext,
  kIterDestroy,
  kCastToKernelContext,
  kCastToReadOnly,
  kObjNew,
  kObjDrop,
  kRefcountAcquire,
  kListPush,
  kListPop,
  kListPeek,  // an element that stays in the list
  kTreeAdd,
  kTreeRemove,
  kTreePeek,  // likewise
};
// Open-coded iterators: struct bpf_iter_NAME.
enum class IterType : uint8_t { kNum, kBits, kTask, kCss, kTaskVma, kCssTask, kKmemCache, kDmabuf };
struct IterProto {
  std::string_view name;
  int slots;           // eight bytes of stack each
  uint32_t elem_size;  // bytes that next() points to; 0: an object of the kernel
  std::string_view elem{};  // that structure
  bool rcu = false;    // elements are kept alive by the RCU lock, else by the iterator
};
const IterProto& FindIter(IterType type);

enum class KfuncArg : uint8_t {
  kNone,
  kScalar,
  kIgnored,  // may be anything, even nothing
  kTyped,    // what the BTF prototype says
  kContext,
  kIter,     // the iterator that the function belongs to, on the stack
  kConstant,    // a number that is known
  kObject,      // an object that the program made, to be given back
  kRefcounted,  // one with a reference counter
  kListHead,
  kListNode,
  kTreeRoot,
  kTreeNode,
  kCallback,
  kResLock,  // a lock that may not be had
  kIrqSave,  // eight bytes of stack for the flags
  kIrqRestore,
  kCtx,
  kDynptr,
  kDynptrNew,   // sixteen bytes of stack, which become one
  kBufferOrNull,  // with its size in the next argument
  kConstSize,
  kWorkqueue,   // in a map value
  kMap,         // that it lies in
  kAsyncCallback,  // to run later, and it may sleep then
};
// Where the kernel registers it.
enum class KfuncSet : uint8_t {
  kCommon,   // for all program types
  kGeneric,  // for many
  kTracing,  // programs that trace
  kCongestion,  // those that fill tables of functions
  kHooks,    // those at the hooks of security modules
  kCpumask,
  kConntrack,
  kSkb,      // for those that run on a socket buffer
  kSched,    // of these, for those of traffic control
  kSchedCls,
  kSocketAddress,
  kTypedIterator,  // programs that iterate over objects of the kernel
  kTestRun,        // the kernel's own test runs
  kSession,        // probes of a function's entry and exit
  kSyscall,
  kCrypto,
  kXdp,
};
struct KfuncProto {
  std::string_view name;
  KfuncKind kind;
  KfuncArg args[5] = {};
  KfuncSet set = KfuncSet::kCommon;
  IterType iter = {};                    // kIter*
  DynptrKind dynptr = DynptrKind::kNone;  // of a kDynptrNew argument; kNone: as that of the kDynptr argument
  uint16_t flags = 0;                    // TypedKfuncFlag, for kTyped arguments
  bool sleeps = false;
  bool writes_dynptr = false;            // into the first one that it is given
  bool is_void = false;
  bool percpu = false;   // kObj*: of objects with a copy for each processor

  int arg_count() const;  // registers that it takes
};
// Null: no kernel function of that name is modelled.
const KfuncProto* FindKfunc(std::string_view name);

// One whose BTF prototype tells what it takes and returns, but for this.
enum TypedKfuncFlag : uint16_t {
  kKfuncAcquire = 1,       // returns a reference
  kKfuncRelease = 2,       // gives one back
  kKfuncRetNull = 4,       // may return null
  kKfuncRcu = 8,           // takes pointers that are RCU-protected, else only those that are referenced or trusted
  kKfuncSleepable = 16,
  kKfuncRetWritable = 32,  // memory that it returns may be written
  kKfuncRetUntrusted = 64,
  kKfuncChangesPacket = 128,
};
struct TypedKfunc {
  std::string_view name;
  int arg_count;
  uint16_t flags;  // TypedKfuncFlag
  KfuncSet set;
};
const TypedKfunc* FindTypedKfunc(std::string_view name);
// Whether a program of this type may call those of the set (btf_kfunc_id_set_contains, and the filters that some have).
bool KfuncSetAllows(KfuncSet set, ProgType type, AttachType attach);

// ---- Context ---------------------------------------------------------------------------------------------------

// What a context load yields.
enum class CtxYield : uint8_t {
  kScalar,
  kPacket,
  kPacketMeta,
  kPacketEnd,
  kSockCommonOrNull,
  kSocket,
  kSocketOrNull,
  kTcpSock,
  kFlowKeys,
  kXdpSock,
  kTpBuffer,
  kNfState,   // the kernel's nf_hook_state
  kNfPacket,  // and its sk_buff
};
struct CtxAccess {
  bool ok = false;
  CtxYield yield = CtxYield::kScalar;
};
// A fixed-offset access of `size` bytes at `off`, as probed from the running kernel. `attach` matters to some types.
// A sign-extending load is allowed exactly where the plain load of the same size is and yields a scalar.
CtxAccess CheckCtxAccess(ProgType type, AttachType attach, int off, int size, bool write);
// Whether the loader's capabilities suffice for a context access that is ok, and yields this.
bool CtxAccessAllowed(ProgType type, int off, bool write, CtxYield yield, const Capabilities& caps);
// Not null where the type's context is not modelled by table (tracing, lsm, struct_ops, ext): the feature's name.
const char* CtxUnsupported(ProgType type);

// The structures behind socket pointers (bpf_sock as far as sock_common goes, bpf_sock, bpf_tcp_sock, bpf_xdp_sock).
enum class SockKind : uint8_t { kCommon, kSocket, kTcp, kXdp };
// Whether a program may load `size` bytes at `off`, sign-extending or not; the value is a scalar. Nothing may be stored.
bool CheckSockLoad(SockKind kind, int off, int size);
// Bytes of struct bpf_flow_keys: all of it may be loaded and stored.
inline constexpr int kFlowKeysSize = 56;

// What the kernel says of arguments of the things that a tracing program may stand at, beyond their BTF.

// A tracepoint's arguments that may be null, and those that may be an error number: a bit each, the first is bit 0.
struct TracepointArgs {
  uint32_t nullable = 0, error = 0;
};
TracepointArgs FindTracepoint(std::string_view name);

// The iterators over kernel objects ("iter/NAME"), which pass the element after what every one of them passes.
struct ElementArg {
  enum class Kind : uint8_t { kNone, kObject, kTrustedObject, kBuffer, kReadOnlyBuffer } kind = Kind::kNone;
  int position = 0;  // among the function's arguments, from 0; all may be null
};
struct TargetProto {
  std::string_view name;
  ElementArg args[2];
};
const TargetProto* FindTarget(std::string_view name);  // null: no such iterator

// The hooks of security modules ("lsm/NAME").
struct LsmHook {
  bool disabled = false;        // takes no programs
  bool sleepable = false;
  bool maybe_sleepable = false;  // kernels of 6.18 differ
  bool untrusted = false;       // what it passes may be on its way out
  bool unfinished = false;      // what it passes is not wholly there yet
  bool boolean = false;         // returns 0 or 1; else, where it returns anything, 0 or an error number
  bool sockopt = false;         // a program of a control group may change the socket's options
};
LsmHook FindLsmHook(std::string_view name);

// Tables of functions that programs may fill ("TYPE/MEMBER"), of those that are modelled.
struct StructOpsMember {
  bool known = false;      // the table is modelled
  bool supported = false;  // the member takes programs
  bool sleepable = false;
  uint32_t nullable = 0;   // arguments that may be null: a bit each
};
StructOpsMember FindStructOpsMember(std::string_view type, std::string_view member);

// Functions that a program may take the place of ("fmod_ret"), or sleep at; named where the kernel is built for it.
enum class ModifyReturn : uint8_t {
  kNo,
  kYes,
  kSleepable,       // and sleep
  kErrorInjection,  // the same, if the kernel is built with error injection
  kErrorInjectionAwake,  // without sleeping
};
ModifyReturn FindModifyReturn(std::string_view function);
bool IsDeniedToTracing(std::string_view function);  // what programs themselves run in
bool NeverReturns(std::string_view function);

// ---- Program types -----------------------------------------------------------------------------------------------

// The values that R0 may have at exit; nullopt: any scalar. When `need_known` the kernel insists on a scalar within
// the range even for types where it otherwise does not look.
struct RetRange {
  int32_t min = 0;
  int32_t max = 0;
};
struct RetRule {
  bool checked = false;  // R0 must lie in `range`
  bool exempt = false;   // the program returns void or anything, initialised or not
  RetRange range;
  bool is32 = false;     // only the low half of R0 counts
};
RetRule ReturnRule(ProgType type, AttachType attach);

// Whether the loader's capabilities suffice for programs of the type, and to create maps of the type.
bool ProgTypeAllowed(ProgType type, const Capabilities& caps);
bool MapTypeAllowed(MapType type, const Capabilities& caps);
// Direct packet access (the kernel's may_access_direct_pkt_data).
bool MayAccessPacket(ProgType type, bool write);
// Whether the kernel accepts the expected_attach_type for the program type at load (bpf_prog_load_check_attach).
bool AttachTypeValid(ProgType type, AttachType attach);
// Whether programs of this type may use legacy LD_ABS / LD_IND.
bool MayUseLdAbs(ProgType type);
bool IsTracingType(ProgType type);  // the kernel's is_tracing_prog_type()

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_SPEC_SPEC_H_
