from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import (
    Cluster,
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    cross_check,
    inconclusive,
    not_applicable,
    skipped,
)
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_CLIENT_PERCENT = 90  # an estimate, not calibrated
_DIRECTOR_PERCENT = 60  # an estimate, not calibrated
_BITS_PER_MEGABIT = 1_000_000


@cross_check("client/generator-bound", severity=Severity.INFO, trust="C")
def generator_bound(cluster: Cluster) -> Verdicts:
    """A client is the bottleneck, not the director.

    ## What it does
    The check compares the nodes of a plan under load. It reports a client if one of its CPUs, or
    one direction of a link, has a load of 90 % or more. At the same time, every CPU of the
    directors must be less than 60 % busy. Without two samples of a director and a client, the
    check is inconclusive.

    ## Why it matters
    The benchmark then measures the client, not the director.

    ## Remediation
    Use more clients, or faster ones.

    ## Known problems
    Some kernels do not measure the time of interrupts. On a client or director with such a kernel,
    the check does not count this time as busy.

    ## References
    - httperf, a tool for measuring web server performance: limits to client-sustainable load
    """
    directors, clients = cluster.role(Role.DIRECTOR), cluster.role(Role.CLIENT)
    for name in (n for n, role in cluster.unread.items() if role in {Role.DIRECTOR, Role.CLIENT}):
        yield skipped(f"the node {name} was not read")
    if not directors or not clients:
        yield not_applicable("this cluster does not have both a director and a client")
        return
    busiest = [_busiest(node) for node in directors.values()]
    if None in busiest:
        yield inconclusive("the CPU times of a director were not read in both samples")
        return
    highest = max(percent for percent in busiest if percent is not None)
    for name, client in clients.items():
        if _busiest(client) is None:
            yield inconclusive(f"the CPU times of {name} were not read in both samples")
        elif highest < _DIRECTOR_PERCENT:
            if client.interfaces is None:
                yield inconclusive(f"the links of {name} are unknown")
            yield from _bound(name, client, highest)


def _bound(name: str, client: Snapshot, highest: float) -> Iterator[Finding]:
    cpu, links = _busiest(client), dict(_links(client))
    full = {link: percent for link, percent in links.items() if percent >= _CLIENT_PERCENT}
    if cpu is not None and cpu >= _CLIENT_PERCENT:
        limit = f"A CPU of {name} is {cpu:.0f} % busy"
    elif full:
        link = max(full, key=lambda link: full[link])
        limit = f"The link {link} of {name} is {full[link]:.0f} % busy"
    else:
        return
    yield Finding(
        name,
        Severity.INFO,
        f"{limit}, while the busiest CPU of the directors is {highest:.0f} % busy",
        {
            "client_cpu_percent": None if cpu is None else round(cpu, 1),
            "client_link_percent": {link: round(percent, 1) for link, percent in links.items()},
            "director_cpu_percent": round(highest, 1),
        },
        (Fix("take-more-clients", "Use more clients", Risk.SAFE),),
    )


def _busiest(node: Snapshot) -> float | None:
    known = rates.cpu_percent(node.earlier.stat if node.earlier else None, node.stat)
    return max((cpu["busy"] for cpu in (known or {}).values() if "busy" in cpu), default=None)


def _links(node: Snapshot) -> Iterator[tuple[str, float]]:
    before = {i.name: i for i in (node.earlier.interfaces if node.earlier else None) or ()}
    for now in node.interfaces or ():
        then = before.get(now.name)
        if then is not None and now.physical and now.speed_mbps and node.seconds:
            most = max(_bits(then, now, way) for way in ("rx_bytes", "tx_bytes"))
            yield now.name, 100 * most / node.seconds / (now.speed_mbps * _BITS_PER_MEGABIT)


def _bits(then: Interface, now: Interface, way: str) -> int:
    return 8 * (rates.increase(then.statistics.get(way), now.statistics.get(way)) or 0)
