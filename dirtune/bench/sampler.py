"""Take samples of a node's counters with a POSIX shell that runs during the trials.

For each sample, head(1) prints a few files: the time (/proc/uptime), the CPU times and, on the
director, interrupts and IPVS counters. In a container, /proc/stat counts the entire machine, so
the times of the container's control group are read instead. A node is a container if its first
process is in a control group of its own. Nothing is installed on the node, and the shell exits
when its input ends.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from dirtune.analyse.cpu import GroupTimes, Sample
from dirtune.collect import interrupts, ip_vs, net_dev, snmp, softnet, stat
from dirtune.cpu_sets import parse_cpulist
from dirtune.errors import ParseError
from dirtune.remote import Node, Process

UPTIME = "/proc/uptime"
NODE_FILES = (stat.SOURCE, *snmp.SOURCES, net_dev.SOURCE)
DIRECTOR_FILES = (
    *(stat.SOURCE, interrupts.SOURCE, ip_vs.PERCPU_SOURCE, ip_vs.SOURCE),
    *(net_dev.SOURCE, softnet.SOURCE),
)
NET_COUNTERS = ("Tcp.OutRsts", "TcpExt.TCPSynRetrans", "TcpExt.ListenDrops")
SAMPLE_S = 15
"""Time limit for one sample, in seconds."""
SAMPLE_BYTES = 64 * 2**20
"""Size limit of one sample in bytes: twice the size of 4,096 rows for 512 CPUs."""
_MANY_LINES = 20_000
"""A sample with more lines than this is parsed in a thread."""

_UPTIME = re.compile(r"\d{1,15}(\.\d{1,9})?(?=\s)", re.ASCII)

# With control groups version 1, the file has a line such as `4:cpuset,cpuacct:/PATH` for each
# hierarchy; with version 2, it has one line `0::/PATH`.
_GROUP_FILES = """\
v1= v2=
while IFS=: read -r number names path; do
  case $path in /|/init.scope) continue;; esac
  case ,$names, in *,cpuacct,*) v1=$path;; ,,) v2=$path;; esac
done </proc/1/cgroup
while read -r device dir type options rest; do
  case $type,$options, in
    cgroup,*,cpuacct,*) [ -z "$v1" ] ||
      set -- "$@" "$dir$v1/cpuacct.usage_user" "$dir$v1/cpuacct.usage_sys";;
    cgroup,*,cpuset,*) [ -z "$v1" ] || set -- "$@" "$dir$v1/cpuset.cpus";;
    cgroup2,*) [ -z "$v2" ] || set -- "$@" "$dir$v2/cpu.stat" "$dir$v2/cpuset.cpus.effective";;
  esac
done </proc/self/mounts
[ -z "$v1$v2" ] || printf 'container %s\n' "${v1:-$v2}"
"""
_LOOP = """\
echo ready
while read -r word; do head -n 4096 "$@" 2>/dev/null; echo; echo .; done
"""


class Watch(Protocol):
    """An object that takes samples of one node."""

    async def sample(self) -> Sample:
        """Return the current counters."""
        ...


def script(files: tuple[str, ...]) -> str:
    """Return a shell script that prints the contents of *files* for each line on its input."""
    return f"set -- {' '.join((UPTIME, *files))}\n{_GROUP_FILES}{_LOOP}"


class Sampler:
    """A shell on a node that takes samples of the node's counters."""

    def __init__(self, process: Process, *, container: bool) -> None:
        self._process = process
        self._container = container

    async def sample(self) -> Sample:
        """Return the current counters of the node.

        Raises `NodeUnreachable` if the node was lost.
        """
        await self._process.send("\n")
        lines = await self._process.lines_before(".", timeout_s=SAMPLE_S, most_bytes=SAMPLE_BYTES)
        work = partial(parse, lines, container=self._container)
        return await asyncio.to_thread(work) if len(lines) > _MANY_LINES else work()

    async def end(self) -> None:
        """End the shell on the node."""
        await self._process.end()


async def start(node: Node, files: tuple[str, ...]) -> Sampler:
    """Start a shell on *node* that samples *files*."""
    process = await node.start(script(files), guarded=False)
    said = await process.line(timeout_s=SAMPLE_S)
    if container := said.startswith("container "):
        await process.line(timeout_s=SAMPLE_S)
    return Sampler(process, container=container)


