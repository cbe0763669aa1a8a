"""Define the type of the table `load` in a plan. Pure.

Rates are in connections per second, summed over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.plan.values import Count, Duration, Positive, Table, seconds


class Command(Table, frozen=True):
    """A load generator that the user supplies.

    Regular expressions find the results in its output.
    """

    run: str
    """The command, which runs without a shell. dirtune fills in `{url}`, `{rate}` (connections/s
    of one client), `{connections}` (their number), `{seconds}` (duration of the load) and
    `{timeout}` (seconds)."""
    replies: str
    """A regular expression whose first group is the number of good replies."""
    elapsed: str
    """A regular expression whose first group is the duration of the load in seconds."""
    open_loop: bool = False
    """Whether the command opens connections on a fixed schedule, even while earlier connections
    are unanswered. Otherwise its trials cannot measure loss."""


class Load(Table, frozen=True):
    """The load that the clients send."""

    rates: tuple[Positive, ...]
    service: Annotated[int, msgspec.Meta(ge=0)] = 0
    generator: Literal["h2load", "httperf", "wrk", "command"] = "h2load"
    """The load generator. wrk is a closed loop: it shows the peak rate, but never loss, and cannot
    be used in comparisons."""
    command: Command | None = None
    """The command, if `generator` is "command"."""
    connections: Count = 50
    """Number of connections that each client keeps open. Only for a closed loop, which follows no
    rate."""
    profile: Literal["standard", "lab", "ci"] | None = None
    """Name of a set of defaults for ramp, warmup, window, settle, pairs and repeats: standard, lab
    or ci."""
    force: str | None = None
    """Set this to the vip of the service to allow a load although other clients use the
    service."""
    duration: Duration | None = None
    """Duration of the load; default: the sum of ramp, warm-up and window, and one second."""
    ramp: Duration = 0
    """Time in which the load rises from zero to the full rate, in steps; only for h2load."""
    warmup: Duration = "5s"
    """Time at the full rate before the measured window."""
    warmup_max: Duration | None = None
    """Longest warm-up. The warm-up is extended up to this time while the director's connection
    table is still growing. Default: `warmup`, which means no extension."""
    window: Duration = "10s"
    timeout: Duration = "1s"
    path: str = "/"
    keepalive: Count = 1
    """Number of requests on each connection, one after another; for h2load and httperf. Rates and
    counts still refer to connections."""
    repeats: Count = 3
    """Trials at each rate of a sweep."""
    pairs: Count = 8
    """Pairs in a comparison; a pair is one trial without the fix and one trial with it."""
    at_most: Count | None = None
    """Most pairs in a comparison with two planned looks, twice `pairs`: the comparison ends after
    `pairs` pairs if these decide, and otherwise after this many. Default: one look, after `pairs`
    pairs."""
    settle: Literal["drain", "idle"] = "idle"
    """What to wait for before each trial. `idle` waits until the director is idle; `drain` also
    waits until old connections have left the director's connection table."""

    @property
    def open_loop(self) -> bool:
        """Whether connections start on a fixed schedule, even while replies are missing."""
        from dirtune.plan import generators  # noqa: PLC0415  (generators import this module)

        own = generators.find(self.generator).ABILITIES.open_loop
        return self.command is not None and self.command.open_loop if own is None else own

    @property
    def ramp_s(self) -> float:
        """Seconds during which the load rises from zero to the full rate."""
        return seconds(self.ramp)

    @property
    def warmup_s(self) -> float:
        """Seconds at the full rate before the measured window."""
        return seconds(self.warmup)

    @property
    def lead_s(self) -> float:
        """Shortest duration of the load before the measured window, in seconds."""
        return self.ramp_s + self.warmup_s

    @property
    def lead_max_s(self) -> float:
        """Longest duration of the load before the measured window, in seconds."""
        longest = self.warmup if self.warmup_max is None else self.warmup_max
        return self.ramp_s + seconds(longest)

    @property
    def window_s(self) -> float:
        """Length of the measured window in seconds."""
        return seconds(self.window)

    @property
    def timeout_s(self) -> float:
        """Seconds after which an unanswered connection counts as failed."""
        return seconds(self.timeout)

    @property
    def load_s(self) -> float:
        """Duration of the entire load in seconds."""
        least = self.lead_max_s + self.window_s + 1
        return least if self.duration is None else seconds(self.duration)
