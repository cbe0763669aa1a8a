"""The interface by which a trial drives nodes, real ones (`rig`) or simulated ones (tests)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Role
from dirtune.bench.outcome import ClientResult
from dirtune.collect.processes import Process
from dirtune.plan.generators import Schedule


class Loading(Protocol):
    """A load that is running."""

    @property
    def began_s(self) -> float:
        """The time at which the last client began, by the rig's clock."""
        ...

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Return each client's result, and the raw output by file name."""
        ...

    async def end(self) -> None:
        """End the generators that still run."""
        ...


class Probing(Protocol):
    """Probes that are loaded on the director."""

    async def begin(self) -> None:
        """Open the window in which the probes measure."""
        ...

    async def finish(self) -> Profile:
        """Return the profile of the window."""
        ...

    async def end(self) -> None:
        """End the probes if they still run."""
        ...


class Rig(Protocol):
    """The nodes of a plan, ready for trials."""

    def now(self) -> float:
        """Return the controller's clock, in seconds."""
        ...

    def utc(self) -> str:
        """Return the time of day in UTC, ISO 8601."""
        ...

    async def sleep_until(self, moment_s: float) -> None:
        """Wait until `now` is *moment_s*."""
        ...

    async def ready(self) -> None:
        """Reconnect to lost nodes. Raises `NodeUnreachable` if one of them stays unreachable."""
        ...

    async def preflight(self) -> None:
        """Send one request from each client. Raises `TrialError` if a client gets no reply."""
        ...

    async def sample(self) -> Sample:
        """Return the director's counters."""
        ...

    async def sample_all(self) -> dict[str, Sample]:
        """Return every node's counters, by node name as in `roles`."""
        ...

    async def sample_peers(self) -> dict[str, Sample]:
        """Return the counters of every node except the director, by node name as in `roles`."""
        ...

    async def shares(self) -> dict[str, int]:
        """Return how many connections each destination got since the service was created.

        The counts may be two seconds old. The result is empty if the director does not count
        connections.
        """
        ...

    async def programs(self) -> tuple[Process, ...]:
        """Return the director's processes; empty if other nodes run on the same host."""
        ...

    def roles(self) -> dict[str, Role]:
        """Return the role of each node by name, the director first."""
        ...

    def host_times(self) -> Mapping[str, float]:
        """Return this machine's CPU times in seconds, by state."""
        ...

    def guest_stolen_s(self) -> float | None:
        """Return the seconds stolen so far from the CPUs on which a guest director runs.

        Returns None if the director is not a guest of this machine.
        """
        ...

    async def load(self, ticks: Sequence[Schedule]) -> Loading:
        """Start the load on all clients at the same time, with one schedule for each client."""
        ...

    async def probe(self, seconds: float, probes: Sequence[str]) -> Probing:
        """Load *probes* on the director, to measure for *seconds*; return when they are loaded."""
        ...
