"""IPVS attributes of generic netlink: models to bytes and back. Pure.

Numbers and layouts are those of include/uapi/linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c.
pyroute2 has the same encoders, and the tests hold these to its bytes; it takes 0.6 ms a message,
which for a table of ten thousand destinations is seconds.
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from dirtune.formats import parsing
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Destination, Numbers, Service, SyncDaemon, Timeouts

FAMILY = "IPVS"
VERSION = 1
GET_SERVICE, GET_DEST, GET_DAEMON, GET_CONFIG = 4, 8, 11, 13
_SET_CONFIG = 12
_COMMANDS = {
    (Service, Verb.NEW): 1,
    (Service, Verb.SET): 2,
    (Service, Verb.DEL): 3,
    (Destination, Verb.NEW): 5,
    (Destination, Verb.SET): 6,
    (Destination, Verb.DEL): 7,
    (SyncDaemon, Verb.NEW): 9,
    (SyncDaemon, Verb.DEL): 10,
    (Timeouts, Verb.SET): _SET_CONFIG,
}
# IPVS_CMD_ATTR_*
_SERVICE, _DEST, _DAEMON, _TIMEOUT_TCP, _TIMEOUT_TCP_FIN, _TIMEOUT_UDP = range(1, 7)
_NESTED = 0x8000
_TYPE = 0x3FFF

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
_STATES: dict[int, Literal["master", "backup"]] = {1: "master", 2: "backup"}
_PERSISTENT = 0x1
_KEPT_FLAGS = 0x3C
"""One-packet and the scheduler's: the others are `persistent_s` and the kernel's own."""
_ONE_CLIENT = {4: "255.255.255.255", 6: "128"}

# What kernels before 4.3 do not tell of a sync daemon, and have no other.
_GROUP, _PORT = bytes((224, 0, 0, 81)), struct.pack("=H", 8848)

# IPVS_SVC_ATTR_* and IPVS_DEST_ATTR_*: what is read of either, in this order, and what it is where
# it is not told. Tunnels, 64 bits and a family of a destination's own came with later kernels.
_OF_SERVICE: dict[int, Any] = dict.fromkeys(range(1, 13), 0)
_OF_SERVICE |= dict.fromkeys((3, 6, 7, 9, 10, 11, 12), b"")
_OF_DESTINATION: dict[int, Any] = dict.fromkeys((*range(1, 7), 11, 13, 14, 15, 7, 8, 9, 10, 12), 0)
_OF_DESTINATION |= {1: b"", 11: None, 10: b"", 12: b""}
_WIDTHS = {1: "B", 2: "H", 4: "I"}


def request(step: Step) -> tuple[int, bytes]:
    """Return the command and the attributes that carry *step* out."""
    command = _COMMANDS[type(step.what), step.verb]
    match step.what:
        case Service() as service:
            whole = step.verb is not Verb.DEL
            return command, _nest(_SERVICE, _key(service) + (_setup(service) if whole else b""))
        case Destination() as destination:
            assert step.of is not None
            whole = step.verb is not Verb.DEL
            return command, service_key(step.of) + _nest(
                _DEST, _destination(destination, whole=whole)
            )
        case SyncDaemon() as daemon:
            return command, _nest(_DAEMON, _daemon(daemon))
        case Timeouts(tcp, tcp_fin, udp):
            pairs = ((_TIMEOUT_TCP, tcp), (_TIMEOUT_TCP_FIN, tcp_fin), (_TIMEOUT_UDP, udp))
            return command, b"".join(_u32(kind, seconds) for kind, seconds in pairs)


def service_key(service: Service) -> bytes:
    """Return the attribute that names *service* in requests about its destinations."""
    return _nest(_SERVICE, _key(service))


class Decoder:
    """Reads messages of the kernel's dumps, each of which is one nest of attributes.

    Thousands of messages are laid out alike, so the layout of one is tried on the next of its
    length, in one step instead of one for each attribute; what does not fit is read anew.
    """

    def __init__(self) -> None:
        self._attributes = _Reader()
        self._service = _Reader(_OF_SERVICE)
        self._destination = _Reader(_OF_DESTINATION)

    @parsing("netlink", TypeError)
    def service(self, payload: bytes) -> tuple[Service, bytes]:
        """Return a service without its destinations, and what `numbers` reads."""
        told = self._service.told(payload, _HEAD.size)
        own, protocol, address, port, mark, scheduler, flags, seconds, mask = told[:9]
        narrow, engine, wide = told[9:]
        family: Literal[4, 6] = 6 if own == socket.AF_INET6 else 4
        bits = _int(flags[:4])
        persistent = bool(bits & _PERSISTENT)
        netmask = _netmask(family, mask) if persistent else ""
        return Service(
            protocol="fwmark" if mark else _PROTOCOLS[protocol],
            address="" if mark else _address(family, address),
            port=mark or socket.ntohs(port),
            scheduler=_text(scheduler) or "none",
            family=family,
            flags=bits & _KEPT_FLAGS,
            persistent_s=seconds if persistent else None,
            netmask="" if netmask == _ONE_CLIENT[family] else netmask,
            engine=_text(engine),
        ), wide or narrow

    @parsing("netlink", TypeError)
    def destination(
        self, payload: bytes, family: int
    ) -> tuple[Destination, tuple[int, int, int], bytes]:
        """Return a destination, its open connections, and what `numbers` reads.

        The connections are active, inactive, and templates of persistent clients. *family* is its
        service's, for kernels that do not tell the destination's own.
        """
        told = self._destination.told(payload, _HEAD.size)
        address, port, way, weight, upper, lower, own = told[:7]
        if own is not None:
            family = 6 if own == socket.AF_INET6 else 4
        forwarding = _FORWARDING[way & 7]
        made = Destination(
            _address(family, address),
            socket.ntohs(port),
            forwarding,
            weight,
            upper,
            lower,
            # The kernel keeps what was once set, also where it means nothing.
            *(_tunnelled(*told[7:10]) if forwarding == "tun" else ()),
        )
        return made, told[10:13], told[14] or told[13]

    @parsing("netlink", TypeError)
    def numbers(self, data: bytes) -> Numbers:
        """Return what is counted of a service or destination.

        64 bits wide where the kernel has them so (since 4.1).
        """
        if len(data) == _WIDE.size:
            values = _WIDE.unpack(data)
            if values[::2] == _WIDE_HEADS:
                return Numbers(*values[1::2])
        nested = self._attributes(data)
        return Numbers(*(_int(nested[kind]) for kind in range(1, 11)))

    @parsing("netlink", TypeError)
    def timeouts(self, payload: bytes) -> Timeouts:
        """Return the timeouts in the answer to GET_CONFIG."""
        get = self._attributes(payload)
        kinds = (_TIMEOUT_TCP, _TIMEOUT_TCP_FIN, _TIMEOUT_UDP)
        return Timeouts(*(_int(get[kind]) for kind in kinds))

    @parsing("netlink", TypeError)
    def daemon(self, payload: bytes) -> SyncDaemon:
        """Return a sync daemon."""
        get = self._attributes(payload, _HEAD.size)
        return SyncDaemon(
            state=_STATES[_int(get[1])],
            interface=_text(get[2]),
            sync_id=_int(get[3]),
            maxlen=_int(get[4]) if 4 in get else None,
            group=_address(6, get[6]) if 6 in get else _address(4, get.get(5, _GROUP)),
            port=_int(get.get(7, _PORT)),
            ttl=_int(get.get(8, b"\1")),
        )


class _Layout(NamedTuple):
    struct: struct.Struct
    heads: tuple[int, ...]
    """Length and type of each attribute, as they lie there."""
    kinds: tuple[int, ...]
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Takes what is told, in its order, out of what the struct unpacks and `missing` behind it."""
    missing: tuple[Any, ...]


