"""Define the types for the part of a plan that sets up a director. Pure."""

from typing import Annotated, Literal

import msgspec

from dirtune import ssh_names
from dirtune.lvs.model import ChosenForwarding, Tunnel
from dirtune.plan.values import Duration, Port, Positive, Scheduler, Table


def _require_name(host: str) -> None:
    if refusal := ssh_names.refusal(host):
        raise ValueError(f"{ssh_names.shown(host)}: {refusal}")


class Director(Table, frozen=True):
    """The director, which is the node under test."""

    host: str = "local"
    become: bool = False
    """Run commands on the director through `sudo -n`."""
    dirtune: str = "dirtune"
    """The command that runs dirtune on the director."""
    address: str | None = None
    """The director's address on the real servers' network; with two directors, the VRRP address.
    With NAT, real servers use this address as their gateway."""
    max_overhead: Positive = 1.0
    """Limit for the CPU time of all probes on the director, as a percentage of one CPU."""
    host_cpus: tuple[int, ...] = ()
    """The CPUs of this machine to which the director is pinned, if the director is a guest here;
    otherwise empty. Time stolen from these CPUs is subtracted from the director's CPU time."""

    def __post_init__(self) -> None:
        _require_name(self.host)


class Destination(Table, frozen=True):
    """A real server to which a service forwards connections."""

    node: str | None = None
    address: str | None = None
    port: Port | None = None
    """The port on the real server; default: the port of the service."""
    forwarding: ChosenForwarding = "dr"
    tunnel: Tunnel | None = None
    tunnel_port: Port | None = None
    """The UDP port of a GUE tunnel."""
    tunnel_flags: tuple[Literal["csum", "remcsum"], ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    upper_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Number of connections at which the real server gets no new connections; 0 means no limit.
    The allowed values are those of ipvsadm(8)."""
    lower_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Service(Table, frozen=True):
    """A virtual service: a VIP with a port, or a firewall mark."""

    vip: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """The port; 0 means every port and is only valid with persistence."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] | None = None
    family: Literal[4, 6] | None = None
    """IP version (4 or 6) of the packets with the firewall mark; default: 4."""
    scheduler: Scheduler = "rr"
    flags: tuple[str, ...] = ()
    """Flags of the scheduler: sh-fallback, sh-port, mh-fallback, mh-port, or flag-1 to flag-3."""
    ops: bool = False
    """Use one-packet scheduling, which is only valid for UDP or a firewall mark."""
    persistence: Duration | None = None
    netmask: str | int | None = None
    """Persistence sends clients in the same network of this size to the same real server. The size
    is a netmask such as 255.255.255.0, or a prefix length for IPv6; default: every client is
    separate."""
    persistence_engine: Literal["sip"] | None = None
    destinations: tuple[Destination, ...] = ()


class Timeouts(Table, frozen=True):
    """How long an idle connection stays in the connection table, by protocol and state."""

    tcp: Duration
    tcp_fin: Duration
    udp: Duration


class SyncDaemon(Table, frozen=True):
    """A kernel thread that sends the connection table to other directors, or receives it."""

    state: Literal["master", "backup"]
    interface: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    maxlen: Annotated[int, msgspec.Meta(ge=1, le=65507)] | None = None
    """Size of the largest message in bytes; default: the largest size that the interface's MTU
    allows."""
    group: str = "224.0.0.81"
    port: Port = 8848
    ttl: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1


class Ipvs(Table, frozen=True):
    """Settings of a director besides its services.

    dirtune does not change a setting that the plan leaves out.
    """

    timeouts: Timeouts | None = None
    sync: tuple[SyncDaemon, ...] | None = None


class Peer(Table, frozen=True):
    """A real server or a client."""

    host: str
    name: str | None = None
    address: str | None = None
    become: bool = False
    dirtune: str = "dirtune"
    """The command that runs dirtune on this host. `dirtune lvs apply` uses it to prepare a real
    server."""

    def __post_init__(self) -> None:
        _require_name(self.host)

    @property
    def label(self) -> str:
        """The node's name in results."""
        return self.name or self.host


class Configuration(Table, frozen=True, kw_only=True):
    """The part of a plan that sets up a director."""

    services: tuple[Service, ...]
    director: Director = Director()
    real_servers: tuple[Peer, ...] = ()
    ipvs: Ipvs = Ipvs()
    title: str = ""
    ssh_config: str | None = None
    """Path of an ssh_config(5) file, relative to the folder of the plan."""
