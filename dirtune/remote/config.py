"""Write the ssh_config of one connection: forced settings, then the operator's own.

ssh(1) uses the first value that it reads for a setting, and passes `-F` on to the ssh of a jump
host. So the settings in `FORCED` apply to the target and to all jump hosts; everything else
(aliases, users, keys, jump hosts, sockets of open connections) comes from the operator's file.
"""

import os
import re
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TextIO

from dirtune import locking, reading
from dirtune.errors import NodeUnreachable, PlanError
from dirtune.remote import system_config

CONNECT_S = 20
"""Seconds that each host on the way, such as a jump host, may take to answer."""
# A peer that vanished silently is given up after three unanswered probes.
FORCED = f"""\
# dirtune's configuration of one connection.
# ssh asks nothing, and dirtune enters no password.
BatchMode yes
PasswordAuthentication no
KbdInteractiveAuthentication no
# If the host key is not in known_hosts, the connection fails.
StrictHostKeyChecking yes
NoHostAuthenticationForLocalhost no
VerifyHostKeyDNS no
UpdateHostKeys no
# The far host gets no agent, ticket, display or tunnel.
ForwardAgent no
GSSAPIDelegateCredentials no
ForwardX11 no
Tunnel no
ClearAllForwardings yes
AddKeysToAgent no
# ssh runs dirtune's command and nothing else, on both hosts.
PermitLocalCommand no
RemoteCommand none
RequestTTY no
# ssh uses an open connection of the operator, and leaves none open.
ControlMaster no
ControlPersist no
ConnectTimeout {CONNECT_S}
ConnectionAttempts 1
ServerAliveInterval 3
ServerAliveCountMax 3
LogLevel INFO
"""
SESSION = """\
# A session runs dirtune's command with dirtune's input, and ssh stays until it ends.
SessionType default
StdinNull no
ForkAfterAuthentication no
"""
"""Forced settings that OpenSSH before 8.7 does not know and would refuse."""
_MARK = FORCED.encode().partition(b"\n")[0]
_PREFIX = "dirtune-"
_CONFIG = "config"
_COPY = "operator"
# A socket has a name of its own until it listens: s.1FVg... .
_SYSTEM = "system"
_OURS = re.compile(rf"{_CONFIG}|{_COPY}|{_SYSTEM}\d+|s(\.\w+)?", re.ASCII)
_YOUNG_S = 60
"""A folder younger than this may belong to a process that has not locked it yet."""
_OPERATORS = "Include ~/.ssh/config\nHost *\nInclude {}\n"
# ssh expands tokens in a socket's path, and a socket's path has 107 bytes.
_PLAIN = re.compile(r"[\w/.-]{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Way:
    """The ssh command for one host, and the private folder that holds its configuration."""

    folder: "tempfile.TemporaryDirectory[str]"
    lock: TextIO
    """The configuration file, which stays locked while this process runs."""
    user: str
    name: str
    copies: Mapping[str, Path]
    """The file of which each file in the folder is a copy, by the name of the copy."""

    @property
    def socket(self) -> Path:
        """The path of the connection's own socket."""
        return Path(self.folder.name) / "s"

    def argv(self, *options: str) -> tuple[str, ...]:
        """Return the ssh command up to and including the host."""
        user = ("-l", self.user) if self.user else ()
        return ("ssh", "-F", f"{self.folder.name}/{_CONFIG}", *user, *options, "--", self.name)

    def with_operators_path(self, text: str) -> str:
        """Return *text*, in which ssh may name a copy, with the path of the original file."""
        for copy in sorted(self.copies, key=len, reverse=True):  # system10 before system1
            text = text.replace(f"{self.folder.name}/{copy}", str(self.copies[copy]))
        return text

    def close(self) -> None:
        """Remove the folder."""
        self.folder.cleanup()
        self.lock.close()


def way(host: str, ssh_config: Path | None, session: str, first: str = "") -> Way:
    """Write the configuration for *host* into a folder that only this user can read.

    *first* holds settings that come before those of the operator's file.

    *session* is `SESSION`, or empty if the installed ssh does not know the settings in `SESSION`.
    Raises `PlanError` if *ssh_config* cannot be read.
    """
    text, mode = _read(ssh_config) if ssh_config else (b"", 0)
    remove_abandoned()
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    if not _PLAIN.fullmatch(folder.name):
        folder.cleanup()
        raise NodeUnreachable(
            f"ssh cannot create its socket in {tempfile.gettempdir()}, because the path is too "
            "long or has unusual characters. Set TMPDIR=/tmp"
        )
    copies: dict[str, Path] = {}

    def keep(original: Path, changed: str) -> Path:
        name = f"{_SYSTEM}{len(copies)}"
        copies[name] = original
        copy = Path(folder.name, name)
        copy.write_bytes(os.fsencode(changed))
        copy.chmod(0o600)
        return copy

    if ssh_config is None:
        system = system_config.readable(system_config.FOLDER / "ssh_config", keep)
        theirs = _OPERATORS.format(system)
    else:
        copies[_COPY] = ssh_config
        copy = Path(folder.name, _COPY)
        copy.write_bytes(text)
        copy.chmod(mode)
        theirs = f"Include {folder.name}/{_COPY}\n"
    lock = Path(folder.name, _CONFIG).open("w", encoding="utf-8")  # noqa: SIM115  (the way's)
    locking.take(lock)
    lock.write(f"{FORCED}{session}{first}{theirs}")
    lock.flush()
    user, _, name = host.rpartition("@")
    return Way(folder, lock, user, name, copies)


def _read(ssh_config: Path) -> tuple[bytes, int]:
    """Return the text of the operator's file and the permission bits that its copy needs.

    `ssh -F` reads a file of any owner, but an Include reads only one of this user or of root, so
    the file is copied. If every user can write to the file, the copy gets the same permission, so
    that ssh refuses the copy as it would refuse the file. Raises `PlanError` if the file cannot be
    read.
    """
    try:
        mode = ssh_config.stat().st_mode
        return reading.read_bytes(ssh_config), 0o600 | mode & stat.S_IWOTH
    except OSError as error:
        raise PlanError(
            f"Cannot read the ssh_config file {ssh_config}: {error.strerror}."
        ) from error


@cache
def remove_abandoned() -> None:
    """Remove the folders that killed processes left. Only the first call does anything.

    A folder is removed only if it belongs to this user, if it contains a configuration by dirtune
    and otherwise only files that ssh creates, and if nobody holds the lock on the configuration.
    The kernel releases the lock when the process that made the folder ends.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # A problem with an old folder must not prevent the connection.
        with suppress(OSError):
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status, names = os.fstat(opened), os.listdir(opened)  # noqa: PTH208
        young = time.time() - status.st_mtime < _YOUNG_S
        if young or status.st_uid != os.geteuid() or not all(map(_OURS.fullmatch, names)):
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(_CONFIG, flags, dir_fd=opened), "rb") as config:  # noqa: PTH123  (by its folder's descriptor)
            if config.read(len(_MARK)) != _MARK or not locking.take(config):
                return
        # The configuration goes last: without it, the folder would never be removed.
        for name in sorted(names, key=lambda name: name == _CONFIG):
            os.unlink(name, dir_fd=opened)
        folder.rmdir()
    finally:
        os.close(opened)


def chosen(given: Path | None) -> Path | None:
    """Return the ssh_config to use; None for ssh's default.

    Raises `PlanError` if the file does not exist.
    """
    named = os.environ.get("DIRTUNE_SSH_CONFIG")
    path = given or (Path(named) if named else None)
    if path is not None and not path.is_file():
        raise PlanError(f"{path}: The ssh_config file does not exist.")
    return path


def environment() -> dict[str, str]:
    """Return the environment for ssh, without the variables that let ssh open a dialogue."""
    asks = {"SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY"}
    kept = {name: value for name, value in os.environ.items() if name not in asks}
    return kept | {"SSH_ASKPASS_REQUIRE": "never"}
