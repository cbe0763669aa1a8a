import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import age_s
from dirtune.checks.ipvs import counted, detail, vips
from dirtune.checks.owners import KUBERNETES, Owner, owner, words
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect import log_messages
from dirtune.collect.ip_vs import Service
from dirtune.competitors import competitors
from dirtune.snapshot import Snapshot

_REDUNDANT = 3  # destinations
_DAY_S = 86_400
_LIMITS_BY_WEIGHT = "ovf"
# net/netfilter/ipvs/ip_vs_sched.c, ip_vs_scheduler_err()
_SERVICE = re.compile(r": (FWM \d+|[A-Z]+ \S+)(?: 0x[0-9A-Fa-f]+)? - no destination available")


@dataclass(frozen=True, slots=True)
class _Left:
    """The number of all destinations of a service, and of those that take new connections."""

    known: int
    usable: int
    overloaded: tuple[str, ...]
    """Destinations with a weight above 0 that are over their limit."""
    by_weight: bool
    """Whether the weight is the limit, and not the upper threshold."""

    @property
    def limit(self) -> str:
        """The name of the limit, for a sentence."""
        if self.by_weight:
            return "weight, which limits active connections with ovf"
        return "upper threshold"

    @property
    def raised(self) -> str:
        """The remedy for destinations over their limit."""
        if self.by_weight:
            return "Raise the weights to the active connections that the real servers can hold"
        return "Raise the upper threshold of the destinations that exceed it"

    @property
    def enough(self) -> bool:
        # ovf fills one destination after the other, so one that is left is what was meant.
        few = self.known < _REDUNDANT or self.by_weight
        return self.usable > 1 or (self.usable == 1 and few)


