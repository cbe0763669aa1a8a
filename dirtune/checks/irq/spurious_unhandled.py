from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.analyse.lines import on_msi
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.snapshot import Snapshot

_UNHANDLED = 100
_PER_SECOND = 1.0
_ROWS = {
    "ERR": "errors of the local APIC",
    "MIS": "interrupts that the IO-APIC delivered with the wrong trigger",
}


@check("irq/spurious-unhandled", severity=Severity.MEDIUM, trust="A", needs=("interrupts",))
def spurious_unhandled(snapshot: Snapshot) -> Verdicts:
    """Interrupts come that no handler claims.

    ## What it does
    Compares two samples: a wire whose `unhandled` in /proc/irq/N/spurious is 100 or more and
    rises, and the rows ERR and MIS of /proc/interrupts where they rise by 1/s or more. MSI vectors
    and serial ports are left alone.

    ## Why it matters
    At 99,900 of 100,000 the kernel switches the line off (`irq/nobody-cared`); before that, every
    such interrupt runs all handlers of the line for nothing. ERR and MIS tell of faulty delivery.

    ## Remediation
    Find the device on the line that interrupts without a driver, and load its driver or switch
    the device off: `grep . /sys/bus/pci/devices/*/irq` shows who is on it.

    ## Known problems
    `unhandled` stays 0 on a shared line where any handler claims the interrupt: 0 does not mean
    that sharing is free. It begins again after 100,000 interrupts; a sample across that moment
    shows no rise.

    ## References
    - kernel/irq/spurious.c, `note_interrupt()`
    - kernel/irq/proc.c, `irq_spurious_proc_show()`
    """
    if snapshot.earlier is None or not snapshot.seconds:
        yield inconclusive("one sample")
        return
    yield from _lines(snapshot)
    yield from _rows(snapshot)
    if snapshot.proc_irq is None:
        yield inconclusive("/proc/irq is not known")


def _lines(snapshot: Snapshot) -> Iterator[Finding]:
    assert snapshot.interrupts is not None
    assert snapshot.earlier is not None
    before = snapshot.earlier.proc_irq or {}
    for line in snapshot.interrupts.numbered:
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
    suspects = f"; {', '.join(silent)} on it has no driver" if silent else ""
    title = "Load a driver for the device that interrupts unheard, or switch the device off"
    return Finding(
        subject=f"irq {irq}",
        severity=Severity.MEDIUM,
        message=f"nobody claimed {risen} more of its interrupts, {unhandled} in a row{suspects}",
        evidence={"irq": irq, "unhandled": unhandled, "risen": risen, "without_driver": silent},
        fixes=(Fix("claim-interrupts", title, Risk.DISRUPTIVE),),
    )


def _rows(snapshot: Snapshot) -> Iterator[Finding]:
    table, seconds = snapshot.interrupts, snapshot.seconds
    assert table is not None
    assert snapshot.earlier is not None
    assert seconds
    for label, said in _ROWS.items():
        line = table.line(label)
        earlier = snapshot.earlier.interrupts
        risen = rates.line_delta(earlier, line, table.cpus, seconds) if line else None
        if risen is not None and risen / seconds >= _PER_SECOND:
            yield Finding(
                subject=label,
                severity=Severity.MEDIUM,
                message=f"{risen / seconds:.1f} {said} a second",
                evidence={"row": label, "risen": risen, "seconds": round(seconds, 2)},
            )
