from collections.abc import Iterator, Mapping
from itertools import permutations

from dirtune.checks import (
    Cluster,
    Finding,
    Fix,
    Role,
    Severity,
    Undecided,
    Verdicts,
    cross_check,
    inconclusive,
    not_applicable,
    skipped,
)
from dirtune.checks.ipvs import destinations
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_BACKUP_ONLY = "net/ipv4/vs/backup_only"
_UNCHANGED = frozenset({"Route", "Tunnel"})


@cross_check("ipvs/backup-loop", severity=Severity.HIGH, trust="A")
def backup_loop(cluster: Cluster) -> Verdicts:
    """Two directors forward to each other, so a packet may travel back and forth between them.

    ## What it does
    The check reports two directors if each is a destination of the other, with the method Route or
    Tunnel, and if `backup_only` is 0 on one of them. It does not report NAT, which changes the
    packet's destination. If a node could not be read, the check is undecided.

    ## Why it matters
    The backup has the same IPVS table as the master. If the master forwards a packet to the backup
    as a real server, the backup schedules the packet again, and may send it back to the master.
    The packet loops until its TTL is 0.

    ## Remediation
    Set `net.ipv4.vs.backup_only=1` on both directors: a director whose sync daemon is in state
    backup then forwards nothing. Or use firewall marks for services, and do not mark packets from
    the other director's MAC address.

    ## References
    - Documentation/networking/ipvs-sysctl.rst, `backup_only`
    """
    directors = cluster.role(Role.DIRECTOR)
    unknown = tuple(_unknown(cluster, directors))
    yield from unknown
    if len(directors) < 2 and not unknown:
        yield not_applicable("this cluster has fewer than two directors")
    for one, other in permutations(sorted(directors), 2):
        if not (
            _sends_to(directors[one], directors[other])
            and _sends_to(directors[other], directors[one])
        ):
            continue
        settings = directors[one].sysctls
        backup_only = settings.number(_BACKUP_ONLY) if settings else None
        if backup_only is None:
            yield inconclusive(f"net.ipv4.vs.backup_only of {one} is unknown")
        elif backup_only == 0:
            yield _finding(directors[one], one, other)


def _unknown(cluster: Cluster, directors: Mapping[str, Snapshot]) -> Iterator[Undecided]:
    """Yield a verdict for each node that was not read but may be a director in a loop."""
    for name in cluster.unread:
        yield skipped(f"{name} was not read, and may forward to another director")
    for name, node in cluster.nodes.items():
        if node.services is None:
            yield skipped(f"the IPVS services of {name} are unknown")
        elif name in directors and node.addresses is None:
            yield skipped(f"the addresses of {name} are unknown")


def _sends_to(director: Snapshot, other: Snapshot) -> bool:
    held = (other.addresses or frozenset()) - (director.addresses or frozenset())
    return any(d.address in held and d.forward in _UNCHANGED for _, d in destinations(director))


def _finding(director: Snapshot, name: str, other: str) -> Finding:
    title = "Stop forwarding packets while this director is the backup"
    fix: Fix = sysctl(director, "backup-only", title, {_BACKUP_ONLY: 1}, what="ipvs")
    return Finding(
        name,
        Severity.HIGH,
        f"{name} and {other} are real servers of each other, and net.ipv4.vs.backup_only of "
        f"{name} is 0, so a packet may travel back and forth between them",
        {"directors": [name, other], "backup_only": 0},
        (fix,),
    )
