"""An IPVS table as plain data, the same whether it came from a plan, a text or the kernel.

Names and values are those of include/uapi/linux/ip_vs.h (Linux 6.1). Counters are kept apart
(`Numbers`): two tables are equal when they are set up alike.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from dirtune.addresses import joined

Forwarding = Literal["nat", "local", "tun", "dr", "bypass"]
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
"""Flags of a scheduler by the kernel's bit, as ipvsadm(8) calls them in general."""
TUNNEL_FLAGS = {
    IP_VS_TUNNEL_ENCAP_FLAG_CSUM: "csum",
    IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: "remcsum",
}
"""Flags of a tunnel by gue or gre: checksums, and remote checksum offload."""
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
"""Family, protocol (or `fwmark`), address, and port or mark."""
DestinationKey = tuple[str, int]
"""Address and port."""


class Destination(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One real server of a service."""

    address: str
    port: int
    """0 for a firewall mark: the port that was asked for."""
    forwarding: Forwarding
    weight: int = 1
    """0 gets no new connections and finishes those it has."""
    upper: int = 0
    """Connections at which it gets no new ones; 0 is no limit."""
    lower: int = 0
    """Connections below which it gets new ones again; 0 is three quarters of `upper`."""
    tunnel: Tunnel = "ipip"
    tunnel_port: int = 0
    tunnel_flags: int = 0

    @property
    def key(self) -> DestinationKey:
        """The address and port, which identify a destination within its service."""
        return (self.address, self.port)

    @property
    def tunnel_flag_names(self) -> tuple[str, ...]:
        """The tunnel's flags by their names."""
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
    """The mark for a firewall mark; 0 is every port."""
    scheduler: str
    family: Literal[4, 6] = 4
    flags: int = 0
    """IP_VS_SVC_F_ONEPACKET and the scheduler's three."""
    persistent_s: int | None = None
    netmask: str = ""
    """Mask of persistence: 255.255.255.0, or the length of an IPv6 prefix; empty is one client."""
    engine: str = ""
    """Persistence engine: `sip`, or none."""
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
        """Whether every packet is scheduled by itself, and no connection is kept."""
        return bool(self.flags & IP_VS_SVC_F_ONEPACKET)

    @property
    def flag_names(self) -> tuple[str, ...]:
        """The scheduler's flags by their names, without one-packet scheduling."""
        names = scheduler_flags(self.scheduler)
        return tuple(name for bit, name in names.items() if self.flags & bit)


class Timeouts(msgspec.Struct, frozen=True):
    """Time that an idle connection stays in the table, seconds."""

    tcp: int
    tcp_fin: int
    udp: int


class SyncDaemon(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thread that sends or receives connections."""

    state: Literal["master", "backup"]
    interface: str
    sync_id: int = 0
    """0 on a backup takes every sender's."""
    maxlen: int | None = None
    """Largest message, bytes; None is what the kernel derives from the interface's MTU."""
    group: str = "224.0.0.81"
    port: int = 8848
    ttl: int = 1


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """The IPVS table of one network namespace, current or planned."""

    services: tuple[Service, ...] = ()
    timeouts: Timeouts | None = None
    """None in a plan: they stay as they are."""
    daemons: tuple[SyncDaemon, ...] | None = None
    """None in a plan: they stay as they are; empty is no daemon."""

    @property
    def digest(self) -> str:
        """The digest of the table, which tells whether it is still the same."""
        import hashlib  # noqa: PLC0415  (loads OpenSSL, which showing a table needs not)

        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class Numbers(msgspec.Struct, frozen=True, gc=False):
    """Counters of a service or destination since it was made, and its rates."""

    connections: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    connections_per_s: int
    """Averages over some seconds, frozen where net.ipv4.vs.run_estimation is 0."""
    packets_in_per_s: int
    packets_out_per_s: int
    bytes_in_per_s: int
    bytes_out_per_s: int


class Seen(NamedTuple):
    """The kernel's counters of one service and of its destinations."""

    numbers: Numbers
    destinations: tuple[tuple[tuple[int, int, int], Numbers], ...]
    """In their order, each with its active and inactive connections and its templates of
    persistent clients."""


def scheduler_flags(scheduler: str) -> Mapping[int, str]:
    """Return the names of *scheduler*'s flags by their bits."""
    return _BY_SCHEDULER.get(scheduler, SCHED_FLAGS)
