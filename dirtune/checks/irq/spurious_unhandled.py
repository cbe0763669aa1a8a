from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.analyse.lines import on_msi
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.together import listed
from dirtune.collect.interrupts import Interrupts
from dirtune.snapshot import Snapshot

_UNHANDLED = 100
_PER_SECOND = 1.0
_ROWS = {
    "ERR": "errors of the local APIC",
    "MIS": "interrupts that the IO-APIC delivered with the wrong trigger",
}


@check("irq/spurious-unhandled", severity=Severity.MEDIUM, trust="A")
def spurious_unhandled(
    snapshot: Snapshot, interrupts: Interrupts, earlier: Snapshot, seconds: float
) -> Verdicts:
    """Interrupts arrive that no handler claims.

    ## What it does
    The check compares two samples. It reports a line other than MSI if `unhandled` in
    /proc/irq/N/spurious is 100 or more and rises. It also reports the counters ERR and MIS of
    /proc/interrupts if they rise by 1/s or more. Serial ports are not reported.

    ## Why it matters
    Each unclaimed interrupt runs all handlers of the line for nothing. If 99,900 of 100,000
    interrupts are unclaimed, the kernel disables the line (`irq/nobody-cared`). ERR and MIS count
    interrupts that were delivered wrongly.

    ## Remediation
    Find the device on the line that interrupts but has no driver, and load its driver or disable
    the device. `grep . /sys/bus/pci/devices/*/irq` shows which devices are on the line.

    ## Known problems
    On a shared line, `unhandled` stays 0 if one of the handlers claims the interrupt, so 0 does
    not mean that sharing costs nothing. The kernel resets the counter after 100,000 interrupts. If
    this happens between the samples, the check sees no rise.

    ## References
    - kernel/irq/spurious.c, `note_interrupt()`
    - kernel/irq/proc.c, `irq_spurious_proc_show()`
    """
    yield from _lines(snapshot, interrupts, earlier)
    yield from _rows(interrupts, earlier, seconds)
    if snapshot.proc_irq is None:
        yield inconclusive("/proc/irq was not read")


def _lines(snapshot: Snapshot, table: Interrupts, earlier: Snapshot) -> Iterator[Finding]:
    before = earlier.proc_irq or {}
    for line in table.numbered:
        now, then = (snapshot.proc_irq or {}).get(line.irq), before.get(line.irq)
        serial = any(action.startswith("ttyS") for action in line.actions)
        if now is None or then is None or on_msi(line) or serial:
            continue
        risen = rates.increase(then.unhandled, now.unhandled)
        if risen and (now.unhandled or 0) >= _UNHANDLED:
            yield _unclaimed(snapshot, line.irq, now.unhandled or 0, risen)


def _unclaimed(snapshot: Snapshot, irq: str, unhandled: int, risen: int) -> Finding:
    pci = [d for d in snapshot.pci or () if d.irq is not None and str(d.irq) == irq]
    silent = [d.address for d in pci if d.driver is None]
    suspects = f"; the device {listed(silent)} on this line has no driver" if silent else ""
    title = "Load a driver for the device whose interrupts nobody claims, or disable the device"
    return Finding(
        subject=f"irq {irq}",
        severity=Severity.MEDIUM,
        message=f"Between the samples, {risen} interrupts of irq {irq} were not claimed by any "
        f"handler; the kernel's counter of unclaimed interrupts is now {unhandled}{suspects}",
        evidence={"irq": irq, "unhandled": unhandled, "risen": risen, "without_driver": silent},
        fixes=(Fix("claim-interrupts", title, Risk.DISRUPTIVE),),
    )


def _rows(table: Interrupts, earlier: Snapshot, seconds: float) -> Iterator[Finding]:
    for label, meaning in _ROWS.items():
        line = table.line(label)
        if line is None:
            continue
        risen = rates.line_delta(earlier.interrupts, line, table.cpus, seconds)
        if risen is not None and risen / seconds >= _PER_SECOND:
            yield Finding(
                subject=label,
                severity=Severity.MEDIUM,
                message=f"{label} in /proc/interrupts, which counts {meaning}, rises by "
                f"{risen / seconds:.1f}/s",
                evidence={"row": label, "risen": risen, "seconds": round(seconds, 2)},
            )
