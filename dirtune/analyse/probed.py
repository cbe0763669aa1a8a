"""Types for the measurements of all probes in one window, and the cost of each probe. Pure data.

Times are in nanoseconds. A histogram counts events by duration: slot k counts events of 2^k to
2^(k+1) - 1 ns, and the last slot (31) counts all longer events as well. A histogram is empty if
the source of the measurement does not supply one.
"""

import msgspec

from dirtune.analyse.handlers import HandlerCounts, HandlerWindow, Seconds

Histogram = tuple[int, ...]


class SoftirqTime(msgspec.Struct, frozen=True):
    """The runs of one softirq, such as NET_RX, on one CPU."""

    vector: str
    """The name of the softirq as in /proc/softirqs: `NET_RX`."""
    cpu: int
    runs: int
    total_ns: int
    """Nanoseconds in all runs, including hard interrupts during the runs."""
    max_ns: int
    delays: int
    """Number of runs whose delay (from raising to running the softirq) was measured."""
    delay_ns: int
    """Sum of the measured delays, in nanoseconds, from first raising the softirq to its run."""
    delay_max_ns: int
    histogram: Histogram = ()
    delay_histogram: Histogram = ()


class NapiPolls(msgspec.Struct, frozen=True):
    """The polls of one NAPI instance, which serves a queue of a device or several."""

    device: str
    """The device; empty for the backlog of a CPU, which belongs to no device."""
    polls: int
    packets: int
    exhausted: int
    """Number of polls that used up their budget, because the device still had packets."""
    id: int = 0
    """The kernel's number of the instance, as in `napi-id` of netdev(7); 0 if it has none."""
    queues: tuple[str, ...] = ()
    """The queues that the instance serves, such as `rx 0` and `tx 0`; empty if the kernel or the
    driver does not tell (Linux 6.8)."""


class HandlerDelay(msgspec.Struct, frozen=True):
    """How long after the call of an interrupt handler something happened that it caused.

    If two handlers have the same entry in the probe's table of a CPU, only the first one is in it.
    """

    irq: int
    handler: str
    events: int
    total_ns: int
    max_ns: int
    histogram: Histogram = ()


class SoftirqWindow(msgspec.Struct, frozen=True):
    """The measurements of the softirq probe in one window."""

    seconds: Seconds
    softirqs: tuple[SoftirqTime, ...]
    napi: tuple[NapiPolls, ...]
    counted: dict[str, int]
    """Number of runs of each softirq in the same window, from /proc/softirqs."""
    lost: int = 0
    """Events that were not recorded, because the probe's BPF map was full."""
    after_handlers: tuple[HandlerDelay, ...] = ()
    """The time from the call of each interrupt handler that raised NET_RX to the run of NET_RX;
    empty without the irq probe."""


class LockWaits(msgspec.Struct, frozen=True):
    """The waits for one lock by one function."""

    lock: str
    """The symbol of the lock, or its name in the kernel source, or the name of the waiting
    function."""
    kind: str
    """spinlock, rwlock, rwsem, mutex, rt-mutex or percpu-rwsem; a reader's wait has `:R` at the
    end."""
    caller: str
    """The function that waited for the lock."""
    stack: tuple[str, ...]
    """The kernel functions from the waiting function outwards, the innermost first."""
    waits: int
    total_ns: int
    max_ns: int
    histogram: Histogram = ()


class LockWindow(msgspec.Struct, frozen=True):
    """The measurements of the locks probe in one window, the longest waits first."""

    seconds: Seconds
    locks: tuple[LockWaits, ...]
    lost: int = 0


class Stack(msgspec.Struct, frozen=True):
    """The samples in which one CPU had the same kernel stack."""

    cpu: int
    frames: tuple[str, ...]
    """The kernel functions of the stack, the outermost first; empty if the CPU was in user mode.

    A function of a module is written as `name [module]`.
    """
    idle: bool
    """Whether the CPU was running the idle task."""
    samples: int


class UserSamples(msgspec.Struct, frozen=True):
    """The samples in which one CPU ran one program in user mode."""

    cpu: int
    program: str
    """The name of the thread that ran: up to 15 characters, chosen by the program itself."""
    samples: int


