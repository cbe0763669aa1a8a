"""Which resource limits a director now, by what evidence, and what to do. Pure.

A resource is named only where it is at its limit; a director that has room left is told so, and
how much. Nothing here is a forecast of a rate: at another rate another resource may come first.
"""

from collections.abc import Iterator, Mapping

import msgspec

from dirtune.analyse.phases import PROBES
from dirtune.analyse.probed import Probed
from dirtune.analyse.run import CpuShare, NodeCpu
from dirtune.analyse.work import Work

# Estimates, not calibrated: a CPU that is this busy cannot take more, one below has room.
FULL_PERCENT = 95.0
"""Per cent of a CPU from which on it is used up."""
_ROOM_PERCENT = 70.0
_STOLEN_PERCENT = 10.0
_LOCKED_PERCENT = 5.0
_WASTE_PERCENT = 0.5
_IN_SIGHT = 3


class Bottleneck(msgspec.Struct, frozen=True):
    """The verdict on one window."""

    resource: str
    """`cpu0`, `steal`, `backlog`, `ring eth0`, `lock NAME`; `none` where nothing is at its limit,
    `unknown` where CPU times are not known."""
    paragraph: str
    """The verdict, its evidence and what to do, in words."""
    hottest_cpu: str | None = None
    """Its busiest CPU; None without CPU times."""
    hottest_percent: float | None = None
    """How busy that one is: neither idle, waiting nor stolen."""


def find(node: NodeCpu, work: Work, probed: Probed) -> Bottleneck:
    """Return what limits the director *node* in this window."""
    resource, said = _limit(node, work, probed)
    extra = (_waste(work), _phases(work), _probes(probed))
    paragraph = " ".join(text for text in (said, *extra) if text)
    return Bottleneck(resource, paragraph, *(hottest(node) or (None, None)))


def hottest(node: NodeCpu) -> tuple[str, float] | None:
    """Return the busiest CPU and its per cent that is neither idle, waiting nor stolen."""
    busy = {name: busy_percent(states) for name, states in node.per_cpu.items()}
    if not busy:
        return None
    name = max(busy, key=lambda cpu: busy[cpu])
    return name, busy[name]


def busy_percent(states: Mapping[str, CpuShare]) -> float:
    """Return the per cent of the time that was neither idle, waiting nor stolen."""
    waiting = (states[name].mean for name in ("idle", "iowait", "steal") if name in states)
    return max(0.0, 100.0 - sum(waiting))


def lock_percent(probed: Probed) -> dict[str, float]:
    """Return the time that was waited for each spinning lock, in per cent of one CPU."""
    sums: dict[str, float] = {}
    for one in probed.locks.locks if probed.locks else ():
        assert probed.locks is not None
        if one.kind.startswith(("spinlock", "rwlock")):
            sums[one.lock] = sums.get(one.lock, 0.0) + one.total_ns / probed.locks.seconds / 1e7
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _limit(node: NodeCpu, work: Work, probed: Probed) -> tuple[str, str]:
    for judge in (_stolen, _full_cpu, _backlog, _ring, _locked):
        found = judge(node, work, probed)
        if found is not None:
            return found
    top = hottest(node)
    if top is None:
        return "unknown", "CPU times are not known, so nothing can be said of the limit."
    name, busy = top
    room = f", {FULL_PERCENT / busy:.1f} times this load would fill it" if busy >= 5 else ""
    return "none", (
        f"Nothing on this {node.role} is at its limit: its hottest CPU, {name}, is "
        f"{busy:.0f} % busy{room}."
    )


def _stolen(node: NodeCpu, _work: Work, _probed: Probed) -> tuple[str, str] | None:
    steal = _mean(node.states, "steal")
    if steal < _STOLEN_PERCENT:
        return _stolen_most(node)
    return "steal", (
        f"The hypervisor limits this {node.role}: it took {steal:.0f} % of its CPU time away. "
        "Give the guest CPUs of its own; what is measured below includes the waiting."
    )


def _stolen_most(node: NodeCpu) -> tuple[str, str] | None:
    """Judge a CPU that is used up and that the hypervisor took more of than the node used."""
    for name, states in node.per_cpu.items():
        busy, steal = busy_percent(states), _mean(states, "steal")
        if steal > busy and steal + busy >= FULL_PERCENT:
            return "steal", (
                f"The hypervisor limits this {node.role}: it took {steal:.0f} % of {name} away, "
                f"which is {busy:.0f} % busy. Give the guest a CPU of its own in its place."
            )
    return None


