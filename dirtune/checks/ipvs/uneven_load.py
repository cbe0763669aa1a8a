from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import detail, edited
from dirtune.checks.owners import KUBERNETES, owner
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.ipvs_netlink import IpvsService
from dirtune.lvs.model import IP_VS_SVC_F_SCHED_MH_PORT
from dirtune.snapshot import Snapshot

_FEW = 1_000  # connections of a service; an estimate, not calibrated
_TIMES_SHARE = 2
_HASHES_CLIENTS = {"sh": "sh-port", "mh": "mh-port"}
_LEAST_CONNECTIONS = frozenset({"lc", "wlc"})


@check(
    "ipvs/uneven-load",
    severity=Severity.MEDIUM,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def uneven_load(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A scheduler gives one real server much more than its share.

    ## What it does
    The check examines services without persistence that have two destinations or more with a
    weight above 0. It reports two kinds. First, a service with sh or mh, without the flag
    `sh-port` or `mh-port`, or with dh, if it has 1,000 connections or more, and a destination has
    at least twice as many as its weight entitles it to. Second, a service with one-packet
    scheduling and lc or wlc. In Kubernetes, it reports every service with lc or wlc as `info`.

    ## Why it matters
    Without the port in the hash, all connections of one client address go to one server, so a
    proxy or NAT in front of the clients fills one server. dh hashes the virtual address alone, and
    all connections go to one server. With one-packet scheduling a connection ends with its packet,
    so all destinations have 0 connections, and lc and wlc always choose the first one: weights do
    not matter. In Kubernetes each node is a director that counts only its own connections. Nodes
    with few connections all begin with the same pod.

    ## Remediation
    Add the flag (`-b sh-port`, `-b mh-port`), if requests of one client need not reach the same
    server. Use wrr with one-packet scheduling, and wlc instead of dh.

    ## Known problems
    The flags need netlink. The check does not know how many client addresses there are. With other
    schedulers a server may have more connections because it ends them later; that is not reported.

    ## References
    - net/netfilter/ipvs/ip_vs_sh.c, ip_vs_mh.c, ip_vs_dh.c
    - net/netfilter/ipvs/ip_vs_wlc.c, `ip_vs_wlc_schedule()`
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_put()`
    """
    mine = owner(snapshot)
    for service in services:
        serving = [d for d in service.destinations if d.weight > 0]
        if service.persistent_jiffies is not None or len(serving) < 2:
            continue
        if service.ops and service.scheduler in _LEAST_CONNECTIONS:
            yield _first(snapshot, service, serving[0])
        elif mine in KUBERNETES and service.scheduler in _LEAST_CONNECTIONS:
            yield _each_node(snapshot, service)
        elif service.scheduler in {"dh", *_HASHES_CLIENTS}:
            yield from _hashed(snapshot, service)


def _hashed(snapshot: Snapshot, service: Service) -> Verdicts:
    skew = next(_skew(service), None)
    if skew is None:
        return
    known, flag = detail(snapshot, service), _HASHES_CLIENTS.get(service.scheduler)
    if flag and known is None:
        yield inconclusive(f"the flags of {service.name} are unknown, so {flag} may be set")
    elif flag is None or not _has_port(known):
        reason = (
            f"without {flag}, all connections of one client address go to one server"
            if flag
            else "dh hashes only the virtual address"
        )
        yield _finding(
            snapshot, service, f"{skew} of {service.name}, because {reason}", *_by_port(flag)
        )


def _has_port(known: IpvsService | None) -> bool:
    return known is not None and bool(known.flags & IP_VS_SVC_F_SCHED_MH_PORT)


def _skew(service: Service) -> Iterator[str]:
    """Yield a text about each destination with twice its share of the connections or more."""
    total = sum(d.active + d.inactive for d in service.destinations)
    weights = sum(max(0, d.weight) for d in service.destinations)
    for server in service.destinations:
        held, fair = server.active + server.inactive, max(0, server.weight) / weights
        if total >= _FEW and fair and held >= _TIMES_SHARE * fair * total:
            yield (
                f"{server.address}:{server.port} has {100 * held / total:.0f} % of the "
                f"connections and {100 * fair:.0f} % of the weight"
            )


def _by_port(flag: str | None) -> tuple[str, str, str]:
    if flag is None:
        return "schedule-wlc", "Schedule by the number of connections with wlc", "-s wlc"
    scheduler = flag.partition("-")[0]
    title = f"Hash the client's port too ({flag}), if a client may use several servers"
    return f"add-{flag}", title, f"-s {scheduler} -b {flag}"


def _first(snapshot: Snapshot, service: Service, first: Destination) -> Finding:
    message = (
        f"All packets of {service.name} go to {first.address}:{first.port}, the first "
        "destination: with one-packet scheduling no destination has connections for "
        f"{service.scheduler} to count, so weights do not matter"
    )
    title = "Schedule in turn and by weight with wrr"
    return _finding(snapshot, service, message, "schedule-wrr", title, "-s wrr")


def _each_node(snapshot: Snapshot, service: Service) -> Finding:
    scheduler = service.scheduler
    return Finding(
        subject=service.name,
        severity=Severity.INFO,
        message=f"{service.name} uses {scheduler}, but each node counts only its own connections, "
        "so nodes with few connections all choose the same pod",
        evidence={"scheduler": scheduler},
        fixes=(in_table(snapshot, "schedule-rr", "Schedule in turn with rr", Part.SCHEDULER),),
    )


def _finding(
    snapshot: Snapshot, service: Service, message: str, id: str, title: str, changes: str
) -> Finding:
    rows = edited(snapshot, service, changes)
    fix: Fix = in_table(snapshot, id, title, Part.SCHEDULER, rows)
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=message,
        evidence={
            "scheduler": service.scheduler,
            "connections": {
                f"{d.address}:{d.port}": d.active + d.inactive for d in service.destinations
            },
            "weights": {f"{d.address}:{d.port}": d.weight for d in service.destinations},
        },
        fixes=(fix,),
    )
