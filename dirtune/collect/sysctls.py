"""/proc/sys: the kernel settings that the audit checks.

Format: one setting per file, several numbers separated by tabs (kernel/sysctl.c). A setting that
the kernel lacks is absent: net/ipv4/vs exists only while ip_vs is loaded, net/netfilter only while
nf_conntrack is loaded. Settings below `net` are those of the reading process's network namespace.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.collect.files import whole_numbers
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

_ROOT = "/proc/sys/"
_CONF = (
    "{rp_filter,arp_ignore,arp_announce,send_redirects,accept_redirects,forwarding,accept_local}"
)
_NAMES = (
    "fs/{file-max,nr_open}",
    "net/bridge/bridge-nf-call-iptables",
    "net/core/{default_qdisc,dev_weight,flow_limit_cpu_bitmap,netdev_budget}",
    "net/core/{netdev_budget_usecs,netdev_max_backlog,netdev_tstamp_prequeue}",
    "net/core/{rps_default_mask,rps_sock_flow_entries,somaxconn}",
    f"net/ipv4/conf/*/{_CONF}",
    "net/ipv6/conf/*/forwarding",
    "net/ipv4/{ip_early_demux,ip_forward,ip_local_port_range,ip_local_reserved_ports}",
    "net/ipv4/{tcp_max_syn_backlog,tcp_max_tw_buckets,tcp_syncookies,tcp_timestamps}",
    "net/ipv4/{tcp_tw_recycle,tcp_tw_reuse}",
    "net/ipv4/neigh/default/{gc_thresh1,gc_thresh2,gc_thresh3}",
    "net/ipv6/neigh/default/{gc_thresh1,gc_thresh2,gc_thresh3}",
    "net/ipv4/vs/*",
    "net/netfilter/{nf_conntrack_buckets,nf_conntrack_count,nf_conntrack_max}",
    "net/netfilter/nf_conntrack_tcp_timeout_*",
    "vm/min_free_kbytes",
)
_BRACES = re.compile(r"\{(?P<names>[^}]*)\}")


def _patterns() -> Iterator[str]:
    for name in _NAMES:
        found = _BRACES.search(name)
        for each in found["names"].split(",") if found else ("",):
            yield _ROOT + (_BRACES.sub(each, name) if found else name)


SOURCES = tuple(_patterns())


@dataclass(frozen=True, slots=True)
class Sysctls:
    """Settings by their paths below /proc/sys, such as `net/ipv4/ip_forward`.

    Dotted names would be ambiguous, because the name of an interface may contain a dot.
    """

    values: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Return a setting as the kernel prints it; None if this kernel lacks the setting."""
        return self.values.get(name)

    def number(self, name: str) -> int | None:
        """Return a setting that is one number; None if it is absent or not one number."""
        value = self.values.get(name, "")
        return int(value) if re.fullmatch(r"-?\d{1,20}", value) else None

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers of a setting; empty if the setting is absent."""
        return whole_numbers(self.values.get(name, ""))

    def conf(self, interface: str, name: str) -> int | None:
        """Return the setting net/ipv4/conf/INTERFACE/NAME; None if it is absent."""
        return self.number(f"net/ipv4/conf/{interface}/{name}")

    def effective(self, interface: str, name: str) -> int | None:
        """Return the greater of the interface's setting and the setting for `all`.

        The greater one is in effect for rp_filter, arp_ignore and arp_announce
        (Documentation/networking/ip-sysctl.rst). Returns None if either is unknown.
        """
        mine, everyone = self.conf(interface, name), self.conf("all", name)
        return None if mine is None or everyone is None else max(mine, everyone)


def read_sysctls(host: Host) -> Sysctls:
    """Read the settings; a setting that may not be read is left out."""
    values = {}
    for path in dict.fromkeys(path for pattern in SOURCES for path in host.glob(pattern)):
        try:
            values[path.removeprefix(_ROOT)] = host.read(path).strip()
        except (SourceMissing, SourceRefused):
            continue
    if not values:
        raise SourceMissing("/proc/sys has none of the settings that an audit reads")
    return Sysctls(values)


def dotted(name: str) -> str:
    """Return the name of a setting as sysctl(8) spells it."""
    # sysctl(8) writes a dot inside a part (eth0.100) as a slash.
    return ".".join(part.replace(".", "/") for part in name.split("/"))
