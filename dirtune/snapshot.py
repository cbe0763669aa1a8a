"""What was true of a host at one moment or two: plain data, and how it is taken and kept.

A sample is read straight from a host, from a recorded tree, from an archive made by `dirtune
snapshot`, or from the text that `fetch_script` prints on a machine that has only a POSIX shell.
"""

import io
import json
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path

from dirtune import __version__
from dirtune.analyse.handlers import HandlerCounts, HandlerWindow
from dirtune.analyse.probed import LockWindow, Probed, SoftirqWindow
from dirtune.collect import (
    addresses,
    cmdline,
    commands,
    conntrack,
    cpu_power,
    cpuinfo,
    cpus,
    ethtool,
    interrupts,
    ip_vs,
    ipvs_netlink,
    irq_threads,
    kernel,
    kernel_log,
    limits,
    meminfo,
    modules,
    mounts,
    neighbours,
    net,
    packet,
    pci,
    proc_irq,
    processes,
    routes,
    rulesets,
    settings_files,
    snmp,
    softirqs,
    softnet,
    stat,
    sysctls,
)
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.cpu_power import CpuPower
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.cpus import Cpus
from dirtune.collect.ethtool import Card
from dirtune.collect.interrupts import Interrupts
from dirtune.collect.ip_vs import Service, Stats
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.irq_threads import IrqThread
from dirtune.collect.kernel import Kernel
from dirtune.collect.kernel_log import LogLine
from dirtune.collect.modules import Modules
from dirtune.collect.mounts import Mount
from dirtune.collect.net import Interface
from dirtune.collect.packet import PacketSocket
from dirtune.collect.pci import PciDevice
from dirtune.collect.proc_irq import IrqState
from dirtune.collect.processes import Process
from dirtune.collect.routes import Route
from dirtune.collect.rulesets import Rulesets
from dirtune.collect.settings_files import SettingsFiles
from dirtune.collect.softirqs import Softirqs
from dirtune.collect.softnet import SoftnetRow
from dirtune.collect.stat import Stat
from dirtune.collect.sysctls import Sysctls
from dirtune.errors import NotPossible, ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, RecordedHost

SCHEMA = "dirtune/snapshot/1"
_COLLECTED = (
    kernel,
    cpuinfo,
    cpus,
    cmdline,
    interrupts,
    irq_threads,
    proc_irq,
    softirqs,
    softnet,
    stat,
    processes,
    cpu_power,
    meminfo,
    limits,
    modules,
    settings_files,
    sysctls,
    pci,
    net,
    mounts,
    addresses,
    routes,
    neighbours,
    packet,
    snmp,
    conntrack,
    ip_vs,
)
SOURCES: tuple[str, ...] = tuple(
    dict.fromkeys(pattern for module in _COLLECTED for pattern in module.SOURCES)
)
"""Shell patterns of every file and link that `take` reads."""

# A 1152-CPU machine's /proc/interrupts is 14 MB; two samples and the rest stay well below.
_LARGEST_ARCHIVE = 256 << 20
_MEMBER = re.compile(r"(?P<sample>[01])(?P<path>/.+)")


@dataclass(frozen=True)
class Place:
    """A host's part in a cluster, as a plan or its director tells it."""

    role: str
    """director, real-server or client."""
    vips: tuple[str, ...] = ()
    forward: str | None = None
    """How the director forwards to this real server: Masq, Tunnel or Route; None if unknown.

    Where services reach it in several ways, the one that asks most of it.
    """
    director_addresses: frozenset[str] = frozenset()
    client_addresses: frozenset[str] = frozenset()
    """Addresses of the clients of the cluster, as far as they are nodes of it."""
    source_nat: bool | None = None
    """Whether the director has rules that rewrite sources (full NAT); None if unknown."""
    rate: float | None = None
    """Connections/s that this client is to offer; None without a plan."""
    concurrency: int | None = None
    """Connections it is to hold at once."""
    others: frozenset[str] = frozenset()
    """Further ways in which the director forwards to this real server."""


