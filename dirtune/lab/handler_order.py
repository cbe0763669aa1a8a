"""The negative control: only the order of the handlers on the card's line is changed.

The kernel calls every handler of a line at every interrupt, in any order, so the order should cost
nothing. An effect that is measured here is one that the method reports where there is none.
A handler goes to the end of its line when its device is bound again. Only the lab may do this,
because the card that carries the load is gone for a moment.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dirtune.analyse import lines
from dirtune.analyse.lines import Sharer
from dirtune.analyse.run import TrialKind
from dirtune.bench import campaign, rig
from dirtune.bench.outcome import Order
from dirtune.bench.store import Store
from dirtune.bench.trial import conduct
from dirtune.collect.interrupts import SOURCE, Line, parse_interrupts
from dirtune.errors import LabError
from dirtune.remote import Node
from dirtune.settings import written
from dirtune.signals import to_the_end
from dirtune.snapshot import Snapshot
from dirtune.tune import director, record, turn
from dirtune.tune.decide import Trying

Say = Callable[[str], None]

_ARMS = {"A": "last", "B": "first"}
"""Place of the card's handler on its line; after a boot it is the last."""
_REBIND = """\
{unbind}
{bind}
"""
# The interface and its addresses are gone while the card is unbound. When it is bound again, the
# kernel gives it a new name, which udev may change at any moment: a renaming that fails may have
# been done already.
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
    """The card's line, and the scripts that put the card's handler first or last on it."""

    irq: str
    card: str
    """The card's action."""
    scripts: dict[str, str]
    """Shell by the place that it gives the card's handler: `first`, `last`."""


def shared(snapshot: Snapshot) -> Shared:
    """Return the card's shared line; `LabError` if the card shares none."""
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
    """Return the address of the sharer's PCI function, and the driver that holds it."""
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
    """Return the place of the card's handler on its line: first, last or between."""
    at = line.actions.index(card)
    return {0: "first", len(line.actions) - 1: "last"}.get(at, "between")


class Switch:
    """Puts the card's handler into the arm's place, and reads the place back."""

    def __init__(self, director: Node, line: Shared, note: Callable[[str, str], None]) -> None:
        self._director = director
        self._line = line
        self._note = note

    async def __call__(self, arm: str) -> None:
        """Bring the line into the arm's order; `LabError` if it is not in it afterwards."""
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
            raise LabError(f"irq {self._line.irq}: {self._line.card} is no longer on this line")
        return line


async def control(trying: Trying, out: Path, say: Say) -> Store:
    """Compare the card's handler last on its line (A) with first (B), in interleaved pairs."""
    title = f"Negative control, only the handlers' order changes: {trying.title}"
    trying = replace(trying, title=title)
    plan = trying.plan
    kept = turn.begin(trying, out)

    def note(command: str, text: str) -> None:
        say(text)
        record.step(kept, command, text)

    async with rig.opened(plan) as nodes, await director.connect(plan) as node:
        record.save(kept, inventory=await turn.inventory(plan, node))
        switch = Switch(node, shared(await turn.snapshot_of(node)), note)
        try:
            await conduct(nodes, plan, Order("first", "A", TrialKind.BASELINE, plan.pair_rates[0]))
            await campaign.pairs(nodes, plan, switch, turn.keeping(kept, say))
        finally:
            await to_the_end(switch("A"))
    turn.judged(trying, kept)
    record.save(kept, finished=record.now())
    return kept
