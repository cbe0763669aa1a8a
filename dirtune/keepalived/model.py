"""The content of a keepalived.conf as plain data, without secrets.

Times are in seconds. None means that the configuration does not set the value.
"""

from typing import Literal

import msgspec

from dirtune.keepalived.source import Place, Problem

Method = Literal["NAT", "DR", "TUN"]


class Forwarding(msgspec.Struct, frozen=True, gc=False):
    """How packets reach a real server (lvs_method)."""

    method: Method
    tunnel: Literal["ipip", "gue", "gre"] = "ipip"
    port: int = 0
    checksum: Literal["nocsum", "csum", "remcsum"] = "nocsum"


class Checker(msgspec.Struct, frozen=True, gc=False):
    """A health check of a real server."""

    kind: str
    """The keyword, such as TCP_CHECK."""
    delay_loop_s: float | None = None
    connect_timeout_s: float | None = None
    retry: int | None = None
    delay_before_retry_s: float | None = None
    script: str = ""
    """The program of a MISC_CHECK, without its arguments."""
    script_timeout_s: float | None = None
    dynamic: bool = False
    """Whether the check sets the weight (misc_dynamic)."""


class RealServer(msgspec.Struct, frozen=True, gc=False):
    """A real_server or a sorry_server."""

    address: str
    port: int
    place: Place
    forwarding: Forwarding | None = None
    weight: int | None = None
    upper: int = 0
    lower: int = 0
    inhibit: bool | None = None
    alpha: bool | None = None
    retry: int | None = None
    delay_loop_s: float | None = None
    delay_before_retry_s: float | None = None
    connect_timeout_s: float | None = None
    checkers: tuple[Checker, ...] = ()
    scripts: tuple[str, ...] = ()
    """Programs that are started when the state changes, without their arguments."""


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """An address range or a firewall mark that a virtual server stands for."""

    mark: int | None = None
    first: str = ""
    last: str = ""
    port: int = 0
    family: int | None = None


class VirtualServer(msgspec.Struct, frozen=True):
    """A virtual_server with the values that the configuration gives it."""

    name: str
    """The words after the keyword."""
    place: Place
    endpoint: Endpoint | None
    """None if the virtual server has a group."""
    group: str = ""
    family: int | None = None
    protocol: Literal["tcp", "udp", "sctp"] | None = None
    scheduler: str = ""
    flags: tuple[str, ...] = ()
    one_packet: bool = False
    forwarding: Forwarding | None = None
    persistence_timeout_s: int | None = None
    persistence_granularity: str = ""
    persistence_engine: str = ""
    delay_loop_s: float | None = None
    retry: int | None = None
    delay_before_retry_s: float | None = None
    connect_timeout_s: float | None = None
    weight: int = 1
    quorum: int = 1
    hysteresis: int = 0
    alpha: bool = False
    omega: bool = False
    inhibit: bool = False
    ha_suspend: bool = False
    sorry: RealServer | None = None
    sorry_inhibit: bool = False
    real_servers: tuple[RealServer, ...] = ()
    scripts: tuple[str, ...] = ()


class SyncDaemon(msgspec.Struct, frozen=True):
    """The global lvs_sync_daemon."""

    interface: str
    place: Place
    instance: str | None = None
    """Name of the vrrp_instance that the daemon follows; None if both daemons always run."""
    sync_id: int | None = None
    maxlen: int | None = None
    port: int | None = None
    ttl: int | None = None
    group: str | None = None


class VrrpInstance(msgspec.Struct, frozen=True):
    """A vrrp_instance."""

    name: str
    place: Place
    interface: str = ""
    state: Literal["MASTER", "BACKUP"] = "BACKUP"
    router_id: int | None = None
    priority: int = 100
    advert_s: float | None = None
    version: int | None = None
    preempt: bool = True
    preempt_delay_s: float = 0
    addresses: tuple[str, ...] = ()
    """Addresses of virtual_ipaddress and virtual_ipaddress_excluded, without prefix lengths."""
    peers: tuple[str, ...] = ()
    authenticated: bool = False
    tracked: tuple[tuple[str, int | None], ...] = ()
    """Names of the tracked scripts, each with its weight; None if none is given here."""
    scripts: tuple[str, ...] = ()


class VrrpScript(msgspec.Struct, frozen=True):
    """A vrrp_script."""

    name: str
    place: Place
    script: str = ""
    """The program, without its arguments."""
    interval_s: float = 1
    timeout_s: float | None = None
    weight: int = 0
    rise: int = 1
    fall: int = 1
    user: str | None = None


class Globals(msgspec.Struct, frozen=True):
    """The parts of global_defs that matter for load balancing."""

    router_id: str | None = None
    script_user: str | None = None
    script_security: bool = False
    namespace: str | None = None
    """net_namespace: where keepalived runs."""
    ipvs_namespace: str | None = None
    """net_namespace_ipvs: where keepalived sets up IPVS."""
    sync_daemon: SyncDaemon | None = None
    tcp_s: int | None = None
    tcp_fin_s: int | None = None
    udp_s: int | None = None
    realtime: tuple[tuple[str, int], ...] = ()
    """Keywords and values of vrrp_rt_priority, checker_rt_priority and bfd_rt_priority."""
    priorities: tuple[tuple[str, int], ...] = ()
    """Keywords and values of vrrp_priority and its like, which are nice(2) values."""
    scripts: tuple[str, ...] = ()


class Conf(msgspec.Struct, frozen=True):
    """A keepalived configuration."""

    globals: Globals
    groups: tuple[tuple[str, tuple[Endpoint, ...]], ...]
    virtual_servers: tuple[VirtualServer, ...]
    instances: tuple[VrrpInstance, ...]
    scripts: tuple[VrrpScript, ...]
    problems: tuple[Problem, ...]
    """What `keepalived -t` complains of too, in the order of the lines."""
    files: tuple[str, ...]
    """The files that were read, in their order."""
