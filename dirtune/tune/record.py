"""Write the steps and the results of a run to disk as soon as they are known."""

from datetime import UTC, datetime

import msgspec

from dirtune.analyse.run import Step
from dirtune.bench.store import Store


def step(kept: Store, command: str, note: str) -> None:
    """Add a step to the run: a command that dirtune ran, and a note about it."""
    save(kept, steps=(*kept.run.steps, Step(now(), command, note)))


def save(kept: Store, **changes: object) -> None:
    """Change fields of the run in memory and on disk."""
    kept.save(msgspec.structs.replace(kept.run, **changes))


def now() -> str:
    """Return the time of day in UTC as an ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="seconds")
