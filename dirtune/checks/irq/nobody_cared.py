import re

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import rate, who
from dirtune.checks.remedies import boot
from dirtune.collect.interrupts import Line
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_MESSAGE = re.compile(r"irq (?P<irq>\d+): nobody cared|Disabling IRQ #(?P<off>\d+)")
_OPTIONS = ("irqpoll", "irqfixup")
_GRAVE = {"NIC", "storage"}


@check("irq/nobody-cared", severity=Severity.CRITICAL, trust="A", needs=("cmdline",))
def nobody_cared(snapshot: Snapshot) -> Verdicts:
    """The kernel switched an interrupt line off because nobody claimed its interrupts.

    ## What it does
    Reports a line that the kernel's log says `irq N: nobody cared` or `Disabling IRQ #N` of and
    that still has handlers: `critical` where a network card or a storage controller is one of
    them, else `high`. A line that took interrupts between the two samples was switched on again
    and is left alone. The boot options `irqpoll` and `irqfixup` are `high`.

    ## Why it matters
    After 99,900 unclaimed interrupts of 100,000 the kernel masks the line and only polls it ten
    times a second: a card on it crawls. `irqpoll` lets every unclaimed interrupt run all handlers
    of the machine.

    ## Remediation
    Take the device away that interrupts without a driver that claims it (load or unbind its
    driver, let it use MSI, switch it off in the firmware), then load the drivers on the line
    again. Drop `irqpoll` afterwards.

    ## Known problems
    A line that was switched on again and has been idle since looks as if it were off. The log's
    ring may have lost the message.

    ## References
    - kernel/irq/spurious.c, `note_interrupt()`
    - Documentation/PCI/boot-interrupts.rst
    """
    options = [word for word in snapshot.cmdline or () if word in _OPTIONS]
    if options:
        yield _polling(options)
    if snapshot.kernel_log is None:
        yield inconclusive("the kernel's log could not be read")
        return
    rows = (_MESSAGE.search(row.text) for row in snapshot.kernel_log)
    irqs = dict.fromkeys(found["irq"] or found["off"] for found in rows if found)
    for irq in irqs:
        line = snapshot.interrupts.line(irq) if snapshot.interrupts else None
        if snapshot.interrupts is None:
            yield inconclusive(f"irq {irq}: whether it still has handlers is not known")
        elif line and line.actions and not (snapshot.earlier and rate(snapshot, line)):
            yield _finding(snapshot, line)


def _polling(options: list[str]) -> Finding:
    named = ", ".join(options)
    words = map(BootOption, options)
    return Finding(
        subject=named,
        severity=Severity.HIGH,
        message=f"{named} on the kernel command line: an unclaimed interrupt runs all handlers",
        evidence={"options": options},
        fixes=(boot("drop-irqpoll", f"Boot without {named}, the culprit gone", *words),),
    )


def _finding(snapshot: Snapshot, line: Line) -> Finding:
    on_line = who(snapshot, line)
    grave = any(sharer.kind in _GRAVE for sharer in on_line)
    title = "Take the device away that nobody claims, then load the drivers on the line again"
    return Finding(
        subject=f"irq {line.irq}",
        severity=Severity.CRITICAL if grave else Severity.HIGH,
        message=f"the kernel switched the line of {', '.join(line.actions)} off: nobody claimed "
        "its interrupts",
        evidence={
            "irq": line.irq,
            "actions": list(line.actions),
            "kinds": [sharer.kind for sharer in on_line],
        },
        fixes=(Fix("free-line", title, Risk.DISRUPTIVE),),
    )
