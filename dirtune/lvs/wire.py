"""The model to IPVS's attributes of generic netlink and back. Pure; what they are is in `ip_vs`.

pyroute2 has the same encoders, and the tests hold these to its bytes; it takes 0.6 ms a message,
which for a table of ten thousand destinations is seconds.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Literal

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import (
    Destination,
    DestinationKey,
    Numbers,
    Service,
    SyncDaemon,
    Timeouts,
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
_FORWARDING: tuple[Literal["nat", "local", "tun", "dr", "bypass"], ...] = (
    "nat",
    "local",
    "tun",
    "dr",
    "bypass",
)
_TUNNELS: tuple[Literal["ipip", "gue", "gre"], ...] = ("ipip", "gue", "gre")
_PROTOCOLS: dict[int, Literal["tcp", "udp", "sctp"]] = {6: "tcp", 17: "udp", 132: "sctp"}
_NUMBERS = {name: number for number, name in _PROTOCOLS.items()}
_STATES: dict[int, Literal["master", "backup"]] = {
    ip_vs.IP_VS_STATE_MASTER: "master",
    ip_vs.IP_VS_STATE_BACKUP: "backup",
}
_PERSISTENT = ip_vs.IP_VS_SVC_F_PERSISTENT
_KEPT_FLAGS = 0x3C
"""One-packet and the scheduler's: the others are `persistent_s` and the kernel's own."""
_ONE_CLIENT = {4: "255.255.255.255", 6: "128"}


def request(step: Step) -> tuple[int, bytes]:
    """Return the command and the attributes that carry *step* out."""
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
    """Return what the kernel tells *of* from other services by."""
    af = socket.AF_INET6 if of.family == 6 else socket.AF_INET
    if of.protocol == "fwmark":
        return ip_vs.ServiceAttributes(af, fwmark=of.port)
    port = socket.htons(of.port)
    return ip_vs.ServiceAttributes(af, _NUMBERS[of.protocol], _packed(of.address), port)


@parsing("netlink")
def service(found: ip_vs.ServiceAttributes, behind: Iterable[ip_vs.DestAttributes]) -> Service:
    """Return a service with its destinations."""
    family: Literal[4, 6] = 6 if found.af == socket.AF_INET6 else 4
    flags = number(found.flags[:4])
    persistent = bool(flags & _PERSISTENT)
    netmask = _netmask(family, found.netmask) if persistent else ""
    return Service(
        protocol="fwmark" if found.fwmark else _PROTOCOLS[found.protocol],
        address="" if found.fwmark else _address(found.af, found.addr),
        port=found.fwmark or socket.ntohs(found.port),
        scheduler=text(found.sched_name) or "none",
        family=family,
        flags=flags & _KEPT_FLAGS,
        persistent_s=found.timeout if persistent else None,
        netmask="" if netmask == _ONE_CLIENT[family] else netmask,
        engine=text(found.pe_name),
        destinations=tuple(map(_as_destination, behind)),
    )


def _as_destination(found: ip_vs.DestAttributes) -> Destination:
    forwarding = _FORWARDING[found.fwd_method & ip_vs.IP_VS_CONN_F_FWD_MASK]
    return Destination(
        _address(found.addr_family, found.addr),
        socket.ntohs(found.port),
        forwarding,
        found.weight,
        found.u_thresh,
        found.l_thresh,
        # The kernel keeps what was once set, also where it means nothing.
        *(_tunnelled(found) if forwarding == "tun" else ()),
    )


def _tunnelled(found: ip_vs.DestAttributes) -> tuple[Literal["ipip", "gue", "gre"], int, int]:
    return _TUNNELS[found.tun_type], socket.ntohs(found.tun_port), found.tun_flags


@parsing("netlink")
def destination_key(found: ip_vs.DestAttributes) -> DestinationKey:
    """Return what tells a destination from the others of its service."""
    return _address(found.addr_family, found.addr), socket.ntohs(found.port)


def numbers(found: ip_vs.StatsAttributes) -> Numbers:
    """Return what is counted of a service or destination."""
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        raise ParseError("netlink", "this kernel does not tell all that IPVS counts")
    return Numbers(*values)


def timeouts(found: ip_vs.CommandAttributes) -> Timeouts:
    """Return the timeouts; 0, as ipvsadm(8) prints it, where the kernel lacks the protocol."""
    return Timeouts(found.timeout_tcp or 0, found.timeout_tcp_fin or 0, found.timeout_udp or 0)


@parsing("netlink")
def daemon(found: ip_vs.DaemonAttributes) -> SyncDaemon:
    """Return a sync daemon."""
    six = found.mcast_group6
    return SyncDaemon(
        state=_STATES[found.state],
        interface=text(found.mcast_ifn),
        sync_id=found.sync_id,
        maxlen=found.sync_maxlen,
        group=_address(socket.AF_INET6, six)
        if six
        else _address(socket.AF_INET, found.mcast_group),
        port=found.mcast_port,
        ttl=found.mcast_ttl,
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
            # The mask says which flags are meant: all that a service is set up with.
            raw(ip_vs.IPVS_SVC_ATTR_FLAGS, struct.pack("=II", flags, _KEPT_FLAGS | _PERSISTENT)),
            u32(ip_vs.IPVS_SVC_ATTR_TIMEOUT, changed.persistent_s or 0),
            raw(ip_vs.IPVS_SVC_ATTR_NETMASK, packed),
            # Left out, an engine that was there is taken away.
            raw(ip_vs.IPVS_SVC_ATTR_PE_NAME, engine) if changed.engine else b"",
        )
    )


def _destination(changed: Destination, *, whole: bool) -> bytes:
    six = ":" in changed.address
    parts = [
        u16(ip_vs.IPVS_DEST_ATTR_ADDR_FAMILY, socket.AF_INET6 if six else socket.AF_INET),
        raw(ip_vs.IPVS_DEST_ATTR_ADDR, _packed(changed.address)),
        raw(ip_vs.IPVS_DEST_ATTR_PORT, changed.port.to_bytes(2, "big")),
    ]
    if whole:
        parts += (
            u32(ip_vs.IPVS_DEST_ATTR_FWD_METHOD, _FORWARDING.index(changed.forwarding)),
            u32(ip_vs.IPVS_DEST_ATTR_WEIGHT, changed.weight),
            u32(ip_vs.IPVS_DEST_ATTR_U_THRESH, changed.upper),
            u32(ip_vs.IPVS_DEST_ATTR_L_THRESH, changed.lower),
        )
        parts += _tunnel(changed)
    return b"".join(parts)


def _tunnel(changed: Destination) -> Iterator[bytes]:
    if changed.forwarding == "tun":
        yield raw(ip_vs.IPVS_DEST_ATTR_TUN_TYPE, bytes((_TUNNELS.index(changed.tunnel),)))
        yield raw(ip_vs.IPVS_DEST_ATTR_TUN_PORT, changed.tunnel_port.to_bytes(2, "big"))
        yield u16(ip_vs.IPVS_DEST_ATTR_TUN_FLAGS, changed.tunnel_flags)


def _daemon(changed: SyncDaemon) -> bytes:
    state = next(number for number, name in _STATES.items() if name == changed.state)
    six = ":" in changed.group
    group = ip_vs.IPVS_DAEMON_ATTR_MCAST_GROUP6 if six else ip_vs.IPVS_DAEMON_ATTR_MCAST_GROUP
    maxlen = changed.maxlen
    return b"".join(
        (
            u32(ip_vs.IPVS_DAEMON_ATTR_STATE, state),
            raw(ip_vs.IPVS_DAEMON_ATTR_MCAST_IFN, changed.interface.encode() + b"\0"),
            u32(ip_vs.IPVS_DAEMON_ATTR_SYNC_ID, changed.sync_id),
            b"" if maxlen is None else u16(ip_vs.IPVS_DAEMON_ATTR_SYNC_MAXLEN, maxlen),
            raw(group, _packed(changed.group)),
            u16(ip_vs.IPVS_DAEMON_ATTR_MCAST_PORT, changed.port),
            raw(ip_vs.IPVS_DAEMON_ATTR_MCAST_TTL, bytes((changed.ttl,))),
        )
    )


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _address(af: int, value: bytes) -> str:
    # The kernel's union has room for IPv6 whatever is in it.
    if af == socket.AF_INET6:
        return str(ipaddress.IPv6Address(value))
    return str(ipaddress.IPv4Address(value[:4]))


def _netmask(family: int, value: bytes) -> str:
    return str(ipaddress.IPv4Address(value)) if family == 4 else str(number(value))
