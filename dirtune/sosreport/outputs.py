"""Find the output of a command in a report, by the file names that sos and insights give it.

sos mangles a command into a file name (sos/report/plugins/__init__.py, _mangle_command()): blanks
become `_`, and slashes become dots. The folder is the plugin, which has changed over the years, so
any folder is searched. insights-client puts all outputs into one folder. `must_gather` is the name
that dirtune gives to the folder of a node in a must-gather.
"""

import re
from pathlib import Path

from dirtune import reading
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal

SYSINFO = "sysinfo.tgz"
"""The file of a node in a must-gather that holds its files of /proc and /sys."""
FOLDERS = ("/sos_commands/*", "/insights_commands", "/must_gather")
_MANGLED = re.compile(r"[^\w.-]+")
_FAILED = re.compile(
    r"(?:\S+: )?(?:.*: (?:command not found|No such file or directory|Operation not permitted|"
    r"Permission denied)|timeout: .*|Error: .*|Can't initialize .*|Cannot .*|netlink error: .*)"
)


def output(host: Host, *names: str) -> str | None:
    """Return the first of the outputs *names* that the report has, such as `ip_-o_addr`.

    Returns None if the report has none of them, or if the commands printed only an error.
    """
    for name in names:
        for path in paths(host, literal(name)):
            text = _text(host, path)
            if text is not None:
                return text
    return None


def per_interface(host: Host, option: str) -> dict[str, str]:
    """Return the outputs of `ethtool OPTION` by the mangled name of the interface."""
    found = {}
    for path in paths(host, f"ethtool_{option}_*"):
        text = _text(host, path)
        if text is not None:
            found[path.rsplit(f"/ethtool_{option}_", 1)[1]] = text
    return found


def mangled(name: str) -> str:
    """Return the form that the name of an interface has in the name of a file."""
    return _MANGLED.sub("_", name).strip(" ._-")


def paths(host: Host, name: str) -> list[str]:
    """Return the paths of the outputs whose file names match the pattern *name*."""
    return [path for folder in FOLDERS for path in host.glob(f"{folder}/{name}")]


def _text(host: Host, path: str) -> str | None:
    try:
        text = host.read(path)
    except (SourceMissing, SourceRefused):
        return None
    rows = [row for row in text[:4096].splitlines() if row.strip()]
    # sos keeps standard error beside the output; a failed command prints one or two such rows.
    return None if not rows or (len(rows) < 3 and all(map(_FAILED.fullmatch, rows))) else text


def is_node(folder: Path) -> bool:
    """Whether *folder* is the folder of a node in a must-gather."""
    return reading.is_file(folder / SYSINFO)


def is_report(host: Host) -> bool:
    """Whether *host* is the tree of a report, which has folders of commands' outputs."""
    return any(host.glob(folder) for folder in FOLDERS)


def is_sosreport(host: Host) -> bool:
    """Whether *host* is the tree of a report of sos."""
    return bool(host.glob(FOLDERS[0]))
