"""IPVS tables and what a plan would change of one, as text, Markdown and JSON."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dirtune.lvs import ipvsadm
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import (
    ONE_PACKET,
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
from dirtune.tune.plan import Plan, commands

_HEAD = (
    *("service, real server", "how", "weight", "active", "inactive", "persistent"),
    *("conns/s", "packets/s in", "out", "bytes/s in", "out", "conns"),
)
_LEFT = 2
_NONE = ""
_Place = tuple[ServiceKey, DestinationKey | None] | None
_Before = dict[_Place, Service | Destination | Timeouts | None]
_SIGNS = {Verb.NEW: "+", Verb.SET: "~", Verb.DEL: "-"}


def show_table(table: Table, seen: Seen) -> str:
    """Return a row for each service and real server, then timeouts and sync daemons."""
    rows = [_HEAD, *_rows(table, seen)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (_line(row, widths) for row in rows)
    return "\n".join([*(lines if table.services else ["no service"]), "", *_rest(table)])


def show_markdown(table: Table, seen: Seen) -> str:
    """Return the same as Markdown."""
    marks = ["---" if n < _LEFT else "---:" for n in range(len(_HEAD))]
    rows = [_HEAD, marks, *_rows(table, seen)]
    lines = [f"| {' | '.join(row)} |" for row in rows] if table.services else ["no service"]
    return "\n".join([*lines, "", *(f"- {line}" for line in _rest(table))])


def show_json(table: Table, seen: Seen) -> str:
    """Return it under the schema dirtune/lvs/1."""
    services = [_counted_service(service, seen) for service in table.services]
    return _json(
        "lvs", digest=table.digest, services=services, **_whole(table.timeouts, table.daemons)
    )


def plan_table(plan: Plan, steps: Sequence[Step], actual: Table) -> str:
    """Return what is against what is wanted: `+` is added, `~` edited, `-` removed."""
    if not plan.changes:
        return "nothing to do"
    lines = [*_load_lines(plan), *_diff_lines(steps, actual)]
    return "\n".join([*lines, "", f"the table now: {actual.digest}"])


def plan_markdown(plan: Plan, steps: Sequence[Step], actual: Table) -> str:
    """Return the same as a fenced diff."""
    if not plan.changes:
        return "nothing to do"
    lines = [line.replace("~", "!", 1) for line in _diff_lines(steps, actual)]
    fenced = ["```diff", *_load_lines(plan), *lines, "```"]
    return "\n".join([*fenced, "", f"the table now: `{actual.digest}`"])


def plan_json(plan: Plan, steps: Sequence[Step], actual: Table) -> str:
    """Return it under the schema dirtune/lvs-plan/1."""
    before = _by_place(actual)
    return _json(
        "lvs-plan",
        digest=actual.digest,
        steps=[
            {
                "verb": step.verb,
                "name": step.name,
                "changed": dict(_changed(step, before)),
                "command": ipvsadm.command(step),
            }
            for step in steps
        ],
        changes=[
            {"title": change.title, "commands": commands(change.action)} for change in plan.changes
        ],
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if number < _LEFT else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _rows(table: Table, seen: Seen) -> Iterator[tuple[str, ...]]:
    for service in sorted(table.services, key=lambda each: each.key):
        numbers = seen.numbers.get((service.key, None))
        blank = (_NONE,) * 4
        yield (service.name, _setup(service), *blank, *_rates(numbers))
        for each in service.destinations:
            place = (service.key, each.key)
            open_ = map(str, seen.open.get(place, ("?",) * 3))
            said = (f"  {each.name}", _forwarding(each), str(each.weight), *open_)
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


def _setup(service: Service) -> str:
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


def _forwarding(destination: Destination) -> str:
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
        yield f"sync daemon {_daemon(daemon)}"


def _timeouts(timeouts: Timeouts) -> str:
    return f"timeouts: tcp {timeouts.tcp} s, tcp_fin {timeouts.tcp_fin} s, udp {timeouts.udp} s"


def _daemon(daemon: SyncDaemon) -> str:
    return (
        f"{daemon.state} on {daemon.interface}, id {daemon.sync_id}, to {daemon.group} "
        f"port {daemon.port}, ttl {daemon.ttl}, messages of {daemon.maxlen or 'default'} bytes"
    )


def _load_lines(plan: Plan) -> Iterable[str]:
    return (f"+ {change.title}" for change in plan.changes if change.title.startswith("load "))


def _diff_lines(steps: Sequence[Step], actual: Table) -> Iterator[str]:
    shown = None
    before = _by_place(actual)
    for step in steps:
        if step.of is not None and step.of.key != shown:
            # A service that is itself not touched heads what is done to its real servers.
            yield f"  {step.of.name}"
            shown = step.of.key
        if isinstance(step.what, Service):
            shown = step.what.key
        yield f"{_SIGNS[step.verb]} {'  ' if step.of else ''}{_said(step, before)}"


def _said(step: Step, before: _Before) -> str:
    if step.verb is Verb.SET:
        changed = (f"{key} {old} -> {new}" for key, (old, new) in _changed(step, before))
        name = step.what.name if isinstance(step.what, Destination) else step.name
        return f"{name}  {', '.join(changed)}"
    match step.what:
        case Service() as service:
            return f"{service.name}  {_setup(service)}"
        case Destination() as destination:
            return f"{destination.name}  {_forwarding(destination)} weight {destination.weight}"
        case SyncDaemon() as daemon:
            return f"sync daemon {_daemon(daemon)}"
    return step.name


def _changed(step: Step, before: _Before) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield each field that an edit changes, with what it was and what it becomes."""
    if step.verb is not Verb.SET:
        return
    was = before[_place(step)]
    for field in step.what.__struct_fields__:
        old, new = getattr(was, field, None), getattr(step.what, field)
        if field != "destinations" and old != new:
            yield field, (old, new)


def _by_place(table: Table) -> _Before:
    found: _Before = {None: table.timeouts}
    for service in table.services:
        found[service.key, None] = service
        for destination in service.destinations:
            found[service.key, destination.key] = destination
    return found


def _place(step: Step) -> _Place:
    match step.what:
        case Service() as service:
            return (service.key, None)
        case Destination() as destination if step.of is not None:
            return (step.of.key, destination.key)
    return None


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


def _json(name: str, **fields: object) -> str:
    return msgspec.json.encode({"schema": f"dirtune/{name}/1", **fields}).decode()
