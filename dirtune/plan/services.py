"""Convert the services of a plan to an IPVS table, and check them by the kernel's rules.

This module never contacts a node. The message of every `PlanError` begins with the wrong key.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from msgspec.structs import replace

from dirtune.addresses import family as family_of
from dirtune.errors import PlanError
from dirtune.lvs import values
from dirtune.lvs.model import (
    IP_VS_SVC_F_ONEPACKET,
    TUNNEL_FLAGS,
    Destination,
    DestinationKey,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
    Tunnel,
)
from dirtune.plan import configuration as planned
from dirtune.plan.configuration import Configuration
from dirtune.plan.values import Duration, seconds

_TUNNEL_BITS = {name: bit for bit, name in TUNNEL_FLAGS.items()}
# The kernel stores time-outs in jiffies, at most 1000 per second, in a signed int.
_LONGEST_S = (2**31 - 1) // 1000
# For UDP over IPv4 and IPv6. The kernel accepts any value, and changes it to one in its range.
_LONGEST_MESSAGE = {4: 65535 - 28, 6: 65535 - 48}


def table(configuration: Configuration) -> Table:
    """Return the IPVS table that *configuration* describes.

    Raises `PlanError` with the wrong key.
    """
    addresses = {peer.label: peer.address for peer in configuration.real_servers}
    numbers: dict[ServiceKey, int] = {}
    services = []
    for number, entry in enumerate(configuration.services):
        at = f"services[{number}]"
        service = _service(at, entry, addresses)
        if service.key in numbers:
            first = f"services[{numbers[service.key]}]"
            raise PlanError(f"{at}: {service.name} repeats {first}. Merge the two services")
        numbers[service.key] = number
        services.append(service)
    daemons = _daemons(configuration.ipvs.sync)
    _refuse_mixed_with_sync(services, daemons)
    return Table(tuple(services), _timeouts(configuration.ipvs.timeouts), daemons)


def _service(at: str, entry: planned.Service, addresses: Mapping[str, str | None]) -> Service:
    protocol, address, port, family = _identity(at, entry)
    persistent_s = _seconds(f"{at}.persistence", entry.persistence, values.LONGEST_PERSISTENCE_S)
    if entry.ops and protocol not in {"udp", "fwmark"}:
        raise PlanError(
            f"{at}.ops: one-packet scheduling is only valid for UDP or a firewall mark"
        )
    for key in ("netmask", "persistence_engine"):
        if getattr(entry, key) is not None and persistent_s is None:
            raise PlanError(f"{at}.{key}: this key is only valid with persistence")
    with _at(f"{at}.flags"):
        flags = values.flag_bits(entry.scheduler, entry.flags)
    with _at(f"{at}.netmask"):
        mask = entry.netmask
        netmask = "" if mask is None else values.persistence_mask(str(mask), family)
    service = Service(
        protocol=protocol,
        address=address,
        port=port,
        scheduler=entry.scheduler,
        family=family,
        flags=flags | (IP_VS_SVC_F_ONEPACKET if entry.ops else 0),
        persistent_s=persistent_s,
        netmask=netmask,
        engine=entry.persistence_engine or "",
    )
    return _with_destinations(at, service, entry, addresses)


def _identity(
    at: str, entry: planned.Service
) -> tuple[Literal["tcp", "udp", "sctp", "fwmark"], str, int, Literal[4, 6]]:
    if entry.fwmark is not None:
        if entry.vip is not None or entry.port is not None:
            raise PlanError(f"{at}: a service has either a fwmark, or a vip and a port, not both")
        return "fwmark", "", entry.fwmark, entry.family or 4
    if entry.vip is None or entry.port is None:
        raise PlanError(f"{at}: a service needs either a vip and a port, or a fwmark")
    if entry.family is not None:
        raise PlanError(f"{at}.family: this key is only valid with fwmark. Remove it")
    address, family = address_of(f"{at}.vip", entry.vip)
    return entry.protocol, address, entry.port, family


def _with_destinations(
    at: str,
    service: Service,
    entry: planned.Service,
    addresses: Mapping[str, str | None],
) -> Service:
    numbers: dict[DestinationKey, int] = {}
    made = []
    for number, destination_entry in enumerate(entry.destinations):
        try:
            destination = _destination(service, destination_entry, addresses)
        except PlanError as error:
            raise PlanError(f"{at}.destinations[{number}]{error}") from error
        first = numbers.setdefault(destination.key, number)
        if first != number:
            twice = f"{destination.name} repeats destinations[{first}]"
            raise PlanError(f"{at}.destinations[{number}]: {twice}")
        made.append(destination)
    return replace(service, destinations=tuple(made))


def _destination(
    service: Service, entry: planned.Destination, addresses: Mapping[str, str | None]
) -> Destination:
    """Return the IPVS destination for *entry* of the plan.

    Raises `PlanError`, whose message begins with the key within the destination, such as `.port`.
    """
    text = entry.address if entry.node is None else addresses[entry.node]
    if text is None:
        raise PlanError(f".node: the real server {entry.node!r} has no address")
    address, family = address_of(".address" if entry.node is None else ".node", text)
    default = 0 if service.protocol == "fwmark" else service.port
    port = default if entry.port is None else entry.port
    if entry.forwarding != "nat" and port != default and service.protocol != "fwmark":
        # With DR and tunnels, nothing rewrites the port, so it remains the port of the service. A
        # firewall mark has no port, and IPVS keeps the port of its destinations without using it.
        rule = f"{entry.forwarding} cannot change the port of the service ({default}); use nat"
        raise PlanError(f".port: {rule}")
    if entry.forwarding != "tun":
        _check_untunnelled(service, entry, family)
    if entry.lower_threshold > entry.upper_threshold:
        raise PlanError(
            f".lower_threshold: {entry.lower_threshold} is above upper_threshold "
            f"({entry.upper_threshold})"
        )
    return Destination(
        address,
        port,
        entry.forwarding,
        entry.weight,
        entry.upper_threshold,
        entry.lower_threshold,
        *(_tunnel(entry) if entry.forwarding == "tun" else ()),
    )


def _check_untunnelled(service: Service, entry: planned.Destination, family: int) -> None:
    if family != service.family:
        mark = service.protocol == "fwmark" and family == 6
        hint = ", or the firewall mark needs family = 6" if mark else ""
        raise PlanError(
            f": an IPv{family} real server for an IPv{service.family} service "
            f'needs forwarding = "tun"{hint}'
        )
    if entry.tunnel or entry.tunnel_port or entry.tunnel_flags:
        keys = ("tunnel", "tunnel_port", "tunnel_flags")
        key = next(key for key in keys if getattr(entry, key))
        raise PlanError(f'.{key}: this key is only valid with forwarding = "tun"')


def _tunnel(entry: planned.Destination) -> tuple[Tunnel, int, int]:
    """Return the kind, the port and the flags of a destination's tunnel."""
    if (entry.tunnel == "gue") != (entry.tunnel_port is not None):
        raise PlanError(
            '.tunnel_port: tunnel = "gue" needs this key; leave it out for any other tunnel'
        )
    if entry.tunnel_flags and entry.tunnel in {None, "ipip"}:
        raise PlanError(".tunnel_flags: ipip has no checksums; use gue or gre")
    flags = sum(_TUNNEL_BITS[name] for name in set(entry.tunnel_flags))
    return entry.tunnel or "ipip", entry.tunnel_port or 0, flags


