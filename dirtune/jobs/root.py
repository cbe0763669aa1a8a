"""Refuse to begin a command that needs root if this process is not root."""

import os

from dirtune.errors import NotPossible


def require_root(command: str) -> None:
    """Raise `NotPossible` if this process is not root."""
    if os.geteuid() != 0:
        raise NotPossible(f"{command} needs root. Run it with sudo.")
