import math

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import detail, edited, new_per_second
from dirtune.checks.table_fixes import Part, in_table
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
    roles=(Role.DIRECTOR,),
)
def scan_cost(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A scheduler examines a large number of servers for every new connection.

    ## What it does
    The check reports a service with the scheduler wlc, lc, sed, nq or lblcr that has 200
    destinations or more, if destinations times new connections/s is 5 million or more. It also
    reports a service with wrr if the destination with the greatest weight is over its upper
    threshold and one pass over the weights takes 100,000 steps or more. The number of steps is the
    greatest weight, divided by the greatest common divisor of the weights, times the number of
    destinations.

    ## Why it matters
    For each new connection, the scheduler reads a counter of every server. Other CPUs write these
    counters, so each read is a cache miss. If the destinations with the greatest weights are over
    their thresholds, wrr steps through all weights while it holds the service's lock.

    ## Remediation
    Use mh, which looks servers up in a table, or split the servers into groups. For wrr, use
    weights with a large common divisor (100 and 50 rather than 101 and 50).

    ## References
    - net/netfilter/ipvs/ip_vs_wlc.c, ip_vs_wrr.c
    """
    for service in services:
        if service.scheduler in _LINEAR and len(service.destinations) >= _MANY:
            yield from _linear(snapshot, service)
        elif service.scheduler == "wrr" and _steps(service) >= _ROUND:
            yield from _weighted(snapshot, service)


def _linear(snapshot: Snapshot, service: Service) -> Verdicts:
    rate, count = new_per_second(snapshot, service), len(service.destinations)
    if rate is None:
        yield inconclusive(f"the rate of new connections of {service.name} is unknown")
    elif rate * count >= _LOOKS_PER_SECOND:
        message = (
            f"The scheduler {service.scheduler} of {service.name} examines {count} destinations "
            f"{rate:,.0f} times/s"
        )
        yield _finding(
            snapshot,
            service,
            message,
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
        yield inconclusive(f"the thresholds of the destinations of {service.name} are unknown")
        return
    heaviest = max(known.destinations, key=lambda d: d.weight)
    if heaviest.overloaded:
        steps = _steps(service)
        name = f"{heaviest.address}:{heaviest.port}"
        message = (
            f"The scheduler wrr of {service.name} takes up to {steps:,} steps per connection, "
            f"because the heaviest destination {name} is over its upper threshold"
        )
        yield _finding(snapshot, service, message, {"steps": steps, "overloaded": name})


def _finding(
    snapshot: Snapshot, service: Service, message: str, evidence: dict[str, object]
) -> Finding:
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=message,
        evidence={"service": service.name, "scheduler": service.scheduler} | evidence,
        fixes=(
            in_table(
                snapshot,
                "schedule-mh",
                "Schedule with mh, which looks servers up in a table and keeps each client with "
                "one server",
                Part.SCHEDULER,
                edited(snapshot, service, "-s mh -b mh-fallback,mh-port"),
            ),
            in_table(
                snapshot,
                "divide-weights",
                "Use weights with a large common divisor, or split the servers into groups",
                Part.WEIGHTS,
            ),
        ),
    )
