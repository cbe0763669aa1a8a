from collections.abc import Iterator

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import ONE_CLIENT, detail
from dirtune.checks.table_fixes import Part, in_table
from dirtune.checks.together import few
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
    roles=(Role.DIRECTOR,),
)
def persistence_skew(snapshot: Snapshot, services: tuple[Service, ...]) -> Verdicts:
    """Because of persistence, a service's load is not balanced.

    ## What it does
    The check examines persistent services with 1,000 established connections or more. It reports a
    service in three cases: a destination has at least twice as many connections as its weight
    entitles it to; the netmask sends many clients to the same server; or the timeout is over an
    hour.

    ## Why it matters
    All clients behind the same proxy, carrier-grade NAT or CDN use the same server.

    ## Remediation
    Use a shorter persistence timeout (`ipvsadm -p`) or the netmask /32 (IPv4) or /128 (IPv6). If
    clients need not stay with their server, use mh with `mh-port` instead of persistence.
    Otherwise use cookies on layer 7.

    ## Known problems
    The check needs netlink for netmask and timeout: /proc/net/ip_vs shows the timeout in jiffies,
    whose length is unknown. The check does not judge IPv6 netmasks.

    ## References
    - ipvsadm(8), `--persistent`, `--netmask`
    """
    for service in services:
        active = sum(d.active for d in service.destinations)
        if service.persistent_jiffies is None or active < _FEW:
            continue
        known = detail(snapshot, service)
        reasons = (*(_settings(known) if known else ()), *_skew(service, active))
        if reasons:
            yield _finding(snapshot, service, known, reasons)
        elif known is None:
            yield inconclusive(
                f"the netmask and the timeout of {service.name} are unknown: reading them needs "
                "netlink"
            )


def _skew(service: Service, active: int) -> Iterator[str]:
    weights = sum(max(0, d.weight) for d in service.destinations)
    for server in sorted(service.destinations, key=lambda server: -server.active):
        fair = max(0, server.weight) / weights if weights else 0
        share = server.active / active
        if fair and share >= _TIMES_SHARE * fair:
            name = f"{server.address}:{server.port}"
            has, ought = _percent(share), _percent(fair)
            yield f"{name} has {has} of the connections and {ought} of the weight"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _settings(known: IpvsService) -> Iterator[str]:
    if known.family == 4 and known.netmask not in {"", ONE_CLIENT}:
        yield f"the netmask {known.netmask} sends many clients to the same server"
    if known.persistent_s is not None and known.persistent_s > _LONG_S:
        yield f"clients stay with their server for {known.persistent_s} s"


def _finding(
    snapshot: Snapshot, service: Service, known: IpvsService | None, reasons: tuple[str, ...]
) -> Finding:
    return Finding(
        subject=service.name,
        severity=Severity.MEDIUM,
        message=f"Persistence keeps {service.name} from being balanced: {few(reasons)}",
        evidence={
            "active": {f"{d.address}:{d.port}": d.active for d in service.destinations},
            "weights": {f"{d.address}:{d.port}": d.weight for d in service.destinations},
            "persistent_s": known and known.persistent_s,
            "netmask": known and known.netmask,
        },
        fixes=(
            in_table(
                snapshot,
                "narrow-persistence",
                "Shorten the persistence timeout, narrow the netmask to one address, or turn "
                "persistence off",
                Part.PERSISTENCE,
            ),
        ),
    )
