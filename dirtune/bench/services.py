"""The services of a plan as an IPVS table, checked against the kernel's rules and each other.

Nothing here reaches a node. Every refusal names the key.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from msgspec.structs import replace

from dirtune.bench import tables
from dirtune.bench.tables import Configuration
from dirtune.errors import PlanError
from dirtune.lvs.model import (
    ONE_PACKET,
    TUNNEL_FLAGS,
    Destination,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
    scheduler_flags,
)

_TUNNEL_BITS = {name: bit for bit, name in TUNNEL_FLAGS.items()}
# The kernel holds them in jiffies, of which HZ is at most 1000 a second, in a signed int.
_LONGEST_S = (2**31 - 1) // 1000
# UDP in IPv4 and in IPv6. The kernel takes any and keeps what is in its range.
_LONGEST_MESSAGE = {4: 65535 - 28, 6: 65535 - 48}
_LONGEST_PERSISTENCE_S = 86400 * 31
"""As ipvsadm(8) has it."""


def table(configuration: Configuration) -> Table:
    """Return what *configuration* wants; `PlanError` names the key that cannot be so."""
    addresses = {peer.label: peer.address for peer in configuration.real_servers}
    found: dict[ServiceKey, int] = {}
    services = []
    for number, wanted in enumerate(configuration.services):
        at = f"services[{number}]"
        service = _service(at, wanted, addresses)
        if service.key in found:
            first = f"services[{found[service.key]}]"
            raise PlanError(f"{at}: is {service.name}, as {first} is; put them together")
        found[service.key] = number
        services.append(service)
    daemons = _daemons(configuration.ipvs.sync)
    _refuse_mixed_with_sync(services, daemons)
    return Table(tuple(services), _timeouts(configuration.ipvs.timeouts), daemons)


def _service(at: str, wanted: tables.Service, addresses: Mapping[str, str | None]) -> Service:
    protocol, address, port, family = _identity(at, wanted)
    persistent_s = _seconds(f"{at}.persistence", wanted.persistence, _LONGEST_PERSISTENCE_S)
    if wanted.ops and protocol not in {"udp", "fwmark"}:
        raise PlanError(f"{at}.ops: one-packet scheduling is for udp, or a mark of it")
    for key in ("netmask", "persistence_engine"):
        if getattr(wanted, key) is not None and persistent_s is None:
            raise PlanError(f"{at}.{key}: needs persistence")
    service = Service(
        protocol=protocol,
        address=address,
        port=port,
        scheduler=wanted.scheduler,
        family=family,
        flags=_flags(at, wanted) | (ONE_PACKET if wanted.ops else 0),
        persistent_s=persistent_s,
        netmask=_netmask(f"{at}.netmask", wanted.netmask, family),
        engine=wanted.persistence_engine or "",
    )
    return _with_destinations(at, service, wanted, addresses)


def _identity(
    at: str, wanted: tables.Service
) -> tuple[Literal["tcp", "udp", "sctp", "fwmark"], str, int, Literal[4, 6]]:
    if wanted.fwmark is not None:
        if wanted.vip is not None or wanted.port is not None:
            raise PlanError(f"{at}: has a vip or port beside its fwmark; take one of both")
        return "fwmark", "", wanted.fwmark, wanted.family or 4
    if wanted.vip is None or wanted.port is None:
        raise PlanError(f"{at}: needs a vip and a port, or a fwmark")
    if wanted.family is not None:
        raise PlanError(f"{at}.family: goes with fwmark; the vip says what it is")
    address, family = address_of(f"{at}.vip", wanted.vip)
    return wanted.protocol, address, wanted.port, family


def _with_destinations(
    at: str, service: Service, wanted: tables.Service, addresses: Mapping[str, str | None]
) -> Service:
    found: dict[tuple[str, int], int] = {}
    made = []
    for number, each in enumerate(wanted.destinations):
        key = f"{at}.destinations[{number}]"
        destination = _destination(key, service, each, addresses)
        if destination.key in found:
            first = f"destinations[{found[destination.key]}]"
            raise PlanError(f"{key}: is {destination.name}, as {first} is")
        found[destination.key] = number
        made.append(destination)
    return replace(service, destinations=tuple(made))


def _destination(
    at: str,
    service: Service,
    wanted: tables.Destination,
    addresses: Mapping[str, str | None],
) -> Destination:
    text = wanted.address if wanted.node is None else addresses[wanted.node]
    if text is None:
        raise PlanError(f"{at}.node: the real server {wanted.node!r} has no address")
    address, family = address_of(f"{at}.{'address' if wanted.node is None else 'node'}", text)
    default = 0 if service.protocol == "fwmark" else service.port
    destination = Destination(
        address=address,
        port=default if wanted.port is None else wanted.port,
        forwarding=wanted.forwarding,
        weight=wanted.weight,
        upper=wanted.upper_threshold,
        lower=wanted.lower_threshold,
        tunnel=wanted.tunnel or "ipip",
        tunnel_port=wanted.tunnel_port or 0,
        tunnel_flags=sum(_TUNNEL_BITS[name] for name in set(wanted.tunnel_flags)),
    )
    _check_forwarding(at, service, destination, family)
    _check_tunnel(at, wanted)
    if destination.lower > destination.upper:
        raise PlanError(f"{at}.lower_threshold: is above upper_threshold")
    return destination


def _check_forwarding(at: str, service: Service, destination: Destination, family: int) -> None:
    forwarding = destination.forwarding
    default = 0 if service.protocol == "fwmark" else service.port
    if forwarding != "nat" and destination.port != default:
        # Nothing rewrites the packet, so it arrives at the port that was asked for.
        raise PlanError(f"{at}.port: under {forwarding} it is the service's ({default}); use nat")
    if family != service.family and forwarding != "tun":
        hint = "; a mark has `family = 6`" if service.protocol == "fwmark" and family == 6 else ""
        raise PlanError(
            f"{at}: an IPv{family} real server of an IPv{service.family} service "
            f'needs forwarding = "tun"{hint}'
        )


def _check_tunnel(at: str, wanted: tables.Destination) -> None:
    if wanted.forwarding != "tun":
        for key in ("tunnel", "tunnel_port", "tunnel_flags"):
            if getattr(wanted, key):
                raise PlanError(f'{at}.{key}: goes with forwarding = "tun"')
    if (wanted.tunnel == "gue") != (wanted.tunnel_port is not None):
        raise PlanError(f'{at}.tunnel_port: tunnel = "gue" needs one, and no other has one')
    if wanted.tunnel_flags and wanted.tunnel in {None, "ipip"}:
        raise PlanError(f"{at}.tunnel_flags: ipip has no checksums; use gue or gre")


def _flags(at: str, wanted: tables.Service) -> int:
    bits = {name: bit for bit, name in scheduler_flags(wanted.scheduler).items()}
    flags = 0
    for name in wanted.flags:
        if name not in bits:
            known = ", ".join(bits)
            raise PlanError(f"{at}.flags: {wanted.scheduler} has no {name!r}; there are {known}")
        flags |= bits[name]
    return flags


def _netmask(at: str, given: str | int | None, family: int) -> str:
    if given is None:
        return ""
    if family == 6:
        if str(given).isdecimal() and 1 <= int(given) <= 128:
            return "" if int(given) == 128 else str(int(given))
        raise PlanError(f"{at}: {given!r} is not the length of an IPv6 prefix, 1 to 128")
    try:
        mask = str(ipaddress.IPv4Network(f"0.0.0.0/{given}").netmask)
    except ValueError as error:
        raise PlanError(f"{at}: {given!r} is not a mask such as 255.255.255.0") from error
    return "" if mask == "255.255.255.255" else mask


def _timeouts(wanted: tables.Timeouts | None) -> Timeouts | None:
    if wanted is None:
        return None
    return Timeouts(
        *(
            _seconds(f"ipvs.timeouts.{key}", getattr(wanted, key), _LONGEST_S) or 0
            for key in ("tcp", "tcp_fin", "udp")
        )
    )


def _daemons(wanted: tuple[tables.SyncDaemon, ...] | None) -> tuple[SyncDaemon, ...] | None:
    if wanted is None:
        return None
    if len({each.state for each in wanted}) != len(wanted):
        raise PlanError("ipvs.sync: there is one master and one backup at most")
    return tuple(_daemon(f"ipvs.sync[{number}]", each) for number, each in enumerate(wanted))


def _daemon(at: str, wanted: tables.SyncDaemon) -> SyncDaemon:
    try:
        group = ipaddress.ip_address(wanted.group)
    except ValueError as error:
        raise PlanError(f"{at}.group: {wanted.group!r} is not an address") from error
    if not group.is_multicast:
        raise PlanError(f"{at}.group: {wanted.group} is no multicast address")
    least = 1024 if wanted.state == "backup" else 1
    most = _LONGEST_MESSAGE[group.version]
    if wanted.maxlen is not None and not least <= wanted.maxlen <= most:
        raise PlanError(f"{at}.maxlen: a {wanted.state} takes {least} to {most} bytes here")
    return SyncDaemon(
        wanted.state,
        wanted.interface,
        wanted.id,
        wanted.maxlen,
        str(group),
        wanted.port,
        wanted.ttl,
    )


def _refuse_mixed_with_sync(
    services: list[Service], daemons: tuple[SyncDaemon, ...] | None
) -> None:
    if not daemons:
        return
    for number, service in enumerate(services):
        for other, each in enumerate(service.destinations):
            if (6 if ":" in each.address else 4) != service.family:
                raise PlanError(
                    f"services[{number}].destinations[{other}]: is of another family than its "
                    "service, which a sync daemon cannot tell the others; leave ipvs.sync out"
                )


def _seconds(at: str, duration: tables.Duration | None, most: int) -> int | None:
    if duration is None:
        return None
    try:
        found = tables.seconds(duration)
    except PlanError as error:
        raise PlanError(f"{at}: {error}") from error
    if found != int(found) or not 1 <= found <= most:
        raise PlanError(f"{at}: {duration!r} is not 1 to {most} whole seconds")
    return int(found)


def address_of(at: str, text: str) -> tuple[str, Literal[4, 6]]:
    """Return an address as the kernel's tools write it, and its family."""
    try:
        found = _host(text)
    except ValueError as error:
        raise PlanError(f"{at}: {text!r} is not an IPv4 or IPv6 address") from error
    if found is None:
        raise PlanError(f"{at}: {text} is not the address of one host")
    return found


@lru_cache(maxsize=2**16)
def _host(text: str) -> tuple[str, Literal[4, 6]] | None:
    # Many services have the same real servers, and ipaddress takes its time.
    address = ipaddress.ip_address(text)
    if address.is_multicast or address.is_unspecified or "%" in text:
        return None
    return str(address), 6 if address.version == 6 else 4
