"""/proc/net/ip_vs and ip_vs_stats: the virtual services of this network namespace.

Format: net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show() and ip_vs_stats_show(). Addresses,
ports, firewall marks and all statistics are hexadecimal without 0x; weights and connections are
decimal. The files exist only while ip_vs is loaded, and reading them does not load it. The timeout
of a persistent service is in jiffies; the file does not contain the length of a jiffy.
"""

import enum
import ipaddress
import re
from dataclasses import dataclass, replace
from itertools import pairwise

from dirtune.addresses import service_name
from dirtune.collect.files import decimal, hexadecimal
from dirtune.errors import ParseError, SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/ip_vs"
STATS_SOURCE = "/proc/net/ip_vs_stats"
PERCPU_SOURCE = "/proc/net/ip_vs_stats_percpu"
CONN_SOURCE = "/proc/net/ip_vs_conn"
"""The connection table. Each read(2) walks the table from its beginning (ip_vs_conn.c,
ip_vs_conn_array()), so the cost grows with the square of its size: read it only on a quiet
director with a small table."""
# This file exists on every host: without it the record lacks /proc/net, which proves nothing about
# IPVS.
_BESIDE = "/proc/net/snmp"
SOURCES = (SOURCE, STATS_SOURCE, _BESIDE)


class Forward(enum.StrEnum):
    """A forwarding method, in the words of ip_vs_fwd_name() (net/netfilter/ipvs/ip_vs_ctl.c)."""

    MASQ = "Masq"
    """NAT: the replies come back through the director."""
    LOCAL = "Local"
    """The director itself is the real server."""
    TUNNEL = "Tunnel"
    ROUTE = "Route"
    """Direct routing."""
    BYPASS = "Bypass"
    """Packets bypass the service and go to the address that the client connected to."""
    OTHER = "other"
    """A method that this version of dirtune does not know."""

    @classmethod
    def _missing_(cls, _: object) -> "Forward":
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class Destination:
    """One real server of a service."""

    address: str
    port: int
    forward: Forward
    weight: int
    active: int
    """Connections in state ESTABLISHED (`ActiveConn`)."""
    inactive: int
    """All other connections (`InActConn`)."""


@dataclass(frozen=True, slots=True)
class Service:
    """One virtual service."""

    protocol: str
    """TCP, UDP, SCTP, or FWM for a firewall mark."""
    address: str | None
    """The virtual address; None for a firewall mark."""
    port: int | None
    fwmark: int | None
    """The firewall mark; None if the service has an address."""
    scheduler: str
    ops: bool = False
    """Whether one-packet scheduling is on."""
    persistent_jiffies: int | None = None
    destinations: tuple[Destination, ...] = ()

    @property
    def name(self) -> str:
        """The service as ipvsadm(8) writes it."""
        return service_name(self.protocol, self.address, self.port, self.fwmark)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of all services together, 64 bits wide, since they were last set to zero."""

    connections: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Connection:
    """One entry of the connection table."""

    protocol: str
    client: str
    """The client's address as the director sees it."""
    address: str
    port: int
    """The service's port; `address` is the service's address."""
    state: str
    """ESTABLISHED, FIN_WAIT, TIME_WAIT, ..."""


def read_services(host: Host) -> tuple[Service, ...]:
    """Read the services; the result is empty if ip_vs is not loaded.

    Raises `SourceMissing` if the record contains nothing of /proc/net.
    """
    try:
        return parse_services(host.read(SOURCE))
    except SourceMissing:
        if host.glob(_BESIDE):
            return ()
        raise


def read_ip_vs_stats(host: Host) -> Stats:
    """Read the counters, which are up to two seconds old.

    Raises `SourceMissing` if ip_vs is not loaded.
    """
    return parse_ip_vs_stats(host.read(STATS_SOURCE))


def read_ip_vs_stats_percpu(host: Host) -> Stats:
    """Read the current counters. Raises `SourceMissing` if ip_vs is not loaded."""
    return parse_ip_vs_stats_percpu(host.read(PERCPU_SOURCE))


def read_table_size(host: Host) -> int:
    """Read the number of buckets of the connection table.

    Raises `SourceMissing` if ip_vs is not loaded.
    """
    return parse_table_size(host.read(SOURCE))


@parsing(SOURCE)
def parse_table_size(text: str) -> int:
    """Return the size of the connection table, which the first row of /proc/net/ip_vs contains."""
    found = re.search(r"\(size=(\d+)\)", text.partition("\n")[0])
    if not found:
        raise ParseError(SOURCE, "the first row lacks the size of the connection table")
    return decimal(found[1])


