"""Take snapshots: the state of a host at one or two moments, as plain data.

A sample comes from a host itself, from a recorded tree, from an archive (dirtune/archive.py), or
from the output of a script on another machine (dirtune/fetch.py).
"""

import enum
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network

from dirtune.analyse.handlers import HandlerCounts, HandlerWindow
from dirtune.analyse.probed import LockWindow, Probed, SoftirqWindow
from dirtune.collect import (
    addresses,
    cmdline,
    conntrack,
    cpu_power,
    cpuinfo,
    cpus,
    ethtool,
    interrupts,
    ip_vs,
    ip_vs_status,
    ipvs_netlink,
    irq_threads,
    keepalived,
    kernel,
    kernel_log,
    limits,
    meminfo,
    modules,
    mounts,
    neighbours,
    net,
    netdev,
    packet,
    pci,
    proc_irq,
    processes,
    routes,
    rulesets,
    settings_files,
    snmp,
    softirqs,
    softnet,
    stat,
    sysctls,
)
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.cpu_power import CpuPower
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.cpus import Cpus
from dirtune.collect.ethtool import Card
from dirtune.collect.interrupts import Interrupts
from dirtune.collect.ip_vs import Forward, Service, Stats
from dirtune.collect.ip_vs_status import ConnectionTable
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.irq_threads import IrqThread
from dirtune.collect.kernel import Kernel
from dirtune.collect.log_messages import LogLine
from dirtune.collect.modules import Modules
from dirtune.collect.mounts import Mount
from dirtune.collect.net import Interface
from dirtune.collect.netdev import NicQueues
from dirtune.collect.packet import PacketSocket
from dirtune.collect.pci import PciDevice
from dirtune.collect.proc_irq import IrqState
from dirtune.collect.processes import Process
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from dirtune.collect.settings_files import SettingsFiles
from dirtune.collect.softirqs import Softirqs
from dirtune.collect.softnet import SoftnetRow
from dirtune.collect.stat import Stat
from dirtune.collect.sysctls import Sysctls
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host
from dirtune.keepalived.model import Conf


class Role(enum.StrEnum):
    """The role of a host in a cluster."""

    DIRECTOR = "director"
    BACKUP = "backup"
    """A director that has IPVS services but holds none of their addresses."""
    REAL_SERVER = "real-server"
    CLIENT = "client"
    HOST = "host"
    """A host that has none of the other roles."""


