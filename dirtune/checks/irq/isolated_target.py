from dirtune.checks import Finding, Severity, Verdicts, check
from dirtune.checks.irq import ACTIVE_PER_SECOND, Vector, active, named_cpus, nic_vectors, spread
from dirtune.checks.remedies import boot
from dirtune.collect.cpus import Cpus
from dirtune.cpu_sets import format_cpulist
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot


@check(
    "irq/isolated-target",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts",),
    traffic=True,
)
def isolated_target(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """A NIC interrupts CPUs that are isolated for other work.

    ## What it does
    The check reports vectors that deliver 10 interrupts/s or more to a CPU that is isolated
    (`isolcpus=` or a cpuset) or `nohz_full`. If `isolcpus=managed_irq` is set, it does not report
    vectors that the kernel manages: the kernel places them, and nobody else can move them.

    ## Why it matters
    Isolation keeps tasks away from a CPU, but not device interrupts. The interrupts disturb the
    program on that CPU, and the packets are processed on that CPU too.

    ## Remediation
    Move the vectors to CPUs that are not isolated, or boot with `irqaffinity=` and a list of these
    CPUs.

    ## References
    - Documentation/admin-guide/kernel-parameters.txt, `isolcpus=`, `nohz_full=`, `irqaffinity=`
    """
    apart = {*cpus.isolated, *cpus.nohz_full}
    disturbing: dict[str, list[Vector]] = {}
    for vector in active(nic_vectors(snapshot)):
        if _on(vector, apart) and not (vector.managed and _meant(snapshot)):
            disturbing.setdefault(vector.interface, []).append(vector)
    for name, vectors in disturbing.items():
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
    word = f"irqaffinity={format_cpulist(usable)}"
    later = boot("boot-irqaffinity", f"Boot with {word}", BootOption(add=word))
    return Finding(
        subject=name,
        severity=Severity.MEDIUM,
        message=f"{name} interrupts {named_cpus(cpus)}, which isolation keeps free of other work",
        evidence={
            "irqs": [v.line.irq for v in vectors],
            "cpus": cpus,
            "isolated": sorted(apart),
        },
        fixes=(spread(snapshot, vectors, "move-off-isolated"), *((later,) if usable else ())),
    )
