from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check
from dirtune.checks.host_roles import holds_no_vip
from dirtune.checks.ipvs import running
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from dirtune.snapshot import Snapshot

_SLOPPY, _VERSION = "net/ipv4/vs/sloppy_tcp", "net/ipv4/vs/sync_version"
# keepalived has three processes: the parent, the health checker and VRRP.
_WITH_VRRP = 3


@check(
    "ipvs/sync-missing",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("services", "processes"),
    roles=(Role.DIRECTOR,),
)
def sync_missing(snapshot: Snapshot, ipvs: Ipvs) -> Verdicts:
    """Two directors do not synchronise their connections.

    ## What it does
    The check reports a director on which keepalived runs VRRP but no sync daemon runs. The finding
    is `info` if every service uses mh and `sloppy_tcp` is on, because such directors need no
    synchronisation, else `medium`. If a sync daemon runs, the check reports three faults. The
    daemon's interface is down or missing. The daemon is a master, but the director has none of its
    services' addresses. Or `sync_version` is 0, the old protocol without timeouts and IPv6. A
    director without keepalived is not reported.

    ## Why it matters
    A director that takes over does not know the existing connections, so it resets them or drops
    their packets.

    ## Remediation
    Put `lvs_sync_daemon INTERFACE VRRP_INSTANCE id N` into `global_defs` of keepalived.conf, with
    the same N on both directors, and reload keepalived.

    ## Known problems
    Without keepalived.conf(5), the check recognises VRRP by three processes named keepalived.
    keepalived/pair-mismatch compares the sync ids of the two directors.

    ## References
    - keepalived.conf(5), `lvs_sync_daemon`
    - Documentation/networking/ipvs-sysctl.rst, `sync_version`
    """
    daemons = [daemon for daemon in ipvs.daemons if daemon.state != "none"]
    vrrp = _speaks_vrrp(snapshot)
    if not daemons and vrrp:
        yield _missing(snapshot)
    for daemon in daemons:
        yield from _broken(snapshot, daemon)


def _speaks_vrrp(snapshot: Snapshot) -> bool:
    alive = [p for p in snapshot.processes or () if p.name.startswith("keepalived")]
    conf = snapshot.keepalived
    if conf is not None and conf.files:
        return bool(alive and conf.instances)
    named = any(p.name.startswith("keepalived_vrrp") for p in alive)
    return named or len(alive) >= _WITH_VRRP


def _stateless(snapshot: Snapshot) -> bool:
    sloppy = snapshot.sysctl(_SLOPPY)
    return bool(sloppy) and all(s.scheduler == "mh" for s in snapshot.services or ())


def _missing(snapshot: Snapshot) -> Finding:
    stateless = _stateless(snapshot)
    design = "; mh and sloppy_tcp make synchronisation unnecessary here" if stateless else ""
    return Finding(
        "sync daemon",
        Severity.INFO if stateless else Severity.MEDIUM,
        f"Connections are not synchronised, although keepalived runs VRRP{design}",
        {"daemons": [], "keepalived": list(running(snapshot, ("keepalived",)) or ())},
        () if stateless else (_configure(),),
    )


def _broken(snapshot: Snapshot, daemon: SyncDaemon) -> Iterator[Finding]:
    known = {interface.name: interface for interface in snapshot.interfaces or ()}
    carrier = known.get(daemon.interface or "")
    if known and (carrier is None or carrier.operstate == "down"):
        yield _finding(daemon, f"uses {daemon.interface}, which is not up")
    if daemon.state == "master" and len(_states(snapshot)) == 1 and holds_no_vip(snapshot):
        yield _finding(daemon, "runs on a director that holds none of its services' addresses")
    if snapshot.sysctl(_VERSION) == 0:
        yield _finding(
            daemon,
            "uses the old protocol, which lacks timeouts and IPv6, because sync_version is 0",
        )


def _states(snapshot: Snapshot) -> frozenset[str]:
    # A director may be master and backup at once, with a daemon for each state.
    return frozenset(daemon.state for daemon in (snapshot.ipvs.daemons if snapshot.ipvs else ()))


def _finding(daemon: SyncDaemon, fault: str) -> Finding:
    return Finding(
        f"sync daemon ({daemon.state})",
        Severity.MEDIUM,
        f"The sync daemon ({daemon.state}) {fault}",
        {"state": daemon.state, "interface": daemon.interface, "sync_id": daemon.sync_id},
        (_configure(),),
    )


def _configure() -> Fix:
    return Fix(
        "configure-sync", "Configure a sync daemon in keepalived on both directors", Risk.SAFE
    )
