"""The nodes of a plan as a trial drives them: real ones (`rig`) or arithmetic (tests)."""

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
        """When the last client began, on the rig's clock."""
        ...

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Return each client's result and the raw texts, by file name."""
        ...

    async def end(self) -> None:
        """End what still runs."""
        ...


class Probing(Protocol):
    """Probes that are loaded on the director."""

    async def begin(self) -> None:
        """Open their window."""
        ...

    async def finish(self) -> Profile:
        """Return what it measured."""
        ...

    async def end(self) -> None:
        """End it if it still runs."""
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
        """Reach every node again that was lost; `NodeUnreachable` names one that stays so."""
        ...

    async def preflight(self) -> None:
        """Send one request from each client; `TrialError` names the one without a reply."""
        ...

    async def sample(self) -> Sample:
        """Return the director's counters."""
        ...

    async def sample_all(self) -> dict[str, Sample]:
        """Return every node's counters, by the names of `roles`."""
        ...

    async def sample_peers(self) -> dict[str, Sample]:
        """Return the counters of every node but the director, by the names of `roles`."""
        ...

    async def shares(self) -> dict[str, int]:
        """Return the connections of each destination of the service since it was made.

        Up to two seconds old; empty where the director does not tell.
        """
        ...

    async def programs(self) -> tuple[Process, ...]:
        """Return the director's processes; empty where they are not the director's alone."""
        ...

    def roles(self) -> dict[str, Role]:
        """Return the role of each node by name, the director first."""
        ...

    def host_times(self) -> Mapping[str, float]:
        """Return this machine's CPU times in seconds, by state."""
        ...

    def guest_stolen_s(self) -> float | None:
        """Return the seconds stolen so far from the CPUs that carry a guest director.

        None where the director is no guest of this machine.
        """
        ...

    async def load(self, ticks: Sequence[Schedule]) -> Loading:
        """Start the load on all clients at the same moment; a schedule for each."""
        ...

    async def probe(self, seconds: float, probes: Sequence[str]) -> Probing:
        """Load *probes* on the director, to measure for *seconds*; return when they are loaded."""
        ...