@dataclass(frozen=True)
class Snapshot:
    """A field is None when the host did not offer the source; never zero, never empty."""

    kernel: Kernel | None = None
    cpuinfo: CpuInfo | None = None
    cmdline: tuple[str, ...] | None = None
    interrupts: Interrupts | None = None
    irq_threads: tuple[IrqThread, ...] | None = None
    stat: Stat | None = None
    pci: tuple[PciDevice, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None
    mounts: tuple[Mount, ...] | None = None
    swaps: tuple[str, ...] | None = None
    addresses: frozenset[str] | None = None
    """Addresses this network namespace answers for."""
    services: tuple[Service, ...] | None = None
    ip_vs_stats: Stats | None = None
    ip_vs_table_size: int | None = None
    """Buckets of the connection table."""
    ipvs: Ipvs | None = None
    """The same services and more, where netlink was asked."""
    cpus: Cpus | None = None
    proc_irq: Mapping[str, IrqState] | None = None
    """By the interrupt's number as text."""
    softirqs: Softirqs | None = None
    softnet: tuple[SoftnetRow, ...] | None = None
    processes: tuple[Process, ...] | None = None
    cpu_power: CpuPower | None = None
    meminfo: Mapping[str, int] | None = None
    """Bytes."""
    limits: Mapping[str, int | None] | None = None
    modules: Modules | None = None
    settings_files: SettingsFiles | None = None
    sysctls: Sysctls | None = None
    local_networks: frozenset[IPv4Network] | None = None
    """Networks that this host answers for as a whole."""
    interface_addresses: tuple[InterfaceAddress, ...] | None = None
    routes: tuple[Route, ...] | None = None
    """The main IPv4 table."""
    neighbours: Mapping[str, Mapping[str, int]] | None = None
    packet: tuple[PacketSocket, ...] | None = None
    snmp: Mapping[str, int] | None = None
    conntrack: Mapping[str, int] | None = None
    ethtool: Mapping[str, Card] | None = None
    """By interface."""
    kernel_log: tuple[LogLine, ...] | None = None
    rulesets: Rulesets | None = None
    place: Place | None = None
    """What is known of this host's part in a cluster; None if nothing is."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why a field is None, by the field's name."""
    taken_s: float | None = None
    """The host's monotonic clock, seconds."""
    earlier: "Snapshot | None" = None
    """The sample before this one, for rates."""
    handlers: HandlerWindow | None = None
    """What the irq probe measured; None unless it was asked for."""
    handler_counts: HandlerCounts | None = None
    """In place of `handlers`, where eBPF could not be had."""
    locks: LockWindow | None = None
    """What the locks probe measured; likewise."""
    softirq_window: SoftirqWindow | None = None
    """What the softirq probe measured; likewise."""

    @property
    def empty(self) -> bool:
        """Whether not one source could be read."""
        return _READERS.keys() <= self.errors.keys()

    @property
    def seconds(self) -> float | None:
        """Seconds between the two samples; None with one sample or no clock."""
        if self.earlier is None or self.earlier.taken_s is None or self.taken_s is None:
            return None
        return self.taken_s - self.earlier.taken_s


_READERS: Mapping[str, Callable[[Host], object]] = {
    "kernel": kernel.read_kernel,
    "cpuinfo": cpuinfo.read_cpuinfo,
    "cmdline": cmdline.read_cmdline,
    "interrupts": interrupts.read_interrupts,
    "irq_threads": irq_threads.read_irq_threads,
    "stat": stat.read_stat,
    "pci": pci.read_pci,
    "interfaces": net.read_interfaces,
    "mounts": mounts.read_mounts,
    "swaps": mounts.read_swaps,
    "addresses": addresses.read_addresses,
    "services": ip_vs.read_services,
    "ip_vs_stats": ip_vs.read_ip_vs_stats,
    "ip_vs_table_size": ip_vs.read_table_size,
    "ipvs": ipvs_netlink.read_ipvs,
    "cpus": cpus.read_cpus,
    "proc_irq": proc_irq.read_proc_irq,
    "softirqs": softirqs.read_softirqs,
    "softnet": softnet.read_softnet,
    "processes": processes.read_processes,
    "cpu_power": cpu_power.read_cpu_power,
    "meminfo": meminfo.read_meminfo,
    "limits": limits.read_limits,
    "modules": modules.read_modules,
    "settings_files": settings_files.read_settings_files,
    "sysctls": sysctls.read_sysctls,
    "local_networks": addresses.read_local_networks,
    "interface_addresses": addresses.read_interface_addresses,
    "routes": routes.read_routes,
    "neighbours": neighbours.read_neighbours,
    "packet": packet.read_packet,
    "snmp": snmp.read_snmp,
    "conntrack": conntrack.read_conntrack,
    "ethtool": ethtool.read_ethtool,
    "kernel_log": kernel_log.read_kernel_log,
    "rulesets": rulesets.read_rulesets,
}


def with_probes(snapshot: Snapshot, found: Probed) -> Snapshot:
    """Return *snapshot* with what probes measured, and why where they could not."""
    names = {"irq": "handlers", "locks": "locks", "softirq": "softirq_window"}
    reasons = {
        names[one.probe]: "; ".join(filter(None, (one.why, one.remedy)))
        for one in found.missing
        if one.probe in names
    }
    return replace(
        snapshot,
        handlers=found.handlers,
        handler_counts=found.handler_counts,
        locks=found.locks,
        softirq_window=found.softirqs,
        errors={**snapshot.errors, **reasons},
    )


def take(host: Host) -> Snapshot:
    """Read every source once; what cannot be read is None with its reason in `errors`."""
    values: dict[str, object] = {}
    errors: dict[str, str] = {}
    for name, read in _READERS.items():
        try:
            values[name] = read(host)
        except (SourceMissing, SourceRefused, ParseError) as error:
            errors[name] = str(error)
    return replace(Snapshot(errors=errors, taken_s=host.monotonic()), **values)  # type: ignore[arg-type]


def take_all(samples: Sequence[Host]) -> Snapshot:
    """Take the last of *samples*, with the one before it for rates."""
    earlier, *rest = (take(host) for host in samples)
    for later in rest:
        earlier = replace(later, earlier=earlier)
    return earlier


def record(host: Host, asked: Mapping[str, str] | None = None) -> RecordedHost:
    """Copy every source of *host* into memory, with what was *asked* of it besides, by path."""
    files: dict[str, str] = dict(asked or {})
    links: dict[str, str] = {}
    refused: set[str] = set()
    taken_s = host.monotonic()
    for path in dict.fromkeys(path for pattern in SOURCES for path in host.glob(pattern)):
        try:
            links[path] = host.link(path)
            continue
        except SourceMissing:
            pass
        try:
            files[path] = host.read(path)
        except SourceMissing:  # a process that ended, a device that was unplugged
            continue
        except SourceRefused:
            refused.add(path)
    modes = {p: host.mode(p) for pattern in proc_irq.MODES for p in host.glob(pattern)}
    known = {path: mode for path, mode in modes.items() if mode is not None}
    return RecordedHost(files, links, frozenset(refused), taken_s, known)


def save(samples: Sequence[RecordedHost], path: Path) -> None:
    """Write *samples* into one tar.gz; `NotPossible` if the file cannot be written."""
    meta = {
        "schema": SCHEMA,
        "version": __version__,
        "samples": [
            {
                "monotonic_s": sample.taken_s,
                "refused": sorted(sample.refused),
                "modes": dict(sample.modes),
            }
            for sample in samples
        ],
    }
    try:
        with tarfile.open(path, "w:gz") as archive:
            _add_text(archive, "meta.json", json.dumps(meta, indent=1))
            for number, sample in enumerate(samples):
                _add_sample(archive, str(number), sample)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def load(path: Path) -> tuple[RecordedHost, ...]:
    """Read the samples of an archive into memory; nothing is unpacked.

    `ParseError` if it is no archive of ours, or has a path or a link that leads out of it.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            return _samples(path, archive)
    except FileNotFoundError as error:
        raise NotPossible(f"{path}: no such file") from error
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ParseError(str(path), f"not a dirtune snapshot ({error})") from error


def fetch_script(patterns: Sequence[str] = SOURCES) -> str:
    """Return a POSIX shell script that prints every file and link that *patterns* match.

    It only reads, and needs nothing but a shell, ls, grep, sed and xargs; where dirtune is
    installed it adds what netlink tells. Its standard output is what `parse_fetched` reads.
    """
    parts = {
        "PATTERNS": " ".join(patterns),
        "MODES": " ".join(proc_irq.MODES),
        "COMMANDS": commands.script(),
    }
    return re.sub("|".join(parts), lambda found: parts[found[0]], _SCRIPT)


def parse_fetched(text: str) -> RecordedHost:
    """Read what the script of `fetch_script` printed; `ParseError` if it was cut off."""
    lines = text.splitlines()
    try:
        links, asked, texts, end = (
            lines.index(mark) for mark in ("links", "commands", "text", "end")
        )
    except ValueError as error:
        raise ParseError("fetched sources", "cut off before the end") from error
    named: dict[str, list[str]] = {
        kind: [] for kind in ("time", "file", "refused", "mode", "netlink")
    }
    for line in lines[:links]:
        kind, _, rest = line.partition(" ")
        named.get(kind, []).append(rest)
    files = _texts(named["file"], lines[texts + 1 : end])
    files |= commands.parse_outputs("\n".join(lines[asked + 1 : texts]))
    files |= {path: answer for path, _, answer in (row.partition(" ") for row in named["netlink"])}
    return RecordedHost(
        files,
        dict(_listed(lines[links + 1 : asked])),
        frozenset(named["refused"]),
        float(named["time"][0]) if named["time"] else None,
        {row.rpartition(" ")[2]: _mode(row) for row in named["mode"]},
    )


# `grep '' /dev/null FILE...` prints whole files line by line behind their names, in one process.
_SCRIPT = """\
LC_ALL=C; export LC_ALL
links() { for path in PATTERNS; do if [ -L "$path" ]; then echo "$path"; fi; done; }
files() { for path in PATTERNS; do
  if [ ! -L "$path" ] && [ -f "$path" ] && [ -r "$path" ]; then echo "$1$path"; fi; done; }
read -r up rest </proc/uptime && echo "time $up"
files 'file '
for path in PATTERNS; do
  if [ ! -L "$path" ] && [ -f "$path" ] && [ ! -r "$path" ]; then echo "refused $path"; fi
done
ls -ld MODES 2>/dev/null | sed 's/^/mode /'
if command -v dirtune >/dev/null 2>&1; then dirtune netlink 2>/dev/null | sed 's/^/netlink /'; fi
echo links
links | xargs ls -ld
echo commands
COMMANDS
echo text
files | xargs grep -s '' /dev/null
echo end
"""


def _mode(row: str) -> int:
    """Return the permission bits in a row of ls(1), `-rw-r--r-- 1 root ...`."""
    return sum(1 << (8 - bit) for bit, letter in enumerate(row[1:10]) if letter not in "-ST")


def _texts(paths: Sequence[str], lines: Sequence[str]) -> dict[str, str]:
    texts: dict[str, list[str]] = {path: [] for path in paths}
    current = ""
    for line in lines:
        if not (current and line.startswith(f"{current}:")):
            current = _path_before(line, texts)
        if current:  # else a process that began after the paths were listed
            texts[current].append(f"{line[len(current) + 1 :]}\n")
    return {path: "".join(text) for path, text in texts.items()}


def _path_before(line: str, known: Mapping[str, object]) -> str:
    """Return the known path that *line* begins with; paths have colons of their own."""
    ends = (found.start() for found in re.finditer(":", line))
    return next((line[:end] for end in ends if line[:end] in known), "")


def _listed(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, arrow, target = line.partition(" -> ")
        if arrow:
            yield name[name.index(" /") + 1 :], target


def _add_sample(archive: tarfile.TarFile, number: str, sample: RecordedHost) -> None:
    for path, text in sample.files.items():
        _add_text(archive, number + path, text)
    for path, target in sample.links.items():
        member = tarfile.TarInfo(number + path)
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _samples(path: Path, archive: tarfile.TarFile) -> tuple[RecordedHost, ...]:
    meta: dict[str, object] = {}
    files: tuple[dict[str, str], dict[str, str]] = ({}, {})
    links: tuple[dict[str, str], dict[str, str]] = ({}, {})
    size = 0
    for member in archive:
        size += member.size
        if size > _LARGEST_ARCHIVE:
            raise ParseError(str(path), f"more than {_LARGEST_ARCHIVE >> 20} MiB unpacked")
        if member.name == "meta.json":
            meta = json.loads(_text(archive, member))
        elif not member.isdir():
            sample, inside = _inside(path, member)
            if member.issym():
                links[sample][inside] = member.linkname
            else:
                files[sample][inside] = _text(archive, member)
    return tuple(_sample(meta, n, files[n], links[n]) for n in (0, 1) if files[n] or links[n])


def _sample(
    meta: Mapping[str, object], number: int, files: Mapping[str, str], links: Mapping[str, str]
) -> RecordedHost:
    if meta.get("schema") != SCHEMA:
        raise ValueError("no meta.json of this schema before the samples")
    samples = meta["samples"]
    assert isinstance(samples, list)
    said = samples[number]
    refused, modes = frozenset(said["refused"]), said.get("modes", {})
    return RecordedHost(files, links, refused, said["monotonic_s"], modes)


def _inside(path: Path, member: tarfile.TarInfo) -> tuple[int, str]:
    """Return (sample, path on its host) of a member that stays inside its sample."""
    found = _MEMBER.fullmatch(member.name)
    if not found or posixpath.normpath(found["path"]) != found["path"]:
        raise ParseError(str(path), f"{member.name!r} is not a path inside a sample")
    if not (member.isfile() or member.issym()):
        raise ParseError(str(path), f"{member.name!r} is neither a file nor a symbolic link")
    if member.issym():
        folder = posixpath.dirname(member.name)
        target = posixpath.normpath(posixpath.join(folder, member.linkname))
        if not target.startswith(f"{found['sample']}/"):
            raise ParseError(str(path), f"the link {member.name!r} leads out of its sample")
    return int(found["sample"]), found["path"]


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} has no content")
    return file.read().decode("utf-8", "backslashreplace")
