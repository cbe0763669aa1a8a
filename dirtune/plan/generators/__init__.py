"""Define one interface and one type of report for all load generators.

Each module of this folder supports one program, such as h2load: `parts` divides a client's load
among processes, `command` returns the arguments of one process, and `parse` reads its output. All
three are pure. A process may write one row per reply to the file `LOG`. Exit statuses are ignored,
because httperf exits with 0 whatever fails.
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
"""The path to which a process writes its log of replies, separate from its output."""

# With a shorter period per client, in milliseconds, a step of 1 ms would change the rate too much.
_DRIFT_FROM_MS = 5
_BATCH_MAX = 5
_NEAR = 0.01


class Schedule(msgspec.Struct, frozen=True):
    """The schedule of one client: it starts connections at regular times, called ticks."""

    batch: int
    """Number of connections that start at each tick."""
    period_ms: int
    connections: int

    @property
    def rate(self) -> float:
        """The rate of the schedule in connections per second."""
        return self.batch * 1000 / self.period_ms

    @property
    def lasts_s(self) -> float:
        """Seconds from the first tick to the last tick."""
        return (self.connections // self.batch - 1) * self.period_ms / 1000


class Part(msgspec.Struct, frozen=True):
    """The part of a client's schedule that one load generator process carries out."""

    ticks: Schedule
    delay_s: float = 0.0
    """Seconds from the client's start to the start of this process."""


class Reply(msgspec.Struct, frozen=True):
    """One reply, from the log of a load generator."""

    start_us: int
    """Time at which the request was sent, by the client's clock."""
    status: int
    """HTTP status of the reply; -1 if the stream failed."""
    took_us: int

    @property
    def end_us(self) -> int:
        """Time at which the reply was complete, by the client's clock."""
        return self.start_us + self.took_us


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one load generator process. All counts are numbers of connections."""

    attempted: int | None
    """Connections that the process started, successful or not; None if unknown."""
    replied: int
    """Connections that got a complete reply with a status of 2xx in time."""
    failed: dict[str, int]
    """Attempted connections that did not get such a reply, by kind of failure. The kinds do not
    overlap; a kind without connections is left out."""
    unsent: dict[str, int] = {}
    """Connections that the process could not start because the client lacked a resource, by the
    name of the resource (descriptors, ports)."""
    span_s: float | None = None
    """Seconds between the starts of the first and the last connection; None if unknown."""
    elapsed_s: float | None = None
    """Seconds for which the process ran, including the wait for the last reply; None if the
    process logged each reply."""
    connect_ms: float | None = None
    """Mean time to establish a connection, in milliseconds."""
    latency: Latency | None = None
    """Latency as the load generator computed it. `replies`, if present, are more precise."""
    histogram: tuple[tuple[float, int], ...] = ()
    """Histogram of latencies: the middle of each step in milliseconds, and the number of replies
    in the step."""
    replies: tuple[Reply, ...] = ()
    burst: int | None = None
    """Largest number of connections that httperf started without a pause, which shows its longest
    stall."""
    poll_cpu_percent: float | None = None
    """CPU time of a load generator that polls all the time (httperf), per cent of one CPU. A value
    below 100 means that the process had to wait for a CPU."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a load generator, which decide what its trials can show."""

    open_loop: bool | None
    """Whether the load generator opens connections on a fixed schedule, even while earlier
    connections are unanswered; None if the plan says so."""
    ramps: bool = False
    """Whether the load can rise in steps."""
    keeps_alive: bool = False
    """Whether the load generator can send more than one request per connection."""
    polls: bool = False
    """Whether the load generator uses all of a CPU at any rate."""
    of_plan: bool = False
    """Whether the command line comes from `load.command` in the plan."""
    logs_replies: bool = False
    """Whether the load generator logs the time of each reply."""
    tells_version: bool = False
    """Whether the program prints its version for `--version` and then exits."""


class Generator(Protocol):
    """The functions that each module of this folder must have."""

    ABILITIES: Abilities

    def parts(self, load: Load, ticks: Schedule) -> tuple[Part, ...]:
        """Return the parts of the schedule *ticks*, one for each process of a client."""
        ...

    def command(self, load: Load, url: str, part: Part) -> tuple[str, ...]:
        """Return the command line of one process."""
        ...

    def parse(self, text: str, log: Iterable[str], load: Load) -> Report:
        """Parse the output and the log of one process.

        Raises `ParseError` if the results are missing.
        """
        ...


def find(name: str) -> Generator:
    """Return the load generator that is called *name* in plans."""
    return cast("Generator", import_module(f"{__name__}.{name}"))


def abilities(name: str) -> Abilities | None:
    """Return the abilities of the load generator *name*; None if there is no such generator."""
    return find(name).ABILITIES if name in names() else None


def names() -> tuple[str, ...]:
    """Return the names of all load generators in this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py")))


def schedule(rate: float, seconds: float) -> Schedule:
    """Return a schedule for *seconds* whose rate is within 1 % of *rate* connections/s.

    The schedule has as few connections per tick as possible.
    """
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate {rate} and seconds {seconds} must be positive")
    few = [_tick(batch, rate) for batch in range(1, _BATCH_MAX + 1)]
    # An error below 1 in 10,000 counts as none; then the smallest batch gives the smoothest load.
    best = min(few, key=lambda tick: (round(_off(tick, rate), 4), tick))
    if _off(best, rate) > _NEAR:
        # Periods are whole milliseconds, which is too coarse for a few connections per tick. For
        # one of the periods up to 100 ms, some number of connections is always close enough.
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
    """Return the schedule of each client; all clients together offer *rate* connections/s.

    If ticks of two clients coincide, the director gets the connections of both as one burst. If
    all clients had the same period, chance would decide, at the start of a trial, whether ticks
    coincide during the entire trial. The periods of the clients therefore differ by milliseconds,
    so that ticks drift past each other in the same way in every trial.
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
    """Return the connections/s that *clients* clients really offer if the plan asks for *rate*.

    The result differs a little from *rate*, because periods are whole milliseconds.
    """
    return round(sum(ticks.rate for ticks in schedules(rate, clients, 1)), 3)


def split(ticks: Schedule, processes: int, ramp_s: float = 0.0) -> tuple[Part, ...]:
    """Divide the schedule *ticks* among *processes* processes.

    Each process takes every n-th tick, so that all processes together send the same load as a
    single one. The processes start one after another, spread evenly over *ramp_s* seconds.
    """
    period_ms = processes * ticks.period_ms
    whole_ms = ticks.connections // ticks.batch * ticks.period_ms
    parts = []
    for number in range(processes):
        # A process starts after a whole number of rounds, so that its ticks stay between the ticks
        # of the other processes.
        rounds = int(number * ramp_s * 1000 / processes / period_ms)
        delay_ms = number * ticks.period_ms + rounds * period_ms
        count = max(1, math.ceil((whole_ms - delay_ms) / period_ms))
        parts.append(Part(Schedule(ticks.batch, period_ms, count * ticks.batch), delay_ms / 1000))
    return tuple(parts)


def weighted(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the weighted mean of pairs (value, weight); None if no value is known."""
    known = [(value, weight) for value, weight in values if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
