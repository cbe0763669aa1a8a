"""Steps that turn one IPVS table into another. Pure: two tables in, steps out.

New services and real servers are added before old ones are removed, so no service is left without
a real server. A sync daemon cannot be edited: to change a daemon, the steps stop it and start it
again. Sync daemons stop first and start last: while one runs, the kernel refuses a real server
whose address family differs from that of its service.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from msgspec.structs import replace

from dirtune.lvs.model import (
    Destination,
    DestinationKey,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
)


class Verb(StrEnum):
    """The kind of request; the names are those of the kernel's commands (IPVS_CMD_*)."""

    NEW = "new"
    SET = "set"
    DEL = "del"


@dataclass(frozen=True, slots=True)
class Step:
    """One request to the kernel."""

    verb: Verb
    what: Service | Destination | SyncDaemon | Timeouts
    of: Service | None = None
    """The service that the destination belongs to; None if *what* is not a destination."""

    @property
    def name(self) -> str:
        """The name of what the step changes: a service, destination, sync daemon or timeouts."""
        match self.what:
            case Service() as service:
                return service.name
            case Destination() as destination:
                return f"{self.of.name if self.of else ''} -> {destination.name}"
            case SyncDaemon() as daemon:
                return f"sync daemon {daemon.state}"
        return "timeouts"


def diff(actual: Table, desired: Table) -> tuple[Step, ...]:
    """Return the steps that turn *actual* into *desired*; no steps if the tables are equal."""
    have, want = by_key(actual.services), by_key(desired.services)
    gone, new = _daemons(actual, desired)
    return (
        *_timeouts(actual, desired),
        *(Step(Verb.DEL, daemon) for daemon in gone),
        *_additions(have, want),
        *_removals(have, want),
        *(Step(Verb.NEW, daemon) for daemon in new),
    )


def by_key(services: Iterable[Service]) -> dict[ServiceKey, Service]:
    """Return a dict that maps the key of each service to the service."""
    return {service.key: service for service in services}


def touched(actual: Table, desired: Table) -> tuple[Table, Table]:
    """Return both tables without the services and settings that are equal in both."""
    have, want = by_key(actual.services), by_key(desired.services)
    keys = {*have, *want} - {key for key in have if key in want and same(have[key], want[key])}
    timeouts = desired.timeouts not in {None, actual.timeouts}
    daemons = any(_daemons(actual, desired))

    def part(table: Table) -> Table:
        return Table(
            tuple(service for service in table.services if service.key in keys),
            table.timeouts if timeouts else None,
            table.daemons if daemons else None,
        )

    return part(actual), part(desired)


def only(table: Table, like: Table) -> Table:
    """Return *table* reduced to what *like* contains.

    The result has only those services whose keys are also in *like*. It has no timeouts or no
    daemons (None) if *like* has none.
    """
    keys = {service.key for service in like.services}
    return Table(
        tuple(service for service in table.services if service.key in keys),
        None if like.timeouts is None else table.timeouts,
        None if like.daemons is None else table.daemons,
    )


def quiesced(actual: Table, desired: Table) -> Table:
    """Return *desired* plus the services and destinations of *actual* that *desired* lacks.

    These destinations get weight 0, so they keep their connections but get no new ones.
    """
    want = by_key(desired.services)
    kept = dict(want)
    for have in actual.services:
        stays = want.get(have.key)
        kept_keys = {destination.key for destination in stays.destinations} if stays else set()
        going = tuple(
            replace(destination, weight=0)
            for destination in have.destinations
            if destination.key not in kept_keys
        )
        base = stays or replace(have, destinations=())
        kept[have.key] = replace(base, destinations=(*base.destinations, *going))
    gone, _ = _daemons(actual, desired)
    daemons = tuple(destination for destination in actual.daemons or () if destination not in gone)
    return Table(
        tuple(kept.values()),
        desired.timeouts,
        None if desired.daemons is None else daemons,
    )


def same(have: Service, want: Service) -> bool:
    """Return whether two services have the same settings, ignoring the order of destinations."""
    if have == want:
        return True
    return _bare(have) == _bare(want) and _destinations(have) == _destinations(want)


def _additions(have: dict[ServiceKey, Service], want: dict[ServiceKey, Service]) -> Iterator[Step]:
    for key, service in want.items():
        before = have.get(key)
        if before is None:
            yield Step(Verb.NEW, service)
        elif before == service:
            continue
        elif _bare(before) != _bare(service):
            yield Step(Verb.SET, service)
        present = _destinations(before) if before else {}
        for destination in service.destinations:
            now = present.get(destination.key)
            if now is None:
                yield Step(Verb.NEW, destination, service)
            elif now != destination:
                yield Step(Verb.SET, destination, service)


def _removals(have: dict[ServiceKey, Service], want: dict[ServiceKey, Service]) -> Iterator[Step]:
    for key, service in have.items():
        after = want.get(key)
        if after is None:
            yield Step(Verb.DEL, service)
            continue
        wanted = _destinations(after)
        for destination in service.destinations:
            if destination.key not in wanted:
                yield Step(Verb.DEL, destination, service)


def _timeouts(actual: Table, desired: Table) -> Iterator[Step]:
    if desired.timeouts is not None and desired.timeouts != actual.timeouts:
        yield Step(Verb.SET, desired.timeouts)


def _daemons(
    actual: Table, desired: Table
) -> tuple[tuple[SyncDaemon, ...], tuple[SyncDaemon, ...]]:
    """Return the daemons to stop and the daemons to start."""
    if desired.daemons is None:
        return (), ()
    have, want = actual.daemons or (), desired.daemons
    gone = tuple(each for each in have if not any(_serves(each, other) for other in want))
    new = tuple(each for each in want if not any(_serves(other, each) for other in have))
    return gone, new


def _serves(have: SyncDaemon, want: SyncDaemon) -> bool:
    return have == (want if want.maxlen is not None else replace(want, maxlen=have.maxlen))


def _bare(service: Service) -> Service:
    return replace(service, destinations=())


def _destinations(service: Service) -> dict[DestinationKey, Destination]:
    return {each.key: each for each in service.destinations}
