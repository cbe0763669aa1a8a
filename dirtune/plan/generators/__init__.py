"""Load generators, with one interface and one type of report for all of them.

Each module of this folder drives one program: `parts` divides a client's load among processes,
`command` returns the arguments of one process, and `parse` reads its output. All three are pure. A
process may write one row per reply to `LOG`. Exit statuses are ignored, because httperf exits with
0 whatever fails.
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
"""The path to which a process writes its log; the log is kept apart from its output."""

# Below this many milliseconds for each client a step of one would bend the rate.
_DRIFT_FROM_MS = 5
_BATCH_MAX = 5
_NEAR = 0.01


class Schedule(msgspec.Struct, frozen=True):
    """The times (ticks) at which one client starts its connections."""

    batch: int
    """Connections that start at each tick."""
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
    """Seconds from the client's start to the start of this process."""


class Reply(msgspec.Struct, frozen=True):
    """One row of a generator's log."""

    start_us: int
    """Time at which the request was sent, by the client's clock."""
    status: int
    """HTTP status; -1 for a failed stream."""
    took_us: int

    @property
    def end_us(self) -> int:
        """Time at which the reply was complete, by the client's clock."""
        return self.start_us + self.took_us


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one process of a load generator, counted in connections."""

    attempted: int | None
    """Connections that the process started, successful or not; None if unknown."""
    replied: int
    """Connections that got a complete reply in time, with a status of 2xx."""
    failed: dict[str, int]
    """Attempted connections without such a reply, by class. The classes do not overlap; a class
    with no connections is left out."""
    unsent: dict[str, int] = {}
    """Connections that were not started because the client lacked a resource, by the name of the
    resource (descriptors, ports)."""
    span_s: float | None = None
    """Seconds from the first start of a connection to the last; None if unknown."""
    elapsed_s: float | None = None
    """Seconds that the process ran, including the wait for the last reply."""
    connect_ms: float | None = None
    """Mean time to establish a connection."""
    latency: Latency | None = None
    """Latency as the generator computed it. `replies`, if present, are more precise."""
    histogram: tuple[tuple[float, int], ...] = ()
    """Latencies in steps: the middle of each step in milliseconds, and the replies in the step."""
    replies: tuple[Reply, ...] = ()
    burst: int | None = None
    """Most connections that httperf started without a pause, which shows its longest stall."""
    poll_cpu_percent: float | None = None
    """CPU time of a generator that always polls (httperf), per cent of one CPU. Less than 100
    means that the process had to wait for a CPU."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a load generator, which decide what its trials can show."""

    open_loop: bool | None
    """Whether it opens connections on a fixed schedule, even while earlier ones are unanswered;
    None if the plan decides."""
    ramps: bool = False
    """Whether its load can rise in steps."""
    keeps_alive: bool = False
    """Whether it can make more than one request per connection."""
    polls: bool = False
    """Whether it uses all of a CPU at any rate."""
    of_plan: bool = False
    """Whether its command line comes from `load.command` in the plan."""
    tells_version: bool = False
    """Whether its program prints its version for `--version` and then exits."""


class Generator(Protocol):
    """The interface of each module of this folder."""

    PACKAGE: str
    """The Debian package of its program; empty if unknown."""
    ABILITIES: Abilities

    def parts(self, load: Load, ticks: Schedule) -> tuple[Part, ...]:
        """Return the processes of one client, which together follow the schedule *ticks*."""
        ...

    def command(self, load: Load, url: str, part: Part) -> tuple[str, ...]:
        """Return the arguments of one process."""
        ...

    def parse(self, text: str, log: Iterable[str], load: Load) -> Report:
        """Parse the output and log of one process. Raises `ParseError` if they lack results."""
        ...


def find(name: str) -> Generator:
    """Return the generator that plans call *name*."""
    return cast("Generator", import_module(f"{__name__}.{name}"))


def abilities(name: str) -> Abilities | None:
    """Return the abilities of the generator *name*; None if no generator has this name."""
    return find(name).ABILITIES if name in names() else None


def names() -> tuple[str, ...]:
    """Return the names of all generators in this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py")))


def schedule(rate: float, seconds: float) -> Schedule:
    """Return a schedule within 1 % of *rate*, with as few connections per tick as possible."""
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
    """Return the schedule of each client; together they make *rate*.

    If ticks of two clients coincide, the director gets both as one burst. With equal periods,
    chance would decide for an entire trial whether ticks coincide. The clients' periods therefore
    differ by milliseconds, so that their ticks drift past each other in the same way in every
    trial.
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
    """Return the connections/s that *clients* really offer for *rate*.

    The result differs a little from *rate*, because periods are rounded to milliseconds.
    """
    return round(sum(ticks.rate for ticks in schedules(rate, clients, 1)), 3)


def split(ticks: Schedule, processes: int, ramp_s: float = 0.0) -> tuple[Part, ...]:
    """Divide *ticks* among *processes*, which start at regular intervals during *ramp_s*.

    Each process takes every n-th tick, so that together they do the work of a single process.
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
    """Return the weighted mean of the (value, weight) pairs; None if no value is known."""
    known = [(value, weight) for value, weight in values if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
