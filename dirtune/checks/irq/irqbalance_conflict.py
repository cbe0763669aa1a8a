from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, uncounted
from dirtune.checks.irq import Vector, moved, nic_vectors
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed
from dirtune.collect.processes import Process
from dirtune.settings import IrqbalanceVariable
from dirtune.snapshot import Snapshot

# Arguments with which irqbalance ignores a NIC's interrupts, or follows a policy.
_SPARED = ("--banirq", "-i", "--policyscript", "-l", "--hintpolicy=exact", "--oneshot", "-o")
_VARIABLES = ("IRQBALANCE_ARGS", "OPTIONS")
_PINNERS = ("set_irq_affin", "mlnx_affinity", "mlnx_tune", "tuna", "tuned")


@check(
    "irq/irqbalance-conflict",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts",),
)
def irqbalance_conflict(snapshot: Snapshot, processes: tuple[Process, ...]) -> Verdicts:
    """The program irqbalance moves interrupts that another program pins.

    ## What it does
    If irqbalance runs and half of the NICs' vectors or more are each pinned to a single CPU, the
    check reports vectors whose affinity mask or CPU changed between the two samples. The finding
    is `medium` if another program that pins interrupts runs (tuned, tuna, a vendor's script), else
    `low`. Nothing is reported if the arguments of irqbalance keep it from moving the vectors
    (`--banirq`, `--policyscript`, `--hintpolicy=exact`, `--oneshot`).

    ## Why it matters
    irqbalance may undo the pinning every ten seconds. The flows then move between CPUs, whose
    caches do not have their data.

    ## Remediation
    Let only one program place interrupts. Either make irqbalance ignore the NIC's interrupts with
    `--banirq=NUMBER`, which works as long as their numbers stay the same, or stop pinning them.

    ## Known problems
    The daemon irqbalance itself pins each NIC vector to one CPU. So if no other program pins
    vectors, irqbalance may only have changed its own choice. It acts every ten seconds, so a
    shorter time between the samples often shows no move. The check does not read irqbalance's log.

    ## References
    - irqbalance(1)
    """
    names = {p.name for p in processes if not p.kernel}
    if "irqbalance" not in names:
        return
    vectors = tuple(v for v in nic_vectors(snapshot) if not v.managed)
    single = [_pinned(snapshot, vector) for vector in vectors]
    if 2 * single.count(True) < len(vectors) and None not in single:
        return
    if snapshot.earlier is None or snapshot.earlier.proc_irq is None or None in single:
        yield uncounted(
            snapshot, "this check needs the affinity masks of the NICs' interrupts in two samples"
        )
        return
    wandering = moved(snapshot, vectors)
    if wandering and snapshot.settings_files is None:
        yield inconclusive("the arguments of irqbalance are unknown")
    elif wandering and not _spares(snapshot):
        others = sorted(name for name in names if name.startswith(_PINNERS))
        yield _finding(snapshot, vectors, wandering, others)


def _pinned(snapshot: Snapshot, vector: Vector) -> bool | None:
    state = (snapshot.proc_irq or {}).get(vector.line.irq)
    return None if state is None or state.affinity is None else len(state.affinity) == 1


def _spares(snapshot: Snapshot) -> bool:
    values = snapshot.settings_files.irqbalance if snapshot.settings_files else {}
    words = [word for name in _VARIABLES for word in values.get(name, "").split()]
    exact = any(w in " ".join(words) for w in ("--hintpolicy exact", "-h exact"))
    oneshot = values.get("IRQBALANCE_ONESHOT", "") not in {"", "0", "no"}
    return exact or oneshot or any(_is(word, spared) for word in words for spared in _SPARED)


def _is(word: str, option: str) -> bool:
    """Whether *word* is *option*, with or without its value (`--banirq=40`, `-i40`)."""
    if option.startswith("--"):
        return word.partition("=")[0] == option or word == option
    return word.startswith(option)


def _finding(
    snapshot: Snapshot,
    vectors: tuple[Vector, ...],
    wandering: tuple[Vector, ...],
    others: list[str],
) -> Finding:
    irqs = [v.line.irq for v in wandering]
    pinners = f"; {listed(others)} may have pinned these interrupts" if others else ""
    noun = "irq" if len(irqs) == 1 else "irqs"
    return Finding(
        subject="irqbalance",
        severity=Severity.MEDIUM if others else Severity.LOW,
        message=f"While irqbalance was running, {noun} {listed(irqs)}, out of {len(vectors)} NIC "
        f"interrupts, moved to other CPUs between the samples{pinners}",
        evidence={"irqs": irqs, "vectors": len(vectors), "pinners": others},
        fixes=(_ban(snapshot, vectors), _stop(snapshot)),
    )


def _ban(snapshot: Snapshot, vectors: tuple[Vector, ...]) -> Fix:
    irqs = [str(v.line.irq) for v in vectors]
    now = snapshot.settings_files.irqbalance if snapshot.settings_files else {}
    # The variable that the unit passes to irqbalance depends on the distribution.
    name = next((n for n in _VARIABLES if n in now), _VARIABLES[0])
    banned = (f"--banirq={irq}" for irq in irqs)
    value = " ".join(filter(None, (now.get(name), *banned)))
    noun = "irq" if len(irqs) == 1 else "irqs"
    title = f"Start irqbalance with --banirq=NUMBER for {noun} {listed(irqs)}"
    return Fix("ban-nic-irqs", title, Risk.SAFE, settings=(IrqbalanceVariable(name, value),))


def _stop(snapshot: Snapshot) -> Fix:
    rows = ("systemctl disable --now irqbalance",)
    return commands(
        snapshot, "stop-irqbalance", "Stop irqbalance and keep the pinned CPUs", rows, what="irq"
    )