def parse_services(text: str) -> tuple[Service, ...]:
    """Parse the text of /proc/net/ip_vs."""
    rows = text.splitlines()
    if not rows or not rows[0].startswith("IP Virtual Server"):
        raise ParseError(SOURCE, "the text does not begin with 'IP Virtual Server'")
    services: list[tuple[Service, list[Destination]]] = []
    for number, row in enumerate(rows[3:], 4):
        cells = row.split()
        if not cells:
            continue
        try:
            _add(services, cells)
        except (ValueError, IndexError) as error:
            raise ParseError(
                SOURCE, f"line {number}: {row.strip()!r} is neither a service nor a destination"
            ) from error
    return tuple(replace(service, destinations=tuple(real)) for service, real in services)


def parse_ip_vs_stats(text: str) -> Stats:
    """Return the totals in the text of /proc/net/ip_vs_stats.

    Raises `ParseError` if a total is missing or is not a hexadecimal number.
    """
    rows = [row.split() for row in text.splitlines()]
    # The rates below the blank line are not read: run_estimation=0 freezes them.
    for head, values in pairwise(rows):
        if head[:1] == ["Conns"] and len(values) == len(head) == 5:
            try:
                return Stats(*map(hexadecimal, values))
            except ValueError as error:
                raise ParseError(
                    STATS_SOURCE, f"a counter is not a hexadecimal number: {values}"
                ) from error
    raise ParseError(STATS_SOURCE, "the row with the five totals is missing")


def parse_ip_vs_stats_percpu(text: str) -> Stats:
    """Parse the text of /proc/net/ip_vs_stats_percpu and return the sum over its CPUs.

    The CPUs' rows are current. The estimator updates ip_vs_stats, and the `~` row of this file,
    only every two seconds (ip_vs_est.c, `estimation_timer()`), so an increase over 15 s that is
    computed from ip_vs_stats can be wrong by up to 13 %.
    """
    rows = [row.split() for row in text.splitlines()]
    heads = [number for number, row in enumerate(rows) if row[:2] == ["CPU", "Conns"]]
    if not heads:
        raise ParseError(PERCPU_SOURCE, "the header row that begins with 'CPU Conns' is missing")
    cpus = []
    for row in rows[heads[0] + 1 :]:
        if len(row) != 6 or row[0] == "~":
            break
        try:
            cpus.append([hexadecimal(value) for value in row[1:]])
        except ValueError as error:
            raise ParseError(
                PERCPU_SOURCE, f"a counter is not a hexadecimal number: {row}"
            ) from error
    if not cpus:
        raise ParseError(PERCPU_SOURCE, "the header is not followed by a row for a CPU")
    return Stats(*(sum(column) for column in zip(*cpus, strict=True)))


def parse_connections(text: str) -> tuple[Connection, ...]:
    """Parse the text of /proc/net/ip_vs_conn (ip_vs_conn.c, ip_vs_conn_seq_show()).

    The templates of persistent services, whose client port is 0, are left out.
    """
    rows = text.splitlines()
    if not rows or rows[0].split()[:2] != ["Pro", "FromIP"]:
        raise ParseError(CONN_SOURCE, "the text does not begin with 'Pro FromIP'")
    connections = []
    for number, row in enumerate(rows[1:], 2):
        try:
            protocol, client, client_port, address, port, _, _, state, *_ = row.split()
            if hexadecimal(client_port):
                where = _address(client), _address(address), hexadecimal(port)
                connections.append(Connection(protocol, *where, state))
        except ValueError as error:
            raise ParseError(
                CONN_SOURCE, f"line {number}: {row.strip()!r} does not describe a connection"
            ) from error
    return tuple(connections)


def _add(services: list[tuple[Service, list[Destination]]], cells: list[str]) -> None:
    if cells[0] == "->":
        services[-1][1].append(_destination(cells))
    else:
        services.append((_service(cells), []))


def _service(cells: list[str]) -> Service:
    protocol, where, scheduler, *flags = cells
    persistent = decimal(flags[flags.index("persistent") + 1]) if "persistent" in flags else None
    if protocol == "FWM":
        fwmark = hexadecimal(where)
        return Service(protocol, None, None, fwmark, scheduler, "ops" in flags, persistent)
    address, port = _split(where)
    return Service(protocol, address, port, None, scheduler, "ops" in flags, persistent)


def _destination(cells: list[str]) -> Destination:
    address, port = _split(cells[1])
    forward = Forward(cells[2])
    weight, active, inactive = map(decimal, cells[3:6])
    return Destination(address, port, forward, weight, active, inactive)


def _split(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return _address(address), hexadecimal(port)


def _address(text: str) -> str:
    if "%" in text:  # ipaddress accepts any text after % as a zone index
        raise ValueError(text)
    if ":" in text:
        return str(ipaddress.IPv6Address(text.strip("[]")))
    return str(ipaddress.IPv4Address(hexadecimal(text)))
