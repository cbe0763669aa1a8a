"""The load of a plan file as a type. Pure.

Rates are connections per second over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.plan.values import Count, Duration, Positive, Table, seconds


class Command(Table, frozen=True):
    """A generator of the user's own; what it prints is read by regular expressions."""

    run: str
    """The command, run without a shell; `{url}`, `{rate}` (of this client), `{connections}`,
    `{seconds}` and `{timeout}` (seconds) are filled in."""
    replies: str
    """A regular expression whose first group is the number of good replies."""
    elapsed: str
    """A regular expression whose first group is their duration in seconds."""
    open_loop: bool = False
    """Whether it begins connections by the clock, whatever becomes of them. Only then do its
    trials say anything about loss."""


class Load(Table, frozen=True):
    """The load of the clients."""

    rates: tuple[Positive, ...]
    service: Annotated[int, msgspec.Meta(ge=0)] = 0
    generator: Literal["h2load", "httperf", "wrk", "command"] = "h2load"
    """wrk is a closed loop: a peak probe, never used for loss or comparison."""
    command: Command | None = None
    """The command of the generator `command`."""
    connections: Count = 50
    """Connections that each client of a closed loop keeps open; it offers no rate."""
    profile: Literal["standard", "lab", "ci"] | None = None
    """Defaults for ramp, warmup, window, settle, pairs and repeats; see `profiles`."""
    force: str | None = None
    """The vip, to bench it even if it carries connections of others."""
    duration: Duration | None = None
    """Duration of the load; default: ramp, warm-up, window and one second."""
    ramp: Duration = 0
    """Time from no load to the full rate, in steps; only h2load can do it."""
    warmup: Duration = "5s"
    """Time at the full rate before the window."""
    warmup_max: Duration | None = None
    """Longest warm-up while the director's connections are not steady; the load lasts as much
    longer in any case. Default: `warmup`."""
    window: Duration = "10s"
    timeout: Duration = "1s"
    path: str = "/"
    keepalive: Count = 1
    """Requests of each connection, one after the other; for h2load and httperf. Rates and counts
    are still of connections."""
    repeats: Count = 3
    """Trials at each rate of a sweep."""
    pairs: Count = 8
    """Pairs of a comparison; a pair is one trial of each arm."""
    settle: Literal["drain", "idle"] = "idle"
    """`drain` waits for the connection table as well."""

    @property
    def open_loop(self) -> bool:
        """Whether the generator begins connections by the clock, whatever becomes of them."""
        from dirtune.plan import generators  # noqa: PLC0415  (they are given a load)

        own = generators.find(self.generator).ABILITIES.open_loop
        return self.command is not None and self.command.open_loop if own is None else own

    @property
    def ramp_s(self) -> float:
        """Seconds from no load to the full rate."""
        return seconds(self.ramp)

    @property
    def warmup_s(self) -> float:
        """Seconds of the full rate before the window."""
        return seconds(self.warmup)

    @property
    def lead_s(self) -> float:
        """Seconds of load before the window at least."""
        return self.ramp_s + self.warmup_s

    @property
    def lead_max_s(self) -> float:
        """Seconds of load before the window at most."""
        longest = self.warmup if self.warmup_max is None else self.warmup_max
        return self.ramp_s + seconds(longest)

    @property
    def window_s(self) -> float:
        """Seconds measured."""
        return seconds(self.window)

    @property
    def timeout_s(self) -> float:
        """Seconds after which a connection counts as failed."""
        return seconds(self.timeout)

    @property
    def load_s(self) -> float:
        """Seconds of load."""
        least = self.lead_max_s + self.window_s + 1
        return least if self.duration is None else seconds(self.duration)
