"""Checks of interrupt lines, and the helper functions that they share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dirtune.analyse import rates
from dirtune.analyse.lines import Sharer, data_vector, on_msi, sharers
from dirtune.checks import Fix, Risk
from dirtune.checks.once import once
from dirtune.checks.remedies import commands
from dirtune.checks.together import MOST_NAMES, listed
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.pci import PciDevice
from dirtune.collect.proc_irq import IrqState
from dirtune.cpu_sets import format_cpulist
from dirtune.settings import IrqCpus
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


def named_cpus(cpus: Iterable[int]) -> str:
    """Return CPU numbers as a text for a sentence, such as `CPU 0` or `CPUs 0 and 2`."""
    numbers = tuple(cpus)
    short = len(numbers) <= MOST_NAMES
    names = map(str, numbers) if short else format_cpulist(numbers).split(",")
    return f"CPU{'s' if len(numbers) > 1 else ''} {listed(names)}"
