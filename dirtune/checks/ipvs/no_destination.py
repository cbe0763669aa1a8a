from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_REDUNDANT = 3


@check(
    "ipvs/no-destination",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services",),
    roles=("director",),
)
def no_destination(snapshot: Snapshot) -> Verdicts:
    """A virtual service has nobody to send connections to.

    ## What it does
    Reports a service without destinations, or with weight 0 on all of them, whose address this
    host holds: `critical`. One usable destination left of three or more is `high`. A backup
    director that does not hold the address, and a service made between the two samples, are left
    alone. A sorry server counts as a destination.

    ## Why it matters
    IPVS answers such a connection with ICMP port unreachable, or drops it.

    ## Remediation
    Repair the health checks or the real servers; give keepalived a `sorry_server` and a `quorum`.

    ## Known problems
    /proc/net/ip_vs does not show destinations that are over their upper threshold.

    ## References
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_leave()`
    """
    for service in snapshot.services or ():
        usable = [d for d in service.destinations if d.weight > 0]
        held = _held(snapshot, service)
        if len(usable) > 1 or (usable and len(service.destinations) < _REDUNDANT):
            continue
        if held is None:
            yield inconclusive(f"{service.name}: whether this host serves it is not known")
        elif held and not _new(snapshot, service):
            yield _finding(service, len(usable))


def _held(snapshot: Snapshot, service: Service) -> bool | None:
    """Whether this host is the one that serves; a mark is served where any address is held."""
    if snapshot.addresses is None:
        return None
    if service.address is not None:
        return service.address in snapshot.addresses
    others = {s.address for s in snapshot.services or () if s.address is not None}
    return bool(others & snapshot.addresses) or None


def _new(snapshot: Snapshot, service: Service) -> bool:
    before = snapshot.earlier.services if snapshot.earlier else None
    return before is not None and service.name not in {s.name for s in before}


def _finding(service: Service, usable: int) -> Finding:
    known = len(service.destinations)
    if usable:
        message = f"one destination is left of {known}"
    elif known:
        message = f"all {known} destinations have weight 0"
    else:
        message = "has no destinations"
    return Finding(
        subject=service.name,
        severity=Severity.HIGH if usable else Severity.CRITICAL,
        message=message,
        evidence={"service": service.name, "destinations": known, "usable": usable},
        fixes=(
            Fix(
                "restore-destinations",
                "Repair the real servers or their health checks",
                Risk.SAFE,
            ),
        ),
    )
