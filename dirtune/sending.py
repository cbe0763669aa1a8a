"""The options of a command that say whether dirtune may be sent to a host that lacks it."""

from collections.abc import Callable
from dataclasses import dataclass


def _silent(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How dirtune gets a dirtune of its version on another host."""

    send: bool = True
    """Whether it may send the one file."""
    kept: bool = True
    """Whether it may use a file that an earlier command sent and kept there."""
    keep: bool = False
    """Whether the file stays there for later commands."""
    say: Callable[[str], None] = _silent
    """The function that tells the user, in one line, that a file is being sent."""


class _Chosen:
    sending = Sending()


def choose(sending: Sending) -> None:
    """Use *sending* for every host from now on."""
    _Chosen.sending = sending


def chosen() -> Sending:
    """Return the choice for this process."""
    return _Chosen.sending