@check(
    "ipvs/no-destination",
    severity=Severity.CRITICAL,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def no_destination(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A virtual service has no destination for new connections.

    ## What it does
    A destination is usable if its weight is above 0 and it is not over its upper threshold. With
    the scheduler ovf, it must also have no more active connections than its weight. The finding is
    `critical` if a service has no usable destination, and `high` if only one of three or more
    destinations is usable. It is `medium` if the kernel log reports the service without a
    destination in the last day, although it has one now. If kube-proxy or kube-router owns the
    table, the finding is `high` if packets for such a service came between two samples, else
    `low`: with a traffic policy of Local it is intended on nodes without a pod of the service, and
    one destination is the same as several, because Kubernetes gives a failed pod's place to
    another pod. The check examines services whose address this host has, or whose packet counters
    rise between two samples; other services are probably served by another director. It does not
    report a service that was created between the samples. A sorry server counts as a destination.

    ## Why it matters
    IPVS answers a new connection with ICMP port unreachable, or drops its packets.

    ## Remediation
    Repair the health checks or the real servers. Raise an upper threshold that is too low
    (`ipvsadm -e ... -x`). Configure a `sorry_server` and a `quorum` in keepalived. In Kubernetes,
    compare the service's selector with the ready pods (`kubectl get endpointslices -A`), and send
    clients of a service with `externalTrafficPolicy: Local` only to nodes that have a pod of it.
    In Docker Swarm, `docker service ps` shows why no task runs.

    ## Known problems
    /proc/net/ip_vs does not show thresholds, so without netlink a destination over its upper
    threshold counts as usable. A destination that exceeded its upper threshold gets no connections
    until it is below its lower threshold; the counters do not show this state.

    ## References
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_leave()`
    - net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_bind_dest()`
    - net/netfilter/ipvs/ip_vs_ovf.c, `ip_vs_ovf_schedule()`
    """
    runs = owner(snapshot)
    reports = _reported(snapshot)
    before = snapshot.earlier.services if snapshot.earlier else None
    known = None if before is None else {service.name for service in before}
    any_vip = bool(vips(snapshot) & (snapshot.addresses or frozenset()))
    for service in services:
        left = _left(snapshot, service)
        if left.enough or (left.usable and runs in KUBERNETES):
            if service.name in reports and runs not in KUBERNETES:
                yield _was_empty(snapshot, service, left, reports[service.name], runs)
            continue
        serves = _serves(snapshot, service, any_vip=any_vip)
        if serves is None:
            reason = (
                "the addresses of this host are unknown"
                if snapshot.addresses is None
                else f"{service.name} has no address, and this host has no other service's address"
            )
            yield inconclusive(f"{reason}, so another host may serve {service.name}")
        elif serves and (known is None or service.name in known):
            yield _finding(snapshot, service, left, runs)


def _reported(snapshot: Snapshot) -> Mapping[str, tuple[float, str]]:
    """Return age in seconds and text of the last message of the last day, by service."""
    reports = {}
    for line in log_messages.NO_DESTINATION.lines(snapshot.kernel_log):
        named, age = _SERVICE.search(line.text), age_s(snapshot, line)
        if named and age is not None and age <= _DAY_S:
            reports[named[1]] = (age, line.text)
    return reports


def _was_empty(
    snapshot: Snapshot,
    service: Service,
    left: _Left,
    report: tuple[float, str],
    runs: Owner | None,
) -> Finding:
    age, text = report
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=f"{service.name} had no usable destination {age / 60:,.0f} minutes ago, as the "
        "kernel log reports, but has one now",
        evidence={**_evidence(snapshot, service, left), "log": text},
        fixes=_fixes(snapshot, left, runs),
    )


def _left(snapshot: Snapshot, service: Service) -> _Left:
    known = detail(snapshot, service)
    destinations = (known or service).destinations
    marked = {(d.address, d.port) for d in (known.destinations if known else ()) if d.overloaded}
    full = service.scheduler == _LIMITS_BY_WEIGHT
    over = tuple(
        f"{d.address}:{d.port}"
        for d in destinations
        if d.weight > 0 and ((d.address, d.port) in marked or (full and d.active > d.weight))
    )
    weighted = sum(d.weight > 0 for d in destinations)
    return _Left(len(destinations), weighted - len(over), over, full)


def _serves(snapshot: Snapshot, service: Service, *, any_vip: bool) -> bool | None:
    """Whether this host receives the packets of *service*; None if unknown.

    A service with a firewall mark has no address. The host then counts as its director if the host
    has another service's address, *any_vip*.
    """
    if counted(snapshot, service, "packets_in"):
        return True
    if snapshot.addresses is None:
        return None
    if service.address is not None:
        return service.address in snapshot.addresses
    return any_vip or None


def _finding(snapshot: Snapshot, service: Service, left: _Left, runs: Owner | None) -> Finding:
    return Finding(
        subject=service.name,
        severity=_severity(snapshot, service, left, runs),
        message=_message(service.name, left, runs),
        evidence={**_evidence(snapshot, service, left), "owner": runs},
        fixes=_fixes(snapshot, left, runs),
    )


def _severity(snapshot: Snapshot, service: Service, left: _Left, runs: Owner | None) -> Severity:
    if runs in KUBERNETES:
        return Severity.HIGH if counted(snapshot, service, "packets_in") else Severity.LOW
    return Severity.HIGH if left.usable else Severity.CRITICAL


def _message(name: str, left: _Left, runs: Owner | None) -> str:
    if left.usable:
        return f"Only 1 of the {left.known} destinations of {name} is usable"
    if not left.known and runs in KUBERNETES:
        return f"{name} has no ready endpoint that {runs} may use on this node"
    if not left.known:
        return f"{name} has no destinations"
    over = len(left.overloaded)
    if not over:
        return f"All {left.known} destinations of {name} have weight 0"
    if over == left.known:
        return f"All {left.known} destinations of {name} are over their {left.limit}"
    return (
        f"None of the {left.known} destinations of {name} takes connections: {over} are over "
        f"their {left.limit}, and the rest have weight 0"
    )


def _evidence(snapshot: Snapshot, service: Service, left: _Left) -> Mapping[str, object]:
    return {
        "service": service.name,
        "destinations": left.known,
        "usable": left.usable,
        "overloaded": list(left.overloaded),
        "packets_in": counted(snapshot, service, "packets_in"),
    }


def _fixes(snapshot: Snapshot, left: _Left, runs: Owner | None) -> tuple[Fix, ...]:
    restore = Fix(
        "restore-destinations",
        words(runs).empty,
        Risk.SAFE,
        competes=competitors(snapshot, "ipvs"),
    )
    if not left.overloaded:
        return (restore,)
    part = Part.WEIGHTS if left.by_weight else Part.THRESHOLDS
    return in_table(snapshot, "raise-upper-threshold", left.raised, part), restore
