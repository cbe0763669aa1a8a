import re

from dirtune.analyse.lines import on_msi, pic
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check
from dirtune.checks.irq import who
from dirtune.checks.irq.legacy_lines import pic_lines, pic_options, rate
from dirtune.checks.together import listed, subjects
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_BUSY_PER_SECOND = 1000
_FIRST_PCI_IRQ = 3
# Devices that use the PIC by design while everything on PCI goes through the IO-APIC: those of the
# board, and drivers of ISA and PC Card (not CardBus) adapters by the names they register.
_ISA = re.compile(
    r"timer|cascade|fpu|rtc0?|i8042|keyboard|mouse|PS/2 Mouse|serial|ttyS.*|lp|parport.*|floppy"
    r"|acpi|ide[01]|hd|i82365|tcic|\w+_cs"
    r"|MPU-?401.*|soundblaster|sb|sb16|ad1848|ad1816|cs4231|cs423[26]|es18xx|opl3sa2|gus"
    r"|aha152x|aha1542|g?_?NCR5380|pas16|t128|t160|wd7000|in2000|qlogicfas|sym53c416|u14-34f"
    r"|NE[12]000|3c50[13579]|smc-ultra|smc9194|wd|wd80x3|hp-plus|hp-pclan|eexpress|eepro|at1700"
    r"|depca|ewrk3|ni5010|ni52|ni65|cs89x0|lance|PCnet/(?:ISA|VLB).*",
    re.IGNORECASE,
)


@check("irq/xtpic-mode", severity=Severity.CRITICAL, trust="A")
def xtpic_mode(snapshot: Snapshot, interrupts: Interrupts) -> Verdicts:
    """The IO-APIC is not in use, so every device uses the old 8259 interrupt controller.

    ## What it does
    The check reports an x86 host if /proc/interrupts shows `XT-PIC` for PCI devices. The finding
    is `critical` if the host has several CPUs and NICs on the PIC cause 1,000 interrupts/s or
    more. It is `medium` if every NIC uses MSI, else `high`. XT-PIC is normal for the board's own
    devices (`timer`, `cascade`, `serial`) and for ISA and PC Card adapters. MIPS boards are not
    reported, nor are guests with one CPU that were booted without an option against the IO-APIC.

    ## Why it matters
    The PIC has only 15 lines, so devices share lines. It delivers all interrupts to CPU 0, and
    masking and acknowledging an interrupt takes slow port I/O. The IO-APIC gives each interrupt
    pin its own line.

    ## Remediation
    Remove `noapic`, `nolapic`, `acpi=off`, `acpi=noirq` or `pci=noacpi` from the kernel command
    line, enable the APIC in the firmware, and reboot. Such an option was often added because of a
    broken firmware table, so keep a boot entry with the old command line.

    ## References
    - Documentation/admin-guide/kernel-parameters.txt, `noapic`
    """
    lines = tuple(line for line in pic_lines(snapshot) if _on_pci(line))
    options = pic_options(snapshot.cmdline or ())
    if not lines or _bare_guest(snapshot, interrupts, options):
        return
    yield Finding(
        subject=f"irq {subjects(line.irq for line in lines)}",
        severity=_severity(snapshot, interrupts),
        message=_message(lines, options),
        evidence={
            "irqs": [line.irq for line in lines],
            "actions": [list(line.actions) for line in lines],
            "options": list(options),
        },
        fixes=(drop_noapic(options),) if options else (_firmware(),),
    )


def drop_noapic(options: tuple[str, ...]) -> Fix:
    """Return the fix that removes *options* from the kernel command line."""
    return Fix(
        "drop-noapic",
        (
            "Boot without the option that turns the IO-APIC off, and keep a boot entry with "
            "the old command line"
        ),
        Risk.REBOOT,
        ("dirtune fix apply irq/xtpic-mode", "reboot"),
        settings=tuple(map(BootOption, options)),
    )


def _firmware() -> Fix:
    return Fix("enable-ioapic", "Enable the IO-APIC (APIC mode) in the firmware", Risk.REBOOT)


def _on_pci(line: Line) -> bool:
    if int(line.irq) < _FIRST_PCI_IRQ or not line.actions:
        return False
    return not all(map(_ISA.fullmatch, line.actions))


def _bare_guest(snapshot: Snapshot, table: Interrupts, options: tuple[str, ...]) -> bool:
    guest = snapshot.cpuinfo is not None and snapshot.cpuinfo.guest is True
    return guest and len(table.cpus) == 1 and not options


def _severity(snapshot: Snapshot, table: Interrupts) -> Severity:
    cards = [line for line in table.numbered if any(s.nic for s in who(snapshot, line))]
    if cards and all(on_msi(line) for line in cards):
        return Severity.MEDIUM
    on_pic = (rate(snapshot, line) or 0.0 for line in cards if pic(line))
    busy = sum(on_pic) >= _BUSY_PER_SECOND
    return Severity.CRITICAL if busy and len(table.cpus) > 1 else Severity.HIGH


def _message(lines: tuple[Line, ...], options: tuple[str, ...]) -> str:
    names = dict.fromkeys(action for line in lines for action in line.actions)
    why = f" because the kernel was booted with {listed(options)}" if options else ""
    verb = "interrupts" if len(names) == 1 else "interrupt"
    return f"{listed(names)} {verb} CPU 0 through the old interrupt controller (XT-PIC){why}"