def _timeouts(entry: planned.Timeouts | None) -> Timeouts | None:
    if entry is None:
        return None
    return Timeouts(
        *(
            _seconds(f"ipvs.timeouts.{key}", getattr(entry, key), _LONGEST_S) or 0
            for key in ("tcp", "tcp_fin", "udp")
        )
    )


def _daemons(entry: tuple[planned.SyncDaemon, ...] | None) -> tuple[SyncDaemon, ...] | None:
    if entry is None:
        return None
    if len({daemon.state for daemon in entry}) != len(entry):
        raise PlanError("ipvs.sync: a director runs at most one master and one backup")
    return tuple(_daemon(f"ipvs.sync[{number}]", daemon) for number, daemon in enumerate(entry))


def _daemon(at: str, entry: planned.SyncDaemon) -> SyncDaemon:
    try:
        group = ipaddress.ip_address(entry.group)
    except ValueError as error:
        raise PlanError(f"{at}.group: {entry.group!r} is not an IP address") from error
    if not group.is_multicast:
        raise PlanError(f"{at}.group: {entry.group} is not a multicast address")
    least = 1024 if entry.state == "backup" else 1
    most = _LONGEST_MESSAGE[group.version]
    if entry.maxlen is not None and not least <= entry.maxlen <= most:
        raise PlanError(
            f"{at}.maxlen: {entry.maxlen} is out of range; a {entry.state} over "
            f"IPv{group.version} allows {least} to {most} bytes"
        )
    return SyncDaemon(
        entry.state,
        entry.interface,
        entry.id,
        entry.maxlen,
        str(group),
        entry.port,
        entry.ttl,
    )


def _refuse_mixed_with_sync(
    services: list[Service], daemons: tuple[SyncDaemon, ...] | None
) -> None:
    if not daemons:
        return
    for number, service in enumerate(services):
        for other, each in enumerate(service.destinations):
            if family_of(each.address) != service.family:
                raise PlanError(
                    f"services[{number}].destinations[{other}]: the real server's IP version "
                    "differs from the service's, and IPVS cannot synchronise the connections of "
                    "such a real server. Leave ipvs.sync out"
                )


def _seconds(at: str, duration: Duration | None, most: int) -> int | None:
    if duration is None:
        return None
    try:
        found = seconds(duration)
    except PlanError as error:
        raise PlanError(f"{at}: {error}") from error
    if found != int(found) or not 1 <= found <= most:
        raise PlanError(f"{at}: {duration!r} is not a whole number of seconds from 1 to {most}")
    return int(found)


def address_of(at: str, text: str) -> tuple[str, Literal[4, 6]]:
    """Return the address *text* as the kernel's tools write it, and its IP version.

    Raises `PlanError` about the key *at* if *text* is not an address.
    """
    with _at(at):
        return values.host_address(text)


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Turn a `ValueError` within the context into a `PlanError` about *key*."""
    try:
        yield
    except ValueError as error:
        raise PlanError(f"{key}: {error}") from error
