"""Differences between two directors that can affect performance.

Counters, host names and addresses are ignored, because directors with the same settings differ in
these.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dirtune.analyse.lines import nic_line, sharers
from dirtune.collect.interrupts import Line
from dirtune.collect.net import Interface
from dirtune.competitors import competitors
from dirtune.cpu_sets import format_cpulist
from dirtune.snapshot import Snapshot

# Settings that are counters, or that a kernel derives from the size of memory.
_COUNTS = frozenset({"net/netfilter/nf_conntrack_count", "fs/file-max", "vm/min_free_kbytes"})
# Boot options that identify a machine, or affect only its boot, display and panic
# (kernel-parameters.rst, dracut.cmdline(7), kernel-command-line(7)). Unknown options are shown.
_OWN_OPTIONS = re.compile(
    r"""
    BOOT_IMAGE | BOOTIF | initrd | noinitrd | init | rdinit | root(flags|fstype|wait|delay)?
    | r[ow] | (no)?resume(_offset)? | fsck\..* | ip | nfsroot | hostname | systemd\.hostname
    | net\.ifnames | ifname | systemd\.machine_id | ds | inst\..* | (rd | luks)(\..*)?
    | systemd\.(unit | wants | mask | show_status | log_.* | debug.* | firstboot | setenv | run.*)
    | biosdevname | single | emergency | rescue | [Ss] | [1-5]
    | splash | quiet | rhgb | vga | video | fb | logo.* | gfxpayload | nomodeset
    | (plymouth | vt | fbcon | drm)\..*
    | locale(\..*)? | LANG | language | country | keymap | KEYTABLE | keyboard.* | vconsole\..*
    | panic(_on_.*|_print)? | oops | reboot | crashkernel | crash_kexec_post_notifiers
    """,
    re.VERBOSE,
)
_CHIP = re.compile(r"-[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_WRITERS = ("irq", "sysctl", "ipvs", "nic", "cpu")

Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting with different values on two hosts; a value is None if the host lacks it."""

    section: str
    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing two hosts."""

    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    """Sections that could be read on only one of the two hosts."""
    untold: tuple[str, ...] = ()
    """Sections that could be read on neither host."""
    compared: tuple[str, ...] = ()
    """Sections that were read on both hosts."""


def compare(a: Snapshot, b: Snapshot) -> Comparison:
    """Return the differences between two hosts, ordered by section and name."""
    differences: list[Difference] = []
    unknown: list[str] = []
    untold: list[str] = []
    compared = []
    of_a, of_b = facts(a), facts(b)
    for section in _SECTIONS:
        first, second = of_a[section], of_b[section]
        if first is None or second is None:
            (untold if first is second else unknown).append(section)
            continue
        compared.append(section)
        differences += [
            Difference(section, name, first.get(name), second.get(name))
            for name in sorted(first.keys() | second.keys())
            if first.get(name) != second.get(name)
        ]
    return Comparison(tuple(differences), tuple(unknown), tuple(untold), tuple(compared))


def facts(snapshot: Snapshot) -> dict[str, Facts | None]:
    """Return the settings of a host by section; None for a section that could not be read."""
    return {section: read(snapshot) for section, read in _SECTIONS.items()}


def _kernel(snapshot: Snapshot) -> Facts | None:
    known = snapshot.kernel
    if known is None:
        return None
    preemption = re.search(r"PREEMPT\w*", known.version or "")
    return {"release": known.osrelease or "", "preemption": preemption[0] if preemption else ""}


def _cmdline(snapshot: Snapshot) -> Facts | None:
    if snapshot.cmdline is None:
        return None
    options = (o.partition("=") for o in snapshot.cmdline)
    return {name: value or "set" for name, _, value in options if not _OWN_OPTIONS.fullmatch(name)}


def _modules(snapshot: Snapshot) -> Facts | None:
    return snapshot.modules.parameters if snapshot.modules else None


def _sysctls(snapshot: Snapshot) -> Facts | None:
    if snapshot.sysctls is None:
        return None
    values = snapshot.sysctls.values.items()
    return {name: " ".join(value.split()) for name, value in values if name not in _COUNTS}


def _cpu(snapshot: Snapshot) -> Facts | None:
    power = snapshot.cpu_power
    if power is None:
        return None
    disabled = {s.name for states in power.idle.values() for s in states if s.disabled}
    return {
        "model": (snapshot.cpuinfo.model if snapshot.cpuinfo else None) or "",
        "usable": str(len(snapshot.cpus.usable)) if snapshot.cpus else "",
        "governor": _words(power.governors.values()),
        "cpufreq driver": power.driver or "",
        "energy preference": _words(power.preferences.values()),
        "idle driver": power.idle_driver or "",
        "idle states disabled": _words(disabled),
        "clocksource": power.clocksource or "",
        **{f"mitigation {name}": value for name, value in power.vulnerabilities.items()},
    }


def _interrupts(snapshot: Snapshot) -> Facts | None:
    """Return each handler on a shared or NIC's line, with chip, CPUs and the other handlers."""
    if snapshot.interrupts is None:
        return None
    handlers: dict[str, list[str]] = {}
    for line in snapshot.interrupts.numbered:
        card = nic_line(line, sharers(line, snapshot.pci, snapshot.interfaces))
        if card or line.shared:
            for action in line.actions:
                handlers.setdefault(action, []).append(_line(snapshot, line, action))
    return {action: "; ".join(sorted(lines)) for action, lines in handlers.items()}


