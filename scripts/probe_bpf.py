"""Asks the running kernel's verifier about micro-programs: load only, never attach, never run, close at once.

Shared by the probe-* scripts that write engine/spec/tables. Needs the right to call bpf(2) (root, or CAP_BPF with
CAP_PERFMON and CAP_NET_ADMIN).
"""

import ctypes
import os
import platform
import struct
import sys

_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_SYSCALL_CAPGET = {"x86_64": 125, "aarch64": 90}[platform.machine()]
_SYSCALL_CAPSET = _SYSCALL_CAPGET + 1
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
_MAP_CREATE, _PROG_LOAD = 0, 5
_libc = ctypes.CDLL(None, use_errno=True)

PROG_TYPES = (
    "Unspec SocketFilter Kprobe SchedCls SchedAct Tracepoint Xdp PerfEvent CgroupSkb CgroupSock LwtIn LwtOut LwtXmit "
    "SockOps SkSkb CgroupDevice SkMsg RawTracepoint CgroupSockAddr LwtSeg6local LircMode2 SkReuseport FlowDissector "
    "CgroupSysctl RawTracepointWritable CgroupSockopt Tracing StructOps Ext Lsm SkLookup Syscall Netfilter").split()
ATTACH_TYPES = (
    "CgroupInetIngress CgroupInetEgress CgroupInetSockCreate CgroupSockOps SkSkbStreamParser SkSkbStreamVerdict "
    "CgroupDevice SkMsgVerdict CgroupInet4Bind CgroupInet6Bind CgroupInet4Connect CgroupInet6Connect "
    "CgroupInet4PostBind CgroupInet6PostBind CgroupUdp4Sendmsg CgroupUdp6Sendmsg LircMode2 FlowDissector CgroupSysctl "
    "CgroupUdp4Recvmsg CgroupUdp6Recvmsg CgroupGetsockopt CgroupSetsockopt TraceRawTp TraceFentry TraceFexit "
    "ModifyReturn LsmMac TraceIter CgroupInet4Getpeername CgroupInet6Getpeername CgroupInet4Getsockname "
    "CgroupInet6Getsockname XdpDevmap CgroupInetSockRelease XdpCpumap SkLookup Xdp SkSkbVerdict SkReuseportSelect "
    "SkReuseportSelectOrMigrate PerfEvent TraceKprobeMulti LsmCgroup StructOps Netfilter TcxIngress TcxEgress "
    "TraceUprobeMulti CgroupUnixConnect CgroupUnixSendmsg CgroupUnixRecvmsg CgroupUnixGetpeername "
    "CgroupUnixGetsockname NetkitPrimary NetkitPeer TraceKprobeSession TraceUprobeSession").split()
BPF_F_SLEEPABLE = 1 << 4

# The types that a program must be attached to something to be loaded as, or whose programs the kernel at hand may
# refuse before it looks at them.
NEEDS_TARGET = {"Unspec", "Tracing", "StructOps", "Ext", "Lsm"}


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def mov(dst, imm):
    return insn(0xB7, dst, 0, 0, imm)


def mov_reg(dst, src):
    return insn(0xBF, dst, src)


EXIT = insn(0x95)


def ldx(size, dst, src, off):
    return insn({1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}[size], dst, src, off)


def stx(size, dst, src, off):
    return insn({1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}[size], dst, src, off)


def _bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, len(attr))
    fd = _libc.syscall(_SYSCALL_BPF, command, buffer, len(attr))
    return fd if fd >= 0 else -ctypes.get_errno()


def load(prog_type, program, attach=0, sleepable=False, level=1, btf_id=0, gpl=True):
    """Returns (errno, log): errno 0 is an accept."""
    code = b"".join(program)
    insns = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL" if gpl else b"Apache-2.0")
    log = ctypes.create_string_buffer(1 << 16)
    attr = struct.pack("<IIQQIIQII16sIIIIQIIQII", prog_type, len(code) // 8, ctypes.addressof(insns),
                       ctypes.addressof(licence), level, len(log), ctypes.addressof(log), 0,
                       BPF_F_SLEEPABLE if sleepable else 0, b"", 0, attach, 0, 0, 0, 0, 0, 0, 0, btf_id)
    fd = _bpf(_PROG_LOAD, attr)
    if fd >= 0:
        os.close(fd)
        return 0, log.value.decode(errors="replace")
    return -fd, log.value.decode(errors="replace")


def create_map(map_type, key_size, value_size, max_entries, flags=0, inner=0, btf=(0, 0, 0)):
    """A file descriptor, which the caller closes, or a negative errno. `btf`: descriptor, key type, value type."""
    attr = struct.pack("<IIIIIII16sIIIII", map_type, key_size, value_size, max_entries, flags, inner, 0, b"", 0, *btf, 0)
    return _bpf(_MAP_CREATE, attr)


def ld_map(dst, fd):
    return insn(0x18, dst, 1, 0, fd) + insn(0)


def loadable(prog_type, attach, sleepable, btf_id=0):
    """Whether the kernel looks at programs of this kind at all; tries the return values that some type insists on."""
    for value in (0, 1):
        errno, log = load(prog_type, [mov(0, value), EXIT], attach, sleepable, btf_id=btf_id)
        if errno == 0:
            return True
    return False


def loadable_attach_types(prog_type, sleepable=False):
    return [a for a in range(len(ATTACH_TYPES)) if loadable(prog_type, a, sleepable)]


def kernel_btf_id(kind, name):
    """The number of the type of this kind (12: function, 8: typedef) and name in the running kernel's BTF."""
    data = open("/sys/kernel/btf/vmlinux", "rb").read()
    header_length, type_offset, type_length, string_offset = struct.unpack_from("<IIII", data, 4)
    types, strings = header_length + type_offset, header_length + string_offset
    wanted = name.encode() + b"\0"
    # Bytes after the common 12, by kind; those with a member list add to it by vlen.
    fixed = {1: 4, 3: 12, 14: 4, 17: 4}
    per_member = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    at, number = types, 0
    while at < types + type_length:
        name_offset, info, _ = struct.unpack_from("<III", data, at)
        number += 1
        this_kind = info >> 24 & 0x1F
        if this_kind == kind and data.startswith(wanted, strings + name_offset):
            return number
        at += 12 + fixed.get(this_kind, 0) + per_member.get(this_kind, 0) * (info & 0xFFFF)
    return 0


def head(script, what):
    """The comment that opens a generated table."""
    system = os.uname()
    version = system.release.split("-")[0]
    return (f"// Generated by scripts/{script} from the running kernel, Linux {version} {system.machine}, in its\n"
            f"// configuration. {what}\n// Do not edit: run `scripts/{script}` on another kernel to get another table.\n")


def set_lacking(capabilities):
    """From now on this thread does without these capabilities, whatever it lacked before."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    if _libc.syscall(_SYSCALL_CAPGET, header, data) != 0:
        sys.exit("capget failed")
    _, permitted, inherited, _, permitted_high, inherited_high = struct.unpack("<6I", data.raw)
    effective = permitted | permitted_high << 32
    for capability in capabilities:
        effective &= ~(1 << capability)
    data = struct.pack("<6I", effective & 0xFFFFFFFF, permitted, inherited, effective >> 32, permitted_high, inherited_high)
    if _libc.syscall(_SYSCALL_CAPSET, header, ctypes.create_string_buffer(data, 24)) != 0:
        sys.exit("capset failed")


def require_bpf():
    errno, _ = load(1, [mov(0, 0), EXIT])
    if errno:
        sys.exit(f"the kernel does not let this process load programs (errno {errno})")
