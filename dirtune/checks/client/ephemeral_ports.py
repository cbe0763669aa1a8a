from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Severity, Undecided, Verdicts, check, inconclusive
from dirtune.checks.client import TIME_WAIT_S, addresses, ports, time_wait
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_USED_PERCENT = 80  # an estimate, not calibrated
# At half of what the rate would leave in TIME_WAIT the other side closes first.
_OURS_PERCENT = 50  # an estimate, not calibrated
_WIDE = (1024, 65535)


@check(
    "client/ephemeral-ports",
    severity=Severity.HIGH,
    trust="A",
    needs=("sysctls", "snmp"),
    roles=("client",),
)
def ephemeral_ports(snapshot: Snapshot) -> Verdicts:
    """A client runs out of source ports.

    ## What it does
    Reports a client whose sockets in TIME_WAIT fill 80 % of its source ports
    (`ip_local_port_range` without reserved ones, times its addresses), whose measured rate of new
    connections is at or above ports / 60 s while its own side holds the sockets in TIME_WAIT, or
    whose planned rate is. 28,232 ports, the default, are 470 connections/s to one address and
    port. Where `tcp_tw_reuse` is 1 with timestamps a port is free again after a second, and the
    plan's rate is left alone. A fast client with few sockets in TIME_WAIT keeps its connections
    or is closed by the server: undecided.

    ## Why it matters
    TIME_WAIT holds each port for 60 s. The rate of connections hits a hard wall that looks like a
    limit of the director.

    ## Remediation
    Widen `net.ipv4.ip_local_port_range` to `1024 65535` (ends of different parity), connect from
    more addresses, bind with IP_BIND_ADDRESS_NO_PORT, or keep connections open.

    ## Known problems
    The kernel does not count sockets by destination: a client of many services has more room than
    this assumes.

    ## References
    - Documentation/networking/ip-sysctl.rst, `ip_local_port_range`
    """
    each, sources, waiting = ports(snapshot), addresses(snapshot), time_wait(snapshot)
    if each is None or sources is None:
        yield inconclusive("the range of source ports or the addresses are not known")
        return
    room = each * sources
    if waiting is not None and 100 * waiting >= _USED_PERCENT * room:
        share = f"{waiting:,} of {room:,} source ports are in TIME_WAIT"
        yield _finding(snapshot, share, room)
    else:
        yield from _by_rate(snapshot, room, waiting)


def _by_rate(snapshot: Snapshot, room: int, waiting: int | None) -> Iterator[Finding | Undecided]:
    wall = room / TIME_WAIT_S
    measured = _opened(snapshot)
    if measured is not None and measured >= wall:
        expected = min(measured * TIME_WAIT_S, room)
        if waiting is not None and 100 * waiting >= _OURS_PERCENT * expected:
            said = f"opens {measured:,.0f} connections/s, {room:,} ports allow {wall:,.0f}"
            yield _finding(snapshot, said, room)
        else:
            yield inconclusive(
                f"{measured:,.0f} connections/s and few in TIME_WAIT: the servers may close first"
            )
        return
    planned = snapshot.place.rate if snapshot.place else None
    if planned is not None and planned >= wall and not _reused(snapshot):
        said = f"is to open {planned:,.0f} connections/s, {room:,} ports allow {wall:,.0f}"
        yield _finding(snapshot, said, room)
    elif planned is None and measured is None:
        yield inconclusive("one sample, and no plan that says the rate")


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
        yield sysctl(snapshot, "widen-port-range", "Use more source ports", values)
    yield Fix(
        "use-more-addresses",
        "Connect from more addresses, or keep connections open",
        Risk.SAFE,
    )
