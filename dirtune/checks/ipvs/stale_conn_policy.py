from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import destinations, running
from dirtune.checks.ipvs.port_reuse import VS, delays, ignores_weight_0
from dirtune.checks.owners import TRACKING, owner
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import few
from dirtune.collect.ip_vs import Service
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_DELETES = ("kube-proxy", "kube-router")
_MAY_DELETE = ("keepalived", "ldirectord", "pybal", "seesaw_ncc")
_NODEST, _QUIESCENT = f"{VS}expire_nodest_conn", f"{VS}expire_quiescent_template"


@check(
    "ipvs/stale-conn-policy",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def stale_conn_policy(
    snapshot: Snapshot, services: tuple[Service, ...], sysctls: Sysctls
) -> Verdicts:
    """Connections and clients stay with servers that are gone or have weight 0.

    ## What it does
    The check reports `expire_nodest_conn=0`. The finding is `high` if a destination with
    connections was deleted between two samples. It is also `high` if `conn_reuse_mode` is 0 too
    and the connections of a destination with weight 0 do not decrease. Before Linux 5.16 (stable
    kernels: 4.14.257, 4.19.219, 5.4.163, 5.10.83 and 5.15.6) this is reported whatever
    `expire_nodest_conn` is, because these kernels ignore the weight if `conn_reuse_mode` is 0;
    with one sample the finding is `medium`. It is `medium` if
    kube-proxy or kube-router runs, because these programs delete destinations. It is `low` if
    keepalived, ldirectord, pybal or seesaw runs and a service is UDP, whose clients do not notice
    a server that is gone. The check also
    reports `expire_quiescent_template=0` if a service is persistent: `high` if a destination has
    weight 0, else `medium`. A director whose services all use one-packet scheduling has no
    connections and is not reported.

    ## Why it matters
    If the destination of a connection is gone, IPVS silently drops its packets until the
    connection times out, after 15 minutes by default. Persistent clients, and clients that reuse
    ports, stay with a server that has weight 0.

    ## Remediation
    Set `expire_nodest_conn=1` and `expire_quiescent_template=1`. If `conn_reuse_mode` is 0 and the
    kernel is older than 5.16, use a newer kernel, or set `conn_reuse_mode=1`; before Linux 5.9,
    set `conntrack=0` with it, or clients wait one second (`ipvs/conn-reuse-delay`). Sessions then
    end immediately. Some operators prefer 0, so that sessions survive until the server returns.

    ## Known problems
    keepalived deletes a failed destination, or sets its weight to 0 with `inhibit_on_failure`. The
    check does not read keepalived's configuration, so it does not know which.

    ## References
    - Documentation/networking/ipvs-sysctl.rst
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_hook()`
    """
    if all(service.ops for service in services):
        return
    nodest = sysctls.number(_NODEST)
    ignored = tuple(_ignored(snapshot, sysctls))
    if ignored:
        yield _reuse(snapshot, sysctls, ignored)
    if nodest is None:
        yield inconclusive("net.ipv4.vs.expire_nodest_conn could not be read")
    elif nodest == 0:
        yield from _no_destination(snapshot, sysctls)
    yield from _templates(snapshot, sysctls)


def _no_destination(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    gone = tuple(_gone(snapshot))
    stuck = () if ignores_weight_0(snapshot) else tuple(_stuck(snapshot, sysctls))
    managers = running(snapshot, (*_DELETES, *_MAY_DELETE))
    deleting = tuple(name for name in managers or () if name in _DELETES)
    if gone:
        effect = (
            f"connections to {gone[0]}, which was deleted, lose all packets until they time out"
        )
    elif stuck:
        effect = f"clients that reuse ports stay connected to {stuck[0]}, which has weight 0"
    elif deleting:
        effect = f"connections to destinations that {deleting[0]} deletes stay until they time out"
    elif managers and any(s.protocol == "UDP" and not s.ops for s in snapshot.services or ()):
        effect = f"UDP packets of clients go on to a server that {managers[0]} deletes"
    else:
        if managers is None or managers:
            yield inconclusive(
                "dirtune cannot tell whether a running program deletes failed destinations"
            )
        return
    yield Finding(
        subject="net.ipv4.vs.expire_nodest_conn",
        severity=_severity(gone or stuck, deleting),
        message=f"net.ipv4.vs.expire_nodest_conn is 0, so {effect}",
        evidence={"gone": list(gone), "stuck": list(stuck), "managers": list(managers or ())},
        fixes=(
            sysctl(
                snapshot,
                "expire-nodest-conn",
                "Expire connections whose destination was deleted",
                {_NODEST: 1},
                what="ipvs",
            ),
        ),
    )


def _severity(lost: tuple[str, ...], deleting: tuple[str, ...]) -> Severity:
    if lost:
        return Severity.HIGH
    return Severity.MEDIUM if deleting else Severity.LOW


def _ignored(snapshot: Snapshot, sysctls: Sysctls) -> Iterator[str]:
    """Yield the destinations whose weight 0 the kernel ignores when a client reuses a port."""
    if sysctls.number(f"{VS}conn_reuse_mode") != 0 or not ignores_weight_0(snapshot):
        return
    if snapshot.earlier is not None:
        yield from _stuck(snapshot, sysctls)
        return
    for service, server in destinations(snapshot):
        if server.weight <= 0 and server.active > 0 and not service.ops:
            yield f"{server.address}:{server.port} of {service.name}"


def _reuse(snapshot: Snapshot, sysctls: Sysctls, ignored: tuple[str, ...]) -> Finding:
    slow, tracked = delays(snapshot), sysctls.number(f"{VS}conntrack")
    values = {f"{VS}conn_reuse_mode": 1}
    title = "Reschedule connections whose client reuses a port"
    if slow and tracked != 0:
        values[f"{VS}conntrack"] = 0
        mine = owner(snapshot)
        title += ", and stop tracking IPVS connections, or each of them waits 1 s. " + (
            f"The rules of {mine} need the tracking, so use the newer kernel instead"
            if mine in TRACKING
            else "Where rules need the tracking, use the newer kernel instead"
        )
    reschedule = sysctl(snapshot, "reuse-by-weight", title, values, what="ipvs")
    newer = Fix(
        "newer-kernel", "Use kernel 5.16 or later, or a current stable kernel", Risk.REBOOT
    )
    return Finding(
        subject="net.ipv4.vs.conn_reuse_mode",
        severity=Severity.HIGH if snapshot.earlier else Severity.MEDIUM,
        message="net.ipv4.vs.conn_reuse_mode is 0, and this kernel then ignores that a "
        f"destination has weight 0, so clients that reuse ports stay with {few(ignored)}, "
        "whatever expire_nodest_conn is",
        evidence={
            "stuck": list(ignored),
            "osrelease": snapshot.kernel and snapshot.kernel.osrelease,
            "expire_nodest_conn": sysctls.number(_NODEST),
            "conntrack": tracked,
        },
        fixes=(reschedule, newer),
    )


def _gone(snapshot: Snapshot) -> Iterator[str]:
    """Yield the destinations that had connections and were deleted between the samples."""
    if snapshot.earlier is None or snapshot.earlier.services is None:
        return
    now = {(s.name, d.address, d.port) for s, d in destinations(snapshot)}
    names = {service.name for service in snapshot.services or ()}
    for service, server in destinations(snapshot.earlier):
        there = (service.name, server.address, server.port) in now
        if service.name in names and not service.ops and server.active and not there:
            yield f"{server.address}:{server.port} of {service.name}"


def _stuck(snapshot: Snapshot, sysctls: Sysctls) -> Iterator[str]:
    """Yield the destinations with weight 0 that keep connections because clients reuse ports."""
    if snapshot.earlier is None or sysctls.number(f"{VS}conn_reuse_mode") != 0:
        return
    before = {(s.name, d.address, d.port): d for s, d in destinations(snapshot.earlier)}
    for service, server in destinations(snapshot):
        then = before.get((service.name, server.address, server.port))
        quiet = then is not None and then.weight <= 0 and server.weight <= 0
        if then is not None and quiet and 0 < then.active <= server.active:
            yield f"{server.address}:{server.port} of {service.name}"


def _templates(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    persistent = [s for s in snapshot.services or () if s.persistent_jiffies is not None]
    setting = sysctls.number(_QUIESCENT)
    if not persistent or setting:
        return
    if setting is None:
        yield inconclusive("net.ipv4.vs.expire_quiescent_template could not be read")
        return
    out = [f"{d.address}:{d.port}" for s in persistent for d in s.destinations if d.weight <= 0]
    yield Finding(
        subject="net.ipv4.vs.expire_quiescent_template",
        severity=Severity.HIGH if out else Severity.MEDIUM,
        message="net.ipv4.vs.expire_quiescent_template is 0, so clients of "
        f"{persistent[0].name} stay with "
        + (f"{out[0]}, which has weight 0" if out else "a server whose weight is set to 0"),
        evidence={"persistent": [service.name for service in persistent], "weight_0": out},
        fixes=(
            sysctl(
                snapshot,
                "expire-quiescent-template",
                "End persistence to destinations of weight 0",
                {_QUIESCENT: 1},
                what="ipvs",
            ),
        ),
    )
