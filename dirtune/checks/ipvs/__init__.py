"""Checks of IPVS services, and the helper functions that they share."""

from collections.abc import Iterable
from functools import lru_cache

from dirtune.analyse import rates
from dirtune.analyse.cpu import USER_HZ
from dirtune.collect.identity import Same
from dirtune.collect.ip_vs import Destination, Forward, Service
from dirtune.collect.ipvs_netlink import Ipvs, IpvsService
from dirtune.collect.processes import Process
from dirtune.lvs.model import IP_VS_SVC_F_ONEPACKET, SCHED_FLAGS
from dirtune.snapshot import Snapshot

SCHEDULER_FLAGS = sum(SCHED_FLAGS)
"""The flags of a service that belong to its scheduler (ipvsadm -b)."""
DEFENCES = ("drop_packet", "drop_entry", "secure_tcp")
"""Sysctls of the defences. The values mean: 0 off, 1 armed, 2 armed and triggered, 3 always on."""
LONG_CHAIN = 8
"""Average number of entries per bucket at which the connection table's chains are long."""
ROUTERS = ("bird", "bird6", "bgpd", "exabgp", "gobgpd", "pybal")
"""Routing programs: if one of these runs, several directors may share a virtual address."""
_OPTIONS = {"TCP": "-t", "UDP": "-u"}
ONE_CLIENT = "255.255.255.255"
"""The netmask with which persistence distinguishes single client addresses."""


def vips(snapshot: Snapshot) -> frozenset[str]:
    """Return the virtual addresses of all services; a service with a firewall mark has none."""
    return frozenset(s.address for s in snapshot.services or () if s.address is not None)


def forwarding(snapshot: Snapshot) -> frozenset[Forward]:
    """Return the forwarding methods in use."""
    return frozenset(d.forward for s in snapshot.services or () for d in s.destinations)


def entries(snapshot: Snapshot) -> int:
    """Return the number of connections in the table, without persistence templates."""
    return sum(d.active + d.inactive for s in snapshot.services or () for d in s.destinations)


def destinations(snapshot: Snapshot) -> tuple[tuple[Service, Destination], ...]:
    """Return every destination with its service."""
    return tuple((s, d) for s in snapshot.services or () for d in s.destinations)


def detail(snapshot: Snapshot | None, service: Service) -> IpvsService | None:
    """Return what netlink reports about *service*; None if it reports nothing or was not read."""
    return _by_name(Same(snapshot.ipvs)).get(service.name) if snapshot and snapshot.ipvs else None


@lru_cache(maxsize=2)
def _by_name(ipvs: Same[Ipvs]) -> dict[str, IpvsService]:
    """Return the services by name; a director may have tens of thousands."""
    return {service.name: service for service in reversed(ipvs.value.services)}


def counted(snapshot: Snapshot, service: Service, counter: str) -> int | None:
    """Return how much a netlink *counter* of *service* rose between samples; None if unknown."""
    now, then = detail(snapshot, service), detail(snapshot.earlier, service)
    if now is None or then is None:
        return None
    return rates.increase(getattr(then, counter), getattr(now, counter))


def per_second(snapshot: Snapshot, counter: str) -> float | None:
    """Return the rise per second of a counter over all services; None without two samples."""
    now, then = snapshot.ip_vs_stats, snapshot.earlier.ip_vs_stats if snapshot.earlier else None
    if now is None or then is None or not snapshot.seconds:
        return None
    rise = rates.increase(getattr(then, counter), getattr(now, counter))
    return None if rise is None else rise / snapshot.seconds


def new_per_second(snapshot: Snapshot, service: Service) -> float | None:
    """Return new connections/s of *service*, or of the whole host if it has only this service."""
    rise = counted(snapshot, service, "connections")
    if rise is not None and snapshot.seconds:
        return rise / snapshot.seconds
    return per_second(snapshot, "connections") if snapshot.services == (service,) else None


def running(snapshot: Snapshot, names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the programs in *names* that are running; None if the processes are unknown."""
    if snapshot.processes is None:
        return None
    alive = {process.name for process in snapshot.processes if not process.kernel}
    return tuple(name for name in names if name in alive)


def thread_percents(
    snapshot: Snapshot, prefixes: tuple[str, ...]
) -> tuple[tuple[Process, float | None], ...]:
    """Return the kernel threads whose names begin with a prefix, with their CPU percentages.

    A percentage is None if the thread's CPU time is unknown.
    """
    before = (snapshot.earlier.processes if snapshot.earlier else None) or ()
    then = {(process.pid, process.name): process.ticks for process in before}
    found = (p for p in snapshot.processes or () if p.kernel and p.name.startswith(prefixes))
    return tuple((p, _percent(snapshot, then.get((p.pid, p.name)), p.ticks)) for p in found)


def _percent(snapshot: Snapshot, then: int | None, now: int) -> float | None:
    ticks = rates.increase(then, now)
    if ticks is None or not snapshot.seconds:
        return None
    return 100 * ticks / USER_HZ / snapshot.seconds


def templates(snapshot: Snapshot) -> int | None:
    """Return the number of persistence templates in the table; None if netlink was not read."""
    if snapshot.ipvs is None:
        return None
    return sum(d.persistent for s in snapshot.ipvs.services for d in s.destinations)


def per_bucket(snapshot: Snapshot) -> float | None:
    """Return entries per bucket of the connection table; None if the table size is unknown."""
    if not snapshot.ip_vs_table_size:
        return None
    return (entries(snapshot) + (templates(snapshot) or 0)) / snapshot.ip_vs_table_size


def page_bytes(snapshot: Snapshot) -> int | None:
    """Return the memory page size: 4096 on x86, otherwise None, because no file reports it."""
    x86 = snapshot.cpuinfo is not None and snapshot.cpuinfo.flags is not None
    return 4096 if x86 else None


def edited(snapshot: Snapshot, service: Service, changes: str) -> tuple[tuple[str, ...], ...]:
    """Return the ipvsadm command that applies *changes* to one service; empty if that is unsafe.

    `ipvsadm -E` replaces all settings of a service. Without netlink the other settings are
    unknown, so the command would drop them.
    """
    known = detail(snapshot, service)
    if known is None or (known.family == 6 and known.persistent_s is not None):
        return ()
    if "-s" not in changes and known.flags & SCHEDULER_FLAGS:
        return ()
    words = ["ipvsadm", "-E", *_option(service), *changes.split()]
    if "-s" not in changes:
        words += ("-s", service.scheduler)
    if known.flags & IP_VS_SVC_F_ONEPACKET and "-o" not in changes.split():
        words.append("-o")
    if known.persistent_s is not None:
        words += ("-p", str(known.persistent_s))
        if known.netmask not in {"", ONE_CLIENT}:
            words += ("-M", known.netmask)
    return (tuple(words),)


def _option(service: Service) -> tuple[str, str]:
    if service.fwmark is not None:
        return "-f", str(service.fwmark)
    protocol, _, where = service.name.partition(" ")
    return _OPTIONS.get(protocol, "--sctp-service"), where
