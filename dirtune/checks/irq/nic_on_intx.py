import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import paravirtual
from dirtune.checks.irq.legacy_lines import drop_nomsi, no_msi
from dirtune.checks.log_devices import by_name
from dirtune.checks.once import once
from dirtune.checks.remedies import boot, commands
from dirtune.collect import log_messages
from dirtune.collect.log_messages import LogLine
from dirtune.collect.pci import PciDevice
from dirtune.settings import BootOption, ModuleOptions, shell, written
from dirtune.snapshot import Snapshot

_NETWORK = 0x02  # class of PCI functions
# Drivers of conventional PCI NICs, which have no MSI capability or never use it.
_NEVER = frozenset(
    {"3c59x", "8139cp", "8139too", "de2104x", "e100", "e1000", "epic100", "hamachi", "natsemi"}
    | {"ne2k-pci", "pcnet32", "sis900", "starfire", "sundance", "sungem", "sunhme", "tulip"}
    | {"typhoon", "via-rhine"}
)
# Their NICs inside a chip set show no PCI Express link, but support MSI.
_ALWAYS = frozenset({"e1000e"})
# Driver options that turn MSI off, and the values that allow MSI.
_OPTIONS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "bnx2": (("disable_msi", "1", "0"),),
    "bnx2x": (("int_mode", "1", "0"),),
    "e1000e": (("IntMode", "0", "2"),),
    "forcedeth": (("msi", "0", "1"), ("msix", "0", "1")),
    "mlx4_core": (("msi_x", "0", "1"),),
    "myri10ge": (("myri10ge_msi", "0", "1"),),
    "qlcnic": (("use_msi", "0", "1"), ("use_msi_x", "0", "1")),
    "sky2": (("disable_msi", "1", "0"),),
}
_WORDS = {"Y": "1", "N": "0"}
_BAD = re.compile(r"fail|unable|could not|cannot|error", re.IGNORECASE)
_MSI = re.compile(r"\bMSI", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Cause:
    """A reason why a NIC does not use MSI."""

    clause: str
    fix: Fix
    check: str | None = None


@check("irq/nic-on-intx", severity=Severity.HIGH, trust="A")
def nic_on_intx(snapshot: Snapshot, pci: tuple[PciDevice, ...]) -> Verdicts:
    """A NIC uses a legacy INTx line although it could use MSI or MSI-X.

    ## What it does
    The check reports a NIC on PCI Express if its driver uses an INTx line and no MSI vector. The
    finding names the cause: `pci=nomsi`, a bridge above the NIC with `msi_bus` 0, an option of the
    driver (bnx2, bnx2x, e1000e, forcedeth, mlx4_core, myri10ge, qlcnic, sky2), or an error in the
    kernel log. Not reported are NICs bound to VFIO, drivers for conventional PCI only (e1000,
    8139too and others), and interfaces that are not on PCI.

    ## Why it matters
    An INTx line may be shared with other devices, serves only one queue and goes to one CPU. For
    each interrupt, the kernel must mask and acknowledge the line at the interrupt controller.

    ## Remediation
    Reload the driver without the option, or write 1 into the bridge's `msi_bus` and bind the
    driver again. Both take the link down for a moment. On some NICs MSI is broken and the option
    is intentional, so note the old value.

    ## Known problems
    The check does not read the MSI capability of a NIC on conventional PCI, so it cannot decide
    whether such a NIC could use MSI. It sees only driver options in /sys/module, where e1000e and
    forcedeth show none, not options in /etc/modprobe.d. A kernel built without CONFIG_PCI_MSI
    looks like a machine with MSI turned off.

    ## References
    - Documentation/PCI/msi-howto.rst
    """
    for device in pci:
        if not _wired_card(device):
            continue
        if device.pcie or device.driver in _ALWAYS:
            yield _finding(snapshot, device)
        elif device.driver not in _NEVER:
            name = _name(device)
            yield inconclusive(f"{name} is on conventional PCI, and may or may not support MSI")


def _wired_card(device: PciDevice) -> bool:
    wired = bool(device.intx) and device.driver != "vfio-pci"
    return wired and (device.class_code >> 16 == _NETWORK)


def _name(device: PciDevice) -> str:
    return device.nets[0] if device.nets else device.address


def _finding(snapshot: Snapshot, device: PciDevice) -> Finding:
    cause = next(_causes(snapshot, device), None)
    obstacle = f"because {cause.clause}" if cause else "for an unknown reason"
    chip = snapshot.interrupts.line(str(device.irq)) if snapshot.interrupts else None
    return Finding(
        subject=_name(device),
        severity=Severity.HIGH,
        message=f"{_name(device)} ({device.driver}) uses the INTx line irq {device.irq} "
        f"{obstacle}, although it supports MSI",
        evidence={
            "irq": str(device.irq),
            "chip": chip.chip if chip else None,
            "pci": device.address,
            "driver": device.driver,
            "msi_vectors": 0,
        },
        fixes=(*((cause.fix,) if cause else (_look(),)), *paravirtual(snapshot, device.driver)),
        cause=cause.check if cause else None,
    )


def _look() -> Fix:
    title = "Check the kernel log and /etc/modprobe.d for the reason why MSI is off"
    return Fix("find-msi-obstacle", title, Risk.DISRUPTIVE)


def _causes(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    if no_msi(snapshot.cmdline or ()):
        fix = drop_nomsi(snapshot.cmdline or ())
        yield _Cause("pci=nomsi is on the kernel command line", fix, "irq/msi-off")
    yield from _options(snapshot, device)
    yield from _bridges(snapshot, device)
    lines = _vector_lines(snapshot)
    for name in (device.address, *device.nets):
        for _, row in lines.get(name, ()):
            if _MSI.search(row.text) and _BAD.search(row.text):
                yield _Cause(f"of an error in the kernel log, {row.text!r}", _look())


@once
def _vector_lines(snapshot: Snapshot) -> Mapping[str, list[tuple[int, LogLine]]]:
    return by_name(snapshot, log_messages.VECTORS)


def _options(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    driver = device.driver or ""
    chosen = tuple(option for option in _OPTIONS.get(driver, ()) if _set(snapshot, driver, option))
    if not chosen or len(chosen) < len(_OPTIONS[driver]):
        return
    row = " ".join(f"{name}={value}" for name, value, _ in chosen)
    known = {f"{driver}.{name}" for name, _, _ in chosen}
    if any(word.partition("=")[0] in known for word in snapshot.cmdline or ()):
        words = (w for w in snapshot.cmdline or () if w.partition("=")[0] in known)
        fix = boot("drop-driver-option", f"Boot without the option {row}", *map(BootOption, words))
    else:
        options = ModuleOptions(driver, {name: value for name, _, value in chosen})
        loaded = options.row.split()[1:]
        reload = f"modprobe -r {shlex.quote(driver)} && {shlex.join(('modprobe', *loaded))}"
        rows = (reload, *shell(options))
        title = f"Reload {driver} without {row}; its links go down for a moment"
        fix = commands(snapshot, "drop-driver-option", title, rows, risk=Risk.DISRUPTIVE)
        fix = replace(fix, settings=(options,))
    yield _Cause(f"{driver} was loaded with {row}", fix)


def _set(snapshot: Snapshot, driver: str, option: tuple[str, str, str]) -> bool:
    name, against, _ = option
    key = f"{driver}.{name}"
    asked = (w.removeprefix(f"{key}=") for w in snapshot.cmdline or () if w.startswith(f"{key}="))
    live = snapshot.modules.parameters.get(key) if snapshot.modules else None
    value = live if live is not None else next(asked, None)
    return value is not None and {_WORDS.get(v, v) for v in value.split(",")} == {against}


def _bridges(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    known = {other.address: other for other in snapshot.pci or ()}
    for address in device.bridges:
        bridge = known.get(address)
        if bridge and bridge.msi_allowed is False:
            rows = (
                written(f"/sys/bus/pci/devices/{address}/msi_bus", "1"),
                written(f"/sys/bus/pci/drivers/{device.driver}/unbind", device.address),
                written(f"/sys/bus/pci/drivers/{device.driver}/bind", device.address),
            )
            title = f"Allow MSI below the bridge {address}; the link goes down for a moment"
            fix = commands(snapshot, "allow-msi", title, rows, risk=Risk.DISRUPTIVE)
            yield _Cause(f"msi_bus of its bridge {address} is 0", fix)
