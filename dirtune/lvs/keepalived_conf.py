"""The IPVS table that keepalived makes of its configuration while every real server is up. Pure.

The rules are those of validate_check_config() in check_data.c and of ipvswrapper.c (keepalived
2.2.7), which correct some contradictions. Each correction is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from dirtune.addresses import family
from dirtune.errors import ParseError
from dirtune.keepalived.model import Conf, Endpoint, Forwarding, RealServer, VirtualServer
from dirtune.lvs import values
from dirtune.lvs.model import (
    IP_VS_SVC_F_ONEPACKET,
    TUNNEL_FLAGS,
    ChosenForwarding,
    Destination,
    Service,
    SyncDaemon,
    Table,
    Timeouts,
)

_MOST_DESTINATIONS = 500_000
_PERSISTENCE_S = 360
_SCHEDULER = "wlc"
_METHODS: dict[str, ChosenForwarding] = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
_FLAGS = {name: bit for bit, name in TUNNEL_FLAGS.items()}
_NAT = Forwarding("NAT")


@dataclass(frozen=True, slots=True)
class Derived:
    """The IPVS table that keepalived makes of a file, and where it changes the file's values."""

    table: Table
    notes: tuple[str, ...]
    """Sentences about values that keepalived changes, and about keywords that set up no table."""


def derive(conf: Conf) -> Derived:
    """Return the table of *conf*. Raises `ParseError` if it has more than 500,000 destinations."""
    making = _Making(dict(conf.groups))
    for server in conf.virtual_servers:
        making.add(server)
    daemons = _daemons(conf, making.notes)
    return Derived(
        Table(tuple(making.services.values()), _timeouts(conf, making.notes), daemons),
        tuple(making.notes),
    )


def required(conf: Conf) -> Derived:
    """Return the table of *conf*; raises `ParseError` if `keepalived -t` complains of a line."""
    for problem in conf.problems:
        more = len(conf.problems) - 1
        rest = f" ({more} more problems follow)" if more else ""
        raise ParseError(str(problem.place), f"{problem.why}{rest}")
    return derive(conf)


@dataclass(slots=True)
class _Making:
    groups: dict[str, tuple[Endpoint, ...]]
    services: dict[tuple[object, ...], Service] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _left: int = _MOST_DESTINATIONS

    def add(self, server: VirtualServer) -> None:
        """Add the services of *server*."""
        name = f"virtual_server {server.name}"
        if not server.real_servers:
            self.notes.append(f"{name} has no real server, so keepalived ignores it.")
            return
        endpoints = self._endpoints(server)
        if endpoints is None:
            self.notes.append(f"{name} names a group that does not exist.")
            return
        reals = self._reals(server)
        persistence_s = self._persistence(server, endpoints)
        for endpoint in endpoints:
            for address in _addresses(endpoint):
                self._count(server, len(reals) + 1)
                service = self._service(server, endpoint, address, persistence_s, reals)
                if service.key in self.services:
                    self.notes.append(f"{name} repeats the service {service.name}.")
                else:
                    self.services[service.key] = service

    def _count(self, server: VirtualServer, entries: int) -> None:
        self._left -= entries
        if self._left < 0:
            why = f"the IPVS table would have more than {_MOST_DESTINATIONS} entries"
            raise ParseError(str(server.place), why)

    def _endpoints(self, server: VirtualServer) -> tuple[Endpoint, ...] | None:
        return self.groups.get(server.group) if server.endpoint is None else (server.endpoint,)

    def _reals(self, server: VirtualServer) -> list[tuple[RealServer, Forwarding]]:
        unique: dict[tuple[object, ...], tuple[RealServer, Forwarding]] = {}
        version = server.family
        for real in server.real_servers:
            method = real.forwarding or server.forwarding or _NAT
            if method.method != "TUN":
                version = version or family(real.address)
                if family(real.address) != version and not server.group:
                    self.notes.append(f"{real.place}: the address has another IP version.")
                    continue
            if (real.address, real.port) in unique:
                self.notes.append(f"{real.place}: the real server is given twice.")
            unique.setdefault((real.address, real.port), (real, method))
        if server.forwarding is None and any(
            real.forwarding is None for real, _ in unique.values()
        ):
            self.notes.append(
                f"virtual_server {server.name} has no lvs_method; NAT is the default."
            )
        return list(unique.values())

    def _persistence(self, server: VirtualServer, endpoints: tuple[Endpoint, ...]) -> int | None:
        given = server.persistence_timeout_s
        if given is None and any(each.mark is None and not each.port for each in endpoints):
            self.notes.append(
                f"virtual_server {server.name} has no port, which only persistent services may "
                f"lack; keepalived sets persistence_timeout {_PERSISTENCE_S}."
            )
            return _PERSISTENCE_S
        return given

    def _service(
        self,
        server: VirtualServer,
        endpoint: Endpoint,
        address: str,
        persistence_s: int | None,
        reals: list[tuple[RealServer, Forwarding]],
    ) -> Service:
        marked = endpoint.mark is not None
        protocol = "fwmark" if marked else self._protocol(server)
        version = _version(server, endpoint, reals)
        made: dict[tuple[str, int], Destination] = {}
        for real, method in reals:
            destination = self._destination(server, endpoint, real, method)
            if made.setdefault(destination.key, destination) is not destination:
                self.notes.append(f"{real.place}: another real server has the same port by now.")
        return Service(
            protocol=protocol,
            address=address,
            port=endpoint.port if endpoint.mark is None else endpoint.mark,
            scheduler=server.scheduler or self._scheduler(server),
            family=version,
            flags=self._flags(server, protocol),
            persistent_s=persistence_s,
            netmask=_mask(server, version),
            engine=server.persistence_engine,
            destinations=tuple(made.values()),
        )

    def _protocol(self, server: VirtualServer) -> Literal["tcp", "udp", "sctp"]:
        if server.protocol is None:
            self.notes.append(f"virtual_server {server.name} has no protocol; UDP is the default.")
        return server.protocol or "udp"

    def _scheduler(self, server: VirtualServer) -> str:
        self.notes.append(
            f"virtual_server {server.name} has no lvs_sched; {_SCHEDULER} is the default."
        )
        return _SCHEDULER

    def _flags(self, server: VirtualServer, protocol: str) -> int:
        flags = values.flag_bits(server.scheduler, server.flags)
        if server.one_packet and protocol in {"udp", "fwmark"}:
            return flags | IP_VS_SVC_F_ONEPACKET
        if server.one_packet:
            self.notes.append(f"virtual_server {server.name}: ops is only for UDP, so it is off.")
        return flags

    def _destination(
        self, server: VirtualServer, endpoint: Endpoint, real: RealServer, method: Forwarding
    ) -> Destination:
        port = real.port
        if method.method != "NAT":
            own = 0 if endpoint.mark is not None else endpoint.port
            if port and port != own:
                self.notes.append(
                    f"{real.place}: the port {port} is not the port of the service, which "
                    f"{method.method} cannot change; keepalived uses {own}."
                )
            port = own
        elif not port and endpoint.mark is None:
            port = endpoint.port
        return Destination(
            address=real.address,
            port=port,
            forwarding=_METHODS[method.method],
            weight=server.weight if real.weight is None else real.weight,
            upper=real.upper,
            lower=real.lower,
            tunnel=method.tunnel,
            tunnel_port=method.port,
            tunnel_flags=_FLAGS.get(method.checksum, 0),
        )


