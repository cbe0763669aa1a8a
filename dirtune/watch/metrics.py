"""The numbers that a condition of `dirtune watch` can compare, and how a file's text yields them.

A metric has one reading for each object, such as a CPU or an interface. The object "" is the whole
host. Pure.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from dirtune.collect import conntrack, interrupts, ip_vs, net_dev, snmp, softnet, stat
from dirtune.errors import ParseError

KEEPALIVED = "/proc/KEEPALIVED/schedstat"
"""The name of the texts of /proc/PID/schedstat of all processes of keepalived, one row each."""
ADDRESSES = "netlink/addresses"
"""The name of the number of addresses that this namespace gained or lost since the start."""
CONNTRACK_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
CONNTRACK_MAX = "/proc/sys/net/netfilter/nf_conntrack_max"
NETSTAT = "/proc/net/netstat"
_NS = 1e9


class Unit(enum.StrEnum):
    """The unit of a metric, as a condition writes it."""

    RATE = "/s"
    PERCENT = "%"
    SECONDS = "s"
    NUMBER = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One object's reading: a counter, or a part of a whole."""

    part: float
    whole: float | None = None
    """The whole, if the metric is a percentage."""


Readings: TypeAlias = Mapping[str, Reading]
"""Readings by object; "" is the whole host."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that a condition can compare."""

    name: str
    about: str
    """The meaning of the number, in a few words."""
    sources: tuple[str, ...]
    """The files from whose texts `parse` makes the readings."""
    parse: Callable[..., Readings]
    unit: Unit = Unit.RATE
    rises: bool = True
    """Whether the number is the increase between two readings, not the reading itself."""
    wraps: bool = False
    """Whether the counter has 32 bits."""
    objects: str = ""
    """The kind of object that has a number of its own: `CPU`, `interface`, or nothing."""


_stat = lru_cache(maxsize=1)(stat.parse_stat)
_softnet = lru_cache(maxsize=1)(softnet.parse_softnet)
_net_dev = lru_cache(maxsize=1)(net_dev.parse_net_dev)
_snmp = lru_cache(maxsize=2)(snmp.parse_snmp)
_conntrack = lru_cache(maxsize=1)(conntrack.parse_stat_table)
_ip_vs = lru_cache(maxsize=1)(ip_vs.parse_ip_vs_stats_percpu)


def _cpu(column: str) -> Callable[[str], Readings]:
    def ticks(times: stat.CpuTimes) -> int:
        if column == "busy":
            waited = (times.iowait or 0) + (times.steal or 0)
            return times.total - times.idle - waited
        return getattr(times, column) or 0

    def parse(text: str) -> Readings:
        now = _stat(text)
        return {
            "" if times.cpu is None else str(times.cpu): Reading(ticks(times), times.total)
            for times in (now.total, *now.cpus)
        }

    return parse


def _backlog(column: str) -> Callable[[str], Readings]:
    def parse(text: str) -> Readings:
        return {
            str(number if row.cpu is None else row.cpu): Reading(getattr(row, column))
            for number, row in enumerate(_softnet(text))
        }

    return parse


def _device(column: str) -> Callable[[str], Readings]:
    def parse(text: str) -> Readings:
        return {name: Reading(counters[column]) for name, counters in _net_dev(text).items()}

    return parse


def _stack(counter: str, source: str) -> Callable[[str], Readings]:
    def parse(text: str) -> Readings:
        counters = _snmp(text)
        if counter not in counters:
            raise ParseError(source, f"this kernel does not count {counter}")
        return {"": Reading(counters[counter])}

    return parse


def _tracking(column: str) -> Callable[[str], Readings]:
    def parse(text: str) -> Readings:
        counters = _conntrack(conntrack.SOURCE, text)
        if column not in counters:
            raise ParseError(conntrack.SOURCE, f"this kernel does not count {column}")
        return {"": Reading(counters[column])}

    return parse


def _used(count: str, most: str) -> Readings:
    return {"": Reading(_number(CONNTRACK_COUNT, count), _number(CONNTRACK_MAX, most))}


def _entries(count: str) -> Readings:
    return {"": Reading(_number(CONNTRACK_COUNT, count))}


def _services(column: str) -> Callable[[str], Readings]:
    return lambda text: {"": Reading(getattr(_ip_vs(text), column))}


def _delay(text: str) -> Readings:
    """Return how long each process of keepalived has waited for a CPU so far, in seconds.

    Format of a row: the process id, then kernel/sched, /proc/PID/schedstat: the time on a CPU and
    the time on a run queue in nanoseconds, and the number of time slices.
    """
    rows = [row.split() for row in text.splitlines()]
    if any(len(row) < 3 or not "".join(row[:3]).isdecimal() for row in rows):
        raise ParseError(KEEPALIVED, "a row does not consist of numbers")
    return {row[0]: Reading(int(row[2]) / _NS) for row in rows}


def _changes(text: str) -> Readings:
    return {"": Reading(_number(ADDRESSES, text))}


