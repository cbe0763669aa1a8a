from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import ONE_CLIENT, detail
from dirtune.checks.remedies import competitors
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import IpvsService
from dirtune.snapshot import Snapshot

_FEW = 1_000  # established connections of a service
_TIMES_SHARE = 2
_LONG_S = 3600


@check(
    "ipvs/persistence-skew",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("services",),
    roles=("director",),
)
def persistence_skew(snapshot: Snapshot) -> Verdicts:
    """Persistence keeps a service from being balanced.

    ## What it does
    Of persistent services with 1,000 established connections or more, reports one where a
    destination has twice the share that its weight gives it, one whose netmask sets many clients
    together, and one whose timeout is over an hour.

    ## Why it matters
    All clients behind one proxy, one carrier's NAT or one content network stay with one server.

    ## Remediation
    A shorter `-p`, a netmask of one address (/32 or /128), mh with `mh-port` where no affinity is
    needed, or cookies on layer 7.

    ## Known problems
    Netmask and timeout take netlink: /proc/net/ip_vs gives the timeout in jiffies, whose length
    it does not tell. Netmasks of IPv6 are not judged.

    ## References
    - ipvsadm(8), `--persistent`, `--netmask`
    """
    for service in snapshot.services or ():
        active = sum(d.active for d in service.destinations)
        if service.persistent_jiffies is None or active < _FEW:
            continue
        known = detail(snapshot, service)
        reasons = (*_skew(service, active), *(_settings(known) if known else ()))
        if reasons:
            yield _finding(snapshot, service, known, reasons)
        elif known is None:
            yield inconclusive(f"{service.name}: its netmask and timeout take netlink")


def _skew(service: Service, active: int) -> Iterator[str]:
    weights = sum(max(0, d.weight) for d in service.destinations)
    for each in service.destinations:
        fair = max(0, each.weight) / weights if weights else 0
        share = each.active / active
        if fair and share >= _TIMES_SHARE * fair:
            name = f"{each.address}:{each.port}"
            yield f"{name} has {share:.0%} of the connections and {fair:.0%} of the weight"


def _settings(known: IpvsService) -> Iterator[str]:
    if known.family == 4 and known.netmask not in {"", ONE_CLIENT}:
        yield f"netmask {known.netmask} sets many clients together"
    if known.persistent_s is not None and known.persistent_s > _LONG_S:
        yield f"clients stay for {known.persistent_s} s"


def _finding(
    snapshot: Snapshot, service: Service, known: IpvsService | None, reasons: tuple[str, ...]
) -> Finding:
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=", ".join(reasons),
        evidence={
            "active": {f"{d.address}:{d.port}": d.active for d in service.destinations},
            "weights": {f"{d.address}:{d.port}": d.weight for d in service.destinations},
            "persistent_s": known and known.persistent_s,
            "netmask": known and known.netmask,
        },
        fixes=(
            Fix(
                "narrow-persistence",
                "Make persistence shorter or narrower (one address), or do without",
                Risk.SAFE,
                competes=competitors(snapshot, "ipvs"),
            ),
        ),
    )
