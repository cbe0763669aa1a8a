from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
)
from dirtune.checks.client import TIME_WAIT_S, addresses, ports, time_wait
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_USED_PERCENT = 80  # an estimate, not calibrated
# With fewer than this share of the expected sockets in TIME_WAIT, the other side closes first.
_OURS_PERCENT = 50  # an estimate, not calibrated
_WIDE = (1024, 65535)


@check(
    "client/ephemeral-ports",
    severity=Severity.HIGH,
    trust="A",
    needs=("sysctls", "snmp"),
    roles=(Role.CLIENT,),
)
def ephemeral_ports(snapshot: Snapshot) -> Verdicts:
    """A client runs out of source ports.

    ## What it does
    The number of source ports is the size of `ip_local_port_range` without reserved ports, times
    the number of the client's addresses. The check reports a client if sockets in TIME_WAIT use
    80 % of these ports or more. It also reports a client if its planned or measured rate of new
    connections is at least the number of ports divided by 60 s. The default of 28,232 ports allows
    470 connections/s to one address and port. The planned rate does not count if `tcp_tw_reuse` is
    1 with timestamps, because a port is then free again after a second. If a client with a high
    measured rate has few sockets in TIME_WAIT, it keeps its connections open or the server closes
    them first, and the check is inconclusive.

    ## Why it matters
    A port stays in TIME_WAIT for 60 s. This limits the rate of new connections, and looks like a
    limit of the director.

    ## Remediation
    Set `net.ipv4.ip_local_port_range` to `1024 65535`, connect from more addresses, bind with
    IP_BIND_ADDRESS_NO_PORT, or keep connections open.

    ## Known problems
    The kernel does not count sockets by destination. A client that connects to several services
    has more free ports than the check assumes.

    ## References
    - Documentation/networking/ip-sysctl.rst, `ip_local_port_range`
    """
    per_address, sources = ports(snapshot), addresses(snapshot)
    waiting = time_wait(snapshot)
    if per_address is None or sources is None:
        yield inconclusive("the range of source ports or the addresses of this host are unknown")
        return
    room = per_address * sources
    if waiting is not None and 100 * waiting >= _USED_PERCENT * room:
        message = f"{waiting:,} of the {room:,} source ports of this client are in TIME_WAIT"
        yield _finding(snapshot, message, room)
    else:
        yield from _by_rate(snapshot, room, waiting)


def _by_rate(snapshot: Snapshot, room: int, waiting: int | None) -> Iterator[Finding | Undecided]:
    wall = room / TIME_WAIT_S
    measured = _opened(snapshot)
    if measured is not None and measured >= wall:
        expected = min(measured * TIME_WAIT_S, room)
        if waiting is not None and 100 * waiting >= _OURS_PERCENT * expected:
            message = (
                f"This client opens {measured:,.0f} connections/s, but its {room:,} source "
                f"ports allow {wall:,.0f} connections/s"
            )
            yield _finding(snapshot, message, room)
        else:
            yield inconclusive(
                f"this client opens {measured:,.0f} connections/s and has few sockets in "
                "TIME_WAIT, so the servers probably close the connections first"
            )
        return
    planned = snapshot.place.rate if snapshot.place else None
    if planned is not None and planned >= wall and not _reused(snapshot):
        message = (
            f"The plan asks for {planned:,.0f} connections/s, but the {room:,} source ports of "
            f"this client allow {wall:,.0f} connections/s"
        )
        yield _finding(snapshot, message, room)
    elif planned is None and measured is None:
        yield inconclusive(
            "the rate of connections is unknown: measuring it needs two samples or a plan"
        )


def _opened(snapshot: Snapshot) -> float | None:
    if snapshot.earlier is None or snapshot.earlier.snmp is None or not snapshot.seconds:
        return None
    name = "Tcp.ActiveOpens"
    opened = rates.increase(snapshot.earlier.snmp.get(name), (snapshot.snmp or {}).get(name))
    return None if opened is None else opened / snapshot.seconds


def _reused(snapshot: Snapshot) -> bool:
    settings = snapshot.sysctls
    return settings is not None and (
        settings.number("net/ipv4/tcp_tw_reuse") == 1
        and settings.number("net/ipv4/tcp_timestamps") in {1, 2}
    )


def _finding(snapshot: Snapshot, message: str, room: int) -> Finding:
    span = snapshot.sysctls.numbers("net/ipv4/ip_local_port_range") if snapshot.sysctls else ()
    measured = _opened(snapshot)
    return Finding(
        "source ports",
        Severity.HIGH,
        message,
        {
            "ip_local_port_range": list(span),
            "ports": room,
            "time_wait": time_wait(snapshot),
            "opened_per_second": None if measured is None else round(measured, 1),
            "planned_per_second": snapshot.place.rate if snapshot.place else None,
        },
        tuple(_fixes(snapshot, span)),
    )


def _fixes(snapshot: Snapshot, span: tuple[int, ...]) -> Iterator[Fix]:
    if span[1] - span[0] < _WIDE[1] - _WIDE[0]:
        value = f"{_WIDE[0]} {_WIDE[1]}"
        values = {"net/ipv4/ip_local_port_range": value}
        yield sysctl(snapshot, "widen-port-range", "Widen the range of source ports", values)
    yield Fix(
        "use-more-addresses",
        "Connect from more addresses, or keep connections open",
        Risk.SAFE,
    )
