"""Conversion between the model and IPVS's netlink attributes (`netlink.ip_vs`). Pure.

The kernel reads the attributes in ip_vs_genl_parse_service(), ip_vs_genl_parse_dest() and
ip_vs_genl_new_daemon() of net/netfilter/ipvs/ip_vs_ctl.c (Linux 6.1). The encoders of pyroute2
make the same bytes, as the tests check. They are too slow here: 0.6 ms per message, or 6 s for a
table with ten thousand destinations.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Literal

from dirtune.addresses import family
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import (
    IP_VS_SVC_F_ONEPACKET,
    SCHED_FLAGS,
    Destination,
    DestinationKey,
    Forwarding,
    Numbers,
    Service,
    SyncDaemon,
    Timeouts,
    Tunnel,
)
from dirtune.netlink import ip_vs
from dirtune.netlink.attributes import nest, number, raw, text, u16, u32

_COMMANDS = {
    (Service, Verb.NEW): ip_vs.IPVS_CMD_NEW_SERVICE,
    (Service, Verb.SET): ip_vs.IPVS_CMD_SET_SERVICE,
    (Service, Verb.DEL): ip_vs.IPVS_CMD_DEL_SERVICE,
    (Destination, Verb.NEW): ip_vs.IPVS_CMD_NEW_DEST,
    (Destination, Verb.SET): ip_vs.IPVS_CMD_SET_DEST,
    (Destination, Verb.DEL): ip_vs.IPVS_CMD_DEL_DEST,
    (SyncDaemon, Verb.NEW): ip_vs.IPVS_CMD_NEW_DAEMON,
    (SyncDaemon, Verb.DEL): ip_vs.IPVS_CMD_DEL_DAEMON,
    (Timeouts, Verb.SET): ip_vs.IPVS_CMD_SET_CONFIG,
}
_FORWARDING: dict[int, Forwarding] = {
    ip_vs.IP_VS_CONN_F_MASQ: "nat",
    ip_vs.IP_VS_CONN_F_LOCALNODE: "local",
    ip_vs.IP_VS_CONN_F_TUNNEL: "tun",
    ip_vs.IP_VS_CONN_F_DROUTE: "dr",
    ip_vs.IP_VS_CONN_F_BYPASS: "bypass",
}
_METHODS = {name: number for number, name in _FORWARDING.items()}
_TUNNELS: dict[int, Tunnel] = {
    ip_vs.IP_VS_CONN_F_TUNNEL_TYPE_IPIP: "ipip",
    ip_vs.IP_VS_CONN_F_TUNNEL_TYPE_GUE: "gue",
    ip_vs.IP_VS_CONN_F_TUNNEL_TYPE_GRE: "gre",
}
_TUNNEL_TYPES = {name: number for number, name in _TUNNELS.items()}
_NUMBERS = {name: number for number, name in ip_vs.PROTOCOLS.items()}
_STATES = {name: number for number, name in ip_vs.STATES.items()}
_PERSISTENT = ip_vs.IP_VS_SVC_F_PERSISTENT
_AF = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_KEPT_FLAGS = IP_VS_SVC_F_ONEPACKET | sum(SCHED_FLAGS)
"""The flags in `Service.flags`. Persistence is in `persistent_s`; other flags are internal to the
kernel."""
_ONE_CLIENT = {4: "255.255.255.255", 6: "128"}


def request(step: Step) -> tuple[int, bytes]:
    """Return the command and the attributes of the request that carries out *step*."""
    command = _COMMANDS[type(step.what), step.verb]
    match step.what:
        case Service() as changed:
            setup = b"" if step.verb is Verb.DEL else _setup(changed)
            return command, _service_nest(changed, setup)
        case Destination() as changed:
            assert step.of is not None
            whole = step.verb is not Verb.DEL
            return command, _service_nest(step.of) + nest(
                ip_vs.IPVS_CMD_ATTR_DEST, _destination(changed, whole=whole)
            )
        case SyncDaemon() as changed:
            return command, nest(ip_vs.IPVS_CMD_ATTR_DAEMON, _daemon(changed))
        case Timeouts(tcp, tcp_fin, udp):
            return command, b"".join(
                (
                    u32(ip_vs.IPVS_CMD_ATTR_TIMEOUT_TCP, tcp),
                    u32(ip_vs.IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin),
                    u32(ip_vs.IPVS_CMD_ATTR_TIMEOUT_UDP, udp),
                )
            )


def key(of: Service) -> ip_vs.ServiceAttributes:
    """Return the attributes that identify the service *of* to the kernel."""
    af = _AF[of.family]
    if of.protocol == "fwmark":
        return ip_vs.ServiceAttributes(af, fwmark=of.port)
    port = socket.htons(of.port)
    return ip_vs.ServiceAttributes(af, _NUMBERS[of.protocol], _packed(of.address), port)


@parsing("netlink")
def service(kernels: ip_vs.ServiceAttributes, behind: Iterable[ip_vs.DestAttributes]) -> Service:
    """Return the service that the attributes *kernels* describe; *behind* are its destinations."""
    version: Literal[4, 6] = 6 if kernels.af == socket.AF_INET6 else 4
    persistent = kernels.persistent
    netmask = _netmask(version, kernels.netmask) if persistent else ""
    return Service(
        protocol="fwmark" if kernels.fwmark else ip_vs.PROTOCOLS[kernels.protocol],
        address="" if kernels.fwmark else kernels.address,
        port=kernels.fwmark or kernels.port_number,
        scheduler=kernels.scheduler,
        family=version,
        flags=kernels.svc_flags & _KEPT_FLAGS,
        persistent_s=kernels.timeout if persistent else None,
        netmask="" if netmask == _ONE_CLIENT[version] else netmask,
        engine=text(kernels.pe_name),
        destinations=tuple(map(_as_destination, behind)),
    )


def _as_destination(kernels: ip_vs.DestAttributes) -> Destination:
    forwarding = _FORWARDING[kernels.method]
    return Destination(
        kernels.address,
        kernels.port_number,
        forwarding,
        kernels.weight,
        kernels.u_thresh,
        kernels.l_thresh,
        # The kernel keeps the tunnel settings of a destination that no longer uses a tunnel.
        *(_tunnelled(kernels) if forwarding == "tun" else ()),
    )


def _tunnelled(kernels: ip_vs.DestAttributes) -> tuple[Tunnel, int, int]:
    return _TUNNELS[kernels.tun_type], socket.ntohs(kernels.tun_port), kernels.tun_flags


@parsing("netlink")
def destination_key(kernels: ip_vs.DestAttributes) -> DestinationKey:
    """Return the address and port that identify a destination within its service."""
    return kernels.address, kernels.port_number


def numbers(stats: ip_vs.StatsAttributes) -> Numbers:
    """Return the counters and rates of a service or destination.

    Raises `ParseError` if the kernel left out a counter.
    """
    values = [value for value in stats if value is not None]
    if len(values) < len(stats):
        raise ParseError("netlink", "the kernel left out some of the IPVS counters")
    return Numbers(*values)


def timeouts(config: ip_vs.CommandAttributes) -> Timeouts:
    """Return the timeouts in seconds; 0 means that the kernel does not support the protocol."""
    return Timeouts(config.timeout_tcp or 0, config.timeout_tcp_fin or 0, config.timeout_udp or 0)


@parsing("netlink")
def daemon(kernels: ip_vs.DaemonAttributes) -> SyncDaemon:
    """Return the sync daemon that the attributes *kernels* describe."""
    return SyncDaemon(
        state=ip_vs.STATES[kernels.state],
        interface=kernels.interface,
        sync_id=kernels.sync_id,
        maxlen=kernels.sync_maxlen,
        group=kernels.group,
        port=kernels.mcast_port,
        ttl=kernels.mcast_ttl,
    )


def _service_nest(of: Service, setup: bytes = b"") -> bytes:
    return nest(ip_vs.IPVS_CMD_ATTR_SERVICE, ip_vs.key(key(of)) + setup)


def _setup(changed: Service) -> bytes:
    persistent = changed.persistent_s is not None
    flags = changed.flags | (_PERSISTENT if persistent else 0)
    netmask = changed.netmask or _ONE_CLIENT[changed.family]
    packed = socket.inet_aton(netmask) if changed.family == 4 else struct.pack("=I", int(netmask))
    engine = changed.engine.encode() + b"\0"
    return b"".join(
        (
            raw(ip_vs.IPVS_SVC_ATTR_SCHED_NAME, changed.scheduler.encode() + b"\0"),
            # The mask selects the flags to set: all flags that the model has.
            raw(ip_vs.IPVS_SVC_ATTR_FLAGS, struct.pack("=II", flags, _KEPT_FLAGS | _PERSISTENT)),
            u32(ip_vs.IPVS_SVC_ATTR_TIMEOUT, changed.persistent_s or 0),
            raw(ip_vs.IPVS_SVC_ATTR_NETMASK, packed),
            # Without the attribute the kernel removes an existing engine.
            raw(ip_vs.IPVS_SVC_ATTR_PE_NAME, engine) if changed.engine else b"",
        )
    )


def _destination(changed: Destination, *, whole: bool) -> bytes:
    parts = [
        u16(ip_vs.IPVS_DEST_ATTR_ADDR_FAMILY, _AF[family(changed.address)]),
        raw(ip_vs.IPVS_DEST_ATTR_ADDR, _packed(changed.address)),
        raw(ip_vs.IPVS_DEST_ATTR_PORT, changed.port.to_bytes(2, "big")),
    ]
    if whole:
        parts += (
            u32(ip_vs.IPVS_DEST_ATTR_FWD_METHOD, _METHODS[changed.forwarding]),
            u32(ip_vs.IPVS_DEST_ATTR_WEIGHT, changed.weight),
            u32(ip_vs.IPVS_DEST_ATTR_U_THRESH, changed.upper),
            u32(ip_vs.IPVS_DEST_ATTR_L_THRESH, changed.lower),
        )
        parts += _tunnel(changed)
    return b"".join(parts)


def _tunnel(changed: Destination) -> Iterator[bytes]:
    if changed.forwarding == "tun":
        yield raw(ip_vs.IPVS_DEST_ATTR_TUN_TYPE, bytes((_TUNNEL_TYPES[changed.tunnel],)))
        yield raw(ip_vs.IPVS_DEST_ATTR_TUN_PORT, changed.tunnel_port.to_bytes(2, "big"))
        yield u16(ip_vs.IPVS_DEST_ATTR_TUN_FLAGS, changed.tunnel_flags)


def _daemon(changed: SyncDaemon) -> bytes:
    groups = {4: ip_vs.IPVS_DAEMON_ATTR_MCAST_GROUP, 6: ip_vs.IPVS_DAEMON_ATTR_MCAST_GROUP6}
    maxlen = changed.maxlen
    return b"".join(
        (
            u32(ip_vs.IPVS_DAEMON_ATTR_STATE, _STATES[changed.state]),
            raw(ip_vs.IPVS_DAEMON_ATTR_MCAST_IFN, changed.interface.encode() + b"\0"),
            u32(ip_vs.IPVS_DAEMON_ATTR_SYNC_ID, changed.sync_id),
            b"" if maxlen is None else u16(ip_vs.IPVS_DAEMON_ATTR_SYNC_MAXLEN, maxlen),
            raw(groups[family(changed.group)], _packed(changed.group)),
            u16(ip_vs.IPVS_DAEMON_ATTR_MCAST_PORT, changed.port),
            raw(ip_vs.IPVS_DAEMON_ATTR_MCAST_TTL, bytes((changed.ttl,))),
        )
    )


def _packed(address: str) -> bytes:
    return socket.inet_pton(_AF[family(address)], address)


def _netmask(version: int, value: bytes) -> str:
    return str(ipaddress.IPv4Address(value)) if version == 4 else str(number(value))
