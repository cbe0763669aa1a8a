"""The part of a plan file that a director is set up from, as types. Pure."""

from typing import Annotated, Literal

import msgspec

from dirtune import ssh_names
from dirtune.plan.values import Duration, Port, Positive, Scheduler, Table


def _require_name(host: str) -> None:
    if refusal := ssh_names.refusal(host):
        raise ValueError(f"{ssh_names.shown(host)}: {refusal}")


class Director(Table, frozen=True):
    """The node under test."""

    host: str = "local"
    become: bool = False
    """Run commands there through `sudo -n`."""
    dirtune: str = "dirtune"
    """The command that runs dirtune there."""
    address: str | None = None
    """Address on the network of the real servers; of VRRP if there are two directors. Real servers
    behind NAT answer through it."""
    max_overhead: Positive = 1.0
    """Limit of the probes' total cost there, per cent of one CPU."""
    host_cpus: tuple[int, ...] = ()
    """CPUs of this machine that a guest director is pinned to. Time stolen from them is subtracted
    from its CPU time. Empty for a director that is not a guest of this machine."""

    def __post_init__(self) -> None:
        _require_name(self.host)


class Destination(Table, frozen=True):
    """A real server of a service."""

    node: str | None = None
    address: str | None = None
    port: Port | None = None
    """Default: the service's."""
    forwarding: Literal["nat", "dr", "tun"] = "dr"
    tunnel: Literal["ipip", "gue", "gre"] | None = None
    tunnel_port: Port | None = None
    """UDP port of gue."""
    tunnel_flags: tuple[Literal["csum", "remcsum"], ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    upper_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Connections at which it gets no new ones; 0 is no limit. ipvsadm(8) has this range."""
    lower_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Service(Table, frozen=True):
    """A virtual service: an address with a port, or a firewall mark."""

    vip: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """0 is every port; only for a persistent service."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] | None = None
    family: Literal[4, 6] | None = None
    """Family of a firewall mark's packets; 4 by default."""
    scheduler: Scheduler = "rr"
    flags: tuple[str, ...] = ()
    """Flags of the scheduler: sh-fallback, sh-port, mh-fallback, mh-port, or flag-1 to flag-3."""
    ops: bool = False
    """One-packet scheduling, for UDP."""
    persistence: Duration | None = None
    netmask: str | int | None = None
    """Netmask of persistence: 255.255.255.0, or a prefix length for IPv6; default: one client."""
    persistence_engine: Literal["sip"] | None = None
    destinations: tuple[Destination, ...] = ()


class Timeouts(Table, frozen=True):
    """How long an idle connection stays in the director's table."""

    tcp: Duration
    tcp_fin: Duration
    udp: Duration


class SyncDaemon(Table, frozen=True):
    """A kernel thread that sends the director's connections to others, or receives theirs."""

    state: Literal["master", "backup"]
    interface: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    maxlen: Annotated[int, msgspec.Meta(ge=1, le=65507)] | None = None
    """Largest message, bytes; default: the interface's MTU allows it."""
    group: str = "224.0.0.81"
    port: Port = 8848
    ttl: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1


class Ipvs(Table, frozen=True):
    """Settings of a director beside its services; a setting that is left out stays as it is."""

    timeouts: Timeouts | None = None
    sync: tuple[SyncDaemon, ...] | None = None


class Peer(Table, frozen=True):
    """A real server or a client."""

    host: str
    name: str | None = None
    address: str | None = None
    become: bool = False
    dirtune: str = "dirtune"
    """The command that runs dirtune there, which prepares real servers."""

    def __post_init__(self) -> None:
        _require_name(self.host)

    @property
    def label(self) -> str:
        """Its name in results."""
        return self.name or self.host


class Configuration(Table, frozen=True, kw_only=True):
    """The part of a plan that a director is set up from."""

    services: tuple[Service, ...]
    director: Director = Director()
    real_servers: tuple[Peer, ...] = ()
    ipvs: Ipvs = Ipvs()
    title: str = ""
    ssh_config: str | None = None
    """An ssh_config(5), relative to the plan's folder."""
