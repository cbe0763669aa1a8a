"""IPVS over generic netlink, read for both the audit and `dirtune lvs`.

Numbers, names and layouts are those of include/uapi/linux/ip_vs.h (Linux 6.1). The kernel writes
the attributes in ip_vs_genl_fill_service(), ip_vs_genl_fill_dest() and ip_vs_genl_fill_daemon() of
net/netfilter/ipvs/ip_vs_ctl.c. Opening a socket to the family loads ip_vs
(MODULE_ALIAS_GENL_FAMILY), so check first that the path LOADED exists. Reading needs CAP_NET_ADMIN
(GENL_ADMIN_PERM).
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from dirtune.formats import parsing
from dirtune.netlink import attributes
from dirtune.netlink.attributes import nest, raw, u16, u32
from dirtune.netlink.genl import Socket

LOADED = "/proc/net/ip_vs"
IPVS_GENL_NAME = "IPVS"
IPVS_GENL_VERSION = 1

IPVS_CMD_NEW_SERVICE = 1
IPVS_CMD_SET_SERVICE = 2
IPVS_CMD_DEL_SERVICE = 3
IPVS_CMD_GET_SERVICE = 4
IPVS_CMD_NEW_DEST = 5
IPVS_CMD_SET_DEST = 6
IPVS_CMD_DEL_DEST = 7
IPVS_CMD_GET_DEST = 8
IPVS_CMD_NEW_DAEMON = 9
IPVS_CMD_DEL_DAEMON = 10
IPVS_CMD_GET_DAEMON = 11
IPVS_CMD_SET_CONFIG = 12
IPVS_CMD_GET_CONFIG = 13

IPVS_CMD_ATTR_SERVICE = 1
IPVS_CMD_ATTR_DEST = 2
IPVS_CMD_ATTR_DAEMON = 3
IPVS_CMD_ATTR_TIMEOUT_TCP = 4
IPVS_CMD_ATTR_TIMEOUT_TCP_FIN = 5
IPVS_CMD_ATTR_TIMEOUT_UDP = 6

IPVS_SVC_ATTR_AF = 1
IPVS_SVC_ATTR_PROTOCOL = 2
IPVS_SVC_ATTR_ADDR = 3
IPVS_SVC_ATTR_PORT = 4
IPVS_SVC_ATTR_FWMARK = 5
IPVS_SVC_ATTR_SCHED_NAME = 6
IPVS_SVC_ATTR_FLAGS = 7
IPVS_SVC_ATTR_TIMEOUT = 8
IPVS_SVC_ATTR_NETMASK = 9
IPVS_SVC_ATTR_PE_NAME = 11

IPVS_DEST_ATTR_ADDR = 1
IPVS_DEST_ATTR_PORT = 2
IPVS_DEST_ATTR_FWD_METHOD = 3
IPVS_DEST_ATTR_WEIGHT = 4
IPVS_DEST_ATTR_U_THRESH = 5
IPVS_DEST_ATTR_L_THRESH = 6
IPVS_DEST_ATTR_ADDR_FAMILY = 11
IPVS_DEST_ATTR_TUN_TYPE = 13
IPVS_DEST_ATTR_TUN_PORT = 14
IPVS_DEST_ATTR_TUN_FLAGS = 15

IPVS_DAEMON_ATTR_STATE = 1
IPVS_DAEMON_ATTR_MCAST_IFN = 2
IPVS_DAEMON_ATTR_SYNC_ID = 3
IPVS_DAEMON_ATTR_SYNC_MAXLEN = 4
IPVS_DAEMON_ATTR_MCAST_GROUP = 5
IPVS_DAEMON_ATTR_MCAST_GROUP6 = 6
IPVS_DAEMON_ATTR_MCAST_PORT = 7
IPVS_DAEMON_ATTR_MCAST_TTL = 8

IP_VS_SVC_F_PERSISTENT = 0x1

IP_VS_CONN_F_FWD_MASK = 0x7
IP_VS_CONN_F_MASQ = 0
IP_VS_CONN_F_LOCALNODE = 1
IP_VS_CONN_F_TUNNEL = 2
IP_VS_CONN_F_DROUTE = 3
IP_VS_CONN_F_BYPASS = 4

IP_VS_CONN_F_TUNNEL_TYPE_IPIP = 0
IP_VS_CONN_F_TUNNEL_TYPE_GUE = 1
IP_VS_CONN_F_TUNNEL_TYPE_GRE = 2

IP_VS_STATE_MASTER = 0x1
IP_VS_STATE_BACKUP = 0x2

PROTOCOLS: Mapping[int, Literal["tcp", "udp", "sctp"]] = {
    socket.IPPROTO_TCP: "tcp",
    socket.IPPROTO_UDP: "udp",
    socket.IPPROTO_SCTP: "sctp",
}
STATES: Mapping[int, Literal["master", "backup"]] = {
    IP_VS_STATE_MASTER: "master",
    IP_VS_STATE_BACKUP: "backup",
}
"""Names of the states of a sync daemon."""


class CommandAttributes(NamedTuple):
    """The attributes IPVS_CMD_ATTR_* of a message."""

    service: bytes = b""
    dest: bytes = b""
    daemon: bytes = b""
    timeout_tcp: int | None = None
    """Seconds; None if the kernel's IPVS does not support TCP."""
    timeout_tcp_fin: int | None = None
    timeout_udp: int | None = None


