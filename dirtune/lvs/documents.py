"""JSON documents with IPVS tables, which one dirtune prints and another reads. Pure data."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from dirtune.addresses import family
from dirtune.formats import parsing
from dirtune.lvs import ipvsadm, values
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import (
    IP_VS_SVC_F_ONEPACKET,
    Destination,
    DestinationKey,
    Numbers,
    Seen,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
)

_ONE_PACKET = "ops"
_PORTS = range(2**16)
_NUMBERS = range(2**32)
_Place = tuple[ServiceKey, DestinationKey | None] | None
Before = Mapping[_Place, Service | Destination | Timeouts | None]


class CountedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """A real server with its counters."""

    address: str
    port: int
    forwarding: str
    weight: int
    upper: int
    lower: int
    tunnel: str
    tunnel_port: int
    tunnel_flags: int
    active: int
    inactive: int
    persistent: int
    numbers: Numbers


class CountedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service with its counters and its real servers."""

    protocol: str
    address: str
    port: int
    scheduler: str
    family: int
    flags: tuple[str, ...]
    persistent_s: int | None
    netmask: str
    engine: str
    numbers: Numbers
    destinations: tuple[CountedDestination, ...]


class LvsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An IPVS table with its counters."""

    schema: Literal["dirtune/lvs/1"] = "dirtune/lvs/1"
    digest: str
    services: tuple[CountedService, ...]
    timeouts: Timeouts | None
    daemons: tuple[dict[str, object], ...] | None


class ShownStep(msgspec.Struct, frozen=True):
    """One request to the kernel, and the ipvsadm(8) command that does the same."""

    verb: Verb
    name: str
    changed: dict[str, tuple[object, object]]
    """Values before and after an edit, by field; empty unless the step is an edit."""
    command: str


class LvsPlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The steps that turn the current table into the planned one."""

    schema: Literal["dirtune/lvs-plan/1"] = "dirtune/lvs-plan/1"
    digest: str
    """The digest of the current table, for `apply --expect`."""
    steps: tuple[ShownStep, ...]
    modules: tuple[str, ...]
    changes: tuple[str, ...]


class NeededSetting(msgspec.Struct, frozen=True):
    """A change to a setting outside IPVS, which a node needs for its part in a plan."""

    title: str
    check: str
    """The id of the check that asks for the change."""
    risk: str
    commands: tuple[str, ...]


class DirectorPlanDocument(LvsPlanDocument, frozen=True, kw_only=True):
    """The steps that change a director's table, and the settings that it needs for them."""

    settings: tuple[NeededSetting, ...] = ()


def table_document(table: Table, seen: Sequence[Seen]) -> LvsDocument:
    """Return the document of *table*; *seen* has its services' counters, in the same order."""
    return LvsDocument(
        digest=table.digest,
        services=tuple(map(_counted_service, table.services, seen)),
        timeouts=table.timeouts,
        daemons=None if table.daemons is None else tuple(map(_fields, table.daemons)),
    )


@parsing("the IPVS table", msgspec.ValidationError)
def table_of(document: LvsDocument) -> tuple[Table, tuple[Seen, ...]]:
    """Return the table and the counters of a document, which may come from another host.

    Raises `ParseError` if the document has an address, flag or number that no IPVS table can have.
    The table can therefore be exported safely for ipvsadm or keepalived.
    """
    daemons = document.daemons
    table = Table(
        tuple(map(_service, document.services)),
        document.timeouts,
        None
        if daemons is None
        else tuple(msgspec.convert(daemon, SyncDaemon) for daemon in daemons),
    )
    ipvsadm.require_words(table)
    return table, tuple(map(_seen, document.services))


