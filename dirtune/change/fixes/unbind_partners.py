"""Remove idle devices from a NIC's interrupt line by unbinding their drivers.

A handler leaves the interrupt line when its driver releases the device. The interrupt number, the
bound driver and the handler's name identify the PCI function of a handler. If they match more than
one function, dirtune unbinds none. `analyse.lines.why_not_unbind` decides whether a device may be
unbound.
"""

from collections.abc import Iterator

from dirtune.analyse import lines
from dirtune.analyse.lines import Sharer
from dirtune.change.actions.unbind import Unbind
from dirtune.change.fixes import Fix, Question
from dirtune.change.plan import Change, Refusal
from dirtune.collect.interrupts import Line
from dirtune.settings import Risk
from dirtune.snapshot import Snapshot

_CHECK = "irq/shared-with-nic"
_ID = "unbind-partners"


def _plan(question: Question) -> Iterator[Change | Refusal]:
    for line in _lines(question.snapshot):
        yield from _partners(line, question)


def _lines(snapshot: Snapshot) -> Iterator[Line]:
    for line in snapshot.interrupts.numbered if snapshot.interrupts else ():
        sharing = lines.sharers(line, snapshot.pci, snapshot.interfaces)
        if line.shared and not lines.on_msi(line) and lines.nic_line(line, sharing):
            yield line


def _partners(line: Line, question: Question) -> Iterator[Change | Refusal]:
    snapshot = question.snapshot
    sharing = lines.sharers(line, snapshot.pci, snapshot.interfaces)
    card = next(sharer for sharer in sharing if sharer.nic)
    seen = {card.device and card.device.address}
    # Unbind the last handler first: the undo runs in reverse, and so restores the order.
    for sharer in reversed(sharing):
        device = sharer.device
        if sharer is card or (device and device.address in seen):
            continue
        seen.add(device and device.address)
        yield _partner(line, sharer, question)


def _partner(line: Line, sharer: Sharer, question: Question) -> Change | Refusal:
    snapshot, device = question.snapshot, sharer.device
    why = lines.why_not_unbind(sharer, line, snapshot.pci or (), snapshot.mounts, snapshot.swaps)
    if device is None or device.driver is None:
        return Refusal(_CHECK, _ID, sharer.action, why or "")
    subject = f"{device.address} ({sharer.action})"
    if why and device.address not in question.force:
        return Refusal(_CHECK, _ID, subject, why, device.address)
    action = Unbind(device.address, device.driver, line.irq, sharer.action)
    return Change(action, Risk.DISRUPTIVE, _CHECK, _ID, f"unbind {subject} from {device.driver}")


FIX = Fix(
    id=_ID,
    checks=(_CHECK, "irq/wasted-isr"),
    risk=Risk.DISRUPTIVE,
    title="Unbind the idle devices that share the NIC's interrupt line",
    function=_plan,
)
