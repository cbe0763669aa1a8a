from collections.abc import Iterator, Mapping
from itertools import combinations

from msgspec.structs import replace

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
from dirtune.checks.ipvs import DEFENCES
from dirtune.keepalived.model import Conf, VrrpInstance
from dirtune.lvs import keepalived_conf
from dirtune.snapshot import Snapshot

_VS = "net/ipv4/vs/"
_FORWARD = "net/ipv4/ip_forward"
_OF_THE_HOST = frozenset({"sync_qlen_max", "est_cpulist"})


@cross_check("keepalived/pair-mismatch", severity=Severity.HIGH, trust="A")
def pair_mismatch(cluster: Cluster) -> Verdicts:
    """Two directors of one VRRP instance have different configurations.

    ## What it does
    The check compares the keepalived.conf(5) of each two directors that have a vrrp_instance with
    the same `virtual_router_id`. It reports instances of the same name with different ids,
    different addresses, `advert_int` and `version`, authentication on only one of them, equal
    priorities, a sync daemon on only one of them or with another id, group or port, different
    `lvs_timeouts`, and services that differ in any value. It also reports sysctls of IPVS that
    differ, and IP forwarding on only one of them (`medium`).

    ## Why it matters
    A backup with other services answers differently after a fail-over. With another version or
    another list of addresses, a director ignores the other's messages, so both become master. With
    equal priorities, the higher address wins, and not the director that was meant.

    ## Remediation
    Write one file for both directors, with the lines that differ behind @NAME (keepalived.conf(5),
    conditional configuration).

    ## Known problems
    The passwords of the authentication are not compared, because dirtune does not read them.
    Sysctls whose default depends on the host are left out: `sync_qlen_max`, `est_cpulist`. For the
    defences, armed and triggered count as equal.

    ## References
    - keepalived.conf(5)
    - RFC 5798, section 6.4
    """
    directors = cluster.role(Role.DIRECTOR)
    confs = {
        name: node.keepalived
        for name, node in directors.items()
        if node.keepalived is not None and node.keepalived.files
    }
    if cluster.unread:
        yield skipped(f"{next(iter(cluster.unread))} was not read")
    elif len(confs) < 2:
        yield not_applicable("this cluster has fewer than two directors with a keepalived.conf")
    for one, other in combinations(sorted(confs), 2):
        if _shared(confs[one], confs[other]):
            yield from _pair((one, confs[one]), (other, confs[other]))
            yield from _sysctls((one, directors[one]), (other, directors[other]))


def _shared(one: Conf, other: Conf) -> list[tuple[VrrpInstance, VrrpInstance]]:
    """Return the instances that both have, by id, else by name."""
    ids: dict[int | None, VrrpInstance] = {
        i.router_id: i for i in other.instances if i.router_id is not None
    }
    names = {i.name: i for i in other.instances}
    pairs = (
        (instance, ids.get(instance.router_id) or names.get(instance.name))
        for instance in one.instances
    )
    # Without any common id, they are routers of their own, whose names may be equal.
    if not any(instance.router_id in ids for instance in one.instances):
        return []
    return [(instance, theirs) for instance, theirs in pairs if theirs is not None]


def _pair(one: tuple[str, Conf], other: tuple[str, Conf]) -> Iterator[Finding]:
    names = f"{one[0]} and {other[0]}"
    faults = [fault for pair in _shared(one[1], other[1]) for fault in _instances(*pair)]
    faults += _daemons(one[1], other[1])
    faults += _timeouts(one[1], other[1])
    faults += _services(one[1], other[1])
    for subject, fault in faults:
        yield Finding(
            subject, Severity.HIGH, f"{names}: {fault}", {"directors": [one[0], other[0]]}
        )


def _instances(one: VrrpInstance, other: VrrpInstance) -> Iterator[tuple[str, str]]:
    name = f"vrrp_instance {one.name}"
    if one.router_id != other.router_id:
        yield name, f"{name} has the ids {one.router_id} and {other.router_id}"
    if one.authenticated != other.authenticated:
        yield name, f"{name} has authentication on only one of them"
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
    elif first and second and (first.group, first.port) != (second.group, second.port):
        yield "sync daemon", "their sync daemons have another group or port"


def _timeouts(one: Conf, other: Conf) -> Iterator[tuple[str, str]]:
    first, second = (
        (conf.globals.tcp_s, conf.globals.tcp_fin_s, conf.globals.udp_s) for conf in (one, other)
    )
    if first != second:
        yield "lvs_timeouts", "their lvs_timeouts differ"


def _sysctls(one: tuple[str, Snapshot], other: tuple[str, Snapshot]) -> Iterator[Finding]:
    first, second = (node.sysctls.values if node.sysctls else {} for _, node in (one, other))
    different = [
        name
        for name in sorted(first.keys() & second.keys())
        if name == _FORWARD or name.startswith(_VS)
        if _value(name, first[name]) != _value(name, second[name])
    ]
    if different:
        name = different[0]
        shown = name.replace("/", ".")
        yield Finding(
            shown,
            Severity.MEDIUM,
            f"{one[0]} and {other[0]}: {shown} is {first[name].strip()} and "
            f"{second[name].strip()}",
            {"directors": [one[0], other[0]]},
            also=tuple(name.replace("/", ".") for name in different[1:]),
        )


def _value(name: str, text: str) -> str:
    name = name.removeprefix(_VS)
    if name in _OF_THE_HOST:
        return ""
    words = " ".join(text.split())
    return "1" if name in DEFENCES and words == "2" else words


def _services(one: Conf, other: Conf) -> Iterator[tuple[str, str]]:
    first, second = _table(one), _table(other)
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            yield name, f"only one of them has {name}"
        elif first[name] != second[name]:
            yield (
                name,
                f"{name} has another scheduler, other options, or other destinations or weights",
            )


def _table(conf: Conf) -> Mapping[str, tuple[object, ...]]:
    return {
        service.name: (
            replace(service, destinations=()),
            *sorted(service.destinations, key=lambda real: real.key),
        )
        for service in keepalived_conf.derive(conf).table.services
    }
