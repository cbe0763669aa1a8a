"""Define the rules that redact the files and command outputs of a record.

The text of a file is kept unchanged only if the file is listed here as safe. A new file is
redacted word by word until somebody has checked what the kernel writes there.
"""

import fnmatch
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.analyse.redact import boot, vocabulary
from dirtune.analyse.redact.addresses import Addresses
from dirtune.analyse.redact.names import Names
from dirtune.analyse.redact.texts import Texts
from dirtune.collect import answers, commands, sysctls
from dirtune.collect.settings_files import parse_shell_variables, parse_sysctl_conf


@dataclass(frozen=True, slots=True)
class Tools:
    """The replacements that the rules use."""

    addresses: Addresses
    names: Names
    texts: Texts


Rule = Callable[[Tools, str], str]

COMMON = vocabulary.LOG | vocabulary.THREADS | NIC_DRIVERS
"""Words that are never private, whatever their meaning."""
# A folder in the tree of devices: a number, a name that a bus makes from numbers, or a short name
# of a driver.
DEVICE = re.compile(
    r"|\.\.?|[a-zA-Z][a-zA-Z_-]{0,23}|[a-zA-Z_-]{0,12}\d{1,5}(?:[a-z]\d{1,3})?"
    r"|(?:[a-zA-Z_-]{0,12}[0-9a-fA-F]{0,8}[:.-]){1,4}[0-9a-fA-F]{1,8}(?:\.[a-z-]{1,16})?"
)
_HEX_ADDRESS = re.compile(r"\b[0-9A-F]{8}(?=:[0-9A-F]{4}\b)")
_ROUTE = re.compile(r"(?m)^(\S+)(\s+)([0-9A-F]{8})(\s+)([0-9A-F]{8})(?=\s)")
_INET6 = re.compile(r"(?m)^([0-9a-f]{32})(.*?)(\S+)[ \t]*$")
_DEV = re.compile(r"(?<=\bdev )\S+")
_BY_MAC = re.compile(r"(?<![A-Za-z0-9])(?:en|wl|ww)x[0-9a-f]{12}(?![0-9a-f])")
# A NIC in another network namespace appears only under this name.
_QUEUE = re.compile(
    rf"(?<![^\s,])(?:(?:{'|'.join(sorted(NIC_DRIVERS))})-)?"
    r"(?P<name>[^\s,]+?)-(?:[TtRr]x|TxRx|rxtx|fp)-?\d+(?![^\s,])"
)
_NAPI = re.compile(r"napi/(.+)-\d+\s*")
_STAT = re.compile(r"(?s)(\d+ \()(.*)(\).*)")
_COUNTED = re.compile(r"(?m)^([ \t]*\w+:[ \t\d]*)(.*)$")
_MOUNT_FLAGS = re.compile(
    r"rw|ro|no(?:suid|dev|exec|atime|diratime)|relatime|strictatime|lazytime|sync|dirsync"
)
_MOUNT_GROUP = re.compile(r"(?:shared|master|propagate_from):\d+|unbindable")
_PLAIN_VALUE = re.compile(r"[-+]?\d{1,12}|0x[0-9a-f]{1,16}|[0-9a-f]{1,16}")
_IRQBALANCE = re.compile(r"IRQBALANCE_[A-Z_]+|OPTIONS|ENABLED|ONESHOT")
_IRQBALANCE_WORD = re.compile(
    r"(?P<name>--[a-z]{1,20}|-[a-z])(?P<value>=?(?:\d{1,5}|exact|subset|ignore))?"
)
_OBJECT_KEYS = frozenset({"protocol", "forward", "scheduler", "state"})


def rule(path: str) -> Rule | None:
    """Return the rule that redacts the file *path*; None if the path itself may be private."""
    return next((rule for pattern, rule in _RULES if pattern.fullmatch(path)), None)


def is_settings(path: str) -> bool:
    """Whether *path* is a settings file whose name an administrator chose.

    Such files apply in the order of their names.
    """
    return bool(_SETTINGS.fullmatch(path))


def interfaces(path: str, text: str) -> Iterator[str]:
    """Yield the names of the interfaces in *text*; the paths of the record may lack some."""
    yield from _BY_MAC.findall(text)
    rows = text.splitlines()
    if path == "/proc/net/dev":
        yield from (row.rpartition(":")[0].strip() for row in rows[2:])
    elif path == "/proc/interrupts":
        yield from (match["name"] for match in _QUEUE.finditer(text))
    elif path.endswith("/comm") and (match := _NAPI.fullmatch(text)):
        yield match[1]
    elif path == commands.IP_ADDR:
        yield from (row.split()[1].partition("@")[0] for row in rows if len(row.split()) > 1)


