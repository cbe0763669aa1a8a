from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, uncounted
from dirtune.checks.irq import active, card, grouped, nic_vectors, receiving
from dirtune.collect.cpus import Cpus
from dirtune.collect.settings_files import SettingsFiles
from dirtune.cpu_sets import format_cpulist, parse_cpulist, parse_cpumask
from dirtune.errors import ParseError
from dirtune.settings import IrqbalanceVariable
from dirtune.snapshot import Snapshot

_MASK, _LIST = "IRQBALANCE_BANNED_CPUS", "IRQBALANCE_BANNED_CPULIST"
_PARTITIONING = "cpu-partitioning"
_ISOLATION = "isolation"
_WORD_BITS = 64


@check(
    "irq/irqbalance-banned",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts",),
)
def irqbalance_banned(snapshot: Snapshot, settings_files: SettingsFiles, cpus: Cpus) -> Verdicts:
    """The CPUs that irqbalance may use are too few for a NIC's queues.

    ## What it does
    If irqbalance runs, the check determines the CPUs that irqbalance may use: all CPUs except
    those in IRQBALANCE_BANNED_CPULIST or IRQBALANCE_BANNED_CPUS. If neither variable is set,
    irqbalance avoids isolated and nohz_full CPUs. The check reports a NIC if the number of these
    CPUs near the NIC is less than half of its active receive vectors. It also reports a value of
    IRQBALANCE_BANNED_CPUS that has only 64 bits on a machine with more CPUs. A host with the tuned
    profile cpu-partitioning is not reported, because this profile isolates CPUs on purpose.

    ## Why it matters
    With a wrong mask, irqbalance may put all queues on one core.

    ## Remediation
    Correct the list in /etc/default/irqbalance (or /etc/sysconfig/irqbalance) and restart
    irqbalance. Give the CPUs as a list, not as a mask.

    ## Known problems
    The check does not read variables in the Environment= lines of the systemd unit.

    ## References
    - irqbalance(1)
    """
    if snapshot.processes is None:
        yield inconclusive("the running processes are unknown, so irqbalance may be running")
        return
    running = any(p.name == "irqbalance" for p in snapshot.processes)
    if not running or (settings_files.tuned or "").startswith(_PARTITIONING):
        return
    try:
        banned, why = _banned(settings_files.irqbalance, cpus)
    except ParseError as error:
        yield inconclusive(str(error))
        return
    if _short(settings_files.irqbalance, cpus):
        yield _wrong_width(settings_files.irqbalance[_MASK], cpus)
    if banned and snapshot.seconds is None:
        yield uncounted(
            snapshot,
            "two samples are needed to see which NIC interrupts are active, but one was taken",
        )
    elif banned:
        yield from _crowded(snapshot, cpus, banned, why)


def _banned(values: Mapping[str, str], cpus: Cpus) -> tuple[frozenset[int], str]:
    """Return the CPUs that irqbalance must not use, and the name of the setting that bans them."""
    if values.get(_LIST):
        return frozenset(parse_cpulist(values[_LIST])), _LIST
    if values.get(_MASK):
        return frozenset(parse_cpumask(values[_MASK])), _MASK
    return frozenset({*cpus.isolated, *cpus.nohz_full}), _ISOLATION


def _short(values: Mapping[str, str], cpus: Cpus) -> bool:
    mask = values.get(_MASK, "")
    used = bool(mask) and not values.get(_LIST) and bool(parse_cpumask(mask))
    bits = 4 * len(mask.replace(",", "").removeprefix("0x"))
    return used and bits <= _WORD_BITS <= max(cpus.online)


def _wrong_width(mask: str, cpus: Cpus) -> Finding:
    return Finding(
        subject=_MASK,
        severity=Severity.MEDIUM,
        message=f"The CPU mask {mask} in {_MASK} covers only {_WORD_BITS} CPUs, but "
        f"{len(cpus.online)} CPUs are online",
        evidence={"mask": mask, "online_cpus": len(cpus.online)},
        fixes=(_correct(IrqbalanceVariable(_LIST, format_cpulist(parse_cpumask(mask)))),),
    )


def _correct(*settings: IrqbalanceVariable) -> Fix:
    title = f"Correct {_LIST} in the configuration of irqbalance, and restart irqbalance"
    return Fix("correct-banned-cpus", title, Risk.SAFE, settings=settings)


def _crowded(snapshot: Snapshot, cpus: Cpus, banned: frozenset[int], why: str) -> Verdicts:
    vectors = active(receiving(nic_vectors(snapshot)))
    for name, own in grouped(vectors).items():
        irqs = [v.line.irq for v in own]
        device = card(snapshot, name)
        local = (device.local_cpus if device else ()) or cpus.online
        left = sorted({*local} & {*cpus.online} - banned)
        if 2 * len(left) < len(irqs):
            by = "CPU isolation" if why == _ISOLATION else why
            yield Finding(
                subject=name,
                severity=Severity.MEDIUM,
                message=f"{by} leaves irqbalance {len(left)} "
                f"{'CPU' if len(left) == 1 else 'CPUs'} near {name}, which has "
                f"{len(irqs)} active receive vectors",
                evidence={"irqs": irqs, "banned": sorted(banned), "left": left, "by": why},
                fixes=(_correct(),),
            )