class _Reader:
    """Reads attributes.

    *told* are the types that `told` gives, in their order, with what one that is not there is;
    where that is no text it is a number in this machine's byte order.
    """

    def __init__(self, told: Mapping[int, Any] = {}) -> None:
        self._told = told
        self._layouts: dict[int, _Layout] = {}

    def __call__(self, data: bytes, at: int = 0) -> dict[int, Any]:
        """Return the attributes that begin at *at*, by type; the last of a type counts."""
        layout, values = self._read(data, at)
        return dict(zip(layout.kinds, values[1::2], strict=True))

    def told(self, data: bytes, at: int) -> tuple[Any, ...]:
        """Return what is told, without a dictionary for each of ten thousand."""
        layout, values = self._read(data, at)
        return layout.pick(values + layout.missing)

    def _read(self, data: bytes, at: int) -> tuple[_Layout, tuple[Any, ...]]:
        size = len(data) - at
        layout = self._layouts.get(size)
        if layout is not None:
            values = layout.struct.unpack_from(data, at)
            if values[::2] == layout.heads:
                return layout, values
        self._layouts[size] = layout = _layout(data[at:], self._told)
        return layout, layout.struct.unpack_from(data, at)


def _layout(data: bytes, told: Mapping[int, Any]) -> _Layout:
    form, heads, kinds = "=", [], []
    at, end = 0, len(data)
    while at + 4 <= end:
        length, kind = _HEAD.unpack_from(data, at)
        if not 4 <= length <= end - at:
            break
        after = min((length + 3) & ~3, end - at)
        text = isinstance(told.get(kind & _TYPE, b""), bytes)
        number = None if text else _WIDTHS.get(length - 4)
        form += f"I{number or f'{length - 4}s'}{after - length}x"
        heads.append(_ONE.unpack_from(data, at)[0])
        kinds.append(kind & _TYPE)
        at += after
    places = {kind: 2 * number + 1 for number, kind in enumerate(kinds)}
    missing = [kind for kind in told if kind not in places]
    places |= {kind: 2 * len(kinds) + number for number, kind in enumerate(missing)}
    return _Layout(
        struct.Struct(f"{form}{end - at}x"),
        tuple(heads),
        tuple(kinds),
        itemgetter(*(places[kind] for kind in told)) if told else tuple,
        tuple(told[kind] for kind in missing),
    )


