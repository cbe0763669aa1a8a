"""What the probes of one window measured, and what that cost. Pure data.

Times are nanoseconds. A histogram counts events by duration: slot k those of 2^k to 2^(k+1) - 1
ns, the last slot (31) all longer ones; empty where the source keeps none.
"""

import msgspec

from dirtune.analyse.handlers import HandlerCounts, HandlerWindow

Histogram = tuple[int, ...]


class SoftirqTime(msgspec.Struct, frozen=True):
    """Runs of one softirq vector on one CPU."""

    vector: str
    """As /proc/softirqs names it: `NET_RX`."""
    cpu: int
    runs: int
    total_ns: int
    """Hard interrupts that came in between are in it."""
    max_ns: int
    delays: int
    """Runs whose raising was seen."""
    delay_ns: int
    """From the first raising to the run, summed."""
    delay_max_ns: int
    histogram: Histogram = ()
    delay_histogram: Histogram = ()


class NapiPolls(msgspec.Struct, frozen=True):
    """Polls of one device's queues."""

    device: str
    """Empty for the backlog, which is no device's."""
    polls: int
    packets: int
    exhausted: int
    """Polls that used up their budget: the device had more."""


class SoftirqWindow(msgspec.Struct, frozen=True):
    """One window of the softirq probe."""

    seconds: float
    softirqs: tuple[SoftirqTime, ...]
    napi: tuple[NapiPolls, ...]
    counted: dict[str, int]
    """Runs by vector in the same window, from /proc/softirqs."""
    lost: int = 0
    """Events for which a bounded map had no room."""


class LockWaits(msgspec.Struct, frozen=True):
    """Waits for one lock from one place."""

    lock: str
    """Its symbol, the name it has in the source, or its caller's where it has neither."""
    kind: str
    """spinlock, rwlock, rwsem, mutex, rt-mutex, percpu-rwsem; readers have `:R`."""
    caller: str
    """The function that wanted it."""
    stack: tuple[str, ...]
    """Kernel functions, the innermost first, from the caller on."""
    waits: int
    total_ns: int
    max_ns: int
    histogram: Histogram = ()


class LockWindow(msgspec.Struct, frozen=True):
    """One window of the locks probe: the longest waits first."""

    seconds: float
    locks: tuple[LockWaits, ...]
    lost: int = 0


class Stack(msgspec.Struct, frozen=True):
    """Samples that found one CPU at one place."""

    cpu: int
    frames: tuple[str, ...]
    """Kernel functions, the outermost first; `name [module]` outside the kernel's core.

    Empty: the CPU was in user mode.
    """
    idle: bool
    """It was the idle task."""
    samples: int


class CpuWindow(msgspec.Struct, frozen=True):
    """One window of the cpu probe."""

    seconds: float
    hertz: int
    stacks: tuple[Stack, ...]
    lost: int = 0


class Drops(msgspec.Struct, frozen=True):
    """Packets thrown away at one place for one reason."""

    reason: str
    """The kernel's own word; empty before Linux 5.17."""
    location: str
    """Function that threw them away."""
    packets: int


class DropWindow(msgspec.Struct, frozen=True):
    """One window of the drops probe: most packets first."""

    seconds: float
    drops: tuple[Drops, ...]
    lost: int = 0


class IpvsWindow(msgspec.Struct, frozen=True):
    """Packets in IPVS's netfilter hook."""

    seconds: float
    packets: int
    forwarded: int
    """Packets that IPVS took (NF_STOLEN); the others were not for a service."""
    total_ns: int
    """Handing a forwarded packet to its device is in it."""
    max_ns: int
    histogram: Histogram = ()


class IrqThreadTime(msgspec.Struct, frozen=True):
    """Work of one `irq/N-name` thread: forced threading, PREEMPT_RT, or the driver's own."""

    irq: int
    name: str
    """The action's name; before Linux 5.17 cut to 15 characters with its prefix."""
    wakeups: int
    """Times it went to sleep again (voluntary context switches)."""
    cpu_ns: int | None
    """None where the kernel keeps no /proc/PID/schedstat."""


class ProbeCost(msgspec.Struct, frozen=True):
    """What one probe cost while it ran."""

    probe: str
    way: str
    """What it was attached to."""
    seconds: float
    """How long it measured."""
    ns: int | None
    """Nanoseconds in its programs; None where the kernel keeps no statistics."""
    events: int | None
    shed: bool = False
    """It was taken off because the probes together cost more than they may."""

    @property
    def percent(self) -> float | None:
        """Its cost as a share of one CPU."""
        return None if self.ns is None or not self.seconds else self.ns / self.seconds / 1e7


class NotProbed(msgspec.Struct, frozen=True):
    """A probe that could not run here."""

    probe: str
    why: str
    remedy: str
    instead: str
    """What was used in its place; empty for nothing."""


class Probed(msgspec.Struct, frozen=True):
    """Everything one window of probes measured; None is "not measured", never zero."""

    seconds: float
    handlers: HandlerWindow | None = None
    handler_counts: HandlerCounts | None = None
    """In place of `handlers`, where eBPF cannot be had."""
    softirqs: SoftirqWindow | None = None
    locks: LockWindow | None = None
    cpu: CpuWindow | None = None
    drops: DropWindow | None = None
    ipvs: IpvsWindow | None = None
    threads: tuple[IrqThreadTime, ...] | None = None
    load_seconds: float | None = None
    """What compiling and attaching took before the window."""
    max_overhead_percent: float | None = None
    """What the probes together might cost, as a share of one CPU."""
    own_ns: int | None = None
    """CPU time of the process that samples, beside what its probes cost the others."""
    costs: tuple[ProbeCost, ...] = ()
    missing: tuple[NotProbed, ...] = ()
