from dirtune.checks import (
    Finding,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.irq.legacy_lines import drop_nomsi, no_msi
from dirtune.checks.together import listed
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot


@check("irq/msi-off", severity=Severity.HIGH, trust="A")
def msi_off(snapshot: Snapshot, cmdline: tuple[str, ...]) -> Verdicts:
    """Message-signalled interrupts are off for the whole machine.

    ## What it does
    The check examines hosts that have PCI Express devices with a driver and an interrupt. It
    reports a host that was booted with `pci=nomsi` or uses no MSI vector at all. It does not
    report Xen guests, whose interrupts are event channels. `pcie_pme=nomsi` is harmless.

    ## Why it matters
    All devices share a few INTx lines. A NIC gets only one queue, and its interrupts cannot be
    spread over CPUs.

    ## Remediation
    Remove `nomsi` from the kernel command line and reboot. The option may hide a firmware fault,
    so keep a boot entry with the old command line.

    ## References
    - Documentation/PCI/msi-howto.rst
    - Documentation/admin-guide/kernel-parameters.txt, `pci=nomsi`
    """
    nomsi = no_msi(cmdline)
    if _xen(snapshot):
        yield not_applicable("this host is a Xen guest, whose interrupts are event channels")
        return
    if snapshot.pci is None:
        yield inconclusive("the PCI devices are unknown, and some of them may support MSI")
        return
    able = [d for d in snapshot.pci if _able(d)]
    used = any(device.msi_irqs for device in snapshot.pci)
    if able and (nomsi or not used):
        yield _finding(snapshot, able, nomsi=nomsi)


def _xen(snapshot: Snapshot) -> bool:
    table = snapshot.interrupts
    chips = (line.chip or "" for line in table.numbered) if table else iter(())
    return any(chip.startswith("xen-") for chip in chips)


def _able(device: PciDevice) -> bool:
    # PCI Express demands MSI or MSI-X of every function that interrupts.
    return device.pcie and device.driver is not None and bool(device.irq or device.msi_irqs)


def _finding(snapshot: Snapshot, able: list[PciDevice], *, nomsi: bool) -> Finding:
    names = listed(f"{d.address} ({d.driver})" for d in able)
    why = (
        "because pci=nomsi is on the kernel command line"
        if nomsi
        else "although nothing on the kernel command line turns it off"
    )
    fix = drop_nomsi(snapshot.cmdline or ())
    return Finding(
        subject="PCI",
        severity=Severity.HIGH,
        message=f"MSI is off {why}; {names} could use MSI",
        evidence={"devices": [d.address for d in able], "pci_nomsi": nomsi},
        fixes=(fix,) if nomsi else (),
    )
