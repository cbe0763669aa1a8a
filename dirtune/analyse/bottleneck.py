"""Name the resource that limits a director, with the evidence and the remedy. Pure.

A resource is named only if it was at its limit in the measured window; otherwise the verdict says
how much capacity is left. The verdict never predicts a rate, because another resource may be the
limit at another rate.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dirtune.analyse.phases import PROBES
from dirtune.analyse.probed import Probed
from dirtune.analyse.programs import Program
from dirtune.analyse.run import CpuShare, NodeCpu
from dirtune.analyse.work import Work

# Estimates that were never calibrated: above FULL_PERCENT a CPU cannot take more work, below
# _ROOM_PERCENT it can.
FULL_PERCENT = 95.0
"""A CPU counts as full if it is busy for at least this percentage of the time."""
_ROOM_PERCENT = 70.0
_STOLEN_PERCENT = 10.0
_LOCKED_PERCENT = 5.0
_WASTE_PERCENT = 0.5
_IN_SIGHT = 3
_BUSY_PROGRAM = 5.0
"""A program is named only if it used at least this percentage of the CPU time."""
_EXPLAINED = 40.0
"""Programs are named only if together they used at least this percentage of the CPU time."""
_USER, _KERNEL = "User programs", "System calls and kernel threads"


class Bottleneck(msgspec.Struct, frozen=True):
    """The verdict on a director in one measured window."""

    resource: str
    """`cpu0`, `steal`, `backlog`, `ring eth0`, `lock NAME`; `none` if no resource is at its limit,
    `unknown` if the CPU times are unknown."""
    paragraph: str
    """The verdict, its evidence and the remedy, in words."""
    hottest_cpu: str | None = None
    """The busiest CPU; None without CPU times."""
    hottest_percent: float | None = None
    """Percentage of the time that the busiest CPU was neither idle, waiting for I/O nor stolen."""


class _Window(NamedTuple):
    node: NodeCpu
    work: Work
    probed: Probed
    programs: Sequence[Program]


def find(
    node: NodeCpu, work: Work, probed: Probed, programs: Sequence[Program] = ()
) -> Bottleneck:
    """Return the resource that limited the director *node* in a measured window.

    *programs* are the programs that used CPU time in the window, the busiest first; the sequence
    is empty if they are unknown.
    """
    resource, verdict = _limit(_Window(node, work, probed, programs))
    extra = (_waste(work), _phases(work), _probes(probed))
    paragraph = " ".join(text for text in (verdict, *extra) if text)
    return Bottleneck(resource, paragraph, *(hottest(node) or (None, None)))


def hottest(node: NodeCpu) -> tuple[str, float] | None:
    """Return the name of the busiest CPU and its busy time in per cent; None if unknown.

    Busy time is neither idle, I/O wait nor steal.
    """
    busy = {name: busy_percent(states) for name, states in node.per_cpu.items()}
    if not busy:
        return None
    name = max(busy, key=lambda cpu: busy[cpu])
    return name, busy[name]


def busy_percent(states: Mapping[str, CpuShare]) -> float:
    """Return the percentage of the time that was neither idle, I/O wait nor steal."""
    waiting = (states[name].mean for name in ("idle", "iowait", "steal") if name in states)
    return max(0.0, 100.0 - sum(waiting))


def lock_percent(probed: Probed) -> dict[str, float]:
    """Return the time that CPUs spun on each lock, as a percentage of one CPU, by lock."""
    sums: dict[str, float] = {}
    window = probed.locks
    if window is None:
        return sums
    for one in window.locks:
        if one.kind.startswith(("spinlock", "rwlock")):
            sums[one.lock] = sums.get(one.lock, 0.0) + one.total_ns / window.seconds / 1e7
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _limit(window: _Window) -> tuple[str, str]:
    for judge in (_stolen, _full_cpu, _backlog, _ring, _locked):
        verdict = judge(window)
        if verdict is not None:
            return verdict
    top = hottest(window.node)
    if top is None:
        return "unknown", "The CPU times are unknown, so the limit is unknown as well."
    name, busy = top
    room = f"; {FULL_PERCENT / busy:.1f} times this load would fill it" if busy >= 5 else ""
    return "none", (
        f"Nothing on this {window.node.role} is at its limit: its busiest CPU, {name}, is "
        f"{busy:.0f} % busy{room}."
    )


def _stolen(window: _Window) -> tuple[str, str] | None:
    node = window.node
    steal = _mean(node.states, "steal")
    if steal < _STOLEN_PERCENT:
        return _stolen_most(node)
    return "steal", (
        f"The hypervisor limits this {node.role}: it took {steal:.0f} % of the guest's CPU time. "
        "Give the guest CPUs of its own. The times below include the stolen time."
    )


def _stolen_most(node: NodeCpu) -> tuple[str, str] | None:
    """Return `steal` and the verdict if the hypervisor took most of the time of a full CPU.

    The result is None if no CPU lost most of its time to the hypervisor.
    """
    for name, states in node.per_cpu.items():
        busy, steal = busy_percent(states), _mean(states, "steal")
        if steal > busy and steal + busy >= FULL_PERCENT:
            return "steal", (
                f"The hypervisor limits this {node.role}: it took {steal:.0f} % of the time of "
                f"{name}, which is {busy:.0f} % busy. Give the guest a CPU of its own."
            )
    return None


def _full_cpu(window: _Window) -> tuple[str, str] | None:
    node = window.node
    top = hottest(node)
    if top is None or top[1] < FULL_PERCENT:
        return None
    name, busy = top
    others = [busy_percent(states) for cpu, states in node.per_cpu.items() if cpu != name]
    filler = _filler(node.per_cpu[name], window.probed)
    if filler and min(others, default=100.0) >= FULL_PERCENT:
        return name, _out_of_time(window, filler)
    full = f"{name} limits this {node.role}: it is {busy:.0f} % busy{_spent(node, name)}"
    if not others:
        return (
            name,
            f"{full}, and it is the only CPU. Reduce the work in the phases listed below.",
        )
    idlest = min(others)
    if filler:
        return name, (
            f"{full}, while the idlest other CPU is {idlest:.0f} % busy. {filler} fill {name}, "
            f"not interrupts. {_named(window, filler, name)} Move the programs to CPUs that serve "
            "no NIC, or to another machine; spreading interrupts would not help."
        )
    if idlest < _ROOM_PERCENT:
        return name, (
            f"{full}, while the idlest other CPU is {idlest:.0f} % busy. Spread the queues of the "
            "NICs and their interrupts: `dirtune audit --select irq,nic,softirq` says how."
        )
    return name, (
        f"{full}, and each of the other CPUs is {idlest:.0f} % busy or more. Reduce the work of "
        f"all {window.work.cpus} CPUs, or share the load with a second {node.role}."
    )


def _out_of_time(window: _Window, filler: str) -> str:
    """Return the verdict on a node if user programs fill all its CPUs."""
    node, states = window.node, window.node.states
    cpus = max(1, len(node.per_cpu))
    busy = {1: "Its only CPU is", 2: "Both CPUs are"}.get(cpus, f"All {cpus} CPUs are")
    user, interrupts = _mean(states, "user"), _interrupts(states)
    kernel = max(0.0, _mean(states, "system") - interrupts)
    return (
        f"This {node.role} is out of CPU time. {busy} busy: user programs use {user:.0f} %, the "
        f"kernel on their behalf {kernel:.0f} %, interrupts {interrupts:.0f} %. "
        f"{_named(window, filler)} Tuning interrupts will not help."
    )


def _filler(states: Mapping[str, CpuShare], probed: Probed) -> str:
    """Return the kind of work that fills a CPU; empty if interrupts fill it."""
    user, interrupts = _mean(states, "user"), _interrupts(states)
    kernel = _mean(states, "system") - interrupts
    if user > max(kernel, interrupts):
        return _USER
    if kernel > interrupts and kernel > 2 * _threads_percent(probed):
        return _KERNEL
    return ""


def _named(window: _Window, filler: str, cpu: str | None = None) -> str:
    """Return a sentence that names the busiest programs, in per cent of *cpu*, or of all CPUs."""
    cpus = max(1, len(window.node.per_cpu)) if cpu is None else 1
    programs = _user_programs(window.probed, cpu) if filler == _USER else ()
    if not programs:
        programs = [p for p in window.programs if filler != _USER or not p.kernel]
    most = [p for p in programs[:_IN_SIGHT] if p.percent >= _BUSY_PROGRAM * cpus]
    if sum(p.percent for p in most) < _EXPLAINED * cpus:
        # The programs that used the time have ended, or are many and small.
        return "To see the programs, run `top -H` or `pidstat -t 1`."
    *others, last = [f"{p.name} ({p.percent / cpus:.0f} %)" for p in most]
    names = f"{', '.join(others)} and {last}" if others else last
    be = "programs are" if others else "program is"
    return f"The busiest {be} {names}, in per cent of {'one CPU' if cpus == 1 else 'all CPUs'}."


def _user_programs(probed: Probed, cpu: str | None) -> Sequence[Program]:
    """Return the programs that the cpu probe saw in user mode on *cpu*, the busiest first.

    If *cpu* is None, the programs of all CPUs are returned. The samples include programs that
    ended in the window, and leave out the other CPUs, unlike the CPU time of processes in /proc.
    """
    window = probed.cpu
    if window is None:
        return ()
    samples: Counter[str] = Counter()
    for one in window.programs:
        if cpu is None or cpu == f"cpu{one.cpu}":
            samples[one.program] += one.samples
    share = 100 / window.hertz / window.seconds
    return [
        Program(name, kernel=False, percent=share * count) for name, count in samples.most_common()
    ]


def _interrupts(states: Mapping[str, CpuShare]) -> float:
    return sum(_mean(states, name) for name in ("irq", "softirq", "unaccounted"))


def _threads_percent(probed: Probed) -> float:
    """Return the CPU time of interrupt threads, which the kernel counts as system time.

    The result is a percentage of one CPU.
    """
    ns = sum(thread.cpu_ns or 0 for thread in probed.threads or ())
    return ns / probed.seconds / 1e7 if probed.seconds else 0.0


def _mean(states: Mapping[str, CpuShare], name: str) -> float:
    return states[name].mean if name in states else 0.0


def _backlog(window: _Window) -> tuple[str, str] | None:
    dropped = window.work.softnet_dropped
    if not dropped:
        return None
    return "backlog", (
        f"The backlog of a CPU limits this {window.node.role}: it was full, so "
        f"{dropped:,} packets were dropped. See `dirtune explain softirq/backlog-drops`."
    )


def _ring(window: _Window) -> tuple[str, str] | None:
    if not window.work.device_drops:
        return None
    name, lost = max(window.work.device_drops.items(), key=lambda item: item[1])
    return f"ring {name}", (
        f"The receive ring of {name} limits this {window.node.role}: it was full, so "
        f"{lost:,} packets were dropped. See `dirtune explain nic/rx-ring-overflow`."
    )


def _locked(window: _Window) -> tuple[str, str] | None:
    waits = lock_percent(window.probed)
    if not waits:
        return None
    name, percent = next(iter(waits.items()))
    if percent < _LOCKED_PERCENT:
        return None
    return f"lock {name}", (
        f"A lock limits this {window.node.role}: together, the CPUs spent {percent:.1f} % of one "
        f"CPU's time waiting for {name}. `dirtune explain lock` lists the remedies."
    )


def _spent(node: NodeCpu, cpu: str) -> str:
    states = node.per_cpu[cpu]
    shares = {
        "in softirqs": _mean(states, "softirq"),
        "in interrupts": _mean(states, "irq"),
        "user": _mean(states, "user"),
        "in the rest of the kernel": _mean(states, "system") - _interrupts(states),
    }
    parts = [f"{percent:.0f} % {word}" for word, percent in shares.items() if percent >= 1]
    return f" ({', '.join(parts)})" if parts else ""


def _waste(work: Work) -> str:
    expensive = [w for w in work.wasted if w.none and w.cpu_percent >= _WASTE_PERCENT]
    if not expensive:
        return ""
    most = expensive[0]
    wasted = (
        f"On irq {most.irq} the handlers of {' and '.join(most.handlers)} ran {most.none:,} times "
        f"for nothing, which took {most.cpu_percent:.1f} % of a CPU"
    )
    remedy = "`dirtune fix plan irq/shared-with-nic` shows the remedy."
    if work.forecast is None or work.forecast.ratio is None:
        return f"{wasted}. {remedy}"
    saved = 100 * (1 - work.forecast.ratio)
    return (
        f"{wasted}. An interrupt line of its own for the NIC should save {saved:.1f} % of the "
        f"CPU time per connection. {remedy}"
    )


def _phases(work: Work) -> str:
    most = [phase for phase in work.phases if phase.name != PROBES][:_IN_SIGHT]
    if not most:
        return ""
    first, *rest = [f"{phase.name} ({phase.percent:.1f} %" for phase in most]
    parts = [f"{first} of one CPU)", *(f"{phase})" for phase in rest)]
    return f"Most CPU time goes to {', '.join(parts)}."


def _probes(probed: Probed) -> str:
    return " ".join(_shed(probed))


def _shed(probed: Probed) -> Iterator[str]:
    for cost in probed.costs:
        if cost.shed:
            yield (
                f"The {cost.probe} probe was detached after {cost.seconds:.0f} s, because the "
                f"probes cost more than {probed.max_overhead_percent:g} % of a CPU."
            )
