from collections.abc import Iterator, Mapping

from dirtune.checks import (
    Finding,
    Fix,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.cpu import percents
from dirtune.checks.irq import (
    Vector,
    active,
    balancer,
    grouped,
    nic_vectors,
    per_cpu,
    receiving,
    spread,
    start_irqbalance,
)
from dirtune.checks.remedies import boot
from dirtune.checks.softirq import rps_on, window
from dirtune.checks.together import listed
from dirtune.collect.cpus import Cpus
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_SHARE = 0.95  # of the NICs' interrupts
_FEW_CPUS = 4
_BUSY_PERCENT = 25.0  # of the CPU, in irq and softirq; an estimate, not calibrated
_MANY = 1_000_000  # interrupts of a NIC since boot; an estimate, not calibrated
_RPS_SHARE = 0.20  # of the packets; a CPU with this share or more counts as a target of RPS


def _since_boot(snapshot: Snapshot) -> Iterator[Finding]:
    for name, vectors in grouped(receiving(nic_vectors(snapshot))).items():
        counts = _counts(snapshot, vectors)
        total = sum(counts.values())
        if len(counts) < 2 or total < _MANY:
            continue
        cpu = max(counts, key=lambda one: counts[one])
        if counts[cpu] < _SHARE * total:
            continue
        many = len(vectors) > 1
        what = (
            f"the interrupts of {name}'s {len(vectors)} vectors"
            if many
            else f"{name}'s interrupts"
        )
        yield Finding(
            subject=name,
            severity=Severity.LOW if many else Severity.INFO,
            message=f"Since boot, CPU {cpu} took {int(100 * counts[cpu] / total)} % of {what}: "
            f"{counts[cpu]:,} of {total:,}",
            evidence={
                "cpu": cpu,
                "irqs": [v.line.irq for v in vectors],
                "interrupts_since_boot": {str(taker): n for taker, n in counts.items() if n},
            },
        )


def _counts(snapshot: Snapshot, vectors: tuple[Vector, ...]) -> Mapping[int, int]:
    """Return the interrupts of *vectors* since boot, by CPU."""
    cpus = snapshot.interrupts.cpus if snapshot.interrupts else ()
    rows = [v.line.counts for v in vectors if len(v.line.counts) == len(cpus)]
    return dict(zip(cpus, map(sum, zip(*rows, strict=True)), strict=True)) if rows else {}


@check(
    "irq/single-cpu",
    severity=Severity.HIGH,
    trust="A",
    needs=("interrupts",),
    traffic=True,
    since_boot=_since_boot,
)
def single_cpu(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """All NICs interrupt the same CPU.

    ## What it does
    The check examines hosts with four or more CPUs and two or more active receive vectors (10
    interrupts/s or more). It reports a host if one CPU takes 95 % of the interrupts of these
    vectors and spends 25 % of its time or more on interrupts and softirqs. The finding is `high`
    if a NIC has several of these vectors, else `medium`. Not reported are hosts with only one CPU
    that is not isolated, hosts where RPS gives 20 % of the packets or more to each of two CPUs,
    and NICs with traffic on only one queue.

    With only one sample, the check goes by the totals since boot: a NIC with a million interrupts
    or more, of which one CPU took 95 %, is `low` if it has several queues, else `info`.

    ## Why it matters
    A softirq runs on the CPU that took the interrupt, so the whole host forwards only as much as
    one core can. Usual causes: irqbalance is missing, or exited because all CPUs share one cache;
    its configuration bans the other CPUs; the boot option `irqaffinity=`; the driver's default.

    ## Remediation
    Give each queue a physical core near the NIC: `echo CPU > /proc/irq/N/smp_affinity_list`. A
    running irqbalance would undo this. If irqbalance runs, let it distribute the interrupts, and
    do not ban any CPU.

    ## Known problems
    A NIC that the kernel polls continuously causes hardly any interrupts, so the check does not
    see it. Totals since boot do not show that the interrupts have been moved since, and the
    kernel's counters begin again after 4,294,967,295 interrupts.

    ## References
    - Documentation/networking/scaling.rst, "RSS IRQ Configuration"
    - Documentation/core-api/irq/irq-affinity.rst
    """
    if len(cpus.online) < _FEW_CPUS or len(cpus.usable) < 2:
        yield not_applicable("this host has too few CPUs to spread interrupts")
        return
    vectors = active(receiving(nic_vectors(snapshot)))
    where = _sole(vectors)
    if where is None:
        return
    busy = (percents(snapshot) or {}).get(where)
    spreads = _rps_spreads(snapshot)
    if not busy:
        yield inconclusive(f"the load of CPU {where} is unknown")
    elif spreads is None:
        yield inconclusive("the packets per CPU were not counted, so RPS may already spread them")
    elif not spreads and busy["irq"] + busy["softirq"] >= _BUSY_PERCENT:
        yield _finding(snapshot, vectors, where, busy["irq"] + busy["softirq"])


def _sole(vectors: tuple[Vector, ...]) -> int | None:
    """Return the CPU that takes nearly all interrupts of *vectors*; None if there is none."""
    total = sum(v.rate or 0.0 for v in vectors)
    loads: Mapping[int, float] = per_cpu(vectors)
    if len(vectors) < 2 or max(v.rate or 0.0 for v in vectors) >= _SHARE * total:
        return None
    cpu = max(loads, key=lambda each: loads[each])
    return cpu if loads[cpu] >= _SHARE * total else None


def _rps_spreads(snapshot: Snapshot) -> bool | None:
    if rps_on(snapshot) is False:
        return False
    rows = window(snapshot)
    if rows is None:
        return None
    total = sum(row.processed for row in rows.values())
    return sum(row.processed > _RPS_SHARE * total for row in rows.values()) >= 2


def _finding(snapshot: Snapshot, vectors: tuple[Vector, ...], cpu: int, percent: float) -> Finding:
    names = [v.interface for v in vectors]
    several = len(set(names)) < len(names)
    options = [word for word in snapshot.cmdline or () if word.startswith("irqaffinity=")]
    why = f"; {options[0]} on the kernel command line causes this" if options else ""
    return Finding(
        subject=f"CPU {cpu}",
        severity=Severity.HIGH if several else Severity.MEDIUM,
        message=f"CPU {cpu} takes the interrupts of all {len(vectors)} active vectors of "
        f"{listed(dict.fromkeys(names))}, and interrupts and softirqs keep it {percent:.0f} % busy"
        f"{why}",
        evidence={
            "cpu": cpu,
            "irqs": [v.line.irq for v in vectors],
            "interrupts_per_second": round(sum(v.rate or 0.0 for v in vectors), 1),
            "irq_softirq_percent": round(percent, 1),
            "managed_irqs": [v.line.irq for v in vectors if v.managed],
            "irqbalance": balancer(snapshot),
        },
        fixes=(spread(snapshot, vectors), *_balance(snapshot), *_drop(options)),
    )


def _balance(snapshot: Snapshot) -> tuple[Fix, ...]:
    return (start_irqbalance(snapshot),) if balancer(snapshot) is False else ()


def _drop(words: list[str]) -> tuple[Fix, ...]:
    options = map(BootOption, words)
    return (boot("drop-irqaffinity", f"Boot without {words[0]}", *options),) if words else ()
