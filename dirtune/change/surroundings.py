"""Collect the facts about a host that fixes need but a snapshot lacks."""

import ipaddress
import os
import shutil
from collections.abc import Iterator, Mapping

from dirtune.change.boot_files import FILES
from dirtune.change.fixes import Fix, Request, Surroundings, all_fixes
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal
from dirtune.settings import KernelFile

_SSH = "SSH_CONNECTION"


def look_around(
    host: Host, fixes: tuple[Fix, ...] = (), requests: tuple[Request, ...] = (), *, live: bool
) -> Surroundings:
    """Read the facts that *fixes* and the fixes in *requests* need.

    *live* means that *host* is this machine.
    """
    kinds = (*fixes, *(fix for fix in all_fixes() if not fix.checks))
    settings = (setting for request in requests for setting in request.fix.settings)
    texts = {literal(setting.path) for setting in settings if isinstance(setting, KernelFile)}
    texts |= {*FILES, *(pattern for fix in kinds for pattern in fix.reads)}
    paths = {pattern for fix in kinds for pattern in fix.looks}
    commands = {name for fix in kinds for name in fix.commands}
    return Surroundings(
        dict(_texts(host, texts)),
        frozenset(path for pattern in paths for path in host.glob(pattern)),
        frozenset(name for name in commands if _has(host, name, live=live)),
        ssh_connection(host) if live else None,
    )


def ssh_connection(host: Host, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the session's SSH_CONNECTION, if necessary from a parent process: sudo removes it."""
    if _SSH in environ:
        return _as_sshd_says(environ[_SSH])
    pid = os.getppid()
    while pid > 1:
        try:
            rows = host.read(f"/proc/{pid}/environ").split("\0")
            parent = host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1]
        except (SourceMissing, SourceRefused):
            return None
        row = next((row for row in rows if row.startswith(f"{_SSH}=")), None)
        if row:
            return _as_sshd_says(row.partition("=")[2])
        pid = int(parent)
    return None


def _as_sshd_says(text: str) -> str | None:
    """Return *text* if it has two addresses with ports, as sshd writes them, else None.

    Users can set SSH_CONNECTION to any text.
    """
    words = text.split()
    try:
        for address in words[::2]:
            ipaddress.ip_address(address)
    except ValueError:
        return None
    return text if len(words) == 4 else None


def _texts(host: Host, patterns: set[str]) -> Iterator[tuple[str, str]]:
    for path in sorted({path for pattern in patterns for path in host.glob(pattern)}):
        try:
            yield path, host.read(path)
        except (SourceMissing, SourceRefused):
            continue


def _has(host: Host, name: str, *, live: bool) -> bool:
    if live:
        return shutil.which(name) is not None
    # A recorded host has no PATH.
    return any(host.glob(f"{place}/{name}") for place in ("/usr/sbin", "/sbin", "/usr/bin"))