class ServiceAttributes(NamedTuple):
    """The attributes IPVS_SVC_ATTR_* of a service."""

    af: int = 0
    protocol: int = 0
    addr: bytes = b""
    port: int = 0
    """In the network's byte order."""
    fwmark: int = 0
    sched_name: bytes = b""
    flags: bytes = b""
    """Flags and their mask, 32 bits each."""
    timeout: int = 0
    """Seconds."""
    netmask: bytes = b""
    """A mask for IPv4; for IPv6 a prefix length in this machine's byte order."""
    stats: bytes = b""
    pe_name: bytes = b""
    stats64: bytes = b""
    """Since Linux 4.1."""

    @property
    def address(self) -> str:
        """The virtual address as text; meaningless for a firewall mark."""
        return address(self.af, self.addr)

    @property
    def port_number(self) -> int:
        """The port in this machine's byte order."""
        return socket.ntohs(self.port)

    @property
    def svc_flags(self) -> int:
        """The flags IP_VS_SVC_F_*, without the mask that follows them in `struct ip_vs_flags`."""
        return attributes.number(self.flags[:4])

    @property
    def persistent(self) -> bool:
        """Whether clients stay with their real server; if not, ignore `timeout` and `netmask`."""
        return bool(self.svc_flags & IP_VS_SVC_F_PERSISTENT)

    @property
    def scheduler(self) -> str:
        """The scheduler's name; `none` if the service has no scheduler."""
        return attributes.text(self.sched_name) or "none"


class DestAttributes(NamedTuple):
    """The attributes IPVS_DEST_ATTR_* of a destination."""

    addr: bytes = b""
    port: int = 0
    """In the network's byte order."""
    fwd_method: int = 0
    weight: int = 0
    u_thresh: int = 0
    l_thresh: int = 0
    active_conns: int = 0
    inact_conns: int = 0
    persist_conns: int = 0
    stats: bytes = b""
    addr_family: int = 0
    """Family of `addr`. Kernels before Linux 3.18 omit it: the service's family then applies."""
    stats64: bytes = b""
    tun_type: int = 0
    """Since Linux 5.3."""
    tun_port: int = 0
    """In the network's byte order."""
    tun_flags: int = 0

    @property
    def address(self) -> str:
        """The real server's address as text."""
        return address(self.addr_family, self.addr)

    @property
    def port_number(self) -> int:
        """The port in this machine's byte order."""
        return socket.ntohs(self.port)

    @property
    def method(self) -> int:
        """The forwarding method, such as IP_VS_CONN_F_MASQ."""
        return self.fwd_method & IP_VS_CONN_F_FWD_MASK


class StatsAttributes(NamedTuple):
    """The attributes IPVS_STATS_ATTR_*: counters of a service or destination, and mean rates."""

    conns: int | None = None
    inpkts: int | None = None
    outpkts: int | None = None
    inbytes: int | None = None
    outbytes: int | None = None
    cps: int | None = None
    inpps: int | None = None
    outpps: int | None = None
    inbps: int | None = None
    outbps: int | None = None


class DaemonAttributes(NamedTuple):
    """The attributes IPVS_DAEMON_ATTR_* of a sync daemon.

    Kernels before 4.3 do not report the multicast group, port and TTL, but always use the default
    values of these fields.
    """

    state: int = 0
    mcast_ifn: bytes = b""
    sync_id: int = 0
    sync_maxlen: int | None = None
    mcast_group: bytes = b"\xe0\0\0\x51"
    mcast_group6: bytes = b""
    mcast_port: int = 8848
    mcast_ttl: int = 1

    @property
    def interface(self) -> str:
        """The interface on which connections are sent or received."""
        return attributes.text(self.mcast_ifn)

    @property
    def group(self) -> str:
        """The multicast group's address as text."""
        if self.mcast_group6:
            return address(socket.AF_INET6, self.mcast_group6)
        return address(socket.AF_INET, self.mcast_group)


