"""The program that owns a host's IPVS table, and the words in which its users know a service."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.checks.host_roles import KUBE_PROXY_INTERFACE, KUBE_ROUTER_INTERFACE
from dirtune.checks.once import once
from dirtune.collect.ip_vs import Forward, Service
from dirtune.snapshot import Snapshot

# Docker numbers the firewall marks of its services from here (libnetwork, service_common.go).
_FIRST_SWARM_MARK = 256


class Owner(enum.StrEnum):
    """A program that writes an IPVS table, by the name that its users know."""

    KUBE_PROXY = "kube-proxy"
    KUBE_ROUTER = "kube-router"
    SWARM = "Docker Swarm"
    KEEPALIVED = "keepalived"
    LDIRECTORD = "ldirectord"
    PYBAL = "pybal"
    SEESAW = "seesaw"


_PROGRAMS: Mapping[str, Owner] = {
    "kube-proxy": Owner.KUBE_PROXY,
    "kube-router": Owner.KUBE_ROUTER,
    "keepalived": Owner.KEEPALIVED,
    "ldirectord": Owner.LDIRECTORD,
    "pybal": Owner.PYBAL,
    "seesaw_": Owner.SEESAW,
}
KUBERNETES = frozenset({Owner.KUBE_PROXY, Owner.KUBE_ROUTER})
"""Owners whose services are those of Kubernetes."""
TRACKING = KUBERNETES | {Owner.SWARM}
"""Owners whose own rules masquerade, and so need connection tracking."""


# The name of a service in a finding's subject; a destination's subject ends with it.
_SERVICE = re.compile(r"\b(?:TCP|UDP|SCTP|FWM) \S+$")


@dataclass(frozen=True, slots=True)
class Words:
    """How an owner's users speak of a service and of its destinations."""

    service: str
    """The beginning of a sentence about a service, with `{}` for its name in the table."""
    empty: str
    """The remedy for a service without destinations."""


_WORDS: Mapping[Owner, Words] = {
    Owner.SWARM: Words(
        "The Swarm service behind {}",
        "Start a task of the service: `docker service ps SERVICE` shows why none runs, and "
        "`docker service update --force SERVICE` distributes its tasks again",
    ),
    Owner.KEEPALIVED: Words(
        "The virtual_server {} of keepalived",
        "Repair the real servers or their health checks: keepalived logs each server that it "
        "removes. A sorry_server answers in the meantime",
    ),
    Owner.LDIRECTORD: Words(
        "The virtual service {} of ldirectord",
        "Repair the real servers or their health checks, which /var/log/ldirectord.log names. A "
        "`fallback` server answers in the meantime",
    ),
    Owner.PYBAL: Words(
        "The service {} of PyBal",
        "Repair the real servers or their monitors: PyBal logs each server that it depools",
    ),
    Owner.SEESAW: Words(
        "The vserver_entry {} of Seesaw",
        "Repair the backends or their healthchecks in Seesaw's configuration",
    ),
}
_DEFAULT = Words("{}", "Repair the real servers or their health checks")
_KUBERNETES = Words(
    "The Kubernetes service at {}",
    "Compare the service's selector with the ready pods: `kubectl get endpointslices -A`. With "
    "externalTrafficPolicy or internalTrafficPolicy set to Local, only a node with a ready pod of "
    "the service has a destination, so send clients to those nodes, for example by the load "
    "balancer's check of healthCheckNodePort",
)


@once
def owner(snapshot: Snapshot) -> Owner | None:
    """Return the program that owns the host's IPVS table; None if no sign of one was read.

    kube-proxy owns no table without its interface, nor keepalived without virtual servers.
    """
    names = [p.name for p in snapshot.processes or () if not p.kernel]
    held = {i.name for i in snapshot.interfaces or ()}
    held |= {a.interface for a in snapshot.interface_addresses or ()}
    ipvs_mode = any(name.startswith(KUBE_PROXY_INTERFACE) for name in held)
    idle = {Owner.KUBE_PROXY} if held and not ipvs_mode else set()
    conf = snapshot.keepalived
    if conf is not None and conf.files and not conf.virtual_servers:
        idle.add(Owner.KEEPALIVED)
    for program, known in _PROGRAMS.items():
        if known not in idle and any(name.startswith(program) for name in names):
            return known
    if ipvs_mode:
        return Owner.KUBE_PROXY
    if KUBE_ROUTER_INTERFACE in held:
        return Owner.KUBE_ROUTER
    return Owner.SWARM if _swarm(snapshot, names) else None


def _swarm(snapshot: Snapshot, names: list[str]) -> bool:
    """Whether the table is one of Docker Swarm's: NAT behind firewall marks from 256 only."""
    services = snapshot.services or ()
    marks = [s.fwmark for s in services if s.fwmark is not None and _is_nat(s)]
    mine = bool(marks) and len(marks) == len(services) and min(marks) >= _FIRST_SWARM_MARK
    return mine and (snapshot.processes is None or "dockerd" in names)


def _is_nat(service: Service) -> bool:
    return all(d.forward == Forward.MASQ for d in service.destinations)


def spoken(message: str, subject: str, known: Owner | None) -> str:
    """Return *message* with the service in *subject* named as the owner's users know it."""
    name = _SERVICE.search(subject)
    place = name and message.find(name[0])
    if name is None or place is None or place < 0:
        return message
    phrase = words(known).service
    if place and not message[:place].endswith(". "):
        phrase = phrase[0].lower() + phrase[1:]
    return message[:place] + phrase.format(name[0]) + message[place + len(name[0]) :]


def words(known: Owner | None) -> Words:
    """Return the words of an owner's users; the table's own words without an owner."""
    if known in KUBERNETES:
        return _KUBERNETES
    return _WORDS.get(known, _DEFAULT) if known else _DEFAULT
