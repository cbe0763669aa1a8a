from collections.abc import Iterable, Mapping, Sequence

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, run
from dirtune.checks.counters import card
from dirtune.checks.cpu import percents
from dirtune.checks.irq import Vector, active, grouped, moved, near, nic_vectors, receiving, spread
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.checks.once import once
from dirtune.checks.remedies import commands
from dirtune.checks.together import subjects
from dirtune.collect.cpus import Cpus
from dirtune.settings import CHANNELS, CardValues, IrqCpus
from dirtune.snapshot import Snapshot

_HOT_PER_SECOND = 100.0  # an estimate, not calibrated
_HOT_SHARE = 0.10  # of the rate of the NIC's busiest queue; an estimate, not calibrated
_IDLE_SHARE = 0.25  # of the cores near the NIC
_WORTHWHILE = 1.5  # by how much moving a queue must lower the load; an estimate, not calibrated
_BUSY_PERCENT = 25.0  # of a CPU, in interrupts and softirqs


@check(
    "irq/queue-stacking",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts",),
    traffic=True,
)
def queue_stacking(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """Several busy queues share one core while other cores have little to do.

    ## What it does
    The check reports a core that serves two or more hot receive queues of one NIC, while 25 % or
    more of the usable cores near the NIC serve no hot queue. Sibling CPUs belong to the same core.
    A queue is hot if it takes at least 100 interrupts/s, and at least a tenth of the rate of the
    NIC's busiest queue. A NIC with more hot queues than cores is not reported. If no NIC is
    reported, the check looks at all NICs of the host: it reports the core with the most interrupts
    if its two busiest queues belong to two NICs, and moving one of them to another core would
    lower the highest load by a third or more. A core that spends less than 25 % of its time in
    interrupts and softirqs is not reported. If vectors moved between the samples, the check is
    inconclusive.

    ## Why it matters
    The NIC spreads packets over more queues than there are cores working on them. Two sibling CPUs
    share the execution units of their core, so the second sibling hardly speeds up interrupt work.

    ## Remediation
    Give each queue its own core, or set the number of queues to the number of cores (`ethtool
    -L`), which resets the queues.

    ## References
    - Documentation/networking/scaling.rst, "RSS IRQ Configuration"
    """
    vectors = active(receiving(nic_vectors(snapshot)))
    stacks = tuple(_on_one_nic(snapshot, cpus, vectors))
    yield from stacks
    if not any(isinstance(verdict, Finding) for verdict in stacks):
        yield from _across(snapshot, cpus, vectors)


def _on_one_nic(snapshot: Snapshot, cpus: Cpus, vectors: tuple[Vector, ...]) -> Verdicts:
    for name, own in grouped(vectors).items():
        hot = _hot(own)
        if moved(snapshot, hot):
            yield inconclusive(f"the interrupts of {name} moved to other CPUs between the samples")
            continue
        cores = {_core(cpus, cpu) for cpu in near(snapshot, name)}
        by_core = _by_core(cpus, hot)
        stacked = {core: queues for core, queues in by_core.items() if len(queues) > 1}
        idle = cores - by_core.keys()
        if stacked and len(hot) <= len(cores) and len(idle) >= _IDLE_SHARE * len(cores):
            yield _finding(snapshot, name, hot, stacked, len(idle), len(cores))


def _across(snapshot: Snapshot, cpus: Cpus, vectors: tuple[Vector, ...]) -> Verdicts:
    """Find the core where the busiest queues of several NICs meet, if moving one would help."""
    by_core = _by_core(cpus, vectors)
    loads = {core: sum(v.rate or 0.0 for v in queues) for core, queues in by_core.items()}
    if not loads:
        return
    full = max(loads, key=lambda core: loads[core])
    busiest = sorted(by_core[full], key=lambda v: v.rate or 0.0, reverse=True)[:2]
    if len({v.interface for v in busiest}) < 2 or _little_to_do(snapshot, full):
        return
    if moved(snapshot, busiest):
        yield inconclusive(
            f"the interrupts of {busiest[0].interface} or {busiest[1].interface} moved to other "
            "CPUs between the samples"
        )
        return
    for vector in reversed(busiest):
        free = min(
            (_core(cpus, cpu) for cpu in near(snapshot, vector.interface)),
            key=lambda core: loads.get(core, 0.0),
            default=full,
        )
        after = loads.get(free, 0.0) + (vector.rate or 0.0)
        if min(v.rate or 0.0 for v in busiest) >= _HOT_PER_SECOND and (
            loads[full] >= _WORTHWHILE * after
        ):
            yield _meeting(snapshot, (full, free), busiest, vector, loads)
            return


def _little_to_do(snapshot: Snapshot, core: tuple[int, ...]) -> bool:
    """Whether interrupts and softirqs leave the CPUs of *core* mostly idle."""
    spent = percents(snapshot) or {}
    known = [spent[cpu]["irq"] + spent[cpu]["softirq"] for cpu in core if spent.get(cpu)]
    return bool(known) and max(known) < _BUSY_PERCENT


def _meeting(
    snapshot: Snapshot,
    cores: tuple[tuple[int, ...], tuple[int, ...]],
    busiest: Sequence[Vector],
    vector: Vector,
    loads: Mapping[tuple[int, ...], float],
) -> Finding:
    full, free = cores
    names = " and ".join(f"{v.interface} (irq {v.line.irq})" for v in busiest)
    where = "+".join(map(str, full))
    if vector.managed:
        fix = spread(snapshot, (vector,))
    else:
        row = IrqCpus(vector.line.irq, (free[0],), vector.line.actions[0])
        title = f"Move irq {vector.line.irq} of {vector.interface} to CPU {free[0]}"
        fix = commands(snapshot, "move-vector", title, (row,), what="irq")
    return Finding(
        subject=f"CPU {where}",
        severity=Severity.MEDIUM,
        message=f"The busiest queues of two NICs, {names}, share CPU {where}, which takes "
        f"{loads[full]:,.0f} interrupts/s from NICs, while CPU {'+'.join(map(str, free))} takes "
        f"{loads.get(free, 0.0):,.0f}",
        evidence={
            "irqs": [v.line.irq for v in busiest],
            "interrupts_per_second_by_core": {
                "+".join(map(str, core)): round(load, 1) for core, load in loads.items()
            },
        },
        fixes=(fix,),
        cause="irq/single-cpu" if _on_one_cpu(snapshot) else None,
    )


def _hot(vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    least = max(_HOT_PER_SECOND, _HOT_SHARE * max(v.rate or 0.0 for v in vectors))
    return tuple(v for v in vectors if (v.rate or 0.0) >= least)


def _core(cpus: Cpus, cpu: int) -> tuple[int, ...]:
    return cpus.siblings.get(cpu, (cpu,))


def _by_core(cpus: Cpus, vectors: Iterable[Vector]) -> Mapping[tuple[int, ...], list[Vector]]:
    found: dict[tuple[int, ...], list[Vector]] = {}
    for vector in vectors:
        loads = vector.rates or {}
        found.setdefault(_core(cpus, max(loads, key=lambda c: loads[c])), []).append(vector)
    return found


def _finding(
    snapshot: Snapshot,
    name: str,
    hot: tuple[Vector, ...],
    stacked: Mapping[tuple[int, ...], list[Vector]],
    idle: int,
    cores: int,
) -> Finding:
    cpus = subjects("+".join(map(str, core)) for core in stacked)
    return Finding(
        subject=name,
        severity=Severity.MEDIUM,
        message=f"Several hot queues of {name} share CPU {cpus}, while {idle} of the {cores} "
        "cores near the NIC serve no queue",
        evidence={
            "irqs": [v.line.irq for queues in stacked.values() for v in queues],
            "hot_queues": len(hot),
            "idle_cores": idle,
            "cores": cores,
        },
        fixes=(spread(snapshot, hot), *_per_core(snapshot, name, cores)),
        cause="irq/single-cpu" if _on_one_cpu(snapshot) else None,
    )


@once
def _on_one_cpu(snapshot: Snapshot) -> bool:
    """Whether irq/single-cpu reports the host."""
    return bool(run((single_cpu,), snapshot)[0].findings)


def _per_core(snapshot: Snapshot, name: str, cores: int) -> tuple[Fix, ...]:
    """Return the fix that gives a NIC a queue for each core, or as many as the NIC can have.

    The result is empty if it has that number already, or if the NIC's limit is unknown.
    """
    channels = card(snapshot, name).channels or {}
    queues = min(cores, channels.get("max_combined", 0))
    if not queues or queues == channels.get("combined_count"):
        return ()
    few = "as many as there are cores near it" if queues == cores else "the most that it can have"
    title = f"Give {name} {queues} queues, {few}"
    rows = (CardValues(name, CHANNELS, {"combined_count": queues}),)
    return (commands(snapshot, "queue-per-core", title, rows, risk=Risk.DISRUPTIVE),)
