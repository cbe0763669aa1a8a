"""Checks of interrupt lines, and the helper functions that they share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dirtune.analyse import rates
from dirtune.analyse.cpu import Sample, busy_s
from dirtune.analyse.forecast import Waste, forecast, wasted
from dirtune.analyse.lines import Sharer, data_vector, nic_actions, nic_line, on_msi, pic, sharers
from dirtune.analyse.run import Forecast
from dirtune.checks import Fix, Risk, Verdicts, inconclusive
from dirtune.checks.once import once
from dirtune.checks.remedies import boot, commands
from dirtune.checks.together import MOST_NAMES, listed
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.pci import PciDevice
from dirtune.collect.proc_irq import IrqState
from dirtune.cpu_sets import format_cpulist
from dirtune.settings import BootOption, IrqCpus
from dirtune.snapshot import Snapshot

_NAME_BYTES = 16
"""IFNAMSIZ: the size of an interface name, with the zero byte at its end."""
ACTIVE_PER_SECOND = 10.0
"""Interrupts/s at which a vector counts as active; an estimate, not calibrated."""
_SEND_ONLY = re.compile(r"[-_.](?:tx|output)(?![A-Za-z])", re.IGNORECASE)
_EMULATED = frozenset(
    {"8139cp", "8139too", "e100", "e1000", "e1000e", "igb", "ne2k-pci", "pcnet32", "tulip"}
)
_BALANCERS = ("irqbalance", "tuna")
_RT = re.compile(r"\bPREEMPT[_ ]RT\b")

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


@dataclass(frozen=True, slots=True)
class Vector:
    """An interrupt line that carries packets of one interface."""

    line: Line
    interface: str
    rates: Mapping[int, float] | None
    """Interrupts per second on each CPU; None without two samples."""
    cpus: tuple[int, ...] | None
    """CPUs that receive the interrupt, from the effective affinity; None if unknown."""
    managed: bool | None
    """Whether the kernel manages the affinity, so that user space cannot change it."""

    @property
    def rate(self) -> float | None:
        """Interrupts per second on all CPUs."""
        return None if self.rates is None else sum(self.rates.values())


@once
def nic_vectors(snapshot: Snapshot) -> tuple[Vector, ...]:
    """Return the interrupts that signal NICs' packets, not those for link events or mailboxes.

    The kernel knows the interrupts of many drivers' queues (netdev netlink). The names of actions
    count for the other interfaces.
    """
    table = snapshot.interrupts or Interrupts((), ())
    by_irq = interfaces_by_irq(snapshot)
    mapped = set(by_irq.values())
    vectors: list[Vector] = []
    for line in table.numbered:
        name = by_irq.get(line.irq)
        if name is not None and len(line.actions) == 1:
            vectors.append(_vector(snapshot, table, line, name))
            continue
        named = (
            _interface(snapshot, sharer)
            for sharer in who(snapshot, line)
            if sharer.nic and data_vector(sharer.action, table)
        )
        vectors += (
            _vector(snapshot, table, line, interface)
            for interface in named
            if interface not in mapped or not on_msi(line)
        )
    return tuple(vectors)


@once
def interfaces_by_irq(snapshot: Snapshot) -> Mapping[str, str]:
    """Map the number of an interrupt to the interfaces that use it, as far as the kernel tells."""
    names = {i.ifindex: i.name for i in snapshot.interfaces or () if i.ifindex is not None}
    napis = snapshot.netdev.napis if snapshot.netdev else ()
    return {
        str(napi.irq): names[napi.ifindex]
        for napi in napis
        if napi.irq is not None and napi.ifindex in names
    }


@once
def _by_interface(snapshot: Snapshot) -> Mapping[str, tuple[Vector, ...]]:
    return grouped(nic_vectors(snapshot))


def vectors_of(snapshot: Snapshot, interface: str) -> tuple[Vector, ...]:
    """Return those of `nic_vectors` that signal the packets of *interface*."""
    return _by_interface(snapshot).get(interface, ())


def grouped(vectors: Iterable[Vector]) -> Mapping[str, tuple[Vector, ...]]:
    """Return *vectors* by interface."""
    groups: dict[str, list[Vector]] = {}
    for vector in vectors:
        groups.setdefault(vector.interface, []).append(vector)
    return {name: tuple(group) for name, group in groups.items()}


@once
def _physical(snapshot: Snapshot) -> Mapping[str, int]:
    """Return the place of each physical interface in the list of interfaces, by name."""
    names = (i.name for i in snapshot.interfaces or () if i.physical)
    return {name: place for place, name in enumerate(names)}


def _named_in(action: str, known: Mapping[str, int]) -> list[str]:
    """Return the names in *known* that *action* contains, in the order of *known*."""
    if len(action) * _NAME_BYTES > len(known):
        return [name for name in known if name in action]
    parts = {
        action[begin:end]
        for begin in range(len(action))
        for end in range(begin + 1, begin + _NAME_BYTES)
    }
    return sorted(parts & known.keys(), key=lambda name: known[name])


def _interface(snapshot: Snapshot, sharer: Sharer) -> str:
    names = sharer.device.nets if sharer.device else ()
    spelled = [
        n
        for n in (*names, *_named_in(sharer.action, _physical(snapshot)))
        if n in sharer.action and re.search(rf"\b{re.escape(n)}(?![A-Za-z0-9])", sharer.action)
    ]
    return (*spelled, *names, sharer.action.split("-")[0])[0]


def _vector(snapshot: Snapshot, table: Interrupts, line: Line, interface: str) -> Vector:
    state = (snapshot.proc_irq or {}).get(line.irq)
    seconds = snapshot.seconds
    deltas = rates.line_deltas(
        snapshot.earlier.interrupts if snapshot.earlier else None, line, table.cpus, seconds or 0.0
    )
    return Vector(
        line,
        interface,
        {cpu: n / seconds for cpu, n in deltas.items()} if deltas and seconds else None,
        state.effective if state else None,
        state.managed if state else None,
    )


def receiving(vectors: Iterable[Vector]) -> tuple[Vector, ...]:
    """Return *vectors* without those that only signal sent packets, such as `eth0-tx-0`."""
    return tuple(v for v in vectors if not all(map(_SEND_ONLY.search, v.line.actions)))


def active(vectors: Iterable[Vector]) -> tuple[Vector, ...]:
    """Return the vectors with `ACTIVE_PER_SECOND` interrupts/s or more between the samples."""
    return tuple(v for v in vectors if (v.rate or 0.0) >= ACTIVE_PER_SECOND)


def nic_cpus(snapshot: Snapshot) -> tuple[int, ...] | None:
    """Return the CPUs that take interrupts of active NIC vectors.

    If no vector is active, or if there is only one sample, the effective affinity decides. The
    result is None if neither rates nor affinity are known.
    """
    vectors = nic_vectors(snapshot)
    shares = (v.rates or {} for v in active(vectors))
    by_rate = {cpu for rates in shares for cpu, n in rates.items() if n >= ACTIVE_PER_SECOND}
    by_mask = {cpu for v in vectors for cpu in v.cpus or ()}
    return tuple(sorted(by_rate or by_mask)) or None


def per_cpu(vectors: Iterable[Vector]) -> Mapping[int, float]:
    """Return the interrupts/s of *vectors* on each CPU that takes some of these interrupts."""
    sums: dict[int, float] = {}
    for vector in vectors:
        for cpu, n in (vector.rates or {}).items():
            sums[cpu] = sums.get(cpu, 0.0) + n
    return {cpu: n for cpu, n in sums.items() if n}


def moved(snapshot: Snapshot, vectors: Iterable[Vector]) -> tuple[Vector, ...]:
    """Return the vectors whose CPUs or affinity mask changed between the two samples."""
    before = (snapshot.earlier.proc_irq if snapshot.earlier else None) or {}
    now = snapshot.proc_irq or {}
    return tuple(v for v in vectors if _placed(now, v) != _placed(before, v) is not None)


def card(snapshot: Snapshot, interface: str) -> PciDevice | None:
    """Return the PCI function of an interface; None if unknown."""
    return _cards(snapshot).get(interface)


@once
def _cards(snapshot: Snapshot) -> Mapping[str, PciDevice]:
    # If two functions have the same interface, the first one counts.
    return {name: device for device in reversed(snapshot.pci or ()) for name in device.nets}


def near(snapshot: Snapshot, interface: str) -> tuple[int, ...]:
    """Return the usable CPUs near an interface's NIC; if there are none, all usable CPUs."""
    if snapshot.cpus is None:
        return ()
    device = card(snapshot, interface)
    local = device.local_cpus if device else ()
    usable = snapshot.cpus.usable
    return tuple(cpu for cpu in usable if cpu in local) or usable


