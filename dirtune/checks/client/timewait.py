from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Role, Severity, Undecided, Verdicts, check, inconclusive
from dirtune.checks.client import addresses, ports, time_wait
from dirtune.checks.host_roles import roles
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_SHARE_PERCENT = 50  # an estimate, not calibrated
_EVERYWHERE = 1
_OVERFLOW = "TcpExt.TCPTimeWaitOverflow"
_BUCKETS = "net/ipv4/tcp_max_tw_buckets"
_ENOUGH = 262144


@check(
    "client/timewait",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("sysctls", "snmp"),
    roles=(Role.CLIENT, Role.REAL_SERVER),
)
def timewait(snapshot: Snapshot) -> Verdicts:
    """Settings of TIME_WAIT keep a client's ports busy, or break connections of other clients.

    ## What it does
    On clients, the check reports that sockets in TIME_WAIT use 50 % of the source ports or more
    while `tcp_tw_reuse` is not 1 (the default 2 is for loopback only). On clients and real
    servers, it reports `tcp_tw_recycle` as `critical`. There it also reports a rise of
    `TCPTimeWaitOverflow` between the samples, which means that `tcp_max_tw_buckets` is too low.

    ## Why it matters
    Without reuse, every port is busy for 60 s after its connection. With `tcp_tw_recycle`, the
    kernel drops SYNs of clients that share an address, for example behind NAT. Above
    `tcp_max_tw_buckets`, the kernel closes sockets without TIME_WAIT, so delayed packets may
    disturb new connections.

    ## Remediation
    Set `net.ipv4.tcp_tw_reuse=1`, with timestamps on both ends. `tcp_fin_timeout` does not shorten
    TIME_WAIT. If clients reuse ports, the director may have the fault that `ipvs/conn-reuse-delay`
    describes.

    ## References
    - Documentation/networking/ip-sysctl.rst, `tcp_tw_reuse`, `tcp_max_tw_buckets`
    """
    if snapshot.sysctl("net/ipv4/tcp_tw_recycle") == _EVERYWHERE:
        yield Finding(
            "tcp_tw_recycle",
            Severity.CRITICAL,
            (
                "net.ipv4.tcp_tw_recycle is on, so SYNs from clients that share an address are "
                "dropped"
            ),
            {"tcp_tw_recycle": 1},
            (
                sysctl(
                    snapshot,
                    "stop-tw-recycle",
                    "Stop recycling sockets in TIME_WAIT",
                    {"net/ipv4/tcp_tw_recycle": 0},
                ),
            ),
        )
    yield from _overflow(snapshot)
    if Role.CLIENT in roles(snapshot):
        yield from _reuse(snapshot)


def _overflow(snapshot: Snapshot) -> Iterator[Finding]:
    before = (snapshot.earlier.snmp if snapshot.earlier else None) or {}
    rose = rates.increase(before.get(_OVERFLOW), (snapshot.snmp or {}).get(_OVERFLOW))
    limit = snapshot.sysctl(_BUCKETS)
    if rose:
        yield Finding(
            "tcp_max_tw_buckets",
            Severity.MEDIUM,
            f"{rose:,} sockets in TIME_WAIT were dropped, because {_BUCKETS.rpartition('/')[2]} "
            "is too low",
            {"overflows": rose, "tcp_max_tw_buckets": limit},
            (
                sysctl(
                    snapshot,
                    "allow-more-time-wait",
                    "Allow more sockets in TIME_WAIT",
                    {_BUCKETS: max(_ENOUGH, 2 * (limit or 0))},
                ),
            ),
        )


def _reuse(snapshot: Snapshot) -> Iterator[Finding | Undecided]:
    reuse, waiting = snapshot.sysctl("net/ipv4/tcp_tw_reuse"), time_wait(snapshot)
    per_address, sources = ports(snapshot), addresses(snapshot)
    if reuse == _EVERYWHERE:
        return
    if reuse is None or waiting is None or per_address is None or sources is None:
        yield inconclusive(
            "tcp_tw_reuse, the source ports or the sockets in TIME_WAIT are unknown"
        )
    elif 100 * waiting >= _SHARE_PERCENT * per_address * sources:
        yield Finding(
            "tcp_tw_reuse",
            Severity.MEDIUM,
            f"net.ipv4.tcp_tw_reuse is {reuse}, so {waiting:,} of {per_address * sources:,} "
            "source ports are in TIME_WAIT and cannot be reused",
            {"tcp_tw_reuse": reuse, "time_wait": waiting, "ports": per_address * sources},
            (
                sysctl(
                    snapshot,
                    "reuse-time-wait",
                    "Reuse source ports in TIME_WAIT for new connections",
                    {"net/ipv4/tcp_tw_reuse": 1, "net/ipv4/tcp_timestamps": 1},
                ),
            ),
        )
