from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
    one_sample,
)
from dirtune.checks.counters import age_s
from dirtune.checks.remedies import sysctl
from dirtune.collect import log_messages
from dirtune.snapshot import Snapshot

# The default since 5.4; 128 before.
_SOMAXCONN = 4096
_SMALL_SOMAXCONN = 1024  # an estimate, not calibrated; tuned(8) wants 2,048 or more
_BACKLOG = 8192
_FULL = "TcpExt.ListenOverflows"
_DROPPED = "TcpExt.ListenDrops"
_SYN_FULL = "TcpExt.TCPReqQFullDrop"
_FLOOD = log_messages.SYN_FLOOD
_DAY_S = 86_400
_COUNTERS = (_FULL, _DROPPED, _SYN_FULL)


@check(
    "realserver/listen-overflow",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.REAL_SERVER, Role.HOST),
    mends=True,
)
def listen_overflow(snapshot: Snapshot, snmp: Mapping[str, int]) -> Verdicts:
    """A server's accept queue is full, so connections are dropped.

    ## What it does
    The check reports a rise of `ListenOverflows`, `ListenDrops` or `TCPReqQFullDrop` (TcpExt)
    between the two samples; earlier drops do not count. With only one sample, a message of the
    kernel log about SYN flooding in the last day is `medium`. Without a rise, a
    `net.core.somaxconn` below 1,024 is `low`, because the default has been 4,096 since Linux 5.4.

    ## Why it matters
    The server drops the client's SYN or ACK, and the client sends it again a second later, so the
    loss seems to be in the director.

    ## Remediation
    The limit of the queue is the lesser of `net.core.somaxconn` and the backlog that the
    application passes to listen(2). Raise both and restart the application, or give it more
    workers so that it accepts faster. If `TCPReqQFullDrop` rises, the queue of half-open
    connections is full: raise `net.ipv4.tcp_max_syn_backlog`.

    ## Known problems
    The counters cover the whole network namespace and do not name the socket. `ss -ltn` shows the
    full socket: its Recv-Q is above its Send-Q.

    ## References
    - Documentation/networking/ip-sysctl.rst, `somaxconn`, `tcp_max_syn_backlog`
    - net/ipv4/tcp_ipv4.c, `tcp_v4_syn_recv_sock()`
    """
    yield from _small(snapshot)
    if snapshot.earlier is None or snapshot.earlier.snmp is None or not snapshot.seconds:
        yield from _reported(snapshot)
        yield one_sample()
        return
    now, then = snmp, snapshot.earlier.snmp
    known = {name: rates.increase(then.get(name), now.get(name)) for name in _COUNTERS}
    rising = {name: number for name, number in known.items() if number}
    if rising:
        yield _finding(snapshot, rising, snapshot.seconds)
    elif known[_FULL] is None or known[_DROPPED] is None:
        yield inconclusive(
            "TcpExt.ListenOverflows is not counted, or was reset between the samples"
        )


def _reported(snapshot: Snapshot) -> Verdicts:
    """Report the kernel's messages of the last day about a full queue of half-open connections."""
    ages = [(age_s(snapshot, line), line) for line in _FLOOD.lines(snapshot.kernel_log)]
    recent = [line.text for age, line in ages if age is not None and age <= _DAY_S]
    if recent:
        yield Finding(
            "listening sockets",
            Severity.MEDIUM,
            f"The kernel log reports a full queue of half-open connections in the last day: "
            f"{recent[-1]!r}",
            {"log": recent[-3:]},
            (
                sysctl(
                    snapshot,
                    "raise-syn-queue",
                    "Allow more half-open connections",
                    {"net/ipv4/tcp_max_syn_backlog": _BACKLOG},
                ),
            ),
        )


def _small(snapshot: Snapshot) -> Verdicts:
    somaxconn = snapshot.sysctl("net/core/somaxconn")
    if somaxconn is not None and somaxconn < _SMALL_SOMAXCONN:
        wider = {"net/core/somaxconn": _SOMAXCONN}
        yield Finding(
            "somaxconn",
            Severity.LOW,
            (
                f"net.core.somaxconn is {somaxconn}, which limits every accept queue to "
                f"{somaxconn} connections"
            ),
            {"somaxconn": somaxconn},
            (sysctl(snapshot, "raise-listen-queue", "Allow longer accept queues", wider),),
        )


def _finding(snapshot: Snapshot, rising: Mapping[str, int], seconds: float) -> Finding:
    name = next(iter(rising))
    settings = {
        f"net/{key}": snapshot.sysctl(f"net/{key}")
        for key in ("core/somaxconn", "ipv4/tcp_max_syn_backlog", "ipv4/tcp_syncookies")
    }
    return Finding(
        "accept queue" if _FULL in rising else "listening sockets",
        Severity.HIGH,
        f"Connections were dropped at listening sockets: {name.partition('.')[2]} rose by "
        f"{rising[name]:,} in {seconds:.1f} s",
        {
            **{key.partition(".")[2]: number for key, number in rising.items()},
            "seconds": round(seconds, 3),
            **{key.rpartition("/")[2]: value for key, value in settings.items()},
        },
        tuple(_fixes(snapshot, rising, settings["net/core/somaxconn"])),
    )


def _fixes(snapshot: Snapshot, rising: Mapping[str, int], somaxconn: int | None) -> list[Fix]:
    values = {}
    if somaxconn is not None and somaxconn < _SOMAXCONN:
        values["net/core/somaxconn"] = _SOMAXCONN
    if _SYN_FULL in rising:
        values["net/ipv4/tcp_max_syn_backlog"] = _BACKLOG
    wider = [sysctl(snapshot, "raise-listen-queue", "Allow longer accept queues", values)]
    restart = Fix(
        "raise-application-backlog",
        (
            "Raise the backlog or the number of workers of the application, and restart the "
            "application"
        ),
        Risk.DISRUPTIVE,
    )
    return [*(wider if values else []), restart]
