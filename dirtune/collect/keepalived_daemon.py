"""The keepalived that runs in this network namespace: its main process and its options.

Sources are /proc/PID/stat, status, exe, mountinfo, cmdline, cgroup and ns/net of this machine.
keepalived's options are those of keepalived(8) 2.2.7; no option of keepalived takes a password.

Any user can name a program keepalived, or start a program of root through a link of that name. The
root of a container can do both as root. So a process counts only if root has started it from a
file named keepalived in this machine's own root file system.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dirtune.collect.files import link_of, text_in
from dirtune.collect.processes import parse_process
from dirtune.errors import NotPossible, ParseError
from dirtune.host import Host

_NAME = re.compile(r"keepalived(_\w+)?")
# keepalived can be configured to name its children keepalived_vrrp and the like.
_VALUES = frozenset("fprcbiusSAT")
"""Short options that have a value, which may be the next word."""
_LONG = {"--use-file": "f", "--config-id": "i", "--vrrp": "P", "--config-test": "t"}
_LONG_VALUES = frozenset(
    {
        *("--use-file", "--log-facility", "--umask", "--pid", "--vrrp_pid", "--checkers_pid"),
        *("--bfd_pid", "--snmp-agent-socket", "--namespace", "--config-id", "--signum"),
    }
)
_UNIT = re.compile(r"/([\w@:.-]+\.service)$", re.MULTILINE)
_ROOT = re.compile(r"^Uid:\t0\t0\t", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Daemon:
    """The main process of keepalived."""

    pid: int
    started: str
    """Start of the process in clock ticks since boot, which tells it from a later process."""
    program: str
    """Path of the program."""
    unit: str = ""
    """The systemd service of the process; empty if there is none."""
    conf: str | None = None
    """The file of option -f; None is the default file."""
    config_id: str | None = None
    """The name that lines with @ are for; None is the host's name."""
    only_vrrp: bool = False
    """Whether keepalived leaves IPVS alone (option -P)."""


def find(host: Host) -> Daemon:
    """Return the keepalived of this network namespace that root has started.

    Raises `NotPossible` if none runs, or more than one.
    """
    daemon = running(host)
    if daemon is None:
        raise NotPossible("keepalived is not running in this network namespace. Start it")
    return daemon


def running(host: Host) -> Daemon | None:
    """Return the keepalived of this network namespace that root has started; None if none runs.

    Raises `NotPossible` if more than one runs.
    """
    daemons = list(_daemons(host))
    if len(daemons) > 1:
        pids = " and ".join(str(daemon.pid) for daemon in daemons)
        raise NotPossible(f"More than one keepalived runs here: processes {pids}. End one of them")
    return daemons[0] if daemons else None


def is_keepalived(host: Host, pid: int) -> bool:
    """Return whether *pid*, the id of a process named keepalived, is a keepalived that counts."""
    return (
        _ROOT.search(text_in(host, f"/proc/{pid}/status") or "") is not None
        and link_of(host, f"/proc/{pid}/ns/net") == link_of(host, "/proc/self/ns/net")
        and _NAME.fullmatch(_program(host, pid).rpartition("/")[2]) is not None
        and _root(host, pid) == _root(host, "self")
    )


def _daemons(host: Host) -> Iterator[Daemon]:
    known = dict(_processes(host))
    for pid, (parent, start) in known.items():
        if parent in known:
            continue
        words = (text_in(host, f"/proc/{pid}/cmdline") or "").rstrip("\0").split("\0")[1:]
        options = parse_options(words)
        if "t" in options:
            continue  # it tests a configuration, and ends
        unit = _UNIT.search(text_in(host, f"/proc/{pid}/cgroup") or "")
        yield Daemon(
            pid,
            start,
            _program(host, pid),
            unit[1] if unit else "",
            options.get("f"),
            options.get("i"),
            "P" in options,
        )


def started(host: Host, pid: int) -> str | None:
    """Return when process *pid* started, in clock ticks since boot; None if it has ended."""
    text = text_in(host, f"/proc/{pid}/stat")
    cells = text.rpartition(")")[2].split() if text else []
    if len(cells) < 20 or cells[0] in {"Z", "X"}:
        return None
    return cells[19]


def parse_options(words: Sequence[str]) -> dict[str, str]:
    """Return the options in the *words* of keepalived's command line by their short names."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in _LONG_VALUES and not equals:
                value = next(rest, "")
            if name in _LONG:
                options[_LONG[name]] = value
        elif word.startswith("-"):
            for at, letter in enumerate(word[1:], 2):
                if letter in _VALUES:
                    options[letter] = word[at:] or next(rest, "")
                    break
                options[letter] = ""
                if letter == "t":
                    break  # the rest of the word is the name of a log file
    return options


def _processes(host: Host) -> Iterator[tuple[int, tuple[int, str]]]:
    """Yield the id of each process of keepalived, its parent's id and its start."""
    for path in host.glob("/proc/[0-9]*/stat"):
        text = text_in(host, path)
        try:
            process = parse_process(text) if text else None
        except ParseError:
            continue
        if not process or not text or not _NAME.fullmatch(process.name):
            continue
        if is_keepalived(host, process.pid):
            cells = text.rpartition(")")[2].split()
            yield process.pid, (int(cells[1]), cells[19])


def _program(host: Host, pid: int) -> str:
    return link_of(host, f"/proc/{pid}/exe").removesuffix(" (deleted)")


def _root(host: Host, pid: int | str) -> tuple[str, str] | None:
    """Return the device and the folder that are the root of a process; None if it has none."""
    roots = [
        (cells[2], cells[3])
        for row in (text_in(host, f"/proc/{pid}/mountinfo") or "").split("\n")
        if len(cells := row.split(" ", 5)) > 5 and cells[4] == "/"
    ]
    return roots[-1] if roots else None
