import re

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import who
from dirtune.checks.irq.legacy_lines import rate
from dirtune.checks.remedies import boot
from dirtune.checks.together import listed
from dirtune.collect import log_messages
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
    The check reports a line that still has handlers if the kernel log contains `irq N: nobody
    cared` or `Disabling IRQ #N`. The finding is `critical` if a handler belongs to a NIC or a
    storage controller, else `high`. A line that took interrupts between the two samples is not
    reported, because it was enabled again. The check also reports the boot options `irqpoll` and
    `irqfixup` as `high`.

    ## Why it matters
    If no handler claims 99,900 of 100,000 interrupts, the kernel masks the line, and only polls
    its handlers ten times a second. A NIC on this line becomes extremely slow. With `irqpoll`,
    every unclaimed interrupt runs all handlers of the machine.

    ## Remediation
    Find the device whose interrupts no driver claims, and stop these interrupts: load or unbind
    the device's driver, let the device use MSI, or disable it in the firmware. Then reload the
    drivers on the interrupt line, and remove `irqpoll` from the kernel command line.

    ## Known problems
    A line that was enabled again but has been idle since looks like a disabled line. The ring
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
    rows = (_MESSAGE.match(r.text) for r in log_messages.INTERRUPTS.lines(snapshot.kernel_log))
    irqs = dict.fromkeys(row["irq"] or row["off"] for row in rows if row)
    for irq in irqs:
        line = snapshot.interrupts.line(irq) if snapshot.interrupts else None
        if snapshot.interrupts is None:
            yield inconclusive(
                f"irq {irq} was disabled, but /proc/interrupts was not read, so this "
                "interrupt line may be unused by now"
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
                f"Stop the unclaimed interrupts that led to {named}, then boot without {named}",
                *words,
            ),
        ),
    )


def _finding(snapshot: Snapshot, line: Line) -> Finding:
    on_line = who(snapshot, line)
    grave = any(sharer.kind in _GRAVE for sharer in on_line)
    title = (
        "Stop the unclaimed interrupts at the device that causes them, then reload the drivers on "
        f"irq {line.irq}"
    )
    return Finding(
        subject=f"irq {line.irq}",
        severity=Severity.CRITICAL if grave else Severity.HIGH,
        message=f"The kernel disabled irq {line.irq} ({listed(line.actions)}) because no "
        "handler claimed its interrupts",
        evidence={
            "irq": line.irq,
            "actions": list(line.actions),
            "kinds": [sharer.kind for sharer in on_line],
        },
        fixes=(Fix("free-line", title, Risk.DISRUPTIVE),),
    )
