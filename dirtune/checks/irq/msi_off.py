from dirtune.checks import (
    Finding,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.irq import drop_nomsi, listed, no_msi
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot


@check("irq/msi-off", severity=Severity.HIGH, trust="A", needs=("cmdline",))
def msi_off(snapshot: Snapshot) -> Verdicts:
    """Message-signalled interrupts are off for the whole machine.

    ## What it does
    Reports a host that has PCI Express devices with a driver and an interrupt, and either was
    booted with `pci=nomsi` or has not one MSI vector in use. Hosts without such a device and
    Xen guests, whose interrupts are event channels, are left alone; `pcie_pme=nomsi` is harmless.

    ## Why it matters
    Every device falls back to the few wires it shares with others, a card gets one queue, and
    its interrupts cannot be spread over CPUs.

    ## Remediation
    Remove `nomsi` from the kernel's command line and reboot. It may hide a firmware fault: keep
    a boot entry with the old command line.

    ## References
    - Documentation/PCI/msi-howto.rst
    - Documentation/admin-guide/kernel-parameters.txt, `pci=nomsi`
    """
    asked = no_msi(snapshot.cmdline or ())
    if _xen(snapshot):
        yield not_applicable("a Xen guest: interrupts are event channels")
        return
    if snapshot.pci is None:
        yield inconclusive("no list of PCI devices to tell which could use MSI")
        return
    able = [d for d in snapshot.pci if _able(d)]
    used = any(device.msi_irqs for device in snapshot.pci)
    if able and (asked or not used):
        yield _finding(snapshot, able, asked=asked)


def _xen(snapshot: Snapshot) -> bool:
    table = snapshot.interrupts
    chips = (line.chip or "" for line in table.numbered) if table else iter(())
    return any(chip.startswith("xen-") for chip in chips)


def _able(device: PciDevice) -> bool:
    # PCI Express demands MSI or MSI-X of every function that interrupts.
    return device.pcie and device.driver is not None and bool(device.irq or device.msi_irqs)


def _finding(snapshot: Snapshot, able: list[PciDevice], *, asked: bool) -> Finding:
    names = listed(f"{d.address} ({d.driver})" for d in able)
    why = "as pci=nomsi asks" if asked else "though nothing on the command line asks for it"
    fix = drop_nomsi(snapshot.cmdline or ())
    return Finding(
        subject="PCI",
        severity=Severity.HIGH,
        message=f"MSI is off {why}; {names} could use it",
        evidence={"devices": [d.address for d in able], "pci_nomsi": asked},
        fixes=(fix,) if asked else (),
    )
