"""Render an IPVS table and its counters as text, Markdown or JSON."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from dirtune.escape import one_line
from dirtune.lvs.documents import table_document
from dirtune.lvs.model import (
    Destination,
    Seen,
    Service,
    SyncDaemon,
    Table,
    Timeouts,
)
from dirtune.render.cells import shortened, widest
from dirtune.render.markdown import escaped

_HEAD = (
    *("service, real server", "settings", "weight", "active", "inactive", "persistent"),
    *("conns/s", "packets/s in", "out", "bytes/s in", "out", "total conns"),
)
_LEFT = 2
_rates = attrgetter(
    *("connections_per_s", "packets_in_per_s", "packets_out_per_s"),
    *("bytes_in_per_s", "bytes_out_per_s", "connections"),
)
_NONE = ""
_KERNEL = 1 << 64
"""Counters of the kernel are smaller."""
_EMPTY = "The IPVS table has no services."


def table(table: Table, seen: Sequence[Seen]) -> str:
    """Return a row for each service and each real server, then timeouts and sync daemons."""
    most = widest(sum(1 + len(service.destinations) for service in table.services))
    rows = [_HEAD, *(_shortened(row, most) for row in _rows(table, seen))]
    widths = [max(map(len, map(str, column))) for column in zip(*rows, strict=True)]
    # All rows use one format: with ten thousand rows, one call per cell would double the time.
    form = "  ".join(f"%{-w if n < _LEFT else w}s" for n, w in enumerate(widths))
    lines = (one_line((form % row).rstrip()) for row in rows)
    return "\n".join(
        [
            *(lines if table.services else [_EMPTY]),
            "",
            *map(one_line, _rest(table)),
        ]
    )


def markdown(table: Table, seen: Sequence[Seen]) -> str:
    """Return the IPVS table as Markdown, then timeouts and sync daemons."""
    marks = ["---" if n < _LEFT else "---:" for n in range(len(_HEAD))]
    rows = ((escaped(str(cell), cell=True) for cell in row) for row in _rows(table, seen))
    shown = [f"| {' | '.join(row)} |" for row in (_HEAD, marks, *rows)]
    lines = shown if table.services else [_EMPTY]
    return "\n".join([*lines, "", *(f"- {escaped(line)}" for line in _rest(table))])


def document(table: Table, seen: Sequence[Seen]) -> str:
    """Return the IPVS table as JSON in the schema `dirtune/lvs/1`."""
    return msgspec.json.encode(table_document(table, seen)).decode()


def _rows(table: Table, seen: Sequence[Seen]) -> Iterator[tuple[str | int, ...]]:
    counted = zip(table.services, seen, strict=True)
    blank = (_NONE,) * 4
    for service, (own, of_destinations) in sorted(counted, key=lambda pair: pair[0].key):
        yield (service.name, setup(service), *blank, *_rates(own))
        pairs = zip(service.destinations, of_destinations, strict=True)
        for real, (open_, numbers) in pairs:
            yield (f"  {real.name}", forwarding(real), real.weight, *open_, *_rates(numbers))


def _shortened(row: tuple[str | int, ...], most: int) -> tuple[str | int, ...]:
    # Another host can send a number with thousands of digits.
    return tuple(
        cell if isinstance(cell, int) and cell < _KERNEL else shortened(str(cell), most)
        for cell in row
    )


def setup(service: Service) -> str:
    """Return the settings of a service as text, in the words of ipvsadm(8)."""
    words = [service.scheduler, *service.flag_names]
    if service.one_packet:
        words.append("ops")
    if service.persistent_s is not None:
        words.append(f"persistent {service.persistent_s} s")
    if service.netmask:
        words.append(f"mask {service.netmask}")
    if service.engine:
        words.append(service.engine)
    return " ".join(words)


def forwarding(destination: Destination) -> str:
    """Return the forwarding method of a real server, and its connection thresholds."""
    words: str = destination.forwarding
    if words == "tun":
        port = f":{destination.tunnel_port}" if destination.tunnel_port else ""
        words += f" {destination.tunnel}{port}"
    if destination.upper or destination.lower:
        words += f" thresholds {destination.lower}..{destination.upper}"
    return words


def _rest(table: Table) -> Iterator[str]:
    if table.timeouts is not None:
        yield _timeouts(table.timeouts)
    for daemon in table.daemons or ():
        yield f"sync daemon {sync_daemon(daemon)}"


def _timeouts(timeouts: Timeouts) -> str:
    return f"timeouts: tcp {timeouts.tcp} s, tcp_fin {timeouts.tcp_fin} s, udp {timeouts.udp} s"


def sync_daemon(daemon: SyncDaemon) -> str:
    """Return the settings of a sync daemon as text."""
    size = "default size" if daemon.maxlen is None else f"up to {daemon.maxlen} bytes"
    return (
        f"{daemon.state} on {daemon.interface}, id {daemon.sync_id}, to {daemon.group} "
        f"port {daemon.port}, ttl {daemon.ttl}, messages of {size}"
    )
