from collections.abc import Iterable, Mapping

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, run
from dirtune.checks.irq import Vector, active, moved, near, nic_vectors, receiving, spread
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.checks.remedies import commands
from dirtune.collect.cpus import Cpus
from dirtune.settings import CHANNELS, CardValues
from dirtune.snapshot import Snapshot

_HOT_PER_SECOND = 100.0  # an estimate, not calibrated
_HOT_SHARE = 0.10  # of the rate of the NIC's busiest queue; an estimate, not calibrated
_IDLE_SHARE = 0.25  # of the cores near the NIC


@check(
    "irq/queue-stacking",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts",),
    traffic=True,
)
def queue_stacking(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """Several queues of a NIC share one core while other cores serve no queue.

    ## What it does
    The check reports a core that serves two or more hot receive queues of one NIC, while 25 % or
    more of the usable cores near the NIC serve no hot queue. Sibling CPUs belong to the same core.
    A queue is hot if it takes at least 100 interrupts/s, and at least a tenth of the rate of the
    NIC's busiest queue. A NIC with more hot queues than cores is not reported. If vectors moved
    between the samples, the check is inconclusive.

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
    for name in dict.fromkeys(v.interface for v in vectors):
        hot = _hot([v for v in vectors if v.interface == name])
        if moved(snapshot, hot):
            yield inconclusive(f"the interrupts of {name} moved to other CPUs between the samples")
            continue
        cores = {_core(cpus, cpu) for cpu in near(snapshot, name)}
        by_core = _by_core(cpus, hot)
        stacked = {core: queues for core, queues in by_core.items() if len(queues) > 1}
        idle = cores - by_core.keys()
        if stacked and len(hot) <= len(cores) and len(idle) >= _IDLE_SHARE * len(cores):
            yield _finding(snapshot, name, hot, stacked, len(idle), len(cores))


def _hot(vectors: list[Vector]) -> tuple[Vector, ...]:
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
    cpus = ", ".join("+".join(map(str, core)) for core in stacked)
    single = bool(run((single_cpu,), snapshot)[0].findings)
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
        fixes=(spread(snapshot, hot), _fewer(snapshot, name, cores)),
        cause="irq/single-cpu" if single else None,
    )


def _fewer(snapshot: Snapshot, name: str, cores: int) -> Fix:
    title = f"Give {name} {cores} queues, as many as there are cores near it"
    rows = (CardValues(name, CHANNELS, {"combined_count": cores}),)
    return commands(snapshot, "queue-per-core", title, rows, risk=Risk.DISRUPTIVE)