class CpuWindow(msgspec.Struct, frozen=True):
    """The stack samples of the cpu probe in one window."""

    seconds: Seconds
    hertz: int
    stacks: tuple[Stack, ...]
    lost: int = 0
    programs: tuple[UserSamples, ...] = ()
    """The programs that ran in user mode, including those that ended in the window."""
    build_ids: dict[str, str] = {}
    """The build ids, in hexadecimal, of the kernel (`kernel`) and of the modules in the stacks.

    A module without one is left out.
    """


class Drops(msgspec.Struct, frozen=True):
    """The packets that one kernel function dropped for one reason."""

    reason: str
    """The kernel's name for the reason; empty before Linux 5.17."""
    location: str
    """The function that dropped the packets."""
    packets: int


class DropWindow(msgspec.Struct, frozen=True):
    """The dropped packets that the drops probe counted in one window, the largest count first."""

    seconds: Seconds
    drops: tuple[Drops, ...]
    lost: int = 0


class IpvsWindow(msgspec.Struct, frozen=True):
    """The packets that the ipvs probe timed in the netfilter hook of IPVS in one window."""

    seconds: Seconds
    packets: int
    forwarded: int
    """Number of packets that IPVS took over (NF_STOLEN); all other packets matched no service."""
    total_ns: int
    """Nanoseconds in the hook, including handing a forwarded packet to the outgoing device."""
    max_ns: int
    histogram: Histogram = ()
    after_handlers: tuple[HandlerDelay, ...] = ()
    """The time from the call of each interrupt handler that raised NET_RX to the first packet of
    that NET_RX in the hook; empty without the probes irq and softirq."""


class IrqThreadTime(msgspec.Struct, frozen=True):
    """The work of one interrupt thread (`irq/N-name`)."""

    irq: int
    name: str
    """The name of the interrupt handler; before Linux 5.17, the kernel cuts `irq/N-name` to 15
    characters."""
    wakeups: int
    """Number of times that the thread ran and went back to sleep (voluntary context switches)."""
    cpu_ns: int | None
    """CPU time in nanoseconds; None if the kernel has no /proc/PID/schedstat."""


class ProbeCost(msgspec.Struct, frozen=True):
    """The CPU time that one probe used while it was attached."""

    probe: str
    way: str
    """The kernel hooks to which the probe was attached."""
    seconds: float
    """Seconds during which the probe measured."""
    ns: int | None
    """Nanoseconds in the probe's BPF programs; None if the kernel keeps no statistics of them."""
    events: int | None
    shed: bool = False
    """Whether dirtune detached the probe, because all probes together exceeded the cost limit."""

    @property
    def percent(self) -> float | None:
        """The CPU time of the probe, as a percentage of one CPU."""
        return None if self.ns is None or not self.seconds else self.ns / self.seconds / 1e7


class NotProbed(msgspec.Struct, frozen=True):
    """A probe that could not run on this machine."""

    probe: str
    why: str
    remedy: str
    instead: str
    """The source that was used instead, such as `tracefs`; empty if there was none."""


class Probed(msgspec.Struct, frozen=True):
    """All measurements of the probes in one window; None means not measured, never zero."""

    seconds: Seconds
    handlers: HandlerWindow | None = None
    handler_counts: HandlerCounts | None = None
    """The number of handler calls, measured instead of `handlers` if eBPF is not available."""
    softirqs: SoftirqWindow | None = None
    locks: LockWindow | None = None
    cpu: CpuWindow | None = None
    drops: DropWindow | None = None
    ipvs: IpvsWindow | None = None
    threads: tuple[IrqThreadTime, ...] | None = None
    load_seconds: float | None = None
    """Seconds that dirtune needed to compile and attach the probes before the window."""
    max_overhead_percent: float | None = None
    """The limit for the total cost of all probes, as a percentage of one CPU."""
    own_ns: int | None = None
    """CPU time of the dirtune process that took samples, without the cost of its probes."""
    costs: tuple[ProbeCost, ...] = ()
    missing: tuple[NotProbed, ...] = ()
