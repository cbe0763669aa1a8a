"""Legacy interrupt lines (not MSI) that a NIC shares with other devices, and their cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from dirtune.analyse import rates
from dirtune.analyse.cpu import Sample, busy_s
from dirtune.analyse.forecast import Waste, forecast, wasted
from dirtune.analyse.lines import Sharer, data_vector, nic_actions, nic_line, on_msi, pic
from dirtune.analyse.run import Forecast
from dirtune.checks import Fix, Verdicts, inconclusive
from dirtune.checks.irq import who
from dirtune.checks.remedies import boot
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

PIC_OPTIONS = frozenset(
    {"noapic", "nolapic", "disableapic", "acpi=off", "acpi=noirq", "pci=noacpi"}
)
"""Boot options with which a machine uses the old 8259 interrupt controller (PIC)."""


@dataclass(frozen=True, slots=True)
class NicLine:
    """A legacy interrupt line (not MSI) that a NIC shares with another device."""

    line: Line
    cards: tuple[Sharer, ...]
    partners: tuple[Sharer, ...]
    """Handlers of other devices on the line, which include a second NIC."""
    rate: float | None
    """Interrupts per second; None if unknown."""
    waste: Waste | None
    """CPU cost of the partners' handlers; None if no probe measured it."""

    @property
    def subject(self) -> str:
        """The name of the line in findings, such as `irq 16`."""
        return f"irq {self.line.irq}"

    @property
    def evidence(self) -> dict[str, object]:
        """The evidence that every finding about the line has."""
        return {
            "irq": self.line.irq,
            "chip": self.line.chip,
            "actions": list(self.line.actions),
            "partners": [
                {"action": p.action, "kind": p.kind, "pci": p.device and p.device.address}
                for p in self.partners
            ],
            "interrupts_per_second": None if self.rate is None else round(self.rate, 1),
        }


def shared_nic_lines(snapshot: Snapshot) -> tuple[NicLine, ...]:
    """Return the legacy lines that a NIC shares with another device."""
    table = snapshot.interrupts or Interrupts((), ())
    wastes = wastes_by_irq(snapshot)
    wires = (line for line in table.numbered if line.shared and not on_msi(line))
    found = (_nic_line(snapshot, table, line, wastes.get(line.irq)) for line in wires)
    return tuple(line for line in found if line is not None)


def unknown_lines(snapshot: Snapshot) -> tuple[Line, ...]:
    """Return the shared legacy lines that may or may not have a NIC on them."""
    table = snapshot.interrupts or Interrupts((), ())
    wires = (line for line in table.numbered if line.shared and not on_msi(line))
    return tuple(line for line in wires if nic_line(line, who(snapshot, line)) is None)


def cut_off(snapshot: Snapshot) -> Verdicts:
    """Yield an inconclusive verdict if /proc/interrupts is cut off, so lines may be missing."""
    table = snapshot.interrupts or Interrupts((), ())
    if table.lines and table.lines[-1].cut:
        yield inconclusive(
            f"/proc/interrupts is cut off in the row of irq {table.lines[-1].irq}, so interrupt "
            "lines and handlers may be missing"
        )


def wastes_by_irq(snapshot: Snapshot) -> dict[str, Waste]:
    """Return the cost of needless handler calls on each NIC's line; empty without a probe."""
    if snapshot.handlers is None or snapshot.interrupts is None:
        return {}
    cards = nic_actions(snapshot.interrupts, snapshot.pci, snapshot.interfaces)
    return {str(waste.irq): waste for waste in wasted(snapshot.handlers, cards)}


