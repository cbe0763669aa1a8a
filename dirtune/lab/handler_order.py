"""Run a negative control: change only the order of the handlers on the NIC's interrupt line.

The kernel calls every handler of an interrupt line at every interrupt, so their order should not
change the CPU time. If the control shows an effect, dirtune's measurements report effects that do
not exist. Unbinding a device from its driver and binding it again makes its handler the last one
of the line. Only a lab may run this control, because the NIC that carries the load disappears for
a moment.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dirtune.analyse import lines
from dirtune.analyse.lines import Sharer
from dirtune.analyse.run import TrialKind
from dirtune.bench import rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.trial import conduct
from dirtune.collect.interrupts import SOURCE, Line, parse_interrupts
from dirtune.errors import LabError
from dirtune.remote import Node
from dirtune.remote.far_dirtune import FarDirtune
from dirtune.settings import written
from dirtune.signals import to_the_end
from dirtune.snapshot import Snapshot
from dirtune.tune import director, record, turn
from dirtune.tune.decide import Trying

Say = Callable[[str], None]

_ARMS = {"A": "last", "B": "first"}
"""The position of the NIC's handler on its line in each arm; after a boot, the handler is last."""
_REBIND = """\
{unbind}
{bind}
"""
# The interface and its addresses disappear while the NIC is unbound. After the NIC is bound again,
# its interface has a new name, which udev may change at any moment. If renaming fails, udev may
# have renamed the interface already.
_CARD = """\
set -e
held=$(ip -o -4 addr show dev {name} | awk '{{print $4}}')
{rebind}
until [ -e /sys/bus/pci/devices/{address}/net/{name} ]; do
  sleep 0.2
  now=$(ls /sys/bus/pci/devices/{address}/net) && ip link set dev "$now" name {name} || :
done
for each in $held; do ip addr add "$each" dev {name}; done
ip link set dev {name} up
"""
_SWITCH_S = 60


@dataclass(frozen=True, slots=True)
class Shared:
    """The NIC's interrupt line, and scripts that change the place of its handler on this line."""

    irq: str
    card: str
    """The name of the NIC's handler in /proc/interrupts."""
    scripts: dict[str, str]
    """Shell scripts by the place that they give the NIC's handler: `first` or `last`."""


def shared(snapshot: Snapshot) -> Shared:
    """Return the interrupt line that the director's NIC shares with other devices.

    Raises `LabError` if the NIC does not share its line.
    """
    table = snapshot.interrupts
    for line in table.numbered if table else ():
        sharing = lines.sharers(line, snapshot.pci, snapshot.interfaces)
        cards = [sharer for sharer in sharing if sharer.nic]
        if line.shared and len(cards) == 1:
            others = [sharer for sharer in sharing if not sharer.nic]
            return Shared(line.irq, cards[0].action, _scripts(cards[0], others))
    raise LabError(
        "The director's NIC does not share its interrupt line. Use --scenario noapic or crowded."
    )


def _scripts(card: Sharer, others: list[Sharer]) -> dict[str, str]:
    address, _ = _bound(card)
    own = _CARD.format(name=shlex.quote(card.action), address=address, rebind=_rebind(card))
    return {"last": own, "first": "set -e\n" + "".join(map(_rebind, others))}


def _bound(sharer: Sharer) -> tuple[str, str]:
    """Return the PCI address of the device on the interrupt line, and the device's driver.

    Raises `LabError` if no PCI function with a driver belongs to the handler of *sharer*.
    """
    if sharer.device is None or sharer.device.driver is None:
        raise LabError(
            f"{sharer.action} cannot be moved on its line, because no PCI function with a driver "
            "belongs to this handler."
        )
    return sharer.device.address, sharer.device.driver


def _rebind(sharer: Sharer) -> str:
    address, driver = _bound(sharer)
    folder = f"/sys/bus/pci/drivers/{driver}"
    unbind, bind = (written(f"{folder}/{verb}", address) for verb in ("unbind", "bind"))
    return _REBIND.format(unbind=unbind, bind=bind)


def place(line: Line, card: str) -> str:
    """Return the position of the NIC's handler on its interrupt line: first, last or between."""
    at = line.actions.index(card)
    return {0: "first", len(line.actions) - 1: "last"}.get(at, "between")


class Switch:
    """A callable that moves the NIC's handler to its position in an arm, and checks the result."""

    def __init__(self, director: Node, line: Shared, note: Callable[[str, str], None]) -> None:
        self._director = director
        self._line = line
        self._note = note

    async def __call__(self, arm: str) -> None:
        """Move the NIC's handler to its position in *arm*.

        Raises `LabError` if the order of the handlers does not change.
        """
        arms_place = _ARMS[arm]
        if place(await self._now(), self._line.card) != arms_place:
            await self._director.run(self._line.scripts[arms_place], timeout_s=_SWITCH_S)
        line = await self._now()
        if place(line, self._line.card) != arms_place:
            actions = ", ".join(line.actions)
            raise LabError(
                f"irq {line.irq}: {self._line.card} did not become the {arms_place} handler; "
                f"the order is {actions}"
            )
        self._note(f"cat {SOURCE}", f"arm {arm}: irq {line.irq} runs {', '.join(line.actions)}")

    async def _now(self) -> Line:
        table = parse_interrupts(await self._director.run(("cat", SOURCE)))
        line = table.line(self._line.irq)
        if line is None or self._line.card not in line.actions:
            raise LabError(
                f"irq {self._line.irq}: {self._line.card} has no handler on this line now"
            )
        return line


async def control(trying: Trying, out: Path, say: Say) -> Store:
    """Compare two orders: the NIC's handler is called last (arm A), and first (arm B)."""
    title = f"Negative control (only the order of handlers changes): {trying.title}"
    trying = replace(trying, title=title)
    plan = trying.plan
    kept = turn.begin(trying, out)

    def note(command: str, text: str) -> None:
        say(text)
        record.step(kept, command, text)

    async with rig.opened(plan) as nodes, await director.connect(plan) as node:
        version = await FarDirtune(node, plan.director.dirtune).version()
        record.save(kept, inventory=await turn.inventory(plan, node, version))
        switch = Switch(node, shared(await turn.snapshot_of(node)), note)
        try:
            await conduct(nodes, plan, Order("first", "A", TrialKind.BASELINE, plan.pair_rates[0]))
            await turn.run_pairs(trying, kept, nodes, switch, say)
        finally:
            await to_the_end(switch("A"))
    turn.judged(trying, kept)
    record.save(kept, finished=record.now())
    return kept
