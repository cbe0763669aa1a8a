"""Load generators behind one interface and one schema of results.

A module of this folder drives one program: `parts` says how many of its processes a client runs,
`command` what each is called with, `parse` what it left. All three are pure. A process may write
a row for each reply to `LOG`. Exit statuses are never looked at: httperf's is 0 in every failure.
"""

import math
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import msgspec

from dirtune.latency import Latency
from dirtune.plan.load import Load

LOG = "/dev/fd/9"
"""The file of a process's log, which is kept apart from its output."""

# Below this many milliseconds for each client a step of one would bend the rate.
_DRIFT_FROM_MS = 5
_BATCH_MAX = 5
_NEAR = 0.01


class Schedule(msgspec.Struct, frozen=True):
    """When one client starts its connections."""

    batch: int
    """Connections at each tick."""
    period_ms: int
    connections: int

    @property
    def rate(self) -> float:
        """Connections per second."""
        return self.batch * 1000 / self.period_ms

    @property
    def lasts_s(self) -> float:
        """Seconds from the first tick to the last."""
        return (self.connections // self.batch - 1) * self.period_ms / 1000


class Part(msgspec.Struct, frozen=True):
    """One process's share of a client's schedule."""

    ticks: Schedule
    delay_s: float = 0.0
    """How long after the client's start it begins."""


class Reply(msgspec.Struct, frozen=True):
    """One row of a generator's log."""

    start_us: int
    """When the request was sent, on the client's clock."""
    status: int
    """HTTP status; -1 for a failed stream."""
    took_us: int

    @property
    def end_us(self) -> int:
        """When the reply was complete."""
        return self.start_us + self.took_us


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one process of a generator. Counts are of connections."""

    attempted: int | None
    """Begun, whatever became of them; None if the generator does not say."""
    replied: int
    """Answered in time, whole, with a status of 2xx."""
    failed: dict[str, int]
    """Attempted and not replied, by class; the classes do not overlap and leave out zeros."""
    unsent: dict[str, int] = {}
    """Not begun for want of something on the client (descriptors, ports), by its name."""
    span_s: float | None = None
    """From the first start to the last; None if the generator does not say."""
    elapsed_s: float | None = None
    """How long it ran, the wait for the last reply included."""
    connect_ms: float | None = None
    """Mean time until a connection stood."""
    latency: Latency | None = None
    """As it says itself; where there are `replies` they say more."""
    histogram: tuple[tuple[float, int], ...] = ()
    """Latencies in steps: the middle of each in milliseconds, and how many there were."""
    replies: tuple[Reply, ...] = ()
    burst: int | None = None
    """Most connections it began without a pause (httperf): a gauge of stalls."""
    poll_cpu_percent: float | None = None
    """CPU that a generator got which always polls (httperf): less than all of a CPU is a lack."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a generator, which decide what its trials may say."""

    open_loop: bool | None
    """It begins connections by the clock, whatever becomes of them; None if its plan says."""
    ramps: bool = False
    """Its load can be raised in steps."""
    keeps_alive: bool = False
    """It can make more than one request for each connection."""
    polls: bool = False
    """It takes all of a CPU at any rate."""
    of_plan: bool = False
    """The plan's `load.command` says how it is called."""
    tells_version: bool = False
    """Its program prints its version for `--version`, and does no more."""


class Generator(Protocol):
    """The interface of each module of this folder."""

    PACKAGE: str
    """The Debian package of its program; empty if that is not known."""
    ABILITIES: Abilities

    def parts(self, load: Load, ticks: Schedule) -> tuple[Part, ...]:
        """Return the processes that carry *ticks* on one client."""
        ...

    def command(self, load: Load, url: str, part: Part) -> tuple[str, ...]:
        """Return the argument list of one process."""
        ...

    def parse(self, text: str, log: Iterable[str], load: Load) -> Report:
        """Parse what one process printed and logged; `ParseError` if that is too little."""
        ...


def find(name: str) -> Generator:
    """Return the generator that plans call *name*."""
    return cast("Generator", import_module(f"{__name__}.{name}"))


def abilities(name: str) -> Abilities | None:
    """Return the abilities of the generator *name*; None if this dirtune does not have it."""
    return find(name).ABILITIES if name in names() else None


def names() -> tuple[str, ...]:
    """Return every generator of this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py")))


def schedule(rate: float, seconds: float) -> Schedule:
    """Return ticks that come within a per cent of *rate*, with as few connections as will do."""
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate {rate} and seconds {seconds} must be positive")
    few = [_tick(batch, rate) for batch in range(1, _BATCH_MAX + 1)]
    # Off by less than 1 in 10,000 is exact; among those the smallest batch is smoothest.
    best = min(few, key=lambda tick: (round(_off(tick, rate), 4), tick))
    if _off(best, rate) > _NEAR:
        # A tick is whole milliseconds: where few are too coarse, what up to 100 take never is.
        more = ((round(rate * period / 1000), period) for period in range(1, 101))
        best = next(tick for tick in more if _off(tick, rate) <= _NEAR)
    batch, period = best
    ticks = math.ceil(seconds * 1000 / period)
    return Schedule(batch, period, ticks * batch)


def _tick(batch: int, rate: float) -> tuple[int, int]:
    return batch, max(1, round(1000 * batch / rate))


def _off(tick: tuple[int, int], rate: float) -> float:
    batch, period_ms = tick
    return abs(batch * 1000 / period_ms / rate - 1)


def schedules(rate: float, clients: int, seconds: float) -> tuple[Schedule, ...]:
    """Return each client's ticks for *rate* over all of them.

    Ticks that fall together reach the director as one burst, and with equal periods chance would
    decide for a whole trial whether they do. So the periods differ by milliseconds, around the
    even share: all clients' ticks drift through each other, in every trial alike.
    """
    even = schedule(rate / clients, seconds)
    if even.period_ms < _DRIFT_FROM_MS * clients:
        return (even,) * clients
    steps = [place - clients // 2 for place in range(clients)]
    periods = [even.period_ms + (step if clients % 2 or step < 0 else step + 1) for step in steps]
    return tuple(
        Schedule(even.batch, period, math.ceil(seconds * 1000 / period) * even.batch)
        for period in periods
    )


def offered(rate: float, clients: int) -> float:
    """Return what *rate* comes to in whole milliseconds of so many clients, connections/s."""
    return round(sum(ticks.rate for ticks in schedules(rate, clients, 1)), 3)


def split(ticks: Schedule, processes: int, ramp_s: float = 0.0) -> tuple[Part, ...]:
    """Return *ticks* dealt out to *processes* in turn, which begin evenly over *ramp_s*.

    Each takes every n-th tick, so that together they do what one would.
    """
    period_ms = processes * ticks.period_ms
    whole_ms = ticks.connections // ticks.batch * ticks.period_ms
    parts = []
    for number in range(processes):
        # In whole rounds, so that its ticks stay between those of the others.
        rounds = int(number * ramp_s * 1000 / processes / period_ms)
        delay_ms = number * ticks.period_ms + rounds * period_ms
        count = max(1, math.ceil((whole_ms - delay_ms) / period_ms))
        parts.append(Part(Schedule(ticks.batch, period_ms, count * ticks.batch), delay_ms / 1000))
    return tuple(parts)


def weighted(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of what is known, each by its weight; None if nothing is."""
    known = [(value, weight) for value, weight in values if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