def foreseen(snapshot: Snapshot, waste: Waste) -> Forecast | None:
    """Return the CPU time that an unshared line should save; None if the load is unknown.

    CPU time and connections were counted between the two samples, just before the probe ran. The
    forecast assumes that the load has not changed since.
    """
    earlier, handlers = snapshot.earlier, snapshot.handlers
    if earlier is None or handlers is None or snapshot.interrupts is None or not snapshot.seconds:
        return None
    if earlier.ip_vs_stats is None or snapshot.ip_vs_stats is None:
        return None
    made = snapshot.ip_vs_stats.connections - earlier.ip_vs_stats.connections
    busy = busy_s(_sample(earlier), _sample(snapshot))
    if not busy or made <= 0:
        return None
    cards = nic_actions(snapshot.interrupts, snapshot.pci, snapshot.interfaces)
    in_window = round(made * handlers.seconds / snapshot.seconds)
    return forecast(handlers, (waste.irq,), cards, in_window, busy * 1e6 / made)


def _sample(snapshot: Snapshot) -> Sample:
    return Sample(snapshot.taken_s or 0.0, snapshot.stat)


def rate(snapshot: Snapshot, line: Line) -> float | None:
    """Return the interrupts per second of *line*, from two samples or else from the probe."""
    if snapshot.earlier is not None and snapshot.interrupts is not None and snapshot.seconds:
        earlier, cpus = snapshot.earlier.interrupts, snapshot.interrupts.cpus
        delta = rates.line_delta(earlier, line, cpus, snapshot.seconds)
        if delta is not None:
            return delta / snapshot.seconds
    window = snapshot.handlers
    counted = window.line_counts.get(line.irq) if window else None
    return None if window is None or counted is None else counted / window.seconds


def pic_lines(snapshot: Snapshot) -> tuple[Line, ...]:
    """Return the lines of devices that use the old 8259 interrupt controller (PIC)."""
    table = snapshot.interrupts or Interrupts((), ())
    return tuple(line for line in table.numbered if pic(line))


def pic_options(cmdline: Iterable[str]) -> tuple[str, ...]:
    """Return the options on the kernel command line that turn the IO-APIC off."""
    return tuple(option for option in cmdline if option in PIC_OPTIONS)


def no_msi(cmdline: Iterable[str]) -> bool:
    """Whether a boot option turns MSI off for the whole machine."""
    pci = (option[4:].split(",") for option in cmdline if option.startswith("pci="))
    return any("nomsi" in words for words in pci)


def drop_nomsi(cmdline: Iterable[str]) -> Fix:
    """Return the fix that removes `nomsi` from the boot option `pci=`, but no other words."""
    words = [word for word in cmdline if word.startswith("pci=") and no_msi((word,))]
    rests = (",".join(w for w in word[4:].split(",") if w != "nomsi") for word in words)
    options = (BootOption(w, f"pci={r}" if r else "") for w, r in zip(words, rests, strict=True))
    return boot(
        "drop-nomsi", "Boot without pci=nomsi, and keep a boot entry that still has it", *options
    )


def is_s390(table: Interrupts) -> bool:
    """Whether *table* comes from an IBM Z, where adapters do not share interrupt lines."""
    return {"EXT", "I/O"} <= {line.irq for line in table.lines}


def _nic_line(
    snapshot: Snapshot, table: Interrupts, line: Line, waste: Waste | None
) -> NicLine | None:
    on_line = [(s, bool(s.nic and data_vector(s.action, table))) for s in who(snapshot, line)]
    cards = tuple(s for s, carries in on_line if carries)
    if not cards:
        return None
    others = (pair for pair in on_line if pair[0] != cards[0])
    partners = tuple(
        s for s, carries in others if (not s.nic or carries) and not _same_device(s, cards[0])
    )
    if not partners:
        return None
    return NicLine(line, cards, partners, rate(snapshot, line), waste)


def _same_device(one: Sharer, other: Sharer) -> bool:
    if one.device is None or other.device is None:
        # Without sysfs, only the name shows that eth0 and eth0-rx-0 belong to the same NIC.
        return one.action.split("-")[0] == other.action.split("-")[0] and bool(one.nic)
    return one.device.address == other.device.address
