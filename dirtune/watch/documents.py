"""The documents in a folder of evidence: what fired, and the seconds before it. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from dirtune.watch.decision import Firing


class FiringDocument(msgspec.Struct, frozen=True):
    """A condition that came true."""

    when: str
    """The option's value: a set, or the condition itself."""
    condition: str
    object: str
    """The CPU, interface or process for which the condition held; empty for the whole host."""
    value: float
    """The value in the unit of the condition."""
    unit: str
    held_s: float
    """How long the condition had held, in seconds."""


class Second(msgspec.Struct, frozen=True):
    """The rates in the second before one moment; a value that is unknown is null."""

    at: str
    """The time of the moment, in UTC (ISO 8601)."""
    before_s: float
    """How many seconds the moment lies before the firing."""
    seconds: float
    """The time since the moment before, in seconds."""
    busy_percent: float | None = None
    """CPU time of all CPUs that was neither idle, iowait nor steal."""
    softirq_percent: float | None = None
    """CPU time in soft interrupts, on the CPU with the most."""
    softirq_cpu: int | None = None
    interrupts_per_second: float | None = None
    softnet_dropped_per_second: float | None = None
    time_squeeze_per_second: float | None = None
    rx_packets_per_second: float | None = None
    rx_dropped_per_second: float | None = None
    connections_per_second: float | None = None
    """New connections of IPVS."""
    watched: dict[str, dict[str, float]] = {}
    """The values of the watched metrics by metric and object; the object "" is the host."""


class Evidence(msgspec.Struct, frozen=True):
    """A firing of `dirtune watch`, and the files that were kept about it."""

    at: str
    """The time of the firing, in UTC (ISO 8601)."""
    host: str
    version: str
    """The version of dirtune."""
    kernel: str
    fired: tuple[FiringDocument, ...]
    watched: tuple[str, ...]
    """All conditions that were watched."""
    files: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """The parts that could not be taken, with the reason."""
    schema: str = "dirtune/watch/1"


@dataclass(slots=True)
class Counts:
    """The numbers that Prometheus gets."""

    fired: Counter[str] = field(default_factory=Counter)
    """How often a condition came true, by the option's value."""
    captures: int = 0
    failed: int = 0
    last_s: float | None = None
    """The time of the last firing, in seconds since 1970."""


def of_firing(firing: Firing, when: str) -> FiringDocument:
    """Return *firing* as a document; *when* is the option's value."""
    expression = firing.expression
    return FiringDocument(
        when,
        expression.text,
        firing.object,
        round(firing.value, 3),
        expression.metric.unit.value,
        round(firing.held_s, 1),
    )


def sentence(fired: Sequence[FiringDocument], kinds: Mapping[str, str]) -> str:
    """Return what fired, in one line, with the largest value of each condition.

    *kinds* is the kind of the object, such as CPU, by condition.
    """
    by_condition: dict[str, list[FiringDocument]] = {}
    for firing in fired:
        by_condition.setdefault(firing.condition, []).append(firing)
    parts = []
    for condition, several in by_condition.items():
        largest = max(several, key=lambda firing: firing.value)
        space = " " if largest.unit in {"%", "s"} else ""
        where = f" on {kinds[condition]} {largest.object}" if largest.object else ""
        more = f" and {len(several) - 1} more" if len(several) > 1 else ""
        parts.append(f"{condition}: {largest.value:g}{space}{largest.unit}{where}{more}")
    return "; ".join(parts)
