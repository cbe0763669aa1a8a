"""Find changes that the watchdog undid, for example because nobody confirmed them in time."""

import shlex

from dirtune.change import journal
from dirtune.change.transaction import Place, boot_id
from dirtune.errors import ApplyError
from dirtune.host import Host


def require_standing(at: Place, host: Host, name: str) -> None:
    """Raise `ApplyError` if the changes of the journal *name* were not confirmed in time."""
    entry = journal.load(journal.find(at.state, name))
    if why := entry.rolled_back_alone:
        raise ApplyError(_line(name, why))
    left = entry.seconds_left(boot_id(host), journal.boot_clock_s())
    if left is not None and left <= 0:
        undo = shlex.join(("dirtune", "rollback", name))
        raise ApplyError(f"{name} was not confirmed in time. Run: {undo}")


def last_undone(at: Place, checks: tuple[str, ...] = ()) -> str | None:
    """Return a sentence if the watchdog undid the last changes; None if it did not.

    With *checks*, the last changes are those for one of these checks.
    """
    entries = (
        entry
        for entry in reversed(journal.entries(at.state))
        if not checks or any(change.reason in checks for change in entry.planned.changes)
    )
    last = next(entries, None)
    if last is None or not last.rolled_back_alone:
        return None
    return _line(last.planned.journal, last.rolled_back_alone)


def _line(name: str, why: str) -> str:
    return f"{name} was rolled back: {why}. Apply the changes again."