def _full_cpu(node: NodeCpu, work: Work, probed: Probed) -> tuple[str, str] | None:
    top = hottest(node)
    if top is None or top[1] < FULL_PERCENT:
        return None
    name, busy = top
    others = [busy_percent(states) for cpu, states in node.per_cpu.items() if cpu != name]
    said = f"{name} limits this {node.role}: it is {busy:.0f} % busy{_spent(node, name)}"
    filled = _filled_by_programs(node.per_cpu[name], probed)
    if filled:
        room = f", while the idlest other is {min(others):.0f} % busy" if others else ""
        return name, f"{said}{room}. {filled}"
    if not others:
        return (
            name,
            f"{said}, and there is no other. Take work off it: the phases below say which.",
        )
    if min(others) < _ROOM_PERCENT:
        return name, (
            f"{said}, while the idlest other is {min(others):.0f} % busy. Spread the card's "
            "queues and their interrupts: `dirtune audit --select irq,nic,softirq` says how."
        )
    return name, (
        f"{said}, and the others have no room ({min(others):.0f} % and more). Take work off all "
        f"of them, or give the load a second {node.role}: {work.cpus} CPUs are in use."
    )


def _filled_by_programs(states: Mapping[str, CpuShare], probed: Probed) -> str:
    """Say what to do where programs fill a CPU, and not interrupts; else nothing."""
    user, interrupts = _mean(states, "user"), _interrupts(states)
    kernel = _mean(states, "system") - interrupts
    if user > max(kernel, interrupts):
        what = "Programs fill it, and not interrupts"
    elif kernel > interrupts and kernel > 2 * _threads_percent(probed):
        what = "System calls and kernel threads fill it, and not interrupts"
    else:
        return ""
    return (
        f"{what}: `top -H` and `pidstat -t 1` name them. Move them to CPUs that serve no card, or "
        "off this machine; spreading interrupts would not help."
    )


def _interrupts(states: Mapping[str, CpuShare]) -> float:
    return sum(_mean(states, name) for name in ("irq", "softirq", "unaccounted"))


def _threads_percent(probed: Probed) -> float:
    """Return the per cent of one CPU that threads of interrupts took, which count as system."""
    ns = sum(thread.cpu_ns or 0 for thread in probed.threads or ())
    return ns / probed.seconds / 1e7 if probed.seconds else 0.0


def _mean(states: Mapping[str, CpuShare], name: str) -> float:
    return states[name].mean if name in states else 0.0


def _backlog(node: NodeCpu, work: Work, _probed: Probed) -> tuple[str, str] | None:
    if not work.softnet_dropped:
        return None
    return "backlog", (
        f"A CPU's backlog limits this {node.role}: {work.softnet_dropped:,} packets found no room "
        "in it. See `dirtune explain softirq/backlog-drops`."
    )


def _ring(node: NodeCpu, work: Work, _probed: Probed) -> tuple[str, str] | None:
    if not work.device_drops:
        return None
    name, lost = max(work.device_drops.items(), key=lambda item: item[1])
    return f"ring {name}", (
        f"The receive ring of {name} limits this {node.role}: {lost:,} packets found no room in "
        "it. See `dirtune explain nic/rx-ring-overflow`."
    )


def _locked(node: NodeCpu, _work: Work, probed: Probed) -> tuple[str, str] | None:
    waits = lock_percent(probed)
    if not waits:
        return None
    name, percent = next(iter(waits.items()))
    if percent < _LOCKED_PERCENT:
        return None
    return f"lock {name}", (
        f"A lock limits this {node.role}: CPUs waited for {name} for {percent:.1f} % of one CPU's "
        "time. `dirtune explain lock` lists what helps."
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
    dear = [waste for waste in work.wasted if waste.none and waste.cpu_percent >= _WASTE_PERCENT]
    if not dear:
        return ""
    one = dear[0]
    said = (
        f"On irq {one.irq} the handlers of {' and '.join(one.handlers)} ran {one.none:,} times "
        f"for nothing, {one.cpu_percent:.1f} % of a CPU"
    )
    if work.forecast is None or work.forecast.ratio is None:
        return f"{said}: `dirtune fix plan irq/shared-with-nic`."
    saved = 100 * (1 - work.forecast.ratio)
    return (
        f"{said}; separating the line should take {saved:.1f} % off each connection: "
        "`dirtune fix plan irq/shared-with-nic`."
    )


def _phases(work: Work) -> str:
    most = [phase for phase in work.phases if phase.name != PROBES][:_IN_SIGHT]
    if not most:
        return ""
    parts = [f"{phase.name} ({phase.percent:.1f} %)" for phase in most]
    return f"Most of its CPU time goes into {', '.join(parts)}, of one CPU."


def _probes(probed: Probed) -> str:
    return " ".join(_shed(probed))


def _shed(probed: Probed) -> Iterator[str]:
    for cost in probed.costs:
        if cost.shed:
            yield (
                f"The {cost.probe} probe was taken off after {cost.seconds:.0f} s: the probes "
                f"cost more than {probed.max_overhead_percent:g} % of a CPU."
            )
