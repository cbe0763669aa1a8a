"""Fixes of an IPVS table, in the words of the program that owns the table.

A program that owns a table writes it again from its own configuration, so a command for the table
helps only until then. The fix is then the program's own setting, if it has one.
"""

import enum
from collections.abc import Iterable, Mapping

from dirtune.checks import Fix, Risk
from dirtune.checks.owners import Owner, owner
from dirtune.checks.remedies import commands
from dirtune.snapshot import Snapshot


class Part(enum.Enum):
    """A part of a table that a fix changes."""

    SCHEDULER = enum.auto()
    PERSISTENCE = enum.auto()
    ONE_PACKET = enum.auto()
    WEIGHTS = enum.auto()
    THRESHOLDS = enum.auto()
    DESTINATIONS = enum.auto()


_AFFINITY = (
    "set `sessionAffinity` of the Kubernetes Service and its "
    "`sessionAffinityConfig.clientIP.timeoutSeconds`"
)
_DELETE = "use `ipvsadm -d`, and {} adds the destination again if its pod is ready"
_REAL_LINE = "change the `real` line in ldirectord's configuration"
_SEESAW = "set `{}` of the vserver_entry in Seesaw's configuration"
# pkg/proxy/ipvs/proxier.go and kube-proxy's options; kube-router's network_services_controller.go;
# libnetwork's service_linux.go, which has no such options; keepalived.conf(5); ldirectord(8);
# PyBal's ipvs/manager.py and server.py; seesaw's config.proto.
_WAYS: Mapping[Owner, Mapping[Part, str]] = {
    Owner.KUBE_PROXY: {
        Part.SCHEDULER: "set `ipvs.scheduler` of kube-proxy (--ipvs-scheduler), which all "
        "services use, and restart kube-proxy",
        Part.PERSISTENCE: _AFFINITY,
        Part.DESTINATIONS: _DELETE.format(Owner.KUBE_PROXY),
    },
    Owner.KUBE_ROUTER: {
        Part.SCHEDULER: "set the annotations `kube-router.io/service.scheduler` and "
        "`kube-router.io/service.schedflags` of the Kubernetes Service",
        Part.PERSISTENCE: _AFFINITY,
        Part.DESTINATIONS: _DELETE.format(Owner.KUBE_ROUTER),
    },
    Owner.SWARM: {
        Part.DESTINATIONS: "run `docker service update --force SERVICE`, which starts the tasks "
        "anew",
    },
    Owner.KEEPALIVED: {
        Part.SCHEDULER: "set `lb_algo` of the virtual_server in keepalived.conf and reload "
        "keepalived",
        Part.PERSISTENCE: "set `persistence_timeout` and `persistence_granularity` of the "
        "virtual_server in keepalived.conf and reload keepalived",
        Part.ONE_PACKET: "add `ops` to the virtual_server in keepalived.conf and reload "
        "keepalived",
        Part.WEIGHTS: "set `weight` of each real_server in keepalived.conf and reload keepalived",
        Part.THRESHOLDS: "set `uthreshold` of the real_server in keepalived.conf and reload "
        "keepalived",
        Part.DESTINATIONS: "change the real_server in keepalived.conf and reload keepalived",
    },
    Owner.LDIRECTORD: {
        Part.SCHEDULER: "set `scheduler` of the virtual service in ldirectord's configuration",
        Part.PERSISTENCE: "set `persistent` and `netmask` of the virtual service in ldirectord's "
        "configuration",
        Part.ONE_PACKET: "set `ops = yes` of the virtual service in ldirectord's configuration",
        Part.WEIGHTS: _REAL_LINE,
        Part.DESTINATIONS: _REAL_LINE,
    },
    Owner.PYBAL: {
        Part.SCHEDULER: "set `scheduler` of the service in PyBal's configuration",
        Part.WEIGHTS: "set the weights in the server list that PyBal reads",
        Part.DESTINATIONS: "change the server list that PyBal reads",
    },
    Owner.SEESAW: {
        Part.SCHEDULER: _SEESAW.format("scheduler"),
        Part.PERSISTENCE: _SEESAW.format("persistence"),
        Part.ONE_PACKET: _SEESAW.format("one_packet"),
        Part.WEIGHTS: "set `weight` of the backends in Seesaw's configuration",
        Part.THRESHOLDS: _SEESAW.format("uthreshold"),
        Part.DESTINATIONS: "change the backends in Seesaw's configuration",
    },
}


def in_table(
    snapshot: Snapshot,
    id: str,
    title: str,
    part: Part,
    rows: Iterable[tuple[str, ...]] = (),
    *,
    risk: Risk = Risk.SAFE,
) -> Fix:
    """Return a fix that changes *part* of the table, with *rows* only if no program owns it."""
    runs = owner(snapshot)
    if runs is None:
        return commands(snapshot, id, title, rows, risk=risk, what="ipvs")
    way = _WAYS[runs].get(part)
    title = f"{title}: {way}" if way else f"{title}. {runs} has no setting for this"
    return commands(snapshot, id, title, (), risk=risk, what="ipvs")
