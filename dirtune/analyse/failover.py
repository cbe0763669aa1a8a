"""Work out what a fail-over cost the clients: lost connections, and seconds without an answer.

Pure. All times are in seconds since the load began, by the controller's clock.
"""

from collections.abc import Iterable
from itertools import pairwise

import msgspec


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a fail-over, as the clients of a steady load saw it."""

    schema: str = "dirtune/failover/1"
    offered_rate: float
    """Connections/s that the clients started, summed over all clients."""
    seconds: float
    """Length of the load."""
    timeout_s: float
    """Seconds after which a client gave a connection up."""
    command: str
    """The command that made the director fail."""
    command_s: float
    """The moment at which the command was started."""
    intended: int
    """Connections that the clients should have started."""
    attempted: int | None
    """Connections that the clients started; None if a client's report is missing."""
    replied: int
    """Connections that were answered."""
    failed: dict[str, int]
    """Lost connections by kind of failure, over the entire load."""
    silence_s: float | None
    """Longest time without an answer that ended after the command had started; None if nothing was
    answered."""
    silence_at_s: float | None = None
    """The moment at which this time began."""
    usual_silence_s: float | None = None
    """Longest time without an answer before the command was started; None with too few answers.
    A shorter silence cannot be measured."""
    recovered: bool = False
    """Whether a connection was answered after the silence."""
    problems: tuple[str, ...] = ()
    """Reasons why the numbers are not those of the load that was planned."""

    @property
    def lost(self) -> int:
        """Connections that the clients started and that were not answered."""
        return sum(self.failed.values())


class Silence(msgspec.Struct, frozen=True):
    """A time without an answer."""

    at_s: float
    seconds: float
    ended: bool
    """Whether an answer ended it, and not the end of the load."""


def longest(answered_s: Iterable[float], command_s: float, end_s: float) -> Silence | None:
    """Return the longest silence that ended after *command_s*; None without any answer.

    *answered_s* are the moments at which answers arrived. The load, and with it the last silence,
    ended at *end_s*.
    """
    moments = sorted(answered_s)
    if not moments:
        return None
    silences = [Silence(a, b - a, ended=True) for a, b in pairwise(moments) if b > command_s]
    last = Silence(moments[-1], max(0.0, end_s - moments[-1]), ended=False)
    return max((*silences, last), key=lambda silence: silence.seconds)


def usual(answered_s: Iterable[float], command_s: float) -> float | None:
    """Return the longest silence before *command_s*; None with fewer than two answers."""
    moments = sorted(moment for moment in answered_s if moment <= command_s)
    return max((b - a for a, b in pairwise(moments)), default=None)
