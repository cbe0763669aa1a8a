"""IPVS as netlink reports it, with details that /proc/net/ip_vs lacks.

The details are times in seconds instead of jiffies, thresholds, tunnel types, scheduler flags,
counters per service and destination, timeouts and sync daemons. `netlink.ip_vs` reads them; the
classes here are the form in which a record keeps them. Dumps are not atomic: the counters of a
service may change between two messages.
"""

from collections.abc import Iterable, Mapping
from socket import AF_INET, inet_ntop

import msgspec

from dirtune.addresses import service_name
from dirtune.collect.answers import IPVS, answer
from dirtune.errors import ParseError
from dirtune.formats import from_json, parsing
from dirtune.host import Host
from dirtune.netlink import ip_vs

SOURCES = (IPVS,)
_FORWARD = {
    ip_vs.IP_VS_CONN_F_MASQ: "Masq",
    ip_vs.IP_VS_CONN_F_LOCALNODE: "Local",
    ip_vs.IP_VS_CONN_F_TUNNEL: "Tunnel",
    ip_vs.IP_VS_CONN_F_DROUTE: "Route",
    ip_vs.IP_VS_CONN_F_BYPASS: "Bypass",
}
"""Forwarding methods as /proc/net/ip_vs names them (net/netfilter/ipvs/ip_vs_ctl.c,
ip_vs_fwd_name())."""


class Counters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Counters of a service or destination since it was added; None if the kernel lacks them."""

    connections: int | None = None
    packets_in: int | None = None
    packets_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


class IpvsDestination(Counters, frozen=True, kw_only=True, gc=False):
    """One real server of a service."""

    address: str
    port: int
    forward: str
    """Masq, Local, Tunnel, Route or Bypass."""
    weight: int
    upper: int = 0
    """Upper threshold: with so many connections, the destination gets no new ones; 0 is no
    limit."""
    lower: int = 0
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    """Number of persistence templates, one per client or group of clients."""
    tunnel_type: int = 0
    """0 is ipip, 1 is gue, 2 is gre."""

    @property
    def overloaded(self) -> bool:
        """Whether the destination has reached its upper threshold and gets no new connections."""
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
    """Mask that groups persistent clients: with 255.255.255.255 each client is its own group."""
    destinations: tuple[IpvsDestination, ...] = ()

    @property
    def name(self) -> str:
        """The service as ipvsadm(8) writes it."""
        return service_name(self.protocol, self.address, self.port, self.fwmark)


class SyncDaemon(msgspec.Struct, frozen=True):
    """A kernel thread that sends connections to other directors, or receives them."""

    state: str
    """master, backup or none."""
    interface: str | None = None
    sync_id: int | None = None
    maxlen: int | None = None
    """Size of the largest message in bytes."""


class Ipvs(msgspec.Struct, frozen=True):
    """Services, timeouts and sync daemons of IPVS in one network namespace."""

    services: tuple[IpvsService, ...] = ()
    timeouts_s: Mapping[str, int] = {}
    """`tcp`, `tcp_fin`, `udp`."""
    daemons: tuple[SyncDaemon, ...] = ()


def read_ipvs(host: Host) -> Ipvs:
    """Read the netlink answer in the record. Raises `SourceMissing` if netlink was not queried."""
    return parse_ipvs(answer(host, IPVS))


@parsing("netlink")
def ipvs_of(reader: ip_vs.Reader) -> Ipvs:
    """Return the IPVS services, timeouts and sync daemons that *reader* gets from the kernel.

    Raises `ParseError` if an answer has an unknown form, and `genl.Refused` if the kernel refuses
    a request. Protocols and forwarding methods that have no name here are given by their numbers.
    """
    config = reader.config()
    timeouts = {
        "tcp": config.timeout_tcp,
        "tcp_fin": config.timeout_tcp_fin,
        "udp": config.timeout_udp,
    }
    return Ipvs(
        tuple(_service(reader, service, behind) for service, behind in reader.services()),
        {name: value for name, value in timeouts.items() if value is not None},
        tuple(map(_daemon, reader.daemons())),
    )


def parse_ipvs(text: str) -> Ipvs:
    """Parse the JSON in which a record keeps the netlink answer."""
    try:
        return from_json(text, Ipvs)
    except msgspec.MsgspecError as error:
        raise ParseError("netlink's answer about IPVS", str(error)) from error


def _service(
    reader: ip_vs.Reader,
    service: ip_vs.ServiceAttributes,
    behind: Iterable[ip_vs.DestAttributes],
) -> IpvsService:
    mark = service.fwmark
    name = ip_vs.PROTOCOLS.get(service.protocol)
    protocol = name.upper() if name else str(service.protocol)
    return IpvsService(
        protocol="FWM" if mark else protocol,
        address=None if mark else service.address,
        port=None if mark else service.port_number,
        fwmark=mark or None,
        family=4 if service.af == AF_INET else 6,
        scheduler=service.scheduler,
        flags=service.svc_flags,
        persistent_s=service.timeout if service.persistent else None,
        netmask=_netmask(service),
        destinations=tuple(_destination(reader, destination) for destination in behind),
        **_counters(reader.stats(service)),
    )


def _destination(reader: ip_vs.Reader, destination: ip_vs.DestAttributes) -> IpvsDestination:
    return IpvsDestination(
        address=destination.address,
        port=destination.port_number,
        forward=_FORWARD.get(destination.method, str(destination.method)),
        weight=destination.weight,
        upper=destination.u_thresh,
        lower=destination.l_thresh,
        active=destination.active_conns,
        inactive=destination.inact_conns,
        persistent=destination.persist_conns,
        tunnel_type=destination.tun_type,
        **_counters(reader.stats(destination)),
    )


def _counters(stats: ip_vs.StatsAttributes) -> dict[str, int | None]:
    return {
        "connections": stats.conns,
        "packets_in": stats.inpkts,
        "packets_out": stats.outpkts,
        "bytes_in": stats.inbytes,
        "bytes_out": stats.outbytes,
    }


def _daemon(daemon: ip_vs.DaemonAttributes) -> SyncDaemon:
    return SyncDaemon(
        state=ip_vs.STATES.get(daemon.state, "none"),
        interface=daemon.interface or None,
        sync_id=daemon.sync_id,
        maxlen=daemon.sync_maxlen,
    )


def _netmask(service: ip_vs.ServiceAttributes) -> str:
    """Return the persistence mask; empty for IPv6, where the field is a prefix length."""
    return inet_ntop(AF_INET, service.netmask) if service.af == AF_INET and service.netmask else ""
