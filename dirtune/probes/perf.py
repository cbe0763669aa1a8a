"""Open clocks of perf_event_open(2): software timers that interrupt a CPU at a rate."""

import ctypes
import platform

from dirtune.cpu_sets import parse_cpulist
from dirtune.errors import NotPossible
from dirtune.host import LiveHost
from dirtune.probes.libbpf import reason

_ONLINE = "/sys/devices/system/cpu/online"
# Numbers of the system call, arch/*/entry/syscalls and include/uapi/asm-generic/unistd.h.
_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
_SOFTWARE, _CPU_CLOCK = 1, 0  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK in linux/perf_event.h
_FREQ = 1 << 10  # the bit `freq`: `rate` is a frequency, not a period
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC


class _Attributes(ctypes.Structure):
    """The first version of struct perf_event_attr, which every kernel accepts."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("rate", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("bits", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    )


def online_cpus() -> tuple[int, ...]:
    """Return the numbers of the CPUs that are online on this machine."""
    return parse_cpulist(LiveHost().read(_ONLINE))


def open_clock(cpu: int, hertz: int) -> int:
    """Return the descriptor of a clock on *cpu*. Raises `NotPossible` if the kernel has none."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise NotPossible(f"The number of perf_event_open on {platform.machine()} is unknown")
    size = ctypes.sizeof(_Attributes)
    clock = _Attributes(
        type=_SOFTWARE, size=size, config=_CPU_CLOCK, rate=hertz, sample_type=0, bits=_FREQ
    )
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    arguments = (ctypes.byref(clock), -1, cpu, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    descriptor = call(ctypes.c_long(number), *arguments)
    if descriptor < 0:
        why = reason(ctypes.get_errno())
        raise NotPossible(f"The kernel refused a clock on CPU {cpu}: {why}")
    return int(descriptor)
