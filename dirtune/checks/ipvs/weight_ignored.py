from dirtune.checks import Finding, Fix, Role, Severity, Verdicts, check
from dirtune.checks.ipvs import edited
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_WEIGHTED = {"rr": "wrr", "lc": "wlc", "dh": None}
"""Schedulers that treat all weights above 0 alike, and the replacements that use weights."""


@check(
    "ipvs/weight-ignored",
    severity=Severity.MEDIUM,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def weight_ignored(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A service's scheduler ignores the weights of its destinations.

    ## What it does
    The check reports a service with the scheduler rr, lc or dh whose destinations have different
    weights. Weight 0 does not count, because every scheduler skips a destination with weight 0.
    All other schedulers use weights.

    ## Why it matters
    Somebody set the weights to shift load, and the load did not move.

    ## Remediation
    Use wrr instead of rr, and wlc instead of lc: `ipvsadm -E -t VIP:PORT -s wrr`, or `lb_algo` in
    keepalived. Existing connections stay on their servers. dh has no weighted counterpart, so give
    all destinations equal weights.

    ## References
    - net/netfilter/ipvs/ip_vs_rr.c, ip_vs_lc.c, ip_vs_dh.c
    """
    for service in services:
        weights = sorted({d.weight for d in service.destinations if d.weight > 0}, reverse=True)
        if service.scheduler in _WEIGHTED and len(weights) > 1:
            yield Finding(
                subject=service.name,
                severity=Severity.MEDIUM,
                message=f"The scheduler {service.scheduler} of {service.name} ignores the "
                f"weights, {_ratio(weights)}",
                evidence={
                    "service": service.name,
                    "scheduler": service.scheduler,
                    "weights": [d.weight for d in service.destinations],
                },
                fixes=(_fix(snapshot, service),),
            )


def _ratio(weights: list[int]) -> str:
    return f"which range from {weights[-1]} to {weights[0]}"


def _fix(snapshot: Snapshot, service: Service) -> Fix:
    other = _WEIGHTED[service.scheduler]
    if other is None:
        title = "Give all destinations equal weights, because dh ignores weights"
        return in_table(snapshot, "equal-weights", title, Part.WEIGHTS)
    return in_table(
        snapshot,
        f"schedule-{other}",
        f"Schedule by weight with {other}",
        Part.SCHEDULER,
        edited(snapshot, service, f"-s {other}"),
    )
