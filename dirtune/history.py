"""The day that sysstat has recorded, as two samples of a host. Pure.

sadf(1) of sysstat prints a day file as JSON (`sadf -j`), with one entry for each interval. The
entry of the worst interval becomes the counters of the kernel at both ends of the interval.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from dirtune.analyse.words import counted
from dirtune.errors import ParseError
from dirtune.formats import from_json
from dirtune.host import RecordedHost, recorded_text

MAGIC = frozenset({b"\x96\xd5", b"\xd5\x96"})
"""The first two bytes of a day file, in either byte order (SYSSTAT_MAGIC of sysstat's sa.h)."""
_LARGEST = 2**63
_LONGEST_S = 86400
_Rate = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
_Text = Annotated[str, msgspec.Meta(max_length=64)]
_Name = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^\S+$(?!\n)")]
_CpuName = Annotated[str, msgspec.Meta(pattern=r"^(all|-1|[0-9]{1,5})$(?!\n)")]


class _Cpu(msgspec.Struct):
    cpu: _CpuName
    usr: _Rate = 0
    nice: _Rate = 0
    sys: _Rate = 0
    iowait: _Rate = 0
    steal: _Rate = 0
    irq: _Rate = 0
    soft: _Rate = 0
    guest: _Rate = 0
    gnice: _Rate = 0
    idle: _Rate = 0


class _Softnet(msgspec.Struct):
    cpu: _CpuName
    total: _Rate = 0
    dropd: _Rate = 0
    squeezd: _Rate = 0
    rx_rps: _Rate = 0
    flw_lim: _Rate = 0


class _Device(msgspec.Struct):
    iface: _Name
    rxpck: _Rate = 0
    txpck: _Rate = 0
    kb_in: _Rate = msgspec.field(default=0, name="rxkB")
    kb_out: _Rate = msgspec.field(default=0, name="txkB")


class _Errors(msgspec.Struct):
    iface: _Name
    rxerr: _Rate = 0
    txerr: _Rate = 0
    rxdrop: _Rate = 0
    txdrop: _Rate = 0
    rxfifo: _Rate = 0


class _Network(msgspec.Struct):
    devices: tuple[_Device, ...] = msgspec.field(default=(), name="net-dev")
    errors: tuple[_Errors, ...] = msgspec.field(default=(), name="net-edev")
    softnet: tuple[_Softnet, ...] = ()


class _Time(msgspec.Struct):
    date: _Text
    time: _Text
    interval: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_S)] = 0


class _Entry(msgspec.Struct):
    timestamp: _Time
    cpus: tuple[_Cpu, ...] = msgspec.field(default=(), name="cpu-load")
    network: _Network = msgspec.field(default_factory=_Network)


class _Host(msgspec.Struct):
    nodename: Annotated[str, msgspec.Meta(max_length=256, pattern=r"^\S*$(?!\n)")]
    release: _Text = ""
    timezone: _Text = ""
    statistics: tuple[_Entry, ...] = ()


class _Sysstat(msgspec.Struct):
    hosts: tuple[_Host, ...]


class _Document(msgspec.Struct):
    sysstat: _Sysstat


@dataclass(frozen=True, slots=True)
class History:
    """The worst interval of a day."""

    samples: tuple[RecordedHost, RecordedHost]
    note: str
    """A sentence that says which interval it is, and why it is the worst one."""


def of_day(name: str, text: str) -> History:
    """Return the worst interval of the day file *name*, for which sadf printed *text*.

    The worst one is that in which most packets were dropped by the backlogs; without drops, that
    with the most time squeezes; else that in which softirqs used most of one CPU.
    """
    try:
        (host, *_) = from_json(text, _Document).sysstat.hosts
        entries = [entry for entry in host.statistics if entry.timestamp.interval > 0]
        worst = max(entries, key=_badness)
    except (msgspec.MsgspecError, ValueError) as error:
        why = "sadf printed no interval for this file. sysstat records one every ten minutes"
        raise ParseError(name, why) from error
    time = worst.timestamp
    zone = f"{host.timezone}, the time zone of the host" if host.timezone else "the host's time"
    note = (
        f"{name}: the checks judge the worst of {counted(len(entries), 'interval')}, the "
        f"{time.interval:g} s before {time.date} {time.time} ({zone}): {_reason(worst)}."
    )
    before = RecordedHost(dict(_files(host, worst, 0)), {}, taken_s=0.0)
    after = RecordedHost(dict(_files(host, worst, time.interval)), {}, taken_s=time.interval)
    return History((before, after), note)