class Decoder:
    """Decoder of the kernel's answers. Pure.

    Its methods raise `ParseError` if an answer has an unknown form.
    """

    def __init__(self) -> None:
        self._command = attributes.Reader(CommandAttributes)
        self._service = attributes.Reader(ServiceAttributes)
        self._dest = attributes.Reader(DestAttributes)
        self._stats = attributes.Reader(StatsAttributes)
        self._daemon = attributes.Reader(DaemonAttributes)

    @parsing("netlink")
    def services(self, answers: Sequence[bytes]) -> list[ServiceAttributes]:
        """Return the services in the answers to GET_SERVICE."""
        return [self._service(self._command(each).service) for each in answers]

    @parsing("netlink")
    def destinations(self, answers: Sequence[bytes], af: int) -> list[DestAttributes]:
        """Return the destinations in the answers to GET_DEST; *af* is the address family."""
        found = [self._dest(self._command(each).dest) for each in answers]
        return [each if each.addr_family else each._replace(addr_family=af) for each in found]

    @parsing("netlink")
    def stats(self, of: ServiceAttributes | DestAttributes) -> StatsAttributes:
        """Return the counters of a service or destination, 64-bit ones if the kernel has them."""
        return self._stats(of.stats64 or of.stats)

    @parsing("netlink")
    def daemons(self, answers: Sequence[bytes]) -> list[DaemonAttributes]:
        """Return the sync daemons in the answers to GET_DAEMON."""
        found = [self._command(each).daemon for each in answers]
        return [self._daemon(each) for each in found if each]

    @parsing("netlink")
    def config(self, answer: bytes) -> CommandAttributes:
        """Return the timeouts in the answer to GET_CONFIG."""
        return self._command(answer)


class Reader:
    """Reader of the IPVS table in the network namespace of a socket.

    Its methods raise `genl.Refused` if the kernel refuses a request.
    """

    def __init__(self, ipvs: Socket) -> None:
        self._socket = ipvs
        self._decoder = Decoder()
        self.stats = self._decoder.stats

    def services(self) -> list[tuple[ServiceAttributes, list[DestAttributes]]]:
        """Return every service with its destinations."""
        services = self._decoder.services(self._socket.dump(IPVS_CMD_GET_SERVICE))
        # All answers are received before any is decoded: the table has less time to change, and
        # alternating takes a third longer.
        answers = [self._destinations(service) for service in services]
        return [
            (service, self._decoder.destinations(each, service.af))
            for service, each in zip(services, answers, strict=True)
        ]

    def destinations(self, service: ServiceAttributes) -> list[DestAttributes]:
        """Return the destinations of the service that the identifying fields of *service* name."""
        return self._decoder.destinations(self._destinations(service), service.af)

    def daemons(self) -> list[DaemonAttributes]:
        """Return the running sync daemons."""
        return self._decoder.daemons(self._socket.dump(IPVS_CMD_GET_DAEMON))

    def config(self) -> CommandAttributes:
        """Return the timeouts of IPVS."""
        return self._decoder.config(self._socket.get(IPVS_CMD_GET_CONFIG))

    def _destinations(self, service: ServiceAttributes) -> list[bytes]:
        with parsing("netlink"):  # a number from the kernel may be wider than its attribute
            question = nest(IPVS_CMD_ATTR_SERVICE, key(service))
        return self._socket.dump(IPVS_CMD_GET_DEST, question)


def address(af: int, addr: bytes) -> str:
    """Return an address as text; `union nf_inet_addr` has 16 bytes even for IPv4."""
    if af == socket.AF_INET6:
        return str(ipaddress.IPv6Address(addr))
    return str(ipaddress.IPv4Address(addr[:4]))


def key(service: ServiceAttributes) -> bytes:
    """Return the attributes that identify *service* to the kernel."""
    family = u16(IPVS_SVC_ATTR_AF, service.af)
    if service.fwmark:
        return family + u32(IPVS_SVC_ATTR_FWMARK, service.fwmark)
    return b"".join(
        (
            family,
            u16(IPVS_SVC_ATTR_PROTOCOL, service.protocol),
            raw(IPVS_SVC_ATTR_ADDR, service.addr),
            u16(IPVS_SVC_ATTR_PORT, service.port),
        )
    )
