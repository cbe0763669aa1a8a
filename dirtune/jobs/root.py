"""Refuse a command that needs root before it does anything."""

import os

from dirtune.errors import NotPossible


def require_root(command: str) -> None:
    """Raise `NotPossible` if this process is not root."""
    if os.geteuid() != 0:
        raise NotPossible(f"{command} needs root. Run it with sudo.")
