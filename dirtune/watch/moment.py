"""The texts of a watch's sources at one moment. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """The texts of the sources at one moment."""

    at_s: float
    """The monotonic clock, in seconds."""
    boot_s: float
    """The same with the time in which the host was suspended, in seconds."""
    wall_s: float
    """Seconds since 1970."""
    texts: Mapping[str, bytes]
    """The texts by path; a source that cannot be read is left out."""

    @property
    def size(self) -> int:
        """The size of the texts in bytes."""
        return sum(map(len, self.texts.values()))
