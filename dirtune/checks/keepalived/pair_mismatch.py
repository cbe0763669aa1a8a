from collections.abc import Iterator, Mapping
from itertools import combinations

from dirtune.checks import (
    Cluster,
    Finding,
    Role,
    Severity,
    Verdicts,
    cross_check,
    not_applicable,
    skipped,
)
from dirtune.keepalived.model import Conf, VrrpInstance
from dirtune.lvs import keepalived_conf


@cross_check("keepalived/pair-mismatch", severity=Severity.HIGH, trust="A")
def pair_mismatch(cluster: Cluster) -> Verdicts:
    """Two directors of one VRRP instance have different configurations.

    ## What it does
    The check compares the keepalived.conf(5) of each two directors that have a vrrp_instance with
    the same `virtual_router_id`. It reports different addresses, `advert_int` and `version`, equal
    priorities, a sync daemon on only one of them or with another id, and different services,
    schedulers, destinations and weights.

    ## Why it matters
    A backup with other services answers differently after a fail-over. With another version or
    another list of addresses, a director ignores the other's messages, so both become master. With
    equal priorities, the higher address wins, and not the director that was meant.

    ## Remediation
    Write one file for both directors, with the lines that differ behind @NAME (keepalived.conf(5),
    conditional configuration).

    ## References
    - keepalived.conf(5)
    - RFC 5798, section 6.4
    """
    confs = {
        name: node.keepalived
        for name, node in cluster.role(Role.DIRECTOR).items()
        if node.keepalived is not None and node.keepalived.files
    }
    if cluster.unread:
        yield skipped(f"{next(iter(cluster.unread))} was not read")
    elif len(confs) < 2:
        yield not_applicable("this cluster has fewer than two directors with a keepalived.conf")
    for one, other in combinations(sorted(confs), 2):
        yield from _pair((one, confs[one]), (other, confs[other]))


def _pair(one: tuple[str, Conf], other: tuple[str, Conf]) -> Iterator[Finding]:
    names = f"{one[0]} and {other[0]}"
    theirs = {instance.router_id: instance for instance in other[1].instances}
    shared = [
        (instance, theirs[instance.router_id])
        for instance in one[1].instances
        if instance.router_id is not None and instance.router_id in theirs
    ]
    if not shared:
        return
    faults = [fault for pair in shared for fault in _instances(*pair)]
    faults += _daemons(one[1], other[1])
    faults += _services(one[1], other[1])
    for subject, fault in faults:
        yield Finding(
            subject, Severity.HIGH, f"{names}: {fault}", {"directors": [one[0], other[0]]}
        )


def _instances(one: VrrpInstance, other: VrrpInstance) -> Iterator[tuple[str, str]]:
    name = f"vrrp_instance {one.name}"
    if one.priority == other.priority:
        yield name, f"{name} has the same priority {one.priority} on both"
    if sorted(one.addresses) != sorted(other.addresses):
        yield name, f"{name} has different addresses"
    if one.advert_s != other.advert_s or one.version != other.version:
        yield name, f"{name} has another advert_int or another version"


def _daemons(one: Conf, other: Conf) -> Iterator[tuple[str, str]]:
    first, second = one.globals.sync_daemon, other.globals.sync_daemon
    if (first is None) != (second is None):
        yield "sync daemon", "only one of them has a lvs_sync_daemon"
    elif first and second and first.sync_id != second.sync_id:
        yield "sync daemon", f"their sync ids {first.sync_id} and {second.sync_id} differ"


def _services(one: Conf, other: Conf) -> Iterator[tuple[str, str]]:
    first, second = _table(one), _table(other)
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            yield name, f"only one of them has {name}"
        elif first[name] != second[name]:
            yield name, f"{name} has another scheduler, or other destinations or weights"


def _table(conf: Conf) -> Mapping[str, tuple[object, ...]]:
    return {
        service.name: (
            service.scheduler,
            *sorted((d.name, d.weight) for d in service.destinations),
        )
        for service in keepalived_conf.derive(conf).table.services
    }
