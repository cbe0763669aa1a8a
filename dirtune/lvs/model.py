"""IPVS tables as plain data; tables of plans, of ipvsadm and of the kernel have the same form.

Names and values are those of include/uapi/linux/ip_vs.h (Linux 6.1). Counters are kept separately
(`Numbers`), so two tables are equal if their settings are equal.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from dirtune.addresses import joined

ChosenForwarding = Literal["dr", "nat", "tun"]
"""The forwarding methods that a user can choose, in a plan or with ipvsadm(8)."""
Forwarding = Literal[ChosenForwarding, "local", "bypass"]
"""These methods, and those that only the kernel chooses."""
Tunnel = Literal["ipip", "gue", "gre"]

IP_VS_SVC_F_ONEPACKET = 0x4
IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2, IP_VS_SVC_F_SCHED3 = 0x8, 0x10, 0x20
IP_VS_SVC_F_SCHED_SH_FALLBACK = IP_VS_SVC_F_SCHED_MH_FALLBACK = IP_VS_SVC_F_SCHED1
IP_VS_SVC_F_SCHED_SH_PORT = IP_VS_SVC_F_SCHED_MH_PORT = IP_VS_SVC_F_SCHED2
IP_VS_TUNNEL_ENCAP_FLAG_CSUM, IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM = 0x1, 0x2

SCHED_FLAGS = {
    IP_VS_SVC_F_SCHED1: "flag-1",
    IP_VS_SVC_F_SCHED2: "flag-2",
    IP_VS_SVC_F_SCHED3: "flag-3",
}
"""ipvsadm(8)'s general names of a scheduler's flags, by the kernel's bits."""
TUNNEL_FLAGS = {
    IP_VS_TUNNEL_ENCAP_FLAG_CSUM: "csum",
    IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: "remcsum",
}
"""Flags of a gue or gre tunnel: checksums and remote checksum offload."""
_BY_SCHEDULER = {
    "sh": {
        IP_VS_SVC_F_SCHED_SH_FALLBACK: "sh-fallback",
        IP_VS_SVC_F_SCHED_SH_PORT: "sh-port",
    },
    "mh": {
        IP_VS_SVC_F_SCHED_MH_FALLBACK: "mh-fallback",
        IP_VS_SVC_F_SCHED_MH_PORT: "mh-port",
    },
}

ServiceKey = tuple[int, str, str, int]
"""IP version, protocol (or `fwmark`), address, and port or mark."""
DestinationKey = tuple[str, int]
"""Address and port."""


class Destination(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One real server of a service."""

    address: str
    port: int
    """Port of the real server; 0 keeps the client's port (only with a firewall mark)."""
    forwarding: Forwarding
    weight: int = 1
    """Share of new connections; with weight 0 the destination only keeps existing ones."""
    upper: int = 0
    """Number of connections at which the destination gets no new ones; 0 means no limit."""
    lower: int = 0
    """Number below which the destination gets new connections again; 0 means 3/4 of `upper`."""
    tunnel: Tunnel = "ipip"
    tunnel_port: int = 0
    tunnel_flags: int = 0

    @property
    def key(self) -> DestinationKey:
        """The address and port, which identify a destination within its service."""
        return (self.address, self.port)

    @property
    def tunnel_flag_names(self) -> tuple[str, ...]:
        """Names of the tunnel's flags."""
        return tuple(name for bit, name in TUNNEL_FLAGS.items() if self.tunnel_flags & bit)

    @property
    def name(self) -> str:
        """The destination as ipvsadm(8) writes it."""
        return joined(self.address, self.port)


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """One virtual service."""

    protocol: Literal["tcp", "udp", "sctp", "fwmark"]
    address: str
    """Empty for a firewall mark."""
    port: int
    """The port, 0 for every port, or the firewall mark."""
    scheduler: str
    family: Literal[4, 6] = 4
    flags: int = 0
    """IP_VS_SVC_F_ONEPACKET and the three flags of the scheduler."""
    persistent_s: int | None = None
    netmask: str = ""
    """Mask that groups persistent clients: 255.255.255.0, or an IPv6 prefix length; empty for
    one client per group."""
    engine: str = ""
    """Persistence engine, `sip`; empty without one."""
    destinations: tuple[Destination, ...] = ()

    @property
    def key(self) -> ServiceKey:
        """The values that identify a service to the kernel."""
        return (self.family, self.protocol, self.address, self.port)

    @property
    def name(self) -> str:
        """The service as ipvsadm(8) writes it."""
        if self.protocol == "fwmark":
            return f"FWM {self.port}{' IPv6' if self.family == 6 else ''}"
        return f"{self.protocol.upper()} {joined(self.address, self.port)}"

    @property
    def one_packet(self) -> bool:
        """Whether every packet is scheduled separately and no connection is kept."""
        return bool(self.flags & IP_VS_SVC_F_ONEPACKET)

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Names of the scheduler's flags, without one-packet scheduling."""
        names = scheduler_flags(self.scheduler)
        return tuple(name for bit, name in names.items() if self.flags & bit)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds that an idle connection stays in the connection table."""

    tcp: int
    tcp_fin: int
    udp: int


class SyncDaemon(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kernel thread that sends connections to other directors, or receives them."""

    state: Literal["master", "backup"]
    interface: str
    sync_id: int = 0
    """Sync id, the same on all synchronised directors; a backup with id 0 accepts every sender."""
    maxlen: int | None = None
    """Largest message in bytes; None if the kernel derives it from the interface's MTU."""
    group: str = "224.0.0.81"
    port: int = 8848
    ttl: int = 1


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """The IPVS table of one network namespace, current or planned."""

    services: tuple[Service, ...] = ()
    timeouts: Timeouts | None = None
    """Timeouts; None in a plan leaves them unchanged."""
    daemons: tuple[SyncDaemon, ...] | None = None
    """Sync daemons, none if empty; None in a plan leaves them unchanged."""

    @property
    def digest(self) -> str:
        """Digest of the table, to detect later changes of the table."""
        import hashlib  # noqa: PLC0415  (loads OpenSSL, which is not needed to show a table)

        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class Numbers(msgspec.Struct, frozen=True, gc=False):
    """Counters of a service or destination since it was added, and its rates."""

    connections: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    connections_per_s: int
    """Connections per second. All rates are means over some seconds, and stand still if
    net.ipv4.vs.run_estimation is 0."""
    packets_in_per_s: int
    packets_out_per_s: int
    bytes_in_per_s: int
    bytes_out_per_s: int


class Seen(NamedTuple):
    """The kernel's counters of one service and of its destinations."""

    numbers: Numbers
    destinations: tuple[tuple[tuple[int, int, int], Numbers], ...]
    """For each destination in the service's order: the numbers of active connections, inactive
    connections and persistence templates, and its counters."""


def scheduler_flags(scheduler: str) -> Mapping[int, str]:
    """Return the flags of *scheduler*, as a mapping from each flag's bit to its name."""
    return {**SCHED_FLAGS, **_BY_SCHEDULER.get(scheduler, {})}
