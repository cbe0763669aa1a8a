"""An IPVS table and what it counts, as text, Markdown and JSON."""

from collections.abc import Iterator

import msgspec

from dirtune.lvs.model import (
    ONE_PACKET,
    Destination,
    Numbers,
    Seen,
    Service,
    SyncDaemon,
    Table,
    Timeouts,
)

_HEAD = (
    *("service, real server", "how", "weight", "active", "inactive", "persistent"),
    *("conns/s", "packets/s in", "out", "bytes/s in", "out", "conns"),
)
_LEFT = 2
_NONE = ""


def table(table: Table, seen: Seen) -> str:
    """Return a row for each service and real server, then timeouts and sync daemons."""
    rows = [_HEAD, *_rows(table, seen)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # One format for all: a call for each cell of ten thousand rows takes as long as the rest.
    sides = ("<" if number < _LEFT else ">" for number in range(len(widths)))
    form = "  ".join(f"{{:{side}{w}}}" for side, w in zip(sides, widths, strict=True)).format
    lines = (form(*row).rstrip() for row in rows)
    return "\n".join([*(lines if table.services else ["no service"]), "", *_rest(table)])


def markdown(table: Table, seen: Seen) -> str:
    """Return the same as Markdown."""
    marks = ["---" if n < _LEFT else "---:" for n in range(len(_HEAD))]
    rows = [_HEAD, marks, *_rows(table, seen)]
    lines = [f"| {' | '.join(row)} |" for row in rows] if table.services else ["no service"]
    return "\n".join([*lines, "", *(f"- {line}" for line in _rest(table))])


def document(table: Table, seen: Seen) -> str:
    """Return it under the schema dirtune/lvs/1."""
    services = [_counted_service(service, seen) for service in table.services]
    return as_json(
        "lvs", digest=table.digest, services=services, **_whole(table.timeouts, table.daemons)
    )


def _rows(table: Table, seen: Seen) -> Iterator[tuple[str, ...]]:
    for service in sorted(table.services, key=lambda each: each.key):
        numbers = seen.numbers.get((service.key, None))
        blank, key = (_NONE,) * 4, service.key
        yield (service.name, setup(service), *blank, *_rates(numbers))
        for each in service.destinations:
            place = (key, each.key)
            open_ = map(str, seen.open.get(place, ("?",) * 3))
            said = (f"  {each.name}", forwarding(each), str(each.weight), *open_)
            yield (*said, *_rates(seen.numbers.get(place)))


def _rates(numbers: Numbers | None) -> tuple[str, ...]:
    if numbers is None:  # made between two questions to the kernel
        return ("?",) * 6
    return (
        str(numbers.connections_per_s),
        str(numbers.packets_in_per_s),
        str(numbers.packets_out_per_s),
        str(numbers.bytes_in_per_s),
        str(numbers.bytes_out_per_s),
        str(numbers.connections),
    )


def setup(service: Service) -> str:
    """Return how a service is set up, in a few words."""
    words = [service.scheduler, *service.flag_names]
    if service.flags & ONE_PACKET:
        words.append("ops")
    if service.persistent_s is not None:
        words.append(f"persistent {service.persistent_s} s")
    if service.netmask:
        words.append(f"by /{service.netmask}")
    if service.engine:
        words.append(service.engine)
    return " ".join(words)


def forwarding(destination: Destination) -> str:
    """Return how a real server gets its packets, and its thresholds."""
    words: list[str] = [destination.forwarding]
    if destination.forwarding == "tun":
        port = f":{destination.tunnel_port}" if destination.tunnel_port else ""
        words.append(f"{destination.tunnel}{port}")
    if destination.upper or destination.lower:
        words.append(f"{destination.lower}..{destination.upper} connections")
    return " ".join(words)


def _rest(table: Table) -> Iterator[str]:
    if table.timeouts is not None:
        yield _timeouts(table.timeouts)
    for daemon in table.daemons or ():
        yield f"sync daemon {sync_daemon(daemon)}"


def _timeouts(timeouts: Timeouts) -> str:
    return f"timeouts: tcp {timeouts.tcp} s, tcp_fin {timeouts.tcp_fin} s, udp {timeouts.udp} s"


def sync_daemon(daemon: SyncDaemon) -> str:
    """Return what a sync daemon does."""
    return (
        f"{daemon.state} on {daemon.interface}, id {daemon.sync_id}, to {daemon.group} "
        f"port {daemon.port}, ttl {daemon.ttl}, messages of {daemon.maxlen or 'default'} bytes"
    )


def _counted_service(service: Service, seen: Seen) -> dict[str, object]:
    return {
        **_fields(service),
        "flags": [*service.flag_names, *(["ops"] if service.flags & ONE_PACKET else [])],
        "numbers": seen.numbers.get((service.key, None)),
        "destinations": [
            _counted_destination(service, each, seen) for each in service.destinations
        ],
    }


def _counted_destination(
    service: Service, destination: Destination, seen: Seen
) -> dict[str, object]:
    place = (service.key, destination.key)
    open_ = seen.open.get(place, (None,) * 3)
    return {
        **_fields(destination),
        **dict(zip(("active", "inactive", "persistent"), open_, strict=True)),
        "numbers": seen.numbers.get(place),
    }


def _fields(value: msgspec.Struct) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _whole(timeouts: Timeouts | None, daemons: tuple[SyncDaemon, ...] | None) -> dict[str, object]:
    rows = None if daemons is None else [_fields(daemon) for daemon in daemons]
    return {"timeouts": timeouts, "daemons": rows}


def as_json(name: str, **fields: object) -> str:
    """Return *fields* under the schema dirtune/NAME/1."""
    return msgspec.json.encode({"schema": f"dirtune/{name}/1", **fields}).decode()
