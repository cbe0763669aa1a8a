"""Compute what many checks need once for each snapshot, so that no check is quadratic."""

import functools
from collections.abc import Callable
from typing import TypeVar

from dirtune.collect.identity import Same
from dirtune.snapshot import Snapshot

_T = TypeVar("_T")


def once(function: Callable[[Snapshot], _T]) -> Callable[[Snapshot], _T]:
    """Return *function* with a memory of the last snapshots; its result must not be changed."""

    @functools.lru_cache(maxsize=4)  # the two samples of two hosts
    def remembered(same: Same[Snapshot]) -> _T:
        return function(same.value)

    @functools.wraps(function)
    def of(snapshot: Snapshot) -> _T:
        return remembered(Same(snapshot))

    return of
