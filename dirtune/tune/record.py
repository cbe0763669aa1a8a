"""What a run keeps of what was done, on disk as it happens."""

from datetime import UTC, datetime

import msgspec

from dirtune.analyse.run import Step
from dirtune.bench.store import Store


def step(kept: Store, command: str, note: str) -> None:
    """Add something that was done to the run."""
    save(kept, steps=(*kept.run.steps, Step(now(), command, note)))


def save(kept: Store, **changes: object) -> None:
    """Change fields of the run, on disk as well."""
    kept.save(msgspec.structs.replace(kept.run, **changes))


def now() -> str:
    """Return the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
