"""Infer the calls of interrupt handlers from /proc, on hosts without any tracing.

Source: /proc/interrupts, and /proc/irq/N/spurious (kernel/irq/spurious.c, note_interrupt()). The
kernel calls every handler of a line for each interrupt of the line, so calls can be inferred
instead of counted. The number of needless calls is unknown: `spurious` counts only interrupts that
no handler claimed, and on a NIC's line the handler of the NIC claims them.

The counter `unhandled` restarts at 1 if the previous unhandled interrupt is more than 100 ms old,
and at 0 after 100,000 interrupts. The true number of unhandled interrupts between two readings may
therefore be higher than the difference of the counter.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.analyse.handlers import HandlerCount, HandlerCounts
from dirtune.analyse.rates import line_counts
from dirtune.collect.files import text_in
from dirtune.collect.interrupts import Interrupts, read_interrupts
from dirtune.host import Host

_SPURIOUS = re.compile(r"unhandled (\d+)\s+last_unhandled (\d+) ms")


@dataclass(frozen=True, slots=True)
class Reading:
    """The interrupt table and the counts of unhandled interrupts at one moment."""

    taken_s: float
    """The time of the reading, in seconds of the monotonic clock."""
    interrupts: Interrupts
    spurious: Mapping[str, str]
    """The texts of /proc/irq/N/spurious by line; lines without that file are missing."""


def take(host: Host) -> Reading:
    """Read /proc/interrupts and `spurious`. Raises `SourceMissing` without /proc/interrupts."""
    interrupts = read_interrupts(host)
    taken_s = time.monotonic()
    texts = {x.irq: text_in(host, f"/proc/irq/{x.irq}/spurious") for x in interrupts.numbered}
    return Reading(taken_s, interrupts, {irq: text for irq, text in texts.items() if text})


def decode(before: Reading, after: Reading) -> HandlerCounts:
    """Return the handlers' calls between two readings."""
    seconds = after.taken_s - before.taken_s
    counts = line_counts(before.interrupts, after.interrupts, seconds)
    calls: dict[tuple[int, str], int] = {}
    for line in after.interrupts.numbered:
        for action in line.actions if line.irq in counts else ():
            key = (int(line.irq), action)
            calls[key] = calls.get(key, 0) + counts[line.irq]
    least = {
        irq: unhandled_between(before.spurious.get(irq, ""), text)
        for irq, text in after.spurious.items()
    }
    return HandlerCounts(
        seconds=seconds,
        source="proc",
        handlers=tuple(HandlerCount(*key, n) for key, n in sorted(calls.items()) if n),
        line_counts=counts,
        none={irq: count for irq, count in least.items() if count is not None},
    )


def unhandled_between(before: str, after: str) -> int | None:
    """Return the least number of unhandled interrupts between two texts of `spurious`.

    Return None if one of the texts has another format.
    """
    then, now = _SPURIOUS.search(before), _SPURIOUS.search(after)
    if then is None or now is None:
        return None
    if then[2] == now[2]:
        return 0
    count, was = int(now[1]), int(then[1])
    return count - was if count > was else count
