"""Split a director's CPU time into phases, such as IPVS, netfilter and driver. Pure.

Two measurements are combined. The irq probe times each interrupt handler. Everything else comes
from the kernel stacks that the cpu probe samples with a timer interrupt. While interrupts are
disabled, the timer interrupt waits, so a sample that falls into a hard interrupt is taken only
when interrupts are enabled again. These late samples cover the handlers and interrupt entry and
exit: the time that the irq probe measured is assigned to the handlers, and the rest to interrupt
entry and exit.

A stack belongs to its innermost function with a known owner. If IPVS calls the network core, the
stack counts as IPVS; if IPVS calls the driver, the stack counts as the driver.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.analyse.probed import CpuWindow, Probed, SoftirqWindow

INTERRUPT = "interrupt entry and exit"
PROBES = "dirtune's probes"
IPVS = "IPVS"
NETFILTER = "netfilter"
DRIVER = "driver"
NETWORK = "network core"
SOFTIRQ = "other softirqs"
USER = "user"
KERNEL = "other kernel"
IDLE = "idle"

_NETFILTER = re.compile(
    r"(nf|nft|xt|ipt|ip6t|ebt|iptable|ip6table|ip_set|arpt)_|(x|ip|ip6|arp|eb)_?tables|br_netf"
)
_SOFTIRQ = frozenset({"__do_softirq", "handle_softirqs", "do_softirq", "run_ksoftirqd"})
_NETWORK = frozenset({"net_rx_action", "net_tx_action"})
_HARD = frozenset({"__handle_irq_event_percpu", "handle_irq_event", "handle_irq_event_percpu"})
# Functions that run just after a CPU has enabled interrupts again.
_ON_AGAIN = re.compile(
    r"(asm_)?common_interrupt|(__)?irq_exit\w*|handle_softirqs|__do_softirq|do_IRQ|ret_from_intr"
)
_PROBE = re.compile(r"bpf_(prog|trace|trampoline|dispatcher|get_stack)\w*|__bpf_\w+")


class Phase(msgspec.Struct, frozen=True):
    """The CPU time of one phase, such as IPVS or netfilter."""

    name: str
    percent: float
    """CPU time over the window, as a percentage of one CPU."""
    source: str
    """The source of the number: `irq probe`, `stacks`, `softirq probe` or `/proc/stat`."""


def classify(frames: tuple[str, ...], *, idle: bool) -> str:
    """Return the phase, such as IPVS or driver, to which a sampled kernel stack belongs.

    *frames* are the functions of the stack, the outermost first; empty if the CPU was in user
    mode.
    """
    if not frames:
        return USER
    names = [frame.partition(" ")[0] for frame in frames]
    owned = _owner(frames)
    if owned is not None:
        return owned
    if _ON_AGAIN.fullmatch(names[-1]) or not _HARD.isdisjoint(names):
        return INTERRUPT
    if not _NETWORK.isdisjoint(names):
        return NETWORK
    if not _SOFTIRQ.isdisjoint(names):
        return SOFTIRQ
    return IDLE if idle else KERNEL


def phases(probed: Probed, busy_percent: float, user_percent: float) -> tuple[Phase, ...]:
    """Return the CPU time of each phase, the most expensive phase first.

    *busy_percent* and *user_percent* are the busy time and the user time of all CPUs together, as
    percentages of one CPU. The user time is used only if no stacks were sampled. No phase includes
    idle time. The phases sum to the busy time, or to more if the probes measured more.
    """
    handlers = _handlers(probed.handlers)
    if probed.cpu is not None and probed.cpu.stacks:
        rest = _by_stacks(probed.cpu, busy_percent, sum(h.percent for h in handlers))
    else:
        rest = _by_counters(probed.softirqs, busy_percent, user_percent, handlers)
    spent = (phase for phase in (*handlers, *rest) if phase.percent > 0)
    return tuple(sorted(spent, key=lambda phase: -phase.percent))


def by_class(window: CpuWindow) -> dict[str, int]:
    """Return the number of stack samples in each phase."""
    sums: dict[str, int] = {}
    for stack in window.stacks:
        name = classify(stack.frames, idle=stack.idle)
        sums[name] = sums.get(name, 0) + stack.samples
    return sums


def top_symbols(window: CpuWindow) -> dict[str, int]:
    """Return the number of stack samples by innermost function, the largest number first.

    The result is like the output of readprofile(8), but without idle time.
    """
    sums: dict[str, int] = {}
    for stack in window.stacks:
        if stack.frames and classify(stack.frames, idle=stack.idle) != IDLE:
            sums[stack.frames[-1]] = sums.get(stack.frames[-1], 0) + stack.samples
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def by_module(window: CpuWindow) -> dict[str, int]:
    """Return the number of stack samples by the kernel module of the innermost function.

    Functions of the kernel itself count as `kernel`.
    """
    sums: dict[str, int] = {}
    for stack in window.stacks:
        if stack.frames and classify(stack.frames, idle=stack.idle) != IDLE:
            module = _module(stack.frames[-1]) or "kernel"
            sums[module] = sums.get(module, 0) + stack.samples
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def folded(window: CpuWindow) -> str:
    """Return the sampled stacks in the folded format of flame graph tools.

    Each line is `outer;inner COUNT`.
    """
    sums: dict[str, int] = {}
    for stack in window.stacks:
        text = ";".join((f"cpu{stack.cpu}", *(stack.frames or ("[user]",))))
        sums[text] = sums.get(text, 0) + stack.samples
    return "".join(f"{text} {samples}\n" for text, samples in sorted(sums.items()))


def _owner(frames: tuple[str, ...]) -> str | None:
    for frame in reversed(frames):
        name, module = frame.partition(" ")[0], _module(frame)
        if module == "bpf" or _PROBE.fullmatch(name):
            return PROBES
        if (module or name).startswith("ip_vs"):
            return IPVS
        if _NETFILTER.match(module or name):
            return NETFILTER
        if module in NIC_DRIVERS:
            return DRIVER
    return None


def _module(frame: str) -> str:
    return frame.partition(" ")[2].strip("[]")


def _handlers(window: HandlerWindow | None) -> tuple[Phase, ...]:
    if window is None:
        return ()
    return tuple(
        Phase(f"handler {h.handler} (irq {h.irq})", h.total_ns / window.seconds / 1e7, "irq probe")
        for h in window.handlers
    )


def _by_stacks(window: CpuWindow, busy: float, handlers: float) -> Iterable[Phase]:
    samples = {name: n for name, n in by_class(window).items() if name != IDLE}
    total = sum(samples.values())
    if not total:
        return
    percents = {name: busy * n / total for name, n in samples.items()}
    interrupts = percents.pop(INTERRUPT, 0.0)
    yield Phase(INTERRUPT, max(0.0, interrupts - handlers), "stacks")
    # If the handlers took more time than all interrupt samples together, the other phases share
    # the rest of the busy time.
    left = busy - max(interrupts, handlers)
    others = sum(percents.values())
    for name, percent in percents.items():
        yield Phase(name, percent * max(0.0, left) / others, "stacks")


def _by_counters(
    softirqs: SoftirqWindow | None, busy: float, user: float, handlers: Iterable[Phase]
) -> Iterable[Phase]:
    yield Phase(USER, user, "/proc/stat")
    vectors = _vectors(softirqs)
    for name, percent in vectors.items():
        yield Phase(f"softirq {name}", percent, "softirq probe")
    known = user + sum(vectors.values()) + sum(h.percent for h in handlers)
    yield Phase(KERNEL, max(0.0, busy - known), "/proc/stat")


def _vectors(window: SoftirqWindow | None) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    if window is None:
        return sums
    for one in window.softirqs:
        sums[one.vector] = sums.get(one.vector, 0.0) + one.total_ns / window.seconds / 1e7
    return sums