def plan_document(
    steps: Sequence[Step], actual: Table, modules: tuple[str, ...], changes: tuple[str, ...]
) -> LvsPlanDocument:
    """Return the document of the *steps* that turn the table *actual* into the planned one.

    *modules* are the kernel modules to load before the first step; *changes* are the titles of the
    changes in the journal.
    """
    before = by_place(actual)
    return LvsPlanDocument(
        digest=actual.digest,
        steps=tuple(
            ShownStep(step.verb, step.name, changed_fields(step, before), ipvsadm.command(step))
            for step in steps
        ),
        modules=modules,
        changes=changes,
    )


def by_place(table: Table) -> Before:
    """Return the services, destinations and timeouts of *table* in one dict.

    The key is (service key, None) for a service, (service key, destination key) for a destination,
    and None for the timeouts.
    """
    places: dict[_Place, Service | Destination | Timeouts | None] = {None: table.timeouts}
    for service in table.services:
        places[service.key, None] = service
        for destination in service.destinations:
            places[service.key, destination.key] = destination
    return places


def changed_fields(step: Step, before: Before) -> dict[str, tuple[object, object]]:
    """Return the fields that an edit changes, each with its value before and after."""
    if step.verb is not Verb.SET:
        return {}
    was = before[_place(step)]
    fields = (
        (f, getattr(was, f, None), getattr(step.what, f)) for f in step.what.__struct_fields__
    )
    return {f: (old, new) for f, old, new in fields if f != "destinations" and old != new}


def _place(step: Step) -> _Place:
    match step.what:
        case Service() as service:
            return (service.key, None)
        case Destination() as destination if step.of is not None:
            return (step.of.key, destination.key)
    return None


def _counted_service(service: Service, seen: Seen) -> CountedService:
    own = _fields(service) | {
        "flags": (*service.flag_names, *((_ONE_PACKET,) if service.one_packet else ())),
        "destinations": tuple(map(_counted_destination, service.destinations, seen.destinations)),
    }
    return CountedService(**own, numbers=seen.numbers)


def _counted_destination(
    destination: Destination, seen: tuple[tuple[int, int, int], Numbers]
) -> CountedDestination:
    (active, inactive, persistent), numbers = seen
    return CountedDestination(
        **_fields(destination),
        active=active,
        inactive=inactive,
        persistent=persistent,
        numbers=numbers,
    )


def _service(counted: CountedService) -> Service:
    own = {name: getattr(counted, name) for name in Service.__struct_fields__}
    names = (name for name in counted.flags if name != _ONE_PACKET)
    flags = values.flag_bits(counted.scheduler, names)
    own["flags"] = flags | (IP_VS_SVC_F_ONEPACKET if _ONE_PACKET in counted.flags else 0)
    own["destinations"] = tuple(map(_destination, counted.destinations))
    service = msgspec.convert(own, Service)
    marked = service.protocol == "fwmark"
    if not marked:
        _require_address(service.address, service.family)
    elif service.address:
        raise ValueError("a service with a firewall mark must not have an address")
    _require(service.port, _NUMBERS if marked else _PORTS)
    if service.netmask:
        values.persistence_mask(service.netmask, service.family)
    if service.persistent_s is not None:
        _require(service.persistent_s, _NUMBERS)
    return service


def _destination(counted: CountedDestination) -> Destination:
    own = {name: getattr(counted, name) for name in Destination.__struct_fields__}
    destination = msgspec.convert(own, Destination)
    _require_address(destination.address, family(destination.address))
    for number in (destination.port, destination.tunnel_port, destination.tunnel_flags):
        _require(number, _PORTS)
    for number in (destination.weight, destination.upper, destination.lower):
        _require(number, _NUMBERS)
    return destination


def _require_address(text: str, version: int) -> None:
    if "%" in text or ipaddress.ip_address(text).version != version:
        raise ValueError(f"{text!r} is not an IPv{version} address")


def _require(number: int, known: range) -> None:
    if number not in known:
        raise ValueError(f"{number} is not a number from 0 to {known[-1]}")


def _seen(counted: CountedService) -> Seen:
    return Seen(
        counted.numbers,
        tuple(((d.active, d.inactive, d.persistent), d.numbers) for d in counted.destinations),
    )


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
