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


@check("irq/nobody-cared", severity=Severity.CRITICAL, trust="A")
def nobody_cared(snapshot: Snapshot, cmdline: tuple[str, ...]) -> Verdicts:
    """The kernel disabled an interrupt line because nobody claimed its interrupts.

    ## What it does
    The check reports a line that still has handlers and for which the kernel log holds
    `irq N: nobody cared` or `Disabling IRQ #N`. The finding is `critical` where a NIC or a storage
    controller is one of the handlers, else `high`. A line that took interrupts between the two
    samples was enabled again and is not reported. The boot options `irqpoll` and `irqfixup` are
    reported as `high`.

    ## Why it matters
    After 99,900 unclaimed interrupts out of 100,000 the kernel masks the line and only polls it
    ten times a second, so a NIC on it crawls. With `irqpoll`, every unclaimed interrupt runs all
    handlers of the machine.

    ## Remediation
    Find the device that interrupts without a driver that claims its interrupts, and silence it:
    load or unbind its driver, let it use MSI, or disable it in the firmware. Then reload the
    drivers on the line. Drop `irqpoll` afterwards.

    ## Known problems
    A line that was enabled again and has been idle since looks as if it were disabled. The ring
    buffer of the kernel log may have lost the message.

    ## References
    - kernel/irq/spurious.c, `note_interrupt()`
    - Documentation/PCI/boot-interrupts.rst
    """
    options = [word for word in cmdline if word in _OPTIONS]
    if options:
        yield _polling(options)
    if snapshot.kernel_log is None:
        yield inconclusive("the kernel log could not be read")
        return
    rows = (_MESSAGE.search(row.text) for row in snapshot.kernel_log)
    irqs = dict.fromkeys(row["irq"] or row["off"] for row in rows if row)
    for irq in irqs:
        line = snapshot.interrupts.line(irq) if snapshot.interrupts else None
        if snapshot.interrupts is None:
            yield inconclusive(
                f"irq {irq} was disabled, but /proc/interrupts was not read, so the line may "
                "be unused by now"
            )
        elif line and line.actions and not (snapshot.earlier and rate(snapshot, line)):
            yield _finding(snapshot, line)


def _polling(options: list[str]) -> Finding:
    named = ", ".join(options)
    words = map(BootOption, options)
    return Finding(
        subject=named,
        severity=Severity.HIGH,
        message=f"The kernel was booted with {named}, so every unclaimed interrupt runs all "
        "handlers of the machine",
        evidence={"options": options},
        fixes=(
            boot(
                "drop-irqpoll",
                f"Silence the device that made {named} necessary, then boot without {named}",
                *words,
            ),
        ),
    )


def _finding(snapshot: Snapshot, line: Line) -> Finding:
    on_line = who(snapshot, line)
    grave = any(sharer.kind in _GRAVE for sharer in on_line)
    title = "Silence the device whose interrupts nobody claims, then reload the line's drivers"
    return Finding(
        subject=f"irq {line.irq}",
        severity=Severity.CRITICAL if grave else Severity.HIGH,
        message=f"The kernel disabled irq {line.irq} ({', '.join(line.actions)}) because no "
        "handler claimed its interrupts",
        evidence={
            "irq": line.irq,
            "actions": list(line.actions),
            "kinds": [sharer.kind for sharer in on_line],
        },
        fixes=(Fix("free-line", title, Risk.DISRUPTIVE),),
    )