def modules(path: str, text: str) -> Iterator[str]:
    """Yield the names of the loaded kernel modules, if *path* is /proc/modules."""
    if path == "/proc/modules":
        yield from (row.split()[0] for row in text.splitlines() if row.strip())


def _kept(_: Tools, text: str) -> str:
    return text


def _named(tools: Tools, text: str) -> str:
    return tools.names.text(text)


def _addressed(tools: Tools, text: str) -> str:
    return tools.addresses.text(text)


def _hostname(tools: Tools, text: str) -> str:
    return tools.names.host(text)


def _cpuinfo(_: Tools, text: str) -> str:
    def known(row: str) -> bool:
        words = row.partition(":")[0].lower().split()
        return not words or set(words) <= vocabulary.CPU_ROWS

    return "".join(row for row in text.splitlines(keepends=True) if known(row))


def _cmdline(tools: Tools, text: str) -> str:
    return boot.options(text, tools.names.word, tools.names.common_disk)


def _interrupts(tools: Tools, text: str) -> str:
    return _COUNTED.sub(lambda row: row[1] + tools.names.text(row[2]), text)


def _comm(tools: Tools, text: str) -> str:
    name = text.removesuffix("\n")
    return tools.texts.thread(name) + text[len(name) :]


def _process(tools: Tools, text: str) -> str:
    match = _STAT.fullmatch(text)
    return match[1] + tools.texts.thread(match[2]) + match[3] if match else ""


def _mounts(tools: Tools, text: str) -> str:
    return "".join(_mount(tools, row) for row in text.splitlines())


def _mount(tools: Tools, row: str) -> str:
    left, _, right = row.partition(" - ")
    before, after = left.split(), right.split()
    if len(before) < 6 or len(after) < 2:
        return "-\n"  # the row is malformed
    number, parent, dev, root, target, flags, *groups = before
    options = [flag for flag in flags.split(",") if _MOUNT_FLAGS.fullmatch(flag)]
    cells = (
        *(
            number,
            parent,
            dev,
            _file(tools, root),
            _file(tools, target),
            ",".join(options) or "rw",
        ),
        *(group for group in groups if _MOUNT_GROUP.fullmatch(group)),
        "-",
        after[0] if after[0] in vocabulary.FILESYSTEMS else tools.names.word(after[0]),
        _source(tools, after[1]),
        "rw" if after[2:] and after[2].split(",")[0] == "rw" else "ro",
    )
    return " ".join(cells) + "\n"


def _source(tools: Tools, source: str) -> str:
    if source in vocabulary.FILESYSTEMS:
        return source
    return _file(tools, source) if source.startswith("/") else tools.names.word(source)


def _file(tools: Tools, path: str) -> str:
    """Return *path* with all names replaced, except for folders that every machine has."""
    if path.startswith("/dev/") and path.count("/") == 2:
        return f"/dev/{tools.names.disk(path[5:])}"
    parts = path.split("/")
    return "/".join(p if p in vocabulary.FOLDERS else tools.names.word(p) for p in parts)


def _swaps(tools: Tools, text: str) -> str:
    head, *rows = text.splitlines(keepends=True) or [""]
    return head + "".join(
        re.sub(r"^\S+", lambda match: _source(tools, match[0]), row) for row in rows
    )


def _ip_addr(tools: Tools, text: str) -> str:
    def interface(name: str) -> str:
        own, at, peer = name.partition("@")
        peer = peer if re.fullmatch(r"if\d+|NONE|", peer) else tools.names.interface(peer)
        return tools.names.interface(own) + at + peer

    def word(match: re.Match[str]) -> str:
        bare = match[0].rstrip("\\")
        replaced = tools.addresses.text(bare, tools.names.interface)
        known = bare.lower() in vocabulary.RULES or re.fullmatch(r"\d+(?:sec)?:?", bare)
        if replaced == bare and not known and not _has_address(bare):
            replaced = interface(bare)
        return replaced + match[0][len(bare) :]

    def row(text: str) -> str:
        number, name, *rest = re.split(r"(?<=\s)(?=\S)", text, maxsplit=2)
        bare = name.rstrip()
        return number + interface(bare) + name[len(bare) :] + re.sub(r"\S+", word, "".join(rest))

    rows = text.splitlines(keepends=True)
    return "".join(row(text) if len(text.split()) > 1 else "\n" for text in rows)


def _has_address(word: str) -> bool:
    try:
        ipaddress.ip_interface(word)
    except ValueError:
        return False
    return True


def _ip_vs(tools: Tools, text: str) -> str:
    hidden = _HEX_ADDRESS.sub(lambda m: f"{tools.addresses.v4(int(m[0], 16)):08X}", text)
    return re.sub(r"(?<=\[)[^\]\n]+", lambda m: tools.addresses.text(m[0]), hidden)