def _number(source: str, text: str) -> int:
    if not text.strip().isdecimal() or len(text) > 30:
        raise ParseError(source, f"the text is not a number: {text[:30]!r}")
    return int(text)


def of_irq(label: str) -> Metric:
    """Return the metric of the interrupt line with the number *label*."""

    def parse(text: str) -> Readings:
        head = text.partition("\n")[0]
        line = next(
            (row for row in text.split("\n") if row.lstrip().startswith(f"{label}:")), None
        )
        if line is None:
            raise ParseError(interrupts.SOURCE, f"the table has no interrupt {label}")
        table = interrupts.parse_interrupts(f"{head}\n{line}\n")
        counts = zip(table.cpus, table.lines[0].counts, strict=True)
        return {str(cpu): Reading(count) for cpu, count in counts}

    about = f"interrupts on line {label}"
    return Metric(f"irq {label}", about, (interrupts.SOURCE,), parse, wraps=True, objects="CPU")


_CPU_COLUMNS = {
    "busy": "CPU time that is neither idle, iowait nor steal",
    "user": "CPU time of programs",
    "system": "CPU time of the kernel, without interrupts",
    "irq": "CPU time in hard interrupts",
    "softirq": "CPU time in soft interrupts",
    "iowait": "CPU time idle while a disk works",
    "steal": "CPU time that the hypervisor took",
    "idle": "CPU time without work",
}
_BACKLOG_COLUMNS = {
    "processed": "packets taken from backlogs and queues",
    "dropped": "packets dropped: a CPU's backlog was full",
    "time_squeeze": "runs of NET_RX that ended with packets left",
}
_DEVICE_COLUMNS = {
    "rx_packets": "packets received",
    "tx_packets": "packets sent",
    "rx_dropped": "received packets that kernel or NIC dropped",
    "tx_dropped": "packets dropped when sending",
    "rx_errors": "receive errors",
    "rx_fifo_errors": "packets that the NIC had no room for",
}
_STACK_COUNTERS = {
    "TcpExt.ListenDrops": (NETSTAT, "connections refused: accept queue was full"),
    "TcpExt.ListenOverflows": (NETSTAT, "overflows of accept queues"),
    "TcpExt.TCPBacklogDrop": (NETSTAT, "TCP packets dropped: socket backlog was full"),
    "Tcp.RetransSegs": (snmp.SOURCE, "TCP segments sent again"),
    "Tcp.OutRsts": (snmp.SOURCE, "TCP resets sent"),
    "Udp.RcvbufErrors": (snmp.SOURCE, "UDP packets dropped because a socket was full"),
    "Ip.InDiscards": (snmp.SOURCE, "IPv4 packets dropped for lack of memory"),
}
_TRACKING_COLUMNS = {
    "drop": "packets dropped because the table was full",
    "early_drop": "connections removed to make room",
    "insert_failed": "connections that could not be entered",
}
_SERVICE_COLUMNS = {
    "connections": "new connections of all services",
    "packets_in": "packets from clients",
    "packets_out": "packets to clients",
    "bytes_in": "bytes from clients",
    "bytes_out": "bytes to clients",
}

METRICS = (
    *(
        Metric(f"cpu.{name}", about, stat.SOURCES, _cpu(name), Unit.PERCENT, objects="CPU")
        for name, about in _CPU_COLUMNS.items()
    ),
    *(
        Metric(
            f"softnet.{name}", about, softnet.SOURCES, _backlog(name), wraps=True, objects="CPU"
        )
        for name, about in _BACKLOG_COLUMNS.items()
    ),
    *(
        Metric(f"net.{name}", about, net_dev.SOURCES, _device(name), objects="interface")
        for name, about in _DEVICE_COLUMNS.items()
    ),
    *(
        Metric(name, about, (source,), _stack(name, source))
        for name, (source, about) in _STACK_COUNTERS.items()
    ),
    *(
        Metric(f"ipvs.{name}", about, (ip_vs.PERCPU_SOURCE,), _services(name))
        for name, about in _SERVICE_COLUMNS.items()
    ),
    Metric(
        "conntrack.used",
        "fill of the table of connection tracking",
        (CONNTRACK_COUNT, CONNTRACK_MAX),
        _used,
        Unit.PERCENT,
        rises=False,
    ),
    Metric(
        "conntrack.entries",
        "tracked connections",
        (CONNTRACK_COUNT,),
        _entries,
        Unit.NUMBER,
        rises=False,
    ),
    *(
        Metric(f"conntrack.{name}", about, conntrack.SOURCES, _tracking(name))
        for name, about in _TRACKING_COLUMNS.items()
    ),
    Metric(
        "keepalived.delay",
        "keepalived's wait for a CPU, since last sample",
        (KEEPALIVED,),
        _delay,
        Unit.SECONDS,
        objects="process",
    ),
    Metric(
        "addresses.changed",
        "addresses gained or lost since the last sample",
        (ADDRESSES,),
        _changes,
        Unit.NUMBER,
    ),
)
BY_NAME = {metric.name.lower(): metric for metric in METRICS}
