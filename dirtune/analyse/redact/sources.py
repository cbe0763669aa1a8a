"""Choose the rule that redacts each file and each command's output of a record.

The text of a file is kept unchanged only if the file is listed here as safe. A new file is
redacted word by word until somebody has checked what the kernel writes there.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.analyse.redact import boot, network, settings_files, vocabulary
from dirtune.analyse.redact.replacements import Replacements, Rule
from dirtune.collect import answers, commands

COMMON = vocabulary.LOG | vocabulary.THREADS | NIC_DRIVERS
"""Words that are never private, whatever their meaning."""
# A folder in the tree of devices: a number, a name that a bus makes from numbers, or a short name
# of a driver.
DEVICE = re.compile(
    r"|\.\.?|[a-zA-Z][a-zA-Z_-]{0,23}|[a-zA-Z_-]{0,12}\d{1,5}(?:[a-z]\d{1,3})?"
    r"|(?:[a-zA-Z_-]{0,12}[0-9a-fA-F]{0,8}[:.-]){1,4}[0-9a-fA-F]{1,8}(?:\.[a-z-]{1,16})?"
)
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


def _kept(_: Replacements, text: str) -> str:
    return text


def _named(replace: Replacements, text: str) -> str:
    return replace.names.text(text)


def _addressed(replace: Replacements, text: str) -> str:
    return replace.addresses.text(text)


def _hostname(replace: Replacements, text: str) -> str:
    return replace.names.host(text)


def _cpuinfo(_: Replacements, text: str) -> str:
    def known(row: str) -> bool:
        words = row.partition(":")[0].lower().split()
        return not words or set(words) <= vocabulary.CPU_ROWS

    return "".join(row for row in text.splitlines(keepends=True) if known(row))


def _cmdline(replace: Replacements, text: str) -> str:
    return boot.options(text, replace.names.word, replace.names.common_disk)


def _interrupts(replace: Replacements, text: str) -> str:
    return _COUNTED.sub(lambda row: row[1] + replace.names.text(row[2]), text)


def _comm(replace: Replacements, text: str) -> str:
    name = text.removesuffix("\n")
    return replace.texts.thread(name) + text[len(name) :]


def _process(replace: Replacements, text: str) -> str:
    match = _STAT.fullmatch(text)
    return match[1] + replace.texts.thread(match[2]) + match[3] if match else ""


def _mounts(replace: Replacements, text: str) -> str:
    return "".join(_mount(replace, row) for row in text.splitlines())


def _mount(replace: Replacements, row: str) -> str:
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
            _file(replace, root),
            _file(replace, target),
            ",".join(options) or "rw",
        ),
        *(group for group in groups if _MOUNT_GROUP.fullmatch(group)),
        "-",
        after[0] if after[0] in vocabulary.FILESYSTEMS else replace.names.word(after[0]),
        _source(replace, after[1]),
        "rw" if after[2:] and after[2].split(",")[0] == "rw" else "ro",
    )
    return " ".join(cells) + "\n"


def _source(replace: Replacements, source: str) -> str:
    if source in vocabulary.FILESYSTEMS:
        return source
    return _file(replace, source) if source.startswith("/") else replace.names.word(source)


def _file(replace: Replacements, path: str) -> str:
    """Return *path* with all names replaced, except for folders that every machine has."""
    if path.startswith("/dev/") and path.count("/") == 2:
        return f"/dev/{replace.names.disk(path[5:])}"
    parts = path.split("/")
    return "/".join(p if p in vocabulary.FOLDERS else replace.names.word(p) for p in parts)


def _swaps(replace: Replacements, text: str) -> str:
    head, *rows = text.splitlines(keepends=True) or [""]
    return head + "".join(
        re.sub(r"^\S+", lambda match: _source(replace, match[0]), row) for row in rows
    )


def _rules(replace: Replacements, text: str) -> str:
    return replace.texts.rules(text)


def _log(replace: Replacements, text: str) -> str:
    return replace.texts.log(text)


_SETTINGS = re.compile(
    r"(?:/etc|/run|/usr/local/lib|/usr/lib)/(?:sysctl\.d|modules-load\.d)/[^/]+\.conf"
)
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
    r"/proc/net/if_inet6": network.inet6,
    r"/proc/net/ip_vs": network.ip_vs,
    r"/proc/net/route": network.routes,
    r"/proc/net/arp": network.arp,
    r"/proc/net/dev": network.net_dev,
    r"/sys/class/net/bonding_masters": network.bonds,
    r"/sys/module/[^/]+/parameters/[^/]+": settings_files.setting_value,
    r"(?:/\w+)+/sysctl\.d/[^/]+\.conf|/etc/sysctl\.conf": settings_files.sysctl_conf,
    r"/etc/modules|(?:/\w+)+/modules-load\.d/[^/]+\.conf": settings_files.module_list,
    r"/etc/(?:default|sysconfig)/irqbalance": settings_files.irqbalance,
    r"/etc/tuned/active_profile": settings_files.profile,
    re.escape(answers.IPVS): network.ipvs,
    re.escape(answers.ETHTOOL): network.ethtool,
    re.escape(answers.KEEPALIVED): network.keepalived,
    re.escape(answers.NETDEV): _kept,  # interfaces are numbers
    r"/cmd/ethtool/[a-zA-Z]/[^/]+": _named,
    re.escape(commands.IP_ADDR): network.ip_addr,
    re.escape(commands.DMESG): _log,
    re.escape(commands.QDISC): network.qdiscs,
    r"/cmd/(?:nft|iptables|arptables|ip-rule)": _rules,
    # Into these files, the kernel writes only numbers and words of its own.
    r"/proc/(?:stat|softirqs|meminfo|modules|self/limits)": _kept,
    r"/proc/net/(?:ip_vs_stat\w*|snmp|netstat|sockstat|packet|softnet_stat|stat/\w+)": _kept,
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