def _routes(tools: Tools, text: str) -> str:
    def row(match: re.Match[str]) -> str:
        to, via = (tools.addresses.little(match[at]) for at in (3, 5))
        return f"{tools.names.interface(match[1])}{match[2]}{to}{match[4]}{via}"

    return _ROUTE.sub(row, text)


def _inet6(tools: Tools, text: str) -> str:
    def row(match: re.Match[str]) -> str:
        address = tools.addresses.v6(int(match[1], 16))
        return f"{address:032x}{match[2]}{tools.names.interface(match[3])}"

    return _INET6.sub(row, text)


def _arp(tools: Tools, text: str) -> str:
    head, *rows = text.splitlines(keepends=True) or [""]
    return head + "".join(
        re.sub(r"\S+(?=\s*$)", lambda m: tools.names.interface(m[0]), tools.addresses.text(row))
        for row in rows
    )


def _net_dev(tools: Tools, text: str) -> str:
    def row(row: str) -> str:
        name, colon, rest = row.rpartition(":")
        bare = name.strip()
        return name.replace(bare, tools.names.interface(bare)) + colon + rest if bare else row

    rows = text.splitlines(keepends=True)
    return "".join((*rows[:2], *map(row, rows[2:])))


def _bonds(tools: Tools, text: str) -> str:
    return re.sub(r"\S+", lambda match: tools.names.interface(match[0]), text)


def _qdiscs(tools: Tools, text: str) -> str:
    return _DEV.sub(lambda match: tools.names.interface(match[0]), text)


def _rules(tools: Tools, text: str) -> str:
    return tools.texts.rules(text)


def _log(tools: Tools, text: str) -> str:
    return tools.texts.log(text)


def _value(tools: Tools, text: str) -> str:
    """Return a setting's value with all words replaced, except for numbers and kernel words."""

    def word(match: re.Match[str]) -> str:
        plain = _PLAIN_VALUE.fullmatch(match[0]) or match[0].lower() in vocabulary.VALUES
        return match[0] if plain else tools.names.word(match[0])

    return re.sub(r"[^\s,:;()]+", word, text)


def _sysctl_conf(tools: Tools, text: str) -> str:
    rows = []
    for name, value in parse_sysctl_conf(text).items():
        if _JUDGED.fullmatch(f"/proc/sys/{name}"):
            parts = name.split("/")
            if parts[2:3] == ["conf"]:
                parts[3] = tools.names.interface(parts[3])
            rows.append(f"{'/'.join(parts)} = {_value(tools, value)}\n")
    return "".join(rows)


def _module_list(_: Tools, text: str) -> str:
    rows = (row.split() for row in text.splitlines())
    return "".join(f"{row[0]}\n" for row in rows if row and row[0][0] not in "#;")


def _irqbalance(tools: Tools, text: str) -> str:
    def word(word: str) -> str:
        option = _IRQBALANCE_WORD.fullmatch(word)
        if option or re.fullmatch(r"[0-9a-fA-Fx,-]{1,2048}", word):
            return word
        name, equals, value = word.partition("=")
        known = _IRQBALANCE_WORD.fullmatch(name) and equals
        return f"{name}={tools.names.word(value)}" if known else tools.names.word(word)

    return "".join(
        f'{name}="{" ".join(map(word, value.split()))}"\n'
        for name, value in parse_shell_variables(text).items()
        if _IRQBALANCE.fullmatch(name)
    )


def _profile(tools: Tools, text: str) -> str:
    def word(match: re.Match[str]) -> str:
        known = match[0].lower() in vocabulary.PROFILES or match[0].isdecimal()
        return match[0] if known else tools.names.word(match[0])

    return re.sub(r"[^\s-]+", word, text)


def _ethtool(tools: Tools, text: str) -> str:
    facts = _decoded(text)
    if not isinstance(facts, dict):
        return "-"
    return json.dumps({tools.names.interface(name): card for name, card in facts.items()})


def _ipvs(tools: Tools, text: str) -> str:
    return json.dumps(_object(tools, _decoded(text)))


def _object(tools: Tools, value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _object(tools, below, name) for name, below in value.items()}
    if isinstance(value, list):
        return [_object(tools, below) for below in value]
    if not isinstance(value, str):
        return value
    if key == "interface":
        return tools.names.interface(value)
    if key in {"address", "netmask"}:
        return tools.addresses.text(value)
    return value if key in _OBJECT_KEYS else tools.names.word(value)


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _pattern(shell: str) -> re.Pattern[str]:
    """Return a regular expression for the shell pattern *shell*, in which * matches no slash."""
    return re.compile(fnmatch.translate(shell).replace(".*", "[^/]*"))


