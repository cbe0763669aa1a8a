"""Keys for caches: a cached function builds the index of a list once, and not at every lookup.

A hostile host can send very long lists. Searching a whole list for each item of another list would
take hours, and comparing two lists to find the cached index would be slow too.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Same(Generic[T]):
    """A cache key that equals another key only if both hold the same object (`is`, not `==`)."""

    value: T

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value