def _version(
    server: VirtualServer, endpoint: Endpoint, reals: list[tuple[RealServer, Forwarding]]
) -> Literal[4, 6]:
    if endpoint.family or server.family:
        return 6 if (endpoint.family or server.family) == 6 else 4
    plain = {family(real.address) for real, method in reals if method.method != "TUN"}
    versions = plain or {family(real.address) for real, _ in reals}
    return 6 if versions == {6} else 4


def _addresses(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.mark is not None:
        yield ""
        return
    first = ip_address(endpoint.first)
    for offset in range(int(ip_address(endpoint.last)) - int(first) + 1):
        yield str(first + offset)


def _mask(server: VirtualServer, version: int) -> str:
    if not server.persistence_granularity:
        return ""
    try:
        return values.persistence_mask(server.persistence_granularity, version)
    except ValueError as error:
        raise ParseError(
            str(server.place), f"persistence_granularity is invalid: {error}"
        ) from error


def _timeouts(conf: Conf, notes: list[str]) -> Timeouts | None:
    tcp, tcp_fin, udp = conf.globals.tcp_s, conf.globals.tcp_fin_s, conf.globals.udp_s
    if tcp and tcp_fin and udp:
        return Timeouts(tcp, tcp_fin, udp)
    if tcp or tcp_fin or udp:
        notes.append(
            "lvs_timeouts leaves a timeout unchanged, which a plan cannot; it is left out."
        )
    return None


def _daemons(conf: Conf, notes: list[str]) -> tuple[SyncDaemon, ...] | None:
    daemon = conf.globals.sync_daemon
    if daemon is None:
        return None
    if daemon.instance is not None:
        notes.append(
            f"lvs_sync_daemon follows the vrrp_instance {daemon.instance}, which a plan cannot; "
            "it is left out."
        )
        return None
    return tuple(
        SyncDaemon(
            state,
            daemon.interface,
            daemon.sync_id or 0,
            daemon.maxlen,
            daemon.group or "224.0.0.81",
            daemon.port or 8848,
            daemon.ttl or 1,
        )
        for state in ("master", "backup")
    )
