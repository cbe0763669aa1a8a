from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

# What kernels since 5.4 begin with; 128 before.
_SOMAXCONN = 4096
_SMALL_SOMAXCONN = 1024  # an estimate, not calibrated; tuned(8) wants 2,048 or more
_BACKLOG = 8192
_FULL = "TcpExt.ListenOverflows"
_DROPPED = "TcpExt.ListenDrops"
_SYN_FULL = "TcpExt.TCPReqQFullDrop"
_COUNTERS = (_FULL, _DROPPED, _SYN_FULL)


@check(
    "realserver/listen-overflow",
    severity=Severity.HIGH,
    trust="A",
    needs=("snmp",),
    roles=("real-server", "host"),
    mends=True,
)
def listen_overflow(snapshot: Snapshot) -> Verdicts:
    """A server's accept queue overflows and connections are dropped.

    ## What it does
    Reports `ListenOverflows`, `ListenDrops` or `TCPReqQFullDrop` of TcpExt that rose between the
    two samples. What they counted earlier is history and left alone. A `somaxconn` below 1,024
    is `low` even while nothing overflows: it is less than any kernel since 5.4 begins with.

    ## Why it matters
    It looks like loss in the director: the client's SYN or ACK is dropped, and sent again a
    second later.

    ## Remediation
    The queue is the lesser of `net.core.somaxconn` and what the application asks for in
    listen(2): raise both, then restart the application; or let it accept faster, with more
    workers. Where the queue of half-open connections is full, raise
    `net.ipv4.tcp_max_syn_backlog`.

    ## Known problems
    The counters are of the whole network namespace and do not name the socket: `ss -ltn` shows
    it, Recv-Q above Send-Q.

    ## References
    - Documentation/networking/ip-sysctl.rst, `somaxconn`, `tcp_max_syn_backlog`
    - net/ipv4/tcp_ipv4.c, `tcp_v4_syn_recv_sock()`
    """
    yield from _small(snapshot)
    if snapshot.earlier is None or snapshot.earlier.snmp is None or not snapshot.seconds:
        yield inconclusive("one sample")
        return
    now, then = snapshot.snmp or {}, snapshot.earlier.snmp
    known = {name: rates.increase(then.get(name), now.get(name)) for name in _COUNTERS}
    rising = {name: number for name, number in known.items() if number}
    if rising:
        yield _finding(snapshot, rising, snapshot.seconds)
    elif known[_FULL] is None or known[_DROPPED] is None:
        yield inconclusive("TcpExt.ListenOverflows is not counted, or was set back")


def _small(snapshot: Snapshot) -> Verdicts:
    somaxconn = snapshot.sysctls.number("net/core/somaxconn") if snapshot.sysctls else None
    if somaxconn is not None and somaxconn < _SMALL_SOMAXCONN:
        wider = {"net/core/somaxconn": _SOMAXCONN}
        yield Finding(
            "somaxconn",
            Severity.LOW,
            f"no queue of a listening socket may be longer than somaxconn, {somaxconn}",
            {"somaxconn": somaxconn},
            (sysctl(snapshot, "raise-listen-queue", "Allow longer queues", wider),),
        )


def _finding(snapshot: Snapshot, rising: Mapping[str, int], seconds: float) -> Finding:
    name = next(iter(rising))
    settings = {
        f"net/{key}": snapshot.sysctls.number(f"net/{key}") if snapshot.sysctls else None
        for key in ("core/somaxconn", "ipv4/tcp_max_syn_backlog", "ipv4/tcp_syncookies")
    }
    return Finding(
        "accept queue" if _FULL in rising else "listening sockets",
        Severity.HIGH,
        f"{name.partition('.')[2]} rose by {rising[name]:,} in {seconds:.1f} s",
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
    wider = [sysctl(snapshot, "raise-listen-queue", "Allow longer queues", values)]
    restart = Fix(
        "raise-application-backlog",
        "Raise the backlog the application listens with, or its workers, and restart it",
        Risk.DISRUPTIVE,
    )
    return [*(wider if values else []), restart]
