import math

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import detail, edited, new_per_second
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_LINEAR = frozenset({"wlc", "lc", "sed", "nq", "lblcr"})
_MANY = 200  # destinations
_LOOKS_PER_SECOND = 5_000_000  # destinations looked at; an estimate, not calibrated
_ROUND = 100_000  # steps of one pass of wrr


@check(
    "ipvs/scan-cost",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("services",),
    roles=("director",),
)
def scan_cost(snapshot: Snapshot) -> Verdicts:
    """A scheduler looks at very many servers for every new connection.

    ## What it does
    Reports a service of wlc, lc, sed, nq or lblcr with 200 destinations or more that looks at 5
    million of them a second (destinations times new connections/s); and one of wrr whose
    heaviest destination is over its upper threshold while the greatest weight, divided by the
    weights' common divisor, times destinations is 100,000 or more.

    ## Why it matters
    Each look reads counters that other CPUs write: a cache miss per server and new connection.
    wrr goes through all its weights under a lock of the service when the heaviest are out.

    ## Remediation
    mh, which looks up a table; groups of servers; weights with a large common divisor
    (100 and 50 rather than 101 and 50).

    ## References
    - net/netfilter/ipvs/ip_vs_wlc.c, ip_vs_wrr.c
    """
    for service in snapshot.services or ():
        if service.scheduler in _LINEAR and len(service.destinations) >= _MANY:
            yield from _linear(snapshot, service)
        elif service.scheduler == "wrr" and _steps(service) >= _ROUND:
            yield from _weighted(snapshot, service)


def _linear(snapshot: Snapshot, service: Service) -> Verdicts:
    rate, count = new_per_second(snapshot, service), len(service.destinations)
    if rate is None:
        yield inconclusive(f"new connections/s of {service.name} are not known")
    elif rate * count >= _LOOKS_PER_SECOND:
        said = f"{service.scheduler} looks at {count} destinations {rate:,.0f} times/s"
        yield _finding(
            snapshot,
            service,
            said,
            {"new_connections_per_second": round(rate, 1), "destinations": count},
        )


def _steps(service: Service) -> int:
    weights = [d.weight for d in service.destinations if d.weight > 0]
    return (
        max(weights, default=0) // math.gcd(*weights) * len(service.destinations) if weights else 0
    )


def _weighted(snapshot: Snapshot, service: Service) -> Verdicts:
    known = detail(snapshot, service)
    if known is None:
        yield inconclusive(f"{service.name}: thresholds of its destinations are not known")
        return
    heaviest = max(known.destinations, key=lambda d: d.weight)
    if heaviest.overloaded:
        steps = _steps(service)
        said = f"wrr takes up to {steps:,} steps: the heaviest destination is over its threshold"
        name = f"{heaviest.address}:{heaviest.port}"
        yield _finding(snapshot, service, said, {"steps": steps, "overloaded": name})


def _finding(
    snapshot: Snapshot, service: Service, said: str, evidence: dict[str, object]
) -> Finding:
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=said,
        evidence={"service": service.name, "scheduler": service.scheduler} | evidence,
        fixes=(
            commands(
                snapshot,
                "schedule-mh",
                "Look servers up in a table, with mh; clients then stay with a server",
                edited(snapshot, service, "-s mh -b mh-fallback,mh-port"),
                what="ipvs",
            ),
            Fix("divide-weights", "Use weights with a large common divisor, or groups", Risk.SAFE),
        ),
    )
