"""The measurements of the probes in one window, and their cost. Pure data.

Times are nanoseconds. A histogram counts events by duration: slot k counts events of 2^k to
2^(k+1) - 1 ns, and the last slot (31) all longer events. A histogram is empty if the source has
none.
"""

import msgspec

from dirtune.analyse.handlers import HandlerCounts, HandlerWindow

Histogram = tuple[int, ...]


class SoftirqTime(msgspec.Struct, frozen=True):
    """Runs of one softirq vector on one CPU."""

    vector: str
    """The vector's name in /proc/softirqs: `NET_RX`."""
    cpu: int
    runs: int
    total_ns: int
    """Nanoseconds, including hard interrupts that came in between."""
    max_ns: int
    delays: int
    """Runs for which the raising of the softirq was recorded."""
    delay_ns: int
    """Nanoseconds from the first raising to the run, summed."""
    delay_max_ns: int
    histogram: Histogram = ()
    delay_histogram: Histogram = ()


class NapiPolls(msgspec.Struct, frozen=True):
    """Polls of one device's queues."""

    device: str
    """Empty for the backlog, which belongs to no device."""
    polls: int
    packets: int
    exhausted: int
    """Polls that exhausted their budget, because the device had more packets."""


class SoftirqWindow(msgspec.Struct, frozen=True):
    """One window of the softirq probe."""

    seconds: float
    softirqs: tuple[SoftirqTime, ...]
    napi: tuple[NapiPolls, ...]
    counted: dict[str, int]
    """Runs by vector in the same window, from /proc/softirqs."""
    lost: int = 0
    """Events for which the probe's map had no room."""


class LockWaits(msgspec.Struct, frozen=True):
    """Waits for one lock from one place."""

    lock: str
    """The lock's symbol, or its name in the source, or the name of its caller."""
    kind: str
    """spinlock, rwlock, rwsem, mutex, rt-mutex, percpu-rwsem; readers have `:R`."""
    caller: str
    """The function that wanted the lock."""
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
    """Samples of one CPU at one place."""

    cpu: int
    frames: tuple[str, ...]
    """Kernel functions, the outermost first; `name [module]` outside the kernel's core.

    The frames are empty if the CPU was in user mode.
    """
    idle: bool
    """Whether the CPU ran the idle task."""
    samples: int


class CpuWindow(msgspec.Struct, frozen=True):
    """One window of the cpu probe."""

    seconds: float
    hertz: int
    stacks: tuple[Stack, ...]
    lost: int = 0


class Drops(msgspec.Struct, frozen=True):
    """Packets that were dropped at one place for one reason."""

    reason: str
    """The kernel's name of the reason; empty before Linux 5.17."""
    location: str
    """The function that dropped the packets."""
    packets: int


class DropWindow(msgspec.Struct, frozen=True):
    """One window of the drops probe: most packets first."""

    seconds: float
    drops: tuple[Drops, ...]
    lost: int = 0


class IpvsWindow(msgspec.Struct, frozen=True):
    """One window of the ipvs probe, which times packets in IPVS's netfilter hook."""

    seconds: float
    packets: int
    forwarded: int
    """Packets that IPVS took (NF_STOLEN); the others had no service."""
    total_ns: int
    """Nanoseconds, including the hand-over of a forwarded packet to its device."""
    max_ns: int
    histogram: Histogram = ()


class IrqThreadTime(msgspec.Struct, frozen=True):
    """Work of one `irq/N-name` thread, due to forced threading, PREEMPT_RT or the driver."""

    irq: int
    name: str
    """The action's name; before Linux 5.17, cut to 15 characters including the prefix."""
    wakeups: int
    """Number of times that the thread went back to sleep (voluntary context switches)."""
    cpu_ns: int | None
    """None if the kernel has no /proc/PID/schedstat."""


class ProbeCost(msgspec.Struct, frozen=True):
    """The cost of one probe while it ran."""

    probe: str
    way: str
    """The kernel hooks that it was attached to."""
    seconds: float
    """Length of its measurement."""
    ns: int | None
    """Nanoseconds in the probe's programs; None if the kernel keeps no statistics."""
    events: int | None
    shed: bool = False
    """Whether the probe was detached because all probes together exceeded their limit."""

    @property
    def percent(self) -> float | None:
        """The probe's cost as a share of one CPU, in per cent."""
        return None if self.ns is None or not self.seconds else self.ns / self.seconds / 1e7


class NotProbed(msgspec.Struct, frozen=True):
    """A probe that could not run on this machine."""

    probe: str
    why: str
    remedy: str
    instead: str
    """The source that was used instead; empty without one."""


class Probed(msgspec.Struct, frozen=True):
    """All measurements of one window of probes; None means not measured, never zero."""

    seconds: float
    handlers: HandlerWindow | None = None
    handler_counts: HandlerCounts | None = None
    """The replacement for `handlers` if eBPF is not available."""
    softirqs: SoftirqWindow | None = None
    locks: LockWindow | None = None
    cpu: CpuWindow | None = None
    drops: DropWindow | None = None
    ipvs: IpvsWindow | None = None
    threads: tuple[IrqThreadTime, ...] | None = None
    load_seconds: float | None = None
    """Seconds that compiling and attaching took before the window."""
    max_overhead_percent: float | None = None
    """The limit of the probes' total cost, as a share of one CPU."""
    own_ns: int | None = None
    """CPU time of the sampling process itself, without the cost of its probes."""
    costs: tuple[ProbeCost, ...] = ()
    missing: tuple[NotProbed, ...] = ()
