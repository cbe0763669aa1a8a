import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import drop_nomsi, no_msi, paravirtual
from dirtune.checks.remedies import boot, commands
from dirtune.collect.pci import PciDevice
from dirtune.settings import BootOption, ModuleOptions, shell, written
from dirtune.snapshot import Snapshot

_NETWORK = 0x02  # class of PCI functions
# Drivers of conventional PCI cards, which have no MSI capability or never use it.
_NEVER = frozenset(
    {"3c59x", "8139cp", "8139too", "de2104x", "e100", "e1000", "epic100", "hamachi", "natsemi"}
    | {"ne2k-pci", "pcnet32", "sis900", "starfire", "sundance", "sungem", "sunhme", "tulip"}
    | {"typhoon", "via-rhine"}
)
# Their cards inside a chip set show no PCI Express link, and have MSI all the same.
_ALWAYS = frozenset({"e1000e"})
# Driver options that keep a card from MSI, and the value that lets it.
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
    """What keeps a card from MSI."""

    said: str
    fix: Fix
    check: str | None = None


@check("irq/nic-on-intx", severity=Severity.HIGH, trust="A", needs=("pci",))
def nic_on_intx(snapshot: Snapshot) -> Verdicts:
    """A network card interrupts over a wire though it could use MSI or MSI-X.

    ## What it does
    Reports a network card on PCI Express whose bound driver has an INTx line and no MSI vector,
    and names what keeps it from MSI: `pci=nomsi`, a bridge above it with `msi_bus` 0, an option
    of its driver (bnx2, bnx2x, e1000e, forcedeth, mlx4_core, myri10ge, qlcnic, sky2), or what the
    kernel's log says of it. Cards bound to VFIO, cards of drivers that only conventional PCI has
    (e1000, 8139too and others) and interfaces that are not on PCI are left alone.

    ## Why it matters
    A wire can be shared with other devices, carries the interrupts of one queue only, goes to one
    CPU, and must be masked and acknowledged at the interrupt controller each time.

    ## Remediation
    Drop the driver's option and load the driver again, or write 1 into the bridge's `msi_bus` and
    bind the driver again: the link goes down meanwhile. Some cards have a broken MSI and the
    option on purpose: keep the old value at hand.

    ## Known problems
    Of a card on conventional PCI the capability is not read, so it stays open whether it could
    use MSI. Options in /etc/modprobe.d that the driver does not show in /sys/module are not seen
    (e1000e and forcedeth show none). A kernel built without CONFIG_PCI_MSI looks like a machine
    with MSI switched off.

    ## References
    - Documentation/PCI/msi-howto.rst
    """
    for device in snapshot.pci or ():
        if not _wired_card(device):
            continue
        if device.pcie or device.driver in _ALWAYS:
            yield _finding(snapshot, device)
        elif device.driver not in _NEVER:
            name = _name(device)
            yield inconclusive(f"{name}: whether a card on conventional PCI has MSI is not known")


def _wired_card(device: PciDevice) -> bool:
    wired = bool(device.intx) and device.driver != "vfio-pci"
    return wired and (device.class_code >> 16 == _NETWORK)


def _name(device: PciDevice) -> str:
    return device.nets[0] if device.nets else device.address


def _finding(snapshot: Snapshot, device: PciDevice) -> Finding:
    cause = next(_causes(snapshot, device), None)
    said = f": {cause.said}" if cause else "; what keeps it from MSI is not known"
    chip = snapshot.interrupts.line(str(device.irq)) if snapshot.interrupts else None
    return Finding(
        subject=_name(device),
        severity=Severity.HIGH,
        message=f"{device.driver} takes irq {device.irq} over a wire and could use MSI{said}",
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
    title = "Find in the kernel's log and /etc/modprobe.d what keeps the card from MSI"
    return Fix("find-msi-obstacle", title, Risk.DISRUPTIVE)


def _causes(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    if no_msi(snapshot.cmdline or ()):
        fix = drop_nomsi(snapshot.cmdline or ())
        yield _Cause("pci=nomsi is on the kernel command line", fix, "irq/msi-off")
    yield from _options(snapshot, device)
    yield from _bridges(snapshot, device)
    for row in snapshot.kernel_log or ():
        mine = any(name in row.text for name in (device.address, *device.nets))
        if mine and _MSI.search(row.text) and _BAD.search(row.text):
            yield _Cause(f"the kernel's log says {row.text!r}", _look())


def _options(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    driver = device.driver or ""
    chosen = tuple(each for each in _OPTIONS.get(driver, ()) if _set(snapshot, driver, each))
    if not chosen or len(chosen) < len(_OPTIONS[driver]):
        return
    told = " ".join(f"{name}={value}" for name, value, _ in chosen)
    known = {f"{driver}.{name}" for name, _, _ in chosen}
    if any(word.partition("=")[0] in known for word in snapshot.cmdline or ()):
        words = (w for w in snapshot.cmdline or () if w.partition("=")[0] in known)
        fix = boot(
            "drop-driver-option", f"Boot without the option {told}", *map(BootOption, words)
        )
    else:
        options = ModuleOptions(driver, {name: value for name, _, value in chosen})
        loaded = options.row.split()[1:]
        reload = f"modprobe -r {shlex.quote(driver)} && {shlex.join(('modprobe', *loaded))}"
        rows = (reload, *shell(options))
        title = f"Load {driver} again without {told}; its links go down meanwhile"
        fix = commands(snapshot, "drop-driver-option", title, rows, risk=Risk.DISRUPTIVE)
        fix = replace(fix, settings=(options,))
    yield _Cause(f"{driver} was loaded with {told}", fix)


def _set(snapshot: Snapshot, driver: str, option: tuple[str, str, str]) -> bool:
    name, against, _ = option
    key = f"{driver}.{name}"
    asked = (w.removeprefix(f"{key}=") for w in snapshot.cmdline or () if w.startswith(f"{key}="))
    live = snapshot.modules.parameters.get(key) if snapshot.modules else None
    value = live if live is not None else next(asked, None)
    return value is not None and {_WORDS.get(v, v) for v in value.split(",")} == {against}


def _bridges(snapshot: Snapshot, device: PciDevice) -> Iterator[_Cause]:
    known = {each.address: each for each in snapshot.pci or ()}
    for address in device.bridges:
        bridge = known.get(address)
        if bridge and bridge.msi_allowed is False:
            rows = (
                written(f"/sys/bus/pci/devices/{address}/msi_bus", "1"),
                written(f"/sys/bus/pci/drivers/{device.driver}/unbind", device.address),
                written(f"/sys/bus/pci/drivers/{device.driver}/bind", device.address),
            )
            title = f"Allow MSI below the bridge {address}; the link goes down meanwhile"
            fix = commands(snapshot, "allow-msi", title, rows, risk=Risk.DISRUPTIVE)
            yield _Cause(f"the bridge {address} above it has msi_bus 0", fix)