def _badness(entry: _Entry) -> tuple[float, ...]:
    rows = [row for row in entry.network.softnet if row.cpu.isdecimal()]
    return (
        sum(row.dropd for row in rows),
        sum(row.squeezd for row in rows),
        max((row.soft for row in entry.cpus if row.cpu.isdecimal()), default=0),
    )


def _reason(entry: _Entry) -> str:
    dropped, squeezed, softirq = _badness(entry)
    if dropped:
        return f"{dropped:g} packets/s were dropped by the backlogs of the CPUs"
    if squeezed:
        return f"{squeezed:g} time squeezes/s"
    return f"softirqs used {softirq:.0f} % of one CPU"


def _files(host: _Host, entry: _Entry, seconds: float) -> Iterator[tuple[str, str]]:
    """Yield the kernel's files as they were *seconds* after the interval began."""
    yield "/proc/sys/kernel/hostname", f"{recorded_text(host.nodename)}\n"
    yield "/proc/sys/kernel/osrelease", f"{recorded_text(host.release)}\n"
    cpus = [row for row in entry.cpus if row.cpu.isdecimal()]
    if cpus:
        yield "/sys/devices/system/cpu/online", f"{','.join(row.cpu for row in cpus)}\n"
        yield "/proc/stat", _stat(entry.cpus, seconds)
    softnet = [row for row in entry.network.softnet if row.cpu.isdecimal()]
    if softnet:
        yield "/proc/net/softnet_stat", "".join(_softnet(row, seconds) for row in softnet)
    if entry.network.devices:
        yield "/proc/net/dev", _net_dev(entry.network, seconds)


def _stat(rows: tuple[_Cpu, ...], seconds: float) -> str:
    # A percent of a second is one USER_HZ. The kernel's user and nice contain the guests' time.
    lines = []
    for row in rows:
        name = "cpu " if row.cpu == "all" else f"cpu{row.cpu}"
        percents = (
            *(row.usr + row.guest, row.nice + row.gnice, row.sys, row.idle, row.iowait),
            *(row.irq, row.soft, row.steal, row.guest, row.gnice),
        )
        lines.append(f"{name} {' '.join(str(round(p * seconds)) for p in percents)}\n")
    return "".join(lines)


def _softnet(row: _Softnet, seconds: float) -> str:
    rates = (row.total, row.dropd, row.squeezd, *(0,) * 6, row.rx_rps, row.flw_lim, 0)
    numbers = (*(round(rate * seconds) & 0xFFFFFFFF for rate in rates), int(row.cpu))
    return f"{' '.join(f'{number:08x}' for number in numbers)}\n"


def _net_dev(network: _Network, seconds: float) -> str:
    errors: Mapping[str, _Errors] = {row.iface: row for row in network.errors}
    lines = ["Inter-|   Receive  |  Transmit\n", " face |bytes packets\n"]
    for row in network.devices:
        bad = errors.get(row.iface, _Errors(row.iface))
        rates = (
            *(row.kb_in * 1024, row.rxpck, bad.rxerr, bad.rxdrop, bad.rxfifo, 0, 0, 0),
            *(row.kb_out * 1024, row.txpck, bad.txerr, bad.txdrop, 0, 0, 0, 0),
        )
        numbers = " ".join(str(round(rate * seconds)) for rate in rates)
        lines.append(f"{recorded_text(row.iface)}: {numbers}\n")
    return "".join(lines)
