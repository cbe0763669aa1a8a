"""Read a counter of the kernel and a probe's own counts as if at one moment.

Sources: /proc/interrupts and /proc/softirqs. Events come while the counts are read, so the
kernel's counter is read before and after them, and all of it again while the counter moves.
"""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 3
LARGEST = 1 << 17
"""The longest counter in characters that is read again: about 64 CPUs with 120 lines. A machine
with a longer one has so many interrupts at any time that no reading would be better."""


def read(counter: Callable[[], str], counts: Callable[[], T]) -> tuple[str, T]:
    """Return the text of *counter* and the *counts* between which the fewest events came.

    *counter* is read at most `ATTEMPTS` + 1 times, and once if it is longer than `LARGEST`.
    """
    before = counter()
    if len(before) > LARGEST:
        return before, counts()
    readings: list[tuple[int, str, T]] = []
    for _ in range(ATTEMPTS):
        counted, after = counts(), counter()
        readings.append((events(before, after), before, counted))
        if not readings[-1][0]:
            break
        before = after
    _, text, counted = min(readings, key=lambda reading: reading[0])
    return text, counted


def events(before: str, after: str) -> int:
    """Return how many events a text with a row for each line or vector counted.

    The rows with letters in /proc/interrupts, such as LOC, have no handlers and are left out.
    """
    if before == after:
        return 0
    cpus = len(before.partition("\n")[0].split())
    then, now = _rows(before), _rows(after)
    numbered = any(map(str.isdecimal, now))
    return sum(
        abs(_total(row, cpus) - _total(then.get(label, ""), cpus))
        for label, row in now.items()
        if row != then.get(label) and (label.isdecimal() or not numbered)
    )


def _rows(text: str) -> dict[str, str]:
    cells = (row.partition(":") for row in text.splitlines()[1:])
    return {label.strip(): counts for label, _, counts in cells}


def _total(row: str, cpus: int) -> int:
    return sum(int(cell) for cell in row.split(None, cpus)[:cpus] if cell.isdecimal())