def _tunnelled(kind: int, port: int, flags: int) -> tuple[Literal["ipip", "gue", "gre"], int, int]:
    return _TUNNELS[kind], socket.ntohs(port), flags


def _key(service: Service) -> bytes:
    family = _u16(1, socket.AF_INET6 if service.family == 6 else socket.AF_INET)
    if service.protocol == "fwmark":
        return family + _u32(5, service.port)
    return b"".join(
        (
            family,
            _u16(2, _NUMBERS[service.protocol]),
            _bytes(3, _packed(service.address)),
            _bytes(4, service.port.to_bytes(2, "big")),
        )
    )


def _setup(service: Service) -> bytes:
    persistent = service.persistent_s is not None
    flags = service.flags | (_PERSISTENT if persistent else 0)
    netmask = service.netmask or _ONE_CLIENT[service.family]
    packed = socket.inet_aton(netmask) if service.family == 4 else struct.pack("=I", int(netmask))
    return b"".join(
        (
            _bytes(6, service.scheduler.encode() + b"\0"),
            # The mask says which flags are meant: all that a service is set up with.
            _bytes(7, struct.pack("=II", flags, _KEPT_FLAGS | _PERSISTENT)),
            _u32(8, service.persistent_s or 0),
            _bytes(9, packed),
            # Left out, an engine that was there is taken away.
            _bytes(11, service.engine.encode() + b"\0") if service.engine else b"",
        )
    )


def _destination(destination: Destination, *, whole: bool) -> bytes:
    six = ":" in destination.address
    parts = [
        _u16(11, socket.AF_INET6 if six else socket.AF_INET),
        _bytes(1, _packed(destination.address)),
        _bytes(2, destination.port.to_bytes(2, "big")),
    ]
    if whole:
        parts += (
            _u32(3, _FORWARDING.index(destination.forwarding)),
            _u32(4, destination.weight),
            _u32(5, destination.upper),
            _u32(6, destination.lower),
        )
        parts += _tunnel(destination)
    return b"".join(parts)


def _tunnel(destination: Destination) -> Iterator[bytes]:
    if destination.forwarding == "tun":
        yield _bytes(13, bytes((_TUNNELS.index(destination.tunnel),)))
        yield _bytes(14, destination.tunnel_port.to_bytes(2, "big"))
        yield _u16(15, destination.tunnel_flags)


def _daemon(daemon: SyncDaemon) -> bytes:
    state = next(number for number, name in _STATES.items() if name == daemon.state)
    return b"".join(
        (
            _u32(1, state),
            _bytes(2, daemon.interface.encode() + b"\0"),
            _u32(3, daemon.sync_id),
            b"" if daemon.maxlen is None else _u16(4, daemon.maxlen),
            _bytes(6 if ":" in daemon.group else 5, _packed(daemon.group)),
            _u16(7, daemon.port),
            _bytes(8, bytes((daemon.ttl,))),
        )
    )


_HEAD = struct.Struct("=HH")
_ONE = struct.Struct("=I")
# Ten counters of 64 bits without padding, as the kernel lays them out where it needs none.
_WIDE = struct.Struct("=" + "IQ" * 10)
_WIDE_HEADS = tuple(_ONE.unpack(_HEAD.pack(12, kind))[0] for kind in range(1, 11))
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")


def _bytes(kind: int, value: bytes) -> bytes:
    length = len(value) + 4
    return _HEAD.pack(length, kind) + value + _PAD[length & 3]


def _nest(kind: int, value: bytes) -> bytes:
    return _HEAD.pack(len(value) + 4, kind | _NESTED) + value


def _u16(kind: int, value: int) -> bytes:
    return struct.pack("=HHHxx", 6, kind, value)


def _u32(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def _int(value: bytes) -> int:
    """Return an unsigned number in the byte order of this machine, of whatever width."""
    return int.from_bytes(value, _ORDER)


_ORDER = sys.byteorder


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="backslashreplace")


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _address(family: int, value: bytes) -> str:
    # The kernel's union has room for IPv6 whatever is in it.
    if family == 4:
        return str(ipaddress.IPv4Address(value[:4]))
    return str(ipaddress.IPv6Address(value))


def _netmask(family: int, value: bytes) -> str:
    return str(ipaddress.IPv4Address(value)) if family == 4 else str(_int(value))
