"""A director that synchronises its connections."""

from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from dirtune.collect.net import Interface
from dirtune.collect.processes import Process
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

VIP = "198.18.0.100"


MASTER = SyncDaemon("master", "eth1", 7, 1472)


CARD = Interface("eth1", None, None, True, 0, 0, operstate="up", mtu=1500)


def process(name, pid=9, ticks=0, *, kernel=False):
    return Process(pid, name, kernel, ticks, 0, "other", 0)


KEEPALIVED = tuple(process("keepalived", pid) for pid in (10, 11, 12))


def director(*daemons, scheduler="wlc", processes=KEEPALIVED, settings=(), **fields):
    values = {"services": (Service("TCP", VIP, 80, None, scheduler),)} | {
        "ipvs": Ipvs(daemons=daemons),
        "processes": processes,
        "addresses": frozenset({VIP}),
        "interfaces": (CARD,),
        "sysctls": Sysctls({f"net/ipv4/vs/{k}": str(v) for k, v in dict(settings).items()}),
    }
    return Snapshot(**(values | fields))
