"""How counters of NICs rose between the samples, and how old messages of the kernel log are."""

from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.analyse.losses import OVERRUNS, Loss, increases, losses
from dirtune.checks.once import once
from dirtune.collect.ethtool import Card
from dirtune.collect.log_messages import LogLine
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot


def card(snapshot: Snapshot, name: str) -> Card:
    """Return what ethtool reports for an interface; empty values if ethtool was not read."""
    return (snapshot.ethtool or {}).get(name, Card())


def before(snapshot: Snapshot, name: str) -> Interface | None:
    """Return an interface as it was in the earlier sample; None if it is missing there."""
    return _by_name(snapshot.earlier).get(name) if snapshot.earlier else None


@once
def _by_name(snapshot: Snapshot) -> Mapping[str, Interface]:
    return {interface.name: interface for interface in reversed(snapshot.interfaces or ())}


def rises(snapshot: Snapshot, name: str) -> Mapping[str, int] | None:
    """Return how much each counter of an interface's driver rose; None if unknown."""
    then = card(snapshot.earlier, name).statistics if snapshot.earlier else None
    return increases(then, card(snapshot, name).statistics)


def loss(snapshot: Snapshot, port: Interface) -> Loss | None:
    """Return the packets that *port* lost because its ring was full; None if not counted."""
    then = before(snapshot, port.name)
    generic = dict(increases(then.statistics, port.statistics) or {}) if then else {}
    overruns = rates.increase(_overruns(snapshot.earlier, port), _overruns(snapshot, port))
    if overruns is not None:
        generic[OVERRUNS] = overruns
    return losses(port.driver, generic, rises(snapshot, port.name))


def _overruns(snapshot: Snapshot | None, port: Interface) -> int | None:
    """Return the packets for which the queues of *port* had no buffer; None if unknown."""
    queues = snapshot.netdev.queues if snapshot and snapshot.netdev else ()
    counts = [q.overruns for q in queues if q.ifindex == port.ifindex and q.overruns is not None]
    return sum(counts) if counts else None


def age_s(snapshot: Snapshot, line: LogLine) -> float | None:
    """Return how many seconds ago the kernel wrote *line*; None if unknown."""
    known = line.seconds is not None and snapshot.taken_s is not None
    return (snapshot.taken_s or 0) - (line.seconds or 0) if known else None


def arriving(snapshot: Snapshot) -> int | None:
    """Return the packets that NICs received, sent or lost between the samples.

    The result is None if no NIC has counters in both samples.
    """
    earlier = snapshot.earlier.interfaces if snapshot.earlier else None
    handled = rates.nic_pps(earlier, snapshot.interfaces)
    lost = [loss(snapshot, i) for i in snapshot.interfaces or () if i.physical]
    known = [each.packets for each in lost if each]
    return handled if not known else (handled or 0) + sum(known)
