"""Compare the network namespace of a journal's changes with that of this process.

A reboot removes every network namespace except the main one, in which process 1 runs. The kernel
gives the same numbers again after a reboot, so a number means nothing then.
"""

from enum import Enum, auto

from msgspec import UNSET

from dirtune.change import network
from dirtune.change.record import Entry, Planned


class Origin(Enum):
    """The network namespace of a journal's changes, as this process sees it."""

    HERE = auto()
    """The namespace is that of this process, or is unknown."""
    ELSEWHERE = auto()
    """The namespace exists, and this process is in another one."""
    GONE = auto()
    """The namespace was removed, and the changes in it with it."""


def of(planned: Planned, boot: str) -> Origin:
    """Return the origin of the changes in *planned*; *boot* is the kernel's boot_id of now."""
    if planned.boot == boot:
        if network.is_elsewhere(planned.network):
            return Origin.ELSEWHERE
        return Origin.HERE if network.is_here(planned.network) else Origin.GONE
    if planned.main_network is UNSET:
        return Origin.HERE
    if not planned.main_network:
        return Origin.GONE
    return Origin.ELSEWHERE if network.is_main() is False else Origin.HERE


def elsewhere(planned: Planned, boot: str) -> str:
    """Return a sentence about changes that can only be checked or undone in another namespace."""
    name = planned.journal
    if planned.boot != boot:
        return (
            f"{name} was made in the network namespace of process 1. "
            "Run this command there: nsenter --target 1 --net dirtune ..."
        )
    return (
        f"{name} was made in another network namespace, {planned.network}. "
        "Run this command there: ip netns exec NAME dirtune ..."
    )


def lost(entry: Entry, boot: str) -> tuple[str, ...]:
    """Return the titles of changes that are gone because their network namespace was removed."""
    if of(entry.planned, boot) is not Origin.GONE:
        return ()
    return tuple(change.title for change in entry.made if change.action.in_network)


def gone(entry: Entry) -> str:
    """Return a sentence about changes whose network namespace was removed."""
    return (
        f"{entry.planned.journal} was made in a network namespace that is gone, and its changes "
        "there are gone with it."
    )