def cores_first(snapshot: Snapshot, cpus: Iterable[int]) -> tuple[int, ...]:
    """Return *cpus* in the order in which to use them: one CPU of each core, then the siblings."""
    siblings = snapshot.cpus.siblings if snapshot.cpus else {}
    rank: dict[int, int] = {}
    seen: dict[tuple[int, ...], int] = {}
    for cpu in cpus:
        core = siblings.get(cpu, (cpu,))
        rank[cpu] = seen.get(core, 0)
        seen[core] = rank[cpu] + 1
    return tuple(sorted(rank, key=lambda cpu: (rank[cpu], cpu)))


def spread(snapshot: Snapshot, vectors: Iterable[Vector], id: str = "spread-vectors") -> Fix:
    """Return the fix that gives each vector its own core near its NIC.

    Vectors that the kernel manages cannot be moved. Their CPUs depend on the number of queues, and
    on the boot option `irqaffinity=`.
    """
    movable = [v for v in vectors if not v.managed]
    used: dict[tuple[int, ...], int] = {}
    rows: list[IrqCpus] = []
    for vector in movable:
        order = cores_first(snapshot, near(snapshot, vector.interface))
        if order:
            at = used[order] = used.get(order, -1) + 1
            cpu = order[at % len(order)]
            rows.append(IrqCpus(vector.line.irq, (cpu,), vector.line.actions[0]))
    if not movable:
        title = (
            "Change the number of queues, or boot with irqaffinity=, because the kernel manages "
            "the affinity of these interrupts and refuses other CPUs"
        )
        return Fix("change-queues", title, Risk.DISRUPTIVE)
    return commands(snapshot, id, "Give each queue a core of its own", rows, what="irq")


