"""Refuse a command that needs root at once if this process is not root."""

import os

from dirtune.errors import NotPossible


def require_root(command: str) -> None:
    """Raise `NotPossible` unless this process may change the host."""
    if os.geteuid() != 0:
        raise NotPossible(f"{command} needs root. Run it with sudo.")