_SETTINGS = re.compile(
    r"(?:/etc|/run|/usr/local/lib|/usr/lib)/(?:sysctl\.d|modules-load\.d)/[^/]+\.conf"
)
_JUDGED = re.compile("|".join(_pattern(source).pattern for source in sysctls.SOURCES))
_TEXTS: Mapping[str, Rule] = {
    r"/proc/sys/kernel/hostname": _hostname,
    r"/proc/sys/kernel/(?:osrelease|version)": _named,
    r"/proc/cpuinfo": _cpuinfo,
    r"/proc/cmdline": _cmdline,
    r"/proc/interrupts": _interrupts,
    r"/proc/\d+/comm": _comm,
    r"/proc/\d+/stat": _process,
    r"/proc/self/mountinfo": _mounts,
    r"/proc/swaps": _swaps,
    r"/proc/net/fib_trie": _addressed,
    r"/proc/net/if_inet6": _inet6,
    r"/proc/net/ip_vs": _ip_vs,
    r"/proc/net/route": _routes,
    r"/proc/net/arp": _arp,
    r"/proc/net/dev": _net_dev,
    r"/sys/class/net/bonding_masters": _bonds,
    r"/sys/module/[^/]+/parameters/[^/]+": _value,
    r"(?:/\w+)+/sysctl\.d/[^/]+\.conf|/etc/sysctl\.conf": _sysctl_conf,
    r"/etc/modules|(?:/\w+)+/modules-load\.d/[^/]+\.conf": _module_list,
    r"/etc/(?:default|sysconfig)/irqbalance": _irqbalance,
    r"/etc/tuned/active_profile": _profile,
    re.escape(answers.IPVS): _ipvs,
    re.escape(answers.ETHTOOL): _ethtool,
    r"/cmd/ethtool/[a-zA-Z]/[^/]+": _named,
    re.escape(commands.IP_ADDR): _ip_addr,
    re.escape(commands.DMESG): _log,
    re.escape(commands.QDISC): _qdiscs,
    r"/cmd/(?:nft|iptables|arptables|ip-rule)": _rules,
    # Into these files, the kernel writes only numbers and words of its own.
    r"/proc/(?:stat|softirqs|meminfo|modules|self/limits)": _kept,
    r"/proc/net/(?:ip_vs_stats\w*|snmp|netstat|sockstat|packet|softnet_stat|stat/\w+)": _kept,
    r"/proc/irq/\d+/(?:smp_affinity|effective_affinity)(?:_list)?|/proc/irq/\d+/spurious": _kept,
    r"/proc/sys/(?:fs/(?:file-max|nr_open)|vm/min_free_kbytes)": _kept,
    r"/proc/sys/net/(?:bridge/bridge-nf-call|netfilter/nf_conntrack|ipv4/vs/)[\w-]*": _kept,
    r"/proc/sys/net/core/(?:default_qdisc|dev_weight|flow_limit_cpu_bitmap|somaxconn)": _kept,
    r"/proc/sys/net/core/(?:netdev|rps)_\w+": _kept,
    r"/proc/sys/net/ipv[46]/conf/[^/]+/(?:\w*forwarding|rp_filter|arp_\w+|\w+_redirects)": _kept,
    r"/proc/sys/net/ipv4/(?:ip_(?:early_demux|forward|local_\w+)|tcp_(?:max|tw)_\w+)": _kept,
    r"/proc/sys/net/ipv4/tcp_(?:syncookies|timestamps)": _kept,
    r"/proc/sys/net/ipv[46]/neigh/default/gc_thresh\d": _kept,
    r"/sys/class/net/[^/]+/(?:operstate|carrier_changes|speed|duplex|mtu|type|flags)": _kept,
    r"/sys/class/net/[^/]+/(?:ifindex|threaded|gro_flush_timeout|napi_defer_hard_irqs)": _kept,
    r"/sys/class/net/[^/]+/(?:statistics/\w+|queues/[rt]x-\d+/(?:rps|xps)_\w+)": _kept,
    r"/sys/class/block/[^/]+/dev": _kept,
    r"/sys/bus/pci/devices/[^/]+/(?:class|irq|numa_node|local_cpulist|msi_bus)": _kept,
    r"/sys/bus/pci/devices/[^/]+/(?:(?:current|max)_link_(?:speed|width)|msi_irqs/\d+)": _kept,
    r"/sys/devices/system/(?:cpu|node|clocksource)/.+": _kept,
    r"/sys/kernel/irq/\d+/(?:chip_name|hwirq|name|per_cpu_count|type|wakeup)": _kept,
    # All other files in these folders may hold addresses, serial numbers or words of an
    # administrator.
    r"/proc/(?:irq/\d+|sys/(?:fs|net|vm))/.+|/sys/(?:kernel/irq|bus)/.+": _log,
    r"/sys/class/(?:net|block|input)/.+|/sys/devices/system/.+": _log,
}
_RULES = tuple((re.compile(pattern), rule) for pattern, rule in _TEXTS.items())
rule = lru_cache(1 << 12)(rule)
