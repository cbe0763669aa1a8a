from dirtune.checks import Finding, Severity, Verdicts, check
from dirtune.checks.irq import ACTIVE_PER_SECOND, Vector, active, nic_vectors, spread
from dirtune.checks.remedies import boot
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot


@check(
    "irq/isolated-target",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts", "cpus"),
    traffic=True,
)
def isolated_target(snapshot: Snapshot) -> Verdicts:
    """A card's interrupts land on CPUs that are kept free of other work.

    ## What it does
    Reports vectors that deliver 10 interrupts/s or more to a CPU that is isolated (`isolcpus=` or
    a cpuset) or `nohz_full`. Where `isolcpus=managed_irq` is set and the kernel manages the
    vector, it is meant so (DPDK, XDP) and is left alone.

    ## Why it matters
    Isolation keeps tasks away, not device interrupts: the job on that CPU is disturbed, and the
    packets have one core that nobody else may help.

    ## Remediation
    Move the vectors to the other CPUs, or boot with `irqaffinity=` and the CPUs for housekeeping.

    ## References
    - Documentation/admin-guide/kernel-parameters.txt, `isolcpus=`, `nohz_full=`, `irqaffinity=`
    """
    assert snapshot.cpus is not None
    apart = {*snapshot.cpus.isolated, *snapshot.cpus.nohz_full}
    found: dict[str, list[Vector]] = {}
    for vector in active(nic_vectors(snapshot)):
        if _on(vector, apart) and not (vector.managed and _meant(snapshot)):
            found.setdefault(vector.interface, []).append(vector)
    for name, vectors in found.items():
        yield _finding(snapshot, name, vectors, apart)


def _on(vector: Vector, cpus: set[int]) -> list[int]:
    rates = vector.rates or {}
    return sorted(cpu for cpu in cpus if rates.get(cpu, 0.0) >= ACTIVE_PER_SECOND)


def _meant(snapshot: Snapshot) -> bool:
    words = (w.split("=", 1)[1] for w in snapshot.cmdline or () if w.startswith("isolcpus="))
    return any("managed_irq" in word.split(",") for word in words)


def _finding(snapshot: Snapshot, name: str, vectors: list[Vector], apart: set[int]) -> Finding:
    cpus = sorted({cpu for vector in vectors for cpu in _on(vector, apart)})
    usable = snapshot.cpus.usable if snapshot.cpus else ()
    housekeeping = ",".join(map(str, usable))
    word = f"irqaffinity={housekeeping}"
    later = boot("boot-irqaffinity", f"Boot with {word}", BootOption(add=word))
    return Finding(
        subject=name,
        severity=Severity.MEDIUM,
        message=f"interrupts CPU {', '.join(map(str, cpus))}, which isolation keeps free of tasks",
        evidence={
            "irqs": [v.line.irq for v in vectors],
            "cpus": cpus,
            "isolated": sorted(apart),
        },
        fixes=(spread(snapshot, vectors, "move-off-isolated"), *((later,) if usable else ())),
    )
