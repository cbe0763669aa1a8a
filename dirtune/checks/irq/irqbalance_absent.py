from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, run
from dirtune.checks.irq import (
    Vector,
    balancer,
    named_cpus,
    nic_vectors,
    per_cpu,
    receiving,
    spread,
    start_irqbalance,
)
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.collect.cpus import Cpus
from dirtune.snapshot import Snapshot

_FEW_CPUS = 4
_FEW_TARGETS = 2
_VECTORS = 3  # with fewer vectors, two CPUs are enough


@check(
    "irq/irqbalance-absent",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("processes", "interrupts"),
)
def irqbalance_absent(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """No program distributes interrupts over the CPUs.

    ## What it does
    The check examines hosts with four or more usable CPUs and three or more receive vectors. It
    reports a host if neither irqbalance nor tuna runs, if all receive vectors still have the
    default affinity mask (every CPU), and if one or two CPUs take all their interrupts. The
    finding is `high` if `irq/single-cpu` has a finding too, else `medium`. Vectors that the kernel
    manages or spreads by itself, and vectors that somebody pinned, do not count.

    ## Why it matters
    With the default mask, the kernel's vector allocator chooses the CPU. It considers neither the
    load nor queues that are added later.

    ## Remediation
    Run `systemctl enable --now irqbalance`, or pin each queue once at boot.

    ## Known problems
    If a script pins vectors at boot and exits, only their affinity masks show that it ran.

    ## References
    - Documentation/networking/scaling.rst, "RSS IRQ Configuration"
    """
    if balancer(snapshot) or len(cpus.usable) < _FEW_CPUS:
        return
    vectors = tuple(v for v in receiving(nic_vectors(snapshot)) if not v.managed)
    if len(vectors) < _VECTORS:
        return
    default = [_default(snapshot, vector) for vector in vectors]
    if False in default:
        return
    targets = _targets(vectors)
    if None in default or targets is None:
        yield inconclusive("the CPU affinity of the NICs' interrupts is unknown")
    elif len(targets) <= _FEW_TARGETS:
        yield _finding(snapshot, vectors, targets)


def _default(snapshot: Snapshot, vector: Vector) -> bool | None:
    """Whether a vector's mask includes every online CPU; None if the mask is unknown."""
    state = (snapshot.proc_irq or {}).get(vector.line.irq)
    if state is None or state.affinity is None or snapshot.cpus is None:
        return None
    return set(state.affinity) >= set(snapshot.cpus.online)


def _targets(vectors: tuple[Vector, ...]) -> tuple[int, ...] | None:
    masks = [v.cpus for v in vectors if v.cpus]
    if len(masks) == len(vectors):
        return tuple(sorted({cpu for mask in masks for cpu in mask}))
    return tuple(sorted(per_cpu(vectors))) or None


def _finding(snapshot: Snapshot, vectors: tuple[Vector, ...], targets: tuple[int, ...]) -> Finding:
    single = bool(run((single_cpu,), snapshot)[0].findings)
    return Finding(
        subject="irqbalance",
        severity=Severity.HIGH if single else Severity.MEDIUM,
        message=f"Neither irqbalance nor tuna is running, and all {len(vectors)} receive "
        f"interrupts of the NICs go to {named_cpus(targets)}",
        evidence={
            "irqs": [v.line.irq for v in vectors],
            "cpus": list(targets),
            "usable_cpus": len(snapshot.cpus.usable) if snapshot.cpus else None,
        },
        fixes=(start_irqbalance(snapshot), spread(snapshot, vectors)),
    )
