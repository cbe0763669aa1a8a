"""Files that set sysctls and load modules at boot, and files of programs that change them later.

sysctl.d(5): /etc, /run, /usr/local/lib and /usr/lib each have a folder sysctl.d. A file hides
files of the same name in the folders that come later in this order. The remaining files are read
in the order of their names, then /etc/sysctl.conf; the last setting wins.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.collect.files import text_in
from dirtune.errors import SourceMissing
from dirtune.host import Host

# In the order of precedence of sysctl.d(5).
_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
_LAST = "/etc/sysctl.conf"
_MODULES_LOAD = ("/etc/modules", "/etc/modules-load.d/*.conf", "/usr/lib/modules-load.d/*.conf")
IRQBALANCE = ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance")
_TUNED = "/etc/tuned/active_profile"
SOURCES = (
    *(f"{folder}/*.conf" for folder in _FOLDERS),
    _LAST,
    *_MODULES_LOAD,
    *IRQBALANCE,
    _TUNED,
)
_SHELL = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Z_]+)=(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class SettingsFiles:
    """The settings that files make at boot, or that programs make later."""

    sysctls: Mapping[str, tuple[str, str]]
    """Value and file by the path below /proc/sys; names that contain a * are left out."""
    modules: frozenset[str]
    """Names of modules that are loaded at boot."""
    irqbalance: Mapping[str, str]
    """Environment variables that the files set for irqbalance."""
    tuned: str | None
    """The active profile of tuned; None if no profile is active."""


def read_settings_files(host: Host) -> SettingsFiles:
    """Read the settings files. Raises `SourceMissing` if the record has none of them."""
    if not any(host.glob(pattern) for pattern in SOURCES):
        raise SourceMissing("the record contains no settings file, such as those in /etc/sysctl.d")
    sysctls: dict[str, tuple[str, str]] = {}
    for path in _in_order(host):
        text = text_in(host, path) or ""
        sysctls |= {name: (value, path) for name, value in parse_sysctl_conf(text).items()}
    loads = (p for pattern in _MODULES_LOAD for p in host.glob(pattern))
    modules = {row.split()[0] for path in loads for row in _rows(text_in(host, path) or "")}
    balance: dict[str, str] = {}
    for path in IRQBALANCE:
        balance |= parse_shell_variables(text_in(host, path) or "")
    return SettingsFiles(sysctls, frozenset(modules), balance, text_in(host, _TUNED) or None)


def parse_sysctl_conf(text: str) -> Mapping[str, str]:
    """Return the values that the text of a sysctl.d file sets, by the path below /proc/sys."""
    found = {}
    for row in _rows(text):
        name, equals, value = row.removeprefix("-").partition("=")
        if equals and "*" not in name:
            found[_slashed(name.strip())] = value.strip()
    return found


def parse_shell_variables(text: str) -> Mapping[str, str]:
    """Return the variables that a *text* of NAME="value" rows sets."""
    rows = (_SHELL.fullmatch(row) for row in _rows(text))
    return {row["name"]: row["value"].strip().strip("\"'") for row in rows if row}


def _slashed(name: str) -> str:
    """Return the sysctl *name* with slashes, whether its separators are dots or slashes."""
    first = re.search(r"[./]", name)
    if first and first[0] == ".":
        return name.translate(str.maketrans("./", "/."))
    return name


def _in_order(host: Host) -> Iterator[str]:
    chosen: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in host.glob(f"{folder}/*.conf"):
            chosen.setdefault(path.rsplit("/", 1)[1], path)
    yield from (chosen[name] for name in sorted(chosen))
    yield _LAST


def _rows(text: str) -> Iterator[str]:
    rows = (row.strip() for row in text.splitlines())
    return (row for row in rows if row and row[0] not in "#;")