@dataclass(frozen=True)
class Place:
    """A host's part in a cluster, according to a plan or to the director's table."""

    role: Role
    """Director, real server or client."""
    vips: tuple[str, ...] = ()
    """Virtual addresses of the services that the host is part of."""
    forward: Forward | None = None
    """The forwarding method to this real server; None if unknown.

    If services use several methods, this is the method that needs most settings on the real
    server.
    """
    director_addresses: frozenset[str] = frozenset()
    client_addresses: frozenset[str] = frozenset()
    """Addresses of the clients that are nodes of the cluster."""
    source_nat: bool | None = None
    """Whether the director has rules that rewrite source addresses (full NAT); None if unknown."""
    rate: float | None = None
    """Connections/s that this client should offer; None without a plan."""
    concurrency: int | None = None
    """Simultaneous connections that this client should hold; None without a plan."""
    others: frozenset[Forward] = frozenset()
    """Further forwarding methods that the director uses for this real server."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a host; a field whose source is missing is None, never zero or empty."""

    kernel: Kernel | None = None
    cpuinfo: CpuInfo | None = None
    cmdline: tuple[str, ...] | None = None
    interrupts: Interrupts | None = None
    irq_threads: tuple[IrqThread, ...] | None = None
    stat: Stat | None = None
    pci: tuple[PciDevice, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None
    mounts: tuple[Mount, ...] | None = None
    swaps: tuple[str, ...] | None = None
    addresses: frozenset[str] | None = None
    """Addresses that this network namespace holds."""
    services: tuple[Service, ...] | None = None
    ip_vs_stats: Stats | None = None
    ip_vs_table_size: int | None = None
    """Number of buckets of the connection table."""
    ip_vs_status: ConnectionTable | None = None
    """How full these buckets are, on a kernel whose table resizes itself."""
    ipvs: Ipvs | None = None
    """The services with details that only netlink reports."""
    keepalived: Conf | None = None
    """keepalived's configuration, without passwords."""
    cpus: Cpus | None = None
    proc_irq: Mapping[str, IrqState] | None = None
    """States of the interrupts by their numbers as text."""
    softirqs: Softirqs | None = None
    softnet: tuple[SoftnetRow, ...] | None = None
    processes: tuple[Process, ...] | None = None
    cpu_power: CpuPower | None = None
    meminfo: Mapping[str, int] | None = None
    """Amounts of memory in bytes."""
    limits: Mapping[str, int | None] | None = None
    modules: Modules | None = None
    settings_files: SettingsFiles | None = None
    sysctls: Sysctls | None = None
    local_networks: frozenset[IPv4Network] | None = None
    """Networks whose every address belongs to this host."""
    interface_addresses: tuple[InterfaceAddress, ...] | None = None
    routes: tuple[Route, ...] | None = None
    """The main IPv4 routing table."""
    neighbours: Mapping[str, Mapping[str, int]] | None = None
    packet: tuple[PacketSocket, ...] | None = None
    snmp: Mapping[str, int] | None = None
    conntrack: Mapping[str, int] | None = None
    ethtool: Mapping[str, Card] | None = None
    """Settings of NICs by interface."""
    netdev: NicQueues | None = None
    """Queues of NICs, with their interrupts, threads and counters."""
    kernel_log: tuple[LogLine, ...] | None = None
    rulesets: Rulesets | None = None
    place: Place | None = None
    """This host's part in a cluster; None if unknown."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """The reason why a field is None, by the field's name."""
    taken_s: float | None = None
    """The host's monotonic clock in seconds."""
    earlier: "Snapshot | None" = None
    """The earlier of two samples, from which rates are calculated."""
    handlers: HandlerWindow | None = None
    """The irq probe's measurement; None unless the audit probes."""
    handler_counts: HandlerCounts | None = None
    """Counts that replace `handlers` if eBPF is unavailable."""
    locks: LockWindow | None = None
    """The locks probe's measurement; None unless the audit probes."""
    softirq_window: SoftirqWindow | None = None
    """The softirq probe's measurement; None unless the audit probes."""

    @property
    def empty(self) -> bool:
        """Whether every field that is read from the host is missing."""
        return all(getattr(self, name) is None for name in FIELDS)

    def sysctl(self, name: str) -> int | None:
        """Return the number in the setting *name*, a path below /proc/sys; None if unknown."""
        return self.sysctls.number(name) if self.sysctls else None

    @property
    def seconds(self) -> float | None:
        """Seconds between the two samples; None without two samples or their times.

        A host may also report the same time twice, or an earlier time for the second sample. The
        seconds are unknown then, too.
        """
        if self.earlier is None or self.earlier.taken_s is None or self.taken_s is None:
            return None
        seconds = self.taken_s - self.earlier.taken_s
        return seconds if seconds > 0 else None


_READERS: Mapping[str, Callable[[Host], object]] = {
    "kernel": kernel.read_kernel,
    "cpuinfo": cpuinfo.read_cpuinfo,
    "cmdline": cmdline.read_cmdline,
    "interrupts": interrupts.read_interrupts,
    "irq_threads": irq_threads.read_irq_threads,
    "stat": stat.read_stat,
    "pci": pci.read_pci,
    "interfaces": net.read_interfaces,
    "mounts": mounts.read_mounts,
    "swaps": mounts.read_swaps,
    "addresses": addresses.read_addresses,
    "services": ip_vs.read_services,
    "ip_vs_stats": ip_vs.read_ip_vs_stats,
    "ip_vs_table_size": ip_vs.read_table_size,
    "ip_vs_status": ip_vs_status.read_ip_vs_status,
    "ipvs": ipvs_netlink.read_ipvs,
    "keepalived": keepalived.read_keepalived,
    "cpus": cpus.read_cpus,
    "proc_irq": proc_irq.read_proc_irq,
    "softirqs": softirqs.read_softirqs,
    "softnet": softnet.read_softnet,
    "processes": processes.read_processes,
    "cpu_power": cpu_power.read_cpu_power,
    "meminfo": meminfo.read_meminfo,
    "limits": limits.read_limits,
    "modules": modules.read_modules,
    "settings_files": settings_files.read_settings_files,
    "sysctls": sysctls.read_sysctls,
    "local_networks": addresses.read_local_networks,
    "interface_addresses": addresses.read_interface_addresses,
    "routes": routes.read_routes,
    "neighbours": neighbours.read_neighbours,
    "packet": packet.read_packet,
    "snmp": snmp.read_snmp,
    "conntrack": conntrack.read_conntrack,
    "ethtool": ethtool.read_ethtool,
    "netdev": netdev.read_netdev,
    "kernel_log": kernel_log.read_kernel_log,
    "rulesets": rulesets.read_rulesets,
}


FIELDS = tuple(_READERS)
"""The fields that an audit reads."""
MOVING = (
    "interrupts",
    "stat",
    "interfaces",
    "services",
    "ip_vs_stats",
    "ipvs",
    "cpus",
    "proc_irq",
    "softirqs",
    "softnet",
    "processes",
    "cpu_power",
    "neighbours",
    "snmp",
    "conntrack",
    "ethtool",
    "netdev",
)
"""The fields whose values change over time; the earlier of two samples has only these."""


def patterns_of(fields: Sequence[str] = FIELDS) -> tuple[str, ...]:
    """Return shell patterns of all files and links from which *fields* are read.

    For outputs of commands and netlink answers, the patterns match their paths in a record.
    """
    modules = (sys.modules[_READERS[name].__module__] for name in fields)
    return tuple(dict.fromkeys(pattern for module in modules for pattern in module.SOURCES))


def moving(fields: Sequence[str] = FIELDS) -> tuple[str, ...]:
    """Return the subset of *fields* that is read in both samples."""
    return tuple(name for name in fields if name in MOVING)


def with_probes(snapshot: Snapshot, probed: Probed) -> Snapshot:
    """Return *snapshot* with the probes' results; `errors` says why a result is missing."""
    names = {"irq": "handlers", "locks": "locks", "softirq": "softirq_window"}
    reasons = {
        names[one.probe]: "; ".join(filter(None, (one.why, one.remedy)))
        for one in probed.missing
        if one.probe in names
    }
    return replace(
        snapshot,
        handlers=probed.handlers,
        handler_counts=probed.handler_counts,
        locks=probed.locks,
        softirq_window=probed.softirqs,
        errors={**snapshot.errors, **reasons},
    )


def take(host: Host, fields: Sequence[str] = FIELDS) -> Snapshot:
    """Read *fields* once; a field that cannot be read is None, and `errors` has the reason."""
    values: dict[str, object] = {}
    errors: dict[str, str] = {}
    for name in fields:
        try:
            values[name] = _READERS[name](host)
        except (SourceMissing, SourceRefused, ParseError) as error:
            errors[name] = str(error)
    return replace(Snapshot(errors=errors, taken_s=host.monotonic()), **values)  # type: ignore[arg-type]


def take_all(samples: Sequence[Host], fields: Sequence[str] = FIELDS) -> Snapshot:
    """Take a snapshot of the last of *samples*.

    If there is a sample before the last, `earlier` holds its fields that change over time.
    """
    *before, last = samples
    earlier = take(before[-1], moving(fields)) if before else None
    return replace(take(last, fields), earlier=earlier)
