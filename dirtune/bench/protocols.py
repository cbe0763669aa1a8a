"""Interfaces between a trial and the nodes, which are real (module `rig`) or simulated (tests)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Role
from dirtune.bench.outcome import ClientResult
from dirtune.collect.processes import Process
from dirtune.plan.generators import Schedule


class Loading(Protocol):
    """The load of all clients while it is running."""

    @property
    def began_s(self) -> float:
        """The time at which the last client started its load, by the rig's clock."""
        ...

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Wait for the end of the load, and return each client's result.

        Also return the raw output of the load generators, by file name.
        """
        ...

    async def end(self) -> None:
        """End the load generators that are still running."""
        ...


class Probing(Protocol):
    """Probes that are loaded on the director, ready to measure."""

    async def begin(self) -> None:
        """Start the measurement of the probes."""
        ...

    async def finish(self) -> Profile:
        """Wait for the end of the measurement, and return its profile."""
        ...

    async def end(self) -> None:
        """Unload the probes if they are still running."""
        ...


class Rig(Protocol):
    """The connected nodes of a plan, with which a trial runs its load and takes its samples."""

    def now(self) -> float:
        """Return the controller's clock in seconds; all times of a trial refer to this clock."""
        ...

    def utc(self) -> str:
        """Return the time of day in UTC as an ISO 8601 text."""
        ...

    async def sleep_until(self, moment_s: float) -> None:
        """Wait until the rig's clock shows *moment_s* seconds."""
        ...

    async def ready(self) -> None:
        """Reconnect to lost nodes.

        Raises `NodeUnreachable` if a node cannot be reached.
        """
        ...

    async def preflight(self) -> None:
        """Send one request from each client.

        Raises `TrialError` if a client gets no good reply.
        """
        ...

    async def sample(self) -> Sample:
        """Return the current counters of the director."""
        ...

    async def sample_all(self) -> dict[str, Sample]:
        """Return the current counters of every node, by the node's name."""
        ...

    async def sample_peers(self) -> dict[str, Sample]:
        """Return the current counters of real servers and clients, by the node's name."""
        ...

    async def shares(self) -> dict[str, int]:
        """Return the number of connections to each real server since the service was created.

        The numbers may be two seconds old. The result is empty if the director does not count
        connections.
        """
        ...

    async def programs(self) -> tuple[Process, ...]:
        """Return the processes on the director; empty if other nodes run on the same host."""
        ...

    def roles(self) -> dict[str, Role]:
        """Return the role of each node, by the node's name, the director first."""
        ...

    def host_times(self) -> Mapping[str, float]:
        """Return the CPU times of the machine that runs dirtune, in seconds, by state."""
        ...

    def guest_stolen_s(self) -> float | None:
        """Return the CPU seconds that were stolen from the director so far.

        The result is None if the director is not a guest of this machine.
        """
        ...

    async def load(self, ticks: Sequence[Schedule]) -> Loading:
        """Start the load on all clients at the same time.

        *ticks* has one schedule for each client.
        """
        ...

    async def probe(self, seconds: float, probes: Sequence[str]) -> Probing:
        """Load *probes* on the director, and return once they are loaded.

        They will measure for *seconds*.
        """
        ...