def parse(lines: list[str], *, container: bool = False) -> Sample:
    """Parse one sample that head(1) printed. Values of a missing file become None or empty.

    If *container* is True and the control group has no CPU accounting, the sample has no CPU
    times, because /proc/stat counts the entire machine.
    """
    files = _sections(lines)
    services = files.get(ip_vs.SOURCE)
    active, inactive = (None, None) if services is None else _entries(services)
    return Sample(
        at_s=_uptime(files),
        stat=None if container else _stat(files.get(stat.SOURCE)),
        group=_group(files) if container else None,
        lines=_lines(files.get(interrupts.SOURCE)),
        ip_vs=_counters(files.get(ip_vs.PERCPU_SOURCE)),
        inactive=inactive,
        active=active,
        net=_net(files),
    )


def _sections(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if name := re.fullmatch(r"==> (.+) <==", line):
            current = found.setdefault(name[1], [])
        else:
            current.append(line)
    # head prints an empty line between two files.
    return {path: "\n".join(text).rstrip("\n") + "\n" for path, text in found.items()}


def _uptime(files: Mapping[str, str]) -> float:
    found = _UPTIME.match(files.get(UPTIME, ""))
    if found is None:
        raise ParseError(UPTIME, "the sample lacks the uptime")
    return float(found[0])


def _stat(text: str | None) -> stat.Stat | None:
    return None if text is None else stat.parse_stat(text)


def _group(files: Mapping[str, str]) -> GroupTimes | None:
    try:
        return _times(files)
    except (ValueError, OverflowError) as error:
        raise ParseError(
            "cpuset and cpuacct", "the sample contains a value that is not a number"
        ) from error


def _times(files: Mapping[str, str]) -> GroupTimes | None:
    by_name = {path.rpartition("/")[2]: text for path, text in files.items()}
    cpus = by_name.get("cpuset.cpus", by_name.get("cpuset.cpus.effective"))
    if cpus is None:
        return None
    count = len(parse_cpulist(cpus))
    if "cpuacct.usage_user" in by_name and "cpuacct.usage_sys" in by_name:
        user, system = by_name["cpuacct.usage_user"], by_name["cpuacct.usage_sys"]
        return GroupTimes(int(user) / 1e9, int(system) / 1e9, count)
    times = dict(re.findall(r"^(\w+) (\d+)$", by_name.get("cpu.stat", ""), re.MULTILINE))
    if "user_usec" not in times or "system_usec" not in times:
        return None
    return GroupTimes(int(times["user_usec"]) / 1e6, int(times["system_usec"]) / 1e6, count)


def _lines(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    return {line.irq: line.total for line in interrupts.parse_interrupts(text).numbered}


def _counters(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    now = ip_vs.parse_ip_vs_stats_percpu(text)
    return {
        "connections": now.connections,
        "packets_in": now.packets_in,
        "packets_out": now.packets_out,
        "bytes_in": now.bytes_in,
        "bytes_out": now.bytes_out,
    }


def _entries(text: str) -> tuple[int, int]:
    found = [d for service in ip_vs.parse_services(text) for d in service.destinations]
    return sum(d.active for d in found), sum(d.inactive for d in found)


def _net(files: Mapping[str, str]) -> dict[str, int]:
    counters: dict[str, int] = {}
    *pairs, sockets = snmp.SOURCES
    for source in pairs:
        if source in files:
            counters |= snmp.parse_snmp(files[source])
    net = {name: counters[name] for name in NET_COUNTERS if name in counters}
    waiting = snmp.parse_sockstat(files.get(sockets, "")).get("sockstat.TCP.tw")
    if waiting is not None:
        net["time_wait"] = waiting
    if net_dev.SOURCE in files:
        interfaces = net_dev.parse_net_dev(files[net_dev.SOURCE]).values()
        for name in ("rx_dropped", "tx_dropped"):
            net[name] = sum(interface[name] for interface in interfaces)
    if softnet.SOURCE in files:
        rows = softnet.parse_softnet(files[softnet.SOURCE])
        net["softnet_dropped"] = sum(row.dropped for row in rows)
    return net
