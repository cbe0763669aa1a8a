"""The kernel's release, settings, modules and log from uname(1), sysctl(8), lsmod(8), dmesg(1)."""

import re
from collections.abc import Iterator

from dirtune.collect.commands import DMESG
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host
from dirtune.sosreport.outputs import output

_UNAME = re.compile(
    r"Linux (?P<hostname>\S{1,64}) (?P<osrelease>\S{1,64}) (?P<version>#.{1,200}?)"
    r"(?: (?:x86_64|i\d86|aarch64|arm\w+|ppc64\w*|s390x|riscv64|loong\w+|mips\w*|unknown)){1,3}"
    r" (?:GNU/)?Linux\s*"
)
_SYSCTL = re.compile(r"(?P<name>[\w./@:-]{1,200}) = (?P<value>.*)")
_LSMOD = re.compile(r"(?P<name>\w{1,64})\s+(?P<size>\d+)\s+(?P<used>\d+)(?: (?P<by>[\w,]*))?\s*")
_JOURNAL = re.compile(r"\w{3} [ \d]\d \S{8}(?:\.\d+)? \S+ kernel: (?P<text>.*)")


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of files in /proc/sys, of /proc/modules and of the kernel's log."""
    yield from _sysctls(output(host, "sysctl_-a") or "")
    uname = _UNAME.match(output(host, "uname_-a", "uname") or "")
    for name, value in uname.groupdict().items() if uname else ():
        yield f"/proc/sys/kernel/{name}", value
    rows = [_LSMOD.fullmatch(row) for row in (output(host, "lsmod") or "").splitlines()]
    modules = [f"{row['name']} {row['size']} {row['used']} - Live\n" for row in rows if row]
    if modules:
        yield "/proc/modules", "".join(modules)
    log = _log(host)
    if log:
        yield DMESG, log


def _sysctls(text: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files in /proc/sys.

    sysctl(8) writes a dot inside a part of a name as a slash: `net.ipv4.conf.eth0/100.rp_filter`.
    """
    for row in text.splitlines():
        found = _SYSCTL.fullmatch(row)
        if found:
            parts = [part.replace("/", ".") for part in found["name"].split(".")]
            if not {"", ".", ".."} & set(parts):
                yield f"/proc/sys/{'/'.join(parts)}", found["value"]


def _log(host: Host) -> str | None:
    text = output(host, "dmesg", "dmesg_-T")
    if text is not None and not text.startswith("dmesg:"):
        return text
    for name in ("journalctl_--no-pager_--boot", "journalctl_--no-pager_--catalog_--boot"):
        rows = map(_JOURNAL.fullmatch, (output(host, name) or "").splitlines())
        kernel = [row["text"] for row in rows if row]
        if kernel:
            return "\n".join(kernel)
    try:
        return host.read("/var/log/dmesg")
    except (SourceMissing, SourceRefused):
        return None
