import math

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import detail, edited
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Service
from dirtune.lvs.model import IP_VS_SVC_F_SCHED_SH_FALLBACK
from dirtune.snapshot import Snapshot

# Slots of the tables as kernels are configured by default.
_SLOTS = {"sh": 256, "mh": 4093}


@check(
    "ipvs/sh-weak",
    severity=Severity.MEDIUM,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def sh_weak(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """A service that hashes client addresses excludes some servers or clients.

    ## What it does
    The check reports a service if the sum of its weights exceeds the slots of the scheduler's
    table: 256 for sh, and 4,093 for mh, after mh has divided the weights by their greatest common
    divisor. It also reports a service with sh, but without the flag `sh-fallback`, that has a
    destination with weight 0 or over its upper threshold.

    ## Why it matters
    The scheduler assigns slots by weight in the order of the destinations, so the last
    destinations may get none. Without `sh-fallback`, IPVS refuses clients whose hash selects a
    server with weight 0 or over its threshold. When the servers of sh change, most clients move to
    another server.

    ## Remediation
    Use `-s mh -b mh-fallback,mh-port`, and smaller weights. `mh-port` also spreads clients that
    share one address behind a proxy or NAT.

    ## Known problems
    No file shows the table sizes, so the check assumes the kernel's defaults (IP_VS_SH_TAB_BITS 8,
    IP_VS_MH_TAB_INDEX 12). It does not know how many client addresses there are, so it does not
    report a missing `sh-port`.

    ## References
    - net/netfilter/ipvs/ip_vs_sh.c, `ip_vs_sh_reassign()`
    - net/netfilter/ipvs/ip_vs_mh.c
    - ipvsadm(8)
    """
    for service in services:
        if service.scheduler in _SLOTS:
            yield from _slots(snapshot, service)
        if service.scheduler == "sh":
            yield from _fallback(snapshot, service)


def _slots(snapshot: Snapshot, service: Service) -> Verdicts:
    weights = [d.weight for d in service.destinations if d.weight > 0]
    total, slots = sum(weights), _SLOTS[service.scheduler]
    if service.scheduler == "mh" and weights:
        total //= math.gcd(*weights)
    if total > slots:
        message = (
            f"The weights of {service.name} add up to {total:,}, but the table of "
            f"{service.scheduler} has only {slots:,} slots, so some destinations get no "
            "connections"
        )
        yield _finding(snapshot, service, message, {"weights": total, "slots": slots})


def _fallback(snapshot: Snapshot, service: Service) -> Verdicts:
    known = detail(snapshot, service)
    if known is not None and known.flags & IP_VS_SVC_F_SCHED_SH_FALLBACK:
        return
    rows = known.destinations if known else ()
    out = {f"{d.address}:{d.port}" for d in service.destinations if d.weight <= 0}
    out |= {f"{d.address}:{d.port}" for d in rows if d.overloaded}
    if known is None:
        yield inconclusive(
            f"the flags of {service.name} are unknown, so sh-fallback may be missing"
        )
    elif out:
        message = (
            f"{service.name} uses sh without sh-fallback, so clients that hash to {min(out)} are "
            "refused"
        )
        yield _finding(snapshot, service, message, {"out": sorted(out), "flags": known.flags})


def _finding(
    snapshot: Snapshot, service: Service, message: str, evidence: dict[str, object]
) -> Finding:
    fix = in_table(
        snapshot,
        "schedule-mh",
        "Use the scheduler mh with the flags mh-fallback and mh-port, if this kernel has mh",
        Part.SCHEDULER,
        edited(snapshot, service, "-s mh -b mh-fallback,mh-port"),
    )
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=message,
        evidence={"service": service.name, "scheduler": service.scheduler} | evidence,
        fixes=(fix,) if service.scheduler == "sh" else (),
    )
