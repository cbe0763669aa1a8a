"""The type of the table `load` in a plan file. Pure.

Rates are connections per second, summed over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.plan.values import Count, Duration, Positive, Table, seconds


class Command(Table, frozen=True):
    """A load generator of the user's own; regular expressions find the results in its output."""

    run: str
    """The command, run without a shell; `{url}`, `{rate}` (of this client), `{connections}`,
    `{seconds}` and `{timeout}` (seconds) are filled in."""
    replies: str
    """A regular expression whose first group is the number of good replies."""
    elapsed: str
    """A regular expression whose first group is their duration in seconds."""
    open_loop: bool = False
    """Whether the command opens connections on a fixed schedule, even while earlier ones are
    unanswered. Only then can its trials measure loss."""


class Load(Table, frozen=True):
    """The load of the clients."""

    rates: tuple[Positive, ...]
    service: Annotated[int, msgspec.Meta(ge=0)] = 0
    generator: Literal["h2load", "httperf", "wrk", "command"] = "h2load"
    """wrk is a closed loop: a peak probe, never used for loss or comparison."""
    command: Command | None = None
    """The command of the generator `command`."""
    connections: Count = 50
    """Connections that each client keeps open if the generator is a closed loop, which follows no
    rate."""
    profile: Literal["standard", "lab", "ci"] | None = None
    """Defaults for ramp, warmup, window, settle, pairs and repeats; see `profiles`."""
    force: str | None = None
    """The vip of the service; setting it permits a load although the service carries connections
    of other clients."""
    duration: Duration | None = None
    """Duration of the load; default: ramp, warm-up, window and one second."""
    ramp: Duration = 0
    """Time in which the load rises from zero to the full rate, in steps; only for h2load."""
    warmup: Duration = "5s"
    """Time at the full rate before the window."""
    warmup_max: Duration | None = None
    """Longest warm-up: `warmup` is extended up to this time while the number of connections on the
    director is not steady. The load always lasts long enough for it. Default: `warmup`."""
    window: Duration = "10s"
    timeout: Duration = "1s"
    path: str = "/"
    keepalive: Count = 1
    """Requests on each connection, one after the other, for h2load and httperf. Rates and counts
    still refer to connections."""
    repeats: Count = 3
    """Trials at each rate of a sweep."""
    pairs: Count = 8
    """Pairs in a comparison; a pair is one trial of each arm."""
    settle: Literal["drain", "idle"] = "idle"
    """`idle` waits until the director is idle before each trial; `drain` also waits until old
    connections have left its connection table."""

    @property
    def open_loop(self) -> bool:
        """Whether connections are opened on a fixed schedule, without waiting for replies."""
        from dirtune.plan import generators  # noqa: PLC0415  (they are given a load)

        own = generators.find(self.generator).ABILITIES.open_loop
        return self.command is not None and self.command.open_loop if own is None else own

    @property
    def ramp_s(self) -> float:
        """Seconds in which the load rises from zero to the full rate."""
        return seconds(self.ramp)

    @property
    def warmup_s(self) -> float:
        """Seconds at the full rate before the window."""
        return seconds(self.warmup)

    @property
    def lead_s(self) -> float:
        """Shortest time of load before the window, in seconds."""
        return self.ramp_s + self.warmup_s

    @property
    def lead_max_s(self) -> float:
        """Longest time of load before the window, in seconds."""
        longest = self.warmup if self.warmup_max is None else self.warmup_max
        return self.ramp_s + seconds(longest)

    @property
    def window_s(self) -> float:
        """Length of the measured window in seconds."""
        return seconds(self.window)

    @property
    def timeout_s(self) -> float:
        """Seconds after which a connection counts as failed."""
        return seconds(self.timeout)

    @property
    def load_s(self) -> float:
        """Duration of the load in seconds."""
        least = self.lead_max_s + self.window_s + 1
        return least if self.duration is None else seconds(self.duration)