def balancer(snapshot: Snapshot) -> bool | None:
    """Whether a program that distributes interrupts is running; None if processes are unknown."""
    if snapshot.processes is None:
        return None
    return any(p.name.startswith(_BALANCERS) for p in snapshot.processes if not p.kernel)


def start_irqbalance(snapshot: Snapshot) -> Fix:
    """Return the fix that starts irqbalance now and at boot."""
    rows = ("systemctl enable --now irqbalance",)
    title = "Let irqbalance distribute interrupts"
    return commands(snapshot, "start-irqbalance", title, rows, what="irq")


def realtime(snapshot: Snapshot) -> bool | None:
    """Whether the kernel was built with PREEMPT_RT; None if unknown."""
    version = snapshot.kernel.version if snapshot.kernel else None
    return None if version is None else bool(_RT.search(version))


def paravirtual(snapshot: Snapshot, driver: str | None) -> tuple[Fix, ...]:
    """Return the fix that replaces an emulated NIC in a guest; empty for any other NIC."""
    if not (snapshot.cpuinfo and snapshot.cpuinfo.guest and driver in _EMULATED):
        return ()
    title = "Give the guest a virtio or vmxnet3 NIC instead of the emulated one"
    return (Fix("use-paravirtual-card", title, Risk.REBOOT),)


def _placed(states: Mapping[str, IrqState], vector: Vector) -> tuple[object, object] | None:
    state = states.get(vector.line.irq)
    return (state.affinity, state.effective) if state else None


def who(snapshot: Snapshot, line: Line) -> tuple[Sharer, ...]:
    """Return the handlers on *line*, with their devices."""
    return sharers(line, snapshot.pci, snapshot.interfaces)


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


def named_cpus(cpus: Iterable[int]) -> str:
    """Return CPU numbers as a text for a sentence, such as `CPU 0` or `CPUs 0 and 2`."""
    numbers = tuple(cpus)
    short = len(numbers) <= MOST_NAMES
    names = map(str, numbers) if short else format_cpulist(numbers).split(",")
    return f"CPU{'s' if len(numbers) > 1 else ''} {listed(names)}"


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
