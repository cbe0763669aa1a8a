"""Refuse to begin a command that needs root if this process is not root."""

import os
import re

from dirtune.errors import NotPossible

_UID = re.compile(r"[0-9]{1,10}")


def callers() -> frozenset[int]:
    """Return root, the user of this process, and the user who called sudo(8) or pkexec(1)."""
    named = (os.environ.get(name, "") for name in ("SUDO_UID", "PKEXEC_UID"))
    return frozenset({0, os.geteuid(), *(int(uid) for uid in named if _UID.fullmatch(uid))})


def require_root(command: str) -> None:
    """Raise `NotPossible` if this process is not root."""
    if os.geteuid() != 0:
        raise NotPossible(f"{command} needs root. Run it with sudo.")
