"""The last moments of a watch, bounded in number and in memory. Pure."""

from collections import deque

from dirtune.watch.moment import Moment

SECONDS = 120
_MOST_BYTES = 64 << 20


class Ring:
    """The moments of the last two minutes, the oldest first."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque()
        self._bytes = 0

    def add(self, moment: Moment) -> None:
        """Add *moment*, and drop the oldest moments beyond the limits of time and memory."""
        self._moments.append(moment)
        self._bytes += moment.size
        while len(self._moments) > SECONDS + 1 or self._bytes > _MOST_BYTES:
            self._bytes -= self._moments.popleft().size

    def moments(self) -> tuple[Moment, ...]:
        """Return the moments, the oldest first."""
        return tuple(self._moments)
