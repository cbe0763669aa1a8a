"""Types for the part of a plan file that sets up a director. Pure."""

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
    """Run commands on the director through `sudo -n`."""
    dirtune: str = "dirtune"
    """The command that runs dirtune on the director."""
    address: str | None = None
    """The director's address on the real servers' network; with two directors, the VRRP address.
    Real servers behind NAT send their replies to this address."""
    max_overhead: Positive = 1.0
    """Limit of the probes' total cost on the director, per cent of one CPU."""
    host_cpus: tuple[int, ...] = ()
    """The CPUs of this machine to which a guest director is pinned. Time stolen from these CPUs is
    subtracted from the director's CPU time. Empty if the director is not a guest of this
    machine."""

    def __post_init__(self) -> None:
        _require_name(self.host)


class Destination(Table, frozen=True):
    """A real server of a service."""

    node: str | None = None
    address: str | None = None
    port: Port | None = None
    """Default: the service's port."""
    forwarding: Literal["nat", "dr", "tun"] = "dr"
    tunnel: Literal["ipip", "gue", "gre"] | None = None
    tunnel_port: Port | None = None
    """UDP port of a gue tunnel."""
    tunnel_flags: tuple[Literal["csum", "remcsum"], ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    upper_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Number of connections at which the real server gets no new ones; 0 means no limit. The range
    is the same as in ipvsadm(8)."""
    lower_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Service(Table, frozen=True):
    """A virtual service: an address with a port, or a firewall mark."""

    vip: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """0 means every port, and is only valid with persistence."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] | None = None
    family: Literal[4, 6] | None = None
    """IP version of the packets with the firewall mark; default: 4."""
    scheduler: Scheduler = "rr"
    flags: tuple[str, ...] = ()
    """Flags of the scheduler: sh-fallback, sh-port, mh-fallback, mh-port, or flag-1 to flag-3."""
    ops: bool = False
    """One-packet scheduling, for UDP."""
    persistence: Duration | None = None
    netmask: str | int | None = None
    """Clients in the same network go to the same real server. A netmask such as 255.255.255.0, or
    a prefix length for IPv6; default: every client is on its own."""
    persistence_engine: Literal["sip"] | None = None
    destinations: tuple[Destination, ...] = ()


class Timeouts(Table, frozen=True):
    """The time that an idle connection stays in the director's table, by protocol and state."""

    tcp: Duration
    tcp_fin: Duration
    udp: Duration


class SyncDaemon(Table, frozen=True):
    """A kernel thread that sends the connection table to other directors, or receives theirs."""

    state: Literal["master", "backup"]
    interface: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    maxlen: Annotated[int, msgspec.Meta(ge=1, le=65507)] | None = None
    """Size of the largest message in bytes; default: the most that the interface's MTU allows."""
    group: str = "224.0.0.81"
    port: Port = 8848
    ttl: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1


class Ipvs(Table, frozen=True):
    """Settings of a director other than its services; a missing setting is left unchanged."""

    timeouts: Timeouts | None = None
    sync: tuple[SyncDaemon, ...] | None = None


class Peer(Table, frozen=True):
    """A real server or a client."""

    host: str
    name: str | None = None
    address: str | None = None
    become: bool = False
    dirtune: str = "dirtune"
    """The command that runs dirtune on this host; `lvs apply` prepares real servers with it."""

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
    """Path of an ssh_config(5) file, relative to the plan's folder."""
