"""Keys for the cache of an index, which is made once for a host and then used item by item.

A hostile host can list as many items as fit into its answer. Searching all of them for each item
of another list would take hours.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Same(Generic[T]):
    """A key that equals only a key of the same object. Comparing takes no time, however large."""

    value: T

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value
