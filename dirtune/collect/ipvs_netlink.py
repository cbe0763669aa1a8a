"""IPVS as netlink tells it: what /proc/net/ip_vs leaves out.

Seconds instead of jiffies, thresholds, tunnel types, scheduler flags, counters per service and
destination, timeouts, sync daemons (include/uapi/linux/ip_vs.h). Dumps are not atomic: numbers of
one service may move between two messages.
"""

from collections.abc import Mapping

import msgspec

from dirtune.collect.netlink import IPVS, answer
from dirtune.errors import ParseError
from dirtune.formats import from_json
from dirtune.host import Host

SOURCES = (IPVS,)
FALLBACK, PORT = 0x8, 0x10
"""Flags of the schedulers sh and mh: replace a server that is out; hash the port too."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What a service or destination has seen since it was made; None if the kernel is silent."""

    connections: int | None = None
    packets_in: int | None = None
    packets_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


class IpvsDestination(Counters, frozen=True, kw_only=True):
    """One real server of a service."""

    address: str
    port: int
    forward: str
    """Masq, Local, Tunnel, Route or Bypass."""
    weight: int
    upper: int = 0
    """Connections at which it gets no new ones; 0 is no limit."""
    lower: int = 0
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    """Templates of persistent clients."""
    tunnel_type: int = 0
    """0 ipip, 1 gue, 2 gre."""

    @property
    def overloaded(self) -> bool:
        """Whether it is over its upper threshold and so gets no new connections."""
        return 0 < self.upper <= self.active + self.inactive


class IpvsService(Counters, frozen=True, kw_only=True):
    """One virtual service."""

    protocol: str
    """TCP, UDP, SCTP, or FWM for a firewall mark."""
    address: str | None = None
    port: int | None = None
    fwmark: int | None = None
    family: int = 4
    scheduler: str
    flags: int = 0
    persistent_s: int | None = None
    netmask: str = ""
    """Of persistence: 255.255.255.255 is one client."""
    destinations: tuple[IpvsDestination, ...] = ()

    @property
    def name(self) -> str:
        """The service as ipvsadm(8) writes it."""
        if self.fwmark is not None:
            return f"FWM {self.fwmark}"
        host = f"[{self.address}]" if ":" in (self.address or "") else self.address
        return f"{self.protocol} {host}:{self.port}"


class SyncDaemon(msgspec.Struct, frozen=True):
    """One thread that sends or receives connections."""

    state: str
    """master, backup or none."""
    interface: str | None = None
    sync_id: int | None = None
    maxlen: int | None = None
    """Largest message, bytes."""


class Ipvs(msgspec.Struct, frozen=True):
    """The IPVS of one network namespace."""

    services: tuple[IpvsService, ...] = ()
    timeouts_s: Mapping[str, int] = {}
    """`tcp`, `tcp_fin`, `udp`."""
    daemons: tuple[SyncDaemon, ...] = ()


def read_ipvs(host: Host) -> Ipvs:
    """Read it; `SourceMissing` where netlink was not asked."""
    return parse_ipvs(answer(host, IPVS))


def parse_ipvs(text: str) -> Ipvs:
    """Parse the answers that `collect.netlink` keeps."""
    try:
        return from_json(text, Ipvs)
    except msgspec.MsgspecError as error:
        raise ParseError("netlink's answer about IPVS", str(error)) from error