def _line(snapshot: Snapshot, line: Line, action: str) -> str:
    others = [each for each in line.actions if each != action]
    state = (snapshot.proc_irq or {}).get(line.irq)
    cpus = format_cpulist(state.affinity) if state and state.affinity is not None else None
    parts = (
        _CHIP.sub("", line.chip or ""),
        f"shared with {', '.join(others)}" if others else "",
        f"CPUs {cpus}" if cpus else "",
    )
    return ", ".join(part for part in parts if part)


def _cards(snapshot: Snapshot) -> Facts | None:
    if snapshot.interfaces is None:
        return None
    facts: dict[str, str] = {}
    for card in (i for i in snapshot.interfaces if i.physical):
        facts |= {f"{card.name} {name}": value for name, value in _card(card)}
    return facts


def _card(card: Interface) -> Iterator[tuple[str, str]]:
    yield "driver", card.driver or ""
    yield "speed", str(card.speed_mbps or "")
    yield "duplex", card.duplex or ""
    yield "mtu", str(card.mtu or "")
    yield "rx queues", str(len(card.rx_queues))
    yield "tx queues", str(len(card.tx_queues))
    yield "rps", " ".join(format_cpulist(q.cpus or ()) or "off" for q in card.rx_queues)
    yield "xps", " ".join(format_cpulist(q.cpus or ()) or "off" for q in card.tx_queues)
    yield "threaded", str(card.threaded)


def _ethtool(snapshot: Snapshot) -> Facts | None:
    if snapshot.ethtool is None:
        return None
    facts: dict[str, str] = {}
    for name, card in snapshot.ethtool.items():
        for what in ("rings", "channels", "coalesce"):
            values: Mapping[str, int] = getattr(card, what) or {}
            facts |= {f"{name} {key}": str(value) for key, value in values.items()}
        for key, feature in (card.features or {}).items():
            facts[f"{name} {key}"] = "on" if feature.on else "off"
    return facts


def _ipvs(snapshot: Snapshot) -> Facts | None:
    if snapshot.services is None:
        return None
    services: dict[str, list[str]] = {}
    for service in snapshot.services:
        mark = service.fwmark is not None
        name = "firewall mark" if mark else f"{service.protocol} port {service.port}"
        methods = Counter(d.forward for d in service.destinations)
        parts = [service.scheduler, *(f"{n} by {how}" for how, n in sorted(methods.items()))]
        parts += ["one-packet"] if service.ops else []
        parts += ["persistent"] if service.persistent_jiffies is not None else []
        services.setdefault(name, []).append(", ".join(parts))
    facts = {name: "; ".join(sorted(values)) for name, values in services.items()}
    if snapshot.ip_vs_table_size is not None:
        facts["connection table, buckets"] = str(snapshot.ip_vs_table_size)
    return facts


def _timeouts(snapshot: Snapshot) -> Facts | None:
    if snapshot.ipvs is None:
        return None
    facts = {name: f"{value} s" for name, value in snapshot.ipvs.timeouts_s.items()}
    return facts | {
        f"sync daemon {daemon.state}": f"maxlen {daemon.maxlen}"
        for daemon in snapshot.ipvs.daemons
    }


def _programs(snapshot: Snapshot) -> Facts | None:
    if snapshot.processes is None:
        return None
    running = (name for what in _WRITERS for name in competitors(snapshot, what))
    return dict.fromkeys(running, "running")


def _words(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


_SECTIONS: Mapping[str, Callable[[Snapshot], Facts | None]] = {
    "kernel": _kernel,
    "boot option": _cmdline,
    "module parameter": _modules,
    "sysctl": _sysctls,
    "cpu": _cpu,
    "interrupt": _interrupts,
    "card": _cards,
    "ethtool": _ethtool,
    "ipvs": _ipvs,
    "ipvs timeouts": _timeouts,
    "program": _programs,
}
