"""Write the steps and results of a run to disk as they happen."""

from datetime import UTC, datetime

import msgspec

from dirtune.analyse.run import Step
from dirtune.bench.store import Store


def step(kept: Store, command: str, note: str) -> None:
    """Add a step to the run: a command, and a note about the command."""
    save(kept, steps=(*kept.run.steps, Step(now(), command, note)))


def save(kept: Store, **changes: object) -> None:
    """Change fields of the run, in memory and on disk."""
    kept.save(msgspec.structs.replace(kept.run, **changes))


def now() -> str:
    """Return the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
